// Bytes that arrive, and bytes that are taken of what waits, are signs of life; what a client's system does without it is none.
import assert from "node:assert/strict";
import { CERT, SECURE, info } from "./support/other-server.mjs";
import { freshSid } from "./support/peer.mjs";
import { flakyProxy } from "./support/proxy.mjs";
import { rawUpgrade, target, wsFrame } from "./support/raw.mjs";
import { once, openSession, sessionFor, startServer } from "./support/server.mjs";
import { test } from "./support/test.mjs";
import { eventually } from "./support/wait.mjs";

const INTERVAL_MS = 1000;
const TICKS = 4;
const MIB = 1024 * 1024;

/** The longest time between two calls: what a client did not do for an interval says nothing about the server. */
class Pace {
  #last = performance.now();
  longest = 0;
  step() {
    const now = performance.now();
    this.longest = Math.max(this.longest, now - this.#last);
    this.#last = now;
  }
  get isKept() {
    return this.longest < INTERVAL_MS / 2;
  }
}

/** Tries again when this machine was too busy for the client to keep its pace. */
async function atPace(t, attempt) {
  for (let left = 4; ; left--) {
    const pace = new Pace();
    try {
      return await attempt(pace);
    } catch (error) {
      if (pace.isKept || left === 0) throw error;
      t.diagnostic(`the client's pace had a gap of ${Math.round(pace.longest)} ms: tried again`);
    }
  }
}

const countTicks = (session) => {
  const count = { ticks: 0, closed: false };
  session.on("stat-rtt", () => count.ticks++);
  session.on("closed", () => (count.closed = true));
  return count;
};

const lives = (count) => {
  if (count.closed) throw new Error(`closed after ${count.ticks} ticks`);
  return count.ticks >= TICKS;
};

for (const secure of [false, true]) {
  const over = secure ? "TLS" : "TCP";
  const tls = secure ? { ca: CERT, servername: "localhost" } : undefined;
  const options = { keepAliveIntervalMs: INTERVAL_MS, ...(secure && { ssl: SECURE }) };

  test(`a client whose message comes slowly over ${over} lives while its bytes arrive`, { timeout: 60_000 }, async (t) => {
    const { server, port } = await startServer(t, options);
    await atPace(t, async (pace) => {
      let slow = false;
      const step = () => (pace.step(), 20);
      const proxy = await flakyProxy(t, { port, piece: () => (slow ? 64 : 65_536), pause: () => (slow ? step() : 0) });
      const { session, peer } = await openSession({ server, port: proxy.port }, { tls, autoPong: false });
      const count = countTicks(session);
      const received = once(session, "message-binary", 30_000);
      received.catch(() => {});
      slow = true;
      pace.step();
      // Over TLS it is one record: until it is whole there is nothing to decrypt.
      peer.sendBinary(Buffer.alloc(16_000, 7));
      try {
        await eventually(() => lives(count), 30_000);
        slow = false;
        assert.equal((await received)[0].length, 16_000);
      } finally {
        peer.terminate();
      }
    });
  });

  test(`a client that takes slowly what is sent over ${over} lives, and is closed once it takes no more`, { timeout: 60_000 }, async (t) => {
    const { server, port } = await startServer(t, options);
    await atPace(t, async (pace) => {
      const sid = freshSid();
      const found = sessionFor(server, sid);
      const { socket } = await rawUpgrade({ port, target: target({ sid }), tls });
      socket.write(wsFrame({ payload: info(sid) }));
      const session = await found;
      const count = countTicks(session);
      const closed = once(session, "closed", 50_000);
      closed.catch(() => {});
      for (let i = 0; i < 15; i++) session.base.SendBinary(Buffer.alloc(MIB)).catch(() => {});
      pace.step();
      const taking = setInterval(() => {
        pace.step();
        socket.once("data", () => socket.pause());
        socket.resume();
      }, 50);
      try {
        await eventually(() => lives(count), 30_000);
      } finally {
        clearInterval(taking);
      }
      await closed;
      socket.destroy();
    });
  });
}

test("a client that hangs while its system takes every message is closed all the same", async (t) => {
  const { server, port } = await startServer(t, { keepAliveIntervalMs: 300 });
  const sid = freshSid();
  const found = sessionFor(server, sid);
  const { socket } = await rawUpgrade({ port, target: target({ sid }) });
  socket.write(wsFrame({ payload: info(sid) }));
  const session = await found;
  const closed = once(session, "closed", 20_000);
  const sending = setInterval(() => void session.base.SendUTF8("news").catch(() => {}), 20);
  await closed.finally(() => clearInterval(sending));
  socket.destroy();
});
