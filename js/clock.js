// Time and turns of the event loop. Tests of applications replace these globals; what is here was taken before.
import timers from "node:timers";

export const { setTimeout, clearTimeout, setInterval, clearInterval, setImmediate } = timers;

export const nextTick = process.nextTick.bind(process);

/** Milliseconds, by a clock that only goes forward. */
export const now = performance.now.bind(performance);
