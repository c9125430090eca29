// The client process of the demo: `run.mjs` starts it. Tells its side of the story on stdout and
// sends its figures to the parent.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { BINARYDATA, CampClient, ERROR, UTF8DATA } from "./camp-client.mjs";

const [port, echoes, inFlight] = process.argv.slice(2).map(Number);
assert(port && echoes && inFlight && process.send);

const say = (/** @type {string} */ text) => console.log(`  client | ${text}`);
const number = new Intl.NumberFormat("en-US").format;

await assert.rejects(CampClient.connect(port, "wrong token", 1n), { message: "401 Unauthorized" });
say("a wrong token is refused: 401 Unauthorized");

const client = await CampClient.connect(port, "demo token", 20_260_101n);
say(`connected, subprotocol "${client.socket.protocol}", ENDPOINT_INFO acknowledged`);

/** @type {[number, Buffer][]} */
const inbox = [];
let arrived = () => {};
client.onMessage = (type, payload) => {
  inbox.push([type, payload]);
  arrived();
};

/** The next message, which must be of this type. @param {number} type */
async function next(type) {
  while (inbox.length === 0) await new Promise((/** @type {(_: void) => void} */ resolve) => { arrived = resolve; });
  const [actual, payload] = /** @type {[number, Buffer]} */ (inbox.shift());
  assert.equal(actual, type);
  return payload;
}

// What the server sends by itself once we are connected.
await client.send(UTF8DATA, Buffer.from("ready"));
const text = (await next(UTF8DATA)).toString();
const binary = await next(BINARYDATA);
const error = (await next(ERROR)).toString();
assert.equal(text, "Grüße from the server ✓");
assert(binary.equals(Buffer.alloc(4096, 0xa5)));
assert.equal(error, "an error, for the sake of it");
say(`received "${text}", ${number(binary.length)} bytes and the error "${error}"; acknowledged all three`);

// One of each to the server: resolved at its ACK, text and bytes come back.
const large = randomBytes(256 * 1024);
await client.send(UTF8DATA, Buffer.from("echo this: 你好"));
assert.equal((await next(UTF8DATA)).toString(), "echo this: 你好");
await client.send(BINARYDATA, large);
assert((await next(BINARYDATA)).equals(large));
await client.send(ERROR, Buffer.from("an error from the client"));
say(`sent text, ${number(large.length)} random bytes and an error: all acknowledged, both echoes identical`);

// A burst: `inFlight` messages on their way at any time, each numbered, each echo compared.
say(`sending ${number(echoes)} short messages, ${inFlight} in flight ...`);
const begin = process.hrtime.bigint();
let sent = 0, received = 0;
await new Promise((/** @type {(_: void) => void} */ resolve) => {
  const send = () => {
    if (sent < echoes) client.send(UTF8DATA, Buffer.from(`message ${sent++}`));
  };
  client.onMessage = (type, payload) => {
    assert.equal(type, UTF8DATA);
    assert.equal(payload.toString(), `message ${received++}`);
    if (received === echoes) resolve();
    else send();
  };
  for (let i = 0; i < inFlight; i++) send();
});
const seconds = Number(process.hrtime.bigint() - begin) / 1e9;
say(`${number(echoes)} echoes in ${seconds.toFixed(2)} s, in order and complete: ${number(Math.round(echoes / seconds))} echoes/s`);

// The last word; then everything either side has sent is acknowledged, and the counts can be compared.
await client.send(UTF8DATA, Buffer.from("done"));
assert.equal(client.unacknowledged.size, 0);
const { bytesSent, bytesReceived, acksSent, acksReceived } = client;
process.send({ bytesSent, bytesReceived, acksSent, acksReceived });

const code = await client.closed;
assert.equal(client.bye, "The demo is over.");
assert.equal(code, 4000);
say(`the server said BYE "${client.bye}" and closed with WebSocket code ${code}`);
process.disconnect();
