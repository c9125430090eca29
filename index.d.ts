/// <reference types="node" />
import type { EventEmitter } from "node:events";
import type { Server as HttpServer } from "node:http";
import type { Server as HttpsServer } from "node:https";
import type { AddressInfo } from "node:net";

// ---------------------------------------------------------------------------------------------
// Server
// ---------------------------------------------------------------------------------------------

/**
 * Starts a CAMP server. The server object is returned at once; it binds its port in the
 * background and then emits `listening`, or `error` when it cannot. `await CAMP(...)` gives the
 * same object, and listeners added right after the `await` miss nothing.
 *
 * @param validator decides which tokens are let in
 * @param options everything is optional; see {@link ICAMPWebsocketServerOptions}
 * @throws {TypeError} an option has the wrong type, or `validator` has no `validate` function
 * @throws {RangeError} an option is out of its range; the message names the option
 */
export function CAMP(validator: ITokenValidator, options?: ICAMPWebsocketServerOptions): CAMPWebsocketServer;

/** The same function as {@link CAMP}. */
export const camp: typeof CAMP;

/** Decides whether a client may connect. */
export interface ITokenValidator {
    /**
     * Called once for each upgrade request with the token from its `authorization=Bearer <token>`
     * query parameter (protocol: upgrade). `true` lets the client in. `false`, a throw or a
     * rejection refuses it with `401 Unauthorized`, and so does an answer that takes longer than
     * `handshakeTimeoutMs`.
     */
    validate(token: string): Promise<boolean> | boolean;
}

/** Options of {@link CAMP}. An option that is missing or `undefined` takes its default. */
export interface ICAMPWebsocketServerOptions {
    /**
     * Milliseconds between heartbeats, 1 to 2147483647. Default 15000. At each heartbeat a session emits
     * its `stat-*` events and pings its client; a client that has sent nothing for a whole
     * interval since the last ping is disconnected (protocol: session life). Heartbeats do not
     * depend on the JavaScript thread.
     */
    keepAliveIntervalMs?: number | undefined;
    /** TCP port, 0 to 65535. Default 8080. 0 picks a free port; `address()` tells which. */
    port?: number | undefined;
    /** Host name or address to bind. Default: all interfaces, IPv6 and IPv4. */
    host?: string | undefined;
    /** Key and certificate. With it the server speaks TLS (`wss://`), without it plain TCP. */
    ssl?: SSLOptions | undefined;
    /**
     * Bounds of each session's outgoing queue: some or all of {@link BackpressureOpts}, the name
     * of a {@link BackpressureProfile}, or the older spelling of the fields. Missing fields take
     * the defaults. Default: the profile `default`.
     */
    backpressure?: PartialBackpressureOpts | BackpressureProfile | LegacyBackpressureOpts | undefined;
    /**
     * Milliseconds the acknowledgement of a sent frame may take, counted from when the frame was
     * written to the socket, 1 to 2147483647. Default 15000. Later the promise of that send rejects
     * with `ERR_CAMP_ACK_TIMEOUT`; the session lives on.
     */
    ackTimeoutMs?: number | undefined;
    /**
     * Milliseconds from accepting a connection to its session, `validate` included, 1 to
     * 2147483647. Default 10000. A connection that takes longer is dropped.
     */
    handshakeTimeoutMs?: number | undefined;
    /** Most bytes of an upgrade request's head, 256 to 16 MiB. Default 16 KiB. */
    maxHeaderBytes?: number | undefined;
    /**
     * Payload bytes of one session that may wait for the JavaScript thread, at least 1; `Infinity`
     * for no bound. Default 4 MiB. At the limit the session's socket is not read until listeners
     * have caught up; nothing is lost.
     */
    maxInboundBytes?: number | undefined;
}

/** Key and certificate of a TLS server, both PEM. */
export interface SSLOptions {
    /** The private key. */
    key: Buffer | string;
    /** The certificate, followed by the chain when there is one. */
    cert: Buffer | string;
}

/**
 * What gives way when the outgoing queue is full. Only data frames (text, binary, error) are ever
 * dropped.
 * - `drop-oldest`: the oldest waiting data frames, until the new one fits
 * - `drop-newest`: the new frame
 * - `dedupe-latest`: a waiting frame of the same type and payload is replaced by the new one;
 *   when there is none and the queue is full, the new frame gives way
 */
export type DropPolicy = "drop-oldest" | "drop-newest" | "dedupe-latest";

/**
 * Named {@link BackpressureOpts}, all of them `drop-oldest`:
 *
 * | name | highWaterMark | lowWaterMark | maxQueuedBytes | maxQueueCount |
 * | --- | --- | --- | --- | --- |
 * | `default` | 16 MiB | 1 MiB | 8 MiB | 1024 |
 * | `optimize_latency` | 512 KiB | 128 KiB | 4 MiB | 512 |
 * | `optimize_memory` | 256 KiB | 64 KiB | 2 MiB | 256 |
 */
export type BackpressureProfile = "default" | "optimize_latency" | "optimize_memory";

/** Bounds of a session's outgoing queue: whole numbers, at least 0; `Infinity` for no bound. */
export interface BackpressureOpts {
    /** Bytes handed to the socket and not yet written at which sending pauses. Default 16 MiB. */
    highWaterMark: number;
    /** Bytes below which sending resumes. Default 1 MiB. */
    lowWaterMark: number;
    /** Most bytes waiting behind the watermark. Default 8 MiB. */
    maxQueuedBytes: number;
    /** Most frames waiting behind the watermark. Default 1024. */
    maxQueueCount: number;
    /** What gives way when one of the two is reached. Default `drop-oldest`. */
    dropPolicy: DropPolicy;
}

/** Some of {@link BackpressureOpts}. */
export type PartialBackpressureOpts = { [Name in keyof BackpressureOpts]?: BackpressureOpts[Name] | undefined };

/** The older spelling of {@link BackpressureOpts}. */
export interface LegacyBackpressureOpts {
    /** See {@link BackpressureOpts.highWaterMark}. */
    HIGH_WATERMARK?: number | undefined;
    /** See {@link BackpressureOpts.lowWaterMark}. */
    LOW_WATERMARK?: number | undefined;
    /** See {@link BackpressureOpts.maxQueuedBytes}. */
    MAX_QUEUED_BYTES?: number | undefined;
    /** See {@link BackpressureOpts.maxQueueCount}. */
    MAX_QUEUE_SIZE?: number | undefined;
    /** See {@link BackpressureOpts.dropPolicy}. */
    DROP_POLICY?: DropPolicy | undefined;
}

/** The events of a {@link CAMPWebsocketServer}. */
export interface CAMPWebsocketServerEvents {
    /** A client has connected and was let in. Emitted before anything else of that session. */
    "session": (session: CAMPServerWebsocketSession) => void;
    /** The port is bound; `address()` tells which. */
    "listening": () => void;
    /**
     * The server cannot listen, for instance `EADDRINUSE`. Also emitted by `http_server`; thrown when
     * neither has a listener.
     */
    "error": (error: Error) => void;
    /**
     * A listener of a session or of `session` threw, or returned a promise that rejected. Without
     * a listener for this event the stack is printed; the process and the session live on.
     * `session` is the session concerned, if any.
     */
    "listener-error": (error: unknown, event: string, session: CAMPServerWebsocketSession | undefined) => void;
}

/** A running server, made by {@link CAMP}. */
export class CAMPWebsocketServer extends TypedEmitter<CAMPWebsocketServerEvents> {
    private constructor();
    /**
     * The HTTP server of the same port, for other libraries: `http.Server`, with `ssl` `https.Server`.
     * - A request that is no upgrade reaches its `request` listeners; without one the answer is `426`.
     * - An upgrade without CAMP credentials (no token, or nothing of CAMP's in the query) reaches its
     *   `upgrade` listeners; without one the answer is `401`.
     * - It listens with this server and emits `listening`, `error` and `close` too. `listen()` only
     *   waits for that. `close()` refuses new connections and lets live sessions be; `close` is
     *   emitted when the last connection has ended. {@link Destroy} ends idle connections at once,
     *   requests under way after two seconds.
     *
     * TLS is terminated natively: sockets have `encrypted`, no certificates of clients.
     */
    get http_server(): HttpServer | HttpsServer;
    /** The address the server listens on; `null` before `listening` and once it is destroyed. */
    address(): AddressInfo | null;
    /**
     * Stops accepting, sends every session BYE `Server shutdown.`, closes it with WebSocket code
     * 4000 and lets the process exit. Resolves when all of that is done. Calling it again gives
     * the same outcome.
     */
    Destroy(): Promise<void>;
    /** `await using server = CAMP(...)` ends with {@link Destroy}. */
    [Symbol.asyncDispose](): Promise<void>;
}

// ---------------------------------------------------------------------------------------------
// Session
// ---------------------------------------------------------------------------------------------

/** The events of a {@link CAMPServerWebsocketSession}. */
export interface ICAMPServerWebsocketSessionEvents {
    /** The peer's ENDPOINT_INFO was accepted. Once per session, before its messages as a rule. */
    "connected": () => void;
    /** A text message (UTF8DATA) arrived. It has been acknowledged. */
    "message-utf8": (data: string) => void;
    /** A binary message (BINARYDATA) arrived. The buffer belongs to the listener. */
    "message-binary": (data: Buffer) => void;
    /** An error message (ERROR) arrived. */
    "message-error": (data: string) => void;
    /**
     * At each heartbeat: the mean round-trip time from a frame to its acknowledgement in
     * milliseconds, exponentially weighted (0.2 for the newest sample); -1 before the first sample.
     */
    "stat-rtt": (data: number) => void;
    /** At each heartbeat: bytes of CAMP frames received so far. */
    "stat-bytes-rx": (data: number) => void;
    /** At each heartbeat: bytes of CAMP frames sent so far. */
    "stat-bytes-tx": (data: number) => void;
    /** At each heartbeat: frames whose acknowledgement has timed out since the last heartbeat. */
    "stat-ack-timeout": (data: number) => void;
    /** The drop policy removed or refused an outgoing frame. Its promise rejects as well. */
    "dropped": (frame: DroppedFrame) => void;
    /** The session is over, whoever ended it. The last event of a session, exactly once. */
    "closed": () => void;
}

/** An outgoing frame that the drop policy removed or refused. */
export interface DroppedFrame {
    /** What kind of message it was. */
    type: "utf8" | "binary" | "error";
    /** Size of its payload in bytes. */
    bytes: number;
    /** The policy that was applied. */
    policy: DropPolicy;
}

/** One connected client. */
export class CAMPServerWebsocketSession extends TypedEmitter<ICAMPServerWebsocketSessionEvents> {
    private constructor();
    /** The session id the client chose, a uint64 (protocol: upgrade, `x-camp-sid`). */
    readonly id: bigint;
    /** The same as {@link id}. */
    readonly sid: bigint;
    /** Bytes of CAMP frames received so far. */
    readonly rx: number;
    /** Bytes of CAMP frames sent so far. */
    readonly tx: number;
    /** Sending messages. */
    readonly base: CAMPBase;
    /** Stores `value` under `key` for the life of this session object. */
    Set(key: string, value: any): void;
    /**
     * What `Set` stored under `key`. Two keys are there from the start: `__TYPE`, which is
     * `"client"`, and `__TOKEN`, the token the client came with. Otherwise `undefined`.
     */
    Get(key: string): any;
    /**
     * Closes gracefully: all that was sent before goes out, then BYE with `reason`, then the
     * WebSocket closes with code 4000. Resolves once the session is closed, whatever way.
     */
    Close(reason?: string): Promise<void>;
    /**
     * Closes without BYE. Resolves once the session is closed.
     * @param code WebSocket close code. Default 4000.
     * @param message reason in the close frame, cut to 123 bytes
     * @throws {RangeError} a close code that RFC 6455 does not let an endpoint send
     */
    Destroy(code?: number, message?: string): Promise<void>;
    /** `await using` a session ends with {@link Destroy}. */
    [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Sending. Messages go out in call order. Every promise settles, and one that nobody awaits never
 * becomes an `unhandledRejection`. They reject with a {@link CAMPError}: `ERR_CAMP_SESSION_CLOSED`
 * when the session ends first, `ERR_CAMP_ACK_TIMEOUT` when the peer does not acknowledge within
 * `ackTimeoutMs`, `ERR_CAMP_DROPPED` when the drop policy removed or refused the message,
 * `ERR_CAMP_PAYLOAD_TOO_LARGE` above 1 MiB. A payload of the wrong type rejects with a `TypeError`.
 */
export interface CAMPBase {
    /** Sends a `ping`. Resolves once it is written to the socket. */
    Ping(): Promise<void>;
    /** Sends text, at most 1 MiB as UTF-8. Resolves when the peer has acknowledged it. */
    SendUTF8(data: string): Promise<void>;
    /**
     * Sends bytes, at most 1 MiB. They are copied before the call returns: the caller may reuse
     * the memory at once. Resolves when the peer has acknowledged them.
     */
    SendBinary(data: NodeJS.ArrayBufferView | ArrayBuffer): Promise<void>;
    /** Sends an error message, at most 1 MiB as UTF-8. Resolves when the peer has acknowledged it. */
    SendError(message: string): Promise<void>;
}

// ---------------------------------------------------------------------------------------------
// Errors
// ---------------------------------------------------------------------------------------------

/**
 * What went wrong:
 * - `ERR_CAMP_SESSION_CLOSED`: the session was over, or ended before the acknowledgement
 * - `ERR_CAMP_ACK_TIMEOUT`: no acknowledgement within `ackTimeoutMs`
 * - `ERR_CAMP_DROPPED`: the drop policy removed or refused the message
 * - `ERR_CAMP_PAYLOAD_TOO_LARGE`: the payload is over 1 MiB (1,048,576 bytes)
 */
export type CAMPErrorCode =
    | "ERR_CAMP_SESSION_CLOSED"
    | "ERR_CAMP_ACK_TIMEOUT"
    | "ERR_CAMP_DROPPED"
    | "ERR_CAMP_PAYLOAD_TOO_LARGE";

/** The reason a send promise rejects with. */
export class CAMPError extends Error {
    constructor(code: CAMPErrorCode, message: string);
    /** What went wrong, for programs. */
    readonly code: CAMPErrorCode;
}

// ---------------------------------------------------------------------------------------------
// Extensions: the types alone, so that extension classes compile
// ---------------------------------------------------------------------------------------------

/** A value that a hook may replace. */
export type Box<T> = {
    /** The message; what is left here is what is sent or emitted. */
    value: T;
};

/**
 * An extension. A hook that answers `false` suppresses the message. Hooks may be synchronous.
 * The server has no `RegisterExtension` yet.
 */
export interface ICAMPExtension {
    /** The unique name of this extension. */
    name: string;
    /** Called when the extension is registered with a server. */
    on_register?(server: CAMPWebsocketServer): void;
    /** Called when the extension is unregistered. */
    on_unregister?(server: CAMPWebsocketServer): void;
    /** Called before a binary message is sent to the client. */
    before_send_binary?(session: CAMPServerWebsocketSession, outgoing_message: Box<Buffer>): Promise<boolean> | boolean;
    /** Called before a text message is sent to the client. */
    before_send_utf8?(session: CAMPServerWebsocketSession, outgoing_message: Box<string>): Promise<boolean> | boolean;
    /** Called before an error message is sent to the client. */
    before_send_error?(session: CAMPServerWebsocketSession, outgoing_message: Box<string>): Promise<boolean> | boolean;
    /** Called after a binary message has arrived, before `message-binary`. */
    on_receive_binary?(session: CAMPServerWebsocketSession, incoming_message: Box<Buffer>): Promise<boolean> | boolean;
    /** Called after a text message has arrived, before `message-utf8`. */
    on_receive_utf8?(session: CAMPServerWebsocketSession, incoming_message: Box<string>): Promise<boolean> | boolean;
    /** Called after an error message has arrived, before `message-error`. */
    on_receive_error?(session: CAMPServerWebsocketSession, incoming_message: Box<string>): Promise<boolean> | boolean;
}

// ---------------------------------------------------------------------------------------------

/** Node's `EventEmitter` with the events of `Events` alone. A type: nothing of that name is exported. */
declare abstract class TypedEmitter<Events extends { [K in keyof Events]: (...args: any[]) => void }> extends EventEmitter {
    override on<K extends keyof Events & string>(event: K, listener: Events[K]): this;
    override once<K extends keyof Events & string>(event: K, listener: Events[K]): this;
    override off<K extends keyof Events & string>(event: K, listener: Events[K]): this;
    override addListener<K extends keyof Events & string>(event: K, listener: Events[K]): this;
    override removeListener<K extends keyof Events & string>(event: K, listener: Events[K]): this;
    override prependListener<K extends keyof Events & string>(event: K, listener: Events[K]): this;
    override prependOnceListener<K extends keyof Events & string>(event: K, listener: Events[K]): this;
    override emit<K extends keyof Events & string>(event: K, ...args: Parameters<Events[K]>): boolean;
}

export {};
