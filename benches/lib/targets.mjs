// What camp-server is held to: ratios to other servers of the same run, and bounds.
import { figure, number, ratio } from "./table.mjs";

/** @typedef {import("./table.mjs").Result} Result */
/** @typedef {{ name: string, wanted: string, got: string, pass: boolean | undefined }} Verdict pass is undefined if not measured */

/** Case, server, how many times better at least; of these servers ours is the one compared unless named. */
const RATIOS = /** @type {[string, string, number, string?][]} */ ([
  ["echo-50x32-16-text", "baseline-ws", 40],
  ["echo-50x32-16-text", "hand-bun", 1.5],
  ["echo-50x32-16-text@1core", "baseline-ws", 30],
  ["echo-50x32-16-text@1core", "hand-bun", 1.0],
  ["echo-50x32-16-text@1core", "hand-ws", 2.2],
  ["echo-50x32-1k-text@1core", "baseline-ws", 25],
  ["echo-50x32-1k-text@1core", "hand-bun", 1.5],
  ["echo-50x1-16-text@1core", "baseline-ws", 3],
  ["echo-50x1-16-text@1core", "hand-bun", 1.0],
  ["echo-500x1-16-text@1core", "baseline-ws", 3],
  ["echo-500x1-16-text@1core", "hand-bun", 1.0],
  ["echo-1x1-16-text", "hand-ws", 1.0],
  ["echo-1x1-16-text", "hand-ws", 1.5, "ours-busy-poll"],
  ["echo-1x32-64k-text@1core", "baseline-ws", 6],
  ["echo-1x32-64k-text@1core", "hand-bun", 1.2],
  ["push-50x32@1core", "baseline-ws", 25],
  ["push-50x32@1core", "hand-bun", 1.0],
  ["stream-file@1core", "baseline-ws", 8],
  ["stream-file@1core", "hand-bun", 0.9],
  ["stream-file@1core", "limit", 0.6],
  ["upload@1core", "baseline-ws", 6],
  ["upload@1core", "hand-bun", 1.0],
  ["upload@1core", "limit", 0.4],
  ["stream-file-tls@1core", "limit", 0.6],
  ["connect@1core", "hand-ws", 2],
  ["rate-10k@1core", "hand-ws", 1.0],
]);

/** Case, what is measured, its bound, the unit, how to get it. */
const BOUNDS = /** @type {[string, string, number, string, (result: Result) => number | undefined][]} */ ([
  ["stream-file@1core", "time that JavaScript is busy meanwhile", 5, "%",
    (result) => times(result.servers.ours?.median.eventLoopUtilization, 100)],
  ["idle-10k", "resident memory of a session", 5, "KiB", (result) => times(figure(result, "ours"), 1 / 1024)],
  ["idle-10k-tls", "resident memory of a session", 20, "KiB", (result) => times(figure(result, "ours"), 1 / 1024)],
  ["hooks-50x32@1core", "CPU with a receive hook to that without", 2.5, "x", (result) => ratio(result, "ours", "ours-receive-hook")],
]);

/**
 * @param {Map<string, Result>} results by case
 * @returns {Verdict[]} of the cases that were measured
 */
export function verdicts(results) {
  const ratios = RATIOS.filter(([name]) => results.has(name)).map(([name, other, least, ours = "ours"]) => {
    const got = ratio(results.get(name), ours, other);
    return {
      name: `${name}: ${ours} to ${other}`,
      wanted: `≥ ${number(least)} x`,
      got: got === undefined ? "not measured" : `${number(got)} x`,
      pass: got === undefined ? undefined : got >= least,
    };
  });
  const bounds = BOUNDS.filter(([name]) => results.has(name)).map(([name, what, most, unit, get]) => {
    const got = get(/** @type {Result} */ (results.get(name)));
    return {
      name: `${name}: ${what}`,
      wanted: `≤ ${number(most)} ${unit}`,
      got: got === undefined ? "not measured" : `${number(got)} ${unit}`,
      pass: got === undefined ? undefined : got <= most,
    };
  });
  return [...ratios, ...bounds];
}

/** @param {Verdict[]} all @returns {string[][]} */
export function verdictRows(all) {
  return [
    ["target", "wanted", "got", ""],
    ...all.map(({ name, wanted, got, pass }) => [name, wanted, got, pass === undefined ? "-" : pass ? "pass" : "MISS"]),
  ];
}

/** @param {number | undefined} value @param {number} factor */
function times(value, factor) {
  return value === undefined ? undefined : value * factor;
}
