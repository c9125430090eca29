// What `{ path, start, end }` says, checked as `fs.createReadStream` checks it.
import { isAbsolute, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { types } from "node:util";

const TO_THE_END = 2n ** 64n - 1n;

/** Longest path that is tried, in characters or bytes; no system takes one as long. */
const MAX_PATH = 64 * 1024;

const WINDOWS = process.platform === "win32";

/**
 * A path for the native side: absolute as of now, and otherwise as it was given. Neither `..` nor a slash at the end
 * is taken away, which may mean something else where there are links.
 *
 * @param {unknown} path
 * @returns {Uint8Array}
 * @throws {TypeError} it is no path
 */
export function pathBytes(path) {
  const given = types.isUint8Array(path) ? Buffer.from(path) : textOf(path);
  if (given.length === 0) throw invalidType("path", "a path or a file URL", "empty");
  if (given.includes("\0")) {
    throw coded(new TypeError("path must not contain null bytes."), "ERR_INVALID_ARG_VALUE");
  }
  if (given.length > MAX_PATH) {
    throw coded(new Error(`ENAMETOOLONG: name too long, open '${given.slice(0, 200)}…'`), "ENAMETOOLONG");
  }
  if (WINDOWS) return Buffer.from(resolve(String(given)));
  if (typeof given !== "string") return given[0] === 0x2f ? given : Buffer.concat([Buffer.from(process.cwd() + sep), given]);
  return Buffer.from(isAbsolute(given) ? given : process.cwd() + sep + given);
}

/**
 * Positions of the first byte and behind the last.
 *
 * @param {unknown} start
 * @param {unknown} end the last byte; `undefined`, `null` and `Infinity` are the file's
 * @returns {{ start: bigint, end: bigint }}
 * @throws {TypeError | RangeError} they are no positions, or in the wrong order
 */
export function readRange(start, end) {
  const first = start === undefined ? 0n : position("start", start);
  const past = end === undefined || end === null || end === Infinity ? TO_THE_END : position("end", end) + 1n;
  if (first >= past) {
    throw coded(new RangeError(`start must not be behind end, which is ${past - 1n}, but is ${first}.`), "ERR_OUT_OF_RANGE");
  }
  return { start: first, end: past };
}

/** @param {unknown} path */
function textOf(path) {
  if (typeof path === "string") return path;
  if (typeof path !== "object" || path === null || !("href" in path)) throw invalidType("path", "a path or a file URL", nameOf(path));
  return fileURLToPath(/** @type {URL} */ (path));
}

/**
 * @param {string} name
 * @param {unknown} value
 */
function position(name, value) {
  if (typeof value !== "number" && typeof value !== "bigint") throw invalidType(name, "a number or bigint", nameOf(value));
  const valid = typeof value === "bigint" ? value >= 0n && value < TO_THE_END : Number.isSafeInteger(value) && value >= 0;
  if (!valid) throw coded(new RangeError(`${name} must be a whole number of at least 0, not ${value}.`), "ERR_OUT_OF_RANGE");
  return BigInt(value);
}

/**
 * @param {string} name
 * @param {string} expected
 * @param {string} actual
 */
function invalidType(name, expected, actual) {
  return coded(new TypeError(`${name} must be ${expected}, not ${actual}.`), "ERR_INVALID_ARG_TYPE");
}

/**
 * @param {Error} error
 * @param {string} code as Node's
 */
function coded(error, code) {
  return Object.assign(error, { code });
}

/** @param {unknown} value */
function nameOf(value) {
  return value === null ? "null" : typeof value;
}
