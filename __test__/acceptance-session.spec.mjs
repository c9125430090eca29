// The readme of camp-server 1.0.9, row by row: CAMPServerWebsocketSession, its events, methods and namespaces.
import assert from "node:assert/strict";
import { createReadStream } from "node:fs";
import { Readable } from "node:stream";
import { CAMPReadable, CAMP_FLOW_BEHAVIOUR } from "./support/product.mjs";
import { once, openPair, within } from "./support/server.mjs";
import {
  PULL, assertSameBytes, fetchRange, payload, readAll, receivePush, sendPush, servePull, takeFinish, takeStart, tempFile,
} from "./support/streams.mjs";
import { test } from "./support/test.mjs";

// Data events

test("message-utf8 (data: string): emitted when the session receives a utf8 text message", async (t) => {
  const { session, peer } = await openPair(t);
  const arrived = once(session, "message-utf8");
  peer.sendText("grüße");
  assert.deepEqual(await arrived, ["grüße"]);
});

test("message-binary (data: Buffer): emitted when the session receives an arbitrary binary message", async (t) => {
  const { session, peer } = await openPair(t);
  const arrived = once(session, "message-binary");
  peer.sendBinary([0, 255, 7]);
  const [data] = await arrived;
  assert.ok(Buffer.isBuffer(data));
  assert.deepEqual(data, Buffer.of(0, 255, 7));
});

test("message-error (data: string): emitted when the session receives an error message", async (t) => {
  const { session, peer } = await openPair(t);
  const arrived = once(session, "message-error");
  peer.sendError("went wrong");
  assert.deepEqual(await arrived, ["went wrong"]);
});

// Statistic events: emitted periodically

const TICK = { options: { keepAliveIntervalMs: 600 } };

test("stat-rtt (data: number): EWMA average in milliseconds between message-ACK round trips", async (t) => {
  const { session } = await openPair(t, TICK);
  await session.base.SendUTF8("timed");
  const [rtt] = await once(session, "stat-rtt");
  assert.equal(typeof rtt, "number");
  assert.ok(rtt >= 0 && rtt < 5000, `${rtt}`);
});

test("stat-bytes-rx (data: number): total bytes received from the client session", async (t) => {
  const { session, peer } = await openPair(t, { ...TICK, peer: { autoPong: false } });
  await peer.acked(peer.sendText("counted"));
  const sent = peer.bytesSent;
  const [received] = await once(session, "stat-bytes-rx");
  assert.equal(received, sent);
});

test("stat-bytes-tx (data: number): total bytes sent to the client session", async (t) => {
  const { session, peer } = await openPair(t, { options: { keepAliveIntervalMs: 1500 } });
  await session.base.SendUTF8("counted");
  const received = peer.bytesReceived;
  const [sent] = await once(session, "stat-bytes-tx");
  assert.equal(sent, received);
});

test("stat-ack-timeout (data: number): count of messages that timed out waiting for an ACK", async (t) => {
  const { session, peer } = await openPair(t, { options: { keepAliveIntervalMs: 1500, ackTimeoutMs: 20 }, peer: { autoAck: false } });
  peer.sendAck(0);
  const sent = [session.base.SendUTF8("lost"), session.base.SendUTF8("lost too")];
  const [count] = await once(session, "stat-ack-timeout");
  assert.equal(count, 2);
  await Promise.allSettled(sent);
});

// Meta events

test("closed: emitted when the session closes", async (t) => {
  const { session } = await openPair(t);
  const closed = once(session, "closed");
  session.Close("enough");
  assert.deepEqual(await closed, []);
});

test("closed: emitted when it was closed by a client", async (t) => {
  const { session, peer } = await openPair(t);
  const closed = once(session, "closed");
  peer.close(4000, "bye");
  assert.deepEqual(await closed, []);
});

// Public methods

test("Set: sets key to value in the session's custom data store", async (t) => {
  const { session } = await openPair(t);
  const value = { any: "thing" };
  session.Set("user", value);
  session.Set("user.name", null);
  assert.deepEqual([session.Get("user"), session.Get("user.name")], [value, null]);
});

test("Get: retrieves the value of key from the session's custom data store", async (t) => {
  const { session } = await openPair(t);
  assert.equal(session.Get("unknown"), undefined);
  session.Set("user", 1);
  session.Set("user", 2);
  assert.equal(session.Get("user"), 2);
});

test("Close (reason): closes the session gracefully", async (t) => {
  const { session, peer } = await openPair(t);
  await session.Close("maintenance");
  assert.equal((await peer.next("BYE")).reason, "maintenance");
  assert.deepEqual(await peer.closed, { code: 4000, reason: "maintenance" });
});

test("Destroy: closes and destroys the session object", async (t) => {
  const { session, peer } = await openPair(t);
  const closed = once(session, "closed");
  session.Destroy();
  await closed;
  assert.equal((await peer.closed).code, 4000);
  assert.equal(peer.of("BYE").length, 0);
});

// Base: accessible via session.base.<method>(...)

test("Ping: pings the client", async (t) => {
  const { session, peer } = await openPair(t);
  session.base.Ping();
  assert.equal((await peer.next("PING_PONG")).payload, "ping");
});

test("SendUTF8: sends the passed utf8 text to the client", async (t) => {
  const { session, peer } = await openPair(t);
  session.base.SendUTF8("text");
  assert.equal((await peer.next("UTF8DATA")).text, "text");
});

test("SendBinary: sends the passed buffer to the client", async (t) => {
  const { session, peer } = await openPair(t);
  session.base.SendBinary(Buffer.of(1, 2, 3));
  assert.deepEqual(Buffer.from((await peer.next("BINARYDATA")).data), Buffer.of(1, 2, 3));
});

test("SendError: sends an error to the client", async (t) => {
  const { session, peer } = await openPair(t);
  session.base.SendError("broken");
  assert.equal((await peer.next("ERROR")).message, "broken");
});

// Transaction: accessible via session.transaction.<method>(...)

test("Stream (source: Readable, options: { streamName, behaviour }): streams a readable to the client, TX_PUSH", async (t) => {
  const { session, peer } = await openPair(t);
  const data = payload(200_000);
  const path = await tempFile(t, data);
  const sent = session.transaction.Stream(createReadStream(path), { streamName: "upload", behaviour: CAMP_FLOW_BEHAVIOUR.TX_PUSH });
  const received = await receivePush(peer, { name: "upload" });
  assertSameBytes(received.data, data);
  await within(sent, 5000, "Stream()");
});

test("Stream: TX_PULL, the client asks for the bytes", async (t) => {
  const { session, peer } = await openPair(t);
  const data = payload(100_000);
  const sent = session.transaction.Stream(Readable.from([data]), { streamName: "download", behaviour: CAMP_FLOW_BEHAVIOUR.TX_PULL });
  const { txId, size } = await takeStart(peer);
  assert.equal(size, 100_000n);
  assertSameBytes(await fetchRange(peer, txId, 0n, size), data);
  await takeFinish(peer, txId);
  await within(sent, 5000, "Stream()");
});

test("WaitForStream (name, timeout): waits for a named stream from the client, a Promise<CAMPReadable>", async (t) => {
  const { session, peer } = await openPair(t);
  const data = payload(50_000);
  const waiting = session.transaction.WaitForStream("mine", 5000);
  sendPush(peer, { txId: 1, name: "another", data: payload(10) });
  sendPush(peer, { txId: 2, name: "mine", data });
  const stream = await waiting;
  assert.ok(stream instanceof CAMPReadable && stream instanceof Readable);
  assertSameBytes(await readAll(stream), data);
});

test("WaitForStream: rejects when the timeout is over", async (t) => {
  const { session } = await openPair(t);
  await assert.rejects(session.transaction.WaitForStream("never", 20), { message: "Timeout elapsed!", code: "ERR_CAMP_TIMEOUT" });
});

test("StreamRequestRange (stream, start, end): when in TX_PULL mode, requests a byte range from the client", async (t) => {
  const { session, peer } = await openPair(t);
  const data = payload(10_000);
  const waiting = session.transaction.WaitForStream("file");
  peer.sendTxStart({ name: "file", size: 10_000n, behaviour: PULL });
  const stream = await waiting;
  const serving = servePull(peer, { data });
  await session.transaction.StreamRequestRange(stream, 0n, 4000n);
  await session.transaction.StreamRequestRange(stream, 4000n, 10_000n);
  assertSameBytes(await readAll(stream), data);
  assert.deepEqual(await serving, [[0, 4000], [4000, 10_000]]);
});
