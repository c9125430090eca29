// Sessions between two servers of ours.
import assert from "node:assert/strict";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { WebSocketServer } from "ws";
import { KINDS, RECEIVE, SEND, payload as messageOf, send } from "./support/extensions.mjs";
import { MAX_PAYLOAD, decode, encode } from "./support/frames.mjs";
import { info, letIn, otherServer, readRequest, switching } from "./support/other-server.mjs";
import { Peer, RawPeer, Refused } from "./support/peer.mjs";
import { CAMP, CAMPServerWebsocketSession } from "./support/product.mjs";
import { echo, record, rejection, startServer } from "./support/server.mjs";
import { MIB, assertSameBytes, payload, readAll } from "./support/streams.mjs";
import { test } from "./support/test.mjs";
import { eventually, once, within } from "./support/wait.mjs";

const urlOf = ({ port }) => `ws://127.0.0.1:${port}`;

/** Two servers, `near` with a session to `far`: `[near's end, far's end]`. */
async function openBetween(near, far) {
  const accepted = once(far.server, "session");
  const session = await near.server.ConnectPeer(urlOf(far), "T");
  return [session, (await accepted)[0]];
}

async function startTwo(t, nearOptions, farOptions) {
  const [near, far] = await Promise.all([startServer(t, nearOptions), startServer(t, farOptions)]);
  return { near, far, ends: await openBetween(near, far) };
}

test("ConnectPeer gives a session like any other, of type peer", async (t) => {
  const { near, far, ends: [session, accepted] } = await startTwo(t);
  assert.ok(session instanceof CAMPServerWebsocketSession);
  assert.equal(session.sid, accepted.sid);
  assert.deepEqual([session.Get("__TYPE"), session.Get("__TOKEN")], ["peer", "T"]);
  assert.deepEqual([accepted.Get("__TYPE"), accepted.Get("__TOKEN")], ["client", "T"]);
  assert.deepEqual([...near.server.sessions], [session]);
  assert.deepEqual([...far.server.sessions], [accepted]);
});

test("interim answers in front of the upgrade are passed over, however they are cut", async (t) => {
  const { server } = await startServer(t);
  const interim = [
    "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 102 Processing\r\nX: y\r\n\r\n", "HTTP/1.1 199\r\n\r\n",
    "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 5\r\n\r\n",
  ];
  for (const answers of [...interim.map((answer) => [answer]), interim, Array(32).fill(interim[0])]) {
    for (const whole of [true, false]) {
      const other = await otherServer(t, async (socket) => {
        const request = await readRequest(socket);
        const text = answers.join("") + switching(request.key);
        const length = whole ? text.length : 7;
        for (let at = 0; at < text.length; at += length) await new Promise((resolve) => socket.write(text.slice(at, at + length), resolve));
        const sid = BigInt(request.query.find(([name]) => name === "x-camp-sid")[1]);
        new RawPeer({ socket, rest: request.rest }, { sid, masks: false }).send(info(sid));
      });
      const session = await server.ConnectPeer(other.url, "T");
      await session.Destroy();
    }
  }
});

test("an answer may have as many header fields as Node takes", async (t) => {
  const { server } = await startServer(t);
  const other = await otherServer(t, async (socket) => {
    const end = await letIn(socket, { fields: { X: Array(1900).fill("") } });
    end.send(info(end.sid));
  });
  await server.ConnectPeer(other.url, "T");
});

test("sessions with other servers do not count against maxConnections of http_server or of the server", async (t) => {
  const near = await startServer(t, { maxConnections: 1 });
  const far = await startServer(t);
  near.server.http_server.maxConnections = 1;
  let dropped = 0;
  near.server.http_server.on("drop", () => dropped++);
  for (let i = 0; i < 3; i++) await openBetween(near, far);
  const peer = await Peer.connect(near);
  await peer.ready();
  assert.equal(dropped, 0);
});

test("messages of every kind and size go both ways, acknowledged", async (t) => {
  const { ends } = await startTwo(t);
  for (const [from, to] of [ends, ends.toReversed()]) {
    for (const kind of KINDS) {
      const received = once(to, `message-${kind}`);
      await send(from, kind, `some ${kind}`);
      assert.deepEqual(await received, [messageOf(kind, `some ${kind}`)]);
    }
    for (const size of [0, 1, 125, 126, 65_535, 65_536, MAX_PAYLOAD]) {
      const data = payload(size);
      const received = once(to, "message-binary");
      await from.base.SendBinary(data);
      assertSameBytes((await received)[0], data);
    }
    await from.base.Ping();
  }
});

test("thousands of messages each way at once keep their order", async (t) => {
  const { ends: [session, accepted] } = await startTwo(t);
  const count = 5000;
  const inOrder = (end) => new Promise((resolve, reject) => {
    let next = 0;
    end.on("message-utf8", (text) => {
      if (text !== String(next++)) reject(new Error(`${text} instead of ${next - 1}`));
      if (next === count) resolve();
    });
  });
  const received = Promise.all([inOrder(session), inOrder(accepted)]);
  const sent = [];
  for (let i = 0; i < count; i++) sent.push(session.base.SendUTF8(String(i)), accepted.base.SendUTF8(String(i)));
  await within(Promise.all([received, ...sent]), 20_000, "all messages");
});

test("a listener added right after the await misses nothing", async (t) => {
  const far = await startServer(t);
  const near = await startServer(t);
  far.server.on("session", (session) => {
    void session.base.SendUTF8("first");
    void session.base.SendBinary(Buffer.from("second"));
    session.on("connected", () => void session.Close("enough"));
  });
  const session = await near.server.ConnectPeer(urlOf(far), "T");
  const events = record(session);
  await once(session, "closed");
  assert.deepEqual(events, [["connected"], ["message-utf8", "first"], ["message-binary", Buffer.from("second")], ["closed"]]);
});

test("nor when the other server's first frames come in one piece with its answer", async (t) => {
  const near = await startServer(t);
  const other = await otherServer(t, (socket) => letIn(socket, {
    trailing: (sid) => Buffer.concat([info(sid), encode({ type: "UTF8DATA", sid, ack: 1, text: "early" })].flatMap((frame) => [Buffer.of(0x82, frame.length), frame])),
  }));
  const session = await near.server.ConnectPeer(other.url, "T");
  const events = record(session);
  await once(session, "message-utf8");
  assert.deepEqual(events, [["connected"], ["message-utf8", "early"]]);
});

test("a server that sends a message before its ENDPOINT_INFO is one of CAMP too", async (t) => {
  const near = await startServer(t);
  const other = await otherServer(t, async (socket) => {
    const end = await letIn(socket);
    end.send(encode({ type: "UTF8DATA", sid: end.sid, ack: 0, text: "hasty" }));
    end.send(info(end.sid));
  });
  const session = await near.server.ConnectPeer(other.url, "T");
  const events = record(session);
  await once(session, "connected");
  assert.deepEqual(events, [["message-utf8", "hasty"], ["connected"]]);
});

test("the session event is not emitted for it; diagnostics tell of both ends", async (t) => {
  const told = [];
  const listeners = ["session", "closed"].map((name) => [`camp-server:${name}`, ({ server, session }) => told.push([name, server, session])]);
  for (const listener of listeners) subscribe(...listener);
  t.after(() => listeners.forEach((listener) => unsubscribe(...listener)));
  const near = await startServer(t);
  near.server.on("session", () => assert.fail("a session event"));
  const far = await startServer(t);
  const [session, accepted] = await openBetween(near, far);
  const closed = Promise.all([once(session, "closed"), once(accepted, "closed")]);
  await session.Close("done");
  await closed;
  const of = (server, end) => told.filter((entry) => entry[1] === server && entry[2] === end).map(([name]) => name);
  assert.deepEqual(of(near.server, session), ["session", "closed"]);
  assert.deepEqual(of(far.server, accepted), ["session", "closed"]);
});

for (const kind of KINDS) {
  test(`all hooks of both servers see and change what passes: ${kind}`, async (t) => {
    const { near, far, ends: [session, accepted] } = await startTwo(t);
    const seen = [];
    for (const [place, { server }, end] of [["near", near, session], ["far", far, accepted]]) {
      const hook = (name) => async (of, box) => {
        assert.equal(of, end);
        seen.push(`${place} ${name}`);
        box.value = messageOf(kind, `${box.value} ${place} ${name}`);
        return true;
      };
      server.RegisterExtension({ name: "x", [SEND[kind]]: hook("send"), [RECEIVE[kind]]: hook("receive") });
    }
    const there = once(accepted, `message-${kind}`);
    await send(session, kind, "a");
    assert.equal(String((await there)[0]), "a near send far receive");
    const back = once(session, `message-${kind}`);
    await send(accepted, kind, "b");
    assert.equal(String((await back)[0]), "b far send near receive");
    assert.deepEqual(seen, ["near send", "far receive", "far send", "near receive"]);
  });
}

test("a hook that is registered when the first message comes with the greeting is run", async (t) => {
  const near = await startServer(t);
  const far = await startServer(t);
  far.server.on("session", (session) => void session.base.SendUTF8("hello"));
  near.server.RegisterExtension({ name: "x", on_receive_utf8: (_session, box) => (box.value += "!", true) });
  const session = await near.server.ConnectPeer(urlOf(far), "T");
  assert.deepEqual(await once(session, "message-utf8"), ["hello!"]);
});

for (const behaviour of ["push", "pull"]) {
  test(`streams go both ways, several at once: ${behaviour}`, async (t) => {
    const { ends } = await startTwo(t);
    const transfers = [];
    for (const [from, to] of [ends, ends.toReversed()]) {
      for (const [i, size] of [0, 1, 3 * MIB + 17].entries()) {
        const data = payload(size, i + 1);
        const name = `${behaviour} ${i}`;
        const received = to.transaction.WaitForStream(name, 10_000).then((readable) => {
          if (behaviour === "pull") readable.autoPull(300_000);
          return readAll(readable);
        });
        transfers.push(received.then((got) => assertSameBytes(got, data, name)), from.transaction.Stream(data, { streamName: name, behaviour }));
      }
    }
    await within(Promise.all(transfers), 20_000, "all streams");
  });
}

test("Close at either end sends BYE and closes both with 4000", async (t) => {
  const codes = [];
  const listener = ({ code, reason }) => codes.push([code, reason]);
  subscribe("camp-server:closed", listener);
  t.after(() => unsubscribe("camp-server:closed", listener));
  const [near, far] = await Promise.all([startServer(t), startServer(t)]);
  for (const which of [0, 1]) {
    const ends = await openBetween(near, far);
    const events = ends.map((end) => record(end, ["closed"]));
    const closed = Promise.all(ends.map((end) => once(end, "closed")));
    await ends[which].Close("that is it");
    await closed;
    assert.deepEqual(events, [[["closed"]], [["closed"]]]);
  }
  assert.deepEqual(codes, Array.from({ length: 4 }, () => [4000, "that is it"]));
  assert.deepEqual([near.server.sessions.size, far.server.sessions.size], [0, 0]);
});

test("a server may connect to itself, and may have several sessions with the same other", async (t) => {
  const running = await startServer(t);
  echo(running.server);
  const sessions = await Promise.all([1, 2, 3].map(() => running.server.ConnectPeer(urlOf(running), "T")));
  assert.equal(new Set(sessions.map(({ sid }) => sid)).size, 3);
  for (const session of sessions) {
    const back = once(session, "message-utf8");
    await session.base.SendUTF8("to myself");
    assert.deepEqual(await back, ["to myself"]);
  }
  assert.deepEqual([running.server.sessions.size, running.server.stats().peers], [6, 3]);
});

test("figures count it, maxConnections and getConnections do not", async (t) => {
  const { near, far } = await startTwo(t, { maxConnections: 1 });
  const figures = ({ server }) => (({ sessions, peers, sessionsOpened, refused }) => [sessions, peers, sessionsOpened, refused])(server.stats());
  assert.deepEqual(figures(near), [1, 1, 1, 0]);
  assert.deepEqual(figures(far), [1, 0, 1, 0]);
  assert.match(near.server.metrics(), /^camp_peers 1$/m);
  assert.equal(await new Promise((resolve) => near.server.http_server.getConnections((_error, count) => resolve(count))), 0);
  const client = await Peer.connect({ port: near.port });
  await client.ready();
  await assert.rejects(Peer.connect({ port: near.port }), (error) => error instanceof Refused && error.status === 503);
  const more = await near.server.ConnectPeer(urlOf(far), "T");
  assert.deepEqual(figures(near), [3, 2, 3, 1]);
  await more.Close();
  await eventually(() => near.server.stats().peers === 1);
});

test("the request names the sid under both spellings, the token and the subprotocol", async (t) => {
  const near = await startServer(t);
  const requests = [];
  const other = await otherServer(t, async (socket) => {
    requests.push(await readRequest(socket));
    socket.end("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
  });
  const token = "a b+c/d&e=f#ü\"%";
  await rejection(near.server.ConnectPeer(other.url, token));
  await rejection(near.server.ConnectPeer(new URL(`${other.url}/some/path?room=1`), ""));
  const [first, second] = requests;
  const { pathname, searchParams } = new URL(first.target, "ws://x");
  assert.equal(pathname, "/");
  assert.deepEqual([...searchParams.keys()], ["authorization", "x-camp-sid", "x-CAMP-sid"]);
  assert.equal(searchParams.get("authorization"), `Bearer ${token}`);
  assert.doesNotMatch(first.target, /[+]/, "a space may be a plus for some servers only");
  assert.match(searchParams.get("x-camp-sid"), /^\d{1,20}$/);
  assert.equal(searchParams.get("x-CAMP-sid"), searchParams.get("x-camp-sid"));
  const { host, upgrade, connection, key, ...rest } = { ...first.headers, key: first.key };
  assert.deepEqual([host, upgrade, connection, rest["sec-websocket-version"], rest["sec-websocket-protocol"]], [`127.0.0.1:${other.port}`, "websocket", "Upgrade", "13", "camp"]);
  assert.equal(Buffer.from(key, "base64").length, 16);
  assert.match(second.line, /^GET \/some\/path\?room=1&authorization=Bearer%20&x-camp-sid=\d+&x-CAMP-sid=\d+ HTTP\/1\.1$/);
  assert.notEqual(second.key, first.key);
});

test("the answer may name the subprotocol or none", async (t) => {
  const near = await startServer(t);
  for (const protocol of [null, "camp"]) {
    const other = await otherServer(t, async (socket) => {
      const end = await letIn(socket, { fields: { "Sec-WebSocket-Protocol": protocol } });
      end.send(info(end.sid));
    });
    const session = await near.server.ConnectPeer(other.url, "T");
    await once(session, "connected");
  }
});

test("a server on another implementation of WebSocket, as published ones are, takes it", async (t) => {
  const near = await startServer(t);
  const other = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  t.after(() => (other.clients.forEach((client) => client.terminate()), other.close()));
  await once(other, "listening");
  const types = [];
  other.on("connection", (socket, request) => {
    const sid = BigInt(new URL(request.url, "ws://x").searchParams.get("x-CAMP-sid"));
    assert.equal(socket.protocol, "camp");
    socket.send(info(sid));
    socket.on("message", (data) => {
      const frame = decode(data);
      types.push(frame.type);
      if (frame.type === "ENDPOINT_INFO" || frame.type === "BINARYDATA") socket.send(encode({ type: "ACK", sid, ack: frame.ack }));
      if (frame.type === "BINARYDATA") socket.send(encode({ type: "BINARYDATA", sid, ack: 1, data: frame.data }));
    });
  });
  const session = await near.server.ConnectPeer(urlOf(other.address()), "T");
  const back = once(session, "message-binary");
  const data = payload(MAX_PAYLOAD);
  await session.base.SendBinary(data);
  assertSameBytes((await back)[0], data);
  await session.Close("bye");
  assert.deepEqual([types[0], types.at(-1)], ["ENDPOINT_INFO", "BYE"]);
});

test("a server need not listen yet to connect to another", async (t) => {
  const far = await startServer(t);
  const server = CAMP({ validate: () => true }, { port: 0 });
  t.after(() => server.Destroy());
  const session = await server.ConnectPeer(urlOf(far), "T");
  await session.base.SendUTF8("early");
});

test("IPv6 addresses and names work", async (t) => {
  const near = await startServer(t);
  const hosts = ["localhost", "127.0.0.1"];
  const six = await otherServer(t, () => {}, { host: "::1" }).then(() => true, () => false);
  if (six) hosts.push("[::1]");
  for (const host of hosts) {
    const session = await near.server.ConnectPeer(`ws://${host}:${near.port}`, "T");
    await once(session, "connected");
  }
});
