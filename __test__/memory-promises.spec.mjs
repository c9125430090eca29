// What the promises of sends keep alive, counted in promises that the collector leaves.
import assert from "node:assert/strict";
import { Child } from "./support/child.mjs";
import { openPair } from "./support/server.mjs";
import { test } from "./support/test.mjs";
import { isPending, within } from "./support/wait.mjs";

/** More than these are not kept of promises that are settled. */
const FEW = 128;
const SOME = 2048;

test("of 200,000 sends no more promises are kept than what is under way needs", { timeout: 60_000 }, async (t) => {
  const child = Child.start(t, "pending-sends.mjs", {}, { execArgv: ["--expose-gc"] });
  const kept = await child.report("kept", 50_000);
  const check = (name, most, settled) => {
    assert.ok(kept[name].left <= most, `${name}: ${kept[name].left} promises are kept`);
    assert.equal(kept[name].settled, settled, name);
  };
  check("settledAll", FEW, true);
  check("rejectedAll", FEW, true);
  check("settledNeverAllAtOnce", SOME, false);
  check("oneNeverSettled", SOME, true);
  check("oneNeverSettledOfABurst", SOME, true);
});

test("a send that is never acknowledged holds up none of 100,000 later ones, which settle in order", { timeout: 60_000 }, async (t) => {
  const { session, peer } = await openPair(t, {
    options: { keepAliveIntervalMs: 120_000, ackTimeoutMs: 120_000 },
    peer: { autoAck: false },
  });
  const first = session.base.SendUTF8("first");
  const { ack: never } = await peer.next("UTF8DATA");
  peer.of("UTF8DATA").length = 0;
  let settled = 0;
  let disorder = 0;
  const COUNT = 100_000;
  const BATCH = 2000;
  for (let sent = 0; sent < COUNT; sent += BATCH) {
    const sends = [];
    for (let i = sent; i < sent + BATCH; i++) {
      sends.push(session.base.SendUTF8(String(i)).then(() => void (settled++ !== i && disorder++)));
    }
    const frames = peer.of("UTF8DATA");
    await peer.until(() => frames.length === BATCH, 20_000);
    for (const { ack } of frames.splice(0)) peer.sendAck(ack);
    await within(Promise.all(sends), 20_000, "the batch");
  }
  assert.deepEqual([settled, disorder], [COUNT, 0]);
  assert.ok(await isPending(first));
  peer.sendAck(never);
  await within(first, 5000, "the first");
});
