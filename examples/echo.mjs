// A minimal server: every message goes back to its sender. Ends gracefully on SIGTERM and Ctrl+C.
//
//   node examples/echo.mjs [PORT] [TOKEN]
import { CAMP } from "camp-server";

const port = Number(process.argv[2] ?? 8080);
const token = process.argv[3] ?? "MySuperSecretToken";

const server = CAMP({ validate: async (candidate) => candidate === token }, { port });

server.on("listening", () => console.log(`listening on port ${server.address()?.port}`));
server.on("error", (error) => {
  console.error(error.message);
  process.exitCode = 1;
});

server.on("session", (session) => {
  console.log(`session ${session.id}`);
  session.on("message-utf8", (text) => session.base.SendUTF8(text));
  session.on("message-binary", (data) => session.base.SendBinary(data));
  session.on("message-error", (message) => session.base.SendError(message));
  session.on("closed", () => console.log(`session ${session.id} closed, ${session.rx} bytes received, ${session.tx} sent`));
});

// Every session is told goodbye; then nothing keeps the process alive.
for (const signal of /** @type {const} */ (["SIGTERM", "SIGINT"])) process.once(signal, () => server.Destroy());
