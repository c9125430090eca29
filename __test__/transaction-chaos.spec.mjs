// Streams both ways over connections that are slow and break anywhere, cancelled from both sides at any moment.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readlinkSync } from "node:fs";
import { Peer, freshSid } from "./support/peer.mjs";
import { flakyProxy } from "./support/proxy.mjs";
import { SEED, seeded } from "./support/random.mjs";
import { sessionFor, startServer } from "./support/server.mjs";
import { test } from "./support/test.mjs";
import {
  KIB, MIB, PULL, PUSH, SOURCES, payload, sendCancel, sendChunk, sendFetch, sendFinish, sha256, tempFile,
} from "./support/streams.mjs";
import { delay, eventually, within } from "./support/wait.mjs";

const ROUNDS = 8;
const SESSIONS = 4;
const STREAMS = 5;
const SIZES = [0, 1, 1000, 65_535, 65_536, 300_000, MIB, 2 * MIB + 1];

/** The peer's own transactions have numbers of their own: its TX_CANCEL never means two. */
const UPLOADS_FROM = 1000;

/** Files without a name that this process holds open, where the system tells. */
function unnamedFiles() {
  if (!existsSync("/proc/self/fd")) return 0;
  const target = (fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return "";
    }
  };
  return readdirSync("/proc/self/fd").filter((fd) => target(fd).includes("(deleted)")).length;
}

/** Waits some turns or milliseconds. */
const dawdle = (random) => (random.chance(0.7) ? new Promise(setImmediate) : delay(random.int(8)));

/** The server streams; resolves with what became of it. */
async function download({ t, session, peer, random }, number) {
  const data = payload(random.pick(SIZES), random.int(256));
  const [, { make }] = random.pick(Object.entries(SOURCES));
  const behaviour = random.pick(["push", "pull"]);
  const name = `download ${number}`;
  const abort = new AbortController();
  const source = await make(t, data);
  await dawdle(random);
  const sent = session.transaction.Stream(source, { streamName: name, behaviour, signal: abort.signal });
  if (random.chance(0.2)) void delay(random.int(60)).then(() => abort.abort(new Error("given up")));
  if (random.chance(0.2)) {
    void peer.next((frame) => frame.type === "TX_START" && frame.name === name, 10_000)
      .then(async ({ txId }) => {
        await delay(random.int(40));
        sendCancel(peer, txId);
      }).catch(() => {});
  } else if (behaviour === "pull" && data.length > 0) {
    void peer.next((frame) => frame.type === "TX_START" && frame.name === name, 10_000)
      .then(async ({ txId }) => {
        for (let i = random.int(5); i > 0; i--) {
          const from = random.int(data.length);
          sendFetch(peer, txId, from, from + 1 + random.int(data.length));
          await dawdle(random);
        }
        sendFetch(peer, txId, 0, data.length);
      }).catch(() => {});
  }
  const outcome = await within(sent.then(() => "sent", (error) => error), 25_000, `${name}, ${behaviour} of ${data.length} bytes`);
  if (outcome !== "sent") {
    assert.ok(outcome.cause?.message === "given up" || ["ERR_CAMP_CANCELLED", "ERR_CAMP_SESSION_CLOSED"].includes(outcome.code), `${name}: ${outcome.stack}`);
    return "failed";
  }
  const { txId } = peer.of("TX_START").find((start) => start.name === name);
  const received = Buffer.alloc(data.length);
  for (const chunk of peer.of("TX_CHUNK")) if (chunk.txId === txId) chunk.data.copy(received, Number(chunk.offset));
  assert.equal(sha256(received), sha256(data), `${name}, ${behaviour} of ${data.length} bytes`);
  return "sent";
}

/** The peer's side of an upload, which it may give up. */
async function sendUpload({ peer, random }, { txId, name, data, behaviour }) {
  const sized = behaviour === PULL || random.chance(0.5);
  peer.sendTxStart({ txId, name, size: sized ? BigInt(data.length) : -1n, behaviour });
  const givesUpAt = random.chance(0.25) ? random.int(data.length + 1) : Infinity;
  const send = async (from, to) => {
    for (let at = from; at < to;) {
      if (at >= givesUpAt) return false;
      const part = data.subarray(at, Math.min(to, at + 1 + random.int(200 * KIB)));
      sendChunk(peer, txId, at, part);
      at += part.length;
      await dawdle(random);
      await peer.drained();
    }
    return true;
  };
  let whole = true;
  if (behaviour === PUSH) whole = await send(0, data.length);
  else {
    for (let reached = 0; reached < data.length && whole;) {
      const { start, end } = await peer.next((frame) => frame.type === "TX_FETCH" && frame.txId === txId, 25_000);
      whole = await send(Number(start), Number(end));
      reached = Number(end);
    }
  }
  if (whole) sendFinish(peer, txId);
  else sendCancel(peer, txId);
}

/** The peer streams; resolves with what became of it. */
async function upload(context, number) {
  const { session, random } = context;
  const data = payload(random.pick(SIZES), random.int(256));
  const behaviour = random.pick([PUSH, PULL]);
  const name = `upload ${number}`;
  const waiting = session.transaction.WaitForStream(name, 25_000).catch((error) => error);
  sendUpload({ ...context, random: random.fork() }, { txId: UPLOADS_FROM + number, name, data, behaviour }).catch(() => {});
  const readable = await waiting;
  if (readable instanceof Error) {
    assert.equal(readable.code, "ERR_CAMP_SESSION_CLOSED");
    return "failed";
  }
  if (behaviour === PULL) readable.autoPull(16 * KIB + random.int(400 * KIB));
  const destroyAt = random.chance(0.2) ? random.int(data.length + 1) : Infinity;
  const hash = createHash("sha256");
  const read = async () => {
    let length = 0;
    for await (const part of readable) {
      hash.update(part);
      length += part.length;
      if (length > destroyAt) session.transaction.Cancel(readable);
      if (random.chance(0.3)) await dawdle(random);
    }
    return length;
  };
  const outcome = await within(read().catch((error) => error), 25_000, `${name}, behaviour ${behaviour} of ${data.length} bytes`);
  assert.ok(readable.destroyed || readable.readableEnded, `${name} is neither ended nor destroyed`);
  if (outcome instanceof Error) {
    assert.ok(["ERR_CAMP_CANCELLED", "ERR_CAMP_SESSION_CLOSED"].includes(outcome.code), `${name}: ${outcome.stack}`);
    return "failed";
  }
  assert.equal(outcome, data.length, `${name}: length`);
  assert.equal(hash.digest("hex"), sha256(data), `${name}: SHA-256`);
  return "sent";
}

/** One session's life; resolves with how many of its streams came through. */
async function live(t, running, random) {
  const breaks = random.chance(0.5);
  const timing = random.fork();
  const proxy = await flakyProxy(t, {
    port: running.port,
    cutAfter: breaks ? 1000 + timing.int(random.pick([3000, 300_000, 6 * MIB])) : Infinity,
    piece: () => (timing.chance(0.1) ? 1 + timing.int(100) : 65_536),
    pause: () => (timing.chance(0.05) ? timing.int(5) : 0),
  });
  const sid = freshSid();
  const found = sessionFor(running.server, sid, () => {}, 10_000);
  const [session, peer] = await Promise.all([found.catch(() => null), Peer.connect({ port: proxy.port, sid }).catch(() => null)]);
  if (session === null) return [];
  if (peer === null) return [];
  t.after(() => peer.terminate());
  await peer.ready().catch(() => {});
  const context = { t, session, peer };
  const streams = Array.from({ length: STREAMS }, (_, i) => [download, upload].map((stream) => stream({ ...context, random: random.fork() }, i)));
  const ending = random.pick(["none", "none", "Close", "terminate", "cut"]);
  if (ending !== "none") {
    await delay(random.int(300));
    if (ending === "Close") session.Close("enough").catch(() => {});
    else if (ending === "terminate") peer.terminate();
    else proxy.cut();
  }
  const outcomes = await Promise.all(streams.flat());
  assert.deepEqual(peer.violations, []);
  if (!breaks && ending === "none") {
    const refusals = peer.of("ERROR").map(({ message }) => message);
    assert.deepEqual(refusals, []);
    await peer.roundTrip(10_000);
  }
  peer.terminate();
  return outcomes;
}

for (let round = 0; round < ROUNDS; round++) {
  test(`chaos, round ${round}: everything is settled, what came through is whole, nothing is left`, { timeout: 90_000 }, async (t) => {
    await seeded(t, (SEED + round * 7919) >>> 0, async (random) => {
      const running = await startServer(t, { backpressure: random.pick([{}, { highWaterMark: 64 * KIB, lowWaterMark: 16 * KIB }]) });
      const lives = Array.from({ length: SESSIONS }, () => live(t, running, random.fork()));
      const outcomes = (await Promise.all(lives)).flat();
      t.diagnostic(`${outcomes.filter((outcome) => outcome === "sent").length} of ${outcomes.length} streams came through`);
      await eventually(() => running.server.stats().sessions === 0, 15_000, "no session is left");
      const { bytesQueued, framesQueued } = running.server.stats();
      assert.deepEqual({ bytesQueued, framesQueued }, { bytesQueued: 0, framesQueued: 0 });
      await eventually(() => unnamedFiles() === 0, 5000, "no file without a name is held open");
      // The server is as good as new.
      const file = await tempFile(t, payload(1000));
      const sid = freshSid();
      const found = sessionFor(running.server, sid);
      const peer = await Peer.connect({ port: running.port, sid });
      const session = await found;
      const sent = session.transaction.Stream({ path: file });
      await within(sent, 10_000, "a stream after the chaos");
      peer.terminate();
    });
  });
}

/** Any transaction frame, mostly of a few numbers. */
function hostileFrame(random) {
  const txId = random.chance(0.9) ? random.int(6) : random.int(2 ** 32);
  const position = () => (random.chance(0.8) ? BigInt(random.int(3 * MIB)) : random.pick([0n, 2n ** 32n, 2n ** 63n, 2n ** 64n - 1n]));
  const ack = random.int(1000);
  switch (random.int(8)) {
    case 0: return {
      type: "TX_START", ack, txId, size: random.pick([-1n, 0n, 1000n, BigInt(random.int(MIB)), -2n, 2n ** 63n - 1n]),
      behaviour: random.chance(0.9) ? random.int(2) : random.int(256), name: random.pick(["", "read", "unread", "destroyed", "x".repeat(1024)]),
    };
    case 1: return { type: "TX_FINISH", ack, txId };
    case 2: return { type: "TX_CANCEL", ack, txId };
    case 3:
    case 4: return { type: "TX_FETCH", ack, txId, start: position(), end: position() };
    case 5: return { type: "ACK", ack: random.int(40) };
    default: return { type: "TX_CHUNK", txId, offset: position(), data: Buffer.alloc(random.pick([0, 1, 1000, 100_000]), 7) };
  }
}

for (let round = 0; round < 3; round++) {
  test(`a client that sends any transaction frames in any order, round ${round}: nothing throws, others are served`, { timeout: 60_000 }, async (t) => {
    await seeded(t, (SEED + 31 * round) >>> 0, async (random) => {
      const running = await startServer(t);
      const file = await tempFile(t, payload(2 * MIB));
      running.server.on("session", (session) => {
        session.on("message-utf8", (text) => void session.base.SendUTF8(text));
        session.transaction.on("tx-start", (_txId, name) => {
          session.transaction.WaitForStream(name).then((readable) => {
            readable.on("error", () => {});
            if (name === "destroyed") readable.destroy();
            else if (name !== "unread") readable.resume();
            if (readable.isPull()) readable.autoPull();
          }, () => {});
        });
        for (const behaviour of ["push", "pull"]) {
          for (const source of [payload(100_000), [payload(MIB)], { path: file }]) session.transaction.Stream(source, { behaviour }).catch(() => {});
        }
      });
      const [hostile, neighbour] = [await Peer.connect({ port: running.port, autoAck: false }), await Peer.connect({ port: running.port })];
      await Promise.all([hostile.until(() => hostile.of("ENDPOINT_INFO").length > 0), neighbour.ready()]);
      for (let i = 0; i < 3000 && hostile.isOpen; i++) {
        hostile.send(hostileFrame(random));
        if (i % 50 === 0) await neighbour.echo(`${i}`, 10_000);
        await hostile.drained();
      }
      await hostile.roundTrip(10_000);
      await neighbour.echo("afterwards");
      hostile.terminate();
      neighbour.terminate();
      await eventually(() => running.server.stats().sessions === 0, 10_000, "no session is left");
      await eventually(() => unnamedFiles() === 0, 5000, "no file without a name is held open");
    });
  });
}
