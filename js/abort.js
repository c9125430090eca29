// Listeners of abort signals. Many sends may wait for one signal: of the eleventh listener Node would warn as of a leak,
// so each signal gets a single one, while somebody waits.

/** @type {WeakMap<AbortSignal, { actions: Set<() => void>, listener: () => void }>} */
const waiting = new WeakMap();

/**
 * Calls `action` once the signal is aborted, unless the function given back is called before.
 *
 * @param {AbortSignal} signal not yet aborted
 * @param {() => void} action must not throw, and be no other one's
 * @returns {() => void}
 */
export function onAbort(signal, action) {
  let entry = waiting.get(signal);
  if (entry === undefined) {
    /** @type {Set<() => void>} */
    const actions = new Set();
    entry = { actions, listener: () => actions.forEach((each) => each()) };
    waiting.set(signal, entry);
    signal.addEventListener("abort", entry.listener, { once: true });
  }
  const { actions, listener } = entry;
  actions.add(action);
  return () => {
    if (!actions.delete(action) || actions.size > 0) return;
    waiting.delete(signal);
    signal.removeEventListener("abort", listener);
  };
}
