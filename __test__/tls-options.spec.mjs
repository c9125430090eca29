// What `ssl` takes, as Node's `tls` does, and how it says what is wrong.
import assert from "node:assert/strict";
import { createPrivateKey, createPublicKey, generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import tls from "node:tls";
import { CAMP } from "./support/product.mjs";
import { assertHides, keyMaterial } from "./support/secrets.mjs";
import { echo, openSession, startServer, validator } from "./support/server.mjs";
import { test } from "./support/test.mjs";

const path = (name) => fileURLToPath(new URL(`support/tls/test-only${name}.pem`, import.meta.url));
const pem = (name) => readFileSync(path(name), "utf8");
const [key, cert] = [pem(".key"), pem(".cert")];
const AUTHORITY = pem("-authority.cert");
const trusting = { ca: [cert, AUTHORITY], servername: "localhost" };
const PASSPHRASE = "correct horse battery staple";

async function startSecure(t, ssl) {
  const running = await startServer(t, { ssl });
  echo(running.server);
  return running;
}

async function assertServes(running, options = trusting) {
  const { peer } = await openSession(running, { tls: options });
  await peer.echo("secured");
}

/** A TLS connection to the server, as soon as it has been agreed on. */
async function shake(t, { port }, options = {}) {
  const socket = tls.connect({ port, host: "127.0.0.1", ...trusting, ...options });
  t.after(() => socket.destroy());
  await once(socket, "secureConnect");
  socket.on("error", () => {});
  return socket;
}

/** What the same options make of Node's own server. */
function node(ssl) {
  try {
    tls.createSecureContext(ssl);
    return "taken";
  } catch {
    return "refused";
  }
}

function refusal(ssl) {
  try {
    const server = CAMP(validator, { port: 0, ssl });
    server.on("error", () => {});
    void server.Destroy();
  } catch (error) {
    return error;
  }
  return assert.fail("it was taken");
}

function assertRefuses(ssl, code, message, secrets = keyMaterial(key)) {
  const error = refusal(ssl);
  assert.equal(error.code, code, error.stack);
  assert.match(error.message, message);
  assert.ok(error.message.length < 400, error.message);
  assertHides(error, secrets, String(message));
}

const encrypted = (type, cipher) => createPrivateKey(key).export({ type, format: "pem", cipher, passphrase: PASSPHRASE });

test("key and cert are taken in every form in which Node's tls takes them", async (t) => {
  const crlf = (text) => text.replaceAll("\n", "\r\n");
  const surrounded = (text) => `Bag Attributes\n    friendlyName: ü\n${text}\nthe end\n`;
  const forms = {
    "Windows line ends": { key: crlf(key), cert: crlf(cert) },
    "a BOM": { key: `\uFEFF${key}`, cert: Buffer.from(`\uFEFF${cert}`) },
    "text around the blocks": { key: surrounded(key), cert: surrounded(cert) },
    "key and certificate in one file": { key: `${cert}${key}`, cert: `${key}${cert}` },
    "no line end at the end": { key: key.trimEnd(), cert: cert.trimEnd() },
    "arrays of strings": { key: [key], cert: [cert] },
    "arrays of Buffers": { key: [Buffer.from(key)], cert: [Buffer.from(cert)] },
    "any view": { key: new Uint8Array(Buffer.from(key)), cert: new DataView(new Uint8Array(Buffer.from(cert)).buffer) },
    "objects with pem": { key: [{ pem: key }], cert },
    "a chain": { key, cert: `${cert}${pem("-second.cert")}` },
    "the passphrase of a key that has none": { key, cert, passphrase: PASSPHRASE },
  };
  for (const [form, ssl] of Object.entries(forms)) {
    assert.equal(node(ssl), "taken", `${form}, by Node`);
    await t.test(form, async (t) => assertServes(await startSecure(t, ssl)));
  }
});

test("a key that is indented, or on one long line between BEGIN and END, is taken too", async (t) => {
  const [begin, ...rest] = key.trim().split("\n");
  const oneLine = [begin, rest.slice(0, -1).join(""), rest.at(-1)].join("\n");
  for (const form of [key.replace(/^/gm, "    "), oneLine]) {
    await assertServes(await startSecure(t, { key: form, cert }));
  }
});

test("an encrypted key is decrypted with its passphrase", async (t) => {
  const forms = [
    { key: encrypted("pkcs8", "aes-256-cbc"), passphrase: PASSPHRASE },
    { key: encrypted("sec1", "aes-128-cbc"), passphrase: PASSPHRASE },
    { key: [{ pem: encrypted("pkcs8", "aes-128-cbc"), passphrase: PASSPHRASE }], passphrase: "another" },
    { key: [encrypted("pkcs8", "aes-128-cbc")], passphrase: PASSPHRASE },
  ];
  for (const form of forms) {
    assert.equal(node({ ...form, cert }), "taken");
    await assertServes(await startSecure(t, { ...form, cert }));
  }
});

test("an encrypted key without its passphrase, or with another, is refused", () => {
  for (const text of [encrypted("pkcs8", "aes-256-cbc"), encrypted("sec1", "aes-128-cbc")]) {
    const secrets = [...keyMaterial(text), PASSPHRASE, "Tr0ub4dor&3"];
    assertRefuses({ key: text, cert }, "ERR_CAMP_TLS_PASSPHRASE", /^ssl\.key is encrypted: pass .*ssl\.passphrase/, secrets);
    assertRefuses({ key: text, cert, passphrase: "Tr0ub4dor&3" }, "ERR_CAMP_TLS_PASSPHRASE", /^ssl\.key cannot be decrypted: the passphrase is wrong/, secrets);
  }
});

test("the usual mistakes are told apart, with what to do, and no key is quoted", () => {
  const der = createPrivateKey(key).export({ type: "pkcs8", format: "der" });
  const publicKey = createPublicKey(key).export({ type: "spki", format: "pem" });
  const body = key.replace(/-----[^-]+-----/g, "");
  const [KEY, CERT] = ["ERR_CAMP_TLS_KEY", "ERR_CAMP_TLS_CERT"];
  for (const [ssl, code, message] of [
    [{ key: path(".key"), cert }, KEY, /^ssl\.key seems to be a path: pass the contents .*readFileSync/],
    [{ key: "key.pem", cert }, KEY, /^ssl\.key seems to be a path/],
    [{ key, cert: "C:\\certs\\cert.pem" }, CERT, /^ssl\.cert seems to be a path/],
    [{ key: cert, cert: key }, KEY, /^ssl\.key holds a certificate and no private key: key and cert may be swapped/],
    [{ key, cert: key }, CERT, /^ssl\.cert holds a private key and no certificate: key and cert may be swapped/],
    [{ key: der, cert }, KEY, /^ssl\.key is in binary format \(DER\): .*openssl pkey -inform DER/],
    [{ key: der.toString("latin1"), cert }, KEY, /DER/],
    [{ key, cert: Buffer.from(cert.replace(/-----[^-]+-----/g, ""), "base64") }, CERT, /^ssl\.cert is in binary format \(DER\): .*openssl x509 -inform DER/],
    [{ key: key.replaceAll("\n", "\\n"), cert }, KEY, /^ssl\.key has its line ends written out as \\n: .*replaceAll/],
    [{ key: key.replaceAll("\n", "\\r\\n"), cert }, KEY, /line ends written out/],
    [{ key, cert: cert.replaceAll("\n", "\\n") }, CERT, /^ssl\.cert has its line ends written out/],
    [{ key: key.replaceAll("\n", " "), cert }, KEY, /^ssl\.key has lost its line ends/],
    [{ key: key.replaceAll("\n", ""), cert }, KEY, /^ssl\.key has lost its line ends/],
    [{ key: body, cert }, KEY, /^ssl\.key lacks the lines -----BEGIN/],
    [{ key: key.slice(0, 150), cert }, KEY, /^ssl\.key is cut off/],
    [{ key, cert: cert + cert.slice(0, 200) }, CERT, /^ssl\.cert/],
    [{ key: Buffer.from(`\uFEFF${key}`, "utf16le"), cert }, KEY, /UTF-16/],
    [{ key: publicKey, cert }, KEY, /^ssl\.key holds a public key/],
    [{ key: key.replaceAll("PRIVATE", "OPENSSH PRIVATE"), cert }, KEY, /OpenSSH.*ssh-keygen/],
    [{ key, cert: cert.replaceAll("CERTIFICATE", "CERTIFICATE REQUEST") }, CERT, /request for a certificate/],
    [{ key: key.replace(/\n[^\n]{20}/, "\n!!!!!!!!!!!!!!!!!!!!"), cert }, KEY, /^ssl\.key: .*damaged.*not base64/],
    [{ key: key.replace(/\n[^\n]{20}/, "\nAAAAAAAAAAAAAAAAAAAA"), cert }, KEY, /^ssl\.key is damaged/],
    [{ key: "", cert }, KEY, /^ssl\.key is empty/],
    [{ key: [key, ""], cert: [cert] }, KEY, /^ssl\.key\[1\] is empty/],
    [{ key: [], cert }, KEY, /^ssl\.key is empty/],
    [{ key, cert: [] }, CERT, /^ssl\.cert is empty/],
  ]) {
    assert.equal(node(ssl) === "taken" && ssl.key.length > 0 && ssl.cert.length > 0, false, `${message}: Node takes it`);
    assertRefuses(ssl, code, message);
  }
});

test("an intermediate certificate that is damaged is refused at once, and leaves the one before in force", async (t) => {
  const running = await startSecure(t, { key, cert });
  const bad = `${cert}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n`;
  assertRefuses({ key, cert: bad }, "ERR_CAMP_TLS_CERT", /^ssl\.cert is damaged: certificate 2 of 2/);
  assert.throws(() => running.server.SetSecureContext({ key, cert: bad }), { code: "ERR_CAMP_TLS_CERT" });
  await assertServes(running);
});

test("a key that does not belong to the certificate is refused", () => {
  const foreign = generateKeyPairSync("ec", { namedCurve: "P-256", privateKeyEncoding: { type: "pkcs8", format: "pem" }, publicKeyEncoding: { type: "spki", format: "pem" } }).privateKey;
  const secrets = keyMaterial(foreign);
  const CODE = "ERR_CAMP_TLS_MISMATCH";
  assertRefuses({ key: foreign, cert }, CODE, /^ssl\.key does not belong to the certificate in ssl\.cert/, secrets);
  assertRefuses({ key: pem("-rsa.key"), cert }, CODE, /the type EC, the key RSA/);
  assertRefuses({ key: [key, foreign], cert: [cert] }, CODE, /^ssl\.key\[1\] belongs to none/, secrets);
  assertRefuses({ key: [key], cert: [cert, pem("-rsa.cert")] }, CODE, /ssl\.cert\[1\]/);
  assertRefuses({ key: pem("-issued.key"), cert: `${AUTHORITY}${pem("-issued.cert")}` }, CODE, /wrong order/);
});

test("types of keys that cannot be used are named", () => {
  const pair = (type, options) => {
    const { privateKey } = generateKeyPairSync(type, options);
    return privateKey.export({ type: "pkcs8", format: "pem" });
  };
  for (const [text, name] of [
    [pair("rsa", { modulusLength: 1024 }), /RSA key of 1024 bits/],
    [pair("rsa", { modulusLength: 2048, publicExponent: 3 }), /public exponent 3/],
    [pair("rsa-pss", { modulusLength: 2048 }), /RSA-PSS/],
    [pair("ec", { namedCurve: "P-521" }), /P-521/],
    [pair("ec", { namedCurve: "secp256k1" }), /secp256k1/],
    [pair("ed448"), /ed448/],
    [pair("x25519"), /x25519/],
  ]) {
    assertRefuses({ key: text, cert }, "ERR_CAMP_TLS_UNSUPPORTED", name, keyMaterial(text));
  }
});

test("an EC key that lacks its public half is taken", async (t) => {
  const sec1 = createPrivateKey(key).export({ type: "sec1", format: "der" });
  // ECPrivateKey: version, the 32 bytes, the curve; what is left out is [1], the public point.
  const curve = Buffer.from("a00a06082a8648ce3d030107", "hex");
  const body = Buffer.concat([Buffer.from("0201010420", "hex"), sec1.subarray(7, 39), curve]);
  const text = Buffer.concat([Buffer.from([0x30, body.length]), body]).toString("base64");
  await assertServes(await startSecure(t, { key: `-----BEGIN EC PRIVATE KEY-----\n${text}\n-----END EC PRIVATE KEY-----\n`, cert }));
});

test("a certificate that has expired is served, with a warning", async (t) => {
  const warned = once(process, "warning");
  const running = await startSecure(t, { key: pem("-expired.key"), cert: pem("-expired.cert") });
  const [warning] = await warned;
  assert.equal(warning.code, "CAMP_TLS_CERT_DATE");
  assert.match(warning.message, /^ssl\.cert has expired: it was valid until .*2021/);
  const socket = await shake(t, running, { ca: pem("-expired.cert"), rejectUnauthorized: false });
  assert.equal(socket.authorizationError, "CERT_HAS_EXPIRED");
});

test("with several keys and certificates a client is shown one that it can check", async (t) => {
  const both = { key: [pem("-rsa.key"), key], cert: [cert, pem("-rsa.cert")] };
  const running = await startSecure(t, both);
  const type = async (sigalgs) => (await shake(t, running, { sigalgs })).getPeerX509Certificate().publicKey.asymmetricKeyType;
  assert.equal(await type("ecdsa_secp256r1_sha256"), "ec");
  assert.equal(await type("rsa_pss_rsae_sha256"), "rsa");
  const old = await shake(t, running, { maxVersion: "TLSv1.2", ciphers: "ECDHE-RSA-AES128-GCM-SHA256" });
  assert.equal(old.getPeerX509Certificate().publicKey.asymmetricKeyType, "rsa");
});

test("a certificate without its issuers is shown with those of ca, as by Node", async (t) => {
  const ssl = { key: pem("-deep.key"), cert: pem("-deep.cert"), ca: [AUTHORITY, pem("-intermediate.cert")] };
  await shake(t, await startSecure(t, ssl), { ca: AUTHORITY });
  const bare = await startSecure(t, { ...ssl, ca: undefined });
  await assert.rejects(shake(t, bare, { ca: AUTHORITY }), { code: "UNABLE_TO_VERIFY_LEAF_SIGNATURE" });
});

test("with requestCert only clients with a certificate of ca are let in", async (t) => {
  const ssl = { key, cert, ca: AUTHORITY, requestCert: true };
  const running = await startSecure(t, ssl);
  const client = { ...trusting, key: pem("-client.key"), cert: pem("-client.cert") };
  const refused = async () => {
    for (const own of [{}, { key: pem("-second.key"), cert: pem("-second.cert") }]) {
      await assert.rejects(openSession(running, { tls: { ...trusting, ...own } }), Error);
    }
  };
  await assertServes(running, client);
  await refused();
  // A new certificate of the server leaves its clients to show theirs.
  running.server.SetSecureContext({ key: pem("-rsa.key"), cert: pem("-rsa.cert") });
  await assertServes(running, client);
  await refused();
});

test("minVersion and maxVersion bound what is spoken", async (t) => {
  const protocol = async (running, options) => (await shake(t, running, options)).getProtocol();
  const old = await startSecure(t, { key, cert, maxVersion: "TLSv1.2" });
  assert.equal(await protocol(old), "TLSv1.2");
  await assert.rejects(protocol(old, { minVersion: "TLSv1.3" }), Error);
  const recent = await startSecure(t, { key, cert, minVersion: "TLSv1.3" });
  assert.equal(await protocol(recent), "TLSv1.3");
  await assert.rejects(protocol(recent, { maxVersion: "TLSv1.2" }), Error);
});

test("ALPNProtocols are agreed on", async (t) => {
  for (const ALPNProtocols of [["camp", Buffer.from("http/1.1")], Buffer.from("\x04camp\x08http/1.1")]) {
    const running = await startSecure(t, { key, cert, ALPNProtocols });
    assert.equal((await shake(t, running, { ALPNProtocols: ["http/1.1", "x"] })).alpnProtocol, "http/1.1");
    await assert.rejects(shake(t, running, { ALPNProtocols: ["x"] }), Error);
    await assertServes(running);
  }
});

test("a field that is not served throws, and nothing is accepted and ignored", () => {
  for (const [field, value] of [
    ["pfx", Buffer.from("x")], ["SNICallback", () => {}], ["ciphers", "HIGH"], ["secureProtocol", "TLS_method"], ["crl", "x"],
    ["dhparam", "auto"], ["enableTrace", true], ["certificate", cert], ["CERT", cert],
  ]) {
    const error = refusal({ key, cert, [field]: value });
    assert.ok(error instanceof TypeError, error.stack);
    assert.equal(error.code, "ERR_CAMP_TLS_UNSUPPORTED");
    assert.match(error.message, new RegExp(`^ssl\\.${field} is not supported`));
  }
  assert.match(refusal({ key, cert, requestCert: true, rejectUnauthorized: false }).message, /rejectUnauthorized: false is not supported/);
  for (const [field, values] of [
    ["minVersion", ["TLSv1.1", "TLSv1", 5]], ["maxVersion", ["TLSv1.4"]], ["requestCert", [1]], ["rejectUnauthorized", ["no"]],
    ["passphrase", [5, Buffer.from("x")]], ["ALPNProtocols", ["h2", [5], [""], Buffer.from("\x09h")]], ["ca", [5, "x", [cert, {}]]],
  ]) {
    for (const value of values) assert.match(refusal({ key, cert, [field]: value }).message, new RegExp(`^ssl\\.${field}`));
  }
  assert.match(refusal({ key, cert, minVersion: "TLSv1.3", maxVersion: "TLSv1.2" }).message, /minVersion/);
});

test("ssl that is a key itself, or options that are, are refused without quoting it", () => {
  for (const wrong of [key, Buffer.from(key), [key]]) assertHides(refusal(wrong), keyMaterial(key));
  assert.throws(() => CAMP(validator, key), (error) => (assertHides(error, keyMaterial(key)), error instanceof TypeError));
});
