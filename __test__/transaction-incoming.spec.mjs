import assert from "node:assert/strict";
import { Readable, Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { CAMPReadable, CAMP_FLOW_BEHAVIOUR } from "./support/product.mjs";
import { once, openPair, rejection } from "./support/server.mjs";
import { test } from "./support/test.mjs";
import {
  KIB, MIB, SIZES, assertSameBytes, payload, readAll, sendCancel, sendChunk, sendChunks, sendFinish, sendPush, streamError,
} from "./support/streams.mjs";
import { delay, isPending, within } from "./support/wait.mjs";

test("a stream of any size arrives byte for byte", async (t) => {
  const { session, peer } = await openPair(t);
  for (const announced of [true, false]) {
    for (const [i, size] of SIZES.entries()) {
      const data = payload(size, i);
      const waiting = session.transaction.WaitForStream("data");
      const sending = sendPush(peer, { txId: i, name: "data", data, ...(announced ? {} : { size: -1n }) });
      const readable = await waiting;
      assertSameBytes(await readAll(readable), data, `${size} bytes`);
      const { ack, finish } = await sending;
      await peer.acked(ack);
      await peer.acked(finish);
    }
  }
  assert.equal(peer.of("ERROR").length, 0);
  assert.equal(peer.of("TX_CANCEL").length, 0);
});

test("chunks of a single byte and of 1 MiB are both delivered, empty ones too", async (t) => {
  const { session, peer } = await openPair(t);
  const data = payload(2 * MIB + 1000);
  peer.sendTxStart({ name: "uneven" });
  await sendChunks(peer, 0, data.subarray(0, 500), { chunkSize: 1 });
  sendChunk(peer, 0, 500, Buffer.alloc(0));
  await sendChunks(peer, 0, data.subarray(500), { at: 500, chunkSize: MIB });
  sendFinish(peer, 0);
  assertSameBytes(await readAll(await session.transaction.WaitForStream("uneven")), data);
});

test("a chunk over 1 MiB closes with 1009", async (t) => {
  const { peer } = await openPair(t);
  peer.sendTxStart({ name: "fat" });
  sendChunk(peer, 0, 0, Buffer.alloc(MIB + 1));
  assert.equal((await peer.closed).code, 1009);
});

test("WaitForStream finds a stream that has started before, data and all", async (t) => {
  const { session, peer } = await openPair(t);
  const data = payload(100_000);
  await sendPush(peer, { name: "early", data });
  await peer.roundTrip();
  await delay(50);
  assertSameBytes(await readAll(await session.transaction.WaitForStream("early")), data);
});

test("WaitForStream resolves at TX_START, not at the end", async (t) => {
  const { session, peer } = await openPair(t);
  const waiting = session.transaction.WaitForStream("slow");
  await peer.roundTrip();
  assert.ok(await isPending(waiting));
  const ack = peer.sendTxStart({ name: "slow", size: 10n });
  const readable = await within(waiting, 5000, "WaitForStream()");
  await peer.acked(ack);
  const first = once(readable, "data");
  sendChunk(peer, 0, 0, Buffer.from("01234"));
  assert.equal((await first)[0].toString(), "01234");
  const second = once(readable, "data");
  sendChunk(peer, 0, 5, Buffer.from("56789"));
  assert.equal((await second)[0].toString(), "56789");
  const ended = once(readable, "end");
  sendFinish(peer, 0);
  await ended;
});

test("the empty name is anonymous, on the wire and in the call", async (t) => {
  const { session, peer } = await openPair(t);
  const cases = [["", []], ["anonymous", []], ["", [""]], ["", ["anonymous"]], ["anonymous", [""]], ["", [undefined, 1000]]];
  for (const [txId, [name, args]] of cases.entries()) {
    await sendPush(peer, { txId, name, data: Buffer.of(txId) });
    assert.deepEqual([...(await readAll(await session.transaction.WaitForStream(...args)))], [txId]);
  }
});

test("each waiter gets the stream of its name", async (t) => {
  const { session, peer } = await openPair(t);
  const names = ["a", "b", "A", "a ", "日本"];
  const waiting = names.map((name) => session.transaction.WaitForStream(name));
  for (const [txId, name] of names.entries()) peer.sendTxStart({ txId, name });
  for (const [txId, name] of [...names.entries()].reverse()) {
    sendChunk(peer, txId, 0, Buffer.from(`for ${name}`));
    sendFinish(peer, txId);
  }
  const readables = await within(Promise.all(waiting), 5000, "all of them");
  for (const [txId, readable] of readables.entries()) {
    assert.equal(readable.txId, txId);
    assert.equal((await readAll(readable)).toString(), `for ${names[txId]}`);
  }
});

test("of several waiters for one name, each gets one stream, first come, first served", async (t) => {
  const { session, peer } = await openPair(t);
  const waiting = [0, 1, 2].map(() => session.transaction.WaitForStream("same"));
  for (const txId of [10, 11, 12]) await sendPush(peer, { txId, name: "same", data: Buffer.of(txId) });
  const readables = await within(Promise.all(waiting), 5000, "all of them");
  assert.deepEqual(readables.map(({ txId }) => txId), [10, 11, 12]);
  for (const readable of readables) assert.deepEqual([...(await readAll(readable))], [readable.txId]);
});

test("several streams of one name that wait are taken in the order in which they started", async (t) => {
  const { session, peer } = await openPair(t);
  for (const txId of [7, 3, 5]) await sendPush(peer, { txId, name: "same", data: Buffer.of(txId) });
  await peer.roundTrip();
  for (const txId of [7, 3, 5]) {
    const readable = await session.transaction.WaitForStream("same");
    assert.equal(readable.txId, txId);
    assert.deepEqual([...(await readAll(readable))], [txId]);
  }
});

test("a transaction's number may be used again once it is finished", async (t) => {
  const { session, peer } = await openPair(t);
  for (let round = 0; round < 3; round++) {
    await sendPush(peer, { txId: 0, name: `round ${round}`, data: Buffer.of(round) });
    assert.deepEqual([...(await readAll(await session.transaction.WaitForStream(`round ${round}`)))], [round]);
  }
  assert.equal(peer.of("ERROR").length, 0);
});

test("one number lives in both directions as two transactions", async (t) => {
  const { session, peer } = await openPair(t);
  const [there, back] = [payload(300_000, 1), payload(300_000, 2)];
  const sent = session.transaction.Stream(back, { streamName: "back" });
  await sendPush(peer, { txId: 0, name: "there", data: there });
  assertSameBytes(await readAll(await session.transaction.WaitForStream("there")), there);
  await within(sent, 5000, "Stream()");
  assertSameBytes(Buffer.concat(peer.of("TX_CHUNK").map(({ data }) => data)), back);
});

test("without a stream WaitForStream rejects with Timeout elapsed! after 2,500 ms, or the time given", async (t) => {
  const { session } = await openPair(t);
  for (const [args, least] of [[["never"], 2450], [["never", 100], 95], [[], 2450]]) {
    const start = performance.now();
    const error = await rejection(session.transaction.WaitForStream(...args), 6000);
    const took = performance.now() - start;
    assert.equal(error.message, "Timeout elapsed!");
    assert.equal(error.code, "ERR_CAMP_TIMEOUT");
    assert.ok(error instanceof Error);
    assert.ok(took >= least, `after ${took} ms`);
  }
});

test("a waiter that has timed out does not swallow the stream that comes later", async (t) => {
  const { session, peer } = await openPair(t);
  await rejection(session.transaction.WaitForStream("late", 50));
  const second = session.transaction.WaitForStream("late", 30_000);
  await sendPush(peer, { name: "late", data: Buffer.from("here") });
  assert.equal((await readAll(await second)).toString(), "here");
});

test("the readable tells what it is and how far it is", async (t) => {
  const { session, peer } = await openPair(t);
  const data = payload(100_000);
  const waiting = session.transaction.WaitForStream("facts");
  peer.sendTxStart({ txId: 42, name: "facts", size: 100_000n });
  const readable = await waiting;
  assert.ok(readable instanceof CAMPReadable);
  assert.ok(readable instanceof Readable);
  assert.equal(readable.txId, 42);
  assert.equal(readable.byteLength, 100_000n);
  assert.equal(readable.behaviour, CAMP_FLOW_BEHAVIOUR.TX_PUSH);
  assert.equal(readable.isPush(), true);
  assert.equal(readable.isPull(), false);
  assert.equal(readable.isComplete(), false);
  assert.equal(Number(readable.getReceivedBytes()), 0);
  assert.equal(Number(readable.getRemainingBytes()), 100_000);
  assert.equal(readable.getProgress(), 0);

  sendChunk(peer, 42, 0, data.subarray(0, 50_000));
  let got = 0;
  for await (const part of readable.iterator({ destroyOnReturn: false })) {
    got += part.length;
    if (got === 50_000) break;
  }
  assert.equal(Number(readable.getReceivedBytes()), 50_000);
  assert.equal(Number(readable.getRemainingBytes()), 50_000);
  assert.equal(readable.isComplete(), false);
  const half = readable.getProgress();
  assert.ok(half > 0);

  sendChunk(peer, 42, 50_000, data.subarray(50_000));
  sendFinish(peer, 42);
  assertSameBytes(await readAll(readable), data.subarray(50_000));
  assert.equal(Number(readable.getReceivedBytes()), 100_000);
  assert.equal(Number(readable.getRemainingBytes()), 0);
  assert.equal(readable.isComplete(), true);
  assert.equal(readable.getProgress(), 2 * half);
});

test("a stream of unknown length has no byteLength, and counts what came", async (t) => {
  const { session, peer } = await openPair(t);
  await sendPush(peer, { name: "unknown", size: -1n, data: payload(1000) });
  const readable = await session.transaction.WaitForStream("unknown");
  assert.equal(readable.byteLength, null);
  for (const getter of ["getRemainingBytes", "getProgress", "isComplete"]) assert.doesNotThrow(() => readable[getter]());
  await readAll(readable);
  assert.equal(Number(readable.getReceivedBytes()), 1000);
  assert.equal(readable.isComplete(), true);
});

// The ways in which Node programs read.

const READERS = {
  "for await": (readable) => readAll(readable),
  "pipeline into a slow Writable": async (readable) => {
    const parts = [];
    await pipeline(readable, new Writable({
      highWaterMark: 16 * KIB,
      write(part, _encoding, done) {
        parts.push(Buffer.from(part));
        setImmediate(done);
      },
    }));
    return Buffer.concat(parts);
  },
  "Readable.toWeb": async (readable) => {
    const parts = [];
    for await (const part of Readable.toWeb(readable)) parts.push(part);
    return Buffer.concat(parts);
  },
  "read(n) in paused mode": async (readable) => {
    const parts = [];
    const ended = once(readable, "end", 15_000);
    readable.on("readable", () => {
      for (let part; (part = readable.read(1000) ?? readable.read()) !== null;) parts.push(part);
    });
    await ended;
    return Buffer.concat(parts);
  },
  "data events, paused and resumed": async (readable) => {
    const parts = [];
    const ended = once(readable, "end", 15_000);
    readable.on("data", (part) => {
      parts.push(part);
      readable.pause();
      setImmediate(() => readable.resume());
    });
    await ended;
    return Buffer.concat(parts);
  },
};

for (const [how, read] of Object.entries(READERS)) {
  test(`read by ${how}, everything arrives`, async (t) => {
    const { session, peer } = await openPair(t);
    const data = payload(3 * MIB + 5);
    const waiting = session.transaction.WaitForStream("read");
    const sending = sendPush(peer, { name: "read", data });
    assertSameBytes(await within(read(await waiting), 15_000, how), data);
    await sending;
  });
}

test("buffers of a stream belong to their reader: later chunks leave them alone", async (t) => {
  const { session, peer } = await openPair(t);
  const data = payload(4 * MIB);
  const waiting = session.transaction.WaitForStream("own");
  const sending = sendPush(peer, { name: "own", data, chunkSize: 10 * KIB });
  const kept = [];
  for await (const part of await waiting) kept.push(part);
  await sending;
  assertSameBytes(Buffer.concat(kept), data);
});

// Published clients number their chunks in ways of their own.

const OFFSETS = {
  "one too many per chunk, as the original": (n, position) => position + n,
  "by the end of each chunk": (_n, position, length) => position + length,
  "all zero": () => 0,
  "all the largest number": () => 2n ** 64n - 1n,
  "backwards": (n) => 1_000_000 - n,
};

for (const [how, offsetOf] of Object.entries(OFFSETS)) {
  test(`offsets ${how}: delivered in the order of arrival`, async (t) => {
    const { session, peer } = await openPair(t);
    const data = payload(500_000);
    for (const [txId, size] of [[0, 500_000n], [1, -1n]]) {
      await sendPush(peer, { txId, name: "numbered", data, size, chunkSize: 9999, offsetOf });
      assertSameBytes(await readAll(await session.transaction.WaitForStream("numbered")), data);
    }
    assert.equal(peer.of("ERROR").length, 0);
    assert.equal(peer.of("TX_CANCEL").length, 0);
  });
}

test("chunks, TX_FINISH and TX_CANCEL of unknown transactions are ignored", async (t) => {
  const { session, peer } = await openPair(t);
  for (const txId of [0, 5, 0xffff_ffff]) {
    sendChunk(peer, txId, 0, payload(100));
    sendFinish(peer, txId);
    sendCancel(peer, txId);
  }
  await sendPush(peer, { txId: 1, name: "finished", data: Buffer.from("whole") });
  sendChunk(peer, 1, 5, Buffer.from("too late"));
  sendFinish(peer, 1);
  assert.equal((await readAll(await session.transaction.WaitForStream("finished"))).toString(), "whole");
  await peer.roundTrip();
  assert.equal(peer.of("ERROR").length, 0);
  assert.ok(peer.isOpen);
});

test("incoming streams are told as events, read or not", async (t) => {
  const { session, peer } = await openPair(t);
  const events = [];
  for (const name of ["tx-start", "tx-chunk", "tx-finish"]) session.transaction.on(name, (...args) => events.push([name, ...args]));
  const finished = once(session.transaction, "tx-finish");
  await sendPush(peer, { txId: 9, name: "told", data: payload(200_000) });
  await finished;
  assert.deepEqual(events[0], ["tx-start", 9, "told"]);
  assert.deepEqual(events.at(-1), ["tx-finish", 9]);
  const chunks = events.slice(1, -1);
  assert.ok(chunks.every(([name, txId, data]) => name === "tx-chunk" && txId === 9 && Buffer.isBuffer(data)));
  assertSameBytes(Buffer.concat(chunks.map(([, , data]) => data)), payload(200_000));
  assertSameBytes(await readAll(await session.transaction.WaitForStream("told")), payload(200_000));
});

test("a listener of a transaction event that throws harms neither the stream nor the session", async (t) => {
  const { server, session, peer, listenerErrors } = await openPair(t);
  const reported = once(server, "listener-error");
  session.transaction.on("tx-start", () => {
    throw new Error("thrown by a listener");
  });
  await sendPush(peer, { name: "thrown at", data: payload(1000) });
  assertSameBytes(await readAll(await session.transaction.WaitForStream("thrown at")), payload(1000));
  await reported;
  assert.equal(listenerErrors.length, 1);
  listenerErrors.length = 0;
});

test("nothing is lost of a stream whose session ends after its TX_FINISH", async (t) => {
  const { session, peer } = await openPair(t);
  const data = payload(64 * KIB);
  const waiting = session.transaction.WaitForStream("complete");
  const { finish } = await sendPush(peer, { name: "complete", data });
  const readable = await waiting;
  await peer.acked(finish);
  const closed = once(session, "closed");
  peer.close(4000);
  await closed;
  assertSameBytes(await readAll(readable), data);
});

test("a stream whose client goes in its middle errors, whatever was read of it", async (t) => {
  const { session, peer } = await openPair(t);
  const waiting = session.transaction.WaitForStream("cut");
  peer.sendTxStart({ name: "cut", size: 1000n });
  sendChunk(peer, 0, 0, payload(500));
  const readable = await waiting;
  const failed = streamError(readable);
  await once(readable, "data");
  peer.terminate();
  assert.equal((await failed).code, "ERR_CAMP_SESSION_CLOSED");
});
