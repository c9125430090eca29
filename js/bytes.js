// The bytes that a caller gives, of whatever kind and realm.
import { types } from "node:util";
import { invalidState } from "./errors.js";

const { at } = Uint8Array.prototype;

/** @type {() => number} */
const length = /** @type {any} */ (Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Uint8Array.prototype), "length")).get;

/**
 * The memory of a view or an ArrayBuffer as bytes; `undefined` for anything else.
 *
 * Neither `instanceof` nor a property tells: in tests, and wherever `node:vm` is used, there are several classes of one
 * name.
 *
 * @param {unknown} data
 * @returns {Uint8Array | undefined}
 * @throws {TypeError} its memory was transferred elsewhere, or was resized to end before it
 */
export function bytesOf(data) {
  if (types.isUint8Array(data)) {
    if (lengthOf(data) === 0) checkMemory(data);
    return data;
  }
  if (!ArrayBuffer.isView(data) && !types.isAnyArrayBuffer(data)) return undefined;
  checkMemory(data);
  if (types.isAnyArrayBuffer(data)) return new Uint8Array(data);
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/**
 * How many there are, whatever a property of that name says.
 *
 * @param {Uint8Array} bytes
 */
export function lengthOf(bytes) {
  return length.call(bytes);
}

/**
 * A copy in memory of its own: whoever gets it may keep it, or transfer it elsewhere.
 *
 * `Buffer.from` would cut it from memory that is shared with other data of the process.
 *
 * @param {Uint8Array} bytes
 */
export function copyOf(bytes) {
  const copy = Buffer.allocUnsafeSlow(lengthOf(bytes));
  copy.set(bytes);
  return copy;
}

/**
 * Memory that is gone would otherwise look like no bytes.
 *
 * @param {any} data a view, or an ArrayBuffer
 */
function checkMemory(data) {
  try {
    if (types.isAnyArrayBuffer(data)) new Uint8Array(data);
    else if (types.isDataView(data)) void data.byteLength;
    else at.call(data, 0);
  } catch (error) {
    throw invalidState("The memory of these bytes was transferred elsewhere, or has become too small for them.", error);
  }
}
