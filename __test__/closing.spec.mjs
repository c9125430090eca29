import assert from "node:assert/strict";
import { Child } from "./support/child.mjs";
import { Peer, freshSid } from "./support/peer.mjs";
import { RawPeer, connectionEnd } from "./support/raw.mjs";
import { once, openPair, record, rejection, sessionFor, startServer } from "./support/server.mjs";
import { test } from "./support/test.mjs";
import { eventually, within } from "./support/wait.mjs";

/** The longest prefix of whole characters within the 123 bytes a close frame has for its reason. */
function cut(reason) {
  let kept = "";
  for (const character of reason) {
    if (Buffer.byteLength(kept + character) > 123) break;
    kept += character;
  }
  return kept;
}

const LONG_REASONS = ["x".repeat(200), "é".repeat(100), `a${"é".repeat(100)}`, "€".repeat(60), "😀".repeat(40), `ab${"😀".repeat(40)}`];

async function openRecorded(t, options = {}) {
  let events;
  const pair = await openPair(t, { ...options, onSession: (session) => (events = record(session)) });
  return { ...pair, events, closings: () => events.filter(([name]) => name === "closed").length };
}

test("a client's BYE is acknowledged and answered with close 4000 and its reason", async (t) => {
  const { session, peer, closings } = await openRecorded(t);
  const closed = once(session, "closed");
  const ack = peer.sendBye("so long");
  await peer.acked(ack);
  assert.deepEqual(await peer.closed, { code: 4000, reason: "so long" });
  await closed;
  assert.equal(closings(), 1);
  assert.equal(peer.of("BYE").length, 0);
});

test("a BYE may come without a reason", async (t) => {
  const { peer } = await openPair(t);
  peer.sendBye("");
  assert.deepEqual(await peer.closed, { code: 4000, reason: "" });
});

test("messages before a client's BYE are delivered, and it gets their ACKs", async (t) => {
  const { session, peer, events } = await openRecorded(t);
  const closed = once(session, "closed");
  const acks = Array.from({ length: 50 }, (_, i) => peer.sendText(String(i)));
  acks.push(peer.sendBye("bye"));
  await peer.closed;
  await closed;
  assert.deepEqual(events.filter(([name]) => name === "message-utf8").map(([, text]) => Number(text)), acks.slice(0, -1).map((_, i) => i));
  const acked = peer.of("ACK").map(({ ack }) => ack);
  assert.deepEqual(acked.slice(-acks.length), acks);
});

test("published clients close with WebSocket 4000 and no BYE: closed comes once", async (t) => {
  for (const [code, reason] of [[4000, "bye"], [1000, ""], [undefined, undefined], [3000, "x".repeat(123)]]) {
    const { session, peer, closings } = await openRecorded(t);
    const closed = once(session, "closed");
    peer.close(code, reason);
    await closed;
    const seen = await within(peer.closed, 5000, "the answer to the close frame");
    assert.notEqual(seen.code, 1006, `closed with ${code}: the server owes a close frame`);
    assert.equal(closings(), 1);
  }
});

test("Close sends what was sent before it, then BYE, then close 4000 and nothing else", async (t) => {
  const { session, peer, closings } = await openRecorded(t);
  const big = Buffer.alloc(300_000, 7);
  const sends = [];
  for (let i = 0; i < 100; i++) sends.push(session.base.SendUTF8(String(i)));
  for (let i = 0; i < 5; i++) sends.push(session.base.SendBinary(big));
  const closing = session.Close("bye now");
  assert.deepEqual(await peer.closed, { code: 4000, reason: "bye now" });
  await within(closing, 5000, "Close()");
  await eventually(() => closings() === 1);
  assert.deepEqual(peer.texts(), Array.from({ length: 100 }, (_, i) => String(i)));
  assert.equal(peer.of("BINARYDATA").length, 5);
  assert.ok(peer.of("BINARYDATA").every(({ data }) => data.equals(big)));
  const last = peer.frames.at(-1);
  assert.equal(last.type, "BYE");
  assert.equal(last.reason, "bye now");
  await within(Promise.allSettled(sends), 5000, "every send");
});

test("nothing goes out after BYE, not even an ACK or what is sent later", async (t) => {
  const { session, peer } = await openPair(t);
  const flood = setInterval(() => {
    if (peer.isOpen) for (let i = 0; i < 20; i++) peer.sendText("flood");
  }, 1);
  t.after(() => clearInterval(flood));
  await peer.until(() => peer.of("ACK").length > 100);
  session.Close("enough");
  const late = session.base.SendUTF8("late");
  session.base.Ping().catch(() => {});
  assert.equal((await rejection(late)).code, "ERR_CAMP_SESSION_CLOSED");
  await peer.closed;
  assert.equal(peer.frames.at(-1).type, "BYE");
  assert.deepEqual(peer.texts(), []);
});

test("Close twice is one BYE and both promises resolve", async (t) => {
  const { session, peer, closings } = await openRecorded(t);
  const both = [session.Close("one"), session.Close("two")];
  await peer.closed;
  await within(Promise.all(both), 5000, "both Close()");
  await within(Promise.resolve(session.Close("three")), 5000, "Close() of a closed session");
  assert.deepEqual(peer.of("BYE").map(({ reason }) => reason), ["one"]);
  assert.equal(closings(), 1);
});

test("a client that never answers the close does not hold the session", async (t) => {
  const { server, port } = await startServer(t);
  const sid = freshSid();
  const found = sessionFor(server, sid);
  const peer = await RawPeer.connect({ port, sid, autoClose: false });
  const session = await found;
  const closed = once(session, "closed", 20_000);
  const closing = session.Close("bye");
  assert.equal((await peer.closed).code, 4000);
  await within(closing, 20_000, "Close()");
  await closed;
  await connectionEnd(peer.socket, 20_000);
});

test("a client that does not even read does not hold the session", async (t) => {
  const { session, peer } = await openPair(t, { options: { keepAliveIntervalMs: 1000 } });
  peer.pauseReading();
  for (let i = 0; i < 40; i++) session.base.SendBinary(Buffer.alloc(1024 * 1024));
  const closed = once(session, "closed", 20_000);
  await within(Promise.resolve(session.Close("bye")), 20_000, "Close()");
  await closed;
});

test("Destroy closes with its code and message, without BYE, after what was sent", async (t) => {
  const { session, peer, closings } = await openRecorded(t);
  for (let i = 0; i < 100; i++) session.base.SendUTF8(String(i));
  session.Destroy(4321, "gone");
  assert.deepEqual(await peer.closed, { code: 4321, reason: "gone" });
  assert.equal(peer.of("BYE").length, 0);
  assert.equal(peer.texts().length, 100);
  await eventually(() => closings() === 1);
});

test("Destroy without arguments closes with 4000", async (t) => {
  const { session, peer, closings } = await openRecorded(t);
  session.Destroy();
  assert.equal((await peer.closed).code, 4000);
  session.Destroy();
  session.Destroy(4001, "again");
  await eventually(() => closings() === 1);
});

test("a close reason is cut to 123 bytes at a character boundary", async (t) => {
  for (const reason of LONG_REASONS) {
    const destroyed = await openPair(t);
    destroyed.session.Destroy(4000, reason);
    assert.deepEqual(await destroyed.peer.closed, { code: 4000, reason: cut(reason) });

    const closed = await openPair(t);
    closed.session.Close(reason);
    assert.deepEqual(await closed.peer.closed, { code: 4000, reason: cut(reason) });
    assert.ok(closed.peer.of("BYE")[0].reason.startsWith(cut(reason)));

    const left = await openPair(t);
    left.peer.sendBye(reason);
    assert.deepEqual(await left.peer.closed, { code: 4000, reason: cut(reason) });
  }
});

test("a client that vanishes: closed comes once and its open promises reject", async (t) => {
  const { session, peer, closings } = await openRecorded(t, { peer: { autoAck: false } });
  const pending = [session.base.SendUTF8("a"), session.base.SendBinary(Buffer.of(1)), session.base.SendError("b")];
  await peer.next("ERROR");
  const closed = once(session, "closed");
  peer.terminate();
  await closed;
  for (const promise of pending) assert.equal((await rejection(promise)).code, "ERR_CAMP_SESSION_CLOSED");
  assert.equal(closings(), 1);
});

test("a closed session refuses to send, and says so with a code", async (t) => {
  const { session, peer, closings } = await openRecorded(t);
  const closed = once(session, "closed");
  peer.close(4000);
  await closed;
  for (const send of [
    () => session.base.SendUTF8("x"), () => session.base.SendBinary(Buffer.of(1)), () => session.base.SendError("x"),
    () => session.base.Ping(),
  ]) {
    const error = await rejection(send());
    assert.equal(error.code, "ERR_CAMP_SESSION_CLOSED");
    assert.ok(error instanceof Error);
  }
  assert.equal(closings(), 1);
  assert.equal(session.Get("__TYPE"), "client", "the store outlives the session");
});

test("a client that vanishes in the middle of a frame is closed like any other", async (t) => {
  const { server, port } = await startServer(t);
  const sid = freshSid();
  const found = sessionFor(server, sid, (session) => (session.events = record(session)));
  const peer = await RawPeer.connect({ port, sid });
  const session = await found;
  const closed = once(session, "closed");
  peer.write({ payload: Buffer.alloc(10), declaredLength: 5000 });
  peer.socket.end();
  await closed;
  assert.deepEqual(session.events, [["closed"]]);
});

test("what a closed listener does is harmless: sending, closing, destroying", async (t) => {
  const { session, peer, listenerErrors } = await openPair(t);
  const outcome = new Promise((resolve) => session.on("closed", () => {
    resolve(Promise.allSettled([session.base.SendUTF8("x"), session.Close("again"), session.Destroy()]));
  }));
  peer.terminate();
  const [sent] = await within(outcome, 5000, "closed");
  assert.equal(sent.status, "rejected");
  assert.deepEqual(listenerErrors, []);
});

test("what came before the client's close frame is acknowledged, also while JavaScript is busy", async (t) => {
  const child = Child.start(t, "echo-server.mjs");
  const { port } = await child.report("listening");
  const peer = await Peer.connect({ port });
  await peer.echo("connected");
  await child.block();
  const acks = ["a", "b"].map((text) => peer.sendText(text));
  peer.close(4000);
  await within(peer.closed, 10_000, "closed while JavaScript is blocked");
  assert.deepEqual(peer.of("ACK").map(({ ack }) => ack).slice(-2), acks);
});
