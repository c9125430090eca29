// The `base` namespace of a session: text, binary and error messages, and pings.
import { MAX_PAYLOAD, payloadTooLarge, sessionClosed } from "./errors.js";

/** @typedef {import("./session.js").CAMPServerWebsocketSession} Session */

/** A UTF-16 unit becomes at most three bytes of UTF-8: up to this length a text always fits. */
const SURELY_FITS = Math.floor(MAX_PAYLOAD / 3);

export class CAMPBase {
  #session;

  /** @param {Session} session */
  constructor(session) {
    this.#session = session;
  }

  Ping() {
    const session = this.#session;
    if (session._closed) return rejected(sessionClosed(session.sid));
    session._server._native.ping(session._slot);
    return session._sent();
  }

  /** @param {string} data */
  SendUTF8(data) {
    const error = this.#refusal(data, "SendUTF8");
    if (error !== undefined) return rejected(error);
    const session = this.#session;
    session._server._functions.sendUtf8(session._slot, data);
    return session._sent();
  }

  /** @param {NodeJS.ArrayBufferView | ArrayBuffer} data */
  SendBinary(data) {
    const bytes = data instanceof Uint8Array ? data : bytesOf(data);
    if (bytes === undefined) {
      return rejected(new TypeError(`SendBinary takes a Buffer, TypedArray, DataView or ArrayBuffer, not ${nameOf(data)}.`));
    }
    if (bytes.byteLength > MAX_PAYLOAD) return rejected(payloadTooLarge(bytes.byteLength));
    const session = this.#session;
    if (session._closed) return rejected(sessionClosed(session.sid));
    session._server._functions.sendBinary(session._slot, bytes);
    return session._sent();
  }

  /** @param {string} message */
  SendError(message) {
    const error = this.#refusal(message, "SendError");
    if (error !== undefined) return rejected(error);
    const session = this.#session;
    session._server._functions.sendError(session._slot, message);
    return session._sent();
  }

  /**
   * Why a text cannot be sent.
   *
   * @param {string} text
   * @param {string} method
   */
  #refusal(text, method) {
    if (typeof text !== "string") return new TypeError(`${method} takes a string, not ${nameOf(text)}.`);
    if (text.length > SURELY_FITS) {
      const bytes = Buffer.byteLength(text);
      if (bytes > MAX_PAYLOAD) return payloadTooLarge(bytes);
    }
    if (this.#session._closed) return sessionClosed(this.#session.sid);
    return undefined;
  }
}

/**
 * A rejected promise that never causes an `unhandledRejection`.
 *
 * @param {Error} error
 * @returns {Promise<void>}
 */
function rejected(error) {
  const promise = Promise.reject(error);
  promise.catch(() => {});
  return promise;
}

/**
 * @param {unknown} data
 * @returns {Uint8Array | undefined}
 */
function bytesOf(data) {
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  if (data instanceof ArrayBuffer || data instanceof SharedArrayBuffer) return new Uint8Array(data);
  return undefined;
}

/** @param {unknown} value */
function nameOf(value) {
  return value === null ? "null" : typeof value;
}
