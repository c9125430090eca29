// Frameworks and protocols of others on the port of a CAMP server.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import express from "express";
import { Server as SocketIo } from "socket.io";
import { io } from "socket.io-client";
import supertest from "supertest";
import { WebSocket, WebSocketServer } from "ws";
import { request } from "./support/http.mjs";
import { rawUpgrade, target } from "./support/raw.mjs";
import { echo, once, openSession, startServer, within } from "./support/server.mjs";
import { test } from "./support/test.mjs";
import { eventually } from "./support/wait.mjs";

const key = readFileSync(new URL("support/tls/test-only.key.pem", import.meta.url));
const cert = readFileSync(new URL("support/tls/test-only.cert.pem", import.meta.url));

const TRANSPORTS = [
  ["ws", {}, undefined],
  ["wss", { ssl: { key, cert } }, { ca: cert, servername: "localhost" }],
];

function application() {
  const app = express().set("env", "test");
  app.use(express.json());
  app.get("/hello/:name", (req, res) => void res.json({ hello: req.params.name, secure: req.secure, ip: req.ip }));
  app.post("/sum", (req, res) => void res.json({ sum: req.body.reduce((a, b) => a + b, 0) }));
  app.get("/fails", () => {
    throw Object.assign(new Error("fails"), { status: 503, expose: true });
  });
  return app;
}

/** A WebSocket echo server of another protocol, without a port of its own. */
function foreignProtocol(t, { http_server: server }) {
  const foreign = new WebSocketServer({ noServer: true });
  t.after(() => foreign.close());
  foreign.on("connection", (socket) => socket.on("message", (data, binary) => socket.send(data, { binary })));
  server.on("upgrade", (req, socket, head) => {
    if (!req.url.startsWith("/foreign")) return void socket.end("HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n");
    foreign.handleUpgrade(req, socket, head, (accepted) => foreign.emit("connection", accepted, req));
  });
}

async function openForeign(t, { port }, { scheme = "ws", tls, ...options } = {}) {
  const socket = new WebSocket(`${scheme}://127.0.0.1:${port}/foreign`, { ...tls, ...options });
  t.after(() => socket.terminate());
  await once(socket, "open");
  return socket;
}

test("an Express application serves from the port of the CAMP server", async (t) => {
  const running = await startServer(t);
  running.server.http_server.on("request", application());
  const { port } = running;
  const hello = await request({ port, path: "/hello/ada" });
  assert.deepEqual(JSON.parse(hello.text), { hello: "ada", secure: false, ip: "127.0.0.1" });
  const sum = await request({ port, method: "POST", path: "/sum", headers: { "content-type": "application/json" }, body: "[1,2,3]" });
  assert.deepEqual(JSON.parse(sum.text), { sum: 6 });
  assert.equal((await request({ port, path: "/nowhere" })).status, 404);
});

test("an Express application knows that TLS is spoken", async (t) => {
  const { server, port } = await startServer(t, { ssl: { key, cert } });
  server.http_server.on("request", application());
  const { text } = await request({ port, tls: { ca: cert, servername: "localhost" }, path: "/hello/ada" });
  assert.equal(JSON.parse(text).secure, true);
});

test("supertest takes http_server as it is", async (t) => {
  const { server } = await startServer(t);
  server.http_server.on("request", application());
  await supertest(server.http_server).get("/hello/ada").expect(200).expect("content-type", /json/);
  await supertest(server.http_server).post("/sum").send([4, 5]).expect(200, { sum: 9 });
  const { error } = await supertest(server.http_server).get("/fails").expect(503);
  assert.match(error.text, /fails/);
});

for (const [scheme, options, tls] of TRANSPORTS) {
  test(`another WebSocket protocol shares the port with sessions, over ${scheme}`, async (t) => {
    const running = await startServer(t, options);
    echo(running.server);
    running.server.http_server.on("request", application());
    foreignProtocol(t, running.server);
    const { peer } = await openSession(running, { tls });
    const foreign = await openForeign(t, running, { scheme, tls });
    for (const size of [1, 1000, 100_000, 3_000_000]) {
      const data = Buffer.alloc(size, "foreign");
      const answer = once(foreign, "message");
      foreign.send(data);
      await peer.echo(`between ${size}`);
      assert.ok((await answer)[0].equals(data), `${size} bytes`);
      assert.equal((await request({ port: running.port, tls, path: "/hello/x" })).status, 200);
    }
    const closed = once(foreign, "close");
    foreign.close(4321, "done");
    assert.deepEqual((await closed).map(String), ["4321", "done"]);
  });
}

test("an upgrade with CAMP credentials is CAMP's, whoever else listens", async (t) => {
  const running = await startServer(t);
  let upgrades = 0;
  running.server.http_server.on("upgrade", (req, socket) => {
    upgrades++;
    socket.destroy();
  });
  const { port } = running;
  const refused = await rawUpgrade({ port, target: target({ token: "wrong" }) });
  assert.deepEqual([refused.status, /Invalid bearer token/.test(refused.body)], [401, true]);
  echo(running.server);
  const { peer } = await openSession(running);
  await peer.echo("accepted");
  assert.equal(upgrades, 0);
});

test("an upgrade without CAMP credentials is refused with 401 when no upgrade listener is there", async (t) => {
  const { server, port } = await startServer(t);
  server.http_server.on("request", application());
  assert.equal((await rawUpgrade({ port, target: "/socket.io/?EIO=4" })).status, 401);
  const listener = (req, socket) => void socket.end("HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n");
  server.http_server.on("upgrade", listener);
  assert.equal((await rawUpgrade({ port, target: "/socket.io/?EIO=4" })).status, 403);
  server.http_server.off("upgrade", listener);
  assert.equal((await rawUpgrade({ port, target: "/socket.io/?EIO=4" })).status, 401);
});

test("an Authorization header alone does not make a foreign upgrade CAMP's", async (t) => {
  const running = await startServer(t);
  foreignProtocol(t, running.server);
  const foreign = await openForeign(t, running, { headers: { authorization: "Bearer of-another-kind" } });
  const answer = once(foreign, "message");
  foreign.send("hello");
  assert.equal(String((await answer)[0]), "hello");
});

test("socket.io shares the port with sessions and an Express application", async (t) => {
  const running = await startServer(t);
  echo(running.server);
  running.server.http_server.on("request", application());
  const chat = new SocketIo(running.server.http_server, { serveClient: false });
  chat.on("connection", (socket) => socket.on("say", (text, reply) => reply(`heard ${text}`)));
  for (const transports of [["websocket"], ["polling"], ["polling", "websocket"]]) {
    const client = io(`http://127.0.0.1:${running.port}`, { transports, forceNew: true, reconnection: false });
    t.after(() => client.close());
    assert.equal(await within(client.emitWithAck("say", "hello"), 5000, `answer over ${transports}`), "heard hello");
    if (transports.length > 1) await eventually(() => client.io.engine.transport.name === "websocket", 5000, "upgrade");
    assert.equal(await client.emitWithAck("say", "again"), "heard again");
    client.close();
  }
  const { peer } = await openSession(running);
  await peer.echo("served");
  assert.equal((await request({ port: running.port, path: "/hello/x" })).status, 200);
  chat.disconnectSockets(true);
});

test("ws takes http_server as its server option, with a path, and CAMP is not its concern", async (t) => {
  const running = await startServer(t);
  echo(running.server);
  const foreign = new WebSocketServer({ server: running.server.http_server, path: "/foreign" });
  t.after(() => foreign.close());
  foreign.on("connection", (socket) => socket.on("message", (data) => socket.send(`foreign ${data}`)));
  assert.deepEqual(foreign.address(), running.server.address());
  const client = await openForeign(t, running);
  const answer = once(client, "message");
  client.send("hello");
  assert.equal((await answer)[0].toString(), "foreign hello");
  // `ws` refuses every path but its own.
  const { peer } = await openSession(running);
  await peer.echo("CAMP");
  assert.equal((await request({ port: running.port, path: "/elsewhere" })).status, 426);
});
