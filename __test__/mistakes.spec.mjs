// Names that mean nothing, and answers of the application that hardly mean what they say.
import assert from "node:assert/strict";
import { CAMP } from "./support/product.mjs";
import { Peer } from "./support/peer.mjs";
import { openPair, openSession, rejection, startServer, TOKEN, validator } from "./support/server.mjs";
import { test } from "./support/test.mjs";
import { once, within } from "./support/wait.mjs";

/** What `CAMP` makes of these options; a server that comes of them ends with the test. */
function start(t, options) {
  const server = CAMP(validator, { port: 0, ...options });
  t.after(() => server.Destroy());
  return server;
}

const unknown = (message) => ({ name: "TypeError", code: "ERR_CAMP_UNKNOWN_OPTION", message });

/** The warnings with this code, as messages, from now to the end of the test. */
function warnings(t, code) {
  const messages = [];
  const listener = (warning) => {
    if (warning.code === code) messages.push(warning.message);
  };
  process.on("warning", listener);
  t.after(() => process.off("warning", listener));
  return messages;
}

/** A warning is emitted in the tick after it was given. */
const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

for (const [options, message] of [
  [{ tls: { key: "", cert: "" } }, "CAMP() has no option tls: did you mean ssl?"],
  [{ cert: "" }, "CAMP() has no option cert: did you mean ssl.cert?"],
  [{ key: "" }, "CAMP() has no option key: did you mean ssl.key?"],
  [{ origins: [] }, "CAMP() has no option origins: did you mean allowedOrigins?"],
  [{ allowedOrigin: [] }, "CAMP() has no option allowedOrigin: did you mean allowedOrigins?"],
  [{ hostname: "localhost" }, "CAMP() has no option hostname: did you mean host?"],
  [{ keepaliveIntervalMs: 1000 }, "CAMP() has no option keepaliveIntervalMs: did you mean keepAliveIntervalMs?"],
  [{ keep_alive_interval_ms: 1000 }, "CAMP() has no option keep_alive_interval_ms: did you mean keepAliveIntervalMs?"],
  [{ Port: 1 }, "CAMP() has no option Port: did you mean port?"],
  [{ hots: "localhost" }, "CAMP() has no option hots: did you mean host?"],
  [{ maxConnection: 5 }, "CAMP() has no option maxConnection: did you mean maxConnections?"],
  [{ backpressure: { highWatermark: 1 } }, "CAMP() has no option backpressure.highWatermark: did you mean backpressure.highWaterMark?"],
  [{ backpressure: { MAX_QUEUE_BYTES: 1 } }, "CAMP() has no option backpressure.MAX_QUEUE_BYTES: did you mean backpressure.maxQueuedBytes?"],
  [{ backpressure: { droppolicy: "drop-newest" } }, "CAMP() has no option backpressure.droppolicy: did you mean backpressure.dropPolicy?"],
  [Object.create({ Host: "localhost" }), "CAMP() has no option Host: did you mean host?"],
]) {
  test(`an option of CAMP() that nobody knows throws: ${message}`, () => {
    assert.throws(() => CAMP(validator, Object.assign(options, { port: 0 })), unknown(message));
  });
}

test("a field of ssl with a misspelt name is refused with the right one", () => {
  assert.throws(() => CAMP(validator, { port: 0, ssl: { key: "", cert: "", passPhrase: "" } }), {
    name: "TypeError", code: "ERR_CAMP_TLS_UNSUPPORTED", message: "ssl.passPhrase is not supported: did you mean ssl.passphrase?",
  });
});

test("an option of CAMP() that resembles none is ignored, as in 1.0.x, and warned of once", async (t) => {
  const messages = warnings(t, "CAMP_UNKNOWN_OPTION");
  for (let i = 0; i < 3; i++) start(t, { databaseUrl: "postgres://", backpressure: { compression: true } });
  await nextTurn();
  assert.deepEqual(messages.sort(), [
    "CAMP() has no option backpressure.compression: it is ignored.",
    "CAMP() has no option databaseUrl: it is ignored.",
  ]);
});

test("an unknown option whose value is undefined is none, nor is what a library adds to all objects", async (t) => {
  const messages = warnings(t, "CAMP_UNKNOWN_OPTION");
  Object.prototype.everywhere = () => {};
  try {
    start(t, { tls: undefined, keepaliveIntervalMs: undefined });
  } finally {
    delete Object.prototype.everywhere;
  }
  await nextTurn();
  assert.deepEqual(messages, []);
});

for (const backpressure of [
  { highWaterMark: 1000, lowWaterMark: 1001 },
  { HIGH_WATERMARK: 1000, LOW_WATERMARK: 1001 },
  { lowWaterMark: 32 * 1024 * 1024 },
  { lowWaterMark: Infinity },
]) {
  test(`a low watermark above the high one throws: ${JSON.stringify(backpressure)}`, () => {
    assert.throws(() => CAMP(validator, { port: 0, backpressure }), { name: "RangeError", message: /^backpressure\.(lowWaterMark|LOW_WATERMARK) must not be above the high watermark/ });
  });
}

test("a high watermark below the default of the low one is taken, and equal ones are", (t) => {
  start(t, { backpressure: { highWaterMark: 1000 } });
  start(t, { backpressure: { highWaterMark: 1000, lowWaterMark: 1000 } });
  start(t, { backpressure: { highWaterMark: Infinity, lowWaterMark: Infinity } });
});

test("options of a session's methods that nobody knows reject, with the name that was meant", async (t) => {
  const { session, server } = await openPair(t);
  const { base, transaction } = session;
  for (const [call, message] of [
    [() => base.SendUTF8("x", { timeoutMS: 1 }), "A send has no option timeoutMS: did you mean timeoutMs?"],
    [() => base.SendBinary(Buffer.of(1), { signals: null }), "A send has no option signals: did you mean signal?"],
    [() => base.SendError("x", { retries: 1 }), "A send has no option retries: it takes timeoutMs, signal."],
    [() => transaction.Stream("x", { behavior: "pull" }), "Stream has no option behavior: did you mean behaviour?"],
    [() => transaction.Stream("x", { name: "n" }), "Stream has no option name: did you mean streamName?"],
    [() => transaction.WaitForStream("x", { timeout: 1 }), /^WaitForStream has no option timeout: /],
    [() => server.ConnectPeer("ws://localhost:1", "T", { serverName: "x" }), "ConnectPeer has no option serverName: did you mean servername?"],
    [() => server.ConnectPeer("ws://localhost:1", "T", { headers: {} }), /^ConnectPeer has no option headers: it takes ca, /],
  ]) {
    const error = await rejection(call());
    assert.equal(error.name, "TypeError");
    assert.equal(error.code, "ERR_CAMP_UNKNOWN_OPTION");
    assert.match(error.message, message instanceof RegExp ? message : new RegExp(`^${message.replaceAll(/[.?()]/g, "\\$&")}$`));
  }
});

test("an extension with a misspelt hook is not registered; the error names the right one", async (t) => {
  const { server } = await startServer(t);
  class Logger {
    name = "logger";
    before_send_utf() {
      return true;
    }
  }
  assert.throws(() => server.RegisterExtension(new Logger()), unknown("Extension 'logger' has no hook before_send_utf: did you mean before_send_utf8?"));
  assert.throws(() => server.RegisterExtension({ name: "x", onReceiveBinary: () => true }), unknown(/did you mean on_receive_binary\?$/));
  assert.throws(() => server.RegisterExtension({ name: "x", on_recieve_utf8: () => true }), unknown(/did you mean on_receive_utf8\?$/));
  assert.equal(server.GetExtension("logger"), null);
  server.RegisterExtension(Object.assign(new Logger(), { before_send_utf8: () => true, helper: () => {}, on_receive: "no function" }));
});

for (const [how, hook] of [["async", async () => {}], ["synchronous", () => {}]]) {
  test(`a hook (${how}) that gives undefined suppresses, and is warned of once for each extension and hook`, async (t) => {
    const messages = warnings(t, "CAMP_HOOK_RESULT");
    const { server, session, peer } = await openPair(t);
    server.RegisterExtension({ name: `${how} one`, before_send_utf8: hook, on_receive_utf8: hook });
    for (let i = 0; i < 3; i++) await session.base.SendUTF8("never sent");
    // What is suppressed is acknowledged behind its hooks.
    await peer.acked(peer.sendText("never emitted"));
    server.UnregisterExtension(`${how} one`);
    server.RegisterExtension({ name: `${how} other`, before_send_utf8: hook });
    await session.base.SendUTF8("never sent");
    server.UnregisterExtension(`${how} other`);
    server.RegisterExtension({ name: `${how} third`, before_send_utf8: () => false });
    await session.base.SendUTF8("never sent");
    await nextTurn();
    assert.deepEqual(peer.texts(), []);
    const words = (name, which) => `${which} of extension '${how} ${name}' has given undefined, which suppresses the message: return true to let it pass, false to suppress it.`;
    assert.deepEqual(messages, [words("one", "before_send_utf8"), words("one", "on_receive_utf8"), words("other", "before_send_utf8")]);
  });
}

test("a validator's answer that is true without being it lets the client in, and is warned of once, unquoted", async (t) => {
  const messages = warnings(t, "CAMP_VALIDATOR_RESULT");
  const running = await startServer(t, {}, { validate: async (token) => token === TOKEN && { secret: "claims of the token" } });
  await openSession(running);
  await openSession(running);
  await assert.rejects(Peer.connect({ port: running.port, token: "wrong" }), { status: 401 });
  await nextTurn();
  assert.deepEqual(messages, ["validate has given a value of the type object, which counts as true: give true to let a client in, false to refuse it."]);
});

test("a validator that forgets to answer refuses, and is warned of once", async (t) => {
  const messages = warnings(t, "CAMP_VALIDATOR_RESULT");
  const { port } = await startServer(t, {}, { validate: async () => {} });
  for (let i = 0; i < 2; i++) await assert.rejects(Peer.connect({ port }), { status: 401 });
  await nextTurn();
  assert.deepEqual(messages, ["validate has given undefined, which counts as false: give true to let a client in, false to refuse it."]);
});

test("a time-out names the stream that did not come, or was not over", async (t) => {
  const { session, peer } = await openPair(t, { peer: { autoAck: false, autoInfo: false } });
  const late = await rejection(session.transaction.WaitForStream("upload", 5));
  assert.equal(late.message, "Timeout elapsed!");
  assert.deepEqual([late.code, late.streamName, late.timeoutMs], ["ERR_CAMP_TIMEOUT", "upload", 5]);
  assert.equal((await rejection(session.transaction.WaitForStream("", 5))).streamName, "anonymous");
  peer.sendInfo();
  await within(once(session, "connected"), 5000, "connected");
  const long = await rejection(session.transaction.Stream(Buffer.alloc(10), { streamName: "report", timeoutMs: 5 }));
  assert.equal(long.message, 'The stream "report" was not over within 5 ms.');
  assert.deepEqual([long.code, long.streamName, long.timeoutMs], ["ERR_CAMP_TIMEOUT", "report", 5]);
});
