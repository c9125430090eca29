import assert from "node:assert/strict";
import { createPrivateKey, generateKeyPairSync } from "node:crypto";
import { readFileSync } from "node:fs";
import { CAMP } from "./support/product.mjs";
import { MAX_PAYLOAD } from "./support/frames.mjs";
import { Peer, Refused } from "./support/peer.mjs";
import { connectionEnd, rawSocket, rawUpgrade, readResponse } from "./support/raw.mjs";
import { echo, openSession, startServer, validator } from "./support/server.mjs";
import { test } from "./support/test.mjs";

const key = readFileSync(new URL("support/tls/test-only.key.pem", import.meta.url));
const cert = readFileSync(new URL("support/tls/test-only.cert.pem", import.meta.url));
const trusting = { ca: cert, servername: "localhost" };

async function startSecure(t, options = {}) {
  const running = await startServer(t, { ssl: { key, cert }, ...options });
  echo(running.server);
  return running;
}

async function assertServes(running, tls = trusting) {
  const { peer, session } = await openSession(running, { tls });
  await peer.echo("secured");
  return { peer, session };
}

test("key and cert may be Buffers or strings", async (t) => {
  for (const ssl of [{ key, cert }, { key: key.toString(), cert: cert.toString() }, { key, cert: cert.toString() }]) {
    await assertServes(await startSecure(t, { ssl }));
  }
});

test("a key in SEC 1 form is taken as well", async (t) => {
  const sec1 = createPrivateKey(key).export({ type: "sec1", format: "pem" });
  await assertServes(await startSecure(t, { ssl: { key: sec1, cert } }));
});

test("text and binary up to 1 MiB come back over wss", async (t) => {
  const { peer } = await assertServes(await startSecure(t));
  for (const size of [0, 1, 16_384, 16_385, 65_536, MAX_PAYLOAD]) {
    const data = Buffer.alloc(size, "pattern");
    peer.sendBinary(data);
    assert.ok((await peer.next("BINARYDATA")).data.equals(data), `${size} bytes`);
    peer.sendText("x".repeat(size));
    assert.equal((await peer.next("UTF8DATA")).text.length, size);
  }
});

test("many messages at once come back in order over wss", async (t) => {
  const { peer } = await assertServes(await startSecure(t));
  const before = peer.of("UTF8DATA").length;
  for (let i = 0; i < 2000; i++) peer.sendText(String(i));
  await peer.until(() => peer.of("UTF8DATA").length === before + 2000, 10_000);
  assert.deepEqual(peer.texts().slice(before), Array.from({ length: 2000 }, (_, i) => String(i)));
});

test("the certificate given is the one presented, and a client that does not know it refuses", async (t) => {
  const running = await startSecure(t);
  const error = await Peer.connect({ port: running.port, tls: { servername: "localhost" } }).then(() => null, (failure) => failure);
  assert.ok(/SELF_SIGNED|SELF-SIGNED|UNABLE_TO_VERIFY/i.test(`${error?.code} ${error?.message}`), `${error?.code}`);
  await assertServes(running);
});

test("TLS 1.2 and 1.3 are spoken, with and without a server name", async (t) => {
  const running = await startSecure(t);
  await assertServes(running, { ...trusting, maxVersion: "TLSv1.2" });
  await assertServes(running, { ...trusting, minVersion: "TLSv1.3" });
  await assertServes(running, { ca: cert });
});

test("refusals and closes work over TLS as they do without", async (t) => {
  const running = await startSecure(t);
  const error = await Peer.connect({ port: running.port, tls: trusting, token: "wrong" }).then(() => null, (failure) => failure);
  assert.ok(error instanceof Refused);
  assert.equal(error.status, 401);
  const { peer, session } = await assertServes(running);
  session.Close("bye");
  assert.deepEqual(await peer.closed, { code: 4000, reason: "bye" });
});

test("a handshake over TLS leaves the response and nothing else", async (t) => {
  const running = await startSecure(t);
  const response = await rawUpgrade({ port: running.port, tls: trusting });
  assert.equal(response.status, 101);
});

test("plain HTTP to the TLS port is hung up on and harms nobody", async (t) => {
  const running = await startSecure(t, { handshakeTimeoutMs: 20000 });
  for (const bytes of ["GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "\0\0\0\0", Buffer.alloc(5000, 0x16)]) {
    const socket = await rawSocket({ port: running.port });
    const response = readResponse(socket);
    socket.write(bytes);
    assert.notEqual((await response).status, 101);
    await connectionEnd(socket);
  }
  await assertServes(running);
});

test("a client that never begins its TLS handshake is hung up on after handshakeTimeoutMs", async (t) => {
  const running = await startSecure(t, { handshakeTimeoutMs: 2000 });
  await connectionEnd(await rawSocket({ port: running.port }), 10_000);
  await assertServes(running);
});

test("bad PEM throws at once and names ssl.key or ssl.cert", () => {
  const garbage = "-----BEGIN PRIVATE KEY-----\nbm90IGEga2V5\n-----END PRIVATE KEY-----\n";
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const foreign = privateKey.export({ type: "pkcs8", format: "pem" });
  const cases = [
    ["ssl.key", { key: "not PEM", cert }],
    ["ssl.key", { key: Buffer.alloc(0), cert }],
    ["ssl.key", { key: garbage, cert }],
    ["ssl.key", { key: cert, cert }],
    ["ssl.cert", { key, cert: "not PEM" }],
    ["ssl.cert", { key, cert: Buffer.alloc(0) }],
    ["ssl.cert", { key, cert: garbage.replaceAll("PRIVATE KEY", "CERTIFICATE") }],
    ["ssl.cert", { key, cert: key }],
    [/ssl\.(key|cert)/, { key: foreign, cert }],
  ];
  for (const [name, ssl] of cases) {
    assert.throws(() => {
      const server = CAMP(validator, { port: 0, ssl });
      server.on("error", () => {});
      server.Destroy();
    }, (error) => error instanceof Error && error.message.match(name) !== null, String(name));
  }
});
