// ConnectPeer over wss: whom it trusts, and what it rejects with otherwise.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Child } from "./support/child.mjs";
import { MAX_PAYLOAD } from "./support/frames.mjs";
import { CERT, SECURE, frameServer, letIn, openPeer, otherServer } from "./support/other-server.mjs";
import { connectionEnd } from "./support/raw.mjs";
import { echo, once, rejection, startServer } from "./support/server.mjs";
import { assertSameBytes, payload, readAll } from "./support/streams.mjs";
import { test } from "./support/test.mjs";
import { deferred, within } from "./support/wait.mjs";

const pem = (name) => readFileSync(new URL(`support/tls/${name}.pem`, import.meta.url));
const pair = (name) => ({ key: pem(`${name}.key`), cert: pem(`${name}.cert`) });
const SECOND = pem("test-only-second.cert");
const AUTHORITY = pair("test-only-authority");

async function startSecure(t, ssl = SECURE) {
  const running = await startServer(t, { ssl });
  echo(running.server);
  return { ...running, url: (host = "localhost") => `wss://${host}:${running.port}` };
}

async function assertServes(server, url, options) {
  const session = await server.ConnectPeer(url, "T", options);
  const back = once(session, "message-utf8");
  await session.base.SendUTF8("secured");
  assert.deepEqual(await back, ["secured"]);
  return session;
}

async function assertRejects(server, url, options, causes, what = causes) {
  const error = await rejection(server.ConnectPeer(url, "T", options));
  assert.equal(error.code, "ERR_CAMP_TLS_FAILED", `${what}: ${error.stack}`);
  assert.ok([causes].flat().includes(error.cause.code), `${what}: ${error.cause.code} ${error.message}`);
  assert.match(error.message, /^No TLS connection to wss:\/\//);
  assert.equal(server.sessions.size, 0);
  return error;
}

test("ca may be a Buffer, a string, several in one text, or an array", async (t) => {
  const { server } = await startServer(t);
  const far = await startSecure(t);
  for (const ca of [CERT, CERT.toString(), `${SECOND}${CERT}`, [SECOND, CERT.toString()], new Uint8Array(CERT)]) {
    await assertServes(server, far.url(), { ca });
  }
});

test("messages of every size and streams come through", async (t) => {
  const { server } = await startServer(t);
  const far = await startSecure(t);
  const session = await assertServes(server, far.url(), { ca: CERT });
  for (const size of [0, 1, 16_384, 16_385, 65_536, MAX_PAYLOAD]) {
    const back = once(session, "message-binary");
    const data = payload(size);
    await session.base.SendBinary(data);
    assertSameBytes((await back)[0], data);
  }
  const [accepted] = far.server.sessions;
  const data = payload(3_000_001);
  const received = accepted.transaction.WaitForStream("s").then((readable) => readAll(readable));
  await session.transaction.Stream(data, { streamName: "s" });
  assertSameBytes(await received, data);
});

test("certificates are checked against the name or the address of the URL", async (t) => {
  const { server } = await startServer(t);
  const far = await startSecure(t);
  await assertServes(server, far.url("127.0.0.1"), { ca: CERT });
  await assertServes(server, far.url("127.0.0.1"), { ca: CERT, servername: "localhost" });
  await assertServes(server, far.url("LOCALHOST"), { ca: CERT });
  await server.ConnectPeer(far.url("127.0.0.1"), "T", { ca: CERT, servername: "::1" }).then((session) => session.Close());
  for (const session of [...server.sessions]) await session.Close();
  await assertRejects(server, far.url(), { ca: CERT, servername: "example.com" }, "ERR_TLS_CERT_ALTNAME_INVALID");
  await assertRejects(server, far.url(), { ca: CERT, servername: "127.0.0.2" }, "ERR_TLS_CERT_ALTNAME_INVALID");
});

test("servername is what the server is told, an address is not told", async (t) => {
  const { server } = await startServer(t);
  const told = [];
  const other = await otherServer(t, (socket) => {
    told.push(socket.servername || null);
    socket.end("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n");
  }, { secure: SECURE });
  for (const options of [{}, { servername: "localhost" }]) {
    const error = await rejection(server.ConnectPeer(other.url, "T", { ca: CERT, ...options }));
    assert.equal(error.status, 404, error.stack);
  }
  assert.deepEqual(told, [null, "localhost"]);
});

test("whom nobody vouches for is rejected", async (t) => {
  const { server } = await startServer(t);
  const far = await startSecure(t);
  // A machine may have no roots at all.
  await assertRejects(server, far.url(), {}, ["UNABLE_TO_VERIFY_LEAF_SIGNATURE", "UNABLE_TO_GET_ISSUER_CERT_LOCALLY"]);
  await assertRejects(server, far.url(), { ca: AUTHORITY.cert }, "UNABLE_TO_VERIFY_LEAF_SIGNATURE");
  await assertRejects(server, far.url(), { ca: SECOND }, "UNABLE_TO_VERIFY_LEAF_SIGNATURE", "the same name, another key");
  await assertServes(server, far.url(), { ca: CERT });
});

test("a CA certificate vouches for what it has signed, and for itself", async (t) => {
  const { server } = await startServer(t);
  const issued = await startSecure(t, pair("test-only-issued"));
  await assertServes(server, issued.url(), { ca: AUTHORITY.cert });
  // What `openssl req -x509` makes by default: a server's certificate that is a CA's.
  const itself = await startSecure(t, AUTHORITY);
  await assertServes(server, itself.url(), { ca: [CERT, AUTHORITY.cert] });
  for (const session of [...server.sessions]) await session.Close();
  await assertRejects(server, itself.url(), { ca: AUTHORITY.cert, servername: "example.com" }, "ERR_TLS_CERT_ALTNAME_INVALID");
  await assertRejects(server, itself.url(), { ca: CERT }, ["CERT_REJECTED", "UNABLE_TO_VERIFY_LEAF_SIGNATURE"]);
});

test("an expired certificate is rejected", async (t) => {
  const { server } = await startServer(t);
  const expired = pair("test-only-expired");
  const far = await startSecure(t, expired);
  await assertRejects(server, far.url(), { ca: expired.cert }, "CERT_HAS_EXPIRED");
});

test("rejectUnauthorized: false takes any certificate", async (t) => {
  const { server } = await startServer(t);
  for (const ssl of [SECURE, AUTHORITY, pair("test-only-expired")]) {
    const far = await startSecure(t, ssl);
    await assertServes(server, far.url(), { rejectUnauthorized: false });
    await assertServes(server, far.url(), { rejectUnauthorized: false, servername: "example.com", ca: SECOND });
  }
});

test("the system's roots are trusted by default", async (t) => {
  const far = await startSecure(t);
  const env = { SSL_CERT_FILE: fileURLToPath(new URL("support/tls/test-only.cert.pem", import.meta.url)) };
  const child = Child.start(t, "peer-client.mjs", { url: far.url(), token: "T" }, { env });
  assert.equal((await child.report("connected")).type, "peer");
  child.command("destroy");
  assert.deepEqual(await child.exit(), { code: 0, signal: null });
});

test("TLS 1.2 and 1.3 are spoken", async (t) => {
  const { server } = await startServer(t);
  for (const version of ["TLSv1.2", "TLSv1.3"]) {
    const other = await frameServer(t, { secure: { ...SECURE, minVersion: version, maxVersion: version } });
    const { end } = await openPeer(server, other, { ca: CERT });
    assert.equal(end.socket.getProtocol(), version);
  }
});

test("a server that speaks no TLS, or only old ones, is rejected", async (t) => {
  const { server } = await startServer(t);
  const plain = await startServer(t);
  await assertRejects(server, `wss://localhost:${plain.port}`, { ca: CERT }, "EPROTO");
  const garbage = await otherServer(t, (socket) => socket.write("220 mail.example.com ESMTP\r\n"));
  await assertRejects(server, garbage.url.replace("ws:", "wss:"), { ca: CERT }, "EPROTO");
});

test("a TLS server at the end of ws: is no WebSocket server", async (t) => {
  const { server } = await startServer(t);
  const far = await startSecure(t);
  const error = await rejection(server.ConnectPeer(far.url().replace("wss:", "ws:"), "T"));
  assert.equal(error.code, "ERR_CAMP_HANDSHAKE_FAILED", error.stack);
});

test("an error says what to do about it", async (t) => {
  const { server, port } = await startServer(t);
  const far = await startSecure(t);
  const expired = await startSecure(t, pair("test-only-expired"));
  const message = async (url, options) => (await rejection(server.ConnectPeer(url, "T", options))).message;
  assert.match(await message(far.url(), { ca: SECOND }), /No TLS connection to .*: nobody who is trusted vouches for its certificate; pass .* as ca/);
  assert.match(await message(far.url(), { ca: CERT, servername: "example.com" }), /not for "example\.com" but for .*localhost.*; pass the right one as servername/);
  assert.match(await message(expired.url(), { ca: pem("test-only-expired.cert") }), /its certificate has expired/);
  assert.match(await message(`wss://127.0.0.1:${port}`, { ca: CERT }), /does not answer in TLS; if it speaks none, use ws:/);
  assert.match(await message(`ws://127.0.0.1:${far.port}`), /the server speaks TLS(: |, )use wss:/);
  const [node, silent, nginx] = [
    await otherServer(t, () => {}, { secure: SECURE }),
    await otherServer(t, (socket) => socket.end()),
    await otherServer(t, (socket) => socket.end("HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\n\r\n<center>The plain HTTP request was sent to HTTPS port</center>")),
  ];
  assert.match(await message(node.url.replace("wss:", "ws:")), /speaks TLS,? use wss:/);
  assert.match(await message(silent.url.replace("ws:", "wss:"), { ca: CERT }), /closed during the TLS handshake; if the server speaks no TLS, use ws:/);
  assert.match(await message(nginx.url), /HTTPS port Use wss:/);
  const old = await otherServer(t, () => {}, { secure: { ...SECURE, minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers: "DEFAULT:@SECLEVEL=0" } });
  assert.match(await message(old.url, { ca: CERT }), /neither TLS 1\.2 nor 1\.3/);
});

test("a connection that ends during the TLS handshake is a rejection", async (t) => {
  const { server } = await startServer(t);
  for (const script of [(socket) => socket.end(), (socket) => socket.once("data", () => socket.resetAndDestroy())]) {
    const other = await otherServer(t, script);
    const error = await rejection(server.ConnectPeer(other.url.replace("ws:", "wss:"), "T", { ca: CERT }));
    assert.equal(error.code, "ERR_CAMP_HANDSHAKE_FAILED", error.stack);
    assert.equal(error.cause.code, "ECONNRESET");
  }
});

test("time and aborts end the TLS handshake", async (t) => {
  const { server } = await startServer(t);
  const hello = deferred();
  const other = await otherServer(t, (socket) => socket.once("data", hello.resolve));
  const url = other.url.replace("ws:", "wss:");
  const late = await rejection(server.ConnectPeer(url, "T", { ca: CERT, timeoutMs: 150 }));
  assert.equal(late.code, "ERR_CAMP_TIMEOUT");
  assert.match(late.message, /TLS handshake did not end within 150 ms/);
  const controller = new AbortController();
  const promise = server.ConnectPeer(url, "T", { ca: CERT, signal: controller.signal });
  await within(hello.promise, 5000, "ClientHello");
  controller.abort();
  assert.equal((await rejection(promise)).name, "AbortError");
  for (const socket of other.sockets) await connectionEnd(socket);
});

test("refusals and closes work over TLS as they do without", async (t) => {
  const { server } = await startServer(t);
  const far = await startSecure(t);
  const error = await rejection(server.ConnectPeer(far.url(), "wrong", { ca: CERT }));
  assert.deepEqual([error.code, error.status], ["ERR_CAMP_REFUSED", 401]);
  const other = await otherServer(t, async (socket) => void (await letIn(socket)).socket.destroy(), { secure: SECURE });
  assert.equal((await rejection(server.ConnectPeer(other.url, "T", { ca: CERT }))).code, "ERR_CAMP_HANDSHAKE_FAILED");
  const session = await assertServes(server, far.url(), { ca: CERT });
  await session.Close("bye");
});
