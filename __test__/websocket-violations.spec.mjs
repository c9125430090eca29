import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { encode } from "./support/frames.mjs";
import { freshSid } from "./support/peer.mjs";
import { OPCODE, RawPeer, closePayload, connectionEnd, rawSocket, upgradeHead, wsFrame } from "./support/raw.mjs";
import { echo, once, openSession, sessionFor, startServer } from "./support/server.mjs";
import { test } from "./support/test.mjs";
import { within } from "./support/wait.mjs";

async function openRaw(running, options = {}) {
  const sid = freshSid();
  const found = sessionFor(running.server, sid);
  const peer = await RawPeer.connect({ port: running.port, sid, ...options });
  return { peer, session: await found };
}

/** Each case: frames to write, and the close codes RFC 6455 allows for it. */
async function assertClosed(t, cases) {
  const running = await startServer(t);
  echo(running.server);
  const neighbour = await openSession(running);
  for (const [what, frames, codes] of cases) {
    const { peer, session } = await openRaw(running);
    const closed = once(session, "closed");
    for (const frame of frames) peer.write(frame);
    const close = await within(peer.closed, 5000, what);
    assert.ok(codes.includes(close?.code), `${what}: ${JSON.stringify(close)}`);
    await closed;
    await connectionEnd(peer.socket);
  }
  await neighbour.peer.echo("not concerned");
}

const text = (sid, ack = 1) => encode({ type: "UTF8DATA", sid, ack, text: "whole" });

test("an unmasked frame closes with 1002", async (t) => {
  await assertClosed(t, [
    ["unmasked binary", [{ payload: Buffer.alloc(20), mask: false }], [1002]],
    ["unmasked ping", [{ opcode: OPCODE.PING, mask: false }], [1002]],
    ["unmasked close", [{ opcode: OPCODE.CLOSE, payload: closePayload(1000), mask: false }], [1002]],
  ]);
});

test("reserved opcodes and bits close with 1002", async (t) => {
  const opcodes = [3, 7, 11, 15].map((opcode) => [`opcode ${opcode}`, [{ opcode, payload: "x" }], [1002]]);
  const bits = [1, 2, 4].map((rsv) => [`reserved bits ${rsv}`, [{ rsv, payload: Buffer.alloc(13) }], [1002]]);
  await assertClosed(t, [...opcodes, ...bits]);
});

test("control frames that are too long or in fragments close with 1002", async (t) => {
  await assertClosed(t, [
    ["ping of 126 bytes", [{ opcode: OPCODE.PING, payload: Buffer.alloc(126) }], [1002]],
    ["close of 126 bytes", [{ opcode: OPCODE.CLOSE, payload: closePayload(1000, "x".repeat(124)) }], [1002]],
    ["ping in fragments", [{ opcode: OPCODE.PING, fin: false, payload: "x" }], [1002]],
  ]);
});

test("fragments out of order close with 1002", async (t) => {
  await assertClosed(t, [
    ["continuation of nothing", [{ opcode: OPCODE.CONTINUATION, payload: "x" }], [1002]],
    ["a message inside another", [{ fin: false, payload: Buffer.alloc(5) }, { payload: Buffer.alloc(5) }], [1002]],
    ["a continuation after the end", [{ fin: false, payload: Buffer.alloc(13) }, { opcode: 0, payload: "" }, { opcode: 0, payload: "x" }], [1002]],
  ]);
});

test("a text message that is not UTF-8 closes with 1007 or, being text at all, 1003", async (t) => {
  await assertClosed(t, [
    ["bad byte", [{ opcode: OPCODE.TEXT, payload: [0xff, 0xfe] }], [1003, 1007]],
    ["bad byte in a fragment", [{ opcode: OPCODE.TEXT, fin: false, payload: [0x61] }, { opcode: 0, payload: [0xc3, 0x28] }], [1003, 1007]],
  ]);
});

test("a malformed close frame is answered with 1002 or 1007", async (t) => {
  await assertClosed(t, [
    ["payload of one byte", [{ opcode: OPCODE.CLOSE, payload: [3] }], [1002]],
    ["code 1005", [{ opcode: OPCODE.CLOSE, payload: closePayload(1005) }], [1002]],
    ["code 999", [{ opcode: OPCODE.CLOSE, payload: closePayload(999) }], [1002]],
    ["reason not UTF-8", [{ opcode: OPCODE.CLOSE, payload: Buffer.concat([closePayload(1000), Buffer.of(0xff)]) }], [1002, 1007]],
  ]);
});

test("a close frame is answered with a close frame, then the connection ends", async (t) => {
  const running = await startServer(t);
  for (const payload of [Buffer.alloc(0), closePayload(1000), closePayload(4000, "bye"), closePayload(1001, "ü")]) {
    const { peer, session } = await openRaw(running, { autoClose: false });
    const closed = once(session, "closed");
    peer.write({ opcode: OPCODE.CLOSE, payload });
    assert.notEqual(await within(peer.closed, 5000, "close frame"), null);
    await closed;
    await connectionEnd(peer.socket);
  }
});

test("frames after the client's close frame are not delivered", async (t) => {
  const running = await startServer(t);
  const { peer, session } = await openRaw(running);
  let messages = 0;
  session.on("message-utf8", () => messages++);
  const closed = once(session, "closed");
  peer.socket.write(Buffer.concat([
    wsFrame({ payload: text(peer.sid) }),
    wsFrame({ opcode: OPCODE.CLOSE, payload: closePayload(1000) }),
    wsFrame({ payload: text(peer.sid, 2) }),
  ]));
  await closed;
  assert.equal(messages, 1);
});

test("a WebSocket ping is answered with its payload, also between fragments", async (t) => {
  const running = await startServer(t);
  const { peer, session } = await openRaw(running);
  const received = once(session, "message-utf8");
  const frame = text(peer.sid);
  peer.write({ fin: false, payload: frame.subarray(0, 3) });
  peer.write({ opcode: OPCODE.PING, payload: "between" });
  peer.write({ opcode: 0, fin: false, payload: frame.subarray(3, 15) });
  peer.write({ opcode: OPCODE.PONG, payload: "unasked" });
  peer.write({ opcode: 0, fin: false, payload: "" });
  peer.write({ opcode: 0, payload: frame.subarray(15) });
  const pong = await peer.next(({ opcode }) => opcode === OPCODE.PONG);
  assert.equal(pong.payload.toString(), "between");
  assert.deepEqual(await received, ["whole"]);
});

test("the server's frames are unmasked, unfragmented and use no reserved bit", async (t) => {
  const running = await startServer(t);
  echo(running.server);
  const { peer } = await openRaw(running);
  for (const size of [0, 100, 200, 70_000, 1024 * 1024]) {
    peer.send(encode({ type: "BINARYDATA", sid: peer.sid, ack: 1, data: Buffer.alloc(size) }));
    await peer.next(({ frame }) => frame?.type === "BINARYDATA" && frame.data.length === size);
  }
  for (const { masked, fin, rsv, opcode } of peer.messages) {
    assert.deepEqual({ masked, fin, rsv, opcode }, { masked: false, fin: true, rsv: 0, opcode: OPCODE.BINARY });
  }
});

test("a frame that dribbles in byte by byte is one message", async (t) => {
  const running = await startServer(t);
  const { peer, session } = await openRaw(running);
  const received = once(session, "message-utf8");
  for (const byte of wsFrame({ payload: text(peer.sid) })) {
    await new Promise((resolve) => peer.socket.write(Buffer.of(byte), resolve));
  }
  assert.deepEqual(await received, ["whole"]);
});

test("a thousand frames in one segment are a thousand messages", async (t) => {
  const running = await startServer(t);
  const { peer, session } = await openRaw(running);
  let count = 0;
  const all = new Promise((resolve) => session.on("message-utf8", () => ++count === 1000 && resolve()));
  peer.socket.write(Buffer.concat(Array.from({ length: 1000 }, (_, i) => wsFrame({ payload: text(peer.sid, i) }))));
  await within(all, 5000, "1000 messages");
});

test("noise after the upgrade ends that connection and no other", async (t) => {
  const running = await startServer(t);
  echo(running.server);
  const neighbour = await openSession(running);
  for (let round = 0; round < 20; round++) {
    const { peer, session } = await openRaw(running);
    const closed = once(session, "closed", 10_000);
    peer.socket.write(randomBytes(5000));
    // Noise can look like the beginning of a long frame: then it is the client's end that ends it.
    peer.socket.end();
    await closed;
    await neighbour.peer.echo(`round ${round}`);
  }
});

test("a client that resets the connection at any point of its life harms nobody", async (t) => {
  const running = await startServer(t);
  echo(running.server);
  const neighbour = await openSession(running);
  for (let round = 0; round < 5; round++) {
    const before = await rawSocket(running);
    before.resetAndDestroy();
    const during = await rawSocket(running);
    during.write(upgradeHead({ port: running.port }).subarray(0, 50));
    during.resetAndDestroy();
    const { peer, session } = await openRaw(running);
    const closed = once(session, "closed");
    peer.send(text(peer.sid));
    peer.socket.resetAndDestroy();
    await closed;
  }
  await neighbour.peer.echo("not concerned");
});
