// nginx and HAProxy with the configurations that the README has, in front of a server of a test.
import { spawn } from "node:child_process";
import { accessSync, constants, existsSync, readFileSync } from "node:fs";
import { mkdtemp, realpath, rm, writeFile } from "node:fs/promises";
import net from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { environment } from "./child.mjs";
import { ROOT } from "./scratch.mjs";
import { deferred, eventually, within } from "./wait.mjs";

/** Where a program is; undefined when it is not installed. */
function find(program) {
  // Debian's /usr/sbin is on the PATH of root alone.
  const directories = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/usr/local/sbin"];
  return directories.map((directory) => join(directory, program)).find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** The README's block of that language, with these replacements made, each exactly once. */
function snippet(language, replacements) {
  const [, block] = new RegExp(`^\`\`\`${language}\n([^]*?)^\`\`\`$`, "m").exec(readFileSync(join(ROOT, "README.md"), "utf8"));
  return replacements.reduce((text, [from, to]) => {
    if (text.split(from).length !== 2) throw new Error(`the README's ${language} has not exactly one "${from}"`);
    return text.replace(from, () => to);
  }, block);
}

const nginx = {
  name: "nginx",
  program: find("nginx"),
  configure: ({ port, path, directory, timeout }) => `
    daemon off;
    master_process off;
    pid ${directory}/pid;
    error_log ${directory}/error.log;
    events {}
    http {
      ${["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((kind) => `${kind}_temp_path ${directory}/${kind};`).join(" ")}
      client_max_body_size 0;
      ${snippet("nginx", [
        ["127.0.0.1:8080", `127.0.0.1:${port}`],
        ["listen 80;", `listen unix:${path};`],
        ["/var/log/nginx/access.log", `${directory}/access.log`],
        ["proxy_read_timeout 60s", `proxy_read_timeout ${timeout}`],
      ])}
    }`,
  args: (file, directory) => ["-p", directory, "-e", join(directory, "error.log"), "-c", file],
};

const haproxy = {
  name: "HAProxy",
  program: find("haproxy"),
  configure: ({ port, path, timeout }) => `
global
    # One pool of connections, so that every idle one is there for the next request.
    nbthread 1
    log stdout format raw local0

${snippet("haproxy", [
    ["127.0.0.1:8080", `127.0.0.1:${port}`],
    ["bind :80", `bind unix@${path}`],
    ["timeout tunnel 60s", `timeout tunnel ${timeout}`],
    ["    mode http\n", "    mode http\n    log global\n"],
  ])}`,
  args: (file) => ["-db", "-f", file],
};

export const PROXIES = [nginx, haproxy];

/**
 * Starts a proxy for the server on `port`. It listens on a socket in a directory of its own, so no port can be taken.
 * `log()` is what it has logged.
 */
export async function startProxy(t, { program, configure, args }, { port, timeout = "60s" }) {
  // Paths of sockets are short.
  const directory = await realpath(await mkdtemp(join(tmpdir(), "camp-")));
  t.after(() => rm(directory, { recursive: true, force: true, maxRetries: 5 }));
  const path = join(directory, "socket");
  const file = join(directory, "configuration");
  await writeFile(file, configure({ port, path, directory, timeout }));
  const child = spawn(program, args(file, directory), { env: environment(), stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => (output += text));
  const ended = deferred();
  child.on("error", ended.reject).on("close", () => ended.resolve());
  ended.promise.catch(() => {});
  t.after(async () => {
    child.kill("SIGKILL");
    await within(ended.promise, 5000, `end of ${program}`);
  });
  const log = () => ["error.log", "access.log"].map((name) => join(directory, name)).filter(existsSync)
    .map((name) => readFileSync(name, "utf8")).join("") + output;
  await eventually(() => answers(path), 10_000, `${program} listens`).catch((error) => {
    throw new Error(`${error.message}\n${log()}`);
  });
  return { path, log };
}

function answers(path) {
  return new Promise((resolve) => {
    const socket = net.connect(path);
    socket.on("connect", () => resolve(true)).on("error", () => resolve(false)).on("connect", () => socket.destroy());
  });
}
