// The streams that arrived and those who wait for them.
import { clearTimeout, setTimeout } from "./clock.js";
import { onAbort } from "./abort.js";
import { abortError, rejected, waitTimeout } from "./errors.js";

/** @typedef {import("./readable.js").CAMPReadable} CAMPReadable */

/** Milliseconds that a stream nobody has asked for is kept. */
const KEPT_MS = 10000;

/** Bounds of what is kept at once for a session: streams, and bytes at which no more streams are. */
const KEPT_MAX = 1024;
const KEPT_BYTES_MAX = 16 * 1024 * 1024;

/** Why a stream that nobody had asked for has ended, where whoever asks for it is to learn that. */
const OWN_FAULTS = ["ERR_CAMP_STREAM_OVERFLOW", "ERR_CAMP_SPOOL_FAILED"];

/**
 * @typedef {{ name: string, readable: CAMPReadable, timer: NodeJS.Timeout }} Kept
 * @typedef {{ name: string, take: (readable: CAMPReadable) => void, giveUp: (reason: unknown) => void }} Waiter
 */

/** Brings together the streams that arrive and those who wait for them, by name and in order. */
export class Arrivals {
  /** @type {Queues<Kept>} */
  #kept = new Queues();
  /** @type {Queues<Waiter>} */
  #waiters = new Queues();
  /** @type {Error | undefined} */
  #ended;
  #onLeave;

  /** @param {(readable: CAMPReadable) => void} onLeave called once for each stream: it is somebody's, or nobody's for good */
  constructor(onLeave) {
    this.#onLeave = onLeave;
  }

  /**
   * @param {string} name
   * @param {CAMPReadable} readable
   */
  offer(name, readable) {
    const waiter = this.#waiters.first(name);
    if (waiter !== undefined) {
      this.#onLeave(readable);
      return waiter.take(readable);
    }
    if (this.#isFull()) {
      this.#onLeave(readable);
      readable.destroy();
      return;
    }
    const giveUp = () => {
      this.#kept.remove(kept);
      this.#onLeave(readable);
      readable.destroy();
    };
    /** @type {Kept} */
    const kept = { name, readable, timer: setTimeout(giveUp, KEPT_MS).unref() };
    this.#kept.add(kept);
  }

  /**
   * @param {string} name
   * @param {number} timeoutMs
   * @param {AbortSignal} [signal]
   * @returns {Promise<CAMPReadable>}
   */
  wait(name, timeoutMs, signal) {
    for (let kept = this.#kept.first(name); kept !== undefined; kept = this.#kept.first(name)) {
      clearTimeout(kept.timer);
      this.#kept.remove(kept);
      this.#onLeave(kept.readable);
      // One that its sender cancelled before anybody asked is not worth having.
      const { _hasFailed, _failureCode } = kept.readable;
      if (!_hasFailed || OWN_FAULTS.includes(_failureCode)) return Promise.resolve(kept.readable);
    }
    if (this.#ended !== undefined) return rejected(this.#ended);
    /** @type {Promise<CAMPReadable>} */
    const promise = new Promise((resolve, reject) => {
      const done = () => {
        clearTimeout(timer);
        forget();
        this.#waiters.remove(waiter);
      };
      /** @type {Waiter} */
      const waiter = {
        name,
        take: (readable) => {
          done();
          resolve(readable);
        },
        giveUp: (reason) => {
          done();
          reject(reason);
        },
      };
      const timer = timeoutMs === Infinity ? undefined : setTimeout(() => waiter.giveUp(waitTimeout(name, timeoutMs)), timeoutMs);
      const forget = signal === undefined ? () => {} : onAbort(signal, () => waiter.giveUp(abortError(signal)));
      this.#waiters.add(waiter);
    });
    promise.catch(() => {});
    return promise;
  }

  /**
   * No more streams arrive. Those that arrived whole can still be asked for.
   *
   * @param {Error} error
   */
  end(error) {
    this.#ended = error;
    for (const waiter of this.#waiters.items) waiter.giveUp(error);
    for (const kept of this.#kept.items) {
      if (!kept.readable._hasFailed) continue;
      clearTimeout(kept.timer);
      this.#kept.remove(kept);
    }
  }

  #isFull() {
    const { items } = this.#kept;
    if (items.size >= KEPT_MAX) return true;
    let bytes = 0;
    for (const { readable } of items) bytes += readable._held;
    return bytes >= KEPT_BYTES_MAX;
  }
}

/**
 * First in, first out, for each name.
 *
 * @template {{ name: string }} T
 */
class Queues {
  /** All of them. @type {Set<T>} */
  items = new Set();
  /** @type {Map<string, Set<T>>} */
  #byName = new Map();

  /** @param {T} item */
  add(item) {
    this.items.add(item);
    const queue = this.#byName.get(item.name);
    if (queue === undefined) this.#byName.set(item.name, new Set([item]));
    else queue.add(item);
  }

  /** @param {T} item */
  remove(item) {
    this.items.delete(item);
    const queue = this.#byName.get(item.name);
    queue?.delete(item);
    if (queue?.size === 0) this.#byName.delete(item.name);
  }

  /** @param {string} name */
  first(name) {
    return this.#byName.get(name)?.values().next().value;
  }
}
