// Calls that nobody awaits: what the program has done wrong is reported, what befalls a client is not.
import assert from "node:assert/strict";
import { once as onceEvent } from "node:events";
import { Readable } from "node:stream";
import { types } from "node:util";
import { Child } from "./support/child.mjs";
import { Peer } from "./support/peer.mjs";
import { openPair, openSession, rejection } from "./support/server.mjs";
import { test } from "./support/test.mjs";
import { delay, eventually } from "./support/wait.mjs";

const TOO_LARGE = 1024 * 1024 + 1;

/** The reports so far as [event, code or name, session]; taken, so that the cleanup does not object to them. */
const take = (pair) => pair.listenerErrors.splice(0).map(([error, event, session]) => [event, error.code ?? error.name, session]);

/** Whatever is reported of what was called before is reported by then. */
async function settled({ session }) {
  for (let i = 0; i < 3; i++) await new Promise(setImmediate);
  await session.base.Ping();
  await new Promise(setImmediate);
}

const failing = (error) => new Readable({ read() { this.destroy(error); } });

async function* throwing() {
  yield "a chunk";
  throw new SyntaxError("x");
}

for (const [call, report, run] of [
  ["SendUTF8 of a number", ["SendUTF8", "ERR_INVALID_ARG_TYPE"], ({ base }) => base.SendUTF8(5)],
  ["SendUTF8 of too large a text", ["SendUTF8", "ERR_CAMP_PAYLOAD_TOO_LARGE"], ({ base }) => base.SendUTF8("x".repeat(TOO_LARGE))],
  ["SendUTF8 with an unknown option", ["SendUTF8", "ERR_CAMP_UNKNOWN_OPTION"], ({ base }) => base.SendUTF8("x", { timeout: 5 })],
  ["SendUTF8 of a number with options", ["SendUTF8", "ERR_INVALID_ARG_TYPE"], ({ base }) => base.SendUTF8(5, { timeoutMs: 1000 })],
  ["SendBinary of a text", ["SendBinary", "ERR_INVALID_ARG_TYPE"], ({ base }) => base.SendBinary("x")],
  ["SendBinary of too many bytes", ["SendBinary", "ERR_CAMP_PAYLOAD_TOO_LARGE"], ({ base }) => base.SendBinary(Buffer.alloc(TOO_LARGE))],
  ["SendBinary of memory that was transferred", ["SendBinary", "ERR_INVALID_STATE"], ({ base }) => {
    const bytes = new Uint8Array(10);
    structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
    return base.SendBinary(bytes);
  }],
  ["SendError of an Error", ["SendError", "ERR_INVALID_ARG_TYPE"], ({ base }) => base.SendError(new Error("x"))],
  ["SendError of too large a text", ["SendError", "ERR_CAMP_PAYLOAD_TOO_LARGE"], ({ base }) => base.SendError("x".repeat(TOO_LARGE))],
  ["Stream of a number", ["Stream", "ERR_INVALID_ARG_TYPE"], ({ transaction }) => transaction.Stream(5)],
  ["Stream with an unknown option", ["Stream", "ERR_CAMP_UNKNOWN_OPTION"], ({ transaction }) => transaction.Stream("x", { behavior: "pull" })],
  ["Stream of a file that does not exist", ["Stream", "ENOENT"], ({ transaction }) => transaction.Stream({ path: "/nowhere/at/all" })],
  ["Stream of a Readable that fails", ["Stream", "EIO"], ({ transaction }) => transaction.Stream(failing(Object.assign(new Error("disk"), { code: "EIO" })))],
  ["Stream of an iterable that throws", ["Stream", "SyntaxError"], ({ transaction }) => transaction.Stream(throwing())],
  ["Stream of chunks that are no bytes", ["Stream", "ERR_INVALID_ARG_TYPE"], ({ transaction }) => transaction.Stream([1, 2])],
  ["Stream for pulling of a source that fails", ["Stream", "EIO"], ({ transaction }) => transaction.Stream(failing(Object.assign(new Error("disk"), { code: "EIO" })), { behaviour: "pull" })],
  ["WaitForStream with a name that is none", ["WaitForStream", "ERR_INVALID_ARG_TYPE"], ({ transaction }) => transaction.WaitForStream(5)],
  ["StreamRequestRange of something else", ["StreamRequestRange", "TypeError"], ({ transaction }) => transaction.StreamRequestRange({}, 0n, 1n)],
]) {
  test(`${call} that nobody awaits is reported as listener-error "${report[0]}"`, async (t) => {
    const pair = await openPair(t);
    void run(pair.session);
    await eventually(() => pair.listenerErrors.length > 0);
    await settled(pair);
    assert.deepEqual(take(pair), [[...report, pair.session]]);
  });

  test(`${call} is not reported where somebody hears of it`, async (t) => {
    const pair = await openPair(t);
    const { session } = pair;
    await assert.rejects(async () => void await run(session));
    await assert.rejects(async () => run(session));
    await new Promise((resolve) => run(session).catch(resolve));
    await new Promise((resolve) => run(session).then(undefined, resolve));
    await run(session).finally(() => {}).catch(() => {});
    await assert.rejects(Promise.all([session.base.Ping(), run(session)]));
    await Promise.allSettled([run(session), run(session)]);
    await assert.rejects(Promise.race([run(session)]));
    await settled(pair);
    assert.deepEqual(take(pair), []);
  });
}

test("a ConnectPeer with wrong arguments that nobody awaits is reported", async (t) => {
  const pair = await openPair(t);
  void pair.server.ConnectPeer("http://localhost", "T");
  void pair.server.ConnectPeer("ws://localhost", 5);
  await assert.rejects(pair.server.ConnectPeer("http://localhost", "T"));
  await eventually(() => pair.listenerErrors.length > 1);
  assert.deepEqual(take(pair), [["ConnectPeer", "RangeError", undefined], ["ConnectPeer", "ERR_INVALID_ARG_TYPE", undefined]]);
});

test("a promise that is awaited later, but within the same turn of the event loop, counts as awaited", async (t) => {
  const pair = await openPair(t);
  const promise = pair.session.base.SendUTF8(5);
  for (let i = 0; i < 100; i++) await null;
  await assert.rejects(promise, { code: "ERR_INVALID_ARG_TYPE" });
  await settled(pair);
  assert.deepEqual(take(pair), []);
});

test("a promise that was reported can still be awaited, and is a promise like any other", async (t) => {
  const pair = await openPair(t);
  const promise = pair.session.base.SendUTF8(5);
  assert.ok(promise instanceof Promise);
  assert.ok(types.isPromise(promise));
  await eventually(() => pair.listenerErrors.length > 0);
  take(pair);
  assert.equal(Object.getPrototypeOf(promise.catch(() => {})), Promise.prototype);
  assert.equal((await rejection(promise)).code, "ERR_INVALID_ARG_TYPE");
});

test("what a listener returns is reported once, by the event", async (t) => {
  const pair = await openPair(t);
  pair.session.on("message-utf8", () => pair.session.base.SendUTF8(5));
  pair.session.on("message-binary", async () => pair.session.base.SendUTF8(5));
  pair.session.on("message-error", async () => void await pair.session.base.SendUTF8(5));
  pair.peer.sendText("x");
  pair.peer.sendBinary([1]);
  pair.peer.sendError("x");
  await eventually(() => pair.listenerErrors.length > 2);
  await settled(pair);
  assert.deepEqual(take(pair).map(([event]) => event).sort(), ["message-binary", "message-error", "message-utf8"]);
});

test("behind a hook too large a payload is reported, also one that the hook has made", async (t) => {
  const pair = await openPair(t);
  pair.server.RegisterExtension({ name: "grows", before_send_utf8: (_session, box) => ((box.value += "x".repeat(TOO_LARGE)), true) });
  void pair.session.base.SendUTF8("x");
  await eventually(() => pair.listenerErrors.length > 0);
  await assert.rejects(pair.session.base.SendUTF8("x"), { code: "ERR_CAMP_PAYLOAD_TOO_LARGE" });
  await settled(pair);
  assert.deepEqual(take(pair), [["SendUTF8", "ERR_CAMP_PAYLOAD_TOO_LARGE", pair.session]]);
});

test("what fails because the client has left, is slow or has cancelled, and what the caller aborts, is silent", async (t) => {
  const pair = await openPair(t, { options: { ackTimeoutMs: 50 }, peer: { autoAck: false } });
  const { session, peer, server } = pair;
  const endless = () => new Readable({ read() { setImmediate(() => this.push(Buffer.alloc(1000))); } });
  const calls = [
    session.base.SendUTF8("never acknowledged"),
    session.base.SendUTF8("nor this", { timeoutMs: 5 }),
    session.base.SendBinary(Buffer.of(1), { signal: AbortSignal.timeout(5) }),
    session.transaction.WaitForStream("never", 5),
    session.transaction.Stream(endless(), { timeoutMs: 5 }),
    session.transaction.Stream(endless(), { signal: AbortSignal.timeout(5) }),
    session.transaction.Stream(endless()),
    server.ConnectPeer("ws://127.0.0.1:1", "T"),
  ];
  const waiting = session.transaction.WaitForStream("for ever", Infinity);
  peer.terminate();
  await onceEvent(session, "closed");
  calls.push(session.base.SendUTF8("too late"), session.base.Ping(), session.transaction.Stream(endless()), session.transaction.WaitForStream("too late"));
  assert.equal((await rejection(waiting)).code, "ERR_CAMP_SESSION_CLOSED");
  await delay(100);
  for (let i = 0; i < 3; i++) await new Promise(setImmediate);
  assert.deepEqual(take(pair), []);
  for (const [i, call] of calls.entries()) await assert.rejects(call, undefined, `call ${i}`);
});

test("a stream that is passed on from a client that leaves, or aborts, is nobody's mistake", async (t) => {
  const pair = await openPair(t);
  const other = await openSession(pair);
  other.peer.sendTxStart({ txId: 1, name: "upload" });
  const upload = await other.session.transaction.WaitForStream("upload");
  const passedOn = pair.session.transaction.Stream(upload);
  const aborted = pair.session.transaction.Stream(failing(Object.assign(new Error("x"), { name: "AbortError" })));
  await pair.peer.next("TX_START");
  other.peer.terminate();
  await onceEvent(other.session, "closed");
  await eventually(() => upload.destroyed);
  await settled(pair);
  assert.deepEqual(take(pair), []);
  assert.equal((await rejection(passedOn)).code, "ERR_CAMP_SESSION_CLOSED");
  assert.equal((await rejection(aborted)).name, "AbortError");
});

test("without a listener for listener-error it is printed, and the process lives", async (t) => {
  const child = Child.start(t, "unawaited.mjs");
  const { port } = await child.report("listening");
  const peer = await Peer.connect({ port });
  await peer.ready();
  child.command("mistakes");
  await child.report("done");
  await peer.echo("still here");
  const printed = () => child.stderr.match(/^camp-server: /gm)?.length ?? 0;
  await eventually(() => printed() >= 3);
  child.command("destroy");
  child.command("exit");
  assert.deepEqual(await child.exit(), { code: 0, signal: null });
  assert.match(child.stderr, /^camp-server: SendUTF8 has failed, and nobody awaits it: TypeError: SendUTF8 takes a string, not number\.\n(?: {4}at .*\n)* {4}at .*unawaited\.mjs/m);
  assert.match(child.stderr, /^camp-server: Stream has failed, and nobody awaits it: Error: .*nowhere/m);
  assert.match(child.stderr, /^camp-server: Stream has failed, and nobody awaits it: .*it cannot be printed in full/m);
  assert.equal(printed(), 3);
});
