// Node's streams as sources: taken as `stream.pipeline` takes its first stream, and what they have to write is left to their owner.
import assert from "node:assert/strict";
import * as fs from "node:fs";
import { open } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { Duplex, PassThrough, Readable, Transform, Writable, finished } from "node:stream";
import { pipeline } from "node:stream/promises";
import { openPair, once, rejection } from "./support/server.mjs";
import { test } from "./support/test.mjs";
import { KIB, assertSameBytes, openEnded, payload, receivePush, sendCancel, takeCancel, takeFinish, takeStart, tempFile } from "./support/streams.mjs";
import { deferred, eventually, within } from "./support/wait.mjs";

const BEHAVIOURS = ["push", "pull"];

/** Both ends of a TCP connection; the first one stays open when the other has ended. */
async function sockets(t) {
  const accepted = deferred();
  const server = createServer({ allowHalfOpen: true }, accepted.resolve);
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const client = connect({ port: server.address().port, host: "127.0.0.1", allowHalfOpen: true });
  const socket = await within(accepted.promise, 5000, "a connection");
  t.after(() => {
    server.close();
    [client, socket].forEach((one) => one.destroy());
  });
  return { socket, client };
}

async function textOf(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts).toString();
}

/** A Duplex whose halves have nothing to do with each other; `written` is what came. */
function independent(parts, options = {}) {
  const rest = [...parts];
  const written = [];
  const duplex = new Duplex({
    read() {
      this.push(rest.length === 0 ? null : rest.shift());
    },
    write(chunk, _encoding, callback) {
      written.push(chunk);
      callback();
    },
    ...options,
  });
  return { duplex, written };
}

// A Duplex.

test("an upload that comes through a socket is answered on it, once it was streamed", async (t) => {
  const { session, peer } = await openPair(t);
  const { socket, client } = await sockets(t);
  const data = payload(300 * KIB);
  const receiving = receivePush(peer);
  client.end(data);
  await within(session.transaction.Stream(socket), 10_000, "Stream()");
  assertSameBytes((await receiving).data, data);
  assert.deepEqual([socket.writable, socket.destroyed], [true, false]);
  socket.end("thank you");
  assert.equal(await within(textOf(client), 5000, "the answer"), "thank you");
});

test("a Duplex that is pulled keeps its writable half, too", async (t) => {
  const { session, peer } = await openPair(t);
  const { duplex, written } = independent([Buffer.from("content")]);
  const sent = session.transaction.Stream(duplex, { behaviour: "pull" });
  const { txId, size } = await takeStart(peer);
  assert.equal(size, 7n);
  peer.sendTracked({ type: "TX_FETCH", txId, start: 0n, end: 7n });
  await takeFinish(peer, txId);
  await within(sent, 5000, "Stream()");
  duplex.end("answer");
  await once(duplex, "finish");
  assert.equal(Buffer.concat(written).toString(), "answer");
});

test("an error of the writable half is its owner's, once the readable half was streamed", async (t) => {
  const { session, peer } = await openPair(t);
  const { duplex } = independent([Buffer.from("content")], { write: (_chunk, _encoding, callback) => callback(new Error("no more")) });
  const before = duplex.listenerCount("error");
  const receiving = receivePush(peer);
  await session.transaction.Stream(duplex);
  await receiving;
  assert.equal(duplex.listenerCount("error"), before);
  assert.equal(duplex.listenerCount("readable"), 0);
  duplex.write("x");
  const [error] = await once(duplex, "error");
  assert.equal(error.message, "no more");
});

/** What ends a transfer while its source has more to give. */
const ENDS = {
  "the peer cancels": { code: "ERR_CAMP_CANCELLED", end: ({ peer }) => peer.acked(sendCancel(peer, 0)) },
  "the session ends": { code: "ERR_CAMP_SESSION_CLOSED", end: ({ session }) => session.Destroy() },
  "the signal is aborted": { code: "ABORT_ERR", end: ({ controller }) => controller.abort() },
};

for (const [what, { code, end }] of Object.entries(ENDS)) {
  test(`${what}: who uploads through a socket can be told, and the rest is discarded`, async (t) => {
    const pair = await openPair(t);
    const controller = new AbortController();
    const { socket, client } = await sockets(t);
    client.write(payload(300 * KIB));
    const sent = pair.session.transaction.Stream(socket, { signal: controller.signal });
    await pair.peer.next("TX_CHUNK");
    await end({ ...pair, controller });
    assert.equal((await rejection(sent)).code, code);
    const ended = once(socket, "end", 10_000);
    client.end(payload(3000 * KIB));
    await ended;
    socket.end("it failed");
    assert.equal(await within(textOf(client), 5000, "the answer"), "it failed");
  });

  for (const [kind, make] of Object.entries({ "a Readable": () => openEnded([payload(1000)]), "a PassThrough": () => new PassThrough(),
    "a Duplex that cannot be written": () => new Duplex({ writable: false, read() {}, construct(callback) { this.push(payload(1000)); callback(); } }),
  })) {
    test(`${what}: ${kind} is destroyed`, async (t) => {
      const pair = await openPair(t);
      const controller = new AbortController();
      const source = make();
      if (source instanceof PassThrough) source.write(payload(1000));
      const sent = pair.session.transaction.Stream(source, { signal: controller.signal });
      await pair.peer.next("TX_CHUNK");
      await end({ ...pair, controller });
      assert.equal((await rejection(sent)).code, code);
      await eventually(() => source.destroyed);
    });
  }
}

test("a Duplex whose readable half fails: its error, and TX_CANCEL", async (t) => {
  const { session, peer } = await openPair(t);
  const { socket, client } = await sockets(t);
  client.write(payload(1000));
  const sent = session.transaction.Stream(socket);
  await peer.next("TX_CHUNK");
  client.resetAndDestroy();
  assert.equal((await rejection(sent)).code, "ECONNRESET");
  await takeCancel(peer, 0);
});

// What a stream gives is what `pipeline` would write.

const upper = () => new Transform({
  transform(chunk, _encoding, callback) {
    callback(null, String(chunk).toUpperCase());
  },
});

const TAKEN = {
  "an object-mode Readable of bytes and strings": () => Readable.from([Buffer.from("a"), "b", new Uint8Array([99])]),
  "Readable.from(a string)": () => Readable.from("a whole string"),
  "Readable.from(a Buffer)": () => Readable.from(Buffer.from("a Buffer")),
  "a Readable with an encoding of text": () => new Readable({ encoding: "utf8", read() { this.push("grün"); this.push(null); } }),
  "a Readable with an encoding of digits": () => new Readable({ encoding: "hex", read() { this.push(Buffer.of(1, 255)); this.push(null); } }),
  "a Transform that is being fed": () => Readable.from(["a", "b"]).pipe(upper()),
  "a Readable that has ended": async () => {
    const source = Readable.from([Buffer.from("gone")]);
    source.resume();
    await once(source, "close");
    return source;
  },
  "a Readable that was read in part": async () => {
    const source = Readable.from([Buffer.from("first"), Buffer.from("rest")], { objectMode: false });
    await once(source, "readable");
    source.read(3);
    return source;
  },
  "a paused Readable": () => Readable.from(["a", "b"]).pause(),
  "a web stream made of a Readable": () => Readable.toWeb(Readable.from([Buffer.from("web")])),
  "a web stream that is closed": () => new ReadableStream({ start: (controller) => controller.close() }),
  "a web stream of bytes": () => new ReadableStream({
    type: "bytes",
    start(controller) {
      controller.enqueue(new Uint8Array([97, 98]));
      controller.close();
    },
  }),
};

for (const [what, make] of Object.entries(TAKEN)) {
  for (const behaviour of BEHAVIOURS) {
    test(`${what} is ${behaviour}ed as pipeline() would write it`, async (t) => {
      const { session, peer } = await openPair(t);
      const parts = [];
      await pipeline(await make(), new Writable({ write: (chunk, _encoding, callback) => { parts.push(chunk); callback(); } }));
      const expected = Buffer.concat(parts);
      const sent = session.transaction.Stream(await make(), { behaviour });
      const { txId, size } = await takeStart(peer);
      if (behaviour === "pull" && size > 0n) peer.sendTracked({ type: "TX_FETCH", txId, start: 0n, end: size });
      await takeFinish(peer, txId);
      await within(sent, 5000, "Stream()");
      assert.equal(Buffer.concat(peer.of("TX_CHUNK").map(({ data }) => data)).toString(), expected.toString());
    });
  }
}

test("a FileHandle's web stream, and the Blob of a file", async (t) => {
  const { session, peer } = await openPair(t);
  const data = payload(300 * KIB);
  const path = await tempFile(t, data);
  const handle = await open(path);
  t.after(() => handle.close());
  const sources = [handle.readableWebStream()];
  if (fs.openAsBlob !== undefined) sources.push(await fs.openAsBlob(path));
  for (const source of sources) {
    const sent = session.transaction.Stream(source);
    assertSameBytes((await receivePush(peer)).data, data);
    await within(sent, 5000, "Stream()");
  }
});

test("a web stream that was streamed is not locked any more", async (t) => {
  const { session, peer } = await openPair(t);
  const source = new Blob(["content"]).stream();
  const receiving = receivePush(peer);
  await session.transaction.Stream(source);
  await receiving;
  assert.equal(source.locked, false);
});

// Refused, or ended with the error that is theirs.

const PREMATURE = "ERR_STREAM_PREMATURE_CLOSE";
const cause = Object.assign(new Error("its own"), { code: "OWN" });

const FAIL = {
  "a Readable that was destroyed": [() => openEnded().destroy(), PREMATURE],
  "a Readable that has failed": [() => openEnded().on("error", () => {}).destroy(cause), "OWN"],
  "a web stream that has failed": [() => new ReadableStream({ start: (controller) => controller.error(cause) }), "OWN"],
  "a web stream that somebody reads": [() => {
    const stream = new Blob(["content"]).stream();
    stream.getReader();
    return stream;
  }, "ERR_INVALID_STATE"],
};

for (const [what, [make, code]] of Object.entries(FAIL)) {
  test(`${what} is refused with ${code}, and nothing is finished`, async (t) => {
    const { session, peer } = await openPair(t);
    for (const behaviour of BEHAVIOURS) assert.equal((await rejection(session.transaction.Stream(make(), { behaviour }))).code, code);
    // What was announced is cancelled once the client has acknowledged that.
    await peer.roundTrip();
    await eventually(() => peer.of("TX_CANCEL").length === peer.of("TX_START").length);
    assert.equal(peer.of("TX_FINISH").length, 0);
  });
}

const NO_BYTES = {
  "an object-mode Readable of objects": () => Readable.from([{ a: 1 }]),
  "an object-mode Readable of numbers": () => Readable.from([1, 2]),
  "a web stream of objects": () => new ReadableStream({ start: (controller) => controller.enqueue({}) }),
};

for (const [what, make] of Object.entries(NO_BYTES)) {
  test(`${what}: a TypeError that says so, and the source is given up`, async (t) => {
    const { session, peer } = await openPair(t);
    const source = make();
    const error = await rejection(session.transaction.Stream(source));
    assert.ok(error instanceof TypeError);
    assert.match(error.message, /bytes or a string, not (object|number)/);
    await takeCancel(peer, 0);
    if (source instanceof Readable) await eventually(() => source.destroyed);
  });
}

test("an iterator that fails is not told to return, and one that gives no bytes is", async (t) => {
  const { session } = await openPair(t);
  for (const [next, returned] of [[() => { throw cause; }, 0], [() => ({ done: false, value: 5 }), 1]]) {
    let returns = 0;
    const iterator = { next, return: () => { returns++; return { done: true }; } };
    await rejection(session.transaction.Stream({ [Symbol.asyncIterator]: () => iterator }));
    assert.equal(returns, returned);
  }
});

test("a Writable is no source", async (t) => {
  const { session } = await openPair(t);
  assert.ok((await rejection(session.transaction.Stream(new Writable()))) instanceof TypeError);
});

test("a Readable that was streamed is destroyed by itself, without a listener left that counts", async (t) => {
  const { session, peer } = await openPair(t);
  const source = Readable.from([Buffer.from("content")]);
  const closed = new Promise((resolve) => finished(source, resolve));
  const receiving = receivePush(peer);
  await session.transaction.Stream(source);
  await receiving;
  await within(closed, 5000, "its end");
  await eventually(() => source.destroyed);
  assert.equal(source.listenerCount("readable"), 0);
});
