// Builds the native addon: camp-server.<platform>.node, and native.cjs that finds and loads it.
//
//   node scripts/build.mjs             always asks cargo
//   node scripts/build.mjs --if-stale  does nothing when the addon was built from these very inputs
//
// `npm install` runs the second form. The CLI alone would compile the crate a second time on the
// second install: on its first run it passes cargo an environment variable that is gone afterwards.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
process.chdir(root);

const targetDir = resolve(process.env.CARGO_TARGET_DIR ?? "target");
const stampFile = join(targetDir, "addon.stamp");

const rustc = run("rustc", ["-vV"]);
if (rustc === null || run("cargo", ["--version"]) === null) {
  const [, needed] = /^rust-version = "(.+)"$/m.exec(readFileSync("Cargo.toml", "utf8")) ?? [];
  console.error(`camp-server: the native addon is built from source, which needs Rust ${needed} or newer:\n`
    + "`rustc` and `cargo` must be on the PATH. Rust's own installer, rustup, puts them there.");
  process.exit(1);
}

if (process.argv.includes("--if-stale") && existsSync(stampFile) && readFileSync(stampFile, "utf8") === stamp()) {
  console.log("camp-server: the native addon is up to date");
  process.exit(0);
}

console.log("camp-server: building the native addon (release; the first build takes a few minutes)");
const cli = fileURLToPath(new URL("./cli.js", import.meta.resolve("@napi-rs/cli")));
const { status } = spawnSync(process.execPath, [
  cli, "build", "--platform", "--release", "--js", "native.cjs", "--dts", "native.d.cts", "--target-dir", targetDir,
], { stdio: "inherit" });
if (status !== 0) process.exit(status ?? 1);

mkdirSync(targetDir, { recursive: true });
writeFileSync(stampFile, stamp());

/** One line for all that goes into the addon, one for what came out. */
function stamp() {
  const sources = readdirSync("src", { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name));
  const inputs = ["Cargo.toml", "Cargo.lock", "build.rs", "package.json", "scripts/build.mjs", ...sources.sort()];
  const outputs = readdirSync(".").filter((name) => /^native\.(cjs|d\.cts)$|\.node$/.test(name)).sort();
  return `${digest(inputs, `${rustc}\n${process.env.RUSTFLAGS ?? ""}`)}\n${digest(outputs, "")}\n`;
}

/** @param {string[]} files @param {string} seed */
function digest(files, seed) {
  const hash = createHash("sha256").update(seed);
  for (const file of files) hash.update(`\0${file}\0`).update(readFileSync(file));
  return hash.digest("hex");
}

/** What a command prints, or null when it cannot be run. @param {string} command @param {string[]} args */
function run(command, args) {
  const { status, stdout } = spawnSync(command, args, { encoding: "utf8" });
  return status === 0 ? stdout : null;
}
