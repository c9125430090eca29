// What is printed may be lost where stderr cannot be written to; nothing else is.
import assert from "node:assert/strict";
import { closeSync, existsSync, openSync } from "node:fs";
import { Child } from "./support/child.mjs";
import { Peer } from "./support/peer.mjs";
import { test } from "./support/test.mjs";

const MESSAGES = 2000;

/** Node sets a pipe to non-blocking for all who share it as soon as JavaScript prints something. */
const PRINTS_FIRST = ["--import", "data:text/javascript,console.error('first')"];

async function assertServes(t, stderr, execArgv) {
  const child = Child.start(t, "talkative-server.mjs", {}, { stderr, execArgv, env: { DEBUG: "*" } });
  const { port } = await child.report("listening");
  await assert.rejects(Peer.connect({ port, token: "thrown" }), { status: 401 });
  const peer = await Peer.connect({ port });
  await peer.ready();
  for (let i = 0; i < MESSAGES; i++) peer.sendText(String(i));
  await peer.until(() => peer.of("UTF8DATA").length === MESSAGES, 20_000);
  assert.ok(peer.isOpen);
  const later = await Peer.connect({ port });
  await later.ready();
  await later.echo("a client that comes later");
  child.command("destroy");
  await child.report("destroyed");
  // Node itself waits at its end for a pipe that takes nothing.
  child.command("exit");
  assert.deepEqual(await child.exit(), { code: 0, signal: null });
}

for (const [how, execArgv] of [["", []], [" after JavaScript has printed", PRINTS_FIRST]]) {
  test(`a server with DEBUG serves although nobody reads its stderr${how}`, async (t) => {
    await assertServes(t, "unread", execArgv);
  });

  test(`a server with DEBUG serves although its stderr is closed${how}`, async (t) => {
    await assertServes(t, "closed", execArgv);
  });

  test(`a server with DEBUG serves although its stderr is full${how}`, { skip: existsSync("/dev/full") ? false : "needs /dev/full" }, async (t) => {
    const full = openSync("/dev/full", "w");
    t.after(() => closeSync(full));
    await assertServes(t, full, execArgv);
  });
}
