import assert from "node:assert/strict";
import { Child } from "./support/child.mjs";
import { Peer } from "./support/peer.mjs";
import { echo, once, openPair, openSession, record, rejection, startServer } from "./support/server.mjs";
import { test } from "./support/test.mjs";
import { delay, within, eventually } from "./support/wait.mjs";

const SILENT = "Disconnecting session due to not responding to ping frames.";
const STATISTICS = ["stat-rtt", "stat-bytes-rx", "stat-bytes-tx", "stat-ack-timeout"];

const pings = (peer) => peer.of("PING_PONG").filter(({ payload }) => payload === "ping").length;
const pongs = (peer) => peer.of("PING_PONG").filter(({ payload }) => payload === "pong").length;

test("a ping goes out at each interval, and its pong is not answered", async (t) => {
  const start = performance.now();
  const { peer } = await openPair(t, { options: { keepAliveIntervalMs: 700 } });
  await peer.until(() => pings(peer) >= 4, 10_000);
  assert.ok(performance.now() - start >= 3 * 700, "pings faster than the interval");
  assert.equal(pongs(peer), 0);
  assert.equal(peer.of("ERROR").length, 0);
  assert.ok(peer.isOpen);
});

test("a client's ping is answered with one pong each", async (t) => {
  const { peer } = await openPair(t);
  for (let i = 0; i < 10; i++) peer.sendPing();
  await peer.until(() => pongs(peer) >= 10);
  peer.sendText("fence");
  await peer.next((frame) => frame.type === "ACK" && frame.ack === peer.nextAck - 1);
  assert.equal(pongs(peer), 10);
});

test("a pong that nobody asked for is taken silently", async (t) => {
  const { peer } = await openPair(t);
  for (let i = 0; i < 40; i++) peer.sendPong();
  await peer.roundTrip();
  assert.equal(pongs(peer), 1);
  assert.equal(peer.of("ERROR").length, 0);
});

test("a client that stays silent after a ping is told so with BYE and closed", async (t) => {
  const { server, port } = await startServer(t, { keepAliveIntervalMs: 700 });
  let events;
  const { session, peer } = await openSession({ server, port }, { autoPong: false }, (opened) => (events = record(opened)));
  const closed = once(session, "closed", 10_000);
  peer.autoAck = false;
  const { code } = await peer.closed;
  assert.ok([4000, 4001].includes(code), `closed with ${code}`);
  assert.equal(peer.of("BYE")[0]?.reason, SILENT);
  assert.ok(pings(peer) >= 1, "closed without having been asked");
  await closed;
  assert.deepEqual(events, [["connected"], ["closed"]]);
});

test("a client that does not even read is closed as well", async (t) => {
  const { session, peer } = await openPair(t, { options: { keepAliveIntervalMs: 200 } });
  peer.pauseReading();
  await once(session, "closed", 20_000);
});

test("any frame counts as a sign of life", async (t) => {
  const running = await startServer(t, { keepAliveIntervalMs: 1500 });
  const signs = [(peer) => peer.sendText("x"), (peer) => peer.sendAck(77), (peer) => peer.sendPing(), (peer) => peer.sendPong()];
  await Promise.all(signs.map(async (sign) => {
    const { peer } = await openSession(running, { autoPong: false });
    const timer = setInterval(() => peer.isOpen && sign(peer), 100);
    t.after(() => clearInterval(timer));
    await peer.until(() => pings(peer) >= 4, 15_000);
    assert.ok(peer.isOpen);
  }));
});

test("statistics come with every tick, and are plausible", async (t) => {
  const { server, port } = await startServer(t, { keepAliveIntervalMs: 1000 });
  echo(server);
  const events = [];
  const { session, peer } = await openSession({ server, port }, {}, (opened) => {
    for (const name of STATISTICS) opened.on(name, (value) => events.push([name, value]));
  });
  peer.sendBinary(Buffer.alloc(5000));
  await peer.next("BINARYDATA");
  await eventually(() => events.length >= 4 * STATISTICS.length, 10_000);
  const values = (name) => events.filter(([event]) => event === name).map(([, value]) => value);
  for (const name of STATISTICS) {
    assert.ok(values(name).length >= 3, `${name} came ${values(name).length} times`);
    for (const value of values(name)) assert.equal(typeof value, "number", name);
  }
  const rtt = values("stat-rtt").at(-1);
  assert.ok(rtt >= 0 && rtt < 10_000, `rtt ${rtt}`);
  for (const name of ["stat-bytes-rx", "stat-bytes-tx"]) {
    const series = values(name);
    assert.ok(series.at(-1) > 5000 && series.at(-1) < 50_000, `${name} ${series}`);
    assert.deepEqual(series, [...series].sort((a, b) => a - b), `${name} is a total`);
  }
  assert.ok(values("stat-ack-timeout").every((value) => value === 0));
  assert.ok(Number(session.rx) >= values("stat-bytes-rx").at(-1));
});

test("the round-trip time is -1 before the first ACK and reflects a slow client after", async (t) => {
  const { server, port } = await startServer(t, { keepAliveIntervalMs: 1000 });
  const rtts = [];
  const { session, peer } = await openSession({ server, port }, { autoAck: false }, (opened) => {
    opened.on("stat-rtt", (value) => rtts.push(value));
  });
  await eventually(() => rtts.length >= 2, 10_000);
  assert.deepEqual([...new Set(rtts)], [-1]);
  const send = session.base.SendUTF8("x");
  const { ack } = await peer.next("UTF8DATA");
  await delay(200);
  peer.sendAck(ack);
  await send;
  // The first sample is the mean, whatever its weight.
  const after = rtts.length;
  await eventually(() => rtts.length > after + 1, 10_000);
  assert.ok(rtts.at(-1) >= 150, `rtt ${rtts.at(-1)} after an ACK that took 200 ms`);
});

test("a tick's statistics come before its ping", async (t) => {
  const { server, port } = await startServer(t, { keepAliveIntervalMs: 1000 });
  const ticks = [];
  const { peer } = await openSession({ server, port }, {}, (session) => session.on("stat-bytes-tx", (value) => ticks.push(value)));
  await peer.until(() => pings(peer) >= 3, 10_000);
  await eventually(() => ticks.length >= 3);
  // ENDPOINT_INFO and one ACK: the first tick's total does not hold its ping yet.
  assert.equal(ticks[0], 25 + 13);
});

test("an ACK that never comes rejects the send with ERR_CAMP_ACK_TIMEOUT, and the session lives", async (t) => {
  const { server, port } = await startServer(t, { ackTimeoutMs: 1500, keepAliveIntervalMs: 1000 });
  echo(server);
  let timeouts = 0;
  const { session, peer } = await openSession({ server, port }, {}, (opened) => opened.on("stat-ack-timeout", (n) => (timeouts += n)));
  peer.autoAck = false;
  const start = performance.now();
  const sends = [session.base.SendUTF8("a"), session.base.SendBinary(Buffer.of(1)), session.base.SendError("b")];
  for (const send of sends) assert.equal((await rejection(send, 10_000)).code, "ERR_CAMP_ACK_TIMEOUT");
  assert.ok(performance.now() - start >= 1450, "rejected before the timeout");
  await eventually(() => timeouts === 3, 10_000, "stat-ack-timeout counts three");
  for (const frame of peer.frames.filter(({ ack, type }) => ack > 0 && type !== "ACK")) peer.sendAck(frame.ack);
  await peer.roundTrip();
  peer.autoAck = true;
  await session.base.SendUTF8("acknowledged again");
  await delay(2500);
  assert.equal(timeouts, 3, "counted since the last one, not in total");
});

test("an ACK in time beats ackTimeoutMs", async (t) => {
  const { session, peer } = await openPair(t, { options: { ackTimeoutMs: 3000 }, peer: { autoAck: false } });
  const send = session.base.SendUTF8("a");
  const { ack } = await peer.next("UTF8DATA");
  await delay(300);
  peer.sendAck(ack);
  await send;
});

test("a blocked JavaScript thread costs no healthy client its session, and no message", async (t) => {
  const child = Child.start(t, "echo-server.mjs", { options: { keepAliveIntervalMs: 2000 }, numbered: true });
  const { port } = await child.report("listening");
  const peer = await Peer.connect({ port });
  await peer.ready();
  let sent = 0;
  const chatter = setInterval(() => peer.isOpen && peer.sendText(String(sent++)), 10);
  t.after(() => clearInterval(chatter));
  const quiet = await Peer.connect({ port });
  await quiet.ready();
  await peer.until(() => peer.of("UTF8DATA").length > 10);
  const goOn = await child.block();
  const before = pings(quiet);
  // Both clients answer their pings all the while.
  await quiet.until(() => pings(quiet) >= before + 3, 20_000, "three pings");
  assert.ok(peer.isOpen && quiet.isOpen);
  goOn();
  clearInterval(chatter);
  await peer.until(() => peer.of("UTF8DATA").length === sent, 10_000, "every message echoed");
  assert.deepEqual(peer.texts(), Array.from({ length: sent }, (_, i) => String(i)));
  child.command("stats");
  const { received, disorder } = await child.report("stats");
  assert.deepEqual({ received, disorder }, { received: sent, disorder: 0 });
});

test("a blocked JavaScript thread holds back no ACK", async (t) => {
  const child = Child.start(t, "echo-server.mjs");
  const { port } = await child.report("listening");
  const peer = await Peer.connect({ port });
  await peer.echo("connected");
  await child.block();
  for (let sent = 0; sent < 3; sent++) await peer.acked(peer.sendText(String(sent)));
});

test("a blocked JavaScript thread does not spare a client that is really silent", async (t) => {
  const child = Child.start(t, "echo-server.mjs", { options: { keepAliveIntervalMs: 300 } });
  const { port } = await child.report("listening");
  const peer = await Peer.connect({ port, autoPong: false });
  await peer.ready();
  peer.autoAck = false;
  const goOn = await child.block();
  await within(peer.closed, 15_000, "closed while JavaScript is blocked");
  assert.equal(peer.of("BYE")[0]?.reason, SILENT);
  goOn();
  await child.report("closed");
});
