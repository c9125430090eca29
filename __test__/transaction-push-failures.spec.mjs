import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { truncate } from "node:fs/promises";
import { Readable } from "node:stream";
import { Child } from "./support/child.mjs";
import { KERNEL, standstill } from "./support/kernel.mjs";
import { Peer } from "./support/peer.mjs";
import { assertRefuses, once, openPair, rejection } from "./support/server.mjs";
import { tight } from "./support/stall.mjs";
import { test } from "./support/test.mjs";
import {
  KIB, MIB, bytesOf, chunksOf, counted, openEnded, payload, receivePush, sendCancel, sparseFile, takeCancel, takeStart, tempDirectory,
  webStream,
} from "./support/streams.mjs";
import { delay, eventually, isPending } from "./support/wait.mjs";

class SourceError extends Error {}

/** Sources that give a little and then fail with `error`. */
const FAILING = {
  "a Readable": (error) => {
    const source = openEnded();
    setTimeout(() => source.destroy(error), 50);
    return source;
  },
  "an async generator": (error) => (async function* () {
    yield payload(1000);
    throw error;
  })(),
  "a generator": (error) => (function* () {
    yield payload(1000);
    throw error;
  })(),
  "a web stream": (error) => new ReadableStream({
    pull(controller) {
      if (this.given) controller.error(error);
      else controller.enqueue(new Uint8Array(1000));
      this.given = true;
    },
  }),
};

for (const [kind, make] of Object.entries(FAILING)) {
  test(`${kind} that fails: TX_CANCEL, and a rejection with its own error`, async (t) => {
    const { session, peer } = await openPair(t);
    const error = new SourceError("no more");
    const sent = session.transaction.Stream(make(error));
    assert.equal(await rejection(sent), error);
    await takeCancel(peer, 0);
    assert.equal(peer.of("TX_FINISH").length, 0);
    const next = session.transaction.Stream(Buffer.from("x"), { streamName: "next" });
    await receivePush(peer, { name: "next" });
    await next;
  });
}

test("a Readable destroyed in the middle without an error: TX_CANCEL and a rejection", async (t) => {
  const { session, peer } = await openPair(t);
  const source = openEnded();
  const sent = session.transaction.Stream(source);
  await peer.next("TX_CHUNK");
  source.destroy();
  assert.ok((await rejection(sent)) instanceof Error);
  await takeCancel(peer, 0);
  assert.equal(peer.of("TX_FINISH").length, 0);
});

test("a source that was used up before is refused or empty, and never hangs", async (t) => {
  const { session, peer } = await openPair(t);
  const destroyed = openEnded();
  destroyed.destroy();
  const failed = openEnded();
  failed.on("error", () => {});
  failed.destroy(new SourceError("before"));
  const locked = webStream([payload(10)]);
  locked.getReader();
  for (const [what, source] of Object.entries({ destroyed, failed, locked })) {
    await assertRefuses(() => session.transaction.Stream(source), Error, what);
  }
  await peer.roundTrip();
  assert.equal(peer.of("TX_FINISH").length, 0);
  await peer.until(() => peer.of("TX_CANCEL").length === peer.of("TX_START").length);
});

test("an iterable of something else than bytes: TX_CANCEL and a TypeError", async (t) => {
  const { session, peer } = await openPair(t);
  for (const [txId, source] of [[payload(10), 5], [payload(10), {}], [payload(10), null]].entries()) {
    assert.ok((await rejection(session.transaction.Stream(source))) instanceof TypeError);
    if (peer.of("TX_START").length > txId) await takeCancel(peer, txId);
  }
  await peer.roundTrip();
  assert.equal(peer.of("TX_FINISH").length, 0);
});

test("a file that is missing, a directory: a rejection, and no stream on the wire that is not cancelled", async (t) => {
  const { session, peer } = await openPair(t);
  const directory = await tempDirectory(t);
  const missing = await rejection(session.transaction.Stream({ path: `${directory}/missing` }));
  assert.equal(missing.code, "ENOENT");
  assert.match(missing.message, /missing/);
  assert.ok((await rejection(session.transaction.Stream({ path: directory }))) instanceof Error);
  await peer.roundTrip();
  assert.equal(peer.of("TX_FINISH").length, 0);
  await peer.until(() => peer.of("TX_CANCEL").length === peer.of("TX_START").length);
  const next = session.transaction.Stream(Buffer.from("x"), { streamName: "next" });
  await receivePush(peer, { name: "next" });
  await next;
});

test("a file truncated while it is sent: TX_CANCEL and a rejection that says so", async (t) => {
  const { session, peer } = await openPair(t);
  const path = await sparseFile(t, 256 * MIB);
  const failure = rejection(session.transaction.Stream({ path }), 20_000);
  await peer.next("TX_CHUNK");
  peer.pauseReading();
  await truncate(path, MIB);
  await delay(100);
  peer.resumeReading();
  const error = await failure;
  assert.ok(error instanceof Error);
  assert.match(error.message, /source\.bin|file|short|trunc|end|bytes/i);
  await takeCancel(peer, 0, 15_000);
  assert.equal(peer.of("TX_FINISH").length, 0);
  assert.ok(bytesOf(chunksOf(peer, 0)) < 256 * MIB);
});

// What ends a transfer from outside must also end its source.

/** Sources that never end by themselves, with `ended()`: their reader let go of them. */
const ENDLESS = {
  "a Readable": () => {
    const source = openEnded();
    return { source, ended: () => source.destroyed };
  },
  "an async iterable": () => {
    const state = {};
    const source = {
      async *[Symbol.asyncIterator]() {
        try {
          for (;;) {
            await delay(1);
            yield payload(100);
          }
        } finally {
          state.ended = true;
        }
      },
    };
    return { source, ended: () => state.ended };
  },
  "a web stream": () => {
    const state = {};
    const source = new ReadableStream({
      async pull(controller) {
        await delay(1);
        controller.enqueue(new Uint8Array(100));
      },
      cancel() {
        state.ended = true;
      },
    });
    return { source, ended: () => state.ended };
  },
};

for (const [kind, make] of Object.entries(ENDLESS)) {
  test(`the client's TX_CANCEL ends the transfer and ${kind} behind it`, async (t) => {
    const { session, peer } = await openPair(t);
    const { source, ended } = make();
    const sent = session.transaction.Stream(source);
    await peer.next("TX_CHUNK");
    const ack = sendCancel(peer, 0);
    assert.equal((await rejection(sent)).code, "ERR_CAMP_CANCELLED");
    await peer.acked(ack);
    await eventually(ended, 5000, "the source is let go");
    await peer.roundTrip();
    const chunks = peer.of("TX_CHUNK").length;
    await delay(100);
    await peer.roundTrip();
    assert.equal(peer.of("TX_CHUNK").length, chunks, "chunks after the cancel");
    assert.equal(peer.of("TX_FINISH").length, 0);
  });

  test(`an AbortSignal ends the transfer and ${kind} behind it`, async (t) => {
    const { session, peer } = await openPair(t);
    const { source, ended } = make();
    const controller = new AbortController();
    const sent = session.transaction.Stream(source, { signal: controller.signal });
    await peer.next("TX_CHUNK");
    controller.abort();
    assert.equal((await rejection(sent)).name, "AbortError");
    await takeCancel(peer, 0);
    await eventually(ended, 5000, "the source is let go");
    await peer.roundTrip();
    assert.ok(peer.frames.findLastIndex(({ type }) => type === "TX_CHUNK") < peer.frames.findIndex(({ type }) => type === "TX_CANCEL"));
    assert.equal(peer.of("TX_FINISH").length, 0);
    assert.equal(peer.of("TX_CANCEL").length, 1);
  });
}

for (const [kind, make] of Object.entries({
  "a Buffer": async () => payload(64 * MIB),
  "a file": async (t) => ({ path: await sparseFile(t, 256 * MIB) }),
  "a Blob": async () => new Blob([new Uint8Array(64 * MIB)]),
})) {
  for (const way of ["TX_CANCEL", "AbortSignal"]) {
    test(`${way} ends the transfer of ${kind}`, async (t) => {
      const { session, peer } = await openPair(t);
      const controller = new AbortController();
      const sent = session.transaction.Stream(await make(t), { signal: controller.signal });
      await peer.next("TX_CHUNK");
      peer.pauseReading();
      if (way === "TX_CANCEL") sendCancel(peer, 0);
      else controller.abort();
      const error = await rejection(sent, 10_000);
      peer.resumeReading();
      if (way === "TX_CANCEL") assert.equal(error.code, "ERR_CAMP_CANCELLED");
      else {
        assert.equal(error.name, "AbortError");
        await takeCancel(peer, 0, 10_000);
      }
      await peer.roundTrip(10_000);
      assert.equal(peer.of("TX_FINISH").length, 0);
    });
  }
}

test("a signal aborted before: AbortError, and the source is let go", async (t) => {
  const { session, peer } = await openPair(t);
  const source = openEnded();
  const error = await rejection(session.transaction.Stream(source, { signal: AbortSignal.abort() }));
  assert.equal(error.name, "AbortError");
  await eventually(() => source.destroyed);
  await peer.roundTrip();
  assert.equal(peer.of("TX_CHUNK").length, 0);
  await peer.until(() => peer.of("TX_CANCEL").length === peer.of("TX_START").length);
});

test("a signal's reason is the cause of the AbortError, of Stream and of WaitForStream", async (t) => {
  const { session } = await openPair(t);
  const reason = new Error("no longer needed");
  const calls = [
    (signal) => session.transaction.Stream(openEnded(), { signal }),
    (signal) => session.transaction.WaitForStream("nobody's", { signal }),
  ];
  for (const call of calls) {
    const controller = new AbortController();
    const late = call(controller.signal);
    controller.abort(reason);
    for (const error of [await rejection(late), await rejection(call(controller.signal))]) {
      assert.deepEqual([error.name, error.code, error.cause], ["AbortError", "ABORT_ERR", reason]);
    }
  }
});

test("timeoutMs cancels a transaction that is not over in time", async (t) => {
  const { session, peer } = await openPair(t);
  const source = openEnded();
  const error = await rejection(session.transaction.Stream(source, { timeoutMs: 50 }));
  assert.equal(error.code, "ERR_CAMP_TIMEOUT");
  await takeCancel(peer, 0);
  await eventually(() => source.destroyed);
  const done = session.transaction.Stream(Buffer.from("x"), { streamName: "done", timeoutMs: 60_000 });
  await receivePush(peer, { name: "done" });
  await done;
  for (const timeoutMs of [0, -1, NaN, Infinity, 2 ** 31]) {
    assert.ok(await rejection(session.transaction.Stream("x", { timeoutMs })) instanceof RangeError, String(timeoutMs));
  }
  assert.ok(await rejection(session.transaction.Stream("x", { timeoutMs: "1" })) instanceof TypeError);
});

test("a signal aborted after the end does nothing", async (t) => {
  const { session, peer } = await openPair(t);
  const controller = new AbortController();
  const sent = session.transaction.Stream(Buffer.from("x"), { signal: controller.signal });
  await receivePush(peer);
  await sent;
  controller.abort();
  await peer.roundTrip();
  assert.equal(peer.of("TX_CANCEL").length, 0);
});

test("a TX_CANCEL that crosses the end on the wire, or names no transaction, is ignored", async (t) => {
  const { session, peer } = await openPair(t);
  const sent = session.transaction.Stream(Buffer.from("x"));
  await receivePush(peer);
  await sent;
  for (const txId of [0, 1, 77, 0xffff_ffff]) sendCancel(peer, txId);
  await peer.roundTrip();
  assert.equal(peer.of("ERROR").length, 0);
  assert.ok(peer.isOpen);
});

test("a TX_FINISH that is not acknowledged: ERR_CAMP_ACK_TIMEOUT, the session lives on", async (t) => {
  const { session, peer } = await openPair(t, { options: { ackTimeoutMs: 300 }, peer: { autoAck: false } });
  peer.sendAck(0);
  const sent = session.transaction.Stream(Buffer.from("x"));
  peer.sendAck((await takeStart(peer)).ack);
  assert.equal((await rejection(sent)).code, "ERR_CAMP_ACK_TIMEOUT");
  await peer.roundTrip();
});

test("on a closed session: ERR_CAMP_SESSION_CLOSED, and the source is let go", async (t) => {
  const { session, peer } = await openPair(t);
  const closed = once(session, "closed");
  peer.close(4000);
  await closed;
  const source = openEnded();
  for (const one of [source, Buffer.from("x"), { path: "/nowhere" }]) {
    assert.equal((await rejection(session.transaction.Stream(one))).code, "ERR_CAMP_SESSION_CLOSED");
  }
  await eventually(() => source.destroyed);
});

// A client that reads slowly.

for (const [watermarks, options, handedOver] of [["small", tight(), 64 * KIB], ["default", {}, 16 * MIB]]) {
  for (const kind of ["an async iterable", "a Readable"]) {
    test(`${kind} is not read more than 4 MiB ahead of a client that does not read (${watermarks} watermarks)`, async (t) => {
      const { session, peer } = await openPair(t, { options });
      const state = {};
      const source = counted(200 * MIB, state);
      peer.pauseReading();
      const sent = session.transaction.Stream(kind === "a Readable" ? Readable.from(source, { objectMode: false }) : source);
      sent.catch(() => {});
      await eventually(() => state.produced > 0);
      await standstill(() => state.produced);
      assert.ok(state.produced <= handedOver + 4 * MIB + KERNEL, `${state.produced} bytes taken`);
      assert.ok(await isPending(sent));
      const before = state.produced;
      peer.resumeReading();
      await eventually(() => state.produced > before + 8 * MIB, 15_000, "the transfer goes on");
      peer.terminate();
      await rejection(sent);
    });
  }
}

for (const kind of ["generator", "readable", "file", "blob"]) {
  test(`a ${kind} sent to a client that does not read is not read far ahead of it`, { timeout: 60_000, skip: !existsSync("/proc/self/io") && "needs /proc/self/io" }, async (t) => {
    const child = Child.start(t, "stream-sender.mjs");
    const { port } = await child.report("listening");
    const peer = await Peer.connect({ port });
    await peer.ready();
    peer.pauseReading();
    const path = await sparseFile(t, 400 * MIB);
    child.command("stream", { kind, path, megabytes: 400 });
    const before = await child.report("streaming");
    const taken = async () => {
      child.command("stats");
      return (await child.report("stats")).taken - before.taken;
    };
    await eventually(async () => (await taken()) > MIB);
    await standstill(taken);
    assert.ok((await taken()) < 24 * MIB + KERNEL, `${await taken()} bytes were taken off the source`);
    peer.terminate();
    assert.equal((await child.report("settled", 15_000)).code, "ERR_CAMP_SESSION_CLOSED");
  });
}
