// A session whose way out is blocked for certain: the client does not read and the kernel's buffers are full.
import { delay, within } from "./wait.mjs";

const KIB = 1024;
const PLUG = 0xaa;
const STOPPER = 0xbb;

/** A busy kernel goes on growing its buffers for a while after it first took no more. */
const SETTLED_MS = 700;

/** Small watermarks, and timeouts that stay out of the way. */
export function tight(backpressure = {}) {
  return {
    keepAliveIntervalMs: 120_000,
    ackTimeoutMs: 120_000,
    backpressure: {
      highWaterMark: 64 * KIB, lowWaterMark: 16 * KIB, maxQueuedBytes: 64 * KIB * KIB, maxQueueCount: 1000, ...backpressure,
    },
  };
}

/**
 * Stops the peer's reading and sends until a ping is not written any more. One more message, larger than the
 * high watermark, makes sure that whatever is sent from now on has to wait.
 */
export async function stall(session, peer) {
  peer.pauseReading();
  for (let sent = 0; sent < 400; sent++) {
    session.base.SendBinary(Buffer.alloc(256 * KIB, PLUG));
    const written = session.base.Ping().then(() => true, () => true);
    if (!(await Promise.race([written, delay(SETTLED_MS).then(() => false)]))) {
      session.base.SendBinary(Buffer.alloc(200 * KIB, STOPPER));
      return;
    }
  }
  throw new Error("100 MiB went out to a client that does not read");
}

/** A message that tells its number: 100 KiB, more than the high watermark. */
export function numbered(index, size = 100 * KIB) {
  const data = Buffer.alloc(size, 0x11);
  data.writeUInt32BE(index, 1);
  return data;
}

/** The numbers of the numbered messages that arrived, in order. */
export function arrivedNumbers(peer) {
  return peer.of("BINARYDATA").filter(({ data }) => data[0] === 0x11).map(({ data }) => data.readUInt32BE(1));
}

/** What became of each promise: "sent" or the rejection's code. */
export async function outcomes(promises, ms = 15_000) {
  const settled = await within(Promise.allSettled(promises), ms, "the fate of every send");
  return settled.map(({ status, reason }) => (status === "fulfilled" ? "sent" : reason?.code ?? String(reason)));
}
