// What stays behind, told from what a process keeps after each of many equal batches of work.
import assert from "node:assert/strict";

const MIB = 1024 * 1024;

/** What half of the batches add at most. A leak adds the same each time; a pool or an arena that grows does so now and then. */
function median(samples, figure) {
  const steps = samples.slice(1).map((sample, i) => sample[figure] - samples[i][figure]);
  return steps.sort((a, b) => a - b)[Math.floor((steps.length - 1) / 2)];
}

/** `samples` are those of `retained()`, one after each batch; the first of them ends the warm-up. */
export function assertNothingStays(t, samples, perBatch = 2 * MIB) {
  const [first, last] = [samples[0], samples.at(-1)];
  for (const [figure, more] of [["servers", 1], ["sessions", 1], ["descriptors", 5], ["threads", 3]]) {
    assert.ok(last[figure] - first[figure] <= more, `${figure}: ${samples.map((sample) => sample[figure])}`);
  }
  for (const figure of ["heap", "resident"]) {
    const steps = `${figure} in KiB after each batch: ${samples.map((sample) => Math.round(sample[figure] / 1024))}`;
    t.diagnostic(steps);
    assert.ok(median(samples, figure) < perBatch, steps);
  }
}
