// One measurement, and the medians of several.
import { mkdtempSync, openSync, closeSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { servers, start } from "./servers.mjs";
import { programs } from "./programs.mjs";

/** @typedef {import("./cases.mjs").Case & { oneCore: boolean }} Chosen */
/** @typedef {Record<string, number>} Figures those of one measurement; what is nested has a dot in its key */
/** @typedef {{ seconds?: number | undefined, warmup?: number | undefined }} Times */

const TLS = new URL("../../__test__/support/tls/test-only", import.meta.url);
const PIECE = 2 ** 20;

/**
 * @param {Chosen} chosen
 * @param {string} server
 * @param {Times} times
 * @returns {Promise<Figures>}
 */
export async function measure(chosen, server, times) {
  /** @type {Record<string, string | number>} */
  const serve = { mode: "echo", ...chosen.serve };
  if (serve.mode === "stream" || serve.mode === "readable") serve.file = file(Number(serve.bytes));
  if (chosen.tls) {
    serve["tls-key"] = fileURLToPath(`${TLS}.key.pem`);
    serve["tls-cert"] = fileURLToPath(`${TLS}.cert.pem`);
  }
  const running = await start(server, serve, chosen.oneCore ? 0 : undefined);
  try {
    const { seconds, warmup } = times;
    const figures = await programs().generate(chosen.load, {
      ...(seconds !== undefined && { seconds }),
      ...(warmup !== undefined && { warmup }),
      ...chosen.drive,
      tls: chosen.tls,
      raw: server === "raw-ws",
      port: running.port,
      pid: running.pid,
    });
    const remarks = servers[server]?.remarks?.includes(String(serve.mode)) ? await running.remarks() : {};
    return { ...flat(figures), ...remarks };
  } catch (error) {
    const said = running.said().trim();
    throw new Error(`${chosen.name}, ${server}: ${/** @type {Error} */ (error).message}${said && `\n${said}`}`, { cause: error });
  } finally {
    await running.stop();
  }
}

/**
 * The median of each figure.
 *
 * @param {Figures[]} runs
 * @returns {Figures}
 */
export function medians(runs) {
  const keys = new Set(runs.flatMap((figures) => Object.keys(figures)));
  return Object.fromEntries([...keys].map((key) => [key, median(runs.flatMap((figures) => figures[key] ?? []))]));
}

/** @param {number[]} values */
export function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const [low, high] = [sorted[sorted.length % 2 ? middle : middle - 1] ?? NaN, sorted[middle] ?? NaN];
  return (low + high) / 2;
}

/** @param {Record<string, any>} figures @returns {Figures} */
function flat(figures, prefix = "") {
  return Object.assign({}, ...Object.entries(figures).map(([key, value]) =>
    (typeof value === "object" ? flat(value, `${prefix}${key}.`) : { [prefix + key]: value })));
}

/** @type {Map<number, string>} */
const files = new Map();

/**
 * A file in which the eight bytes at position 8n are n, big-endian. It is gone when the process is.
 *
 * @param {number} bytes
 */
function file(bytes) {
  const known = files.get(bytes);
  if (known !== undefined) return known;
  const directory = mkdtempSync(join(tmpdir(), "camp-bench-"));
  process.once("exit", () => rmSync(directory, { recursive: true, force: true }));
  const path = join(directory, "stream");
  const descriptor = openSync(path, "w");
  const piece = Buffer.alloc(PIECE);
  for (let at = 0; at < bytes; at += PIECE) {
    for (let i = 0; i < PIECE; i += 8) piece.writeUInt32BE((at + i) / 8, i + 4);
    writeSync(descriptor, piece);
  }
  closeSync(descriptor);
  files.set(bytes, path);
  return path;
}
