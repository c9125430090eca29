// The errors that promises reject with and streams end with.
import { ConnectFailure, TxEnd, TxOutcome } from "./numbers.js";

/** @typedef {import("../index.js").CAMPErrorCode} CAMPErrorCode */

/** An error with a stable `code`. */
export class CAMPError extends Error {
  /**
   * @param {CAMPErrorCode} code
   * @param {string} message
   * @param {{ cause?: unknown, status?: number, streamName?: string, timeoutMs?: number }} [options]
   */
  constructor(code, message, options) {
    super(message, options);
    this.code = code;
    if (options?.status !== undefined) this.status = options.status;
    if (options?.streamName !== undefined) this.streamName = options.streamName;
    if (options?.timeoutMs !== undefined) this.timeoutMs = options.timeoutMs;
  }
}

Object.defineProperty(CAMPError.prototype, "name", { value: "CAMPError", configurable: true, writable: true });

/** Largest payload of a message, in bytes (protocol: CAMP_MAX_PAYLOAD). */
export const MAX_PAYLOAD = 1048576;

/**
 * An argument of the wrong kind, as Node's own functions report it.
 *
 * @param {string} message
 */
export function invalidArgument(message) {
  return Object.assign(new TypeError(message), { code: "ERR_INVALID_ARG_TYPE" });
}

/**
 * An argument of the right kind that cannot be used as it is, as Node's own functions report it.
 *
 * @param {string} message
 * @param {unknown} [cause]
 */
export function invalidState(message, cause) {
  return Object.assign(new TypeError(message, { cause }), { code: "ERR_INVALID_STATE" });
}

/**
 * As Node reports it.
 *
 * @param {string} code
 * @param {string} message
 * @param {string} address
 * @param {number} port
 */
export function listenError(code, message, address, port) {
  return Object.assign(new Error(`listen ${code}: ${message} ${address}:${port}`), { code, syscall: "listen", address, port });
}

/** @param {bigint} sid */
export function sessionClosed(sid) {
  return new CAMPError("ERR_CAMP_SESSION_CLOSED", `Session ${sid} is closed.`);
}

/**
 * Whether this is the error of a session's end. Whatever it is, looking at it does not throw.
 *
 * @param {unknown} error
 */
export function isSessionClosed(error) {
  try {
    return error instanceof CAMPError && error.code === "ERR_CAMP_SESSION_CLOSED";
  } catch {
    return false;
  }
}

/** @param {number} bytes */
export function payloadTooLarge(bytes) {
  return new CAMPError("ERR_CAMP_PAYLOAD_TOO_LARGE", `The payload has ${bytes} bytes, the limit is ${MAX_PAYLOAD}.`);
}

/** @param {number} ms */
export function ackTimeout(ms) {
  return new CAMPError("ERR_CAMP_ACK_TIMEOUT", `No acknowledgement within ${ms} ms.`);
}

/**
 * Without a stack: it would be the same for each, and costs more than all else that a flood of them does.
 *
 * @param {string} policy
 */
export function dropped(policy) {
  return withoutStack("ERR_CAMP_DROPPED", `The outgoing queue is full; ${policy} gave up this message.`);
}

/**
 * @param {CAMPErrorCode} code
 * @param {string} message
 */
function withoutStack(code, message) {
  const { stackTraceLimit } = Error;
  // An application may have frozen it.
  const set = (/** @type {number} */ limit) => Reflect.set(Error, "stackTraceLimit", limit);
  set(0);
  try {
    return new CAMPError(code, message);
  } finally {
    set(stackTraceLimit);
  }
}

/** @param {number} [txId] */
export function transactionOver(txId) {
  const which = txId === undefined ? "The transaction" : `Transaction ${txId}`;
  return new CAMPError("ERR_CAMP_CANCELLED", `${which} is over, or of another session.`);
}

/**
 * Why an incoming transaction has ended.
 *
 * @param {number} outcome one of TxEnd
 * @param {bigint} sid
 * @param {number} txId
 * @param {number} expected size in bytes
 * @param {number} received
 */
export function incomingError(outcome, sid, txId, expected, received) {
  const transaction = `Transaction ${txId} of session ${sid}`;
  switch (outcome) {
    case TxEnd.CANCELLED: return new CAMPError("ERR_CAMP_CANCELLED", `${transaction} was cancelled by the peer.`);
    case TxEnd.SIZE_BELIED: return new CAMPError("ERR_CAMP_SIZE_MISMATCH", `${transaction} was to have ${expected} bytes, and ended after ${received}.`);
    case TxEnd.OVERFLOW: return new CAMPError("ERR_CAMP_STREAM_OVERFLOW", `More of streams waits than maxSpoolBytes, maxSpoolTotalBytes or 64 MiB that nobody has asked for. ${transaction} was cancelled.`);
    default: return new CAMPError("ERR_CAMP_SPOOL_FAILED", `What has arrived could not be kept on disk. ${transaction} was cancelled.`);
  }
}

/**
 * Why an outgoing transaction has failed.
 *
 * @param {number} outcome one of TxOutcome
 * @param {bigint} sid
 * @param {number} ackTimeoutMs
 * @param {string} text `code\0message` of a source that the native side could not read or keep
 */
export function outgoingError(outcome, sid, ackTimeoutMs, text) {
  switch (outcome) {
    case TxOutcome.CANCELLED: return new CAMPError("ERR_CAMP_CANCELLED", "The peer has cancelled the transaction.");
    case TxOutcome.SESSION_CLOSED: return sessionClosed(sid);
    case TxOutcome.SOURCE_FAILED: {
      const [code = "", message = ""] = text.split("\0");
      return Object.assign(new Error(message), { code });
    }
    case TxOutcome.TIMED_OUT: return ackTimeout(ackTimeoutMs);
    case TxOutcome.TOO_MANY_PIECES: return new CAMPError("ERR_CAMP_CANCELLED", `The peer of session ${sid} asked for more than 65,536 separate pieces of a transaction.`);
    default: return new CAMPError("ERR_CAMP_UNSUPPORTED", `The peer of session ${sid} does not take part in transactions.`);
  }
}

/**
 * What the caller's signal makes of a promise, as in Node's own functions.
 *
 * @param {AbortSignal} signal
 */
export function abortError(signal) {
  const error = new Error("The operation was aborted.", { cause: signal.reason });
  return Object.assign(error, { name: "AbortError", code: "ABORT_ERR" });
}

/**
 * @param {string} name of the stream
 * @param {number} timeoutMs
 */
export function streamTimeout(name, timeoutMs) {
  const text = `The stream ${JSON.stringify(name)} was not over within ${timeoutMs} ms.`;
  return new CAMPError("ERR_CAMP_TIMEOUT", text, { streamName: name, timeoutMs });
}

/**
 * @param {string} name of the stream that did not come
 * @param {number} timeoutMs
 */
export function waitTimeout(name, timeoutMs) {
  // What the original says, to the letter; the rest is printed with it.
  return new CAMPError("ERR_CAMP_TIMEOUT", "Timeout elapsed!", { streamName: name, timeoutMs });
}

/**
 * A rejected promise that never causes an `unhandledRejection`.
 *
 * @param {unknown} reason
 * @returns {Promise<never>}
 */
export function rejected(reason) {
  const promise = new Promise((_, reject) => reject(reason));
  promise.catch(() => {});
  return /** @type {Promise<never>} */ (promise);
}

/**
 * The application cancelled it itself.
 *
 * @param {number} txId
 */
export function streamCancelled(txId) {
  return new CAMPError("ERR_CAMP_CANCELLED", `Transaction ${txId} was cancelled.`);
}

/** The server of the caller no longer opens sessions. */
export function serverClosed() {
  return new CAMPError("ERR_CAMP_SERVER_CLOSED", "This server is shutting down, or has failed to start: it opens no sessions.");
}

/** What is kept of a refusal's text, in characters. */
const MAX_EXPLANATION = 200;

/**
 * Why a session to another server was not opened.
 *
 * @param {number} failure one of ConnectFailure
 * @param {number} status of an HTTP answer
 * @param {string} origin
 * @param {string} text `code\0message\0body`
 */
export function connectFailure(failure, status, origin, text) {
  const [code = "", message = "", ...body] = text.split("\0");
  const cause = code === "" ? undefined : { cause: Object.assign(new Error(message), { code }) };
  switch (failure) {
    case ConnectFailure.UNREACHABLE: return new CAMPError("ERR_CAMP_CONNECT_FAILED", `Cannot connect to ${origin}: ${message}.`, cause);
    case ConnectFailure.TLS: return new CAMPError("ERR_CAMP_TLS_FAILED", `No TLS connection to ${origin}: ${message}.`, cause);
    case ConnectFailure.REFUSED: {
      const why = explanation(body.join(" "));
      // What nginx, Go's server and others say in plain text.
      const advice = origin.startsWith("ws:") && /HTTPS (port|server)/i.test(why) ? " Use wss:." : "";
      const words = `${origin} refused the session: ${message}. ${why}${advice}`;
      return new CAMPError("ERR_CAMP_REFUSED", words.trimEnd(), { status });
    }
    case ConnectFailure.TIMEOUT: return new CAMPError("ERR_CAMP_TIMEOUT", `No session with ${origin}: ${message}.`);
    case ConnectFailure.SHUTTING_DOWN: return serverClosed();
    default: return new CAMPError("ERR_CAMP_HANDSHAKE_FAILED", `No session with ${origin}: ${message}.`, cause);
  }
}

/**
 * What a page says to a person: its first paragraph, or all of a plain text.
 *
 * @param {string} page
 */
function explanation(page) {
  const text = (/<p[^>]*>([^]*?)<\/p>/i.exec(page)?.[1] ?? page.replace(/<(title|style|script)[^>]*>[^]*?<\/\1>/gi, " "))
    .replace(/<[^>]*>/g, " ")
    .replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&")
    .replace(/[\s\p{Cc}]+/gu, " ")
    .trim();
  return text.length > MAX_EXPLANATION ? `${text.slice(0, MAX_EXPLANATION)}...` : text;
}
