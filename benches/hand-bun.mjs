// A CAMP server on Bun's own WebSocket server, optimised by hand; Bun corks what is sent while it reads.
//
//   bun benches/hand-bun.mjs --mode echo     prints LISTENING and the port; the token is `T`
import { openSync, readSync } from "node:fs";
import { HandSession } from "./hand/session.mjs";
import { listening, serving, validate } from "./lib/serving.mjs";

/** Bytes of a file in one TX_CHUNK. */
const PIECE = 256 << 10;
const MAX_FRAME = 2 << 20;

const { Bun } = /** @type {any} */ (globalThis);
const options = serving();
/** @type {Map<bigint, BunSession>} */
const sessions = new Map();

/** @type {any} every frame is put together here, and copied by Bun */
const scratch = Buffer.alloc(MAX_FRAME);
/** Making a view costs more than sending it. */
const views = Array.from({ length: 4096 }, (_, n) => scratch.subarray(0, n));

class BunSession extends HandSession {
  /** @param {bigint} sid */
  constructor(sid) {
    super(sid, options, sessions);
    this.sid = sid;
    this.out = scratch;
    /** @type {any} */
    this.ws = undefined;
    /** @type {(() => void) | undefined} */
    this.drained = undefined;
  }

  /** @override @param {number} _n */
  room(_n) {
    return 0;
  }

  /** @override @param {number} n */
  done(n) {
    this.ws.sendBinary(n < 4096 ? views[n] : scratch.subarray(0, n));
  }

  /** @override */
  stream() {
    this.txStart();
    const { file, bytes } = this.serving;
    const fd = openSync(file, "r");
    const chunk = Buffer.allocUnsafeSlow(PIECE + 21);
    let offset = 0;
    this.drained = () => {
      while (offset < bytes) {
        const n = Math.min(PIECE, bytes - offset);
        this.chunkHead(chunk, 0, offset);
        readSync(fd, chunk, 21, n, offset);
        offset += n;
        if (this.ws.sendBinary(chunk.subarray(0, n + 21)) === -1) break;
      }
      if (offset < bytes) return;
      this.drained = undefined;
      this.txFinish();
    };
    this.drained();
  }
}

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  ...(options.tls && { tls: options.tls }),
  /** @param {Request} request @param {any} server */
  async fetch(request, server) {
    const query = new URL(request.url).searchParams;
    const [scheme, token] = (query.get("authorization") ?? "").split(" ");
    if (scheme !== "Bearer" || !(await validate(token ?? ""))) return new Response("", { status: 401 });
    const data = new BunSession(BigInt(query.get("x-camp-sid") ?? 0));
    if (!server.upgrade(request, { data })) return new Response("", { status: 400 });
  },
  websocket: {
    perMessageDeflate: false,
    maxPayloadLength: MAX_FRAME,
    backpressureLimit: 64 << 20,
    idleTimeout: 0,
    /** @param {any} ws */
    open(ws) {
      ws.data.ws = ws;
      sessions.set(ws.data.sid, ws.data);
      ws.data.hello();
    },
    /** @param {any} ws @param {any} frame */
    message(ws, frame) {
      ws.data.now = Date.now();
      ws.data.receive(frame);
    },
    /** @param {any} ws */
    drain(ws) {
      ws.data.drained?.();
    },
    /** @param {any} ws */
    close(ws) {
      sessions.delete(ws.data.sid);
    },
  },
});
listening(server.port);
