// The records of a session's transactions: to whom each is handed.
import { BESIDE, chunk, float, longs, word32 } from "./chunk.js";

const TX_STARTED = 20;
const TX_CHUNK = 21;
const TX_ENDED = 22;
const TX_CREDIT = 23;
const TX_SETTLED = 24;
const TX_FETCHED = 25;
const TX_OUTLIVES = 26;

/** Their kinds, a bit for each. */
export const OF_TRANSACTIONS = [TX_STARTED, TX_CHUNK, TX_ENDED, TX_CREDIT, TX_SETTLED, TX_FETCHED, TX_OUTLIVES]
  .reduce((mask, kind) => mask | (1 << kind), 0);

/**
 * @param {import("./session.js").CAMPServerWebsocketSession["transaction"] | undefined} transaction `undefined`: the session is gone
 * @param {number} word the record's second
 * @param {number} start of its payload
 * @param {number} length
 * @param {(length: number) => Buffer} largeBytes takes a payload that lies beside the log
 */
export function dispatchTransaction(transaction, word, start, length, largeBytes) {
  const i = start >>> 2;
  const f = start >>> 3;
  const first = word32(i);
  const second = word32(i + 1);
  switch (word & 0xff) {
    case TX_STARTED: {
      const name = chunk.utf8Slice(start + 20, start + length);
      transaction?._started(first, second, word32(i + 4), longs[f + 1] ?? -1n, name);
      break;
    }
    case TX_CHUNK | BESIDE: {
      const bytes = largeBytes(second);
      transaction?._chunk(first, bytes);
      break;
    }
    case TX_ENDED:
      transaction?._ended(first, second, float(f + 1), float(f + 2));
      break;
    case TX_CREDIT:
      transaction?._granted(first, second);
      break;
    case TX_SETTLED: {
      const text = chunk.utf8Slice(start + 8, start + length);
      transaction?._settled(first, second, text);
      break;
    }
    case TX_FETCHED:
      transaction?._fetched(first, float(f + 1), float(f + 2));
      break;
    case TX_OUTLIVES:
      transaction?._outlives(first);
      break;
    default:
      throw new Error(`camp-server: record of unknown kind ${word & 0xff}`);
  }
}
