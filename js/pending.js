// The promises of sends that are under way.

/** Room to begin with. */
const CAPACITY = 16;

/** Room that is kept when nothing is under way. */
const KEPT = 128;

/** Room from which on it pays to look for promises that were overtaken by most others. */
const LARGE = 1024;

/** @type {((value?: any) => void) | undefined} */
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

/** Lets go of the send made last: it would keep its session alive until the next one. */
export function forgetLast() {
  lastResolve = lastPromise = lastPending = undefined;
}

/**
 * @typedef {object} Straggler
 * @property {Promise<void>} promise
 * @property {any} resolve
 * @property {((error: unknown) => void) | undefined} report
 */

/**
 * Promises by token: 0, 1, 2, … in the order of the sends, wrapping at 2^32 as the native side
 * counts them. They lie in a ring, the token's low bits being the index. One that has been overtaken by most others
 * lies apart, so that the ring is never much larger than what is under way.
 */
export class PendingSends {
  /** @type {(Promise<void> | undefined)[]} */
  #promises = new Array(CAPACITY);
  /** Of those that have a promise. To reject, they are given a rejected promise. @type {any[]} */
  #resolvers = new Array(CAPACITY);
  /** Who is told of a rejection, beside the promise. @type {(((error: unknown) => void) | undefined)[]} */
  #reports = new Array(CAPACITY);
  #mask = CAPACITY - 1;
  /** The oldest token that may have its promise in the ring. */
  #first = 0;
  #next = 0;
  /** How many wait, in the ring and apart. */
  #waiting = 0;
  /** Those before `#first`, by token. @type {Map<number, Straggler> | undefined} */
  #stragglers;

  /** The promise of the next send. */
  add() {
    if (((this.#next - this.#first) >>> 0) > this.#mask) this.#makeRoom();
    const index = this.#next & this.#mask;
    const promise = new Promise(capture);
    this.#promises[index] = promise;
    this.#resolvers[index] = lastResolve;
    this.#reports[index] = undefined;
    this.#next = (this.#next + 1) >>> 0;
    this.#waiting++;
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
    const stragglers = this.#stragglers;
    for (let i = 0; i < count; i++) {
      const token = (first + i) >>> 0;
      if (stragglers !== undefined && stragglers.size > 0) {
        const straggler = stragglers.get(token);
        if (straggler !== undefined) {
          stragglers.delete(token);
          this.#waiting--;
          straggler.resolve();
          continue;
        }
        if (!this.#inRing(token)) continue;
      }
      const index = token & this.#mask;
      if (this.#promises[index] === undefined) continue;
      const resolve = this.#resolvers[index];
      // It would keep the promise alive, and with it what it was rejected with.
      this.#promises[index] = this.#resolvers[index] = undefined;
      this.#waiting--;
      resolve();
    }
    this.#giveBack();
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
    for (let i = 0; i < count; i++) this.#settle((first + i) >>> 0, () => Promise.reject(error));
    this.#giveBack();
  }

  /**
   * Rejects everything that is left.
   *
   * @param {Error} error
   */
  rejectAll(error) {
    for (const token of this.#stragglers?.keys() ?? []) this.reject(token, 1, error);
    this.reject(this.#first, (this.#next - this.#first) >>> 0, error);
  }

  /** Whether no send waits. */
  get isSettled() {
    return this.#waiting === 0;
  }

  /** Resolves once every send so far is settled, whichever way. */
  settled() {
    const apart = [...(this.#stragglers?.values() ?? [])].map(({ promise }) => promise);
    return Promise.allSettled([...apart, ...this.#promises.filter((promise) => promise !== undefined)]);
  }

  /**
   * The earlier send shares the fate of the later one.
   *
   * @param {number} earlier
   * @param {number} later
   */
  join(earlier, later) {
    const fate = this.#inRing(later) ? this.#promises[later & this.#mask] : this.#stragglers?.get(later)?.promise;
    if (fate !== undefined) this.#settle(earlier, () => fate);
  }

  /**
   * Settles a send as a promise that is rejected, or may be.
   *
   * @param {number} token
   * @param {() => Promise<void>} fate
   */
  #settle(token, fate) {
    const { promise, resolve, report } = this.#take(token) ?? {};
    if (promise === undefined) return;
    promise.catch(report ?? ignore);
    resolve(fate());
  }

  /**
   * Removes a send.
   *
   * @param {number} token
   * @returns {Straggler | undefined}
   */
  #take(token) {
    const straggler = this.#stragglers?.get(token);
    if (straggler !== undefined) {
      this.#stragglers?.delete(token);
      this.#waiting--;
      return straggler;
    }
    if (!this.#inRing(token)) return undefined;
    const index = token & this.#mask;
    const promise = this.#promises[index];
    if (promise === undefined) return undefined;
    const straggling = { promise, resolve: this.#resolvers[index], report: this.#reports[index] };
    this.#promises[index] = this.#resolvers[index] = this.#reports[index] = undefined;
    this.#waiting--;
    return straggling;
  }

  /** @param {number} token */
  #inRing(token) {
    return ((token - this.#first) >>> 0) < ((this.#next - this.#first) >>> 0);
  }

  /** Moves past what is settled, sets apart what was overtaken, and doubles the ring if that was not enough. */
  #makeRoom() {
    const used = this.#used();
    const capacity = this.#mask + 1;
    if (used <= capacity / 2) return;
    if (capacity >= LARGE && this.#waiting - (this.#stragglers?.size ?? 0) <= capacity / 8) return this.#setApart();
    this.#resize(capacity * 2);
  }

  /** How many tokens the ring spans, from the oldest that waits. */
  #used() {
    while (this.#first !== this.#next && this.#promises[this.#first & this.#mask] === undefined) {
      this.#first = (this.#first + 1) >>> 0;
    }
    return (this.#next - this.#first) >>> 0;
  }

  /** Few of many are left in the ring. */
  #setApart() {
    const stragglers = (this.#stragglers ??= new Map());
    for (; this.#first !== this.#next; this.#first = (this.#first + 1) >>> 0) {
      const index = this.#first & this.#mask;
      const promise = this.#promises[index];
      if (promise === undefined) continue;
      stragglers.set(this.#first, { promise, resolve: this.#resolvers[index], report: this.#reports[index] });
      this.#promises[index] = this.#resolvers[index] = this.#reports[index] = undefined;
    }
  }

  /** Gives back what a burst has left, also if there is always something under way. */
  #giveBack() {
    if (this.#mask < KEPT) return;
    if (this.#waiting === 0) {
      this.#first = this.#next;
      this.#stragglers = undefined;
      this.#resize(CAPACITY);
    } else if (this.#mask >= LARGE && this.#waiting <= this.#mask / 16) {
      this.#shrink();
    }
  }

  /** Few wait in a large ring. */
  #shrink() {
    let used = this.#used();
    if (used > this.#mask / 4) {
      this.#setApart();
      used = 0;
    }
    let capacity = CAPACITY;
    while (capacity < 2 * used) capacity *= 2;
    this.#resize(capacity);
  }

  /** @param {number} capacity a power of two */
  #resize(capacity) {
    const mask = capacity - 1;
    const promises = new Array(capacity);
    const resolvers = new Array(capacity);
    const reports = new Array(capacity);
    for (let token = this.#first; token !== this.#next; token = (token + 1) >>> 0) {
      const promise = this.#promises[token & this.#mask];
      // What settles a promise keeps it alive.
      if (promise === undefined) continue;
      promises[token & mask] = promise;
      resolvers[token & mask] = this.#resolvers[token & this.#mask];
      reports[token & mask] = this.#reports[token & this.#mask];
    }
    this.#promises = promises;
    this.#resolvers = resolvers;
    this.#reports = reports;
    this.#mask = mask;
  }
}
