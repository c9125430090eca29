import assert from "node:assert/strict";
import net from "node:net";
import { Child } from "./support/child.mjs";
import { assertNothingStays } from "./support/growth.mjs";
import { Peer } from "./support/peer.mjs";
import { once } from "./support/server.mjs";
import { test } from "./support/test.mjs";
import { delay, eventually } from "./support/wait.mjs";

const MIB = 1024 * 1024;
const BY_ITSELF = { code: 0, signal: null };

async function startEcho(t, args, options) {
  const child = Child.start(t, "echo-server.mjs", args, options);
  const { port } = await child.report("listening");
  return { child, port };
}

test("a listening server keeps the process alive", async (t) => {
  const { child, port } = await startEcho(t);
  await delay(700);
  assert.equal(child.process.exitCode, null);
  const peer = await Peer.connect({ port });
  await peer.echo("alive");
});

test("after Destroy the process exits by itself, without sessions", async (t) => {
  const { child } = await startEcho(t);
  child.command("destroy");
  await child.report("destroyed");
  assert.deepEqual(await child.exit(), BY_ITSELF);
});

test("after Destroy the process exits by itself, with sessions and half-made connections", async (t) => {
  const { child, port } = await startEcho(t);
  const peers = await Promise.all(Array.from({ length: 10 }, () => Peer.connect({ port })));
  for (const peer of peers) await peer.echo("x");
  const half = net.connect(port, "127.0.0.1");
  half.on("error", () => {});
  await once(half, "connect");
  child.command("destroy");
  for (const peer of peers) assert.equal((await peer.closed).code, 4000);
  assert.deepEqual(await child.exit(), BY_ITSELF);
});

test("a server destroyed at once, before it listens, lets the process exit", async (t) => {
  const child = Child.start(t, "destroy-at-once.mjs");
  assert.deepEqual(await child.exit(), BY_ITSELF);
  assert.equal(child.stderr, "");
});

test("process.exit with live sessions exits with its code", async (t) => {
  for (let round = 0; round < 5; round++) {
    const { child, port } = await startEcho(t);
    const peers = await Promise.all(Array.from({ length: 5 }, () => Peer.connect({ port })));
    for (const peer of peers) await peer.echo("x");
    const load = setInterval(() => peers.forEach((peer) => peer.isOpen && peer.sendText("load")), 1);
    t.after(() => clearInterval(load));
    child.command("exit", { code: 7 });
    assert.deepEqual(await child.exit(), { code: 7, signal: null });
    clearInterval(load);
    for (const peer of peers) await peer.closed;
  }
});

test("a signal ends a server like any other process", { skip: process.platform === "win32" && "no signals here" }, async (t) => {
  const { child, port } = await startEcho(t);
  const peer = await Peer.connect({ port });
  await peer.echo("x");
  child.process.kill("SIGTERM");
  assert.deepEqual(await child.exit(), { code: null, signal: "SIGTERM" });
  await peer.closed;
});

test("a port in use without an error listener is an uncaught exception", async (t) => {
  const other = net.createServer().listen(0, "127.0.0.1");
  t.after(() => other.close());
  await once(other, "listening");
  const { port } = other.address();
  const bare = Child.start(t, "port-in-use.mjs", { port });
  const { code, signal } = await bare.exit();
  assert.ok(code !== 0 && signal === null, `exit ${code} ${signal}`);
  assert.match(bare.stderr, /EADDRINUSE/);
  const caught = Child.start(t, "port-in-use.mjs", { port, catches: true });
  assert.equal((await caught.report("uncaughtException")).code, "EADDRINUSE");
  assert.deepEqual(await caught.exit(), BY_ITSELF);
});

test("sends that nobody awaits never become an unhandledRejection", async (t) => {
  const child = Child.start(t, "fire-and-forget.mjs");
  const { port } = await child.report("listening");
  for (let round = 0; round < 3; round++) {
    const peer = await Peer.connect({ port, autoAck: round !== 1 });
    await peer.ready();
    await peer.until(() => peer.of("UTF8DATA").length > 0);
    if (round === 1) await delay(300);
    peer.terminate();
    await child.report("closed");
  }
  child.command("finish");
  const { unhandled, sent } = await child.report("finished");
  assert.deepEqual(unhandled, []);
  assert.ok(sent > 100);
  assert.deepEqual(await child.exit(), BY_ITSELF);
});

test("a server in a worker thread serves, and the worker ends by itself after Destroy", async (t) => {
  const child = Child.start(t, "worker-parent.mjs");
  const { ports } = await child.report("listening", 15_000);
  assert.equal(new Set(ports).size, 3, "one server on the main thread, two in workers");
  for (const port of ports) {
    const peer = await Peer.connect({ port });
    await peer.ready();
    await peer.echo("x".repeat(100_000));
  }
  child.command("destroyWorkers");
  await child.report("workersEnded", 15_000);
  const main = await Peer.connect({ port: ports[0] });
  await main.echo("the main thread's server is not concerned");
  child.command("destroyMain");
  assert.deepEqual(await child.exit(), BY_ITSELF);
});

test("terminating a worker with live sessions crashes nothing, twenty times", { timeout: 90_000 }, async (t) => {
  const child = Child.start(t, "terminate-workers.mjs", { rounds: 20 });
  const { rounds, closed } = await child.report("done", 80_000);
  assert.equal(rounds, 20);
  assert.equal(closed, 20 * 3, "every client noticed");
  assert.deepEqual(await child.exit(), BY_ITSELF);
});

test("a thousand servers created and destroyed leave no memory and no descriptors behind", { timeout: 120_000 }, async (t) => {
  const child = Child.start(t, "cycles.mjs", { batches: 10, size: 100 }, { execArgv: ["--expose-gc"] });
  const { samples } = await child.report("done", 110_000);
  assertNothingStays(t, samples, MIB);
  assert.deepEqual(await child.exit(), BY_ITSELF);
});

test("a thousand clients that come and go leave no memory and no descriptors behind", { timeout: 60_000 }, async (t) => {
  const { child, port } = await startEcho(t, {}, { execArgv: ["--expose-gc"] });
  const visit = async (count) => {
    for (let i = 0; i < count; i += 20) {
      await Promise.all(Array.from({ length: 20 }, async () => {
        const peer = await Peer.connect({ port });
        await peer.echo("visit");
        if (i % 40 === 0) peer.terminate();
        else peer.close(4000);
        await peer.closed;
      }));
    }
  };
  const samples = [];
  for (const visitors of [400, 600, 800, 1000, 1200, 1400]) {
    await visit(visitors === 400 ? 400 : 200);
    await eventually(() => child.reports.filter(({ name }) => name === "closed").length === visitors);
    child.command("retained");
    samples.push(await child.report("retained"));
  }
  assertNothingStays(t, samples);
});
