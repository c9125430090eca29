// A CAMP client's session, optimised by hand for echoing and nothing else: frames are written where
// they go out from, and there are no promises, events, hooks, limits, heartbeats or time-outs.
//
// A transport gives `room(n)`, which makes room for a frame of n bytes and returns its position in
// `out`, and `done(n)`, which sends it. `resume()` is called by it when the socket takes bytes again.

/** @typedef {Buffer & { utf8Slice(from: number, to: number): string, utf8Write(text: string, at: number): number }} Bytes */

/** Texts up to this length are shorter than 126 bytes with their head, whatever is in them. */
const SHORT = 37;
const HEAD = 13;
const CHUNK_HEAD = 21;

/** Send times of unacknowledged frames; a power of two. */
const RING = 4096;

export class HandSession {
  /** @param {bigint} sid @param {import("../lib/serving.mjs").Serving} serving @param {Map<bigint, HandSession>} all */
  constructor(sid, serving, all) {
    const head = Buffer.alloc(8);
    head.writeBigUInt64BE(sid);
    this.head = head;
    this.serving = serving;
    this.all = all;
    this.nextAck = 0;
    this.sentAt = new Float64Array(serving.mode === "echo" ? RING : 4);
    this.now = 0;
    this.rtt = 0;
    this.uploaded = 0;
    this.pushed = serving.mode === "push" ? "x".repeat(serving.size) : "";
    this.pushing = false;
    /** @type {Bytes} */
    this.out = /** @type {any} */ (Buffer.alloc(0));
  }

  /** @param {number} _n @returns {number} */
  room(_n) { throw new Error("no transport"); }
  /** @param {number} _n */
  done(_n) { throw new Error("no transport"); }
  stream() {}

  hello() {
    const at = this.room(25);
    this.start(at, 255);
    this.u32(at + 13, 1);
    this.u32(at + 17, 0);
    this.u32(at + 21, 1);
    this.done(25);
  }

  /** @param {Bytes} frame */
  receive(frame) {
    switch (frame[8]) {
      case 253: {
        const ack = frame.readUInt32BE(9);
        this.rtt = this.rtt * 0.8 + (this.now - /** @type {number} */ (this.sentAt[ack & (this.sentAt.length - 1)])) * 0.2;
        if (this.pushing) this.text(this.pushed);
        return;
      }
      case 250: {
        this.acknowledge(frame);
        const text = frame.utf8Slice(HEAD, frame.length);
        if (this.serving.mode === "echo") this.text(text);
        else this.command(text);
        return;
      }
      case 249:
        this.acknowledge(frame);
        this.binary(frame);
        return;
      case 1:
        this.uploaded += frame.length - CHUNK_HEAD;
        return;
      case 0:
      case 255:
        this.acknowledge(frame);
        return;
      case 2:
        this.acknowledge(frame);
        this.text(String(this.uploaded));
    }
  }

  /** @param {string} text */
  command(text) {
    const { mode, window } = this.serving;
    if (mode === "push") {
      for (let i = 0; i < window; i++) this.text(this.pushed);
      this.pushing = true;
    } else if (mode === "fanout") {
      for (const each of this.all.values()) each.text(text);
    } else if (mode === "stream") {
      this.stream();
    }
  }

  /** @param {Bytes} frame */
  acknowledge(frame) {
    const at = this.room(13), { out, head } = this;
    for (let i = 0; i < 8; i++) out[at + i] = /** @type {number} */ (head[i]);
    out[at + 8] = 253;
    out[at + 9] = /** @type {number} */ (frame[9]);
    out[at + 10] = /** @type {number} */ (frame[10]);
    out[at + 11] = /** @type {number} */ (frame[11]);
    out[at + 12] = /** @type {number} */ (frame[12]);
    this.done(13);
  }

  /** @param {string} text */
  text(text) {
    if (text.length > SHORT) {
      const size = Buffer.byteLength(text);
      const at = this.room(HEAD + size);
      this.start(at, 250);
      this.out.utf8Write(text, at + HEAD);
      this.done(HEAD + size);
      return;
    }
    const at = this.room(HEAD + 3 * SHORT), { out } = this;
    this.start(at, 250);
    let i = 0;
    for (; i < text.length; i++) {
      const unit = text.charCodeAt(i);
      if (unit > 127) break;
      out[at + HEAD + i] = unit;
    }
    const size = i === text.length ? i : out.utf8Write(text, at + HEAD);
    this.done(HEAD + size);
  }

  /** @param {Bytes} frame one whose payload is to be sent */
  binary(frame) {
    const size = frame.length;
    const at = this.room(size), { out } = this;
    this.start(at, 249);
    if (size < 64) for (let i = HEAD; i < size; i++) out[at + i] = /** @type {number} */ (frame[i]);
    else frame.copy(out, at + HEAD, HEAD);
    this.done(size);
  }

  txStart() {
    const at = this.room(31);
    this.start(at, 0);
    this.u32(at + 13, 0);
    this.out.fill(255, at + 17, at + 25);
    this.out[at + 25] = 0;
    this.out.write("bench", at + 26);
    this.done(31);
  }

  txFinish() {
    const at = this.room(17);
    this.start(at, 2);
    this.u32(at + 13, 0);
    this.done(17);
  }

  /** @param {Buffer} chunk @param {number} at @param {number} offset */
  chunkHead(chunk, at, offset) {
    this.head.copy(chunk, at);
    chunk[at + 8] = 1;
    chunk.writeUInt32BE(0, at + 9);
    chunk.writeUInt32BE(Math.floor(offset / 2 ** 32), at + 13);
    chunk.writeUInt32BE(offset >>> 0, at + 17);
  }

  /** @param {number} at @param {number} type */
  start(at, type) {
    const { out, head } = this;
    for (let i = 0; i < 8; i++) out[at + i] = /** @type {number} */ (head[i]);
    out[at + 8] = type;
    const ack = this.nextAck;
    this.nextAck = (ack + 1) >>> 0;
    this.sentAt[ack & (this.sentAt.length - 1)] = this.now;
    this.u32(at + 9, ack);
  }

  /** @param {number} at @param {number} value */
  u32(at, value) {
    const { out } = this;
    out[at] = value >>> 24;
    out[at + 1] = value >>> 16;
    out[at + 2] = value >>> 8;
    out[at + 3] = value;
  }
}
