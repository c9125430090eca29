// Draws what was measured, as SVG.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { servers } from "./servers.mjs";
import { figure } from "./table.mjs";

/** @typedef {import("./table.mjs").Result} Result */
/** @typedef {import("./scaling.mjs").Point} Point */
/** @typedef {Record<string, string | number>} Datum */

/** Imported without their types, which take a browser for granted. */
const VEGA = ["vega", "vega-lite"];

/** The same colour for a server in every plot; told apart by the colour-blind too. */
const COLOURS = { ours: "#d55e00", "baseline-ws": "#999999", "hand-ws": "#56b4e9", "hand-bun": "#009e73", "raw-ws": "#cc79a7", limit: "#000000" };

/** @param {Datum[]} values */
function colour(values) {
  const domain = Object.keys(COLOURS).filter((server) => values.some((value) => value.server === server));
  const range = domain.map((server) => COLOURS[/** @type {keyof typeof COLOURS} */ (server)]);
  return { field: "server", type: "nominal", title: null, scale: { domain, range } };
}

/**
 * @param {string} directory
 * @param {Map<string, Result>} results
 * @param {Point[]} points
 * @returns {Promise<string[]>} names of the files
 */
export async function draw(directory, results, points) {
  mkdirSync(directory, { recursive: true });
  const [{ View, parse }, { compile }] = await Promise.all(VEGA.map((name) => import(name)));
  const plots = {
    "messages": bars(results, "messages/s", "Messages a second"),
    "streams": bars(results, "MiB/s", "Streams"),
    "cost-by-sessions": lines(points, "cost", "cpuMicrosEach", 1, "CPU µs per message", "10,000 messages a second over more and more sessions", "linear"),
    "memory-by-sessions": lines(points, "idle", "resident", 2 ** -20, "resident MiB", "Memory of the whole server", "log"),
    "heartbeat-cpu": lines(points, "idle", "serverCpu", 100, "% of a core", "Idle sessions with one heartbeat a second", "linear"),
    "heartbeat-latency": lines(points, "idle", "latency.p999", 1e-3, "p99.9 of an echo, ms", "An echo among idle sessions with one heartbeat a second", "log"),
  };
  const files = [];
  for (const [name, plot] of Object.entries(plots)) {
    if (plot === undefined) continue;
    const view = new View(parse(compile(plot).spec), { renderer: "none" });
    writeFileSync(join(directory, `${name}.svg`), `${await view.toSVG()}\n`);
    view.finalize();
    files.push(`${name}.svg`);
  }
  return files;
}

/** @param {Datum[]} values @param {object} plot */
function spec(values, plot) {
  if (values.length === 0) return undefined;
  return {
    $schema: "https://vega.github.io/schema/vega-lite/v6.json",
    background: "white",
    data: { values: values.filter(({ server }) => String(server) in COLOURS) },
    ...plot,
  };
}

/** @param {Map<string, Result>} results @param {string} unit @param {string} title */
function bars(results, unit, title) {
  /** @type {Datum[]} */
  const values = [...results.values()].filter(({ chosen }) => chosen.unit === unit).flatMap((result) =>
    Object.keys(result.servers).filter((server) => server in servers).flatMap((server) => {
      const value = figure(result, server);
      return value ? [{ case: result.chosen.name, server, value }] : [];
    }));
  return spec(values, {
    title: `${title}: ${unit}, more is better`,
    width: 520,
    height: { step: 13 },
    mark: { type: "bar" },
    encoding: {
      row: { field: "case", type: "nominal", title: null, sort: null, header: { labelAngle: 0, labelAlign: "left", labelLimit: 260 } },
      y: { field: "server", type: "nominal", title: null, sort: Object.keys(COLOURS), axis: null },
      x: { field: "value", type: "quantitative", title: null },
      color: colour(values),
    },
    resolve: { scale: { x: "independent", y: "independent" } },
  });
}

/**
 * @param {Point[]} points @param {string} series @param {string} key @param {number} factor
 * @param {string} unit @param {string} title @param {"log" | "linear"} scale
 */
function lines(points, series, key, factor, unit, title, scale) {
  /** @type {Datum[]} */
  const values = points.filter((point) => point.series === series).flatMap(({ sessions, server, figures }) => {
    const value = (figures[key] ?? NaN) * factor;
    return Number.isNaN(value) || (scale === "log" && value <= 0) ? [] : [{ sessions, server, value }];
  });
  return spec(values, {
    title,
    width: 480,
    height: 300,
    mark: { type: "line", point: true },
    encoding: {
      x: { field: "sessions", type: "quantitative", scale: { type: "log" }, title: "sessions", axis: { format: "," } },
      y: { field: "value", type: "quantitative", scale: { type: scale }, title: `${unit}, less is better` },
      color: colour(values),
    },
  });
}
