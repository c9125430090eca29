// The tests see the same thing in a terminal, in a pipe, and in a shell with settings of its own.
import assert from "node:assert/strict";
import { Child } from "./support/child.mjs";
import { test } from "./support/test.mjs";

const SETTINGS = {
  FORCE_COLOR: "1", NO_COLOR: "1", COLUMNS: "10", TERM: "dumb", DEBUG: "*", LC_ALL: "tr_TR.UTF-8", TZ: "Asia/Kathmandu", NODE_DEBUG: "timer",
  NODE_OPTIONS: "--throw-deprecation", NODE_TEST_CONTEXT: "child-v8",
};

test("no setting of the shell or of the test runner reaches a child", async (t) => {
  const before = { ...process.env };
  t.after(() => {
    for (const name of Object.keys(SETTINGS)) {
      if (before[name] === undefined) delete process.env[name];
      else process.env[name] = before[name];
    }
  });
  Object.assign(process.env, SETTINGS);
  const program = `console.log(8080, process.env.KEPT, ${JSON.stringify(Object.keys(SETTINGS))}.filter((name) => name in process.env))`;
  const child = Child.node(t, ["-e", program], { env: { KEPT: "kept", TZ: "UTC" } });
  assert.deepEqual(await child.exit(), { code: 0, signal: null });
  assert.equal(child.stdout, "8080 kept [ 'TZ' ]\n", "but those that the test sets");
  assert.equal(child.stderr, "");
});
