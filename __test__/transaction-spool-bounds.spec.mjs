// How much of unread streams may lie in temporary files: for a session, for those that nobody has asked for, for a server.
import assert from "node:assert/strict";
import { once, openPair, openSession, rejection, startServer } from "./support/server.mjs";
import { test } from "./support/test.mjs";
import {
  MIB, assertSameBytes, counted, fetchRange, payload, readAll, sendChunks, sendFinish, streamError, takeCancel, takeFinish, takeStart,
} from "./support/streams.mjs";
import { eventually } from "./support/wait.mjs";

/** What of an unread stream lies in memory, before any of it goes into a file. */
const WINDOW = MIB;

const cancelled = (peer) => peer.of("TX_CANCEL").map(({ txId }) => txId);

/** Begins a stream of which `size` bytes come and are not read; `more` sends more of the same data. */
async function unread({ session, peer }, txId, size, { asked = true, data = payload(size, txId + 1) } = {}) {
  const name = `unread ${txId}`;
  const waiting = asked ? session.transaction.WaitForStream(name) : undefined;
  await peer.acked(peer.sendTxStart({ txId, name }), 20_000);
  let sent = 0;
  const more = async (bytes) => {
    await sendChunks(peer, txId, data.subarray(sent, sent + bytes), { at: sent });
    sent += bytes;
    await peer.roundTrip(20_000);
  };
  const readable = await waiting;
  await more(size);
  const whole = async (stream = readable) => {
    const finish = sendFinish(peer, txId);
    await peer.acked(finish, 20_000);
    assertSameBytes(await readAll(stream), data.subarray(0, sent), name);
  };
  return { txId, name, readable, more, whole };
}

/** Waits until what has come lies where it stays. */
const spooled = (of, bytes) => eventually(() => of.stats().bytesSpooled === bytes, 20_000, `${bytes} bytes spooled`);

async function assertCancelled(peer, stream) {
  await takeCancel(peer, stream.txId, 20_000);
  assert.equal((await streamError(stream.readable)).code, "ERR_CAMP_STREAM_OVERFLOW");
}

// A session.

test("maxSpoolBytes bounds all streams of a session together: beyond it the newest is cancelled, the others are whole", async (t) => {
  const pair = await openPair(t, { options: { maxSpoolBytes: 6 * MIB } });
  const first = await unread(pair, 0, 4 * MIB);
  const second = await unread(pair, 1, 3 * MIB);
  const third = await unread(pair, 2, 4 * MIB);
  await assertCancelled(pair.peer, third);
  await pair.peer.roundTrip();
  await first.whole();
  await second.whole();
  assert.deepEqual(cancelled(pair.peer), [2]);
});

test("when an older stream grows beyond maxSpoolBytes, the newest goes, and then the older when it is alone", async (t) => {
  const pair = await openPair(t, { options: { maxSpoolBytes: 6 * MIB } });
  const older = await unread(pair, 0, 3 * MIB, { data: payload(12 * MIB) });
  const newer = await unread(pair, 1, 4 * MIB);
  await older.more(3 * MIB);
  await assertCancelled(pair.peer, newer);
  assert.deepEqual(cancelled(pair.peer), [1]);
  await older.more(6 * MIB);
  await assertCancelled(pair.peer, older);
});

test("a stream that has come whole stays, when an unfinished one can go", async (t) => {
  const pair = await openPair(t, { options: { maxSpoolBytes: 6 * MIB } });
  const unfinished = await unread(pair, 0, 3 * MIB, { data: payload(8 * MIB) });
  const finished = await unread(pair, 1, 4 * MIB);
  await pair.peer.acked(sendFinish(pair.peer, 1), 20_000);
  await unfinished.more(3 * MIB);
  await assertCancelled(pair.peer, unfinished);
  assertSameBytes(await readAll(finished.readable), payload(4 * MIB, 2));
});

test("what a cancelled stream had is there for others at once", async (t) => {
  const pair = await openPair(t, { options: { maxSpoolBytes: 4 * MIB } });
  for (let txId = 0; txId < 5; txId++) await assertCancelled(pair.peer, await unread(pair, txId, 8 * MIB));
  await spooled(pair.session, 0);
  const fits = await unread(pair, 5, 4 * MIB);
  await fits.whole();
});

// Those that nobody has asked for.

test("streams that nobody has asked for keep 64 MiB a session: beyond it the newest is cancelled, and who asks is told why", {
  timeout: 90_000,
}, async (t) => {
  const pair = await openPair(t);
  const { session, peer } = pair;
  const first = await unread(pair, 0, 30 * MIB, { asked: false });
  const second = await unread(pair, 1, 30 * MIB, { asked: false });
  const third = await unread(pair, 2, 5 * MIB, { asked: false });
  await takeCancel(peer, 2, 20_000);
  assert.ok(session.stats().bytesSpooled <= 64 * MIB, `${session.stats().bytesSpooled} bytes`);
  const [one, two, three] = await Promise.all([first, second, third].map(({ name }) => session.transaction.WaitForStream(name)));
  assert.equal((await streamError(three)).code, "ERR_CAMP_STREAM_OVERFLOW");
  await first.whole(one);
  await second.whole(two);
  assert.deepEqual(cancelled(peer), [2]);
});

test("once somebody has asked for it, a stream may have more than 64 MiB unread", { timeout: 90_000 }, async (t) => {
  const pair = await openPair(t);
  const data = payload(100 * MIB);
  const asked = await unread(pair, 0, 70 * MIB);
  const late = await unread(pair, 1, 40 * MIB, { asked: false, data });
  const readable = await pair.session.transaction.WaitForStream(late.name);
  await late.more(40 * MIB);
  await late.whole(readable);
  await asked.whole();
  assert.deepEqual(cancelled(pair.peer), []);
});

test("small streams that nobody asks for keep no more than that, finished or not", { timeout: 90_000 }, async (t) => {
  const pair = await openPair(t);
  const streams = [];
  // Those that come whole within the first 1 MiB are with the application.
  for (let txId = 0; txId < 10; txId++) {
    streams.push(await unread(pair, txId, MIB / 2, { asked: false }));
    await pair.peer.acked(sendFinish(pair.peer, txId), 20_000);
  }
  const large = await unread(pair, 10, 62 * MIB, { asked: false });
  await takeCancel(pair.peer, large.txId, 20_000);
  for (const { name, txId } of streams) {
    assertSameBytes(await readAll(await pair.session.transaction.WaitForStream(name)), payload(MIB / 2, txId + 1), name);
  }
});

// A server.

test("maxSpoolTotalBytes bounds all sessions of a server: beyond it the newest stream is cancelled, whosever it is", async (t) => {
  const running = await startServer(t, { maxSpoolTotalBytes: 8 * MIB });
  const one = await openSession(running);
  const other = await openSession(running);
  const first = await unread(one, 0, 4 * MIB, { data: payload(8 * MIB) });
  const second = await unread(other, 0, 4 * MIB);
  const third = await unread(one, 1, 5 * MIB);
  await assertCancelled(one.peer, third);
  await first.more(4 * MIB);
  await assertCancelled(other.peer, second);
  await first.whole();
  for (const { peer } of [one, other]) await peer.roundTrip();
});

test("streams whose session is over count for the server until they are read", async (t) => {
  const running = await startServer(t, { maxSpoolTotalBytes: 6 * MIB });
  const { server } = running;
  const gone = await openSession(running);
  const left = await unread(gone, 0, 5 * MIB);
  await gone.peer.acked(sendFinish(gone.peer, 0), 20_000);
  await spooled(server, 5 * MIB - WINDOW);
  const closed = once(gone.session, "closed");
  gone.peer.terminate();
  await closed;
  assert.equal(server.stats().bytesSpooled, 5 * MIB - WINDOW);
  const next = await openSession(running);
  const refused = await unread(next, 0, 5 * MIB);
  await assertCancelled(next.peer, refused);
  assertSameBytes(await readAll(left.readable), payload(5 * MIB));
  await spooled(server, 0);
  const fits = await unread(next, 1, 5 * MIB);
  await fits.whole();
});

test("a stream that is read as it comes passes while the server's files are full", async (t) => {
  const running = await startServer(t, { maxSpoolTotalBytes: 4 * MIB });
  const full = await openSession(running);
  const kept = await unread(full, 0, 5 * MIB);
  await spooled(running.server, 4 * MIB);
  const { session, peer } = await openSession(running);
  const data = payload(24 * MIB);
  const waiting = session.transaction.WaitForStream("read");
  peer.sendTxStart({ name: "read" });
  const reading = waiting.then((readable) => readAll(readable));
  await sendChunks(peer, 0, data);
  await peer.acked(sendFinish(peer, 0), 20_000);
  assertSameBytes(await reading, data);
  await kept.whole();
});

test("a source that is collected in a file counts for the server: beyond the bound it is refused, and nothing else suffers", async (t) => {
  const pair = await openPair(t, { options: { maxSpoolTotalBytes: 6 * MIB } });
  const { server, session, peer } = pair;
  const kept = await unread(pair, 0, 4 * MIB);
  await spooled(server, 3 * MIB);
  const error = await rejection(session.transaction.Stream(counted(4 * MIB, {}), { behaviour: "pull" }), 20_000);
  assert.equal(error.code, "ERR_CAMP_STREAM_OVERFLOW");
  assert.match(error.message, /maxSpoolTotalBytes/);
  await spooled(server, 3 * MIB);
  const data = payload(2 * MIB);
  const sent = session.transaction.Stream([data], { behaviour: "pull" });
  const { txId } = await takeStart(peer);
  assert.equal(server.stats().bytesSpooled, 5 * MIB);
  assert.equal(session.stats().bytesSpooled, 5 * MIB);
  assertSameBytes(await fetchRange(peer, txId, 0, data.length), data);
  await takeFinish(peer, txId);
  await sent;
  await spooled(server, 3 * MIB);
  await kept.whole();
});

// Files.

test("stats() and metrics() show what is spooled, and that it is given back", async (t) => {
  const { server, session, peer } = await openPair(t);
  assert.equal(session.stats().bytesSpooled, 0);
  const stream = await unread({ session, peer }, 0, 5 * MIB);
  await spooled(session, 5 * MIB - WINDOW);
  assert.equal(server.stats().bytesSpooled, 5 * MIB - WINDOW);
  assert.match(server.metrics(), new RegExp(`^camp_spooled_bytes ${5 * MIB - WINDOW}$`, "m"));
  await stream.whole();
  await spooled(session, 0);
  assert.equal(server.stats().bytesSpooled, 0);
});

test("a stream that is always a little behind takes no more room than what is unread", { timeout: 60_000 }, async (t) => {
  const pair = await openPair(t);
  const rounds = 40;
  const stream = await unread(pair, 0, 4 * MIB, { data: payload((4 + rounds) * MIB) });
  let most = 0;
  const parts = [];
  for (let round = 0; round < rounds; round++) {
    for (let taken = 0; taken < MIB;) {
      const part = stream.readable.read();
      if (part === null) await once(stream.readable, "readable");
      else {
        taken += part.length;
        parts.push(part);
      }
    }
    await stream.more(MIB);
    most = Math.max(most, pair.session.stats().bytesSpooled);
  }
  await pair.peer.acked(sendFinish(pair.peer, 0), 20_000);
  for await (const part of stream.readable) parts.push(part);
  assertSameBytes(Buffer.concat(parts), payload((4 + rounds) * MIB));
  assert.ok(most <= 10 * MIB, `${most} bytes for 4 MiB unread`);
  await spooled(pair.session, 0);
});

test("a session has no more than 128 files at once: the newest stream is cancelled", { timeout: 60_000 }, async (t) => {
  const pair = await openPair(t, { options: { maxTransactions: 200 } });
  const data = Buffer.alloc(WINDOW + 1);
  const streams = [];
  for (let txId = 0; txId < 130; txId++) streams.push(await unread(pair, txId, data.length, { data }));
  for (const stream of streams.slice(128)) await assertCancelled(pair.peer, stream);
  for (const stream of streams.slice(0, 128)) await stream.whole();
  assert.deepEqual(cancelled(pair.peer), [128, 129]);
});

test("a session that ends gives back what it had", async (t) => {
  const running = await startServer(t);
  const pair = await openSession(running);
  await unread(pair, 0, 5 * MIB);
  pair.session.transaction.Stream([payload(2 * MIB)], { behaviour: "pull" }).catch(() => {});
  await takeStart(pair.peer);
  await spooled(running.server, 6 * MIB);
  const closed = once(pair.session, "closed");
  pair.peer.terminate();
  await closed;
  await spooled(running.server, 0);
});
