import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import { CAMPServerWebsocketSession } from "./support/product.mjs";
import { Peer, freshSid } from "./support/peer.mjs";
import { RawPeer, wsFrame } from "./support/raw.mjs";
import { encode } from "./support/frames.mjs";
import { once, openPair, openSession, record, sessionFor, startServer } from "./support/server.mjs";
import { test } from "./support/test.mjs";
import { delay, eventually } from "./support/wait.mjs";

test("the server's first frame is ENDPOINT_INFO: ack 0, version 1, no reserved feature bit", async (t) => {
  const { port } = await startServer(t);
  const peer = await Peer.connect({ port });
  const info = await peer.ready();
  assert.equal(peer.frames[0], info);
  assert.equal(info.sid, peer.sid);
  assert.equal(info.ack, 0);
  assert.equal(info.version, 1);
  assert.equal(info.features & ~1n, 0n);
});

test("the client's ENDPOINT_INFO is acknowledged with its own number, whatever that is", async (t) => {
  const { port } = await startServer(t);
  const peer = await Peer.connect({ port, autoInfo: false });
  peer.sendInfo({ ack: 4_000_000_000 });
  await peer.acked(4_000_000_000);
});

test("ENDPOINT_INFO is sent once per session", async (t) => {
  const { session, peer } = await openPair(t);
  await session.base.SendUTF8("x");
  await peer.roundTrip();
  assert.equal(peer.of("ENDPOINT_INFO").length, 1);
});

test("a session is an EventEmitter of the exported class, and complete when it is announced", async (t) => {
  let base;
  const { session } = await openPair(t, { onSession: (session) => (base = session.base) });
  assert.ok(session instanceof EventEmitter);
  assert.ok(session instanceof CAMPServerWebsocketSession);
  assert.equal(typeof base?.SendUTF8, "function");
  assert.equal(session.base, base);
});

test("session comes first, then connected, then the messages in order, closed last", async (t) => {
  const { server, port } = await startServer(t);
  const sid = freshSid();
  const found = sessionFor(server, sid, record);
  let events;
  server.on("session", (session) => (events = record(session)));
  const peer = await Peer.connect({ port, sid });
  for (let i = 0; i < 20; i++) {
    peer.sendText(`text ${i}`);
    peer.sendBinary(Buffer.of(i));
    peer.sendError(`error ${i}`);
  }
  peer.close(4000, "done");
  const session = await found;
  if (events.at(-1)?.[0] !== "closed") await once(session, "closed");
  const messages = Array.from({ length: 20 }, (_, i) => [
    ["message-utf8", `text ${i}`], ["message-binary", Buffer.of(i)], ["message-error", `error ${i}`],
  ]).flat();
  assert.deepEqual(events, [["connected"], ...messages, ["closed"]]);
});

test("connected comes after the ACK of the client's ENDPOINT_INFO", async (t) => {
  const { port, server } = await startServer(t);
  server.on("session", (session) => session.on("connected", () => void session.base.SendUTF8("connected")));
  const peer = await Peer.connect({ port });
  await peer.next("UTF8DATA");
  const order = peer.frames.map(({ type }) => type);
  assert.ok(order.indexOf("ACK") < order.indexOf("UTF8DATA"), order.join());
});

test("what a session listener sends goes out after ENDPOINT_INFO", async (t) => {
  const { server, port } = await startServer(t);
  server.on("session", (session) => {
    session.base.SendUTF8("first");
    session.base.SendBinary(Buffer.from("second"));
  });
  const peer = await Peer.connect({ port });
  await peer.next("BINARYDATA");
  const order = peer.frames.map(({ type }) => type).filter((type) => type !== "ACK");
  assert.deepEqual(order, ["ENDPOINT_INFO", "UTF8DATA", "BINARYDATA"]);
});

test("the server holds its first frame back until the client's first frame or 50 ms", async (t) => {
  const { server, port } = await startServer(t);
  // The earliest thing a listener can send is held back as well.
  server.on("session", (session) => void session.base.SendUTF8("early"));
  for (let round = 0; round < 10; round++) {
    const start = performance.now();
    const peer = await RawPeer.connect({ port, sid: freshSid() });
    await peer.next(({ frame }) => frame?.type === "ENDPOINT_INFO");
    // Measured from before the request, so that a slow machine can only add to it.
    assert.ok(performance.now() - start >= 45, "a silent client got the first frame too early");
    peer.socket.destroy();
  }
});

test("a client that speaks at once is answered at once, ENDPOINT_INFO first", async (t) => {
  const { port } = await startServer(t);
  const peer = await Peer.connect({ port, autoInfo: false });
  peer.sendPing();
  await peer.next("PING_PONG");
  assert.equal(peer.frames[0].type, "ENDPOINT_INFO");
});

test("another protocol version closes the session with 4001 and a reason naming both", async (t) => {
  const { server, port } = await startServer(t);
  for (const version of [0, 2, 77, 4294967295]) {
    const sid = freshSid();
    let events;
    const found = sessionFor(server, sid, (session) => (events = record(session)));
    const peer = await Peer.connect({ port, sid, autoInfo: false });
    peer.sendInfo({ version });
    const { code, reason } = await peer.closed;
    assert.equal(code, 4001);
    const named = reason.match(/\d+/g) ?? [];
    assert.ok(named.includes("1") && named.includes(String(version)), reason);
    await found;
    await eventually(() => events.length > 0);
    assert.deepEqual(events, [["closed"]]);
  }
});

test("a listener added in a continuation of the session event misses nothing", async (t) => {
  const { port, server } = await startServer(t);
  const sid = freshSid();
  const events = sessionFor(server, sid).then(async (session) => {
    await null;
    return record(session);
  });
  const payloads = [
    encode({ type: "ENDPOINT_INFO", sid, ack: 0, version: 1, features: 1n }),
    encode({ type: "UTF8DATA", sid, ack: 1, text: "first" }),
  ];
  const trailing = Buffer.concat(payloads.map((payload) => wsFrame({ payload })));
  await RawPeer.connect({ port, sid, trailing });
  const recorded = await events;
  await eventually(() => recorded.length === 2);
  assert.deepEqual(recorded, [["connected"], ["message-utf8", "first"]]);
});

test("reserved feature bits of the client are ignored", async (t) => {
  const { port, server } = await startServer(t);
  const sid = freshSid();
  const connected = sessionFor(server, sid).then((session) => once(session, "connected"));
  const peer = await Peer.connect({ port, sid, autoInfo: false });
  peer.sendInfo({ features: 2n ** 64n - 1n });
  await connected;
  await peer.roundTrip();
});

test("a repeated ENDPOINT_INFO is acknowledged and connected is emitted once", async (t) => {
  let events;
  const { peer } = await openPair(t, { onSession: (session) => (events = record(session)) });
  const again = [peer.sendInfo(), peer.sendInfo(), peer.sendInfo({ features: 0n })];
  for (const ack of again) await peer.acked(ack);
  peer.sendText("end");
  await eventually(() => events.at(-1)[0] === "message-utf8");
  assert.deepEqual(events.map(([name]) => name), ["connected", "message-utf8"]);
});

test("base frames that come before ENDPOINT_INFO are handled as usual", async (t) => {
  let events;
  const { session, peer } = await openPair(t, {
    peer: { autoInfo: false }, onSession: (session) => (events = record(session)),
  });
  await peer.acked(peer.sendText("early"));
  await session.base.SendUTF8("answer");
  assert.deepEqual(peer.texts(), ["answer"]);
  await peer.acked(peer.sendInfo());
  await eventually(() => events.length === 2);
  assert.deepEqual(events, [["message-utf8", "early"], ["connected"]]);
});

test("a client that sends no ENDPOINT_INFO is connected one second after it acknowledged ours, once", async (t) => {
  const { server, port } = await startServer(t);
  let silentConnected = 0;
  const { peer: silent } = await openSession({ server, port }, { autoInfo: false, autoAck: false }, (session) => {
    session.on("connected", () => silentConnected++);
  });
  await silent.next("ENDPOINT_INFO");
  let connected = 0;
  const { session, peer } = await openSession({ server, port }, { autoInfo: false, autoAck: false }, (session) => {
    session.on("connected", () => connected++);
  });
  const info = await peer.next("ENDPOINT_INFO");
  assert.equal(connected, 0);
  const start = performance.now();
  peer.sendAck(info.ack);
  await once(session, "connected");
  assert.ok(performance.now() - start >= 900, "earlier than one second");
  assert.equal(silentConnected, 0, "a client that acknowledged nothing is not connected");
  // An ENDPOINT_INFO that comes late changes nothing.
  await peer.acked(peer.sendInfo());
  await peer.roundTrip();
  assert.equal(connected, 1);
});

test("Set and Get keep any value per session", async (t) => {
  const { server, port } = await startServer(t);
  const one = await openSession({ server, port });
  const two = await openSession({ server, port });
  const value = { nested: [1] };
  one.session.Set("key", value);
  two.session.Set("key", 2);
  assert.equal(one.session.Get("key"), value);
  assert.equal(two.session.Get("key"), 2);
  one.session.Set("key", undefined);
  assert.equal(one.session.Get("key"), undefined);
  assert.ok(one.session.Get("never set") == null);
  for (const name of ["__proto__", "constructor", "toString"]) {
    assert.ok(one.session.Get(name) == null, name);
    one.session.Set(name, "own");
    assert.equal(one.session.Get(name), "own");
  }
});

test("Get tells the type and the token of an accepted session, from the start", async (t) => {
  const seen = [];
  const token = "tökén +/=&";
  await openPair(t, {
    validator: { validate: async () => true },
    peer: { token },
    onSession: (session) => seen.push(session.Get("__TYPE"), session.Get("__TOKEN")),
  });
  assert.deepEqual(seen, ["client", token]);
});

test("id and sid are the client's id as bigint", async (t) => {
  const sid = 2n ** 63n + 12345n;
  const { session } = await openPair(t, { peer: { sid } });
  assert.equal(session.id, sid);
  assert.equal(session.sid, sid);
});

test("rx and tx count the bytes of CAMP frames in both directions", async (t) => {
  const { session, peer } = await openPair(t);
  peer.sendBinary(Buffer.alloc(70_000));
  peer.sendText("häh");
  await Promise.all([session.base.SendBinary(Buffer.alloc(100_000)), session.base.SendUTF8("€")]);
  await peer.roundTrip();
  await eventually(() => Number(session.rx) === peer.bytesSent, 5000, "rx equals what the client sent");
  await eventually(() => Number(session.tx) === peer.bytesReceived, 5000, "tx equals what the client received");
});

test("many sessions do not mix", async (t) => {
  const { server, port } = await startServer(t);
  server.on("session", (session) => {
    session.on("message-utf8", (text) => void session.base.SendUTF8(`${session.sid}: ${text}`));
  });
  const pairs = await Promise.all(Array.from({ length: 50 }, () => openSession({ server, port })));
  for (const { peer } of pairs) for (let i = 0; i < 20; i++) peer.sendText(`${peer.sid} ${i}`);
  for (const { peer } of pairs) {
    await peer.until(() => peer.of("UTF8DATA").length === 20, 10_000);
    assert.deepEqual(peer.texts(), Array.from({ length: 20 }, (_, i) => `${peer.sid}: ${peer.sid} ${i}`));
  }
});

test("an ENDPOINT_INFO in fragments is still one frame", async (t) => {
  const { port } = await startServer(t);
  const sid = freshSid();
  const peer = await RawPeer.connect({ port, sid });
  const frame = encode({ type: "ENDPOINT_INFO", sid, ack: 3, version: 1, features: 1n });
  for (let at = 0; at < frame.length; at++) {
    peer.write({ opcode: at === 0 ? 2 : 0, fin: at === frame.length - 1, payload: frame.subarray(at, at + 1) });
    if (at === 10) await delay(20);
  }
  await peer.next((message) => message.frame?.type === "ACK" && message.frame.ack === 3);
});
