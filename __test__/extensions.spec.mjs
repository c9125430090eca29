// Extensions: their hooks on the way in and out.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { Child } from "./support/child.mjs";
import { MAX_PAYLOAD } from "./support/frames.mjs";
import { Peer, freshSid } from "./support/peer.mjs";
import { openPair, openSession, record, rejection, startServer } from "./support/server.mjs";
import { test } from "./support/test.mjs";
import { deferred, eventually, isPending, once, within } from "./support/wait.mjs";

const SEND = { utf8: "before_send_utf8", binary: "before_send_binary", error: "before_send_error" };
const RECEIVE = { utf8: "on_receive_utf8", binary: "on_receive_binary", error: "on_receive_error" };
const KINDS = ["utf8", "binary", "error"];
const FRAME = { utf8: "UTF8DATA", binary: "BINARYDATA", error: "ERROR" };

const payload = (kind, text) => (kind === "binary" ? Buffer.from(text) : text);
const send = (session, kind, text) =>
  ({ utf8: () => session.base.SendUTF8(text), binary: () => session.base.SendBinary(Buffer.from(text)), error: () => session.base.SendError(text) })[kind]();
const peerSend = (peer, kind, text) =>
  ({ utf8: () => peer.sendText(text), binary: () => peer.sendBinary(Buffer.from(text)), error: () => peer.sendError(text) })[kind]();
const textOf = (frame) => frame.text ?? frame.message ?? Buffer.from(frame.data).toString();

/** Records `extension-error`. */
function errorsOf(server) {
  const errors = [];
  server.on("extension-error", (error, extension, hook) => errors.push([error.message, extension.name, hook]));
  return errors;
}

for (const kind of KINDS) {
  test(`a send hook sees and changes what is sent: ${kind}`, async (t) => {
    const { server, session, peer } = await openPair(t);
    const seen = [];
    server.RegisterExtension({
      name: "x",
      async [SEND[kind]](of, box) {
        seen.push([of, box.value]);
        box.value = payload(kind, "longer than before");
        return true;
      },
    });
    await send(session, kind, "short");
    assert.deepEqual(seen, [[session, payload(kind, "short")]]);
    assert.equal(textOf(await peer.next(FRAME[kind])), "longer than before");
  });

  test(`a receive hook sees and changes what is emitted, after it comes the ACK: ${kind}`, async (t) => {
    const gate = deferred();
    const { server, peer, session } = await openPair(t);
    const seen = [];
    server.RegisterExtension({
      name: "x",
      async [RECEIVE[kind]](of, box) {
        seen.push([of, box.value]);
        await gate.promise;
        box.value = payload(kind, "changed");
        return true;
      },
    });
    const emitted = once(session, `message-${kind}`);
    const ack = peerSend(peer, kind, "original");
    await eventually(() => seen.length === 1);
    await peer.roundTrip();
    assert.equal(peer.of("ACK").some((frame) => frame.ack === ack), false, "acknowledged before the hook had decided");
    gate.resolve();
    await peer.acked(ack);
    assert.deepEqual(await emitted, [payload(kind, "changed")]);
    assert.deepEqual(seen, [[session, payload(kind, "original")]]);
  });

  test(`a message whose hook says false is neither sent nor emitted: ${kind}`, async (t) => {
    const { server, session, peer } = await openPair(t);
    const events = record(session);
    server.RegisterExtension({ name: "x", [SEND[kind]]: async () => false, [RECEIVE[kind]]: async () => false });
    await send(session, kind, "no");
    await peer.acked(peerSend(peer, kind, "no"));
    await peer.roundTrip();
    assert.deepEqual(peer.of(FRAME[kind]), []);
    assert.deepEqual(events, []);
  });
}

test("hooks run in the order of registration, each with what the one before left", async (t) => {
  const { server, session, peer } = await openPair(t);
  const add = (letter) => (_session, box) => {
    box.value += letter;
    return letter !== "b" || !box.value.startsWith("stop");
  };
  for (const letter of ["c", "a", "b", "d"]) {
    server.RegisterExtension({ name: letter, before_send_utf8: add(letter), on_receive_utf8: async (...args) => add(letter)(...args) });
  }
  await session.base.SendUTF8(">");
  assert.equal((await peer.next("UTF8DATA")).text, ">cabd");
  peer.sendText("stop");
  peer.sendText("<");
  assert.deepEqual(await once(session, "message-utf8"), ["<cabd"]);
});

test("a hook may be synchronous, and its answer counts by its truth", async (t) => {
  const { server, session, peer } = await openPair(t);
  const answers = [true, 1, "yes", {}, false, 0, "", null, undefined];
  const queue = answers.flatMap((answer) => [answer, Promise.resolve(answer)]);
  server.RegisterExtension({ name: "x", before_send_utf8: () => queue.shift() });
  await Promise.all(answers.flatMap((_, i) => [session.base.SendUTF8(`${i}`), session.base.SendUTF8(`${i} later`)]));
  assert.deepEqual(peer.texts(), ["0", "0 later", "1", "1 later", "2", "2 later", "3", "3 later"]);
});

test("a hook that throws or rejects is reported and lets the message pass", async (t) => {
  const { server, session, peer } = await openPair(t);
  const errors = errorsOf(server);
  const reject = async () => Promise.reject(new Error("rejected"));
  const hooks = {
    before_send_utf8() {
      throw new Error("thrown");
    },
    before_send_binary: reject,
    before_send_error: () => ({ get then() { throw new Error("bad thenable"); } }),
    on_receive_utf8: reject,
    on_receive_binary() {
      throw new Error("thrown");
    },
  };
  server.RegisterExtension({ name: "x", ...hooks });
  await session.base.SendUTF8("a");
  await session.base.SendBinary(Buffer.from("b"));
  await session.base.SendError("c");
  assert.deepEqual(peer.frames.map((frame) => frame.type).slice(-3), ["UTF8DATA", "BINARYDATA", "ERROR"]);
  peer.sendText("d");
  assert.deepEqual(await once(session, "message-utf8"), ["d"]);
  peer.sendBinary([1]);
  assert.deepEqual(await once(session, "message-binary"), [Buffer.of(1)]);
  assert.deepEqual(errors, [
    ["thrown", "x", "before_send_utf8"], ["rejected", "x", "before_send_binary"], ["bad thenable", "x", "before_send_error"],
    ["rejected", "x", "on_receive_utf8"], ["thrown", "x", "on_receive_binary"],
  ]);
});

test("a listener of extension-error that throws is reported like any other", async (t) => {
  const { server, session, peer, listenerErrors } = await openPair(t);
  const failure = new Error("listener");
  server.on("extension-error", () => {
    throw failure;
  });
  server.RegisterExtension({ name: "x", before_send_utf8: () => { throw new Error("hook"); }, on_receive_utf8: async () => { throw new Error("hook"); } });
  await session.base.SendUTF8("a");
  peer.sendText("b");
  await once(session, "message-utf8");
  assert.deepEqual(listenerErrors.splice(0).map(([error, event]) => [error, event]), [[failure, "extension-error"], [failure, "extension-error"]]);
});

test("a value of the wrong type is reported, and the last good one counts", async (t) => {
  const { server, session, peer } = await openPair(t);
  const errors = errorsOf(server);
  server.RegisterExtension({ name: "good", before_send_utf8: (_s, box) => { box.value = "good"; return true; } });
  server.RegisterExtension({
    name: "bad",
    before_send_utf8: (_s, box) => { box.value = 7; return true; },
    before_send_binary: async (_s, box) => { box.value = "text"; return true; },
    on_receive_binary: (_s, box) => { box.value = null; return true; },
  });
  await session.base.SendUTF8("text");
  await session.base.SendBinary(Buffer.of(1));
  assert.equal((await peer.next("UTF8DATA")).text, "good");
  assert.deepEqual([...(await peer.next("BINARYDATA")).data], [1]);
  peer.sendBinary([2]);
  assert.deepEqual(await once(session, "message-binary"), [Buffer.of(2)]);
  assert.deepEqual(errors.map(([, ...rest]) => rest), [["bad", "before_send_utf8"], ["bad", "before_send_binary"], ["bad", "on_receive_binary"]]);
});

test("a value that grows over the limit rejects, one that shrinks below it is sent", async (t) => {
  const { server, session, peer } = await openPair(t);
  const big = "x".repeat(MAX_PAYLOAD + 1);
  server.RegisterExtension({
    name: "x",
    async before_send_utf8(_session, box) {
      box.value = box.value === "grow" ? big : "shrunk";
      return true;
    },
    before_send_binary(_session, box) {
      box.value = Buffer.alloc(MAX_PAYLOAD + 1);
      return true;
    },
  });
  assert.equal((await rejection(session.base.SendUTF8("grow"))).code, "ERR_CAMP_PAYLOAD_TOO_LARGE");
  assert.equal((await rejection(session.base.SendBinary(Buffer.of(1)))).code, "ERR_CAMP_PAYLOAD_TOO_LARGE");
  await session.base.SendUTF8(big);
  assert.deepEqual(peer.texts(), ["shrunk"]);
});

test("large messages go through receive hooks whole", async (t) => {
  const { server, session, peer } = await openPair(t);
  server.RegisterExtension({ name: "x", on_receive_utf8: () => true, on_receive_binary: async () => true, on_receive_error: () => true });
  const text = "é".repeat(100_000);
  peer.sendText(text);
  assert.deepEqual(await once(session, "message-utf8"), [text]);
  const data = Buffer.alloc(MAX_PAYLOAD, 7);
  peer.sendBinary(data);
  assert.deepEqual(await once(session, "message-binary"), [data]);
  peer.sendError(text);
  assert.deepEqual(await once(session, "message-error"), [text]);
});

test("messages keep their order, whatever time the hooks take", async (t) => {
  const { server, session, peer } = await openPair(t);
  const slowly = async () => {
    if (Math.random() < 0.3) await sleep(Math.random() * 4);
    return true;
  };
  server.RegisterExtension({ name: "x", before_send_utf8: slowly, on_receive_utf8: slowly });
  const received = [];
  session.on("message-utf8", (text) => received.push(text));
  session.on("message-binary", (data) => received.push(String(data)));
  const expected = Array.from({ length: 200 }, (_, i) => `${i}`);
  const sends = [];
  for (const text of expected) {
    if (text.endsWith("3")) {
      sends.push(session.base.SendBinary(Buffer.from(text)));
      peer.sendBinary(Buffer.from(text));
    } else {
      sends.push(session.base.SendUTF8(text));
      peer.sendText(text);
    }
  }
  await within(Promise.all(sends), 20_000, "sends");
  await eventually(() => received.length === expected.length);
  assert.deepEqual(received, expected);
  assert.deepEqual(peer.frames.filter((frame) => frame.type === "UTF8DATA" || frame.type === "BINARYDATA").map(textOf), expected);
});

test("pings and Close wait behind a send whose hook still runs; another session does not", async (t) => {
  const running = await startServer(t);
  const gate = deferred();
  running.server.RegisterExtension({ name: "x", before_send_utf8: async (_s, box) => box.value !== "slow" || gate.promise });
  const { session, peer } = await openSession(running);
  const other = await openSession(running);
  const slow = session.base.SendUTF8("slow");
  const ping = session.base.Ping();
  const closed = session.Close("done");
  await other.session.base.SendUTF8("fast");
  await peer.roundTrip();
  assert.ok(await isPending(Promise.race([slow, ping, closed])));
  const from = peer.frames.length;
  gate.resolve(true);
  await closed;
  await peer.closed;
  assert.deepEqual(peer.frames.slice(from).map((frame) => frame.type), ["UTF8DATA", "PING_PONG", "BYE"]);
});

test("Destroy of session and server sends what was sent before, through slow hooks", async (t) => {
  const running = await startServer(t);
  running.server.RegisterExtension({ name: "x", before_send_utf8: () => sleep(20, true) });
  const one = await openSession(running);
  void one.session.base.SendUTF8("before Destroy");
  await one.session.Destroy();
  await one.peer.closed;
  assert.deepEqual(one.peer.texts(), ["before Destroy"]);
  const two = await openSession(running);
  void two.session.base.SendUTF8("before shutdown");
  await running.server.Destroy();
  await two.peer.closed;
  assert.deepEqual(two.peer.texts(), ["before shutdown"]);
  assert.equal(two.peer.of("BYE")[0].reason, "Server shutdown.");
});

test("SendBinary takes its copy before the hooks run", async (t) => {
  const { server, session, peer } = await openPair(t);
  server.RegisterExtension({ name: "x", before_send_binary: () => sleep(10, true) });
  const data = Buffer.from("before");
  const sent = session.base.SendBinary(data);
  data.fill(0);
  await sent;
  assert.equal(textOf(await peer.next("BINARYDATA")), "before");
});

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

test("closing waits 5 seconds for a send hook that hangs, and no longer", async (t) => {
  const running = await startServer(t);
  running.server.RegisterExtension({ name: "x", before_send_utf8: () => new Promise(() => {}) });
  const closing = await openSession(running);
  const destroyed = await openSession(running);
  const sends = [closing, destroyed].map(({ session }) => rejection(session.base.SendUTF8("hangs"), 8000));
  const ping = rejection(closing.session.base.Ping(), 8000);
  const began = performance.now();
  await Promise.all([closing.session.Close("done"), running.server.Destroy()]);
  const took = performance.now() - began;
  assert.ok(took > 4900 && took < 7000, `${took} ms`);
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
