// What the declarations promise, member by member, and what they refuse.
import { EventEmitter, once } from "node:events";
import { readFileSync } from "node:fs";
import type { Server as HttpServer } from "node:http";
import type { Server as HttpsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import { ReadableStream } from "node:stream/web";
import {
    BackpressureOpts, BackpressureProfile, CAMP, CAMPError, CAMPErrorCode, CAMPReadable, CAMPServerWebsocketSession,
    CAMPTransaction, CAMPTransactionEvents, CAMPWebsocketServer, CAMP_FLOW_BEHAVIOUR, StreamOptions, StreamSource,
    CAMPUpgradeRequest, CAMPWebsocketServerEvents, DropPolicy, DroppedFrame, ICAMPServerWebsocketSessionEvents, ICAMPWebsocketServerOptions,
    ITokenValidator, SSLOptions, camp,
} from "camp-server";

/** Compiles only when both types are the same. */
function same<A, B>(..._proof: (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? [] : [never]): void {}

const validator: ITokenValidator = { validate: async (token) => token === "x" };

// CAMP
same<ReturnType<typeof CAMP>, CAMPWebsocketServer>();
same<Awaited<ReturnType<typeof CAMP>>, CAMPWebsocketServer>();
same<typeof camp, typeof CAMP>();
CAMP(validator);
CAMP(validator, {});
CAMP({ validate: (token) => token.length > 3 }, { port: 0 });
// @ts-expect-error a validator is required
CAMP();
// @ts-expect-error the validator needs `validate`
CAMP({});
// @ts-expect-error a validator answers with a boolean
CAMP({ validate: async () => "yes" });
// @ts-expect-error a validator takes a string
CAMP({ validate: async (token: number) => token === 1 });

// Options
const ssl: SSLOptions = { key: readFileSync("key.pem"), cert: "-----BEGIN CERTIFICATE-----" };
const all: ICAMPWebsocketServerOptions = {
    keepAliveIntervalMs: 1000, port: 443, host: "127.0.0.1", ssl, backpressure: { highWaterMark: 1 },
    ackTimeoutMs: 5000, handshakeTimeoutMs: 5000, maxHeaderBytes: 8192, maxInboundBytes: 1 << 20,
    maxUnacknowledged: 100, maxTransactions: 8, maxSpoolBytes: Infinity, maxSpoolTotalBytes: 2 ** 40, busyPollUs: 200,
    path: "/camp", backlog: 128, reusePort: true, maxConnections: Infinity, allowedOrigins: ["https://example.com"] as const,
};
const unset: ICAMPWebsocketServerOptions = { port: undefined, host: undefined, ssl: undefined, backpressure: undefined };
CAMP(validator, { ...all, ...unset });
const profiles: BackpressureProfile[] = ["default", "optimize_latency", "optimize_memory"];
for (const backpressure of profiles) CAMP(validator, { backpressure });
const policies: DropPolicy[] = ["drop-oldest", "drop-newest", "dedupe-latest"];
for (const dropPolicy of policies) CAMP(validator, { backpressure: { dropPolicy } });
const bounds: BackpressureOpts = {
    highWaterMark: 3, lowWaterMark: 2, maxQueuedBytes: 1, maxQueueCount: 1, dropPolicy: "drop-newest",
};
CAMP(validator, { backpressure: bounds });
CAMP(validator, {
    backpressure: { HIGH_WATERMARK: 2, LOW_WATERMARK: 1, MAX_QUEUED_BYTES: 1, MAX_QUEUE_SIZE: 1, DROP_POLICY: "drop-oldest" },
});
CAMP(validator, { backpressure: { highWaterMark: undefined, maxQueueCount: Infinity, HIGH_WATERMARK: 1 } });
// @ts-expect-error a port is a number
CAMP(validator, { port: "8080" });
// @ts-expect-error unknown option
CAMP(validator, { prot: 8080 });
// @ts-expect-error unknown field of backpressure
CAMP(validator, { backpressure: { highWatermark: 1 } });
// @ts-expect-error unknown profile
CAMP(validator, { backpressure: "fastest" });
// @ts-expect-error unknown policy
CAMP(validator, { backpressure: { dropPolicy: "drop-all" } });
// @ts-expect-error key and certificate belong together
CAMP(validator, { ssl: { key: "" } });
// @ts-expect-error all fields of BackpressureOpts are required
export const incomplete: BackpressureOpts = { highWaterMark: 1 };

// Server
const server = CAMP(validator);
export const emitter: EventEmitter = server;
same<ReturnType<typeof server.address>, AddressInfo | null>();
same<ReturnType<typeof server.Destroy>, Promise<void>>();
same<ReturnType<(typeof server)[typeof Symbol.asyncDispose]>, Promise<void>>();
same<keyof CAMPWebsocketServerEvents, "session" | "listening" | "error" | "listener-error" | "extension-error" | "validator-error">();
await once(server, "listening");
server.once("listening", () => {}).off("listening", () => {}).removeAllListeners("session");
server.on("session", async (session) => same<typeof session, CAMPServerWebsocketSession>());
server.on("error", (error) => same<typeof error, Error>());
server.on("listener-error", (error, event, session) => {
    same<typeof error, unknown>();
    same<typeof event, string>();
    same<typeof session, CAMPServerWebsocketSession | undefined>();
});
server.on("validator-error", (error, request) => {
    same<typeof error, unknown>();
    same<typeof request, CAMPUpgradeRequest>();
});
// @ts-expect-error a server has no such event
server.on("sessions", () => {});
// @ts-expect-error `listening` passes nothing
server.on("listening", (port: number) => port);
// @ts-expect-error made by CAMP() alone
new CAMPWebsocketServer();

// Sessions with other servers
same<ReturnType<typeof server.ConnectPeer>, Promise<CAMPServerWebsocketSession>>();
void server.ConnectPeer("ws://localhost:8080", "token");
void server.ConnectPeer(new URL("wss://localhost:8080"), "token", {
    ca: ["pem", Buffer.alloc(1)], servername: "name", rejectUnauthorized: true, timeoutMs: 5, signal: AbortSignal.timeout(5),
});
void server.ConnectPeer("wss://localhost:8080", "token", { ca: "pem", servername: undefined, signal: undefined });
// @ts-expect-error a token is needed
void server.ConnectPeer("ws://localhost:8080");
// @ts-expect-error milliseconds are a number
void server.ConnectPeer("ws://localhost:8080", "token", { timeoutMs: "5" });
server.ConnectPeer("ws://localhost:8080", "token").catch((error: CAMPError) => {
    same<typeof error.status, number | undefined>();
    same<typeof error.streamName, string | undefined>();
    same<typeof error.timeoutMs, number | undefined>();
    error.code === "ERR_CAMP_REFUSED" || error.code === "ERR_CAMP_CONNECT_FAILED";
});

// HTTP
same<typeof server.http_server, HttpServer | HttpsServer>();
server.http_server.on("request", (request, response) => response.end(request.url));
server.http_server.on("upgrade", (request, socket, head) => socket.end(head));
server.http_server.close((error) => same<typeof error, Error | undefined>());
if (server.http_server.listening) server.http_server.getConnections((error, count) => count.toFixed());
// @ts-expect-error read-only
server.http_server = server.http_server;

// Session
declare const session: CAMPServerWebsocketSession;
same<typeof session.id, bigint>();
same<typeof session.sid, bigint>();
same<typeof session.rx, number>();
same<typeof session.tx, number>();
// @ts-expect-error read-only
session.id = 1n;
// @ts-expect-error made by the server alone
new CAMPServerWebsocketSession();
session.Set("user", { name: "Ada" });
const user: { name: string } = session.Get("user");
void user;
// @ts-expect-error keys are strings
session.Set(1, "one");
await session.Close();
await session.Close("done");
await session.Destroy();
await session.Destroy(4000, "done");
await session[Symbol.asyncDispose]();
// @ts-expect-error a close code is a number
session.Destroy("4000");
if (session instanceof EventEmitter && session instanceof CAMPServerWebsocketSession) session.rx.toFixed();

session.on("connected", () => {});
session.on("message-utf8", (data) => same<typeof data, string>());
session.on("message-binary", (data) => same<typeof data, Buffer>());
session.on("message-error", (data) => same<typeof data, string>());
for (const statistic of ["stat-rtt", "stat-bytes-rx", "stat-bytes-tx", "stat-ack-timeout"] as const)
    session.on(statistic, (data: number) => data.toFixed());
session.on("dropped", (frame) => {
    same<typeof frame, DroppedFrame>();
    same<typeof frame.type, "utf8" | "binary" | "error">();
    same<typeof frame.bytes, number>();
    same<typeof frame.policy, DropPolicy>();
});
session.on("closed", () => {});
same<keyof ICAMPServerWebsocketSessionEvents, "connected" | "message-utf8" | "message-binary" | "message-error" | "stat-rtt"
    | "stat-bytes-rx" | "stat-bytes-tx" | "stat-ack-timeout" | "dropped" | "closed">();
// @ts-expect-error a session has no such event
session.on("message", () => {});
// @ts-expect-error text is not a Buffer
session.on("message-utf8", (data: Buffer) => data);

// Sending
same<ReturnType<typeof session.base.Ping>, Promise<void>>();
same<ReturnType<typeof session.base.SendUTF8>, Promise<void>>();
same<ReturnType<typeof session.base.SendBinary>, Promise<void>>();
same<ReturnType<typeof session.base.SendError>, Promise<void>>();
for (const bytes of [Buffer.alloc(1), new Uint8Array(1), new Float64Array(1), new DataView(new ArrayBuffer(1)), new ArrayBuffer(1)])
    await session.base.SendBinary(bytes);
// @ts-expect-error text is a string
session.base.SendUTF8(Buffer.alloc(1));
// @ts-expect-error bytes are not a string
session.base.SendBinary("bytes");
// @ts-expect-error an error message is text
session.base.SendError(new Error("no"));

// Transactions
const { transaction } = session;
same<typeof transaction, CAMPTransaction>();
same<typeof session.stream, CAMPTransaction>();
same<typeof CAMP_FLOW_BEHAVIOUR.TX_PUSH, 0>();
same<typeof CAMP_FLOW_BEHAVIOUR.TX_PULL, 1>();
const pull: CAMP_FLOW_BEHAVIOUR = CAMP_FLOW_BEHAVIOUR.TX_PULL;
const exactlyPull: CAMP_FLOW_BEHAVIOUR.TX_PULL = CAMP_FLOW_BEHAVIOUR.TX_PULL;
async function* pieces() { yield "text"; yield Buffer.alloc(1); yield new DataView(new ArrayBuffer(1)); }
function* syncPieces() { yield new Uint8Array(1); }
const sources: StreamSource[] = [
    Readable.from(["x"]), new ReadableStream<Uint8Array>(), pieces(), syncPieces(), ["a", Buffer.alloc(1)], Buffer.alloc(1),
    new Float32Array(1), new DataView(new ArrayBuffer(1)), new ArrayBuffer(1), new SharedArrayBuffer(1), new Blob(["x"]),
    { path: "file" }, { path: new URL("file:///file"), start: 0, end: 5n }, { path: Buffer.from("file"), end: null },
];
for (const source of sources) await transaction.Stream(source);
same<ReturnType<CAMPTransaction["Stream"]>, Promise<void>>();
const options: StreamOptions[] = [
    {}, { streamName: "x" }, { behaviour: pull }, { behaviour: exactlyPull }, { behaviour: "push" }, { behaviour: "pull" },
    { behaviour: CAMP_FLOW_BEHAVIOUR.TX_PUSH, signal: AbortSignal.timeout(5) }, { signal: undefined },
];
for (const option of options) await session.stream.Stream(Buffer.alloc(1), option);
// @ts-expect-error a string may mean a path or a text
transaction.Stream("file");
// @ts-expect-error numbers are no chunks
transaction.Stream([1, 2, 3]);
// @ts-expect-error no such behaviour
transaction.Stream(Buffer.alloc(1), { behaviour: 2 });
// @ts-expect-error no such option
transaction.Stream(Buffer.alloc(1), { name: "x" });
const readable = await transaction.WaitForStream();
same<typeof readable, CAMPReadable>();
await transaction.WaitForStream("x");
await transaction.WaitForStream("x", 1000);
await transaction.WaitForStream("x", { timeoutMs: 1000, signal: AbortSignal.timeout(5) });
// @ts-expect-error a name is a string
transaction.WaitForStream(5);
await transaction.StreamRequestRange(readable, 0n, 10n);
await transaction.StreamRequestRange(readable, 0, 10);
// @ts-expect-error only streams of transactions
transaction.StreamRequestRange(Readable.from([]), 0n, 10n);
same<ReturnType<CAMPTransaction["Cancel"]>, void>();
transaction.Cancel(readable);
transaction.on("tx-start", (txId, name) => { same<typeof txId, number>(); same<typeof name, string>(); });
transaction.on("tx-chunk", (txId, chunk) => { same<typeof txId, number>(); same<typeof chunk, Buffer>(); });
transaction.on("tx-finish", (txId) => same<typeof txId, number>());
transaction.once("tx-fetch", (txId, start, end) => { same<typeof txId, number>(); same<[typeof start, typeof end], [bigint, bigint]>(); });
same<keyof CAMPTransactionEvents, "tx-start" | "tx-chunk" | "tx-finish" | "tx-fetch">();
// @ts-expect-error no such event
transaction.on("tx-cancel", () => {});
if (readable instanceof Readable && readable instanceof CAMPReadable) readable.pipe(process.stdout);
for await (const chunk of readable) void chunk;
same<typeof readable.txId, number>();
same<typeof readable.byteLength, bigint | null>();
same<typeof readable.behaviour, CAMP_FLOW_BEHAVIOUR>();
same<ReturnType<CAMPReadable["getReceivedBytes"]>, bigint>();
same<ReturnType<CAMPReadable["getRemainingBytes"]>, bigint | null>();
same<ReturnType<CAMPReadable["getProgress"]>, number | null>();
same<ReturnType<CAMPReadable["isComplete"]>, boolean>();
same<ReturnType<CAMPReadable["isPull"]>, boolean>();
same<ReturnType<CAMPReadable["isPush"]>, boolean>();
same<typeof readable, ReturnType<typeof readable.autoPull>>();
readable.autoPull(65536).on("data", () => {});
// @ts-expect-error made by WaitForStream alone
new CAMPReadable();
// @ts-expect-error read-only
readable.txId = 1;

// Errors
session.base.SendUTF8("x").catch((error: unknown) => {
    if (!(error instanceof CAMPError)) return;
    const base: Error = error;
    const code: CAMPErrorCode = error.code;
    void base;
    // @ts-expect-error no such code
    if (code === "ERR_CAMP_NO_SUCH_CODE") return;
    if (code === "ERR_CAMP_ACK_TIMEOUT") return;
});
