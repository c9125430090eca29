import assert from "node:assert/strict";
import { CAMP } from "./support/product.mjs";
import { Peer } from "./support/peer.mjs";
import { echo, openSession, startServer, validator } from "./support/server.mjs";
import { test } from "./support/test.mjs";

/** Option name, bad values. The name must be in the message. */
const BAD = [
  ["port", [-1, 65_536, 1.5, NaN, Infinity, "abc", {}, true]],
  ["keepAliveIntervalMs", [-1, NaN, "15000ms", {}, -Infinity]],
  ["ackTimeoutMs", [-1, NaN, "x", {}]],
  ["handshakeTimeoutMs", [-1, NaN, "x", {}]],
  ["maxHeaderBytes", [-1, NaN, "x", {}]],
  ["maxInboundBytes", [-1, NaN, "x", {}]],
  ["maxUnacknowledged", [0, -1, NaN, "x", {}]],
  ["maxSpoolBytes", [0, -1, 1.5, NaN, "x", {}]],
  ["maxSpoolTotalBytes", [0, -1, 1.5, NaN, "x", {}]],
  ["host", [5, {}, true]],
  ["backpressure", ["optimize_everything", "", 5, true]],
  ["ssl", ["pem", 5, true]],
  ["path", ["camp", "", "/a?b", 5, {}]],
  ["backlog", [0, -1, 1.5, NaN, "x", {}]],
  ["reusePort", [1, "yes", {}]],
  ["maxConnections", [0, -1, 1.5, NaN, "x", {}]],
  ["allowedOrigins", ["https://example.com", ["example.com"], ["https://example.com/page"], [5], {}]],
];

const BAD_BACKPRESSURE = [
  ["highWaterMark", [-1, NaN, "x", {}]],
  ["lowWaterMark", [-1, NaN, "x", {}]],
  ["maxQueuedBytes", [-1, NaN, "x", {}]],
  ["maxQueueCount", [-1, NaN, "x", {}]],
  ["dropPolicy", ["drop-random", "", 5, {}]],
  ["HIGH_WATERMARK", [-1, "x"]],
  ["LOW_WATERMARK", [-1, "x"]],
  ["MAX_QUEUED_BYTES", [-1, "x"]],
  ["MAX_QUEUE_SIZE", [-1, "x"]],
  ["DROP_POLICY", ["drop-random", 5]],
];

/** The older spellings may be reported under the present name. */
const PRESENT_NAME = {
  HIGH_WATERMARK: "highWaterMark", LOW_WATERMARK: "lowWaterMark", MAX_QUEUED_BYTES: "maxQueuedBytes",
  MAX_QUEUE_SIZE: "maxQueueCount", DROP_POLICY: "dropPolicy",
};

function assertThrowsNaming(names, options, checked = validator) {
  let server;
  try {
    server = CAMP(checked, options);
  } catch (error) {
    assert.ok(error instanceof TypeError || error instanceof RangeError, `${names}: threw ${error}`);
    assert.ok(names.some((name) => error.message.includes(name)), `${names} is not named in: ${error.message}`);
    return;
  }
  server.on("error", () => {});
  server.Destroy();
  assert.fail(`${names} accepted ${JSON.stringify(options)}`);
}

for (const [name, values] of BAD) {
  test(`a bad ${name} throws at once and is named`, () => {
    for (const value of values) assertThrowsNaming([name], { port: 0, [name]: value });
  });
}

test("bad backpressure options throw at once and are named", () => {
  for (const [name, values] of BAD_BACKPRESSURE) {
    for (const value of values) {
      assertThrowsNaming([name, PRESENT_NAME[name] ?? name], { port: 0, backpressure: { [name]: value } });
    }
  }
});

test("ssl without key or without cert throws at once and names what is missing", () => {
  assertThrowsNaming(["ssl.cert"], { port: 0, ssl: { key: Buffer.from("x") } });
  assertThrowsNaming(["ssl.key"], { port: 0, ssl: { cert: Buffer.from("x") } });
  assertThrowsNaming(["ssl.key", "ssl.cert"], { port: 0, ssl: {} });
  assertThrowsNaming(["ssl.key"], { port: 0, ssl: { key: 5, cert: Buffer.from("x") } });
});

test("a validator that is none throws a TypeError at once", () => {
  for (const wrong of [undefined, null, {}, { validate: true }, "token", 5]) {
    assert.throws(() => CAMP(wrong, { port: 0 }), (error) => error instanceof TypeError && /validat/i.test(error.message), String(wrong));
  }
});

test("options that are no object throw a TypeError at once", () => {
  for (const wrong of [5, "8080", true]) {
    assert.throws(() => CAMP(validator, wrong), TypeError, String(wrong));
  }
});

test("options that are undefined count as not given", async (t) => {
  const running = await startServer(t, {
    keepAliveIntervalMs: undefined, ssl: undefined, backpressure: undefined, ackTimeoutMs: undefined, host: undefined,
    handshakeTimeoutMs: undefined, maxHeaderBytes: undefined, maxInboundBytes: undefined,
  });
  echo(running.server);
  const { peer } = await openSession(running);
  await peer.echo("defaults");
});

test("backpressure may be partial", async (t) => {
  const partial = [{}, { maxQueueCount: 10 }, { dropPolicy: "drop-newest" }, { maxQueuedBytes: 1024 }, { HIGH_WATERMARK: 2 ** 20 * 32 }, { highWaterMark: undefined }];
  for (const backpressure of partial) {
    const running = await startServer(t, { backpressure });
    echo(running.server);
    const { peer } = await openSession(running);
    await peer.echo(JSON.stringify(backpressure));
  }
});

test("the options object is not written to and may be frozen", async (t) => {
  const options = Object.freeze({ port: 0, backpressure: Object.freeze({ maxQueueCount: 7 }) });
  const running = await startServer(t, options);
  assert.deepEqual(options, { port: 0, backpressure: { maxQueueCount: 7 } });
  assert.ok(running.port > 0);
});

test("host binds that address alone", async (t) => {
  const { server, port } = await startServer(t, { host: "127.0.0.1" });
  assert.deepEqual(server.address(), { address: "127.0.0.1", family: "IPv4", port });
  const peer = await Peer.connect({ port });
  await peer.ready();
});

test("without host the server takes IPv4, and IPv6 where there is any", async (t) => {
  const { server, port } = await startServer(t);
  const { address, family } = server.address();
  assert.ok((address === "::" && family === "IPv6") || (address === "0.0.0.0" && family === "IPv4"), `${address} ${family}`);
  await (await Peer.connect({ port, host: "127.0.0.1" })).ready();
  if (family === "IPv6") await (await Peer.connect({ port, host: "[::1]" })).ready();
});
