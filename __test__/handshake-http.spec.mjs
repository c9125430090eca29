import assert from "node:assert/strict";
import { freshSid } from "./support/peer.mjs";
import { connectionEnd, rawSocket, rawUpgrade, readResponse, target, upgradeHead } from "./support/raw.mjs";
import { echo, openSession, startServer } from "./support/server.mjs";
import { test } from "./support/test.mjs";
import { delay } from "./support/wait.mjs";

async function exchange(port, request) {
  const socket = await rawSocket({ port });
  const response = readResponse(socket);
  socket.write(request);
  return response;
}

/** The server still takes clients: what came before broke nothing. */
async function assertServes(running) {
  const { peer } = await openSession(running);
  await peer.echo("served");
  peer.terminate();
}

test("a request that is no upgrade gets 404 or 426 instead of hanging", async (t) => {
  const running = await startServer(t);
  echo(running.server);
  const { port } = running;
  const requests = {
    "GET": `GET / HTTP/1.1\r\nHost: localhost:${port}\r\n\r\n`,
    "GET with credentials": `GET ${target()} HTTP/1.1\r\nHost: localhost:${port}\r\n\r\n`,
    "HEAD-less path": `GET /favicon.ico HTTP/1.1\r\nHost: localhost:${port}\r\nConnection: close\r\n\r\n`,
    "POST": `POST /submit HTTP/1.1\r\nHost: localhost:${port}\r\nContent-Length: 5\r\n\r\nhello`,
    "POST in chunks": `POST / HTTP/1.1\r\nHost: localhost:${port}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n`,
  };
  for (const [name, request] of Object.entries(requests)) {
    const response = await exchange(port, request);
    assert.ok([404, 426].includes(response.status), `${name}: ${response.statusLine}`);
  }
  await assertServes(running);
});

test("an upgrade must be a GET of HTTP/1.1 with Upgrade and Connection headers", async (t) => {
  const running = await startServer(t);
  echo(running.server);
  let sessions = 0;
  running.server.on("session", () => sessions++);
  const { port } = running;
  const wrong = [
    { method: "POST" },
    { version: "HTTP/1.0" },
    { headers: { Upgrade: null } },
    { headers: { Connection: null } },
    { headers: { Connection: "keep-alive" } },
    { headers: { Upgrade: "h2c" } },
  ];
  for (const request of wrong) {
    const response = await rawUpgrade({ port, ...request });
    assert.ok(response.status >= 400, `${JSON.stringify(request)}: ${response.statusLine}`);
  }
  assert.equal(sessions, 0);
  await assertServes(running);
});

test("the Upgrade and Connection headers are matched as RFC 6455 says: without case, as lists", async (t) => {
  const { port } = await startServer(t);
  const spellings = [
    { Upgrade: "WebSocket", Connection: "upgrade" },
    { Upgrade: "WEBSOCKET", Connection: "UPGRADE" },
    { Connection: "keep-alive, Upgrade" },
    { Connection: "Upgrade,keep-alive" },
  ];
  for (const headers of spellings) {
    const response = await rawUpgrade({ port, target: target({ sid: freshSid() }), headers });
    assert.equal(response.status, 101, JSON.stringify(headers));
  }
});

test("another Sec-WebSocket-Version is answered with 426 and the one spoken", async (t) => {
  const { port } = await startServer(t);
  for (const version of ["12", "8", "14", "0"]) {
    const response = await rawUpgrade({ port, headers: { "Sec-WebSocket-Version": version } });
    assert.equal(response.status, 426, version);
    assert.equal(response.headers["sec-websocket-version"], "13");
  }
  const none = await rawUpgrade({ port, headers: { "Sec-WebSocket-Version": null } });
  assert.ok([400, 426].includes(none.status), none.statusLine);
});

test("a missing or malformed Sec-WebSocket-Key is answered with 400", async (t) => {
  const { port } = await startServer(t);
  for (const key of [null, "", "short", "AAAA", "!".repeat(24), "A".repeat(200)]) {
    const response = await rawUpgrade({ port, headers: { "Sec-WebSocket-Key": key } });
    assert.equal(response.status, 400, String(key));
  }
});

test("what is not HTTP is answered with 400 or hung up on, and harms nobody", async (t) => {
  const running = await startServer(t, { handshakeTimeoutMs: 15000 });
  echo(running.server);
  const garbage = [
    "BLARGH\r\n\r\n",
    "GET\r\n\r\n",
    "GET / HTTP/9.9\r\n\r\n",
    "GET / HTTP/1.1\r\nno colon here\r\n\r\n",
    "GET / HTTP/1.1\r\n: empty name\r\n\r\n",
    "\r\n\r\n\r\n\r\n",
    Buffer.from("16030100a5010000a10303", "hex"),
    Buffer.from("0001020304050607080d0a0d0aff", "hex"),
    Buffer.alloc(9000, 0xff),
  ];
  for (const bytes of garbage) {
    const response = await exchange(running.port, bytes);
    assert.ok([0, 400, 408, 431, 505].includes(response.status), `${bytes}: ${response.statusLine}`);
    await connectionEnd(response.socket);
  }
  await assertServes(running);
});

test("a malformed request line or header is answered with 400", async (t) => {
  const { port } = await startServer(t);
  for (const request of ["BLARGH\r\n\r\n", "GET / HTTP/1.1\r\nno colon here\r\n\r\n"]) {
    assert.equal((await exchange(port, request)).status, 400, request);
  }
});

test("a head over maxHeaderBytes is answered with 431", async (t) => {
  const running = await startServer(t, { maxHeaderBytes: 1024 });
  echo(running.server);
  const { port } = running;
  const small = await rawUpgrade({ port, target: target({ sid: freshSid() }), headers: { "X-Pad": "p".repeat(300) } });
  assert.equal(small.status, 101);
  const large = await rawUpgrade({ port, target: target({ sid: freshSid() }), headers: { "X-Pad": "p".repeat(2000) } });
  assert.equal(large.status, 431);
  await connectionEnd(large.socket);
  const endless = await exchange(port, `GET /${"a".repeat(3000)}`);
  assert.equal(endless.status, 431, "a head that has not even ended");
  await assertServes(running);
});

test("a head of 16 KiB is the default limit", async (t) => {
  const { port } = await startServer(t);
  const fits = await rawUpgrade({ port, headers: { "X-Pad": "p".repeat(15_000) } });
  assert.equal(fits.status, 101);
  const exceeds = await rawUpgrade({ port, target: target({ sid: 2n }), headers: { "X-Pad": "p".repeat(20_000) } });
  assert.equal(exceeds.status, 431);
});

test("a client that sends no head, or only half of it, is hung up on after handshakeTimeoutMs", async (t) => {
  const running = await startServer(t, { handshakeTimeoutMs: 15000 });
  echo(running.server);
  const { port } = running;
  const head = upgradeHead({ port });
  await Promise.all([Buffer.alloc(0), head.subarray(0, 20), head.subarray(0, head.length - 2)].map(async (sent) => {
    const start = performance.now();
    const socket = await rawSocket({ port });
    if (sent.length > 0) socket.write(sent);
    await connectionEnd(socket, 10_000);
    assert.ok(performance.now() - start >= 1900, `${sent.length} bytes: hung up on too early`);
  }));
  await assertServes(running);
});

test("trickling bytes does not prolong the handshake", async (t) => {
  const { port } = await startServer(t, { handshakeTimeoutMs: 400 });
  const socket = await rawSocket({ port });
  const ended = connectionEnd(socket, 10_000);
  // One byte in 50 ms: the whole head would take more than ten seconds.
  const head = upgradeHead({ port });
  let at = 0;
  const trickle = setInterval(() => socket.write(head.subarray(at, ++at)), 50);
  t.after(() => clearInterval(trickle));
  await ended;
  assert.ok(at < head.length, "hung up on before the head was through");
});

test("handshakeTimeoutMs does not touch a session", async (t) => {
  const running = await startServer(t, { handshakeTimeoutMs: 1500 });
  echo(running.server);
  const { peer } = await openSession(running);
  await delay(2500);
  await peer.echo("alive");
});

test("a head split into single bytes is understood", async (t) => {
  const { port } = await startServer(t);
  const response = await rawUpgrade({ port, pieces: 1 });
  assert.equal(response.status, 101);
});

test("a hundred connections that say nothing do not keep a client out", async (t) => {
  const running = await startServer(t);
  echo(running.server);
  await Promise.all(Array.from({ length: 100 }, () => rawSocket(running)));
  await assertServes(running);
});
