// Every documented default, proved by what a server without that option does. The slow ones run side by side.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { CAMP } from "./support/product.mjs";
import { Peer } from "./support/peer.mjs";
import { rawSocket, connectionEnd } from "./support/raw.mjs";
import { once, openPair, openSession, rejection, startServer, validator } from "./support/server.mjs";
import { numbered, outcomes, stall } from "./support/stall.mjs";
import { delay, eventually } from "./support/wait.mjs";
import "./support/test.mjs";

const KIB = 1024;
const MIB = 1024 * KIB;
const LIMIT = { timeout: 60_000 };

/** Nothing may come earlier than that, for timers have their tolerance; how much later is the machine's affair. */
const atLeast = (ms) => (elapsed, what) => assert.ok(elapsed >= ms - 100 && elapsed < 2 * ms, `${what} after ${elapsed} ms, not ${ms}`);

describe("defaults in time", { concurrency: true }, () => {
  test("keepAliveIntervalMs: by default 15000 is chosen", LIMIT, async (t) => {
    const { port } = await startServer(t);
    const since = performance.now();
    const peer = await Peer.connect({ port });
    assert.equal((await peer.next("PING_PONG", 40_000)).payload, "ping");
    atLeast(15_000)(performance.now() - since, "a ping");
  });

  test("ackTimeoutMs: 15000", LIMIT, async (t) => {
    const { session, peer } = await openPair(t, { options: { keepAliveIntervalMs: 120_000 }, peer: { autoAck: false } });
    peer.sendAck(0);
    const since = performance.now();
    const error = await rejection(session.base.SendUTF8("never acknowledged"), 40_000);
    assert.equal(error.code, "ERR_CAMP_ACK_TIMEOUT");
    atLeast(15_000)(performance.now() - since, "a rejection");
  });

  test("handshakeTimeoutMs: 10000", LIMIT, async (t) => {
    const { port } = await startServer(t);
    const since = performance.now();
    await connectionEnd(await rawSocket({ port }), 40_000);
    atLeast(10_000)(performance.now() - since, "hung up");
  });

  test("WaitForStream: a timeout of 2500", LIMIT, async (t) => {
    const { session } = await openPair(t);
    const since = performance.now();
    assert.equal((await rejection(session.transaction.WaitForStream("never"), 10_000)).message, "Timeout elapsed!");
    atLeast(2500)(performance.now() - since, "a rejection");
  });

  test("Drain: a timeoutMs of 10000", LIMIT, async (t) => {
    const running = await startServer(t);
    const { session } = await openSession(running, { autoAck: false });
    session.base.SendUTF8("never acknowledged");
    const since = performance.now();
    await running.server.Drain();
    atLeast(10_000)(performance.now() - since, "drained");
  });
});

test("port: by default 8080 is chosen", LIMIT, async (t) => {
  const server = CAMP(validator, { host: "127.0.0.1" });
  t.after(() => server.Destroy());
  const listening = once(server, "listening").then(() => server.address().port);
  // Somebody else on this machine may have it: then that is said of 8080.
  const taken = once(server, "error").then(([error]) => error.code === "EADDRINUSE" && error.port);
  listening.catch(() => {});
  taken.catch(() => {});
  assert.equal(await Promise.race([listening, taken]), 8080);
});

const LONG = { keepAliveIntervalMs: 120_000, ackTimeoutMs: 120_000 };

/** A busy kernel goes on growing its buffers for a while after it first took no more. */
const SETTLED_MS = 700;

/** A client that does not read: the kernel's buffers are full, the high watermark is reached, a frame waits behind it. */
async function stalled(t, backpressure) {
  const { session, peer } = await openPair(t, { options: { ...LONG, backpressure } });
  peer.pauseReading();
  const send = () => session.base.SendBinary(Buffer.alloc(MIB, 0xee));
  const written = () => Promise.race([session.base.Ping().then(() => true, () => true), delay(SETTLED_MS).then(() => false)]);
  do send(); while (await written());
  const { framesQueued } = session.stats();
  while (session.stats().framesQueued === framesQueued) {
    const before = session.stats().bytesInFlight;
    send();
    await eventually(() => session.stats().bytesInFlight !== before || session.stats().framesQueued !== framesQueued);
  }
  return { session, peer };
}

describe("bounds of the queue", { concurrency: true }, () => {
  for (const [name, backpressure, high, low, bytes, count] of [
    ["by default", undefined, 16 * MIB, MIB, 8 * MIB, 1024],
    ["of the profile default", "default", 16 * MIB, MIB, 8 * MIB, 1024],
    ["of the profile optimize_latency", "optimize_latency", 512 * KIB, 128 * KIB, 4 * MIB, 512],
    ["of the profile optimize_memory", "optimize_memory", 256 * KIB, 64 * KIB, 2 * MIB, 256],
  ]) {
    test(`highWaterMark ${name}: ${high / KIB} KiB`, LIMIT, async (t) => {
      const { session } = await stalled(t, backpressure);
      const { bytesInFlight } = session.stats();
      // It is exceeded by less than one message.
      assert.ok(bytesInFlight >= high - MIB && bytesInFlight < high + MIB + 100, `${bytesInFlight} bytes in flight`);
    });

    test(`lowWaterMark ${name}: ${low / KIB} KiB`, LIMIT, async (t) => {
      const { session, peer } = await stalled(t, backpressure);
      const { framesQueued } = session.stats();
      let least = Infinity;
      const watch = setInterval(() => (least = Math.min(least, session.stats().bytesInFlight)), 0);
      peer.resumeReading();
      await eventually(() => session.stats().framesQueued < framesQueued);
      clearInterval(watch);
      least = Math.min(least, session.stats().bytesInFlight);
      assert.ok(least <= low + MIB + 100, `resumed at ${least} bytes in flight`);
    });

    test(`maxQueuedBytes ${name}: ${bytes / KIB} KiB`, LIMIT, async (t) => {
      const { session, peer } = await stalled(t, backpressure);
      const dropped = once(session, "dropped");
      const sends = [];
      for (let i = 0; i < 2 * bytes / (64 * KIB); i++) sends.push(session.base.SendBinary(Buffer.alloc(64 * KIB, i)));
      await dropped;
      const { bytesQueued, framesQueued } = await eventually(() => session.stats().messagesDropped >= sends.length / 4 && session.stats());
      assert.ok(framesQueued < count, `${framesQueued} frames`);
      assert.ok(bytesQueued <= bytes && bytesQueued > bytes - MIB - 100, `${bytesQueued} bytes queued`);
      peer.terminate();
      await outcomes(sends);
    });

    test(`maxQueueCount ${name}: ${count}`, LIMIT, async (t) => {
      const { session, peer } = await stalled(t, backpressure);
      const dropped = once(session, "dropped");
      const sends = Array.from({ length: count + 10 }, (_, i) => session.base.SendUTF8(`${i}`));
      await dropped;
      await eventually(() => session.stats().messagesDropped >= 10);
      // The pings with which it was stalled are never dropped, and wait there too.
      const { framesQueued } = session.stats();
      assert.ok(framesQueued >= count && framesQueued <= count + 2, `${framesQueued} frames`);
      peer.terminate();
      await outcomes(sends);
    });
  }
});

test("dropPolicy: by default drop-oldest", LIMIT, async (t) => {
  const { session, peer } = await openPair(t, { options: { ...LONG, backpressure: { highWaterMark: 64 * KIB, maxQueueCount: 4 } } });
  await stall(session, peer);
  const dropped = once(session, "dropped");
  const sends = Array.from({ length: 8 }, (_, i) => session.base.SendBinary(numbered(i)));
  assert.equal((await dropped)[0].policy, "drop-oldest");
  await eventually(() => session.stats().messagesDropped >= 4);
  peer.resumeReading();
  const fates = await outcomes(sends);
  assert.deepEqual([fates[0], fates[7]], ["ERR_CAMP_DROPPED", "sent"]);
});

test("streamName: by default anonymous, behaviour: push", LIMIT, async (t) => {
  const { session, peer } = await openPair(t);
  void session.transaction.Stream(Buffer.of(1)).catch(() => {});
  const { name, behaviour } = await peer.next("TX_START");
  assert.deepEqual([name, behaviour], ["anonymous", 0]);
});

test("Destroy of a session: code 4000 by default", LIMIT, async (t) => {
  const { session, peer } = await openPair(t);
  await session.Destroy();
  assert.equal((await peer.closed).code, 4000);
});

test("maxTransactions: 64 incoming at once", LIMIT, async (t) => {
  const { peer } = await openPair(t);
  for (let txId = 0; txId < 64; txId++) peer.sendTxStart({ txId, name: `${txId}` });
  await peer.roundTrip();
  assert.equal(peer.of("ERROR").length, 0);
  peer.sendTxStart({ txId: 64, name: "one too many" });
  await peer.next("ERROR");
});

test("maxInboundBytes: 4 MiB wait for the JavaScript thread, then the socket is not read", LIMIT, async (t) => {
  const { session, peer } = await openPair(t);
  const arrived = [];
  session.on("message-binary", (data) => arrived.push(data.length));
  const block = new Int32Array(new SharedArrayBuffer(4));
  for (let i = 0; i < 40; i++) peer.sendBinary(Buffer.alloc(MIB / 2));
  await eventually(() => arrived.length > 0);
  const before = session.stats().bytesReceived;
  // This thread serves the client too: nothing new reaches the kernel while it is blocked.
  Atomics.wait(block, 0, 0, 300);
  assert.ok(session.stats().bytesReceived - before <= 4 * MIB + MIB, `${session.stats().bytesReceived - before} bytes more`);
  await eventually(() => arrived.length === 40);
});
