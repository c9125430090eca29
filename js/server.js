// The server: listens, validates clients, and owns their sessions.
import { EventEmitter } from "node:events";
import { CAMPError } from "./errors.js";
import { HttpInterop } from "./http.js";
import { createNativeServer } from "./native.js";
import { policyName, readOptions } from "./options.js";
import { Records } from "./records.js";
import { CAMPServerWebsocketSession } from "./session.js";
import { askValidator } from "./validation.js";

/** @typedef {import("../index.js").ITokenValidator} ITokenValidator */
/** @typedef {import("../index.js").ICAMPWebsocketServerOptions} Options */
/** @typedef {import("node:net").AddressInfo} AddressInfo */

export class CAMPWebsocketServer extends EventEmitter {
  #validator;
  #records;
  /** @type {AddressInfo | null} */
  #address = null;
  /** Made when it is first asked for. @type {HttpInterop | undefined} */
  #http;
  #secure;
  /** False once new connections are refused for good. */
  #accepting = true;
  #sessionCount = 0;
  /** @type {Promise<void> | undefined} */
  #destroyed;
  #onStopped = () => {};
  #stopped = false;
  /** Whether something was sent that was not handed over yet. */
  #unflushed = false;
  #dispatching = false;
  #flush;
  #dispatch;

  /**
   * @internal
   * @param {ITokenValidator} validator
   * @param {Options} [options]
   */
  constructor(validator, options) {
    if (typeof validator?.validate !== "function") {
      throw new TypeError("validator must have a validate function.");
    }
    super({ captureRejections: true });
    const settings = readOptions(options);
    this.#validator = validator;
    this.#secure = settings.cert !== undefined;
    this.#flush = () => this.#flushNow();
    this.#dispatch = () => this.#dispatchNow();
    this._settings = { ackTimeoutMs: settings.ackTimeoutMs, dropPolicy: policyName(settings.dropPolicy) };
    this._native = createNativeServer(settings, this.#dispatch);
    /** @type {import("./native.js").NativeFunctions} */
    this._functions = /** @type {any} */ (this._native.functions());
    this.#records = new Records(this._functions, {
      opened: (slot, sid, remote, token) => this.#onOpened(slot, sid, remote, token),
      closed: (slot) => {
        this.#sessionCount--;
        this.#order(() => this._native.release(slot));
      },
      validate: (id, payload) => this.#onValidate(id, payload),
      validationCancelled: () => {},
      listening: (port, family, address) => this.#onListening(port, family, address),
      failed: (code, message) => this.#onFailed(code, message, settings.host, settings.port),
      stopped: () => this.#onStop(),
      http: () => this.#http,
    });
  }

  get http_server() {
    return (this.#http ??= this.#openHttp()).server;
  }

  address() {
    return this.#address;
  }

  Destroy() {
    this.#destroyed ??= new Promise((resolve) => {
      this.#accepting = false;
      this.#address = null;
      if (this.#stopped) return resolve();
      this.#onStopped = resolve;
      this.#http?.destroy();
      this.#order(() => this._native.shutdown());
    });
    return this.#destroyed;
  }

  [Symbol.asyncDispose]() {
    return this.Destroy();
  }

  /**
   * A listener's promise was rejected.
   *
   * @param {unknown} error
   * @param {string | symbol} event
   * @param {unknown[]} args
   */
  [Symbol.for("nodejs.rejection")](error, event, ...args) {
    const [session] = args;
    this._onListenerError(error, event, session instanceof CAMPServerWebsocketSession ? session : undefined);
  }

  /**
   * @internal
   * @param {unknown} error
   * @param {string | symbol} event
   * @param {CAMPServerWebsocketSession} [session]
   */
  _onListenerError(error, event, session) {
    if (event !== "listener-error" && this.listenerCount("listener-error") > 0) {
      try {
        this.emit("listener-error", error, String(event), session);
        return;
      } catch (second) {
        console.error(`camp-server: a listener of "listener-error" threw:`, second);
      }
    }
    // A listener whose own send was cut short by the end of its session has done nothing wrong.
    if (error instanceof CAMPError && error.code === "ERR_CAMP_SESSION_CLOSED") return;
    console.error(`camp-server: a listener of "${String(event)}" threw:`, error);
  }

  /** @internal Sees to it that what was sent in this tick is handed over. */
  _schedule() {
    if (this.#unflushed) return;
    this.#unflushed = true;
    if (!this.#dispatching) process.nextTick(this.#flush);
  }

  /** @param {() => void} order */
  #order(order) {
    if (this.#stopped) return;
    order();
    this._schedule();
  }

  #flushNow() {
    if (!this.#unflushed) return;
    this.#unflushed = false;
    this._functions.flush();
  }

  #dispatchNow() {
    this.#dispatching = true;
    try {
      if (this.#records.dispatch()) setImmediate(this.#dispatch);
    } finally {
      this.#dispatching = false;
      this.#flushNow();
    }
  }

  /**
   * @param {number} slot
   * @param {bigint} sid
   * @param {string} remote
   * @param {string} token
   */
  #onOpened(slot, sid, remote, token) {
    this.#sessionCount++;
    const session = new CAMPServerWebsocketSession(this, slot, sid, token, remote);
    this.#emit("session", session);
    return session;
  }

  /**
   * @param {number} id
   * @param {Buffer} payload
   */
  #onValidate(id, payload) {
    askValidator(this.#validator, payload, (accepted) => this.#order(() => this._native.validated(id, accepted)));
  }

  /**
   * @param {number} port
   * @param {number} family
   * @param {string} address
   */
  #onListening(port, family, address) {
    if (!this.#accepting) return;
    this.#address = { port, family: `IPv${family}`, address };
    this.#emit("listening");
    this.#http?.listening();
  }

  /**
   * @param {string} code
   * @param {string} message
   * @param {string | undefined} host
   * @param {number} port
   */
  #onFailed(code, message, host, port) {
    this.#http?.over();
    this.#onStop();
    const text = `listen ${code}: ${message} ${host ?? "::"}:${port}`;
    const error = Object.assign(new Error(text), { code, syscall: "listen", address: host ?? "::", port });
    // Outside of the batch: without a listener this throws, as an `error` event does.
    process.nextTick(() => {
      const heard = this.#http?.failed(error) ?? false;
      if (!heard || this.listenerCount("error") > 0) this.emit("error", error);
    });
  }

  #openHttp() {
    const opened = new HttpInterop({
      secure: this.#secure,
      order: (give) => this.#order(() => give(this._native)),
      interest: (bits) => this._native.httpInterest(bits),
      address: () => this.#address,
      sessions: () => this.#sessionCount,
      close: () => this.#stopAccepting(),
    });
    if (this.#stopped) opened.over();
    else if (this.#destroyed !== undefined) opened.destroy();
    else if (this.#address !== null) opened.listening();
    return opened;
  }

  #stopAccepting() {
    this.#accepting = false;
    this.#address = null;
    this.#order(() => this._native.stopAccepting());
  }

  #onStop() {
    if (this.#stopped) return;
    this.#stopped = true;
    // Slots given back in this very batch are still handed over.
    this.#flushNow();
    this._native.dispose();
    this.#http?.stopped();
    this.#onStopped();
  }

  /**
   * @param {string} event
   * @param {CAMPServerWebsocketSession} [session]
   */
  #emit(event, session) {
    try {
      this.emit(event, session);
    } catch (error) {
      this._onListenerError(error, event, session);
    }
  }
}
