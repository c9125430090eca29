// The JavaScript end of a connection that the native side has handed over: what `net.Socket` is to
// an `http.Server`.
import { Duplex } from "node:stream";
import { lengthOf } from "./bytes.js";
import { invalidState } from "./errors.js";
import { inThisContext } from "./scope.js";

/** Bytes given to the native side and not yet written, at which more is held back here. */
const WINDOW = 512 * 1024;

/** Below that many a write counts as complete, as it does when the system has taken it. */
const BUFFERED = 64 * 1024;

/** Bytes of one order. */
const PIECE = 256 * 1024;

/** Smaller buffers are joined: one order and one packet, instead of one each. */
const JOIN = 16 * 1024;

/** Credit is given back in portions; the native side begins with four of them. */
const CREDIT = 64 * 1024;

/**
 * What a connection is told natively.
 *
 * @typedef {object} Line
 * @property {(id: number, data: Uint8Array) => void} write
 * @property {(id: number) => void} end
 * @property {(id: number, bytes: number) => void} credit
 * @property {(id: number) => void} destroy
 */

/**
 * What is known of a connection.
 *
 * @typedef {object} Details
 * @property {string} remoteAddress
 * @property {number} remotePort
 * @property {string} localAddress
 * @property {number} localPort
 * @property {string} tlsVersion empty without TLS
 * @property {string} servername the name that a TLS client asked for, or empty
 */

/** @typedef {(error?: Error | null) => void} Callback */

export class BridgedSocket extends Duplex {
  #line;
  #id;
  #details;
  /** Nothing more is heard from the native side, nor taken there. */
  #gone = false;
  /** Bytes passed on to the reader that no credit was given back for. */
  #owed = 0;
  #bytesRead = 0;
  /** Bytes whose write is complete. */
  #bytesWritten = 0;
  /** What the write under way still has to hand over. @type {Uint8Array[]} */
  #queue = [];
  #inFlight = 0;
  #ending = false;
  /** Length of the write under way. */
  #length = 0;
  /** Ends the write, or the end, under way. @type {Callback | undefined} */
  #done;
  /** @type {NodeJS.Timeout | undefined} */
  #timer;

  /**
   * @param {Line} line
   * @param {number} id
   * @param {Details} details
   * @param {import("./scope.js").Scope} scope
   */
  constructor(line, id, details, scope) {
    // `close` is emitted in `_destroy`, for it has an argument.
    super({ allowHalfOpen: true, emitClose: false });
    this.#line = line;
    this.#id = id;
    this.#details = details;
    /** @internal What happens on the connection is told in it. */
    this._scope = scope;
    /** As of `net.Socket`: what `setTimeout` was given. @type {number | undefined} */
    this.timeout = undefined;
    this.connecting = false;
    this.pending = false;
    if (details.tlsVersion !== "") {
      this.encrypted = true;
      this.authorized = false;
      /** @type {string | false} */
      this.alpnProtocol = false;
      /** @type {string | false} */
      this.servername = details.servername || false;
    }
  }

  get remoteAddress() {
    return this.#details.remoteAddress;
  }

  get remotePort() {
    return this.#details.remotePort;
  }

  get remoteFamily() {
    return familyOf(this.#details.remoteAddress);
  }

  get localAddress() {
    return this.#details.localAddress;
  }

  get localPort() {
    return this.#details.localPort;
  }

  get localFamily() {
    return familyOf(this.#details.localAddress);
  }

  get bytesRead() {
    return this.#bytesRead;
  }

  get bytesWritten() {
    return this.#bytesWritten + this.writableLength;
  }

  get bufferSize() {
    return this.writableLength;
  }

  get readyState() {
    if (this.readable && this.writable) return "open";
    if (this.readable) return "readOnly";
    return this.writable ? "writeOnly" : "closed";
  }

  address() {
    return { address: this.localAddress, port: this.localPort, family: this.localFamily };
  }

  /**
   * @param {number} ms
   * @param {() => void} [callback]
   */
  setTimeout(ms, callback) {
    if (this.destroyed) return this;
    this.timeout = ms;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (ms > 0) {
      // Like the timers of `net.Socket` it does not keep the process alive.
      this.#timer = setTimeout(() => this.emit("timeout"), ms).unref();
      if (callback !== undefined) this.once("timeout", callback);
    } else if (callback !== undefined) {
      this.removeListener("timeout", callback);
    }
    return this;
  }

  /** The native side has set it, for every connection. */
  setNoDelay() {
    return this;
  }

  setKeepAlive() {
    return this;
  }

  /** Connections do not keep the process alive by themselves: their server does. */
  ref() {
    return this;
  }

  unref() {
    return this;
  }

  /** Ends once everything is written, then destroys. */
  destroySoon() {
    if (this.writable) this.end();
    if (this.writableFinished) this.destroy();
    else this.once("finish", () => this.destroy());
  }

  resetAndDestroy() {
    return this.destroy();
  }

  /** Of a TLS connection; clients are not asked for certificates. */
  getPeerCertificate() {
    return {};
  }

  /** Of a TLS connection. */
  getProtocol() {
    return this.#details.tlsVersion || null;
  }

  /** @override */
  _read() {
    this.#giveCredit();
  }

  /**
   * @override
   * @param {Uint8Array} chunk
   * @param {BufferEncoding} _encoding
   * @param {Callback} callback
   */
  _write(chunk, _encoding, callback) {
    this.#send([chunk], callback);
  }

  /**
   * @override
   * @param {{ chunk: Buffer }[]} entries
   * @param {Callback} callback
   */
  _writev(entries, callback) {
    this.#send(joined(entries), callback);
  }

  /**
   * @override
   * @param {Callback} callback
   */
  _final(callback) {
    if (this.#gone) return callback();
    this.#ending = true;
    this.#done = inThisContext(callback);
    this.#line.end(this.#id);
  }

  /**
   * @override
   * @param {Error | null} error
   * @param {Callback} callback
   */
  _destroy(error, callback) {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#queue = [];
    if (!this.#gone) this.#line.destroy(this.#id);
    const done = this.#done;
    this.#done = undefined;
    callback(error);
    // As `net.Socket` does: whoever waits for the write waits no longer, whatever became of it.
    done?.(null);
    this._scope.run(process.nextTick, process, () => this.emit("close", error !== null));
  }

  /** @internal @param {Buffer} data */
  _onData(data) {
    if (this.destroyed) return;
    this.#bytesRead += data.length;
    this.#owed += data.length;
    this.#active();
    if (this.push(data)) this.#giveCredit();
  }

  /** @internal */
  _onEnded() {
    if (this.destroyed) return;
    this.push(null);
    // Nobody who does not read would hear of the end.
    if (this.readableLength === 0) this.read(0);
  }

  /** @internal @param {number} bytes 0 for the end */
  _onWritten(bytes) {
    if (this.destroyed) return;
    this.#active();
    this.#inFlight -= bytes;
    if (bytes === 0) this.#finish();
    else this.#fill();
  }

  /** @internal @param {Error} [error] */
  _onClosed(error) {
    this.#gone = true;
    // Without an error both sides have ended: what was read may still wait for its reader.
    if (error !== undefined) this.destroy(error);
  }

  /**
   * @param {Uint8Array[]} chunks
   * @param {Callback} callback
   */
  #send(chunks, callback) {
    this.#active();
    this.#done = callback;
    this.#queue = chunks.filter((chunk) => chunk.length > 0);
    this.#length = this.#queue.reduce((sum, chunk) => sum + chunk.length, 0);
    this.#fill();
    if (this.#done !== undefined) this.#done = inThisContext(callback);
  }

  /** Hands over as much of the write as the window takes. */
  #fill() {
    let chunk;
    while (this.#inFlight < WINDOW && (chunk = this.#queue.shift()) !== undefined) {
      if (lengthOf(chunk) === 0) return void this.destroy(invalidState("The bytes were transferred while they were written."));
      const piece = chunk.subarray(0, PIECE);
      if (piece.length < chunk.length) this.#queue.unshift(chunk.subarray(PIECE));
      this.#inFlight += piece.length;
      this.#line.write(this.#id, piece);
    }
    if (this.#queue.length === 0 && this.#inFlight < BUFFERED && !this.#ending) this.#finish();
  }

  #finish() {
    this.#bytesWritten += this.#length;
    this.#length = 0;
    const done = this.#done;
    this.#done = undefined;
    done?.();
  }

  #giveCredit() {
    if (this.#owed < CREDIT || this.#gone || this.destroyed) return;
    this.#line.credit(this.#id, this.#owed);
    this.#owed = 0;
  }

  #active() {
    this.#timer?.refresh();
  }
}

/**
 * What was written, with small neighbours put together.
 *
 * @param {{ chunk: Buffer }[]} entries
 */
function joined(entries) {
  const pieces = [];
  /** @type {Buffer[]} */
  let small = [];
  let length = 0;
  for (const { chunk } of entries) {
    if (chunk.length >= JOIN) {
      pieces.push(...together(small, length), chunk);
      [small, length] = [[], 0];
    } else {
      small.push(chunk);
      length += chunk.length;
      if (length < BUFFERED) continue;
      pieces.push(...together(small, length));
      [small, length] = [[], 0];
    }
  }
  return [...pieces, ...together(small, length)];
}

/**
 * @param {Buffer[]} chunks
 * @param {number} length
 */
function together(chunks, length) {
  return chunks.length > 1 ? [Buffer.concat(chunks, length)] : chunks;
}

/** @param {string} address */
export function familyOf(address) {
  return address.includes(":") ? "IPv6" : "IPv4";
}
