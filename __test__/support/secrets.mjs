// Looks for secrets in what comes out of the product.
import assert from "node:assert/strict";
import { inspect } from "node:util";

/** How a program may print bytes without meaning to. */
function spellings(secret) {
  const bytes = Buffer.from(secret);
  return [
    secret, encodeURIComponent(secret), bytes.toString("hex"), bytes.toString("base64").replace(/=+$/, "").slice(0, -1),
    [...bytes].join(","), [...bytes].join(", "), [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(" "),
  ];
}

/** Parts of a PEM text that are long enough to be worth something. */
export function keyMaterial(pem) {
  const body = pem.replace(/-----[^-]+-----/g, "").replace(/\s|\\n/g, "");
  return (body.match(/.{16}/g) ?? []).slice(2);
}

/** No form of any secret is in a text, an error, or any object. */
export function assertHides(output, secrets, what = "") {
  const text = typeof output === "string" ? output : `${output?.message} ${output?.stack} ${inspect(output, { depth: 10, showHidden: true, maxStringLength: Infinity, maxArrayLength: Infinity })}`;
  for (const secret of secrets) {
    for (const spelling of spellings(secret)) assert.ok(!text.includes(spelling), `${what}: ${spelling} is in ${text}`);
  }
}
