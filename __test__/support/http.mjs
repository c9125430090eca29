// HTTP clients for the tests of `http_server`.
import http from "node:http";
import https from "node:https";
import { deferred, within } from "./wait.mjs";

/** Sends one request and reads the whole answer. `body` may be a string, a Buffer or a function given the request. */
export function request({ port, tls, body, ms = 10_000, ...options }) {
  const answer = deferred();
  const outgoing = (tls ? https : http).request({ host: "127.0.0.1", port, agent: false, ...tls, ...options }, (incoming) => {
    const chunks = [];
    incoming.on("data", (chunk) => chunks.push(chunk));
    incoming.on("error", answer.reject);
    incoming.on("end", () => {
      const { statusCode: status, headers } = incoming;
      answer.resolve({ status, headers, body: Buffer.concat(chunks), text: Buffer.concat(chunks).toString() });
    });
  });
  outgoing.on("error", answer.reject);
  if (typeof body === "function") body(outgoing);
  else outgoing.end(body);
  return within(answer.promise, ms, "answer");
}

/** Everything a socket receives until its end. */
export function readAll(socket, ms = 10_000) {
  const ended = deferred();
  const chunks = [];
  socket.on("data", (chunk) => chunks.push(chunk));
  socket.on("end", () => ended.resolve(Buffer.concat(chunks).toString("latin1")));
  socket.on("close", () => ended.resolve(Buffer.concat(chunks).toString("latin1")));
  return within(ended.promise, ms, "end of the connection");
}
