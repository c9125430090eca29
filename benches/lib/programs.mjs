// The programs in Rust: the generator and the limit, built when they are not up to date.
import { spawn, spawnSync } from "node:child_process";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";

const MANIFEST = fileURLToPath(new URL("../generator/Cargo.toml", import.meta.url));

/** How long the generator may take for one measurement. */
const PATIENCE_MS = 300_000;

/** @type {Programs | undefined} */
let built;

/**
 * @typedef {object} Programs
 * @property {string} limit
 * @property {number | undefined} generatorCore the core that the generator has; undefined where it cannot have one
 * @property {(core: number | undefined) => string[]} launcher what a server's command line begins with: it gets files
 *   enough, and is held on that core
 * @property {(load: string, options: Record<string, string | number | boolean>) => Promise<Record<string, any>>} generate
 */

/** @returns {Programs} */
export function programs() {
  if (built !== undefined) return built;
  const { status, stdout } = spawnSync(
    "cargo", ["build", "--release", "--locked", "--quiet", "--manifest-path", MANIFEST, "--message-format=json"],
    { stdio: ["ignore", "pipe", "inherit"], encoding: "utf8", maxBuffer: 2 ** 26 },
  );
  if (status !== 0) throw new Error("cargo build of the load generator has failed");
  /** @type {Record<string, string>} */
  const executables = {};
  for (const line of stdout.split("\n")) {
    if (!line.startsWith("{")) continue;
    const { executable, target } = JSON.parse(line);
    if (executable) executables[target.name] = executable;
  }
  const { "camp-bench-generator": generator = "", "camp-bench-limit": limit = "" } = executables;
  const cores = availableParallelism();
  const generatorCore = process.platform === "linux" && cores > 1 ? cores - 1 : undefined;
  built = {
    limit,
    generatorCore,
    launcher(core) {
      if (process.platform === "win32") return [];
      return [generator, "run", ...(core === undefined || generatorCore === undefined ? [] : ["--core", String(core)])];
    },
    generate: (load, options) => run(generator, load, generatorCore === undefined ? options : { ...options, core: generatorCore }),
  };
  return built;
}

/** @param {string} program @param {string} load @param {Record<string, string | number | boolean>} options */
async function run(program, load, options) {
  const args = Object.entries(options).flatMap(([key, value]) =>
    (value === true ? [`--${key}`] : value === false ? [] : [`--${key}`, String(value)]));
  const child = spawn(program, [load, ...args], { stdio: ["ignore", "pipe", "pipe"], timeout: PATIENCE_MS, killSignal: "SIGKILL" });
  let out = "", errors = "";
  child.stdout.on("data", (data) => { out += data; });
  child.stderr.on("data", (data) => { errors += data; });
  const [code, signal] = await new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (...how) => resolve(how));
  });
  if (code !== 0) throw new Error(errors.trim() || `the generator has ended with ${code ?? signal}`);
  return JSON.parse(out);
}
