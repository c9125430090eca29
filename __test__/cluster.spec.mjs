// Workers of `node:cluster` share a port, as those of `http.Server` do.
import assert from "node:assert/strict";
import http from "node:http";
import https from "node:https";
import { readFileSync } from "node:fs";
import { Child } from "./support/child.mjs";
import { Peer, freshSid, terminatePeers } from "./support/peer.mjs";
import { startServer } from "./support/server.mjs";
import { test as parallel } from "./support/test.mjs";

const unix = process.platform !== "win32";
const test = (name, body) => parallel(name, { skip: !unix && "Windows cannot hand sockets over" }, body);
const pem = (name) => readFileSync(new URL(`support/tls/test-only.${name}.pem`, import.meta.url), "utf8");

class Cluster {
  /** The clients of each worker. @type {Map<number, Peer[]>} */
  clients = new Map();

  static async start(t, options, { workers = 2, env } = {}) {
    const cluster = new Cluster();
    cluster.child = Child.start(t, "cluster.mjs", options, { env });
    await cluster.child.report("ready");
    t.after(() => terminatePeers(cluster.port));
    for (let index = 0; index < workers; index++) await cluster.fork();
    return cluster;
  }

  /** On a port that is named: one that no system gives out by itself, and that is free. */
  static async startNamed(t, options, how) {
    for (;;) {
      const port = 10_000 + Math.floor(Math.random() * 20_000);
      try {
        return await Cluster.start(t, { port, ...options }, how);
      } catch (error) {
        if (error.code !== "EADDRINUSE") throw error;
      }
    }
  }

  async fork() {
    this.child.command("fork");
    const { port, worker, error } = await this.child.report("begun");
    if (error !== undefined) throw Object.assign(new Error(error.message), error);
    this.port ??= port;
    assert.equal(port, this.port);
    return worker;
  }

  /** An echoing client, with the number of the worker that has its session. */
  async open(options = {}) {
    const sid = freshSid();
    const peer = await Peer.connect({ port: this.port, sid, ...options });
    await peer.ready();
    await peer.echo("hello");
    const { worker, sid: told } = await this.child.report("session");
    assert.equal(told, String(sid));
    this.clients.set(worker, [...(this.clients.get(worker) ?? []), peer]);
    return worker;
  }

  /** Clients until each of these workers has one. */
  async fill(...workers) {
    const missing = () => workers.filter((worker) => !this.clients.has(worker));
    // Dealt out one after the other; a few more in case something else takes a turn.
    for (let i = 0; i < 50 && missing().length > 0; i++) await this.open();
    assert.deepEqual(missing(), [], "workers without a session");
  }

  async tell(worker, what) {
    this.child.command("tell", { worker, what });
    await this.child.report(`done ${what}`);
  }
}

test("with port 0 all workers have the same port, sessions are spread, and the primary hears of them", async (t) => {
  const cluster = await Cluster.start(t, { port: 0 }, { workers: 3 });
  await cluster.fill(0, 1, 2);
  const heard = [];
  for (let i = 0; i < 3; i++) heard.push(await cluster.child.report("heard"));
  assert.deepEqual(heard.map(({ port }) => port), [cluster.port, cluster.port, cluster.port]);
});

test("workers share a port that is named", async (t) => {
  const cluster = await Cluster.startNamed(t, { host: "127.0.0.1" });
  await cluster.fill(0, 1);
});

test("a worker that is killed is replaced on the same port, and the others go on", async (t) => {
  const cluster = await Cluster.start(t, { port: 0 });
  await cluster.fill(0, 1);
  cluster.child.command("kill", { worker: 0 });
  assert.equal((await cluster.child.report("exit")).worker, 0);
  await cluster.clients.get(1)[0].echo("still here");
  assert.equal(await cluster.open(), 1);
  const replacement = await cluster.fork();
  await cluster.fill(1, replacement);
});

test("sessions of a worker that disconnects go on, new ones go to the others, and it ends with its last session", async (t) => {
  const cluster = await Cluster.start(t, { port: 0 });
  await cluster.fill(0, 1);
  cluster.child.command("disconnect", { worker: 0 });
  assert.equal((await cluster.child.report("left")).worker, 0);
  for (let i = 0; i < 4; i++) assert.equal(await cluster.open(), 1);
  for (const peer of cluster.clients.get(0)) {
    await peer.echo("still here");
    peer.close(4000);
  }
  assert.deepEqual(await cluster.child.report("exit").then(({ worker, code }) => ({ worker, code })), { worker: 0, code: 0 });
});

test("a worker that drains leaves the port to the others", async (t) => {
  const cluster = await Cluster.start(t, { port: 0 });
  await cluster.fill(0, 1);
  await cluster.tell(0, "drain");
  for (let i = 0; i < 4; i++) assert.equal(await cluster.open(), 1);
});

test("a server that is destroyed and made anew in a worker serves again", async (t) => {
  const cluster = await Cluster.startNamed(t);
  await cluster.tell(0, "destroy");
  for (let i = 0; i < 4; i++) assert.equal(await cluster.open(), 1);
  await cluster.tell(0, "restart");
  await cluster.fill(0, 1);
});

test("pages, TLS and the client's address are there in a worker as elsewhere", async (t) => {
  for (const ssl of [undefined, { key: pem("key"), cert: pem("cert") }]) {
    const cluster = await Cluster.start(t, { port: 0, host: "127.0.0.1", ssl });
    const answer = await new Promise((resolve, reject) => {
      const options = { port: cluster.port, host: "127.0.0.1", ca: pem("cert"), servername: "localhost", agent: false };
      (ssl ? https : http).get(options, (response) => {
        const { localPort } = response.socket;
        response.setEncoding("utf8").on("data", (text) => resolve({ text, localPort }));
      }).on("error", reject);
    });
    assert.equal(answer.text, `127.0.0.1 ${answer.localPort} ${ssl !== undefined}`);
    await cluster.open(ssl && { tls: { ca: pem("cert"), servername: "localhost" } });
  }
});

test("workers that accept for themselves (SCHED_NONE) share the port as well", async (t) => {
  const cluster = await Cluster.start(t, { port: 0 }, { env: { NODE_CLUSTER_SCHED_POLICY: "none" } });
  for (let i = 0; i < 10; i++) await cluster.open();
});

test("a port that somebody else has is an error in each worker", async (t) => {
  const { port } = await startServer(t);
  const cluster = await Cluster.start(t, { port }, { workers: 0 });
  for (let i = 0; i < 2; i++) {
    await assert.rejects(cluster.fork(), { code: "EADDRINUSE", message: `listen EADDRINUSE: address already in use :::${port}` });
  }
});

test("with reusePort: false a worker has the port to itself", async (t) => {
  const cluster = await Cluster.startNamed(t, { reusePort: false }, { workers: 1 });
  await assert.rejects(cluster.fork(), { code: "EADDRINUSE" });
  await cluster.open();
});

test("with reusePort: true each worker has a socket of its own", async (t) => {
  const cluster = await Cluster.startNamed(t, { reusePort: true });
  for (let i = 0; i < 10; i++) await cluster.open();
});
