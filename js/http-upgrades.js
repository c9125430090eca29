// CAMP's upgrades on connections that were handed over: Node's parser has read requests of theirs before.
import { BridgedSocket } from "./bridge.js";

/** @typedef {import("node:http").IncomingMessage} IncomingMessage */

/** What makes Node's parser take a request for an upgrade, with no body to follow. */
const UPGRADE = 2;

/** Listeners that Node takes off at an upgrade; answers that are still owed need them. */
const OF_ANSWERS = ["drain", "close"];

/**
 * What Node's parser of a connection looks like from here.
 *
 * @typedef {object} Parser
 * @property {((request: IncomingMessage, keepAlive: boolean) => unknown) | null} onIncoming
 */

/**
 * An upgrade of CAMP's that the parser is about to hand over.
 *
 * @typedef {object} Claim
 * @property {IncomingMessage} request
 * @property {Buffer} head
 * @property {[event: string, listener: Function][]} listeners of `OF_ANSWERS`
 */

/** Takes them away from the server before an application can see them. */
export class UpgradeGuard {
  #isCamp;
  /** @type {Claim | undefined} */
  #claim;

  /**
   * @param {import("node:http").Server} server
   * @param {(head: Buffer) => boolean} isCamp whether an upgrade with this head is CAMP's
   */
  constructor(server, isCamp) {
    this.#isCamp = isCamp;
    // Found at each call, for monitoring tools replace them.
    const inherited = Object.getPrototypeOf(server);
    Object.defineProperties(server, {
      emit: {
        value: (/** @type {string | symbol} */ event, /** @type {any[]} */ ...args) =>
          (event === "upgrade" && this.#take(args)) || inherited.emit.call(server, event, ...args),
        writable: true,
        configurable: true,
      },
      listenerCount: {
        // Node hangs up on an upgrade that nobody listens for. No code of others runs while there is a claim.
        value: (/** @type {any[]} */ ...args) =>
          inherited.listenerCount.apply(server, args) + (args[0] === "upgrade" && this.#claim !== undefined ? 1 : 0),
        writable: true,
        configurable: true,
      },
    });
  }

  /**
   * Looks at the upgrades of a connection. Without a listener for them Node would take them for requests.
   *
   * @param {BridgedSocket} socket one that the server has just been given
   */
  watch(socket) {
    const parser = /** @type {Parser | undefined} */ (socket.parser);
    const onIncoming = parser?.onIncoming;
    if (parser === undefined || typeof onIncoming !== "function") return;
    parser.onIncoming = (request, keepAlive) => {
      if (/** @type {any} */ (request).upgrade !== true) return onIncoming.call(parser, request, keepAlive);
      const claim = this.#examine(request, socket);
      if (claim === undefined) return onIncoming.call(parser, request, keepAlive);
      this.#claim = claim;
      // It is taken before that, unless what follows in the packet is an error.
      void Promise.resolve().then(() => this.#forget(claim));
      return UPGRADE;
    };
  }

  /** @param {Claim} claim */
  #forget(claim) {
    if (this.#claim === claim) this.#claim = undefined;
  }

  /**
   * @param {IncomingMessage} request
   * @param {BridgedSocket} socket
   * @returns {Claim | undefined}
   */
  #examine(request, socket) {
    const head = headOf(request);
    if (!this.#isCamp(head)) return undefined;
    const listeners = OF_ANSWERS.flatMap((event) => socket.listeners(event).map((listener) => [event, listener]));
    return { request, head, listeners: /** @type {[string, Function][]} */ (listeners) };
  }

  /** @param {any[]} args of the event `upgrade` */
  #take([request, socket, rest]) {
    if (!(socket instanceof BridgedSocket)) return false;
    const claim = this.#claim?.request === request ? this.#claim : this.#examine(request, socket);
    this.#claim = undefined;
    if (claim === undefined) return false;
    for (const [event, listener] of claim.listeners) {
      if (!socket.listeners(event).includes(listener)) socket.on(event, /** @type {any} */ (listener));
    }
    socket._giveBack([claim.head, rest]);
    return true;
  }
}

/**
 * The head as it came, but for spaces around values.
 *
 * @param {IncomingMessage} request
 */
function headOf({ method, url, httpVersion, rawHeaders }) {
  let text = `${method} ${url} HTTP/${httpVersion}\r\n`;
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) text += `${rawHeaders[i]}: ${rawHeaders[i + 1]}\r\n`;
  return Buffer.from(`${text}\r\n`, "latin1");
}
