// Orders to send texts, written by JavaScript itself.

/** Texts up to this length are written without a call if they are ASCII. */
const SHORT = 32;

/** The kind of an order that sends a text; `src/node/orders.rs` has them all. */
const UTF8 = 0;

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
    const words = this.#words;
    const used = /** @type {number} */ (words[0]);
    const start = HEAD + used + HEADER;
    const length = this.#write(text, start);
    if (length < 0) return false;
    const at = (HEAD + used) >>> 2;
    words[at] = slot;
    words[at + 1] = (length << 8) | UTF8;
    words[0] = used + HEADER + ((length + PADDING) & ~PADDING);
    return true;
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
