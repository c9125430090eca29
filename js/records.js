// Reads the log of a native server and hands each record to whom it concerns. The layout is that
// of `src/node/record.rs`.
import { BESIDE, bytesAt, chunk, float, LARGE, longs, word32, words } from "./chunk.js";
import { dispatchServer } from "./server-records.js";
import { SHORT, shortText } from "./short-text.js";
import { OF_TRANSACTIONS, dispatchTransaction } from "./transaction-records.js";
import { DataKind } from "./numbers.js";

/** Chunks handed out before other work of the event loop gets its turn. */
const TURN = 8;

/** Payloads from this size on are not copied: below it, a finalizer costs more. */
const ADOPTED_FROM = 32 * 1024;

/** Adopted bytes after which the engine is reminded of them. */
const REMINDER = 1024 * 1024;

const ASCII = 0;
const UTF8 = 1;
const BINARY = 2;
const ERROR = 3;
const SETTLED = 4;
const JOINED = 5;
const DROPPED = 6;
const STATISTICS = 7;
const CONNECTED = 8;
const OPENED = 9;
const CLOSED = 10;
const HELD_ASCII = 16;
const HELD_UTF8 = 17;
const HELD_BINARY = 18;
const HELD_ERROR = 19;
const GONE = 27;
const HOOK_SET = 32;
const PEER_OPENED = 34;

const { UTF8: UTF8_MESSAGE, BINARY: BINARY_MESSAGE, ERROR: ERROR_MESSAGE } = DataKind;

const NO_BYTES = Buffer.alloc(0);

/** The kinds that concern the session whose slot they name: a bit for each. None is above 31. */
const OF_SESSIONS = [
  ASCII, UTF8, BINARY, ERROR, SETTLED, JOINED, DROPPED, STATISTICS, CONNECTED, CLOSED, GONE,
  HELD_ASCII, HELD_UTF8, HELD_BINARY, HELD_ERROR,
].reduce((mask, kind) => mask | (1 << kind), OF_TRANSACTIONS);

/** The bits of a record's second word that tell its kind; those above them tell where its payload lies. */
const KIND = 0x3f;

/** Who is concerned by all other kinds. No slot is negative. */
const SERVER = -1;

/** What a dispatch has found. */
export const NOTHING = 0;
export const SOME = 1;
export const MORE = 2;

/** @typedef {import("./session.js").CAMPServerWebsocketSession} Session */
/** @typedef {import("./native.js").NativeFunctions} NativeFunctions */
/** @typedef {import("./server-records.js").Receiver} Receiver */

export class Records {
  #native;
  #receiver;
  /** Sessions by slot. @type {(Session | undefined)[]} */
  #sessions = [];
  /** Where the next record of the current chunk begins, and where the last one ends, in words. */
  #at = 0;
  #end = 0;
  /** Whether the current chunk ended with the begin of a session. */
  #sessionOpened = false;
  /** The number of the hooks that the held messages meet. */
  #hookSet = 0;
  /** Whether what lies beside the log for the current record was not taken yet. */
  #untaken = false;
  /** Bytes adopted since the last reminder. */
  #adopted = 0;

  /**
   * The payload of the next large record, a Buffer that belongs to whoever gets it.
   *
   * @param {number} length
   */
  #largeBytes = (length) => {
    if (length >= ADOPTED_FROM) {
      this.#adopted += length;
      if (this.#adopted >= REMINDER) {
        this.#adopted = 0;
        // V8 sees to its young buffers only where it makes one itself. Else those adopted are left for a collection
        // of the whole heap, one for every few dozen MiB.
        void new ArrayBuffer(1);
      }
      this.#untaken = false;
      return this.#native.readBuffer();
    }
    const data = Buffer.allocUnsafeSlow(length);
    this.#untaken = false;
    this.#native.readBytes(data);
    return data;
  };

  /**
   * @param {NativeFunctions} native
   * @param {Receiver} receiver
   */
  constructor(native, receiver) {
    this.#native = native;
    this.#receiver = receiver;
  }

  /**
   * Hands out what there is.
   *
   * @param {boolean} stays whether the caller comes back by itself
   * @returns {number} NOTHING, SOME, or MORE: there may be more, and nothing else will say so
   */
  dispatch(stays) {
    for (let turn = 0; turn < TURN; turn++) {
      const bytes = this.#native.read(chunk, stays);
      if (bytes === 0) return turn === 0 ? NOTHING : SOME;
      this.#dispatchChunk(bytes);
      // What follows a new session comes in a turn of its own: `await once(server, "session")`
      // continues before that session's first event.
      if (this.#sessionOpened) break;
    }
    this.#sessionOpened = false;
    return MORE;
  }

  /** @param {number} bytes */
  #dispatchChunk(bytes) {
    this.#at = 0;
    this.#end = bytes >>> 2;
    while (this.#at < this.#end) {
      const owner = ownerOf(this.#at);
      const scope = this.#sessions[owner]?._scope ?? this.#receiver.scope;
      // Once for all records in a row that concern the same session: a scope costs more than a short message.
      scope.run(this.#dispatchRun, this, owner);
    }
  }

  /**
   * Hands out records as long as they concern the same session.
   *
   * @param {number} owner its slot, or SERVER
   */
  #dispatchRun(owner) {
    const end = this.#end;
    let at = this.#at;
    try {
      do {
        const slot = /** @type {number} */ (words[at]);
        const word = /** @type {number} */ (words[at + 1]);
        const length = word >>> 8;
        const start = (at + 2) << 2;
        at += 2 + ((word & LARGE) === 0 ? ((length + 7) >>> 3) << 1 : 0);
        switch (word & 0xff) {
          case ASCII: {
            const text = length <= SHORT ? shortText(chunk, start, length) : chunk.latin1Slice(start, start + length);
            this.#session(slot)?._message(UTF8_MESSAGE, text);
            break;
          }
          case UTF8:
            this.#session(slot)?._message(UTF8_MESSAGE, chunk.ucs2Slice(start, start + length));
            break;
          case BINARY:
            this.#session(slot)?._message(BINARY_MESSAGE, bytesAt(start, length));
            break;
          case ERROR:
            this.#session(slot)?._message(ERROR_MESSAGE, chunk.utf8Slice(start, start + length));
            break;
          case SETTLED: {
            const i = start >>> 2;
            this.#session(slot)?._settle(word32(i), word32(i + 1), word32(i + 2));
            break;
          }
          default:
            if ((word & (LARGE | BESIDE)) === 0) this.#dispatchRare(slot, word, start, length);
            else this.#dispatchBeside(slot, word, start, length);
        }
      } while (at < end && ownerOf(at) === owner);
    } catch (error) {
      // Those behind it are handed out all the same.
      this.#receiver.fault(error);
    } finally {
      this.#at = at;
    }
  }

  /**
   * What lies beside the log is taken in order, also if nobody wants it, or if its kind is not known.
   *
   * @param {number} slot
   * @param {number} word
   * @param {number} start
   * @param {number} length
   */
  #dispatchBeside(slot, word, start, length) {
    this.#untaken = true;
    try {
      this.#dispatchRare(slot, word, start, length);
    } finally {
      if (this.#untaken) this.#native.readBytes(NO_BYTES);
    }
  }

  #largeText() {
    this.#untaken = false;
    return this.#native.readText();
  }

  /**
   * @param {number} slot
   * @param {number} word
   * @param {number} start
   * @param {number} length
   */
  #dispatchRare(slot, word, start, length) {
    const i = start >>> 2;
    const f = start >>> 3;
    switch (word & 0xff) {
      case UTF8 | LARGE: {
        const text = this.#largeText();
        this.#session(slot)?._message(UTF8_MESSAGE, text);
        break;
      }
      case BINARY | LARGE: {
        const data = this.#largeBytes(length);
        this.#session(slot)?._message(BINARY_MESSAGE, data);
        break;
      }
      case ERROR | LARGE: {
        const text = this.#largeText();
        this.#session(slot)?._message(ERROR_MESSAGE, text);
        break;
      }
      case JOINED:
        this.#session(slot)?._join(word32(i), word32(i + 1));
        break;
      case DROPPED:
        this.#session(slot)?._dropped(word32(i), word32(i + 1));
        break;
      case STATISTICS:
        this.#session(slot)?._statistics(float(f), float(f + 1), float(f + 2), word32(i + 6));
        break;
      case CONNECTED:
        this.#session(slot)?._emit("connected");
        break;
      case OPENED:
        this.#opened(slot, chunk.subarray(start, start + length));
        break;
      case OPENED | LARGE:
        this.#opened(slot, this.#largeBytes(length));
        break;
      case CLOSED: {
        const session = this.#session(slot);
        const outlived = session?._outlived ?? false;
        try {
          session?._end(float(f), float(f + 1), word32(i + 4), chunk.utf8Slice(start + 20, start + length));
        } finally {
          if (!outlived) {
            this.#sessions[slot] = undefined;
            this.#receiver.closed(slot);
          }
        }
        break;
      }
      case PEER_OPENED: {
        const sid = BigInt.asUintN(64, longs[f] ?? 0n);
        this.#begin(slot, this.#receiver.peerOpened(slot, word32(i + 2), sid, chunk.latin1Slice(start + 16, start + length)));
        break;
      }
      case HOOK_SET:
        this.#hookSet = word32(i);
        break;
      case HELD_ASCII:
        this.#held(slot, UTF8_MESSAGE, chunk.latin1Slice(start, start + length));
        break;
      case HELD_UTF8:
        this.#held(slot, UTF8_MESSAGE, chunk.ucs2Slice(start, start + length));
        break;
      case HELD_UTF8 | LARGE:
        this.#held(slot, UTF8_MESSAGE, this.#largeText());
        break;
      case HELD_BINARY:
        this.#held(slot, BINARY_MESSAGE, bytesAt(start, length));
        break;
      case HELD_BINARY | LARGE:
        this.#held(slot, BINARY_MESSAGE, this.#largeBytes(length));
        break;
      case HELD_ERROR:
        this.#held(slot, ERROR_MESSAGE, chunk.utf8Slice(start, start + length));
        break;
      case HELD_ERROR | LARGE:
        this.#held(slot, ERROR_MESSAGE, this.#largeText());
        break;
      case GONE: {
        const session = this.#session(slot);
        this.#sessions[slot] = undefined;
        try {
          session?._gone();
        } finally {
          this.#receiver.closed(slot);
        }
        break;
      }
      default:
        if (isOfTransactions(word & KIND)) dispatchTransaction(this.#session(slot)?.transaction, word, start, length, this.#largeBytes);
        else dispatchServer(this.#receiver, slot, word, start, length, this.#largeBytes);
    }
  }

  /**
   * A message whose hooks run before it is acknowledged.
   *
   * @param {number} slot
   * @param {number} kind
   * @param {string | Buffer} message
   */
  #held(slot, kind, message) {
    this.#session(slot)?._held(this.#hookSet, kind, message);
  }

  /** @param {number} slot */
  #session(slot) {
    return this.#sessions[slot];
  }

  /**
   * `[sid u64][remote length u32]`, remote address, token
   *
   * @param {number} slot
   * @param {Buffer} payload
   */
  #opened(slot, payload) {
    const { buffer, byteOffset } = payload;
    const sid = new BigUint64Array(buffer, byteOffset, 1)[0] ?? 0n;
    const remoteLength = new Uint32Array(buffer, byteOffset + 8, 1)[0] ?? 0;
    const remote = payload.latin1Slice(12, 12 + remoteLength);
    const token = payload.utf8Slice(12 + remoteLength, payload.length);
    this.#begin(slot, this.#receiver.opened(slot, sid, remote, token));
  }

  /**
   * @param {number} slot
   * @param {Session | undefined} session `undefined`: it is over before it has begun
   */
  #begin(slot, session) {
    while (this.#sessions.length <= slot) this.#sessions.push(undefined);
    this.#sessionOpened = true;
    this.#sessions[slot] = session;
  }
}

/** @param {number} kind */
function isOfTransactions(kind) {
  return kind < 32 && (OF_TRANSACTIONS & (1 << kind)) !== 0;
}

/**
 * Whom the record there concerns: the slot of a session, or SERVER.
 *
 * @param {number} at in words
 */
function ownerOf(at) {
  const kind = word32(at + 1) & KIND;
  return kind < 32 && (OF_SESSIONS & (1 << kind)) !== 0 ? word32(at) : SERVER;
}
