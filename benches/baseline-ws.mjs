// A CAMP server written the ordinary way on top of `ws`: what a competent developer would write
// first. It is the yardstick for the benchmarks, so it is neither tuned nor slowed down: a session
// class with events and an async send path, pending acknowledgements in a Map, a formatter per
// frame type that allocates its Buffer, one `ws.send` per frame.
//
//   node benches/baseline-ws.mjs --mode echo     prints LISTENING and the port; the token is `T`
import { createReadStream } from "node:fs";
import { Server } from "./baseline/server.mjs";
import { listening, serving, validate } from "./lib/serving.mjs";

/** @typedef {import("./baseline/session.mjs").Session} Session */

const { mode, size, window, file, bytes, keepAlive, tls } = serving();
const server = new Server({ validate }, { port: 0, ssl: tls, keepAliveMs: keepAlive });
server.on("listening", () => listening(server.address().port));

/** @type {Record<string, (session: Session) => void>} */
const applications = {
  echo(session) {
    session.on("message-utf8", (text) => session.SendUTF8(text));
    session.on("message-binary", (data) => session.SendBinary(data));
  },

  push(session) {
    const text = "x".repeat(size);
    session.on("message-utf8", () => {
      for (let i = 0; i < window; i++) session.SendUTF8(text);
      session.on("acknowledged", () => session.SendUTF8(text));
    });
  },

  fanout(session) {
    session.on("message-utf8", (text) => {
      for (const each of server.sessions.values()) each.SendUTF8(text);
    });
  },

  stream(session) {
    session.on("message-utf8", () => session.Stream(createReadStream(file, { end: bytes - 1 }), "bench"));
  },

  upload(session) {
    session.on("stream", (stream) => {
      let count = 0;
      stream.on("data", (/** @type {Buffer} */ chunk) => { count += chunk.length; });
      stream.on("end", () => session.SendUTF8(String(count)));
    });
  },
};

const application = applications[mode];
if (application === undefined) throw new RangeError(`no mode is called ${mode}`);
server.on("session", application);
