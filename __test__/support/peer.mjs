// A CAMP client over `ws` (or another WebSocket class) that writes and reads every frame by hand.
import { WebSocket as WsWebSocket } from "ws";
import { ACK_TRACKED, decode, encode } from "./frames.mjs";
import { deferred, within } from "./wait.mjs";

export { RawPeer, rawSocket, rawUpgrade, wsFrame } from "./raw.mjs";

const peers = new Set();
let lastSid = BigInt(Date.now()) << 20n;

/** A session id no other test uses. */
export const freshSid = () => ++lastSid;

/** The server answered the upgrade with something else than 101. */
export class Refused extends Error {
  constructor(status, headers, body) {
    super(`upgrade refused with ${status}: ${body}`);
    Object.assign(this, { status, headers, body });
  }
}

export class Peer {
  /** Every frame received, in order. */
  frames = [];
  /** What no CAMP server may send: text messages, frames that do not decode, foreign sids. */
  violations = [];
  bytesSent = 0;
  bytesReceived = 0;
  nextAck = 0;
  #byType = new Map();
  #unclaimed = [];
  #waiters = new Set();
  #opened = deferred();
  #closed = deferred();

  /**
   * @param {object} options port, host?, sid?, token?, path?, query?, url?, headers?, subprotocols?, tls? (ca, ...),
   *   autoInfo?, autoAck?, autoPong?, WebSocketClass?, wsOptions?, timeoutMs?
   */
  static async connect(options) {
    const peer = new Peer(options);
    peers.add(peer);
    await within(peer.#opened.promise, options.timeoutMs ?? 5000, "opening the WebSocket");
    return peer;
  }

  constructor(options) {
    const { port, host = "127.0.0.1", token = "T", path = "/", subprotocols = [], headers = {} } = options;
    this.port = port;
    this.sid = options.sid ?? freshSid();
    this.autoInfo = options.autoInfo ?? true;
    this.autoAck = options.autoAck ?? true;
    this.autoPong = options.autoPong ?? true;
    const query = options.query ?? `authorization=Bearer%20${encodeURIComponent(token)}&x-camp-sid=${this.sid}`;
    const url = options.url ?? `${options.tls ? "wss" : "ws"}://${host}:${port}${path}?${query}`;
    const Socket = options.WebSocketClass ?? WsWebSocket;
    this.ws = Socket === WsWebSocket
      ? new Socket(url, subprotocols, { headers, perMessageDeflate: false, maxPayload: 0, ...options.tls, ...options.wsOptions })
      : new Socket(url, { protocols: subprotocols, headers, ...options.wsOptions });
    this.ws.binaryType = "arraybuffer";
    this.#listen();
  }

  /** `{ code, reason }` once the WebSocket is closed, in whatever way. */
  get closed() {
    return this.#closed.promise;
  }

  get isOpen() {
    return this.ws.readyState === 1;
  }

  /** The frames of one type, in order. */
  of(type) {
    if (!this.#byType.has(type)) this.#byType.set(type, []);
    return this.#byType.get(type);
  }

  texts() {
    return this.of("UTF8DATA").map((frame) => frame.text);
  }

  /** The oldest frame not asked for yet that is of the type named or that the predicate accepts. */
  next(wanted, ms = 5000) {
    const accepts = typeof wanted === "string" ? (frame) => frame.type === wanted : wanted;
    const at = this.#unclaimed.findIndex(accepts);
    if (at >= 0) return Promise.resolve(this.#unclaimed.splice(at, 1)[0]);
    return this.#wait({ claims: true, offer: accepts }, ms, `frame ${wanted}`);
  }

  /** Resolves when `condition()` holds, asked again after every frame. */
  until(condition, ms = 5000, what = String(condition)) {
    if (condition()) return Promise.resolve();
    return this.#wait({ claims: false, offer: condition }, ms, what);
  }

  /** Both ENDPOINT_INFOs are exchanged and ours is acknowledged. */
  async ready(ms = 5000) {
    const info = this.next("ENDPOINT_INFO", ms);
    if (this.autoInfo) await Promise.all([info, this.acked(0, ms)]);
    return info;
  }

  acked(ack, ms = 5000) {
    return this.next((frame) => frame.type === "ACK" && frame.ack === ack, ms);
  }

  /** The session answers: frames sent before this have been read by the server. */
  async roundTrip(ms = 5000) {
    this.sendPing();
    await this.next((frame) => frame.type === "PING_PONG" && frame.payload === "pong", ms);
  }

  /** Needs a server that echoes. */
  async echo(text, ms = 5000) {
    this.sendText(text);
    await this.next((frame) => frame.type === "UTF8DATA" && frame.text === text, ms);
  }

  sendRaw(buffer) {
    this.bytesSent += buffer.length;
    this.ws.send(buffer);
  }

  send(frame) {
    this.sendRaw(encode({ sid: this.sid, ...frame }));
  }

  /** Sends a frame that carries an ack number, and returns that number. */
  sendTracked(frame) {
    const ack = this.nextAck;
    this.nextAck = (this.nextAck + 1) >>> 0;
    this.send({ ack, ...frame });
    return ack;
  }

  sendInfo({ version = 1, features = 1n, ...rest } = {}) {
    return this.sendTracked({ type: "ENDPOINT_INFO", version, features, ...rest });
  }

  sendText(text) {
    return this.sendTracked({ type: "UTF8DATA", text });
  }

  sendBinary(data) {
    return this.sendTracked({ type: "BINARYDATA", data });
  }

  sendError(message) {
    return this.sendTracked({ type: "ERROR", message });
  }

  sendBye(reason) {
    return this.sendTracked({ type: "BYE", reason });
  }

  sendTxStart({ txId = 0, size = -1n, behaviour = 0, name = "anonymous" } = {}) {
    return this.sendTracked({ type: "TX_START", txId, size, behaviour, name });
  }

  sendAck(ack) {
    this.send({ type: "ACK", ack });
  }

  sendPing() {
    this.send({ type: "PING_PONG", payload: "ping" });
  }

  sendPong() {
    this.send({ type: "PING_PONG", payload: "pong" });
  }

  /** A WebSocket text message: CAMP has none. */
  sendTextMessage(text) {
    this.ws.send(text);
  }

  /** Waits until the client's own buffer is written, so that a flood does not pile up on this side. */
  async drained(limit = 1024 * 1024) {
    while (this.isOpen && this.ws.bufferedAmount > limit) await new Promise((resolve) => setTimeout(resolve, 1));
  }

  close(code, reason) {
    this.ws.close(code, reason);
  }

  /** Vanishes: no close frame, no goodbye. */
  terminate() {
    if (this.ws.terminate) this.ws.terminate();
    else this.ws.close();
  }

  /** Stops reading the socket itself, so that the kernel's buffers fill up. */
  pauseReading() {
    this.ws.pause();
  }

  resumeReading() {
    this.ws.resume();
  }

  #wait({ claims, offer }, ms, what) {
    const found = deferred();
    const waiter = { claims, offer, ...found };
    if (this.ws.readyState === 3) found.reject(new Error(`closed before ${what}`));
    else this.#waiters.add(waiter);
    return within(found.promise, ms, what).finally(() => this.#waiters.delete(waiter));
  }

  #listen() {
    const { ws } = this;
    ws.onopen = () => {
      if (this.autoInfo) this.sendInfo();
      this.#opened.resolve();
    };
    ws.onmessage = ({ data }) => this.#onMessage(data);
    ws.onerror = (event) => {
      this.error = event.error ?? new Error(event.message || "WebSocket error");
      this.#opened.reject(this.error);
    };
    ws.onclose = ({ code, reason }) => {
      this.#opened.reject(new Error(`closed with ${code} before it was open`));
      this.#closed.resolve({ code, reason });
      for (const waiter of this.#waiters) waiter.reject(new Error(`closed with ${code} "${reason}" while waiting`));
    };
    this.#opened.promise.catch(() => {});
    ws.on?.("unexpected-response", (request, response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("error", () => {});
      response.on("close", () => {
        this.#opened.reject(new Refused(response.statusCode, response.headers, Buffer.concat(chunks).toString("utf8")));
        request.destroy();
      });
    });
  }

  #onMessage(data) {
    if (typeof data === "string") {
      this.violations.push(`text message ${data.slice(0, 80)}`);
      return;
    }
    this.bytesReceived += data.byteLength;
    let frame;
    try {
      frame = decode(new Uint8Array(data));
    } catch (error) {
      this.violations.push(error.message);
      return;
    }
    if (frame.sid !== this.sid) this.violations.push(`${frame.type} with sid ${frame.sid}`);
    this.frames.push(frame);
    this.of(frame.type).push(frame);
    this.#answer(frame);
    this.#offer(frame);
  }

  #offer(frame) {
    let claimed = false;
    for (const waiter of this.#waiters) {
      if (claimed && waiter.claims) continue;
      if (!waiter.offer(frame)) continue;
      claimed ||= waiter.claims;
      this.#waiters.delete(waiter);
      waiter.resolve(frame);
    }
    if (!claimed) this.#unclaimed.push(frame);
  }

  #answer(frame) {
    if (!this.isOpen) return;
    if (this.autoAck && ACK_TRACKED.has(frame.type)) this.sendAck(frame.ack);
    if (this.autoPong && frame.type === "PING_PONG" && frame.payload === "ping") this.sendPong();
  }
}

/** The same client over another WebSocket implementation. */
export async function connectUndici(options) {
  const { WebSocket } = await import("undici");
  return Peer.connect({ ...options, WebSocketClass: WebSocket });
}

/** Ends what is connected to `port`; returns what the server sent there and should not have. */
export function terminatePeers(port) {
  const violations = [];
  for (const peer of [...peers]) {
    if (peer.port !== port) continue;
    violations.push(...peer.violations);
    peer.terminate();
    peers.delete(peer);
  }
  return violations;
}
