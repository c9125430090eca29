// Checks the options of a server and completes them with their defaults.
import { invalidArgument } from "./errors.js";
import { BACKPRESSURE_OPTIONS, SERVER_OPTIONS, STREAM_OPTIONS, WAIT_OPTIONS, checkNames } from "./option-names.js";
import { isShared } from "./shared-port.js";
import { readSsl } from "./tls-options.js";

/** @typedef {import("../index.js").ICAMPWebsocketServerOptions} Options */
/** @typedef {import("../index.js").BackpressureOpts} BackpressureOpts */
/** @typedef {import("../native.cjs").NativeOptions} NativeOptions */

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;

/** Longest time a timer can be set to, in milliseconds. */
const MAX_MS = 2147483647;

/** Largest number the system call takes; it uses less. */
const MAX_BACKLOG = 2147483647;

/** At the places that the native side numbers them with. */
const POLICIES = /** @type {const} */ (["drop-oldest", "drop-newest", "dedupe-latest"]);

/** @type {Record<string, BackpressureOpts>} */
const PROFILES = {
  default: backpressure(16 * MIB, MIB, 8 * MIB, 1024),
  optimize_latency: backpressure(512 * KIB, 128 * KIB, 4 * MIB, 512),
  optimize_memory: backpressure(256 * KIB, 64 * KIB, 2 * MIB, 256),
};

/** Longest name of a transaction, in bytes (protocol: CAMP_MAX_NAME). */
const MAX_NAME = 1024;

/** The older spelling of each backpressure option. */
const LEGACY = /** @type {const} */ ({
  highWaterMark: "HIGH_WATERMARK",
  lowWaterMark: "LOW_WATERMARK",
  maxQueuedBytes: "MAX_QUEUED_BYTES",
  maxQueueCount: "MAX_QUEUE_SIZE",
  dropPolicy: "DROP_POLICY",
});

/**
 * @param {Options} [options]
 * @returns {NativeOptions}
 * @throws {TypeError | RangeError} naming the option
 */
export function readOptions(options = {}) {
  if (typeof options !== "object" || options === null) throw wrongType("options", "an object", options);
  checkNames(/** @type {Record<string, unknown>} */ (options), SERVER_OPTIONS);
  const { ssl } = options;
  const queue = readBackpressure(options.backpressure);
  return {
    host: options.host === undefined ? undefined : text("host", options.host),
    port: integer("port", options.port, 8080, 0, 65535),
    backlog: integer("backlog", options.backlog, 511, 1, MAX_BACKLOG),
    reusePort: reusePort(options.reusePort),
    adopts: isShared(options.reusePort),
    path: options.path === undefined ? undefined : path(options.path),
    allowedOrigins: options.allowedOrigins === undefined ? undefined : origins(options.allowedOrigins),
    maxConnections: size("maxConnections", options.maxConnections, Number.MAX_SAFE_INTEGER, 1),
    tls: ssl === undefined ? undefined : readSsl(ssl),
    keepAliveIntervalMs: number("keepAliveIntervalMs", options.keepAliveIntervalMs, 15000, 1, MAX_MS),
    ackTimeoutMs: number("ackTimeoutMs", options.ackTimeoutMs, 15000, 1, MAX_MS),
    handshakeTimeoutMs: number("handshakeTimeoutMs", options.handshakeTimeoutMs, 10000, 1, MAX_MS),
    maxHeaderBytes: integer("maxHeaderBytes", options.maxHeaderBytes, 16 * KIB, 256, 16 * MIB),
    maxInboundBytes: size("maxInboundBytes", options.maxInboundBytes, 4 * MIB, 1),
    maxUnacknowledged: size("maxUnacknowledged", options.maxUnacknowledged, 8192, 1),
    maxTransactions: size("maxTransactions", options.maxTransactions, 64, 0),
    maxSpoolBytes: size("maxSpoolBytes", options.maxSpoolBytes, GIB, 1),
    maxSpoolTotalBytes: size("maxSpoolTotalBytes", options.maxSpoolTotalBytes, 4 * GIB, 1),
    busyPollUs: integer("busyPollUs", options.busyPollUs, 0, 0, 10_000),
    highWaterMark: queue.highWaterMark,
    lowWaterMark: queue.lowWaterMark,
    maxQueuedBytes: queue.maxQueuedBytes,
    maxQueueCount: queue.maxQueueCount,
    dropPolicy: POLICIES.indexOf(queue.dropPolicy),
    ...debugSections(),
  };
}

/**
 * The name of a drop policy by its number.
 *
 * @param {number} index
 */
export function policyName(index) {
  return POLICIES[index] ?? POLICIES[0];
}

/**
 * Options of `Stream`.
 *
 * @param {any} [given]
 * @returns {{ name: string, pull: boolean, signal: AbortSignal | undefined, timeoutMs: number | undefined }}
 * @throws {TypeError | RangeError} naming the option
 */
export function readStreamOptions(given = {}) {
  if (typeof given !== "object" || given === null) throw wrongType("options", "an object", given);
  checkNames(given, STREAM_OPTIONS);
  return {
    name: streamName("streamName", given.streamName),
    pull: isPull(given.behaviour),
    signal: abortSignal(given.signal),
    timeoutMs: given.timeoutMs === undefined ? undefined : number("timeoutMs", given.timeoutMs, 0, 1, MAX_MS),
  };
}

/**
 * The name of a stream; the empty one means `anonymous` (protocol: TX_START).
 *
 * @param {string} label
 * @param {unknown} value
 */
export function streamName(label, value = "") {
  if (typeof value !== "string") throw wrongType(label, "a string", value);
  const bytes = Buffer.byteLength(value);
  if (bytes > MAX_NAME) throw new RangeError(`${label} must have at most ${MAX_NAME} bytes, not ${bytes}.`);
  return value === "" ? "anonymous" : value;
}

/**
 * How long to wait for a stream; `Infinity` is for ever.
 *
 * @param {any} [given] milliseconds, or an object
 * @returns {{ timeoutMs: number, signal: AbortSignal | undefined }}
 * @throws {TypeError | RangeError}
 */
export function readWaitOptions(given) {
  const inObject = typeof given === "object" && given !== null;
  if (inObject) checkNames(given, WAIT_OPTIONS);
  const [label, value] = inObject ? ["timeoutMs", given.timeoutMs] : ["timeout", given];
  return {
    timeoutMs: value === Infinity ? Infinity : number(label, value, 2500, 0, MAX_MS),
    signal: inObject ? abortSignal(given.signal) : undefined,
  };
}

/**
 * @param {Options["backpressure"]} given
 * @returns {BackpressureOpts}
 */
function readBackpressure(given = "default") {
  if (typeof given === "string") {
    if (!Object.hasOwn(PROFILES, given)) {
      throw new RangeError(`backpressure must be one of ${Object.keys(PROFILES).join(", ")}, or an object, not ${show(given)}.`);
    }
    return /** @type {BackpressureOpts} */ (PROFILES[given]);
  }
  if (typeof given !== "object" || given === null) throw wrongType("backpressure", "an object or a profile name", given);
  const defaults = /** @type {BackpressureOpts} */ (PROFILES.default);
  const values = /** @type {Record<string, unknown>} */ (/** @type {unknown} */ (given));
  checkNames(values, BACKPRESSURE_OPTIONS);
  /** @param {keyof typeof LEGACY} name */
  const bound = (name) => {
    const [label, value] = find(values, name);
    return size(label, value, /** @type {number} */ (defaults[name]), 0);
  };
  const highWaterMark = bound("highWaterMark");
  return {
    highWaterMark,
    lowWaterMark: lowWaterMark(...find(values, "lowWaterMark"), highWaterMark),
    maxQueuedBytes: bound("maxQueuedBytes"),
    maxQueueCount: bound("maxQueueCount"),
    dropPolicy: policy(...find(values, "dropPolicy"), defaults.dropPolicy),
  };
}

/**
 * Where none was given, it is no higher than the high one.
 *
 * @param {string} name
 * @param {unknown} value
 * @param {number} high
 */
function lowWaterMark(name, value, high) {
  const low = size(name, value, Math.min(high, PROFILES.default?.lowWaterMark ?? high), 0);
  if (low > high) throw new RangeError(`${name} must not be above the high watermark: ${low} is more than ${high}.`);
  return low;
}

/**
 * A backpressure option under the name it was given, with its value.
 *
 * @param {Record<string, unknown>} values
 * @param {keyof typeof LEGACY} name
 * @returns {[name: string, value: unknown]}
 */
function find(values, name) {
  if (values[name] !== undefined) return [`backpressure.${name}`, values[name]];
  return [`backpressure.${LEGACY[name]}`, values[LEGACY[name]]];
}

/**
 * @param {number} highWaterMark
 * @param {number} lowWaterMark
 * @param {number} maxQueuedBytes
 * @param {number} maxQueueCount
 * @returns {BackpressureOpts}
 */
function backpressure(highWaterMark, lowWaterMark, maxQueuedBytes, maxQueueCount) {
  return { highWaterMark, lowWaterMark, maxQueuedBytes, maxQueueCount, dropPolicy: "drop-oldest" };
}

/**
 * @param {string} name
 * @param {unknown} value
 * @param {BackpressureOpts["dropPolicy"]} fallback
 */
function policy(name, value, fallback) {
  if (value === undefined) return fallback;
  if (typeof value !== "string") throw wrongType(name, "a string", value);
  const known = POLICIES.find((candidate) => candidate === value);
  if (known === undefined) throw new RangeError(`${name} must be one of ${POLICIES.join(", ")}, not ${show(value)}.`);
  return known;
}

/**
 * @param {string} name
 * @param {unknown} value
 * @param {number} fallback
 * @param {number} min
 * @param {number} [max]
 */
export function number(name, value, fallback, min, max = MAX_MS) {
  if (value === undefined) return fallback;
  if (typeof value !== "number") throw wrongType(name, "a number", value);
  if (!(value >= min && value <= max)) throw new RangeError(`${name} must be ${min} to ${max}, not ${value}.`);
  return value;
}

/**
 * @param {string} name
 * @param {unknown} value
 * @param {number} fallback
 * @param {number} min
 * @param {number} max
 */
function integer(name, value, fallback, min, max) {
  const checked = number(name, value, fallback, min, max);
  if (!Number.isInteger(checked)) throw new RangeError(`${name} must be a whole number, not ${checked}.`);
  return checked;
}

/**
 * @param {string} name
 * @param {unknown} value
 * @param {boolean} fallback
 */
export function boolean(name, value, fallback) {
  if (value === undefined) return fallback;
  if (typeof value !== "boolean") throw wrongType(name, "a boolean", value);
  return value;
}

/** @param {unknown} given */
function reusePort(given) {
  const value = boolean("reusePort", given, false);
  if (value && process.platform === "win32") throw new RangeError("reusePort is not available on Windows.");
  return value;
}

/** @param {unknown} value */
function path(value) {
  if (typeof value !== "string") throw wrongType("path", "a string", value);
  if (!/^\/[^?#\s]*$/.test(value)) throw new RangeError(`path must begin with / and have no query, not ${show(value)}.`);
  return value;
}

/**
 * Origins as browsers write them: scheme and host in lower case, without a default port.
 *
 * @param {unknown} value
 */
function origins(value) {
  if (!Array.isArray(value)) throw wrongType("allowedOrigins", "an array of strings", value);
  return value.map((given) => {
    if (typeof given !== "string") throw wrongType("allowedOrigins", "an array of strings", given);
    if (given === "null") return given;
    if (!/^[a-z][a-z0-9+.-]*:\/\/[^/?#\s]+\/?$/i.test(given) || !URL.canParse(given)) {
      throw new RangeError(`allowedOrigins must hold origins such as "https://example.com", not ${show(given)}.`);
    }
    const { origin } = new URL(given);
    return origin === "null" ? given.replace(/\/$/, "") : origin;
  });
}

/**
 * A count or a size; `Infinity` means no bound.
 *
 * @param {string} name
 * @param {unknown} value
 * @param {number} fallback
 * @param {number} min
 */
function size(name, value, fallback, min) {
  if (value === Infinity) return Number.MAX_SAFE_INTEGER;
  return integer(name, value, fallback, min, Number.MAX_SAFE_INTEGER);
}

/**
 * @param {string} name
 * @param {unknown} value
 */
export function text(name, value) {
  if (typeof value !== "string") throw wrongType(name, "a string", value);
  if (value === "") throw new RangeError(`${name} must not be empty.`);
  return value;
}

/** @param {unknown} value */
function isPull(value) {
  if (value === undefined || value === 0 || value === "push") return false;
  if (value === 1 || value === "pull") return true;
  throw wrongType("behaviour", `TX_PUSH, TX_PULL, "push" or "pull"`, value);
}

/**
 * As Node reads it: whatever has `aborted` and tells of the event, also one that a library or another realm has made.
 *
 * @param {any} value
 * @returns {AbortSignal | undefined}
 */
export function abortSignal(value) {
  if (value === undefined) return value;
  const known = typeof value === "object" && value !== null && "aborted" in value;
  if (known && (value.aborted || typeof value.addEventListener === "function")) return value;
  throw wrongType("signal", "an AbortSignal", value);
}

/**
 * As Node's `fs` reads it: any object with the parts of a URL.
 *
 * @param {any} value
 * @returns {value is URL}
 */
export function isUrl(value) {
  return typeof value === "object" && value !== null
    && Boolean(value.href && value.protocol) && value.auth === undefined && value.path === undefined;
}

/** Which sections of debug output the environment asks for. */
function debugSections() {
  return {
    debugServer: debugSection("CAMP_SERVER"),
    debugSession: debugSection("CAMP_SERVER_SESSION"),
    debugAck: debugSection("CAMP_SERVER_ACK"),
    debugBackpressure: debugSection("CAMP_BACKPRESSURE"),
  };
}

/**
 * Whether the environment asks for a section of debug output.
 *
 * @param {string} name
 */
export function debugSection(name) {
  const names = (process.env.DEBUG ?? "").split(/[\s,]+/);
  return names.includes(name) || names.includes("*");
}

/**
 * @param {string} name
 * @param {string} expected
 * @param {unknown} value
 */
export function wrongType(name, expected, value) {
  const shown = expected.startsWith("an object") && typeof value === "string" ? "a string" : show(value);
  return invalidArgument(`${name} must be ${expected}, not ${shown}.`);
}

/** Longest text that is quoted. */
const MAX_SHOWN = 64;

/**
 * A value in an error. A text that may hold a key, a password or a token is not quoted.
 *
 * @param {unknown} value
 */
function show(value) {
  if (typeof value === "function") return "a function";
  if (typeof value === "string") {
    return value.length > MAX_SHOWN || /[@?#\r\n]/.test(value) ? `a string of ${value.length} characters` : JSON.stringify(value);
  }
  return value === null || typeof value !== "object" ? String(value) : Object.prototype.toString.call(value);
}
