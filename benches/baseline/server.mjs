// The baseline's listener and its upgrades.
import { EventEmitter } from "node:events";
import http from "node:http";
import https from "node:https";
import { WebSocketServer } from "ws";
import { MAX_FRAME, Session } from "./session.mjs";

const KEEP_ALIVE_MS = 15_000;

/** Authenticates upgrades. Emits `session` and `listening`. */
export class Server extends EventEmitter {
  /**
   * @param {{ validate(token: string): Promise<boolean> }} validator
   * @param {{ port: number, ssl?: { key: Buffer, cert: Buffer } | undefined, keepAliveMs?: number | undefined }} options
   */
  constructor(validator, { port, ssl, keepAliveMs = KEEP_ALIVE_MS }) {
    super();
    this.validator = validator;
    this.keepAliveMs = keepAliveMs;
    /** @type {Map<bigint, Session>} */
    this.sessions = new Map();
    this.wss = new WebSocketServer({ noServer: true, maxPayload: MAX_FRAME });
    this.http = ssl ? https.createServer(ssl) : http.createServer();
    this.http.on("upgrade", (request, socket, head) => this.onUpgrade(request, socket, head));
    this.http.listen(port, "127.0.0.1", () => this.emit("listening"));
  }

  address() {
    return /** @type {import("node:net").AddressInfo} */ (this.http.address());
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
      const session = new Session(BigInt(sid), ws, this.keepAliveMs);
      this.sessions.set(session.sid, session);
      session.on("closed", () => this.sessions.delete(session.sid));
      this.emit("session", session);
      session.Start();
    });
  }
}
