// A disk that takes nothing, or no more: what needs it fails with a code, everything else goes on.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Child } from "./support/child.mjs";
import { Peer } from "./support/peer.mjs";
import { test } from "./support/test.mjs";
import {
  KIB, MIB, assertSameBytes, bytesOf, chunksOf, joinChunks, payload, receivePush, sendChunk, sendFetch, sendFinish, sendPush, sha256,
  takeCancel, takeFinish, takeStart, tempDirectory, tempFile,
} from "./support/streams.mjs";
import { eventually, within } from "./support/wait.mjs";

const UNIX = process.platform !== "win32";

/** Runs a command with a temporary directory of 8 MiB, where the system lets everybody mount one for himself. */
const SMALL_DISK = ["unshare", "-rm", "sh", "-c", 'mount -t tmpfs -o size=8m none "$0" && TMPDIR="$0" exec "$@"'];
const mayMount = UNIX && spawnSync(SMALL_DISK[0], [...SMALL_DISK.slice(1), tmpdir(), "true"]).status === 0;
const DATA = payload(3 * MIB, 5);

/** How a server comes to a disk that fails, with the code its own streams are rejected with. */
const DISKS = {
  "no directory for temporary files": {
    code: "ENOENT",
    start: async (t) => ({ env: { TMPDIR: join(await tempDirectory(t), "missing") } }),
  },
  "a file where the directory for temporary files should be": {
    code: "ENOTDIR",
    start: async (t) => ({ env: { TMPDIR: await tempFile(t, "not a directory") } }),
  },
  "a full disk": {
    code: "ENOSPC",
    skip: mayMount ? false : "no disk can be mounted here",
    start: async (t) => ({ launcher: [...SMALL_DISK, await tempDirectory(t)] }),
  },
  // 8192 blocks of 512 bytes, 4 MiB, or of 1024; Node ignores SIGXFSZ, so that the write fails instead.
  "a disk that takes 8 MiB at most": {
    code: "EFBIG",
    start: async () => ({ launcher: ["sh", "-c", 'ulimit -f 8192; exec "$@"', "sh"] }),
  },
};

/** A server on that disk, and a client of it. */
async function open(t, { start }) {
  const child = Child.start(t, "stream-disk.mjs", { path: await tempFile(t, DATA) }, await start(t));
  const { port } = await child.report("listening");
  const peer = await Peer.connect({ port });
  t.after(() => peer.terminate());
  await peer.ready();
  return { child, port, peer };
}

/** What needs no disk goes on: messages, pushes, bytes and files that are pulled, streams that are read as they come. */
async function assertGoesOn({ child, peer }, round) {
  await peer.echo(`round ${round}`);
  child.command("stream", { kind: "memory", behaviour: "push" });
  assertSameBytes((await receivePush(peer, { name: "memory" })).data, payload(MIB));
  assert.equal((await child.report("settled memory")).code, "sent");
  child.command("stream", { kind: "file", behaviour: "pull" });
  const { txId } = await peer.next((frame) => frame.type === "TX_START" && frame.name === "file");
  sendFetch(peer, txId, 0, DATA.length);
  await takeFinish(peer, txId);
  assertSameBytes(joinChunks(chunksOf(peer, txId)), DATA);
  assert.equal((await child.report("settled file")).code, "sent");
  const name = `read at once ${round}`;
  await sendPush(peer, { txId: 100 + round, name, data: payload(500 * KIB) });
  assert.equal((await child.report(`read ${name}`)).digest, sha256(payload(500 * KIB)));
}

for (const [what, disk] of Object.entries(DISKS)) {
  const skip = UNIX ? (disk.skip ?? false) : "neither TMPDIR nor ulimit are known here";

  test(`${what}: a source that has to be spooled is rejected with ${disk.code}, the session goes on`, { skip, timeout: 60_000 }, async (t) => {
    const pair = await open(t, disk);
    for (let round = 0; round < 3; round++) {
      pair.child.command("stream", { kind: "spooled", behaviour: "pull" });
      const settled = await pair.child.report("settled spooled", 20_000);
      assert.equal(settled.code, disk.code, settled.message);
      assert.notEqual(settled.message, "");
    }
    await pair.peer.until(() => pair.peer.of("TX_CANCEL").length === pair.peer.of("TX_START").length);
    await assertGoesOn(pair, 0);
    pair.child.command("stats");
    const before = await pair.child.report("stats");
    for (let i = 0; i < 20; i++) {
      pair.child.command("stream", { kind: "spooled", behaviour: "pull" });
      await pair.child.report("settled spooled", 20_000);
    }
    pair.child.command("stats");
    const after = await pair.child.report("stats");
    assert.ok(after.descriptors <= before.descriptors + 3, `${after.descriptors - before.descriptors} descriptors more`);
  });

  test(`${what}: an unread stream is cancelled with ERR_CAMP_SPOOL_FAILED, the session goes on`, { skip, timeout: 60_000 }, async (t) => {
    const pair = await open(t, disk);
    const { child, peer } = pair;
    for (let round = 0; round < 3; round++) {
      const name = `unread ${round}`;
      peer.sendTxStart({ txId: round, name });
      await child.report(`started ${name}`);
      // Beyond what is kept in memory, and beyond what the disk takes.
      for (let sent = 0; sent < 24 && peer.of("TX_CANCEL").length === round; sent++) {
        sendChunk(peer, round, sent * MIB, Buffer.alloc(MIB, sent));
        await peer.drained();
      }
      await takeCancel(peer, round);
      assert.equal((await child.report(`failed ${name}`)).code, "ERR_CAMP_SPOOL_FAILED");
      sendFinish(peer, round);
      await assertGoesOn(pair, round);
    }
  });
}

test("a source that turns out to be empty needs no temporary file", { skip: UNIX ? false : "there is no TMPDIR here" }, async (t) => {
  const { child, peer } = await open(t, DISKS["no directory for temporary files"]);
  child.command("stream", { kind: "empty", behaviour: "pull" });
  const { txId, size } = await takeStart(peer);
  assert.equal(size, 0n);
  await takeFinish(peer, txId);
  assert.equal((await child.report("settled empty")).code, "sent");
});

test("streams within what the disk takes are whole beside one that is not", { skip: UNIX ? false : "there is no ulimit here", timeout: 60_000 }, async (t) => {
  const { child, peer } = await open(t, DISKS["a disk that takes 8 MiB at most"]);
  for (const txId of [0, 1]) peer.sendTxStart({ txId, name: `unread ${txId}` });
  const small = payload(3 * MIB, 9);
  for (let sent = 0; sent < 24 && peer.of("TX_CANCEL").length === 0; sent++) {
    sendChunk(peer, 0, sent * MIB, Buffer.alloc(MIB, sent));
    if (sent < 3) sendChunk(peer, 1, sent * MIB, small.subarray(sent * MIB, (sent + 1) * MIB));
    await peer.drained();
  }
  await takeCancel(peer, 0);
  sendFinish(peer, 1);
  assert.equal((await child.report("failed unread 0")).code, "ERR_CAMP_SPOOL_FAILED");
  child.command("read", { stream: "unread 1" });
  assert.equal((await child.report("read unread 1")).digest, sha256(small));
  // The failed one left no bytes behind it.
  assert.equal(bytesOf(chunksOf(peer, 0)), 0);
  await within(peer.echo("alive"), 5000, "an echo");
});

test("when the process ends it leaves no temporary file, whatever was spooled", { skip: UNIX ? false : "there is no TMPDIR here" }, async (t) => {
  const directory = await tempDirectory(t);
  const { child, peer } = await open(t, { start: async () => ({ env: { TMPDIR: directory } }) });
  peer.sendTxStart({ txId: 0, name: "unread 0" });
  for (let sent = 0; sent < 4; sent++) sendChunk(peer, 0, sent * MIB, Buffer.alloc(MIB, sent));
  child.command("stream", { kind: "spooled", behaviour: "pull" });
  await takeStart(peer, 20_000);
  await eventually(async () => (await readdir(directory)).length === 0);
  child.command("destroy");
  assert.deepEqual(await child.exit(), { code: 0, signal: null });
  assert.deepEqual(await readdir(directory), []);
});
