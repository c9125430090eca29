// Extensions: their hooks on the way in and out.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { SEND, RECEIVE, KINDS, FRAME, payload, send, peerSend, textOf, errorsOf } from "./support/extensions.mjs";
import { MAX_PAYLOAD } from "./support/frames.mjs";
import { openPair, openSession, record, rejection, startServer } from "./support/server.mjs";
import { test } from "./support/test.mjs";
import { deferred, eventually, isPending, once, within } from "./support/wait.mjs";

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
