// Heads of requests that Node's http takes, wherever they meet the core.
import assert from "node:assert/strict";
import { readAll } from "./support/http.mjs";
import { rawSocket, rawUpgrade, readResponse, target, upgradeHead } from "./support/raw.mjs";
import { startServer } from "./support/server.mjs";
import { test } from "./support/test.mjs";

const fields = (count) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`x-${i}`, "1"]));

/** All that a raw request is answered with, until the connection ends. */
async function exchange(port, text) {
  const socket = await rawSocket({ port });
  const all = readAll(socket);
  socket.write(text);
  return all;
}

for (const count of [100, 101, 900, 2500]) {
  test(`a request of ${count} header fields is served`, async (t) => {
    const { server, port } = await startServer(t, { maxHeaderBytes: 64 * 1024 });
    server.http_server.maxHeadersCount = 0;
    server.http_server.on("request", (incoming, response) => response.end(`<${incoming.headers[`x-${count - 1}`]}>`));
    const lines = Object.entries(fields(count)).map(([name, value]) => `${name}: ${value}\r\n`).join("");
    assert.match(await exchange(port, `GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${lines}\r\n`), / 200 OK[^]*<1>/);
  });

  test(`an upgrade of ${count} header fields is a session, and its validator sees them all`, async (t) => {
    let seen;
    const validator = { validate: (_token, { headers }) => (seen = headers, true) };
    const { port } = await startServer(t, { maxHeaderBytes: 64 * 1024 }, validator);
    const { status } = await rawUpgrade({ port, headers: fields(count) });
    assert.equal(status, 101);
    assert.equal(Object.keys(seen).filter((name) => name.startsWith("x-")).length, count);
  });
}

test("the bytes of a head are what is limited, however many fields they are", async (t) => {
  const { port } = await startServer(t);
  assert.equal((await rawUpgrade({ port, headers: fields(3000) })).status, 431);
});

test("maxHeaderBytes above Node's limit holds for later requests of a connection too", async (t) => {
  const { server, port } = await startServer(t, { maxHeaderBytes: 64 * 1024 });
  server.http_server.on("request", (_incoming, response) => response.end("served"));
  const socket = await rawSocket({ port });
  for (const headers of [{}, { "x-large": "x".repeat(40_000) }]) {
    const answer = readResponse(socket);
    socket.resume();
    socket.write(`GET / HTTP/1.1\r\nHost: x\r\n${Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n`);
    assert.equal((await answer).status, 200);
  }
  const upgrade = readResponse(socket);
  socket.resume();
  socket.write(upgradeHead({ port, headers: { "x-large": "x".repeat(40_000) } }));
  assert.equal((await upgrade).status, 101);
});

test("a target in absolute form names its path", async (t) => {
  const { port } = await startServer(t, { path: "/camp" });
  for (const [origin, path, status] of [
    ["http://x", "/camp", 101], ["HTTP://x:8080", "/camp", 101], ["https://user@x", "/camp", 400],
    ["http://x", "/other", 404], ["http://x/other", "/camp", 404], ["http://x", "", 404], ["", "/camp", 101],
  ]) {
    const { socket, ...answer } = await rawUpgrade({ port, target: `${origin}${target({ path })}` });
    assert.equal(answer.status, status, `${origin}${path}`);
    socket.destroy();
  }
});

test("a HEAD is refused without a body, with the length that a GET's would have", async (t) => {
  const { port } = await startServer(t);
  for (const [more, status] of [["", 426], ["Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n", 400], [`x: ${"x".repeat(20_000)}\r\n`, 431]]) {
    const [head, body] = (await exchange(port, `HEAD / HTTP/1.1\r\nHost: x\r\n${more}\r\n`)).split("\r\n\r\n");
    assert.match(head, new RegExp(`^HTTP/1\\.1 ${status} [^]*\r\nContent-Length: [1-9]`));
    assert.equal(body, "");
  }
});

test("an upgrade that expects 100-continue is told so before the 101, and a refused one is not", async (t) => {
  const { port } = await startServer(t);
  const headers = { Expect: "100-continue" };
  const refused = await rawUpgrade({ port, headers, target: target({ token: "wrong" }) });
  assert.equal(refused.status, 401);
  const socket = await rawSocket({ port });
  socket.write(upgradeHead({ port, headers, target: target() }));
  let text = "";
  await new Promise((resolve) => socket.on("data", (data) => {
    text += data.toString("latin1");
    if (text.includes("Sec-WebSocket-Accept")) resolve();
  }));
  assert.match(text, /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 101 Switching Protocols\r\n/);
});

test("a request that expects 100-continue and that nobody takes gets its refusal at once", async (t) => {
  const { port } = await startServer(t);
  const answer = await exchange(port, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
  assert.match(answer, /^HTTP\/1\.1 426 /);
});
