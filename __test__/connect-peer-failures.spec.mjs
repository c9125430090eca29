// Every way in which ConnectPeer fails: what it rejects with, and that nothing is left behind.
import assert from "node:assert/strict";
import net from "node:net";
import { encode } from "./support/frames.mjs";
import { UNKNOWN_HOST, info, letIn, otherServer, readRequest, switching } from "./support/other-server.mjs";
import { CAMPError } from "./support/product.mjs";
import { connectionEnd } from "./support/raw.mjs";
import { once, record, rejection, startServer } from "./support/server.mjs";
import { test } from "./support/test.mjs";
import { deferred, eventually, within } from "./support/wait.mjs";

const connect = (server, url, options) => rejection(server.ConnectPeer(url, "secret-token", options));

/** The rejection is coded, its message names the server and never the token; no session is there. */
function assertFailed(server, error, code, pattern, what) {
  assert.ok(error instanceof CAMPError, `${what}: ${error?.stack}`);
  assert.equal(error.code, code, `${what}: ${error.message}`);
  assert.match(error.message, pattern, what);
  assert.doesNotMatch(`${error.stack} ${error.cause?.stack}`, /secret-token/, what);
  assert.equal(server.sessions.size, 0, what);
  assert.equal(server.stats().peers, 0, what);
}

/** A server that answers each upgrade request with what `answer(request)` gives, and then hangs up unless told otherwise. */
const answering = (t, answer, { end = true } = {}) => otherServer(t, async (socket) => {
  const request = await readRequest(socket).catch(() => null);
  if (request === null) return;
  socket.write(answer(request));
  if (end) socket.end();
});

async function closedPort() {
  const server = net.createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

test("nobody listens there", async (t) => {
  const { server } = await startServer(t);
  const port = await closedPort();
  for (const host of ["127.0.0.1", "localhost"]) {
    const error = await connect(server, `ws://${host}:${port}`);
    assertFailed(server, error, "ERR_CAMP_CONNECT_FAILED", new RegExp(`^Cannot connect to ws://${host}:${port}: .*127\\.0\\.0\\.1:${port}`), host);
    assert.equal(error.cause.code, "ECONNREFUSED");
  }
});

test("the name is not known", async (t) => {
  const { server } = await startServer(t);
  const error = await connect(server, `ws://${UNKNOWN_HOST}:1`);
  assertFailed(server, error, "ERR_CAMP_CONNECT_FAILED", /^Cannot connect to ws:\/\/a+\.invalid:1: /, "name");
  assert.equal(error.cause.code, "ENOTFOUND");
});

test("an HTTP answer is a refusal with its status and what it says", async (t) => {
  const { server } = await startServer(t);
  const page = (text) => `<html><head><title>x</title><style>p {}</style></head><body><h1>No</h1>\n<p class="a">${text}</p></body></html>`;
  for (const [status, reason, fields, body, words] of [
    [401, "Unauthorized", "Content-Type: text/html", page("Bad &lt;token&gt; &amp; <b>such</b>."), /401 Unauthorized\. Bad <token> & such \.$/],
    [403, "Forbidden", "Content-Type: text/plain", "not\nyou", /403 Forbidden\. not you$/],
    [404, "Not Found", "Content-Type: application/json", "{}", /404 Not Found\.$/],
    [503, "Service Unavailable", "Content-Type: text/plain", "x".repeat(100_000), /503 Service Unavailable\. x{200}\.\.\.$/],
    [301, "Moved Permanently", "Location: ws://127.0.0.1/", "", /301/],
    [200, "OK", "Content-Type: text/html", page("Welcome"), /200 OK\. Welcome$/],
    [426, "", "Connection: close", "", /426/],
  ]) {
    const other = await answering(t, () => `HTTP/1.1 ${status} ${reason}\r\n${fields}\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    const error = await connect(server, other.url);
    assertFailed(server, error, "ERR_CAMP_REFUSED", words, String(status));
    assert.equal(error.status, status);
  }
});

test("our own server's refusals are told with their reasons", async (t) => {
  const { server } = await startServer(t);
  const far = await startServer(t, { path: "/camp", maxConnections: 1 }, { validate: (token) => token === "T" });
  const attempt = (path, token) => rejection(server.ConnectPeer(`ws://127.0.0.1:${far.port}${path}`, token));
  const wrongToken = await attempt("/camp", "wrong");
  assert.equal(wrongToken.status, 401);
  assert.match(wrongToken.message, /refused\. Invalid bearer token in authorization query\.$/);
  assert.equal((await attempt("/", "T")).status, 404);
  const session = await server.ConnectPeer(`ws://127.0.0.1:${far.port}/camp`, "T");
  assert.equal((await attempt("/camp", "T")).status, 503);
  await session.Close();
});

test("an answer whose text never ends does not hold up the rejection", async (t) => {
  const { server } = await startServer(t);
  const other = await answering(t, () => "HTTP/1.1 401 Unauthorized\r\nContent-Type: text/plain\r\nContent-Length: 50\r\n\r\ncut", { end: false });
  const error = await connect(server, other.url);
  assertFailed(server, error, "ERR_CAMP_REFUSED", /401 Unauthorized\. cut$/, "half a text");
});

test("what is no upgrade to WebSocket fails the handshake and says why", async (t) => {
  const { server } = await startServer(t);
  const head = (fields) => ({ key }) => switching(key, fields);
  for (const [what, answer, pattern] of [
    ["not HTTP", () => "SSH-2.0-OpenSSH_9.6\r\n", /not HTTP/],
    ["binary", () => Buffer.alloc(50), /not HTTP/],
    ["HTTP/1.0", (request) => switching(request.key).replace("HTTP/1.1", "HTTP/1.0"), /HTTP\/1\.0/],
    ["no Upgrade", head({ Upgrade: null }), /does not switch to WebSocket/],
    ["upgrade to something else", head({ Upgrade: "h2c" }), /does not switch to WebSocket/],
    ["no Connection", head({ Connection: "close" }), /does not switch to WebSocket/],
    ["no accept key", head({ "Sec-WebSocket-Accept": null }), /Sec-WebSocket-Accept/],
    ["another accept key", head({ "Sec-WebSocket-Accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" }), /Sec-WebSocket-Accept/],
    ["another subprotocol", head({ "Sec-WebSocket-Protocol": "mqtt" }), /subprotocol "mqtt"/],
    ["two subprotocols", head({ "Sec-WebSocket-Protocol": ["camp", "mqtt"] }), /subprotocol/],
    ["extensions", head({ "Sec-WebSocket-Extensions": "permessage-deflate" }), /permessage-deflate/],
    ["nothing", () => "", /closed before/],
    ["half a head", () => "HTTP/1.1 101 Switching Protocols\r\nUpgrade: web", /closed before/],
    ["too long a head", head({ "X-Long": "x".repeat(20_000) }), /more than 16384 bytes/],
    ["a head without end", () => `HTTP/1.1 101 ${"x".repeat(20_000)}`, /more than 16384 bytes/],
    ["too many fields", head({ X: Array(2100).fill("") }), /more than 2000 header fields/],
    ["a bare LF", (request) => switching(request.key, { "X-Hides": "a\nSec-WebSocket-Extensions: x" }), /CR LF/],
    ["a length and chunks", head({ "Content-Length": "0", "Transfer-Encoding": "chunked" }), /both a Content-Length and a Transfer-Encoding/],
    ["interim answers without end", () => "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000), /more than 32 interim answers/],
    ["an interim answer that is too long", () => `HTTP/1.1 103 Early Hints\r\nLink: ${"x".repeat(20_000)}\r\n\r\n`, /more than 16384 bytes/],
    ["nothing but an interim answer", () => "HTTP/1.1 100 Continue\r\n\r\n", /closed before/],
  ]) {
    const other = await answering(t, answer, { end: ["nothing", "half a head", "nothing but an interim answer"].includes(what) });
    const error = await connect(server, other.url);
    assertFailed(server, error, "ERR_CAMP_HANDSHAKE_FAILED", pattern, what);
    await connectionEnd(other.sockets[0]);
  }
});

test("maxHeaderBytes bounds the answer's head too", async (t) => {
  const { server } = await startServer(t, { maxHeaderBytes: 300 });
  const other = await answering(t, ({ key }) => switching(key, { "X-Long": "x".repeat(300) }));
  assertFailed(server, await connect(server, other.url), "ERR_CAMP_HANDSHAKE_FAILED", /more than 300 bytes/, "head");
});

test("a connection that is reset or closed at any stage is a rejection", async (t) => {
  const { server } = await startServer(t);
  for (const [what, script] of [
    ["reset at once", (socket) => socket.resetAndDestroy()],
    ["closed at once", (socket) => socket.end()],
    ["reset after the request", async (socket) => (await readRequest(socket), socket.resetAndDestroy())],
    ["closed after the upgrade", async (socket) => (await letIn(socket)).socket.end()],
    ["reset after the upgrade", async (socket) => (await letIn(socket)).socket.resetAndDestroy()],
    ["close frame after the upgrade", async (socket) => (await letIn(socket)).write({ opcode: 8, payload: Buffer.concat([Buffer.of(0x0f, 0xa1), Buffer.from("go away")]) })],
  ]) {
    const other = await otherServer(t, script);
    const error = await connect(server, other.url);
    // The system may still be connecting when the reset comes.
    const [code, text] = what === "reset at once" && error.code === "ERR_CAMP_CONNECT_FAILED"
      ? ["ERR_CAMP_CONNECT_FAILED", /^Cannot connect to ws:/] : ["ERR_CAMP_HANDSHAKE_FAILED", /^No session with ws:/];
    assertFailed(server, error, code, text, what);
    if (what.startsWith("close frame")) assert.match(error.message, /4001.*go away/);
    if (what === "reset after the request") assert.equal(error.cause.code, "ECONNRESET");
  }
});

test("timeoutMs ends it at every stage, and says which", async (t) => {
  const { server } = await startServer(t);
  for (const [what, script, pattern] of [
    ["silent", () => {}, /upgrade request was not answered within 150 ms/],
    ["half an answer", (socket) => socket.write("HTTP/1.1 101 "), /upgrade request was not answered/],
  ]) {
    const other = await otherServer(t, script);
    const error = await connect(server, other.url, { timeoutMs: 150 });
    assertFailed(server, error, "ERR_CAMP_TIMEOUT", pattern, what);
    await connectionEnd(other.sockets[0]);
  }
});

test("handshakeTimeoutMs is the default of timeoutMs", async (t) => {
  const { server } = await startServer(t, { handshakeTimeoutMs: 200 });
  const other = await otherServer(t, () => {});
  assertFailed(server, await connect(server, other.url), "ERR_CAMP_TIMEOUT", /within 200 ms/, "default");
});

test("heartbeats begin with the upgrade: silence ends it, a pong does not", async (t) => {
  // Before ConnectPeer gives a session to a server that has not spoken.
  const hasty = await startServer(t, { keepAliveIntervalMs: 50 });
  const silent = await otherServer(t, letIn);
  assertFailed(hasty.server, await connect(hasty.server, silent.url), "ERR_CAMP_HANDSHAKE_FAILED", /not responding to ping/, "silent");
  const { server } = await startServer(t, { keepAliveIntervalMs: 500 });
  const slow = await otherServer(t, async (socket) => {
    const end = await letIn(socket);
    for (let i = 0; i < 4; i++) {
      await end.next(({ frame }) => frame?.type === "PING_PONG");
      end.send(encode({ type: "PING_PONG", sid: end.sid, payload: "pong" }));
    }
    end.send(info(end.sid));
  });
  const session = await server.ConnectPeer(slow.url, "T");
  const events = record(session);
  await once(session, "connected");
  assert.deepEqual(events, [["connected"]]);
});

test("an abort ends it at every stage, and nothing of it is left", async (t) => {
  const { server } = await startServer(t);
  const stages = {
    "before the call": null,
    "in the same tick": () => {},
    "once connected": (socket, reached) => reached(),
    "once the request is there": async (socket, reached) => (await readRequest(socket), reached()),
    "in the middle of the answer": async (socket, reached) => (await readRequest(socket), socket.write("HTTP/1.1 101 S"), reached()),
    "after the upgrade": async (socket, reached) => {
      const end = await letIn(socket);
      await end.next(({ frame }) => frame?.type === "ENDPOINT_INFO");
      reached();
    },
  };
  for (const [what, script] of Object.entries(stages)) {
    const controller = new AbortController();
    const reason = new Error(what);
    const reached = deferred();
    const other = await otherServer(t, (socket) => script(socket, reached.resolve));
    if (script === null) controller.abort(reason);
    const promise = server.ConnectPeer(other.url, "T", { signal: controller.signal });
    if (what === "in the same tick") controller.abort(reason);
    else if (script !== null) {
      await within(reached.promise, 5000, what);
      controller.abort(reason);
    }
    const error = await rejection(promise);
    assert.deepEqual([error.name, error.code, error.cause], ["AbortError", "ABORT_ERR", reason], what);
    assert.equal(server.sessions.size, 0, what);
    for (const socket of other.sockets) await connectionEnd(socket);
    assert.equal(script === null && other.sockets.length > 0, false, "connected in spite of the abort");
  }
});

test("an abort after the session is there has no effect on it", async (t) => {
  const near = await startServer(t);
  const controller = new AbortController();
  const session = await near.server.ConnectPeer(`ws://127.0.0.1:${near.port}`, "T", { signal: controller.signal });
  controller.abort();
  await session.base.SendUTF8("still here");
});

test("an abort while a session is on its way leaves no session at either end", async (t) => {
  const near = await startServer(t);
  const far = await startServer(t);
  for (let round = 0; round < 30; round++) {
    const controller = new AbortController();
    const promise = near.server.ConnectPeer(`ws://127.0.0.1:${far.port}`, "T", { signal: controller.signal });
    // The core runs on while this thread is busy: sometimes the session is there when the abort comes.
    const until = performance.now() + round / 4;
    while (performance.now() < until);
    controller.abort();
    assert.equal((await rejection(promise)).name, "AbortError");
    assert.equal(near.server.sessions.size, 0);
  }
  await eventually(() => far.server.sessions.size === 0);
  const session = await near.server.ConnectPeer(`ws://127.0.0.1:${far.port}`, "T");
  assert.deepEqual([...near.server.sessions], [session]);
});

test("wrong arguments reject with an error that names them", async (t) => {
  const { server, port } = await startServer(t);
  const url = `ws://127.0.0.1:${port}`;
  for (const [args, ErrorClass, name] of [
    [[], TypeError, "host"], [[5, "T"], TypeError, "host"], [[null, "T"], TypeError, "host"],
    [["", "T"], RangeError, "host"], [["localhost:8080", "T"], RangeError, "host"], [["http://localhost", "T"], RangeError, "host"],
    [["ws://", "T"], RangeError, "host"], [["ws://localhost:99999", "T"], RangeError, "host"], [[`ws://u:p@127.0.0.1:${port}`, "T"], RangeError, "host"],
    [[`${url}/#x`, "T"], RangeError, "host"], [[`${url}/?X-CAMP-SID=1`, "T"], RangeError, "host"], [[`${url}/?authorization=x`, "T"], RangeError, "host"],
    [["ws://localhost:0", "T"], RangeError, "host"],
    [[url], TypeError, "bearer"], [[url, 5], TypeError, "bearer"], [[url, null], TypeError, "bearer"],
    [[url, "T", 5], TypeError, "options"], [[url, "T", null], TypeError, "options"],
    [[url, "T", { timeoutMs: "5" }], TypeError, "timeoutMs"], [[url, "T", { timeoutMs: 0 }], RangeError, "timeoutMs"], [[url, "T", { timeoutMs: 2 ** 31 }], RangeError, "timeoutMs"],
    [[url, "T", { timeoutMs: NaN }], RangeError, "timeoutMs"], [[url, "T", { signal: {} }], TypeError, "signal"],
    [[url, "T", { rejectUnauthorized: "no" }], TypeError, "rejectUnauthorized"], [[url, "T", { servername: 5 }], TypeError, "servername"],
    [[url, "T", { servername: "" }], RangeError, "servername"], [[url, "T", { ca: 5 }], TypeError, "ca"], [[url, "T", { ca: ["x", {}] }], TypeError, "ca"],
    [["wss://127.0.0.1:1", "T", { ca: "not PEM" }], RangeError, "ca"], [["wss://127.0.0.1:1", "T", { ca: [] }], RangeError, "ca"],
    [["wss://127.0.0.1:1", "T", { ca: Buffer.alloc(0) }], RangeError, "ca"],
    [["wss://127.0.0.1:1", "T", { ca: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" }], RangeError, "ca"],
    [["wss://127.0.0.1:1", "T", { servername: "not a name" }], RangeError, "servername"],
  ]) {
    // Not a throw: a function that gives a promise fails in one way only.
    const error = await rejection(server.ConnectPeer(...args));
    const what = JSON.stringify(args);
    assert.equal(error.constructor, ErrorClass, `${what}: ${error}`);
    assert.match(error.message, new RegExp(`^${name}\\b`), what);
  }
  assert.equal(server.sessions.size, 0);
});

test("a rejection that nobody awaits is no unhandledRejection", async (t) => {
  const unhandled = [];
  const listener = (error) => unhandled.push(error);
  process.on("unhandledRejection", listener);
  t.after(() => process.removeListener("unhandledRejection", listener));
  const { server, listenerErrors } = await startServer(t);
  const other = await otherServer(t, (socket) => socket.resetAndDestroy());
  const arrived = other.connection();
  void server.ConnectPeer(other.url, "T");
  void server.ConnectPeer(5);
  await arrived;
  await rejection(server.ConnectPeer(other.url, "T"));
  await new Promise(setImmediate);
  await eventually(() => listenerErrors.length > 0);
  assert.deepEqual(unhandled, []);
  // The wrong argument alone is a mistake of the caller's.
  assert.deepEqual(listenerErrors.splice(0).map(([error, event]) => [error.code, event]), [["ERR_INVALID_ARG_TYPE", "ConnectPeer"]]);
});
