// How sessions with other servers live and end: with either server, with its process, and many at once.
import assert from "node:assert/strict";
import { Child } from "./support/child.mjs";
import { encode } from "./support/frames.mjs";
import { frameServer, info, letIn, openPeer, otherServer, readRequest } from "./support/other-server.mjs";
import { Peer } from "./support/peer.mjs";
import { CAMP } from "./support/product.mjs";
import { connectionEnd } from "./support/raw.mjs";
import { echo, record, rejection, startServer, validator } from "./support/server.mjs";
import { arrivedNumbers, numbered, outcomes, stall, tight } from "./support/stall.mjs";
import { MIB, payload, readAll, sha256 } from "./support/streams.mjs";
import { test } from "./support/test.mjs";
import { deferred, eventually, once, within } from "./support/wait.mjs";

const urlOf = ({ port }) => `ws://127.0.0.1:${port}`;
const BY_ITSELF = { code: 0, signal: null };

test("two hundred sessions at once, each with its own messages", async (t) => {
  const [near, far] = await Promise.all([startServer(t), startServer(t)]);
  echo(far.server);
  const sessions = await within(Promise.all(Array.from({ length: 200 }, () => near.server.ConnectPeer(urlOf(far), "T"))), 20_000, "200 sessions");
  assert.equal(new Set(sessions.map(({ sid }) => sid)).size, 200);
  await within(Promise.all(sessions.map(async (session, i) => {
    const back = once(session, "message-utf8", 20_000);
    await session.base.SendUTF8(`number ${i}`);
    assert.deepEqual(await back, [`number ${i}`]);
  })), 20_000, "200 echoes");
  assert.deepEqual([near.server.stats().peers, far.server.sessions.size], [200, 200]);
  await near.server.Destroy();
  await eventually(() => far.server.sessions.size === 0);
});

test("connecting and closing again and again leaves nothing behind", async (t) => {
  const [near, far] = await Promise.all([startServer(t), startServer(t)]);
  for (let round = 0; round < 100; round++) {
    const session = await near.server.ConnectPeer(urlOf(far), "T");
    await (round % 2 === 0 ? session.Close() : session.Destroy());
    assert.equal(near.server.sessions.size, 0);
  }
  await eventually(() => far.server.sessions.size === 0);
  assert.equal(near.server.stats().sessionsOpened, 100);
});

test("Destroy closes its sessions with other servers with BYE and 4000", async (t) => {
  const { server } = await startServer(t);
  const other = await frameServer(t);
  const { session, end } = await openPeer(server, other);
  const events = record(session);
  const destroyed = server.Destroy();
  const bye = await end.next(({ frame }) => frame?.type === "BYE");
  assert.equal(bye.frame.reason, "Server shutdown.");
  assert.deepEqual(await end.closed, { code: 4000, reason: "Server shutdown." });
  await destroyed;
  assert.deepEqual(events, [["connected"], ["closed"]]);
});

test("Drain waits for what was sent to other servers, then closes", async (t) => {
  const { server } = await startServer(t);
  const other = await frameServer(t);
  const { session, end } = await openPeer(server, other);
  const sent = session.base.SendUTF8("last words");
  const { frame } = await end.next(({ frame: got }) => got?.type === "UTF8DATA");
  let drained = false;
  const draining = server.Drain(10_000).then(() => (drained = true));
  assert.equal((await rejection(server.ConnectPeer(other.url, "T"))).code, "ERR_CAMP_SERVER_CLOSED");
  end.send(encode({ type: "PING_PONG", sid: end.sid, payload: "ping" }));
  await end.next(({ frame: got }) => got?.payload === "pong");
  assert.deepEqual([drained, end.messages.some(({ frame: got }) => got?.type === "BYE")], [false, false]);
  end.send(encode({ type: "ACK", sid: end.sid, ack: frame.ack }));
  await sent;
  assert.equal((await end.closed)?.code, 4000);
  await draining;
});

test("Destroy and Drain reject what is being connected, at every stage", async (t) => {
  for (const end of ["Destroy", "Drain"]) {
    const server = CAMP(validator, { port: 0 });
    await once(server, "listening");
    const reached = Array.from({ length: 3 }, deferred);
    const scripts = [
      (socket) => socket.once("data", reached[0].resolve),
      async (socket) => (await readRequest(socket), socket.write("HTTP/1.1 101"), reached[1].resolve()),
      async (socket) => (await (await letIn(socket)).next(({ frame }) => frame?.type === "ENDPOINT_INFO"), reached[2].resolve()),
    ];
    const others = await Promise.all(scripts.map((script) => otherServer(t, script)));
    // The last one is a session if this thread was busy for long: then its end is what counts.
    const attempts = others.map(({ url }) => server.ConnectPeer(url, "T").then((session) => once(session, "closed"), (error) => error));
    await within(Promise.all(reached.map(({ promise }) => promise)), 5000, "all stages");
    const sameTick = rejection(server.ConnectPeer(others[0].url, "T"));
    await within(server[end](), 5000, end);
    const [first, second, third] = await within(Promise.all(attempts), 5000, "their end");
    for (const error of [first, second, await sameTick]) assert.equal(error.code, "ERR_CAMP_SERVER_CLOSED", error.stack);
    assert.ok(Array.isArray(third) || third.code === "ERR_CAMP_SERVER_CLOSED", String(third));
    assert.equal((await rejection(server.ConnectPeer(others[0].url, "T"))).code, "ERR_CAMP_SERVER_CLOSED");
    for (const { sockets } of others) for (const socket of sockets) await connectionEnd(socket);
  }
});

test("a server that cannot listen ends its sessions and attempts with other servers", async (t) => {
  const busy = await startServer(t);
  const other = await otherServer(t, () => {});
  const server = CAMP(validator, { port: busy.port });
  const failed = new Promise((resolve) => server.once("error", resolve));
  const attempts = [server.ConnectPeer(urlOf(busy), "T"), server.ConnectPeer(other.url, "T")].map((promise) =>
    promise.then((session) => once(session, "closed"), (error) => assert.equal(error.code, "ERR_CAMP_SERVER_CLOSED")));
  assert.equal((await within(failed, 5000, "error")).code, "EADDRINUSE");
  await within(Promise.all(attempts), 5000, "their end");
  await server.Destroy();
  assert.equal((await rejection(server.ConnectPeer(urlOf(busy), "T"))).code, "ERR_CAMP_SERVER_CLOSED");
});

test("the other server's end is the session's end", async (t) => {
  const near = await startServer(t);
  const far = CAMP(validator, { port: 0 });
  await once(far, "listening");
  const session = await near.server.ConnectPeer(urlOf(far.address()), "T");
  const events = record(session);
  const closed = once(session, "closed");
  await far.Destroy();
  await closed;
  assert.deepEqual(events, [["connected"], ["closed"]]);
  assert.equal((await rejection(session.base.SendUTF8("x"))).code, "ERR_CAMP_SESSION_CLOSED");
});

test("a server that falls silent is given up after a ping, one that answers is not", async (t) => {
  const { server } = await startServer(t, { keepAliveIntervalMs: 1000 });
  const other = await frameServer(t);
  const silent = await openPeer(server, other);
  const lively = await openPeer(server, other);
  const answering = (async () => {
    for (let i = 0; i < 5; i++) {
      await lively.end.next(({ frame }) => frame?.payload === "ping");
      lively.end.send(encode({ type: "PING_PONG", sid: lively.end.sid, payload: "pong" }));
    }
  })();
  await once(silent.session, "closed");
  const bye = await silent.end.next(({ frame }) => frame?.type === "BYE");
  assert.match(bye.frame.reason, /not responding to ping/);
  await answering;
  assert.deepEqual([...server.sessions], [lively.session]);
});

test("a server that says nothing after the upgrade is a session, until a heartbeat ends it", async (t) => {
  const { server } = await startServer(t, { keepAliveIntervalMs: 600 });
  const other = await otherServer(t, (socket) => letIn(socket));
  const session = await server.ConnectPeer(other.url, "T");
  const events = record(session);
  await once(session, "closed");
  assert.deepEqual(events, [["closed"]]);
});

test("an ENDPOINT_INFO that comes late connects the session then", async (t) => {
  const { server } = await startServer(t);
  let end;
  const other = await otherServer(t, async (socket) => void (end = await letIn(socket)));
  const session = await server.ConnectPeer(other.url, "T");
  const events = record(session);
  const connected = once(session, "connected");
  end.send(info(end.sid));
  await connected;
  assert.deepEqual(events, [["connected"]]);
});

test("a server that does not read meets watermarks and drop policy", async (t) => {
  const { server } = await startServer(t, tight({ dropPolicy: "drop-newest", maxQueueCount: 3 }));
  const other = await frameServer(t);
  const { session, end } = await openPeer(server, other);
  const stopped = { pauseReading: () => end.socket.pause() };
  await stall(session, stopped);
  const fates = outcomes([0, 1, 2, 3, 4].map((i) => session.base.SendBinary(numbered(i))));
  await eventually(() => session.stats().messagesDropped >= 2);
  const arrived = { of: () => end.messages.filter(({ frame }) => frame?.type === "BINARYDATA").map(({ frame }) => frame) };
  end.socket.on("data", () => {
    for (const message of end.messages) {
      if (message.acked || message.frame?.type !== "BINARYDATA") continue;
      message.acked = true;
      end.send(encode({ type: "ACK", sid: end.sid, ack: message.frame.ack }));
    }
  });
  end.socket.resume();
  const settled = await fates;
  assert.deepEqual(settled.filter((fate) => fate === "ERR_CAMP_DROPPED").length, 5 - arrivedNumbers(arrived).length);
  assert.ok(settled.includes("sent") && settled.includes("ERR_CAMP_DROPPED"), settled.join());
});

test("servers in two processes: messages, streams both ways, and an exit of its own", async (t) => {
  const { server, port } = await startServer(t);
  const opened = once(server, "session");
  const child = Child.start(t, "peer-client.mjs", { url: urlOf({ port }), token: "T" });
  const { pid } = await child.report("connected");
  const [session] = await opened;
  const answer = once(session, "message-utf8");
  await session.base.SendUTF8("hello");
  assert.deepEqual(await answer, [`hello from ${pid}`]);

  const digests = [];
  session.on("message-binary", (data) => digests.push(sha256(data)));
  child.command("send", { count: 50, size: 100_000 });
  await child.report("sent");
  await eventually(() => digests.length === 50);
  assert.deepEqual(digests, Array.from({ length: 50 }, (_, i) => sha256(payload(100_000, i + 1))));

  for (const behaviour of ["push", "pull"]) {
    const size = 5 * MIB + 3;
    const incoming = session.transaction.WaitForStream("up", 10_000).then((readable) => {
      if (behaviour === "pull") readable.autoPull(256 * 1024);
      return readAll(readable);
    });
    child.command("stream", { streamName: "up", size, behaviour });
    const report = await child.report("streamed");
    assert.equal(sha256(await incoming), report.sha256, behaviour);
    child.command("receive", { streamName: "down" });
    const data = payload(size, 9);
    await session.transaction.Stream(data, { streamName: "down", behaviour });
    assert.equal((await child.report("received")).sha256, sha256(data), behaviour);
  }

  const closed = once(session, "closed");
  child.command("destroy");
  await child.report("destroyed");
  await closed;
  assert.deepEqual(await child.exit(), BY_ITSELF);
});

test("a process that is killed ends its session at the other server", async (t) => {
  const { server, port } = await startServer(t);
  const opened = once(server, "session");
  const child = Child.start(t, "peer-client.mjs", { url: urlOf({ port }), token: "T" });
  await child.report("connected");
  const [session] = await opened;
  const closed = once(session, "closed");
  await child.kill();
  await closed;
});

test("a process whose attempts fail, or are under way when it destroys its server, exits by itself", async (t) => {
  const silent = await otherServer(t, () => {});
  const arrived = silent.connection();
  const child = Child.start(t, "peer-client.mjs", { url: silent.url, token: "T" });
  await arrived;
  child.command("destroy");
  assert.equal((await child.report("failed")).code, "ERR_CAMP_SERVER_CLOSED");
  await child.report("destroyed");
  assert.deepEqual(await child.exit(), BY_ITSELF);
});

test("debug output tells of attempts, and never the token", async (t) => {
  const { server, port } = await startServer(t, {}, { validate: (token) => token === "very-secret" });
  for (const token of ["very-secret", "very-secret-but-wrong"]) {
    const child = Child.start(t, "peer-client.mjs", { url: urlOf({ port }), token }, { env: { DEBUG: "CAMP_SERVER,CAMP_SERVER_SESSION" } });
    await child.report(token === "very-secret" ? "connected" : "failed");
    child.command("destroy");
    await child.exit();
    assert.match(child.stderr, new RegExp(`^CAMP_SERVER connecting to ws://127\\.0\\.0\\.1:${port}$`, "m"));
    assert.match(child.stderr, token === "very-secret" ? /^CAMP_SERVER session \d+ with ws:.* opened$/m : /^CAMP_SERVER cannot connect to ws:.*401/m);
    assert.doesNotMatch(child.stderr, /very-secret/);
  }
  assert.equal(server.stats().refused, 1);
});

test("clients of a server do not notice its attempts to connect", async (t) => {
  const near = await startServer(t);
  echo(near.server);
  const client = await Peer.connect({ port: near.port });
  await client.ready();
  const stuck = await otherServer(t, () => {});
  const attempts = Array.from({ length: 50 }, () => rejection(near.server.ConnectPeer(stuck.url, "T", { timeoutMs: 300 })));
  for (let i = 0; i < 20; i++) await client.echo(`message ${i}`);
  for (const error of await Promise.all(attempts)) assert.equal(error.code, "ERR_CAMP_TIMEOUT");
});
