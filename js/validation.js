// Asks the application whether a client may connect.
import { Verdict } from "./numbers.js";
import { debugSection } from "./options.js";
import { printable } from "./printing.js";
import { peek, report } from "./report.js";
import { warn } from "./warnings.js";

/** @typedef {import("../index.js").ITokenValidator} ITokenValidator */
/** @typedef {import("./scope.js").Scope} Scope */

const LITTLE_ENDIAN = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;

const { REFUSED, ACCEPTED, FAILED } = Verdict;

/**
 * Who is told.
 *
 * @typedef {object} Receiver
 * @property {(id: number, verdict: number) => void} answer
 * @property {(error: unknown, request: UpgradeRequest) => boolean} failed false: nobody has taken it
 */

/** Where the token's length is, see `validate` in `src/node/record.rs`. */
const TOKEN_AT = 4 + 8;

/** The requests of one server that are being validated. */
export class Validations {
  #validator;
  #receiver;
  #origin;
  #debug = debugSection("CAMP_SERVER");
  /** @type {Map<number, UpgradeRequest>} */
  #pending = new Map();
  /** Whether an answer that is no boolean was warned of. */
  #warned = false;

  /**
   * @param {ITokenValidator} validator
   * @param {Receiver} receiver
   * @param {import("./scope.js").Origin} origin whose context each of them begins with
   */
  constructor(validator, receiver, origin) {
    this.#validator = validator;
    this.#receiver = receiver;
    this.#origin = origin;
  }

  /**
   * Only `true`, or what counts as true, lets a client in; a throw or a rejection does not. A
   * validator that never settles is given up natively.
   *
   * @param {number} id
   * @param {Buffer} payload see `validate` in `src/node/record.rs`
   */
  ask(id, payload) {
    const request = new UpgradeRequest(payload, this.#origin.scope("CAMPValidation"));
    /** @type {any} */
    let verdict;
    let settled;
    try {
      verdict = request._scope.run(this.#validator.validate, this.#validator, request._token(), request);
      if (typeof (/** @type {any} */ (verdict)?.then) !== "function") return this.#receiver.answer(id, this.#read(verdict));
      settled = new Promise((resolve) => resolve(verdict));
    } catch (error) {
      this.#receiver.answer(id, FAILED);
      return this.#failed(error, request);
    }
    this.#pending.set(id, request);
    settled.then(
      (accepted) => this.#settle(id, this.#read(accepted)),
      (error) => {
        const isWanted = this.#settle(id, FAILED);
        // One that has heeded the signal of a client that has given up has done what it should.
        if (isWanted || !isAbort(error, request)) this.#failed(error, request);
      },
    );
  }

  /**
   * What a validator has answered. Not the answer itself is quoted: it may be what the token stands for.
   *
   * @param {unknown} answer
   */
  #read(answer) {
    if (typeof answer !== "boolean" && (answer || answer === undefined) && !this.#warned) {
      this.#warned = true;
      const what = `validate has given ${answer === undefined ? "undefined" : `a value of the type ${typeof answer}`}`;
      warn("CAMP_VALIDATOR_RESULT", `${what}, which counts as ${Boolean(answer)}: give true to let a client in, false to refuse it.`);
    }
    return answer ? ACCEPTED : REFUSED;
  }

  /**
   * Tells where a validator failed. What is printed does not have the message: that may quote the token.
   *
   * @param {unknown} error
   * @param {UpgradeRequest} request
   */
  #failed(error, request) {
    const isHeard = this.#receiver.failed(error, request);
    if (isHeard && !this.#debug) return;
    const where = /(?:\n {4}at .*)+$/.exec(text(peek(error, "stack")))?.[0] ?? "";
    const kind = text(peek(error, "code")) || text(peek(error, "name")) || typeof error;
    report(`${this.#debug ? "CAMP_SERVER" : "camp-server:"} validate failed with ${kind}${where}`);
  }

  /**
   * The client has given up, or its time is over.
   *
   * @param {number} id
   */
  cancel(id) {
    const request = this.#pending.get(id);
    this.#pending.delete(id);
    request?._scope.run(request._abort, request);
  }

  /**
   * False: nobody waits for the answer any more.
   *
   * @param {number} id
   * @param {number} verdict
   */
  #settle(id, verdict) {
    if (!this.#pending.delete(id)) return false;
    this.#receiver.answer(id, verdict);
    return true;
  }
}

/**
 * Whether a validator was given up, and has failed for that alone.
 *
 * @param {unknown} error
 * @param {UpgradeRequest} request
 */
function isAbort(error, request) {
  return peek(error, "name") === "AbortError" || (error !== undefined && error === request._reason);
}

/** @param {unknown} value */
function text(value) {
  return typeof value === "string" || typeof value === "number" ? String(value) : "";
}

/** What a validator may know of a client. Nothing is decoded before it is asked for. */
class UpgradeRequest {
  #payload;
  /** @type {Record<string, string> | undefined} */
  #headers;
  /** @type {AbortController | undefined} */
  #abort;
  #aborted = false;

  /**
   * @param {Buffer} payload
   * @param {Scope} scope what the validator runs in
   */
  constructor(payload, scope) {
    this.#payload = payload;
    /** @internal */
    this._scope = scope;
  }

  get sid() {
    const { buffer, byteOffset } = this.#payload;
    return new DataView(buffer, byteOffset).getBigUint64(4, LITTLE_ENDIAN);
  }

  get url() {
    return this.#text(this.#after(TOKEN_AT));
  }

  get remoteAddress() {
    return this.#text(this.#after(this.#after(TOKEN_AT)));
  }

  get headers() {
    return (this.#headers ??= this.#readHeaders());
  }

  get signal() {
    if (this.#abort === undefined) {
      this.#abort = new AbortController();
      if (this.#aborted) this.#abort.abort();
    }
    return this.#abort.signal;
  }

  /** @internal */
  _token() {
    return this.#text(TOKEN_AT);
  }

  /** @internal What the signal was aborted with. */
  get _reason() {
    return this.#abort?.signal.reason;
  }

  /** @internal */
  _abort() {
    this.#aborted = true;
    this.#abort?.abort();
  }

  /** As Node's `IncomingMessage.headers`: names in lower case, repeated fields joined. */
  #readHeaders() {
    /** @type {Record<string, string>} */
    const headers = {};
    let at = this.#after(this.#after(this.#after(TOKEN_AT)));
    while (at < this.#payload.length) {
      const name = this.#latin1(at).toLowerCase();
      at = this.#after(at);
      const value = this.#latin1(at);
      at = this.#after(at);
      const earlier = Object.hasOwn(headers, name) ? headers[name] : undefined;
      headers[name] = earlier === undefined ? value : `${earlier}${name === "cookie" ? "; " : ", "}${value}`;
    }
    return headers;
  }

  /** @param {number} at where a field's length is */
  #text(at) {
    return this.#payload.utf8Slice(at + 4, this.#after(at));
  }

  /** @param {number} at where a field's length is */
  #latin1(at) {
    return this.#payload.latin1Slice(at + 4, this.#after(at));
  }

  /**
   * Where the next field's length is.
   *
   * @param {number} at where a field's length is
   */
  #after(at) {
    const { buffer, byteOffset } = this.#payload;
    return at + 4 + new DataView(buffer, byteOffset).getUint32(at, LITTLE_ENDIAN);
  }
}

// The token may be in the query, in a field, and in what a proxy makes of either.
printable(UpgradeRequest, "CAMPUpgradeRequest", (request) => ({
  sid: request.sid,
  path: request.url.replace(/\?[^]*$/, ""),
  remoteAddress: request.remoteAddress,
}));
