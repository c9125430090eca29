// The feeding of the native side with what is streamed to a peer.
import { onAbort } from "./abort.js";
import { lengthOf } from "./bytes.js";
import { clearTimeout, setTimeout } from "./clock.js";
import { abortError, invalidState, streamTimeout } from "./errors.js";
import { SourceKind } from "./numbers.js";
import { inThisContext } from "./scope.js";
import { WatchedPromise, isNobodysFault } from "./unheard.js";

/** @typedef {import("./sources.js").Source} Source */

/** Bytes handed over in one call at most. */
export const PIECE = 256 * 1024;

/** Bytes that may be fed before the native side has said how many more it takes: as many as it lets go out unasked. */
const INITIAL_CREDIT = 1024 * 1024;

/** Transfers of one session that may each be fed so far ahead. Further ones make do with less: nobody says how many there are. */
const CROWD = 64;
const CREDIT_IN_CROWD = 64 * 1024;

/**
 * What the native side is told while one transaction is fed.
 *
 * @typedef {object} Sink
 * @property {(bytes: Uint8Array) => void} data copies the bytes
 * @property {() => void} end
 * @property {() => void} abort
 * @property {() => void} over nothing more comes from this transfer
 */

/**
 * Whether one more than these transfers of a session is one of too many to be fed far ahead.
 *
 * @param {number} others
 */
export function isCrowd(others) {
  return others >= CROWD;
}

/** One outgoing transaction: feeds what the source gives, no faster than it is taken. */
export class Transfer {
  #source;
  #sink;
  #call;
  #release;
  #forgetSignal = ignore;
  /** @type {NodeJS.Timeout | undefined} */
  #timer;
  #credit;
  /** Whether the source has been read to its end. */
  #read = false;
  #over = false;
  /** Continues the feeding that waits for credit. */
  #wake = ignore;
  /** @type {() => void} */
  #resolve = ignore;
  /** @type {(reason: unknown) => void} */
  #reject = ignore;

  /**
   * @param {Source} source
   * @param {Sink} sink
   * @param {{ name: string, signal?: AbortSignal | undefined, timeoutMs?: number | undefined }} settings
   * @param {import("./unheard.js").Call} call
   * @param {boolean} crowded
   */
  constructor(source, sink, { name, signal, timeoutMs }, call, crowded) {
    this.#credit = crowded ? CREDIT_IN_CROWD : INITIAL_CREDIT;
    this.#source = source;
    this.#sink = sink;
    this.#call = call;
    // Code of the application, whoever brings the end about.
    this.#release = inThisContext(source.release);
    /** @type {WatchedPromise<void>} */
    this.promise = new WatchedPromise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.promise._hush();
    if (signal !== undefined) this.#forgetSignal = onAbort(signal, () => this.#fail(abortError(signal)));
    if (timeoutMs !== undefined) this.#timer = setTimeout(() => this.#fail(streamTimeout(name, timeoutMs)), timeoutMs);
    source.watch?.((error) => this.#failed(error));
    if (source.kind === SourceKind.FILE) this.#read = true;
    else this.#feed();
  }

  /**
   * That many more bytes may be fed.
   *
   * @param {number} bytes
   */
  grant(bytes) {
    this.#credit += bytes;
    this.#wake();
  }

  /**
   * The native side is done with this transaction.
   *
   * @param {Error} [error] why it has failed
   * @param {boolean} [ofSource] whether that is the source's fault
   */
  settle(error, ofSource = false) {
    if (this.#over) return;
    this.#end();
    if (error === undefined) return this.#resolve();
    this.#reject(error);
    if (ofSource) this.promise._blame(error, this.#call);
  }

  /**
   * The source has failed: the caller's concern, unless it was told to.
   *
   * @param {unknown} error
   */
  #failed(error) {
    if (this.#over) return;
    this.#fail(error);
    if (!isNobodysFault(error)) this.promise._blame(error, this.#call);
  }

  /** @param {unknown} reason */
  #fail(reason) {
    if (this.#over) return;
    this.#sink.abort();
    this.#end();
    this.#reject(reason);
  }

  #end() {
    this.#over = true;
    clearTimeout(this.#timer);
    this.#sink.over();
    quietly(this.#forgetSignal);
    if (!this.#read) quietly(this.#release);
    this.#wake();
  }

  async #feed() {
    try {
      while (await this.#mayFeed()) {
        const bytes = await this.#source.next();
        if (this.#over) return;
        if (bytes === undefined) {
          this.#read = true;
          this.#sink.end();
          return;
        }
        await this.#pass(bytes);
      }
    } catch (error) {
      this.#failed(error);
    }
  }

  /** @param {Uint8Array} bytes */
  async #pass(bytes) {
    const length = lengthOf(bytes);
    let at = 0;
    while (at < length) {
      // No pause while there is credit: most chunks go out in one turn.
      if (this.#credit <= 0 && !(await this.#mayFeed())) return;
      if (lengthOf(bytes) !== length) throw invalidState("The bytes were resized or transferred while they were streamed.");
      const piece = bytes.subarray(at, at + Math.min(PIECE, this.#credit));
      this.#sink.data(piece);
      this.#credit -= piece.byteLength;
      at += piece.byteLength;
    }
  }

  /** Waits for credit. False: the transfer is over. */
  async #mayFeed() {
    while (this.#credit <= 0 && !this.#over) {
      await new Promise((resolve) => { this.#wake = () => resolve(undefined); });
    }
    this.#wake = ignore;
    return !this.#over;
  }
}

/**
 * Lets go of something of the application's, which is over for a reason of its own.
 *
 * @param {() => void} release
 */
function quietly(release) {
  try {
    release();
  } catch {
    // Nobody waits for it.
  }
}

function ignore() {}
