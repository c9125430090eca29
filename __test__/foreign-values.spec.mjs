// Values of other making: of another realm, as test runners have them, of a library, or with their memory gone.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import vm from "node:vm";
import { assertRefuses, openPair, openSession, rejection, startServer } from "./support/server.mjs";
import { Peer } from "./support/peer.mjs";
import { CAMP } from "./support/product.mjs";
import { receivePush, tempFile } from "./support/streams.mjs";
import { test } from "./support/test.mjs";
import { eventually, once, within } from "./support/wait.mjs";

const context = vm.createContext({});
const foreign = (code) => vm.runInContext(code, context);

const BYTES = Buffer.from([1, 2, 3, 4, 5, 6, 7, 8]);

/** The same eight bytes. */
const FOREIGN_BYTES = {
  "an ArrayBuffer": "new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]).buffer",
  "a SharedArrayBuffer": "(() => { const b = new SharedArrayBuffer(8); new Uint8Array(b).set([1, 2, 3, 4, 5, 6, 7, 8]); return b; })()",
  "a Uint8Array": "new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8])",
  "a part of a Uint8Array": "new Uint8Array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]).subarray(1, 9)",
  "an Int16Array": "new Int16Array(new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]).buffer)",
  "a DataView": "new DataView(new Uint8Array([0, 1, 2, 3, 4, 5, 6, 7, 8]).buffer, 1)",
  "a resizable ArrayBuffer": "(() => { const b = new ArrayBuffer(8, { maxByteLength: 64 }); new Uint8Array(b).set([1, 2, 3, 4, 5, 6, 7, 8]); return b; })()",
};

/** Without memory, made by `make(realm)`. */
const LOST_BYTES = {
  "a transferred ArrayBuffer": ({ ArrayBuffer }) => lose(new ArrayBuffer(8)),
  "a Uint8Array on transferred memory": ({ Uint8Array }) => { const view = new Uint8Array(8); lose(view.buffer); return view; },
  "a Float64Array on transferred memory": ({ Float64Array }) => { const view = new Float64Array(8); lose(view.buffer); return view; },
  "a DataView on transferred memory": ({ DataView, ArrayBuffer }) => { const view = new DataView(new ArrayBuffer(8)); lose(view.buffer); return view; },
  "a Uint8Array beyond the end of what was resized": ({ Uint8Array, ArrayBuffer }) => shrunk((buffer) => new Uint8Array(buffer, 8, 8), ArrayBuffer),
  "an Int32Array beyond the end of what was resized": ({ Int32Array, ArrayBuffer }) => shrunk((buffer) => new Int32Array(buffer, 8, 2), ArrayBuffer),
  "a DataView beyond the end of what was resized": ({ DataView, ArrayBuffer }) => shrunk((buffer) => new DataView(buffer, 8, 8), ArrayBuffer),
};

const REALMS = { "this realm": globalThis, "another realm": foreign("globalThis") };

function lose(buffer) {
  structuredClone(buffer, { transfer: [buffer] });
  return buffer;
}

function shrunk(view, ArrayBufferOfRealm) {
  const buffer = new ArrayBufferOfRealm(16, { maxByteLength: 16 });
  const made = view(buffer);
  buffer.resize(4);
  return made;
}

/** What polyfills make of a signal: neither class nor prototype is Node's. */
function polyfilledSignal() {
  const listeners = new Set();
  return {
    aborted: false,
    reason: undefined,
    addEventListener: (event, listener) => void (event === "abort" && listeners.add(listener)),
    removeEventListener: (_event, listener) => void listeners.delete(listener),
    abort(reason) {
      Object.assign(this, { aborted: true, reason });
      for (const listener of listeners) listener({ type: "abort", target: this });
    },
    get listeners() { return listeners.size; },
  };
}

/** As `whatwg-url`, which jsdom has, and other libraries make them. */
function polyfilledUrl(text) {
  const { href, protocol, hostname, pathname, host, port, search, hash, origin, username, password } = new URL(text);
  return { href, protocol, hostname, pathname, host, port, search, hash, origin, username, password };
}

test("bytes of another realm are sent as messages", async (t) => {
  const { session, peer } = await openPair(t);
  for (const [name, code] of Object.entries(FOREIGN_BYTES)) {
    await session.base.SendBinary(foreign(code));
    assert.ok((await peer.next("BINARYDATA")).data.equals(BYTES), name);
  }
});

test("bytes of another realm are streamed, whole and as the chunks of an iterable", async (t) => {
  const { session, peer } = await openPair(t);
  for (const [name, code] of Object.entries(FOREIGN_BYTES)) {
    for (const source of [foreign(code), foreign(`[${code}]`)]) {
      const [{ data }] = await Promise.all([receivePush(peer), session.transaction.Stream(source)]);
      assert.ok(data.equals(BYTES), name);
    }
  }
});

test("Blobs, ReadableStreams and iterators of other making are streamed", async (t) => {
  const { session, peer } = await openPair(t);
  const sources = {
    "a Blob": foreign(`({ [Symbol.toStringTag]: "Blob", size: 8, slice: (start, end) => ({
      arrayBuffer: async () => new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]).buffer.slice(start, end) }), arrayBuffer() {} })`),
    "a ReadableStream": foreign(`({ getReader() { let n = 0; return {
      read: async () => n++ === 0 ? { done: false, value: new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]) } : { done: true },
      cancel() {} }; } })`),
    "an asynchronous iterator": foreign(`(async function* () { yield new Uint8Array([1, 2, 3, 4]); yield new Uint8Array([5, 6, 7, 8]).buffer; })()`),
  };
  for (const [name, source] of Object.entries(sources)) {
    const [{ data }] = await Promise.all([receivePush(peer), session.transaction.Stream(source)]);
    assert.ok(data.equals(BYTES), name);
  }
});

test("a reader of other making whose cancel throws, or gives no promise, ends with its stream", async (t) => {
  const { session, peer } = await openPair(t);
  for (const cancel of [() => undefined, () => { throw new Error("cannot"); }, async () => { throw new Error("cannot"); }]) {
    const controller = new AbortController();
    let cancelled = 0;
    const reader = { read: () => new Promise(() => {}), cancel: () => { cancelled++; return cancel(); } };
    const failed = rejection(session.transaction.Stream({ getReader: () => reader }, { signal: controller.signal }));
    await peer.next("TX_START");
    controller.abort();
    assert.equal((await failed).code, "ABORT_ERR");
    assert.equal(cancelled, 1);
  }
});

for (const [realm, classes] of Object.entries(REALMS)) {
  test(`bytes without their memory are refused with ERR_INVALID_STATE, and nothing is sent: ${realm}`, async (t) => {
    const { session, peer } = await openPair(t);
    for (const [name, make] of Object.entries(LOST_BYTES)) {
      const lost = make(classes);
      for (const refused of [
        session.base.SendBinary(lost),
        session.base.SendBinary(lost, { timeoutMs: 1000 }),
        session.transaction.Stream(lost),
      ]) {
        const error = await rejection(refused);
        assert.ok(error instanceof TypeError, `${name}: ${error}`);
        assert.equal(error.code, "ERR_INVALID_STATE", name);
      }
      const cancelled = peer.next("TX_CANCEL");
      const error = await rejection(session.transaction.Stream([BYTES, lost]));
      assert.equal(error.code, "ERR_INVALID_STATE", `${name}, as a chunk`);
      await cancelled;
    }
    await session.base.SendUTF8("as before");
    assert.deepEqual(peer.of("BINARYDATA"), []);
  });
}

test("bytes with no memory of their own but the empty one are sent", async (t) => {
  const { session, peer } = await openPair(t);
  for (const empty of [new Uint8Array(0), new Uint8Array(BYTES.buffer, 3, 0), new ArrayBuffer(0), new DataView(new ArrayBuffer(2), 2), new Float32Array(0)]) {
    await session.base.SendBinary(empty);
    assert.equal((await peer.next("BINARYDATA")).data.length, 0);
  }
});

test("what only looks like bytes is refused with ERR_INVALID_ARG_TYPE, by a promise", async (t) => {
  const { session, peer } = await openPair(t);
  const lookalikes = [
    new Proxy(Buffer.from("x"), {}), new Proxy(new ArrayBuffer(2), {}), Object.create(Uint8Array.prototype), Object.create(Buffer.prototype),
    { length: 1, 0: 1 }, "text", 1, null, undefined,
  ];
  for (const value of lookalikes) {
    const error = await rejection(session.base.SendBinary(value));
    assert.ok(error instanceof TypeError);
    assert.equal(error.code, "ERR_INVALID_ARG_TYPE");
  }
  for (const value of [1, "text", null, Symbol("s"), { arrayBuffer() {} }]) {
    const error = await rejection(session.transaction.Stream(value));
    assert.equal(error.code, "ERR_INVALID_ARG_TYPE", String(value));
  }
  await session.base.SendUTF8("as before");
  assert.deepEqual([peer.of("BINARYDATA"), peer.of("TX_START")], [[], []]);
});

test("a signal of other making aborts sends, streams, waits and connections, and is let go of", async (t) => {
  const { server, session, peer } = await openPair(t, { peer: { autoAck: false, autoInfo: false } });
  const silent = await startSilent(t);
  const starts = {
    SendUTF8: (signal) => session.base.SendUTF8("x", { signal }),
    SendBinary: (signal) => session.base.SendBinary(BYTES, { signal }),
    Stream: (signal) => session.transaction.Stream(new ReadableStream(), { signal }),
    WaitForStream: (signal) => session.transaction.WaitForStream("none", { signal }),
    ConnectPeer: (signal) => server.ConnectPeer(`ws://127.0.0.1:${silent}`, "T", { signal }),
  };
  peer.sendInfo();
  for (const [name, start] of Object.entries(starts)) {
    const signal = polyfilledSignal();
    const failed = rejection(start(signal));
    await eventually(() => signal.listeners === 1, 5000, `${name}: a listener`);
    const reason = new Error("enough");
    signal.abort(reason);
    const error = await failed;
    assert.deepEqual([error.name, error.code, error.cause], ["AbortError", "ABORT_ERR", reason], name);
    await eventually(() => signal.listeners === 0, 5000, `${name}: no listener`);
    assert.equal((await rejection(start({ aborted: true }))).code, "ABORT_ERR", `${name}, aborted before`);
  }
});

test("as a signal is taken and refused what Node's own functions take and refuse", async (t) => {
  const { session } = await openPair(t);
  const file = await tempFile(t, "content");
  const candidates = [undefined, new AbortController().signal, polyfilledSignal(), Object.assign(new EventTarget(), { aborted: false }), null, true, "signal", {}, new EventTarget(), () => {}];
  for (const signal of candidates) {
    const node = await readFile(file, { signal }).then(() => undefined, ({ code }) => code);
    for (const [name, start] of Object.entries({
      SendUTF8: () => session.base.SendUTF8("x", { signal }),
      SendError: () => session.base.SendError("x", { signal }),
      Stream: () => session.transaction.Stream(Buffer.alloc(0), { signal }),
    })) {
      const ours = await Promise.resolve(start()).then(() => undefined, ({ code }) => code);
      assert.equal(ours, node, `${name} with ${Object.prototype.toString.call(signal)}`);
    }
  }
});

test("a key and a certificate may be any view, of any realm; an ArrayBuffer is none, as in Node's tls", async (t) => {
  const pem = async (kind) => readFile(new URL(`support/tls/test-only.${kind}.pem`, import.meta.url));
  const [key, cert] = [await pem("key"), await pem("cert")];
  const views = {
    "a Uint8Array of another realm": (data) => Object.assign(foreign(`new Uint8Array(${data.length})`), data),
    "a DataView": (data) => new DataView(new Uint8Array(data).buffer),
    "a DataView of another realm": (data) => { context.bytes = new Uint8Array(data); return foreign("new DataView(new Uint8Array(bytes).buffer)"); },
    "a string": (data) => data.toString(),
  };
  for (const view of Object.values(views)) {
    const { port } = await startServer(t, { ssl: { key: view(key), cert: view(cert) } });
    await Peer.connect({ port, host: "localhost", tls: { ca: await readFile(new URL("support/tls/test-only.cert.pem", import.meta.url)) } });
  }
  for (const [wrong, code] of [[new Uint8Array(key).buffer, "ERR_INVALID_ARG_TYPE"], [1, "ERR_INVALID_ARG_TYPE"], [LOST_BYTES["a Uint8Array on transferred memory"](globalThis), "ERR_INVALID_STATE"]]) {
    assert.throws(() => CAMP({ validate: async () => true }, { port: 0, ssl: { key: wrong, cert } }), { name: "TypeError", code });
  }
});

test("a URL of other making names a file and a server", async (t) => {
  const running = await startServer(t);
  const { session, peer } = await openSession(running);
  const file = polyfilledUrl(pathToFileURL(await tempFile(t, BYTES)).href);
  const [{ data }] = await Promise.all([receivePush(peer), session.transaction.Stream({ path: file })]);
  assert.ok(data.equals(BYTES), fileURLToPath(file));
  const other = await running.server.ConnectPeer(polyfilledUrl(`ws://127.0.0.1:${running.port}`), "T");
  await other.Close();
  for (const wrong of [{}, { href: "ws://x" }, new Date()]) {
    await assertRefuses(() => running.server.ConnectPeer(wrong, "T"), TypeError, "a host");
  }
});

/** The port of a server that takes connections and never answers. */
async function startSilent(t) {
  const { createServer } = await import("node:net");
  const server = createServer((socket) => t.after(() => socket.destroy())).listen(0, "127.0.0.1");
  await within(once(server, "listening"), 5000, "listening");
  t.after(() => server.close());
  return server.address().port;
}

