// What can be streamed to a peer.
import { Readable, Transform, finished } from "node:stream";
import { bytesOf, lengthOf } from "./bytes.js";
import { invalidArgument } from "./errors.js";
import { pathBytes, readRange } from "./file-source.js";
import { Behaviour, SourceKind } from "./numbers.js";
import { PIECE } from "./transfer.js";

/** Largest source that is offered for pulling from memory, in bytes; others go through a file. */
const IN_MEMORY_MAX = 4 * 1024 * 1024;

const UNKNOWN_SIZE = -1n;
const NO_PATH = new Uint8Array(0);

const { FED, FILE, MEMORY, SPOOL } = SourceKind;

/**
 * A source, whatever it is.
 *
 * @typedef {object} Source
 * @property {number} kind
 * @property {bigint} size in bytes, -1 when it is not known
 * @property {bigint} start first byte of a file
 * @property {bigint} end one past the last byte of a file
 * @property {Uint8Array} path of a file, which the native side reads by itself
 * @property {() => Uint8Array | undefined | Promise<Uint8Array | undefined>} next what comes next; undefined at the end
 * @property {() => void} release gives up a source that was not read to its end
 * @property {((onError: (error: unknown) => void) => void)} [watch] tells of an error when nobody reads
 */

/**
 * @param {any} source
 * @param {boolean} pull
 * @returns {Source}
 * @throws {TypeError | RangeError} it is nothing that can be streamed
 */
export function openSource(source, pull) {
  const bytes = bytesOf(source);
  if (bytes !== undefined) return bytesSource(bytes, pull);
  if (isBlob(source)) return blobSource(source, pull);
  if (typeof source === "object" && source !== null) {
    if (isNodeStream(source)) return nodeSource(source, pull);
    if (typeof source.getReader === "function") return webSource(source, pull);
    if (typeof source[Symbol.asyncIterator] === "function") return iteratorSource(source[Symbol.asyncIterator](), pull);
    if (typeof source[Symbol.iterator] === "function") return iteratorSource(source[Symbol.iterator](), pull);
    if (source.path !== undefined) return fileSource(source);
  }
  throw invalidArgument(`Stream takes a Readable, a ReadableStream, an iterable of bytes, bytes, a Blob or { path }, not ${nameOf(source)}.`);
}

/**
 * The source as it is offered when many are: from a file, where those that are offered from memory would fill it.
 *
 * @param {Source} source
 * @returns {Source}
 */
export function outOfMemory(source) {
  return source.kind === MEMORY ? { ...source, kind: SPOOL } : source;
}

/**
 * The order that opens a transaction.
 * `[key u32][behaviour u8][kind u8][0 u16][size i64][start u64][end u64][name length u32]`, name, path
 *
 * @param {number} key which the native side calls it by
 * @param {string} name
 * @param {boolean} pull
 * @param {Source} source
 */
export function openOrder(key, name, pull, { kind, size, start, end, path }) {
  const nameBytes = Buffer.from(name);
  const order = new Uint8Array(36 + nameBytes.length + path.length);
  const { buffer } = order;
  new Uint32Array(buffer, 0, 1)[0] = key;
  order[4] = pull ? Behaviour.PULL : Behaviour.PUSH;
  order[5] = kind;
  new BigInt64Array(buffer, 8, 1)[0] = size;
  new BigUint64Array(buffer, 16, 2).set([start, end]);
  new Uint32Array(buffer, 32, 1)[0] = nameBytes.length;
  order.set(nameBytes, 36);
  order.set(path, 36 + nameBytes.length);
  return order;
}

/**
 * @param {Uint8Array} bytes
 * @param {boolean} pull
 * @returns {Source}
 */
function bytesSource(bytes, pull) {
  /** @type {Uint8Array | undefined} */
  let rest = bytes;
  const next = () => {
    const all = rest;
    rest = undefined;
    return all;
  };
  return fed(pull, BigInt(lengthOf(bytes)), next, ignore);
}

/**
 * @param {Blob} blob
 * @param {boolean} pull
 * @returns {Source}
 */
function blobSource(blob, pull) {
  let at = 0;
  const next = async () => {
    if (at >= blob.size) return undefined;
    const piece = blob.slice(at, at + PIECE);
    at += PIECE;
    return toBytes(await piece.arrayBuffer());
  };
  return fed(pull, BigInt(blob.size), next, ignore);
}

/**
 * Its readable half is read to the end, and no more is done to it: what a Duplex has still to write is its
 * owner's. Not by the iterator of a stream, which destroys both halves.
 *
 * @param {Readable} stream
 * @param {boolean} pull
 * @returns {Source}
 */
function nodeSource(stream, pull) {
  /** @type {unknown} */
  let failure;
  /** The readable half is over, well or not. */
  let over = false;
  /** Nobody wants the rest. */
  let released = false;
  let wake = ignore;
  const onReadable = () => wake();
  let listening = false;
  const next = async () => {
    if (!listening) stream.on("readable", onReadable);
    listening = true;
    for (;;) {
      if (failure !== undefined) throw failure;
      const chunk = stream.destroyed ? null : stream.read();
      if (chunk !== null) return toBytes(chunk);
      if (over) return undefined;
      await new Promise((resolve) => { wake = () => resolve(undefined); });
    }
  };
  const release = () => {
    released = true;
    stream.off("readable", onReadable);
    if (!isOwnersToWrite(stream)) stream.destroy();
    // Its owner may still answer; what comes is discarded, so that the end is seen.
    else stream.resume();
  };
  const source = fed(pull, UNKNOWN_SIZE, next, release);
  // From now on, not only while it is read: an error without a listener would end the process.
  source.watch = (onError) => {
    const forget = finished(stream, { writable: false }, (error) => {
      over = true;
      if (error) failure = error;
      stream.off("readable", onReadable);
      // Errors of the other half are its owner's to hear.
      if (isOwnersToWrite(stream)) forget();
      wake();
      if (error && !released) onError(error);
    });
  };
  return source;
}

/**
 * Whether a stream has a half that is written independently of the one that is read, and not finished.
 *
 * @param {any} stream
 */
function isOwnersToWrite(stream) {
  if (typeof stream.write !== "function" || stream instanceof Transform || typeof stream._transform === "function") return false;
  const ending = stream.writableEnded === true && stream.writableFinished !== true;
  return !stream.destroyed && (stream.writable === true || ending);
}

/**
 * @param {ReadableStream} stream
 * @param {boolean} pull
 * @returns {Source}
 */
function webSource(stream, pull) {
  const reader = stream.getReader();
  const next = async () => {
    const { done, value } = await reader.read();
    if (!done) return toBytes(value);
    reader.releaseLock?.();
    return undefined;
  };
  const release = async () => {
    try {
      await reader.cancel();
    } catch {
      // The transfer has failed already, for a reason of its own.
    }
  };
  return fed(pull, UNKNOWN_SIZE, next, () => void release());
}

/**
 * @param {AsyncIterator<unknown> | Iterator<unknown>} iterator
 * @param {boolean} pull
 * @returns {Source}
 */
function iteratorSource(iterator, pull) {
  /** It has failed by itself: as in a loop, it is not told that nobody goes on. */
  let failed = false;
  const next = async () => {
    let result;
    try {
      result = await iterator.next();
    } catch (error) {
      failed = true;
      throw error;
    }
    return result.done ? undefined : toBytes(await result.value);
  };
  const release = async () => {
    if (failed) return;
    try {
      await iterator.return?.();
    } catch {
      // The transfer has failed already, for a reason of its own.
    }
  };
  return fed(pull, UNKNOWN_SIZE, next, () => void release());
}

/**
 * @param {{ path: unknown, start?: unknown, end?: unknown }} file
 * @returns {Source}
 */
function fileSource({ path, start, end }) {
  const bytes = pathBytes(path);
  return { kind: FILE, size: UNKNOWN_SIZE, ...readRange(start, end), path: bytes, next: () => undefined, release: ignore };
}

/**
 * A source that goes through JavaScript.
 *
 * @param {boolean} pull
 * @param {bigint} size
 * @param {Source["next"]} next
 * @param {() => void} release
 * @returns {Source}
 */
function fed(pull, size, next, release) {
  const small = size !== UNKNOWN_SIZE && size <= IN_MEMORY_MAX;
  const kind = !pull ? FED : small ? MEMORY : SPOOL;
  return { kind, size, start: 0n, end: 0n, path: NO_PATH, next, release };
}

/**
 * Node's, or one that a library or another realm has made.
 *
 * @param {any} source
 * @returns {source is Blob}
 */
function isBlob(source) {
  return typeof source === "object" && source !== null && /^(Blob|File)$/.test(source[Symbol.toStringTag])
    && typeof source.slice === "function" && typeof source.arrayBuffer === "function";
}

/** @param {any} source */
function isNodeStream(source) {
  return source instanceof Readable
    || (typeof source.pipe === "function" && typeof source.on === "function" && typeof source.read === "function"
      && typeof source.destroy === "function" && typeof source[Symbol.asyncIterator] === "function");
}

/**
 * @param {unknown} chunk
 * @returns {Uint8Array}
 */
function toBytes(chunk) {
  if (typeof chunk === "string") return Buffer.from(chunk);
  const bytes = bytesOf(chunk);
  if (bytes !== undefined) return bytes;
  throw invalidArgument(`A chunk of a stream must be bytes or a string, not ${nameOf(chunk)}.`);
}

/** @param {unknown} value */
function nameOf(value) {
  return value === null ? "null" : typeof value;
}

function ignore() {}
