// One number, several transactions: in both directions at once, and one after the other.
import assert from "node:assert/strict";
import { openPair, rejection } from "./support/server.mjs";
import { test } from "./support/test.mjs";
import {
  MIB, PULL, assertSameBytes, chunksOf, fetchRange, joinChunks, openEnded, payload, readAll, sendCancel, sendChunk, sendFetch, sendFinish,
  sendPush, streamError, takeCancel, takeFinish, takeStart,
} from "./support/streams.mjs";
import { isPending, within } from "./support/wait.mjs";

/** Transaction 0 in both directions: a pull of the server's, and a push of the peer's. */
async function both(t) {
  const pair = await openPair(t);
  const data = payload(3 * MIB);
  const sent = pair.session.transaction.Stream(data, { behaviour: "pull" });
  sent.catch(() => {});
  assert.equal((await takeStart(pair.peer)).txId, 0);
  const waiting = pair.session.transaction.WaitForStream("upload");
  pair.peer.sendTxStart({ txId: 0, name: "upload" });
  return { ...pair, data, sent, readable: await waiting };
}

test("an upload is given up, and the download of the same number is not: TX_CANCEL waits for its TX_FINISH", async (t) => {
  const { session, peer, data, sent, readable } = await both(t);
  session.transaction.Cancel(readable);
  await peer.roundTrip();
  assert.equal(peer.of("TX_CANCEL").length, 0, "the client would take it for the download's");
  sendChunk(peer, 0, 0, payload(1000));
  assertSameBytes(await fetchRange(peer, 0, 0, data.length), data);
  const finish = await takeFinish(peer, 0);
  await within(sent, 5000, "Stream()");
  const cancel = await takeCancel(peer, 0);
  assert.ok(peer.frames.indexOf(finish) < peer.frames.indexOf(cancel));
});

test("a client's TX_CANCEL of a number that lives in both directions means its own transaction", async (t) => {
  const { peer, data, sent, readable } = await both(t);
  const failed = streamError(readable);
  await peer.acked(sendCancel(peer, 0));
  assert.equal((await failed).code, "ERR_CAMP_CANCELLED");
  assert.ok(await isPending(sent));
  assertSameBytes(await fetchRange(peer, 0, 0, data.length), data);
  await within(sent, 5000, "Stream()");
});

test("a client's TX_CANCEL of what the server has given up already does not end the download of that number", async (t) => {
  const { session, peer, data, sent, readable } = await both(t);
  session.transaction.Cancel(readable);
  await peer.acked(sendCancel(peer, 0));
  assert.ok(await isPending(sent));
  assertSameBytes(await fetchRange(peer, 0, 0, data.length), data);
  await within(sent, 5000, "Stream()");
  await peer.roundTrip();
  assert.equal(peer.of("TX_CANCEL").length, 0);
});

test("a stream aborted behind its TX_FINISH sends no TX_CANCEL: it would mean the client's own transaction", async (t) => {
  const { session, peer } = await openPair(t, { peer: { autoAck: false } });
  peer.sendAck(0);
  const abort = new AbortController();
  const sent = session.transaction.Stream(Buffer.from("x"), { signal: abort.signal });
  await takeFinish(peer, 0);
  abort.abort(new Error("too late"));
  assert.equal((await rejection(sent)).cause.message, "too late");
  await peer.roundTrip();
  assert.equal(peer.of("TX_CANCEL").length, 0);
});

test("a pull that is given up while a push of its number runs is cancelled behind the end of that", async (t) => {
  const { session, peer } = await openPair(t);
  const source = openEnded();
  const sent = session.transaction.Stream(source);
  await takeStart(peer);
  const waiting = session.transaction.WaitForStream("upload");
  peer.sendTxStart({ txId: 0, name: "upload", size: 100n, behaviour: PULL });
  session.transaction.Cancel(await waiting);
  source.push(null);
  await within(sent, 5000, "Stream()");
  await takeCancel(peer, 0);
});

test("ranges asked for twice are served twice, and nothing follows TX_FINISH", async (t) => {
  const { session, peer } = await openPair(t);
  const data = payload(MIB + 1);
  const sent = session.transaction.Stream([data], { behaviour: "pull" });
  await takeStart(peer);
  for (let i = 0; i < 3; i++) sendFetch(peer, 0, 0, MIB);
  sendFetch(peer, 0, MIB, data.length);
  const finish = await takeFinish(peer, 0);
  await within(sent, 5000, "Stream()");
  sendFetch(peer, 0, 0, 10);
  await peer.roundTrip();
  const chunks = chunksOf(peer, 0);
  assert.ok(chunks.every((chunk) => peer.frames.indexOf(chunk) < peer.frames.indexOf(finish)), "a chunk follows TX_FINISH");
  const ends = chunks.splice(-1);
  assertSameBytes(joinChunks(ends, MIB), data.subarray(MIB), "the last byte");
  for (let i = 0; i < 3; i++) assertSameBytes(joinChunks(chunks.splice(0, chunks.length / (3 - i))), data.subarray(0, MIB), `time ${i}`);
});

test("a number used again while its first stream lies unread: both are whole", async (t) => {
  const { session, peer } = await openPair(t);
  const [one, two] = [payload(7 * MIB, 1), payload(6 * MIB, 2)];
  await sendPush(peer, { txId: 0, name: "one", data: one, chunkSize: MIB });
  await sendPush(peer, { txId: 0, name: "two", data: two, chunkSize: MIB });
  const readables = await Promise.all(["one", "two"].map((name) => session.transaction.WaitForStream(name)));
  const reading = readables.map((readable) => readAll(readable, 5000));
  for (const one of reading) one.catch(() => {});
  assertSameBytes(await reading[1], two, "the second");
  assertSameBytes(await reading[0], one, "the first");
  sendFinish(peer, 0);
});
