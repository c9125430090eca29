// The names that options and hooks have, and what becomes of others.
import { warn } from "./warnings.js";

/** @typedef {import("../index.js").ICAMPWebsocketServerOptions} Options */

/** @type {Record<keyof Options, true>} */
const SERVER = {
  ackTimeoutMs: true, allowedOrigins: true, backlog: true, backpressure: true, busyPollUs: true, handshakeTimeoutMs: true,
  host: true, keepAliveIntervalMs: true, maxConnections: true, maxHeaderBytes: true, maxInboundBytes: true, maxSpoolBytes: true,
  maxSpoolTotalBytes: true, maxTransactions: true, maxUnacknowledged: true, path: true, port: true, reusePort: true, ssl: true,
};

/** @type {Record<keyof import("../index.js").PartialBackpressureOpts | keyof import("../index.js").LegacyBackpressureOpts, true>} */
const BACKPRESSURE = {
  highWaterMark: true, lowWaterMark: true, maxQueuedBytes: true, maxQueueCount: true, dropPolicy: true,
  HIGH_WATERMARK: true, LOW_WATERMARK: true, MAX_QUEUED_BYTES: true, MAX_QUEUE_SIZE: true, DROP_POLICY: true,
};

/** @type {Record<keyof import("../index.js").StreamOptions, true>} */
const STREAM = { streamName: true, behaviour: true, signal: true, timeoutMs: true };

/** @type {Record<keyof import("../index.js").WaitOptions, true>} */
const WAIT = { timeoutMs: true, signal: true };

/** @type {Record<keyof import("../index.js").SendOptions, true>} */
const SEND = { timeoutMs: true, signal: true };

/** @type {Record<keyof import("../index.js").ConnectPeerOptions, true>} */
const CONNECT = { ca: true, servername: true, rejectUnauthorized: true, timeoutMs: true, signal: true };

/**
 * Where options are given.
 *
 * @typedef {object} Place
 * @property {string} what takes them
 * @property {string} prefix of their names in errors
 * @property {readonly string[]} known
 * @property {boolean} lenient whether code written for camp-server 1.0.x may pass others, which were ignored there
 * @property {Readonly<Record<string, string>>} [meant] what some names of other libraries would be here
 */

/** These decide who may connect, from where, and who may listen: never ignored. */
const ELSEWHERE = {
  tls: "ssl", https: "ssl", secure: "ssl", key: "ssl.key", cert: "ssl.cert", ca: "ssl.ca", pfx: "ssl", passphrase: "ssl.passphrase",
  requestCert: "ssl.requestCert", rejectUnauthorized: "ssl.rejectUnauthorized", minVersion: "ssl.minVersion",
  maxVersion: "ssl.maxVersion", ALPNProtocols: "ssl.ALPNProtocols", ciphers: "ssl", SNICallback: "ssl", secureContext: "ssl",
  origin: "allowedOrigins", origins: "allowedOrigins", cors: "allowedOrigins", corsOrigins: "allowedOrigins",
  hostname: "host", address: "host", bind: "host", maxClients: "maxConnections", maxSessions: "maxConnections",
};

/** @type {Place} */
export const SERVER_OPTIONS = { what: "CAMP()", prefix: "", known: Object.keys(SERVER), lenient: true, meant: ELSEWHERE };
/** @type {Place} */
export const BACKPRESSURE_OPTIONS = { what: "CAMP()", prefix: "backpressure.", known: Object.keys(BACKPRESSURE), lenient: true };
/** @type {Place} */
export const STREAM_OPTIONS = {
  what: "Stream", prefix: "", known: Object.keys(STREAM), lenient: true, meant: { name: "streamName", timeout: "timeoutMs" },
};
/** @type {Place} */
export const WAIT_OPTIONS = { what: "WaitForStream", prefix: "", known: Object.keys(WAIT), lenient: false };
/** @type {Place} */
export const SEND_OPTIONS = { what: "A send", prefix: "", known: Object.keys(SEND), lenient: false };
/** @type {Place} */
export const CONNECT_OPTIONS = { what: "ConnectPeer", prefix: "", known: Object.keys(CONNECT), lenient: false };

/** The places and names that were warned of. @type {Set<string>} */
const warned = new Set();

/** Most of them: a program that makes up names of its own is not warned of all. */
const MAX_WARNED = 100;

/**
 * Finds names that mean nothing. One that is a misspelling throws; so does every other, unless the place is lenient:
 * there a name that resembles none is warned of, once. A name whose value is `undefined` is as good as missing.
 *
 * @param {Record<string, unknown>} given
 * @param {Place} place
 * @throws {TypeError} naming the option, with the code `ERR_CAMP_UNKNOWN_OPTION`
 */
export function checkNames(given, place) {
  for (const name in given) {
    // What a library has added to all objects is nobody's option.
    if (place.known.includes(name) || given[name] === undefined || name in Object.prototype) continue;
    const { what, prefix, lenient } = place;
    const meant = Object.hasOwn(place.meant ?? {}, name) ? place.meant?.[name] : nearest(name, place.known);
    if (meant !== undefined) throw unknownName(`${what} has no option ${prefix}${shown(name)}: did you mean ${prefix}${meant}?`);
    if (!lenient) throw unknownName(`${what} has no option ${prefix}${shown(name)}: it takes ${place.known.join(", ")}.`);
    const key = `${what} ${prefix}${name}`;
    if (warned.has(key) || warned.size >= MAX_WARNED) continue;
    warned.add(key);
    warn("CAMP_UNKNOWN_OPTION", `${what} has no option ${prefix}${shown(name)}: it is ignored.`);
  }
}

/**
 * The known name that was meant, if the given one is likely a misspelling of it.
 *
 * @param {string} name
 * @param {readonly string[]} known
 * @returns {string | undefined}
 */
export function nearest(name, known) {
  const plain = simplified(name);
  // In a short name each letter counts for more.
  let best = plain.length < 6 ? 2 : 3;
  let found;
  for (const candidate of known) {
    const distance = editDistance(plain, simplified(candidate), best);
    if (distance < best) [best, found] = [distance, candidate];
  }
  return found;
}

/** @param {string} message */
export function unknownName(message) {
  return Object.assign(new TypeError(message), { code: "ERR_CAMP_UNKNOWN_OPTION" });
}

/** Without what spellings differ in: `keepAlive`, `keep_alive`, `KEEP-ALIVE`. @param {string} name */
function simplified(name) {
  return name.toLowerCase().replace(/[^a-z0-9]/g, "");
}

/** Longest name that is quoted. */
const MAX_SHOWN = 64;

/** @param {string} name */
function shown(name) {
  return name.length > MAX_SHOWN ? `${name.slice(0, MAX_SHOWN)}...` : name;
}

/**
 * How many letters must be added, removed, changed or swapped with their neighbour (Damerau, restricted).
 *
 * @param {string} from
 * @param {string} to
 * @param {number} limit from which on it does not matter
 */
function editDistance(from, to, limit) {
  if (Math.abs(from.length - to.length) >= limit) return limit;
  /** @type {number[]} */
  let before = [];
  let row = Array.from({ length: to.length + 1 }, (_, i) => i);
  for (let i = 1; i <= from.length; i++) {
    const next = [i];
    for (let j = 1; j <= to.length; j++) {
      const changed = from[i - 1] === to[j - 1] ? 0 : 1;
      let cost = Math.min(at(row, j) + 1, at(next, j - 1) + 1, at(row, j - 1) + changed);
      if (i > 1 && j > 1 && from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1]) cost = Math.min(cost, at(before, j - 2) + 1);
      next.push(cost);
    }
    [before, row] = [row, next];
  }
  return at(row, to.length);
}

/**
 * @param {number[]} row
 * @param {number} index
 */
function at(row, index) {
  return row[index] ?? Infinity;
}
