// CommonJS: Node 20.19 and newer can require an ES module, and TypeScript 5.8 and newer knows it.
import { CAMP, type CAMPServerWebsocketSession } from "camp-server";
import campServer = require("camp-server");

const server = campServer.CAMP({ validate: (token: string) => token === "x" }, { port: 0 });
server.on("session", (session: CAMPServerWebsocketSession) => void session.base.Ping());
const same: typeof CAMP = campServer.camp;
void same;
