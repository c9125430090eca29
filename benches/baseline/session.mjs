// One client of the baseline server.
import { EventEmitter, once } from "node:events";
import { Readable } from "node:stream";
import { ACK_SIZE, FrameFormatter, FrameType, HEADER_SIZE } from "./frames.mjs";

const ACK_TIMEOUT_MS = 2_500;
const HIGH_WATER_MARK = 1 << 20;

export const MAX_FRAME = (1 << 20) + HEADER_SIZE + ACK_SIZE;

/** Emits `message-utf8`, `message-binary`, `stream`, `acknowledged`, `stat-rtt` and `closed`. */
export class Session extends EventEmitter {
  /** @param {bigint} sid @param {import("ws").WebSocket} socket @param {number} keepAliveMs */
  constructor(sid, socket, keepAliveMs) {
    super();
    this.sid = sid;
    this.socket = socket;
    this.nextAck = 0;
    this.nextTxId = 0;
    /** @type {Map<number, number>} when each unacknowledged frame was sent */
    this.pending = new Map();
    /** @type {Map<number, Readable>} */
    this.incoming = new Map();
    this.rtt = -1;
    this.bytesRx = 0;
    this.bytesTx = 0;
    this.alive = true;

    socket.on("message", (data, isBinary) => this.onMessage(/** @type {Buffer} */ (data), isBinary));
    socket.on("error", () => socket.terminate());
    socket.on("close", () => this.onClose());
    this.heartbeat = setInterval(() => this.onHeartbeat(), keepAliveMs);
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

  /** @param {AsyncIterable<Buffer>} source @param {string} name */
  async Stream(source, name) {
    const txId = this.nextTxId++;
    await this.send(FrameFormatter.txStart(this.sid, this.track(), txId, name));
    let offset = 0;
    for await (const chunk of source) {
      await this.send(FrameFormatter.txChunk(this.sid, txId, offset, chunk));
      offset += chunk.length;
      if (this.socket.bufferedAmount > HIGH_WATER_MARK) await this.drained();
    }
    await this.send(FrameFormatter.txFinish(this.sid, this.track(), txId));
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

  async drained() {
    const { _socket } = /** @type {any} */ (this.socket);
    if (_socket.writableNeedDrain) await once(_socket, "drain");
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
      case FrameType.TxStart: return this.onTxStart(frame);
      case FrameType.TxChunk: return this.onTxChunk(frame);
      case FrameType.TxFinish: return this.onTxFinish(frame);
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
    this.emit("acknowledged", ack);
  }

  /** @param {string} word */
  async onPingPong(word) {
    if (word === "ping") await this.send(FrameFormatter.pingPong(this.sid, "pong"));
  }

  /** @param {import("./frames.mjs").Frame} frame */
  async onTxStart(frame) {
    const { txId, name } = FrameFormatter.parseTxStart(frame);
    const stream = new Readable({ read: () => this.socket.resume() });
    this.incoming.set(txId, stream);
    await this.send(FrameFormatter.ack(this.sid, frame.ack));
    this.emit("stream", stream, name);
  }

  /** @param {import("./frames.mjs").Frame} frame */
  onTxChunk(frame) {
    const { txId, data } = FrameFormatter.parseTxChunk(frame);
    if (this.incoming.get(txId)?.push(data) === false) this.socket.pause();
  }

  /** @param {import("./frames.mjs").Frame} frame */
  async onTxFinish(frame) {
    const txId = FrameFormatter.parseTxFinish(frame);
    await this.send(FrameFormatter.ack(this.sid, frame.ack));
    this.incoming.get(txId)?.push(null);
    this.incoming.delete(txId);
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
    for (const stream of this.incoming.values()) stream.destroy(new Error("the session has ended"));
    this.emit("closed");
  }
}
