// What waits for hooks that do not come to an end.
import assert from "node:assert/strict";
import { echo, openPair, openSession, startServer } from "./support/server.mjs";
import { outcomes } from "./support/stall.mjs";
import { test } from "./support/test.mjs";
import { deferred, eventually, isPending, within } from "./support/wait.mjs";

const BOUND = 30;
const range = (from, to) => Array.from({ length: to - from }, (_, i) => String(from + i));
const limits = (backpressure = {}) => ({
  keepAliveIntervalMs: 120_000,
  maxUnacknowledged: 20,
  backpressure: { highWaterMark: 10_000, lowWaterMark: 1000, maxQueuedBytes: 20_000, maxQueueCount: 10, ...backpressure },
});

/** A session whose send hook lets nothing pass until `release()`. */
async function openHanging(t, backpressure, kinds = ["before_send_utf8"]) {
  const gate = deferred();
  const hook = async () => {
    await gate.promise;
    return true;
  };
  const pair = await openPair(t, { options: limits(backpressure) });
  pair.server.RegisterExtension({ name: "hanging", ...Object.fromEntries(kinds.map((kind) => [kind, hook])) });
  const drops = [];
  pair.session.on("dropped", (drop) => drops.push(drop));
  return { ...pair, drops, release: gate.resolve };
}

for (const dropPolicy of ["drop-oldest", "drop-newest"]) {
  test(`behind a send hook that hangs wait maxUnacknowledged + maxQueueCount messages: ${dropPolicy}`, async (t) => {
    const { session, peer, drops, release } = await openHanging(t, { dropPolicy });
    const sends = range(0, 100).map((text) => session.base.SendUTF8(text));
    assert.equal(drops.length, 100 - BOUND, "dropped at once");
    assert.deepEqual([...new Set(drops.map(({ policy, type }) => `${policy} ${type}`))], [`${dropPolicy} utf8`]);
    // With the first, its hook has begun: it cannot give way.
    const kept = dropPolicy === "drop-oldest" ? ["0", ...range(100 - BOUND + 1, 100)] : range(0, BOUND);
    await assert.rejects(sends.find((_, i) => !kept.includes(String(i))), { code: "ERR_CAMP_DROPPED" });
    assert.ok(await isPending(sends[Number(kept[1])]));
    release();
    const fates = await outcomes(sends);
    assert.deepEqual(fates, range(0, 100).map((text) => (kept.includes(text) ? "sent" : "ERR_CAMP_DROPPED")));
    assert.deepEqual(peer.texts(), kept, "in order, and nothing else is lost");
  });
}

test("behind a send hook that hangs wait highWaterMark + maxQueuedBytes bytes", async (t) => {
  const { session, peer, drops, release } = await openHanging(t, { dropPolicy: "drop-newest" });
  const sends = range(0, 20).map((text) => session.base.SendUTF8(text.padEnd(1900)));
  assert.deepEqual(drops.map(({ bytes }) => bytes), Array(5).fill(1900));
  release();
  const fates = await outcomes(sends);
  assert.equal(fates.filter((fate) => fate === "sent").length, 15);
  assert.deepEqual(peer.texts().map((text) => text.trim()), range(0, 15));
});

test("what has no hook waits behind one that hangs, and is dropped by no message", async (t) => {
  const { session, peer, drops, release } = await openHanging(t, { dropPolicy: "drop-oldest" });
  session.base.SendUTF8("first").catch(() => {});
  const ping = session.base.Ping();
  const sends = range(0, 100).map((text) => session.base.SendUTF8(text));
  assert.equal(drops.length, 100 + 1 - BOUND);
  assert.ok(await isPending(ping));
  release();
  await within(ping, 5000, "the ping");
  await outcomes(sends);
  assert.deepEqual(peer.texts(), ["first", ...range(100 - BOUND + 1, 100)]);
});

test("a send hook that hangs for one client holds up no neighbour", async (t) => {
  const running = await startServer(t, limits());
  echo(running.server);
  let stuck;
  running.server.RegisterExtension({
    name: "hanging",
    before_send_utf8: (session) => (session === stuck ? new Promise(() => {}) : Promise.resolve(true)),
  });
  const slow = await openSession(running);
  stuck = slow.session;
  let dropped = 0;
  stuck.on("dropped", () => dropped++);
  const neighbour = await openSession(running);
  for (let round = 0; round < 20; round++) {
    for (let i = 0; i < 200; i++) slow.peer.sendText("flood");
    await neighbour.peer.echo(`message ${round}`);
  }
  await slow.peer.roundTrip(20_000);
  assert.equal(dropped, 4000 - BOUND);
  assert.deepEqual(slow.peer.texts(), []);
});

test("a receive hook that hangs stops its client at 1 MiB with hooks and 1 MiB behind them, and no neighbour", async (t) => {
  const running = await startServer(t, { keepAliveIntervalMs: 120_000 });
  echo(running.server);
  let stuck;
  const gate = deferred();
  let met = 0;
  running.server.RegisterExtension({
    name: "hanging",
    on_receive_binary: async (session) => {
      if (session === stuck) {
        met++;
        await gate.promise;
      }
      return true;
    },
  });
  const slow = await openSession(running);
  stuck = slow.session;
  const neighbour = await openSession(running);
  const COUNT = 3000;
  const data = Buffer.alloc(32 * 1024);
  for (let i = 0; i < COUNT; i++) slow.peer.sendBinary(data);
  // The kernel takes no more: 94 MiB are more than it buffers.
  for (let round = 0; round < 20; round++) await neighbour.peer.echo(`message ${round}`);
  await eventually(() => met === 1);
  const { bytesReceived } = slow.session.stats();
  assert.ok(bytesReceived < 3 * 1024 * 1024, `${bytesReceived} bytes were read`);
  assert.ok(slow.peer.ws.bufferedAmount > 0, "the client has bytes that nobody takes");
  gate.resolve();
  await slow.peer.until(() => slow.peer.of("ACK").length === COUNT + 1, 25_000, "every message acknowledged");
  await eventually(() => met === COUNT);
});
