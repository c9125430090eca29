// The errors that send promises reject with.

/** @typedef {import("../index.js").CAMPErrorCode} CAMPErrorCode */

/** An error with a stable `code`. */
export class CAMPError extends Error {
  /**
   * @param {CAMPErrorCode} code
   * @param {string} message
   */
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

Object.defineProperty(CAMPError.prototype, "name", { value: "CAMPError", configurable: true, writable: true });

/** Largest payload of a message, in bytes (protocol: CAMP_MAX_PAYLOAD). */
export const MAX_PAYLOAD = 1048576;

/** @param {bigint} sid */
export function sessionClosed(sid) {
  return new CAMPError("ERR_CAMP_SESSION_CLOSED", `Session ${sid} is closed.`);
}

/** @param {number} bytes */
export function payloadTooLarge(bytes) {
  return new CAMPError("ERR_CAMP_PAYLOAD_TOO_LARGE", `The payload has ${bytes} bytes, the limit is ${MAX_PAYLOAD}.`);
}

/** @param {number} ms */
export function ackTimeout(ms) {
  return new CAMPError("ERR_CAMP_ACK_TIMEOUT", `No acknowledgement within ${ms} ms.`);
}

/** @param {string} policy */
export function dropped(policy) {
  return new CAMPError("ERR_CAMP_DROPPED", `The outgoing queue is full; ${policy} gave up this message.`);
}
