import assert from "node:assert/strict";
import { Child } from "./support/child.mjs";
import { Peer } from "./support/peer.mjs";
import { openPair, openSession, startServer } from "./support/server.mjs";
import { test } from "./support/test.mjs";
import { eventually, once } from "./support/wait.mjs";

/** The reports so far as [message, event, sid]; taken, so that the cleanup does not object to them. */
const take = (running) => running.listenerErrors.splice(0).map(([error, event, session]) => [error?.message ?? error, event, session?.sid]);

test("a listener that throws is reported with its event and session, and the batch goes on", async (t) => {
  const running = await startServer(t);
  const received = [];
  const { session, peer } = await openSession(running);
  session.on("message-utf8", (text) => {
    received.push(text);
    if (Number(text) % 10 === 3) throw new Error(`boom ${text}`);
  });
  session.on("message-binary", (data) => received.push(data.length));
  for (let i = 0; i < 100; i++) peer.sendText(String(i));
  peer.sendBinary([1, 2]);
  await eventually(() => received.length === 101);
  assert.deepEqual(received, [...Array.from({ length: 100 }, (_, i) => String(i)), 2]);
  await eventually(() => running.listenerErrors.length === 10);
  assert.deepEqual(take(running), Array.from({ length: 10 }, (_, i) => [`boom ${i * 10 + 3}`, "message-utf8", peer.sid]));
  await peer.roundTrip();
});

test("a listener whose promise rejects is reported the same way", async (t) => {
  const running = await startServer(t);
  const { session, peer } = await openSession(running);
  let count = 0;
  session.on("message-binary", async () => {
    count++;
    await null;
    throw new Error("later");
  });
  for (let i = 0; i < 5; i++) peer.sendBinary([i]);
  await eventually(() => running.listenerErrors.length === 5);
  assert.deepEqual(take(running), Array.from({ length: 5 }, () => ["later", "message-binary", peer.sid]));
  assert.equal(count, 5);
});

test("the promise of a send that a listener returns is reported if it is rejected, whichever way it is returned", async (t) => {
  const running = await startServer(t, { ackTimeoutMs: 200, keepAliveIntervalMs: 2000 });
  const { session, peer } = await openSession(running, { autoAck: false });
  const earlier = session.base.SendUTF8("earlier");
  session.on("message-utf8", (text) => session.base.SendUTF8(text));
  session.on("message-utf8", async (text) => session.base.SendUTF8(text));
  session.on("message-utf8", () => earlier);
  session.on("message-binary", (data) => session.base.SendBinary(data));
  session.on("message-error", (text) => void session.base.SendError(text));
  for (let i = 0; i < 40; i++) peer.sendBinary([i]);
  peer.sendText("a");
  peer.sendError("not returned, not reported");
  await eventually(() => running.listenerErrors.length === 43);
  const reports = running.listenerErrors.splice(0);
  assert.ok(reports.every(([error]) => error.code === "ERR_CAMP_ACK_TIMEOUT"));
  assert.ok(reports.every(([, , about]) => about === session));
  assert.equal(reports.filter(([, event]) => event === "message-binary").length, 40);
  assert.equal(reports.filter(([, event]) => event === "message-utf8").length, 3);
});

test("of several listeners each is called, in order, whatever the others do", async (t) => {
  const running = await startServer(t);
  const { session, peer } = await openSession(running);
  const called = [];
  session.on("message-utf8", () => called.push("on"));
  session.once("message-utf8", function (...args) {
    called.push("once");
    assert.deepEqual([this, args], [session, ["x"]]);
  });
  session.on("message-utf8", () => {
    called.push("throws");
    throw new Error("boom");
  });
  session.prependListener("message-utf8", () => called.push("first"));
  session.on("message-utf8", () => called.push("last"));
  peer.sendText("x");
  peer.sendText("x");
  await eventually(() => called.length === 9);
  assert.deepEqual(called, ["first", "on", "once", "throws", "last", "first", "on", "throws", "last"]);
  await eventually(() => running.listenerErrors.length === 2);
  assert.deepEqual(take(running).map(([message]) => message), ["boom", "boom"]);
});

test("whoever replaces a session's emit sees every event", async (t) => {
  const seen = [];
  const { peer } = await openPair(t, { onSession: (session) => {
    const { emit } = session;
    session.emit = function (event, ...args) {
      seen.push(event);
      return emit.call(this, event, ...args);
    };
  } });
  peer.sendText("a");
  peer.sendBinary([1]);
  peer.sendError("e");
  await eventually(() => seen.length === 4);
  assert.deepEqual(seen, ["connected", "message-utf8", "message-binary", "message-error"]);
});

test("every event's listeners are guarded: session, connected, messages, statistics, closed", async (t) => {
  const running = await startServer(t, { keepAliveIntervalMs: 1000 });
  const names = ["connected", "message-utf8", "message-binary", "message-error", "stat-rtt", "closed"];
  running.server.once("session", (session) => {
    for (const name of names) session.once(name, () => {
      throw new Error(name);
    });
    throw new Error("session");
  });
  const peer = await Peer.connect({ port: running.port });
  await peer.ready();
  peer.sendText("a");
  peer.sendBinary([1]);
  peer.sendError("e");
  await eventually(() => running.listenerErrors.length >= 6, 10_000);
  peer.close(4000);
  await eventually(() => running.listenerErrors.length >= 7);
  const reports = take(running);
  assert.deepEqual(reports.map(([message]) => message).sort(), [...names, "session"].sort());
  for (const [message, event, sid] of reports) assert.deepEqual([event, sid], [message, peer.sid]);
});

test("whatever is thrown is reported as it is", async (t) => {
  const running = await startServer(t);
  const { session, peer } = await openSession(running);
  const thrown = ["text", undefined, null, 5, { some: "object" }];
  let next = 0;
  session.on("message-utf8", () => {
    throw thrown[next++];
  });
  for (let i = 0; i < thrown.length; i++) peer.sendText("x");
  await eventually(() => running.listenerErrors.length === thrown.length);
  assert.deepEqual(running.listenerErrors.splice(0).map(([error]) => error), thrown);
});

test("a listener that never finishes delays nobody", async (t) => {
  const running = await startServer(t);
  const one = await openSession(running);
  const two = await openSession(running);
  const received = [];
  for (const { session } of [one, two]) session.on("message-utf8", async (text) => {
    received.push(text);
    await new Promise(() => {});
  });
  for (let i = 0; i < 50; i++) for (const { peer } of [one, two]) peer.sendText(String(i));
  await eventually(() => received.length === 100);
  one.peer.close(4000);
  await one.peer.closed;
});

test("a listener added late gets what comes from then on", async (t) => {
  const running = await startServer(t);
  const { session, peer } = await openSession(running);
  // The ACK goes before the event; the next event tells that this one has passed.
  const passed = once(session, "message-binary");
  peer.sendText("nobody listens");
  peer.sendBinary([1]);
  await passed;
  const received = [];
  session.on("message-utf8", (text) => received.push(text));
  peer.sendText("heard");
  await eventually(() => received.length > 0);
  assert.deepEqual(received, ["heard"]);
});

test("without a listener-error listener a stack is printed and the process lives", async (t) => {
  const child = Child.start(t, "throwing-listener.mjs");
  const { port } = await child.report("listening");
  const peer = await Peer.connect({ port });
  await peer.ready();
  peer.sendText("throw");
  peer.sendText("reject");
  peer.sendText("echo");
  await peer.next("UTF8DATA");
  await eventually(() => child.stderr.includes("thrown by a listener") && child.stderr.includes("rejected by a listener"));
  assert.match(child.stderr, /at .*throwing-listener\.mjs/, "a stack that leads to the listener");
  await peer.echo("still");
  child.command("exit");
  assert.deepEqual(await child.exit(), { code: 0, signal: null });
});
