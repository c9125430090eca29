// An incoming transaction, as a stream.
import { nextTick } from "./clock.js";
import { Readable } from "node:stream";
import { Behaviour } from "./numbers.js";
import { printable } from "./printing.js";

/** Who decides when bytes flow (protocol: TX_START, behaviour). */
export const CAMP_FLOW_BEHAVIOUR = Object.freeze({ TX_PUSH: Behaviour.PUSH, TX_PULL: Behaviour.PULL });

const HIGH_WATER_MARK = 64 * 1024;

/** Bytes taken by the reader that are reported at once; less is reported when nothing is left to take. */
const REPORT = 64 * 1024;

const DEFAULT_PULL_WINDOW = 1024 * 1024;

/** Taken chunks at the front of the queue that are worth moving the others for. */
const COMPACT = 1024;

/**
 * What a stream asks of its session.
 *
 * @typedef {object} Wire
 * @property {(key: number, bytes: number) => void} consumed
 * @property {(key: number) => void} refuse
 * @property {(key: number, start: bigint, end: bigint) => Promise<void>} fetch
 */

export class CAMPReadable extends Readable {
  #wire;
  /** What Node's buffer had no room for, from `#head` on. @type {Buffer[]} */
  #queue = [];
  #head = 0;
  #queued = 0;
  #received = 0;
  #pushed = 0;
  /** How much of it the reader has taken, as far as reported. */
  #reported = 0;
  /** Node's buffer has room. */
  #wanted = false;
  /** Somebody has begun to read. */
  #begun = false;
  #ticking = false;
  /** No more comes from the session. */
  #over = false;
  /** The sender has finished. */
  #finished = false;
  #endPushed = false;
  /** @type {Error | undefined} */
  #failure;
  /** Bytes asked for, and the end of the furthest range. */
  #asked = 0n;
  #askedTo = 0n;
  /** Bytes were asked for out of order, maybe twice: their number does not tell what is missing. */
  #disorder = false;
  /** Most bytes to be asked for ahead of the reader; 0 while it asks by itself. */
  #pullWindow = 0n;

  /**
   * @internal
   * @param {Wire} wire
   * @param {number} key
   * @param {number} txId
   * @param {number} behaviour
   * @param {bigint} size
   */
  constructor(wire, key, txId, behaviour, size) {
    super({ highWaterMark: HIGH_WATER_MARK });
    // A client that vanishes must not end a process whose code has no listener for errors:
    // `for await`, `pipeline` and listeners learn of it, nobody else has to.
    this.on("error", () => {});
    this.#wire = wire;
    /** @internal Its name for the native side. */
    this._key = key;
    this.txId = txId;
    /** @type {bigint | null} */
    this.byteLength = size < 0n ? null : size;
    /** @type {0 | 1} */
    this.behaviour = behaviour === CAMP_FLOW_BEHAVIOUR.TX_PULL ? 1 : 0;
  }

  getReceivedBytes() {
    return BigInt(this.#received);
  }

  getRemainingBytes() {
    if (this.byteLength === null) return null;
    const remaining = this.byteLength - BigInt(this.#received);
    return remaining > 0n ? remaining : 0n;
  }

  isComplete() {
    if (this.byteLength === null) return this.#finished;
    if (this.getRemainingBytes() !== 0n) return false;
    return this.#finished || (!this.#over && !this.#disorder);
  }

  getProgress() {
    if (this.byteLength === null) return null;
    return this.byteLength === 0n ? 1 : Math.min(1, this.#received / Number(this.byteLength));
  }

  isPull() {
    return this.behaviour === CAMP_FLOW_BEHAVIOUR.TX_PULL;
  }

  isPush() {
    return this.behaviour === CAMP_FLOW_BEHAVIOUR.TX_PUSH;
  }

  /** @param {number} [windowBytes] */
  autoPull(windowBytes = DEFAULT_PULL_WINDOW) {
    if (!this.isPull()) throw new TypeError("autoPull is for pull transactions; this one is push.");
    if (typeof windowBytes !== "number") throw new TypeError(`windowBytes must be a number, not ${typeof windowBytes}.`);
    if (!Number.isSafeInteger(windowBytes) || windowBytes < 1) {
      throw new RangeError(`windowBytes must be a whole number of at least 1, not ${windowBytes}.`);
    }
    this.#pullWindow = BigInt(windowBytes);
    this.#pullMore();
    return this;
  }

  /**
   * All reading passes here: what the reader has taken is known exactly.
   *
   * @override
   * @param {number} [size]
   */
  read(size) {
    const chunk = super.read(size);
    this.#account();
    return chunk;
  }

  /** @override */
  _read() {
    this.#begun = true;
    this.#wanted = true;
    if (this.#failure !== undefined) this.destroy(this.#failure);
    else this.#pump();
  }

  /**
   * @override
   * @param {Error | null} error
   * @param {(error?: Error | null) => void} callback
   */
  _destroy(error, callback) {
    this.#discard();
    if (!this.#over) {
      this.#over = true;
      this.#wire.refuse(this._key);
    }
    callback(error);
  }

  /** @internal Whether it has nothing to give but an error. */
  get _hasFailed() {
    return this.#failure !== undefined || this.destroyed;
  }

  /** @internal The code of that error. */
  get _failureCode() {
    return /** @type {NodeJS.ErrnoException | undefined} */ (this.#failure)?.code ?? "";
  }

  /** @internal Bytes that lie here and in Node's buffer. */
  get _held() {
    return this.#queued + this.readableLength;
  }

  /**
   * @internal
   * @param {Buffer} bytes
   */
  _chunk(bytes) {
    if (bytes.length === 0) return;
    this.#received += bytes.length;
    this.#queued += bytes.length;
    this.#queue.push(bytes);
    if (this.#wanted) this.#pumpSoon();
  }

  /** @internal The sender has finished. */
  _finish() {
    this.#over = true;
    this.#finished = true;
    this.#pumpSoon();
  }

  /**
   * It ends with an error: at once when somebody reads or listens for errors, otherwise when
   * somebody does. Nobody's stream must not end the process.
   *
   * @internal
   * @param {Error} error
   */
  _fail(error) {
    this.#over = true;
    this.#failure = error;
    this.#discard();
    if (this.#begun || this.listenerCount("error") > 1) this.destroy(error);
  }

  /**
   * @internal Asks the sender for a range.
   * @param {bigint} start
   * @param {bigint} end
   */
  _fetch(start, end) {
    const stop = this.byteLength !== null && end > this.byteLength ? this.byteLength : end;
    if (start < this.#askedTo) this.#disorder = true;
    if (stop > this.#askedTo) this.#askedTo = stop;
    this.#asked += stop - start;
    return this.#wire.fetch(this._key, start, stop);
  }

  /** Not in the batch of records itself: a listener of `data` that throws is none of its business. */
  #pumpSoon() {
    if (this.#ticking) return;
    this.#ticking = true;
    nextTick(() => {
      this.#ticking = false;
      this.#pump();
    });
  }

  /** Moves to Node's buffer what it has room for. */
  #pump() {
    while (this.#wanted && this.#queued > 0) {
      const bytes = this.#takeFirst();
      this.#pushed += bytes.length;
      // `push` may call `_read`, which sets this again.
      this.#wanted = false;
      if (this.push(bytes)) this.#wanted = true;
    }
    if (this.#finished && this.#queued === 0 && !this.#endPushed && !this.destroyed) {
      this.#endPushed = true;
      this.push(null);
    }
    this.#account();
  }

  #takeFirst() {
    const bytes = /** @type {Buffer} */ (this.#queue[this.#head]);
    this.#head++;
    this.#queued -= bytes.length;
    if (this.#queued === 0) this.#discard();
    else if (this.#head === COMPACT) {
      this.#queue.splice(0, COMPACT);
      this.#head = 0;
    }
    return bytes;
  }

  #discard() {
    this.#queue = [];
    this.#head = 0;
    this.#queued = 0;
  }

  /** Reports what the reader has taken: that much more may come. */
  #account() {
    if (this.#over) return;
    const taken = this.#pushed - this.readableLength;
    const unreported = taken - this.#reported;
    if (unreported <= 0) return;
    if (unreported < REPORT && this._held > 0) return;
    this.#reported = taken;
    this.#wire.consumed(this._key, unreported);
    this.#pullMore();
  }

  /** Asks for the next range, once half of the window is free. */
  #pullMore() {
    if (this.#pullWindow === 0n || this.#over || this.byteLength === null) return;
    const remaining = this.byteLength - this.#askedTo;
    const free = this.#pullWindow - (this.#asked - BigInt(this.#reported));
    if (remaining <= 0n || free <= 0n) return;
    if (free * 2n < this.#pullWindow && free < remaining) return;
    const length = free < remaining ? free : remaining;
    this._fetch(this.#askedTo, this.#askedTo + length).catch((error) => {
      if (this.#over) return;
      this.#wire.refuse(this._key);
      this._fail(error);
    });
  }
}

printable(CAMPReadable, "CAMPReadable", (readable) => ({
  txId: readable.txId,
  behaviour: readable.isPull() ? "pull" : "push",
  byteLength: readable.byteLength,
  receivedBytes: readable.getReceivedBytes(),
  complete: readable.isComplete(),
  destroyed: readable.destroyed,
  ...(readable._failureCode && { error: readable._failureCode }),
}));

/**
 * A range that can be asked for.
 *
 * @param {CAMPReadable} readable
 * @param {bigint | number} start
 * @param {bigint | number} end
 * @returns {[start: bigint, end: bigint]}
 * @throws {TypeError | RangeError}
 */
export function checkRange(readable, start, end) {
  if (!(readable instanceof CAMPReadable)) throw new TypeError("StreamRequestRange takes a CAMPReadable.");
  if (!readable.isPull()) throw new TypeError("Ranges are for pull transactions; this one is push.");
  const [first, past] = [start, end].map((value) => {
    if (typeof value === "bigint") return value;
    if (typeof value === "number" && Number.isSafeInteger(value)) return BigInt(value);
    throw new TypeError(`start and end must be bigints, not ${typeof value}.`);
  });
  const size = readable.byteLength;
  if (first === undefined || past === undefined || first < 0n || first >= past || past >= 2n ** 64n || (size !== null && first >= size)) {
    throw new RangeError(`The range ${start} to ${end} is not within the ${size} bytes of the transaction, or is empty.`);
  }
  return [first, past];
}
