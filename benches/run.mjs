// npm run bench: measures camp-server against other servers, checks every answer, and prints medians,
// ratios and what became of the targets. See README.md beside this file.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { ONE_CORE, caseNamed, cases, small, standard } from "./lib/cases.mjs";
import { machine } from "./lib/machine.mjs";
import { measure, medians } from "./lib/measure.mjs";
import { draw } from "./lib/plots.mjs";
import { programs } from "./lib/programs.mjs";
import { page, section } from "./lib/report.mjs";
import { scaling } from "./lib/scaling.mjs";
import { servers } from "./lib/servers.mjs";
import { aligned } from "./lib/table.mjs";
import { verdictRows, verdicts } from "./lib/targets.mjs";

/** @typedef {import("./lib/table.mjs").Result} Result */

const RESULTS = fileURLToPath(new URL("results", import.meta.url));

const HELP = `npm run bench -- [option...]

  --case NAME[,NAME]      these cases; NAME${ONE_CORE} has the server on one core (Linux)
  --all                   every case, with the server on one core and free
  --big                   with the cases of 50,000 sessions
  --servers NAME[,NAME]   these servers, where a case is for them
  --pin-server            every case with the server on one core
  --runs N                measurements of each server in each case, default 3
  --seconds S             length of a measurement, default 1
  --json FILE             writes all figures
  --plots DIR             measures how cost grows with sessions, and draws plots
  --write                 writes results.json, README.md and the plots to benches/results/
  --check                 only whether everything works: tiny counts, no targets
  --list                  names cases and servers`;

const { values: flags } = parseArgs({
  options: {
    case: { type: "string" }, servers: { type: "string" }, runs: { type: "string" }, seconds: { type: "string" },
    json: { type: "string" }, plots: { type: "string" }, write: { type: "boolean" }, all: { type: "boolean" },
    big: { type: "boolean" }, "pin-server": { type: "boolean" }, check: { type: "boolean" }, list: { type: "boolean" },
    help: { type: "boolean" },
  },
});

// So that `exit` is heard, which ends servers and removes files.
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(130));

if (flags.help) console.log(HELP);
else if (flags.list) list();
else await main().catch((error) => {
  if (!(error instanceof RangeError)) throw error;
  console.error(error.message);
  process.exitCode = 1;
});

function list() {
  console.log(aligned([...cases.map(({ name, about }) => [`  ${name}`, about]), ["", ""],
    ...Object.entries(servers).map(([name, { about }]) => [`  ${name}`, about])].map(([name = "", about = ""]) => [name.padEnd(26), about])
    .map((row) => [row.join(" ")])));
  console.log(`\nby default: ${standard.join(" ")}`);
}

async function main() {
  const chosen = choose();
  const wanted = flags.servers?.split(",");
  for (const name of wanted ?? [])
    if (!(name in servers)) throw new RangeError(`no server is called ${name}; --list names them all`);
  const runs = Number(flags.runs ?? (flags.check ? 1 : 3));
  const times = flags.check ? { seconds: 0.3, warmup: 0.1 } : { seconds: Number(flags.seconds ?? 1), warmup: 0.8 };

  console.log("building the load generator, if it is not up to date");
  const { generatorCore } = programs();
  console.log(generatorCore === undefined
    ? "the load generator cannot have a core of its own here, so figures are those of both together"
    : `the load generator has core ${generatorCore}; ${ONE_CORE}: the server has core 0, otherwise it may use all`);
  for (const [name, { missing }] of Object.entries(servers)) {
    const why = missing();
    if (why !== undefined) console.log(`without ${name}: ${why}`);
  }

  const usable = (/** @type {string[]} */ names) =>
    names.filter((name) => (wanted === undefined || wanted.includes(name)) && !servers[name]?.missing());
  /** @type {Map<string, Result>} */
  const results = new Map();
  for (const each of chosen) {
    const names = usable(each.servers);
    if (names.length === 0) continue;
    const result = await interleaved(each, names, runs, times);
    results.set(each.name, result);
    console.log(section(result));
  }
  const targets = flags.check ? [] : verdicts(results);
  if (targets.length > 0) console.log(`\n${aligned(verdictRows(targets))}`);

  const plots = flags.plots ?? (flags.write ? RESULTS : undefined);
  const grown = plots === undefined ? [] : await growth(usable, Number(flags.runs ?? 1), times);
  const report = {
    machine: machine(), runs, ...times, results: Object.fromEntries(results), targets,
    scaling: grown.map(({ series, sessions, result }) => ({ series, sessions, result })),
  };
  if (flags.json) writeFileSync(flags.json, json(report));
  if (plots !== undefined) {
    const points = grown.flatMap(({ series, sessions, result }) =>
      Object.entries(result.servers).map(([server, { median }]) => ({ series, sessions, server, figures: median })));
    const files = await draw(plots, results, points);
    console.log(`\ndrawn in ${plots}: ${files.join(" ")}`);
    if (flags.write) {
      mkdirSync(RESULTS, { recursive: true });
      writeFileSync(join(RESULTS, "results.json"), json(report));
      writeFileSync(join(RESULTS, "README.md"), page(report, results, targets, files, grown));
    }
  }

  const failed = [...results.values(), ...grown.map(({ result }) => result)]
    .flatMap((result) => Object.values(result.servers).flatMap((server) => server.errors));
  if (failed.length > 0) {
    console.log(`\n${failed.length} measurements have failed:\n${failed.join("\n")}`);
    process.exitCode = 1;
  } else if (flags.check) {
    console.log("\nall cases work");
  }
}

/** @param {object} report */
function json(report) {
  return `${JSON.stringify(report, (_, value) => (typeof value === "number" ? Number(value.toPrecision(5)) : value), 1)}\n`;
}

/**
 * @param {(names: string[]) => string[]} usable
 * @param {number} runs
 * @param {import("./lib/measure.mjs").Times} times
 */
async function growth(usable, runs, times) {
  const grown = [];
  for (const { series, sessions, chosen } of scaling(flags.big ?? false)) {
    const result = await interleaved(flags.check ? small(chosen) : chosen, usable(chosen.servers), runs, times);
    console.log(section(result));
    grown.push({ series, sessions, result });
  }
  return grown;
}

function choose() {
  const everything = cases.flatMap(({ name }) => [name, name + ONE_CORE]);
  let names = flags.case?.split(",") ?? (flags.all ? everything : flags.check ? cases.map(({ name }) => name) : standard);
  if (flags.big && !flags.case && !flags.all) names = [...names, "idle-50k", "idle-50k-tls"];
  if (flags["pin-server"]) names = names.map((name) => (name.endsWith(ONE_CORE) ? name : name + ONE_CORE));
  const chosen = [...new Set(names)].map(caseNamed).filter(({ big }) => !big || flags.big || flags.case);
  return flags.check ? chosen.map(small) : chosen;
}

/**
 * Each server once, then each again: what changes on the machine meanwhile meets all of them.
 *
 * @param {import("./lib/measure.mjs").Chosen} chosen
 * @param {string[]} names
 * @param {number} runs
 * @param {import("./lib/measure.mjs").Times} times
 * @returns {Promise<Result>}
 */
async function interleaved(chosen, names, runs, times) {
  /** @type {Result["servers"]} */
  const measured = Object.fromEntries(names.map((name) => [name, { runs: [], median: {}, errors: [] }]));
  for (let run = 0; run < runs; run++) {
    for (const [name, { runs: done, errors }] of Object.entries(measured)) {
      try {
        done.push(await measure(chosen, name, times));
      } catch (error) {
        errors.push(/** @type {Error} */ (error).message);
        console.error(/** @type {Error} */ (error).message);
      }
    }
  }
  for (const server of Object.values(measured)) server.median = medians(server.runs);
  return { chosen, servers: measured };
}
