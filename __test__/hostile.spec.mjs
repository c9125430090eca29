// Every record of a batch is handed out, whatever the application does where it is called, and whatever it throws.
import assert from "node:assert/strict";
import { Child } from "./support/child.mjs";
import { Peer } from "./support/peer.mjs";
import { test } from "./support/test.mjs";

/** More than there are values to fail with. */
const ROUNDS = 20;

const anyway = (promise) => promise.catch(() => {});

/** Gives a peer of a good session all reason to be passed over: others fail before and behind each of its messages. */
async function provoke(child, port, { autoAck = true, fetches = false } = {}) {
  const good = await Peer.connect({ port });
  const bad = await Peer.connect({ port, autoAck });
  const leaving = [];
  for (let i = 0; i < ROUNDS; i++) leaving.push(await Peer.connect({ port }));
  await Promise.all([good, bad, ...leaving].map((peer) => peer.ready()));
  const pulled = fetches ? (await bad.next("TX_START")).txId : undefined;

  const open = await child.block();
  const others = [];
  for (let i = 0; i < ROUNDS; i++) {
    // Every other one lies beside the others' records.
    const rest = i % 2 === 0 ? "" : "x".repeat(5000);
    bad.sendText(`bad ${i}${rest}`);
    bad.sendBinary(Buffer.from(`bad ${i}`));
    bad.sendError(`bad ${i}`);
    bad.sendTxStart({ txId: i });
    bad.send({ type: "TX_CHUNK", txId: i, offset: 0, data: Buffer.from("chunk") });
    bad.sendTracked({ type: "TX_FINISH", txId: i });
    if (fetches) bad.sendTracked({ type: "TX_FETCH", txId: pulled, start: 0, end: 1 });
    leaving[i].sendBye("leaves");
    // Of both sessions all is read, in this order.
    await bad.roundTrip();
    good.sendText(`good ${i} ${rest}`);
    await good.roundTrip();
    others.push(anyway(Peer.connect({ port, token: "refused" })), anyway(fetch(`http://127.0.0.1:${port}/`).then((response) => response.text())));
  }
  open();
  for (let i = 0; i < ROUNDS; i++) assert.match((await child.report("good")).text, new RegExp(`^good ${i} `));
  await Promise.all([...others, ...leaving.map((peer) => peer.closed)]);
}

/** `uncaught`: such a failure is an uncaught exception wherever Node calls the application, so here too. */
function place(name, { how = ["throw", "reject"], uncaught = false, options, peer, ...args }) {
  for (const way of how) {
    test(`${name}: ${way}`, async (t) => {
      const child = Child.start(t, "hostile.mjs", { how: way, options, ...args });
      const { port } = await child.report("listening");
      await provoke(child, port, peer);
      await child.report("failed with every value");
      child.command("destroy");
      const { uncaughtException, unhandledRejection } = await child.report("destroyed");
      if (!uncaught) assert.deepEqual({ uncaughtException, unhandledRejection }, { uncaughtException: 0, unhandledRejection: 0 });
      assert.doesNotMatch(child.stderr, /could not be dealt with/);
    });
  }
}

for (const event of ["message-utf8", "message-binary", "message-error"]) {
  place(`a listener of ${event}`, { event, how: ["throw", "reject", "return"] });
}
place("a listener of connected", { event: "connected" });
place("a listener of closed", { event: "closed" });
place("a listener of dropped", {
  event: "dropped", peer: { autoAck: false }, options: { maxUnacknowledged: 1, backpressure: { maxQueueCount: 1, dropPolicy: "drop-newest" } },
});
for (const event of ["tx-start", "tx-chunk", "tx-finish"]) place(`a listener of ${event}`, { event, of: "transaction" });
place("a listener of tx-fetch", { event: "tx-fetch", of: "transaction", peer: { fetches: true } });
place("a listener of session", { place: "session" });
place("a listener of listener-error, told of such an error", { place: "listener-error" });
place("all six hooks of an extension", { place: "hooks", how: ["throw", "reject", "return"] });
place("a listener of extension-error, told of such an error", { place: "extension-error" });
place("a validator", { place: "validator", how: ["throw", "reject", "return"] });
place("a listener of validator-error, told of such an error", { place: "validator-error" });
place("an iterator that is streamed", { place: "iterator" });
place("a synchronous iterator that is streamed", { place: "syncIterator", how: ["throw"] });
place("what is streamed", { place: "value", how: ["throw"] });
place("a Readable that is streamed", { place: "readable", how: ["throw"] });
place("a Readable that fails to read", { place: "reading", how: ["throw"] });
place("a listener of a stream's data", { place: "readable data", uncaught: true });
place("a subscriber of the diagnostics channels", { place: "channels", uncaught: true });
place("a listener of http_server's request", { place: "http", uncaught: true });
place("a listener of http_server's connection", { place: "connection", uncaught: true });
