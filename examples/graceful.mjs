// A rolling deploy: on SIGTERM or Ctrl+C the port is let go of, what is under way is finished, and every client is
// told goodbye; what takes too long is cut short. Start the successor at once, on the same port.
//
//   node examples/graceful.mjs [PORT] [TOKEN]
import { setTimeout as delay } from "node:timers/promises";
import { CAMP } from "camp-server";

const port = Number(process.argv[2] ?? 8080);
const token = process.argv[3] ?? "MySuperSecretToken";

/** Milliseconds that clients have to take what was sent to them. */
const PATIENCE = 8000;

const server = CAMP({ validate: async (candidate) => candidate === token }, { port });

server.on("listening", () => console.log(`listening on port ${server.address()?.port}`));
server.on("error", (error) => {
  console.error(error.message);
  process.exitCode = 1;
});

/** Orders that are being worked on. @type {Set<Promise<void>>} */
const work = new Set();

server.on("session", (session) => {
  session.on("message-utf8", (order) => {
    const done = carryOut(order).then((result) => session.base.SendUTF8(result)).catch(() => {}).finally(() => work.delete(done));
    work.add(done);
  });
});

/** @param {string} order */
async function carryOut(order) {
  await delay(200);
  return `${order}: done`;
}

async function shutDown() {
  console.log(`draining, ${server.sessions.size} sessions`);
  server.http_server.close(); // No new clients, while the work is finished.
  await Promise.race([Promise.all(work), delay(PATIENCE, undefined, { ref: false })]);
  await server.Drain(PATIENCE); // Until everybody has acknowledged what was sent.
  await server.Destroy(); // `Drain` has done so; calling it again does no harm.
  console.log("bye");
}

for (const signal of /** @type {const} */ (["SIGTERM", "SIGINT"])) process.once(signal, () => void shutDown());
