// Errors of the system are told in words, with a code for programs.
import assert from "node:assert/strict";
import net from "node:net";
import { inspect } from "node:util";
import { Child } from "./support/child.mjs";
import { CAMP } from "./support/product.mjs";
import { once, openSession, rejection, startServer, validator } from "./support/server.mjs";
import { test } from "./support/test.mjs";

function assertInWords(error, code) {
  assert.equal(error.code, code, error.stack);
  assert.doesNotMatch(inspect(error, { depth: 5 }), /os error/);
}

test("a port that is in use", async (t) => {
  const { port } = await startServer(t);
  const server = CAMP(validator, { port });
  const [error] = await once(server, "error");
  assertInWords(error, "EADDRINUSE");
  assert.match(error.message, /^listen EADDRINUSE: address already in use :::\d+$/i);
});

test("a server that is not there", async (t) => {
  const { server } = await startServer(t);
  const listener = net.createServer().listen(0, "127.0.0.1");
  await once(listener, "listening");
  const { port } = listener.address();
  await new Promise((resolve) => listener.close(resolve));
  const error = await rejection(server.ConnectPeer(`ws://127.0.0.1:${port}`, "T"));
  assertInWords(error, "ERR_CAMP_CONNECT_FAILED");
  assertInWords(error.cause, "ECONNREFUSED");
});

test("a file that is not there, or no file", async (t) => {
  const { session } = await openSession(await startServer(t));
  assertInWords(await rejection(session.transaction.Stream({ path: "/nowhere/at/all" })), "ENOENT");
  assertInWords(await rejection(session.transaction.Stream({ path: "/" })), "EISDIR");
});

test("debug output", async (t) => {
  const { port } = await startServer(t);
  const child = Child.start(t, "port-in-use.mjs", { port }, { env: { DEBUG: "CAMP_SERVER" } });
  await child.exit();
  assert.match(child.stderr, /cannot listen on port \d+: address already in use\n/i);
});
