// `busyPollUs`: the same server, only that its threads look for work for a while before they sleep.
import assert from "node:assert/strict";
import { CAMP } from "./support/product.mjs";
import { Child } from "./support/child.mjs";
import { Peer } from "./support/peer.mjs";
import { echo, openSession, startServer, validator } from "./support/server.mjs";
import { test } from "./support/test.mjs";
import { delay, within } from "./support/wait.mjs";

test("busyPollUs is a whole number of microseconds, 0 to 10000", () => {
  for (const busyPollUs of [-1, 1.5, 10_001, NaN]) assert.throws(() => CAMP(validator, { port: 0, busyPollUs }), RangeError);
  assert.throws(() => CAMP(validator, { port: 0, busyPollUs: "200" }), /busyPollUs/);
});

test("with busyPollUs every message is answered, in order, and the server ends", async (t) => {
  const running = await startServer(t, { busyPollUs: 10_000 });
  echo(running.server);
  const { peer } = await openSession(running);
  for (let i = 0; i < 50; i++) await peer.echo(`one by one ${i}`);
  const texts = Array.from({ length: 500 }, (_, i) => `all at once ${i}`);
  const before = peer.texts().length;
  for (const text of texts) peer.sendText(text);
  await peer.until(() => peer.texts().length === before + texts.length);
  assert.deepEqual(peer.texts().slice(before), texts);
  await within(running.server.Destroy(), 5000, "Destroy()");
});

test("without messages a server with busyPollUs sleeps", async (t) => {
  const child = Child.start(t, "echo-server.mjs", { options: { busyPollUs: 10_000 } });
  const { port } = await child.report("listening");
  const peer = await Peer.connect({ port });
  for (let i = 0; i < 20; i++) await peer.echo(`busy ${i}`);
  // What came through stdin wakes nobody but the JavaScript thread, for longer than the bound.
  await delay(100);
  child.command("idle", { ms: 1000 });
  const { cpuMs } = await child.report("idle");
  assert.ok(cpuMs < 500, `${cpuMs} ms of processor time in a second without work`);
});
