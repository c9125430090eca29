// WebSocket by hand over net/tls, either end, for everything a well-behaved WebSocket library refuses to send.
import { randomBytes } from "node:crypto";
import net from "node:net";
import tls from "node:tls";
import { decode } from "./frames.mjs";
import { deferred, within } from "./wait.mjs";

export const OPCODE = Object.freeze({ CONTINUATION: 0, TEXT: 1, BINARY: 2, CLOSE: 8, PING: 9, PONG: 10 });

const HEAD_END = Buffer.from("\r\n\r\n");
const sockets = new Map();

/** Destroys the raw sockets opened to `port`: the tests' cleanup. */
export function destroySockets(port) {
  for (const socket of sockets.get(port) ?? []) socket.destroy();
  sockets.delete(port);
}

/** A connected socket; `options.tls` (an object) makes it a TLS one. */
export async function rawSocket({ port, host = "127.0.0.1", tls: secure, timeoutMs = 5000 }) {
  const socket = secure ? tls.connect({ port, host, ...secure }) : net.connect({ port, host });
  if (!sockets.has(port)) sockets.set(port, new Set());
  sockets.get(port).add(socket);
  socket.setNoDelay(true);
  const connected = deferred();
  socket.once(secure ? "secureConnect" : "connect", connected.resolve);
  socket.once("error", connected.reject);
  await within(connected.promise, timeoutMs, "connection");
  socket.removeListener("error", connected.reject);
  // A reset is one of the legal ends; `close` tells it.
  socket.on("error", () => {});
  return socket;
}

/** One WebSocket frame as bytes. `declaredLength` lies about the payload, `mask: false` breaks the client's duty. */
export function wsFrame({ opcode = OPCODE.BINARY, payload = Buffer.alloc(0), fin = true, rsv = 0, mask = true, declaredLength }) {
  const data = Buffer.from(payload);
  const length = declaredLength ?? data.length;
  const first = (fin ? 0x80 : 0) | (rsv << 4) | opcode;
  const maskBit = mask ? 0x80 : 0;
  let head;
  if (length < 126) head = Buffer.of(first, maskBit | length);
  else if (length < 65536) {
    head = Buffer.of(first, maskBit | 126, 0, 0);
    head.writeUInt16BE(length, 2);
  } else {
    head = Buffer.concat([Buffer.of(first, maskBit | 127), Buffer.alloc(8)]);
    head.writeBigUInt64BE(BigInt(length), 2);
  }
  if (!mask) return Buffer.concat([head, data]);
  const key = randomBytes(4);
  for (let i = 0; i < data.length; i++) data[i] ^= key[i & 3];
  return Buffer.concat([head, key, data]);
}

/** The payload of a close frame. */
export function closePayload(code, reason = "") {
  const head = Buffer.alloc(2);
  head.writeUInt16BE(code);
  return Buffer.concat([head, Buffer.from(reason)]);
}

/** `/?authorization=Bearer%20T&x-camp-sid=N` and its variations. */
export function target({ token = "T", sid = 1n, path = "/" } = {}) {
  return `${path}?authorization=Bearer%20${encodeURIComponent(token)}&x-camp-sid=${sid}`;
}

/** The head of an upgrade request. A header of `null` is left out, an array is repeated. */
export function upgradeHead({ port, target: line = target(), headers = {}, method = "GET", version = "HTTP/1.1" }) {
  const all = {
    Host: `localhost:${port}`,
    Connection: "Upgrade",
    Upgrade: "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    ...headers,
  };
  const lines = Object.entries(all).flatMap(([name, value]) =>
    value === null ? [] : [value].flat().map((one) => `${name}: ${one}`));
  return Buffer.from([`${method} ${line} ${version}`, ...lines, "", ""].join("\r\n"), "latin1");
}

function parseHead(head) {
  const [statusLine, ...lines] = head.toString("latin1").split("\r\n");
  const headers = {};
  for (const line of lines) {
    const at = line.indexOf(":");
    const name = line.slice(0, at).toLowerCase();
    const value = line.slice(at + 1).trim();
    headers[name] = name in headers ? `${headers[name]}, ${value}` : value;
  }
  return { statusLine, status: Number(statusLine.split(" ")[1]), headers };
}

/**
 * Reads one HTTP response. Status 0: the connection ended without one. A 101 leaves what follows in `rest`. `bodiless`:
 * that of a HEAD; `final`: a `100 Continue` before it is passed over.
 */
export function readResponse(socket, timeoutMs = 5000, { bodiless = false, final = false } = {}) {
  const done = deferred();
  let received = Buffer.alloc(0);
  let head = null;
  const finish = (ended) => {
    if (head === null) return done.resolve({ status: 0, statusLine: "", headers: {}, body: "", rest: received, ended, socket });
    const body = head.status === 101 ? Buffer.alloc(0) : received;
    const rest = head.status === 101 ? received : Buffer.alloc(0);
    done.resolve({ ...head, body: body.toString("utf8"), rest, ended, socket });
  };
  const onData = (chunk) => {
    received = Buffer.concat([received, chunk]);
    if (head === null) {
      const at = received.indexOf(HEAD_END);
      if (at < 0) return;
      head = parseHead(received.subarray(0, at));
      received = received.subarray(at + 4);
      if (final && head.status === 100) {
        head = null;
        return onData(Buffer.alloc(0));
      }
    }
    const length = head.headers["content-length"];
    if (head.status === 101 || bodiless || (length !== undefined && received.length >= Number(length))) finish(false);
  };
  const onClose = () => finish(true);
  socket.on("data", onData);
  socket.on("close", onClose);
  if (socket.destroyed) onClose();
  return within(done.promise, timeoutMs, "response").finally(() => {
    socket.removeListener("data", onData);
    socket.removeListener("close", onClose);
    // Nobody reads between here and the next owner: nothing may be lost meanwhile.
    if (!socket.destroyed) socket.pause();
  });
}

/**
 * Sends an upgrade request and reads the answer: `{ status, headers, body, rest, socket }`.
 * `trailing` goes out in the same write as the head, `pieces` splits the request into writes of that size.
 */
export async function rawUpgrade({ trailing = Buffer.alloc(0), pieces = 0, timeoutMs = 5000, ...options }) {
  const socket = await rawSocket({ ...options, timeoutMs });
  const response = readResponse(socket, timeoutMs);
  const request = Buffer.concat([upgradeHead(options), trailing]);
  if (pieces === 0) socket.write(request);
  else {
    for (let at = 0; at < request.length && !socket.destroyed; at += pieces) {
      await new Promise((resolve) => socket.write(request.subarray(at, at + pieces), resolve));
    }
  }
  return response;
}

/** Resolves once the server has ended the connection (or reset it). */
export async function connectionEnd(socket, ms = 5000) {
  if (socket.destroyed || socket.readableEnded) return;
  const ended = deferred();
  socket.once("end", ended.resolve);
  socket.once("close", ended.resolve);
  socket.resume();
  await within(ended.promise, ms, "end of the connection");
}

/** One end of a WebSocket, the client's unless `masks` is false, that writes frames by hand and reads the other's. */
export class RawPeer {
  messages = [];
  #buffer = Buffer.alloc(0);
  #waiters = new Set();
  #close = deferred();
  #ended = deferred();
  #autoClose;
  #masks;

  /** @param {{ port: number, sid?: bigint, autoClose?: boolean }} options and those of rawUpgrade */
  static async connect({ sid = 1n, token, path, autoClose = true, ...options }) {
    const response = await rawUpgrade({ target: target({ sid, token, path }), ...options });
    if (response.status !== 101) throw new Error(`refused: ${response.statusLine}`);
    return new RawPeer(response, { sid, autoClose });
  }

  constructor({ socket, rest }, { sid = 1n, autoClose = true, masks = true } = {}) {
    this.socket = socket;
    this.#masks = masks;
    this.sid = sid;
    this.#autoClose = autoClose;
    this.#onData(rest);
    socket.on("data", (chunk) => this.#onData(chunk));
    socket.on("end", () => this.#end());
    socket.on("close", () => this.#end());
    socket.resume();
  }

  /** `{ code, reason }` of the other end's close frame; null when the connection ended without one. */
  get closed() {
    return this.#close.promise;
  }

  get ended() {
    return this.#ended.promise;
  }

  write(options) {
    this.socket.write(wsFrame({ mask: this.#masks, ...options }));
  }

  /** One CAMP frame as one binary message. */
  send(frame) {
    this.write({ payload: frame });
  }

  /** The oldest message not asked for yet that `wanted` accepts; CAMP frames are in `message.frame`. */
  async next(wanted, ms = 5000) {
    const take = () => {
      const at = this.messages.findIndex((message) => !message.taken && wanted(message));
      if (at < 0) return false;
      this.messages[at].taken = true;
      found.resolve(this.messages[at]);
      return true;
    };
    const found = deferred();
    if (!take()) this.#waiters.add(take);
    return within(found.promise, ms, "message").finally(() => this.#waiters.delete(take));
  }

  #end() {
    this.#close.resolve(null);
    this.#ended.resolve();
    this.socket.destroy();
  }

  #onData(chunk) {
    this.#buffer = Buffer.concat([this.#buffer, chunk]);
    for (;;) {
      const message = this.#parse();
      if (message === null) break;
      this.#onMessage(message);
    }
    for (const take of this.#waiters) if (take()) this.#waiters.delete(take);
  }

  #parse() {
    const b = this.#buffer;
    if (b.length < 2) return null;
    let length = b[1] & 0x7f;
    let at = 2;
    if (length === 126) {
      if (b.length < 4) return null;
      length = b.readUInt16BE(2);
      at = 4;
    } else if (length === 127) {
      if (b.length < 10) return null;
      length = Number(b.readBigUInt64BE(2));
      at = 10;
    }
    const masked = (b[1] & 0x80) !== 0;
    if (masked) at += 4;
    if (b.length < at + length) return null;
    const key = masked ? Buffer.from(b.subarray(at - 4, at)) : null;
    const payload = Buffer.from(b.subarray(at, at + length));
    if (masked) for (let i = 0; i < length; i++) payload[i] ^= key[i & 3];
    this.#buffer = b.subarray(at + length);
    return { opcode: b[0] & 0x0f, fin: (b[0] & 0x80) !== 0, rsv: (b[0] >> 4) & 7, masked, key, payload };
  }

  #onMessage(message) {
    if (message.opcode === OPCODE.BINARY) message.frame = decode(message.payload);
    this.messages.push(message);
    if (message.opcode !== OPCODE.CLOSE) return;
    const coded = message.payload.length >= 2;
    this.#close.resolve({
      code: coded ? message.payload.readUInt16BE(0) : 1005,
      reason: message.payload.subarray(2).toString("utf8"),
    });
    if (this.#autoClose) this.write({ opcode: OPCODE.CLOSE, payload: message.payload.subarray(0, 2) });
  }
}
