// Orders to send texts, and short binary messages, written by JavaScript itself.
import { DataKind } from "./numbers.js";

/** Texts up to this length are written without a call if they are ASCII. */
const SHORT = 32;

/** Binary messages up to this length are written without a call of the native side. */
const SHORT_BINARY = 1024;

/** Orders that send a message have its kind; `src/node/orders.rs` has all orders. */
const { UTF8, BINARY } = DataKind;

/** Bytes before the orders, and those of an order before its payload. */
const HEAD = 8;
const HEADER = 8;

/** Bytes behind a payload, at most. */
const PADDING = 3;

/** The memory that the native side takes such orders from; `src/node/text_orders.rs` has its layout. */
export class TextOrders {
  #words;
  #bytes;

  /** @param {ArrayBuffer} memory */
  constructor(memory) {
    this.#words = new Uint32Array(memory);
    this.#bytes = Buffer.from(memory);
  }

  /**
   * Adds the order to send `text`. False if there is no room: another way makes some.
   *
   * @param {number} slot
   * @param {string} text
   */
  add(slot, text) {
    const start = this.#start();
    const length = this.#write(text, start);
    if (length < 0) return false;
    this.#head(slot, UTF8, start, length);
    return true;
  }

  /**
   * Adds the order to send `bytes`. False if they are many, or if there is no room: another way makes some.
   *
   * The native side would have to ask the engine for the memory of a short array, which it then moves to the heap.
   *
   * @param {number} slot
   * @param {Uint8Array} bytes
   * @param {number} length how many there are
   */
  addBinary(slot, bytes, length) {
    const start = this.#start();
    if (length > SHORT_BINARY || length > this.#bytes.length - start - PADDING) return false;
    if (length <= SHORT) {
      for (let i = 0; i < length; i++) this.#bytes[start + i] = /** @type {number} */ (bytes[i]);
    } else {
      this.#bytes.set(bytes, start);
    }
    this.#head(slot, BINARY, start, length);
    return true;
  }

  /** Where the payload of the next order begins. */
  #start() {
    return HEAD + /** @type {number} */ (this.#words[0]) + HEADER;
  }

  /**
   * Completes an order whose payload is written.
   *
   * @param {number} slot
   * @param {number} kind
   * @param {number} start of the payload
   * @param {number} length
   */
  #head(slot, kind, start, length) {
    const words = this.#words;
    const at = (start - HEADER) >>> 2;
    words[at] = slot;
    words[at + 1] = (length << 8) | kind;
    words[0] = start - HEAD + ((length + PADDING) & ~PADDING);
  }

  /**
   * Writes a text, and returns how many bytes it has; -1 if there is no room.
   *
   * @param {string} text
   * @param {number} start
   */
  #write(text, start) {
    const { length } = text;
    const bytes = this.#bytes;
    const room = bytes.length - start - PADDING;
    // A UTF-16 unit becomes at most three bytes.
    if (length * 3 > room && (length > room || Buffer.byteLength(text) > room)) return -1;
    if (length <= SHORT) {
      let all = 0;
      for (let i = 0; i < length; i++) {
        const unit = text.charCodeAt(i);
        all |= unit;
        bytes[start + i] = unit;
      }
      if (all < 128) return length;
    }
    return bytes.utf8Write(text, start);
  }
}
