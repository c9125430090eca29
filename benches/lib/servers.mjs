// The programs that are measured against each other, and how each is started.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { programs } from "./programs.mjs";

/** @param {string} path below this directory's parent */
const here = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));

/** Ended with this process, however it ends. @type {Set<import("node:child_process").ChildProcess>} */
const children = new Set();
process.once("exit", () => children.forEach((child) => child.kill("SIGKILL")));

/** How long a server may take to say that it is up. */
const START_MS = 20_000;

/**
 * @typedef {object} Program
 * @property {string} about
 * @property {() => string[]} command
 * @property {string[]} [remarks] modes in which it says something of itself in the end
 * @property {() => string | undefined} missing why it cannot be started here, if so
 * @property {Record<string, string>} [env]
 * @property {(serve: Record<string, string | number>) => Record<string, string | number>} [adapt] its options
 */

const present = () => undefined;
const node = (/** @type {string} */ script, /** @type {string[]} */ ...more) => () => [process.execPath, here(script), ...more];
/** To all but camp-server a file is read by JavaScript in any case. */
const noReadable = (/** @type {Record<string, string | number>} */ serve) =>
  (serve.mode === "readable" ? { ...serve, mode: "stream" } : serve);

/** Options of camp-server that make it wait busily for a moment. */
const BUSY_POLL = JSON.stringify({ busyPollUs: 200 });

/** @type {Record<string, Program>} */
export const servers = {
  ours: { about: "camp-server, an application on its public API", command: node("ours.mjs"), missing: present, remarks: ["stream", "readable"] },
  "ours-busy-poll": {
    about: "the same, waiting busily",
    command: node("ours.mjs", "--options", BUSY_POLL),
    missing: present,
  },
  "ours-receive-hook": { about: "the same with an extension's receive hook", command: node("ours.mjs", "--hook", "receive"), missing: present },
  "ours-send-hook": { about: "the same with an extension's send hook", command: node("ours.mjs", "--hook", "send"), missing: present },
  "baseline-ws": {
    about: "CAMP on `ws` in ordinary JavaScript", command: node("baseline-ws.mjs"), missing: present, adapt: noReadable,
    env: { WS_NO_BUFFER_UTIL: "1" },
  },
  "hand-ws": { about: "CAMP on `ws`, optimised by hand", command: node("hand-ws.mjs"), missing: present, adapt: noReadable },
  "hand-bun": {
    about: "CAMP on Bun, optimised by hand",
    command: () => [bun() ?? "bun", here("hand-bun.mjs")],
    missing: () => (bun() === undefined ? "the package `bun` has no program for this platform" : undefined),
    adapt: noReadable,
  },
  "raw-ws": { about: "plain WebSocket echo on `ws`, no CAMP", command: node("raw-ws.mjs"), missing: present },
  limit: { about: "a loop in Rust that does the least", command: () => [programs().limit], missing: present, adapt: noReadable },
};

/** Bun's program: where its package's install script has put it, or where it was without that. */
function bun() {
  const os = process.platform === "win32" ? "windows" : process.platform;
  const cpu = process.arch === "arm64" ? "aarch64" : process.arch;
  const name = process.platform === "win32" ? "bun.exe" : "bun";
  return ["", "-musl"].map((libc) => here(`../node_modules/@oven/bun-${os}-${cpu}${libc}/bin/${name}`))
    .concat(process.platform === "win32" ? [] : here("../node_modules/.bin/bun"))
    .find((path) => existsSync(path));
}

/**
 * A server that is up.
 *
 * @typedef {object} Running
 * @property {number} pid
 * @property {number} port
 * @property {() => Promise<Record<string, number>>} remarks what it says of itself, once it has said it
 * @property {() => string} said the last it has said, for when it fails
 * @property {() => Promise<void>} stop
 */

/**
 * @param {string} name
 * @param {Record<string, string | number>} serve
 * @param {number | undefined} core
 * @returns {Promise<Running>}
 */
export async function start(name, serve, core) {
  const { command, env, adapt = (same) => same } = /** @type {Program} */ (servers[name]);
  const options = Object.entries(adapt(serve)).flatMap(([key, value]) => [`--${key}`, String(value)]);
  const [program = "", ...args] = [...programs().launcher(core), ...command(), ...options];
  const child = spawn(program, args, {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, NODE_ENV: "production", ...env },
  });
  children.add(child);
  let said = "";
  /** @type {(remarks: Record<string, number>) => void} */
  let remarked = () => {};
  /** @type {Promise<Record<string, number>>} */
  const remarks = new Promise((resolve) => { remarked = resolve; });
  child.once("exit", () => remarked({}));
  const ended = new Promise((resolve) => child.once("exit", resolve).once("error", resolve));
  child.stderr.on("data", (data) => { said = `${said}${data}`.slice(-2000); });

  /** @type {Promise<number>} */
  const listening = new Promise((resolve, reject) => {
    createInterface({ input: child.stdout }).on("line", (line) => {
      if (line.startsWith("LISTENING ")) resolve(Number(line.slice(10)));
      else if (line.startsWith("REMARK ")) remarked(JSON.parse(line.slice(7)));
      else said = `${said}${line}\n`.slice(-2000);
    });
    child.once("error", reject);
    child.once("exit", (code, signal) => reject(new Error(`${name} has ended (${code ?? signal}): ${said}`)));
    setTimeout(() => reject(new Error(`${name} does not listen: ${said}`)), START_MS).unref();
  });
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
    await ended;
    children.delete(child);
    if (!child.stdout.closed) await once(child.stdout, "close");
  };
  try {
    return { pid: child.pid ?? 0, port: await listening, remarks: () => remarks, said: () => said, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
