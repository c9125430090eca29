// Who gets in: path, origin, number of connections, and what a validator is told.
import assert from "node:assert/strict";
import { Child } from "./support/child.mjs";
import { Peer, Refused, freshSid } from "./support/peer.mjs";
import { rawSocket, rawUpgrade, target, upgradeHead } from "./support/raw.mjs";
import { openSession, startServer } from "./support/server.mjs";
import { test } from "./support/test.mjs";
import { deferred, eventually, once } from "./support/wait.mjs";

async function refusal(options) {
  const error = await Peer.connect(options).then(() => assert.fail("let in"), (failure) => failure);
  assert.ok(error instanceof Refused, String(error));
  return error;
}

test("with a path, only that path is taken", async (t) => {
  const running = await startServer(t, { path: "/camp" });
  await openSession(running, { path: "/camp" });
  for (const path of ["/", "/camp/", "/CAMP", "/campus", "/camp/x"]) {
    const { status, body } = await refusal({ port: running.port, path });
    assert.equal(status, 404, path);
    assert.match(body, /<h1>404 Not Found<\/h1>/);
  }
});

test("without a path, any path is taken", async (t) => {
  const running = await startServer(t);
  for (const path of ["/", "/a", "/a/b.html"]) await openSession(running, { path });
});

test("only allowed origins are let in, and clients that name none", async (t) => {
  const running = await startServer(t, { allowedOrigins: ["https://Example.com:443/", "http://localhost:3000", "null"] });
  for (const Origin of ["https://example.com", "HTTPS://EXAMPLE.COM", "http://localhost:3000", "null"]) {
    await openSession(running, { headers: { Origin } });
  }
  await openSession(running);
  for (const Origin of ["http://example.com", "https://example.com.evil.net", "https://sub.example.com", "http://localhost", ""]) {
    const { status, body } = await refusal({ port: running.port, headers: { Origin } });
    assert.equal(status, 403, Origin);
    assert.match(body, /<h1>403 Forbidden<\/h1>/);
  }
});

test("an empty list of origins shuts browsers out", async (t) => {
  const running = await startServer(t, { allowedOrigins: [] });
  assert.equal((await refusal({ port: running.port, headers: { Origin: "https://example.com" } })).status, 403);
  await openSession(running);
});

test("over maxConnections a client gets a 503, until another has left", async (t) => {
  const gate = deferred();
  const running = await startServer(t, { maxConnections: 2 }, { validate: async (token) => token !== "slow" || gate.promise });
  const { session, peer } = await openSession(running);
  const asked = Peer.connect({ port: running.port, token: "slow" });
  asked.catch(() => {});
  await eventually(async () => {
    const outcome = await Peer.connect({ port: running.port }).then((extra) => extra.terminate(), (error) => error);
    return outcome?.status === 503 && /<h1>503 Service Unavailable<\/h1>/.test(outcome.body);
  });
  gate.resolve(true);
  await asked;
  assert.equal((await refusal({ port: running.port })).status, 503);
  const closed = once(session, "closed");
  peer.close(4000);
  await closed;
  await openSession(running);
});

for (const [how, validate] of [
  ["at once", () => true],
  ["later", () => new Promise((resolve) => setImmediate(resolve, true))],
]) {
  test(`of a burst of upgrades as many as maxConnections are let in, when validate answers ${how}`, async (t) => {
    const { server, port } = await startServer(t, { maxConnections: 50 }, { validate });
    let most = 0;
    server.on("session", () => { most = Math.max(most, server.sessions.size); });
    const child = Child.start(t, "burst-of-upgrades.mjs", { port, count: 600 });
    const { answers } = await child.report("answered", 20_000);
    assert.deepEqual(answers, { 101: 50, 503: 550 });
    assert.equal(most, 50);
    assert.equal(server.stats().sessions, 50);
    await child.kill();
    await eventually(() => server.sessions.size === 0);
    await openSession({ server, port });
  });
}

test("a client that is refused, whatever for, leaves its place", async (t) => {
  const running = await startServer(t, { maxConnections: 1 });
  const asked = deferred();
  const held = await startServer(t, { maxConnections: 1, handshakeTimeoutMs: 1000 }, { validate: (token) => token === "T" || (asked.resolve(), new Promise(() => {})) });
  for (let i = 0; i < 3; i++) {
    assert.equal((await refusal({ port: running.port, token: "wrong" })).status, 401);
    assert.equal((await refusal({ port: held.port, token: "never answered" })).status, 401);
  }
  const socket = await rawSocket({ port: held.port });
  socket.write(upgradeHead({ port: held.port, target: target({ token: "gives up", sid: freshSid() }) }));
  await asked.promise;
  socket.destroy();
  for (const { port } of [running, held]) {
    await eventually(async () => (await rawUpgrade({ port, target: target({ sid: freshSid() }) })).status === 101);
  }
});

test("two servers share a port with reusePort, and only with it", { skip: process.platform === "win32" }, async (t) => {
  const first = await startServer(t, { reusePort: true, backlog: 16 });
  const second = await startServer(t, { reusePort: true, port: first.port });
  assert.equal(second.port, first.port);
  await Peer.connect({ port: first.port });
});

test("a validator is told of the request", async (t) => {
  const told = [];
  const running = await startServer(t, {}, { validate: (...args) => told.push(args) });
  const sid = 2n ** 64n - 1n;
  await rawUpgrade({
    port: running.port,
    target: target({ sid, path: "/some/path" }),
    headers: { "X-Key": ["one", "two"], Cookie: ["a=1", "b=2"], "X-Latin": "\xe9", Constructor: "c" },
  });
  const [[token, request]] = told;
  assert.equal(token, "T");
  assert.equal(request.sid, sid);
  assert.equal(request.url, target({ sid, path: "/some/path" }));
  assert.equal(request.remoteAddress, "127.0.0.1");
  assert.equal(request.headers["x-key"], "one, two");
  assert.equal(request.headers.cookie, "a=1; b=2");
  assert.equal(request.headers.constructor, "c");
  assert.equal(request.headers.upgrade, "websocket");
  assert.equal(request.headers, request.headers);
  assert.equal(request.signal.aborted, false);
});

test("the signal says that the client has given up, also to a validator that asks late", async (t) => {
  const requests = [];
  const running = await startServer(t, {}, {
    validate(_token, request) {
      requests.push(request);
      return new Promise(() => {});
    },
  });
  const sockets = [];
  for (const sid of [freshSid(), freshSid()]) {
    const socket = await rawSocket({ port: running.port });
    socket.write(`GET ${target({ sid })} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n`);
    sockets.push(socket);
  }
  await eventually(() => requests.length === 2);
  const { signal } = requests[0];
  assert.equal(signal.aborted, false);
  const aborted = new Promise((resolve) => { signal.onabort = resolve; });
  for (const socket of sockets) socket.destroy();
  await aborted;
  await eventually(() => requests[1].signal.aborted);
  assert.equal(requests[1].signal.reason.name, "AbortError");
});
