// The exchange with a native server: what is sent in a tick is handed over at its end, and what has happened is taken
// in batches.
import { BusyPoll } from "./busy-poll.js";
import { nextTick, setImmediate } from "./clock.js";
import { forgetLast } from "./pending.js";
import { MORE, NOTHING } from "./records.js";

/** @typedef {import("./native.js").NativeFunctions} NativeFunctions */
/** @typedef {import("./records.js").Records} Records */

export class Exchange {
  #busy;
  /** @type {NativeFunctions} */
  #functions = /** @type {any} */ (undefined);
  /** @type {Records} */
  #records = /** @type {any} */ (undefined);
  /** Whether something was sent that was not handed over yet. */
  #unflushed = false;
  #dispatching = false;
  #over = false;
  #flush = () => this.flush();

  /** @param {number} busyPollUs */
  constructor(busyPollUs) {
    this.#busy = new BusyPoll(busyPollUs);
  }

  /**
   * Before the first record.
   *
   * @param {NativeFunctions} functions
   * @param {Records} records
   */
  begin(functions, records) {
    this.#functions = functions;
    this.#records = records;
  }

  /** Sees to it that what was sent in this tick is handed over. */
  schedule() {
    if (this.#unflushed) return;
    this.#unflushed = true;
    if (!this.#dispatching) nextTick(this.#flush);
  }

  /**
   * Gives an order, unless it is too late.
   *
   * @param {() => void} order
   */
  order(order) {
    if (this.#over) return;
    order();
    this.schedule();
  }

  /** Hands over what was sent. */
  flush() {
    if (!this.#unflushed) return;
    this.#unflushed = false;
    forgetLast();
    this.#functions.flush();
  }

  /** The last records were taken. What was ordered before is still handed over. */
  end() {
    this.#over = true;
    this.flush();
  }

  /** Takes what has happened. Called when there is something. */
  dispatch = () => {
    this.#dispatching = true;
    // Whatever throws, what is left is come back for.
    let goesOn = true;
    try {
      const busy = this.#busy.goesOn;
      const found = this.#records.dispatch(busy);
      if (found !== NOTHING) this.#busy.onActivity();
      goesOn = busy || found === MORE;
    } finally {
      this.#dispatching = false;
      if (goesOn) setImmediate(this.dispatch);
      this.flush();
    }
  };
}
