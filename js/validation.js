// Asks the application whether a client may connect.

/** @typedef {import("../index.js").ITokenValidator} ITokenValidator */

/**
 * Calls `answer` once the validator has decided. Only `true`, or what counts as true, lets a client
 * in; a throw or a rejection does not. A validator that never settles is given up natively.
 *
 * @param {ITokenValidator} validator
 * @param {Buffer} payload see `validate` in `src/node/record.rs`
 * @param {(accepted: boolean) => void} answer
 */
export function askValidator(validator, payload, answer) {
  const tokenAt = 4 + 8 + 4;
  const token = payload.utf8Slice(tokenAt, tokenAt + lengthAt(payload, tokenAt - 4));
  let verdict;
  try {
    verdict = validator.validate(token);
  } catch {
    return answer(false);
  }
  if (typeof (/** @type {any} */ (verdict)?.then) !== "function") return answer(Boolean(verdict));
  Promise.resolve(verdict).then((accepted) => answer(Boolean(accepted)), () => answer(false));
}

/**
 * @param {Buffer} payload
 * @param {number} at
 */
function lengthAt(payload, at) {
  return new DataView(payload.buffer, payload.byteOffset).getUint32(at, LITTLE_ENDIAN);
}

const LITTLE_ENDIAN = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;
