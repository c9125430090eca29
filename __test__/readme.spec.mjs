// The README is true: every code block of it runs, and it names what the package has and nothing else.
//
// A block of JavaScript or TypeScript is a whole program. It runs in an empty package of its own that has camp-server
// installed; 8080 is replaced by 0, so that it finds a port. A server is visited by a client and then ended by SIGTERM;
// any other program has to end by itself. What a block does beyond that is checked under its heading, below.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { copyFile, readFile } from "node:fs/promises";
import { join } from "node:path";
import { Child } from "./support/child.mjs";
import { declaredNames } from "./support/declarations.mjs";
import { request } from "./support/http.mjs";
import { Peer } from "./support/peer.mjs";
import { ROOT, compile, scratchPackage } from "./support/scratch.mjs";
import { assertSameBytes, payload, receivePush, sendPush } from "./support/streams.mjs";
import { test } from "./support/test.mjs";
import { rejection } from "./support/server.mjs";

const readme = readFileSync(join(ROOT, "README.md"), "utf8");
const { scripts, files } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
const TOKEN = "MySuperSecretToken";
const PORT = /listening on port (\d+)/;
const TLS = { ca: readFileSync(new URL("support/tls/test-only.cert.pem", import.meta.url)), servername: "localhost" };

/** Configurations of proxies: `proxies.spec.mjs` runs them. */
const ELSEWHERE = new Set(["nginx", "haproxy"]);

/** Every fenced block: `{ language, code, heading, title }`, the title told apart by a number within its heading. */
function blocks() {
  const found = [];
  let heading = "";
  for (const [, level, title, language, code] of readme.matchAll(/^(#+) (.+)$|^```(.*)\n([^]*?)^```$/gm)) {
    if (level !== undefined) heading = title;
    else if (!ELSEWHERE.has(language)) found.push({ language, code, heading, title: `${heading} ${found.filter((block) => block.heading === heading).length + 1}` });
  }
  return found;
}

const connect = async (port, options) => {
  const peer = await Peer.connect({ port, token: TOKEN, ...options });
  await peer.ready();
  return peer;
};

/** What each block is to do, beyond letting a client in. `child` is its process. */
const SCENARIOS = {
  async "Quick start 1"({ child, port }) {
    const peer = await connect(port);
    peer.sendText("hi");
    assert.equal((await peer.next("UTF8DATA")).text, "you said: hi");
    peer.sendBinary([1, 2]);
    assert.deepEqual([...(await peer.next("BINARYDATA")).data], [1, 2]);
    peer.close(4000);
    await child.printed(new RegExp(`session ${peer.sid} is over`));
  },
  async "Quick start 3"({ port }) {
    const peer = await connect(port);
    assert.equal((await peer.next("UTF8DATA")).text, `hello, ${peer.sid}`);
  },
  async "`CAMP(validator, options?)` 1"({ child, port }) {
    await connect(port, { headers: { origin: "https://example.com", "user-agent": "a test" } });
    await child.printed(/127\.0\.0\.1 asks, with a test/);
    await child.printed(/welcome, Ada/);
    assert.equal((await rejection(connect(port, { headers: { origin: "https://example.org" } }))).status, 403);
  },
  async "Server 1"({ child, port, end }) {
    const peer = await connect(port);
    end();
    assert.equal((await peer.closed).code, 4000);
    assert.equal(peer.of("BYE")[0].reason, "Server shutdown.");
    await child.printed(/1 sessions to go\ndrained/);
  },
  async "Session 1"({ child, port }) {
    const peer = await connect(port);
    await child.printed(new RegExp(`${peer.sid} has acknowledged`));
    assert.equal((await peer.next("BINARYDATA")).data.length, 16);
    assert.equal((await peer.closed).reason, "that was all");
    const silent = await Peer.connect({ port, token: TOKEN, autoAck: false });
    await child.printed(new RegExp(`${silent.sid}: ERR_CAMP_ACK_TIMEOUT`));
  },
  async "Streams 1"({ child, port, directory }) {
    const peer = await connect(port);
    const { data } = await receivePush(peer, { name: "manifest" });
    assert.deepEqual(data, await readFile(join(directory, "package.json")));
    await child.printed(/the client has the manifest/);
    const upload = payload(300_000);
    sendPush(peer, { name: "upload", data: upload });
    await child.printed(/300000 bytes uploaded/);
    assertSameBytes(await readFile(join(directory, "upload.bin")), upload);
  },
  async "Extensions 1"({ port }) {
    const peer = await connect(port);
    peer.sendText("my secret");
    assert.equal((await peer.next("UTF8DATA")).text, "my ******");
    await peer.acked(peer.sendBinary(Buffer.alloc(20_000)));
  },
  async "Figures 1"({ port }) {
    await connect(port);
    const { text, headers } = await request({ port, path: "/metrics" });
    assert.match(text, /^camp_sessions 1$/m);
    assert.match(headers["content-type"], /^text\/plain; version=0\.0\.4/);
  },
  async "Figures 2"({ child, port }) {
    await assert.rejects(Peer.connect({ port, token: "wrong" }));
    await child.printed(/401 Invalid bearer token in authorization query\. 127\.0\.0\.1/);
    const peer = await connect(port);
    peer.close(4000);
    await child.printed(new RegExp(`session ${peer.sid} closed with 4000`));
  },
  async "Back-pressure 1"({ port }) {
    const peer = await connect(port);
    await peer.until(() => peer.of("UTF8DATA").length >= 3);
  },
  async "TLS 1"({ port }) {
    await connect(port, { tls: TLS });
  },
  async "HTTP on the same port 1"({ port }) {
    await connect(port);
    assert.equal((await request({ port, path: "/page" })).text, "you asked for /page\n");
  },
};

/** Ends a server as a system does; one that does not care is killed by the signal. */
async function finish(child) {
  child.process.kill("SIGTERM");
  const { code, signal } = await child.exit();
  assert.ok(code === 0 || signal === "SIGTERM", `exit code ${code}, ${signal}\n${child.stderr}`);
}

async function runProgram(t, { language, code, title }) {
  const typescript = language === "ts";
  const name = typescript ? "program.ts" : /^const .*= require\(/m.test(code) ? "program.cjs" : "program.mjs";
  const directory = await scratchPackage(t, { [name]: code.replaceAll(/\b8080\b/g, "0") });
  for (const [from, to] of [["key", "key"], ["cert", "fullchain"]]) {
    await copyFile(new URL(`support/tls/test-only.${from}.pem`, import.meta.url), join(directory, `${to}.pem`));
  }
  if (typescript) await compile(directory, [name]);
  const child = Child.node(t, [join(directory, name.replace(/\.ts$/, ".js"))], { cwd: directory });
  const scenario = SCENARIOS[title];
  if (/listening on port/.test(code)) {
    const port = Number((await child.printed(PORT))[1]);
    await (scenario ?? (({ port: of }) => connect(of)))({ child, port, directory, end: () => child.process.kill("SIGTERM") });
    await finish(child);
  } else {
    assert.deepEqual(await child.exit(), { code: 0, signal: null }, child.stderr);
    assert.notEqual(child.stdout, "", "prints something");
    await scenario?.({ child, directory });
  }
  assert.equal(child.stderr, "");
}

/** `npm` is not run within a test of its own package: what is called must exist. `node` is run. */
async function runShell(t, { code }) {
  for (const command of code.trim().split(/\n|&&/).map((part) => part.trim())) {
    const words = command.split(" ");
    const env = {};
    while (/^\w+=/.test(words[0])) {
      const [name, value] = words.shift().split("=");
      env[name] = value;
    }
    const [program, ...args] = words;
    if (program === "npm") {
      const script = args[0] === "run" ? args[1] : args[0];
      assert.ok(script === "install" || script in scripts, `${command}: package.json has no such script`);
    } else {
      assert.equal(program, "node", `${command}: no rule for ${program}`);
      const child = Child.node(t, args.map((arg) => arg.replace(/^8080$/, "0")), { cwd: ROOT, env });
      await connect(Number((await child.printed(PORT))[1]));
      await finish(child);
      assert.equal(env.DEBUG !== undefined, child.stderr !== "", child.stderr);
    }
  }
}

for (const block of blocks()) {
  test(`README runs: ${block.title}`, { skip: process.platform === "win32" && "no signals here" }, async (t) => {
    const run = { js: runProgram, ts: runProgram, sh: runShell }[block.language];
    assert.ok(run !== undefined, `no rule for a block of "${block.language}"`);
    await run(t, block);
  });
}

test("every scenario belongs to a block", () => {
  const titles = blocks().map(({ title }) => title);
  for (const title of Object.keys(SCENARIOS)) assert.ok(titles.includes(title), title);
});

const prose = readme.replaceAll(/^```[^]*?^```$/gm, "");
const spansOf = (text) => [...text.matchAll(/`([^`\n]+)`/g)].map(([, span]) => span);
const wordsOf = (span) => span.match(/\w[\w-]*(?:\.\w[\w-]*)*/g) ?? [];
const own = (name) => name.slice(name.indexOf(".") + 1);

test("the README names every export and every member that index.d.ts declares", () => {
  const names = declaredNames();
  assert.ok(names.length > 150, `${names.length} names: the declarations were not understood`);
  const spans = spansOf(prose);
  const named = new Set(spans.flatMap((span) => [span, ...wordsOf(span), ...wordsOf(span).flatMap((word) => word.split("."))]));
  const missing = names.filter((name) => !named.has(own(name)) && !spans.some((span) => span.includes(`[${own(name)}]`)));
  assert.deepEqual(missing, []);
});

/** Tables whose first column names members of the API; the others are of commands and of requests. */
const REFERENCE = /^\| *(event|method|member|option|export|type|channel|code|`backpressure`|`dropPolicy`) *\|/;

test("what the README's tables name exists in index.d.ts", () => {
  const declared = new Set(declaredNames().flatMap((name) => [name, own(name)]));
  const unknown = [];
  let checked = 0;
  let reference = false;
  let previous = "";
  for (const line of prose.split("\n")) {
    if (line.startsWith("|") && !previous.startsWith("|")) reference = REFERENCE.test(line);
    else if (line.startsWith("|") && reference && !line.startsWith("| ---")) {
      for (const span of spansOf(line.split("|")[1])) {
        const name = span.replaceAll(/["[\]]|\(.*$/g, "");
        checked++;
        if (!declared.has(name) && !declared.has(name.slice(name.indexOf(".") + 1))) unknown.push(span);
      }
    }
    previous = line;
  }
  assert.ok(checked > 100, `${checked} names: the tables were not found`);
  assert.deepEqual(unknown, []);
});

/** What GitHub makes of a heading. */
const anchorsOf = (text) => new Set([...text.matchAll(/^#+ (.+)$/gm)].map(([, title]) =>
  title.toLowerCase().replaceAll(/[^\w\- ]/g, "").replaceAll(" ", "-")));

for (const document of ["README.md", "MIGRATING.md", "ARCHITECTURE.md", "CHANGELOG.md"]) {
  test(`the links of ${document} within the repository lead somewhere`, () => {
    const text = readFileSync(join(ROOT, document), "utf8");
    for (const [, link] of text.matchAll(/\]\(([^)]+)\)/g)) {
      if (link.startsWith("#")) assert.ok(anchorsOf(text).has(link.slice(1)), link);
      else if (!link.startsWith("http")) readFileSync(join(ROOT, link));
    }
  });
}

test("MIGRATING.md is part of the package, and its package.json is one", () => {
  assert.ok(files.includes("MIGRATING.md"));
  const [, json] = /^```json\n([^]*?)^```$/m.exec(readFileSync(join(ROOT, "MIGRATING.md"), "utf8"));
  assert.match(JSON.parse(json).dependencies["camp-server"], /^npm:@[\w-]+\/camp-server@1\.0\.9$/);
});
