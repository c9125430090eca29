// A CAMP echo server written the ordinary way on top of `ws`: what a competent developer would
// write first. It is the yardstick for the benchmarks, so it is neither tuned nor slowed down:
// a session class with events and an async send path, pending acknowledgements in a Map, a
// formatter per frame type that allocates its Buffer, one `ws.send` per frame.
//
//   node benches/baseline-ws.mjs PORT     prints LISTENING when it is up; the token is `T`
import { EventEmitter } from "node:events";
import { createServer } from "node:http";
import { WebSocketServer } from "ws";

const TOKEN = "T";
const KEEP_ALIVE_MS = 15_000;
const ACK_TIMEOUT_MS = 2_500;
const MAX_PAYLOAD = 1 << 20;

const FrameType = /** @type {const} */ ({
  BinaryData: 249,
  Utf8Data: 250,
  PingPong: 251,
  Error: 252,
  Ack: 253,
  Bye: 254,
  EndpointInfo: 255,
});

const HEADER_SIZE = 9;
const ACK_SIZE = 4;

/** @typedef {{ sid: bigint, type: number, ack: number, payload: Buffer }} Frame */

/** Builds and reads frames. */
class FrameFormatter {
  /** @param {bigint} sid @param {number} type @param {number} ack @param {Buffer} payload */
  static acknowledged(sid, type, ack, payload) {
    const header = Buffer.alloc(HEADER_SIZE + ACK_SIZE);
    header.writeBigUInt64BE(sid, 0);
    header.writeUInt8(type, 8);
    header.writeUInt32BE(ack, 9);
    return Buffer.concat([header, payload]);
  }

  /** @param {bigint} sid @param {number} ack */
  static endpointInfo(sid, ack) {
    const payload = Buffer.alloc(12);
    payload.writeUInt32BE(1, 0);
    payload.writeBigUInt64BE(1n, 4);
    return FrameFormatter.acknowledged(sid, FrameType.EndpointInfo, ack, payload);
  }

  /** @param {bigint} sid @param {number} ack */
  static ack(sid, ack) {
    return FrameFormatter.acknowledged(sid, FrameType.Ack, ack, Buffer.alloc(0));
  }

  /** @param {bigint} sid @param {number} ack @param {string} text */
  static utf8(sid, ack, text) {
    return FrameFormatter.acknowledged(sid, FrameType.Utf8Data, ack, Buffer.from(text, "utf8"));
  }

  /** @param {bigint} sid @param {number} ack @param {Buffer} data */
  static binary(sid, ack, data) {
    return FrameFormatter.acknowledged(sid, FrameType.BinaryData, ack, data);
  }

  /** @param {bigint} sid @param {"ping" | "pong"} word */
  static pingPong(sid, word) {
    const header = Buffer.alloc(HEADER_SIZE);
    header.writeBigUInt64BE(sid, 0);
    header.writeUInt8(FrameType.PingPong, 8);
    return Buffer.concat([header, Buffer.from(word, "utf8")]);
  }

  /** @param {Buffer} message @returns {Frame} */
  static parse(message) {
    if (message.length < HEADER_SIZE + ACK_SIZE) throw new RangeError(`frame of ${message.length} bytes`);
    return {
      sid: message.readBigUInt64BE(0),
      type: message.readUInt8(8),
      ack: message.readUInt32BE(9),
      payload: message.subarray(HEADER_SIZE + ACK_SIZE),
    };
  }
}

/** One client. Emits `message-utf8`, `message-binary`, `stat-rtt` and `closed`. */
class Session extends EventEmitter {
  /** @param {bigint} sid @param {import("ws").WebSocket} socket */
  constructor(sid, socket) {
    super();
    this.sid = sid;
    this.socket = socket;
    this.nextAck = 0;
    /** @type {Map<number, number>} when each unacknowledged frame was sent */
    this.pending = new Map();
    this.rtt = -1;
    this.bytesRx = 0;
    this.bytesTx = 0;
    this.alive = true;

    socket.on("message", (data, isBinary) => this.onMessage(/** @type {Buffer} */ (data), isBinary));
    socket.on("error", () => socket.terminate());
    socket.on("close", () => this.onClose());
    this.heartbeat = setInterval(() => this.onHeartbeat(), KEEP_ALIVE_MS);
  }

  async Start() {
    const ack = this.track();
    await this.send(FrameFormatter.endpointInfo(this.sid, ack));
  }

  /** @param {string} text */
  async SendUTF8(text) {
    const ack = this.track();
    await this.send(FrameFormatter.utf8(this.sid, ack, text));
  }

  /** @param {Buffer} data */
  async SendBinary(data) {
    const ack = this.track();
    await this.send(FrameFormatter.binary(this.sid, ack, data));
  }

  track() {
    const ack = this.nextAck;
    this.nextAck = (this.nextAck + 1) >>> 0;
    this.pending.set(ack, Date.now());
    return ack;
  }

  /** @param {Buffer} frame */
  async send(frame) {
    if (this.socket.readyState !== this.socket.OPEN) return;
    this.bytesTx += frame.length;
    this.socket.send(frame, { binary: true });
  }

  /** @param {Buffer} data @param {boolean} isBinary */
  async onMessage(data, isBinary) {
    if (!isBinary) return this.socket.close(1003, "binary frames only");
    this.alive = true;
    this.bytesRx += data.length;
    let frame;
    try {
      frame = FrameFormatter.parse(data);
    } catch {
      return this.socket.close(4001, "malformed frame");
    }
    switch (frame.type) {
      case FrameType.Ack: return this.onAck(frame.ack);
      case FrameType.EndpointInfo: return this.send(FrameFormatter.ack(this.sid, frame.ack));
      case FrameType.PingPong: return this.onPingPong(data.toString("utf8", HEADER_SIZE));
      case FrameType.Utf8Data:
        await this.send(FrameFormatter.ack(this.sid, frame.ack));
        this.emit("message-utf8", frame.payload.toString("utf8"));
        return;
      case FrameType.BinaryData:
        await this.send(FrameFormatter.ack(this.sid, frame.ack));
        this.emit("message-binary", frame.payload);
        return;
      case FrameType.Bye: return this.socket.close(4000, frame.payload.toString("utf8", 0, 123));
    }
  }

  /** @param {number} ack */
  onAck(ack) {
    const sentAt = this.pending.get(ack);
    if (sentAt === undefined) return;
    this.pending.delete(ack);
    const sample = Date.now() - sentAt;
    this.rtt = this.rtt < 0 ? sample : this.rtt * 0.8 + sample * 0.2;
  }

  /** @param {string} word */
  async onPingPong(word) {
    if (word === "ping") await this.send(FrameFormatter.pingPong(this.sid, "pong"));
  }

  async onHeartbeat() {
    this.emit("stat-rtt", this.rtt);
    for (const [ack, sentAt] of this.pending) {
      if (Date.now() - sentAt > ACK_TIMEOUT_MS) this.pending.delete(ack);
    }
    if (!this.alive) return this.socket.close(4000, "no answer to ping");
    this.alive = false;
    await this.send(FrameFormatter.pingPong(this.sid, "ping"));
  }

  onClose() {
    clearInterval(this.heartbeat);
    this.pending.clear();
    this.emit("closed");
  }
}

/** Authenticates upgrades. Emits `session` and `listening`. */
class Server extends EventEmitter {
  /** @param {{ validate(token: string): Promise<boolean> }} validator @param {{ port: number }} options */
  constructor(validator, { port }) {
    super();
    this.validator = validator;
    /** @type {Map<bigint, Session>} */
    this.sessions = new Map();
    this.wss = new WebSocketServer({ noServer: true, maxPayload: MAX_PAYLOAD + HEADER_SIZE + ACK_SIZE });
    this.http = createServer();
    this.http.on("upgrade", (request, socket, head) => this.onUpgrade(request, socket, head));
    this.http.listen(port, () => this.emit("listening"));
  }

  /** @param {import("node:http").IncomingMessage} request @param {import("node:stream").Duplex} socket @param {Buffer} head */
  async onUpgrade(request, socket, head) {
    socket.on("error", () => socket.destroy());
    const query = new URL(request.url ?? "/", "ws://localhost").searchParams;
    const [, token] = /^Bearer (.+)$/.exec(query.get("authorization") ?? "") ?? [];
    const sid = query.get("x-camp-sid") ?? "";
    if (token === undefined || !/^\d{1,20}$/.test(sid) || !(await this.validator.validate(token))
      || this.sessions.has(BigInt(sid))) {
      socket.end("HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
      return;
    }
    this.wss.handleUpgrade(request, socket, head, (ws) => {
      const session = new Session(BigInt(sid), ws);
      this.sessions.set(session.sid, session);
      session.on("closed", () => this.sessions.delete(session.sid));
      this.emit("session", session);
      session.Start();
    });
  }
}

const server = new Server({ async validate(token) { return token === TOKEN; } }, { port: Number(process.argv[2] ?? 8080) });
server.on("listening", () => console.log("LISTENING"));
server.on("session", (/** @type {Session} */ session) => {
  session.on("message-utf8", (text) => session.SendUTF8(text));
  session.on("message-binary", (data) => session.SendBinary(data));
});
