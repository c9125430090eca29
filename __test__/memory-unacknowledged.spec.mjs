// A client that reads and does not acknowledge: how much goes out to it, and what becomes of the rest.
import assert from "node:assert/strict";
import { CAMP_FLOW_BEHAVIOUR } from "./support/product.mjs";
import { echo, openPair, openSession, startServer } from "./support/server.mjs";
import { outcomes } from "./support/stall.mjs";
import { test } from "./support/test.mjs";
import { eventually, isPending, within } from "./support/wait.mjs";

const BOUND = 20;
const range = (from, to) => Array.from({ length: to - from }, (_, i) => String(from + i));

/** A client that acknowledges our ENDPOINT_INFO and nothing else. */
async function openSilent(t, { backpressure = {}, ...options } = {}, onSession) {
  const pair = await openPair(t, {
    options: {
      maxUnacknowledged: BOUND, keepAliveIntervalMs: 120_000, ackTimeoutMs: 120_000,
      backpressure: { highWaterMark: 1 << 20, lowWaterMark: 1 << 18, maxQueuedBytes: 1 << 20, maxQueueCount: 30, ...backpressure },
      ...options,
    },
    peer: { autoAck: false },
    onSession,
  });
  pair.peer.sendAck(pair.peer.of("ENDPOINT_INFO")[0].ack);
  await pair.peer.roundTrip();
  return pair;
}

const arrived = (peer, count) => peer.until(() => peer.texts().length >= count);

test("exactly maxUnacknowledged frames go out; each ACK lets the next one go, in order", async (t) => {
  const { session, peer } = await openSilent(t);
  const sends = range(0, BOUND + 10).map((text) => session.base.SendUTF8(text));
  await arrived(peer, BOUND);
  await eventually(() => session.stats().framesQueued === 10);
  await peer.roundTrip();
  assert.deepEqual(peer.texts(), range(0, BOUND));
  for (let i = 0; i < 10; i++) {
    peer.sendAck(peer.of("UTF8DATA")[i].ack);
    await arrived(peer, BOUND + i + 1);
    await peer.roundTrip();
    assert.deepEqual(peer.texts(), range(0, BOUND + i + 1));
  }
  assert.equal(session.stats().framesQueued, 0);
  await within(Promise.all(sends.slice(0, 10)), 5000, "those acknowledged");
  assert.ok(await isPending(sends[10]));
});

for (const dropPolicy of ["drop-oldest", "drop-newest"]) {
  test(`what waits for ACKs is bounded by maxQueueCount: ${dropPolicy}`, async (t) => {
    const { session, peer } = await openSilent(t, { backpressure: { dropPolicy } });
    const drops = [];
    session.on("dropped", (drop) => drops.push(drop));
    const sends = range(0, 100).map((text) => session.base.SendUTF8(text));
    await eventually(() => drops.length === 50);
    const kept = dropPolicy === "drop-oldest" ? range(70, 100) : range(20, 50);
    const expected = [...range(0, BOUND), ...kept];
    peer.autoAck = true;
    for (const { ack } of peer.of("UTF8DATA")) peer.sendAck(ack);
    const fates = await outcomes(sends);
    assert.deepEqual(peer.texts(), expected);
    assert.deepEqual(fates, range(0, 100).map((text) => (expected.includes(text) ? "sent" : "ERR_CAMP_DROPPED")));
    assert.deepEqual([...new Set(drops.map(({ policy }) => policy))], [dropPolicy]);
  });
}

test("what waits for ACKs is bounded by maxQueuedBytes", async (t) => {
  const { session, peer } = await openSilent(t, { backpressure: { maxQueuedBytes: 10_000, dropPolicy: "drop-newest" } });
  for (const text of range(0, BOUND)) session.base.SendUTF8(text);
  await arrived(peer, BOUND);
  const sends = range(0, 20).map(() => session.base.SendUTF8("x".repeat(1000)));
  await eventually(() => session.stats().messagesDropped > 0);
  peer.autoAck = true;
  for (const { ack } of peer.of("UTF8DATA")) peer.sendAck(ack);
  const fates = await outcomes(sends);
  assert.equal(fates.filter((fate) => fate === "sent").length, 9, "of 1,013 bytes on the wire each");
});

test("ACKs, pings, pongs and the bytes of streams pass what waits for ACKs, and a goodbye lets it go", async (t) => {
  const { session, peer } = await openSilent(t);
  const streamed = session.transaction.Stream(Buffer.alloc(100_000, 7), { behaviour: CAMP_FLOW_BEHAVIOUR.TX_PUSH });
  streamed.catch(() => {});
  const start = await peer.next("TX_START");
  for (const text of range(0, BOUND + 10)) session.base.SendUTF8(text).catch(() => {});
  await arrived(peer, BOUND);
  await eventually(() => session.stats().framesQueued === 10);

  await peer.acked(peer.sendText("a message"));
  await peer.roundTrip();
  await within(session.base.Ping(), 5000, "our ping");
  await peer.next((frame) => frame.type === "PING_PONG" && frame.payload === "ping");

  peer.sendAck(start.ack);
  await peer.until(() => peer.of("TX_CHUNK").reduce((sum, { data }) => sum + data.length, 0) === 100_000);

  const taken = session.transaction.WaitForStream("theirs");
  const txId = 77;
  await peer.acked(peer.sendTxStart({ txId, size: 3n, name: "theirs" }));
  peer.send({ type: "TX_CHUNK", txId, offset: 0n, data: Buffer.from("abc") });
  await peer.acked(peer.sendTracked({ type: "TX_FINISH", txId }));
  assert.equal(Buffer.concat(await (await taken).toArray()).toString(), "abc");

  assert.deepEqual(peer.texts(), range(0, BOUND), "no message went with them");
  session.Close("enough");
  const bye = await peer.next("BYE");
  assert.deepEqual(peer.texts(), range(0, BOUND + 10), "what waited goes before the goodbye");
  assert.equal(bye.reason, "enough");
  peer.sendAck(bye.ack);
  assert.equal((await within(peer.closed, 5000, "the close")).code, 4000);
});

test("a client that acknowledges nothing of a flood of echoes holds up no neighbour", async (t) => {
  const options = { maxUnacknowledged: 100, ackTimeoutMs: 120_000 };
  const running = await startServer(t, { ...options, backpressure: { maxQueueCount: 100 } });
  echo(running.server);
  const silent = await openSession(running, { autoAck: false });
  silent.peer.sendAck(silent.peer.of("ENDPOINT_INFO")[0].ack);
  const neighbour = await openSession(running);
  for (let round = 0; round < 20; round++) {
    for (let i = 0; i < 500; i++) silent.peer.sendText("flood");
    await neighbour.peer.echo(`message ${round}`);
  }
  await silent.peer.roundTrip(20_000);
  assert.equal(silent.peer.texts().length, 100);
  const { messagesDropped, framesQueued } = silent.session.stats();
  assert.ok(framesQueued <= 100, `${framesQueued} wait`);
  assert.equal(messagesDropped + framesQueued + 100, 10_000, "each of them is accounted for");
});
