// What one hostile client costs its neighbour, and the server's memory.
//
//   node benches/floods.mjs [--seconds S] [--case NAME[,NAME]]
import { fork } from "node:child_process";
import { readFileSync } from "node:fs";
import net from "node:net";
import { performance } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { CAMP } from "../js/index.js";

const FLOODER = 7n;
const NEIGHBOUR = 8n;
const SELF = fileURLToPath(import.meta.url);

/**
 * A masked WebSocket frame; a mask of zeros changes nothing.
 *
 * @param {number} first its first byte
 * @param {Buffer} payload
 */
function wsFrame(first, payload) {
  const head = Buffer.alloc(payload.length < 126 ? 6 : 14);
  head[0] = first;
  head[1] = 0x80 | (payload.length < 126 ? payload.length : 127);
  if (payload.length >= 126) head.writeBigUInt64BE(BigInt(payload.length), 2);
  return Buffer.concat([head, payload]);
}

/**
 * A CAMP frame as a WebSocket message: the sid, the type, and what follows.
 *
 * @param {number} type
 * @param {(number | bigint | string | Buffer)[]} fields a number is of 32 bits, a bigint of 64
 */
function camp(type, fields, sid = FLOODER) {
  const parts = [sid, Buffer.of(type), ...fields].map((field) => {
    if (typeof field === "string" || Buffer.isBuffer(field)) return Buffer.from(field);
    const bytes = Buffer.alloc(typeof field === "number" ? 4 : 8);
    if (typeof field === "number") bytes.writeUInt32BE(field);
    else bytes.writeBigInt64BE(field);
    return bytes;
  });
  return wsFrame(0x82, Buffer.concat(parts));
}

/** @param {number} bytes */
const message = (bytes) => camp(249, [1, Buffer.alloc(bytes)]);
const text = camp(250, [1, "t"]);
/** @param {number} txId */
const start = (txId) => camp(0, [1, txId, -1n, Buffer.of(0), "flood"]);
/** @param {number} txId */
const stream = (txId) => [start(txId), camp(1, [txId, 0n, Buffer.alloc(65_536)])];

/** @param {number} port @param {bigint} sid */
const upgrade = (port, sid) => [
  `GET /?authorization=Bearer%20T&x-camp-sid=${sid} HTTP/1.1`, `Host: localhost:${port}`, "Connection: Upgrade", "Upgrade: websocket",
  "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "", "",
].join("\r\n");

/**
 * Whether the client reads, what it sends over and over, and what the application does.
 *
 * @type {Record<string, { reads?: boolean, once?: Buffer[], block?: Buffer[], application?: string, connections?: number }>}
 */
const CASES = {
  "nothing": {},
  "never-acknowledges": { reads: true, block: [text] },
  "reads-no-echoes": { block: [message(1000)] },
  "reads-no-acks": { block: [message(0)], application: "silent" },
  "reads-no-pongs": { block: [camp(251, ["ping"])] },
  "websocket-pings": { block: [wsFrame(0x89, Buffer.alloc(125))] },
  "empty-fragments": { reads: true, once: [wsFrame(0x02, Buffer.alloc(0))], block: [wsFrame(0x00, Buffer.alloc(0))] },
  "large-messages": { reads: true, block: [message(1 << 20)], application: "silent" },
  "hanging-receive-hook": { reads: true, block: [message(100)], application: "receive-hook" },
  "hanging-send-hook": { reads: true, block: [text], application: "send-hook" },
  "blocked-javascript": { reads: true, block: [message(100)], application: "busy" },
  "streams-nobody-asks-for": { reads: true, block: Array.from({ length: 64 }, (_, i) => stream(i)).flat() },
  "refused-streams": { reads: true, block: Array.from({ length: 200 }, (_, i) => start(i + 1000)) },
  "silent-connections": { connections: 2000 },
};

/** @param {string} name */
function serve(name) {
  const server = CAMP({ validate: async () => true }, { port: 0, host: "127.0.0.1" });
  const application = CASES[name]?.application;
  const hook = async (/** @type {{ sid: bigint }} */ session) => session.sid === FLOODER ? new Promise(() => {}) : true;
  if (application === "receive-hook") server.RegisterExtension({ name: "hanging", on_receive_binary: hook });
  if (application === "send-hook") server.RegisterExtension({ name: "hanging", before_send_utf8: hook });
  server.on("session", (session) => {
    session.on("message-utf8", (/** @type {string} */ data) => void session.base.SendUTF8(data));
    session.on("message-binary", (/** @type {Buffer} */ data) => {
      // As an application that computes for each message.
      if (application === "busy") for (const end = performance.now() + 0.05; performance.now() < end;);
      if (application === undefined) void session.base.SendBinary(data);
    });
  });
  server.on("listening", () => process.send?.(server.address()?.port));
}

/**
 * @param {string} name
 * @param {number} port
 */
function flood(name, port) {
  const { reads = false, once = [], block = [], connections = 0 } = CASES[name] ?? {};
  for (let i = 0; i < connections; i++) net.connect(port, "127.0.0.1").on("error", () => {});
  if (block.length === 0) return;
  const whole = Buffer.concat(block);
  const bytes = Buffer.concat(Array(Math.max(1, Math.floor((1 << 18) / whole.length))).fill(whole));
  const socket = net.connect(port, "127.0.0.1");
  socket.on("error", () => {}).on("close", () => console.error(`${name}: the flood's connection is over`));
  const pump = () => {
    while (socket.write(bytes));
  };
  socket.write(upgrade(port, FLOODER));
  socket.once("data", () => {
    if (reads) socket.resume();
    else socket.pause();
    socket.write(Buffer.concat([camp(255, [0, 1, 1n]), ...once]));
    socket.on("drain", pump);
    pump();
  });
}

/**
 * The neighbour: its round trips, one after the other.
 *
 * @param {number} port
 * @param {number} seconds
 */
async function measure(port, seconds) {
  const socket = net.connect(port, "127.0.0.1");
  socket.setNoDelay(true);
  socket.write(upgrade(port, NEIGHBOUR));
  let waiting = () => {};
  socket.on("data", (data) => {
    if (data.includes("echo!")) waiting();
  });
  const echo = camp(250, [1, "echo!"], NEIGHBOUR);
  await sleep(500);
  /** @type {number[]} */
  const times = [];
  for (const end = performance.now() + seconds * 1000; performance.now() < end; await sleep(10)) {
    const begin = performance.now();
    const answered = new Promise((resolve) => (waiting = () => resolve(true)));
    socket.write(echo);
    if (await Promise.race([answered, sleep(20_000, false)]) === false) return { worst: Infinity, median: Infinity };
    times.push(performance.now() - begin);
  }
  socket.destroy();
  times.sort((a, b) => a - b);
  return { worst: times.at(-1) ?? Infinity, median: times[times.length >> 1] ?? Infinity };
}

/** MiB that the process had resident at most; Linux only. @param {number | undefined} pid */
function peak(pid) {
  try {
    return String(Math.round(Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024));
  } catch {
    return "gone";
  }
}

/**
 * @param {string} name
 * @param {number} seconds
 */
async function run(name, seconds) {
  const server = fork(SELF, ["serve", name]);
  const port = await new Promise((resolve) => server.once("message", resolve));
  const flooder = fork(SELF, ["flood", name, String(port)]);
  const { worst, median } = await measure(port, seconds);
  console.log(`| ${name} | ${median.toFixed(2)} | ${worst.toFixed(1)} | ${peak(server.pid)} |`);
  for (const child of [flooder, server]) child.kill("SIGKILL");
}

const [role, name = "", port] = process.argv.slice(2);
if (role === "serve") serve(name);
else if (role === "flood") flood(name, Number(port));
else {
  const { values } = parseArgs({ options: { seconds: { type: "string", default: "5" }, case: { type: "string" } } });
  console.log("| flood | neighbour's median, ms | its longest, ms | server's peak, MiB |\n| --- | ---: | ---: | ---: |");
  for (const one of values.case?.split(",") ?? Object.keys(CASES)) await run(one, Number(values.seconds));
  process.exit();
}
