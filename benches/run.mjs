// npm run bench: measures camp-server against other servers, checks every answer, and prints medians,
// ratios and what became of the targets. See README.md beside this file.
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { ONE_CORE, caseNamed, cases, small, standard } from "./lib/cases.mjs";
import { machine } from "./lib/machine.mjs";
import { measure, medians } from "./lib/measure.mjs";
import { programs } from "./lib/programs.mjs";
import { servers } from "./lib/servers.mjs";
import { aligned, rows } from "./lib/table.mjs";
import { verdictRows, verdicts } from "./lib/targets.mjs";

/** @typedef {import("./lib/table.mjs").Result} Result */

const HELP = `npm run bench -- [option...]

  --case NAME[,NAME]      these cases; NAME${ONE_CORE} has the server on one core (Linux)
  --all                   every case, with the server on one core and free
  --big                   with the cases of 50,000 sessions
  --servers NAME[,NAME]   these servers, where a case is for them
  --pin-server            every case with the server on one core
  --runs N                measurements of each server in each case, default 3
  --seconds S             length of a measurement, default 1.5
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

if (flags.help) console.log(HELP);
else if (flags.list) list();
else await main();

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
  const times = flags.check ? { seconds: 0.3, warmup: 0.1 } : { seconds: Number(flags.seconds ?? 1.5), warmup: 0.8 };

  console.log("building the load generator, if it is not up to date");
  const { generatorCore } = programs();
  console.log(generatorCore === undefined
    ? "the load generator cannot have a core of its own here, so figures are those of both together"
    : `the load generator has core ${generatorCore}; ${ONE_CORE}: the server has core 0, otherwise it may use all`);
  for (const [name, { missing }] of Object.entries(servers)) {
    const why = missing();
    if (why !== undefined) console.log(`without ${name}: ${why}`);
  }

  /** @type {Map<string, Result>} */
  const results = new Map();
  for (const each of chosen) {
    const names = each.servers.filter((name) => (wanted === undefined || wanted.includes(name)) && !servers[name]?.missing());
    if (names.length === 0) continue;
    console.log(`\n${each.name}: ${each.about}`);
    const result = await interleaved(each, names, runs, times);
    results.set(each.name, result);
    console.log(aligned(rows(result)));
  }

  const all = verdicts(results);
  if (!flags.check && all.length > 0) console.log(`\n${aligned(verdictRows(all))}`);
  const errors = [...results.values()].flatMap((result) => Object.values(result.servers).flatMap((server) => server.errors));
  const report = { machine: machine(), runs, ...times, results: Object.fromEntries(results), targets: all };
  if (flags.json) writeFileSync(flags.json, `${JSON.stringify(report, null, 1)}\n`);
  if (flags.check) console.log(errors.length === 0 ? "\nall cases work" : "");
  if (errors.length > 0) {
    console.log(`\n${errors.length} measurements have failed`);
    process.exitCode = 1;
  }
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
