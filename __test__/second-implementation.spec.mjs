import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { environment } from "./support/child.mjs";
import { MAX_PAYLOAD } from "./support/frames.mjs";
import { connectUndici, freshSid } from "./support/peer.mjs";
import { echo, sessionFor, startServer } from "./support/server.mjs";
import { test } from "./support/test.mjs";

const SIZES = [0, 1, 100, 112, 113, 125, 126, 1000, 65_522, 65_523, 65_535, 65_536, 300_000, MAX_PAYLOAD];

const PYTHON_MISSING = spawnSync("python3", ["-c", "import websockets.sync.client"]).status === 0
  ? false
  : "python3 has no module websockets";

async function connect(t, options = {}) {
  const running = await startServer(t);
  echo(running.server);
  const sid = freshSid();
  const found = sessionFor(running.server, sid);
  const peer = await connectUndici({ port: running.port, sid, ...options });
  const session = await found;
  await peer.ready();
  return { ...running, peer, session };
}

test("undici: text and binary of every size come back", async (t) => {
  const { peer } = await connect(t);
  for (const size of SIZES) {
    const text = "0123456789".repeat(Math.ceil(size / 10)).slice(0, size);
    peer.sendText(text);
    assert.ok((await peer.next("UTF8DATA")).text === text, `text of ${size}`);
    peer.sendBinary(Buffer.from(text));
    assert.ok((await peer.next("BINARYDATA")).data.equals(Buffer.from(text)), `binary of ${size}`);
  }
});

test("undici: a thousand messages come back in order", async (t) => {
  const { peer } = await connect(t);
  for (let i = 0; i < 1000; i++) peer.sendText(`😀 ${i}`);
  await peer.until(() => peer.of("UTF8DATA").length === 1000, 10_000);
  assert.deepEqual(peer.texts(), Array.from({ length: 1000 }, (_, i) => `😀 ${i}`));
});

test("undici: the subprotocol camp is agreed on", async (t) => {
  const { peer } = await connect(t, { subprotocols: ["camp"] });
  assert.equal(peer.ws.protocol, "camp");
  await peer.echo("hello");
});

test("undici: closes arrive with code and reason, from either side", async (t) => {
  const served = await connect(t);
  served.session.Close("from the server");
  assert.deepEqual(await served.peer.closed, { code: 4000, reason: "from the server" });
  const left = await connect(t);
  left.peer.close(4000, "from the client");
  assert.equal((await left.peer.closed).code, 4000);
});

test("undici: a refused upgrade is an error", async (t) => {
  const { port } = await startServer(t);
  await assert.rejects(connectUndici({ port, token: "wrong" }));
});

test("Python websockets: text and binary come back", { skip: PYTHON_MISSING }, async (t) => {
  const { server, port } = await startServer(t);
  echo(server);
  const script = fileURLToPath(new URL("fixtures/python_echo.py", import.meta.url));
  const { stdout } = await promisify(execFile)("python3", [script, String(port), SIZES.join(",")], {
    timeout: 25_000, env: environment({ NO_PROXY: "*" }),
  });
  assert.equal(stdout.trim(), `${2 * SIZES.length} echoes, closed with 4000`);
});
