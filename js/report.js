// What is printed to stderr, whatever it is and whatever has become of stderr.
import { print } from "./stderr.js";

/**
 * Prints; never throws.
 *
 * @param {string} what
 * @param {unknown[]} values of whatever kind: thrown by an application, they may throw when they are looked at
 */
export function report(what, ...values) {
  try {
    print(what, ...values);
  } catch {
    try {
      print(what, ...values.map(outline));
    } catch {
      // There is nowhere to say it.
    }
  }
}

/**
 * A property of something that may throw when it is looked at; `undefined` if it does.
 *
 * @param {any} value
 * @param {PropertyKey} key
 */
export function peek(value, key) {
  try {
    return value?.[key];
  } catch {
    return undefined;
  }
}

/**
 * What can be said of a value that cannot be printed.
 *
 * @param {unknown} value
 */
function outline(value) {
  const [name, message] = ["name", "message"].map((key) => peek(value, key)).map((part) => (typeof part === "string" ? part : ""));
  return `${name || typeof value}: ${message} (it cannot be printed in full)`;
}
