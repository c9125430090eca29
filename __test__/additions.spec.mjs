// What is added to camp-server 1.0.9 for the operator: sessions, figures, certificates, draining, bounds on sends.
import assert from "node:assert/strict";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { readFileSync } from "node:fs";
import { CAMP } from "./support/product.mjs";
import { Peer, Refused } from "./support/peer.mjs";
import { echo, openPair, openSession, rejection, startServer, validator } from "./support/server.mjs";
import { MIB, assertSameBytes, fetchRange, payload, readAll, sendChunks, sendFinish, takeStart } from "./support/streams.mjs";
import { stall } from "./support/stall.mjs";
import { test } from "./support/test.mjs";
import { eventually, isPending, once, within } from "./support/wait.mjs";

const pem = (name) => readFileSync(new URL(`support/tls/${name}.pem`, import.meta.url));
const FIRST = { key: pem("test-only.key"), cert: pem("test-only.cert") };
const SECOND = { key: pem("test-only-second.key"), cert: pem("test-only-second.cert") };
const trusting = ({ cert }) => ({ ca: cert, servername: "localhost" });

test("server.sessions has the live sessions, in order", async (t) => {
  const running = await startServer(t);
  const { sessions } = running.server;
  assert.deepEqual([sessions.size, [...sessions]], [0, []]);
  const one = await openSession(running);
  const two = await openSession(running);
  assert.deepEqual([sessions.size, [...sessions]], [2, [one.session, two.session]]);
  assert.equal(running.server.sessions, sessions);
  let sizeAtTheEnd;
  one.session.on("closed", () => { sizeAtTheEnd = sessions.size; });
  await one.session.Close();
  assert.deepEqual([sizeAtTheEnd, [...sessions]], [1, [two.session]]);
  for (const session of sessions) await session.Destroy();
  assert.equal(sessions.size, 0);
});

test("a session's figures count what went over the wire", async (t) => {
  const running = await startServer(t);
  const quiet = await openSession(running, { autoAck: false });
  assert.equal(quiet.session.stats().rttMs, -1, "nothing is acknowledged");
  const { session, peer } = await openSession(running);
  await session.base.SendUTF8("four");
  await peer.acked(peer.sendText("text"));
  await peer.acked(peer.sendBinary([1, 2]));
  await peer.acked(peer.sendError("e"));
  peer.sendPong();
  await peer.roundTrip();
  await eventually(() => session.stats().bytesSent === peer.bytesReceived);
  const stats = session.stats();
  assert.deepEqual(
    [stats.bytesReceived, stats.bytesSent, stats.framesSent, stats.messagesReceived, stats.messagesDropped, stats.ackTimeouts],
    [peer.bytesSent, peer.bytesReceived, peer.frames.length, 3, 0, 0],
  );
  assert.deepEqual([stats.bytesReceived, stats.bytesSent], [session.rx, session.tx]);
  // ENDPOINT_INFO and its ACK, the ACK of the text, three messages, pong and ping.
  assert.equal(stats.framesReceived, 8);
  assert.deepEqual([stats.bytesInFlight, stats.bytesQueued, stats.framesQueued], [0, 0, 0]);
  assert.ok(stats.rttMs >= 0);
  await session.Destroy();
  assert.equal(session.stats().messagesReceived, 3);
});

test("a session's gauges tell what waits for a client that does not read", async (t) => {
  const { session, peer, server } = await openPair(t, { options: { backpressure: { highWaterMark: 64 * 1024, lowWaterMark: 1024, maxQueueCount: 2, maxQueuedBytes: Infinity } } });
  await stall(session, peer);
  for (const text of ["a", "b", "c"]) void session.base.SendUTF8(text);
  await eventually(() => session.stats().messagesDropped > 0);
  const stats = session.stats();
  assert.ok(stats.bytesInFlight >= 64 * 1024, `${stats.bytesInFlight} in flight`);
  assert.ok(stats.framesQueued >= 2 && stats.bytesQueued > 0, `${stats.framesQueued} frames, ${stats.bytesQueued} bytes`);
  assert.equal(server.stats().bytesQueued, session.stats().bytesQueued);
  await session.Destroy(4000);
});

test("a server's figures sum up all sessions, also those that have ended", async (t) => {
  const running = await startServer(t);
  const { server, port } = running;
  echo(server);
  const ended = await openSession(running);
  await ended.peer.echo("one");
  await ended.session.Close();
  const live = await openSession(running);
  await live.peer.echo("two");
  await assert.rejects(Peer.connect({ port, token: "wrong" }), Refused);
  await eventually(() => server.stats().refused === 1);
  const stats = server.stats();
  assert.deepEqual([stats.sessions, stats.sessionsOpened, stats.refused, stats.messagesReceived], [1, 2, 1, 2]);
  assert.equal(stats.bytesReceived, ended.session.stats().bytesReceived + live.session.stats().bytesReceived);
});

test("metrics are Prometheus text with every figure", async (t) => {
  const running = await startServer(t);
  await openSession(running);
  const text = running.server.metrics();
  const lines = text.trimEnd().split("\n");
  assert.ok(text.endsWith("\n"));
  assert.equal(lines.length, 3 * Object.keys(running.server.stats()).length);
  for (let i = 0; i < lines.length; i += 3) {
    const [, name] = /^# HELP (camp_[a-z_]+) \S/.exec(lines[i]) ?? assert.fail(lines[i]);
    assert.match(lines[i + 1], new RegExp(`^# TYPE ${name} (counter|gauge)$`));
    assert.match(lines[i + 2], new RegExp(`^${name} \\d+$`));
    assert.equal(lines[i + 1].endsWith("counter"), name.endsWith("_total"));
  }
  assert.ok(lines.includes("camp_sessions 1"));
});

test("diagnostics channels tell of sessions, their end, refusals and drops", async (t) => {
  const told = [];
  for (const name of ["session", "closed", "refused", "dropped"]) {
    const listener = (message) => told.push([name, message]);
    subscribe(`camp-server:${name}`, listener);
    t.after(() => unsubscribe(`camp-server:${name}`, listener));
  }
  const running = await startServer(t, { backpressure: { highWaterMark: 64 * 1024, maxQueueCount: 1 } });
  const { server, port } = running;
  await assert.rejects(Peer.connect({ port, token: "wrong" }), Refused);
  const { session, peer } = await openSession(running);
  await stall(session, peer);
  void session.base.SendUTF8("a");
  void session.base.SendUTF8("b");
  await eventually(() => told.some(([name]) => name === "dropped"));
  peer.resumeReading();
  peer.close(4321, "enough");
  await eventually(() => told.some(([name]) => name === "closed"));
  const of = (name) => told.find(([other]) => other === name)[1];
  assert.deepEqual(of("refused"), { server, status: 401, reason: "Invalid bearer token in authorization query.", remoteAddress: "127.0.0.1" });
  assert.deepEqual(of("session"), { server, session });
  assert.deepEqual({ ...of("dropped"), bytes: 0 }, { server, session, type: of("dropped").type, bytes: 0, policy: "drop-oldest" });
  assert.deepEqual(of("closed"), { server, session, code: 4321, reason: "enough" });
});

test("SetSecureContext: new handshakes use it, no session is dropped", async (t) => {
  const running = await startServer(t, { ssl: FIRST });
  echo(running.server);
  const before = await openSession(running, { tls: trusting(FIRST) });
  running.server.SetSecureContext({ key: SECOND.key, cert: SECOND.cert.toString() });
  const after = await openSession(running, { tls: trusting(SECOND) });
  await assert.rejects(Peer.connect({ port: running.port, tls: trusting(FIRST) }));
  await before.peer.echo("still here");
  await after.peer.echo("new");
});

test("a bad secure context throws and changes nothing", async (t) => {
  const running = await startServer(t, { ssl: FIRST });
  const { server } = running;
  assert.throws(() => server.SetSecureContext({ key: "no", cert: "pem" }), /ssl\.key/);
  assert.throws(() => server.SetSecureContext({ key: FIRST.key, cert: "pem" }), /ssl\.cert/);
  assert.throws(() => server.SetSecureContext({ key: FIRST.key, cert: SECOND.cert }), /ssl/);
  assert.throws(() => server.SetSecureContext({ key: 5, cert: FIRST.cert }), TypeError);
  assert.throws(() => server.SetSecureContext(), TypeError);
  await openSession(running, { tls: trusting(FIRST) });
  const plain = await startServer(t);
  assert.throws(() => plain.server.SetSecureContext(FIRST), /without ssl/);
});

test("Drain lets go of the port, waits for what is unacknowledged, then ends", async (t) => {
  const running = await startServer(t);
  const { server, port } = running;
  const busy = await openSession(running, { autoAck: false });
  const idle = await openSession(running);
  busy.peer.sendAck(0);
  const sent = busy.session.base.SendUTF8("work");
  const frame = await busy.peer.next("UTF8DATA");
  const drained = server.Drain(10_000);
  await idle.peer.closed;
  assert.equal(idle.peer.of("BYE")[0].reason, "Server shutdown.");
  assert.equal(server.address(), null);
  await assert.rejects(Peer.connect({ port }));
  const next = CAMP(validator, { port });
  t.after(() => next.Destroy());
  await once(next, "listening");
  assert.ok(await isPending(drained));
  assert.ok(busy.peer.isOpen);
  busy.peer.sendAck(frame.ack);
  await sent;
  await within(drained, 5000, "Drain()");
  await busy.peer.closed;
  assert.equal(server.sessions.size, 0);
});

test("Drain lets transactions in both directions come to their end", async (t) => {
  const running = await startServer(t);
  const { session, peer } = await openSession(running);
  const data = payload(3 * MIB);
  peer.sendTxStart({ name: "upload" });
  const upload = await session.transaction.WaitForStream("upload");
  const down = session.transaction.Stream(data, { streamName: "download", behaviour: "pull" });
  const { txId } = await takeStart(peer);
  const drained = running.server.Drain(10_000);
  await eventually(() => running.server.address() === null);
  await sendChunks(peer, 0, data);
  sendFinish(peer, 0);
  assertSameBytes(await readAll(upload), data, "upload");
  assert.ok(await isPending(drained));
  assertSameBytes(await fetchRange(peer, txId, 0, data.length), data, "download");
  await down;
  await within(drained, 5000, "Drain()");
  assert.equal(peer.of("BYE")[0].reason, "Server shutdown.");
});

test("Drain ends all the same when its time is over", async (t) => {
  const running = await startServer(t);
  const { session, peer } = await openSession(running, { autoAck: false });
  const sent = session.base.SendUTF8("never acknowledged");
  await running.server.Drain(50);
  assert.equal((await rejection(sent)).code, "ERR_CAMP_SESSION_CLOSED");
  await peer.closed;
  await assert.rejects(running.server.Drain(-1), RangeError);
  await assert.rejects(running.server.Drain("soon"), TypeError);
});

const SENDS = {
  SendUTF8: (session, options) => session.base.SendUTF8("x", options),
  SendBinary: (session, options) => session.base.SendBinary(Buffer.of(1), options),
  SendError: (session, options) => session.base.SendError("x", options),
};

for (const [name, send] of Object.entries(SENDS)) {
  test(`${name} takes a signal and a time`, async (t) => {
    const { session, peer } = await openPair(t, { peer: { autoAck: false } });
    const controller = new AbortController();
    const aborted = send(session, { signal: controller.signal });
    await peer.next((frame) => /DATA|ERROR/.test(frame.type));
    const why = new Error("why");
    controller.abort(why);
    const error = await rejection(aborted);
    assert.deepEqual([error.name, error.code, error.cause], ["AbortError", "ABORT_ERR", why]);
    assert.equal((await rejection(send(session, { timeoutMs: 10 }))).code, "ERR_CAMP_ACK_TIMEOUT");
    // The message that was given up after 10 ms may still be on its way.
    await peer.roundTrip();
    const frames = peer.frames.length;
    assert.equal((await rejection(send(session, { signal: controller.signal }))).name, "AbortError");
    await peer.roundTrip();
    assert.equal(peer.frames.length, frames + 1, "an aborted message was sent");
    for (const bad of [{ signal: {} }, { timeoutMs: "5" }, 5, null]) assert.ok((await rejection(send(session, bad))) instanceof TypeError);
    for (const timeoutMs of [0, -1, Infinity, NaN]) assert.ok((await rejection(send(session, { timeoutMs }))) instanceof RangeError);
    const acknowledged = send(session, { signal: new AbortController().signal, timeoutMs: 5000 });
    const { ack } = await peer.next((frame) => /DATA|ERROR/.test(frame.type) && frame.ack === 3);
    peer.sendAck(ack);
    await acknowledged;
  });
}

test("a message given up while its hooks run is not sent", async (t) => {
  const { server, session, peer } = await openPair(t);
  const controller = new AbortController();
  server.RegisterExtension({ name: "x", before_send_utf8: (_session, box) => box.value === "free" || new Promise((resolve) => setTimeout(resolve, 20, true)) });
  const given = session.base.SendUTF8("given up", { signal: controller.signal });
  controller.abort();
  assert.equal((await rejection(given)).name, "AbortError");
  await session.base.SendUTF8("free");
  assert.deepEqual(peer.texts(), ["free"]);
});
