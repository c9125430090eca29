// Waiting with a deadline. Nothing in the tests waits without one.
import { setTimeout as sleep } from "node:timers/promises";

/** Deadlines only keep the tests from hanging: none is so short that a busy machine misses it. */
const LEAST_MS = 30_000;

/** Rejects when `promise` has not settled after `least` and LEAST_MS. */
export function within(promise, least, what) {
  const ms = Math.max(least, LEAST_MS);
  let timer;
  const deadline = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing within ${ms} ms`)), ms);
  });
  return Promise.race([promise, deadline]).finally(() => clearTimeout(timer));
}

/** The arguments of the emitter's next `event`. Does not take part in the `error` event. */
export function once(emitter, event, ms = 5000) {
  let listener;
  const happened = new Promise((resolve) => {
    listener = (...args) => resolve(args);
    emitter.once(event, listener);
  });
  return within(happened, ms, `event ${event}`).finally(() => emitter.removeListener(event, listener));
}

/** Polls `condition` for facts that no event announces. */
export async function eventually(condition, least = 5000, what = String(condition)) {
  const ms = Math.max(least, LEAST_MS);
  const end = Date.now() + ms;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > end) throw new Error(`${what}: not true within ${ms} ms`);
    await sleep(10);
  }
}

/** Whether `promise` is settled now, given the chance of one turn of the event loop. */
export async function isPending(promise) {
  const pending = Symbol("pending");
  const turn = new Promise((resolve) => setImmediate(resolve, pending));
  return (await Promise.race([promise.catch(() => {}), turn])) === pending;
}

export function deferred() {
  let resolve;
  let reject;
  const promise = new Promise((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}

/** Time has to pass: for the lower bounds and the "does not happen" facts only. */
export const delay = (ms) => sleep(ms);
