// Extensions that hang, come, go and fail.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { Child } from "./support/child.mjs";
import { SEND, RECEIVE, KINDS, errorsOf } from "./support/extensions.mjs";
import { Peer, freshSid } from "./support/peer.mjs";
import { openPair, openSession, record, rejection, startServer } from "./support/server.mjs";
import { test } from "./support/test.mjs";
import { deferred, eventually, once, within } from "./support/wait.mjs";

test("a hook that hangs on arrival hides neither the end nor lets anything come after it", async (t) => {
  const hanging = [];
  const { server, session, peer } = await openPair(t);
  server.RegisterExtension({ name: "x", on_receive_utf8: () => new Promise((resolve) => hanging.push(resolve)) });
  const events = record(session);
  peer.sendText("held");
  peer.sendText("behind it");
  await eventually(() => hanging.length === 1);
  peer.terminate();
  await eventually(() => events.length === 1);
  hanging[0](true);
  await sleep(20);
  assert.deepEqual(events, [["closed"]]);
  assert.equal(hanging.length, 1);
});

test("what waits behind a hanging send hook rejects when the session ends", async (t) => {
  const { server, session, peer } = await openPair(t);
  server.RegisterExtension({ name: "x", before_send_utf8: () => new Promise(() => {}) });
  const sends = [session.base.SendUTF8("hangs"), session.base.SendBinary(Buffer.of(1)), session.base.Ping()];
  peer.terminate();
  for (const sent of sends) assert.equal((await rejection(sent)).code, "ERR_CAMP_SESSION_CLOSED");
  assert.equal((await rejection(session.base.SendUTF8("late"))).code, "ERR_CAMP_SESSION_CLOSED");
});

test("a message meets the extensions that were there when it was sent or arrived", async (t) => {
  const { server, session, peer } = await openPair(t);
  const gate = deferred();
  const met = [];
  const extension = (name) => {
    const hook = async (_session, box) => {
      met.push(`${name} ${box.value}`);
      return gate.promise;
    };
    return { name, before_send_utf8: hook, on_receive_utf8: hook };
  };
  server.RegisterExtension(extension("a"));
  const sends = [session.base.SendUTF8("out 1"), session.base.SendUTF8("out 2")];
  peer.sendText("in 1");
  peer.sendText("in 2");
  await peer.roundTrip();
  server.UnregisterExtension("a");
  server.RegisterExtension(extension("b"));
  sends.push(session.base.SendUTF8("out 3"));
  peer.sendText("in 3");
  await peer.roundTrip();
  server.UnregisterExtension("b");
  sends.push(session.base.SendUTF8("out 4"));
  peer.sendText("in 4");
  await peer.roundTrip();
  const received = [];
  session.on("message-utf8", (text) => received.push(text));
  gate.resolve(true);
  await Promise.all(sends);
  await eventually(() => received.length === 4);
  assert.deepEqual(peer.texts(), ["out 1", "out 2", "out 3", "out 4"]);
  assert.deepEqual(received, ["in 1", "in 2", "in 3", "in 4"]);
  const of = (direction) => met.filter((entry) => entry.includes(` ${direction} `));
  assert.deepEqual(of("out"), ["a out 1", "a out 2", "b out 3"]);
  assert.deepEqual(of("in"), ["a in 1", "a in 2", "b in 3"]);
});

test("what is sent after RegisterExtension has returned never slips past its hooks", async (t) => {
  const { server, session, peer } = await openPair(t);
  const received = [];
  session.on("message-utf8", (text) => received.push(text));
  for (let i = 0; i < 200; i++) {
    server.RegisterExtension({ name: "x", on_receive_utf8: (_session, box) => { box.value = "hooked"; return true; } });
    peer.sendText("plain");
    await eventually(() => received.length === i + 1);
    server.UnregisterExtension("x");
  }
  assert.deepEqual(new Set(received), new Set(["hooked"]));
});

test("extensions come and go under load, and no message is lost or left waiting", async (t) => {
  const running = await startServer(t);
  const { server } = running;
  const pairs = await Promise.all(Array.from({ length: 4 }, () => openSession(running)));
  const received = pairs.map(({ session }) => {
    const texts = [];
    session.on("message-utf8", (text) => texts.push(text));
    return texts;
  });
  const expected = Array.from({ length: 500 }, (_, i) => `${i}`);
  const sends = [];
  for (const text of expected) {
    const name = `${Number(text) % 5}`;
    if (server.GetExtension(name)) server.UnregisterExtension(name);
    else server.RegisterExtension({ name, on_receive_utf8: async () => true, before_send_utf8: () => (Math.random() < 0.5 ? true : Promise.resolve(true)) });
    for (const { session, peer } of pairs) {
      peer.sendText(text);
      sends.push(session.base.SendUTF8(text));
    }
    if (Number(text) % 20 === 0) await new Promise(setImmediate);
  }
  await within(Promise.all(sends), 15_000, "sends");
  await eventually(() => received.every((texts) => texts.length === expected.length));
  for (const texts of received) assert.deepEqual(texts, expected);
  for (const { peer } of pairs) assert.deepEqual(peer.texts(), expected);
});

test("a hook may send: its message follows the one it was called for", async (t) => {
  const { server, session, peer } = await openPair(t);
  server.RegisterExtension({
    name: "x",
    before_send_utf8(of, box) {
      if (box.value === "first") void of.base.SendUTF8("second");
      return true;
    },
    async on_receive_utf8(of, box) {
      await of.base.SendBinary(Buffer.from(box.value));
      return true;
    },
  });
  await session.base.SendUTF8("first");
  await peer.until(() => peer.texts().length === 2);
  assert.deepEqual(peer.texts(), ["first", "second"]);
  peer.sendText("acknowledged within the hook");
  assert.deepEqual(await once(session, "message-utf8"), ["acknowledged within the hook"]);
});

test("pings, ACKs and the like meet no hooks", async (t) => {
  const running = await startServer(t);
  const calls = [];
  const hook = (name) => (...args) => calls.push([name, ...args]);
  running.server.RegisterExtension({ name: "x", ...Object.fromEntries(KINDS.flatMap((kind) => [SEND[kind], RECEIVE[kind]]).map((name) => [name, hook(name)])) });
  const { session, peer } = await openSession(running);
  await session.base.Ping();
  await peer.roundTrip();
  assert.deepEqual(calls, []);
});

test("register, get and unregister", async (t) => {
  const { server } = await startServer(t);
  const calls = [];
  const extension = {
    name: "x",
    on_register(of) {
      calls.push(["on", this === extension, of === server, server.GetExtension("x") === extension]);
    },
    on_unregister(of) {
      calls.push(["off", this === extension, of === server, server.GetExtension("x")]);
    },
  };
  assert.equal(server.GetExtension("x"), null);
  server.RegisterExtension(extension);
  assert.equal(server.GetExtension("x"), extension);
  assert.throws(() => server.RegisterExtension(extension), { message: "Extension 'x' is already registered!" });
  assert.throws(() => server.RegisterExtension({ name: "x" }), { message: "Extension 'x' is already registered!" });
  server.UnregisterExtension({ name: "x" });
  assert.equal(server.GetExtension("x"), extension, "another extension of that name was meant");
  server.UnregisterExtension(extension);
  server.UnregisterExtension(extension);
  server.UnregisterExtension("unknown");
  assert.equal(server.GetExtension("x"), null);
  server.RegisterExtension(extension);
  server.UnregisterExtension("x");
  server.RegisterExtension({ name: "neither callback nor hooks" });
  assert.deepEqual(calls, [["on", true, true, true], ["off", true, true, null], ["on", true, true, true], ["off", true, true, null]]);
});

test("what is no extension is refused with a TypeError that names the fault", async (t) => {
  const { server } = await startServer(t);
  for (const bad of [undefined, null, "x", {}, { name: 1 }]) assert.throws(() => server.RegisterExtension(bad), TypeError);
  assert.throws(() => server.RegisterExtension({ name: "x", on_receive_utf8: true }), /on_receive_utf8/);
  assert.equal(server.GetExtension("x"), null);
});

test("an on_register that throws leaves the extension out; an on_unregister that throws is reported", async (t) => {
  const { server } = await startServer(t);
  const errors = errorsOf(server);
  assert.throws(() => server.RegisterExtension({ name: "x", on_register() { throw new Error("no"); } }), { message: "no" });
  assert.equal(server.GetExtension("x"), null);
  server.RegisterExtension({ name: "y", on_unregister() { throw new Error("off"); } });
  server.UnregisterExtension("y");
  server.RegisterExtension({ name: "z", on_register: async () => { throw new Error("on, later"); } });
  await eventually(() => errors.length === 2);
  assert.deepEqual(errors, [["off", "y", "on_unregister"], ["on, later", "z", "on_register"]]);
});

test("Destroy unregisters every extension, after the last message", async (t) => {
  const { server, port } = await startServer(t);
  const calls = [];
  for (const name of ["a", "b"]) server.RegisterExtension({ name, on_unregister: () => calls.push(name) });
  server.on("session", (session) => session.on("closed", () => calls.push("closed")));
  await Promise.all([once(server, "session"), Peer.connect({ port, sid: freshSid() })]);
  await server.Destroy();
  assert.deepEqual(calls, ["closed", "a", "b"]);
  assert.equal(server.GetExtension("a"), null);
});

test("with receive hooks, too, the ACK goes out before what a listener answers", async (t) => {
  const { server, session, peer } = await openPair(t);
  server.RegisterExtension({ name: "x", on_receive_utf8: async () => true, on_receive_binary: () => true });
  session.on("message-utf8", (text) => void session.base.SendUTF8(text));
  session.on("message-binary", () => void session.base.SendUTF8("binary"));
  const from = peer.frames.length;
  peer.sendText("text");
  await peer.until(() => peer.texts().length === 1);
  peer.sendBinary([1]);
  await peer.until(() => peer.texts().length === 2);
  assert.deepEqual(peer.frames.slice(from).map((frame) => frame.type), ["ACK", "UTF8DATA", "ACK", "UTF8DATA"]);
});

test("closing waits 5 seconds for a send hook that hangs, and not for ever", async (t) => {
  const running = await startServer(t);
  running.server.RegisterExtension({ name: "x", before_send_utf8: () => new Promise(() => {}) });
  const closing = await openSession(running);
  const destroyed = await openSession(running);
  const sends = [closing, destroyed].map(({ session }) => rejection(session.base.SendUTF8("hangs"), 30_000));
  const ping = rejection(closing.session.base.Ping(), 30_000);
  const began = performance.now();
  await Promise.all([closing.session.Close("done"), running.server.Destroy()]);
  const took = performance.now() - began;
  assert.ok(took > 4900, `${took} ms`);
  for (const error of await Promise.all([...sends, ping])) assert.equal(error.code, "ERR_CAMP_SESSION_CLOSED");
  await Promise.all([closing.peer.closed, destroyed.peer.closed]);
  assert.deepEqual([closing.peer.of("BYE")[0].reason, destroyed.peer.of("BYE")[0].reason], ["done", "Server shutdown."]);
});

test("an extension that fails at everything does not end the process", async (t) => {
  for (const listen of [undefined, "throw", "reject"]) {
    const child = Child.start(t, "failing-extension.mjs", { listen });
    const { port } = await child.report("listening");
    const peer = await Peer.connect({ port, sid: freshSid() });
    await peer.ready();
    await peer.echo("hello");
    child.command("destroy");
    await child.report("destroyed");
    assert.deepEqual(await child.exit(), { code: 0, signal: null });
    assert.equal(child.stderr.includes("failed on purpose"), listen !== undefined, child.stderr);
  }
});

test("CAMP_EXTENSION prints what becomes of extensions", async (t) => {
  const child = Child.start(t, "failing-extension.mjs", {}, { env: { DEBUG: "CAMP_EXTENSION" } });
  const { port } = await child.report("listening");
  const peer = await Peer.connect({ port, sid: freshSid() });
  await peer.ready();
  await peer.echo("hello");
  child.command("destroy");
  await child.exit();
  for (const what of ["is registered", "on_receive_utf8 failed", "before_send_utf8 failed", "is unregistered", "on_unregister failed"]) {
    assert.match(child.stderr, new RegExp(`^CAMP_EXTENSION failing ${what}`, "m"));
  }
});
