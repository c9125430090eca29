import assert from "node:assert/strict";
import { truncate } from "node:fs/promises";
import { Child } from "./support/child.mjs";
import { CAMP_FLOW_BEHAVIOUR } from "./support/product.mjs";
import { KERNEL, standstill } from "./support/kernel.mjs";
import { Peer } from "./support/peer.mjs";
import { openPair, rejection } from "./support/server.mjs";
import { test } from "./support/test.mjs";
import {
  KIB, MIB, PULL, SOURCES, assertSameBytes, bytesOf, chunksOf, counted, fetchRange, joinChunks, openEnded, payload, receivePush,
  sendCancel, sendFetch, sparseFile, takeCancel, takeFinish, takeStart, tempFile,
} from "./support/streams.mjs";
import { isPending, within } from "./support/wait.mjs";

const MAX_U64 = 2n ** 64n - 1n;

/** Offers a source for pulling; the start's size is checked against `size`. */
async function offer({ session, peer }, source, size, options = {}) {
  const sent = session.transaction.Stream(source, { behaviour: "pull", ...options });
  sent.catch(() => {});
  const start = await takeStart(peer, 10_000);
  assert.equal(start.size, BigInt(size));
  assert.equal(start.behaviour, PULL);
  return { sent, txId: start.txId, start };
}

const finishes = (peer, txId) => peer.of("TX_FINISH").filter((finish) => finish.txId === txId).length;

for (const [kind, { make }] of Object.entries(SOURCES)) {
  test(`${kind} is pulled in any ranges, with its size announced`, { timeout: 60_000 }, async (t) => {
    const pair = await openPair(t);
    const size = 3 * MIB + 7;
    const data = payload(size, 3);
    const { sent, txId, start } = await offer(pair, await make(t, data), size, { streamName: "to pull" });
    assert.equal(start.name, "to pull");
    await pair.peer.roundTrip();
    assert.equal(pair.peer.of("TX_CHUNK").length, 0, "nothing comes unasked");
    const ranges = [[size - 1, size], [0, 1], [MIB, 2 * MIB], [MIB - 10, MIB + 10], [0, 1], [65_535, 300_001], [2 * MIB, size - 100]];
    for (const [from, to] of ranges) {
      assertSameBytes(await fetchRange(pair.peer, txId, from, to), data.subarray(from, to), `${from} to ${to}`);
    }
    await pair.peer.roundTrip();
    assert.equal(finishes(pair.peer, txId), 0, "ranges are missing");
    assert.ok(await isPending(sent));
    assertSameBytes(await fetchRange(pair.peer, txId, 0, size), data);
    await takeFinish(pair.peer, txId);
    await within(sent, 5000, "Stream()");
    await pair.peer.roundTrip();
    assert.equal(finishes(pair.peer, txId), 1);
  });

  test(`${kind} of no bytes at all is finished at once`, async (t) => {
    const pair = await openPair(t);
    const { sent, txId } = await offer(pair, await make(t, Buffer.alloc(0)), 0);
    await takeFinish(pair.peer, txId);
    await within(sent, 5000, "Stream()");
    assert.equal(pair.peer.of("TX_CHUNK").length, 0);
  });
}

test("pull may be asked for by constant and by name", async (t) => {
  const pair = await openPair(t);
  for (const behaviour of [CAMP_FLOW_BEHAVIOUR.TX_PULL, "pull"]) {
    const { sent, txId } = await offer(pair, Buffer.from("x"), 1, { behaviour });
    await fetchRange(pair.peer, txId, 0, 1);
    await sent;
  }
});

const COVERINGS = {
  "in order": [[0, 300], [300, 600], [600, 1000]],
  "from the end": [[600, 1000], [300, 600], [0, 300]],
  "overlapping": [[0, 400], [300, 700], [650, 1000]],
  "with one gap closed last": [[0, 499], [500, 1000], [499, 500]],
  "repeated": [[0, 500], [0, 500], [100, 200], [0, 500], [500, 1000]],
  "one inside the other": [[100, 900], [200, 300], [0, 150], [850, 1000]],
  "byte by byte at the borders": [[1, 999], [0, 1], [999, 1000]],
};

for (const [how, ranges] of Object.entries(COVERINGS)) {
  test(`ranges ${how}: one TX_FINISH, after the range that completes the whole`, async (t) => {
    const pair = await openPair(t);
    const data = payload(1000);
    const { sent, txId } = await offer(pair, data, 1000);
    for (const [i, [from, to]] of ranges.entries()) {
      assert.equal(finishes(pair.peer, txId), 0, `before range ${i}`);
      assertSameBytes(await fetchRange(pair.peer, txId, from, to), data.subarray(from, to));
      if (i < ranges.length - 1) await pair.peer.roundTrip();
    }
    await takeFinish(pair.peer, txId);
    await within(sent, 5000, "Stream()");
    sendFetch(pair.peer, txId, 0, 10);
    await pair.peer.roundTrip();
    assert.equal(finishes(pair.peer, txId), 1);
    assert.equal(pair.peer.of("ERROR").length, 0);
  });
}

test("ranges asked for all at once are served in the order asked, TX_FINISH last", async (t) => {
  const pair = await openPair(t);
  const size = 4 * MIB;
  const data = payload(size);
  const { sent, txId } = await offer(pair, { path: await tempFile(t, data) }, size);
  const ranges = [[3 * MIB, 4 * MIB], [5, 2 * MIB], [MIB, 3 * MIB + 3], [0, 10]];
  for (const [from, to] of ranges) sendFetch(pair.peer, txId, from, to);
  const finish = await takeFinish(pair.peer, txId);
  await sent;
  assert.equal(pair.peer.frames.filter(({ type }) => type.startsWith("TX_")).at(-1), finish);
  const chunks = chunksOf(pair.peer, txId);
  for (const [from, to] of ranges) {
    const mine = [];
    while (bytesOf(mine) < to - from) mine.push(chunks.shift());
    assertSameBytes(joinChunks(mine, from), data.subarray(from, to), `${from} to ${to}`);
  }
  assert.equal(chunks.length, 0);
});

test("an end past the size is cut to it", async (t) => {
  const pair = await openPair(t);
  const data = payload(1000);
  const { sent, txId } = await offer(pair, data, 1000);
  assertSameBytes(await fetchRange(pair.peer, txId, 900, 1001, { length: 100 }), data.subarray(900));
  assertSameBytes(await fetchRange(pair.peer, txId, 999, MAX_U64, { length: 1 }), data.subarray(999));
  assertSameBytes(await fetchRange(pair.peer, txId, 0, 2n ** 63n, { length: 1000 }), data);
  await takeFinish(pair.peer, txId);
  await sent;
});

test("an invalid range is answered with an ERROR frame, sends nothing, and the transaction lives on", async (t) => {
  const pair = await openPair(t);
  const { peer } = pair;
  const data = payload(1000);
  const { sent, txId } = await offer(pair, data, 1000);
  const invalid = [[10, 10], [0, 0], [20, 10], [1000, 1001], [5000, 6000], [MAX_U64, MAX_U64], [2n ** 63n, MAX_U64], [MAX_U64, 0]];
  for (const [i, [from, to]] of invalid.entries()) {
    sendFetch(peer, txId, from, to);
    await peer.roundTrip();
    assert.equal(peer.of("ERROR").length, i + 1, `${from} to ${to}: no ERROR frame`);
    assert.ok(peer.of("ERROR")[i].message.length > 0);
    assert.equal(peer.of("TX_CHUNK").length, 0, `${from} to ${to}: served`);
  }
  assertSameBytes(await fetchRange(peer, txId, 0, 1000), data);
  await takeFinish(peer, txId);
  await sent;
});

test("a fetch of an unknown transaction is ignored", async (t) => {
  const pair = await openPair(t);
  const { sent, txId } = await offer(pair, payload(10), 10);
  for (const unknown of [txId + 1, 99, 0xffff_ffff]) sendFetch(pair.peer, unknown, 0, 10);
  await pair.peer.roundTrip();
  assert.equal(pair.peer.of("ERROR").length, 0);
  assert.equal(pair.peer.of("TX_CHUNK").length, 0);
  await fetchRange(pair.peer, txId, 0, 10);
  await sent;
});

test("a fetch of a push transaction does not disturb it", async (t) => {
  const { session, peer } = await openPair(t);
  const data = payload(4 * MIB);
  const sent = session.transaction.Stream(data);
  await peer.next("TX_CHUNK");
  sendFetch(peer, 0, 100, 200);
  const finish = await takeFinish(peer, 0);
  await sent;
  assert.equal(finish.txId, 0);
  assertSameBytes(joinChunks(chunksOf(peer, 0)), data);
});

test("part of a file is pulled by positions within that part", async (t) => {
  const pair = await openPair(t);
  const data = payload(100_000);
  const { sent, txId } = await offer(pair, { path: await tempFile(t, data), start: 1000, end: 50_999 }, 50_000);
  assertSameBytes(await fetchRange(pair.peer, txId, 10, 20), data.subarray(1010, 1020));
  assertSameBytes(await fetchRange(pair.peer, txId, 0, MAX_U64, { length: 50_000 }), data.subarray(1000, 51_000));
  await takeFinish(pair.peer, txId);
  await sent;
});

test("a file of more than 4 GiB is pulled at any range", async (t) => {
  const pair = await openPair(t);
  const size = 2 ** 32 + 5 * MIB + 5;
  const places = [0, 123_456_789, 2 ** 31 - 50, 2 ** 32 - 50, 2 ** 32 + MIB, size - 100];
  const mark = payload(100, 9);
  const { txId } = await offer(pair, { path: await sparseFile(t, size, places.map((at) => [at, mark])) }, size);
  const expected = (from, to) => {
    const bytes = Buffer.alloc(to - from);
    for (const at of places) {
      if (at < to && at + mark.length > from) mark.copy(bytes, Math.max(0, at - from), Math.max(0, from - at));
    }
    return bytes;
  };
  const check = async (from, to) => assertSameBytes(await fetchRange(pair.peer, txId, from, to), expected(from, to), `${from} to ${to}`);
  for (const at of places) {
    await check(at, at + 100);
    await check(Math.max(0, at - 1000), Math.min(at + MIB, size));
  }
  for (let i = 0, seed = 1; i < 50; i++) {
    seed = (seed * 48_271) % 2_147_483_647;
    const at = Math.floor((seed / 2_147_483_647) * (size - 1000));
    await check(at, at + 1000);
  }
  assert.equal(finishes(pair.peer, txId), 0);
  sendCancel(pair.peer, txId);
});

test("several transactions are pulled at once, their fetches mixed", async (t) => {
  const pair = await openPair(t);
  const datas = [1, 2, 3].map((seed) => payload(MIB + seed, seed));
  const offers = [];
  for (const data of datas) offers.push(await offer(pair, data, data.length));
  for (let at = 0; at < MIB + 3; at += 128 * KIB) {
    for (const [i, { txId }] of offers.entries()) {
      if (at < datas[i].length) sendFetch(pair.peer, txId, at, at + 128 * KIB);
    }
  }
  await within(Promise.all(offers.map(({ sent }) => sent)), 15_000, "all of them");
  for (const [i, { txId }] of offers.entries()) assertSameBytes(joinChunks(chunksOf(pair.peer, txId)), datas[i]);
});

test("fetches are told as tx-fetch events", async (t) => {
  const pair = await openPair(t);
  const fetches = [];
  pair.session.transaction.on("tx-fetch", (...args) => fetches.push(args));
  const { sent, txId } = await offer(pair, payload(100), 100);
  await fetchRange(pair.peer, txId, 10, 20);
  await fetchRange(pair.peer, txId, 0, 100);
  await sent;
  assert.deepEqual(fetches.map((fetch) => fetch.map(Number)), [[txId, 10, 20], [txId, 0, 100]]);
  assert.equal(typeof fetches[0][1], "bigint");
});

test("the client's TX_CANCEL ends a pull: ERR_CAMP_CANCELLED, and fetches after it are ignored", async (t) => {
  const pair = await openPair(t);
  for (const { make } of [SOURCES["a Node Readable"], SOURCES["a file"], SOURCES["a Buffer"]]) {
    const { sent, txId } = await offer(pair, await make(t, payload(1000)), 1000);
    await fetchRange(pair.peer, txId, 0, 10);
    const chunks = pair.peer.of("TX_CHUNK").length;
    const ack = sendCancel(pair.peer, txId);
    sendFetch(pair.peer, txId, 0, 1000);
    assert.equal((await rejection(sent)).code, "ERR_CAMP_CANCELLED");
    await pair.peer.acked(ack);
    await pair.peer.roundTrip();
    assert.equal(pair.peer.of("TX_CHUNK").length, chunks);
    assert.equal(finishes(pair.peer, txId), 0);
  }
});

test("an AbortSignal ends a pull: TX_CANCEL and AbortError", async (t) => {
  const pair = await openPair(t);
  const controller = new AbortController();
  const { sent, txId } = await offer(pair, payload(1000), 1000, { signal: controller.signal });
  await fetchRange(pair.peer, txId, 0, 10);
  controller.abort();
  assert.equal((await rejection(sent)).name, "AbortError");
  await takeCancel(pair.peer, txId);
});

test("a source that fails while it is spooled: its own error, nothing announced that is not cancelled", async (t) => {
  const { session, peer } = await openPair(t);
  const error = new Error("no more");
  const source = openEnded();
  const sent = session.transaction.Stream(source, { behaviour: "pull" });
  setTimeout(() => source.destroy(error), 50);
  assert.equal(await rejection(sent), error);
  await peer.roundTrip();
  await peer.until(() => peer.of("TX_CANCEL").length === peer.of("TX_START").length);
  assert.equal(peer.of("TX_FINISH").length, 0);
});

test("a source over maxSpoolBytes is refused; a file and a Buffer are not spooled", async (t) => {
  const pair = await openPair(t, { options: { maxSpoolBytes: MIB } });
  const { session, peer } = pair;
  const state = {};
  const error = await rejection(session.transaction.Stream(counted(64 * MIB, state), { behaviour: "pull" }));
  assert.ok(error instanceof Error);
  assert.ok(state.produced <= 8 * MIB, `${state.produced} bytes read`);
  await peer.roundTrip();
  await peer.until(() => peer.of("TX_CANCEL").length === peer.of("TX_START").length);
  const data = payload(3 * MIB);
  for (const source of [data, { path: await tempFile(t, data) }]) {
    const { sent, txId } = await offer(pair, source, data.length);
    assertSameBytes(await fetchRange(peer, txId, 0, data.length), data);
    await sent;
  }
  const fits = await offer(pair, SOURCES["an async iterable"].make(t, data.subarray(0, MIB)), MIB);
  assertSameBytes(await fetchRange(peer, fits.txId, 0, MIB), data.subarray(0, MIB));
  await fits.sent;
});

test("a file truncated before its range is asked for: TX_CANCEL and a rejection", async (t) => {
  const pair = await openPair(t);
  const path = await sparseFile(t, 8 * MIB);
  const { sent, txId } = await offer(pair, { path }, 8 * MIB);
  await fetchRange(pair.peer, txId, 0, 1000);
  await truncate(path, 2000);
  sendFetch(pair.peer, txId, 4 * MIB, 5 * MIB);
  assert.ok((await rejection(sent)) instanceof Error);
  await takeCancel(pair.peer, txId);
  assert.equal(finishes(pair.peer, txId), 0);
});

test("a missing file: ENOENT, and the session lives on", async (t) => {
  const { session, peer } = await openPair(t);
  assert.equal((await rejection(session.transaction.Stream({ path: "/nowhere/at/all" }, { behaviour: "pull" }))).code, "ENOENT");
  await peer.roundTrip();
  await peer.until(() => peer.of("TX_CANCEL").length === peer.of("TX_START").length);
  const sent = session.transaction.Stream(Buffer.from("x"), { streamName: "next" });
  await receivePush(peer, { name: "next" });
  await sent;
});

test("a thousand fetches sent at once are each served or refused, and the session answers", async (t) => {
  const pair = await openPair(t);
  const { session, peer } = pair;
  const { txId } = await offer(pair, payload(MIB), MIB);
  for (let i = 0; i < 1000; i++) sendFetch(peer, txId, i, i + 1);
  await peer.until(() => chunksOf(peer, txId).length + peer.of("ERROR").length === 1000, 10_000, "an answer to each fetch");
  assert.ok(chunksOf(peer, txId).length > 0);
  await session.base.SendUTF8("alive");
  sendCancel(peer, txId);
});

test("a flood of fetches from a client that does not read: bounded memory, and nobody else is stalled", { timeout: 60_000 }, async (t) => {
  const child = Child.start(t, "stream-sender.mjs");
  const { port } = await child.report("listening");
  const peer = await Peer.connect({ port });
  await peer.ready();
  const neighbour = await Peer.connect({ port });
  await neighbour.ready();
  child.command("stream", { kind: "file", behaviour: "pull", path: await sparseFile(t, 64 * MIB) });
  const before = await child.report("streaming");
  const { txId } = await takeStart(peer);
  peer.pauseReading();
  for (let i = 0; i < 20_000; i++) sendFetch(peer, txId, i, 64 * MIB);
  await neighbour.echo("during the flood");
  const taken = async () => {
    child.command("stats");
    return (await child.report("stats")).taken - before.taken;
  };
  await standstill(taken);
  assert.ok((await taken()) < 24 * MIB + KERNEL, `${await taken()} bytes were read`);
  await neighbour.echo("after the flood");
  peer.terminate();
  assert.equal((await child.report("settled", 15_000)).code, "ERR_CAMP_SESSION_CLOSED");
  await neighbour.echo("after the client has gone");
});
