// What code written for camp-server 1.0.x relies on beyond its readme, a test each.
import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import net from "node:net";
import { createRequire } from "node:module";
import { Readable } from "node:stream";
import * as product from "./support/product.mjs";
import { CAMP, CAMPReadable, CAMPServerWebsocketSession, CAMPWebsocketServer, CAMP_FLOW_BEHAVIOUR } from "./support/product.mjs";
import { Child } from "./support/child.mjs";
import { request } from "./support/http.mjs";
import { Peer, Refused, freshSid } from "./support/peer.mjs";
import { once, openPair, openSession, record, rejection, sessionFor, startServer, validator, within } from "./support/server.mjs";
import { MIB, PULL, assertSameBytes, payload, readAll, receivePush, sendPush, takeFinish, takeStart } from "./support/streams.mjs";
import { test } from "./support/test.mjs";
import { eventually, isPending } from "./support/wait.mjs";

// Exports

test("exports: CAMP and its alias camp, the classes, CAMP_FLOW_BEHAVIOUR; by import and require", () => {
  assert.equal(product.camp, product.CAMP);
  for (const name of ["CAMPWebsocketServer", "CAMPServerWebsocketSession", "CAMPReadable"]) assert.equal(typeof product[name], "function", name);
  assert.deepEqual({ ...CAMP_FLOW_BEHAVIOUR }, { TX_PUSH: 0, TX_PULL: 1 });
  assert.equal(createRequire(import.meta.url)("camp-server").CAMP, product.CAMP);
});

test("the classes serve instanceof", async (t) => {
  const { server, session, peer } = await openPair(t);
  const waiting = session.transaction.WaitForStream();
  peer.sendTxStart();
  assert.ok(server instanceof CAMPWebsocketServer && server instanceof EventEmitter);
  assert.ok(session instanceof CAMPServerWebsocketSession && session instanceof EventEmitter);
  assert.ok((await waiting) instanceof CAMPReadable);
});

test("CAMP() returns the server itself; listeners added after an await of it miss nothing", async (t) => {
  const server = CAMP(validator, { port: 0 });
  t.after(() => server.Destroy());
  assert.ok(server instanceof CAMPWebsocketServer);
  assert.equal(await server, server);
  assert.equal(server.address(), null);
  await once(server, "listening");
});

test("error (EADDRINUSE) comes on the server and on http_server", async (t) => {
  const { port } = await startServer(t, { host: "127.0.0.1" });
  const second = CAMP(validator, { port, host: "127.0.0.1" });
  const errors = await Promise.all([once(second, "error"), once(second.http_server, "error")]);
  assert.deepEqual(errors.map(([{ code }]) => code), ["EADDRINUSE", "EADDRINUSE"]);
});

test("bad options throw synchronously, with an error that names the option", () => {
  assert.throws(() => CAMP(validator, { port: 70_000 }), (error) => error instanceof RangeError && /port/.test(error.message));
  assert.throws(() => CAMP(validator, { keepAliveIntervalMs: "1s" }), (error) => error instanceof TypeError && /keepAliveIntervalMs/.test(error.message));
});

// Heartbeat

test("a session that is silent for a whole interval since its last ping is told why and closed", async (t) => {
  const { peer } = await openPair(t, { options: { keepAliveIntervalMs: 100 }, peer: { autoPong: false, autoAck: false } });
  assert.equal((await peer.next("BYE")).reason, "Disconnecting session due to not responding to ping frames.");
});

// Server

test("UnregisterExtension takes the name too; on_register and on_unregister are called", async (t) => {
  const { server } = await startServer(t);
  const calls = [];
  server.RegisterExtension({ name: "x", on_register: () => calls.push("on"), on_unregister: () => calls.push("off") });
  server.UnregisterExtension("x");
  assert.deepEqual([calls, server.GetExtension("x")], [["on", "off"], null]);
});

test("Destroy: every session gets BYE Server shutdown. and close 4000, extensions are unregistered; twice is once", async (t) => {
  const { server, peer } = await openPair(t);
  let unregistered = 0;
  server.RegisterExtension({ name: "x", on_unregister: () => unregistered++ });
  await Promise.all([server.Destroy(), server.Destroy()]);
  await server.Destroy();
  await peer.closed;
  assert.deepEqual(peer.of("BYE").map(({ reason }) => reason), ["Server shutdown."]);
  assert.equal((await peer.closed).code, 4000);
  assert.equal(unregistered, 1);
});

test("http_server: address(), listening and close() do what a Node user expects", async (t) => {
  const running = await startServer(t);
  const { http_server: http } = running.server;
  assert.deepEqual([http.listening, http.address()], [true, running.server.address()]);
  const { session, peer } = await openSession(running);
  http.close();
  assert.equal(http.listening, false);
  await assert.rejects(Peer.connect({ port: running.port }));
  await session.base.SendUTF8("the session lives");
  assert.deepEqual(peer.texts(), ["the session lives"]);
});

test("http_server: a request that no listener takes is answered, not left hanging", async (t) => {
  const { port } = await startServer(t);
  assert.ok([404, 426].includes((await request({ port })).status));
});

test("http_server: an upgrade without CAMP credentials goes to upgrade listeners, otherwise it is refused", async (t) => {
  const { server, port } = await startServer(t);
  assert.equal((await rejection(Peer.connect({ port, query: "" }))).status, 401);
  server.http_server.on("upgrade", (_request, socket) => socket.end("HTTP/1.1 418 Taken\r\nContent-Length: 0\r\n\r\n"));
  const refused = await rejection(Peer.connect({ port, query: "" }));
  assert.ok(refused instanceof Refused && refused.status === 418, String(refused));
});

// Session

test("id and sid are the client's number as bigint; rx and tx count; base, transaction and stream are there from the start", async (t) => {
  const { server, port } = await startServer(t);
  const sid = freshSid();
  const seen = sessionFor(server, sid, (session) => {
    assert.equal(typeof session.base.SendUTF8, "function");
    assert.equal(typeof session.transaction.Stream, "function");
    assert.equal(session.stream, session.transaction);
  });
  const peer = await Peer.connect({ port, sid });
  const session = await seen;
  await peer.ready();
  await peer.acked(peer.sendText("counted"));
  assert.deepEqual([session.id, session.sid], [sid, sid]);
  await eventually(() => session.rx === peer.bytesSent && session.tx === peer.bytesReceived);
});

test("Get knows __TYPE and __TOKEN of an accepted session", async (t) => {
  const { session } = await openPair(t);
  assert.deepEqual([session.Get("__TYPE"), session.Get("__TOKEN")], ["client", "T"]);
});

test("Close resolves once the session is closed; Destroy takes a code and a message", async (t) => {
  const running = await startServer(t);
  const [one, two] = await Promise.all([openSession(running), openSession(running)]);
  const closed = once(one.session, "closed");
  await one.session.Close();
  await closed;
  await two.session.Destroy(4321, "no more");
  assert.deepEqual(await two.peer.closed, { code: 4321, reason: "no more" });
});

test("events come as session, connected, messages in their order, closed last and once", async (t) => {
  const { server, port } = await startServer(t);
  const sid = freshSid();
  let events;
  const found = sessionFor(server, sid, (session) => (events = record(session)));
  const peer = await Peer.connect({ port, sid });
  const closed = once(await found, "closed");
  peer.sendText("1");
  peer.sendBinary([2]);
  peer.sendError("3");
  peer.sendBye("done");
  await closed;
  assert.deepEqual(events.map(([name]) => name), ["connected", "message-utf8", "message-binary", "message-error", "closed"]);
});

test("a listener that throws or rejects is reported as listener-error and disturbs nothing", async (t) => {
  const { session, peer, listenerErrors } = await openPair(t);
  session.on("message-utf8", () => { throw new Error("thrown"); });
  session.on("message-binary", async () => { throw new Error("rejected"); });
  const last = once(session, "message-error");
  peer.sendText("x");
  peer.sendBinary([1]);
  peer.sendError("still served");
  assert.deepEqual(await last, ["still served"]);
  await eventually(() => listenerErrors.length === 2);
  const told = listenerErrors.splice(0);
  assert.deepEqual(told.map(([error, event, of]) => [error.message, event, of === session]),
    [["thrown", "message-utf8", true], ["rejected", "message-binary", true]]);
});

test("a hanging listener delays nobody, and a Buffer given to one never changes", async (t) => {
  const { session, peer } = await openPair(t);
  const kept = [];
  session.on("message-binary", (data) => (kept.push(data), new Promise(() => {})));
  for (let i = 0; i < 50; i++) peer.sendBinary(Buffer.alloc(100, i));
  await eventually(() => kept.length === 50);
  for (const [i, data] of kept.entries()) assert.deepEqual(data, Buffer.alloc(100, i));
});

// Sending

test("a send resolves when the ACK arrives, Ping when it is written", async (t) => {
  const { session, peer } = await openPair(t, { peer: { autoAck: false, autoPong: false } });
  const sent = session.base.SendUTF8("x");
  await within(session.base.Ping(), 5000, "Ping()");
  const { ack } = await peer.next("UTF8DATA");
  assert.ok(await isPending(sent));
  peer.sendAck(ack);
  await within(sent, 5000, "SendUTF8()");
});

test("SendBinary takes Buffer, TypedArray, DataView and ArrayBuffer, and has copied when it returns", async (t) => {
  const { session, peer } = await openPair(t);
  const memory = new Uint8Array([1, 2, 3, 4]);
  const given = [Buffer.from(memory.buffer), memory, new Uint16Array(memory.buffer), new DataView(memory.buffer), memory.buffer];
  const sent = given.map((data) => session.base.SendBinary(data));
  memory.fill(0);
  await Promise.all(sent);
  for (const { data } of peer.of("BINARYDATA")) assert.deepEqual([...data], [1, 2, 3, 4]);
});

test("the empty string and the empty buffer are sent as such, in call order, through a slow hook too", async (t) => {
  const { server, session, peer } = await openPair(t);
  server.RegisterExtension({ name: "slow", before_send_utf8: () => new Promise((resolve) => setTimeout(resolve, 20, true)) });
  await Promise.all([session.base.SendUTF8(""), session.base.SendBinary(Buffer.alloc(0)), session.base.SendError("last")]);
  assert.deepEqual(peer.frames.filter(({ type }) => /DATA|ERROR/.test(type)).map(({ type, text, data }) => [type, text ?? data?.length]),
    [["UTF8DATA", ""], ["BINARYDATA", 0], ["ERROR", undefined]]);
});

// Transactions

test("Stream takes the behaviour as push and pull too, and resolves at the ACK of TX_FINISH", async (t) => {
  const { session, peer } = await openPair(t, { peer: { autoAck: false } });
  peer.sendAck(0);
  const sent = session.transaction.Stream(Readable.from([Buffer.of(1)]), { behaviour: "push" });
  peer.sendAck((await takeStart(peer)).ack);
  const { ack } = await takeFinish(peer, 0);
  assert.ok(await isPending(sent));
  peer.sendAck(ack);
  await within(sent, 5000, "Stream()");
  void session.transaction.Stream(Buffer.of(1), { behaviour: "pull" }).catch(() => {});
  assert.equal((await takeStart(peer)).behaviour, PULL);
});

test("WaitForStream: the empty name is anonymous", async (t) => {
  const { session, peer } = await openPair(t);
  const data = payload(1000);
  const waiting = session.transaction.WaitForStream("");
  sendPush(peer, { name: "anonymous", data });
  assertSameBytes(await readAll(await waiting), data);
});

test("CAMPReadable tells txId, byteLength, behaviour and its progress", async (t) => {
  const { session, peer } = await openPair(t);
  const waiting = session.transaction.WaitForStream("known");
  sendPush(peer, { txId: 9, name: "known", data: payload(MIB) });
  const stream = await waiting;
  assert.deepEqual([stream.txId, stream.byteLength, stream.behaviour, stream.isPush(), stream.isPull()],
    [9, BigInt(MIB), CAMP_FLOW_BEHAVIOUR.TX_PUSH, true, false]);
  await readAll(stream);
  assert.deepEqual([stream.getReceivedBytes(), stream.getRemainingBytes(), stream.getProgress(), stream.isComplete()],
    [BigInt(MIB), 0n, 1, true]);
});

test("session.transaction emits tx-start, tx-chunk, tx-finish and tx-fetch", async (t) => {
  const { session, peer } = await openPair(t);
  const told = [];
  for (const event of ["tx-start", "tx-chunk", "tx-finish", "tx-fetch"]) session.transaction.on(event, (...args) => told.push([event, ...args]));
  const finished = once(session.transaction, "tx-finish");
  sendPush(peer, { txId: 5, name: "in", data: Buffer.of(1, 2) });
  await finished;
  const fetched = once(session.transaction, "tx-fetch");
  void session.transaction.Stream(Buffer.of(1), { behaviour: "pull" }).catch(() => {});
  const { txId } = await takeStart(peer);
  peer.sendTracked({ type: "TX_FETCH", txId, start: 0n, end: 1n });
  await fetched;
  assert.deepEqual(told, [["tx-start", 5, "in"], ["tx-chunk", 5, Buffer.of(1, 2)], ["tx-finish", 5], ["tx-fetch", txId, 0n, 1n]]);
});

test("streams meet no hooks", async (t) => {
  const { server, session, peer } = await openPair(t);
  const fail = () => assert.fail("a hook was called");
  server.on("extension-error", (error) => server.emit("listener-error", error, "extension-error"));
  server.RegisterExtension({ name: "x", before_send_binary: fail, before_send_utf8: fail, on_receive_binary: fail, on_receive_utf8: fail });
  const sent = session.transaction.Stream(Buffer.of(1, 2, 3));
  assertSameBytes((await receivePush(peer)).data, Buffer.of(1, 2, 3));
  await within(sent, 5000, "Stream()");
});

// Extensions

test("hooks run in the order of registration; false stops the chain, undefined too; a send suppressed resolves", async (t) => {
  const { server, session, peer } = await openPair(t);
  const ran = [];
  const extension = (name, verdict) => ({ name, before_send_utf8: (_session, box) => (ran.push(`${name}:${box.value}`), (box.value += name), verdict(box.value)) });
  server.RegisterExtension(extension("a", () => true));
  server.RegisterExtension(extension("b", (value) => (value.startsWith("stop") ? undefined : true)));
  server.RegisterExtension(extension("c", () => true));
  await session.base.SendUTF8("stop");
  await session.base.SendUTF8("go");
  assert.deepEqual(ran, ["a:stop", "b:stopa", "a:go", "b:goa", "c:goab"]);
  assert.deepEqual(peer.texts(), ["goabc"]);
});

test("a hook that throws is reported as extension-error and counts as true", async (t) => {
  const { server, session, peer } = await openPair(t);
  const extension = { name: "x", async before_send_utf8() { throw new Error("hook"); } };
  server.RegisterExtension(extension);
  const reported = once(server, "extension-error");
  await session.base.SendUTF8("passes");
  const [error, by, hook] = await reported;
  assert.deepEqual([error.message, by, hook, peer.texts()], ["hook", extension, "before_send_utf8", ["passes"]]);
});

test("receive hooks run before the ACK", async (t) => {
  const { server, peer } = await openPair(t);
  let release;
  const entered = new Promise((resolve) => {
    server.RegisterExtension({ name: "x", on_receive_utf8: () => new Promise((verdict) => { release = () => verdict(true); resolve(); }) });
  });
  const ack = peer.sendText("held");
  await entered;
  assert.ok(!peer.of("ACK").some((frame) => frame.ack === ack));
  release();
  await peer.acked(ack);
});

// Debug output

test("DEBUG prints its sections to stderr, never a token", async (t) => {
  const child = Child.start(t, "echo-server.mjs", { token: "t0p-secret" }, { env: { DEBUG: "CAMP_SERVER_SESSION" } });
  const { port } = await child.report("listening");
  const peer = await Peer.connect({ port, token: "t0p-secret" });
  await peer.echo("seen");
  peer.close(4000);
  await child.report("closed");
  await eventually(() => /UTF8DATA/i.test(child.stderr));
  assert.doesNotMatch(child.stderr, /t0p-secret/);
});

test("a port that is free again after Destroy may be taken by anybody", async (t) => {
  for (let round = 0; round < 300; round++) {
    const server = CAMP(validator, { port: 0 });
    t.after(() => server.Destroy());
    await once(server, "listening");
    const { port } = server.address();
    await server.Destroy();
    const other = net.createServer().listen(port, "127.0.0.1");
    await once(other, "listening");
    other.close();
  }
});
