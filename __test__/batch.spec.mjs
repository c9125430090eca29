import assert from "node:assert/strict";
import { openPair, openSession, rejection, startServer } from "./support/server.mjs";
import { test } from "./support/test.mjs";

test("the error of a path of any length has the system's code, and the session goes on", async (t) => {
  const { session, peer } = await openPair(t);
  for (const [length, code] of [[10, "ENOENT"], [5000, "ENAMETOOLONG"], [100_000, "ENAMETOOLONG"], [1 << 24, "ENAMETOOLONG"]]) {
    const error = await rejection(session.transaction.Stream({ path: `/nowhere/${"x".repeat(length)}` }));
    assert.equal(error.code, code, `${length} characters`);
    assert.ok(error.message.length < 1100 && error.message.includes("/nowhere/x"), error.message);
  }
  const data = "large ".repeat(10_000);
  const received = new Promise((resolve) => session.once("message-utf8", resolve));
  peer.sendText(data);
  assert.equal(await received, data);
});

test("a reason of any length closes its session and does nothing else", async (t) => {
  const running = await startServer(t);
  const order = "\0\0\0\0\x08\0\0\0";
  for (const length of [1 << 20, 1 << 24, (1 << 24) + 5]) {
    const [one, two, other] = [await openSession(running), await openSession(running), await openSession(running)];
    const reason = order + "\0".repeat(length - order.length);
    one.session.Close(reason);
    two.session.Destroy(4001, reason);
    assert.deepEqual([(await one.peer.closed).code, (await two.peer.closed).code], [4000, 4001]);
    await other.peer.roundTrip();
  }
});
