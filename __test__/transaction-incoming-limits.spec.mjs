// What an incoming stream may cost, and how it ends before its end.
import assert from "node:assert/strict";
import { Child } from "./support/child.mjs";
import { Peer } from "./support/peer.mjs";
import { once, openPair, openSession, rejection, startServer } from "./support/server.mjs";
import { test } from "./support/test.mjs";
import {
  KIB, MIB, PULL, PUSH, assertSameBytes, payload, readAll, sendCancel, sendChunk, sendChunks, sendFinish, sendPush, sha256, streamError,
  takeCancel,
} from "./support/streams.mjs";
import { delay, eventually, within } from "./support/wait.mjs";

async function openStream(t, { size = -1n, txId = 0, behaviour = PUSH, options } = {}) {
  const pair = await openPair(t, { options });
  const waiting = pair.session.transaction.WaitForStream("the stream");
  pair.peer.sendTxStart({ txId, name: "the stream", size, behaviour });
  return { ...pair, readable: await waiting, txId };
}

/** The session answers and takes another stream. */
async function assertAlive({ session, peer }) {
  await peer.roundTrip();
  await sendPush(peer, { txId: 1000, name: "alive", data: Buffer.from("alive") });
  assert.equal((await readAll(await session.transaction.WaitForStream("alive"))).toString(), "alive");
}

// The size belied.

const BELIED = {
  "one byte short": [1000n, 999],
  "one byte over": [1000n, 1001],
  "nothing at all": [1n, 0],
  "more than nothing": [0n, 1],
  "far over": [10n, 3 * MIB],
};

for (const [how, [size, length]] of Object.entries(BELIED)) {
  test(`a size that TX_FINISH belies (${how}): the stream errors, the session lives on`, async (t) => {
    const pair = await openStream(t, { size });
    const failed = streamError(pair.readable);
    await sendChunks(pair.peer, 0, payload(length));
    sendFinish(pair.peer, 0);
    assert.ok((await failed) instanceof Error);
    assert.equal(pair.readable.readableEnded, false);
    await assertAlive(pair);
  });
}

// Given up by one side.

for (const [how, giveUp] of Object.entries({
  "destroy()": ({ readable }) => readable.destroy(),
  "destroy(error)": ({ readable }) => {
    readable.once("error", () => {});
    readable.destroy(new Error("no more of this"));
  },
  "leaving a for await loop": async ({ readable }) => {
    for await (const _part of readable) break;
  },
  "Cancel()": ({ session, readable }) => {
    readable.once("error", () => {});
    return session.transaction.Cancel(readable);
  },
})) {
  test(`${how} sends TX_CANCEL once, and what still comes is ignored`, async (t) => {
    const pair = await openStream(t, { txId: 5 });
    const { peer, readable } = pair;
    sendChunk(peer, 5, 0, payload(1000));
    await within(Promise.resolve(giveUp(pair)), 5000, how);
    await takeCancel(peer, 5);
    await sendChunks(peer, 5, payload(100_000), { at: 1000 });
    sendFinish(peer, 5);
    await assertAlive(pair);
    assert.equal(readable.destroyed, true);
    assert.equal(peer.of("TX_CANCEL").length, 1);
    assert.equal(peer.of("ERROR").length, 0);
  });
}

test("Cancel() ends the local stream with ERR_CAMP_CANCELLED", async (t) => {
  const { session, readable } = await openStream(t);
  const failed = streamError(readable, { read: false });
  await session.transaction.Cancel(readable);
  assert.equal((await failed).code, "ERR_CAMP_CANCELLED");
});

test("a stream read to its end sends no TX_CANCEL, destroyed or not", async (t) => {
  const pair = await openStream(t);
  sendChunk(pair.peer, 0, 0, payload(1000));
  sendFinish(pair.peer, 0);
  await readAll(pair.readable);
  pair.readable.destroy();
  await Promise.resolve(pair.session.transaction.Cancel(pair.readable)).catch(() => {});
  await assertAlive(pair);
  assert.equal(pair.peer.of("TX_CANCEL").length, 0);
});

test("the client's TX_CANCEL is acknowledged and ends the stream with ERR_CAMP_CANCELLED", async (t) => {
  const pair = await openStream(t, { size: 1000n });
  const failed = streamError(pair.readable);
  sendChunk(pair.peer, 0, 0, payload(500));
  await pair.peer.acked(sendCancel(pair.peer, 0));
  const error = await failed;
  assert.equal(error.code, "ERR_CAMP_CANCELLED");
  assert.ok(error instanceof Error);
  await assertAlive(pair);
  assert.equal(pair.peer.of("TX_CANCEL").length, 0);
});

test("a stream cancelled before anybody asks for it is gone", async (t) => {
  const { session, peer } = await openPair(t);
  peer.sendTxStart({ name: "gone" });
  await peer.acked(sendCancel(peer, 0));
  assert.equal((await rejection(session.transaction.WaitForStream("gone", 200))).code, "ERR_CAMP_TIMEOUT");
});

// Bad starts.

const BAD_STARTS = {
  "a name of 1,025 bytes": [{ name: "a".repeat(1025) }, /name/i],
  "a name of 1,026 bytes in 513 characters": [{ name: "é".repeat(513) }, /name/i],
  "a name that is not UTF-8": [{ name: [0x61, 0xff] }, /./],
  "size -1 with pull": [{ size: -1n, behaviour: PULL }, /size|length|unknown/i],
  "size -2": [{ size: -2n }, /size|length/i],
  "the smallest size": [{ size: -(2n ** 63n), behaviour: PULL }, /size|length/i],
  "behaviour 2": [{ size: 10n, behaviour: 2 }, /behaviou?r/i],
  "behaviour 255": [{ size: 10n, behaviour: 255 }, /behaviou?r/i],
  "a txId already live": [{ txId: 0 }, /tx|transaction/i],
};

for (const [what, [fields, fault]] of Object.entries(BAD_STARTS)) {
  test(`TX_START with ${what}: an ERROR frame that names the fault, no ACK, and the session lives on`, async (t) => {
    const pair = await openStream(t, { size: 4n });
    const { session, peer, readable } = pair;
    let started = 0;
    await peer.roundTrip();
    session.transaction.on("tx-start", () => started++);
    const bad = peer.sendTxStart({ txId: 1, name: "bad", ...fields });
    await peer.roundTrip();
    assert.equal(peer.of("ERROR").length, 1);
    assert.match(peer.of("ERROR")[0].message, fault);
    assert.equal(peer.of("ACK").some(({ ack }) => ack === bad), false, "acknowledged");
    assert.equal(started, 0);
    sendChunk(peer, 0, 0, Buffer.from("good"));
    sendFinish(peer, 0);
    assert.equal((await readAll(readable)).toString(), "good", "the live transaction is untouched");
    await assertAlive(pair);
  });
}

test("a name of exactly 1,024 bytes is good", async (t) => {
  const { session, peer } = await openPair(t);
  for (const [txId, name] of ["a".repeat(1024), "é".repeat(512)].entries()) {
    await sendPush(peer, { txId, name, data: Buffer.from("x") });
    assert.equal((await readAll(await session.transaction.WaitForStream(name))).toString(), "x");
  }
});

test("a TX_START from a client without the transactions feature closes with 4002", async (t) => {
  const running = await startServer(t);
  const peer = await Peer.connect({ port: running.port, autoInfo: false });
  peer.sendInfo({ features: 0n });
  peer.sendTxStart({ name: "not allowed" });
  assert.equal((await peer.closed).code, 4002);
});

test("a client that has sent no ENDPOINT_INFO counts as one with transactions at its first TX_START", async (t) => {
  const running = await startServer(t);
  let connected = 0;
  const { session, peer } = await openSession(running, { autoInfo: false }, (opened) => opened.on("connected", () => connected++));
  await sendPush(peer, { name: "first of all", data: Buffer.from("x") });
  assert.equal((await readAll(await session.transaction.WaitForStream("first of all"))).toString(), "x");
  assert.equal(connected, 1);
});

// How many.

test("64 incoming streams at once; the 65th is refused with an ERROR frame, and taken once another has ended", async (t) => {
  const { session, peer } = await openPair(t);
  for (let txId = 0; txId < 64; txId++) await peer.acked(peer.sendTxStart({ txId, name: `stream ${txId}` }));
  const readables = await Promise.all(Array.from({ length: 64 }, (_, i) => session.transaction.WaitForStream(`stream ${i}`)));
  const refused = peer.sendTxStart({ txId: 64, name: "one too many" });
  await peer.roundTrip();
  assert.equal(peer.of("ERROR").length, 1);
  assert.equal(peer.of("ACK").some(({ ack }) => ack === refused), false, "acknowledged");
  for (let txId = 0; txId < 64; txId++) {
    sendChunk(peer, txId, 0, Buffer.of(txId));
    sendFinish(peer, txId);
  }
  for (const [txId, readable] of readables.entries()) assert.deepEqual([...(await readAll(readable))], [txId]);
  await eventually(() => readables.every(({ closed }) => closed));
  const { ack } = await sendPush(peer, { txId: 64, name: "now", data: Buffer.from("x") });
  await peer.acked(ack);
  assert.equal((await readAll(await session.transaction.WaitForStream("now"))).toString(), "x");
});

test("maxTransactions is per session, and a cancelled stream makes room", async (t) => {
  const running = await startServer(t, { maxTransactions: 2 });
  for (const { session, peer } of [await openSession(running), await openSession(running)]) {
    const acks = [0, 1].map((txId) => peer.sendTxStart({ txId, name: "few" }));
    for (const ack of acks) await peer.acked(ack);
    peer.sendTxStart({ txId: 2, name: "few" });
    await peer.next("ERROR");
    const first = await session.transaction.WaitForStream("few");
    first.destroy();
    await takeCancel(peer, 0);
    await peer.acked(peer.sendTxStart({ txId: 3, name: "few" }));
    await peer.acked(sendCancel(peer, 1));
    await peer.acked(peer.sendTxStart({ txId: 4, name: "few" }));
  }
});

// Streams that nobody reads.

test("an unread stream stalls neither messages, ACKs nor heartbeats, and is whole when it is read", async (t) => {
  const pair = await openStream(t, { size: BigInt(8 * MIB), options: { keepAliveIntervalMs: 1500 } });
  const { session, peer, readable } = pair;
  const data = payload(8 * MIB);
  let texts = 0;
  session.on("message-utf8", () => texts++);
  await sendChunks(peer, 0, data);
  await peer.acked(peer.sendText("after 8 MiB"), 5000);
  await eventually(() => texts === 1);
  await session.base.SendUTF8("the other way");
  await sendPush(peer, { txId: 1, name: "beside", data: payload(MIB) });
  assertSameBytes(await readAll(await session.transaction.WaitForStream("beside")), payload(MIB), "another stream");
  const pings = peer.of("PING_PONG").length;
  await peer.until(() => peer.of("PING_PONG").length >= pings + 2, 10_000, "heartbeats go on");
  assert.ok(peer.isOpen);
  await peer.acked(sendFinish(peer, 0));
  assert.ok(readable.readableLength <= readable.readableHighWaterMark + MIB, `${readable.readableLength} bytes in the readable`);
  assertSameBytes(await readAll(readable), data);
});

test("an unread stream over maxSpoolBytes is cancelled, and its reader learns why", async (t) => {
  const pair = await openStream(t, { options: { maxSpoolBytes: MIB } });
  await sendChunks(pair.peer, 0, payload(32 * MIB));
  await takeCancel(pair.peer, 0);
  assert.ok((await streamError(pair.readable)) instanceof Error);
  await assertAlive(pair);
});

test("a stream larger than maxSpoolBytes passes when it is read as it comes", { timeout: 60_000 }, async (t) => {
  const pair = await openStream(t, { options: { maxSpoolBytes: 8 * MIB } });
  const data = payload(64 * MIB);
  const reading = readAll(pair.readable, 40_000);
  for (let at = 0; at < data.length; at += MIB) {
    await sendChunks(pair.peer, 0, data.subarray(at, at + MIB), { at });
    await eventually(() => Number(pair.readable.getReceivedBytes()) >= at);
  }
  sendFinish(pair.peer, 0);
  assertSameBytes(await reading, data);
});

test("64 MiB unread: the server keeps its memory, and all of it is there later", { timeout: 90_000 }, async (t) => {
  const child = Child.start(t, "stream-receiver.mjs", { name: "big" });
  const { port } = await child.report("listening");
  const peer = await Peer.connect({ port });
  await peer.ready();
  await sendPush(peer, { txId: 0, name: "warm-up", data: payload(4 * MIB) });
  peer.sendTxStart({ txId: 1, name: "big" });
  await child.report("stream");
  const data = payload(64 * MIB);
  await sendChunks(peer, 1, data);
  await peer.acked(sendFinish(peer, 1), 20_000);
  await peer.echo("still here", 20_000);
  child.command("stats");
  const { bytesSpooled } = await child.report("stats");
  assert.ok(bytesSpooled > 56 * MIB, `${bytesSpooled} bytes are on disk`);
  child.command("read");
  const { length, digest } = await child.report("read", 30_000);
  assert.equal(length, data.length);
  assert.equal(digest, sha256(data));
});

test("a stream that nobody asks for is kept for a while, then cancelled", { timeout: 90_000 }, async (t) => {
  const { session, peer } = await openPair(t);
  for (const txId of [0, 1]) {
    await peer.acked(peer.sendTxStart({ txId, name: `unasked ${txId}` }));
    sendChunk(peer, txId, 0, payload(100 * KIB));
  }
  await delay(3000);
  assert.equal(peer.of("TX_CANCEL").length, 0, "kept for longer than the default timeout of WaitForStream");
  const taken = await session.transaction.WaitForStream("unasked 0");
  await takeCancel(peer, 1, 65_000);
  assert.equal((await rejection(session.transaction.WaitForStream("unasked 1", 100))).code, "ERR_CAMP_TIMEOUT");
  sendFinish(peer, 0);
  assertSameBytes(await readAll(taken), payload(100 * KIB));
  assert.equal(peer.of("TX_CANCEL").length, 1);
});

test("a flood of finished streams that nobody asks for does not fill the memory, and stalls nobody", { timeout: 60_000 }, async (t) => {
  const child = Child.start(t, "stream-sender.mjs", {}, { execArgv: ["--expose-gc"] });
  const { port } = await child.report("listening");
  const [peer, neighbour] = [await Peer.connect({ port }), await Peer.connect({ port })];
  await Promise.all([peer.ready(), neighbour.ready()]);
  child.command("retained");
  const before = await child.report("retained");
  const data = payload(32 * KIB);
  for (let txId = 0; txId < 10_000 && peer.isOpen; txId++) await sendPush(peer, { txId, name: `${txId}`.padEnd(1024), data });
  await neighbour.echo("after the flood", 20_000);
  child.command("retained");
  const after = await child.report("retained");
  // Of the 312 MiB that came.
  assert.ok(after.heap - before.heap < 32 * MIB, `${after.heap - before.heap} bytes are kept`);
});

test("data of a stream that ends in an error is not mistaken for its whole", async (t) => {
  const { session, peer } = await openPair(t);
  const waiting = session.transaction.WaitForStream("cancelled");
  peer.sendTxStart({ name: "cancelled", size: 1000n });
  const reading = readAll(await waiting);
  sendChunk(peer, 0, 0, payload(999));
  sendCancel(peer, 0);
  assert.equal((await rejection(reading)).code, "ERR_CAMP_CANCELLED");
  const ended = once(session, "closed");
  peer.close(4000);
  await ended;
});
