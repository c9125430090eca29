// A session may end at any moment of any transaction.
import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { Child } from "./support/child.mjs";
import { Peer } from "./support/peer.mjs";
import { once, openPair, openSession, rejection, startServer } from "./support/server.mjs";
import { test } from "./support/test.mjs";
import {
  KIB, MIB, PULL, assertSameBytes, openEnded, payload, readAll, sendCancel, sendChunk, sendChunks, sendFetch, sendFinish, sendPush,
  sparseFile, streamError, takeFinish, takeStart, tempDirectory,
} from "./support/streams.mjs";
import { eventually, within } from "./support/wait.mjs";

const ENDINGS = {
  "Close()": ({ session }) => void session.Close("bye"),
  "Destroy()": ({ session }) => void session.Destroy(),
  "Destroy() of the server": ({ server }) => void server.Destroy(),
  "the client's BYE": ({ peer }) => void peer.sendBye("bye"),
  "the client's close": ({ peer }) => void peer.close(4000),
  "the client vanishing": ({ peer }) => void peer.terminate(),
};

/** Brings a transaction to a stage; returns the promises that must reject, and `released()`: nothing holds the source. */
const STAGES = {
  "a push whose TX_START is not acknowledged": async ({ session, peer }) => {
    const source = openEnded();
    const sent = session.transaction.Stream(source);
    await takeStart(peer);
    return { rejecting: [sent], released: () => source.destroyed };
  },
  "files that are being opened": async ({ session }, t) => {
    const path = await sparseFile(t, MIB);
    return { rejecting: ["push", "pull"].map((behaviour) => session.transaction.Stream({ path }, { behaviour })) };
  },
  "a pull in the middle of a range of what was spooled": async ({ session, peer }) => {
    const sent = session.transaction.Stream([payload(8 * MIB)], { behaviour: "pull" });
    peer.sendAck((await takeStart(peer)).ack);
    sendFetch(peer, 0, MIB, 8 * MIB);
    await peer.next("TX_CHUNK");
    return { rejecting: [sent] };
  },
  "a push in its middle": async ({ session, peer }) => {
    const source = openEnded([payload(300_000)]);
    const sent = session.transaction.Stream(source);
    peer.sendAck((await takeStart(peer)).ack);
    await peer.next("TX_CHUNK");
    return { rejecting: [sent], released: () => source.destroyed };
  },
  "a push whose TX_FINISH is not acknowledged": async ({ session, peer }) => {
    const sent = session.transaction.Stream(Buffer.from("x"));
    peer.sendAck((await takeStart(peer)).ack);
    await takeFinish(peer, 0);
    return { rejecting: [sent] };
  },
  "a pull that is being spooled": async ({ session, peer }) => {
    const source = openEnded();
    const sent = session.transaction.Stream(source, { behaviour: "pull" });
    await peer.roundTrip();
    return { rejecting: [sent], released: () => source.destroyed };
  },
  "a pull that nobody has fetched from": async ({ session, peer }, t) => {
    const path = await sparseFile(t, MIB);
    const sends = [Buffer.from("x"), [payload(1000)], { path }].map((source) => session.transaction.Stream(source, { behaviour: "pull" }));
    for (let i = 0; i < 3; i++) peer.sendAck((await takeStart(peer)).ack);
    return { rejecting: sends };
  },
  "a pull in the middle of a range": async ({ session, peer }, t) => {
    const sent = session.transaction.Stream({ path: await sparseFile(t, 64 * MIB) }, { behaviour: "pull" });
    peer.sendAck((await takeStart(peer)).ack);
    sendFetch(peer, 0, 0, 32 * MIB);
    await peer.next("TX_CHUNK");
    return { rejecting: [sent] };
  },
  "a WaitForStream": async ({ session }) => ({ rejecting: [session.transaction.WaitForStream("never", 20_000)] }),
  "an incoming push that is read": async ({ session, peer }) => {
    peer.sendTxStart({ name: "read" });
    sendChunk(peer, 0, 0, payload(1000));
    const readable = await session.transaction.WaitForStream("read");
    const failed = streamError(readable);
    await once(readable, "data");
    return { rejecting: [failed.then((error) => Promise.reject(error))], released: () => readable.destroyed };
  },
  "an incoming push that is not read": async ({ session, peer }) => {
    peer.sendTxStart({ name: "unread", size: BigInt(16 * MIB) });
    const readable = await session.transaction.WaitForStream("unread");
    await sendChunks(peer, 0, payload(8 * MIB));
    await peer.roundTrip();
    const failed = streamError(readable, { read: false });
    return { rejecting: [failed.then((error) => Promise.reject(error))], released: () => readable.destroyed };
  },
  "an incoming push that nobody has asked for": async ({ session, peer }) => {
    peer.sendTxStart({ name: "unasked" });
    sendChunk(peer, 0, 0, payload(1000));
    await peer.roundTrip();
    return { rejecting: [session.transaction.WaitForStream("another", 20_000)] };
  },
  "an incoming pull with a request that is not acknowledged": async ({ session, peer }) => {
    peer.sendTxStart({ name: "pull", size: 1000n, behaviour: PULL });
    const readable = await session.transaction.WaitForStream("pull");
    const failed = streamError(readable);
    const asked = session.transaction.StreamRequestRange(readable, 0n, 10n);
    await peer.next("TX_FETCH");
    return { rejecting: [asked, failed.then((error) => Promise.reject(error))], released: () => readable.destroyed };
  },
  "an incoming pull read by autoPull": async ({ session, peer }) => {
    peer.sendTxStart({ name: "pull", size: BigInt(MIB), behaviour: PULL });
    const readable = await session.transaction.WaitForStream("pull");
    const failed = streamError(readable);
    readable.autoPull(64 * KIB);
    await peer.next("TX_FETCH");
    sendChunk(peer, 0, 0, payload(64 * KIB));
    return { rejecting: [failed.then((error) => Promise.reject(error))], released: () => readable.destroyed };
  },
};

for (const [stage, reach] of Object.entries(STAGES)) {
  test(`${stage}: whatever ends the session, everything is rejected with ERR_CAMP_SESSION_CLOSED`, { timeout: 60_000 }, async (t) => {
    for (const [ending, end] of Object.entries(ENDINGS)) {
      const pair = await openPair(t, { peer: { autoAck: false } });
      pair.peer.sendAck(0);
      const closed = once(pair.session, "closed", 10_000);
      const { rejecting, released = () => true } = await reach(pair, t);
      const errors = rejecting.map((promise) => rejection(promise, 10_000));
      end(pair);
      for (const error of await Promise.all(errors)) assert.equal(error.code, "ERR_CAMP_SESSION_CLOSED", `${ending}: ${error}`);
      await closed;
      await eventually(released, 5000, `${ending}: the stream is let go`);
      assert.equal((await within(pair.peer.closed, 10_000, "the close")).code, ending.includes("vanishing") ? 1006 : 4000, ending);
    }
  });
}

test("an upload that was acknowledged whole is whole, however late it is read and whatever became of its session", async (t) => {
  const { session, peer } = await openPair(t);
  const data = payload(8 * MIB);
  const waiting = session.transaction.WaitForStream("upload");
  const { finish } = await sendPush(peer, { name: "upload", data });
  const readable = await waiting;
  await peer.acked(finish);
  const closed = once(session, "closed");
  peer.close(4000);
  await closed;
  assertSameBytes(await readAll(readable), data);
});

test("after BYE no transaction frame follows", async (t) => {
  const { session, peer } = await openPair(t);
  const sends = [
    session.transaction.Stream({ path: await sparseFile(t, 64 * MIB) }),
    session.transaction.Stream(openEnded()),
    session.transaction.Stream(Buffer.from("x"), { behaviour: "pull" }),
  ];
  for (const sent of sends) sent.catch(() => {});
  await peer.next("TX_CHUNK");
  const closing = session.Close("enough");
  const late = session.transaction.Stream(Buffer.from("late"), { streamName: "late" });
  assert.equal((await rejection(late)).code, "ERR_CAMP_SESSION_CLOSED");
  await within(closing, 10_000, "Close()");
  await peer.closed;
  assert.equal(peer.frames.at(-1).type, "BYE");
  assert.equal(peer.of("TX_START").some(({ name }) => name === "late"), false);
});

test("on a closed session every call is rejected with ERR_CAMP_SESSION_CLOSED", async (t) => {
  const { session, peer } = await openPair(t);
  peer.sendTxStart({ name: "pull", size: 1000n, behaviour: PULL });
  const readable = await session.transaction.WaitForStream("pull");
  readable.on("error", () => {});
  const closed = once(session, "closed");
  peer.terminate();
  await closed;
  const { transaction } = session;
  for (const call of [
    () => transaction.Stream(Buffer.from("x")), () => transaction.Stream([payload(1)], { behaviour: "pull" }),
    () => transaction.WaitForStream("pull"), () => transaction.StreamRequestRange(readable, 0n, 10n),
  ]) {
    assert.equal((await rejection(call(), 2000)).code, "ERR_CAMP_SESSION_CLOSED");
  }
  await Promise.resolve(transaction.Cancel(readable)).catch((error) => assert.equal(error.code, "ERR_CAMP_SESSION_CLOSED"));
  assert.doesNotThrow(() => readable.destroy());
});

test("a session that ends leaves the streams of another alone", async (t) => {
  const running = await startServer(t);
  const [one, other] = [await openSession(running), await openSession(running)];
  for (const { peer } of [one, other]) {
    peer.sendTxStart({ name: "in" });
    sendChunk(peer, 0, 0, payload(1000));
  }
  const readables = await Promise.all([one, other].map(({ session }) => session.transaction.WaitForStream("in")));
  const failed = streamError(readables[0]);
  const sent = other.session.transaction.Stream(payload(16 * MIB));
  one.peer.terminate();
  assert.equal((await failed).code, "ERR_CAMP_SESSION_CLOSED");
  await within(sent, 10_000, "Stream()");
  const ended = once(readables[1], "end");
  readables[1].resume();
  sendFinish(other.peer, 0);
  await ended;
});

// The process: an application that awaits nothing and listens for no error.

async function startStages(t) {
  const spool = await tempDirectory(t);
  const child = Child.start(t, "stream-stages.mjs", { path: await sparseFile(t, 2 * MIB) }, { env: { TMPDIR: spool }, execArgv: ["--expose-gc"] });
  const { port } = await child.report("listening");
  const retained = async () => {
    child.command("retained");
    return child.report("retained");
  };
  return { child, port, spool, retained };
}

/** A client with something going on in every transaction; resolves once `frames` frames have come. */
async function busyClient(port, frames) {
  const peer = await Peer.connect({ port });
  await peer.ready();
  const data = payload(2 * MIB);
  peer.sendTxStart({ txId: 0, name: "ignored", size: BigInt(64 * MIB) });
  peer.sendTxStart({ txId: 1, name: "auto", size: BigInt(data.length), behaviour: PULL });
  peer.sendTxStart({ txId: 2, name: "unasked" });
  peer.sendTxStart({ txId: 3, name: "cancelled" });
  for (const txId of [0, 2, 3]) await sendChunks(peer, txId, data);
  sendCancel(peer, 3);
  const served = new Set();
  await peer.until(() => {
    for (const start of peer.of("TX_START")) {
      if (start.behaviour !== PULL || served.has(start.txId)) continue;
      served.add(start.txId);
      sendFetch(peer, start.txId, 0, start.txId % 2 === 0 ? 1000 : start.size);
    }
    for (const fetch of peer.of("TX_FETCH")) {
      if (served.has(fetch)) continue;
      served.add(fetch);
      sendChunk(peer, fetch.txId, fetch.start, data.subarray(Number(fetch.start), Number(fetch.end)));
    }
    return peer.frames.length >= frames;
  }, 10_000);
  return peer;
}

const LEAVING = [(peer) => peer.terminate(), (peer) => peer.close(4000), (peer) => peer.sendBye("bye")];

test("clients that leave at any stage cost no unhandled error, no descriptor and no temporary file", { timeout: 90_000 }, async (t) => {
  const { child, port, spool, retained } = await startStages(t);
  let visits = 0;
  const visit = async (frames) => {
    const peer = await busyClient(port, frames);
    LEAVING[visits++ % LEAVING.length](peer);
    await within(peer.closed, 10_000, "the close");
    await eventually(() => child.reports.filter(({ name }) => name === "closed").length === visits, 10_000);
  };
  await visit(40);
  await eventually(async () => (await readdir(spool)).length === 0, 5000, "the directory for temporary files is empty");
  const before = await retained();
  for (let i = 0; i < 30; i++) await visit(3 + i * 2);
  let after;
  await eventually(async () => (after = await retained()).sessions <= before.sessions + 1 && after.descriptors <= before.descriptors + 3, 5000).catch(() => {});
  assert.deepEqual(after.failures, []);
  assert.ok(after.descriptors <= before.descriptors + 3, `${after.descriptors - before.descriptors} descriptors more`);
  assert.deepEqual(await readdir(spool), []);
  assert.ok(after.sessions <= before.sessions + 1, `${after.sessions} sessions are kept, ${before.sessions} before`);
  child.command("destroy");
  assert.deepEqual(await child.exit(), { code: 0, signal: null });
});

test("Destroy() in the middle of every transaction lets the process exit, with no temporary file left", async (t) => {
  const { child, port, spool } = await startStages(t);
  const peers = await Promise.all([busyClient(port, 30), busyClient(port, 35)]);
  child.command("destroy");
  const { failures } = await child.report("destroyed");
  for (const peer of peers) assert.equal((await peer.closed).code, 4000);
  assert.deepEqual(await child.exit(), { code: 0, signal: null });
  assert.deepEqual(failures, []);
  assert.deepEqual(await readdir(spool), []);
});

for (const signal of ["SIGKILL", "SIGTERM"]) {
  test(`${signal} in the middle of every transaction leaves no temporary file`, async (t) => {
    const { child, port, spool } = await startStages(t);
    const peer = await busyClient(port, 30);
    // The spooled pull is announced: what it was spooled to exists.
    await peer.until(() => peer.of("TX_START").some(({ name }) => name === "spooled"));
    await peer.roundTrip();
    child.process.kill(signal);
    assert.deepEqual(await child.exit(), { code: null, signal });
    assert.deepEqual(await readdir(spool), []);
  });
}
