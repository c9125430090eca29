// What may be in the head of a request, and in front of the answer: RFC 9112, RFC 6455 and nothing that two readers
// could read in two ways.
import assert from "node:assert/strict";
import { encode } from "./support/frames.mjs";
import { Child } from "./support/child.mjs";
import { freshSid } from "./support/peer.mjs";
import { connectionEnd, rawSocket, rawUpgrade, readResponse, target, upgradeHead, wsFrame } from "./support/raw.mjs";
import { exchange, reasonIn, refusals } from "./support/refusal.mjs";
import { echo, openSession, startServer } from "./support/server.mjs";
import { test } from "./support/test.mjs";
import { deferred, eventually, within } from "./support/wait.mjs";

const CHUNKS = "5\r\nhello\r\n0\r\n\r\n";
const head = (options = {}) => upgradeHead({ port: 80, target: target({ sid: freshSid() }), ...options }).toString("latin1");
const withFields = (headers) => head({ headers });

/** Each request is answered with that reason and 400, hung up on, and told to those who listen for it; nobody is let in. */
async function assertMalformed(t, requests) {
  const running = await startServer(t);
  const told = refusals(t, running.server);
  let sessions = 0;
  running.server.on("session", () => sessions++);
  for (const [name, [request, reason]] of Object.entries(requests)) {
    const response = await exchange(running.port, request);
    assert.equal(response.status, 400, `${name}: ${response.statusLine}`);
    assert.equal(response.headers.connection, "close", name);
    assert.match(response.reason, reason, name);
    await connectionEnd(response.socket);
    await eventually(() => told.length > 0);
    assert.deepEqual(told.splice(0), [[400, response.reason]], name);
  }
  assert.equal(sessions, 0);
  echo(running.server);
  const { peer } = await openSession(running);
  await peer.echo("served");
}

test("an upgrade with a body, or with one whose length is open to interpretation, gets 400", async (t) => {
  await assertMalformed(t, {
    "a length": [`${withFields({ "Content-Length": "5" })}hello`, /no body/],
    "chunked": [`${withFields({ "Transfer-Encoding": "chunked" })}${CHUNKS}`, /no body/],
    "compressed and chunked": [`${withFields({ "Transfer-Encoding": "gzip, chunked" })}${CHUNKS}`, /no body/],
    "both": [`${withFields({ "Content-Length": "5", "Transfer-Encoding": "chunked" })}${CHUNKS}`, /both a Content-Length and a Transfer-Encoding/],
    "two lengths": [`${withFields({ "Content-Length": ["5", "6"] })}hello`, /more than one Content-Length/],
    "the same length twice": [withFields({ "Content-Length": ["0", "0"] }), /more than one Content-Length/],
    "a list of lengths": [withFields({ "Content-Length": "0, 0" }), /not a number of bytes/],
    "xchunked": [withFields({ "Transfer-Encoding": "xchunked" }), /Transfer-Encoding/],
    "chunked, but not last": [withFields({ "Transfer-Encoding": "chunked, gzip" }), /Transfer-Encoding/],
    "a negative length": [withFields({ "Content-Length": "-1" }), /not a number of bytes/],
    "a length with a sign": [withFields({ "Content-Length": "+0" }), /not a number of bytes/],
    "2^64": [withFields({ "Content-Length": "18446744073709551616" }), /not a number of bytes/],
    "an empty length": [withFields({ "Content-Length": "" }), /not a number of bytes/],
    "a length that is not text": [withFields({ "Content-Length": "\xff" }), /not a number of bytes/],
  });
});

test("a line that does not end in CR LF hides no field: it gets 400", async (t) => {
  const good = head();
  await assertMalformed(t, {
    "a field behind a bare LF": [withFields({ "X-Hides": "a\nTransfer-Encoding: chunked" }), /CR LF/],
    "LF everywhere": [good.replaceAll("\r\n", "\n"), /CR LF|malformed/],
    "LF behind the request line": [good.replace("\r\n", "\n"), /CR LF|malformed/],
    "LF at the end": [good.replace("\r\n\r\n", "\r\n\n"), /CR LF|malformed/],
    "LF in front": [`\n${good}`, /CR LF|malformed/],
    "a bare CR": [withFields({ "X-Hides": "a\rTransfer-Encoding: chunked" }), /CR LF|malformed/],
    "a continuation line": [withFields({ "X-Folded": "a\r\n b" }), /malformed/],
    "space in front of a colon": [good.replace("Host:", "Host :"), /malformed/],
  });
});

test("a request target is a path or an absolute URL, without a fragment", async (t) => {
  const query = target({ sid: freshSid() }).slice(1);
  const to = (line) => head({ target: line });
  await assertMalformed(t, {
    "no slash": [to(`foo${query}`), /neither a path nor an absolute URL/],
    "a query alone": [to(query), /neither a path nor an absolute URL/],
    "*": [to("*"), /neither a path nor an absolute URL/],
    "a name and a port": [to("example.com:80"), /neither a path nor an absolute URL/],
    "no name": [to(`http:///${query}`), /neither a path nor an absolute URL/],
    "another scheme": [to(`ftp://example.com/${query}`), /neither a path nor an absolute URL/],
    "a user and a password": [to(`http://user:password@example.com/${query}`), /neither a path nor an absolute URL/],
    "a fragment": [to(`/${query}#fragment`), /fragment/],
    "a fragment in front of the query": [to(`/#${query}`), /fragment/],
    "not ASCII": [to(`/\xc3\xa9${query}`), /ASCII|malformed/],
  });
  const { port } = await startServer(t);
  for (const prefix of ["", "/a", "//", "/{|}", "http://example.com", "HTTPS://example.com:443/", "ws://[::1]:80/a"]) {
    const path = prefix === "" ? "/" : prefix;
    assert.equal((await rawUpgrade({ port, target: target({ path, sid: freshSid() }) })).status, 101, path);
  }
});

test("there is one Host, and it is a name or an address", async (t) => {
  await assertMalformed(t, {
    "none": [withFields({ Host: null }), /Host field is missing/],
    "two": [withFields({ Host: ["a", "b"] }), /more than one Host/],
    "the same twice": [withFields({ Host: ["a", "a"] }), /more than one Host/],
    "a second that is not text": [withFields({ Host: ["a", "\xff"] }), /more than one Host/],
    "a list": [withFields({ Host: "a, b" }), /not a name or address/],
    "a path": [withFields({ Host: "a/b" }), /not a name or address/],
    "a user": [withFields({ Host: "a@b" }), /not a name or address/],
    "a word for a port": [withFields({ Host: "a:b" }), /not a name or address/],
  });
  const { port } = await startServer(t);
  for (const Host of ["", "a", "a_b.example:1", "127.0.0.1", "[::1]:8080"]) {
    assert.equal((await rawUpgrade({ port, target: target({ sid: freshSid() }), headers: { Host } })).status, 101, Host);
  }
});

test("fields of the upgrade that must be there once are", async (t) => {
  await assertMalformed(t, {
    "two keys": [withFields({ "Sec-WebSocket-Key": ["AQIDBAUGBwgJCgsMDQ4PEA==", "dGhlIHNhbXBsZSBub25jZQ=="] }), /more than one Sec-WebSocket-Key/],
    "a second key that is not text": [withFields({ "Sec-WebSocket-Key": ["AQIDBAUGBwgJCgsMDQ4PEA==", "\xff"] }), /more than one Sec-WebSocket-Key/],
    "a subprotocol that is no name": [withFields({ "Sec-WebSocket-Protocol": "a b" }), /Sec-WebSocket-Protocol/],
  });
});

test("another request behind the upgrade gets 400, and no bytes of it pass for frames", async (t) => {
  const second = "GET /second HTTP/1.1\r\nHost: x\r\n\r\n";
  await assertMalformed(t, {
    "in the same packet": [head() + second, /follows the request/],
    "another upgrade": [head() + head(), /follows the request/],
    "half of it": [`${head()}G`, /follows the request/],
    "an empty line": [`${head()}\r\n`, /follows the request/],
    "a body that nothing announces": [`${head()}hello`, /follows the request/],
    "a frame without a mask": [Buffer.concat([Buffer.from(head()), wsFrame({ payload: Buffer.alloc(13), mask: false })]), /follows the request/],
  });
  const answer = deferred();
  const asked = deferred();
  const { server, port } = await startServer(t, {}, { validate: () => (asked.resolve(), answer.promise) });
  const told = refusals(t, server);
  const socket = await rawSocket({ port });
  const response = readResponse(socket);
  socket.write(head());
  await within(asked.promise, 5000, "validate");
  socket.write(second);
  // Another connection's round trip: the server has had the chance to read the second request.
  await exchange(port, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  answer.resolve(true);
  const { status, body } = await response;
  // Should the second request come after the answer, it is a frame that breaks the rules.
  if (status !== 101) assert.deepEqual([status, reasonIn(body)], [400, told.at(-1)[1]]);
  await connectionEnd(socket);
});

test("an upgrade may say that it has no body", async (t) => {
  const { port } = await startServer(t);
  for (const length of ["0", "000"]) {
    const response = await rawUpgrade({ port, target: target({ sid: freshSid() }), headers: { "Content-Length": length } });
    assert.equal(response.status, 101, length);
  }
});

test("empty lines in front of the request are skipped", async (t) => {
  const { port } = await startServer(t);
  assert.equal((await exchange(port, `\r\n\r\n${head()}`)).status, 101);
});

test("a client that half-closes while it is validated is told so", async (t) => {
  const asked = deferred();
  const { server, port } = await startServer(t, {}, { validate: (_token, request) => (asked.resolve(request), new Promise(() => {})) });
  const told = refusals(t, server);
  const [response, request] = await Promise.all([exchange(port, head(), { end: true }), within(asked.promise, 5000, "validate")]);
  assert.equal(response.status, 400);
  assert.match(response.reason, /^The client ended its side of the connection/);
  await eventually(() => request.signal.aborted);
  await eventually(() => told.length === 1);
  assert.deepEqual(told, [[400, response.reason]]);
});

test("a client that sends more than 64 KiB ahead of the answer is told so", async (t) => {
  const { server, port } = await startServer(t, {}, { validate: () => new Promise(() => {}) });
  const told = refusals(t, server);
  const frames = wsFrame({ payload: Buffer.alloc(70_000) });
  const response = await exchange(port, Buffer.concat([Buffer.from(head()), frames]));
  assert.equal(response.status, 400);
  assert.match(response.reason, /^The client sent more than 64 KiB before/);
  await eventually(() => told.length === 1);
  assert.deepEqual(told, [[400, response.reason]]);
});

test("64 KiB ahead of the answer are taken", async (t) => {
  const answer = deferred();
  const { server, port } = await startServer(t, {}, { validate: () => answer.promise });
  const lengths = [];
  server.on("session", (session) => session.on("message-binary", (data) => lengths.push(data.length)));
  const sid = freshSid();
  const info = wsFrame({ payload: encode({ type: "ENDPOINT_INFO", sid, ack: 0, version: 1, features: 1n }) });
  const message = wsFrame({ payload: encode({ type: "BINARYDATA", sid, ack: 1, data: Buffer.alloc(65_000) }) });
  const upgrading = rawUpgrade({ port, target: target({ sid }), trailing: Buffer.concat([info, message]) });
  await exchange(port, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  answer.resolve(true);
  const { status, socket } = await upgrading;
  assert.equal(status, 101);
  socket.resume();
  await eventually(() => lengths.length === 1);
  assert.deepEqual(lengths, [65_000]);
});

test("a connection that ends within its request head gets 400, one that never began is left alone", async (t) => {
  const { server, port } = await startServer(t);
  const told = refusals(t, server);
  const response = await exchange(port, head().slice(0, 40), { end: true });
  assert.equal(response.status, 400);
  assert.match(response.reason, /ended within the request head/);
  assert.equal((await exchange(port, "", { end: true })).status, 0);
  await eventually(() => told.length === 1);
  assert.deepEqual(told, [[400, response.reason]]);
});

test("with DEBUG=CAMP_SERVER the log says why each client was refused, in the words that it was told", async (t) => {
  const child = Child.start(t, "echo-server.mjs", { token: "T" }, { env: { DEBUG: "CAMP_SERVER" } });
  const { port } = await child.report("listening");
  for (const request of [
    withFields({ "Content-Length": "5" }), withFields({ Host: ["a", "b"] }), head({ target: "foo" }), `${head()}hello`,
    head({ target: target({ token: "wrong" }) }), head({ target: "/?authorization=Bearer%20T" }), head({ method: "POST" }),
    "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "nonsense\r\n\r\n",
  ]) {
    const { reason, socket } = await exchange(port, request);
    socket.destroy();
    assert.ok(reason.length > 0, request);
    await eventually(() => child.stderr.includes(`: ${reason}\n`), 5000, reason);
  }
});
