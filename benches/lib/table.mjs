// What is printed.

/** @typedef {import("./measure.mjs").Figures} Figures */
/** @typedef {import("./measure.mjs").Chosen} Chosen */
/** @typedef {{ runs: Figures[], median: Figures, errors: string[] }} Measured */
/** @typedef {{ chosen: Chosen, servers: Record<string, Measured> }} Result */

/** @param {number | undefined} value */
export function number(value) {
  if (value === undefined || Number.isNaN(value)) return "";
  const digits = Math.abs(value) >= 1000 ? 0 : Math.abs(value) >= 100 ? 1 : 2;
  return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** @param {number | undefined} value */
const percent = (value) => (value === undefined ? "" : `${Math.round(value * 100)} %`);

/**
 * The figure that counts, of a server's medians.
 *
 * @param {Result | undefined} result
 * @param {string} server
 */
export function figure(result, server) {
  return result?.servers[server]?.median[result.chosen.figure];
}

/**
 * How many times better one server is than another.
 *
 * @param {Result | undefined} result
 * @param {string} server
 * @param {string} other
 */
export function ratio(result, server, other) {
  const [ours, theirs] = [figure(result, server), figure(result, other)];
  if (result === undefined || ours === undefined || theirs === undefined) return undefined;
  return result.chosen.less ? theirs / ours : ours / theirs;
}

/** Columns beside the figure: heading, and what is in it. */
const COLUMNS = /** @type {[string, (figures: Figures) => string][]} */ ([
  ["CPU µs each", ({ cpuMicrosEach }) => number(cpuMicrosEach)],
  ["server CPU", ({ serverCpu }) => percent(serverCpu)],
  ["its first thread", ({ serverMainCpu }) => percent(serverMainCpu)],
  ["generator busy", ({ generatorBusy }) => percent(generatorBusy)],
  ["p50 µs", (figures) => number(figures["latency.p50"])],
  ["p99 µs", (figures) => number(figures["latency.p99"])],
  ["p99.9 µs", (figures) => number(figures["latency.p999"])],
  ["resident MiB", ({ resident }) => number(resident === undefined ? undefined : resident / 2 ** 20)],
  ["JS busy", ({ eventLoopUtilization }) => percent(eventLoopUtilization)],
]);

/**
 * A table of one case: a row of headings, then one for each server.
 *
 * @param {Result} result
 * @returns {string[][]}
 */
export function rows(result) {
  const { chosen, servers } = result;
  const columns = COLUMNS.filter(([, show]) => Object.values(servers).some(({ median }) => show(median) !== ""));
  const cpu = servers.ours?.median.cpuMicrosEach;
  const compared = cpu !== undefined && cpu > 0;
  return [
    ["", chosen.unit, "least", "most", "ours against it", ...(compared ? ["by CPU"] : []), ...columns.map(([heading]) => heading)],
    ...Object.entries(servers).map(([name, { runs, median, errors }]) => {
      const values = runs.map((figures) => figures[chosen.figure] ?? NaN);
      const better = name === "ours" ? undefined : ratio(result, "ours", name);
      return [
        errors.length > 0 ? `${name} (${errors.length} failed)` : name,
        number(median[chosen.figure]), number(values.length > 0 ? Math.min(...values) : NaN),
        number(values.length > 0 ? Math.max(...values) : NaN),
        better === undefined ? "" : `${number(better)} x`,
        ...(compared ? [name === "ours" || !median.cpuMicrosEach ? "" : `${number(median.cpuMicrosEach / cpu)} x`] : []),
        ...columns.map(([, show]) => show(median)),
      ];
    }),
  ];
}

/** @param {string[][]} table */
export function aligned(table) {
  const widths = (table[0] ?? []).map((_, column) => Math.max(...table.map((row) => row[column]?.length ?? 0)));
  return table.map((row) => row.map((cell, column) =>
    (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0))).join("  ").trimEnd()).join("\n");
}

/** @param {string[][]} table */
export function markdown(table) {
  const [head = [], ...body] = table;
  const line = (/** @type {string[]} */ row) => `| ${row.join(" | ")} |`;
  return [line(head), line(head.map((_, column) => (column === 0 ? "---" : "---:"))), ...body.map(line)].join("\n");
}
