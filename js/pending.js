// The promises of sends that are under way.

const CAPACITY = 16;

/** @type {(value?: any) => void} */
let lastResolve;

/**
 * Hands out what a promise is settled with, without a closure of its own for each.
 *
 * @param {(value?: any) => void} resolve
 */
function capture(resolve) {
  lastResolve = resolve;
}

function ignore() {}

/** The promise made last, and what it is one of. @type {Promise<void> | undefined} */
let lastPromise;
/** @type {PendingSends | undefined} */
let lastPending;

/**
 * Has a rejection of `promise` reported, without a reaction of its own, if it is that of the send made last. False:
 * it is another.
 *
 * @param {unknown} promise
 * @param {(error: unknown) => void} report
 */
export function reportRejection(promise, report) {
  return promise === lastPromise && lastPending !== undefined && lastPending.reportLast(report);
}

/**
 * Promises by token: 0, 1, 2, … in the order of the sends, wrapping at 2^32 as the native side
 * counts them. They lie in a ring, the token's low bits being the index.
 */
export class PendingSends {
  /** @type {(Promise<void> | undefined)[]} */
  #promises = new Array(CAPACITY);
  /** Undefined only before its first use. To reject, they are given a rejected promise. @type {any[]} */
  #resolvers = new Array(CAPACITY);
  /** Who is told of a rejection, beside the promise. @type {(((error: unknown) => void) | undefined)[]} */
  #reports = new Array(CAPACITY);
  #mask = CAPACITY - 1;
  /** The oldest token that may be unsettled. */
  #first = 0;
  #next = 0;

  /** The promise of the next send. */
  add() {
    if (((this.#next - this.#first) >>> 0) > this.#mask) this.#makeRoom();
    const index = this.#next & this.#mask;
    const promise = new Promise(capture);
    this.#promises[index] = promise;
    this.#resolvers[index] = lastResolve;
    this.#reports[index] = undefined;
    this.#next = (this.#next + 1) >>> 0;
    lastPromise = promise;
    lastPending = this;
    return promise;
  }

  /**
   * Has a rejection of the promise made last reported. False if it is settled, or if somebody else has asked for it.
   *
   * @param {(error: unknown) => void} report
   */
  reportLast(report) {
    const index = (this.#next - 1) & this.#mask;
    if (this.#promises[index] === undefined || this.#reports[index] !== undefined) return false;
    this.#reports[index] = report;
    return true;
  }

  /**
   * @param {number} first
   * @param {number} count
   */
  resolve(first, count) {
    for (let i = 0; i < count; i++) {
      const index = (first + i) & this.#mask;
      if (this.#promises[index] === undefined) continue;
      this.#promises[index] = undefined;
      this.#resolvers[index]();
    }
  }

  /**
   * Rejects without ever causing an `unhandledRejection`: a caller that did not keep the promise
   * did not ask to know.
   *
   * @param {number} first
   * @param {number} count
   * @param {Error} error
   */
  reject(first, count, error) {
    for (let i = 0; i < count; i++) {
      const index = (first + i) & this.#mask;
      const promise = this.#promises[index];
      if (promise === undefined) continue;
      this.#promises[index] = undefined;
      promise.catch(this.#reports[index] ?? ignore);
      this.#resolvers[index](Promise.reject(error));
    }
  }

  /**
   * Rejects everything that is left.
   *
   * @param {Error} error
   */
  rejectAll(error) {
    this.reject(this.#first, (this.#next - this.#first) >>> 0, error);
  }

  /** Whether no send waits. */
  get isSettled() {
    return this.#promises.every((promise) => promise === undefined);
  }

  /** Resolves once every send so far is settled, whichever way. */
  settled() {
    return Promise.allSettled(this.#promises.filter((promise) => promise !== undefined));
  }

  /**
   * The earlier send shares the fate of the later one.
   *
   * @param {number} earlier
   * @param {number} later
   */
  join(earlier, later) {
    const from = later & this.#mask;
    const to = earlier & this.#mask;
    const promise = this.#promises[to];
    const fate = this.#promises[from];
    if (promise === undefined || fate === undefined) return;
    this.#promises[to] = undefined;
    promise.catch(this.#reports[to] ?? ignore);
    this.#resolvers[to](fate);
  }

  /** Moves past what is settled, and doubles the ring if that was not enough. */
  #makeRoom() {
    while (this.#first !== this.#next && this.#promises[this.#first & this.#mask] === undefined) {
      this.#first = (this.#first + 1) >>> 0;
    }
    const used = (this.#next - this.#first) >>> 0;
    if (used <= this.#mask >>> 1) return;
    const mask = this.#mask * 2 + 1;
    const promises = new Array(mask + 1);
    const resolvers = new Array(mask + 1);
    const reports = new Array(mask + 1);
    for (let i = 0; i < used; i++) {
      const token = (this.#first + i) >>> 0;
      promises[token & mask] = this.#promises[token & this.#mask];
      resolvers[token & mask] = this.#resolvers[token & this.#mask];
      reports[token & mask] = this.#reports[token & this.#mask];
    }
    this.#promises = promises;
    this.#resolvers = resolvers;
    this.#reports = reports;
    this.#mask = mask;
  }
}
