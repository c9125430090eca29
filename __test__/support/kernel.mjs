// What lies on its way in the kernel, of which a product with bounded memory has taken nothing yet. Only Linux tells.
import { existsSync, readFileSync } from "node:fs";
import { delay, eventually } from "./wait.mjs";

const TABLES = ["/proc/net/tcp", "/proc/net/tcp6"].filter((table) => existsSync(table));

/** For the option `skip` of tests that need `taken`. */
export const KERNEL_UNTOLD = TABLES.length === 0 && "needs /proc/net/tcp";

/** What a socket's buffers may hold on both sides of a loopback connection. */
export const KERNEL = ["tcp_wmem", "tcp_rmem"]
  .map((name) => `/proc/sys/net/ipv4/${name}`)
  .reduce((sum, file) => sum + (existsSync(file) ? Number(readFileSync(file, "utf8").trim().split(/\s+/)[2]) : 8 * 1024 * 1024), 0);

/** Bytes that the sockets' other ends have taken out of the kernel. */
export function taken(...sockets) {
  const ports = new Set(sockets.map(({ localPort }) => localPort));
  const written = sockets.reduce((sum, socket) => sum + socket.bytesWritten - socket.writableLength, 0);
  let waiting = 0;
  for (const table of TABLES) {
    for (const line of readFileSync(table, "utf8").trim().split("\n").slice(1)) {
      const [, local, remote, , queues] = line.trim().split(/\s+/);
      const [unsent, unread] = queues.split(":").map((bytes) => parseInt(bytes, 16));
      if (ports.has(portOf(local))) waiting += unsent;
      if (ports.has(portOf(remote))) waiting += unread;
    }
  }
  return written - waiting;
}

const portOf = (address) => parseInt(address.split(":")[1], 16);

/**
 * Waits until `count()` has not changed for a while, but by what asking costs. A busy machine makes that early, never wrong:
 * use it for upper bounds alone.
 */
export async function standstill(count, ms = 500) {
  for (let last = NaN, now = await count(); !(now - last < 32 * 1024); now = await count()) {
    last = now;
    await delay(ms);
  }
}

/** As `standstill`, of what the other ends of these sockets take once they have taken anything. */
export async function takenInAll(...sockets) {
  await eventually(() => taken(...sockets) > 0);
  await standstill(() => taken(...sockets));
  return taken(...sockets);
}
