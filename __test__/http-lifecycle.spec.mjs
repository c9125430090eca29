import assert from "node:assert/strict";
import { Agent } from "node:http";
import net from "node:net";
import { readAll, request } from "./support/http.mjs";
import { CAMP } from "./support/product.mjs";
import { connectionEnd, rawSocket } from "./support/raw.mjs";
import { echo, once, openSession, startServer, validator, within } from "./support/server.mjs";
import { test } from "./support/test.mjs";
import { eventually, isPending } from "./support/wait.mjs";

const KEEP_ALIVE = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

async function startHttp(t, listener = (req, res) => void res.end("page")) {
  const running = await startServer(t);
  echo(running.server);
  running.server.http_server.on("request", listener);
  return running;
}

const connections = (server) => new Promise((resolve) => server.getConnections((error, count) => resolve(error ?? count)));

function newServer(t, options) {
  const server = CAMP(validator, { port: 0, ...options });
  t.after(() => server.Destroy());
  return server;
}

/** A port that is taken until the test ends. */
async function takenPort(t) {
  const other = net.createServer().listen(0, "127.0.0.1");
  t.after(() => other.close());
  await once(other, "listening");
  return { host: "127.0.0.1", port: other.address().port };
}

test("http_server listens with the CAMP server and says so", async (t) => {
  const server = newServer(t);
  const { http_server: facade } = server;
  assert.deepEqual([facade.listening, facade.address()], [false, null]);
  await Promise.all([once(server, "listening"), once(facade, "listening")]);
  assert.equal(facade.listening, true);
  assert.deepEqual(facade.address(), server.address());
});

test("http_server asked for late is listening already", async (t) => {
  const { server, port } = await startServer(t);
  assert.equal(server.http_server.listening, true);
  assert.equal(server.http_server.address().port, port);
});

test("listen() does not listen again: it calls back once the port is bound", async (t) => {
  const server = newServer(t);
  const { http_server: facade } = server;
  await within(new Promise((resolve) => assert.equal(facade.listen(1, resolve), facade)), 5000, "callback");
  assert.notEqual(facade.address().port, 1);
  await within(new Promise((resolve) => facade.listen(0, "127.0.0.1", resolve)), 5000, "callback of a second call");
  await server.Destroy();
  assert.throws(() => facade.listen(0), { code: "ERR_SERVER_NOT_RUNNING" });
});

test("a port in use is an error of both, and throws only when neither listens for it", async (t) => {
  const taken = await takenPort(t);
  const heard = [];
  const both = newServer(t, taken);
  both.on("error", (error) => heard.push(["server", error.code]));
  both.http_server.on("error", (error) => heard.push(["http_server", error.code]));
  await once(both, "error");
  assert.deepEqual(heard, [["http_server", "EADDRINUSE"], ["server", "EADDRINUSE"]]);
  const onFacade = newServer(t, taken);
  assert.equal((await once(onFacade.http_server, "error"))[0].code, "EADDRINUSE");
  const onServer = newServer(t, taken);
  void onServer.http_server;
  assert.equal((await once(onServer, "error"))[0].syscall, "listen");
  assert.deepEqual([onServer.http_server.listening, onServer.http_server.address()], [false, null]);
});

test("close() refuses new connections, leaves sessions alone and is complete when the last has ended", async (t) => {
  const running = await startHttp(t);
  const { http_server: facade } = running.server;
  const { peer } = await openSession(running);
  const closed = new Promise((resolve) => facade.close(resolve));
  assert.deepEqual([facade.listening, facade.address(), running.server.address()], [false, null, null]);
  await eventually(() => rawSocket({ ...running, timeoutMs: 1000 }).then(() => false, () => true), 5000, "refused");
  await peer.echo("still served");
  assert.ok(await isPending(closed));
  assert.equal(await connections(facade), 1);
  peer.close();
  assert.equal(await within(closed, 5000, "callback of close()"), undefined);
  const again = await new Promise((resolve) => facade.close(resolve));
  assert.equal(again.code, "ERR_SERVER_NOT_RUNNING");
});

test("close() lets a request under way finish and ends idle connections", async (t) => {
  let answer;
  const running = await startHttp(t, (req, res) => {
    if (req.url === "/slow") answer = () => res.setHeader("connection", "close").end("slow");
    else res.end("idle");
  });
  const { http_server: facade } = running.server;
  const idle = await rawSocket(running);
  idle.write(KEEP_ALIVE);
  await once(idle, "data");
  const slow = request({ port: running.port, path: "/slow" });
  await eventually(() => answer);
  assert.equal(await connections(facade), 2);
  const closed = new Promise((resolve) => facade.close(resolve));
  await connectionEnd(idle);
  answer();
  assert.equal((await slow).text, "slow");
  await within(closed, 5000, "callback of close()");
  assert.equal(await connections(facade), 0);
});

test("close() before the port is bound leaves nothing listening", async () => {
  const server = CAMP(validator, { port: 0 });
  let listening = false;
  server.on("listening", () => (listening = true));
  await within(new Promise((resolve) => server.http_server.close(resolve)), 5000, "callback of close()");
  assert.equal(listening, false);
  await within(server.Destroy(), 5000, "Destroy()");
});

test("Destroy() ends idle connections without waiting for their timeout, and http_server emits close", async (t) => {
  const { server, port } = await startHttp(t);
  server.http_server.keepAliveTimeout = 600_000;
  const idle = await rawSocket({ port });
  idle.write(KEEP_ALIVE);
  await once(idle, "data");
  const closed = once(server.http_server, "close");
  await server.Destroy();
  await closed;
  await connectionEnd(idle);
  assert.equal(server.http_server.listening, false);
});

test("Destroy() gives a request under way time to finish, and its connection none after that", async (t) => {
  let answer;
  const { server, port } = await startHttp(t, (req, res) => (answer = () => res.end("finished")));
  const agent = new Agent({ keepAlive: true });
  t.after(() => agent.destroy());
  const asked = request({ port, agent });
  await eventually(() => answer);
  const destroyed = server.Destroy();
  assert.ok(await isPending(destroyed));
  answer();
  assert.equal((await asked).text, "finished");
  await within(destroyed, 1500, "Destroy()");
});

test("Destroy() ends a request that never finishes after its time", async (t) => {
  const { server, port } = await startHttp(t, (req, res) => void res.write("never ending"));
  const socket = await rawSocket({ port });
  socket.write(KEEP_ALIVE);
  await once(socket, "data");
  const end = readAll(socket);
  await within(server.Destroy(), 5000, "Destroy()");
  await end;
});

test("Destroy() ends a client that does not read its answer", async (t) => {
  const { server, port } = await startHttp(t, (req, res) => void res.end(Buffer.alloc(64 << 20)));
  const socket = await rawSocket({ port });
  socket.pause();
  socket.write(KEEP_ALIVE);
  await eventually(async () => (await connections(server.http_server)) === 1);
  await within(server.Destroy(), 10_000, "Destroy()");
});

test("closeAllConnections() ends requests under way, and sessions not", async (t) => {
  const running = await startHttp(t, (req, res) => void res.write("never ending"));
  const { peer } = await openSession(running);
  const socket = await rawSocket(running);
  socket.write(KEEP_ALIVE);
  await once(socket, "data");
  running.server.http_server.closeAllConnections();
  await connectionEnd(socket);
  await peer.echo("alive");
});

test("`await using` of http_server closes it", async (t) => {
  const { server } = await startHttp(t);
  await within(server.http_server[Symbol.asyncDispose](), 5000, "asyncDispose");
  assert.equal(server.http_server.listening, false);
});

test("http_server of a destroyed server is a closed one", async (t) => {
  const server = newServer(t);
  await once(server, "listening");
  await server.Destroy();
  assert.deepEqual([server.http_server.listening, server.http_server.address()], [false, null]);
  const error = await within(new Promise((resolve) => server.http_server.close(resolve)), 5000, "callback");
  assert.equal(error.code, "ERR_SERVER_NOT_RUNNING");
});
