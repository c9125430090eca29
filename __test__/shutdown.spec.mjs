// The end of a server with very many sessions, all of them busy; and of one that is told by SIGTERM.
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { CAMP } from "./support/product.mjs";
import { Child } from "./support/child.mjs";
import { request } from "./support/http.mjs";
import { Peer } from "./support/peer.mjs";
import { ROOT } from "./support/scratch.mjs";
import { once, validator } from "./support/server.mjs";
import { test } from "./support/test.mjs";
import { eventually } from "./support/wait.mjs";

const MANY = 10_000;
const BY_ITSELF = { code: 0, signal: null };

/** As many as the system lets one process have sockets for, with some to spare. */
function howMany(t) {
  const limit = process.report.getReport().userLimits?.open_files?.soft;
  const count = Math.min(MANY, typeof limit === "number" || /^\d+$/.test(limit ?? "") ? Number(limit) - 200 : MANY);
  if (count < MANY) t.diagnostic(`${count} sessions instead of ${MANY}: this system allows ${limit} open files`);
  return count;
}

/** A server in one process and its clients in two others, all of them connected and talking. */
async function crowd(t, { silent = 0 } = {}) {
  const count = howMany(t);
  const server = Child.start(t, "many-sessions.mjs", { options: { keepAliveIntervalMs: 5000, ackTimeoutMs: 60_000 } });
  const { port } = await server.report("listening");
  const half = Math.floor(count / 2);
  const clients = [[1, half], [1 + half, count - half]].map(([firstSid, share]) =>
    Child.start(t, "many-clients.mjs", { port, count: share, firstSid, silent: silent / 2 }));
  await Promise.all(clients.map((client) => client.report("connected", 60_000)));
  await eventually(async () => {
    server.command("sessions");
    return (await server.report("sessions")).live === count;
  }, 10_000);
  for (const client of clients) client.command("talk");
  await eventually(async () => {
    for (const client of clients) client.command("texts");
    const said = await Promise.all(clients.map((client) => client.report("texts")));
    return said.every(({ texts }) => texts > count / 4);
  }, 20_000);
  return { count, server, port, clients };
}

/** Each session, each promise and each client has come to its end, and so has the process. */
async function assertAllEnded({ count, server, port, clients }) {
  const ended = await server.report("ended", 40_000);
  assert.deepEqual(await server.exit(), BY_ITSELF);
  assert.equal(server.stderr, "");
  assert.deepEqual([ended.sessions, ended.closedOnce, ended.live], [count, count, 0]);
  const { made, resolved, rejected } = ended.sends;
  assert.deepEqual(Object.keys(rejected).filter((code) => code !== "ERR_CAMP_SESSION_CLOSED"), []);
  assert.equal(resolved + (rejected.ERR_CAMP_SESSION_CLOSED ?? 0), made);
  const seen = await Promise.all(clients.map((client) => client.report("ended", 20_000)));
  assert.equal(seen.reduce((sum, { byes }) => sum + byes, 0), count, "every client was told why");
  assert.equal(seen.reduce((sum, { codes }) => sum + (codes[4000] ?? 0), 0), count, `close codes ${JSON.stringify(seen)}`);
  const next = CAMP(validator, { port, host: "127.0.0.1" });
  await once(next, "listening");
  await next.Destroy();
  return ended;
}

test("Destroy() of a server with 10,000 busy sessions ends each of them in good order", { timeout: 120_000 }, async (t) => {
  const running = await crowd(t);
  running.server.command("destroy");
  const { ms } = await assertAllEnded(running);
  t.diagnostic(`${running.count} sessions ended in ${ms} ms`);
});

test("Drain() of a server with 10,000 busy sessions has every message acknowledged, but those nobody acknowledges", { timeout: 120_000 }, async (t) => {
  const silent = 100;
  const running = await crowd(t, { silent });
  running.server.command("drain", { ms: 6000 });
  const { ms, sends } = await assertAllEnded(running);
  t.diagnostic(`${running.count} sessions drained in ${ms} ms`);
  assert.ok((sends.rejected.ERR_CAMP_SESSION_CLOSED ?? 0) >= silent, "the silent clients' messages are given up");
  assert.ok(sends.resolved >= running.count - silent, `${sends.resolved} were acknowledged`);
});

/** What each example is asked before it is ended. */
const EXAMPLES = {
  async "echo.mjs"({ peer }) {
    await peer.echo("hello");
  },
  async "graceful.mjs"({ peer }) {
    await peer.acked(peer.sendText("order"));
    return () => assert.deepEqual(peer.texts(), ["order: done"], "what was under way is finished");
  },
  async "http.mjs"({ peer, port }) {
    assert.equal((await request({ port, path: "/" })).text, "1 sessions\n");
    assert.equal((await request({ port, path: "/broadcast", method: "POST", body: "to all" })).text, "sent to 1 sessions\n");
    assert.equal((await peer.next("UTF8DATA")).text, "to all");
  },
};

for (const example of readdirSync(join(ROOT, "examples")).filter((name) => name.endsWith(".mjs"))) {
  test(`examples/${example} does its work, and ends on SIGTERM: BYE, close 4000, exit code 0`, { skip: process.platform === "win32" && "no signals here" }, async (t) => {
    const child = Child.node(t, [join(ROOT, "examples", example), "0"]);
    const port = Number((await child.printed(/listening on port (\d+)/))[1]);
    const peer = await Peer.connect({ port, token: "MySuperSecretToken" });
    await peer.ready();
    const afterwards = await EXAMPLES[example]({ peer, port });
    child.process.kill("SIGTERM");
    assert.equal((await peer.closed).code, 4000);
    assert.equal(peer.of("BYE")[0].reason, "Server shutdown.");
    afterwards?.();
    assert.deepEqual(await child.exit(), BY_ITSELF);
    assert.equal(child.stderr, "");
  });
}
