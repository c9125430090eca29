// `server.http_server`: a real `http.Server` that never listens itself. The native side owns the port
// and hands over the connections that are not CAMP's.
import { clearInterval, nextTick, now, setInterval } from "./clock.js";
import http from "node:http";
import https from "node:https";
import { BridgedSocket, familyOf } from "./bridge.js";
import { UpgradeGuard } from "./http-upgrades.js";
import { HttpInterest } from "./numbers.js";

/** @typedef {import("node:net").AddressInfo} AddressInfo */
/** @typedef {import("../native.cjs").NativeServer} NativeServer */

/** How long requests that are under way may take to finish once the server is destroyed. */
const GRACE_MS = 2000;

/** Time between looks at which of them have finished. */
const LOOK_MS = 50;

const { REQUESTS, UPGRADES } = HttpInterest;

/** What the native side must hand over for which event. @type {Map<string | symbol, number>} */
const INTEREST = new Map([
  ["request", REQUESTS],
  ["checkContinue", REQUESTS],
  ["checkExpectation", REQUESTS],
  ["connect", REQUESTS],
  ["upgrade", UPGRADES],
]);

/** For the native `httpLimit`. */
const UNBOUNDED = 0xffffffff;

/** Whether `maxConnections = 0` drops every connection. */
const ZERO_IS_A_LIMIT = Number.parseInt(process.versions.node) >= 21;

const STARTING = 0;
const LISTENING = 1;
const CLOSING = 2;
const STOPPED = 3;

/**
 * The CAMP server as seen from here.
 *
 * @typedef {object} Host
 * @property {() => import("./scope.js").Scope} scope what a connection's callbacks run in
 * @property {boolean} secure whether it speaks TLS
 * @property {number} maxHeaderBytes
 * @property {(head: Buffer) => boolean} isCampUpgrade
 * @property {(give: (native: NativeServer) => void) => void} order gives an order, unless it is too late
 * @property {(bits: number) => void} interest tells what is to be handed over
 * @property {(connections: number) => void} limit tells how many connections there may be
 * @property {() => AddressInfo | null} address
 * @property {() => number} sessions how many there are
 * @property {() => void} close takes no new connections from now on
 * @property {() => void} connections their number has changed
 * @property {(ssl: import("../index.js").SSLOptions) => void} secureContext what handshakes use from now on
 * @property {(held: boolean) => void} hold whether the listening server keeps the process alive
 */

export class HttpInterop {
  #host;
  /** @type {Map<number, BridgedSocket>} */
  #sockets = new Map();
  #state = STARTING;
  #interest = 0;
  /** `maxConnections` as it was set. @type {unknown} */
  #limit;
  /** @type {NodeJS.Timeout | undefined} */
  #grace;
  /** @type {import("./bridge.js").Line} */
  #line;
  #upgrades;
  /** Sockets that do not keep the process alive. @type {Set<number>} */
  #unrefed = new Set();

  /** @param {Host} host */
  constructor(host) {
    this.#host = host;
    this.#line = {
      write: (id, data) => host.order((native) => native.httpWrite(id, data)),
      end: (id) => host.order((native) => native.httpEnd(id)),
      credit: (id, bytes) => host.order((native) => native.httpCredit(id, bytes)),
      destroy: (id) => host.order((native) => native.httpDestroy(id)),
      reset: (id) => host.order((native) => native.httpReset(id)),
      hold: (id) => host.order((native) => native.httpHold(id)),
      giveBack: (id, data) => host.order((native) => native.httpGiveBack(id, data)),
      takeBack: (id) => host.order((native) => native.httpTakeBack(id)),
      noDelay: (id, on) => host.order((native) => native.httpNoDelay(id, on)),
      keepAlive: (id, on, idleMs) => host.order((native) => native.httpKeepAlive(id, on, idleMs)),
      ref: (id, held) => this.#refSocket(id, held),
    };
    // The core has the same limit for the first request of a connection, and for upgrades.
    const options = { maxHeaderSize: Math.max(host.maxHeaderBytes, http.maxHeaderSize) };
    /** @type {http.Server | https.Server} */
    this.server = host.secure ? https.createServer(options) : http.createServer(options);
    this._close = this.server.close.bind(this.server);
    Object.defineProperties(this.server, {
      listening: { get: () => this.#state === LISTENING, configurable: true },
      address: method(() => host.address()),
      ref: method(() => this.#hold(true)),
      unref: method(() => this.#hold(false)),
      maxConnections: {
        get: () => this.#limit,
        set: (limit) => { this.#setLimit(limit); },
        enumerable: true,
        configurable: true,
      },
      listen: method((/** @type {unknown[]} */ ...args) => this.#listen(args)),
      close: method((/** @type {((error?: Error) => void) | undefined} */ callback) => this.#close(callback)),
      getConnections: method((/** @type {(error: null, count: number) => void} */ callback) => {
        nextTick(callback, null, this.#sockets.size + host.sessions());
        return this.server;
      }),
    });
    if (host.secure) Object.defineProperty(this.server, "setSecureContext", method(host.secureContext));
    this.#upgrades = new UpgradeGuard(this.server, host.isCampUpgrade);
    this.server.on("newListener", (event) => this.#setInterest(this.#interest | (INTEREST.get(event) ?? 0)));
    this.server.on("removeListener", () => this.#setInterest(this.#wanted()));
  }

  /** The port is bound. */
  listening() {
    if (this.#state !== STARTING) return;
    this.#state = LISTENING;
    // It also makes Node watch over the connections: `headersTimeout`, `requestTimeout`.
    attempt(() => this.server.emit("listening"));
  }

  /**
   * The port cannot be bound. False: nobody here listens for that.
   *
   * @param {Error} error
   */
  failed(error) {
    this.over();
    return this.server.listenerCount("error") > 0 && this.server.emit("error", error);
  }

  /** New connections are refused and idle ones end; requests under way go on. */
  stopListening() {
    if (this.#state >= CLOSING) return;
    this.#state = CLOSING;
    this.#host.close();
    this.server.closeIdleConnections();
  }

  /** The server is destroyed: idle connections end at once, others when they have had their time. */
  destroy() {
    if (this.#state === STOPPED || this.#grace !== undefined) return;
    this.#state = CLOSING;
    this.server.closeIdleConnections();
    const end = now() + GRACE_MS;
    this.#grace = setInterval(() => {
      if (now() < end) return void this.server.closeIdleConnections();
      for (const socket of this.#sockets.values()) socket.destroy();
    }, LOOK_MS);
  }

  /** The last connection is over. */
  stopped() {
    if (this.#state === STOPPED) return;
    this.over();
    // Emits `close`.
    this._close();
  }

  /** Nothing happens any more. */
  over() {
    clearInterval(this.#grace);
    this.#state = STOPPED;
  }

  /**
   * @param {number} id
   * @param {import("./bridge.js").Details} details
   */
  opened(id, details) {
    const socket = new BridgedSocket(this.#line, id, details, this.#host.scope());
    this.#sockets.set(id, socket);
    this.#host.connections();
    attempt(() => socket._scope.run(this.server.emit, this.server, this.#host.secure ? "secureConnection" : "connection", socket));
    this.#upgrades.watch(socket);
  }

  /**
   * @param {number} id
   * @param {Buffer} data
   */
  data(id, data) {
    this.#tell(this.#sockets.get(id), BridgedSocket.prototype._onData, data);
  }

  /**
   * A connection beyond `maxConnections` was hung up on.
   *
   * @param {{ remoteAddress: string, remotePort: number, localAddress: string, localPort: number }} ends
   */
  turnedAway(ends) {
    const families = { localFamily: familyOf(ends.localAddress), remoteFamily: familyOf(ends.remoteAddress) };
    attempt(() => this.server.emit("drop", { ...ends, ...families }));
  }

  /** How many connections keep the process alive. */
  get holding() {
    return this.#sockets.size - this.#unrefed.size;
  }

  /** @param {number} id */
  ended(id) {
    this.#tell(this.#sockets.get(id), BridgedSocket.prototype._onEnded);
  }

  /** @param {number} id */
  held(id) {
    this.#tell(this.#sockets.get(id), BridgedSocket.prototype._onHeld);
  }

  /**
   * @param {number} id
   * @param {number} bytes
   */
  written(id, bytes) {
    this.#tell(this.#sockets.get(id), BridgedSocket.prototype._onWritten, bytes);
  }

  /**
   * @param {number} id
   * @param {string} code empty when both sides have ended
   * @param {string} message
   */
  closed(id, code, message) {
    const socket = this.#sockets.get(id);
    this.#sockets.delete(id);
    this.#unrefed.delete(id);
    this.#host.connections();
    const error = code === "" ? undefined : Object.assign(new Error(`${code}: ${message}`), { code });
    this.#tell(socket, BridgedSocket.prototype._onClosed, error);
  }

  /**
   * @param {BridgedSocket | undefined} socket
   * @param {(this: BridgedSocket, value: any) => void} method
   * @param {unknown} [value]
   */
  #tell(socket, method, value) {
    if (socket !== undefined) attempt(() => socket._scope.run(method, socket, value));
  }

  /** @param {unknown[]} args */
  #listen(args) {
    const callback = args.findLast((arg) => typeof arg === "function");
    if (this.#state > LISTENING) throw notRunning("The CAMP server is closed; make a new one to listen again.");
    if (callback !== undefined) this.server.once("listening", /** @type {() => void} */ (callback));
    // Whoever calls it waits for the event, frameworks too, also when the port was bound before.
    if (this.#state === LISTENING) nextTick(() => this.server.emit("listening"));
    return this.server;
  }

  /** @param {((error?: Error) => void) | undefined} callback */
  #close(callback) {
    if (this.#state === STOPPED) return this._close(callback);
    const ran = this.#state !== CLOSING;
    if (typeof callback === "function") {
      this.server.once("close", () => callback(ran ? undefined : notRunning("Server is not running.")));
    }
    this.stopListening();
    return this.server;
  }

  /**
   * @param {number} id
   * @param {boolean} held
   */
  #refSocket(id, held) {
    if (held) this.#unrefed.delete(id);
    else if (this.#sockets.has(id)) this.#unrefed.add(id);
    this.#host.connections();
  }

  /** @param {boolean} held */
  #hold(held) {
    this.#host.hold(held);
    return this.server;
  }

  /**
   * As Node of this version reads it: 0 means no bound before 21.
   *
   * @param {any} limit
   */
  #setLimit(limit) {
    this.#limit = limit;
    const bounded = limit >= (ZERO_IS_A_LIMIT ? 0 : 1) && limit !== null && limit < UNBOUNDED;
    this.#host.limit(bounded ? Math.ceil(limit) : UNBOUNDED);
  }

  #wanted() {
    let bits = 0;
    for (const [event, bit] of INTEREST) {
      if (this.server.listenerCount(event) > 0) bits |= bit;
    }
    return bits;
  }

  /** @param {number} bits */
  #setInterest(bits) {
    if (bits === this.#interest) return;
    this.#interest = bits;
    this.#host.interest(bits);
  }
}

/** @param {Function} value */
function method(value) {
  return { value, writable: true, configurable: true };
}

/** @param {string} message */
function notRunning(message) {
  return Object.assign(new Error(message), { code: "ERR_SERVER_NOT_RUNNING" });
}

/**
 * What a listener throws is an uncaught exception, as it is in any `http.Server`, but the rest of the
 * batch of records is dealt with all the same.
 *
 * @param {() => void} action
 */
function attempt(action) {
  try {
    action();
  } catch (error) {
    nextTick(() => {
      throw error;
    });
  }
}
