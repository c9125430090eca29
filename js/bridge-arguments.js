// The arguments that methods of a socket take, as Node's own check them.
import { inspect } from "node:util";

/** What timers take at most. */
const MAX_TIMER_MS = 0x7fffffff;

/** What systems take at most. */
const MAX_KEEP_ALIVE_S = 32767;

/**
 * As Node's timers take it.
 *
 * @param {unknown} ms
 */
export function timerDelay(ms) {
  if (typeof ms !== "number") throw wrongType("msecs", "a number", ms);
  if (ms < 0 || !Number.isFinite(ms)) {
    const message = `The value of "msecs" is out of range. It must be a non-negative finite number. Received ${ms}`;
    throw Object.assign(new RangeError(message), { code: "ERR_OUT_OF_RANGE" });
  }
  return Math.min(ms, MAX_TIMER_MS);
}

/**
 * @param {string} name
 * @param {string} expected
 * @param {unknown} value
 */
function wrongType(name, expected, value) {
  const message = `The "${name}" argument must be ${expected}. Received ${inspect(value)}`;
  return Object.assign(new TypeError(message), { code: "ERR_INVALID_ARG_TYPE" });
}

/** @param {unknown} callback */
export function checkCallback(callback) {
  if (callback !== undefined && typeof callback !== "function") throw wrongType("callback", "a function", callback);
}

/**
 * Whole seconds, in milliseconds; 0: as the system has it.
 *
 * @param {number} ms
 */
export function keepAliveDelay(ms) {
  return Math.min(Math.max(~~(ms / 1000), 0), MAX_KEEP_ALIVE_S) * 1000;
}
