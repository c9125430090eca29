// A validator that fails: the client is refused as with a wrong token, and everybody else is told the truth.
import assert from "node:assert/strict";
import { Child } from "./support/child.mjs";
import { Peer, freshSid } from "./support/peer.mjs";
import { reasonIn, refusals } from "./support/refusal.mjs";
import { startServer } from "./support/server.mjs";
import { test } from "./support/test.mjs";
import { deferred, eventually, once } from "./support/wait.mjs";

const WRONG = "Invalid bearer token in authorization query.";

/** How a client with this token is refused. */
async function refused(port, token, sid = freshSid()) {
  const error = await Peer.connect({ port, token, sid }).then(() => assert.fail("let in"), (refusal) => refusal);
  return [error.status, reasonIn(error.body)];
}

for (const [how, validate] of [
  ["throws", (token) => {
    if (token !== "wrong") throw new RangeError(`no good: ${token}`);
    return false;
  }],
  ["rejects", async (token) => {
    if (token !== "wrong") throw new RangeError(`no good: ${token}`);
    return false;
  }],
  ["gives a promise that cannot be looked at", (token) => {
    if (token === "wrong") return false;
    return Object.defineProperty({}, "then", { get() { throw new RangeError(`no good: ${token}`); } });
  }],
]) {
  test(`a validator that ${how} is validator-error, with its error and the request, and a reason of its own on the channel`, async (t) => {
    const { server, port, listenerErrors } = await startServer(t, {}, { validate });
    const failures = [];
    server.on("validator-error", (...args) => failures.push(args));
    const told = refusals(t, server);
    const sid = freshSid();
    assert.deepEqual(await refused(port, "secret", sid), [401, WRONG]);
    assert.deepEqual(await refused(port, "wrong"), [401, WRONG]);
    await eventually(() => told.length === 2);
    assert.deepEqual(told, [[401, "The validator has failed."], [401, WRONG]]);
    assert.equal(failures.length, 1);
    const [[error, request, ...more]] = failures;
    assert.deepEqual([error.name, error.message, more], ["RangeError", "no good: secret", []]);
    assert.deepEqual([request.sid, request.remoteAddress], [sid, "127.0.0.1"]);
    assert.match(request.url, /secret/);
    assert.deepEqual(listenerErrors, []);
    assert.equal(server.stats().refused, 2);
  });
}

test("a client does not see whether a validator has failed or the token was wrong", async (t) => {
  const { server, port } = await startServer(t, {}, { validate: async (token) => token === "fails" && Promise.reject(new Error("x")) });
  server.on("validator-error", () => {});
  const answer = async (token) => {
    const { status, headers, body } = await Peer.connect({ port, token }).catch((error) => error);
    return { status, headers, body: body.replace(/127\.0\.0\.1:\d+/, "ADDRESS") };
  };
  assert.deepEqual(await answer("fails"), await answer("wrong"));
});

test("a listener of validator-error that throws is reported, and the next client is served", async (t) => {
  const running = await startServer(t, {}, { validate: (token) => token === "T" || Promise.reject(new Error("database")) });
  running.server.on("validator-error", () => {
    throw new Error("listener");
  });
  await refused(running.port, "x");
  await (await Peer.connect({ port: running.port })).ready();
  assert.deepEqual(running.listenerErrors.splice(0).map(([error, event, session]) => [error.message, event, session]), [["listener", "validator-error", undefined]]);
});

test("a validator that stops because its client has left has not failed; one that fails then has", async (t) => {
  const asked = [];
  const { server, port } = await startServer(t, {}, {
    validate(token, { signal }) {
      const { promise, reject } = deferred();
      asked.push(token);
      if (token === "reason") signal.addEventListener("abort", () => reject(signal.reason));
      if (token === "abort") signal.addEventListener("abort", () => reject(Object.assign(new Error("x"), { name: "AbortError" })));
      if (token === "fails") signal.addEventListener("abort", () => reject(new Error("database")));
      return promise;
    },
  });
  const failures = [];
  server.on("validator-error", (error) => failures.push(error.message));
  const told = refusals(t, server);
  for (const token of ["reason", "abort", "fails"]) {
    const peer = new Peer({ port, token });
    await eventually(() => asked.includes(token));
    peer.terminate();
  }
  await eventually(() => told.length === 3);
  await eventually(() => failures.length > 0);
  assert.deepEqual(failures, ["database"]);
});

test("without a listener a failure is printed, once each, with its place and without the token", async (t) => {
  const child = Child.start(t, "failing-validator.mjs");
  const { port } = await child.report("listening");
  await refused(port, "SuperSecret1");
  await refused(port, "SuperSecret2");
  child.command("destroy");
  await eventually(() => child.stderr.includes("failing-validator.mjs:8"));
  assert.match(child.stderr, /^camp-server: validate failed with TypeError\n {4}at .*failing-validator\.mjs:7/m);
  assert.match(child.stderr, /^camp-server: validate failed with ECONNREFUSED\n {4}at .*failing-validator\.mjs:8/m);
  assert.equal(child.stderr.match(/validate failed/g).length, 2);
  assert.ok(!child.stderr.includes("SuperSecret"));
});

test("with DEBUG a failure is traced once, and the refusal says that the validator has failed", async (t) => {
  const child = Child.start(t, "failing-validator.mjs", {}, { env: { DEBUG: "CAMP_SERVER" } });
  const { port } = await child.report("listening");
  await refused(port, "SuperSecret1");
  await eventually(() => /^CAMP_SERVER refused .*: The validator has failed\.$/m.test(child.stderr));
  assert.equal(child.stderr.match(/validate failed/g).length, 1);
  assert.ok(!child.stderr.includes("SuperSecret"));
});

test("the request in validator-error can be kept and read later", async (t) => {
  const { server, port } = await startServer(t, {}, { validate: () => Promise.reject(new Error("x")) });
  const told = once(server, "validator-error");
  await refused(port, "T");
  const [, request] = await told;
  assert.equal(request.headers.upgrade, "websocket");
});
