// camp-server under test: an application on its public API.
//
//   node benches/ours.mjs --mode echo     prints LISTENING and the port; the token is `T`
import { createReadStream } from "node:fs";
import { performance } from "node:perf_hooks";
import { CAMP } from "../js/index.js";
import { listening, remark, serving, validate } from "./lib/serving.mjs";

/** @typedef {import("../js/session.js").CAMPServerWebsocketSession} Session */

const { mode, size, window, file, bytes, keepAlive, tls, hook, options } = serving();

const server = CAMP({ validate }, {
  port: 0,
  host: "127.0.0.1",
  ...(tls && { ssl: tls }),
  ...(keepAlive && { keepAliveIntervalMs: keepAlive }),
  ...options,
});
server.on("listening", () => listening(server.address()?.port));

if (hook === "receive") server.RegisterExtension({ name: "nothing", async on_receive_utf8() { return true; } });
if (hook === "send") server.RegisterExtension({ name: "nothing", async before_send_utf8() { return true; } });

/** @type {Record<string, (session: Session) => void>} */
const applications = {
  echo(session) {
    session.on("message-utf8", (text) => session.base.SendUTF8(text));
    session.on("message-binary", (data) => session.base.SendBinary(data));
  },

  push(session) {
    const text = "x".repeat(size);
    let open = true;
    session.on("closed", () => { open = false; });
    session.on("message-utf8", () => {
      for (let i = 0; i < window; i++) pushOn();
    });
    async function pushOn() {
      while (open) await session.base.SendUTF8(text);
    }
  },

  fanout(session) {
    session.on("message-utf8", (text) => {
      for (const each of server.sessions) each.base.SendUTF8(text);
    });
  },

  stream(session) {
    session.on("message-utf8", () => streamed(session, { path: file, end: bytes - 1 }));
  },

  readable(session) {
    session.on("message-utf8", () => streamed(session, createReadStream(file, { end: bytes - 1 })));
  },

  async upload(session) {
    const stream = await session.transaction.WaitForStream("bench", Infinity);
    let count = 0;
    stream.on("data", (chunk) => { count += chunk.length; });
    stream.on("end", () => session.base.SendUTF8(String(count)));
  },
};

/** @param {Session} session @param {import("../index.js").StreamSource} source */
async function streamed(session, source) {
  const before = performance.eventLoopUtilization();
  await session.transaction.Stream(source, { streamName: "bench" });
  remark({ eventLoopUtilization: performance.eventLoopUtilization(before).utilization });
}

const application = applications[mode];
if (application === undefined) throw new RangeError(`no mode is called ${mode}`);
server.on("session", application);
