// The other server of `ConnectPeer`, by hand: raw sockets, and frames that this package would never send.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import net from "node:net";
import tls from "node:tls";
import { encode } from "./frames.mjs";
import { RawPeer } from "./raw.mjs";
import { deferred, within } from "./wait.mjs";

const file = (name) => readFileSync(new URL(`tls/${name}`, import.meta.url));
export const CERT = file("test-only.cert.pem");
export const SECURE = { key: file("test-only.key.pem"), cert: CERT };

/** Names this machine's resolver refuses by itself: a label has at most 63 characters. */
export const UNKNOWN_HOST = `${"a".repeat(64)}.invalid`;

/**
 * A TCP server, with `secure` a TLS one, that does with each connection what `script(socket)` says; it ends with the test.
 * `sockets` are all connections so far.
 */
export async function otherServer(t, script, { secure, host = "127.0.0.1" } = {}) {
  const sockets = [];
  const waiting = [];
  const onSocket = (socket) => {
    socket.on("error", () => {});
    socket.setNoDelay(true);
    sockets.push(socket);
    waiting.splice(0).forEach((resolve) => resolve(socket));
    script(socket);
  };
  const server = secure ? tls.createServer(secure, onSocket) : net.createServer(onSocket);
  if (secure) server.on("tlsClientError", () => {});
  await new Promise((resolve, reject) => server.once("error", reject).listen(0, host, resolve));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const { port } = server.address();
  return {
    port,
    url: `${secure ? "wss" : "ws"}://${host.includes(":") ? `[${host}]` : host}:${port}`,
    sockets,
    /** The next connection. */
    connection: (ms = 5000) => within(new Promise((resolve) => waiting.push(resolve)), ms, "connection"),
  };
}

/** Reads the request and gives `{ line, target, query, headers, key, rest }`. */
export function readRequest(socket, ms = 5000) {
  const done = deferred();
  let received = Buffer.alloc(0);
  const onData = (chunk) => {
    received = Buffer.concat([received, chunk]);
    const end = received.indexOf("\r\n\r\n");
    if (end < 0) return;
    socket.removeListener("data", onData);
    socket.pause();
    const [line, ...fields] = received.subarray(0, end).toString("latin1").split("\r\n");
    const headers = Object.fromEntries(fields.map((field) => [field.slice(0, field.indexOf(":")).toLowerCase(), field.slice(field.indexOf(":") + 1).trim()]));
    const target = line.split(" ")[1];
    done.resolve({
      line, target, headers, key: headers["sec-websocket-key"], rest: received.subarray(end + 4),
      query: target.slice(target.indexOf("?") + 1).split("&").map((pair) => pair.split("=")),
    });
  };
  socket.on("data", onData);
  return within(done.promise, ms, "request");
}

export const acceptKey = (key) => createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");

/** The head of a 101. A field of `null` is left out, an array is repeated. */
export function switching(key, fields = {}) {
  const all = { Upgrade: "websocket", Connection: "Upgrade", "Sec-WebSocket-Accept": acceptKey(key), ...fields };
  const lines = Object.entries(all).flatMap(([name, value]) => (value === null ? [] : [value].flat().map((one) => `${name}: ${one}`)));
  return ["HTTP/1.1 101 Switching Protocols", ...lines, "", ""].join("\r\n");
}

/** Lets a connection in: the server's end of the WebSocket, with the `request`. */
export async function letIn(socket, { fields, trailing = () => Buffer.alloc(0), autoClose } = {}) {
  const request = await readRequest(socket);
  const sid = BigInt(request.query.find(([name]) => name === "x-camp-sid")[1]);
  socket.write(Buffer.concat([Buffer.from(switching(request.key, fields)), trailing(sid)]));
  const end = new RawPeer({ socket, rest: request.rest }, { sid, masks: false, autoClose });
  return Object.assign(end, { request });
}

export const info = (sid, { version = 1, features = 1n } = {}) => encode({ type: "ENDPOINT_INFO", sid, ack: 0, version, features });

/**
 * A server of CAMP as far as its first frame; `next()` gives its end of the next session, which answers nothing
 * by itself but a close frame.
 */
export async function frameServer(t, { secure, ...options } = {}) {
  const ends = [];
  const waiters = [];
  const server = await otherServer(t, async (socket) => {
    const end = await letIn(socket, options);
    end.send(info(end.sid));
    const waiter = waiters.shift();
    if (waiter) waiter.resolve(end);
    else ends.push(end);
  }, { secure });
  const next = () => {
    if (ends.length > 0) return Promise.resolve(ends.shift());
    const waiter = deferred();
    waiters.push(waiter);
    return within(waiter.promise, 5000, "session");
  };
  return { ...server, next };
}

/** `server`'s session with a frame server, and that one's end. */
export async function openPeer(server, other, options) {
  const [session, end] = await Promise.all([server.ConnectPeer(other.url, "T", options), other.next()]);
  return { session, end };
}
