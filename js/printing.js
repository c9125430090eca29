// What `console.log` and `JSON.stringify` show of the public objects: what a person wants to see, and no token.
import { inspect } from "node:util";

/** @typedef {import("node:util").InspectOptionsStylized} InspectOptions */

/**
 * Has the objects of a class shown by a summary: by `console.log` with the name of the class, by `JSON.stringify` with
 * bigints as strings.
 *
 * @template {object} T
 * @param {{ prototype: T }} ofClass
 * @param {string} name
 * @param {(object: T) => object} summarize
 */
export function printable({ prototype }, name, summarize) {
  Object.defineProperties(prototype, {
    [inspect.custom]: {
      /**
       * @this {T}
       * @param {number | null} depth
       * @param {InspectOptions} options
       */
      value(depth, options) {
        const summary = depth !== null && depth < 0 ? undefined : attempt(this, summarize);
        if (summary === undefined) return options.stylize(`[${name}]`, "special");
        return `${name} ${inspect(summary, /** @type {any} */ ({ ...options, depth }))}`;
      },
      configurable: true,
      writable: true,
    },
    toJSON: {
      /** @this {T} */
      value() {
        return plain(attempt(this, summarize) ?? {});
      },
      configurable: true,
      writable: true,
    },
  });
}

/**
 * @template T
 * @param {T} object
 * @param {(object: T) => object} summarize
 */
function attempt(object, summarize) {
  try {
    return summarize(object);
  } catch {
    // It is none of its class but by its prototype, as what tests put in place of one.
    return undefined;
  }
}

/**
 * With bigints as strings, as JSON has none.
 *
 * @param {any} value
 * @returns {unknown}
 */
function plain(value) {
  if (typeof value === "bigint") return String(value);
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, plain(one)]));
}
