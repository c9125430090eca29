// Every kind of source, in every direction, over TCP and TLS: what arrives has the SHA-256 of what was sent.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { openSession, startServer } from "./support/server.mjs";
import { test } from "./support/test.mjs";
import {
  KIB, MIB, PULL, SOURCES, chunksOf, payload, sendFetch, sendPush, servePull, sha256, sparseFile, takeFinish, takeStart, tempFile,
} from "./support/streams.mjs";
import { within } from "./support/wait.mjs";

const SMALL = [0, 1, 65_535, MIB];
const LARGE = 64 * MIB + 1;
const large = payload(LARGE, 64);
const largeDigest = sha256(large);

const key = readFileSync(new URL("support/tls/test-only.key.pem", import.meta.url));
const cert = readFileSync(new URL("support/tls/test-only.cert.pem", import.meta.url));

const TRANSPORTS = {
  TCP: { options: {}, peer: {} },
  TLS: { options: { ssl: { key, cert } }, peer: { tls: { ca: cert, servername: "localhost" } } },
};

const KINDS = {
  ...Object.fromEntries(Object.entries(SOURCES).map(([kind, { make }]) => [kind, make])),
  "a part of a file": async (t, data) => {
    // A part has at least one byte.
    if (data.length === 0) return { path: await tempFile(t, Buffer.alloc(10)), start: 10 };
    return { path: await tempFile(t, Buffer.concat([Buffer.alloc(1000, 1), data, Buffer.alloc(7, 2)])), start: 1000, end: 999 + data.length };
  },
};

/** The digest of chunks that follow each other from 0 on. */
function digestOf(chunks) {
  const hash = createHash("sha256");
  let at = 0n;
  for (const { offset, data } of chunks) {
    assert.equal(offset, at);
    at += BigInt(data.length);
    hash.update(data);
  }
  return hash.digest("hex");
}

async function open(t, transport) {
  const { options, peer } = TRANSPORTS[transport];
  const running = await startServer(t, options);
  return openSession(running, peer);
}

/** The server streams; a pull is asked for in three ranges. */
async function download({ session, peer }, behaviour, source, size, digest) {
  const sent = session.transaction.Stream(source, { behaviour });
  const { txId } = await takeStart(peer, 20_000);
  if (behaviour === "pull" && size > 0) {
    const cuts = [0, Math.floor(size / 3), Math.floor(size / 2), size];
    for (const [i, from] of cuts.slice(0, -1).entries()) if (from < cuts[i + 1]) sendFetch(peer, txId, from, cuts[i + 1]);
  }
  await takeFinish(peer, txId, 30_000);
  await within(sent, 10_000, "Stream()");
  assert.equal(digestOf(chunksOf(peer, txId)), digest, `${size} bytes`);
}

/** The peer streams; a pull is asked for by `autoPull`. */
async function upload({ session, peer }, behaviour, txId, data, digest) {
  const waiting = session.transaction.WaitForStream("upload");
  const name = "upload";
  const sending = behaviour === "push"
    ? sendPush(peer, { txId, name, data })
    : (peer.sendTxStart({ txId, name, size: BigInt(data.length), behaviour: PULL }), servePull(peer, { txId, data }));
  const readable = await waiting;
  if (behaviour === "pull") readable.autoPull(512 * KIB);
  const hash = createHash("sha256");
  let length = 0;
  const read = async () => {
    for await (const part of readable) {
      hash.update(part);
      length += part.length;
    }
  };
  await within(read(), 30_000, "the end of the stream");
  await sending;
  assert.equal(length, data.length);
  assert.equal(hash.digest("hex"), digest, `${data.length} bytes`);
}

for (const [number, [kind, make]] of Object.entries(KINDS).entries()) {
  for (const transport of ["TCP", "TLS"]) {
    for (const [which, behaviour] of ["push", "pull"].entries()) {
      test(`${kind}, ${behaviour}ed over ${transport}, arrives with its SHA-256`, { timeout: 60_000 }, async (t) => {
        const pair = await open(t, transport);
        for (const size of SMALL) {
          const data = payload(size, size % 251);
          await download(pair, behaviour, await make(t, data), size, sha256(data));
        }
        // One large transfer of each kind and behaviour, over the one transport or the other.
        if (((number + which) % 2 === 0) === (transport === "TCP")) {
          await download(pair, behaviour, await make(t, large), LARGE, largeDigest);
        }
        assert.equal(pair.peer.of("ERROR").length, 0);
        assert.equal(pair.peer.of("TX_CANCEL").length, 0);
      });
    }
  }
}

for (const transport of ["TCP", "TLS"]) {
  for (const behaviour of ["push", "pull"]) {
    test(`uploads ${behaviour}ed over ${transport} arrive with their SHA-256`, { timeout: 60_000 }, async (t) => {
      const pair = await open(t, transport);
      for (const [txId, size] of SMALL.entries()) {
        const data = payload(size, size % 251);
        await upload(pair, behaviour, txId, data, sha256(data));
      }
      await upload(pair, behaviour, SMALL.length, large, largeDigest);
      assert.equal(pair.peer.of("ERROR").length, 0);
    });
  }
}

test("a sparse file of 4 GiB is pulled at random places, its last byte and places beyond 2^32 among them", { timeout: 60_000 }, async (t) => {
  const size = 2 ** 32 + 12_345;
  const places = [0, 2 ** 31, 2 ** 32 - 1, 2 ** 32, size - 1];
  const marks = places.map((at, i) => [at, Buffer.of(i + 1)]);
  const path = await sparseFile(t, size, marks).catch((error) => error);
  if (path instanceof Error) return t.skip(`this file system does not take a sparse file of 4 GiB: ${path.code}`);
  const { session, peer } = await open(t, "TCP");
  const sent = session.transaction.Stream({ path }, { behaviour: "pull" });
  sent.catch(() => {});
  const start = await takeStart(peer);
  assert.equal(start.size, BigInt(size));
  const seed = Number(process.env.CAMP_SEED ?? 4);
  let state = seed;
  const random = () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
  const ranges = [...places.map((at) => [at, at + 1]), [2 ** 32 - 5, 2 ** 32 + 5], [size - 10_000, size]];
  for (let i = 0; i < 60; i++) {
    const from = Math.floor(random() * (size - 1));
    ranges.push([from, Math.min(size, from + 1 + Math.floor(random() * 300_000))]);
  }
  for (const [from, to] of ranges) sendFetch(peer, start.txId, from, to);
  const total = ranges.reduce((sum, [from, to]) => sum + to - from, 0);
  const received = () => chunksOf(peer, start.txId).reduce((sum, { data }) => sum + data.length, 0);
  await peer.until(() => received() >= total, 20_000, `${total} bytes`);
  const chunks = chunksOf(peer, start.txId);
  for (const [from, to] of ranges) {
    const got = createHash("sha256");
    for (let at = from; at < to;) {
      const chunk = chunks.shift();
      assert.equal(chunk.offset, BigInt(at), `seed ${seed}: offset within ${from} to ${to}`);
      at += chunk.data.length;
      got.update(chunk.data);
    }
    const expected = Buffer.alloc(to - from);
    for (const [at, mark] of marks) if (at >= from && at < to) mark.copy(expected, at - from);
    assert.equal(got.digest("hex"), sha256(expected), `seed ${seed}: ${from} to ${to}`);
  }
  assert.equal(chunks.length, 0);
  peer.terminate();
});
