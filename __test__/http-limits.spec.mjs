import assert from "node:assert/strict";
import { Worker } from "node:worker_threads";
import { Child } from "./support/child.mjs";
import { readAll, request } from "./support/http.mjs";
import { assertNothingStays } from "./support/growth.mjs";
import { KERNEL, KERNEL_UNTOLD, standstill, takenInAll } from "./support/kernel.mjs";
import { connectionEnd, rawSocket } from "./support/raw.mjs";
import { echo, once, openSession, startServer, within } from "./support/server.mjs";
import { test } from "./support/test.mjs";
import { delay, eventually } from "./support/wait.mjs";

const MIB = 1024 * 1024;
const GET = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

async function startHttp(t, listener = (req, res) => void res.end("page"), prepare = () => {}) {
  const running = await startServer(t);
  echo(running.server);
  running.server.http_server.on("request", listener);
  prepare(running.server.http_server);
  return running;
}

async function startChild(t, args, options) {
  const child = Child.start(t, "http-server.mjs", args, options);
  const { port } = await child.report("listening");
  const stats = async () => {
    child.command("stats");
    return child.report("stats");
  };
  return { child, port, stats };
}

const connections = (server) => new Promise((resolve) => server.getConnections((error, count) => resolve(error ?? count)));

/** Writes `total` bytes as fast as the socket takes them. */
async function upload(socket, total) {
  const chunk = Buffer.alloc(64 * 1024);
  for (let left = total; left > 0; left -= chunk.length) {
    if (!socket.write(chunk.subarray(0, left))) await new Promise((resolve) => socket.once("drain", resolve).once("close", resolve));
  }
}

test("a body that nobody reads stops its sender, takes bounded memory, and is whole once it is read", {
  skip: KERNEL_UNTOLD,
}, async (t) => {
  const { child, port } = await startChild(t);
  const socket = await rawSocket({ port });
  const total = 200 * MIB;
  socket.write(`POST /hold HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: ${total}\r\n\r\n`);
  await child.report("held");
  const uploading = upload(socket, total);
  const held = await takenInAll(socket);
  assert.ok(held < 8 * MIB, `${held} bytes were taken`);
  child.command("release");
  await uploading;
  assert.equal((await child.report("received", 20_000)).received, total);
  assert.match(await readAll(socket), /held/);
});

test("an answer that nobody reads stops its writer and takes bounded memory", async (t) => {
  const { port, stats } = await startChild(t);
  const socket = await rawSocket({ port });
  socket.pause();
  socket.write("GET /endless HTTP/1.1\r\nHost: x\r\n\r\n");
  const written = async () => (await stats()).written;
  await eventually(async () => (await written()) > 0);
  await standstill(written);
  const last = await written();
  assert.ok(last < 8 * MIB + KERNEL, `${last} bytes were written`);
  socket.resume();
  await eventually(async () => (await written()) > last + 64 * MIB, 10_000, "the writer goes on");
  socket.destroy();
  await eventually(async () => (await stats()).open === 0);
});

test("while the JavaScript thread is blocked, uploads take bounded memory", { skip: KERNEL_UNTOLD }, async (t) => {
  const { child, port } = await startChild(t);
  const sockets = await Promise.all(Array.from({ length: 20 }, () => rawSocket({ port })));
  const goOn = await child.block();
  const uploading = sockets.map((socket) => {
    socket.write(`POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ${32 * MIB}\r\n\r\n`);
    return upload(socket, 32 * MIB);
  });
  const held = await takenInAll(...sockets);
  assert.ok(held < 40 * MIB, `${held} bytes of ${20 * 32 * MIB} were taken`);
  goOn();
  for (const socket of sockets) socket.resume();
  await Promise.all(uploading);
});

test("the timeout of the server ends an idle connection", async (t) => {
  const timeouts = [];
  const { port, server } = await startHttp(t, () => {}, (facade) => {
    facade.setTimeout(200, (socket) => {
      timeouts.push(socket.remotePort);
      socket.destroy();
    });
  });
  const socket = await rawSocket({ port });
  socket.write(GET);
  await connectionEnd(socket);
  assert.deepEqual(timeouts, [socket.localPort]);
  await eventually(async () => (await connections(server.http_server)) === 0);
});

test("keepAliveTimeout ends a connection without further requests, and its traffic puts that off", async (t) => {
  const { port, server } = await startHttp(t, (req, res) => void res.end("page"), (facade) => (facade.keepAliveTimeout = 3000));
  const socket = await rawSocket({ port });
  const start = performance.now();
  for (let i = 0; i < 4; i++) {
    socket.write(GET);
    await once(socket, "data");
    await delay(1000);
  }
  await connectionEnd(socket, 30_000);
  assert.ok(performance.now() - start > 6500);
  await eventually(async () => (await connections(server.http_server)) === 0);
});

test("headersTimeout and requestTimeout of Node watch over these connections too", async (t) => {
  const running = await startServer(t);
  const { http_server: facade } = running.server;
  // The server was listening when it was first asked for; Node starts watching at `listening`.
  Object.assign(facade, { connectionsCheckingInterval: 50, headersTimeout: 2000, requestTimeout: 4000, keepAliveTimeout: 10_000 });
  facade.emit("listening");
  facade.on("request", (req, res) => void req.resume().on("end", () => res.end("page")).on("error", () => {}));
  const slowHead = await rawSocket(running);
  slowHead.write(GET);
  await once(slowHead, "data");
  slowHead.write("GET / HTTP/1.1\r\nHost");
  const slowBody = await rawSocket(running);
  slowBody.write("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nonly this");
  for (const text of await Promise.all([readAll(slowHead), readAll(slowBody)])) assert.match(text, /408 Request Timeout/);
  await eventually(async () => (await connections(facade)) === 0);
});

test("setTimeout of a socket fires after idleness, not during traffic, and can be taken back", async (t) => {
  const fired = [];
  let upgraded;
  const { server, port } = await startServer(t);
  server.http_server.on("upgrade", (req, socket) => {
    upgraded = socket;
    socket.setTimeout(2000, () => fired.push("first"));
    socket.resume();
    socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n");
  });
  const socket = await rawSocket({ port });
  socket.write("GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n");
  await once(socket, "data");
  for (let i = 0; i < 8; i++) {
    socket.write("x");
    await delay(300);
  }
  assert.deepEqual(fired, [], "traffic");
  await once(upgraded, "timeout");
  assert.deepEqual(fired, ["first"]);
  upgraded.setTimeout(50);
  upgraded.setTimeout(0);
  assert.equal(upgraded.timeout, 0);
  await delay(150);
  assert.deepEqual(fired, ["first"], "taken back");
  upgraded.destroy();
});

test("a client that resets in the middle of its request or of its answer disturbs nobody", async (t) => {
  const aborted = [];
  const running = await startHttp(t, (req, res) => {
    res.on("close", () => aborted.push(req.url));
    req.on("error", () => {});
    if (req.url === "/answer") {
      const more = () => {
        while (!res.destroyed && res.write("y".repeat(100_000)));
      };
      res.on("drain", more);
      more();
    }
  });
  const upload = await rawSocket(running);
  upload.write("POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf");
  const download = await rawSocket(running);
  download.write("GET /answer HTTP/1.1\r\nHost: x\r\n\r\n");
  await once(download, "data");
  await eventually(async () => (await connections(running.server.http_server)) === 2);
  upload.resetAndDestroy();
  download.resetAndDestroy();
  await eventually(() => aborted.length === 2);
  assert.deepEqual(aborted.sort(), ["/answer", "/upload"]);
  await eventually(async () => (await connections(running.server.http_server)) === 0);
  const { peer } = await openSession(running);
  await peer.echo("undisturbed");
});

test("a reset of an upgraded connection is an error of its socket, with a code", async (t) => {
  const { server, port } = await startServer(t);
  const failed = new Promise((resolve) => {
    server.http_server.on("upgrade", (req, socket) => {
      socket.on("error", (error) => socket.on("close", (hadError) => resolve({ code: error.code, hadError })));
      socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n");
      socket.resume();
    });
  });
  const socket = await rawSocket({ port });
  socket.write("GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n");
  await once(socket, "data");
  socket.resetAndDestroy();
  assert.deepEqual(await within(failed, 5000, "error"), { code: "ECONNRESET", hadError: true });
});

test("a socket destroyed by a listener is hung up on", async (t) => {
  const { port, server } = await startHttp(t, (req) => req.socket.destroy());
  const socket = await rawSocket({ port });
  socket.write(GET);
  assert.equal(await readAll(socket), "");
  await eventually(async () => (await connections(server.http_server)) === 0);
});

test("what was written before a destroy still arrives", async (t) => {
  const { port } = await startHttp(t, (req) => {
    req.socket.write("HTTP/1.1 200 OK\r\n\r\none,");
    req.socket.write("two");
    req.socket.destroy();
  });
  const socket = await rawSocket({ port });
  socket.write(GET);
  assert.match(await readAll(socket), /one,[^]*two/);
});

test("a client that ends its side after the request gets its answer", async (t) => {
  const { port, server } = await startHttp(t, (req, res) => setImmediate(() => res.end("late answer")));
  server.http_server.httpAllowHalfOpen = true;
  const socket = await rawSocket({ port });
  socket.end(GET);
  assert.match(await readAll(socket), /late answer/);
  await eventually(async () => (await connections(server.http_server)) === 0);
});

test("two thousand connections that come and go leave no memory and no descriptors behind", { timeout: 60_000 }, async (t) => {
  const { child, port, stats } = await startChild(t, {}, { execArgv: ["--expose-gc"] });
  const visit = async (count) => {
    for (let i = 0; i < count; i += 20) {
      await Promise.all(Array.from({ length: 20 }, async (_, n) => {
        if (n % 4 === 0) return void await request({ port, path: "/die" }).catch(() => {});
        const socket = await rawSocket({ port });
        socket.write(n % 4 === 1 ? GET : "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nhalf");
        if (n % 4 === 1) await once(socket, "data");
        if (n % 4 === 3) socket.resetAndDestroy();
        else socket.destroy();
      }));
    }
    await eventually(async () => (await stats()).open === 0, 10_000, "all connections are gone");
    child.command("retained");
    return child.report("retained");
  };
  const samples = [];
  for (let batch = 0; batch < 6; batch++) samples.push(await visit(400));
  assertNothingStays(t, samples);
});

test("after Destroy the process exits by itself, also with HTTP connections that are open", async (t) => {
  const { child, port } = await startChild(t);
  const idle = await rawSocket({ port });
  idle.write(GET);
  await once(idle, "data");
  const stuck = await rawSocket({ port });
  stuck.pause();
  stuck.write("GET /endless HTTP/1.1\r\nHost: x\r\n\r\n");
  await eventually(() => stuck.readableLength > 0);
  child.command("destroy");
  await child.report("destroyed");
  assert.deepEqual(await child.exit(), { code: 0, signal: null });
});

test("terminating a worker with live HTTP connections crashes nothing, ten times", { timeout: 60_000 }, async () => {
  for (let round = 0; round < 10; round++) {
    const worker = new Worker(new URL("fixtures/http-worker.mjs", import.meta.url));
    const [port] = await once(worker, "message", 10_000);
    const sockets = await Promise.all(Array.from({ length: 4 }, () => rawSocket({ port })));
    for (const [i, socket] of sockets.entries()) {
      socket.write(i % 2 ? "GET /endless HTTP/1.1\r\nHost: x\r\n\r\n" : "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n");
      if (i % 2) await once(socket, "data");
      else socket.write(Buffer.alloc(100_000));
    }
    const ended = sockets.map((socket) => connectionEnd(socket));
    await worker.terminate();
    await Promise.all(ended);
  }
});
