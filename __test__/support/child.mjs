// Scripts of fixtures/ in a process of their own: for what concerns the process itself.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { deferred, within } from "./wait.mjs";

const FIXTURES = new URL("../fixtures/", import.meta.url);

/** What a terminal, a shell or a test runner sets and what changes the output or the behaviour of a program. */
const SETTINGS = /^(NODE_.*|FORCE_COLOR|NO_COLOR|CLICOLOR.*|COLORTERM|TERM|COLUMNS|LINES|DEBUG.*|LANG|LANGUAGE|LC_.*|TZ)$/i;

/** The environment of a child that has to behave in the same way wherever the tests run. */
export function environment(env = {}) {
  const inherited = Object.entries(process.env).filter(([name]) => !SETTINGS.test(name) || name === "NODE_V8_COVERAGE");
  return { ...Object.fromEntries(inherited), ...env };
}

export class Child {
  stdout = "";
  stderr = "";
  /** The objects the script reported, one JSON line each. */
  reports = [];
  #waiters = new Set();
  #exit = deferred();
  #taken = new Set();
  #directories = [];

  /** `args` reach the script as JSON in `process.argv[2]`; `launcher` is a command that runs the one behind it. */
  static start(t, script, args = {}, { env = {}, execArgv = [], launcher = [], stderr } = {}) {
    const file = fileURLToPath(new URL(script, FIXTURES));
    return Child.node(t, [...execArgv, file, JSON.stringify(args)], { env, launcher, stderr });
  }

  /** Node with these arguments. Its `stderr` is read; or it is "unread", "closed", or a descriptor. */
  static node(t, args, { env = {}, cwd, launcher = [], stderr = "read" } = {}) {
    const [command, ...rest] = [...launcher, process.execPath, ...args];
    const stdio = ["pipe", "pipe", typeof stderr === "number" ? stderr : "pipe"];
    const child = new Child(spawn(command, rest, { cwd, env: environment(env), stdio }), stderr);
    t.after(() => child.kill());
    return child;
  }

  constructor(process, stderr = "read") {
    this.process = process;
    process.stdin.on("error", () => {});
    if (stderr === "read") process.stderr.setEncoding("utf8").on("data", (text) => (this.stderr += text));
    if (stderr === "closed") process.stderr.destroy();
    let rest = "";
    process.stdout.setEncoding("utf8").on("data", (text) => {
      this.stdout += text;
      const lines = (rest + text).split("\n");
      rest = lines.pop();
      for (const line of lines) this.#onLine(line);
    });
    // `close`, not `exit`: only then all output is here.
    process.on("close", (code, signal) => {
      this.#exit.resolve({ code, signal });
      for (const waiter of this.#waiters) waiter.reject(new Error(`exited with ${code ?? signal}\n${this.stderr}`));
    });
  }

  /** The oldest report of this name not asked for yet. */
  report(name, ms = 10_000) {
    const known = this.reports.find((report) => report.name === name && !this.#taken.has(report));
    if (known !== undefined) {
      this.#taken.add(known);
      return Promise.resolve(known);
    }
    const waiter = { name, ...deferred() };
    this.#waiters.add(waiter);
    return within(waiter.promise, ms, `report ${name}`)
      .catch((error) => {
        throw new Error(`${error.message}\n${this.stderr}`);
      })
      .finally(() => this.#waiters.delete(waiter));
  }

  /** What `pattern` finds in stdout, as soon as it does. */
  printed(pattern, ms = 10_000) {
    const found = deferred();
    const look = () => {
      const match = pattern.exec(this.stdout);
      if (match !== null) found.resolve(match);
    };
    this.process.stdout.on("data", look);
    look();
    return within(Promise.race([found.promise, this.#exit.promise.then(() => (look(), found.promise))]), ms, `${pattern} on stdout`)
      .catch((error) => {
        throw new Error(`${error.message}\n${this.stdout}\n${this.stderr}`);
      })
      .finally(() => this.process.stdout.removeListener("data", look));
  }

  /** A command for the script: one JSON line to its stdin. */
  command(name, args = {}) {
    this.process.stdin.write(`${JSON.stringify({ name, ...args })}\n`);
  }

  /** Stops the script's event loop. It goes on when the function is called that this gives. */
  async block() {
    const directory = mkdtempSync(join(tmpdir(), "camp-gate-"));
    this.#directories.push(directory);
    const gate = join(directory, "open");
    this.command("block", { gate });
    await this.report("blocking");
    return () => writeFileSync(gate, "");
  }

  /** `{ code, signal }` once the process has ended by itself. */
  exit(ms = 10_000) {
    return within(this.#exit.promise, ms, `exit of the process (stderr: ${this.stderr})`);
  }

  async kill() {
    if (this.process.exitCode === null && this.process.signalCode === null) this.process.kill("SIGKILL");
    await this.#exit.promise;
    for (const directory of this.#directories) rmSync(directory, { recursive: true, force: true });
  }

  #onLine(line) {
    if (!line.startsWith("{")) return;
    const report = JSON.parse(line);
    this.reports.push(report);
    for (const waiter of this.#waiters) {
      if (waiter.name !== report.name) continue;
      this.#waiters.delete(waiter);
      this.#taken.add(report);
      waiter.resolve(report);
      return;
    }
  }
}
