import assert from "node:assert/strict";
import { Readable } from "node:stream";
import { CAMP_FLOW_BEHAVIOUR } from "./support/product.mjs";
import { assertRefuses, openPair, rejection } from "./support/server.mjs";
import { test } from "./support/test.mjs";
import {
  KIB, MIB, PULL, assertSameBytes, payload, readAll, sendCancel, sendChunks, sendFinish, sendPush, servePull, streamError, takeCancel,
} from "./support/streams.mjs";
import { delay, isPending, within } from "./support/wait.mjs";

async function openPull(t, size, { peer: peerOptions, txId = 0 } = {}) {
  const pair = await openPair(t, { peer: peerOptions });
  if (peerOptions?.autoAck === false) pair.peer.sendAck(0);
  const waiting = pair.session.transaction.WaitForStream("to pull");
  pair.peer.sendTxStart({ txId, name: "to pull", size: BigInt(size), behaviour: PULL });
  return { ...pair, readable: await waiting };
}

/** Collects what the readable gives while the test goes on. */
function collect(readable) {
  const parts = [];
  readable.on("data", (part) => parts.push(part));
  return () => Buffer.concat(parts);
}

test("an incoming pull says what it is", async (t) => {
  const { peer, readable } = await openPull(t, 5000, { txId: 3 });
  assert.equal(readable.txId, 3);
  assert.equal(readable.byteLength, 5000n);
  assert.equal(readable.behaviour, CAMP_FLOW_BEHAVIOUR.TX_PULL);
  assert.equal(readable.isPull(), true);
  assert.equal(readable.isPush(), false);
  await peer.roundTrip();
  assert.equal(peer.of("TX_FETCH").length, 0, "nothing is asked for unasked");
});

test("StreamRequestRange sends TX_FETCH and resolves at its ACK", async (t) => {
  const { session, peer, readable } = await openPull(t, 5000, { peer: { autoAck: false }, txId: 3 });
  const asked = session.transaction.StreamRequestRange(readable, 10n, 4010n);
  const { ack, ...fetch } = await peer.next("TX_FETCH");
  assert.deepEqual([fetch.txId, fetch.start, fetch.end], [3, 10n, 4010n]);
  await peer.roundTrip();
  assert.ok(await isPending(asked));
  peer.sendAck(ack);
  await within(asked, 5000, "StreamRequestRange()");
});

test("ranges arrive in the order asked for, TX_FINISH ends the stream", async (t) => {
  const data = payload(300_000);
  const { session, peer, readable } = await openPull(t, data.length);
  const serving = servePull(peer, { data });
  const ranges = [[200_000, 300_000], [0, 150_000], [100_000, 250_000]];
  for (const [from, to] of ranges) await session.transaction.StreamRequestRange(readable, BigInt(from), BigInt(to));
  const received = await readAll(readable);
  assertSameBytes(received, Buffer.concat(ranges.map(([from, to]) => data.subarray(from, to))));
  assert.deepEqual(await serving, ranges);
  assert.equal(readable.isComplete(), true);
  assert.equal(peer.of("TX_CANCEL").length, 0);
});

test("data can be read between two requests", async (t) => {
  const data = payload(100_000);
  const { session, peer, readable } = await openPull(t, data.length);
  servePull(peer, { data });
  const received = collect(readable);
  for (let at = 0; at < data.length; at += 25_000) {
    const before = received().length;
    assert.equal(before, at);
    const grown = within(new Promise((resolve) => {
      readable.on("data", () => received().length === at + 25_000 && resolve());
    }), 5000, `data from ${at}`);
    await session.transaction.StreamRequestRange(readable, BigInt(at), BigInt(at + 25_000));
    await grown;
  }
  assertSameBytes(received(), data);
});

test("a sender that finishes as soon as a fetch reaches the size, gaps or not, ends the stream cleanly", async (t) => {
  const data = payload(10_000);
  const { session, peer, readable } = await openPull(t, data.length);
  const serving = servePull(peer, { data, eager: true });
  await session.transaction.StreamRequestRange(readable, 9000n, 10_000n);
  assertSameBytes(await readAll(readable), data.subarray(9000));
  await serving;
  await peer.roundTrip();
  assert.equal(peer.of("ERROR").length, 0);
  assert.equal(peer.of("TX_CANCEL").length, 0);
});

test("an end past the size is cut or passed on, never refused", async (t) => {
  const data = payload(1000);
  const { session, peer, readable } = await openPull(t, data.length);
  servePull(peer, { data });
  await session.transaction.StreamRequestRange(readable, 0n, 5000n);
  assertSameBytes(await readAll(readable), data);
});

test("wrong requests are refused and send nothing", async (t) => {
  const { session, peer, readable } = await openPull(t, 1000);
  await sendPush(peer, { txId: 1, name: "a push", data: payload(10) });
  const push = await session.transaction.WaitForStream("a push");
  const { transaction } = session;
  const cases = {
    "start over end": () => transaction.StreamRequestRange(readable, 20n, 10n),
    "an empty range": () => transaction.StreamRequestRange(readable, 10n, 10n),
    "a start at the size": () => transaction.StreamRequestRange(readable, 1000n, 1001n),
    "a negative start": () => transaction.StreamRequestRange(readable, -1n, 10n),
    "an end over 64 bits": () => transaction.StreamRequestRange(readable, 0n, 2n ** 64n),
    "no range": () => transaction.StreamRequestRange(readable),
    "text": () => transaction.StreamRequestRange(readable, "0", "10"),
    "a push stream": () => transaction.StreamRequestRange(push, 0n, 10n),
    "another Readable": () => transaction.StreamRequestRange(Readable.from([]), 0n, 10n),
    "nothing": () => transaction.StreamRequestRange(),
  };
  for (const [what, call] of Object.entries(cases)) await assertRefuses(call, Error, what);
  await peer.roundTrip();
  assert.equal(peer.of("TX_FETCH").length, 0);
  await readAll(push);
});

test("a request for another session's stream is refused", async (t) => {
  const one = await openPull(t, 1000);
  const other = await openPull(t, 1000);
  await assertRefuses(() => one.session.transaction.StreamRequestRange(other.readable, 0n, 10n), Error, "a foreign stream");
  await Promise.all([one.peer.roundTrip(), other.peer.roundTrip()]);
  assert.equal(one.peer.of("TX_FETCH").length + other.peer.of("TX_FETCH").length, 0);
});

test("after the end and after a cancel there is nothing to request", async (t) => {
  for (const end of [sendFinish, sendCancel]) {
    const { session, peer, readable } = await openPull(t, 1000);
    readable.on("error", () => {});
    end(peer, 0);
    await peer.roundTrip();
    readable.resume();
    await assertRefuses(() => session.transaction.StreamRequestRange(readable, 0n, 10n), Error, "an ended stream");
  }
});

test("a TX_FETCH that is not acknowledged: ERR_CAMP_ACK_TIMEOUT, the stream lives on", async (t) => {
  const data = payload(100);
  const pair = await openPair(t, { options: { ackTimeoutMs: 300 }, peer: { autoAck: false } });
  const { session, peer } = pair;
  peer.sendAck(0);
  const waiting = session.transaction.WaitForStream("to pull");
  peer.sendTxStart({ name: "to pull", size: 100n, behaviour: PULL });
  const readable = await waiting;
  assert.equal((await rejection(session.transaction.StreamRequestRange(readable, 0n, 100n))).code, "ERR_CAMP_ACK_TIMEOUT");
  await sendChunks(peer, 0, data);
  sendFinish(peer, 0);
  assertSameBytes(await readAll(readable), data);
});

test("a pull of no bytes ends without a request", async (t) => {
  const { peer, readable } = await openPull(t, 0);
  sendFinish(peer, 0);
  assert.equal((await readAll(readable)).length, 0);
  assert.equal(peer.of("TX_FETCH").length, 0);
});

for (const [size, window] of [[8 * MIB + 1, 256 * KIB], [1000, 64 * KIB], [5000, 1000], [3000, 1], [MIB, MIB], [0, 1000]]) {
  for (const eager of [false, true]) {
    test(`autoPull reads ${size} bytes with a window of ${window} from ${eager ? "a published" : "a correct"} sender`, { timeout: 60_000 }, async (t) => {
      const data = payload(size);
      const { peer, readable } = await openPull(t, size);
      const serving = servePull(peer, { data, eager });
      readable.autoPull(window);
      assertSameBytes(await readAll(readable, 40_000), data);
      const ranges = await serving;
      let at = 0;
      for (const [from, to] of ranges) {
        assert.equal(from, at, "ranges follow each other");
        assert.ok(to - from <= window, `${from} to ${to} is more than the window`);
        at = to;
      }
      assert.equal(at, size);
      await peer.roundTrip();
      assert.equal(peer.of("ERROR").length, 0);
      assert.equal(peer.of("TX_CANCEL").length, 0);
    });
  }
}

test("autoPull asks for no more than its window while nobody reads", async (t) => {
  const data = payload(8 * MIB);
  const { peer, readable } = await openPull(t, data.length);
  const serving = servePull(peer, { data });
  readable.autoPull(256 * KIB);
  await delay(500);
  const asked = peer.of("TX_FETCH").reduce((sum, { start, end }) => sum + Number(end - start), 0);
  assert.ok(asked <= 256 * KIB + readable.readableHighWaterMark + 64 * KIB, `${asked} bytes asked for`);
  assertSameBytes(await readAll(readable), data);
  await serving;
});

test("autoPull takes a window that is a whole number of at least one byte", async (t) => {
  const { readable } = await openPull(t, 1000);
  for (const window of [0, -1, 1.5, NaN, "many", null]) {
    assert.throws(() => readable.autoPull(window), Error, `a window of ${window}`);
  }
});

test("a pull given up by its reader sends TX_CANCEL and no further TX_FETCH", async (t) => {
  const data = payload(4 * MIB);
  const { peer, readable } = await openPull(t, data.length);
  servePull(peer, { data });
  readable.autoPull(64 * KIB);
  for await (const _part of readable) break;
  await takeCancel(peer, 0);
  await peer.roundTrip();
  const { length } = peer.of("TX_FETCH");
  await delay(100);
  await peer.roundTrip();
  assert.equal(peer.of("TX_FETCH").length, length);
});

test("the client's TX_CANCEL ends a pull with ERR_CAMP_CANCELLED", async (t) => {
  const { session, peer, readable } = await openPull(t, 1000, { peer: { autoAck: false } });
  const asked = session.transaction.StreamRequestRange(readable, 0n, 10n);
  asked.catch(() => {});
  await peer.next("TX_FETCH");
  const failed = streamError(readable);
  await peer.acked(sendCancel(peer, 0));
  assert.equal((await failed).code, "ERR_CAMP_CANCELLED");
});
