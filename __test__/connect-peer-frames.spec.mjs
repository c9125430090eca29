// What a session with another server writes, and what it takes, frame by frame.
import assert from "node:assert/strict";
import { MAX_PAYLOAD, encode, rawFrame } from "./support/frames.mjs";
import { frameServer, info, letIn, openPeer, otherServer } from "./support/other-server.mjs";
import { OPCODE, closePayload, connectionEnd, wsFrame } from "./support/raw.mjs";
import { once, record, rejection, startServer } from "./support/server.mjs";
import { payload } from "./support/streams.mjs";
import { test } from "./support/test.mjs";
import { within } from "./support/wait.mjs";

const text = (sid, ack = 1, body = "whole") => encode({ type: "UTF8DATA", sid, ack, text: body });

async function start(t, options) {
  const { server } = await startServer(t, options);
  const other = await frameServer(t);
  return { server, other };
}

/** Each case: what the other server writes, and the close codes RFC 6455 allows for it. */
async function assertClosed(t, cases) {
  const { server, other } = await start(t);
  const neighbour = await openPeer(server, other);
  for (const [what, frames, codes] of cases) {
    const { session, end } = await openPeer(server, other);
    const events = record(session);
    const closed = once(session, "closed");
    for (const frame of frames) end.write(frame);
    const close = await within(end.closed, 5000, what);
    assert.ok(codes.includes(close?.code), `${what}: ${JSON.stringify(close)}`);
    await closed;
    assert.deepEqual(events, [["connected"], ["closed"]], what);
    await connectionEnd(end.socket);
  }
  const received = once(neighbour.session, "message-utf8");
  neighbour.end.send(text(neighbour.end.sid));
  await received;
}

test("every frame that goes out is masked with a key of its own, and whole", async (t) => {
  const { server, other } = await start(t);
  const { session, end } = await openPeer(server, other);
  const sizes = [0, 1, 3, 4, 100, 112, 113, 200, 65_522, 65_523, 70_000, MAX_PAYLOAD];
  for (const size of sizes) {
    const data = payload(size);
    session.base.SendBinary(data).catch(() => {});
    const { frame } = await end.next(({ frame: got }) => got?.type === "BINARYDATA" && got.data.length === size);
    assert.ok(frame.data.equals(data), `${size} bytes`);
  }
  for (let i = 0; i < 300; i++) session.base.SendUTF8(String(i)).catch(() => {});
  await end.next(({ frame }) => frame?.text === "299");
  end.write({ opcode: OPCODE.PING, payload: "are you there" });
  const pong = await end.next(({ opcode }) => opcode === OPCODE.PONG);
  assert.equal(pong.payload.toString(), "are you there");
  session.Destroy(4000, "done");
  assert.deepEqual(await end.closed, { code: 4000, reason: "done" });
  for (const { masked, fin, rsv } of end.messages) assert.deepEqual({ masked, fin, rsv }, { masked: true, fin: true, rsv: 0 });
  const keys = end.messages.map(({ key }) => key.readUInt32BE());
  // Among 315 random keys two are the same once in 87,000 runs.
  assert.ok(new Set(keys).size >= keys.length - 1, "keys are used again");
  assert.ok(keys.length > sizes.length + 300);
});

test("the first frame is ENDPOINT_INFO, sent without waiting, under the sid of the request", async (t) => {
  const { server } = await startServer(t);
  let end;
  const other = await otherServer(t, async (socket) => {
    end = await letIn(socket);
    const { frame } = await end.next(({ opcode }) => opcode === OPCODE.BINARY);
    assert.deepEqual([frame.type, frame.sid, frame.ack, frame.version, frame.features], ["ENDPOINT_INFO", end.sid, 0, 1, 1n]);
    end.send(info(end.sid));
  });
  const session = await server.ConnectPeer(other.url, "T");
  assert.equal(session.sid, end.sid);
  const acked = await end.next(({ frame }) => frame?.type === "ACK");
  assert.equal(acked.frame.ack, 0);
});

test("a masked frame closes with 1002", async (t) => {
  await assertClosed(t, [
    ["masked binary", [{ payload: Buffer.alloc(20), mask: true }], [1002]],
    ["masked ping", [{ opcode: OPCODE.PING, mask: true }], [1002]],
    ["masked close", [{ opcode: OPCODE.CLOSE, payload: closePayload(1000), mask: true }], [1002]],
    ["masked continuation", [{ fin: false, payload: "x" }, { opcode: 0, payload: "y", mask: true }], [1002]],
  ]);
});

test("reserved opcodes and bits close with 1002", async (t) => {
  const opcodes = [3, 7, 11, 15].map((opcode) => [`opcode ${opcode}`, [{ opcode, payload: "x" }], [1002]]);
  const bits = [1, 2, 4].map((rsv) => [`reserved bits ${rsv}`, [{ rsv, payload: Buffer.alloc(13) }], [1002]]);
  await assertClosed(t, [...opcodes, ...bits]);
});

test("control frames that are too long or in fragments, and fragments out of order, close with 1002", async (t) => {
  await assertClosed(t, [
    ["ping of 126 bytes", [{ opcode: OPCODE.PING, payload: Buffer.alloc(126) }], [1002]],
    ["ping in fragments", [{ opcode: OPCODE.PING, fin: false, payload: "x" }], [1002]],
    ["continuation of nothing", [{ opcode: OPCODE.CONTINUATION, payload: "x" }], [1002]],
    ["a message inside another", [{ fin: false, payload: Buffer.alloc(5) }, { payload: Buffer.alloc(5) }], [1002]],
    ["close of one byte", [{ opcode: OPCODE.CLOSE, payload: [3] }], [1002]],
    ["close code 1005", [{ opcode: OPCODE.CLOSE, payload: closePayload(1005) }], [1002]],
    ["close reason not UTF-8", [{ opcode: OPCODE.CLOSE, payload: Buffer.concat([closePayload(1000), Buffer.of(0xff)]) }], [1007]],
  ]);
});

test("a text message closes with 1003, one that is too long with 1009 before it has come", async (t) => {
  await assertClosed(t, [
    ["text", [{ opcode: OPCODE.TEXT, payload: "hello" }], [1003]],
    ["text in fragments", [{ opcode: OPCODE.TEXT, fin: false, payload: "hel" }], [1003]],
    ["length above the limit", [{ declaredLength: MAX_PAYLOAD + 100 }], [1009]],
    ["length of 2^62", [{ declaredLength: 2 ** 62 }], [1009]],
    ["fragments above the limit", [{ fin: false, payload: Buffer.alloc(MAX_PAYLOAD) }, { opcode: 0, declaredLength: 100 }], [1009]],
  ]);
});

test("bad frames of CAMP are answered with ERROR, the session lives on until there are too many", async (t) => {
  const { server, other } = await start(t);
  const { session, end } = await openPeer(server, other);
  const received = once(session, "message-utf8");
  end.send(rawFrame(end.sid, 77, [1, 2, 3, 4]));
  end.send(text(end.sid + 1n));
  end.send(text(end.sid));
  await received;
  for (let i = 0; i < 2; i++) await end.next(({ frame }) => frame?.type === "ERROR");
  const closed = once(session, "closed");
  for (let i = 0; i < 14; i++) end.send(rawFrame(end.sid, 77, [1, 2, 3, 4]));
  assert.equal((await within(end.closed, 5000, "close"))?.code, 4001);
  await closed;
});

test("fragments, pings between them and frames byte by byte are taken", async (t) => {
  const { server, other } = await start(t);
  const { session, end } = await openPeer(server, other);
  const events = record(session);
  const frame = text(end.sid);
  end.write({ fin: false, payload: frame.subarray(0, 3) });
  end.write({ opcode: OPCODE.PING, payload: "between" });
  end.write({ opcode: 0, payload: frame.subarray(3) });
  await end.next(({ opcode }) => opcode === OPCODE.PONG);
  for (const byte of wsFrame({ payload: text(end.sid, 2, "slow"), mask: false })) {
    await new Promise((resolve) => end.socket.write(Buffer.of(byte), resolve));
  }
  await end.next(({ frame: got }) => got?.type === "ACK" && got.ack === 2);
  const closed = once(session, "closed");
  end.write({ opcode: OPCODE.CLOSE, payload: closePayload(4000, "bye") });
  await closed;
  assert.deepEqual(events, [["connected"], ["message-utf8", "whole"], ["message-utf8", "slow"], ["closed"]]);
});

test("a violation as the first frame is a rejection, and the server is told", async (t) => {
  const { server } = await startServer(t);
  for (const [what, frame, code] of [
    ["masked", { payload: info(1n), mask: true }, 1002],
    ["text", { opcode: OPCODE.TEXT, payload: "welcome to my chat" }, 1003],
    ["reserved bit", { rsv: 4, payload: info(1n) }, 1002],
  ]) {
    let end;
    const other = await otherServer(t, async (socket) => {
      end = await letIn(socket);
      end.write(frame);
    });
    const error = await rejection(server.ConnectPeer(other.url, "T"));
    assert.equal(error.code, "ERR_CAMP_HANDSHAKE_FAILED", what);
    assert.match(error.message, new RegExp(String(code)));
    assert.equal((await within(end.closed, 5000, what))?.code, code);
  }
});

test("a server of another version of CAMP is a rejection that names both", async (t) => {
  const { server } = await startServer(t);
  let end;
  const other = await otherServer(t, async (socket) => {
    end = await letIn(socket);
    end.send(info(end.sid, { version: 2 }));
  });
  const error = await rejection(server.ConnectPeer(other.url, "T"));
  assert.equal(error.code, "ERR_CAMP_HANDSHAKE_FAILED");
  assert.match(error.message, /4001.*2.*1|4001.*1.*2/);
  assert.equal((await end.closed)?.code, 4001);
});
