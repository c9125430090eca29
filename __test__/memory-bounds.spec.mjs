// What a client can make the server keep: it is stopped, or refused, and its neighbour is answered meanwhile.
import assert from "node:assert/strict";
import { encode } from "./support/frames.mjs";
import { RawPeer, freshSid, rawSocket, wsFrame } from "./support/peer.mjs";
import { echo, openSession, sessionFor, startServer } from "./support/server.mjs";
import { test } from "./support/test.mjs";
import { eventually, within } from "./support/wait.mjs";

const MIB = 1024 * 1024;

async function startEcho(t, options) {
  const running = await startServer(t, { keepAliveIntervalMs: 120_000, ...options });
  echo(running.server);
  const neighbour = await openSession(running);
  return { ...running, neighbour };
}

/** Writes until the server reads nothing while it gives many answers to the neighbour, or all is written. */
async function flood(socket, session, neighbour, frame, most) {
  const block = Buffer.concat(Array(Math.ceil(MIB / frame.length)).fill(frame));
  let written = 0;
  let read = 0;
  for (let stopped = 0; written < most && stopped < 200;) {
    if (socket.writableLength === 0) {
      socket.write(block);
      written += block.length;
    }
    await neighbour.peer.echo(`at ${written}`, 20_000);
    const { bytesReceived } = session.stats();
    stopped = socket.writableLength > 0 && bytesReceived === read ? stopped + 1 : 0;
    read = bytesReceived;
  }
  return written;
}

const FLOODS = {
  "pings whose pongs it does not read": { frame: (sid) => encode({ type: "PING_PONG", sid, payload: "ping" }) },
  "messages whose ACKs it does not read": { frame: (sid) => encode({ type: "UTF8DATA", sid, ack: 7, text: "" }) },
};

for (const [what, { frame }] of Object.entries(FLOODS)) {
  test(`a client that sends ${what} is no longer read, others are`, { timeout: 60_000 }, async (t) => {
    const running = await startEcho(t, { backpressure: { highWaterMark: 65_536, lowWaterMark: 16_384, maxQueueCount: 10 } });
    const sid = freshSid();
    const [session, { socket }] = await Promise.all([sessionFor(running.server, sid), RawPeer.connect({ port: running.port, sid })]);
    socket.pause();
    const MOST = 128 * MIB;
    const sent = await flood(socket, session, running.neighbour, wsFrame({ payload: frame(sid) }), MOST);
    assert.ok(sent < MOST, "all of it was read");
    const { bytesReceived, bytesInFlight } = session.stats();
    assert.ok(bytesReceived < sent, `${bytesReceived} of ${sent} bytes were read`);
    assert.ok(bytesInFlight < MIB, `${bytesInFlight} bytes wait for the socket`);
    socket.destroy();
    await running.neighbour.peer.echo("afterwards");
  });
}

test("a message in fragments that are together larger than 1 MiB is closed with 1009 before it is whole", async (t) => {
  const running = await startEcho(t);
  const peer = await RawPeer.connect({ port: running.port });
  const piece = Buffer.alloc(100 * 1024);
  for (let i = 0; i < 12; i++) peer.write({ opcode: i === 0 ? 2 : 0, fin: false, payload: piece });
  const { code } = await within(peer.closed, 5000, "the close");
  assert.equal(code, 1009);
  await running.neighbour.peer.echo("still there");
});

test("1,000 connections that say nothing hold up nobody, and are hung up on at handshakeTimeoutMs", { timeout: 60_000 }, async (t) => {
  const running = await startEcho(t, { handshakeTimeoutMs: 3000 });
  const silent = await Promise.all(Array.from({ length: 1000 }, () => rawSocket({ port: running.port })));
  let ended = 0;
  for (const socket of silent) socket.on("close", () => ended++).on("error", () => {}).resume();
  await running.neighbour.peer.echo("meanwhile");
  await (await openSession(running)).peer.echo("a newcomer");
  await eventually(() => ended === silent.length, 30_000);
  assert.equal(running.server.stats().sessions, 2);
});
