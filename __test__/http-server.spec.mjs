// What belongs to the listening side of `http_server`: ref() and unref(), maxConnections, setTimeout(); and what an
// application does with it all day, in one place.
import assert from "node:assert/strict";
import { once as onceOf } from "node:events";
import { readFileSync } from "node:fs";
import http from "node:http";
import { createHash } from "node:crypto";
import fastify from "fastify";
import { Child } from "./support/child.mjs";
import { request } from "./support/http.mjs";
import { Peer } from "./support/peer.mjs";
import { connectionEnd, rawSocket } from "./support/raw.mjs";
import { echo, once, openSession, startServer } from "./support/server.mjs";
import { MIB, payload } from "./support/streams.mjs";
import { test } from "./support/test.mjs";
import { delay, eventually } from "./support/wait.mjs";

const pem = (name) => readFileSync(new URL(`support/tls/${name}.pem`, import.meta.url));
const [key, cert] = [pem("test-only.key"), pem("test-only.cert")];
const BY_ITSELF = { code: 0, signal: null };

for (const late of [false, true]) {
  test(`unref() ${late ? "after" : "before"} listening: the listening server does not keep the process alive`, async (t) => {
    const child = Child.start(t, "unref-server.mjs", { late });
    await child.report("listening");
    assert.deepEqual(await child.exit(), BY_ITSELF);
  });
}

test("ref() takes unref() back", async (t) => {
  const child = Child.start(t, "unref-server.mjs", { ref: true });
  const { port } = await child.report("listening");
  await delay(300);
  await (await Peer.connect({ port })).echo("alive");
  child.command("destroy");
  assert.deepEqual(await child.exit(), BY_ITSELF);
});

test("with unref() a session keeps the process alive until it ends, as a socket of Node's does", async (t) => {
  const child = Child.start(t, "unref-server.mjs", { stay: true });
  const { port } = await child.report("listening");
  const peer = await Peer.connect({ port });
  await peer.echo("hello");
  child.command("go");
  await delay(300);
  await peer.echo("still there");
  peer.close(4000);
  assert.deepEqual(await child.exit(), BY_ITSELF);
});

test("with unref() a request under way keeps the process alive until its connection ends", async (t) => {
  const child = Child.start(t, "unref-server.mjs", { stay: true });
  const { port } = await child.report("listening");
  const asked = http.get({ port, host: "127.0.0.1", agent: false });
  asked.on("error", () => {});
  const [answer] = await onceOf(asked, "response");
  answer.on("error", () => {});
  child.command("go");
  await delay(300);
  assert.equal(child.process.exitCode, null);
  asked.destroy();
  assert.deepEqual(await child.exit(), BY_ITSELF);
});

for (const how of ["Destroy", "Drain", "close"]) {
  test(`with unref() the process does not end before ${how}() has`, async (t) => {
    const child = Child.start(t, "unref-destroy.mjs", { how });
    assert.deepEqual(await child.exit(), BY_ITSELF);
    await child.report("ended");
  });
}

test("ref() and unref() give the server back", async (t) => {
  const { http_server } = (await startServer(t)).server;
  assert.equal(http_server.unref(), http_server);
  assert.equal(http_server.ref(), http_server);
});

test("maxConnections: a connection beyond it is dropped and told as drop, sessions counted", async (t) => {
  const running = await startServer(t);
  const { http_server } = running.server;
  assert.equal(http_server.maxConnections, undefined);
  http_server.on("request", (_request, response) => response.end("served"));
  http_server.maxConnections = 2;
  assert.equal(http_server.maxConnections, 2);
  const { peer } = await openSession(running);
  const idle = await rawSocket({ port: running.port });
  const dropped = once(http_server, "drop");
  const excess = await rawSocket({ port: running.port });
  const [{ localAddress, localPort, localFamily, remoteAddress, remotePort, remoteFamily }] = await dropped;
  assert.deepEqual([localAddress, localPort, localFamily], ["127.0.0.1", running.port, "IPv4"]);
  assert.deepEqual([remoteAddress, remotePort, remoteFamily], ["127.0.0.1", excess.localPort ?? remotePort, "IPv4"]);
  await connectionEnd(excess);
  assert.ok(peer.isOpen && !idle.destroyed);
  idle.destroy();
  await eventually(async () => (await request({ port: running.port }).catch(() => ({}))).text === "served");
});

test("maxConnections may be raised, lowered and taken back; those there are stay", async (t) => {
  const running = await startServer(t);
  const { http_server } = running.server;
  const { peer } = await openSession(running);
  http_server.maxConnections = 1;
  await assert.rejects(Peer.connect({ port: running.port }));
  for (const unbounded of [undefined, null, Infinity]) {
    http_server.maxConnections = unbounded;
    assert.equal(http_server.maxConnections, unbounded);
    const { session } = await openSession(running);
    await session.Destroy();
  }
  await peer.roundTrip();
});

test("maxConnections holds in a burst: as many are let in, no more and no fewer", async (t) => {
  const running = await startServer(t);
  const { http_server } = running.server;
  let dropped = 0;
  http_server.on("drop", () => dropped++);
  http_server.maxConnections = 20;
  const tried = await Promise.allSettled(Array.from({ length: 50 }, () => Peer.connect({ port: running.port })));
  assert.equal(tried.filter(({ status }) => status === "fulfilled").length, 20);
  await eventually(() => dropped === 30);
});

test("the option maxConnections answers with 503, counts sessions alone and leaves requests be", async (t) => {
  const running = await startServer(t, { maxConnections: 1 });
  running.server.http_server.on("request", (_request, response) => response.end("served"));
  await openSession(running);
  await assert.rejects(Peer.connect({ port: running.port }), { status: 503 });
  assert.equal((await request({ port: running.port })).text, "served");
});

test("setTimeout of http_server: its callback gets the idle socket, which then is not ended", async (t) => {
  const { server, port } = await startServer(t);
  const sockets = [];
  const idle = new Promise((resolve) => {
    assert.equal(server.http_server.setTimeout(50, (socket) => (sockets.push(socket), resolve())), server.http_server);
  });
  assert.equal(server.http_server.timeout, 50);
  server.http_server.on("request", (_request, response) => void idle.then(() => response.end("late")));
  const answer = request({ port });
  await idle;
  assert.equal(sockets[0].remoteAddress, "127.0.0.1");
  assert.equal((await answer).text, "late");
});

test("setTimeout of request and response: told of idleness", async (t) => {
  const { server, port } = await startServer(t);
  const told = [];
  server.http_server.on("request", (incoming, response) => {
    incoming.setTimeout(40, () => told.push("request"));
    response.setTimeout(40, () => { told.push("response"); response.end(); });
  });
  await request({ port });
  assert.ok(told.includes("response"), told.join());
});

test("timeouts of http_server are Node's own by default", async (t) => {
  const { http_server } = (await startServer(t)).server;
  const plain = http.createServer();
  for (const name of ["timeout", "keepAliveTimeout", "headersTimeout", "requestTimeout", "maxHeadersCount", "maxRequestsPerSocket"]) {
    assert.equal(http_server[name], plain[name], name);
  }
});

test("maxRequestsPerSocket ends a connection with the answer to its last request", async (t) => {
  const { server, port } = await startServer(t);
  server.http_server.maxRequestsPerSocket = 2;
  server.http_server.on("request", (_request, response) => response.end("x"));
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  t.after(() => agent.destroy());
  const connections = [];
  for (let i = 0; i < 3; i++) connections.push((await request({ port, agent })).headers.connection);
  assert.deepEqual(connections, ["keep-alive", "close", "keep-alive"]);
});

test("setSecureContext() of an https http_server replaces the certificate", async (t) => {
  const other = { key: pem("test-only-second.key"), cert: pem("test-only-second.cert") };
  const { server, port } = await startServer(t, { ssl: { key, cert } });
  server.http_server.on("request", (_request, response) => response.end("x"));
  const ask = (ca) => request({ port, tls: { ca, servername: "localhost" } });
  assert.equal((await ask(cert)).status, 200);
  server.http_server.setSecureContext(other);
  assert.equal((await ask(other.cert)).status, 200);
  await assert.rejects(ask(cert));
  assert.throws(() => server.http_server.setSecureContext({ key: "no", cert: "pem" }), /ssl\.key/);
});

function application(serverFactory) {
  const app = fastify({ serverFactory, logger: false, bodyLimit: 16 * MIB });
  app.addContentTypeParser("application/octet-stream", (_request, body, done) => done(null, body));
  app.get("/hello/:name", async ({ params, protocol, ip }) => ({ hello: params.name, protocol, ip }));
  app.post("/digest", async ({ body }) => {
    const hash = createHash("sha256");
    for await (const chunk of body) hash.update(chunk);
    return hash.digest("hex");
  });
  app.get("/fails", async () => { throw Object.assign(new Error("fails"), { statusCode: 503 }); });
  return app;
}

for (const [scheme, options, tls] of [["http", {}, undefined], ["https", { ssl: { key, cert } }, { ca: cert, servername: "localhost" }]]) {
  test(`a fastify application serves from the port of the CAMP server, over ${scheme}`, async (t) => {
    const running = await startServer(t, options);
    echo(running.server);
    const app = application((handler) => running.server.http_server.on("request", handler));
    await app.ready();
    const { port } = running;
    const hello = await request({ port, tls, path: "/hello/ada" });
    assert.deepEqual(JSON.parse(hello.text), { hello: "ada", protocol: scheme, ip: "127.0.0.1" });
    const body = payload(10 * MIB);
    const sent = await request({
      port, tls, method: "POST", path: "/digest", headers: { "content-type": "application/octet-stream" },
      body: (outgoing) => { for (let at = 0; at < body.length; at += 100_000) outgoing.write(body.subarray(at, at + 100_000)); outgoing.end(); },
    });
    assert.equal(sent.text, createHash("sha256").update(body).digest("hex"));
    assert.equal((await request({ port, tls, path: "/fails" })).status, 503);
    assert.equal((await request({ port, tls, path: "/nowhere" })).status, 404);
    assert.equal((await request({ port, tls, method: "HEAD", path: "/hello/ada" })).text, "");
    const { peer } = await openSession(running, { tls });
    await peer.echo("CAMP beside it");
    await app.close();
  });
}

test("fastify's own listen() waits for the port and answers with its address", async (t) => {
  const { server, port } = await startServer(t);
  const app = application((handler) => server.http_server.on("request", handler));
  const address = await app.listen({ port: 0 });
  assert.match(address, new RegExp(`^http://.*:${port}$`));
  assert.equal(JSON.parse((await request({ port, path: "/hello/bob" })).text).hello, "bob");
  await app.close();
  assert.equal(server.http_server.listening, false);
});

test("Drain(): http_server no longer listens, ends idle connections and lets a request under way finish", async (t) => {
  const running = await startServer(t);
  const { server, port } = running;
  let answer;
  const asked = new Promise((resolve) => {
    server.http_server.on("request", (incoming, response) => {
      if (incoming.url !== "/slow") return void response.end("x");
      answer = () => response.end("finished");
      resolve();
    });
  });
  const agent = new http.Agent({ keepAlive: true });
  t.after(() => agent.destroy());
  await request({ port, agent });
  const [[idle]] = Object.values(agent.freeSockets);
  const { session, peer } = await openSession(running, { autoAck: false });
  peer.sendAck(0);
  session.base.SendUTF8("holds it up");
  const { ack } = await peer.next("UTF8DATA");
  const slow = request({ port, path: "/slow" });
  await asked;
  const drained = server.Drain(20_000);
  assert.equal(server.http_server.listening, false);
  assert.equal(server.http_server.address(), null);
  await connectionEnd(idle);
  answer();
  assert.equal((await slow).text, "finished");
  assert.ok(peer.isOpen);
  peer.sendAck(ack);
  await drained;
});
