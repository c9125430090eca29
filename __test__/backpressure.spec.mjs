import assert from "node:assert/strict";
import { Child } from "./support/child.mjs";
import { KERNEL_UNTOLD, takenInAll } from "./support/kernel.mjs";
import { Peer } from "./support/peer.mjs";
import { echo, once, openPair, openSession, rejection, startServer } from "./support/server.mjs";
import { arrivedNumbers, numbered, outcomes, stall, tight } from "./support/stall.mjs";
import { test } from "./support/test.mjs";
import { delay, isPending, eventually } from "./support/wait.mjs";

const KIB = 1024;
const MIB = 1024 * KIB;
const COUNT = 20;
const range = (from, to) => Array.from({ length: to - from }, (_, i) => from + i);

/** A stalled pair with the `dropped` events of numbered messages. */
async function openStalled(t, backpressure, extra = {}) {
  const pair = await openPair(t, { options: { ...tight(backpressure), ...extra } });
  const drops = [];
  pair.session.on("dropped", (drop) => drops.push(drop));
  await stall(pair.session, pair.peer);
  // By their size; whether a frame's header counts as its bytes is left open.
  const numberedDrops = () => drops.filter(({ bytes }) => bytes >= 100 * KIB && bytes <= 100 * KIB + 13);
  return { ...pair, drops, numberedDrops };
}

/**
 * Sends 20 numbered messages into the stall, lets the client read again, and checks that each is accounted for.
 * `cap` messages fit; a ping or message of the stall itself may occupy up to two places.
 */
async function sendThroughStall({ session, peer, numberedDrops }, policy, cap) {
  const sends = range(0, COUNT).map((i) => session.base.SendBinary(numbered(i)));
  // All of them have reached the queue before the client drains it.
  await eventually(() => numberedDrops().length >= COUNT - cap);
  peer.resumeReading();
  const fates = await outcomes(sends);
  await session.base.SendUTF8("recovered");
  const arrived = arrivedNumbers(peer);
  assert.ok(arrived.length <= cap && arrived.length >= cap - 2, `${arrived.length} arrived, the cap is ${cap}`);
  for (const [i, fate] of fates.entries()) {
    assert.equal(fate, arrived.includes(i) ? "sent" : "ERR_CAMP_DROPPED", `message ${i}`);
  }
  assert.equal(numberedDrops().length, COUNT - arrived.length, "one dropped event for each drop");
  for (const drop of numberedDrops()) {
    assert.equal(drop.policy, policy);
    assert.ok(drop.type !== undefined);
  }
  return arrived;
}

test("drop-oldest keeps the newest messages up to maxQueueCount, in order", async (t) => {
  const pair = await openStalled(t, { maxQueueCount: 5, dropPolicy: "drop-oldest" });
  const arrived = await sendThroughStall(pair, "drop-oldest", 5);
  assert.deepEqual(arrived, range(COUNT - arrived.length, COUNT));
});

test("drop-oldest is the default policy", async (t) => {
  const pair = await openStalled(t, { maxQueueCount: 5 });
  const arrived = await sendThroughStall(pair, "drop-oldest", 5);
  assert.deepEqual(arrived, range(COUNT - arrived.length, COUNT));
});

test("drop-oldest keeps the newest messages up to maxQueuedBytes", async (t) => {
  const pair = await openStalled(t, { maxQueuedBytes: MIB, dropPolicy: "drop-oldest" });
  const arrived = await sendThroughStall(pair, "drop-oldest", 10);
  assert.deepEqual(arrived, range(COUNT - arrived.length, COUNT));
});

test("drop-newest keeps the oldest messages up to maxQueueCount, in order", async (t) => {
  const pair = await openStalled(t, { maxQueueCount: 5, dropPolicy: "drop-newest" });
  const arrived = await sendThroughStall(pair, "drop-newest", 5);
  assert.deepEqual(arrived, range(0, arrived.length));
});

test("drop-newest keeps the oldest messages up to maxQueuedBytes", async (t) => {
  const pair = await openStalled(t, { maxQueuedBytes: MIB, dropPolicy: "drop-newest" });
  // The 200 KiB of the stall's own last message may wait in the same queue.
  const arrived = await sendThroughStall(pair, "drop-newest", 10);
  assert.deepEqual(arrived, range(0, arrived.length));
});

test("a drop is rejected at once, not when the client reads again", async (t) => {
  const { session, peer } = await openStalled(t, { maxQueueCount: 3, dropPolicy: "drop-oldest" });
  const sends = range(0, 10).map((i) => session.base.SendBinary(numbered(i)));
  const error = await rejection(sends[0]);
  assert.equal(error.code, "ERR_CAMP_DROPPED");
  assert.ok(await isPending(sends[9]));
  peer.resumeReading();
  await sends[9];
});

test("dedupe-latest replaces a waiting message of the same type and payload", async (t) => {
  const { session, peer } = await openStalled(t, { dropPolicy: "dedupe-latest" });
  const [a, b, c] = [numbered(1), numbered(2), numbered(3)];
  const text = "t".repeat(100 * KIB);
  const sends = [
    session.base.SendBinary(a), session.base.SendBinary(b), session.base.SendBinary(a), session.base.SendBinary(b),
    session.base.SendUTF8(text), session.base.SendBinary(Buffer.from(text)), session.base.SendError(text),
    session.base.SendBinary(c), session.base.SendBinary(a), session.base.SendBinary(numbered(4)),
  ];
  // The stall's last message and seven of these wait before the client reads again.
  await eventually(() => session.stats().bytesQueued >= (200 + 7 * 100) * KIB);
  peer.resumeReading();
  assert.deepEqual(await outcomes(sends), sends.map(() => "sent"), "each follows the fate of its replacement");
  assert.deepEqual(arrivedNumbers(peer), [1, 2, 3, 4], "once each, in the first one's place");
  // The same bytes as another type are another message.
  assert.equal(peer.texts().filter((sent) => sent === text).length, 1);
  assert.equal(peer.of("BINARYDATA").filter(({ data }) => data.equals(Buffer.from(text))).length, 1);
  assert.equal(peer.of("ERROR").filter(({ message }) => message === text).length, 1);
});

test("dedupe-latest refuses the new message when the queue is full of others", async (t) => {
  const pair = await openStalled(t, { maxQueueCount: 5, dropPolicy: "dedupe-latest" });
  const arrived = await sendThroughStall(pair, "dedupe-latest", 5);
  assert.deepEqual(arrived, range(0, arrived.length));
});

test("nothing is deduplicated while nothing has to wait", async (t) => {
  const { session, peer } = await openPair(t, { options: { backpressure: { dropPolicy: "dedupe-latest" } } });
  await Promise.all(range(0, 50).map(() => session.base.SendUTF8("the same")));
  assert.equal(peer.texts().length, 50);
});

test("the older spelling of the options does the same", async (t) => {
  const pair = await openPair(t, {
    options: {
      ...tight(),
      backpressure: {
        HIGH_WATERMARK: 64 * KIB, LOW_WATERMARK: 16 * KIB, MAX_QUEUED_BYTES: 64 * MIB, MAX_QUEUE_SIZE: 5, DROP_POLICY: "drop-newest",
      },
    },
  });
  const drops = [];
  pair.session.on("dropped", (drop) => drops.push(drop));
  await stall(pair.session, pair.peer);
  const numberedDrops = () => drops.filter(({ bytes }) => bytes >= 100 * KIB && bytes <= 100 * KIB + 13);
  const arrived = await sendThroughStall({ ...pair, numberedDrops }, "drop-newest", 5);
  assert.deepEqual(arrived, range(0, arrived.length));
});

test("profiles are accepted by name and carry messages", async (t) => {
  for (const backpressure of ["default", "optimize_latency", "optimize_memory"]) {
    const { session, peer } = await openPair(t, { options: { backpressure } });
    await session.base.SendBinary(Buffer.alloc(MIB));
    assert.equal(peer.of("BINARYDATA").length, 1, backpressure);
  }
});

test("optimize_memory drops where its caps say: 256 frames", async (t) => {
  const { session, peer } = await openPair(t, { options: { ...tight(), backpressure: "optimize_memory" } });
  await stall(session, peer);
  // The stall's last message is smaller than this high watermark: one more of 256 KiB closes the way.
  session.base.SendBinary(Buffer.alloc(256 * KIB));
  let drops = 0;
  session.on("dropped", () => drops++);
  const sends = range(0, 400).map((i) => session.base.SendBinary(numbered(i, 100)));
  await eventually(() => drops >= 400 - 256);
  peer.resumeReading();
  const fates = await outcomes(sends);
  const arrived = arrivedNumbers(peer);
  assert.ok(arrived.length <= 256 && arrived.length >= 250, `${arrived.length} arrived`);
  assert.deepEqual(arrived, range(400 - arrived.length, 400));
  assert.equal(fates.filter((fate) => fate === "sent").length, arrived.length);
});

test("control frames are never dropped: pings are answered and messages acknowledged after the stall", async (t) => {
  const { session, peer } = await openStalled(t, { maxQueueCount: 2, maxQueuedBytes: 200 * KIB, dropPolicy: "drop-newest" });
  let received = 0;
  session.on("message-utf8", () => received++);
  for (let i = 0; i < 20; i++) session.base.SendBinary(numbered(i));
  const acks = range(0, 500).map((i) => {
    peer.sendPing();
    return peer.sendText(String(i));
  });
  const pings = Array.from({ length: 5 }, () => session.base.Ping());
  peer.resumeReading();
  const count = (payload) => peer.of("PING_PONG").filter((frame) => frame.payload === payload).length;
  await peer.until(() => count("pong") === 500 && peer.of("ACK").length >= 501, 10_000);
  assert.deepEqual(peer.of("ACK").map(({ ack }) => ack).slice(1, 501), acks);
  // The ACK goes before the event.
  await eventually(() => received === 500);
  await Promise.all(pings);
});

test("BYE and the close come through a full queue, after what waited", async (t) => {
  const { session, peer, numberedDrops } = await openStalled(t, { maxQueueCount: 5, dropPolicy: "drop-newest" });
  const sends = range(0, 20).map((i) => session.base.SendBinary(numbered(i)));
  await eventually(() => numberedDrops().length >= 15);
  const closed = once(session, "closed", 15_000);
  const closing = session.Close("full");
  peer.resumeReading();
  assert.equal((await peer.closed).code, 4000);
  await Promise.all([closed, closing]);
  assert.equal(peer.frames.at(-1).type, "BYE");
  const arrived = arrivedNumbers(peer);
  assert.ok(arrived.length >= 3, `${arrived.length} arrived`);
  assert.deepEqual(arrived, range(0, arrived.length));
  await outcomes(sends);
});

test("a message larger than the watermarks goes out", async (t) => {
  const { session, peer } = await openPair(t, {
    options: { backpressure: { highWaterMark: 4 * KIB, lowWaterMark: KIB, maxQueuedBytes: 32 * MIB, maxQueueCount: 100 } },
  });
  for (let i = 0; i < 5; i++) await session.base.SendBinary(numbered(i, MIB));
  await Promise.all(range(5, 20).map((i) => session.base.SendBinary(numbered(i, MIB))));
  assert.deepEqual(arrivedNumbers(peer), range(0, 20));
});

test("a message larger than maxQueuedBytes goes out when it can go at once", async (t) => {
  const { session, peer } = await openPair(t, { options: tight({ maxQueuedBytes: 64 * KIB }) });
  for (let i = 0; i < 5; i++) await session.base.SendBinary(numbered(i, MIB));
  assert.deepEqual(arrivedNumbers(peer), range(0, 5));
});

for (const dropPolicy of ["drop-oldest", "drop-newest", "dedupe-latest"]) {
  test(`a message larger than maxQueuedBytes that cannot go at once is refused at the cost of nobody (${dropPolicy})`, async (t) => {
    const { session, peer } = await openStalled(t, { maxQueuedBytes: 64 * KIB, dropPolicy });
    // The first may find the way open by a hand's breadth; behind it there is none.
    session.base.SendBinary(numbered(100));
    const small = session.base.SendBinary(numbered(1, KIB));
    const error = await rejection(session.base.SendBinary(numbered(2)));
    assert.equal(error.code, "ERR_CAMP_DROPPED");
    peer.resumeReading();
    await small;
    assert.deepEqual(arrivedNumbers(peer).filter((i) => i < 100), [1]);
  });
}

test("time in the queue does not count as time without an ACK", async (t) => {
  const { session, peer } = await openStalled(t, {}, { ackTimeoutMs: 3000 });
  const sends = range(0, 5).map((i) => session.base.SendBinary(numbered(i)));
  await delay(4500);
  assert.ok(await isPending(sends[4]), "settled although it was never written");
  peer.resumeReading();
  assert.equal((await outcomes(sends)).at(-1), "sent");
});

test("every send settles when a stalled client vanishes", async (t) => {
  const { session, peer } = await openStalled(t, { maxQueueCount: 10 });
  const closed = once(session, "closed");
  const sends = range(0, 50).map((i) => session.base.SendBinary(numbered(i)));
  peer.terminate();
  await closed;
  const fates = await outcomes(sends);
  assert.ok(fates.every((fate) => ["ERR_CAMP_DROPPED", "ERR_CAMP_SESSION_CLOSED"].includes(fate)), fates.join());
  assert.ok(fates.includes("ERR_CAMP_SESSION_CLOSED"));
});

test("a stalled client slows nobody else", async (t) => {
  const running = await startServer(t, tight({ maxQueueCount: 5 }));
  echo(running.server);
  const stalled = await openSession(running);
  const neighbour = await openSession(running);
  await stall(stalled.session, stalled.peer);
  for (let i = 0; i < 100; i++) {
    stalled.session.base.SendBinary(numbered(i));
    await neighbour.peer.echo(`message ${i}`);
  }
});

test("a server that sends to a client that never reads keeps its memory", { timeout: 60_000 }, async (t) => {
  const child = Child.start(t, "flood-sender.mjs", { megabytes: 400 });
  const { port } = await child.report("listening");
  const peer = await Peer.connect({ port });
  await peer.ready();
  peer.pauseReading();
  child.command("flood");
  const { most } = await child.report("flooded", 45_000);
  assert.ok(most <= 5 * MIB, `${most} bytes of 400 MiB sent are held`);
  peer.terminate();
  const { rejections, count } = await child.report("settled", 15_000);
  assert.ok(rejections > count / 2, `${rejections} of ${count} refused`);
  assert.equal((await child.exit()).code, 0);
});

test("a client that floods a blocked server does not fill its memory, and loses nothing", { timeout: 60_000, skip: KERNEL_UNTOLD }, async (t) => {
  const total = 4096;
  const child = Child.start(t, "echo-server.mjs", { echo: false, numbered: true, options: { maxInboundBytes: 4 * MIB, keepAliveIntervalMs: 60_000 } });
  const { port } = await child.report("listening");
  const peer = await Peer.connect({ port });
  await peer.ready();
  const goOn = await child.block();
  const flood = (async () => {
    for (let i = 0; i < total; i++) {
      const data = Buffer.alloc(64 * KIB);
      data.writeUInt32BE(i);
      peer.sendBinary(data);
      await peer.drained();
    }
  })();
  const held = await takenInAll(peer.ws._socket);
  assert.ok(held < 16 * MIB, `${held} bytes were taken while blocked`);
  goOn();
  await flood;
  await peer.until(() => peer.of("ACK").length === total + 1, 30_000, "every message acknowledged");
  await peer.roundTrip();
  let stats;
  do {
    child.command("stats");
    stats = await child.report("stats", 20_000);
  } while (stats.received < total);
  assert.deepEqual([stats.received, stats.disorder, stats.bytes], [total, 0, total * 64 * KIB]);
});
