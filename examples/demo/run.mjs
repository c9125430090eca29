// The demo: a CAMP server in this process, a client in another one, real TCP between them. They
// exchange text, bytes and errors with acknowledgements both ways, check every one of them, and
// close gracefully. Then two servers stream a file to each other, whole. Exit code 0 when all of it was as it should be.
import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { once } from "node:events";
import { performance } from "node:perf_hooks";
import { fileURLToPath } from "node:url";
import { CAMP } from "camp-server";
import { exchangeStreams } from "./streams.mjs";

/** @import { CAMPServerWebsocketSession } from "camp-server" */
/** @typedef {{ bytesSent: number, bytesReceived: number, acksSent: number, acksReceived: number }} Figures */

const ECHOES = 50_000;
const IN_FLIGHT = 64;
const DEADLINE_MS = 60_000;
const HEARTBEAT_MS = 500;
/** A ping or a pong may be on its way while the two sides compare their byte counts. */
const PING_PONG_BYTES = 13;

const say = (/** @type {string} */ text) => console.log(`  server | ${text}`);
const number = new Intl.NumberFormat("en-US").format;

/** @type {import("node:child_process").ChildProcess | undefined} */
let client;
const fail = (/** @type {unknown} */ reason) => {
  console.error("\nThe demo failed:", reason);
  client?.kill();
  process.exit(1);
};
process.on("uncaughtException", fail);
setTimeout(() => fail(`not finished after ${DEADLINE_MS / 1000} s`), DEADLINE_MS).unref();

const server = CAMP({
  async validate(token) {
    return token === "demo token";
  },
}, { host: "127.0.0.1", port: 0, keepAliveIntervalMs: HEARTBEAT_MS });
server.on("listener-error", fail);
await once(server, "listening");
const port = server.address()?.port;
say(`listening on port ${port}`);

/** What has happened in the session so far. */
const received = { text: 0, binary: 0, error: "" };
let acknowledged = 0;

/** Resolved with the session when the client says "done". @type {Promise<CAMPServerWebsocketSession>} */
const finished = new Promise((resolve) => {
  // Listeners are added right here: nothing else of the session can have happened yet.
  server.on("session", (session) => {
    say(`session ${session.id}`);
    session.on("connected", () => say("connected: the client's ENDPOINT_INFO is accepted"));
    session.on("message-utf8", async (text) => {
      received.text += 1;
      if (text === "ready") return greet(session);
      if (text === "done") return resolve(session);
      await session.base.SendUTF8(text);
      acknowledged += 1;
    });
    session.on("message-binary", async (data) => {
      received.binary += 1;
      await session.base.SendBinary(data);
      acknowledged += 1;
    });
    session.on("message-error", (message) => { received.error = message; });
    session.on("dropped", (frame) => fail(`dropped a frame: ${JSON.stringify(frame)}`));
  });
});

client = fork(fileURLToPath(new URL("client.mjs", import.meta.url)), [port, ECHOES, IN_FLIGHT].map(String));
const exited = once(client, "exit").then(([code]) => {
  if (code !== 0) fail(`the client ended with exit code ${code}`);
});
const clientFigures = once(client, "message").then(([figures]) => /** @type {Figures} */ (figures));

/** One message of each kind to the client. @param {CAMPServerWebsocketSession} session */
async function greet(session) {
  const begin = performance.now();
  await Promise.all([
    session.base.SendUTF8("Grüße from the server ✓"),
    session.base.SendBinary(Buffer.alloc(4096, 0xa5)),
    session.base.SendError("an error, for the sake of it"),
  ]);
  acknowledged += 3;
  say(`sent text, bytes and an error: all acknowledged after ${(performance.now() - begin).toFixed(1)} ms`);
}

const session = await finished;
const figures = await clientFigures;

assert.equal(received.text, ECHOES + 3, "text messages");
assert.equal(received.binary, 1, "binary messages");
assert.equal(received.error, "an error from the client");
assert.equal(acknowledged, ECHOES + 5, "acknowledged sends");
say(`received ${number(received.text)} texts, ${received.binary} binary message and the error "${received.error}"`);
say(`all ${number(acknowledged)} messages sent were acknowledged by the client`);

const [[rtt], [rx], [tx], [timeouts]] = await Promise.all([
  once(session, "stat-rtt"), once(session, "stat-bytes-rx"), once(session, "stat-bytes-tx"), once(session, "stat-ack-timeout"),
]);
say(`statistics events: RTT ${rtt.toFixed(2)} ms, ${number(rx)} bytes received, ${number(tx)} bytes sent, ${timeouts} ACK timeouts`);
assert(rtt >= 0);
assert.equal(timeouts, 0);
assertSameBytes(rx, figures.bytesSent, "received here, sent there");
assertSameBytes(tx, figures.bytesReceived, "sent here, received there");
// The client acknowledged our ENDPOINT_INFO and all we sent; we its ENDPOINT_INFO, its error and what it sent.
assert.equal(figures.acksSent, acknowledged + 1, "ACKs by the client");
assert.equal(figures.acksReceived, received.text + received.binary + 2, "ACKs by the server");
say("the client has counted the same bytes and acknowledgements");

/** @param {number} here @param {number} there @param {string} what */
function assertSameBytes(here, there, what) {
  const difference = Math.abs(here - there);
  assert(difference % PING_PONG_BYTES === 0 && difference <= 4 * PING_PONG_BYTES, `${what}: ${here} and ${there} bytes`);
}

await session.Close("The demo is over.");
await exited;
await server.Destroy();
say("closed");

console.log("\nStreams, between two servers in two processes:");
await exchangeStreams(say, fail);
console.log("\nThe demo has finished: everything was exchanged, acknowledged and verified.");
