import assert from "node:assert/strict";
import { appendFile } from "node:fs/promises";
import { CAMP_FLOW_BEHAVIOUR } from "./support/product.mjs";
import { assertRefuses, openPair, openSession, sessionFor, startServer } from "./support/server.mjs";
import { Peer, freshSid } from "./support/peer.mjs";
import { test } from "./support/test.mjs";
import {
  KIB, MIB, PUSH, SIZES, SOURCES, assertSameBytes, bytesOf, chunksOf, counted, joinChunks, openEnded, payload, receivePush,
  sendCancel, sparseFile, takeFinish, takeStart, tempFile,
} from "./support/streams.mjs";
import { isPending, within } from "./support/wait.mjs";

for (const [kind, { make, sized }] of Object.entries(SOURCES)) {
  test(`${kind} arrives byte for byte, whatever its size`, { timeout: 60_000 }, async (t) => {
    const { session, peer } = await openPair(t);
    for (const [number, size] of SIZES.entries()) {
      const data = payload(size, number);
      const sent = session.transaction.Stream(await make(t, data), { streamName: `of ${size} bytes` });
      const { start, finish, data: received } = await receivePush(peer);
      await within(sent, 5000, "Stream()");
      assert.equal(start.txId, number);
      assert.equal(start.size, sized ? BigInt(size) : -1n);
      assert.equal(start.behaviour, PUSH);
      assert.equal(start.name, `of ${size} bytes`);
      assert.equal(finish.txId, number);
      assertSameBytes(received, data, `${size} bytes`);
    }
    assert.equal(peer.of("TX_CANCEL").length, 0);
    assert.equal(peer.of("ERROR").length, 0);
  });
}

test("an ArrayBuffer view of wider elements is sent as its bytes", async (t) => {
  const { session, peer } = await openPair(t);
  const words = new Uint16Array([0x0102, 0x0304, 0x0506]);
  for (const source of [words.subarray(1), new DataView(words.buffer, 2, 4)]) {
    const sent = session.transaction.Stream(source, {});
    const { data } = await receivePush(peer);
    await sent;
    assert.deepEqual(data, Buffer.from(words.buffer, 2, 4));
  }
});

test("without options a stream is a push named anonymous", async (t) => {
  const { session, peer } = await openPair(t);
  const sent = session.transaction.Stream(Buffer.from("x"));
  const { start } = await receivePush(peer);
  await sent;
  assert.equal(start.name, "anonymous");
  assert.equal(start.behaviour, PUSH);
});

test("push may be asked for by constant and by name", async (t) => {
  const { session, peer } = await openPair(t);
  for (const behaviour of [CAMP_FLOW_BEHAVIOUR.TX_PUSH, "push", undefined]) {
    const sent = session.transaction.Stream(Buffer.from("x"), { behaviour });
    assert.equal((await receivePush(peer)).start.behaviour, PUSH);
    await sent;
  }
});

test("stream is the older name of transaction", async (t) => {
  const { session, peer } = await openPair(t);
  assert.equal(session.stream, session.transaction);
  const sent = session.stream.Stream(Buffer.from("x"), { streamName: "old" });
  assert.equal((await receivePush(peer)).start.name, "old");
  await sent;
});

test("transactions are numbered from 0 and their frames share the session's ack numbers", async (t) => {
  const { session, peer } = await openPair(t);
  for (let txId = 0; txId < 3; txId++) {
    const sent = session.transaction.Stream(Buffer.from("x"));
    const { start, finish } = await receivePush(peer);
    await sent;
    await session.base.SendUTF8("between");
    assert.deepEqual([start.txId, finish.txId], [txId, txId]);
    assert.deepEqual([start.ack, finish.ack, peer.of("UTF8DATA").at(-1).ack], [1 + 3 * txId, 2 + 3 * txId, 3 + 3 * txId]);
  }
});

test("the promise resolves at the ACK of TX_FINISH, not before", async (t) => {
  const { session, peer } = await openPair(t, { peer: { autoAck: false } });
  peer.sendAck(0);
  const sent = session.transaction.Stream(Buffer.from("hello"));
  const start = await takeStart(peer);
  peer.sendAck(start.ack);
  const finish = await takeFinish(peer, start.txId);
  await peer.roundTrip();
  assert.ok(await isPending(sent));
  peer.sendAck(finish.ack);
  await within(sent, 5000, "Stream()");
});

test("a TX_START acknowledged twice, the second time by its txId, finishes nothing early", async (t) => {
  const { session, peer } = await openPair(t, { peer: { autoAck: false } });
  peer.sendAck(0);
  for (let txId = 0; txId < 4; txId++) {
    const sent = session.transaction.Stream(payload(100_000));
    const start = await takeStart(peer);
    peer.sendAck(start.ack);
    peer.sendAck(start.txId);
    const finish = await takeFinish(peer, txId);
    await peer.roundTrip();
    assert.ok(await isPending(sent));
    peer.sendAck(finish.ack);
    await within(sent, 5000, "Stream()");
  }
});

test("a name may have 1,024 bytes, and any characters", async (t) => {
  const { session, peer } = await openPair(t);
  for (const streamName of ["a".repeat(1024), "é".repeat(512), "日本語 😀", "a/b\0c"]) {
    const sent = session.transaction.Stream(Buffer.from("x"), { streamName });
    assert.equal((await receivePush(peer)).start.name, streamName);
    await sent;
  }
});

test("wrong arguments are refused before anything is sent", async (t) => {
  const { session, peer } = await openPair(t);
  const one = Buffer.from("x");
  const cases = {
    "a name of 1,025 bytes": [one, { streamName: "a".repeat(1025) }],
    "a name of 1,026 bytes in 513 characters": [one, { streamName: "é".repeat(513) }],
    "a name that is no string": [one, { streamName: 5 }],
    "an unknown behaviour": [one, { behaviour: 2 }],
    "an unknown behaviour's name": [one, { behaviour: "shove" }],
    "a number": [5],
    "nothing": [undefined],
    "null": [null],
    "an object that is no source": [{}],
    "a path that is none": [{ path: 5 }],
    "a signal that is none": [one, { signal: {} }],
  };
  for (const [what, args] of Object.entries(cases)) {
    await assertRefuses(() => session.transaction.Stream(...args), Error, what);
  }
  await peer.roundTrip();
  assert.equal(peer.of("TX_START").length, 0);
  assert.equal(peer.of("TX_CANCEL").length, 0);
});

test("a part of a file: start and end are inclusive, as for fs.createReadStream", async (t) => {
  const { session, peer } = await openPair(t);
  const data = payload(300_000);
  const path = await tempFile(t, data);
  const cases = [[{ start: 100 }, 100, 300_000], [{ end: 99 }, 0, 100], [{ start: 70_000, end: 270_000 }, 70_000, 270_001],
    [{ start: 5, end: 5 }, 5, 6], [{ start: 299_000, end: 999_999 }, 299_000, 300_000]];
  for (const [part, from, to] of cases) {
    const sent = session.transaction.Stream({ path, ...part });
    const { start, data: received } = await receivePush(peer);
    await sent;
    assert.equal(start.size, BigInt(to - from));
    assertSameBytes(received, data.subarray(from, to), JSON.stringify(part));
  }
});

test("a file that grows while it is sent is sent at the size announced", async (t) => {
  const { session, peer } = await openPair(t);
  const size = 64 * MIB;
  const path = await sparseFile(t, size);
  peer.pauseReading();
  const sent = session.transaction.Stream({ path });
  await appendFile(path, Buffer.alloc(MIB, 1));
  peer.resumeReading();
  const { txId, size: announced } = await takeStart(peer);
  await takeFinish(peer, txId);
  await sent;
  assert.ok(announced >= BigInt(size) && announced <= BigInt(size + MIB), `${announced} bytes announced`);
  assert.equal(BigInt(bytesOf(chunksOf(peer, txId))), announced);
});

test("several streams at once, each complete", { timeout: 60_000 }, async (t) => {
  const { session, peer } = await openPair(t);
  const kinds = Object.values(SOURCES);
  const sends = await Promise.all(kinds.map(async ({ make }, i) => {
    const data = payload(2 * MIB + i, i);
    const source = await make(t, data);
    return { name: `stream ${i}`, data, source };
  }));
  const promises = sends.map(({ name, source }) => session.transaction.Stream(source, { streamName: name }));
  await within(Promise.all(promises), 40_000, "all of them");
  assert.deepEqual(peer.of("TX_START").map(({ txId }) => txId).toSorted((a, b) => a - b), kinds.map((_, i) => i));
  for (const { name, data } of sends) {
    const { txId } = peer.of("TX_START").find((start) => start.name === name);
    assertSameBytes(joinChunks(chunksOf(peer, txId)), data, name);
    assert.equal(peer.of("TX_FINISH").filter((finish) => finish.txId === txId).length, 1, name);
  }
});

test("a small stream does not wait for the end of a big one", async (t) => {
  const { session, peer } = await openPair(t);
  const big = session.transaction.Stream({ path: await sparseFile(t, 128 * MIB) }, { streamName: "big" });
  await peer.next("TX_CHUNK");
  const small = session.transaction.Stream(payload(10 * KIB), { streamName: "small" });
  await within(small, 15_000, "the small one");
  assert.ok(await isPending(big));
  assert.ok(bytesOf(chunksOf(peer, 0)) < 96 * MIB, `${bytesOf(chunksOf(peer, 0))} bytes of the big one were first`);
  peer.terminate();
  await big.catch(() => {});
});

for (const [kind, make] of Object.entries({
  "a file": async (t) => ({ path: await sparseFile(t, 128 * MIB) }),
  "an iterable": async () => counted(128 * MIB, {}),
})) {
  test(`a text message sent while ${kind} is transferred arrives long before its end`, async (t) => {
    const { session, peer } = await openPair(t);
    const sent = session.transaction.Stream(await make(t));
    sent.catch(() => {});
    await peer.next("TX_CHUNK");
    session.base.SendUTF8("urgent");
    await peer.next("UTF8DATA", 15_000);
    const before = bytesOf(chunksOf(peer, 0));
    assert.ok(before < 64 * MIB, `${before} bytes were first`);
    peer.sendText("the other way");
    await within(new Promise((resolve) => session.once("message-utf8", resolve)), 15_000, "the other way");
    peer.terminate();
    await sent.catch(() => {});
  });
}

test("transaction frames are never dropped: a queue of two frames holds a whole transfer back, not away", async (t) => {
  const backpressure = { highWaterMark: 64 * KIB, lowWaterMark: 16 * KIB, maxQueuedBytes: 64 * KIB, maxQueueCount: 2, dropPolicy: "drop-newest" };
  const { session, peer } = await openPair(t, { options: { backpressure } });
  const sources = Object.values(SOURCES);
  for (const [i, { make }] of sources.entries()) {
    const data = payload(3 * MIB, i);
    const sent = session.transaction.Stream(await make(t, data));
    assertSameBytes((await receivePush(peer)).data, data);
    await within(sent, 5000, "Stream()");
  }
});

test("a stream begun in the session event waits for the peer's ENDPOINT_INFO", async (t) => {
  const { session: _session, peer } = await openPair(t, {
    onSession: (session) => void session.transaction.Stream(Buffer.from("early"), { streamName: "early" }),
  });
  const { start, data } = await receivePush(peer);
  assert.equal(start.name, "early");
  assert.equal(data.toString(), "early");
  assert.equal(peer.frames.find(({ type }) => type !== "ACK").type, "ENDPOINT_INFO");
});

test("a client that sends no ENDPOINT_INFO counts as one with transactions a second after its ACK", async (t) => {
  const running = await startServer(t);
  const { session, peer } = await openSession(running, { autoInfo: false });
  const sent = session.transaction.Stream(Buffer.from("late"));
  assert.equal((await receivePush(peer)).data.toString(), "late");
  await within(sent, 5000, "Stream()");
});

test("to a peer without the transactions feature: close 4002 and a rejection", async (t) => {
  const { server, port } = await startServer(t);
  const sid = freshSid();
  const found = sessionFor(server, sid);
  const peer = await Peer.connect({ port, sid, autoInfo: false });
  peer.sendInfo({ features: 0n });
  const session = await found;
  const source = openEnded();
  await assertRefuses(() => session.transaction.Stream(source), Error, "no such feature");
  assert.equal((await peer.closed).code, 4002);
  assert.equal(peer.of("TX_START").length, 0);
  assert.equal(source.destroyed, true);
});

test("a client's cancel of one stream leaves the others alone", async (t) => {
  const { session, peer } = await openPair(t);
  const data = payload(4 * MIB);
  const cancelled = session.transaction.Stream(openEnded(), { streamName: "cancelled" });
  cancelled.catch(() => {});
  await takeStart(peer);
  const others = [1, 2].map((i) => session.transaction.Stream(data, { streamName: `other ${i}` }));
  sendCancel(peer, 0);
  await within(Promise.all(others), 10_000, "the others");
  for (const txId of [1, 2]) assertSameBytes(joinChunks(chunksOf(peer, txId)), data);
  await assert.rejects(cancelled, { code: "ERR_CAMP_CANCELLED" });
});
