import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { encode, rawFrame } from "./support/frames.mjs";
import { echo, once, openPair, openSession, record, startServer } from "./support/server.mjs";
import { test } from "./support/test.mjs";
import { eventually } from "./support/wait.mjs";

const VECTORS = new URL("../tests/vectors/bad-frames.json", import.meta.url);

const SPOILED = {
  "a lone continuation byte": [0x80],
  "an overlong NUL": [0xc0, 0x80],
  "a byte no UTF-8 has": [0x61, 0xff],
  "a broken sequence": [0xc3, 0x28],
  "a surrogate": [0xed, 0xa0, 0x80],
  "a code point over 10FFFF": [0xf4, 0x90, 0x80, 0x80],
  "a sequence cut off at the end": [0x61, 0xe2, 0x82],
};

/** Sends one bad frame: an ERROR frame with a diagnostic comes back, and the session answers as before. */
async function assertDiagnosed(peer, frame, what) {
  const before = peer.of("ERROR").length;
  const acks = peer.of("ACK").length;
  peer.sendRaw(frame);
  await peer.roundTrip();
  assert.equal(peer.of("ERROR").length, before + 1, `${what}: no ERROR frame`);
  assert.ok(peer.of("ERROR").at(-1).message.length > 0, `${what}: no diagnostic`);
  assert.equal(peer.of("ACK").length, acks, `${what}: acknowledged`);
}

/** A fresh session for each case: a session tolerates only so many. */
async function assertEachDiagnosed(t, cases) {
  const running = await startServer(t);
  for (const [what, build] of cases) {
    let events;
    const { peer } = await openSession(running, {}, (session) => (events = record(session)));
    await assertDiagnosed(peer, build(peer.sid), what);
    assert.deepEqual(events, [["connected"]], `${what}: reached the application`);
    peer.terminate();
  }
}

const someBadFrame = (peer) => rawFrame(peer.sid, 200, [0, 0, 0, 0]);

test("a frame too short for its header is answered with an ERROR frame", async (t) => {
  await assertEachDiagnosed(t, Array.from({ length: 9 }, (_, length) => [
    `${length} bytes`, (sid) => rawFrame(sid, 250).subarray(0, length),
  ]));
});

test("a frame shorter than its layout is answered with an ERROR frame", async (t) => {
  const shortest = { ENDPOINT_INFO: [255, 25], BYE: [254, 13], ACK: [253, 13], ERROR: [252, 13], PING_PONG: [251, 13], UTF8DATA: [250, 13], BINARYDATA: [249, 13] };
  const cases = [];
  for (const [name, [type, length]] of Object.entries(shortest)) {
    for (const missing of new Set([1, length - 9])) {
      cases.push([`${name} lacking ${missing}`, (sid) => rawFrame(sid, type, Buffer.alloc(length - 9 - missing))]);
    }
  }
  cases.push(["ENDPOINT_INFO without features", (sid) => rawFrame(sid, 255, [0, 0, 0, 9, 0, 0, 0, 1])]);
  await assertEachDiagnosed(t, cases);
});

test("a frame of unknown type is answered with an ERROR frame", async (t) => {
  await assertEachDiagnosed(t, [5, 6, 127, 128, 248].map((type) => [
    `type ${type}`, (sid) => rawFrame(sid, type, Buffer.alloc(30)),
  ]));
});

test("a ping payload that is neither ping nor pong is answered with an ERROR frame", async (t) => {
  await assertEachDiagnosed(t, ["PING", "pang", "gnip", "\0\0\0\0"].map((payload) => [
    payload, (sid) => encode({ type: "PING_PONG", sid, payload }),
  ]));
});

test("a frame with the sid of another session is answered with an ERROR frame", async (t) => {
  await assertEachDiagnosed(t, [
    ["text", (sid) => encode({ type: "UTF8DATA", sid: sid + 1n, ack: 9, text: "not mine" })],
    ["sid 0", (sid) => encode({ type: "BINARYDATA", sid: sid * 0n, ack: 9, data: [1] })],
    ["BYE", (sid) => encode({ type: "BYE", sid: sid ^ (1n << 63n), ack: 9, reason: "" })],
    ["ENDPOINT_INFO", (sid) => encode({ type: "ENDPOINT_INFO", sid: sid + 1n, ack: 9, version: 1, features: 1n })],
    ["ping", (sid) => encode({ type: "PING_PONG", sid: sid + 1n, payload: "ping" })],
  ]);
});

test("an ACK with a foreign sid settles nothing", async (t) => {
  const { session, peer } = await openPair(t, { peer: { autoAck: false } });
  let settled = false;
  const send = session.base.SendUTF8("x").then(() => (settled = true));
  const { ack } = await peer.next("UTF8DATA");
  peer.sendRaw(encode({ type: "ACK", sid: peer.sid + 1n, ack }));
  await peer.roundTrip();
  assert.equal(settled, false);
  peer.sendAck(ack);
  await send;
});

test("a text and an error that are not UTF-8 are answered with an ERROR frame and go no further", async (t) => {
  const cases = [];
  for (const [what, bytes] of Object.entries(SPOILED)) {
    cases.push([`UTF8DATA with ${what}`, (sid) => encode({ type: "UTF8DATA", sid, ack: 9, text: bytes })]);
    cases.push([`ERROR with ${what}`, (sid) => encode({ type: "ERROR", sid, ack: 9, message: bytes })]);
  }
  await assertEachDiagnosed(t, cases);
});

test("a BYE whose reason is not UTF-8 is one without a reason", async (t) => {
  const running = await startServer(t);
  for (const bytes of Object.values(SPOILED)) {
    const { peer } = await openSession(running);
    peer.send({ type: "BYE", ack: 9, reason: bytes });
    await peer.acked(9);
    assert.deepEqual(await peer.closed, { code: 4000, reason: "" });
    assert.equal(peer.of("ERROR").length, 0);
  }
});

test("a long text with one bad byte at its end is not delivered", async (t) => {
  await assertEachDiagnosed(t, [
    ["64 KiB and 0xff", (sid) => encode({ type: "UTF8DATA", sid, ack: 9, text: Buffer.concat([Buffer.alloc(65_536, 0x61), Buffer.of(0xff)]) })],
  ]);
});

test("binary data may be any bytes", async (t) => {
  const { session, peer } = await openPair(t);
  for (const bytes of Object.values(SPOILED)) {
    const received = once(session, "message-binary");
    peer.sendBinary(bytes);
    assert.deepEqual([...(await received)[0]], bytes);
  }
});

test("an ERROR frame about a bad frame is acknowledged like any other and does not disturb the numbering", async (t) => {
  const { session, peer } = await openPair(t);
  await assertDiagnosed(peer, someBadFrame(peer), "unknown type");
  await session.base.SendUTF8("after");
  assert.equal(peer.of("ERROR")[0].ack, 1);
  assert.equal(peer.of("UTF8DATA")[0].ack, 2);
});

test("messages around a bad frame are delivered", async (t) => {
  const { session, peer } = await openPair(t);
  const events = record(session);
  peer.sendText("before");
  peer.sendRaw(someBadFrame(peer));
  peer.sendText("after");
  await peer.next("ERROR");
  await eventually(() => events.length === 2);
  assert.deepEqual(events, [["message-utf8", "before"], ["message-utf8", "after"]]);
});

test("fifteen bad frames leave the session alive", async (t) => {
  const { peer } = await openPair(t);
  for (let i = 0; i < 15; i++) peer.sendRaw(someBadFrame(peer));
  await peer.roundTrip();
  assert.equal(peer.of("ERROR").length, 15);
  assert.ok(peer.isOpen);
});

test("after sixteen bad frames the session is closed with 4001", async (t) => {
  const { session, peer } = await openPair(t);
  const closed = once(session, "closed");
  for (let i = 0; i < 16; i++) peer.sendRaw(someBadFrame(peer));
  assert.equal((await peer.closed).code, 4001);
  await closed;
  assert.ok([15, 16].includes(peer.of("ERROR").length), `${peer.of("ERROR").length} ERROR frames`);
});

test("twenty bad frames at once: at most sixteen ERROR frames, close 4001", async (t) => {
  const { peer } = await openPair(t);
  for (let i = 0; i < 20; i++) peer.sendRaw(someBadFrame(peer));
  assert.equal((await peer.closed).code, 4001);
  assert.ok(peer.of("ERROR").length >= 15 && peer.of("ERROR").length <= 16, `${peer.of("ERROR").length} ERROR frames`);
});

test("bad frames of every kind are counted together, and good ones in between forgive nothing", async (t) => {
  const { peer } = await openPair(t);
  const kinds = [
    () => Buffer.alloc(0),
    () => rawFrame(peer.sid, 99),
    () => encode({ type: "PING_PONG", sid: peer.sid, payload: "pang" }),
    () => encode({ type: "UTF8DATA", sid: peer.sid, ack: 1, text: [0xff] }),
    () => encode({ type: "UTF8DATA", sid: peer.sid + 1n, ack: 1, text: "x" }),
  ];
  for (let i = 0; i < 16; i++) {
    assert.ok(peer.isOpen, `closed after ${i}`);
    peer.sendRaw(kinds[i % kinds.length]());
    if (i < 15) {
      peer.sendText("good");
      await peer.roundTrip();
    }
  }
  assert.equal((await peer.closed).code, 4001);
});

test("the bad frames of one session are not counted in another", async (t) => {
  const running = await startServer(t);
  const one = await openSession(running);
  const two = await openSession(running);
  for (const { peer } of [one, two]) for (let i = 0; i < 10; i++) peer.sendRaw(someBadFrame(peer));
  await one.peer.roundTrip();
  await two.peer.roundTrip();
});

test("a text message closes its session with 1003", async (t) => {
  for (const text of ["hello", "", "x".repeat(70_000)]) {
    const { session, peer } = await openPair(t);
    const events = record(session);
    const closed = once(session, "closed");
    peer.sendTextMessage(text);
    assert.equal((await peer.closed).code, 1003);
    await closed;
    assert.deepEqual(events, [["closed"]]);
  }
});

test("transaction frames of a client that declared no transactions close its session with 4002", async (t) => {
  const { session, peer } = await openPair(t, { peer: { autoInfo: false } });
  const closed = once(session, "closed");
  peer.sendInfo({ features: 0n });
  await peer.ready();
  peer.sendTxStart();
  assert.equal((await peer.closed).code, 4002);
  await closed;
});

test("the neighbours of misbehaving clients do not notice", async (t) => {
  const running = await startServer(t);
  echo(running.server);
  const neighbours = await Promise.all(Array.from({ length: 3 }, () => openSession(running)));
  for (let i = 0; i < 10; i++) {
    const { peer } = await openSession(running);
    for (let j = 0; j < 16; j++) peer.sendRaw(someBadFrame(peer));
    for (const neighbour of neighbours) await neighbour.peer.echo(`round ${i}`);
    await peer.closed;
  }
});

/** The vector's bytes, with the session's sid in place of its own. */
function vectorFrame({ hex, fill }, sid) {
  const head = Buffer.from(hex, "hex");
  if (head.length >= 8) head.writeBigUInt64BE(sid);
  return fill === undefined ? head : Buffer.concat([head, Buffer.alloc(fill.count, Number.parseInt(fill.byte, 16))]);
}

test("every vector of bad-frames.json is answered with an ERROR frame, or 1009 when too large", {
  skip: !existsSync(VECTORS) && "no vectors here",
}, async (t) => {
  const running = await startServer(t);
  const vectors = JSON.parse(readFileSync(VECTORS, "utf8"));
  assert.ok(vectors.length > 0);
  for (const vector of vectors) {
    const { peer } = await openSession(running);
    const frame = vectorFrame(vector, peer.sid);
    // Without transactions their frames may be refused for that before they are looked at.
    const mayMismatch = frame.length >= 9 && frame[8] <= 4 && (peer.of("ENDPOINT_INFO")[0].features & 1n) === 0n;
    const codes = [...(vector.error === "PayloadTooLarge" ? [1009] : []), ...(mayMismatch ? [4002] : [])];
    if (codes.length === 0) await assertDiagnosed(peer, frame, vector.name);
    else {
      peer.sendRaw(frame);
      const outcome = await Promise.race([peer.closed, peer.next("ERROR").catch(() => peer.closed)]);
      const diagnosed = outcome.type === "ERROR" && vector.error !== "PayloadTooLarge";
      assert.ok(diagnosed || codes.includes(outcome.code), `${vector.name}: ${outcome.type ?? outcome.code}`);
    }
    peer.terminate();
  }
});
