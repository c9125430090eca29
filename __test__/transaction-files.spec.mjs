// What may happen to a file while it is a source, and what is no file that can be sent.
import assert from "node:assert/strict";
import { appendFile, chmod, rm, symlink, truncate } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { openPair, rejection } from "./support/server.mjs";
import { test } from "./support/test.mjs";
import {
  KIB, MIB, assertSameBytes, bytesOf, chunksOf, joinChunks, payload, receivePush, sendFetch, sparseFile, takeCancel, takeFinish, takeStart,
  tempDirectory, tempFile,
} from "./support/streams.mjs";
import { within } from "./support/wait.mjs";

const SIZE = 128 * MIB;
const BEHAVIOURS = ["push", "pull"];
const UNIX = process.platform !== "win32";

/** A transfer that stands: the peer has taken a chunk and reads no more. */
async function standing(t, behaviour, path) {
  const pair = await openPair(t);
  const sent = pair.session.transaction.Stream({ path }, { behaviour });
  sent.catch(() => {});
  const { txId, size } = await takeStart(pair.peer);
  if (behaviour === "pull") sendFetch(pair.peer, txId, 0, size);
  await pair.peer.next("TX_CHUNK");
  pair.peer.pauseReading();
  return { ...pair, sent, txId };
}

async function assertAlive({ session, peer }) {
  const next = session.transaction.Stream(Buffer.from("x"), { streamName: "next" });
  assert.equal((await receivePush(peer, { name: "next" })).data.toString(), "x");
  await within(next, 5000, "the next stream");
}

for (const behaviour of BEHAVIOURS) {
  test(`a file truncated while it is ${behaviour}ed: TX_CANCEL, ERR_CAMP_SOURCE_TRUNCATED, and the session lives on`, async (t) => {
    const path = await sparseFile(t, SIZE);
    const pair = await standing(t, behaviour, path);
    await truncate(path, 300 * KIB);
    pair.peer.resumeReading();
    const error = await rejection(pair.sent, 15_000);
    assert.equal(error.code, "ERR_CAMP_SOURCE_TRUNCATED");
    assert.match(error.message, /ended at byte/);
    await takeCancel(pair.peer, pair.txId);
    assert.equal(pair.peer.of("TX_FINISH").length, 0);
    assert.ok(bytesOf(chunksOf(pair.peer, pair.txId)) < SIZE);
    await assertAlive(pair);
  });

  test(`a file deleted while it is ${behaviour}ed is sent to its end`, { skip: UNIX ? false : "an open file cannot be deleted here" }, async (t) => {
    const data = payload(16 * MIB);
    const path = await tempFile(t, data);
    const pair = await standing(t, behaviour, path);
    await rm(path);
    pair.peer.resumeReading();
    await takeFinish(pair.peer, pair.txId);
    await within(pair.sent, 5000, "Stream()");
    assertSameBytes(joinChunks(chunksOf(pair.peer, pair.txId)), data);
  });

  test(`a file that grows while it is ${behaviour}ed is sent at the size announced`, async (t) => {
    const data = payload(16 * MIB);
    const path = await tempFile(t, data);
    const pair = await standing(t, behaviour, path);
    await appendFile(path, Buffer.alloc(MIB, 1));
    pair.peer.resumeReading();
    await takeFinish(pair.peer, pair.txId);
    await within(pair.sent, 5000, "Stream()");
    assertSameBytes(joinChunks(chunksOf(pair.peer, pair.txId)), data);
  });
}

/** Things with a path that are no files with bytes. */
const NO_FILES = {
  "a missing file": { make: async (t) => join(await tempDirectory(t), "missing"), code: "ENOENT" },
  "a directory": { make: tempDirectory, code: "EISDIR" },
  "a file that may not be read": {
    skip: UNIX && process.getuid() !== 0 ? false : "this user may read everything",
    make: async (t) => {
      const path = await tempFile(t, "secret");
      await chmod(path, 0);
      return path;
    },
    code: "EACCES",
  },
  "a socket": {
    skip: UNIX ? false : "they have no path here",
    make: async (t) => {
      const path = join(await tempDirectory(t), "socket");
      const server = createServer();
      await new Promise((resolve) => server.listen(path, resolve));
      t.after(() => server.close());
      return path;
    },
    code: "ENXIO",
  },
  "a name that is too long": { make: async (t) => join(await tempDirectory(t), "x".repeat(300)), code: UNIX ? "ENAMETOOLONG" : "ENOENT" },
  "a file as a directory": { make: async (t) => join(await tempFile(t, "x"), "below"), code: UNIX ? "ENOTDIR" : "ENOENT" },
  "a link to itself": {
    skip: UNIX ? false : "links need a privilege here",
    make: async (t) => {
      const path = join(await tempDirectory(t), "loop");
      await symlink(path, path);
      return path;
    },
    code: "ELOOP",
  },
};

for (const [what, { make, code, skip = false }] of Object.entries(NO_FILES)) {
  test(`${what} as a source: ${code}, nothing is announced, and files go on`, { skip }, async (t) => {
    const pair = await openPair(t);
    const path = await make(t);
    for (const behaviour of BEHAVIOURS) {
      // More of them than there are threads for slow work.
      const attempts = Array.from({ length: 600 }, () => rejection(pair.session.transaction.Stream({ path }, { behaviour }), 10_000));
      for (const error of await Promise.all(attempts)) {
        assert.equal(error.code, code);
        assert.ok(error.message.includes(path), error.message);
      }
    }
    await pair.peer.until(() => pair.peer.of("TX_CANCEL").length === pair.peer.of("TX_START").length);
    const data = payload(100 * KIB);
    const sent = pair.session.transaction.Stream({ path: await tempFile(t, data) });
    assertSameBytes((await receivePush(pair.peer)).data, data);
    await within(sent, 5000, "Stream()");
  });
}
