// A small CAMP client over `ws`, frames written by hand: enough of the protocol for the demo.
import WebSocket from "ws";

export const ENDPOINT_INFO = 255, BYE = 254, ACK = 253, ERROR = 252, PING_PONG = 251, UTF8DATA = 250, BINARYDATA = 249;

/** Before the payload of most frames: sid (8 bytes), type (1), ack (4). */
const HEADER = 13;

export class CampClient {
  /**
   * Opens a session. Rejects with the server's answer when it refuses.
   * @param {number} port @param {string} token @param {bigint} sid @returns {Promise<CampClient>}
   */
  static connect(port, token, sid) {
    const query = new URLSearchParams({ authorization: `Bearer ${token}`, "x-camp-sid": String(sid) });
    const socket = new WebSocket(`ws://127.0.0.1:${port}/?${query}`, "camp");
    const client = new CampClient(socket, sid);
    return new Promise((resolve, reject) => {
      socket.on("error", reject);
      socket.on("unexpected-response", (_request, response) => {
        response.resume();
        reject(new Error(`${response.statusCode} ${response.statusMessage}`));
      });
      socket.on("open", () => {
        // Both sides begin with ENDPOINT_INFO: protocol version 1, no features.
        const info = Buffer.alloc(12);
        info.writeUInt32BE(1, 0);
        client.send(ENDPOINT_INFO, info).then(() => resolve(client), reject);
      });
    });
  }

  /** @param {WebSocket} socket @param {bigint} sid */
  constructor(socket, sid) {
    this.socket = socket;
    this.sid = sid;
    this.nextAck = 0;
    /** @type {Map<number, () => void>} what waits for the server's ACK */
    this.unacknowledged = new Map();
    /** Called for each ERROR, UTF8DATA and BINARYDATA. @type {(type: number, payload: Buffer) => void} */
    this.onMessage = () => {};
    this.bytesSent = 0;
    this.bytesReceived = 0;
    this.acksSent = 0;
    this.acksReceived = 0;
    /** The reason in the server's BYE. @type {string | null} */
    this.bye = null;
    /** The close code of the WebSocket. @type {Promise<number>} */
    this.closed = new Promise((resolve) => socket.on("close", resolve));
    socket.on("message", (data) => this.#receive(/** @type {Buffer} */ (data)));
  }

  /**
   * Sends a frame that the server acknowledges; resolves when it has.
   * @param {number} type @param {Buffer} payload @returns {Promise<void>}
   */
  send(type, payload) {
    const ack = this.nextAck++;
    return new Promise((resolve) => {
      this.unacknowledged.set(ack, resolve);
      this.#write(type, ack, payload);
    });
  }

  /** @param {number} type @param {number} ack @param {Buffer} [payload] */
  #write(type, ack, payload) {
    const frame = Buffer.allocUnsafe(HEADER + (payload?.length ?? 0));
    frame.writeBigUInt64BE(this.sid, 0);
    frame.writeUInt8(type, 8);
    frame.writeUInt32BE(ack, 9);
    payload?.copy(frame, HEADER);
    this.bytesSent += frame.length;
    this.socket.send(frame);
  }

  /** @param {Buffer} frame */
  #receive(frame) {
    this.bytesReceived += frame.length;
    if (frame.readBigUInt64BE(0) !== this.sid) throw new Error("a frame of another session");
    const type = frame.readUInt8(8);
    const ack = frame.readUInt32BE(9);
    const payload = frame.subarray(HEADER);

    switch (type) {
      case ACK:
        this.acksReceived += 1;
        this.unacknowledged.get(ack)?.();
        this.unacknowledged.delete(ack);
        return;
      case PING_PONG:
        // No ack number here: the word `ping` or `pong` stands in its place, and `ping` wants `pong`.
        if (frame.toString("latin1", 9) === "ping") this.#write(PING_PONG, Buffer.from("pong").readUInt32BE());
        return;
      case BYE:
        this.bye = payload.toString();
        return;
      case ENDPOINT_INFO:
      case ERROR:
      case UTF8DATA:
      case BINARYDATA:
        this.acksSent += 1;
        this.#write(ACK, ack);
        if (type !== ENDPOINT_INFO) this.onMessage(type, payload);
        return;
      default:
        throw new Error(`a frame of type ${type}`);
    }
  }
}
