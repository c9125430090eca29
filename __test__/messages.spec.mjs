import assert from "node:assert/strict";
import { MAX_PAYLOAD, encode } from "./support/frames.mjs";
import { RawPeer, wsFrame } from "./support/raw.mjs";
import { echo, once, openPair, openSession, record, rejection, sessionFor, startServer } from "./support/server.mjs";
import { freshSid } from "./support/peer.mjs";
import { test } from "./support/test.mjs";
import { eventually, within } from "./support/wait.mjs";

// Around every length at which CAMP (13 bytes of header) or WebSocket change their encoding.
const SIZES = [0, 1, 12, 13, 112, 113, 125, 126, 127, 4096, 65_522, 65_523, 65_535, 65_536, 300_000, MAX_PAYLOAD - 1, MAX_PAYLOAD];

const SCRIPTS = [
  "plain", "naïve café ÿ", "ελληνικά", "русский", "עברית", "العربية", "हिन्दी", "中文字", "日本語テキスト", "한국어", "ไทย",
  "😀👩‍👩‍👧‍👦🏳️‍🌈", "\u{10FFFF}\u{10000}\uFFFD\uFFFF", "\uFEFFwith a byte order mark", "\0nul\0inside\0", "line\r\nbreak\ttab",
  "e\u0301 combining", "\u202Eright to left", "x".repeat(5000) + "é", "é".repeat(5000), "😀".repeat(5000), " ",
];

/** Bytes that differ everywhere, so that a shifted or repeated piece shows. */
function pattern(size) {
  const buffer = Buffer.allocUnsafe(size);
  for (let i = 0; i < size; i++) buffer[i] = (i * 31 + (i >> 8)) & 0xff;
  return buffer;
}

async function echoPair(t) {
  const running = await startServer(t);
  echo(running.server);
  return { ...running, ...(await openSession(running)) };
}

test("text of every length up to 100 comes back as it was, and so with one character that is not ASCII", async (t) => {
  const { peer } = await echoPair(t);
  const ascii = Array.from({ length: 100 }, (_, i) => String.fromCharCode((i * 37) % 128)).join("");
  for (let length = 0; length <= 100; length++) {
    const plain = ascii.slice(0, length);
    await peer.echo(plain);
    for (const odd of ["\x80", "é", "中", "😀"]) await peer.echo(plain + odd);
  }
});

test("short and long messages of every kind leave in the order they were sent", async (t) => {
  const { session, peer } = await openPair(t);
  const sent = [];
  for (let i = 0; i < 3000; i++) {
    const text = `${i}:${"x".repeat((i * 7) % 70)}`;
    switch (i % 5) {
      case 1:
        session.base.SendBinary(Buffer.from(text));
        break;
      case 3:
        session.base.SendError(text);
        break;
      default:
        session.base.SendUTF8(i % 5 === 4 ? `${text}é` : text);
    }
    sent.push(i % 5 === 4 ? `${text}é` : text);
  }
  const data = () => peer.frames.filter(({ type }) => ["UTF8DATA", "BINARYDATA", "ERROR"].includes(type));
  await peer.until(() => data().length === sent.length);
  assert.deepEqual(data().map(({ text, data: bytes, message }) => text ?? message ?? bytes.toString()), sent);
});

test("text of every size up to 1 MiB comes back as it was", async (t) => {
  const { peer } = await echoPair(t);
  for (const size of SIZES) {
    const text = pattern(size).toString("latin1").replace(/[^\x20-\x7e]/g, "~");
    peer.sendText(text);
    const frame = await peer.next("UTF8DATA");
    assert.ok(frame.text === text, `${size} bytes`);
  }
});

test("binary of every size up to 1 MiB comes back as it was", async (t) => {
  const { peer } = await echoPair(t);
  for (const size of SIZES) {
    peer.sendBinary(pattern(size));
    const frame = await peer.next("BINARYDATA");
    assert.ok(frame.data.equals(pattern(size)), `${size} bytes`);
  }
});

test("errors travel in both directions", async (t) => {
  const { session, peer } = await openPair(t);
  const received = once(session, "message-error");
  await peer.acked(peer.sendError("from the client: ü"));
  assert.deepEqual(await received, ["from the client: ü"]);
  await session.base.SendError("from the server: 😀");
  assert.equal(peer.of("ERROR")[0].message, "from the server: 😀");
  const empty = once(session, "message-error");
  peer.sendError("");
  assert.deepEqual(await empty, [""]);
});

test("a message arrives as what its event promises: a string, a Buffer", async (t) => {
  const { session, peer } = await openPair(t);
  const events = record(session);
  peer.sendText("text");
  peer.sendBinary([1, 2, 3]);
  peer.sendBinary([]);
  peer.sendError("error");
  await eventually(() => events.length === 4);
  assert.deepEqual(events.map(([, value]) => (Buffer.isBuffer(value) ? "Buffer" : typeof value)), ["string", "Buffer", "Buffer", "string"]);
  assert.equal(events[2][1].length, 0);
});

test("every script survives in both directions", async (t) => {
  const { session, peer } = await openPair(t);
  const received = [];
  session.on("message-utf8", (text) => received.push(text));
  for (const text of SCRIPTS) {
    peer.sendText(text);
    session.base.SendUTF8(text);
    session.base.SendError(text);
  }
  await peer.until(() => peer.of("ERROR").length === SCRIPTS.length);
  await eventually(() => received.length === SCRIPTS.length);
  assert.deepEqual(received, SCRIPTS);
  assert.deepEqual(peer.texts(), SCRIPTS);
  assert.deepEqual(peer.of("ERROR").map(({ message }) => message), SCRIPTS);
});

test("a lone surrogate goes out as U+FFFD", async (t) => {
  const { session, peer } = await openPair(t);
  const texts = ["\ud800", "a\ud800b", "\udc00\ud800", "\ud83d", "😀\ud83d", `${"x".repeat(100_000)}\udfff`];
  for (const text of texts) {
    session.base.SendUTF8(text);
    session.base.SendError(text);
  }
  await peer.until(() => peer.of("ERROR").length === texts.length);
  const expected = texts.map((text) => text.toWellFormed?.() ?? Buffer.from(text).toString());
  assert.deepEqual(peer.texts(), expected);
  assert.deepEqual(peer.of("ERROR").map(({ message }) => message), expected);
});

test("a payload over 1 MiB from the client closes its session with 1009 and no other", async (t) => {
  const running = await startServer(t);
  echo(running.server);
  const neighbour = await openSession(running);
  const tooLarge = Buffer.alloc(MAX_PAYLOAD + 1, 0x61);
  for (const send of [(peer) => peer.sendText(tooLarge), (peer) => peer.sendBinary(tooLarge), (peer) => peer.sendError(tooLarge)]) {
    let events;
    const { session, peer } = await openSession(running, {}, (opened) => (events = record(opened)));
    const closed = once(session, "closed");
    send(peer);
    assert.equal((await peer.closed).code, 1009);
    await closed;
    assert.deepEqual(events, [["connected"], ["closed"]]);
  }
  await neighbour.peer.echo("not concerned");
});

test("an oversize message is refused by its announced length, before its payload comes", async (t) => {
  const { port } = await startServer(t);
  for (const declaredLength of [4 * MAX_PAYLOAD, 2 ** 32, 2 ** 52]) {
    const peer = await RawPeer.connect({ port, sid: freshSid() });
    peer.write({ payload: Buffer.alloc(100), declaredLength });
    assert.equal((await within(peer.closed, 5000, "close"))?.code, 1009, String(declaredLength));
  }
});

test("an oversize message in fragments is refused as well", async (t) => {
  const { server, port } = await startServer(t);
  const sid = freshSid();
  const closed = sessionFor(server, sid).then((session) => once(session, "closed"));
  const peer = await RawPeer.connect({ port, sid });
  const head = encode({ type: "BINARYDATA", sid, ack: 0, data: [] });
  peer.write({ fin: false, payload: head });
  for (let i = 0; i < 5; i++) {
    if (!peer.socket.destroyed) peer.socket.write(wsFrame({ opcode: 0, fin: false, payload: Buffer.alloc(MAX_PAYLOAD / 2) }));
  }
  assert.equal((await within(peer.closed, 5000, "close"))?.code, 1009);
  await closed;
});

test("sending more than 1 MiB rejects with ERR_CAMP_PAYLOAD_TOO_LARGE and the session lives", async (t) => {
  const { session, peer } = await openPair(t);
  const sends = [
    () => session.base.SendUTF8("x".repeat(MAX_PAYLOAD + 1)),
    () => session.base.SendUTF8("€".repeat(350_000)),
    () => session.base.SendBinary(Buffer.alloc(MAX_PAYLOAD + 1)),
    () => session.base.SendBinary(new Float64Array(MAX_PAYLOAD / 8 + 1)),
    () => session.base.SendError("x".repeat(MAX_PAYLOAD + 1)),
  ];
  for (const send of sends) {
    const error = await rejection(send());
    assert.equal(error.code, "ERR_CAMP_PAYLOAD_TOO_LARGE");
    assert.ok(error instanceof Error);
  }
  await session.base.SendUTF8("€".repeat(349_525));
  assert.equal(peer.of("UTF8DATA").length, 1);
  assert.equal(peer.of("BINARYDATA").length + peer.of("ERROR").length, 0);
});

test("10,000 messages arrive in order at a listener that is sometimes slow", async (t) => {
  const { session, peer } = await openPair(t);
  const received = [];
  session.on("message-utf8", async (text) => {
    received.push(Number(text));
    if (received.length % 1000 === 0) {
      const end = performance.now() + 10;
      while (performance.now() < end);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  });
  for (let i = 0; i < 10_000; i++) peer.sendText(String(i));
  await eventually(() => received.length === 10_000, 20_000);
  assert.deepEqual(received, Array.from({ length: 10_000 }, (_, i) => i));
  await peer.until(() => peer.of("ACK").length === 10_001, 10_000);
  assert.deepEqual(peer.of("ACK").map(({ ack }) => ack), Array.from({ length: 10_001 }, (_, i) => i));
});

test("10,000 messages from the server arrive in order and every promise resolves", async (t) => {
  const { session, peer } = await openPair(t, { options: { maxUnacknowledged: 10_000 } });
  const sends = Array.from({ length: 10_000 }, (_, i) => session.base.SendUTF8(String(i)));
  await within(Promise.all(sends), 20_000, "10,000 sends");
  assert.deepEqual(peer.texts().map(Number), Array.from({ length: 10_000 }, (_, i) => i));
});

test("text, binary and errors of one client keep their common order", async (t) => {
  const { session, peer } = await openPair(t);
  const events = record(session);
  const expected = [];
  for (let i = 0; i < 300; i++) {
    const size = i % 50 === 0 ? 200_000 : i;
    peer.sendBinary(Buffer.alloc(size, i));
    peer.sendText(`t${i}`);
    peer.sendError(`e${i}`);
    expected.push(["message-binary", size, i & 0xff], ["message-utf8", `t${i}`], ["message-error", `e${i}`]);
  }
  await eventually(() => events.length === 900, 10_000);
  const seen = events.map(([name, value]) => (Buffer.isBuffer(value) ? [name, value.length, value[0] ?? 0] : [name, value]));
  assert.deepEqual(seen, expected);
});

test("a Buffer handed to a listener never changes", async (t) => {
  const { session, peer } = await openPair(t);
  const kept = [];
  session.on("message-binary", (data) => kept.push({ data, copy: Buffer.from(data) }));
  for (let i = 0; i < 1000; i++) peer.sendBinary(Buffer.alloc(i % 100 === 0 ? 100_000 : 1 + (i % 700), i));
  await eventually(() => kept.length === 1000, 10_000);
  // More traffic, and some garbage collection, over whatever memory might have been shared.
  for (let i = 0; i < 2000; i++) peer.sendBinary(Buffer.alloc(500, 0xee));
  await eventually(() => kept.length === 3000, 10_000);
  for (const [i, { data, copy }] of kept.entries()) {
    assert.ok(data.equals(copy), `message ${i} changed`);
    if (i < 1000) assert.ok(data.every((byte) => byte === (i & 0xff)), `message ${i} is not what was sent`);
  }
});

test("what a listener writes into its Buffer reaches no other message", async (t) => {
  const { session, peer } = await openPair(t);
  const wrong = [];
  let count = 0;
  session.on("message-binary", (data) => {
    if (!data.every((byte) => byte === (count & 0xff))) wrong.push(count);
    count++;
    data.fill(0xff);
  });
  for (let i = 0; i < 500; i++) peer.sendBinary(Buffer.alloc(1 + (i % 64), i));
  await eventually(() => count === 500);
  assert.deepEqual(wrong, []);
});

test("sends keep their call order, wherever they are made", async (t) => {
  const { session, peer } = await openPair(t);
  const order = [];
  let last = 0;
  const send = () => {
    const n = ++last;
    order.push(n);
    const kind = n % 3;
    // Large ones in between: a small message must not overtake one.
    const pad = n % 10 === 0 ? "x".repeat(200_000) : "";
    if (kind === 0) session.base.SendUTF8(`${n}:${pad}`);
    else if (kind === 1) session.base.SendBinary(Buffer.from(`${n}:${pad}`));
    else session.base.SendError(`${n}:${pad}`);
  };
  session.on("message-utf8", () => {
    send();
    queueMicrotask(send);
    process.nextTick(send);
    setImmediate(send);
    setTimeout(send, 0);
    Promise.resolve().then(send).then(send);
    send();
  });
  session.on("message-binary", async () => {
    send();
    await null;
    send();
    await new Promise((resolve) => setTimeout(resolve, 1));
    send();
  });
  const timer = setInterval(send, 1);
  for (let i = 0; i < 20; i++) {
    peer.sendText("go");
    peer.sendBinary([1]);
  }
  await eventually(() => last >= 20 * 11);
  clearInterval(timer);
  const numbers = () => peer.frames.filter(({ type }) => ["UTF8DATA", "BINARYDATA", "ERROR"].includes(type))
    .map((frame) => Number.parseInt(frame.text ?? frame.message ?? frame.data.subarray(0, 12).toString(), 10));
  await peer.until(() => numbers().length >= last, 10_000);
  assert.deepEqual(numbers(), order);
});

test("a client may send far more messages than it waits for, to listeners that answer none", async (t) => {
  const { server, port } = await startServer(t);
  const sid = freshSid();
  let received = 0;
  const opened = sessionFor(server, sid, (session) => session.on("message-utf8", () => received++));
  const peer = await RawPeer.connect({ port, sid });
  await opened;
  const count = 60_000;
  const frames = Array.from({ length: count }, (_, i) =>
    wsFrame({ payload: encode({ type: "UTF8DATA", sid, ack: i, text: "x" }) }));
  peer.socket.write(Buffer.concat(frames));
  await eventually(() => received === count, 10_000);
});
