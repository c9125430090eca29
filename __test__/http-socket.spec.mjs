// The socket of a request does what `net.Socket` does in an http.Server: each fact is asked of both.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import http from "node:http";
import { request } from "./support/http.mjs";
import { Child } from "./support/child.mjs";
import { rawSocket } from "./support/raw.mjs";
import { once, startServer } from "./support/server.mjs";
import { test } from "./support/test.mjs";
import { deferred, eventually } from "./support/wait.mjs";

/** The listening http.Server of either kind. */
const SERVERS = {
  "an http.Server": async (t) => {
    const server = http.createServer();
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    t.after(() => (server.closeAllConnections(), server.close()));
    return { server, port: server.address().port };
  },
  "http_server": async (t) => {
    const { server, port } = await startServer(t, { host: "127.0.0.1" });
    return { server: server.http_server, port };
  },
};

/** A connection with a request that is not answered yet: both ends and the response. */
async function connected(t, kind) {
  const { server, port } = await SERVERS[kind](t);
  const seen = deferred();
  server.on("request", (incoming, response) => seen.resolve({ socket: incoming.socket, response }));
  const client = await rawSocket({ port });
  t.after(() => client.destroy());
  client.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  return { client, server, port, ...(await seen.promise) };
}

/** The keep-alive timer of a connection, as Linux shows it: undefined while there is none. */
function keepAliveTimer({ localPort, remotePort }) {
  const hex = (port) => port.toString(16).toUpperCase().padStart(4, "0");
  const lines = ["tcp", "tcp6"].flatMap((name) => readFileSync(`/proc/net/${name}`, "utf8").split("\n"));
  const line = lines.find((text) => new RegExp(`^ *\\d+: \\w+:${hex(localPort)} \\w+:${hex(remotePort)} 01 `).test(text));
  const [, kind, ticks] = / (\d\d):(\w{8}) /.exec(line ?? "") ?? [];
  return kind === "02" ? Number.parseInt(ticks, 16) : undefined;
}

for (const kind of Object.keys(SERVERS)) {
  test(`${kind}: a socket in use says what it is`, async (t) => {
    const { socket, server, client, port } = await connected(t, kind);
    const { connecting, pending, destroyed, readyState, readable, writable, allowHalfOpen, timeout, bufferSize } = socket;
    assert.deepEqual(
      { connecting, pending, destroyed, readyState, readable, writable, allowHalfOpen, bufferSize },
      { connecting: false, pending: false, destroyed: false, readyState: "open", readable: true, writable: true, allowHalfOpen: true, bufferSize: 0 },
    );
    assert.ok(!timeout, "no timeout");
    assert.equal(socket.server, server);
    assert.deepEqual(socket.address(), { address: "127.0.0.1", family: "IPv4", port });
    assert.deepEqual([socket.remotePort, socket.localPort], [client.localPort, port]);
    assert.deepEqual([socket.bytesRead, socket.bytesWritten], [27, 0]);
  });

  test(`${kind}: a destroyed socket says so, and its methods harm nobody`, async (t) => {
    const { socket } = await connected(t, kind);
    const closed = once(socket, "close");
    socket.destroy();
    assert.deepEqual(await closed, [false]);
    assert.deepEqual([socket.destroyed, socket.readyState, socket.pending, socket.connecting], [true, "closed", true, false]);
    assert.equal(socket.setNoDelay(), socket);
    assert.equal(socket.setKeepAlive(true, 1000), socket);
    assert.equal(socket.setTimeout(5), socket);
    assert.equal(socket.ref(), socket);
    assert.equal(socket.unref(), socket);
    assert.equal(socket.destroy(), socket);
    assert.equal(socket.resetAndDestroy(), socket);
    socket.destroySoon();
    assert.equal(socket.bytesRead, 27);
  });

  test(`${kind}: setTimeout() takes what timers take and refuses the rest`, async (t) => {
    const { socket } = await connected(t, kind);
    for (const [ms, code] of [
      [-1, "ERR_OUT_OF_RANGE"], [NaN, "ERR_OUT_OF_RANGE"], [Infinity, "ERR_OUT_OF_RANGE"],
      ["100", "ERR_INVALID_ARG_TYPE"], [undefined, "ERR_INVALID_ARG_TYPE"], [{}, "ERR_INVALID_ARG_TYPE"],
    ]) {
      assert.throws(() => socket.setTimeout(ms), { code }, String(ms));
    }
    assert.throws(() => socket.setTimeout(1000, "no function"), { code: "ERR_INVALID_ARG_TYPE" });
    assert.equal(socket.setTimeout(60_000), socket);
    assert.equal(socket.timeout, 60_000);
    socket.setTimeout(0);
    assert.equal(socket.timeout, 0);
    const told = new Promise((resolve) => socket.setTimeout(20, resolve));
    await told;
  });

  test(`${kind}: setKeepAlive() sets the system's timer, to whole seconds, and takes it back`, { skip: process.platform !== "linux" && "reads /proc" }, async (t) => {
    const { socket } = await connected(t, kind);
    const timer = () => keepAliveTimer(socket);
    // What the answer's bytes may have set for a moment is over when this is so.
    await eventually(() => timer() === undefined);
    assert.equal(socket.setKeepAlive(true, 100_999), socket);
    await eventually(() => timer() > 0 && timer() <= 100 * 100);
    socket.setKeepAlive(true, 5000_000);
    await eventually(() => timer() > 100 * 100 && timer() <= 5000 * 100);
    socket.setKeepAlive(false);
    await eventually(() => timer() === undefined);
    socket.setKeepAlive(true);
    await eventually(() => timer() > 0);
  });

  test(`${kind}: setNoDelay() can be turned off and on, and the answer comes either way`, async (t) => {
    const { socket, response, client } = await connected(t, kind);
    assert.equal(socket.setNoDelay(false), socket);
    response.write("a");
    assert.equal(socket.setNoDelay(true), socket);
    assert.equal(socket.setNoDelay(), socket);
    response.end("b");
    let text = "";
    client.on("data", (data) => (text += data));
    await eventually(() => text.includes("b\r\n0\r\n"));
  });

  test(`${kind}: resetAndDestroy() resets, destroy() ends`, async (t) => {
    const reset = await connected(t, kind);
    const failed = once(reset.client, "error");
    assert.equal(reset.socket.resetAndDestroy(), reset.socket);
    assert.equal((await failed)[0].code, "ECONNRESET");
    const ended = await connected(t, kind);
    ended.client.resume();
    const end = once(ended.client, "end");
    ended.socket.destroy();
    await end;
  });

  test(`${kind}: pause() and resume() of a socket are those of the request`, async (t) => {
    const { server, port } = await SERVERS[kind](t);
    server.on("request", (incoming, response) => {
      incoming.pause();
      setImmediate(() => incoming.resume().on("end", () => response.end("read")));
    });
    assert.equal((await request({ port, method: "POST", body: "x".repeat(300_000) })).text, "read");
  });
}

test("with unref() of server and socket a connection does not keep the process alive", async (t) => {
  const child = Child.start(t, "unref-server.mjs", { stay: true, unrefSockets: true });
  const { port } = await child.report("listening");
  const client = await rawSocket({ port });
  t.after(() => client.destroy());
  client.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  await once(client, "data");
  child.command("go");
  assert.deepEqual(await child.exit(), { code: 0, signal: null });
});
