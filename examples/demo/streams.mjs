// The second part of the demo: streams between two servers in two processes, over real TCP. `run.mjs`
// calls this one, which starts `peer.mjs`; the digests of everything streamed are compared.
import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createReadStream } from "node:fs";
import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { fileURLToPath } from "node:url";
import { CAMP } from "camp-server";

const MIB = 1024 * 1024;
const SIZE = 64 * MIB + 1;

/** @typedef {{ pushed: string, pulled: string, uploaded: string }} Digests */

/** @param {(text: string) => void} say @param {(reason: unknown) => void} fail */
export async function exchangeStreams(say, fail) {
  const directory = await mkdtemp(join(tmpdir(), "camp-demo-"));
  try {
    const path = join(directory, "file");
    const digest = await randomFile(path);
    say(`a file of ${SIZE} random bytes, SHA-256 ${digest.slice(0, 16)}...`);
    const server = CAMP({ validate: async (token) => token === "demo token" }, { host: "127.0.0.1", port: 0 });
    server.on("listener-error", fail);
    await once(server, "listening");
    const sessions = once(server, "session");
    const peer = fork(fileURLToPath(new URL("peer.mjs", import.meta.url)), [String(server.address()?.port), path]);
    const exited = once(peer, "exit");
    const reported = once(peer, "message");
    const [session] = /** @type {[import("camp-server").CAMPServerWebsocketSession]} */ (await sessions);
    const { transaction } = session;

    const uploading = transaction.WaitForStream("upload", 20_000).then(sha256);
    await timed(say, "pushed from the file", transaction.Stream({ path }, { streamName: "pushed" }));
    await timed(say, "pulled by ranges, from the file", transaction.Stream({ path }, { streamName: "pulled", behaviour: "pull" }));
    const uploaded = await timed(say, "uploaded by the peer", uploading);

    const [digests] = /** @type {[Digests]} */ (await reported);
    assert.deepEqual({ ...digests, uploaded }, { pushed: digest, pulled: digest, uploaded: digest });
    say("all three arrived whole: the digests are the same");
    await server.Destroy();
    assert.equal((await exited)[0], 0);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** @param {AsyncIterable<Buffer>} stream */
export async function sha256(stream) {
  const hash = createHash("sha256");
  for await (const part of stream) hash.update(part);
  return hash.digest("hex");
}

/** @param {string} path */
async function randomFile(path) {
  const file = await open(path, "w");
  for (let at = 0; at < SIZE; at += MIB) await file.write(randomBytes(Math.min(MIB, SIZE - at)));
  await file.close();
  return sha256(createReadStream(path));
}

/**
 * @template T
 * @param {(text: string) => void} say @param {string} what @param {Promise<T>} work
 */
async function timed(say, what, work) {
  const begin = performance.now();
  const result = await work;
  say(`${what}: ${(SIZE / MIB / ((performance.now() - begin) / 1000)).toFixed(0)} MiB/s`);
  return result;
}
