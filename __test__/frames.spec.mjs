import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { decode, encode } from "./support/frames.mjs";
import { test } from "./support/test.mjs";

const VECTORS = JSON.parse(readFileSync(new URL("../tests/vectors/frames.json", import.meta.url), "utf8"));

/** 64-bit fields are decimal strings in the vectors, bytes are hex. */
const LONG = new Set(["sid", "features", "size", "offset", "start", "end"]);

/** A vector's fields as this codec names and types them. */
function fieldsOf({ name: _name, hex: _hex, ...fields }) {
  const frame = {};
  for (const [key, value] of Object.entries(fields)) {
    if (LONG.has(key)) frame[key] = BigInt(value);
    else if (key === "data") frame[key] = Buffer.from(value, "hex");
    else frame[key === "txName" ? "name" : key] = value;
  }
  return frame;
}

for (const vector of VECTORS) {
  test(`the peer of these tests reads and writes the vector: ${vector.name}`, () => {
    const bytes = Buffer.from(vector.hex, "hex");
    const expected = fieldsOf(vector);
    const { byteLength, ...decoded } = decode(bytes);
    assert.equal(byteLength, bytes.length);
    assert.deepEqual(decoded, expected);
    assert.equal(encode(expected).toString("hex"), vector.hex);
  });
}
