// What goes out of a stream before the client has acknowledged its TX_START, and how a resumed download ends.
import assert from "node:assert/strict";
import { WebSocket as UndiciWebSocket } from "undici";
import { freshSid } from "./support/peer.mjs";
import { decode, encode } from "./support/frames.mjs";
import { openPair, sessionFor, startServer } from "./support/server.mjs";
import { chunksOf, fetchRange, payload, takeCancel, takeFinish, takeStart } from "./support/streams.mjs";
import { test } from "./support/test.mjs";
import { within } from "./support/wait.mjs";

/** As published browser clients do: acknowledges TX_START, then by the txId once more, and registers the stream after that. */
class BrowserClient {
  received = [];
  #streams = new Map();

  constructor(port, sid) {
    this.sid = sid;
    this.socket = new UndiciWebSocket(`ws://127.0.0.1:${port}/?authorization=Bearer%20T&x-CAMP-sid=${sid}`);
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => this.#send({ type: "ENDPOINT_INFO", ack: 0, version: 1, features: 1n });
    this.socket.onmessage = ({ data }) => this.#onFrame(decode(Buffer.from(data)));
  }

  #send(frame) {
    this.socket.send(encode({ sid: this.sid, ...frame }));
  }

  async #onFrame(frame) {
    switch (frame.type) {
      case "ENDPOINT_INFO":
        return this.#send({ type: "ACK", ack: frame.ack });
      case "TX_START":
        this.#send({ type: "ACK", ack: frame.ack });
        this.#send({ type: "ACK", ack: frame.txId });
        await null;
        return this.#streams.set(frame.txId, 0);
      case "TX_CHUNK":
        if (this.#streams.has(frame.txId)) this.#streams.set(frame.txId, this.#streams.get(frame.txId) + frame.data.length);
        return;
      case "TX_FINISH":
        this.received.push(this.#streams.get(frame.txId));
        return this.#send({ type: "ACK", ack: frame.ack });
    }
  }
}

test("a client that registers a stream only after it has acknowledged it gets every push whole", async (t) => {
  const { server, port } = await startServer(t);
  const sid = freshSid();
  const found = sessionFor(server, sid);
  const client = new BrowserClient(port, sid);
  const session = await found;
  const sizes = Array.from({ length: 300 }, (_, n) => 1 + n * 997);
  for (let at = 0; at < sizes.length; at += 10) {
    const batch = sizes.slice(at, at + 10);
    await within(Promise.all(batch.map((size) => session.transaction.Stream(payload(size)))), 10_000, "ten pushes");
  }
  assert.deepEqual(client.received.sort((a, b) => a - b), sizes);
  client.socket.close();
});

test("nothing of a push goes out before its TX_START is acknowledged", async (t) => {
  const { session, peer } = await openPair(t, { peer: { autoAck: false } });
  const sent = session.transaction.Stream(payload(1000));
  const start = await takeStart(peer);
  await peer.roundTrip();
  assert.equal(peer.of("TX_CHUNK").length + peer.of("TX_FINISH").length, 0);
  peer.sendAck(start.ack);
  const finish = await takeFinish(peer, start.txId);
  assert.equal(chunksOf(peer, start.txId).length, 1);
  peer.sendAck(finish.ack);
  await within(sent, 5000, "Stream()");
});

test("a client that never acknowledges TX_START gets the push all the same", async (t) => {
  const { session, peer } = await openPair(t, { peer: { autoAck: false } });
  const sent = session.transaction.Stream(payload(1000));
  const { txId } = await takeStart(peer);
  const finish = await takeFinish(peer, txId);
  assert.equal(chunksOf(peer, txId).length, 1);
  peer.sendAck(finish.ack);
  await within(sent, 5000, "Stream()");
});

test("a stream given up before its TX_START is acknowledged is cancelled behind the acknowledgement", async (t) => {
  const { session, peer } = await openPair(t, { peer: { autoAck: false } });
  const abort = new AbortController();
  const sent = session.transaction.Stream(payload(1000), { signal: abort.signal });
  sent.catch(() => {});
  const start = await takeStart(peer);
  abort.abort();
  await assert.rejects(within(sent, 5000, "Stream()"));
  void session.base.SendUTF8("said behind it");
  await peer.next("UTF8DATA");
  assert.equal(peer.of("TX_CANCEL").length, 0);
  peer.sendAck(start.ack);
  await takeCancel(peer, start.txId);
  assert.equal(peer.of("TX_CHUNK").length, 0);
});

test("a download of which the tail alone is fetched comes to its end", { timeout: 30_000 }, async (t) => {
  const { session, peer } = await openPair(t);
  const data = payload(1000);
  const sent = session.transaction.Stream(data, { behaviour: "pull" });
  const { txId } = await takeStart(peer);
  assert.deepEqual(await fetchRange(peer, txId, 400, 1000), data.subarray(400));
  await takeFinish(peer, txId);
  await within(sent, 5000, "Stream()");
});
