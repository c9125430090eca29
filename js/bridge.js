// The JavaScript end of a connection that the native side has handed over: what `net.Socket` is to
// an `http.Server`.
import { clearTimeout, nextTick, setTimeout } from "./clock.js";
import { Duplex } from "node:stream";
import { BUFFERED, joined } from "./bridge-write.js";
import { checkCallback, keepAliveDelay, timerDelay } from "./bridge-arguments.js";
import { lengthOf } from "./bytes.js";
import { invalidState } from "./errors.js";
import { inThisContext } from "./scope.js";

/** Bytes given to the native side and not yet written, at which more is held back here. */
const WINDOW = 512 * 1024;

/** Bytes of one order. */
const PIECE = 256 * 1024;

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
 * @property {(id: number) => void} reset
 * @property {(id: number) => void} hold
 * @property {(id: number, data: Uint8Array) => void} giveBack
 * @property {(id: number) => void} takeBack
 * @property {(id: number, on: boolean) => void} noDelay
 * @property {(id: number, on: boolean, idleMs: number) => void} keepAlive
 * @property {(id: number, held: boolean) => void} ref
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
  /** What CAMP is to read, once the connection is to be given back. @type {Uint8Array[] | undefined} */
  #unread;
  /** Node's, while it reads requests. @type {unknown} */
  parser;
  /** Node's: the answer that is being written. @type {import("node:http").ServerResponse | null | undefined} */
  _httpMessage;

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

  /** As of `net.Socket`: not connected any more. */
  get pending() {
    return this.destroyed;
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
    const delay = timerDelay(ms);
    checkCallback(callback);
    this.timeout = ms;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (delay > 0) {
      // Like the timers of `net.Socket` it does not keep the process alive. CAMP's sessions know none.
      if (this.#unread === undefined) this.#timer = setTimeout(() => this.emit("timeout"), delay).unref();
      if (callback !== undefined) this.once("timeout", callback);
    } else if (callback !== undefined) {
      this.removeListener("timeout", callback);
    }
    return this;
  }

  /** At first it is on. @param {boolean} [on] */
  setNoDelay(on = true) {
    if (!this.#gone) this.#line.noDelay(this.#id, Boolean(on));
    return this;
  }

  /**
   * @param {boolean} [on]
   * @param {number} [initialDelay] milliseconds; less than a second: as the system has it
   */
  setKeepAlive(on = false, initialDelay = 0) {
    if (!this.#gone) this.#line.keepAlive(this.#id, Boolean(on), keepAliveDelay(initialDelay));
    return this;
  }

  ref() {
    return this.#hold(true);
  }

  unref() {
    return this.#hold(false);
  }

  /** Ends once everything is written, then destroys. */
  destroySoon() {
    if (this.writable) this.end();
    if (this.writableFinished) this.destroy();
    else this.once("finish", () => this.destroy());
  }

  resetAndDestroy() {
    if (!this.#gone && !this.destroyed) {
      this.#line.reset(this.#id);
      this.#gone = true;
    }
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
    if (this.#unread !== undefined) {
      this.#returnUnread(this.#unread);
      return callback();
    }
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
    this._scope.run(nextTick, undefined, () => this.emit("close", error !== null));
  }

  /** @internal @param {Buffer} data */
  _onData(data) {
    if (this.destroyed) return;
    if (this.#unread !== undefined) return void this.#unread.push(data);
    this.#bytesRead += data.length;
    this.#owed += data.length;
    this.#active();
    if (this.push(data)) this.#giveCredit();
  }

  /** @internal */
  _onEnded() {
    if (this.destroyed) return;
    if (this.#unread !== undefined) {
      // Nobody is left to take the answer that is owed; if none is, CAMP will find out.
      if (this._httpMessage) this.destroy();
      return;
    }
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
    // The application has nothing to do with it any more.
    if (this.#unread !== undefined) return void this.destroy();
    // Without an error both sides have ended: what was read may still wait for its reader.
    if (error !== undefined) this.destroy(error);
  }

  /**
   * @internal Makes the connection CAMP's, with these bytes and all that follow, once what is owed to the client
   *   is written.
   *
   * @param {Uint8Array[]} unread
   */
  _giveBack(unread) {
    this.#unread = unread;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    let chunk;
    while ((chunk = this.read()) !== null) unread.push(chunk);
    if (!this.#gone) this.#line.hold(this.#id);
  }

  /** @internal All that was passed on before is here. */
  _onHeld() {
    if (this.destroyed) return;
    const answer = this._httpMessage;
    if (answer) answer.once("close", () => this._onHeld());
    else this.end();
  }

  /** @param {Uint8Array[]} unread */
  #returnUnread(unread) {
    for (const bytes of unread) {
      for (let at = 0; at < bytes.length; at += PIECE) this.#line.giveBack(this.#id, bytes.subarray(at, at + PIECE));
    }
    this.#line.takeBack(this.#id);
    this.#gone = true;
    nextTick(() => this.destroy());
  }

  /** @param {boolean} held */
  #hold(held) {
    if (!this.#gone) this.#line.ref(this.#id, held);
    return this;
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
    if (this.#owed < CREDIT || this.#gone || this.destroyed || this.#unread !== undefined) return;
    this.#line.credit(this.#id, this.#owed);
    this.#owed = 0;
  }

  #active() {
    this.#timer?.refresh();
  }
}

/** @param {string} address */
export function familyOf(address) {
  return address.includes(":") ? "IPv6" : "IPv4";
}
