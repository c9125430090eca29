// Bounded busy polling of the JavaScript thread (option `busyPollUs`): while records come closer
// together than a bound, the thread looks for the next one in each turn of its event loop instead
// of sleeping, which saves the time that waking it takes.

import { now as clock } from "./clock.js";

export class BusyPoll {
  #boundMs;
  #last = -Infinity;
  /** Whether the last two records came within the bound. */
  #close = false;

  /** @param {number} boundUs microseconds; 0: never */
  constructor(boundUs) {
    this.#boundMs = boundUs / 1000;
  }

  /** There was something to do. */
  onActivity() {
    if (this.#boundMs === 0) return;
    const now = clock();
    this.#close = now - this.#last <= this.#boundMs;
    this.#last = now;
  }

  /** Whether to go on looking. */
  get goesOn() {
    return this.#close && clock() - this.#last <= this.#boundMs;
  }
}
