import assert from "node:assert/strict";
import { Peer, freshSid } from "./support/peer.mjs";
import { assertRefuses, openPair, openSession, rejection, sessionFor, startServer } from "./support/server.mjs";
import { test } from "./support/test.mjs";
import { isPending, within } from "./support/wait.mjs";

const BYTES = Uint8Array.from({ length: 64 }, (_, i) => i * 3);

/** Every view of the same 64 bytes that SendBinary takes. */
function views() {
  const whole = Uint8Array.from(BYTES);
  const framed = new Uint8Array(80);
  framed.set(BYTES, 8);
  const inside = (View) => new View(framed.buffer.slice(0), 8, 64 / (View.BYTES_PER_ELEMENT ?? 1));
  return {
    Buffer: Buffer.from(whole),
    "slice of a pooled Buffer": Buffer.concat([Buffer.of(1, 2, 3), whole]).subarray(3),
    Uint8Array: whole,
    ArrayBuffer: whole.buffer.slice(0),
    DataView: inside(DataView),
    ...Object.fromEntries([
      Uint8Array, Int8Array, Uint8ClampedArray, Uint16Array, Int16Array, Uint32Array, Int32Array, Float32Array,
      Float64Array, BigInt64Array, BigUint64Array,
    ].map((View) => [`${View.name} with an offset`, inside(View)])),
  };
}

test("SendBinary takes a Buffer, any TypedArray, DataView or ArrayBuffer", async (t) => {
  const { session, peer } = await openPair(t);
  for (const [name, view] of Object.entries(views())) {
    await session.base.SendBinary(view);
    assert.deepEqual(new Uint8Array(peer.of("BINARYDATA").at(-1).data), BYTES, name);
  }
});

test("SendBinary takes empty views and subclasses", async (t) => {
  const { session, peer } = await openPair(t);
  class Mine extends Uint8Array {}
  const inputs = [Buffer.alloc(0), new ArrayBuffer(0), new Float64Array(0), new DataView(new ArrayBuffer(4), 4), Mine.of(7)];
  for (const input of inputs) await session.base.SendBinary(input);
  assert.deepEqual(peer.of("BINARYDATA").map(({ data }) => [...data]), [[], [], [], [], [7]]);
});

test("SendBinary has copied when it returns", async (t) => {
  const { session, peer } = await openPair(t);
  for (const size of [1, 16, 1000, 70_000, 1024 * 1024]) {
    const reused = Buffer.alloc(size, 1);
    const sends = [];
    for (const fill of [1, 2, 3]) {
      reused.fill(fill);
      sends.push(session.base.SendBinary(reused));
    }
    const buffer = new ArrayBuffer(size);
    sends.push(session.base.SendBinary(buffer));
    structuredClone(buffer, { transfer: [buffer] });
    reused.fill(0xee);
    await Promise.all(sends);
    const arrived = peer.of("BINARYDATA").slice(-4).map(({ data }) => data);
    for (const [i, fill] of [1, 2, 3, 0].entries()) {
      assert.ok(arrived[i].length === size && arrived[i].every((byte) => byte === fill), `${size} bytes of ${fill}`);
    }
  }
});

test("strings of every inner representation go out whole", async (t) => {
  const { session, peer } = await openPair(t);
  let rope = "";
  for (let i = 0; i < 2000; i++) rope += `piece ${i} é`;
  const wide = `${"w".repeat(5000)}中`;
  const texts = [rope, rope.slice(1000, 9000), wide, wide.slice(0, 4000), "\xe9".repeat(100), String(new String("object").valueOf())];
  for (const text of texts) await session.base.SendUTF8(text);
  assert.deepEqual(peer.texts(), texts);
});

test("the empty string and the empty buffer are sent as such", async (t) => {
  const { session, peer } = await openPair(t);
  await Promise.all([session.base.SendUTF8(""), session.base.SendBinary(Buffer.alloc(0)), session.base.SendError("")]);
  assert.equal(peer.of("UTF8DATA")[0].text, "");
  assert.equal(peer.of("BINARYDATA")[0].data.length, 0);
  assert.equal(peer.of("ERROR")[0].message, "");
});

test("an argument of the wrong type is a TypeError, nothing is sent and the session lives", async (t) => {
  const { session, peer } = await openPair(t);
  const noStrings = [undefined, null, 5, 5n, true, {}, [], Symbol("s"), () => {}, Buffer.from("x")];
  const noBytes = [undefined, null, 5, 5n, true, {}, [1, 2], { length: 3 }, "text", Symbol("s"), new Blob(["x"])];
  for (const value of noStrings) {
    await assertRefuses(() => session.base.SendUTF8(value), TypeError, `SendUTF8(${String(value)})`);
    await assertRefuses(() => session.base.SendError(value), TypeError, `SendError(${String(value)})`);
  }
  for (const value of noBytes) await assertRefuses(() => session.base.SendBinary(value), TypeError, `SendBinary(${String(value)})`);
  await peer.roundTrip();
  assert.deepEqual(peer.frames.filter(({ type }) => !["ENDPOINT_INFO", "ACK", "PING_PONG"].includes(type)), []);
  await session.base.SendUTF8("alive");
});

test("a send's promise is pending until its own ACK comes", async (t) => {
  const { session, peer } = await openPair(t, { peer: { autoAck: false } });
  const sends = [session.base.SendUTF8("a"), session.base.SendBinary(Buffer.of(1)), session.base.SendError("c")];
  const frames = [await peer.next("UTF8DATA"), await peer.next("BINARYDATA"), await peer.next("ERROR")];
  await peer.roundTrip();
  for (const send of sends) assert.ok(await isPending(send));
  peer.sendAck(frames[1].ack);
  await within(sends[1], 5000, "the acknowledged send");
  assert.ok(await isPending(sends[0]));
  assert.ok(await isPending(sends[2]));
  peer.sendAck(frames[2].ack);
  peer.sendAck(frames[0].ack);
  await within(Promise.all(sends), 5000, "all sends");
});

test("Ping sends a ping and resolves without waiting for an answer", async (t) => {
  const { session, peer } = await openPair(t, { peer: { autoPong: false } });
  await within(session.base.Ping(), 5000, "Ping()");
  const { payload } = await peer.next("PING_PONG");
  assert.equal(payload, "ping");
});

test("ack numbers on the wire begin at 0 and increase by one over all tracked frames", async (t) => {
  const { session, peer } = await openPair(t);
  for (let i = 0; i < 50; i++) {
    session.base.SendUTF8("a");
    session.base.Ping();
    session.base.SendBinary(Buffer.of(i));
    session.base.SendError("e");
  }
  const last = session.base.SendUTF8("last");
  await last;
  const closing = session.Close("bye");
  await peer.closed;
  await closing;
  const acks = peer.frames.filter(({ type }) => type !== "ACK" && type !== "PING_PONG").map(({ ack }) => ack);
  assert.deepEqual(acks, Array.from({ length: 153 }, (_, i) => i));
});

test("each session counts its acks for itself", async (t) => {
  const { server, port } = await startServer(t);
  for (let i = 0; i < 3; i++) {
    const { session, peer } = await openSession({ server, port });
    await session.base.SendUTF8("first");
    assert.equal(peer.of("UTF8DATA")[0].ack, 1);
  }
});

test("the client's ack numbers are its own affair: any number is acknowledged with itself", async (t) => {
  const { peer } = await openPair(t);
  for (const ack of [4294967295, 0, 77, 77, 2147483648]) {
    peer.send({ type: "UTF8DATA", ack, text: "x" });
    await peer.acked(ack);
  }
});

test("unknown and repeated ACKs are ignored", async (t) => {
  const { session, peer } = await openPair(t, { peer: { autoAck: false } });
  for (const ack of [0, 0, 1, 2, 5000, 4294967295]) peer.sendAck(ack);
  await peer.roundTrip();
  const send = session.base.SendUTF8("x");
  const { ack } = await peer.next("UTF8DATA");
  for (const other of [ack + 1, ack - 1, ack + 4096, ack + 65_536, (ack + 2 ** 31) >>> 0]) peer.sendAck(other);
  await peer.roundTrip();
  assert.ok(await isPending(send), "only its own number settles a send");
  for (let i = 0; i < 40; i++) peer.sendAck(ack);
  await within(send, 5000, "the send");
  await peer.roundTrip();
  assert.equal(peer.of("ERROR").length, 0);
  assert.ok(peer.isOpen);
});

test("thousands of sends may wait for their ACKs at once", async (t) => {
  const { session, peer } = await openPair(t, { peer: { autoAck: false } });
  const sends = Array.from({ length: 5000 }, (_, i) => session.base.SendUTF8(String(i)));
  await peer.until(() => peer.of("UTF8DATA").length === 5000, 10_000);
  const frames = peer.of("UTF8DATA");
  // Backwards: nothing may depend on the order of the ACKs.
  for (let i = 4999; i > 0; i--) peer.sendAck(frames[i].ack);
  await within(Promise.all(sends.slice(1)), 10_000, "all but the first");
  assert.ok(await isPending(sends[0]));
  peer.sendAck(frames[0].ack);
  await within(sends[0], 5000, "the first");
});

test("a send made before the client is connected arrives", async (t) => {
  const { server, port } = await startServer(t);
  const sid = freshSid();
  let sent;
  const found = sessionFor(server, sid, (session) => (sent = session.base.SendUTF8("at once")));
  const peer = await Peer.connect({ port, sid });
  await found;
  await within(sent, 5000, "the send");
  assert.deepEqual(peer.texts(), ["at once"]);
});

test("a rejection carries a CAMPError with its code and a message", async (t) => {
  const { session } = await openPair(t);
  const error = await rejection(session.base.SendBinary(Buffer.alloc(1024 * 1024 + 1)));
  assert.ok([error.name, error.constructor.name].includes("CAMPError"), `${error.name} ${error.constructor.name}`);
  assert.match(error.code, /^ERR_CAMP_/);
  assert.ok(error.message.length > 0);
});
