// One session, with a client or with another server.
import { EventEmitter } from "node:events";
import { CAMPBase } from "./base.js";
import { closedChannel, droppedChannel } from "./diagnostics.js";
import { MAX_PAYLOAD, ackTimeout, dropped, sessionClosed, transactionOver } from "./errors.js";
import { Listeners } from "./listeners.js";
import { Outcome } from "./numbers.js";
import { PendingSends } from "./pending.js";
import { printable } from "./printing.js";
import { CAMPTransaction } from "./transaction.js";
import { ReceiveQueue } from "./receive-queue.js";
import { SendQueue } from "./send-queue.js";
import { sessionStats } from "./stats.js";

/** @typedef {import("./server.js").CAMPWebsocketServer} Server */

const CAPTURE = { captureRejections: true };

const { DONE, TIMED_OUT, DROPPED, OVER } = Outcome;

const DATA_TYPES = ["utf8", "binary", "error"];

/** Close code of a session that ends in good order (protocol: session life). */
const GRACEFUL = 4000;

export class CAMPServerWebsocketSession extends EventEmitter {
  /** @type {CAMPBase | undefined} */
  #base;
  /** @type {CAMPTransaction | undefined} */
  #transaction;
  /** @type {Map<string, unknown> | undefined} */
  #store;
  /** @type {PendingSends | undefined} */
  #pending;
  /** @type {SendQueue | undefined} */
  #queue;
  /** @type {{ promise: Promise<void>, resolve: () => void } | undefined} */
  #closing;
  /** @type {ReceiveQueue | undefined} */
  #receiving;
  /** @type {Listeners | undefined} */
  #listeners;
  #token;
  #type;
  /** Final figures, once closed. */
  #rx = 0;
  #tx = 0;
  /** @type {number[] | undefined} */
  #figures;

  static {
    printable(CAMPServerWebsocketSession, "CAMPServerWebsocketSession", (session) => ({
      sid: session.sid,
      type: session.#type,
      remoteAddress: session._remoteAddress,
      state: session._closed ? "closed" : "open",
      rx: session.rx,
      tx: session.tx,
    }));
  }

  /**
   * @internal
   * @param {Server} server
   * @param {number} slot
   * @param {bigint} sid
   * @param {string} token
   * @param {string} remoteAddress
   * @param {"client" | "peer"} type whether it was accepted, or opened by `ConnectPeer`
   * @param {import("./scope.js").Scope} scope what its listeners and hooks run in
   */
  constructor(server, slot, sid, token, remoteAddress, type, scope) {
    super(CAPTURE);
    this.sid = sid;
    this._server = server;
    this._slot = slot;
    this._closed = false;
    /** Whether a send waits in the queue; then all that follow do. */
    this._sendsWait = false;
    this._remoteAddress = remoteAddress;
    this._scope = scope;
    this.#token = token;
    this.#type = type;
  }

  get id() {
    return this.sid;
  }

  get rx() {
    return this._closed ? this.#rx : this._server._native.counters(this._slot)[0];
  }

  get tx() {
    return this._closed ? this.#tx : this._server._native.counters(this._slot)[1];
  }

  stats() {
    return sessionStats(this.#figures ?? this._server._native.figures(this._slot));
  }

  get base() {
    return (this.#base ??= new CAMPBase(this));
  }

  get transaction() {
    if (this.#transaction === undefined) {
      this.#transaction = new CAMPTransaction(this);
      // Asked for too late: whoever waits for a stream must hear that none will come.
      if (this._closed) this.#transaction._end(sessionClosed(this.sid));
    }
    return this.#transaction;
  }

  /** The older name of `transaction`. */
  get stream() {
    return this.transaction;
  }

  /**
   * @param {string} key
   * @param {unknown} value
   */
  Set(key, value) {
    (this.#store ??= new Map()).set(key, value);
  }

  /** @param {string} key */
  Get(key) {
    const store = this.#store;
    if (store !== undefined && store.has(key)) return store.get(key);
    if (key === "__TYPE") return this.#type;
    if (key === "__TOKEN") return this.#token;
    return undefined;
  }

  /** @param {string} [reason] */
  Close(reason = "") {
    return this.#end(() => this._server._native.close(this._slot, closeReason(reason)));
  }

  /**
   * @param {number} [code]
   * @param {string} [message]
   */
  Destroy(code = GRACEFUL, message = "") {
    if (!isCloseCode(code)) {
      throw new RangeError(`The close code must be 1000 to 1014 as RFC 6455 allows, or 3000 to 4999, not ${code}.`);
    }
    return this.#end(() => this._server._native.destroy(this._slot, code, closeReason(message)));
  }

  [Symbol.asyncDispose]() {
    return this.Destroy();
  }

  /**
   * A listener's promise was rejected.
   *
   * @param {unknown} error
   * @param {string | symbol} event
   */
  [Symbol.for("nodejs.rejection")](error, event) {
    this._server._onListenerError(error, event, this);
  }

  /** @param {() => void} order */
  #end(order) {
    if (this._closed) return Promise.resolve();
    if (this._sendsWait) this._queue.last(() => this.#order(order));
    else this.#order(order);
    return this.#whenClosed();
  }

  /** @param {() => void} order */
  #order(order) {
    order();
    this._server._exchange.schedule();
  }

  #whenClosed() {
    if (this.#closing === undefined) {
      /** @type {() => void} */
      let resolve = () => {};
      /** @type {Promise<void>} */
      const promise = new Promise((r) => { resolve = r; });
      this.#closing = { promise, resolve };
    }
    return this.#closing.promise;
  }

  /** @internal The sends that wait for their hooks, or behind one that does. */
  get _queue() {
    return (this.#queue ??= new SendQueue(this));
  }

  /** @internal Resolves once the sends that wait were sent or given up. */
  _whenSent() {
    return this._queue.last(() => {}).catch(() => {});
  }

  /**
   * Closes once what was sent has been acknowledged, or given up, and transactions are over.
   *
   * @internal
   * @param {string} reason
   */
  async _drain(reason) {
    for (let busy = true; busy;) {
      if (this._sendsWait) await this._whenSent();
      await this.#pending?.settled();
      await this.#transaction?._whenIdle();
      busy = this._sendsWait || !(this.#pending?.isSettled ?? true);
    }
    await this.Close(reason);
  }

  /**
   * A message arrived that meets the receive hooks of this set.
   *
   * @internal
   * @param {number} set
   * @param {number} kind
   * @param {string | Buffer} message
   */
  _held(set, kind, message) {
    (this.#receiving ??= new ReceiveQueue(this)).add(set, kind, message);
  }

  /**
   * Hands a message to the listeners of its kind.
   *
   * @internal
   * @param {number} kind
   * @param {string | Buffer} message
   */
  _message(kind, message) {
    (this.#listeners ??= new Listeners(this)).call(kind, message);
  }

  /** @internal The promise of what was just sent. */
  _sent() {
    this._server._exchange.schedule();
    return (this.#pending ??= new PendingSends()).add();
  }

  /**
   * @internal
   * @param {number} first
   * @param {number} count
   * @param {number} outcome
   */
  _settle(first, count, outcome) {
    const pending = this.#pending;
    if (pending === undefined) return;
    if (outcome === DONE) return pending.resolve(first, count);
    const { ackTimeoutMs, dropPolicy } = this._server._settings;
    const error = outcome === TIMED_OUT ? ackTimeout(ackTimeoutMs)
      : outcome === DROPPED ? dropped(dropPolicy)
      : outcome === OVER ? transactionOver()
      : sessionClosed(this.sid);
    pending.reject(first, count, error);
  }

  /**
   * @internal
   * @param {number} earlier
   * @param {number} later
   */
  _join(earlier, later) {
    this.#pending?.join(earlier, later);
  }

  /**
   * Emits an event; a listener that throws is reported and stops nothing else.
   *
   * @internal
   * @param {string} event
   * @param {unknown} [value]
   */
  _emit(event, value) {
    try {
      if (value === undefined) this.emit(event);
      else this.emit(event, value);
    } catch (error) {
      this._server._onListenerError(error, event, this);
    }
  }

  /**
   * @internal
   * @param {number} kind
   * @param {number} bytes
   */
  _dropped(kind, bytes) {
    const frame = { type: DATA_TYPES[kind], bytes, policy: this._server._settings.dropPolicy };
    if (droppedChannel.hasSubscribers) droppedChannel.publish({ server: this._server, session: this, ...frame });
    this._emit("dropped", frame);
  }

  /**
   * @internal
   * @param {number} rtt
   * @param {number} rx
   * @param {number} tx
   * @param {number} ackTimeouts
   */
  _statistics(rtt, rx, tx, ackTimeouts) {
    this._emit("stat-rtt", rtt);
    this._emit("stat-bytes-rx", rx);
    this._emit("stat-bytes-tx", tx);
    this._emit("stat-ack-timeout", ackTimeouts);
  }

  /**
   * @internal
   * @param {number} rx
   * @param {number} tx
   * @param {number} code
   * @param {string} reason
   */
  _end(rx, tx, code, reason) {
    this.#figures = this._server._native.figures(this._slot);
    this._closed = true;
    this.#rx = rx;
    this.#tx = tx;
    // What was sent after the native side had closed is settled by nobody else.
    this.#pending?.rejectAll(sessionClosed(this.sid));
    this.#pending = undefined;
    this.#transaction?._end(sessionClosed(this.sid));
    this.#queue?.fail(sessionClosed(this.sid));
    this._server._ended(this);
    if (closedChannel.hasSubscribers) closedChannel.publish({ server: this._server, session: this, code, reason });
    this._emit("closed");
    this.#closing?.resolve();
  }

  /** @internal Streams that came whole are still being read when this session is over. */
  get _outlived() {
    return this.#transaction?._outlived ?? false;
  }

  /** @internal Nothing more comes of its streams. */
  _gone() {
    this.#transaction?._gone(sessionClosed(this.sid));
  }
}

/**
 * As much of a reason as can go out: no character has less than a byte. The core cuts it to the byte.
 *
 * @param {unknown} reason
 */
function closeReason(reason) {
  return String(reason).slice(0, MAX_PAYLOAD);
}

/**
 * Whether an endpoint may put this code into a close frame (RFC 6455, 7.4).
 *
 * @param {unknown} code
 */
function isCloseCode(code) {
  return typeof code === "number" && Number.isInteger(code)
    && ((code >= 1000 && code <= 1014 && code !== 1004 && code !== 1005 && code !== 1006)
      || (code >= 3000 && code <= 4999));
}
