// `test` with a time limit, and a file that ends: a native handle left open must fail the run, not hang it.
import { after, test as nodeTest } from "node:test";

const LIMIT_MS = 120_000;
const GRACE_MS = 60_000;

export function test(name, options, body) {
  if (typeof options === "function") return nodeTest(name, { timeout: LIMIT_MS }, options);
  return nodeTest(name, { ...options, timeout: Math.max(LIMIT_MS, options.timeout ?? 0) }, body);
}

after(() => {
  setTimeout(() => {
    console.error(`handles left open: ${process.getActiveResourcesInfo().join(", ") || "native ones"}`);
    process.exit(1);
  }, GRACE_MS).unref();
});
