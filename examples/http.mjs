// One port for CAMP, pages and an API. Ends gracefully on SIGTERM and Ctrl+C.
//
//   node examples/http.mjs [PORT]
//   curl -d hello http://localhost:8080/broadcast
import { text } from "node:stream/consumers";
import { CAMP } from "camp-server";

const server = CAMP({ validate: async (token) => token === "MySuperSecretToken" }, { port: Number(process.argv[2] ?? 8080) });

/** @type {Set<import("camp-server").CAMPServerWebsocketSession>} */
const sessions = new Set();
server.on("session", (session) => {
  sessions.add(session);
  session.on("closed", () => sessions.delete(session));
});

server.http_server.on("request", async (req, res) => {
  if (req.method === "POST" && req.url === "/broadcast") {
    const message = await text(req);
    for (const session of sessions) session.base.SendUTF8(message);
    res.end(`sent to ${sessions.size} sessions\n`);
  } else {
    res.writeHead(req.url === "/" ? 200 : 404, { "content-type": "text/plain" }).end(`${sessions.size} sessions\n`);
  }
});

server.on("listening", () => console.log(`listening on port ${server.address()?.port}`));

for (const signal of /** @type {const} */ (["SIGTERM", "SIGINT"])) process.once(signal, () => server.Destroy());
