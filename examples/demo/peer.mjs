// The other server of the demo's streams: `streams.mjs` starts it. It opens a session to the first one,
// takes what is streamed, sends a stream of its own, and tells its parent the digests.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createReadStream } from "node:fs";
import { CAMP } from "camp-server";
import { sha256 } from "./streams.mjs";

const [port, path = ""] = process.argv.slice(2);
const server = CAMP({ validate: () => false }, { host: "127.0.0.1", port: 0 });
await once(server, "listening");
const session = await server.ConnectPeer(`ws://127.0.0.1:${port}`, "demo token");
const closed = once(session, "closed");
const { transaction } = session;

const pushed = await sha256(await transaction.WaitForStream("pushed", 20_000));
const pulled = await sha256((await transaction.WaitForStream("pulled", 20_000)).autoPull());
await transaction.Stream(createReadStream(path), { streamName: "upload" });
assert(process.send);
process.send({ pushed, pulled });
await closed;
await server.Destroy();
process.disconnect();
