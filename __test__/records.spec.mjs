// What JavaScript makes of records that it does not know. No native side writes such ones, so this drives the internal
// `Records` with a native side of the test's own.
import assert from "node:assert/strict";
import { BESIDE, LARGE } from "../js/chunk.js";
import { DataKind } from "../js/numbers.js";
import { NOTHING, Records } from "../js/records.js";
import { test } from "./support/test.mjs";

const UTF8 = 1;
const BINARY = 2;
const JOINED = 5;
const OPENED = 9;
const TX_STARTED = 20;

/** Kinds that nobody has: below 32, and among those of servers and of connections. */
const UNKNOWN = [30, 40, 62];

/** A record as it lies in the log: `[slot u32][length << 8 | kind u32]`, and its payload. */
function record(slot, kind, payload = Buffer.alloc(0)) {
  const bytes = Buffer.alloc(8 + (payload.length + 7 & ~7));
  new Uint32Array(bytes.buffer, bytes.byteOffset, 2).set([slot, payload.length * 256 + kind]);
  payload.copy(bytes, 8);
  return bytes;
}

/** The header of a record whose payload of that many bytes lies beside the log. */
function large(slot, kind, { length }) {
  const bytes = record(slot, kind | LARGE);
  new Uint32Array(bytes.buffer, bytes.byteOffset, 2)[1] += length * 256;
  return bytes;
}

function opened(slot) {
  const payload = Buffer.alloc(12);
  new BigUint64Array(payload.buffer, payload.byteOffset, 1)[0] = BigInt(slot);
  return record(slot, OPENED, payload);
}

/** Hands out these records, with what lies beside them; gives what became of each, in order. */
function handOut(log, beside = []) {
  const events = [];
  const chunks = log.map((records) => Buffer.concat(records));
  const native = {
    read: (into) => chunks.shift()?.copy(into) ?? 0,
    readText: () => beside.shift().toString(),
    readBuffer: () => beside.shift(),
    readBytes: (into) => void beside.shift().copy(into),
  };
  const scope = { run: (action, self, ...args) => action.apply(self, args) };
  const session = (slot) => ({
    _scope: scope,
    _message: (kind, message) => events.push([slot, kind, String(message)]),
    transaction: {},
  });
  const receiver = { scope, opened: session, http: () => undefined, fault: (error) => events.push(error.message) };
  const records = new Records(native, receiver);
  while (records.dispatch(false) !== NOTHING);
  return { events, left: beside };
}

const sessions = [[opened(1)], [opened(2)]];
const [notKnown, forTwo, forOne] = ["not known", "for two", "for one"].map((text) => Buffer.from(text));
const faultOf = (kind, flag) => `camp-server: record of unknown kind ${kind | flag}`;

test("a large record of an unknown kind takes its payload along, and each one behind it reaches its session", () => {
  for (const unknown of [...UNKNOWN, JOINED, TX_STARTED]) {
    const { events, left } = handOut(
      [...sessions, [large(1, unknown, notKnown), large(2, UTF8, forTwo), large(1, BINARY, forOne), record(2, BINARY, Buffer.from("short"))]],
      [notKnown, forTwo, forOne],
    );
    assert.deepEqual(events, [
      faultOf(unknown, LARGE), [2, DataKind.UTF8, "for two"], [1, DataKind.BINARY, "for one"], [2, DataKind.BINARY, "short"],
    ], `kind ${unknown}`);
    assert.deepEqual(left, []);
  }
});

test("so does a record of an unknown kind with a payload in the log and bytes beside it", () => {
  for (const unknown of [...UNKNOWN, JOINED, TX_STARTED]) {
    const { events, left } = handOut(
      [...sessions, [record(1, unknown | BESIDE, Buffer.alloc(20)), large(2, UTF8, forTwo), record(1, BINARY, Buffer.from("short"))]],
      [notKnown, forTwo],
    );
    assert.deepEqual(events, [faultOf(unknown, BESIDE), [2, DataKind.UTF8, "for two"], [1, DataKind.BINARY, "short"]], `kind ${unknown}`);
    assert.deepEqual(left, []);
  }
});

test("a record of an unknown kind alone is passed over, whatever its length", () => {
  for (const unknown of UNKNOWN) {
    for (const length of [0, 1, 8, 4000]) {
      const { events } = handOut([...sessions, [record(1, unknown, Buffer.alloc(length)), record(2, BINARY, Buffer.from("short"))]]);
      assert.deepEqual(events, [faultOf(unknown, 0), [2, DataKind.BINARY, "short"]], `kind ${unknown}, ${length} bytes`);
    }
  }
});

test("what is large for a session that is gone is taken all the same", () => {
  const { events, left } = handOut([...sessions, [large(7, UTF8, notKnown), large(7, BINARY, notKnown), large(1, UTF8, forOne)]],
    [notKnown, notKnown, forOne]);
  assert.deepEqual(events, [[1, DataKind.UTF8, "for one"]]);
  assert.deepEqual(left, []);
});
