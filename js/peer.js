// Sessions that this server opens to other servers.
import { onAbort } from "./abort.js";
import { CAMPError, abortError, connectFailure, serverClosed } from "./errors.js";
import { readConnectOptions } from "./peer-options.js";
import { Scope } from "./scope.js";

/** @typedef {import("./session.js").CAMPServerWebsocketSession} Session */
/** @typedef {import("../index.js").ConnectPeerOptions} ConnectPeerOptions */

/**
 * A call of `ConnectPeer` that has not settled.
 *
 * @typedef {object} Attempt
 * @property {string} origin
 * @property {string} token
 * @property {Scope} scope of the session to be
 * @property {(session: Session) => void} resolve
 * @property {(error: Error) => void} reject
 */

/**
 * The server as seen from here.
 *
 * @typedef {object} Host
 * @property {(give: (native: import("../native.cjs").NativeServer) => void) => void} order
 * @property {number} timeoutMs the default
 * @property {(slot: number, sid: bigint, remote: string, token: string, scope: Scope, tell: (session: Session) => void) => Session} open
 */

export class Peers {
  #host;
  #nextId = 0;
  /** @type {Map<number, Attempt>} */
  #attempts = new Map();
  /** The live ones. @type {Set<Session>} */
  #sessions = new Set();

  /** @param {Host} host */
  constructor(host) {
    this.#host = host;
  }

  /** How many sessions are live. */
  get live() {
    return this.#sessions.size;
  }

  /** Whether there are none, and none are being opened. */
  get idle() {
    return this.#sessions.size === 0 && this.#attempts.size === 0;
  }

  /**
   * @param {string | URL} host
   * @param {string} bearer
   * @param {ConnectPeerOptions} [options]
   * @returns {Promise<Session>}
   */
  async connect(host, bearer, options) {
    const { target, signal } = readConnectOptions(host, bearer, options, this.#host.timeoutMs);
    if (signal?.aborted) throw abortError(signal);
    const id = this.#nextId++ >>> 0;
    let forget = () => {};
    try {
      return await new Promise((resolve, reject) => {
        this.#order(id, target);
        const scope = new Scope("CAMPSession");
        this.#attempts.set(id, { origin: target.origin, token: target.token, scope, resolve, reject });
        if (signal === undefined) return;
        forget = onAbort(signal, () => {
          this.#attempts.delete(id);
          this.#host.order((native) => native.abandon(id));
          reject(abortError(signal));
        });
      });
    } finally {
      forget();
    }
  }

  /**
   * A session is there. `undefined`: nobody wants it any more.
   *
   * @param {number} slot
   * @param {number} id
   * @param {bigint} sid
   * @param {string} remote
   */
  opened(slot, id, sid, remote) {
    const attempt = this.#attempts.get(id);
    if (attempt === undefined) {
      this.#host.order((native) => native.destroy(slot, 4000, ""));
      return undefined;
    }
    this.#attempts.delete(id);
    return this.#host.open(slot, sid, remote, attempt.token, attempt.scope, (session) => {
      this.#sessions.add(session);
      attempt.resolve(session);
    });
  }

  /**
   * @param {number} id
   * @param {number} failure one of ConnectFailure
   * @param {number} status of an HTTP answer
   * @param {string} text see `PeerFailed` in `src/node/record.rs`
   */
  failed(id, failure, status, text) {
    const attempt = this.#attempts.get(id);
    this.#attempts.delete(id);
    attempt?.reject(connectFailure(failure, status, attempt.origin, text));
  }

  /** @param {Session} session */
  ended(session) {
    this.#sessions.delete(session);
  }

  /** The server is over. */
  stopped() {
    for (const attempt of this.#attempts.values()) attempt.reject(serverClosed());
    this.#attempts.clear();
  }

  /**
   * @param {number} id
   * @param {import("../native.cjs").NativeTarget} target
   */
  #order(id, target) {
    let given = false;
    try {
      this.#host.order((native) => {
        native.connect(id, target);
        given = true;
      });
    } catch (error) {
      // What the native side finds wrong with `ca` or `servername`.
      throw error instanceof CAMPError ? error : new RangeError(/** @type {Error} */ (error).message, { cause: error });
    }
    if (!given) throw serverClosed();
  }
}
