// A plain WebSocket echo on `ws`, without CAMP: no acknowledgements, no sessions, half of the frames.
//
//   node benches/raw-ws.mjs     prints LISTENING and the port
import { WebSocketServer } from "ws";
import { listening } from "./lib/serving.mjs";

const server = new WebSocketServer({ port: 0, host: "127.0.0.1", perMessageDeflate: false });
server.on("listening", () => listening(/** @type {import("node:net").AddressInfo} */ (server.address()).port));
server.on("connection", (socket) => {
  socket.on("error", () => socket.terminate());
  socket.on("message", (data) => socket.send(data, { binary: true }));
});
