// What `AsyncLocalStorage` holds in everything that is called for a session, a request, or the server.
import assert from "node:assert/strict";
import { AsyncLocalStorage, executionAsyncId } from "node:async_hooks";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { once as onceOf } from "node:events";
import http from "node:http";
import net from "node:net";
import { encode } from "./support/frames.mjs";
import { Peer, freshSid } from "./support/peer.mjs";
import { RawPeer, wsFrame } from "./support/raw.mjs";
import { TOKEN, once, openSession, startServer, validator } from "./support/server.mjs";
import { sendChunk, sendFinish, sendPush } from "./support/streams.mjs";
import { test } from "./support/test.mjs";
import { deferred, eventually, within } from "./support/wait.mjs";

const als = new AsyncLocalStorage();

/** A server that was made in the context "server". */
const startInside = (t, options, tokenValidator) => als.run("server", () => startServer(t, options, tokenValidator));

/** A session whose messages tell what they are received in: `[[text, context], ...]`. */
async function openTelling(running, sid = freshSid()) {
  const seen = [];
  const pair = await openSession(running, { sid }, (session) => {
    session.on("message-utf8", (text) => {
      seen.push([text, als.getStore()]);
      if (text.startsWith("enter ")) als.enterWith(text.slice(6));
    });
  });
  return { ...pair, seen, say: (text) => pair.peer.acked(pair.peer.sendText(text)).then(() => eventually(() => seen.some(([heard]) => heard === text))) };
}

test("what a listener enters is that session's from then on, and nobody else's", async (t) => {
  const running = await startServer(t);
  const [a, b] = [await openTelling(running), await openTelling(running)];
  await b.say("before");
  await a.say("enter alice");
  await b.say("after");
  await b.say("enter bob");
  await a.say("again");
  await b.say("again");
  const c = await openTelling(running);
  await c.say("new");
  assert.deepEqual(a.seen, [["enter alice", undefined], ["again", "alice"]]);
  assert.deepEqual(b.seen, [["before", undefined], ["after", undefined], ["enter bob", undefined], ["again", "bob"]]);
  assert.deepEqual(c.seen, [["new", undefined]]);
});

test("it is so too for messages that are handed out together", async (t) => {
  const running = await startServer(t);
  const seen = new Map();
  running.server.on("session", (session) => {
    seen.set(session.sid, []);
    session.on("message-utf8", (text) => {
      seen.get(session.sid).push(als.getStore());
      if (text !== "") als.enterWith(text);
    });
  });
  const peers = await Promise.all(Array.from({ length: 5 }, () => RawPeer.connect({ port: running.port, sid: freshSid() })));
  const texts = ["", "1", "", "", "2", ""];
  for (const { socket, sid } of peers) {
    const frames = [{ type: "ENDPOINT_INFO", ack: 0, version: 1, features: 1n }, ...texts.map((text, i) => ({ type: "UTF8DATA", ack: i + 1, text: text && `${sid} ${text}` }))];
    socket.write(Buffer.concat(frames.map((frame) => wsFrame({ payload: encode({ sid, ...frame }) }))));
  }
  await eventually(() => peers.every(({ sid }) => seen.get(sid)?.length === texts.length));
  for (const { sid } of peers) assert.deepEqual(seen.get(sid), [undefined, undefined, `${sid} 1`, `${sid} 1`, `${sid} 1`, `${sid} 2`]);
});

test("an event of a session begins in the context that CAMP() was called in, whatever event it is", async (t) => {
  const seen = {};
  const running = await startInside(t);
  const see = (name) => void (seen[name] = als.getStore());
  const onChannel = (_message, name) => see(name);
  for (const name of ["session", "closed"]) {
    subscribe(`camp-server:${name}`, onChannel);
    t.after(() => unsubscribe(`camp-server:${name}`, onChannel));
  }
  const { session, peer } = await openSession(running, {}, (opened) => {
    see("session");
    for (const name of ["connected", "message-utf8", "message-binary", "message-error", "closed"]) opened.on(name, () => see(name));
    for (const name of ["tx-start", "tx-chunk", "tx-finish"]) opened.transaction.on(name, () => see(name));
  });
  peer.sendText("é");
  peer.sendBinary([1]);
  peer.sendError("x");
  await sendPush(peer, { name: "up", data: Buffer.alloc(100_000) });
  const stream = await als.run("reader", () => session.transaction.WaitForStream("up"));
  for (const name of ["end", "close"]) stream.on(name, () => see(name));
  await als.run("reader", () => stream.toArray());
  await session.Close();
  await eventually(() => "closed" in seen && "camp-server:closed" in seen);
  const { end, close, ...others } = seen;
  assert.deepEqual(Object.keys(others).sort(), [
    "camp-server:closed", "camp-server:session", "closed", "connected", "message-binary", "message-error", "message-utf8", "session", "tx-chunk", "tx-finish", "tx-start",
  ]);
  assert.deepEqual([...new Set(Object.values(others))], ["server"]);
  assert.ok([end, close].every((store) => store === "server" || store === "reader"), `${end}, ${close}`);
});

test("a stream's data are told in the context of its session, when they come while somebody listens", async (t) => {
  const running = await startInside(t);
  const { session, peer } = await openSession(running);
  peer.sendTxStart({ size: 4n, name: "up" });
  const stream = await session.transaction.WaitForStream("up");
  const seen = [];
  als.run("listener", () => stream.on("data", () => seen.push(als.getStore())));
  await new Promise(setImmediate);
  for (let i = 0; i < 4; i++) {
    sendChunk(peer, 0, i, Buffer.from([i]));
    await eventually(() => seen.length === i + 1);
  }
  sendFinish(peer, 0);
  assert.deepEqual(seen, ["server", "server", "server", "server"]);
});

test("validate is called in a context of its own each time, and so is what it listens to", async (t) => {
  const seen = [];
  const hanging = deferred();
  const running = await startInside(t, {}, {
    async validate(token, request) {
      seen.push(als.getStore());
      als.enterWith(`of ${request.sid}`);
      if (token !== TOKEN) {
        request.signal.addEventListener("abort", () => hanging.resolve(als.getStore()));
        await hanging.promise;
      }
      await new Promise(setImmediate);
      seen.push(als.getStore());
      return true;
    },
  });
  const [a, b] = [await openTelling(running), await openTelling(running)];
  assert.deepEqual(seen, ["server", `of ${a.peer.sid}`, "server", `of ${b.peer.sid}`]);
  await a.say("x");
  assert.deepEqual(a.seen, [["x", "server"]]);
  const sid = freshSid();
  const gone = Peer.connect({ port: running.port, sid, token: "other" });
  gone.catch(() => {});
  await eventually(() => seen.length === 5);
  (await import("./support/raw.mjs")).destroySockets(running.port);
  (await import("./support/peer.mjs")).terminatePeers(running.port);
  assert.equal(await within(hanging.promise, 5000, "the signal"), `of ${sid}`);
});

test("events of the server are told in its own context", async (t) => {
  const seen = {};
  const running = await startInside(t);
  const { server } = running;
  const told = (name) => new Promise((resolve) => server.once(name, () => {
    seen[name] = als.getStore();
    als.enterWith("left behind");
    resolve();
  }));
  server.RegisterExtension({ name: "faulty", on_receive_binary() { throw new Error("hook"); } });
  const a = await openTelling(running);
  const failed = told("extension-error");
  a.peer.sendBinary([1]);
  await failed;
  server.removeAllListeners("listener-error");
  const faulty = told("listener-error");
  a.session.on("message-error", () => { als.enterWith("in the listener"); throw new Error("listener"); });
  a.peer.sendError("x");
  await faulty;
  const rejecting = told("listener-error");
  a.session.removeAllListeners("message-error");
  a.session.on("message-error", async () => { await new Promise(setImmediate); throw new Error("listener"); });
  a.peer.sendError("x");
  await rejecting;
  assert.deepEqual(Object.keys(seen).sort(), ["extension-error", "listener-error"]);
  assert.equal(seen["extension-error"], "server");
  const b = await openTelling(running);
  await b.say("x");
  assert.deepEqual(b.seen, [["x", "server"]]);
});

test("listening, and the error of a port in use, are told in the context that CAMP() was called in", async (t) => {
  const { CAMP } = await import("./support/product.mjs");
  const taken = await startInside(t);
  const listening = als.run("first", () => CAMP(validator, { port: 0 }));
  const failing = als.run("second", () => CAMP(validator, { port: taken.port }));
  t.after(() => Promise.all([listening.Destroy(), failing.Destroy()]));
  const seen = [];
  await Promise.all([
    new Promise((resolve) => listening.on("listening", () => resolve(seen.push(als.getStore())))),
    new Promise((resolve) => listening.http_server.on("listening", () => resolve(seen.push(als.getStore())))),
    new Promise((resolve) => failing.on("error", () => resolve(seen.push(als.getStore())))),
  ]);
  assert.deepEqual(seen.sort(), ["first", "first", "second"]);
});

test("hooks run in the context of the session, also when they wait for each other, and for what comes from elsewhere", async (t) => {
  const running = await startInside(t);
  const seen = [];
  const hook = (name) => async function hooked(session) {
    const before = als.getStore();
    await new Promise(setImmediate);
    seen.push([name, session.sid, before, als.getStore()]);
    return true;
  };
  for (const name of ["first", "second"]) {
    running.server.RegisterExtension({ name, before_send_utf8: hook(name), on_receive_utf8: hook(name) });
  }
  const [a, b] = [await openTelling(running), await openTelling(running)];
  await a.say("enter alice");
  seen.length = 0;
  const sent = ["one", "two"].map((caller) => als.run(caller, async () => {
    await Promise.all([a.session.base.SendUTF8(caller), b.session.base.SendUTF8(caller)]);
    return als.getStore();
  }));
  assert.deepEqual(await Promise.all(sent), ["one", "two"], "who waits for a send waits in a context of its own");
  assert.equal(seen.length, 8);
  for (const [name, sid, before, after] of seen) {
    const context = sid === a.session.sid ? "alice" : "server";
    assert.deepEqual([before, after], [context, context], name);
  }
  await a.say("x");
  await b.say("x");
  assert.deepEqual([a.seen.at(-1), b.seen.at(-1)], [["x", "alice"], ["x", "server"]]);
});

test("what a hook enters is its session's, and nobody else's", async (t) => {
  const running = await startInside(t);
  const [a, b] = [await openTelling(running), await openTelling(running)];
  running.server.RegisterExtension({ name: "enters", on_receive_utf8(session) {
    if (session === a.session) als.enterWith("alice");
    return true;
  } });
  await a.say("x");
  await b.say("x");
  assert.deepEqual([a.seen, b.seen], [[["x", "alice"]], [["x", "server"]]]);
});

test("a session that ConnectPeer opens has the context of its caller", async (t) => {
  const [near, far] = [await startInside(t), await startServer(t)];
  const accepted = once(far.server, "session");
  const session = await als.run("caller", () => near.server.ConnectPeer(`ws://127.0.0.1:${far.port}`, TOKEN));
  const [other] = await accepted;
  const seen = [];
  session.on("message-utf8", () => {
    seen.push(als.getStore());
    als.enterWith("entered");
  });
  session.on("closed", () => seen.push(als.getStore()));
  await other.base.SendUTF8("x");
  await eventually(() => seen.length === 1);
  const a = await openTelling(near);
  await a.say("x");
  await session.Close();
  assert.deepEqual([seen, a.seen], [["caller", "entered"], [["x", "server"]]]);
});

test("a source is read, and let go of, in the context of who streams it, whoever ends the session", async (t) => {
  const running = await startInside(t);
  const { session, peer } = await openSession(running);
  const seen = [];
  const released = deferred();
  const source = {
    [Symbol.asyncIterator]() { return this; },
    async next() {
      seen.push(als.getStore());
      return { done: false, value: Buffer.alloc(400_000) };
    },
    async return() { released.resolve(als.getStore()); },
  };
  als.run("streamer", () => session.transaction.Stream(source));
  await peer.next("TX_CHUNK");
  await eventually(() => seen.length > 1);
  peer.terminate();
  assert.equal(await within(released.promise, 5000, "the source's end"), "streamer");
  assert.deepEqual([...new Set(seen)], ["streamer"]);
});

test("each session has an execution of its own for monitoring tools", async (t) => {
  const running = await startServer(t);
  const ids = new Map();
  running.server.on("session", (session) => session.on("message-utf8", () => ids.set(session.sid, executionAsyncId())));
  for (let i = 0; i < 3; i++) {
    const { peer } = await openSession(running);
    await peer.acked(peer.sendText("x"));
  }
  await eventually(() => ids.size === 3);
  assert.equal(new Set([...ids.values(), executionAsyncId()]).size, 4);
});

/**
 * What the callbacks of three requests see, two of them on one connection: `[callback, path, context]`. The body's
 * second half is sent once the first has been read, so that it comes by itself.
 */
async function httpContexts(t, server, port, listen) {
  const seen = [];
  let onFirst;
  server.on("request", (req, res) => {
    const see = (name) => void seen.push([name, req.url, als.getStore()]);
    see("request");
    listen(req.url, () => {
      req.on("data", (data) => (String(data) === "first" ? onFirst() : see("data")));
      req.on("end", () => { see("end"); res.end(req.url === "/large" ? Buffer.alloc(4_000_000) : "x"); });
      res.on("finish", () => see("finish"));
    });
  });
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  t.after(() => agent.destroy());
  for (const path of ["/first", "/large", "/other"]) {
    const answer = deferred();
    const request = http.request(
      { host: "127.0.0.1", port, path, method: "POST", agent: path === "/other" ? false : agent },
      (res) => res.resume().on("end", answer.resolve),
    );
    onFirst = () => request.end("second");
    request.write("first");
    await within(answer.promise, 10_000, path);
    await eventually(() => seen.some(([name, url]) => name === "finish" && url === path));
  }
  return seen;
}

test("requests are handled in the contexts in which Node's own server handles them", async (t) => {
  const node = http.createServer();
  t.after(() => node.close());
  await als.run("server", () => onceOf(node.listen(0, "127.0.0.1"), "listening"));
  const ours = await startInside(t);
  const expected = await httpContexts(t, node, node.address().port, als.run.bind(als));
  assert.deepEqual(await httpContexts(t, ours.server.http_server, ours.port, als.run.bind(als)), expected);
});

test("what the listener of one request enters is never seen on another connection", async (t) => {
  const { server, port } = await startInside(t);
  const enter = (path, listen) => {
    als.enterWith(path);
    listen();
  };
  for (const [name, path, context] of await httpContexts(t, server.http_server, port, enter)) {
    const others = path === "/other" ? ["/first", "/large"] : ["/other"];
    assert.ok(!others.includes(context), `${name} of ${path}: ${context}`);
  }
});

test("a socket handed to a listener of upgrade has a context of its own", async (t) => {
  const running = await startInside(t);
  const seen = [];
  running.server.http_server.on("upgrade", (req, socket) => {
    seen.push(["upgrade", req.url, als.getStore()]);
    socket.on("data", (data) => {
      seen.push([String(data), req.url, als.getStore()]);
      als.enterWith(`of ${req.url}`);
      socket.write(data);
    });
    socket.on("end", () => socket.end());
    socket.on("close", () => seen.push(["close", req.url, als.getStore()]));
    socket.write("HTTP/1.1 101 Switching Protocols\r\n\r\n");
  });
  const clients = [];
  for (const url of ["/a", "/b"]) {
    const client = net.connect(running.port, "127.0.0.1");
    t.after(() => client.destroy());
    client.write(`GET ${url} HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n`);
    await within(onceOf(client, "data"), 5000, "the answer");
    clients.push(client);
  }
  for (const text of ["1", "2"]) {
    for (const client of clients) {
      client.write(text);
      await within(onceOf(client, "data"), 5000, "the echo");
    }
  }
  const [a, b] = ["/a", "/b"].map((url) => seen.filter((line) => line[1] === url));
  assert.deepEqual(a, [["upgrade", "/a", "server"], ["1", "/a", "server"], ["2", "/a", "of /a"]]);
  assert.deepEqual(b, [["upgrade", "/b", "server"], ["1", "/b", "server"], ["2", "/b", "of /b"]]);
  clients[0].destroy();
  await eventually(() => seen.some(([what]) => what === "close"));
  assert.deepEqual(seen.at(-1), ["close", "/a", "of /a"]);
  const telling = await openTelling(running);
  await telling.say("x");
  assert.deepEqual(telling.seen, [["x", "server"]]);
});
