// The `base` namespace of a session: text, binary and error messages, and pings.
import { bytesOf, copyOf, lengthOf } from "./bytes.js";
import { MAX_PAYLOAD, invalidArgument, payloadTooLarge, rejected, sessionClosed } from "./errors.js";
import { DataKind } from "./numbers.js";
import { printable } from "./printing.js";
import { within } from "./send-options.js";
import { heard, refused, sendOf } from "./unheard.js";

/** @typedef {import("./session.js").CAMPServerWebsocketSession} Session */
/** @typedef {import("./send-options.js").SendOptions} SendOptions */
/** @typedef {import("./send-options.js").Bounds} Bounds */

const { UTF8, BINARY, ERROR } = DataKind;

/** A UTF-16 unit becomes at most three bytes of UTF-8: up to this length a text always fits. */
const SURELY_FITS = Math.floor(MAX_PAYLOAD / 3);

export class CAMPBase {
  #session;

  static {
    printable(CAMPBase, "CAMPBase", (base) => ({ sid: base.#session.sid }));
  }

  /** @param {Session} session */
  constructor(session) {
    this.#session = session;
  }

  Ping() {
    const session = this.#session;
    if (session._closed) return rejected(sessionClosed(session.sid));
    if (session._sendsWait) return session._queue.plain(() => this.#ping());
    return this.#ping();
  }

  /**
   * @param {string} data
   * @param {SendOptions} [options]
   */
  SendUTF8(data, options) {
    if (options !== undefined) return this.#within(UTF8, options, (bounds) => this.#text(data, bounds));
    return this.#text(data);
  }

  /**
   * @param {NodeJS.ArrayBufferView | ArrayBuffer} data
   * @param {SendOptions} [options]
   */
  SendBinary(data, options) {
    if (options !== undefined) return this.#within(BINARY, options, (bounds) => this.#binary(data, bounds));
    return this.#binary(data);
  }

  /**
   * @param {string} message
   * @param {SendOptions} [options]
   */
  SendError(message, options) {
    if (options !== undefined) return this.#within(ERROR, options, (bounds) => this.#error(message, bounds));
    return this.#error(message);
  }

  /**
   * @param {string} data
   * @param {Bounds} [bounds]
   */
  #text(data, bounds) {
    if (typeof data !== "string") return this.#refuse(UTF8, invalidArgument(`SendUTF8 takes a string, not ${nameOf(data)}.`));
    if (this.#waits(UTF8)) return this.#queue(UTF8, data, (text) => this.#sendUtf8(text), bounds);
    return this.#sendUtf8(data);
  }

  /**
   * @param {NodeJS.ArrayBufferView | ArrayBuffer} data
   * @param {Bounds} [bounds]
   */
  #binary(data, bounds) {
    let bytes;
    try {
      bytes = bytesOf(data);
    } catch (error) {
      return this.#refuse(BINARY, error);
    }
    if (bytes === undefined) {
      return this.#refuse(BINARY, invalidArgument(`SendBinary takes a Buffer, TypedArray, DataView or ArrayBuffer, not ${nameOf(data)}.`));
    }
    // The caller may reuse its memory at once.
    if (this.#waits(BINARY)) return this.#queue(BINARY, copyOf(bytes), (copy) => this.#sendBinary(copy), bounds);
    return this.#sendBinary(bytes);
  }

  /**
   * @param {string} message
   * @param {Bounds} [bounds]
   */
  #error(message, bounds) {
    if (typeof message !== "string") return this.#refuse(ERROR, invalidArgument(`SendError takes a string, not ${nameOf(message)}.`));
    if (this.#waits(ERROR)) return this.#queue(ERROR, message, (text) => this.#sendError(text), bounds);
    return this.#sendError(message);
  }

  /**
   * Whether a message has hooks, or comes after one whose hooks still run.
   *
   * @param {number} kind
   */
  #waits(kind) {
    return (this.#session._server._sendHooks & (1 << kind)) !== 0 || this.#session._sendsWait;
  }

  /**
   * @param {number} kind
   * @param {string | Buffer} message
   * @param {(message: any) => Promise<void>} send
   * @param {Bounds} [bounds]
   */
  #queue(kind, message, send, bounds) {
    const session = this.#session;
    if (session._closed) return rejected(sessionClosed(session.sid));
    // Nobody waits any more for what was given up while its hooks ran.
    return session._queue.message(kind, message, (left) => (bounds?.over ? Promise.resolve() : send(left)));
  }

  #ping() {
    const session = this.#session;
    session._server._native.ping(session._slot);
    return session._sent();
  }

  /** @param {string} text */
  #sendUtf8(text) {
    if (text.length > SURELY_FITS && isTooLarge(text)) return this.#refuse(UTF8, payloadTooLarge(Buffer.byteLength(text)));
    const session = this.#session;
    if (session._closed) return rejected(sessionClosed(session.sid));
    const server = session._server;
    if (!server._textOrders?.add(session._slot, text)) server._functions.sendUtf8(session._slot, text);
    return session._sent();
  }

  /** @param {Uint8Array} bytes */
  #sendBinary(bytes) {
    const length = lengthOf(bytes);
    if (length > MAX_PAYLOAD) return this.#refuse(BINARY, payloadTooLarge(length));
    const session = this.#session;
    if (session._closed) return rejected(sessionClosed(session.sid));
    const server = session._server;
    if (!server._textOrders?.addBinary(session._slot, bytes, length)) server._functions.sendBinary(session._slot, bytes);
    return session._sent();
  }

  /** @param {string} text */
  #sendError(text) {
    if (text.length > SURELY_FITS && isTooLarge(text)) return this.#refuse(ERROR, payloadTooLarge(Buffer.byteLength(text)));
    const session = this.#session;
    if (session._closed) return rejected(sessionClosed(session.sid));
    session._server._functions.sendError(session._slot, text);
    return session._sent();
  }

  /**
   * @param {number} kind
   * @param {SendOptions} options
   * @param {(bounds: Bounds) => Promise<void>} send
   */
  #within(kind, options, send) {
    return heard(within(options, send), sendOf(kind, this.#session));
  }

  /**
   * A send that is the caller's mistake.
   *
   * @param {number} kind
   * @param {unknown} error
   */
  #refuse(kind, error) {
    return refused(error, sendOf(kind, this.#session));
  }
}

/** @param {string} text */
function isTooLarge(text) {
  return Buffer.byteLength(text) > MAX_PAYLOAD;
}

/** @param {unknown} value */
function nameOf(value) {
  return value === null ? "null" : typeof value;
}
