// Incoming streams that are read later than they came: what was acknowledged is there, whatever happens meanwhile.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once, openPair, openSession } from "./support/server.mjs";
import { test } from "./support/test.mjs";
import { MIB, assertSameBytes, payload, readAll, sendPush, sha256, streamError } from "./support/streams.mjs";
import { within } from "./support/wait.mjs";

/** Pushes `data` whole, and waits until the server has accepted all of it. */
async function pushed({ session, peer }, { name, data, txId = 0 }) {
  const { finish } = await sendPush(peer, { txId, name, data });
  await peer.acked(finish);
  return session.transaction.WaitForStream(name);
}

test("an acknowledged stream can be read to its end after the client is gone", async (t) => {
  const { server, port, session, peer } = await openPair(t);
  const data = payload(9 * MIB);
  const readable = await pushed({ session, peer }, { name: "legacy", data });
  const closed = once(session, "closed");
  peer.terminate();
  await closed;
  const other = await openSession({ server, port });
  assertSameBytes(await readAll(await pushed(other, { name: "meanwhile", data: data.subarray(0, 3 * MIB) })), data.subarray(0, 3 * MIB));
  assertSameBytes(await readAll(readable), data);
  assert.equal(server.stats().sessions, 1);
});

test("an unfinished stream ends with an error when the client is gone", async (t) => {
  const { session, peer } = await openPair(t);
  peer.sendTxStart({ name: "half" });
  const readable = await session.transaction.WaitForStream("half");
  const failed = streamError(readable);
  peer.terminate();
  assert.equal((await failed).code, "ERR_CAMP_SESSION_CLOSED");
});

test("a finished stream that is not wanted after the client is gone may be destroyed", async (t) => {
  const { server, session, peer } = await openPair(t);
  const readable = await pushed({ session, peer }, { name: "unwanted", data: payload(9 * MIB) });
  const closed = once(session, "closed");
  peer.terminate();
  await closed;
  readable.destroy();
  await within(server.Destroy(), 5000, "Destroy()");
});

test("Destroy() ends what is still unread of streams whose clients are gone", async (t) => {
  const { server, session, peer } = await openPair(t);
  const readable = await pushed({ session, peer }, { name: "late", data: payload(9 * MIB) });
  const closed = once(session, "closed");
  peer.terminate();
  await closed;
  await within(server.Destroy(), 5000, "Destroy()");
  assert.equal((await streamError(readable)).code, "ERR_CAMP_SESSION_CLOSED");
});

test("a stream whose reader goes on reading is not given up, however little may be stored", async (t) => {
  const { session, peer } = await openPair(t, { options: { maxSpoolBytes: 4 * MIB } });
  const data = payload(48 * MIB);
  const waiting = session.transaction.WaitForStream("steady");
  const sending = sendPush(peer, { name: "steady", data });
  const digest = createHash("sha256");
  for await (const part of await waiting) {
    digest.update(part);
    await new Promise(setImmediate);
    const until = performance.now() + 1;
    while (performance.now() < until) { /* work that keeps the thread */ }
  }
  assert.equal(digest.digest("hex"), sha256(data));
  await peer.acked((await sending).finish);
});
