// The readme of camp-server 1.0.9, row by row: the extension interface, and both of its examples, compiled and run.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { Child } from "./support/child.mjs";
import { KINDS, RECEIVE, SEND, payload, peerSend, send, textOf } from "./support/extensions.mjs";
import { Peer } from "./support/peer.mjs";
import { compile, scratchPackage } from "./support/scratch.mjs";
import { once, openPair, startServer } from "./support/server.mjs";
import { test } from "./support/test.mjs";

const FRAME = { utf8: "UTF8DATA", binary: "BINARYDATA", error: "ERROR" };
const EVENT = { utf8: "message-utf8", binary: "message-binary", error: "message-error" };

test("name: the unique name of this extension", async (t) => {
  const { server } = await startServer(t);
  server.RegisterExtension({ name: "unique" });
  assert.throws(() => server.RegisterExtension({ name: "unique" }), { message: "Extension 'unique' is already registered!" });
});

test("on_register: executed upon registration of the extension on the server", async (t) => {
  const { server } = await startServer(t);
  const calls = [];
  server.RegisterExtension({ name: "x", on_register: (...args) => calls.push(args) });
  assert.deepEqual(calls, [[server]]);
});

test("on_unregister: executed upon unregistration of the extension on the server", async (t) => {
  const { server } = await startServer(t);
  const calls = [];
  const extension = { name: "x", on_unregister: (...args) => calls.push(args) };
  server.RegisterExtension(extension);
  assert.deepEqual(calls, []);
  server.UnregisterExtension(extension);
  assert.deepEqual(calls, [[server]]);
});

for (const kind of KINDS) {
  test(`${SEND[kind]}: executed before a message is sent to the client session, may inspect and modify it`, async (t) => {
    const { server, session, peer } = await openPair(t);
    const calls = [];
    server.RegisterExtension({
      name: "x",
      async [SEND[kind]](to, message) {
        calls.push([to, message.value]);
        message.value = payload(kind, "modified");
        return true;
      },
    });
    await send(session, kind, "original");
    assert.deepEqual(calls, [[session, payload(kind, "original")]]);
    assert.equal(textOf(await peer.next(FRAME[kind])), "modified");
  });

  test(`${SEND[kind]}: false filters the message`, async (t) => {
    const { server, session, peer } = await openPair(t);
    server.RegisterExtension({ name: "x", [SEND[kind]]: async (_session, { value }) => value.toString() !== "filtered" });
    await send(session, kind, "filtered");
    await send(session, kind, "passes");
    assert.deepEqual(peer.of(FRAME[kind]).map(textOf), ["passes"]);
  });

  test(`${RECEIVE[kind]}: executed after a message is received, before the session can emit ${EVENT[kind]}`, async (t) => {
    const { server, session, peer } = await openPair(t);
    const calls = [];
    server.RegisterExtension({
      name: "x",
      async [RECEIVE[kind]](from, message) {
        calls.push([from, message.value]);
        message.value = payload(kind, "modified");
        return true;
      },
    });
    const emitted = once(session, EVENT[kind]);
    peerSend(peer, kind, "original");
    assert.deepEqual(await emitted, [payload(kind, "modified")]);
    assert.deepEqual(calls, [[session, payload(kind, "original")]]);
  });

  test(`${RECEIVE[kind]}: false filters the message, which is acknowledged all the same`, async (t) => {
    const { server, session, peer } = await openPair(t);
    server.RegisterExtension({ name: "x", [RECEIVE[kind]]: async (_session, { value }) => value.toString() !== "filtered" });
    const emitted = once(session, EVENT[kind]);
    await peer.acked(peerSend(peer, kind, "filtered"));
    peerSend(peer, kind, "passes");
    assert.deepEqual(await emitted, [payload(kind, "passes")]);
  });
}

const source = (name) => readFile(new URL(`types/${name}`, import.meta.url), "utf8");

test("CAMP-Server / Example: the server of the readme announces itself and the ids of its sessions", async (t) => {
  // The readme's port may be taken here.
  const example = (await source("readme-server.ts")).replace("const PORT = 8080;", "const PORT = 0;");
  const directory = await scratchPackage(t, {
    "server.ts": example.replace("import {CAMP}", "export {server};\nimport {CAMP}"),
    "main.mjs": `import { server } from "./server.js";\nserver.on("listening", () => console.log("port", server.address().port));\n`,
  });
  await compile(directory, ["server.ts"]);
  const child = Child.node(t, [join(directory, "main.mjs")]);
  const [, port] = await child.printed(/port (\d+)/);
  assert.match(child.stdout, /^Server is listening\.\.\.$/m);
  await assert.rejects(Peer.connect({ port: Number(port), token: "guessed" }));
  const peer = await Peer.connect({ port: Number(port), token: "MySuperSecretToken", sid: 4711n });
  await peer.ready();
  await child.printed(/^Session ID: 4711$/m);
  peer.terminate();
});

test("Example extension: the readme's logger logs each incoming and outgoing message", async (t) => {
  const directory = await scratchPackage(t, { "logger.ts": await source("readme-extension.ts") });
  await compile(directory, ["logger.ts"]);
  const { logger } = await import(pathToFileURL(join(directory, "logger.js")).href);
  const { server, session, peer } = await openPair(t);
  const lines = [];
  t.mock.method(console, "log", (line) => lines.push(line));
  server.RegisterExtension(logger);
  await session.base.SendUTF8("one");
  await session.base.SendBinary(Buffer.of(0xab));
  const text = once(session, "message-utf8");
  peer.sendText("two");
  await text;
  const binary = once(session, "message-binary");
  peer.sendBinary([0xcd]);
  await binary;
  assert.deepEqual(lines, [
    'Outgoing UTF-8 message: "one"', 'Outgoing binary message: "ab"', 'Incoming UTF-8 message: "two"', 'Incoming binary message: "cd"',
  ]);
  assert.equal(server.GetExtension("unique_name_for_logger"), logger);
});
