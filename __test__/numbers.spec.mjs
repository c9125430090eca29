// The numbers that both sides of the boundary know. They have no place in the public API, so the sources are compared.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import * as numbers from "../js/numbers.js";
import { test } from "./support/test.mjs";

const source = (path) => readFileSync(new URL(`../${path}`, import.meta.url), "utf8");
const filesOf = (folder, ending) =>
  readdirSync(new URL(`../${folder}`, import.meta.url), { recursive: true }).filter((name) => name.endsWith(ending)).map((name) => `${folder}/${name}`);

const RECORD = source("src/node/record.rs");
const RECORDS = source("js/records.js");
const OF_TRANSACTIONS = source("js/transaction-records.js");
const DISPATCH = [RECORDS, OF_TRANSACTIONS, source("js/http-records.js"), source("js/server-records.js")].join("");

/** Enums whose numbers JavaScript does not know: those of frames and of orders are written by Rust alone. */
const RUSTS_OWN = ["FrameType", "OrderKind"];

/** `HeldUtf8` and `drop-newest` as `HELD_UTF8` and `DROP_NEWEST`. */
const shout = (name) => name.replaceAll(/(?<=[a-z0-9])(?=[A-Z])/g, "_").replaceAll("-", "_").toUpperCase();

/** Every enum of Rust whose members have numbers: its name, and its members by name. */
const enums = Object.fromEntries(filesOf("src", ".rs").flatMap((path) =>
  [...source(path).matchAll(/#\[repr\(u\d+\)\]\n(?:#\[.*\]\n)*(?:pub(?:\(.*?\))? )?enum (\w+) \{\n([^]*?)\n\}/g)].map(([, name, body]) => [name, membersOf(body)])));

function membersOf(body) {
  return Object.fromEntries([...body.matchAll(/^ {4}(\w+) = (\d+),$/gm)].map(([, member, number]) => [shout(member), Number(number)]));
}

/** The value of a constant of either language that is written as a number, a product or a shift. */
function constant(path, name) {
  const found = new RegExp(`const ${name}(?:: \\w+)? = ([0-9a-fx_]+)(?: (\\*|<<) ([0-9_]+))?;`).exec(source(path));
  assert.ok(found, `${name} of ${path}`);
  const [left, right] = [found[1], found[3] ?? "0"].map((digits) => Number(digits.replaceAll("_", "")));
  return found[2] === "*" ? left * right : left * 2 ** right;
}

/** The elements of an array in a module's text. */
const listed = (text, name) => new RegExp(`const ${name} = [^[]*\\[([^]*?)\\]`).exec(text)[1].match(/[\w-]+/g);

/** The constants of a module that name kinds of records. */
const known = Object.fromEntries([...DISPATCH.matchAll(/^const (\w+) = (\d+);$/gm)].map(([, name, value]) => [name, Number(value)]));

/** Each case of a dispatch, with what is done there. */
const cases = [...DISPATCH.matchAll(/^ +case (\w+)(?: \| (\w+))?:([^]*?)(?=^ +(?:case|default)\b)/gm)]
  .map(([, kind, flag, body]) => ({ kind, flag, body }));

test("every numbered enum of Rust that JavaScript knows has the same members with the same numbers there", () => {
  const { Kind, ...others } = enums;
  for (const name of RUSTS_OWN) assert.ok(others[name], name);
  const mirrored = Object.fromEntries(Object.entries(others).filter(([name]) => !RUSTS_OWN.includes(name)));
  const policies = listed(source("js/options.js"), "POLICIES").map((name) => [shout(name).replace("DROP_", ""), name]);
  const DropPolicy = Object.fromEntries(policies.map(([member], number) => [member, number]));
  assert.deepEqual({ ...numbers, DropPolicy }, mirrored);
  assert.ok(Object.keys(Kind).length > 30);
});

test("JavaScript has no number of Rust's but by its name", () => {
  const unnamed = filesOf("js", ".js").filter((path) => path !== "js/short-text.js" && /\bcase -?\d|\b(outcome|verdict|failure) [!=]== \d/.test(source(path)));
  assert.deepEqual(unnamed, []);
});

test("the kinds of records have the same numbers on both sides, and each has its case", () => {
  assert.deepEqual(Object.fromEntries(Object.keys(enums.Kind).map((name) => [name, known[name]])), enums.Kind);
  assert.deepEqual([...new Set(cases.map(({ kind }) => kind))].sort(), Object.keys(enums.Kind).sort());
});

test("the flags of records have the same values on both sides, and lie beside the kinds", () => {
  const [large, beside] = ["LARGE", "BESIDE"].map((flag) => constant("js/chunk.js", flag));
  assert.deepEqual([large, beside], ["LARGE", "BESIDE"].map((flag) => constant("src/node/record.rs", flag)));
  const mask = constant("js/records.js", "KIND");
  assert.deepEqual([mask & (large | beside), mask | large | beside], [0, 0xff]);
  assert.ok(Object.values(enums.Kind).every((number) => (number & mask) === number));
});

test("JavaScript has a case for each kind of record that may be large, and for no other", () => {
  const [, list] = /fn may_be_large[^]*?matches!\(([^]*?)\n {8}\)/.exec(RECORD);
  const large = [...list.matchAll(/Kind::(\w+)/g)].map(([, name]) => shout(name)).sort();
  assert.ok(large.length >= 9);
  assert.deepEqual(cases.filter(({ flag }) => flag === "LARGE").map(({ kind }) => kind).sort(), large);
});

test("JavaScript has a case for each kind of record with bytes beside the log, and for no other", () => {
  const beside = filesOf("src/node", ".rs").flatMap((path) => [...source(path).matchAll(/put_beside\([^;]*?Kind::(\w+)/g)]).map(([, name]) => shout(name));
  assert.deepEqual(cases.filter(({ flag }) => flag === "BESIDE").map(({ kind }) => kind), beside);
});

test("the kinds that concern a session are those that are handed to one", () => {
  const handed = cases.filter(({ kind, body }) => kind.startsWith("TX_") || /#(session|held)\(slot/.test(body)).map(({ kind }) => kind);
  const masked = [...listed(RECORDS, "OF_SESSIONS"), ...listed(OF_TRANSACTIONS, "OF_TRANSACTIONS")];
  assert.deepEqual(masked.toSorted(), [...new Set(handed)].sort());
  assert.deepEqual(listed(OF_TRANSACTIONS, "OF_TRANSACTIONS").toSorted(), Object.keys(enums.Kind).filter((kind) => kind.startsWith("TX_")).sort());
  assert.ok(masked.every((kind) => enums.Kind[kind] < 32), "each has its bit");
});

test("a chunk has room for the longest record", () => {
  const largeFrom = constant("src/node/record.rs", "LARGE_FROM");
  // A text that is not ASCII has two bytes for each of its own.
  assert.ok(constant("js/chunk.js", "CHUNK") >= 8 + 2 * largeFrom);
});

test("the limits and sizes that both sides count by are the same", () => {
  const pairs = [
    ["js/errors.js", "MAX_PAYLOAD", "src/protocol/limits.rs", "MAX_PAYLOAD"],
    ["js/options.js", "MAX_NAME", "src/protocol/limits.rs", "MAX_NAME"],
    ["js/extensions.js", "KIND_BITS", "src/session/io.rs", "KIND_BITS"],
    ["js/transfer.js", "INITIAL_CREDIT", "src/session/transaction/mod.rs", "CREDIT"],
    ["js/text-orders.js", "HEADER", "src/net/sends.rs", "ORDER_HEADER"],
  ];
  for (const [module, name, file, same] of pairs) assert.equal(constant(module, name), constant(file, same), name);
  assert.equal(constant("js/text-orders.js", "HEAD"), 4 * constant("src/node/text_orders.rs", "HEAD"));
  const [, multiple] = /fn padding[^]*?next_multiple_of\((\d+)\)/.exec(source("src/node/orders.rs"));
  assert.equal(constant("js/text-orders.js", "PADDING"), Number(multiple) - 1);
  assert.equal(4 * constant("js/bridge.js", "CREDIT"), constant("src/net/handover.rs", "INITIAL_CREDIT"));
  assert.ok(constant("js/bridge.js", "PIECE") < 2 ** 24, "an order's length has 24 bits");
});

test("the figures of statistics are in the same order on both sides", () => {
  // By the names that one side has and the other has not.
  const others = {
    bytes_rx: "bytesReceived", bytes_tx: "bytesSent", frames_rx: "framesReceived", frames_tx: "framesSent", messages_rx: "messagesReceived",
    dropped: "messagesDropped", ack_timeouts: "ackTimeouts", in_flight_bytes: "bytesInFlight", queued_bytes: "bytesQueued",
    queued_frames: "framesQueued", spooled_bytes: "bytesSpooled",
  };
  const [, whole] = /let whole = \[([^]*?)\];/.exec(source("src/net/counters.rs"));
  const figures = listed(source("js/stats.js").replace("/** @type {const} */ (", ""), "FIGURES");
  assert.deepEqual([...whole.matchAll(/self\.(\w+)/g)].map(([, name]) => others[name]), figures);
  assert.equal(constant("src/net/counters.rs", "FIGURES"), figures.length + 1, "the last is the round trip's");
});
