// Streams at both ends: sources of every kind for the server, the raw peer's side of a transaction, temporary files.
import assert from "node:assert/strict";
import { createCipheriv, createHash } from "node:crypto";
import { mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { deferred, within } from "./wait.mjs";

export const KIB = 1024;
export const MIB = 1024 * KIB;
export const PUSH = 0;
export const PULL = 1;
export const SIZES = [0, 1, 65_535, MIB, 8 * MIB + 1];

/** Bytes that differ everywhere and from seed to seed, the same in every run. */
export function payload(size, seed = 1) {
  return createCipheriv("aes-128-ctr", Buffer.alloc(16, seed), Buffer.alloc(16)).update(Buffer.alloc(size));
}

export const sha256 = (data) => createHash("sha256").update(data).digest("hex");

/** By their digests: a failure must not print megabytes. */
export function assertSameBytes(actual, expected, what = "data") {
  assert.equal(actual.length, expected.length, `${what}: length`);
  assert.equal(sha256(actual), sha256(expected), `${what}: SHA-256`);
}

/** `data` in pieces of uneven sizes, some of them tiny; views, no copies. */
export function pieces(data) {
  const sizes = [1, 70_000, 4096, 300_000, 17];
  const parts = [];
  for (let at = 0, i = 0; at < data.length; i++) {
    const part = data.subarray(at, at + sizes[i % sizes.length]);
    parts.push(part);
    at += part.length;
  }
  return parts;
}

async function* later(parts) {
  for (const [i, part] of parts.entries()) {
    if (i % 3 === 0) await new Promise(setImmediate);
    yield part;
  }
}

/** Every kind of source: `make(t, data)`; `sized` ones are announced with their size when pushed. */
export const SOURCES = {
  "a Node Readable": { sized: false, make: (_t, data) => Readable.from(pieces(data), { objectMode: false }) },
  "a web ReadableStream": { sized: false, make: (_t, data) => webStream(pieces(data)) },
  "an async iterable": { sized: false, make: (_t, data) => later(pieces(data)) },
  "an iterable": { sized: false, make: (_t, data) => pieces(data).map((part) => new Uint8Array(part)) },
  "a Buffer": { sized: true, make: (_t, data) => data },
  "a TypedArray on a part of its buffer": {
    sized: true,
    make: (_t, data) => {
      const whole = new Uint8Array(data.length + 20).fill(0xee);
      whole.set(data, 10);
      return whole.subarray(10, 10 + data.length);
    },
  },
  "a Blob": { sized: true, make: (_t, data) => new Blob([data.subarray(0, 100), data.subarray(100)]) },
  "a file": { sized: true, make: async (t, data) => ({ path: await tempFile(t, data) }) },
};

export function webStream(parts, onCancel = () => {}) {
  const rest = [...parts];
  return new ReadableStream({
    pull(controller) {
      if (rest.length === 0) controller.close();
      else controller.enqueue(new Uint8Array(rest.shift()));
    },
    cancel: onCancel,
  });
}

/** A Readable that gives `parts` and then nothing more, neither an end. */
export function openEnded(parts = [payload(1000)]) {
  const source = new Readable({ read() {} });
  for (const part of parts) source.push(part);
  return source;
}

/** Yields the same 64 KiB, `total` bytes of them; `state.produced` tells how far its reader is. */
export async function* counted(total, state) {
  const block = Buffer.alloc(64 * KIB, 0x5a);
  for (state.produced = 0; state.produced < total;) {
    const part = block.subarray(0, Math.min(block.length, total - state.produced));
    state.produced += part.length;
    yield part;
  }
}

export async function tempDirectory(t) {
  const directory = await mkdtemp(join(tmpdir(), "camp-test-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

export async function tempFile(t, data) {
  const path = join(await tempDirectory(t), "source.bin");
  await writeFile(path, data);
  return path;
}

/** A file of zeros that takes no room, but for `marks`: pairs of position and bytes. */
export async function sparseFile(t, size, marks = []) {
  const path = await tempFile(t, "");
  const file = await open(path, "r+");
  try {
    await file.truncate(size);
    for (const [at, data] of marks) await file.write(data, 0, data.length, at);
  } finally {
    await file.close();
  }
  return path;
}

// The peer receives.

export const takeStart = (peer, ms = 5000) => peer.next("TX_START", ms);

export const takeFinish = (peer, txId, ms = 20_000) =>
  peer.next((frame) => frame.type === "TX_FINISH" && frame.txId === txId, ms);

export const takeCancel = (peer, txId, ms = 5000) =>
  peer.next((frame) => frame.type === "TX_CANCEL" && frame.txId === txId, ms);

export const chunksOf = (peer, txId) => peer.of("TX_CHUNK").filter((chunk) => chunk.txId === txId);

export const bytesOf = (chunks) => chunks.reduce((sum, { data }) => sum + data.length, 0);

/** Checks that the chunks follow each other from `start` on, none too large, and returns their bytes. */
export function joinChunks(chunks, start = 0) {
  let offset = BigInt(start);
  for (const [i, chunk] of chunks.entries()) {
    assert.equal(chunk.offset, offset, `offset of chunk ${i}`);
    assert.ok(chunk.data.length <= 256 * KIB, `chunk ${i} has ${chunk.data.length} bytes`);
    offset += BigInt(chunk.data.length);
  }
  return Buffer.concat(chunks.map(({ data }) => data));
}

/** A whole push, the next one (of that name), from its TX_START to its TX_FINISH: `{ start, finish, data }`. */
export async function receivePush(peer, { name, ms = 20_000 } = {}) {
  const start = await peer.next((frame) => frame.type === "TX_START" && (name === undefined || frame.name === name), ms);
  const finish = await takeFinish(peer, start.txId, ms);
  const after = peer.frames.indexOf(finish);
  const chunks = chunksOf(peer, start.txId);
  assert.ok(chunks.every((chunk) => peer.frames.indexOf(chunk) < after), "a chunk after TX_FINISH");
  return { start, finish, data: joinChunks(chunks) };
}

/** Asks for a range and waits until `length` bytes of the transaction have come: they must be that range. */
export async function fetchRange(peer, txId, start, end, { length = Number(BigInt(end) - BigInt(start)), ms = 10_000 } = {}) {
  const before = chunksOf(peer, txId).length;
  const ack = sendFetch(peer, txId, start, end);
  await peer.until(() => bytesOf(chunksOf(peer, txId).slice(before)) >= length, ms, `range ${start} to ${end}`);
  const data = joinChunks(chunksOf(peer, txId).slice(before), start);
  assert.equal(data.length, length, `bytes for ${start} to ${end}`);
  await peer.acked(ack);
  return data;
}

// The peer sends.

export const sendChunk = (peer, txId, offset, data) => peer.send({ type: "TX_CHUNK", txId, offset, data });
export const sendFinish = (peer, txId) => peer.sendTracked({ type: "TX_FINISH", txId });
export const sendCancel = (peer, txId) => peer.sendTracked({ type: "TX_CANCEL", txId });
export const sendFetch = (peer, txId, start, end) => peer.sendTracked({ type: "TX_FETCH", txId, start, end });

/** `data` as chunks; `offsetOf(chunk number, position, length)` for clients that number them otherwise. */
export async function sendChunks(peer, txId, data, { at = 0, chunkSize = 64 * KIB, offsetOf = (_n, position) => position } = {}) {
  for (let from = 0, n = 0; from < data.length; n++) {
    const part = data.subarray(from, from + chunkSize);
    sendChunk(peer, txId, offsetOf(n, at + from, part.length), part);
    from += part.length;
    await peer.drained(4 * MIB);
  }
}

/** A whole push: TX_START, chunks, TX_FINISH. `size` is the announced one. */
export async function sendPush(peer, { txId = 0, name = "anonymous", data, size = BigInt(data.length), ...chunking }) {
  const ack = peer.sendTxStart({ txId, name, size, behaviour: PUSH });
  await sendChunks(peer, txId, data, chunking);
  return { ack, finish: sendFinish(peer, txId) };
}

/**
 * Serves the fetches for a pull transaction until everything has been asked for, as a correct sender does; with
 * `eager` as the published ones do: TX_FINISH as soon as a fetch reaches the size. Returns the ranges asked for.
 */
export function servePull(peer, options) {
  const serving = serve(peer, options);
  // A test that fails before it looks here has failed already.
  serving.catch(() => {});
  return serving;
}

async function serve(peer, { txId = 0, data, chunkSize = 64 * KIB, eager = false, ms = 20_000 }) {
  const ranges = [];
  let over = data.length === 0;
  while (!over) {
    const { start, end } = await peer.next((frame) => frame.type === "TX_FETCH" && frame.txId === txId, ms);
    const [from, to] = [Number(start), Math.min(Number(end), data.length)];
    ranges.push([from, to]);
    await sendChunks(peer, txId, data.subarray(from, to), { at: from, chunkSize });
    over = eager ? to === data.length : covers(ranges, data.length);
  }
  sendFinish(peer, txId);
  return ranges;
}

function covers(ranges, size) {
  let covered = 0;
  for (const [from, to] of ranges.toSorted(([a], [b]) => a - b)) if (from <= covered) covered = Math.max(covered, to);
  return covered === size;
}

/** Everything the readable gives, as one Buffer. */
export function readAll(readable, ms = 20_000) {
  const read = async () => {
    const parts = [];
    for await (const part of readable) parts.push(part);
    return Buffer.concat(parts);
  };
  return within(read(), ms, "end of the stream");
}

/** The error the readable ends with; a clean end is a failure. Reads on unless told not to. */
export function streamError(readable, { ms = 5000, read = true } = {}) {
  const found = deferred();
  if (readable.errored) found.resolve(readable.errored);
  readable.once("error", found.resolve);
  readable.once("end", () => found.reject(new Error("the stream ended cleanly")));
  readable.once("close", () => found.reject(new Error("the stream closed without an error")));
  if (read) readable.resume();
  return within(found.promise, ms, "error of the stream");
}
