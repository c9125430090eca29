// The readme of camp-server 1.0.9, row by row: overview, configuration, methods of the server. The rows of a
// session are in acceptance-session.spec.mjs, extensions and examples in acceptance-extensions.spec.mjs, defaults
// in acceptance-defaults.spec.mjs. What TypeScript has to say to its interfaces is in types/readme-*.ts.
import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import { CAMP, CAMPServerWebsocketSession } from "./support/product.mjs";
import { Peer, Refused, freshSid } from "./support/peer.mjs";
import { request } from "./support/http.mjs";
import { once, openPair, openSession, rejection, startServer, validator, within } from "./support/server.mjs";
import { arrivedNumbers, numbered, outcomes, stall, tight } from "./support/stall.mjs";
import { test } from "./support/test.mjs";
import { eventually } from "./support/wait.mjs";

const key = readFileSync(new URL("support/tls/test-only.key.pem", import.meta.url));
const cert = readFileSync(new URL("support/tls/test-only.cert.pem", import.meta.url));

// Overview

test("Overview: client session authentication", async (t) => {
  const { port } = await startServer(t);
  assert.equal((await rejection(Peer.connect({ port, token: "another" }))).status, 401);
  await (await Peer.connect({ port, token: "T" })).ready();
});

test("Overview: client session lifecycle management", async (t) => {
  const { server, port } = await startServer(t);
  const life = [];
  server.on("session", (session) => {
    life.push("session");
    session.on("closed", () => life.push("closed"));
  });
  const opened = once(server, "session");
  const peer = await Peer.connect({ port });
  await peer.ready();
  const [session] = await opened;
  peer.close(4000);
  await once(session, "closed");
  assert.deepEqual(life, ["session", "closed"]);
  assert.equal(server.sessions.size, 0);
});

test("Overview: correct framing and structuring of received and sent data", async (t) => {
  const { session, peer } = await openPair(t);
  const arrived = once(session, "message-utf8");
  const ack = peer.sendText("in");
  assert.deepEqual(await arrived, ["in"]);
  await peer.acked(ack);
  await session.base.SendUTF8("out");
  const { type, sid, text } = await peer.next("UTF8DATA");
  assert.deepEqual([type, sid, text], ["UTF8DATA", session.sid, "out"]);
});

test("Overview: access to sessions for communication purposes via events", async (t) => {
  const { server, port } = await startServer(t);
  const found = once(server, "session");
  const peer = await Peer.connect({ port });
  const [session] = await found;
  await session.base.SendUTF8("hello");
  assert.equal((await peer.next("UTF8DATA")).text, "hello");
});

// Setup

test("Setup: the function takes a required ITokenValidator object", () => {
  assert.throws(() => CAMP(), TypeError);
  assert.throws(() => CAMP(undefined, { port: 0 }), TypeError);
});

test("Setup: and an optional ICAMPWebsocketServerOptions object", async (t) => {
  const { server } = await startServer(t, {});
  assert.notEqual(server.address(), null);
});

// Configuration

test("ITokenValidator: clients send a token, which you may validate in the validate function", async (t) => {
  const asked = [];
  const { port } = await startServer(t, {}, { async validate(...args) { return asked.push(args[0]) === 2; } });
  assert.ok((await rejection(Peer.connect({ port, token: "first" }))) instanceof Refused);
  await Peer.connect({ port, token: "second of them" });
  assert.deepEqual(asked, ["first", "second of them"]);
});

test("keepAliveIntervalMs: the frequency in which the server sends application-level pings", async (t) => {
  const { peer } = await openPair(t, { options: { keepAliveIntervalMs: 600 } });
  for (let i = 0; i < 3; i++) assert.equal((await peer.next("PING_PONG")).payload, "ping");
});

test("port: the local port to listen on", async (t) => {
  const { server, port } = await startServer(t);
  await server.Destroy();
  const again = CAMP(validator, { port });
  t.after(() => again.Destroy());
  await once(again, "listening");
  assert.equal(again.address().port, port);
  await (await Peer.connect({ port })).ready();
});

test("ssl: key and cert enable SSL connections", async (t) => {
  const running = await startServer(t, { ssl: { key, cert } });
  const { session, peer } = await openSession(running, { tls: { ca: cert, servername: "localhost" } });
  await session.base.SendUTF8("over TLS");
  assert.equal((await peer.next("UTF8DATA")).text, "over TLS");
  await assert.rejects(Peer.connect({ port: running.port }), "without TLS");
});

// Backpressure. Each message is 100 KiB; what is sent after `stall` has to wait in the queue.

/** Sends eight numbered messages into a stall, of which some are dropped; returns the numbers of those that arrive. */
async function arrivedOfEight(t, backpressure, atLeastDropped) {
  const { session, peer } = await openPair(t, { options: tight(backpressure) });
  await stall(session, peer);
  let drops = 0;
  session.on("dropped", () => drops++);
  const sent = Array.from({ length: 8 }, (_, index) => session.base.SendBinary(numbered(index)));
  // All of them have reached the queue before the client drains it.
  await eventually(() => drops >= atLeastDropped);
  peer.resumeReading();
  const fates = await outcomes(sent);
  const arrived = arrivedNumbers(peer);
  assert.deepEqual(fates, sent.map((_, index) => (arrived.includes(index) ? "sent" : "ERR_CAMP_DROPPED")));
  return arrived;
}

const first = (count) => Array.from({ length: count }, (_, index) => index);
const last = (count) => first(count).map((index) => 8 - count + index);

test("highWaterMark: maximum number of bytes in the send buffer before throttling starts", async (t) => {
  const { session, peer } = await openPair(t, { options: tight() });
  await stall(session, peer);
  const { bytesInFlight, framesQueued } = await eventually(() => session.stats().framesQueued > 0 && session.stats());
  assert.ok(bytesInFlight >= 64 * 1024, `${bytesInFlight} bytes`);
  const throttled = session.base.SendBinary(numbered(0));
  await eventually(() => session.stats().framesQueued > framesQueued);
  assert.equal(session.stats().bytesInFlight, bytesInFlight, "nothing more was handed over");
  peer.resumeReading();
  await within(throttled, 10_000, "the send");
});

test("lowWaterMark: once buffer usage drops below this, sending resumes", async (t) => {
  const { session, peer } = await openPair(t, { options: tight() });
  await stall(session, peer);
  const sent = first(3).map((index) => session.base.SendBinary(numbered(index)));
  await eventually(() => session.stats().framesQueued >= 3);
  peer.resumeReading();
  assert.deepEqual(await outcomes(sent), ["sent", "sent", "sent"]);
  assert.equal(session.stats().framesQueued, 0);
});

test("maxQueuedBytes: hard cap on total queued bytes, frames beyond this are dropped", async (t) => {
  // What `stall` leaves waiting may take up to 200 KiB of it.
  const arrived = await arrivedOfEight(t, { maxQueuedBytes: 550 * 1024, dropPolicy: "drop-newest" }, 3);
  assert.ok(arrived.length >= 3 && arrived.length <= 5, `${arrived.length} arrived`);
  assert.deepEqual(arrived, first(arrived.length));
});

test("maxQueueCount: hard cap on number of queued frames", async (t) => {
  const arrived = await arrivedOfEight(t, { maxQueueCount: 5, dropPolicy: "drop-newest" }, 3);
  assert.ok(arrived.length >= 3 && arrived.length <= 5, `${arrived.length} arrived`);
});

test("drop-oldest: keeps new data, discards the oldest frames first", async (t) => {
  const arrived = await arrivedOfEight(t, { maxQueueCount: 5, dropPolicy: "drop-oldest" }, 3);
  assert.deepEqual(arrived, last(arrived.length));
  assert.ok(arrived.length >= 3 && arrived.length <= 5, `${arrived.length} arrived`);
});

test("drop-newest: keeps old data, discards the newest frame attempting to be sent", async (t) => {
  const arrived = await arrivedOfEight(t, { maxQueueCount: 5, dropPolicy: "drop-newest" }, 3);
  assert.deepEqual(arrived, first(arrived.length));
  assert.ok(arrived.length >= 3 && arrived.length <= 5, `${arrived.length} arrived`);
});

test("dedupe-latest: a queued frame of the same type and payload is replaced instead of adding a duplicate", async (t) => {
  const { session, peer } = await openPair(t, { options: tight({ dropPolicy: "dedupe-latest", maxQueueCount: 8 }) });
  await stall(session, peer);
  const full = once(session, "dropped");
  const sent = [97, 98, 97].map((number) => session.base.SendBinary(numbered(number)));
  const others = first(8).map((number) => session.base.SendBinary(numbered(number)));
  // The first one that finds no room: those before it are in the queue.
  await full;
  peer.resumeReading();
  assert.deepEqual(await outcomes(sent), ["sent", "sent", "sent"]);
  await outcomes(others);
  assert.deepEqual(arrivedNumbers(peer).slice(0, 3), [97, 98, 0]);
});

// Public methods of the server

test("RegisterExtension: registers a server-side CAMP extension", async (t) => {
  const { server, session, peer } = await openPair(t);
  server.RegisterExtension({ name: "loud", async before_send_utf8(_session, message) { message.value += "!"; return true; } });
  await session.base.SendUTF8("hello");
  assert.deepEqual(peer.texts(), ["hello!"]);
});

test("UnregisterExtension: unregisters a server-side CAMP extension", async (t) => {
  const { server, session, peer } = await openPair(t);
  const extension = { name: "loud", async before_send_utf8(_session, message) { message.value += "!"; return true; } };
  server.RegisterExtension(extension);
  server.UnregisterExtension(extension);
  await session.base.SendUTF8("hello");
  assert.deepEqual([peer.texts(), server.GetExtension("loud")], [["hello"], null]);
});

test("GetExtension: gets a server-side CAMP extension by its id, or null", async (t) => {
  const { server } = await startServer(t);
  const extension = { name: "rpc" };
  server.RegisterExtension(extension);
  assert.equal(server.GetExtension("rpc"), extension);
  assert.equal(server.GetExtension("other"), null);
});

test("Destroy: closes the server and destroys all sessions", async (t) => {
  const running = await startServer(t);
  const opened = await Promise.all([openSession(running), openSession(running)]);
  const closed = opened.map(({ session }) => once(session, "closed"));
  running.server.Destroy();
  await Promise.all(closed);
  for (const { peer } of opened) assert.equal((await peer.closed).code, 4000);
  await assert.rejects(Peer.connect({ port: running.port }));
});

test("(get) http_server: returns the underlying http.Server object for interop with other libraries", async (t) => {
  const plain = await startServer(t);
  const secure = await startServer(t, { ssl: { key, cert } });
  assert.ok(plain.server.http_server instanceof http.Server);
  assert.ok(secure.server.http_server instanceof https.Server);
  plain.server.http_server.on("request", (_request, response) => response.end("interop"));
  assert.equal((await request({ port: plain.port })).text, "interop");
});

// Events of the server

test("session: (session: CAMPServerWebsocketSession) => void", async (t) => {
  const { server, port } = await startServer(t);
  assert.ok(server instanceof EventEmitter);
  const sid = freshSid();
  const found = once(server, "session");
  await Peer.connect({ port, sid });
  const args = await found;
  assert.equal(args.length, 1);
  assert.ok(args[0] instanceof CAMPServerWebsocketSession);
  assert.equal(args[0].id, sid);
});

test("listening: () => void", async (t) => {
  const server = CAMP(validator, { port: 0 });
  t.after(() => server.Destroy());
  assert.deepEqual(await once(server, "listening"), []);
});
