// Time and turns of the event loop. Tests of applications replace these globals; what is here was taken before.
import timers from "node:timers";

export const { setTimeout, clearTimeout, setInterval, clearInterval, setImmediate } = timers;

export const nextTick = process.nextTick.bind(process);

/** Milliseconds since 1970, of now and of a date in words. */
export const { now: today, parse: parseDate } = Date;

/** Milliseconds, by a clock that only goes forward. */
export const now = performance.now.bind(performance);
