// What console.log and JSON.stringify show of the public objects.
import assert from "node:assert/strict";
import { inspect } from "node:util";
import { CAMP, CAMPError, CAMPReadable, CAMPServerWebsocketSession, CAMPWebsocketServer } from "./support/product.mjs";
import { freshSid, Peer } from "./support/peer.mjs";
import { openPair, openSession, startServer } from "./support/server.mjs";
import { test } from "./support/test.mjs";
import { once } from "./support/wait.mjs";

const SECRET = "SuperSecretToken";
const knowing = { validate: async (token) => token === SECRET };

const openSecretPair = (t) => openPair(t, { validator: knowing, peer: { token: SECRET } });

/** Everything that is shown of an object, however closely it is looked at. */
const shownOf = (object) => [
  inspect(object), inspect(object, { depth: Infinity, showHidden: true, getters: true }), JSON.stringify(object), String(object),
].join("\n");

test("a session shows its id, kind, address, state and bytes", async (t) => {
  const { session, peer } = await openSecretPair(t);
  const shown = (state, rx, tx) => ({ sid: String(peer.sid), type: "client", remoteAddress: "127.0.0.1", state, rx, tx });
  assert.match(inspect(session), /^CAMPServerWebsocketSession \{[^]* state: 'open',[^]* rx: [1-9]\d*,[^]* tx: [1-9]\d*/);
  const { rx, tx, ...others } = JSON.parse(JSON.stringify(session));
  assert.deepEqual({ ...others, rx: rx > 0, tx: tx > 0 }, shown("open", true, true));
  peer.terminate();
  await once(session, "closed");
  assert.equal(inspect(session, { breakLength: Infinity }),
    `CAMPServerWebsocketSession { sid: ${peer.sid}n, type: 'client', remoteAddress: '127.0.0.1', state: 'closed', rx: ${session.rx}, tx: ${session.tx} }`);
  assert.deepEqual(JSON.parse(JSON.stringify(session)), shown("closed", session.rx, session.tx));
});

test("a server shows its state, address, sessions and extensions", async (t) => {
  const running = await startServer(t, { host: "127.0.0.1" });
  const { server, port } = running;
  await openSession(running);
  server.RegisterExtension({ name: "logger" });
  const shown = { state: "listening", address: { port, family: "IPv4", address: "127.0.0.1" }, tls: false, sessions: 1, extensions: ["logger"] };
  assert.equal(inspect(server, { breakLength: Infinity }), `CAMPWebsocketServer ${inspect(shown, { breakLength: Infinity })}`);
  assert.deepEqual(JSON.parse(JSON.stringify(server)), shown);
  await server.Destroy();
  const over = { state: "over", address: null, tls: false, sessions: 0, extensions: [] };
  assert.deepEqual(JSON.parse(JSON.stringify(server)), over);
  assert.equal(inspect(server, { breakLength: Infinity }), `CAMPWebsocketServer ${inspect(over, { breakLength: Infinity })}`);
});

test("a server says that it does not listen yet, and that it drains", async (t) => {
  const server = CAMP(knowing, { port: 0 });
  t.after(() => server.Destroy());
  assert.match(inspect(server), /state: 'not listening'/);
  await once(server, "listening");
  const drained = server.Drain();
  assert.match(inspect(server), /state: 'draining'/);
  await drained;
  assert.match(inspect(server), /state: 'over'/);
});

test("the list of sessions shows their number and ids", async (t) => {
  const { server, peer } = await openSecretPair(t);
  assert.equal(inspect(server.sessions), `SessionList { size: 1, sids: [ ${peer.sid}n ] }`);
  assert.deepEqual(JSON.parse(JSON.stringify(server.sessions)), { size: 1, sids: [String(peer.sid)] });
});

test("the namespaces of a session and its streams show what they are about", async (t) => {
  const { session, peer } = await openSecretPair(t);
  assert.equal(inspect(session.base), `CAMPBase { sid: ${peer.sid}n }`);
  peer.sendTxStart({ txId: 7, size: 100n, behaviour: 1, name: "upload" });
  const readable = await session.transaction.WaitForStream("upload");
  assert.equal(inspect(session.transaction, { breakLength: Infinity }), `CAMPTransaction { sid: ${peer.sid}n, outgoing: 0, incoming: 1 }`);
  assert.equal(inspect(readable, { breakLength: Infinity }),
    "CAMPReadable { txId: 7, behaviour: 'pull', byteLength: 100n, receivedBytes: 0n, complete: false, destroyed: false }");
  assert.deepEqual(JSON.parse(JSON.stringify({ base: session.base, transaction: session.transaction, readable })), {
    base: { sid: String(peer.sid) },
    transaction: { sid: String(peer.sid), outgoing: 0, incoming: 1 },
    readable: { txId: 7, behaviour: "pull", byteLength: "100", receivedBytes: "0", complete: false, destroyed: false },
  });
  peer.terminate();
  await once(session, "closed");
  assert.match(inspect(readable), /error: 'ERR_CAMP_SESSION_CLOSED'/);
});

test("within other objects they are shown as deep as anything else", async (t) => {
  const { server, session } = await openSecretPair(t);
  assert.match(inspect({ a: { b: session } }), /b: CAMPServerWebsocketSession \{/);
  assert.match(inspect({ a: { b: { c: { session, server } } } }), /c: \[Object\]/);
  assert.match(inspect({ a: { session, server } }, { depth: 0 }), /a: \[Object\]/);
  assert.equal(inspect({ session }, { depth: 0 }), "{ session: [CAMPServerWebsocketSession] }");
  assert.equal(inspect([server], { depth: 0 }), "[ [CAMPWebsocketServer] ]");
  assert.match(inspect(server, { depth: 0 }), /^CAMPWebsocketServer \{[^]*address: \[Object\]/);
});

test("no public object shows the token, whatever it is printed with", async (t) => {
  let request;
  const sid = freshSid();
  const running = await startServer(t, {}, { validate: (token, given) => ((request = given), knowing.validate(token)) });
  const { server, port } = running;
  const { session } = await openSession(running, { sid, token: SECRET, headers: { authorization: `Bearer ${SECRET}`, cookie: `t=${SECRET}` } });
  const upstream = await server.ConnectPeer(`ws://127.0.0.1:${port}`, SECRET);
  session.Set("password", SECRET);
  const objects = { server, session, upstream, base: session.base, transaction: session.transaction, sessions: server.sessions, http: server.http_server };
  for (const [name, object] of Object.entries(objects)) {
    assert.ok(!inspect(object, { depth: 3 }).includes(SECRET), name);
    if (name !== "http") assert.ok(!shownOf(object).includes(SECRET), `${name}, closely`);
  }
  assert.match(inspect(upstream), /type: 'peer'/);
  await Peer.connect({ port, sid: sid + 1n, token: SECRET, path: "/somewhere" });
  assert.equal(inspect(request, { breakLength: Infinity }), `CAMPUpgradeRequest { sid: ${sid + 1n}n, path: '/somewhere', remoteAddress: '127.0.0.1' }`);
  assert.deepEqual(JSON.parse(JSON.stringify(request)), { sid: String(sid + 1n), path: "/somewhere", remoteAddress: "127.0.0.1" });
});

test("errors keep their code in JSON", () => {
  assert.deepEqual(JSON.parse(JSON.stringify(new CAMPError("ERR_CAMP_DROPPED", "x"))), { code: "ERR_CAMP_DROPPED" });
});

test("the classes, their prototypes, and what a test puts in place of their objects can be printed", () => {
  for (const ofClass of [CAMPWebsocketServer, CAMPServerWebsocketSession, CAMPReadable]) {
    assert.match(inspect(ofClass), new RegExp(`^\\[class ${ofClass.name} extends`));
    inspect(ofClass.prototype);
    assert.equal(inspect(Object.create(ofClass.prototype)), `[${ofClass.name}]`);
    assert.equal(JSON.stringify(ofClass.prototype), "{}");
    assert.equal(JSON.stringify(Object.create(ofClass.prototype)), "{}");
  }
});
