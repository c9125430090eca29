// The server: listens, validates clients, and owns their sessions.
import { clearTimeout, nextTick, setTimeout } from "./clock.js";
import { EventEmitter } from "node:events";
import { refusedChannel, sessionChannel } from "./diagnostics.js";
import { isSessionClosed, listenError, rejected, serverClosed } from "./errors.js";
import { Exchange } from "./exchange.js";
import { Extensions } from "./extensions.js";
import { HttpInterop } from "./http.js";
import { createNativeServer } from "./native.js";
import { number, policyName, readOptions } from "./options.js";
import { Peers } from "./peer.js";
import { printable } from "./printing.js";
import { Records } from "./records.js";
import { report } from "./report.js";
import { Origin } from "./scope.js";
import { SessionList } from "./session-list.js";
import { CAMPServerWebsocketSession } from "./session.js";
import { SharedPort } from "./shared-port.js";
import { prometheusText, serverStats } from "./stats.js";
import { TextOrders } from "./text-orders.js";
import { readSsl, standingTls } from "./tls-options.js";
import { heard } from "./unheard.js";
import { Validations } from "./validation.js";

/** @typedef {import("../index.js").ITokenValidator} ITokenValidator */
/** @typedef {import("../index.js").ICAMPWebsocketServerOptions} Options */
/** @typedef {import("../index.js").ICAMPExtension} Extension */
/** @typedef {import("node:net").AddressInfo} AddressInfo */

/** Milliseconds that draining takes at most by default. */
const DRAIN_MS = 10000;

/** What BYE says to the sessions of a server that ends. */
const SHUTDOWN = "Server shutdown.";

export class CAMPWebsocketServer extends EventEmitter {
  /** The context that this server was made in. */
  #origin = new Origin();
  /** Of the server's own events. */
  #scope = this.#origin.scope("CAMPServer");
  #validations;
  /** The live ones. @type {Set<CAMPServerWebsocketSession>} */
  #sessions = new Set();
  #sessionList = new SessionList(this.#sessions);
  #peers;
  #draining = false;
  /** @type {AddressInfo | null} */
  #address = null;
  /** Made when it is first asked for. @type {HttpInterop | undefined} */
  #http;
  #secure;
  #maxHeaderBytes;
  #standingTls;
  /** False once new connections are refused for good. */
  #accepting = true;
  /** False once `http_server.unref()` was called. */
  #held = true;
  /** Whether it does keep the process alive. */
  #holds = true;
  /** @type {Promise<void> | undefined} */
  #destroyed;
  #onStopped = () => {};
  #stopped = false;
  /** In a worker of a cluster. @type {SharedPort | undefined} */
  #port;

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
    this.#validations = new Validations(validator, {
      answer: (id, verdict) => this._exchange.order(() => this._native.validated(id, verdict)),
      failed: (error, request) => this._tell("validator-error", error, request),
    }, this.#origin);
    this.#secure = settings.tls !== undefined;
    this.#standingTls = standingTls(options?.ssl);
    this.#maxHeaderBytes = settings.maxHeaderBytes;
    this._settings = {
      ackTimeoutMs: settings.ackTimeoutMs,
      dropPolicy: policyName(settings.dropPolicy),
      // As much may wait for hooks as may otherwise be on its way.
      maxHooked: settings.maxUnacknowledged + settings.maxQueueCount,
      maxHookedBytes: settings.highWaterMark + settings.maxQueuedBytes,
    };
    this._exchange = new Exchange(settings.busyPollUs);
    this.#peers = new Peers({
      order: (give) => this._exchange.order(() => give(this._native)),
      timeoutMs: settings.handshakeTimeoutMs,
      open: (slot, sid, remote, token, scope, tell) =>
        this.#onOpened(new CAMPServerWebsocketSession(this, slot, sid, token, remote, "peer", scope), tell),
    });
    this._native = createNativeServer(settings, this._exchange.dispatch);
    this._extensions = new Extensions(this);
    /** A bit for each kind of message that has send hooks. */
    this._sendHooks = 0;
    /** @type {import("./native.js").NativeFunctions} */
    this._functions = /** @type {any} */ (this._native.functions());
    const { textOrders } = this._functions;
    this._textOrders = textOrders && new TextOrders(textOrders);
    const records = new Records(this._functions, {
      scope: this.#scope,
      opened: (slot, sid, remote, token) => {
        const scope = this.#origin.scope("CAMPSession");
        const session = new CAMPServerWebsocketSession(this, slot, sid, token, remote, "client", scope);
        return this.#onOpened(session, () => this.#emit("session", session));
      },
      peerOpened: (slot, id, sid, remote) => this.#peers.opened(slot, id, sid, remote),
      peerFailed: (id, failure, status, text) => this.#peers.failed(id, failure, status, text),
      closed: (slot) => this._exchange.order(() => this._native.release(slot)),
      validate: (id, payload) => this.#validations.ask(id, payload),
      validationCancelled: (id) => this.#validations.cancel(id),
      refused: (status, remoteAddress, reason) => this.#onRefused(status, remoteAddress, reason),
      listening: (port, family, address) => this.#onListening({ port, family: `IPv${family}`, address }),
      failed: (code, message) => this.#onFailed(code, message, settings.host, settings.port),
      stopped: () => this.#onStop(),
      http: () => this.#http,
      fault: (error) => report("camp-server: a record could not be dealt with:", error),
    });
    this._exchange.begin(this._functions, records);
    if (settings.adopts) this.#port = this.#sharePort(settings);
  }

  get http_server() {
    return (this.#http ??= this.#openHttp()).server;
  }

  address() {
    return this.#address;
  }

  get sessions() {
    return this.#sessionList;
  }

  /** @internal What is shown of it. */
  get _summary() {
    const state = this.#stopped ? "over"
      : this.#destroyed !== undefined ? "closing"
      : this.#draining ? "draining"
      : this.#address === null ? "not listening"
      : "listening";
    const { size } = this.#sessions;
    return { state, address: this.#address, tls: this.#secure, sessions: size, extensions: this._extensions.names };
  }

  stats() {
    return serverStats(this.#sessions.size, this.#peers.live, this._native.totals());
  }

  metrics() {
    return prometheusText(this.stats());
  }

  /** @param {import("../index.js").SSLOptions} ssl */
  SetSecureContext(ssl) {
    const tls = readSsl(ssl, this.#standingTls);
    if (!this._native.setTls(tls)) throw new Error("SetSecureContext: this server was started without ssl.");
    this.#standingTls = standingTls(ssl, this.#standingTls);
  }

  /** @param {Extension} extension */
  RegisterExtension(extension) {
    this._extensions.register(extension);
  }

  /** @param {Extension | string} extension */
  UnregisterExtension(extension) {
    this._extensions.unregister(extension);
  }

  /** @param {string} name */
  GetExtension(name) {
    return this._extensions.get(name);
  }

  /**
   * @param {string | URL} host
   * @param {string} bearer
   * @param {import("../index.js").ConnectPeerOptions} [options]
   */
  ConnectPeer(host, bearer, options) {
    if (!this.#accepting) return rejected(serverClosed());
    return heard(this.#peers.connect(host, bearer, options), { name: "ConnectPeer", server: this });
  }

  /** @param {number} [timeoutMs] */
  async Drain(timeoutMs) {
    const limit = number("timeoutMs", timeoutMs, DRAIN_MS, 0);
    this.#draining = true;
    this.#leavePort();
    /** @type {NodeJS.Timeout | undefined} */
    let timer;
    const late = new Promise((resolve) => { timer = setTimeout(resolve, limit); });
    await Promise.race([late, this.#drainSessions()]);
    clearTimeout(timer);
    await this.Destroy();
  }

  Destroy() {
    this.#destroyed ??= this.#shutDown().then(() => this._extensions.unregisterAll());
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
    // Of what else events tell may throw when it is looked at.
    const session = event === "session" ? /** @type {CAMPServerWebsocketSession} */ (args[0]) : undefined;
    this._onListenerError(error, event, session);
  }

  /**
   * @internal
   * @param {unknown} error
   * @param {string | symbol} event
   * @param {CAMPServerWebsocketSession} [session]
   */
  _onListenerError(error, event, session) {
    if (event !== "listener-error" && this._tell("listener-error", error, String(event), session)) return;
    // A listener whose own send was cut short by the end of its session has done nothing wrong.
    if (isSessionClosed(error)) return;
    report(`camp-server: a listener of "${String(event)}" threw:`, error);
  }

  /**
   * @internal
   * @param {CAMPServerWebsocketSession} session
   */
  _ended(session) {
    this.#sessions.delete(session);
    this.#holdProcess();
    this.#peers.ended(session);
  }

  /**
   * @internal An event of the server that a session, or a call of the application, gives rise to.
   * @param {string} event
   * @param {unknown[]} args
   */
  _emit(event, ...args) {
    this.#scope.run(() => this.emit(event, ...args));
  }

  /**
   * @internal An event that tells of a fault. False: nobody has taken it.
   * @param {string} event
   * @param {unknown[]} args
   */
  _tell(event, ...args) {
    if (this.listenerCount(event) === 0) return false;
    try {
      this._emit(event, ...args);
    } catch (second) {
      this._onListenerError(second, event);
      return false;
    }
    return true;
  }

  /**
   * @internal A call has failed by the caller's fault, and nobody awaits it.
   * @param {unknown} error
   * @param {string} call
   * @param {CAMPServerWebsocketSession} [session]
   */
  _onUnheard(error, call, session) {
    if (!this._tell("listener-error", error, call, session)) report(`camp-server: ${call} has failed, and nobody awaits it:`, error);
  }

  async #shutDown() {
    this.#accepting = false;
    this.#address = null;
    this.#port?.close();
    if (this.#stopped) return;
    this.#holdProcess();
    this.#http?.destroy();
    /** @type {Promise<void>} */
    const stopped = new Promise((resolve) => { this.#onStopped = resolve; });
    const waiting = [...this.#sessions].filter((session) => session._sendsWait);
    if (waiting.length > 0) {
      this._exchange.order(() => this._native.stopAccepting());
      await Promise.all(waiting.map((session) => session._whenSent()));
    }
    this._exchange.order(() => this._native.shutdown());
    await Promise.all([stopped, this.#port?.closed]);
  }

  async #drainSessions() {
    await Promise.all([...this.#sessions].map((session) => session._drain(SHUTDOWN)));
  }

  /**
   * @param {CAMPServerWebsocketSession} session
   * @param {(session: CAMPServerWebsocketSession) => void} tell whoever waits for it
   */
  #onOpened(session, tell) {
    this.#sessions.add(session);
    this.#holdProcess();
    session._scope.run(() => {
      if (sessionChannel.hasSubscribers) sessionChannel.publish({ server: this, session });
      tell(session);
    });
    // It had begun when draining did.
    if (this.#draining) void session._drain(SHUTDOWN);
    return session;
  }

  /**
   * @param {number} status
   * @param {string} remoteAddress
   * @param {string} reason
   */
  #onRefused(status, remoteAddress, reason) {
    if (refusedChannel.hasSubscribers) refusedChannel.publish({ server: this, status, reason, remoteAddress });
  }

  /** @param {import("../native.cjs").NativeOptions} settings */
  #sharePort(settings) {
    return new SharedPort(settings, {
      listening: (address) => this.#onListening(address),
      failed: (code, message) => this.#onFailed(code, message, settings.host, settings.port),
      adopt: (fd) => this._exchange.order(() => this._native.adopt(fd)),
      disconnected: () => this.#leavePort(),
    });
  }

  /** @param {AddressInfo} address */
  #onListening(address) {
    if (!this.#accepting || this.#destroyed !== undefined) return;
    this.#address = address;
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
    this.#accepting = false;
    if (this.#peers.idle) this.#onStop();
    else this._exchange.order(() => this._native.shutdown());
    const error = listenError(code, message, host ?? "::", port);
    // Outside of the batch: without a listener this throws, as an `error` event does.
    nextTick(() => {
      const heard = this.#http?.failed(error) ?? false;
      if (!heard || this.listenerCount("error") > 0) this.emit("error", error);
    });
  }

  #openHttp() {
    const opened = new HttpInterop({
      scope: () => this.#origin.scope("CAMPSocket"),
      secure: this.#secure,
      maxHeaderBytes: this.#maxHeaderBytes,
      isCampUpgrade: (head) => this._native.isCampUpgrade(head),
      order: (give) => this._exchange.order(() => give(this._native)),
      interest: (bits) => this._native.httpInterest(bits),
      limit: (connections) => this._native.httpLimit(connections),
      address: () => this.#address,
      sessions: () => this.#sessions.size - this.#peers.live,
      close: () => this.#stopAccepting(),
      connections: () => this.#holdProcess(),
      hold: (held) => this.#hold(held),
      secureContext: (ssl) => this.SetSecureContext(ssl),
    });
    if (this.#stopped) opened.over();
    else if (this.#destroyed !== undefined) opened.destroy();
    else if (this.#address !== null) opened.listening();
    return opened;
  }

  /** @param {boolean} held */
  #hold(held) {
    this.#held = held;
    this.#holdProcess();
  }

  /**
   * A server that was told not to keep the process alive does so while it has connections, and while it
   * comes to its end, as Node's do.
   */
  #holdProcess() {
    const holds = this.#held || !this.#accepting || this.#sessions.size > 0 || (this.#http?.holding ?? 0) > 0;
    if (holds === this.#holds || this.#stopped) return;
    this.#holds = holds;
    this._native.holdProcess(holds);
  }

  #leavePort() {
    this.#stopAccepting();
    this.#http?.stopListening();
  }

  #stopAccepting() {
    this.#accepting = false;
    this.#address = null;
    this.#port?.close();
    this.#holdProcess();
    this._exchange.order(() => this._native.stopAccepting());
  }

  #onStop() {
    if (this.#stopped) return;
    this.#stopped = true;
    // Slots given back in this very batch are still handed over.
    this._exchange.end();
    this._native.dispose();
    this.#peers.stopped();
    this.#http?.stopped();
    this.#onStopped();
  }

  /**
   * @param {string} event
   * @param {CAMPServerWebsocketSession} [session]
   */
  #emit(event, session) {
    try {
      if (session === undefined) this.emit(event);
      else this.emit(event, session);
    } catch (error) {
      this._onListenerError(error, event, session);
    }
  }
}

printable(CAMPWebsocketServer, "CAMPWebsocketServer", (server) => server._summary);
