// The numbers that both sides of the boundary know, as their sources have them.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "./support/test.mjs";

const source = (path) => readFileSync(new URL(`../${path}`, import.meta.url), "utf8");
const RECORD = source("src/node/record.rs");
const DISPATCH = ["", "http-", "server-", "transaction-"].map((part) => source(`js/${part}records.js`)).join("");

/** `HeldUtf8` as `HELD_UTF8`. */
const shout = (name) => name.replaceAll(/(?<=[a-z0-9])(?=[A-Z])/g, "_").toUpperCase();

/** The variants of an enum with their numbers. */
function variants(text, name) {
  const [, body] = new RegExp(`enum ${name} \\{\\n([^]*?)\\n\\}`).exec(text);
  return Object.fromEntries([...body.matchAll(/^ {4}(\w+) = (\d+),$/gm)].map(([, variant, number]) => [shout(variant), Number(number)]));
}

/** The numbers of the constants that a module of js/ declares. */
const constants = (text) => Object.fromEntries([...text.matchAll(/^(?:export )?const (\w+) = (\d+|0x[0-9a-f]+);$/gm)].map(([, name, value]) => [name, Number(value)]));

test("the kinds of records have the same numbers on both sides", () => {
  const kinds = variants(RECORD, "Kind");
  const known = constants(DISPATCH);
  assert.ok(Object.keys(kinds).length > 30);
  assert.deepEqual(Object.fromEntries(Object.keys(kinds).map((name) => [name, known[name]])), kinds);
  assert.ok(Object.values(kinds).every((number) => number < 0x40));
});

test("the flags of records have the same values on both sides", () => {
  const known = constants(source("js/chunk.js"));
  for (const flag of ["LARGE", "BESIDE"]) assert.equal(Number(new RegExp(`const ${flag}: u32 = (\\w+);`).exec(RECORD)[1]), known[flag]);
});

test("JavaScript has a case for each kind of record that may be large, and for no other", () => {
  const [, list] = /fn may_be_large[^]*?matches!\(([^]*?)\n {8}\)/.exec(RECORD);
  const large = [...list.matchAll(/Kind::(\w+)/g)].map(([, name]) => shout(name)).sort();
  assert.ok(large.length >= 9);
  assert.deepEqual([...DISPATCH.matchAll(/case (\w+) \| LARGE:/g)].map(([, name]) => name).sort(), large);
});

test("the kinds of messages and the outcomes of sends have the same numbers on both sides", () => {
  const io = source("src/session/io.rs");
  const { UTF8, BINARY, ERROR } = constants(source("js/extensions.js"));
  assert.deepEqual({ UTF8, BINARY, ERROR }, variants(io, "DataKind"));
  const { DONE, TIMED_OUT, DROPPED, OVER } = constants(source("js/session.js"));
  const outcomes = variants(io, "Outcome");
  assert.deepEqual([DONE, TIMED_OUT, DROPPED, OVER], [outcomes.DONE, outcomes.TIMED_OUT, outcomes.DROPPED, outcomes.OVER]);
});
