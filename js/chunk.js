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

/** @param {number} index */
export function word32(index) {
  return /** @type {number} */ (words[index]);
}

/** @param {number} index */
export function float(index) {
  return /** @type {number} */ (floats[index]);
}
