// What lies behind a path: `{ path }` takes what `fs.createReadStream` takes, and refuses what that refuses.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { constants, createReadStream, existsSync, readdirSync } from "node:fs";
import { mkdir, open, readFile, symlink, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { openPair, rejection } from "./support/server.mjs";
import { test } from "./support/test.mjs";
import {
  KIB, MIB, assertSameBytes, bytesOf, chunksOf, fetchRange, joinChunks, payload, receivePush, sendCancel, takeFinish, takeStart,
  tempDirectory, tempFile,
} from "./support/streams.mjs";
import { eventually, within } from "./support/wait.mjs";

const BEHAVIOURS = ["push", "pull"];
const UNIX = process.platform === "win32" ? "there are none here" : false;

/** What the peer gets of a source, all of it. */
async function received({ session, peer }, source, behaviour) {
  const sent = session.transaction.Stream(source, { behaviour });
  sent.catch(() => {});
  const gets = async () => {
    if (behaviour === "push") return (await receivePush(peer)).data;
    const { txId, size } = await takeStart(peer, 20_000);
    const data = size === 0n ? Buffer.alloc(0) : await fetchRange(peer, txId, 0, size);
    await takeFinish(peer, txId);
    return data;
  };
  // A rejection is what the test is to see.
  const data = await Promise.race([gets(), sent.then(() => new Promise(() => {}))]);
  await within(sent, 5000, "Stream()");
  return data;
}

async function fifo(t) {
  const path = join(await tempDirectory(t), "fifo");
  await promisify(execFile)("mkfifo", [path]);
  return path;
}

/** Open file descriptors, where the system tells. */
const descriptors = () => (existsSync("/proc/self/fd") ? readdirSync("/proc/self/fd").length : 0);

/** A FIFO's writer: opened beside a reader only, so that nothing here waits for one. */
const openWriter = (path) => open(path, constants.O_RDWR);

async function assertAlive({ session, peer }) {
  const next = session.transaction.Stream(Buffer.from("x"), { streamName: "next" });
  assert.equal((await receivePush(peer, { name: "next" })).data.toString(), "x");
  await within(next, 5000, "the next stream");
}

// Files that the system makes up.

const MADE_UP = ["/proc/version", "/proc/self/limits", "/proc/kallsyms", "/sys/kernel/mm/transparent_hugepage/enabled", "/dev/null"];

for (const path of MADE_UP) {
  for (const behaviour of BEHAVIOURS) {
    test(`${path} is ${behaviour}ed with its content`, { skip: existsSync(path) ? false : "there is none here" }, async (t) => {
      const pair = await openPair(t);
      assertSameBytes(await received(pair, { path }, behaviour), await readFile(path));
    });
  }
}

test("a part of a file that says that it is empty", { skip: existsSync("/proc/version") ? false : "there is none here" }, async (t) => {
  const pair = await openPair(t);
  const path = "/proc/version";
  const content = await readFile(path);
  for (const behaviour of BEHAVIOURS) {
    assertSameBytes(await received(pair, { path, start: 6, end: 15 }, behaviour), content.subarray(6, 16));
    assertSameBytes(await received(pair, { path, start: 100_000 }, behaviour), Buffer.alloc(0));
  }
});

// Devices and pipes.

for (const behaviour of BEHAVIOURS) {
  test(`the first bytes of an endless device are ${behaviour}ed`, { skip: UNIX }, async (t) => {
    const pair = await openPair(t);
    assertSameBytes(await received(pair, { path: "/dev/zero", end: 3 * MIB - 1 }, behaviour), Buffer.alloc(3 * MIB));
    assertSameBytes(await received(pair, { path: "/dev/zero", start: 5, end: 9 }, behaviour), Buffer.alloc(5));
  });

  test(`what is written into a FIFO is ${behaviour}ed`, { skip: UNIX }, async (t) => {
    const pair = await openPair(t);
    const path = await fifo(t);
    const data = payload(2 * MIB);
    const receiving = received(pair, { path }, behaviour);
    const writer = await openWriter(path);
    // In pieces, and with nobody at the other end for a while.
    await pair.peer.roundTrip();
    for (let at = 0; at < data.length; at += 300 * KIB) await writer.writeFile(data.subarray(at, at + 300 * KIB));
    if (behaviour === "push") await pair.peer.until(() => bytesOf(chunksOf(pair.peer, 0)) === data.length, 10_000, "the bytes");
    await writer.close();
    assertSameBytes(await receiving, data);
  });
}

test("an endless device is pushed no faster than it is taken, until the peer cancels", { skip: UNIX }, async (t) => {
  const pair = await openPair(t);
  const sent = pair.session.transaction.Stream({ path: "/dev/zero" });
  const { txId, size } = await takeStart(pair.peer);
  assert.equal(size, -1n);
  await pair.peer.until(() => bytesOf(chunksOf(pair.peer, txId)) > 8 * MIB, 10_000, "8 MiB");
  await pair.peer.acked(sendCancel(pair.peer, txId));
  assert.equal((await rejection(sent)).code, "ERR_CAMP_CANCELLED");
  await assertAlive(pair);
});

test("an endless device cannot be offered for pulling: EFBIG once maxSpoolBytes are collected", { skip: UNIX }, async (t) => {
  const pair = await openPair(t, { options: { maxSpoolBytes: 4 * MIB } });
  const error = await rejection(pair.session.transaction.Stream({ path: "/dev/zero" }, { behaviour: "pull" }), 10_000);
  assert.equal(error.code, "EFBIG");
  assert.equal(pair.server.stats().bytesSpooled, 0);
  await assertAlive(pair);
});

test("FIFOs that nobody writes into hold no thread, and are given up with their signal", { skip: UNIX }, async (t) => {
  const pair = await openPair(t);
  const path = await fifo(t);
  const before = descriptors();
  const giveUp = new AbortController();
  // More of them than there are threads for slow work.
  const waiting = Array.from({ length: 600 }, (_, i) =>
    pair.session.transaction.Stream({ path }, { behaviour: BEHAVIOURS[i % 2], signal: giveUp.signal }));
  const data = payload(3 * MIB);
  const sent = pair.session.transaction.Stream({ path: await tempFile(t, data) }, { streamName: "a file" });
  assertSameBytes((await receivePush(pair.peer, { name: "a file" })).data, data);
  await within(sent, 5000, "Stream()");
  giveUp.abort();
  for (const one of waiting) assert.equal((await rejection(one)).code, "ABORT_ERR");
  await eventually(() => descriptors() <= before);
  await assertAlive(pair);
});

test("a session that ends lets go of a FIFO that nobody writes into", { skip: UNIX }, async (t) => {
  const pair = await openPair(t);
  const sent = pair.session.transaction.Stream({ path: await fifo(t) });
  await takeStart(pair.peer);
  await pair.session.Destroy();
  assert.equal((await rejection(sent)).code, "ERR_CAMP_SESSION_CLOSED");
  await within(pair.server.Destroy(), 5000, "Destroy()");
});

test("a FIFO has no positions: start is refused with ESPIPE", { skip: UNIX }, async (t) => {
  const pair = await openPair(t);
  assert.equal((await rejection(pair.session.transaction.Stream({ path: await fifo(t), start: 1 }))).code, "ESPIPE");
});

// Regular files.

test("a file is sent as it is when it is opened", async (t) => {
  const pair = await openPair(t);
  const path = await tempFile(t, payload(1000));
  await truncate(path, 10);
  assertSameBytes(await received(pair, { path }, "push"), payload(1000).subarray(0, 10));
});

test("a start behind the end of a file is an empty stream, as for fs.createReadStream", async (t) => {
  const pair = await openPair(t);
  const paths = [await tempFile(t, payload(1000)), await tempFile(t, payload(200 * KIB)), await tempFile(t, "")];
  for (const path of paths) {
    for (const behaviour of BEHAVIOURS) {
      assertSameBytes(await received(pair, { path, start: 200 * KIB }, behaviour), Buffer.alloc(0));
      assertSameBytes(await received(pair, { path, start: MIB, end: 2 * MIB }, behaviour), Buffer.alloc(0));
    }
  }
});

test("files around the size up to which they are read at once are sent whole", async (t) => {
  const pair = await openPair(t);
  for (const size of [0, 1, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1]) {
    const path = await tempFile(t, payload(size));
    for (const behaviour of BEHAVIOURS) {
      assertSameBytes(await received(pair, { path }, behaviour), payload(size));
      if (size > 2) assertSameBytes(await received(pair, { path, start: 1, end: size - 2 }, behaviour), payload(size).subarray(1, size - 1));
    }
  }
});

// Paths.

test("a path is a string, a Buffer or a file URL, absolute or not", async (t) => {
  const pair = await openPair(t);
  const directory = await tempDirectory(t);
  const name = "a file with ünicode 100%.txt";
  const path = join(directory, name);
  await writeFile(path, "content");
  const relative = path.slice(process.cwd().length + 1);
  const paths = [path, Buffer.from(path), pathToFileURL(path)];
  if (path.startsWith(process.cwd())) paths.push(relative, Buffer.from(relative));
  for (const one of paths) assert.equal((await received(pair, { path: one }, "push")).toString(), "content");
  assert.equal((await received(pair, { path: "package.json" }, "push")).toString(), await readFile("package.json", "utf8"));
  assert.equal((await received(pair, { path: Buffer.from("package.json") }, "push")).toString(), await readFile("package.json", "utf8"));
});

test("a path of bytes that are not UTF-8", { skip: process.platform === "linux" ? false : "there are none here" }, async (t) => {
  const pair = await openPair(t);
  const path = Buffer.concat([Buffer.from(`${await tempDirectory(t)}/`), Buffer.of(0x66, 0xff, 0xfe)]);
  await writeFile(path, "content");
  assert.equal((await received(pair, { path }, "push")).toString(), "content");
});

test("`..` behind a link leads where the system says, and a slash behind a file nowhere", { skip: UNIX }, async (t) => {
  const pair = await openPair(t);
  const directory = await tempDirectory(t);
  await mkdir(join(directory, "far/away"), { recursive: true });
  await writeFile(join(directory, "far/file"), "far");
  await writeFile(join(directory, "file"), "near");
  await symlink(join(directory, "far/away"), join(directory, "link"));
  const path = `${directory}/link/../file`;
  assert.equal((await received(pair, { path }, "push")).toString(), await readFile(path, "utf8"));
  assert.equal((await rejection(pair.session.transaction.Stream({ path: `${directory}/file/` }))).code, "ENOTDIR");
});

// Refused at once, each with the error of `fs.createReadStream`.

const REFUSED = {
  "a path with a null byte": { path: "/tmp/a\0b" },
  "a Buffer with a null byte": { path: Buffer.from("/tmp/a\0b") },
  "a URL with a null byte": { path: new URL("file:///tmp/a%00b") },
  "a number": { path: 5 },
  "null": { path: null },
  "an object": { path: {} },
  "a URL of another scheme": { path: new URL("https://example.com/file") },
  "a URL with an encoded slash": { path: new URL("file:///tmp/a%2fb") },
  "a start below 0": { path: "package.json", start: -1 },
  "a start that is no whole number": { path: "package.json", start: 1.5 },
  "a start that is a string": { path: "package.json", start: "1" },
  "a start that is null": { path: "package.json", start: null },
  "an end that is NaN": { path: "package.json", end: NaN },
  "an end that is too large": { path: "package.json", end: 2 ** 53 },
  "an end that is a boolean": { path: "package.json", end: true },
  "an end before the start": { path: "package.json", start: 5, end: 4 },
};

for (const [what, source] of Object.entries(REFUSED)) {
  test(`${what} is refused with the code of fs.createReadStream, and nothing goes out`, async (t) => {
    const { session, peer } = await openPair(t);
    const { path, ...range } = source;
    let expected;
    try {
      createReadStream(path, range).on("error", () => {}).destroy();
    } catch (error) {
      expected = error;
    }
    assert.ok(expected, "createReadStream took it");
    const error = await rejection(session.transaction.Stream(source));
    assert.equal(error.code, expected.code, error.message);
    assert.equal(error.name, expected.name);
    await peer.roundTrip();
    assert.equal(peer.of("TX_START").length, 0);
  });
}

test("an end of null or Infinity is the end of the file", async (t) => {
  const pair = await openPair(t);
  const path = await tempFile(t, "content");
  for (const end of [null, Infinity, undefined]) assert.equal((await received(pair, { path, start: 3, end }, "push")).toString(), "tent");
});

test("a FIFO whose writer leaves without a word is an empty stream", { skip: UNIX }, async (t) => {
  const pair = await openPair(t);
  const path = await fifo(t);
  const sent = pair.session.transaction.Stream({ path });
  await takeStart(pair.peer);
  await (await openWriter(path)).close();
  await takeFinish(pair.peer, 0);
  await within(sent, 5000, "Stream()");
  assert.equal(joinChunks(chunksOf(pair.peer, 0)).length, 0);
  assert.equal(pair.peer.of("TX_CANCEL").length, 0);
  await assertAlive(pair);
});
