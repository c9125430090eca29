// What every server of the benchmark is told, on the command line, and how it says that it is up.
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";

/**
 * @typedef {object} Serving
 * @property {string} mode what the application does:
 *   `echo`: sends every message back; `push`: after a text, keeps `window` texts of `size` bytes unacknowledged;
 *   `fanout`: sends every text to all; `stream`: after a text, streams `bytes` bytes of `file`; `readable`: the same
 *   by way of a Readable; `upload`: reads a stream to its end and says how many bytes there were
 * @property {number} size
 * @property {number} window
 * @property {string} file
 * @property {number} bytes
 * @property {number | undefined} keepAlive milliseconds
 * @property {{ key: Buffer, cert: Buffer } | undefined} tls
 * @property {string | undefined} hook `receive` or `send`
 * @property {object} options further options of the server, as JSON
 */

/** @returns {Serving} */
export function serving() {
  const text = /** @type {const} */ ({ type: "string" });
  const { values } = parseArgs({
    options: {
      mode: text, size: text, window: text, file: text, bytes: text, "keep-alive": text,
      "tls-key": text, "tls-cert": text, hook: text, options: text,
    },
  });
  const { "tls-key": key, "tls-cert": cert, "keep-alive": keepAlive } = values;
  return {
    mode: values.mode ?? "echo",
    size: Number(values.size ?? 16),
    window: Number(values.window ?? 32),
    file: values.file ?? "",
    bytes: Number(values.bytes ?? 0),
    keepAlive: keepAlive === undefined ? undefined : Number(keepAlive),
    tls: key === undefined || cert === undefined ? undefined : { key: readFileSync(key), cert: readFileSync(cert) },
    hook: values.hook,
    options: JSON.parse(values.options ?? "{}"),
  };
}

/**
 * A validator that does not know at once, like one that asks a database.
 *
 * @param {string} token
 */
export async function validate(token) {
  await new Promise((resolve) => setImmediate(resolve));
  return token === "T";
}

/** @param {number | undefined} port */
export function listening(port) {
  console.log(`LISTENING ${port}`);
}

/**
 * Something to be printed beside the generator's figures.
 *
 * @param {Record<string, number>} figures
 */
export function remark(figures) {
  console.log(`REMARK ${JSON.stringify(figures)}`);
}
