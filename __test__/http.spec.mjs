import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { readAll, request } from "./support/http.mjs";
import { rawSocket } from "./support/raw.mjs";
import { echo, once, openSession, startServer } from "./support/server.mjs";
import { test } from "./support/test.mjs";

const key = readFileSync(new URL("support/tls/test-only.key.pem", import.meta.url));
const cert = readFileSync(new URL("support/tls/test-only.cert.pem", import.meta.url));
const trusting = { ca: cert, servername: "localhost" };

/** What both kinds of server must do the same. */
const TRANSPORTS = [
  ["http", {}, undefined],
  ["https", { ssl: { key, cert } }, trusting],
];

async function startHttp(t, listener, options = {}) {
  const running = await startServer(t, options);
  echo(running.server);
  running.server.http_server.on("request", listener);
  return running;
}

/** Bytes that repeat no block of theirs. */
function* blocks(count, size = 65_536) {
  for (let i = 0; i < count; i++) yield Buffer.alloc(size, createHash("sha256").update(String(i)).digest());
}

function sha256(chunks) {
  const hash = createHash("sha256");
  for (const chunk of chunks) hash.update(chunk);
  return hash.digest("hex");
}

for (const [name, options, tls] of TRANSPORTS) {
  test(`${name}: a GET reaches the request listener and its answer the client`, async (t) => {
    const { port } = await startHttp(t, (req, res) => {
      res.setHeader("x-method", req.method);
      res.end(`you asked for ${req.url}`);
    }, options);
    const { status, headers, text } = await request({ port, tls, path: "/page?x=1" });
    assert.deepEqual([status, headers["x-method"], text], [200, "GET", "you asked for /page?x=1"]);
  });

  test(`${name}: a streamed POST of 10 MiB arrives whole, and 10 MiB go back`, async (t) => {
    const { port } = await startHttp(t, async (req, res) => {
      const hash = createHash("sha256");
      for await (const chunk of req) hash.update(chunk);
      res.setHeader("x-hash", hash.digest("hex"));
      await pipeline(Readable.from(blocks(160)), res);
    }, options);
    const answer = await request({
      port, tls, method: "POST", path: "/upload", body: (out) => pipeline(Readable.from(blocks(160)), out).catch(() => {}),
    });
    const expected = sha256(blocks(160));
    assert.equal(answer.headers["x-hash"], expected, "request");
    assert.equal(answer.body.length, 160 * 65_536);
    assert.equal(sha256([answer.body]), expected, "response");
  });

  test(`${name}: one connection serves many requests, one after the other`, async (t) => {
    const sockets = new Set();
    const { port } = await startHttp(t, (req, res) => {
      sockets.add(req.socket);
      req.resume().on("end", () => res.end(req.url));
    }, options);
    const agent = new (tls ? https : http).Agent({ keepAlive: true, maxSockets: 1 });
    t.after(() => agent.destroy());
    for (let i = 0; i < 20; i++) {
      const { text } = await request({ port, tls, agent, path: `/${i}`, method: i % 2 ? "POST" : "GET", body: i % 2 ? "data" : "" });
      assert.equal(text, `/${i}`);
    }
    assert.equal(sockets.size, 1);
  });

  test(`${name}: the socket knows both ends and whether it is encrypted`, async (t) => {
    let seen;
    const { port } = await startHttp(t, ({ socket }, res) => {
      const { remoteAddress, remotePort, remoteFamily, localAddress, localPort, localFamily, encrypted = false } = socket;
      seen = { remoteAddress, remotePort, remoteFamily, localAddress, localPort, localFamily, encrypted, address: socket.address() };
      if (tls) Object.assign(seen, { protocol: socket.getProtocol(), servername: socket.servername });
      res.end();
    }, options);
    const socket = await rawSocket({ port, tls });
    socket.write("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    await readAll(socket);
    assert.deepEqual(seen, {
      remoteAddress: "127.0.0.1", remotePort: seen.remotePort, remoteFamily: "IPv4", localAddress: "127.0.0.1", localPort: port,
      localFamily: "IPv4", encrypted: tls !== undefined, address: { address: "127.0.0.1", port, family: "IPv4" },
      ...tls && { protocol: "TLSv1.3", servername: "localhost" },
    });
    assert.ok(seen.remotePort > 0);
  });

  test(`${name}: sessions and requests share the port`, async (t) => {
    const running = await startHttp(t, (req, res) => void res.end("page"), options);
    const { peer } = await openSession(running, { tls });
    const asked = Array.from({ length: 30 }, async (_, i) => {
      await peer.echo(`message ${i}`);
      const { text } = await request({ port: running.port, tls });
      return text;
    });
    assert.deepEqual(new Set(await Promise.all(asked)), new Set(["page"]));
    const count = await new Promise((resolve, reject) =>
      running.server.http_server.getConnections((error, n) => (error ? reject(error) : resolve(n))));
    assert.ok(count >= 1, "the session is a connection");
  });
}

test("http_server is an http.Server, with ssl an https.Server, and the same object each time", async (t) => {
  const plain = await startServer(t);
  assert.ok(plain.server.http_server instanceof http.Server);
  assert.ok(!(plain.server.http_server instanceof https.Server));
  assert.equal(plain.server.http_server, plain.server.http_server);
  const secure = await startServer(t, { ssl: { key, cert } });
  assert.ok(secure.server.http_server instanceof https.Server);
});

test("pipelined requests are answered in order, also those that came with the first", async (t) => {
  const { port } = await startHttp(t, (req, res) => {
    // The first takes longest: answers must not overtake each other.
    if (req.url === "/0") setImmediate(() => res.end("<0>"));
    else res.end(`<${req.url.slice(1)}>`);
  });
  const socket = await rawSocket({ port });
  const paths = Array.from({ length: 50 }, (_, i) => i);
  const last = paths.length - 1;
  socket.write(paths.map((i) => `GET /${i} HTTP/1.1\r\nHost: x\r\n${i === last ? "Connection: close\r\n" : ""}\r\n`).join(""));
  const text = await readAll(socket);
  assert.deepEqual(text.match(/<\d+>/g), paths.map((i) => `<${i}>`));
});

test("bodies in chunks go both ways", async (t) => {
  const { port } = await startHttp(t, async (req, res) => {
    assert.equal(req.headers["transfer-encoding"], "chunked");
    for await (const chunk of req) res.write(chunk);
    res.end("!");
  });
  const { headers, text } = await request({
    port,
    method: "POST",
    body: (out) => {
      out.write("a");
      setImmediate(() => {
        out.write("b".repeat(100_000));
        out.end("c");
      });
    },
  });
  assert.equal(headers["transfer-encoding"], "chunked");
  assert.equal(text, `a${"b".repeat(100_000)}c!`);
});

test("a HEAD is answered without a body", async (t) => {
  const { port } = await startHttp(t, (req, res) => {
    res.setHeader("content-length", 12345);
    res.end();
  });
  const { status, headers, body } = await request({ port, method: "HEAD" });
  assert.deepEqual([status, headers["content-length"], body.length], [200, "12345", 0]);
});

test("Expect: 100-continue is answered before the body is sent", async (t) => {
  const { port } = await startHttp(t, (req, res) => {
    req.setEncoding("utf8").on("data", (text) => res.end(`got ${text}`));
  });
  const { text } = await request({
    port,
    method: "POST",
    headers: { expect: "100-continue", "content-length": 5 },
    body: (out) => {
      out.flushHeaders();
      out.on("continue", () => out.end("hello"));
    },
  });
  assert.equal(text, "got hello");
});

test("an answer of many small writes and one of a single large one arrive whole", async (t) => {
  const large = Buffer.concat([...blocks(300)]);
  const { port } = await startHttp(t, (req, res) => {
    if (req.url === "/large") return void res.end(large);
    for (let i = 0; i < 60_000; i++) res.write(`${i},`);
    res.end();
  });
  const small = await request({ port, path: "/small" });
  assert.equal(small.text, Array.from({ length: 60_000 }, (_, i) => `${i},`).join(""));
  assert.equal(sha256([(await request({ port, path: "/large" })).body]), sha256([large]));
});

test("bytesRead and bytesWritten of the socket are those of the wire", async (t) => {
  let socket;
  const { port } = await startHttp(t, (req, res) => {
    ({ socket } = req);
    res.end("x".repeat(1000));
  });
  const client = await rawSocket({ port });
  const head = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
  client.write(head);
  const text = await readAll(client);
  assert.deepEqual([socket.bytesRead, socket.bytesWritten], [head.length, text.length]);
});

test("without a request listener the core answers with 426, also after the last one was removed", async (t) => {
  const running = await startServer(t);
  const { http_server: server } = running.server;
  assert.equal((await request(running)).status, 426);
  const page = (req, res) => void res.end("page");
  server.on("request", page);
  assert.equal((await request(running)).text, "page");
  server.off("request", page);
  assert.equal((await request(running)).status, 426);
  server.once("request", page);
  assert.equal((await request(running)).text, "page");
  assert.equal((await request(running)).status, 426);
});

test("a listener that throws is an uncaught exception, as in any http.Server", async (t) => {
  const { port } = await startHttp(t, (req, res) => {
    if (req.url === "/throws") throw new Error("thrown by a listener");
    res.end("fine");
  });
  const uncaught = once(process, "uncaughtException");
  const others = process.listeners("uncaughtException").slice(0, -1);
  for (const other of others) process.off("uncaughtException", other);
  t.after(() => others.forEach((other) => process.on("uncaughtException", other)));
  const socket = await rawSocket({ port });
  socket.write("GET /throws HTTP/1.1\r\nHost: x\r\n\r\n");
  assert.equal((await uncaught)[0].message, "thrown by a listener");
  assert.equal((await request({ port })).text, "fine");
});

test("a malformed request on a connection in use reaches clientError or is answered with 400", async (t) => {
  const { port, server } = await startHttp(t, (req, res) => void res.end("first"));
  const send = async () => {
    const socket = await rawSocket({ port });
    socket.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    const all = readAll(socket);
    await once(socket, "data");
    socket.write("BLARGH\r\n\r\n");
    return all;
  };
  assert.match(await send(), /first.*HTTP\/1\.1 400 Bad Request/s);
  const heard = once(server.http_server, "clientError");
  server.http_server.once("clientError", (_, socket) => socket.end("HTTP/1.1 418 Teapot\r\nConnection: close\r\n\r\n"));
  assert.match(await send(), /418 Teapot/);
  assert.equal((await heard)[0].code, "HPE_INVALID_METHOD");
});
