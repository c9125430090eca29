// A CAMP upgrade on a connection that has carried HTTP requests before, as proxies with upstream keep-alive send it.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import { WebSocket, WebSocketServer } from "ws";
import { encode } from "./support/frames.mjs";
import { readAll, request } from "./support/http.mjs";
import { Peer, freshSid } from "./support/peer.mjs";
import { RawPeer, connectionEnd, rawSocket, readResponse, target, upgradeHead, wsFrame } from "./support/raw.mjs";
import { TOKEN, echo, once, openSession, sessionFor, startServer } from "./support/server.mjs";
import { test } from "./support/test.mjs";
import { deferred, eventually } from "./support/wait.mjs";

const key = readFileSync(new URL("support/tls/test-only.key.pem", import.meta.url));
const cert = readFileSync(new URL("support/tls/test-only.cert.pem", import.meta.url));

const TRANSPORTS = [
  ["ws", {}, undefined],
  ["wss", { ssl: { key, cert } }, { ca: cert, servername: "localhost" }],
];

const GET = "GET /page HTTP/1.1\r\nHost: x\r\n\r\n";

/** A server with a page, whose clients share connections. */
async function startPages(t, options = {}, listener = (_request, response) => void response.end("page"), validator = undefined) {
  const running = await startServer(t, options, validator);
  echo(running.server);
  running.server.http_server.on("request", listener);
  return running;
}

/** An agent that keeps one connection. */
function oneConnection(t, tls) {
  const agent = new (tls ? https : http).Agent({ keepAlive: true, maxSockets: 1 });
  t.after(() => agent.destroy());
  return agent;
}

/** A connection that a request has been answered on. */
async function usedConnection({ port }, tls) {
  const socket = await rawSocket({ port, tls });
  socket.write(GET);
  const { status, body } = await readResponse(socket);
  assert.equal(status, 200);
  assert.ok(body.length > 0);
  return socket;
}

/** What an upgrade on that connection is answered with. */
async function upgradeOn(socket, options, trailing = Buffer.alloc(0)) {
  const answer = readResponse(socket);
  socket.resume();
  socket.write(Buffer.concat([upgradeHead(options), trailing]));
  return answer;
}

for (const [scheme, options, tls] of TRANSPORTS) {
  test(`${scheme}: an upgrade behind requests on its connection is a session like any other`, async (t) => {
    const running = await startPages(t, options);
    const { port, server } = running;
    const agent = oneConnection(t, tls);
    for (let i = 0; i < 20; i++) {
      assert.equal((await request({ port, tls, agent })).text, "page");
      const { peer, session } = await openSession(running, { wsOptions: { agent }, tls });
      await peer.echo(`message ${i}`);
      await eventually(() => session.stats().bytesReceived === peer.bytesSent);
      assert.deepEqual([session.stats().messagesReceived, server.stats().sessions], [1, 1]);
      peer.close(4000);
      await peer.closed;
    }
    assert.equal(server.stats().sessionsOpened, 20);
    assert.equal(server.stats().refused, 0);
  });

  test(`${scheme}: messages of every size pass in such a session, both ways`, async (t) => {
    const running = await startPages(t, options);
    const agent = oneConnection(t, tls);
    await request({ port: running.port, tls, agent });
    const { peer } = await openSession(running, { wsOptions: { agent }, tls });
    for (const size of [0, 1, 65_536, 1_000_000]) {
      const data = Buffer.alloc(size, "0123456789");
      peer.sendBinary(data);
      const echoed = await peer.next("BINARYDATA");
      assert.ok(Buffer.from(echoed.data).equals(data), `${size} bytes`);
    }
  });
}

test("a request and the upgrade in one packet: first the answer, then the session", async (t) => {
  const { port } = await startPages(t);
  const socket = await rawSocket({ port });
  const answers = deferred();
  let text = "";
  socket.on("data", (data) => {
    text += data.toString("latin1");
    if (text.includes("Sec-WebSocket-Accept")) answers.resolve();
  });
  socket.write(GET + upgradeHead({ port }));
  await answers.promise;
  assert.match(text, /^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\npageHTTP\/1\.1 101 Switching Protocols\r\n/);
});

test("an upgrade that overtakes answers still owed is answered behind them, however large they are", async (t) => {
  const large = Buffer.alloc(6_000_000, "large");
  const held = [];
  const { port, server } = await startPages(t, {}, (incoming, response) => held.push([incoming.url, response]));
  const socket = await rawSocket({ port });
  socket.write(`${GET.replace("/page", "/0")}${GET.replace("/page", "/1")}${upgradeHead({ port, target: target({ sid: 7n }) })}`);
  await eventually(() => held.length === 2);
  let sessions = 0;
  server.on("session", () => sessions++);
  const chunks = [];
  socket.on("data", (chunk) => chunks.push(chunk));
  for (const [url, response] of held) {
    assert.equal(sessions, 0);
    // In parts, each as the socket takes the one before.
    for (let at = 0; at < large.length; at += 100_000) {
      if (!response.write(large.subarray(at, at + 100_000))) await once(response, "drain");
    }
    response.end(`<end of ${url}>`);
  }
  await eventually(() => Buffer.concat(chunks).includes("Sec-WebSocket-Accept"));
  const text = Buffer.concat(chunks).toString("latin1");
  const at = ["<end of /0>", "<end of /1>", "HTTP/1.1 101"].map((what) => text.indexOf(what));
  assert.ok(at[0] > large.length && at[1] > at[0] + large.length && at[2] > at[1], at.join());
  assert.equal(sessions, 1);
});

test("a client that leaves while its answer is owed takes its upgrade with it, and the request is told", async (t) => {
  const seen = deferred();
  const { port, server } = await startPages(t, {}, (incoming, response) => seen.resolve([incoming, response]));
  const socket = await rawSocket({ port });
  socket.write(GET + upgradeHead({ port }));
  const [, response] = await seen.promise;
  const closed = once(response, "close");
  socket.destroy();
  await closed;
  await eventually(() => new Promise((resolve) => server.http_server.getConnections((_, count) => resolve(count === 0))));
  assert.equal(server.stats().sessionsOpened, 0);
});

test("frames that come with the upgrade, or while validate runs, are the session's", async (t) => {
  const asked = deferred();
  const verdict = deferred();
  const running = await startPages(t, {}, undefined, { validate: () => (asked.resolve(), verdict.promise) });
  const { port, server } = running;
  const socket = await usedConnection(running);
  const found = sessionFor(server, 9n);
  const frame = (fields) => wsFrame({ payload: encode({ sid: 9n, ...fields }) });
  const info = frame({ type: "ENDPOINT_INFO", ack: 0, version: 1, features: 1n });
  const answer = upgradeOn(socket, { port, target: target({ sid: 9n }) }, Buffer.concat([info, frame({ type: "UTF8DATA", ack: 1, text: "with it" })]));
  await asked.promise;
  socket.write(frame({ type: "UTF8DATA", ack: 2, text: "meanwhile" }));
  verdict.resolve(true);
  const response = await answer;
  assert.equal(response.status, 101);
  await found;
  const peer = new RawPeer(response, { sid: 9n });
  for (const text of ["with it", "meanwhile"]) await peer.next((message) => message.frame?.text === text);
});

test("the validator is told of such a request what it is told of any", async (t) => {
  let told;
  const validator = {
    validate(token, asked) {
      told = { token, url: asked.url, sid: asked.sid, remoteAddress: asked.remoteAddress, headers: { ...asked.headers } };
      return true;
    },
  };
  const running = await startPages(t, {}, undefined, validator);
  const { port } = running;
  const socket = await usedConnection(running);
  const headers = { Cookie: ["a=1", "b=\xe4"], Origin: "https://example.com", "X-Empty": "" };
  const { status } = await upgradeOn(socket, { port, target: "/any/path?a=%20b&authorization=Bearer%20T&x-camp-sid=0x10", headers });
  assert.equal(status, 101);
  assert.deepEqual(told, {
    token: TOKEN,
    url: "/any/path?a=%20b&authorization=Bearer%20T&x-camp-sid=0x10",
    sid: 16n,
    remoteAddress: "127.0.0.1",
    headers: {
      "host": `localhost:${port}`, "connection": "Upgrade", "upgrade": "websocket", "sec-websocket-version": "13",
      "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==", "cookie": "a=1; b=\xe4", "origin": "https://example.com", "x-empty": "",
    },
  });
});

test("such an upgrade is refused for the same reasons, in the same words, and its connection ends", async (t) => {
  const options = { path: "/camp", allowedOrigins: ["https://good.example"], maxConnections: 1 };
  const running = await startPages(t, options);
  const { port } = running;
  await openSession(running, { path: "/camp", sid: 77n, headers: { origin: "https://good.example" } });
  const path = "/camp";
  for (const [status, reason, upgrade] of [
    [404, /not spoken at this path/, { target: target({ path: "/elsewhere" }) }],
    [403, /origin is not allowed/, { target: target({ path }), headers: { Origin: "https://evil.example" } }],
    [401, /session already exists/, { target: target({ path, sid: 77n }) }],
    [401, /No SID/, { target: `${path}?authorization=Bearer%20T` }],
    [401, /Incorrect type/, { target: `${path}?authorization=Basic%20T&x-camp-sid=1` }],
    [401, /Invalid SID/, { target: `${path}?authorization=Bearer%20T&x-camp-sid=x` }],
    [426, /version 13/, { target: target({ path }), headers: { "Sec-WebSocket-Version": "8" } }],
    [400, /Sec-WebSocket-Key/, { target: target({ path }), headers: { "Sec-WebSocket-Key": "x" } }],
    [503, /no room/, { target: target({ path }) }],
  ]) {
    const socket = await usedConnection(running);
    const answer = await upgradeOn(socket, { port, ...upgrade });
    assert.equal(answer.status, status, String(reason));
    assert.match(answer.body, reason);
    await connectionEnd(socket);
  }
  const wrong = await startPages(t);
  const answer = await upgradeOn(await usedConnection(wrong), { port: wrong.port, target: target({ token: "wrong" }) });
  assert.deepEqual([answer.status, /Invalid bearer token/.test(answer.body)], [401, true]);
});

test("an upgrade listener never sees a request with CAMP's credentials, whichever of its connection it is", async (t) => {
  const running = await startPages(t);
  const { http_server } = running.server;
  const urls = [];
  const foreign = new WebSocketServer({ noServer: true });
  t.after(() => foreign.close());
  http_server.on("upgrade", (incoming, socket, head) => {
    urls.push(incoming.url);
    foreign.handleUpgrade(incoming, socket, head, (accepted) => accepted.send("foreign"));
  });
  const agent = oneConnection(t);
  for (const credentials of [{}, { token: "wrong" }]) {
    await request({ port: running.port, agent });
    const tried = Peer.connect({ port: running.port, wsOptions: { agent }, sid: freshSid(), ...credentials });
    if (credentials.token === undefined) await (await tried).close(4000);
    else await assert.rejects(tried, { status: 401 });
  }
  await request({ port: running.port, agent });
  const socket = new WebSocket(`ws://127.0.0.1:${running.port}/foreign`, { agent });
  t.after(() => socket.terminate());
  assert.equal(String((await once(socket, "message"))[0]), "foreign");
  assert.deepEqual(urls, ["/foreign"]);
});

test("without an upgrade listener other upgrades on such a connection are requests, as in any http.Server", async (t) => {
  const running = await startPages(t, {}, (incoming, response) => response.end(`request ${incoming.url}`));
  const socket = await usedConnection(running);
  const { status, body } = await upgradeOn(socket, { port: running.port, target: "/socket.io/?EIO=4" });
  assert.deepEqual([status, body], [200, "request /socket.io/?EIO=4"]);
  const { status: after } = await upgradeOn(socket, { port: running.port });
  assert.equal(after, 101);
});

test("listeners of upgrade are the application's own: none is there that it did not add, and it may replace them", async (t) => {
  const running = await startPages(t);
  const { http_server } = running.server;
  const agent = oneConnection(t);
  const open = async () => {
    await request({ port: running.port, agent });
    const { peer } = await openSession(running, { wsOptions: { agent } });
    await peer.close(4000);
  };
  await open();
  assert.deepEqual([http_server.listenerCount("upgrade"), http_server.listeners("upgrade")], [0, []]);
  assert.ok(!http_server.eventNames().includes("upgrade"));
  const listener = () => assert.fail("no upgrade is the application's");
  http_server.on("upgrade", listener);
  await open();
  assert.deepEqual([http_server.listenerCount("upgrade"), http_server.listenerCount("upgrade", listener)], [1, 1]);
  assert.deepEqual(http_server.listeners("upgrade"), [listener]);
  http_server.removeAllListeners("upgrade");
  await open();
  assert.equal(http_server.listenerCount("upgrade"), 0);
});

test("the application's socket is closed, without an error, when CAMP takes its connection", async (t) => {
  let socket;
  const running = await startPages(t, {}, (incoming, response) => {
    ({ socket } = incoming);
    response.end("page");
  });
  const agent = oneConnection(t);
  await request({ port: running.port, agent });
  const timeouts = [];
  socket.setTimeout(60_000, () => timeouts.push("timeout"));
  const closed = once(socket, "close");
  const { peer } = await openSession(running, { wsOptions: { agent } });
  assert.deepEqual(await closed, [false]);
  assert.deepEqual([socket.destroyed, socket.writable], [true, false]);
  // A late write of the application's is lost, not mixed into the session.
  socket.on("error", () => {});
  socket.write("garbage");
  await peer.echo("still a session");
});

test("timeouts of http_server do not concern the session that its connection has become", async (t) => {
  const running = await startPages(t);
  Object.assign(running.server.http_server, { keepAliveTimeout: 1000, timeout: 1000 });
  const socket = await usedConnection(running);
  const answer = await upgradeOn(socket, { port: running.port, target: target({ sid: 5n }) });
  assert.equal(answer.status, 101);
  const peer = new RawPeer(answer, { sid: 5n });
  await new Promise((resolve) => void setTimeout(resolve, 2500));
  peer.write({ opcode: 9, payload: Buffer.from("alive") });
  assert.equal((await peer.next((message) => message.opcode === 10)).payload.toString(), "alive");
});

test("Destroy() refuses an upgrade on a connection in use, and waits for its answer", async (t) => {
  const seen = deferred();
  const { port, server } = await startPages(t, {}, (_incoming, response) => seen.resolve(response));
  const socket = await rawSocket({ port });
  socket.write(GET + upgradeHead({ port }));
  const response = await seen.promise;
  const all = readAll(socket);
  const destroyed = server.Destroy();
  response.end("page");
  assert.match(await all, /200 OK[^]*page(HTTP\/1\.1 503 [^]*shutting down)?/);
  await destroyed;
  assert.equal(server.stats().sessionsOpened, 0);
});

test("two hundred connections that become sessions leave nothing behind in http_server", async (t) => {
  const running = await startPages(t);
  const { http_server } = running.server;
  const connections = () => new Promise((resolve) => http_server.getConnections((_, count) => resolve(count)));
  const agent = oneConnection(t);
  for (let i = 0; i < 200; i++) {
    await request({ port: running.port, agent });
    const { peer } = await openSession(running, { wsOptions: { agent } });
    assert.equal(await connections(), 1);
    peer.close(4000);
    await peer.closed;
    await eventually(async () => await connections() === 0);
  }
});
