// What operators and their tools rely on, to the letter: the exposition format of Prometheus, disposal, credentials in
// a header, the shape of what is told.
import assert from "node:assert/strict";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { CAMP } from "./support/product.mjs";
import { Peer, Refused, freshSid } from "./support/peer.mjs";
import { once, openPair, openSession, rejection, sessionFor, startServer, validator } from "./support/server.mjs";
import { stall, tight } from "./support/stall.mjs";
import { test } from "./support/test.mjs";
import { eventually, within } from "./support/wait.mjs";

// The text format, version 0.0.4: https://prometheus.io/docs/instrumenting/exposition_formats/
const NAME = "[a-zA-Z_:][a-zA-Z0-9_:]*";
const HELP = new RegExp(`^# HELP (${NAME}) ((?:[^\\\\\\n]|\\\\\\\\|\\\\n)+)$`);
const TYPE = new RegExp(`^# TYPE (${NAME}) (counter|gauge|histogram|summary|untyped)$`);
const LABEL = '[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\\\\n]|\\\\["\\\\n])*"';
const SAMPLE = new RegExp(`^(${NAME})(?:\\{${LABEL}(?:,${LABEL})*,?\\})? (NaN|[+-]?Inf|[+-]?\\d+(?:\\.\\d+)?(?:[eE][+-]?\\d+)?)(?: -?\\d+)?$`);

/** Every family of a text: `{ type, help, samples: [[line, value]] }` by name. Throws on whatever a scraper may not take. */
function parseExposition(text) {
  assert.ok(text.endsWith("\n") && !text.includes("\r"), "lines end with a line feed, the last one too");
  const families = new Map();
  let current;
  for (const line of text.slice(0, -1).split("\n")) {
    const help = HELP.exec(line);
    const type = TYPE.exec(line);
    const sample = SAMPLE.exec(line);
    if (help !== null) {
      assert.ok(!families.has(help[1]), `${help[1]} has two families`);
      families.set(help[1], (current = { name: help[1], help: help[2], type: undefined, samples: [] }));
    } else if (type !== null) {
      assert.equal(current?.name, type[1], `TYPE of ${type[1]} does not follow its HELP`);
      assert.deepEqual([current.type, current.samples.length], [undefined, 0], "one TYPE, before the samples");
      current.type = type[2];
    } else if (sample !== null) {
      assert.equal(current?.name, sample[1], `a sample of ${sample[1]} apart from its family`);
      assert.ok(!current.samples.some(([head]) => head === line.slice(0, line.lastIndexOf(" "))), `${line}: a second one`);
      current.samples.push([line.slice(0, line.lastIndexOf(" ")), Number(sample[2])]);
    } else {
      assert.fail(`not a line of the format: ${JSON.stringify(line)}`);
    }
  }
  return families;
}

test("the parser of these tests refuses what is not the format", () => {
  const good = "# HELP a_total Help.\n# TYPE a_total counter\na_total 1\n";
  assert.equal(parseExposition(good).get("a_total").samples[0][1], 1);
  for (const bad of [
    good.slice(0, -1), `${good}\n`, good.replace("a_total 1", "a_total undefined"), good.replace("counter", "number"),
    good.replace("a_total 1", "a-total 1"), good.replace("a_total 1", "a_total  1"), good + good, `${good}b 1\n`,
    good.replace("# TYPE a_total", "# TYPE b_total"), good.replaceAll("\n", "\r\n"), good.replace(" 1", ' {b="c} 1'),
  ]) assert.throws(() => parseExposition(bad), undefined, JSON.stringify(bad));
});

test("metrics() is Prometheus text, before, during and after", async (t) => {
  const running = await startServer(t);
  const { server } = running;
  const check = () => {
    const families = parseExposition(server.metrics());
    for (const { name, type, samples } of families.values()) {
      assert.match(name, /^camp_/);
      assert.equal(samples.length, 1, name);
      assert.equal(type, name.endsWith("_total") ? "counter" : "gauge", name);
      assert.ok(Number.isSafeInteger(samples[0][1]) && samples[0][1] >= 0, `${name} ${samples[0][1]}`);
    }
    return Object.fromEntries([...families].map(([name, { samples }]) => [name, samples[0][1]]));
  };
  const before = check();
  const { session, peer } = await openSession(running);
  await peer.acked(peer.sendText("x"));
  const during = check();
  await session.Destroy();
  await server.Destroy();
  const after = check();
  assert.deepEqual([before.camp_sessions, during.camp_sessions, after.camp_sessions], [0, 1, 0]);
  assert.deepEqual([during.camp_received_messages_total, after.camp_received_messages_total], [1, 1]);
  for (const name of Object.keys(before)) {
    if (name.endsWith("_total")) assert.ok(before[name] <= during[name] && during[name] <= after[name], `${name} went down`);
  }
});

test("Symbol.asyncDispose destroys a session, and a server", async (t) => {
  const running = await startServer(t);
  const { session, peer } = await openSession(running);
  await within(session[Symbol.asyncDispose](), 5000, "disposal of the session");
  assert.equal((await peer.closed).code, 4000);
  assert.equal(peer.of("BYE").length, 0);
  const { peer: other } = await openSession(running);
  await within(running.server[Symbol.asyncDispose](), 5000, "disposal of the server");
  await other.closed;
  assert.equal(other.of("BYE")[0].reason, "Server shutdown.");
});

test("a token may come in an Authorization header, the sid in the query; the query's token goes first", async (t) => {
  const asked = [];
  const { server, port } = await startServer(t, {}, { validate: (token) => (asked.push(token), true) });
  const connect = async (query, authorization) => {
    const sid = freshSid();
    const found = sessionFor(server, sid);
    await Peer.connect({ port, sid, query: `${query}x-camp-sid=${sid}`, headers: { authorization } });
    return (await found).Get("__TOKEN");
  };
  assert.equal(await connect("", "Bearer from-header"), "from-header");
  assert.equal(await connect("authorization=Bearer%20from-query&", "Bearer from-header"), "from-query");
  assert.deepEqual(asked, ["from-header", "from-query"]);
  const basic = await rejection(Peer.connect({ port, query: `x-camp-sid=${freshSid()}`, headers: { authorization: "Basic eDp5" } }));
  assert.ok(basic instanceof Refused && /Incorrect type of auth data supplied\./.test(basic.body), String(basic));
  server.http_server.on("upgrade", (_request, socket) => socket.destroy());
  assert.equal(await connect("", "Bearer beside-another-protocol"), "beside-another-protocol");
});

for (const [kind, bytes, send] of [
  ["utf8", 3, (base) => base.SendUTF8("ä!")],
  ["binary", 5, (base) => base.SendBinary(Buffer.alloc(5))],
  ["error", 4, (base) => base.SendError("oops")],
]) {
  test(`a dropped ${kind} message is told by event, channel and rejection alike`, async (t) => {
    const { server, session, peer } = await openPair(t, { options: tight({ maxQueueCount: 1, dropPolicy: "drop-newest" }) });
    await stall(session, peer);
    await eventually(() => session.stats().framesQueued > 0);
    const told = [];
    const listener = (message) => told.push(message);
    subscribe("camp-server:dropped", listener);
    t.after(() => unsubscribe("camp-server:dropped", listener));
    const dropped = once(session, "dropped");
    const error = await rejection(send(session.base));
    assert.equal(error.code, "ERR_CAMP_DROPPED");
    assert.match(error.message, /drop-newest/);
    assert.deepEqual(await dropped, [{ type: kind, bytes, policy: "drop-newest" }]);
    assert.deepEqual(told, [{ server, session, type: kind, bytes, policy: "drop-newest" }]);
  });
}

test("every send of a session that is over rejects with ERR_CAMP_SESSION_CLOSED", async (t) => {
  const { session } = await openPair(t);
  await session.Close();
  const { base, transaction } = session;
  for (const send of [
    () => base.Ping(), () => base.SendUTF8("x"), () => base.SendBinary(Buffer.of(1)), () => base.SendError("x"),
    () => base.SendUTF8("x", { timeoutMs: 1000 }), () => transaction.Stream(Buffer.of(1)), () => transaction.WaitForStream("x"),
  ]) assert.equal((await rejection(send())).code, "ERR_CAMP_SESSION_CLOSED", String(send));
  await Promise.all([session.Close(), session.Destroy(), session[Symbol.asyncDispose]()]);
});

test("a close code that no endpoint may send is a RangeError, and the session lives", async (t) => {
  const { session, peer } = await openPair(t);
  for (const code of [0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 4000.5, NaN, "4000", null]) {
    assert.throws(() => session.Destroy(code), RangeError, String(code));
  }
  await peer.roundTrip();
});

test("a backlog of one is enough for clients that come one after the other", async (t) => {
  const running = await startServer(t, { backlog: 1 });
  for (let i = 0; i < 3; i++) await openSession(running);
});

test("errors of the port come before anything was awaited, and Destroy() of such a server resolves", async (t) => {
  const { port } = await startServer(t, { host: "127.0.0.1" });
  const second = CAMP(validator, { port, host: "127.0.0.1" });
  const [error] = await once(second, "error");
  assert.deepEqual([error.code, error.syscall, error.port, error.address], ["EADDRINUSE", "listen", port, "127.0.0.1"]);
  assert.equal(second.address(), null);
  await within(second.Destroy(), 5000, "Destroy()");
  await within(second.Drain(10), 5000, "Drain()");
});

test("signals end the wait for Stream and WaitForStream, with an AbortError", async (t) => {
  const { session } = await openPair(t);
  const why = new Error("why");
  const controller = new AbortController();
  const waits = [
    session.transaction.WaitForStream("never", { signal: controller.signal, timeoutMs: Infinity }),
    session.transaction.Stream((async function* () { await new Promise(() => {}); yield ""; })(), { signal: controller.signal }),
  ];
  const rejections = Promise.all(waits.map((wait) => rejection(wait)));
  controller.abort(why);
  for (const { code, cause } of await rejections) assert.deepEqual([code, cause], ["ABORT_ERR", why]);
});

test("the validator's signal is aborted when handshakeTimeoutMs is over, and when the server is destroyed", async (t) => {
  const signals = [];
  const undecided = { validate: (_token, { signal }) => (signals.push(signal), new Promise(() => {})) };
  for (const end of [() => {}, (server) => server.Destroy()]) {
    const { server, port } = await startServer(t, { handshakeTimeoutMs: signals.length === 0 ? 50 : 30_000 }, undecided);
    const count = signals.length;
    const asked = Peer.connect({ port });
    asked.catch(() => {});
    await eventually(() => signals.length > count);
    assert.equal(signals[count].aborted, false);
    await end(server);
    await eventually(() => signals[count].aborted);
    await assert.rejects(asked);
  }
});

test("requests that are refused do not use up maxConnections", async (t) => {
  const running = await startServer(t, { maxConnections: 1 });
  for (let i = 0; i < 3; i++) assert.equal((await rejection(Peer.connect({ port: running.port, token: "wrong" }))).status, 401);
  await openSession(running);
});

test("a listener of listening or of a stat event that throws is reported as listener-error", async (t) => {
  const server = CAMP(validator, { port: 0, keepAliveIntervalMs: 500 });
  t.after(() => server.Destroy());
  const told = [];
  server.on("listener-error", (error, event, session) => told.push([error.message, event, session]));
  const listening = once(server, "listening");
  server.on("listening", () => { throw new Error("one"); });
  await listening;
  const { port } = server.address();
  const { session, peer } = await openSession({ server, port });
  session.once("stat-rtt", () => { throw new Error("two"); });
  await once(session, "stat-ack-timeout");
  peer.terminate();
  assert.deepEqual(told, [["one", "listening", undefined], ["two", "stat-rtt", session]]);
});

test("hundreds of sends may wait for one signal, without a warning, and all of them hear of it", async (t) => {
  const warnings = [];
  const onWarning = (warning) => warnings.push(warning.name);
  process.on("warning", onWarning);
  t.after(() => process.removeListener("warning", onWarning));
  const { session, peer } = await openPair(t, { peer: { autoAck: false } });
  peer.sendAck(0);
  const controller = new AbortController();
  const { signal } = controller;
  const acknowledged = Array.from({ length: 300 }, () => session.base.SendUTF8("acknowledged", { signal }));
  await peer.until(() => peer.of("UTF8DATA").length === 300);
  for (const { ack } of peer.of("UTF8DATA")) peer.sendAck(ack);
  await Promise.all(acknowledged);
  const given = Array.from({ length: 300 }, () => session.base.SendUTF8("given up", { signal }));
  controller.abort();
  for (const outcome of await Promise.allSettled(given)) assert.equal(outcome.reason?.name, "AbortError");
  await new Promise(setImmediate);
  assert.deepEqual(warnings, []);
});

test("bytes that were transferred elsewhere are a rejection, not an exception", async (t) => {
  const { session } = await openPair(t);
  for (const viewOf of [(memory) => memory, (memory) => new DataView(memory)]) {
    const memory = new ArrayBuffer(8);
    const data = viewOf(memory);
    structuredClone(memory, { transfer: [memory] });
    assert.ok((await rejection(session.base.SendBinary(data))) instanceof TypeError);
  }
});
