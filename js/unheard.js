// Promises of calls whose failure must not go unheard: what the caller has done wrong is reported if nobody asks.
import { setImmediate } from "./clock.js";
import { peek } from "./report.js";

/** @typedef {import("./server.js").CAMPWebsocketServer} Server */
/** @typedef {import("./session.js").CAMPServerWebsocketSession} Session */

/**
 * Who made a call.
 *
 * @typedef {object} Call
 * @property {string} name such as `"SendUTF8"`
 * @property {Server} server
 * @property {Session} [session]
 */

/** How a stream ends by the doing of the client that it comes from. */
const OF_CLIENTS = new Set(["ERR_CAMP_SESSION_CLOSED", "ERR_CAMP_CANCELLED", "ERR_CAMP_SIZE_MISMATCH", "ERR_CAMP_ACK_TIMEOUT"]);

/** By kind of message. */
const SENDS = ["SendUTF8", "SendBinary", "SendError"];

/** What `await`, `then`, `catch`, `Promise.all` and whatever else looks at a promise from outside all call. */
const { then } = Promise.prototype;

const ignore = () => {};

/**
 * A promise that knows whether anybody has asked for its outcome. `await` calls `then` of every promise that is
 * no plain one. What `then` makes of it is plain.
 *
 * @template T
 * @extends {Promise<T>}
 */
export class WatchedPromise extends Promise {
  #asked = false;

  /** @override */
  static get [Symbol.species]() {
    return Promise;
  }

  /**
   * @override
   * @param {any} [onFulfilled]
   * @param {any} [onRejected]
   * @returns {Promise<any>}
   */
  then(onFulfilled, onRejected) {
    this.#asked = true;
    return super.then(onFulfilled, onRejected);
  }

  /** @internal */
  get _asked() {
    return this.#asked;
  }

  /** @internal Has it never cause an `unhandledRejection`. */
  _hush() {
    then.call(this, undefined, ignore);
    return this;
  }

  /**
   * It was rejected by the caller's fault: reported, unless somebody asks before the event loop's next turn.
   *
   * @internal
   * @param {unknown} error
   * @param {Call} call
   */
  _blame(error, call) {
    if (!this.#asked) setImmediate(() => { if (!this.#asked) call.server._onUnheard(error, call.name, call.session); });
  }
}

/**
 * A call that is refused at once, by the caller's fault.
 *
 * @param {unknown} error
 * @param {Call} call
 * @returns {Promise<never>}
 */
export function refused(error, call) {
  const promise = /** @type {WatchedPromise<never>} */ (new WatchedPromise((_, reject) => reject(error)))._hush();
  promise._blame(error, call);
  return promise;
}

/**
 * The same outcome; a mistake of the caller's is reported if nobody asks for it. For promises that reject with errors
 * of this package alone.
 *
 * @template T
 * @param {Promise<T>} outcome
 * @param {Call} call
 * @returns {Promise<T>}
 */
export function heard(outcome, call) {
  /** @type {WatchedPromise<T>} */
  const promise = new WatchedPromise((resolve, reject) => {
    outcome.then(resolve, (error) => {
      reject(error);
      if (isMistake(error)) promise._blame(error, call);
    });
  });
  return promise._hush();
}

/**
 * Whether an error of this package says that a call was wrong as such, whatever the client did.
 *
 * @param {unknown} error
 */
export function isMistake(error) {
  try {
    return error instanceof TypeError || error instanceof RangeError || peek(error, "code") === "ERR_CAMP_PAYLOAD_TOO_LARGE";
  } catch {
    // None of this package's, then.
    return false;
  }
}

/**
 * Whether a source has failed because it was told to, or because it is the stream of a client that has given it up
 * or left.
 *
 * @param {unknown} error
 */
export function isNobodysFault(error) {
  return peek(error, "name") === "AbortError" || OF_CLIENTS.has(/** @type {string} */ (peek(error, "code")));
}

/**
 * The sending of a message.
 *
 * @param {number} kind
 * @param {Session} session
 * @returns {Call}
 */
export function sendOf(kind, session) {
  return callOf(SENDS[kind] ?? "", session);
}

/**
 * @param {string} name
 * @param {Session} session
 * @returns {Call}
 */
export function callOf(name, session) {
  return { name, server: session._server, session };
}
