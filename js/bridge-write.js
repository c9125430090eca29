// How what is written to a bridged socket is cut into orders.

/** Below that many bytes on their way a write counts as complete, as it does when the system has taken it. */
export const BUFFERED = 64 * 1024;

/** Smaller buffers are joined: one order and one packet, instead of one each. */
const JOIN = 16 * 1024;

/**
 * What was written, with small neighbours put together.
 *
 * @param {{ chunk: Buffer }[]} entries
 */
export function joined(entries) {
  const pieces = [];
  /** @type {Buffer[]} */
  let small = [];
  let length = 0;
  for (const { chunk } of entries) {
    if (chunk.length >= JOIN) {
      pieces.push(...together(small, length), chunk);
      [small, length] = [[], 0];
    } else {
      small.push(chunk);
      length += chunk.length;
      if (length < BUFFERED) continue;
      pieces.push(...together(small, length));
      [small, length] = [[], 0];
    }
  }
  return [...pieces, ...together(small, length)];
}

/**
 * @param {Buffer[]} chunks
 * @param {number} length
 */
function together(chunks, length) {
  return chunks.length > 1 ? [Buffer.concat(chunks, length)] : chunks;
}
