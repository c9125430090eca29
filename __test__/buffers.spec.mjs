// Whose memory the bytes lie in that are handed out, and those that are handed over.
import assert from "node:assert/strict";
import { once as onceNode } from "node:events";
import net from "node:net";
import { encode } from "./support/frames.mjs";
import { freshSid } from "./support/peer.mjs";
import { RawPeer, wsFrame } from "./support/raw.mjs";
import { once, openPair, openSession, sessionFor, startServer } from "./support/server.mjs";
import { sendChunk, sendFinish } from "./support/streams.mjs";
import { test } from "./support/test.mjs";
import { eventually, within } from "./support/wait.mjs";

// Around the lengths at which a copy is made otherwise, and at which payloads lie elsewhere.
const SIZES = [1, 2, 23, 24, 25, 63, 64, 65, 100, 1024, 4096, 8191, 8192, 20_000];

function pattern(size, seed = 0) {
  return Buffer.from(Array.from({ length: size }, (_, i) => (i * 31 + (i >> 8) + seed) & 0xff));
}

/** What a listener may do to any memory that it was given. */
function transfer(data) {
  const { buffer, byteOffset, length } = data;
  return Buffer.from(structuredClone(buffer, { transfer: [buffer] }), byteOffset, length);
}

/** Frames of one client in one write: they are handed out together. */
function writeAtOnce({ socket, sid }, frames) {
  socket.write(Buffer.concat(frames.map((frame) => wsFrame({ payload: encode({ sid, ...frame }) }))));
}

test("the memory of a binary message holds that message and nothing else", async (t) => {
  const { session, peer } = await openPair(t);
  const received = [];
  session.on("message-binary", (data) => received.push(data));
  for (const size of SIZES) peer.sendBinary(pattern(size));
  await eventually(() => received.length === SIZES.length);
  for (const [i, data] of received.entries()) {
    assert.ok(Buffer.isBuffer(data), `${SIZES[i]} bytes: a Buffer`);
    assert.ok(data.equals(pattern(SIZES[i])), `${SIZES[i]} bytes: content`);
    assert.equal(data.buffer.byteLength, SIZES[i], `${SIZES[i]} bytes: size of the memory`);
  }
});

test("the memory that hooks get holds their message and nothing else, in both directions", async (t) => {
  const { server, session, peer } = await openPair(t);
  const boxes = [];
  server.RegisterExtension({
    name: "keeper",
    async on_receive_binary(_session, box) { return boxes.push(box.value); },
    async before_send_binary(_session, box) { return boxes.push(box.value); },
  });
  for (const size of SIZES) {
    await session.base.SendBinary(pattern(size));
    const received = once(session, "message-binary");
    peer.sendBinary(pattern(size));
    await received;
    for (const data of boxes.splice(0)) {
      assert.ok(data.equals(pattern(size)), `${size} bytes: content`);
      assert.equal(data.buffer.byteLength, size, `${size} bytes: size of the memory`);
    }
  }
});

test("a listener may transfer the memory of its messages: all others arrive as they were sent", async (t) => {
  const running = await startServer(t);
  const received = new Map();
  running.server.on("session", (session) => {
    const of = [];
    received.set(session.sid, of);
    session.on("message-binary", (data) => of.push(transfer(data)));
  });
  const sids = [freshSid(), freshSid(), freshSid()];
  const peers = await Promise.all(sids.map((sid) => RawPeer.connect({ port: running.port, sid })));
  for (const [seed, peer] of peers.entries()) {
    writeAtOnce(peer, [
      { type: "ENDPOINT_INFO", ack: 0, version: 1, features: 1n },
      ...SIZES.map((size, i) => ({ type: "BINARYDATA", ack: i + 1, data: pattern(size, seed) })),
    ]);
  }
  await eventually(() => sids.every((sid) => received.get(sid)?.length === SIZES.length));
  for (const [seed, sid] of sids.entries()) {
    for (const [i, data] of received.get(sid).entries()) assert.ok(data.equals(pattern(SIZES[i], seed)), `${SIZES[i]} bytes of session ${seed}`);
  }
});

test("a listener of tx-chunk can neither change nor take away what the reader gets", async (t) => {
  const { session, peer } = await openPair(t);
  const sizes = [10, 100, 5000, 20_000, 70_000];
  const shown = [];
  session.transaction.on("tx-chunk", (_txId, chunk) => {
    shown.push(Buffer.from(chunk));
    chunk.fill(0);
    structuredClone(chunk.buffer, { transfer: [chunk.buffer] });
  });
  const total = sizes.reduce((sum, size) => sum + size, 0);
  peer.sendTxStart({ size: BigInt(total), name: "up" });
  let at = 0;
  for (const size of sizes) {
    sendChunk(peer, 0, at, pattern(size, at));
    at += size;
  }
  sendFinish(peer, 0);
  const stream = await session.transaction.WaitForStream("up");
  const chunks = await within(stream.toArray(), 5000, "the stream's end");
  const sent = Buffer.concat(sizes.map((size, i) => pattern(size, sizes.slice(0, i).reduce((sum, each) => sum + each, 0))));
  assert.ok(Buffer.concat(chunks).equals(sent), "what the reader got");
  assert.ok(Buffer.concat(shown).equals(sent), "what the listener was shown");
});

test("the bytes of a connection of another protocol lie in memory of their own", async (t) => {
  const { server, port } = await startServer(t);
  const upgraded = onceNode(server.http_server, "upgrade");
  const client = net.connect(port, "127.0.0.1");
  t.after(() => client.destroy());
  client.write("GET /other HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n");
  const [, socket] = await within(upgraded, 5000, "the upgrade");
  t.after(() => socket.destroy());
  for (const size of SIZES) {
    const data = onceNode(socket, "data");
    client.write(pattern(size));
    const [bytes] = await within(data, 5000, `${size} bytes`);
    assert.equal(bytes.buffer.byteLength, bytes.length, `${size} bytes: size of the memory`);
    let got = bytes.length;
    while (got < size) got += (await within(onceNode(socket, "data"), 5000, "the rest"))[0].length;
  }
});

test("bytes that are transferred while they are written end their connection with an error, and nothing else", async (t) => {
  const { server, port } = await startServer(t);
  const upgraded = onceNode(server.http_server, "upgrade");
  const client = net.connect(port, "127.0.0.1");
  t.after(() => client.destroy());
  client.write("GET /other HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n");
  const [, socket] = await within(upgraded, 5000, "the upgrade");
  const failed = new Promise((resolve) => socket.once("close", resolve));
  const errors = [];
  socket.on("error", (error) => errors.push(error.code));
  const data = Buffer.alloc(4 * 1024 * 1024);
  socket.write(data);
  structuredClone(data.buffer, { transfer: [data.buffer] });
  client.resume();
  await within(failed, 5000, "the connection's end");
  assert.deepEqual(errors, ["ERR_INVALID_STATE"]);
  await openSession({ server, port });
});

test("what was given to SendBinary may be changed or transferred at once, whatever its length", async (t) => {
  const { session, peer } = await openPair(t);
  for (const size of [...SIZES, 1023, 1025, 300_000]) {
    for (const spoil of [(data) => data.fill(0xee), ({ buffer }) => structuredClone(buffer, { transfer: [buffer] })]) {
      const data = new Uint8Array(pattern(size));
      const sent = session.base.SendBinary(data);
      spoil(data);
      await sent;
      assert.ok((await peer.next("BINARYDATA")).data.equals(pattern(size)), `${size} bytes`);
    }
  }
});

test("binary messages of every length leave in order among texts, more of them than any buffer holds", async (t) => {
  const { session, peer } = await openPair(t, { options: { backpressure: { maxQueueCount: Infinity, maxQueuedBytes: Infinity } } });
  const sent = [];
  for (let i = 0; i < 3000; i++) {
    const size = (i * 37) % 1100;
    sent.push(i % 7 === 0 ? `text ${i}` : pattern(size, i).toString("latin1"));
    if (i % 7 === 0) session.base.SendUTF8(`text ${i}`);
    else session.base.SendBinary(pattern(size, i));
  }
  const received = () => peer.frames.filter(({ type }) => type === "UTF8DATA" || type === "BINARYDATA");
  await peer.until(() => received().length === sent.length);
  assert.deepEqual(received().map(({ text, data }) => text ?? data.toString("latin1")), sent);
});

test("a view's own properties do not decide how much of it is sent", async (t) => {
  const { session, peer } = await openPair(t);
  for (const claimed of [-1, 0, 3, 100, 2 ** 32, NaN]) {
    const data = Object.defineProperties(new Uint8Array(pattern(40)), {
      length: { value: claimed }, byteLength: { value: claimed },
    });
    session.base.SendBinary(data);
    assert.ok((await peer.next("BINARYDATA")).data.equals(pattern(40)), `said to have ${claimed} bytes`);
  }
  await session.base.SendUTF8("as before");
});

test("sessions that end do not change what their messages hold", async (t) => {
  const running = await startServer(t);
  const sid = freshSid();
  const kept = [];
  const found = sessionFor(running.server, sid, (session) => session.on("message-binary", (data) => kept.push(data)));
  const { session, peer } = await openSession(running, { sid });
  await found;
  for (let i = 0; i < 100; i++) peer.sendBinary(pattern(40, i));
  await eventually(() => kept.length === 100);
  await session.Close();
  const other = await openSession(running);
  for (let i = 0; i < 100; i++) await other.peer.acked(other.peer.sendBinary(pattern(40, i + 1)));
  for (const [i, data] of kept.entries()) assert.ok(data.equals(pattern(40, i)), `message ${i}`);
});
