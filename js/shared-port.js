// In a worker of `node:cluster` the primary owns the port and deals the connections out, as it does for
// `http.Server`: all workers have the same port, 0 included, and keep it while others come and go.
import cluster from "node:cluster";
import net from "node:net";
import { getSystemErrorMap } from "node:util";

/** @typedef {import("node:net").AddressInfo} AddressInfo */

/**
 * @typedef {object} Host
 * @property {(address: AddressInfo) => void} listening
 * @property {(code: string, message: string) => void} failed
 * @property {(fd: number) => void} adopt takes over a connection by its descriptor, which is closed behind it
 * @property {() => void} disconnected the primary was left
 */

/** Those of this worker that are not closed. @type {Set<SharedPort>} */
const open = new Set();

/**
 * Whether the primary owns the port of a server with this `reusePort`.
 *
 * @param {boolean | undefined} reusePort
 */
export function isShared(reusePort) {
  // Windows has no descriptors to hand over.
  return reusePort === undefined && cluster.isWorker && process.platform !== "win32";
}

export class SharedPort {
  #host;
  #server;
  #onClosed = () => {};
  /** Resolves once the port may be taken anew. @type {Promise<void>} */
  closed = new Promise((resolve) => { this.#onClosed = resolve; });

  /**
   * @param {{ host?: string, port: number, backlog: number }} options
   * @param {Host} host
   */
  constructor({ host: name, port, backlog }, host) {
    this.#host = host;
    if (open.size === 0) cluster.worker?.once("disconnect", onDisconnect);
    open.add(this);
    // Paused: not a byte may be read here.
    this.#server = net.createServer({ pauseOnConnect: true, allowHalfOpen: true }, (socket) => this.#onConnection(socket));
    this.#server.on("close", this.#onClosed);
    this.#server.on("error", (error) => this.#onError(/** @type {NodeJS.ErrnoException} */ (error)));
    this.#server.listen({ host: name, port, backlog }, () => this.#onListening());
    // The CAMP server itself keeps the process alive, or does not.
    this.#server.unref();
  }

  /** Takes no more connections. */
  close() {
    if (!open.delete(this)) return;
    if (open.size === 0) cluster.worker?.removeListener("disconnect", onDisconnect);
    if (this.#server.listening) this.#server.close();
  }

  /** The primary was left: others have the port. */
  left() {
    this.close();
    this.#host.disconnected();
  }

  #onListening() {
    // Closed while the primary was asked.
    if (!open.has(this)) this.#server.close();
    else this.#host.listening(/** @type {AddressInfo} */ (this.#server.address()));
  }

  /** @param {net.Socket} socket */
  #onConnection(socket) {
    socket.on("error", () => {});
    try {
      const { fd } = /** @type {{ _handle?: { fd?: number } }} */ (/** @type {unknown} */ (socket))._handle ?? {};
      if (open.has(this)) this.#host.adopt(fd ?? -1);
    } finally {
      // Closes the descriptor, not the connection.
      socket.destroy();
    }
  }

  /** @param {NodeJS.ErrnoException} error */
  #onError(error) {
    this.#onClosed();
    if (!open.has(this)) return;
    this.close();
    const [, words] = getSystemErrorMap().get(error.errno ?? 0) ?? [];
    this.#host.failed(error.code ?? "EIO", words ?? error.message);
  }
}

function onDisconnect() {
  for (const port of open) port.left();
}
