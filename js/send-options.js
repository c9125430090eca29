// The bounds a caller puts on one send: a signal, a time.
import { clearTimeout, setTimeout } from "./clock.js";
import { onAbort } from "./abort.js";
import { abortError, ackTimeout, invalidArgument } from "./errors.js";
import { SEND_OPTIONS, checkNames } from "./option-names.js";
import { abortSignal, number } from "./options.js";

/** @typedef {import("../index.js").SendOptions} SendOptions */

/** Whether the caller has stopped waiting. @typedef {{ over: boolean }} Bounds */

/**
 * Sends within bounds.
 *
 * @param {SendOptions} options
 * @param {(bounds: Bounds) => Promise<void>} send
 */
export async function within(options, send) {
  const { signal, timeoutMs } = check(options);
  if (signal?.aborted) throw abortError(signal);
  const bounds = { over: false };
  const sent = send(bounds);
  /** @type {NodeJS.Timeout | undefined} */
  let timer;
  let forget = () => {};
  try {
    await new Promise((/** @type {(value: void) => void} */ resolve, reject) => {
      sent.then(resolve, reject);
      if (timeoutMs !== undefined) timer = setTimeout(() => reject(ackTimeout(timeoutMs)), timeoutMs);
      if (signal !== undefined) forget = onAbort(signal, () => reject(abortError(signal)));
    });
  } finally {
    bounds.over = true;
    clearTimeout(timer);
    forget();
  }
}

/**
 * @param {SendOptions} options
 * @returns {SendOptions}
 */
function check(options) {
  if (typeof options !== "object" || options === null) {
    throw invalidArgument("The options of a send must be an object.");
  }
  checkNames(/** @type {Record<string, unknown>} */ (options), SEND_OPTIONS);
  const { timeoutMs } = options;
  const signal = abortSignal(options.signal);
  if (timeoutMs !== undefined) number("timeoutMs", timeoutMs, 0, 1);
  return { signal, timeoutMs };
}
