// What is measured.

/**
 * @typedef {object} Case
 * @property {string} name
 * @property {string} about
 * @property {string} load of the generator
 * @property {Record<string, string | number | boolean>} drive options of the generator
 * @property {Record<string, string | number>} serve options of the servers
 * @property {string[]} servers those it is measured with, unless told otherwise
 * @property {string} figure the one that counts, a key of what the generator prints
 * @property {string} unit
 * @property {boolean} less whether less is better
 * @property {boolean} tls
 * @property {boolean} big only measured when asked for
 */

/** Case names with this have the server on one core. */
export const ONE_CORE = "@1core";

const GIB = 2 ** 30;
const ALL = ["ours", "baseline-ws", "hand-ws", "hand-bun", "limit"];
const NO_BASELINE = ["ours", "hand-ws", "hand-bun", "limit"];

/** @param {Partial<Case> & Pick<Case, "name" | "about" | "load">} given @returns {Case} */
function define(given) {
  return {
    drive: {}, serve: {}, servers: ALL, figure: "perSecond", unit: "messages/s", less: false, tls: false, big: false, ...given,
  };
}

/** @param {string} name @param {number} conns @param {number} window @param {number} size @param {Partial<Case>} [more] */
function echo(name, conns, window, size, more = {}) {
  const { drive, ...rest } = more;
  return define({
    name: `echo-${conns}x${window}-${name}`,
    about: `${conns} sessions, ${window} messages in flight on each, ${size} bytes`,
    load: "echo",
    drive: { conns, window, size, ...drive },
    ...rest,
  });
}

/** @param {string} suffix @param {Partial<Case>} more @returns {Case[]} */
function streams(suffix, more) {
  const unit = "MiB/s";
  return [
    define({ name: `stream-file${suffix}`, about: "1 GiB of a file, pushed to one session", load: "stream",
      drive: { bytes: GIB }, serve: { mode: "stream", bytes: GIB }, unit, ...more }),
    define({ name: `stream-readable${suffix}`, about: "the same by way of a Readable in JavaScript; the others do so anyway",
      load: "stream", drive: { bytes: GIB }, serve: { mode: "readable", bytes: GIB }, unit, servers: ["ours", "baseline-ws", "hand-ws"], ...more }),
    define({ name: `upload${suffix}`, about: "1 GiB from one session, counted in JavaScript", load: "upload",
      drive: { bytes: GIB }, serve: { mode: "upload" }, unit, ...more }),
  ];
}

/** @param {number} conns @param {Partial<Case> & { suffix?: string }} [more] */
function idle(conns, { suffix = "", ...more } = {}) {
  return define({
    name: `idle-${conns / 1000}k${suffix}`,
    about: `${conns.toLocaleString("en")} sessions that say nothing`,
    load: "idle",
    drive: { conns, settle: 2, seconds: 1, probe: 0 },
    figure: "bytesPerSession",
    unit: "bytes a session",
    less: true,
    servers: NO_BASELINE.slice(0, 3),
    ...more,
  });
}

export const cases = [
  echo("16-text", 50, 32, 16, { servers: [...ALL, "raw-ws"] }),
  echo("16-text", 500, 32, 16),
  echo("16-text", 50, 1, 16),
  echo("16-text", 500, 1, 16),
  echo("16-text", 1, 1, 16, { servers: ["ours", "ours-busy-poll", "baseline-ws", "hand-ws", "hand-bun", "limit"], drive: { spin: true } }),
  echo("16-text-asleep", 1, 1, 16, { about: "the same with a generator that sleeps, and has to be woken, between two messages" }),
  echo("16-binary", 50, 32, 16, { drive: { kind: "binary" } }),
  echo("1k-text", 50, 32, 1024),
  echo("1k-mixed", 50, 32, 1024, { drive: { kind: "mixed" } }),
  echo("1k-binary", 50, 32, 1024, { drive: { kind: "binary" } }),
  echo("64k-text", 1, 32, 65536),
  echo("64k-mixed", 1, 32, 65536, { drive: { kind: "mixed" } }),
  echo("64k-binary", 1, 32, 65536, { drive: { kind: "binary" } }),
  echo("16-text-tls", 50, 32, 16, { tls: true }),
  define({ name: "push-50x32", about: "50 sessions are pushed texts of 16 bytes, 32 of them unacknowledged", load: "push",
    drive: { conns: 50, size: 16 }, serve: { mode: "push", size: 16, window: 32 } }),
  define({ name: "fanout-5k", about: "one message of 16 bytes to each of 5,000 sessions", load: "fanout",
    drive: { conns: 5000, size: 16 }, serve: { mode: "fanout" } }),
  ...streams("", {}),
  ...streams("-tls", { tls: true }),
  define({ name: "connect", about: "sessions opened and closed, 64 at a time, with an asynchronous validator", load: "connect",
    drive: { conns: 64 }, unit: "sessions/s" }),
  define({ name: "rate-10k", about: "10,000 messages a second over all sessions, whatever becomes of them: how long each takes",
    load: "echo", drive: { conns: 50, rate: 10_000 }, figure: "latency.p99", unit: "µs, p99", less: true }),
  define({ name: "hooks-50x32", about: "what an asynchronous hook that does nothing adds", load: "echo",
    drive: { conns: 50, window: 32 }, figure: "cpuMicrosEach", unit: "µs of CPU a message", less: true,
    servers: ["ours", "ours-receive-hook", "ours-send-hook"] }),
  idle(10_000),
  idle(10_000, { suffix: "-tls", tls: true }),
  idle(50_000, { big: true }),
  idle(50_000, { suffix: "-tls", tls: true, big: true }),
  define({ name: "heartbeats-10k", about: "sessions with a heartbeat a second: how long an echo among them takes",
    load: "idle", drive: { conns: 10_000, settle: 1, seconds: 5, probe: 200 }, serve: { "keep-alive": 1000 },
    figure: "latency.p999", unit: "µs, p99.9", less: true, servers: ["ours", "baseline-ws"] }),
];

/** What is measured unless told otherwise: whatever a target or a plot needs. */
export const standard = [
  "echo-50x32-16-text", "echo-50x32-16-text@1core", "echo-50x32-1k-text@1core", "echo-50x1-16-text@1core",
  "echo-500x1-16-text@1core", "echo-1x1-16-text", "echo-1x1-16-text@1core", "echo-1x32-64k-text@1core", "push-50x32@1core", "fanout-5k@1core",
  "stream-file@1core", "stream-readable@1core", "upload@1core", "stream-file-tls@1core", "upload-tls@1core", "idle-10k",
  "idle-10k-tls", "connect@1core", "rate-10k@1core", "hooks-50x32@1core", "heartbeats-10k",
];

/**
 * @param {string} name with or without `@1core`
 * @returns {Case & { oneCore: boolean }}
 */
export function caseNamed(name) {
  const oneCore = name.endsWith(ONE_CORE);
  const plain = oneCore ? name.slice(0, -ONE_CORE.length) : name;
  const found = cases.find((each) => each.name === plain);
  if (found === undefined) throw new RangeError(`no case is called ${plain}; --list names them all`);
  return { ...found, name, oneCore };
}

/**
 * The same in small: whether everything works, not how fast.
 *
 * @template {Case} T
 * @param {T} given
 * @returns {T}
 */
export function small(given) {
  const drive = { ...given.drive }, serve = { ...given.serve };
  if ("bytes" in drive) drive.bytes = 2 ** 24;
  if ("bytes" in serve) serve.bytes = 2 ** 24;
  if (Number(drive.conns) > 200) drive.conns = 200;
  if ("settle" in drive) Object.assign(drive, { settle: 0.1, seconds: 0.3 });
  return { ...given, drive, serve };
}
