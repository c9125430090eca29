// The `transaction` namespace of a session: byte streams in both directions.
import { EventEmitter } from "node:events";
import { Arrivals } from "./arrivals.js";
import { copyOf } from "./bytes.js";
import { abortError, incomingError, outgoingError, rejected, sessionClosed, transactionOver, streamCancelled } from "./errors.js";
import { TxEnd, TxOutcome } from "./numbers.js";
import { readStreamOptions, readWaitOptions, streamName } from "./options.js";
import { printable } from "./printing.js";
import { CAMPReadable, checkRange } from "./readable.js";
import { openOrder, openSource, outOfMemory } from "./sources.js";
import { Transfer, isCrowd } from "./transfer.js";
import { callOf, refused } from "./unheard.js";

/** @typedef {import("./session.js").CAMPServerWebsocketSession} Session */

/**
 * What the native side does for transactions, bound to one server; a session is named by its slot.
 *
 * @typedef {object} TransactionFunctions
 * @property {(slot: number, order: Uint8Array) => void} txOpen see `openOrder`
 * @property {(slot: number, key: number, bytes: Uint8Array) => void} txData
 * @property {(slot: number, key: number) => void} txEnd
 * @property {(slot: number, key: number) => void} txAbort
 * @property {(slot: number, key: number, start: bigint, end: bigint) => void} txFetch
 * @property {(slot: number, key: number, bytes: number) => void} txConsumed
 * @property {(slot: number, key: number) => void} txRefuse
 * @property {(slot: number, key: number) => void} txAsked somebody has asked for it, or nobody will any more
 */

export class CAMPTransaction extends EventEmitter {
  #session;
  #functions;
  /** Outgoing, by key. @type {Map<number, Transfer>} */
  #transfers = new Map();
  #nextKey = 0;
  /** Incoming that have not ended, by key. @type {Map<number, CAMPReadable>} */
  #incoming = new Map();
  /** Keys of those that came whole and are read after the session's end. @type {Set<number>} */
  #outliving = new Set();
  #arrivals = new Arrivals(({ _key }) => {
    this.#orderOfIncoming(_key, (native, slot) => native.txAsked(slot, _key));
    // At once: code that goes on in microtasks puts off the end of the tick, and what comes meanwhile is asked for.
    this.#session._server._exchange.flush();
  });
  /** Called once no transaction is under way. @type {(() => void)[]} */
  #onIdle = [];
  #wire;

  static {
    printable(CAMPTransaction, "CAMPTransaction", (transaction) => ({
      sid: transaction.#session.sid,
      outgoing: transaction.#transfers.size,
      incoming: transaction.#incoming.size,
    }));
  }

  /** @param {Session} session */
  constructor(session) {
    super({ captureRejections: true });
    this.#session = session;
    this.#functions = /** @type {TransactionFunctions} */ (/** @type {unknown} */ (session._server._functions));
    /** @type {import("./readable.js").Wire} */
    this.#wire = {
      consumed: (key, bytes) => this.#orderOfIncoming(key, (native, slot) => native.txConsumed(slot, key, bytes)),
      refuse: (key) => {
        this.#forget(this.#incoming, key);
        this.#orderOfIncoming(key, (native, slot) => native.txRefuse(slot, key));
      },
      fetch: (key, start, end) => {
        if (session._closed) return rejected(sessionClosed(session.sid));
        this.#functions.txFetch(session._slot, key, start, end);
        return session._sent();
      },
    };
  }

  /**
   * @param {unknown} source
   * @param {unknown} [options]
   * @returns {Promise<void>}
   */
  Stream(source, options) {
    let settings;
    let input;
    try {
      settings = readStreamOptions(options);
      input = openSource(source, settings.pull);
    } catch (error) {
      return refused(error, callOf("Stream", this.#session));
    }
    const { signal } = settings;
    if (this.#session._closed || signal?.aborted) {
      // Its errors are nobody's from now on, too.
      input.watch?.(() => {});
      input.release();
      return rejected(signal?.aborted ? abortError(signal) : sessionClosed(this.#session.sid));
    }
    const crowded = isCrowd(this.#transfers.size);
    if (crowded) input = outOfMemory(input);
    const key = this.#nextKey;
    this.#nextKey = (key + 1) >>> 0;
    const opening = openOrder(key, settings.name, settings.pull, input);
    this.#order((native, slot) => native.txOpen(slot, opening));
    const transfer = new Transfer(input, {
      data: (bytes) => this.#order((native, slot) => native.txData(slot, key, bytes)),
      end: () => this.#order((native, slot) => native.txEnd(slot, key)),
      abort: () => this.#order((native, slot) => native.txAbort(slot, key)),
      over: () => this.#forget(this.#transfers, key),
    }, settings, callOf("Stream", this.#session), crowded);
    this.#transfers.set(key, transfer);
    return transfer.promise;
  }

  /**
   * @param {string} [name]
   * @param {unknown} [timeout]
   * @returns {Promise<CAMPReadable>}
   */
  WaitForStream(name, timeout) {
    try {
      const wanted = streamName("name", name);
      const { timeoutMs, signal } = readWaitOptions(timeout);
      if (signal?.aborted) return rejected(abortError(signal));
      return this.#arrivals.wait(wanted, timeoutMs, signal);
    } catch (error) {
      return refused(error, callOf("WaitForStream", this.#session));
    }
  }

  /**
   * @param {CAMPReadable} readable
   * @param {bigint} start
   * @param {bigint} end
   * @returns {Promise<void>}
   */
  StreamRequestRange(readable, start, end) {
    try {
      const [first, past] = checkRange(readable, start, end);
      if (this.#session._closed) return rejected(sessionClosed(this.#session.sid));
      if (this.#incoming.get(readable._key) !== readable) return rejected(transactionOver(readable.txId));
      return readable._fetch(first, past);
    } catch (error) {
      return refused(error, callOf("StreamRequestRange", this.#session));
    }
  }

  /** @param {CAMPReadable} readable */
  Cancel(readable) {
    if (!(readable instanceof CAMPReadable)) throw new TypeError("Cancel takes a CAMPReadable.");
    readable.destroy(streamCancelled(readable.txId));
  }

  /**
   * A listener's promise was rejected.
   *
   * @param {unknown} error
   * @param {string | symbol} event
   */
  [Symbol.for("nodejs.rejection")](error, event) {
    this.#session._server._onListenerError(error, event, this.#session);
  }

  /**
   * @internal
   * @param {number} key
   * @param {number} txId
   * @param {number} behaviour
   * @param {bigint} size
   * @param {string} name
   */
  _started(key, txId, behaviour, size, name) {
    const known = name === "" ? "anonymous" : name;
    const readable = new CAMPReadable(this.#wire, key, txId, behaviour, size);
    this.#incoming.set(key, readable);
    if (this.listenerCount("tx-start") > 0) this.#emit("tx-start", txId, known);
    this.#arrivals.offer(known, readable);
  }

  /**
   * @internal
   * @param {number} key
   * @param {Buffer} bytes
   */
  _chunk(key, bytes) {
    const readable = this.#incoming.get(key);
    if (readable === undefined) return;
    readable._chunk(bytes);
    // What a listener does to its bytes must not reach the reader.
    if (this.listenerCount("tx-chunk") > 0) this.#emit("tx-chunk", readable.txId, copyOf(bytes));
  }

  /**
   * @internal
   * @param {number} key
   * @param {number} outcome
   * @param {number} expected
   * @param {number} received
   */
  _ended(key, outcome, expected, received) {
    const readable = this.#incoming.get(key);
    if (readable === undefined) return;
    const { txId } = readable;
    this.#forget(this.#incoming, key);
    if (outcome !== TxEnd.FINISHED) return readable._fail(incomingError(outcome, this.#session.sid, txId, expected, received));
    readable._finish();
    if (this.listenerCount("tx-finish") > 0) this.#emit("tx-finish", txId);
  }

  /**
   * @internal It came whole, and can be read after the session's end.
   * @param {number} key
   */
  _outlives(key) {
    this.#outliving.add(key);
  }

  /**
   * @internal Resolves once no transaction is under way, in either direction.
   * @returns {Promise<void>}
   */
  _whenIdle() {
    if (this.#transfers.size + this.#incoming.size === 0) return Promise.resolve();
    return new Promise((resolve) => { this.#onIdle.push(resolve); });
  }

  /** @internal */
  get _outlived() {
    return this.#outliving.size > 0;
  }

  /**
   * @internal
   * @param {number} key
   * @param {number} bytes
   */
  _granted(key, bytes) {
    this.#transfers.get(key)?.grant(bytes);
  }

  /**
   * @internal
   * @param {number} key
   * @param {number} outcome
   * @param {string} text
   */
  _settled(key, outcome, text) {
    const { sid, _server } = this.#session;
    const error = outcome === TxOutcome.DONE ? undefined : outgoingError(outcome, sid, _server._settings.ackTimeoutMs, text);
    this.#transfers.get(key)?.settle(error, outcome === TxOutcome.SOURCE_FAILED);
  }

  /**
   * @internal
   * @param {number} txId
   * @param {number} start
   * @param {number} end
   */
  _fetched(txId, start, end) {
    if (this.listenerCount("tx-fetch") > 0) this.#emit("tx-fetch", txId, BigInt(start), BigInt(end));
  }

  /**
   * @internal The session is over.
   * @param {Error} error
   */
  _end(error) {
    for (const transfer of [...this.#transfers.values()]) transfer.settle(error);
    for (const [key, readable] of this.#incoming) {
      if (this.#outliving.has(key)) continue;
      this.#forget(this.#incoming, key);
      readable._fail(error);
    }
    this.#arrivals.end(error);
  }

  /**
   * @internal The streams that outlived the session are over, too.
   * @param {Error} error
   */
  _gone(error) {
    this.#outliving.clear();
    for (const readable of this.#incoming.values()) readable._fail(error);
    this.#incoming.clear();
  }

  /**
   * @param {Map<number, unknown>} transactions
   * @param {number} key
   */
  #forget(transactions, key) {
    transactions.delete(key);
    if (this.#transfers.size + this.#incoming.size > 0) return;
    for (const resolve of this.#onIdle.splice(0)) resolve();
  }

  /**
   * @param {number} key
   * @param {(native: TransactionFunctions, slot: number) => void} order
   */
  #orderOfIncoming(key, order) {
    if (!this.#session._closed) return this.#order(order);
    if (!this.#outliving.has(key)) return;
    order(this.#functions, this.#session._slot);
    this.#session._server._exchange.schedule();
  }

  /** @param {(native: TransactionFunctions, slot: number) => void} order */
  #order(order) {
    const session = this.#session;
    if (session._closed) return;
    order(this.#functions, session._slot);
    session._server._exchange.schedule();
  }

  /**
   * @param {string} event
   * @param {unknown[]} args
   */
  #emit(event, ...args) {
    try {
      this.emit(event, ...args);
    } catch (error) {
      this.#session._server._onListenerError(error, event, this.#session);
    }
  }
}
