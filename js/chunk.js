// The memory that the records of the native side are read into.

/** Records read at once. A record is at most 8 KiB; larger payloads lie beside the log. */
const CHUNK = 64 * 1024;

/** The bit of a record's second word that tells that its payload lies beside the log. */
export const LARGE = 0x80;

/** The bit that tells that more of it than its payload lies there. */
export const BESIDE = 0x40;

/**
 * One chunk serves all servers of the thread: it is emptied before another is read.
 */
export const chunk = Buffer.allocUnsafeSlow(CHUNK);
export const words = new Uint32Array(chunk.buffer, chunk.byteOffset, CHUNK >>> 2);
const floats = new Float64Array(chunk.buffer, chunk.byteOffset, CHUNK >>> 3);
export const longs = new BigInt64Array(chunk.buffer, chunk.byteOffset, CHUNK >>> 3);

const { slice } = Uint8Array.prototype;

/** Up to this many bytes a loop copies faster than a call does. */
const FEW = 24;

/**
 * A copy of `length` bytes of the chunk, in memory of its own: whoever gets it may keep it, or transfer it elsewhere.
 *
 * The engine keeps up to 64 bytes within the array. Beyond, memory has to be allocated, and that takes longer than
 * the copying.
 *
 * @param {number} start
 * @param {number} length
 * @returns {Buffer}
 */
export function bytesAt(start, length) {
  if (length > FEW) return /** @type {Buffer} */ (slice.call(chunk, start, start + length));
  const bytes = Buffer.allocUnsafeSlow(length);
  for (let i = 0; i < length; i++) bytes[i] = /** @type {number} */ (chunk[start + i]);
  return bytes;
}

/** @param {number} index */
export function word32(index) {
  return /** @type {number} */ (words[index]);
}

/** @param {number} index */
export function float(index) {
  return /** @type {number} */ (floats[index]);
}
