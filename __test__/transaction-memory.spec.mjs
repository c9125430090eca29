// What slow and hostile clients may cost the server's memory, and whom they may keep waiting.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { Child } from "./support/child.mjs";
import { encode } from "./support/frames.mjs";
import { KERNEL, KERNEL_UNTOLD, standstill, takenInAll } from "./support/kernel.mjs";
import { Peer, RawPeer, wsFrame } from "./support/peer.mjs";
import { openPair } from "./support/server.mjs";
import { test } from "./support/test.mjs";
import {
  KIB, MIB, PULL, bytesOf, chunksOf, counted, payload, sendChunk, sendFetch, sendFinish, sparseFile, takeStart,
} from "./support/streams.mjs";
import { delay, eventually, within } from "./support/wait.mjs";

const UNTOLD = !existsSync("/proc/self/io") && "needs /proc/self/io";

/** A server in a process of its own, a client of it, and a neighbour whose echoes tell how it fares. */
async function open(t, script, args) {
  const child = Child.start(t, script, args);
  const { port } = await child.report("listening");
  const [peer, neighbour] = [await Peer.connect({ port }), await Peer.connect({ port })];
  await Promise.all([peer.ready(), neighbour.ready()]);
  t.after(() => [peer, neighbour].forEach((one) => one.terminate()));
  await neighbour.echo("warm");
  const stats = async () => {
    child.command("stats");
    return child.report("stats", 20_000);
  };
  return { child, peer, neighbour, stats };
}

/** Echoes until `stop()` is called; that resolves with the longest time one took, in ms. No more is asserted than that each came. */
function echoing(t, neighbour) {
  let stopped = false;
  const run = async () => {
    let longest = 0;
    for (let i = 0; !stopped; i++) {
      const begun = performance.now();
      await neighbour.echo(`echo ${i}`, 10_000);
      longest = Math.max(longest, performance.now() - begun);
      await delay(5);
    }
    t.diagnostic(`longest echo of the neighbour: ${Math.round(longest)} ms`);
    return longest;
  };
  const running = run();
  running.catch(() => {});
  return () => {
    stopped = true;
    return running;
  };
}

/** Reads in sips: the socket is paused between them. */
async function sip(peer, until) {
  while (!until()) {
    peer.pauseReading();
    await delay(20);
    peer.resumeReading();
    await new Promise(setImmediate);
  }
}

for (const behaviour of ["push", "pull"]) {
  test(`1 GiB ${behaviour}ed from a file to a client that reads in sips: the server reads little ahead of it`, { timeout: 60_000, skip: UNTOLD }, async (t) => {
    const { child, peer, neighbour, stats } = await open(t, "stream-sender.mjs");
    const path = await sparseFile(t, 1024 * MIB);
    const before = (await stats()).taken;
    child.command("stream", { kind: "file", behaviour, path });
    const { txId } = await takeStart(peer);
    if (behaviour === "pull") sendFetch(peer, txId, 0, 1024 * MIB);
    const stop = echoing(t, neighbour);
    let done = false;
    const sipping = sip(peer, () => done);
    const received = () => bytesOf(chunksOf(peer, txId));
    let ahead = 0;
    for (let first = null; first === null || received() < first + 4 * MIB; first ??= received()) {
      await delay(250);
      ahead = Math.max(ahead, (await stats()).taken - before - received());
    }
    done = true;
    await sipping;
    await stop();
    assert.ok(received() < 1024 * MIB, "the client was slow");
    assert.ok(ahead < 24 * MIB + KERNEL, `${ahead} bytes ahead`);
    peer.terminate();
    assert.equal((await child.report("settled", 15_000)).code, "ERR_CAMP_SESSION_CLOSED");
  });
}

test("64 incoming streams that nobody reads lie on disk, but for 2 MiB of each at most", { timeout: 60_000 }, async (t) => {
  const { child, peer, neighbour, stats } = await open(t, "stream-disk.mjs");
  const stop = echoing(t, neighbour);
  for (let txId = 0; txId < 64; txId++) peer.sendTxStart({ txId, name: `unread ${txId}` });
  const part = payload(256 * KIB);
  for (let i = 0; i < 20; i++) {
    for (let txId = 0; txId < 64; txId++) {
      sendChunk(peer, txId, i * part.length, part);
      await peer.drained();
    }
  }
  await peer.roundTrip(20_000);
  const { bytesSpooled } = await stats();
  await stop();
  assert.equal(peer.of("TX_CANCEL").length, 0);
  assert.ok(bytesSpooled >= 64 * 3 * MIB, `${bytesSpooled} bytes of 320 MiB are on disk`);
  child.command("read", { stream: "unread 63" });
  sendFinish(peer, 63);
  await child.report("read unread 63", 15_000);
});

test("20,000 fetches of a whole MiB by a client that reads nothing: the server reads little for them", { timeout: 60_000, skip: UNTOLD }, async (t) => {
  const { child, peer, neighbour, stats } = await open(t, "stream-sender.mjs");
  const path = await sparseFile(t, MIB + 1);
  child.command("stream", { kind: "file", behaviour: "pull", path });
  const { txId } = await takeStart(peer);
  const before = (await stats()).taken;
  peer.pauseReading();
  const stop = echoing(t, neighbour);
  for (let i = 0; i < 20_000; i++) {
    sendFetch(peer, txId, 0, MIB);
    if (i % 100 === 0) await new Promise(setImmediate);
  }
  const taken = async () => (await stats()).taken - before;
  await eventually(async () => (await taken()) > 0);
  await standstill(taken);
  await stop();
  assert.ok((await taken()) < 24 * MIB + KERNEL, `${await taken()} bytes were read`);
  peer.terminate();
  assert.equal((await child.report("settled", 15_000)).code, "ERR_CAMP_SESSION_CLOSED");
});

test("transactions that begin and end while JavaScript is busy do not fill the memory", {
  timeout: 60_000, skip: KERNEL_UNTOLD,
}, async (t) => {
  const child = Child.start(t, "stream-busy.mjs");
  const { port } = await child.report("listening");
  const peer = await RawPeer.connect({ port, sid: 5n });
  const frames = [];
  for (let txId = 0; txId < 500; txId++) {
    const start = encode({ type: "TX_START", sid: 5n, ack: txId * 2, txId, size: -1n, behaviour: 0, name: "n".repeat(1024) });
    const finish = encode({ type: "TX_FINISH", sid: 5n, ack: txId * 2 + 1, txId });
    frames.push(wsFrame({ payload: start }), wsFrame({ payload: finish }));
  }
  const block = Buffer.concat(frames);
  const goOn = await child.block();
  const flood = (async () => {
    for (let sent = 0; sent < 128 * MIB && !peer.socket.destroyed; sent += block.length) {
      if (!peer.socket.write(block)) await new Promise((resolve) => peer.socket.once("drain", resolve).once("close", resolve));
    }
  })();
  const held = await takenInAll(peer.socket);
  // maxInboundBytes is 4 MiB.
  assert.ok(held < 8 * MIB, `${held} bytes of frames were taken`);
  peer.socket.destroy();
  await flood;
  goOn();
  await child.report("blocked");
});

// Messages and transfers.

for (const [kind, make] of Object.entries({
  "a file": async (t) => ({ path: await sparseFile(t, 256 * MIB) }),
  "an iterable": async () => counted(256 * MIB, {}),
})) {
  test(`a message overtakes ${kind} that is pushed: no more than what is on its way comes before it`, async (t) => {
    const { session, peer } = await openPair(t);
    const sent = session.transaction.Stream(await make(t));
    sent.catch(() => {});
    await peer.next("TX_CHUNK");
    const counts = [];
    for (let i = 0; i < 5; i++) {
      await delay(20);
      const before = bytesOf(chunksOf(peer, 0));
      session.base.SendUTF8(`urgent ${i}`);
      const message = await peer.next("UTF8DATA", 15_000);
      const at = peer.frames.indexOf(message);
      counts.push(bytesOf(peer.frames.slice(0, at).filter(({ type }) => type === "TX_CHUNK")) - before);
    }
    t.diagnostic(`bytes between: ${counts.map((count) => `${Math.round(count / KIB)} KiB`).join(", ")}`);
    assert.ok(Math.min(...counts) <= KERNEL, `${counts}`);
    assert.equal(peer.of("TX_FINISH").length, 0, "the transfer goes on");
    peer.terminate();
    await sent.catch(() => {});
  });
}

test("a client's message overtakes nothing of its own upload, and is not held up by a reader that does not read", async (t) => {
  const { session, peer } = await openPair(t);
  const waiting = session.transaction.WaitForStream("upload");
  peer.sendTxStart({ name: "upload" });
  const readable = await waiting;
  const messages = [];
  session.on("message-utf8", (text) => messages.push([text, Number(readable.getReceivedBytes())]));
  const part = payload(MIB);
  for (let i = 0; i < 16; i++) {
    sendChunk(peer, 0, i * MIB, part);
    peer.sendText(`after ${i + 1} MiB`);
    await peer.drained();
  }
  await eventually(() => messages.length === 16, 10_000, "every message");
  assert.deepEqual(messages.map(([text]) => text), Array.from({ length: 16 }, (_, i) => `after ${i + 1} MiB`));
  // Nobody has read: what has come in JavaScript's hands is bounded, whatever has arrived.
  assert.ok(Number(readable.getReceivedBytes()) <= 4 * MIB, `${readable.getReceivedBytes()} bytes in memory`);
  sendFinish(peer, 0);
  readable.resume();
  await within(new Promise((resolve) => readable.once("end", resolve)), 10_000, "the end");
});

test("a pull of the client's with offsets that count from one, as the original sends them, is read whole", async (t) => {
  const { session, peer } = await openPair(t);
  const data = payload(500_000);
  for (const [txId, offsetOf] of [(at, n) => at + n, (at, _n, length) => at + length].entries()) {
    const waiting = session.transaction.WaitForStream("odd");
    peer.sendTxStart({ txId, name: "odd", size: BigInt(data.length), behaviour: PULL });
    const readable = await waiting;
    const parts = [];
    readable.on("data", (part) => parts.push(part));
    const ended = new Promise((resolve, reject) => readable.once("end", resolve).once("error", reject));
    readable.autoPull(100_000);
    for (let reached = 0; reached < data.length;) {
      const { start, end } = await peer.next((frame) => frame.type === "TX_FETCH" && frame.txId === txId);
      let n = 0;
      for (let at = Number(start); at < Number(end); n++) {
        const part = data.subarray(at, Math.min(Number(end), at + 9999));
        sendChunk(peer, txId, offsetOf(at, n + 1, part.length), part);
        at += part.length;
      }
      reached = Number(end);
    }
    // As the original: TX_FINISH once a fetch reaches the size.
    sendFinish(peer, txId);
    await within(ended, 10_000, "the end");
    assert.ok(Buffer.concat(parts).equals(data));
  }
  assert.equal(peer.of("ERROR").length, 0);
  assert.equal(peer.of("TX_CANCEL").length, 0);
});

test("200 streams at once for a client that reads nothing: the first 64 are read 1 MiB ahead, the others little", { timeout: 60_000 }, async (t) => {
  const { session, peer } = await openPair(t);
  peer.pauseReading();
  const read = Array.from({ length: 200 }, () => 0);
  async function* source(i) {
    for (;;) {
      yield Buffer.alloc(16 * KIB, i);
      read[i] += 16 * KIB;
    }
  }
  const sends = read.map((_, i) => session.transaction.Stream(source(i), { streamName: `${i}` }));
  const total = () => read.reduce((sum, bytes) => sum + bytes, 0);
  await eventually(() => read.every((bytes) => bytes > 0));
  await standstill(total);
  assert.ok(total() <= 64 * MIB + 136 * 64 * KIB + KERNEL, `${total()} bytes read`);
  assert.ok(Math.max(...read.slice(100)) <= 256 * KIB, `${Math.max(...read.slice(100))} bytes of one`);
  peer.terminate();
  await Promise.allSettled(sends);
});

test("a stream of chunks of one byte that nobody reads: 4,096 of them lie with JavaScript, the others on disk, and all are read", async (t) => {
  const { session, peer } = await openPair(t);
  const txId = 7;
  const count = 20_000;
  let passed = 0;
  session.transaction.on("tx-chunk", () => passed++);
  peer.sendTxStart({ txId, name: "drops" });
  const readable = await session.transaction.WaitForStream("drops");
  const data = payload(count, 5);
  for (let at = 0; at < count; at++) sendChunk(peer, txId, at, data.subarray(at, at + 1));
  sendFinish(peer, txId);
  await eventually(() => session.stats().bytesSpooled > 0);
  assert.ok(passed > 1000 && passed <= 4096, `${passed} chunks`);
  const received = Buffer.concat(await readable.toArray());
  assert.ok(received.equals(data));
});
