// Memory that is free goes back to the system.
import { readFileSync } from "node:fs";
import { openSession, startServer } from "./support/server.mjs";
import { test } from "./support/test.mjs";
import { eventually } from "./support/wait.mjs";

const MIB = 1024 * 1024;
const READERS = 16;

/** The allocators of other systems give back by themselves, at times of their own. */
const skip = process.report.getReport().header.glibcVersionRuntime === undefined && "not glibc";

/** What the system counts as this process's, in bytes. */
const resident = () => Number(readFileSync("/proc/self/statm", "latin1").split(" ")[1]) * 4096;

test("what waited for slow readers that have left goes back to the system", { skip, timeout: 120_000 }, async (t) => {
  const running = await startServer(t);
  const message = Buffer.alloc(64 * 1024, 1);
  const readers = [];
  for (let i = 0; i < READERS; i++) {
    const { session, peer } = await openSession(running);
    peer.pauseReading();
    for (let sent = 0; sent < 16 * MIB; sent += message.length) void session.base.SendBinary(message);
    readers.push({ session, peer });
  }
  const queued = () => readers.reduce((sum, { session }) => sum + session.stats().bytesInFlight, 0);
  await eventually(() => queued() > READERS * 4 * MIB, 30_000);
  const waiting = queued();
  const most = resident();
  for (const { peer } of readers) peer.terminate();
  await eventually(() => running.server.sessions.size === 0);
  // Whenever the I/O thread finds the time.
  await eventually(() => resident() < most - waiting / 2, 60_000);
});
