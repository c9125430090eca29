// What can be streamed to a peer, and the feeding of the native side with it.
import { Readable, Transform, finished } from "node:stream";
import { onAbort } from "./abort.js";
import { bytesOf, lengthOf } from "./bytes.js";
import { clearTimeout, setTimeout } from "./clock.js";
import { abortError, invalidArgument, invalidState, streamTimeout } from "./errors.js";
import { pathBytes, readRange } from "./file-source.js";
import { Behaviour, SourceKind } from "./numbers.js";
import { inThisContext } from "./scope.js";
import { WatchedPromise, isNobodysFault } from "./unheard.js";

/** Bytes handed over in one call at most. */
const PIECE = 256 * 1024;

/** Bytes that may be fed before the native side has said how many more it takes: as many as it lets go out unasked. */
const INITIAL_CREDIT = 1024 * 1024;

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
 * What the native side is told while one transaction is fed.
 *
 * @typedef {object} Sink
 * @property {(bytes: Uint8Array) => void} data copies the bytes
 * @property {() => void} end
 * @property {() => void} abort
 * @property {() => void} over nothing more comes from this transfer
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

/** One outgoing transaction: feeds what the source gives, no faster than it is taken. */
export class Transfer {
  #source;
  #sink;
  #call;
  #release;
  #forgetSignal = ignore;
  /** @type {NodeJS.Timeout | undefined} */
  #timer;
  #credit = INITIAL_CREDIT;
  /** Whether the source has been read to its end. */
  #read = false;
  #over = false;
  /** Continues the feeding that waits for credit. */
  #wake = ignore;
  /** @type {() => void} */
  #resolve = ignore;
  /** @type {(reason: unknown) => void} */
  #reject = ignore;

  /**
   * @param {Source} source
   * @param {Sink} sink
   * @param {{ name: string, signal?: AbortSignal | undefined, timeoutMs?: number | undefined }} settings
   * @param {import("./unheard.js").Call} call
   */
  constructor(source, sink, { name, signal, timeoutMs }, call) {
    this.#source = source;
    this.#sink = sink;
    this.#call = call;
    // Code of the application, whoever brings the end about.
    this.#release = inThisContext(source.release);
    /** @type {WatchedPromise<void>} */
    this.promise = new WatchedPromise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.promise._hush();
    if (signal !== undefined) this.#forgetSignal = onAbort(signal, () => this.#fail(abortError(signal)));
    if (timeoutMs !== undefined) this.#timer = setTimeout(() => this.#fail(streamTimeout(name, timeoutMs)), timeoutMs);
    source.watch?.((error) => this.#failed(error));
    if (source.kind === FILE) this.#read = true;
    else this.#feed();
  }

  /**
   * That many more bytes may be fed.
   *
   * @param {number} bytes
   */
  grant(bytes) {
    this.#credit += bytes;
    this.#wake();
  }

  /**
   * The native side is done with this transaction.
   *
   * @param {Error} [error] why it has failed
   * @param {boolean} [ofSource] whether that is the source's fault
   */
  settle(error, ofSource = false) {
    if (this.#over) return;
    this.#end();
    if (error === undefined) return this.#resolve();
    this.#reject(error);
    if (ofSource) this.promise._blame(error, this.#call);
  }

  /**
   * The source has failed: the caller's concern, unless it was told to.
   *
   * @param {unknown} error
   */
  #failed(error) {
    if (this.#over) return;
    this.#fail(error);
    if (!isNobodysFault(error)) this.promise._blame(error, this.#call);
  }

  /** @param {unknown} reason */
  #fail(reason) {
    if (this.#over) return;
    this.#sink.abort();
    this.#end();
    this.#reject(reason);
  }

  #end() {
    this.#over = true;
    clearTimeout(this.#timer);
    this.#sink.over();
    quietly(this.#forgetSignal);
    if (!this.#read) quietly(this.#release);
    this.#wake();
  }

  async #feed() {
    try {
      while (await this.#mayFeed()) {
        const bytes = await this.#source.next();
        if (this.#over) return;
        if (bytes === undefined) {
          this.#read = true;
          this.#sink.end();
          return;
        }
        await this.#pass(bytes);
      }
    } catch (error) {
      this.#failed(error);
    }
  }

  /** @param {Uint8Array} bytes */
  async #pass(bytes) {
    const length = lengthOf(bytes);
    let at = 0;
    while (at < length) {
      // No pause while there is credit: most chunks go out in one turn.
      if (this.#credit <= 0 && !(await this.#mayFeed())) return;
      if (lengthOf(bytes) !== length) throw invalidState("The bytes were resized or transferred while they were streamed.");
      const piece = bytes.subarray(at, at + Math.min(PIECE, this.#credit));
      this.#sink.data(piece);
      this.#credit -= piece.byteLength;
      at += piece.byteLength;
    }
  }

  /** Waits for credit. False: the transfer is over. */
  async #mayFeed() {
    while (this.#credit <= 0 && !this.#over) {
      await new Promise((resolve) => { this.#wake = () => resolve(undefined); });
    }
    this.#wake = ignore;
    return !this.#over;
  }
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

/**
 * Lets go of something of the application's, which is over for a reason of its own.
 *
 * @param {() => void} release
 */
function quietly(release) {
  try {
    release();
  } catch {
    // Nobody waits for it.
  }
}

function ignore() {}
