// The page that goes into benches/results/.
import { aligned, markdown, rows } from "./table.mjs";
import { verdictRows } from "./targets.mjs";

/** @typedef {import("./table.mjs").Result} Result */

/**
 * @param {object} report
 * @param {Record<string, string | number>} report.machine
 * @param {number} report.runs
 * @param {number | undefined} report.seconds
 * @param {Map<string, Result>} results
 * @param {import("./targets.mjs").Verdict[]} targets
 * @param {string[]} plots
 * @param {{ result: Result }[]} grown
 */
export function page({ machine, runs, seconds }, results, targets, plots, grown) {
  const { cpu, cores, system, node, date } = machine;
  return `<!-- Written by \`npm run bench -- --write\`. -->
# Results

${cpu}, ${cores} cores, ${system}, Node.js ${node}, ${date}. Medians of ${runs} interleaved measurements of
${seconds} s; what the servers are and what the figures do not say is in [../README.md](../README.md).

${plots.map((name) => `![${name.replace(".svg", "").replaceAll("-", " ")}](${name})`).join("\n")}

## Targets

${markdown(verdictRows(targets))}

## Cases

${[...results.values()].map(subsection).join("\n")}
## More and more sessions

${grown.map(({ result }) => subsection(result)).join("\n")}`;
}

/** @param {Result} result */
function subsection(result) {
  return `### ${result.chosen.name}

${result.chosen.about}

${markdown(rows(result))}
`;
}

/** @param {Result} result */
export function section(result) {
  return `\n${result.chosen.name}: ${result.chosen.about}\n${aligned(rows(result))}`;
}
