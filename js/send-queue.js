// The sends of one session that wait: for their hooks, or behind one that does.
import { clearTimeout, setTimeout } from "./clock.js";
import { dropped, rejected, sessionClosed } from "./errors.js";
import { WatchedPromise, isMistake, sendOf } from "./unheard.js";

/** @typedef {import("../index.js").ICAMPExtension} Extension */
/** @typedef {import("./session.js").CAMPServerWebsocketSession} Session */

/** Milliseconds that closing waits for the hooks of what was sent before. */
const CLOSE_PATIENCE = 5000;

/** @type {Extension[]} */
const NO_EXTENSIONS = [];

/** The kind of what is no message. */
const NO_MESSAGE = -1;

/**
 * @typedef {object} Entry
 * @property {Extension[]} extensions
 * @property {number} kind of message; `NO_MESSAGE` is never dropped
 * @property {number} bytes that it counts
 * @property {{ value: any }} box
 * @property {(value: any) => void | PromiseLike<void>} send called at its turn
 * @property {() => void} resolve
 * @property {(error: unknown) => void} reject
 * @property {(error: unknown) => void} fail rejects, and reports what is a mistake of the caller's or of a hook
 * @property {Entry | undefined} next
 */

/**
 * First in, first out, whatever time the hooks take. While it is not empty every send goes through it. Of messages it
 * holds no more than could be on their way without hooks; then the drop policy rules.
 */
export class SendQueue {
  #session;
  /** @type {Entry | undefined} */
  #first;
  /** @type {Entry | undefined} */
  #last;
  /** Whether the hooks of the first entry are under way. */
  #running = false;
  #pumping = false;
  /** Messages that wait, and their bytes. */
  #messages = 0;
  #bytes = 0;
  /** @type {Set<NodeJS.Timeout>} */
  #timers = new Set();

  /** @param {Session} session */
  constructor(session) {
    this.#session = session;
  }

  /**
   * A message: `send` gets what its hooks leave of the value, unless they suppress it.
   *
   * @param {number} kind
   * @param {unknown} value
   * @param {(value: any) => Promise<void>} send
   * @returns {Promise<void>}
   */
  message(kind, value, send) {
    const bytes = sizeOf(value);
    if (!this.#makeRoom(bytes)) return rejected(this.#dropped(kind, bytes));
    return this.#add(this.#session._server._extensions.sending(kind), kind, bytes, value, send);
  }

  /**
   * Something without hooks.
   *
   * @param {() => void | PromiseLike<void>} send
   * @returns {Promise<void>}
   */
  plain(send) {
    return this.#add(NO_EXTENSIONS, NO_MESSAGE, 0, undefined, send);
  }

  /**
   * The end of the session, or something before it: the hooks get a bounded time. What still waits
   * after it is not sent, and the promise rejects.
   *
   * @param {() => void} end
   */
  last(end) {
    const timer = setTimeout(() => {
      this.fail(sessionClosed(this.#session.sid));
      end();
    }, CLOSE_PATIENCE);
    this.#timers.add(timer);
    return this.plain(() => {
      clearTimeout(timer);
      this.#timers.delete(timer);
      end();
    });
  }

  /**
   * Gives up everything that waits.
   *
   * @param {Error} error
   */
  fail(error) {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    for (let entry = this.#first; entry !== undefined; entry = entry.next) entry.reject(error);
    this.#first = this.#last = undefined;
    this.#messages = this.#bytes = 0;
    this.#running = false;
    this.#session._sendsWait = false;
  }

  /**
   * @param {Extension[]} extensions
   * @param {number} kind
   * @param {number} bytes
   * @param {unknown} value
   * @param {(value: any) => void | PromiseLike<void>} send
   * @returns {Promise<void>}
   */
  #add(extensions, kind, bytes, value, send) {
    /** @type {WatchedPromise<void>} */
    const promise = new WatchedPromise((/** @type {(value: void) => void} */ resolve, reject) => {
      const fail = (/** @type {unknown} */ error) => {
        reject(error);
        if (isMistake(error)) promise._blame(error, sendOf(kind, this.#session));
      };
      const entry = { extensions, kind, bytes, box: { value }, send, resolve, reject, fail, next: undefined };
      this.#count(entry, 1);
      if (this.#last === undefined) this.#first = entry;
      else this.#last.next = entry;
      this.#last = entry;
    });
    promise._hush();
    this.#session._sendsWait = true;
    this.#pump();
    return promise;
  }

  /**
   * Whether there is room for a message of that size, where need be in the place of older ones.
   *
   * @param {number} bytes
   */
  #makeRoom(bytes) {
    const { maxHooked, maxHookedBytes, dropPolicy } = this.#session._server._settings;
    const isFull = () => this.#messages >= maxHooked || this.#bytes + bytes > maxHookedBytes;
    while (isFull()) {
      if (this.#messages === 0) return true;
      if (dropPolicy !== "drop-oldest" || !this.#dropOldest()) return false;
    }
    return true;
  }

  /** Gives up the oldest message whose hooks have not begun. False if there is none. */
  #dropOldest() {
    for (let before = this.#first; before?.next !== undefined; before = before.next) {
      const entry = before.next;
      if (entry.kind === NO_MESSAGE) continue;
      before.next = entry.next;
      if (this.#last === entry) this.#last = before;
      this.#count(entry, -1);
      entry.reject(this.#dropped(entry.kind, entry.bytes));
      return true;
    }
    return false;
  }

  /**
   * @param {number} kind
   * @param {number} bytes
   */
  #dropped(kind, bytes) {
    this.#session._dropped(kind, bytes);
    return dropped(this.#session._server._settings.dropPolicy);
  }

  /**
   * @param {Entry} entry
   * @param {1 | -1} sign
   */
  #count({ kind, bytes }, sign) {
    if (kind === NO_MESSAGE) return;
    this.#messages += sign;
    this.#bytes += sign * bytes;
  }

  #pump() {
    if (this.#pumping) return;
    this.#pumping = true;
    while (this.#first !== undefined && !this.#running) this.#run(this.#first);
    this.#pumping = false;
    if (this.#first === undefined) this.#session._sendsWait = false;
  }

  /** @param {Entry} entry the first */
  #run(entry) {
    this.#running = true;
    const { extensions, kind, box } = entry;
    this.#session._server._extensions.runSend(extensions, this.#session, kind, box, (passed) => {
      // The session may have ended meanwhile.
      if (this.#first !== entry) return;
      this.#running = false;
      this.#count(entry, -1);
      this.#first = entry.next;
      if (this.#first === undefined) this.#last = undefined;
      if (passed) new Promise((sent) => sent(entry.send(box.value))).then(() => entry.resolve(), entry.fail);
      else entry.resolve();
      this.#pump();
    });
  }
}

/**
 * About how many bytes a message has.
 *
 * @param {unknown} value
 */
function sizeOf(value) {
  return typeof value === "string" ? value.length : ArrayBuffer.isView(value) ? value.byteLength : 0;
}
