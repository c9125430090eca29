// Checks what `ConnectPeer` was called with, and completes it.
import { invalidArgument } from "./errors.js";
import { CONNECT_OPTIONS, checkNames } from "./option-names.js";
import { abortSignal, boolean, isUrl, number, text, wrongType } from "./options.js";
import { readCertificates } from "./tls-options.js";

/**
 * What `ConnectPeer` was called with.
 *
 * @param {unknown} host
 * @param {unknown} bearer
 * @param {any} given the options
 * @param {number} timeoutMs the default
 * @returns {{ target: import("../native.cjs").NativeTarget, signal: AbortSignal | undefined }}
 * @throws {TypeError | RangeError} naming the argument
 */
export function readConnectOptions(host, bearer, given = {}, timeoutMs) {
  const url = peerUrl(host);
  if (typeof bearer !== "string") throw invalidArgument(`bearer must be a string, not ${typeof bearer}.`);
  if (typeof given !== "object" || given === null) throw wrongType("options", "an object", given);
  checkNames(given, CONNECT_OPTIONS);
  const secure = url.protocol === "wss:";
  const name = url.hostname.replace(/^\[|\]$/g, "");
  const ca = given.ca === undefined ? undefined : readCertificates("ca", given.ca).map(({ raw }) => raw);
  return {
    target: {
      origin: `${url.protocol}//${url.host}`,
      host: name,
      port: Number(url.port) || (secure ? 443 : 80),
      authority: url.host,
      path: url.pathname + url.search,
      token: bearer,
      timeoutMs: number("timeoutMs", given.timeoutMs, timeoutMs, 1),
      secure,
      servername: given.servername === undefined ? undefined : text("servername", given.servername),
      ca,
      rejectUnauthorized: boolean("rejectUnauthorized", given.rejectUnauthorized, true),
    },
    signal: abortSignal(given.signal),
  };
}

/** What a session adds to the query of its URL. */
const RESERVED = /^(authorization|x-camp-sid|x-cryo-sid)$/i;

/** @param {unknown} given */
function peerUrl(given) {
  if (typeof given !== "string" && !isUrl(given)) throw wrongType("host", "a URL such as ws://localhost:8080", given);
  const href = typeof given === "string" ? given : given.href;
  const url = URL.canParse(href) ? new URL(href) : undefined;
  // Its own words: the URL may hold a token.
  if (url === undefined || !/^wss?:$/.test(url.protocol)) {
    throw new RangeError("host must be a URL with the scheme ws: or wss:, such as ws://localhost:8080.");
  }
  if (url.username !== "" || url.password !== "") throw new RangeError("host must not have a user name or password.");
  if (url.hash !== "") throw new RangeError("host must not have a fragment.");
  const reserved = [...url.searchParams.keys()].find((key) => RESERVED.test(key));
  if (reserved !== undefined) throw new RangeError(`host must not have ${reserved} in its query: ConnectPeer adds that.`);
  if (url.port === "0") throw new RangeError("host must not have port 0.");
  return url;
}
