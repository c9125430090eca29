import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import { createRequire } from "node:module";
import net from "node:net";
import * as product from "./support/product.mjs";
import { Peer } from "./support/peer.mjs";
import { connectionEnd, rawSocket, target, upgradeHead } from "./support/raw.mjs";
import { echo, once, openSession, record, startServer, validator } from "./support/server.mjs";
import { test } from "./support/test.mjs";
import { deferred, eventually, within } from "./support/wait.mjs";

const { CAMP, CAMPWebsocketServer } = product;

/** A port that is taken for the length of the test. */
async function takenPort(t) {
  const other = net.createServer().listen(0, "127.0.0.1");
  t.after(() => other.close());
  await once(other, "listening");
  return other.address().port;
}

async function assertRefusesConnections(port) {
  const error = await rawSocket({ port }).then(() => null, (failure) => failure);
  assert.equal(error?.code, "ECONNREFUSED");
}

test("camp is another name of CAMP, and require gives the same", () => {
  assert.equal(product.camp, CAMP);
  const required = createRequire(import.meta.url)("camp-server");
  assert.equal(required.CAMP, CAMP);
  assert.equal(required.CAMPWebsocketServer, CAMPWebsocketServer);
});

test("CAMP returns the server itself at once", async (t) => {
  const server = CAMP(validator, { port: 0 });
  t.after(() => server.Destroy());
  assert.ok(server instanceof CAMPWebsocketServer);
  assert.ok(server instanceof EventEmitter);
  assert.equal(await server, server);
  await once(server, "listening");
});

test("listening is emitted later, also for listeners added after an await", async (t) => {
  for (const use of [(made) => made, async (made) => await made]) {
    const made = CAMP(validator, { port: 0 });
    t.after(() => made.Destroy());
    let early = false;
    made.on("listening", () => (early = true));
    assert.equal(early, false, "emitted inside CAMP()");
    const server = await use(made);
    await once(server, "listening");
    assert.ok(server.address().port > 0);
  }
});

test("listening is emitted once, and a session listener added there misses nothing", async (t) => {
  const server = CAMP(validator, { port: 0 });
  t.after(() => server.Destroy());
  let count = 0;
  const session = deferred();
  server.on("listening", () => {
    count++;
    server.on("session", session.resolve);
  });
  await once(server, "listening");
  const peer = await Peer.connect({ port: server.address().port });
  t.after(() => peer.terminate());
  assert.equal((await within(session.promise, 5000, "session")).sid, peer.sid);
  assert.equal(count, 1);
});

test("a port in use is an error event with the code EADDRINUSE", async (t) => {
  const server = CAMP(validator, { host: "127.0.0.1", port: await takenPort(t) });
  let listening = 0;
  server.on("listening", () => listening++);
  const [error] = await once(server, "error");
  assert.ok(error instanceof Error);
  assert.equal(error.code, "EADDRINUSE");
  await within(Promise.resolve(server.Destroy()), 5000, "Destroy() after a failed bind");
  assert.equal(listening, 0);
});

test("two servers of this product do not share a port by accident", async (t) => {
  const { port } = await startServer(t, { host: "127.0.0.1" });
  const second = CAMP(validator, { host: "127.0.0.1", port });
  const [error] = await once(second, "error");
  assert.equal(error.code, "EADDRINUSE");
  await second.Destroy();
});

test("a host that is not here is an error event", async (t) => {
  const server = CAMP(validator, { host: "203.0.113.77", port: 0 });
  t.after(() => server.Destroy());
  const [error] = await once(server, "error", 10_000);
  assert.equal(error.code, "EADDRNOTAVAIL");
});

test("Destroy says BYE to every session, closes it with 4000 and resolves", async (t) => {
  const { server, port } = await startServer(t);
  const events = [];
  server.on("session", (session) => events.push(record(session, ["closed"])));
  const pairs = await Promise.all(Array.from({ length: 5 }, () => openSession({ server, port })));
  await within(server.Destroy(), 10_000, "Destroy()");
  for (const { peer } of pairs) {
    assert.equal((await peer.closed).code, 4000);
    assert.equal(peer.frames.at(-1).type, "BYE");
    assert.equal(peer.frames.at(-1).reason, "Server shutdown.");
  }
  await eventually(() => events.every((list) => list.length > 0));
  assert.deepEqual(events, Array.from({ length: 5 }, () => [["closed"]]));
  await assertRefusesConnections(port);
});

test("Destroy sends what was sent before it", async (t) => {
  const { server, port } = await startServer(t);
  const { session, peer } = await openSession({ server, port });
  for (let i = 0; i < 100; i++) session.base.SendUTF8(String(i));
  session.base.SendBinary(Buffer.alloc(500_000));
  await within(server.Destroy(), 10_000, "Destroy()");
  await peer.closed;
  assert.equal(peer.of("UTF8DATA").length, 100);
  assert.equal(peer.of("BINARYDATA").length, 1);
});

test("Destroy may be called any number of times", async (t) => {
  const { server, port } = await startServer(t);
  const { peer } = await openSession({ server, port });
  await within(Promise.all([server.Destroy(), server.Destroy(), server.Destroy()]), 10_000, "three times Destroy()");
  await within(server.Destroy(), 5000, "Destroy() of a destroyed server");
  await peer.closed;
  assert.equal(peer.of("BYE").length, 1);
});

test("Destroy before listening leaves nothing behind", async () => {
  const server = CAMP(validator, { port: 0 });
  server.on("error", () => {});
  let sessions = 0;
  server.on("session", () => sessions++);
  await within(server.Destroy(), 10_000, "Destroy()");
  assert.equal(sessions, 0);
});

test("Destroy does not wait for half-made connections or a pending validate", async (t) => {
  const asked = deferred();
  const { server, port } = await startServer(t, {}, {
    validate: () => {
      asked.resolve();
      return new Promise(() => {});
    },
  });
  const silent = await rawSocket({ port });
  const pending = await rawSocket({ port });
  pending.write(upgradeHead({ port, target: target() }));
  await within(asked.promise, 5000, "validate");
  await within(server.Destroy(), 5000, "Destroy()");
  await Promise.all([connectionEnd(silent), connectionEnd(pending)]);
});

test("the port is free after Destroy", async (t) => {
  const { server, port } = await startServer(t, { host: "127.0.0.1" });
  const { peer } = await openSession({ server, port });
  await server.Destroy();
  await peer.closed;
  const { server: next } = await startServer(t, { host: "127.0.0.1", port });
  assert.equal(next.address().port, port);
});

test("several servers in one process are independent, also with the same sid", async (t) => {
  const one = await startServer(t);
  const two = await startServer(t);
  assert.notEqual(one.port, two.port);
  for (const { server } of [one, two]) echo(server);
  const a = await openSession(one, { sid: 1n });
  const b = await openSession(two, { sid: 1n });
  await one.server.Destroy();
  assert.equal((await a.peer.closed).code, 4000);
  await b.peer.echo("alive");
});

test("a server that was destroyed under load ends every session in order", async (t) => {
  const { server, port } = await startServer(t);
  echo(server);
  let closed = 0;
  server.on("session", (session) => session.on("closed", () => closed++));
  const pairs = await Promise.all(Array.from({ length: 20 }, () => openSession({ server, port })));
  const load = setInterval(() => {
    for (const { peer } of pairs) if (peer.isOpen) for (let i = 0; i < 20; i++) peer.sendText(`load ${i}`);
  }, 1);
  t.after(() => clearInterval(load));
  await Promise.all(pairs.map(({ peer }) => peer.until(() => peer.of("UTF8DATA").length > 50, 10_000)));
  await within(server.Destroy(), 15_000, "Destroy()");
  for (const { peer } of pairs) {
    assert.equal((await peer.closed).code, 4000);
    assert.equal(peer.frames.at(-1).type, "BYE");
  }
  await eventually(() => closed === 20);
});

test("sessions that come and go under load all end once", async (t) => {
  const { server, port } = await startServer(t);
  echo(server);
  let opened = 0;
  const closed = new Map();
  server.on("session", (session) => {
    opened++;
    session.on("closed", () => closed.set(session.sid, (closed.get(session.sid) ?? 0) + 1));
  });
  const ends = [
    (peer) => peer.terminate(),
    (peer) => peer.close(4000, "bye"),
    (peer) => peer.sendBye("bye"),
    (peer, session) => session.Close("enough"),
    (peer, session) => session.Destroy(4001, "out"),
    (peer, session) => {
      session.Close("race");
      peer.terminate();
    },
    (peer) => peer.sendTextMessage("violation"),
  ];
  for (let round = 0; round < 10; round++) {
    await Promise.all(ends.map(async (end) => {
      const { peer, session } = await openSession({ server, port });
      for (let i = 0; i < 20; i++) peer.sendText("x");
      end(peer, session);
      await within(peer.closed, 10_000, "close");
    }));
  }
  await eventually(() => closed.size === opened, 10_000);
  assert.equal(opened, 10 * ends.length);
  assert.deepEqual([...new Set(closed.values())], [1]);
});
