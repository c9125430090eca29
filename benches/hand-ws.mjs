// A CAMP server on `ws`, optimised by hand: frames are put together in one buffer for all sessions,
// and what a session has to say is written once per batch of reads, past the senders of `ws`.
//
//   node benches/hand-ws.mjs --mode echo     prints LISTENING and the port; the token is `T`
import { open } from "node:fs/promises";
import http from "node:http";
import https from "node:https";
import { WebSocketServer } from "ws";
import { HandSession } from "./hand/session.mjs";
import { listening, serving, validate } from "./lib/serving.mjs";

const SLAB = 4 << 20;
/** Bytes of a file in one TX_CHUNK. */
const PIECE = 256 << 10;

const options = serving();
/** @type {Map<bigint, WsSession>} */
const sessions = new Map();

/** @type {any} */
let slab = Buffer.allocUnsafeSlow(SLAB);
let end = 0;

class WsSession extends HandSession {
  /** @param {bigint} sid @param {any} ws */
  constructor(sid, ws) {
    super(sid, options, sessions);
    this.socket = ws._socket;
    /** @override */
    this.out = slab;
    /** Where in `out` begins what has not been written; -1 if nothing. */
    this.from = -1;
    this.until = 0;
    this.body = 0;
    this.flush = this.flush.bind(this);
  }

  /** @override @param {number} n */
  room(n) {
    const needed = n + 10;
    if (this.from < 0) {
      if (SLAB - end < needed) fresh(needed);
      this.from = end;
      this.out = slab;
      process.nextTick(this.flush);
    } else if (this.out !== slab || this.until !== end || SLAB - end < needed) {
      this.flush();
      if (SLAB - end < needed) fresh(needed);
      this.from = end;
      this.out = slab;
      process.nextTick(this.flush);
    }
    return this.body = end + (n < 126 ? 2 : n < 65536 ? 4 : 10);
  }

  /** @override @param {number} n */
  done(n) {
    const { out } = this;
    out[end] = 0x82;
    if (n < 126) {
      out[end + 1] = n;
    } else if (n < 65536) {
      out[end + 1] = 126;
      out[end + 2] = n >>> 8;
      out[end + 3] = n;
    } else {
      out[end + 1] = 127;
      out.writeUInt32BE(0, end + 2);
      out.writeUInt32BE(n, end + 6);
    }
    end = this.body + n;
    this.until = end;
  }

  flush() {
    if (this.from < 0) return;
    const bytes = this.out.subarray(this.from, this.until);
    this.from = -1;
    this.socket.write(bytes);
  }

  /** @override */
  async stream() {
    this.txStart();
    this.flush();
    const { file, bytes } = this.serving;
    const handle = await open(file);
    /** @type {Buffer[]} */
    const free = [];
    for (let offset = 0; offset < bytes;) {
      const n = Math.min(PIECE, bytes - offset);
      const chunk = free.pop() ?? Buffer.allocUnsafeSlow(PIECE + 31);
      chunk[0] = 0x82;
      chunk[1] = 127;
      chunk.writeUInt32BE(0, 2);
      chunk.writeUInt32BE(n + 21, 6);
      this.chunkHead(chunk, 10, offset);
      await handle.read(chunk, 31, n, offset);
      offset += n;
      if (!this.socket.write(chunk.subarray(0, n + 31), () => free.push(chunk)))
        await new Promise((resolve) => this.socket.once("drain", resolve));
    }
    await handle.close();
    this.txFinish();
  }
}

/** @param {number} needed */
function fresh(needed) {
  slab = Buffer.allocUnsafeSlow(Math.max(SLAB, needed));
  end = 0;
}

const server = options.tls ? https.createServer(options.tls) : http.createServer();
const wss = new WebSocketServer({
  noServer: true, clientTracking: false, perMessageDeflate: false, skipUTF8Validation: true, maxPayload: 2 << 20,
});
server.on("upgrade", async (request, socket, head) => {
  socket.on("error", () => socket.destroy());
  const query = new URL(request.url ?? "", "ws://localhost").searchParams;
  const [scheme, token] = (query.get("authorization") ?? "").split(" ");
  if (scheme !== "Bearer" || !(await validate(token ?? ""))) return socket.end("HTTP/1.1 401 Unauthorized\r\n\r\n");
  wss.handleUpgrade(request, socket, head, (ws) => {
    const sid = BigInt(query.get("x-camp-sid") ?? 0);
    const session = new WsSession(sid, ws);
    sessions.set(sid, session);
    ws.on("message", (/** @type {any} */ frame) => {
      if (session.from < 0) session.now = Date.now();
      session.receive(frame);
    });
    ws.on("error", () => ws.terminate());
    ws.on("close", () => sessions.delete(sid));
    session.hello();
  });
});
server.listen(0, "127.0.0.1", () => listening(/** @type {import("node:net").AddressInfo} */ (server.address()).port));
