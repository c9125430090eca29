// How cost grows with the number of sessions.
import { caseNamed } from "./cases.mjs";

/** @typedef {import("./measure.mjs").Chosen} Chosen */
/** @typedef {{ series: string, sessions: number, server: string, figures: import("./measure.mjs").Figures }} Point */

const SESSIONS = [10, 100, 1000, 10_000];
const SERVERS = ["ours", "baseline-ws", "hand-ws", "hand-bun"];
/** As many as fit into a hard limit of 20,000 open files, which many systems set. */
const MANY = 19_000;
/** The others have no heartbeats. */
const BEATING = ["ours", "baseline-ws"];

/**
 * @param {boolean} big up to 50,000 idle sessions
 * @returns {{ series: string, sessions: number, chosen: Chosen }[]}
 */
export function scaling(big) {
  const rate = caseNamed("rate-10k@1core"), beats = caseNamed("heartbeats-10k");
  return [
    ...SESSIONS.map((sessions) => ({ series: "cost", sessions, chosen: at(rate, sessions, SERVERS, "cpuMicrosEach", "µs of CPU a message") })),
    ...[...SESSIONS, MANY, ...(big ? [50_000] : [])].map((sessions) =>
      ({ series: "idle", sessions, chosen: at(beats, sessions, BEATING, "resident", "bytes resident") })),
  ];
}

/** @param {Chosen} chosen @param {number} conns @param {string[]} servers @param {string} figure @param {string} unit @returns {Chosen} */
function at(chosen, conns, servers, figure, unit) {
  const name = `${chosen.name}, ${conns.toLocaleString("en")} sessions`;
  return { ...chosen, name, about: chosen.about, drive: { ...chosen.drive, conns }, servers, figure, unit };
}
