// A directory in which programs `import "camp-server"`, and TypeScript finds its declarations.
import { execFile } from "node:child_process";
import { mkdtemp, mkdir, realpath, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { environment } from "./child.mjs";

export const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const TSC = join(ROOT, "node_modules/typescript/bin/tsc");
const run = promisify(execFile);

/** It is removed after the test. Links are junctions: on Windows they need no privilege. */
export async function scratchPackage(t, files = {}) {
  const directory = await realpath(await mkdtemp(join(tmpdir(), "camp-scratch-")));
  t.after(() => rm(directory, { recursive: true, force: true, maxRetries: 5 }));
  const modules = join(directory, "node_modules");
  await mkdir(join(modules, "@types"), { recursive: true });
  await symlink(ROOT, join(modules, "camp-server"), "junction");
  await symlink(join(ROOT, "node_modules/@types/node"), join(modules, "@types/node"), "junction");
  await writeFile(join(directory, "package.json"), JSON.stringify({ name: "scratch", private: true, type: "module" }));
  for (const [name, text] of Object.entries(files)) await writeFile(join(directory, name), text);
  return directory;
}

/** Type-checks TypeScript files strictly and writes their JavaScript beside them. */
export async function compile(directory, names) {
  const options = ["--strict", "--target", "es2023", "--lib", "es2023,esnext.disposable", "--module", "nodenext", "--types", "node"];
  try {
    await run(process.execPath, [TSC, ...options, ...names], { cwd: directory, env: environment() });
  } catch (error) {
    throw new Error(`tsc ${names.join(" ")}:\n${error.stdout}${error.stderr}`, { cause: error });
  }
}
