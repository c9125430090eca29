/// <reference types="node" />
import type { EventEmitter } from "node:events";
import type { Blob } from "node:buffer";
import type { Server as HttpServer } from "node:http";
import type { Server as HttpsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import type { ReadableStream } from "node:stream/web";

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
 * @throws {TypeError} an option has a name that is a misspelling of another, or that other libraries give to one that
 * decides who may connect, such as `tls` for `ssl`; `code` is `ERR_CAMP_UNKNOWN_OPTION`. Any other unknown name is
 * ignored, and warned of with the code `CAMP_UNKNOWN_OPTION`
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
     * rejection (`validator-error` on the server) refuses it with `401 Unauthorized`, and so does an answer that takes longer than
     * `handshakeTimeoutMs`. The scheme may be written in either case; what follows it is the token.
     *
     * What is no boolean counts by its truth. The first such answer, unless it is false in a way that says so, is
     * warned of with the code `CAMP_VALIDATOR_RESULT`.
     */
    validate(token: string, request: CAMPUpgradeRequest): Promise<boolean> | boolean;
}

/** An upgrade request, as a validator sees it. Its parts are decoded when they are asked for. */
export interface CAMPUpgradeRequest {
    /** Path and query as sent. The query holds the token: do not log it. */
    readonly url: string;
    /**
     * Header fields as in Node's `IncomingMessage.headers`: names in lower case; the values of a
     * repeated field joined with `", "`, those of `cookie` with `"; "`.
     */
    readonly headers: Readonly<Record<string, string>>;
    /** The client's IP address; an IPv4 one as such, also on an IPv6 socket. */
    readonly remoteAddress: string;
    /** The session id the client chose, a uint64. */
    readonly sid: bigint;
    /**
     * Aborted when the answer is no longer wanted: the client has gone, `handshakeTimeoutMs` is over,
     * or the server is destroyed.
     */
    readonly signal: AbortSignal;
}

/** Options of {@link CAMP}. An option that is missing or `undefined` takes its default. */
export interface ICAMPWebsocketServerOptions {
    /**
     * Milliseconds between heartbeats, 1 to 2147483647. Default 15000. At each heartbeat a session emits
     * its `stat-*` events and pings its client; a client without a sign of life for a whole
     * interval since the last ping is disconnected (protocol: session life). Every byte that arrives is
     * a sign of life, also of a message that is not complete. So is every byte that the client takes of
     * what waits for it: that its system has acknowledged on Linux, that it made room for elsewhere.
     * Heartbeats do not depend on the JavaScript thread.
     */
    keepAliveIntervalMs?: number | undefined;
    /** TCP port, 0 to 65535. Default 8080. 0 picks a free port; `address()` tells which. */
    port?: number | undefined;
    /** Host name or address to bind. Default: all interfaces, IPv6 and IPv4. */
    host?: string | undefined;
    /** Only upgrade requests for this path are taken, others get a 404. Begins with `/`. Default: any path. */
    path?: string | undefined;
    /** Connections the system completes ahead of the server, 1 to 2147483647; it applies a maximum of its own. Default 511. */
    backlog?: number | undefined;
    /**
     * Whether several processes may listen on the port, the system spreading connections over them;
     * all of them must ask for it. Unix only: a `RangeError` on Windows.
     *
     * Default false, but in a worker of `node:cluster`: there the workers share the port through the primary,
     * as those of `http.Server` do, and get the same one for port 0. `false` in a worker: the port is its own.
     * On Windows it is in any case.
     */
    reusePort?: boolean | undefined;
    /**
     * Most sessions at a time, those counted whose token is being validated; at least 1, `Infinity` for
     * no bound. Default `Infinity`. A client beyond it gets a 503.
     */
    maxConnections?: number | undefined;
    /**
     * Origins that web pages may connect from, such as `"https://example.com"`: scheme, host and port
     * unless it is the scheme's own, in upper or lower case. Others get a 403. Clients that name no
     * origin, all but browsers, are let through. Default: all origins.
     */
    allowedOrigins?: readonly string[] | undefined;
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
     * for no bound; each message counts 4 KiB beside its own. Default 4 MiB. At the limit the session's socket is not read until listeners
     * have caught up; nothing is lost.
     */
    maxInboundBytes?: number | undefined;
    /**
     * Frames of one session that may be written and not yet acknowledged by its client, at least 1; `Infinity` for
     * no bound. Default 8192. At the limit what is sent waits in the session's queue, under the caps and the drop policy of
     * `backpressure`, until the client acknowledges or `ackTimeoutMs` is over.
     */
    maxUnacknowledged?: number | undefined;
    /**
     * Transactions of one peer that may be under way at once, at least 0; `Infinity` for no bound.
     * Default 64. One more is answered with an ERROR frame (protocol: TX_START).
     */
    maxTransactions?: number | undefined;
    /**
     * Bytes of a session's incoming transactions, all together, that may wait in temporary files, at least 1;
     * `Infinity` for no bound. Default 1 GiB. Up to 1 MiB of each unread transaction lies in memory, what is more in
     * a temporary file, unless its reader goes on reading: then the client is slowed down instead. Of transactions
     * that nobody has asked for a session keeps at most 64 MiB, in memory and in files. Beyond a bound the newest
     * transaction is cancelled, first among those that have not come whole; its stream ends with
     * `ERR_CAMP_STREAM_OVERFLOW`. Nor does a session have more than 128 such files at once, a server more than 2048 or a quarter of
     * the descriptors that the process may have.
     *
     * It also bounds what is collected of each source that is offered for pulling through a temporary file.
     */
    maxSpoolBytes?: number | undefined;
    /**
     * Bytes that may lie in temporary files for all sessions of this server together, at least 1; `Infinity` for no
     * bound. Default 4 GiB. Beyond it the newest incoming transaction of the server is cancelled, as with
     * `maxSpoolBytes`; a source that is being collected beyond it is refused with `ERR_CAMP_STREAM_OVERFLOW`. The
     * files are in the system's temporary directory (`TMPDIR`), which on some systems is memory.
     */
    maxSpoolTotalBytes?: number | undefined;
    /**
     * Microseconds for which the I/O thread and the JavaScript thread go on looking for work after
     * the last before they sleep, 0 to 10000. Default 0: they sleep at once. Waking a thread takes
     * tens of microseconds, which this saves where few messages are in flight and latency counts. It costs
     * up to one core for each of the two threads while messages come closer together than
     * that, and nothing when they do not: 200 suits a client that answers at once.
     */
    busyPollUs?: number | undefined;
}

/** A text in PEM, as string or bytes. */
type Pem = string | NodeJS.ArrayBufferView;

/**
 * Key and certificate of a TLS server, and what it asks of its clients. What is wrong with them is a
 * `RangeError`, or a `TypeError` for a value of the wrong type, that names the option. It never quotes any of
 * it, and carries a `code`:
 * - `ERR_CAMP_TLS_KEY`, `ERR_CAMP_TLS_CERT`, `ERR_CAMP_TLS_CA`: it is not PEM, damaged, or something else; the
 *   message says what it seems to be and what to do
 * - `ERR_CAMP_TLS_PASSPHRASE`: the key is encrypted, and the passphrase is missing or wrong
 * - `ERR_CAMP_TLS_MISMATCH`: key and certificate do not belong together
 * - `ERR_CAMP_TLS_UNSUPPORTED`: a type of key, or an option of Node's `tls`, that is not supported
 *
 * A certificate that has expired, or is not valid yet, is served; `process` emits a warning with the code
 * `CAMP_TLS_CERT_DATE`.
 */
export interface SSLOptions {
    /**
     * The private key; several for certificates of several types. RSA with 2048 to 4096 bits, ECDSA on P-256
     * or P-384, or Ed25519; encrypted ones need their passphrase.
     */
    key: Pem | readonly (Pem | { pem: Pem; passphrase?: string | undefined })[];
    /**
     * The certificate, followed by its issuers' when there are any; several, one for each key, in any order. A
     * client is shown the first whose type it knows.
     */
    cert: Pem | readonly Pem[];
    /** The passphrase of encrypted keys that have none of their own. */
    passphrase?: string | undefined;
    /**
     * Certificates of authorities: those of whom clients must have a certificate from (`requestCert`). A `cert`
     * that comes without its issuers is shown with those found here. Default: Node's root certificates.
     */
    ca?: Pem | readonly Pem[] | undefined;
    /** Whether only clients with a certificate that `ca` vouches for are let in. Default false. */
    requestCert?: boolean | undefined;
    /** As in Node, but with `requestCert` it can only be true. Default true. */
    rejectUnauthorized?: boolean | undefined;
    /** The oldest version spoken. Default `"TLSv1.2"`. */
    minVersion?: "TLSv1.2" | "TLSv1.3" | undefined;
    /** The newest version spoken. Default `"TLSv1.3"`. */
    maxVersion?: "TLSv1.2" | "TLSv1.3" | undefined;
    /**
     * Protocols to agree on (ALPN), the preferred one first: names of 1 to 255 bytes, or all of them in
     * one buffer, each behind its length. Default: none, clients may ask for any.
     */
    ALPNProtocols?: readonly (string | NodeJS.ArrayBufferView)[] | NodeJS.ArrayBufferView | undefined;
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
    /** Bytes below which sending resumes, at most `highWaterMark`. Default 1 MiB, or `highWaterMark` where that is less. */
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
     *
     * Also a call that has failed by a mistake of the program's, of which nobody has asked for the outcome (with `await`,
     * `then`, `catch`) by the turn of the event loop after it has failed. `event` is its name: `"SendUTF8"`, `"SendBinary"`, `"SendError"`, `"Stream"`,
     * `"WaitForStream"`, `"StreamRequestRange"` or `"ConnectPeer"`. Mistakes are arguments that are refused, payloads that are
     * too large, and sources of `Stream` that fail. What fails because a peer has left, is slow or has cancelled, or
     * because the program's own signal said so, is not reported.
     */
    "listener-error": (error: unknown, event: string, session: CAMPServerWebsocketSession | undefined) => void;
    /**
     * A hook of an extension threw, rejected or left a value of the wrong type in its box; the message
     * goes on as if it had given `true`. `hook` is its name, such as `"before_send_utf8"`.
     */
    "extension-error": (error: unknown, extension: ICAMPExtension, hook: string) => void;
    /**
     * `validate` threw, or its promise was rejected. The client was refused as with a wrong token, and is told no more.
     * Without a listener for this event the kind of the error is printed, and where it happened; not its message, which may
     * quote the token. A rejection with an `AbortError` once the client has given up is none.
     */
    "validator-error": (error: unknown, request: CAMPUpgradeRequest) => void;
}

/**
 * A running server, made by {@link CAMP}. `console.log` and `JSON.stringify` show its state, address, number of
 * sessions and extensions.
 */
export class CAMPWebsocketServer extends TypedEmitter<CAMPWebsocketServerEvents> {
    private constructor();
    /**
     * The HTTP server of the same port, for other libraries: `http.Server`, with `ssl` `https.Server`.
     * - A request that is no upgrade reaches its `request` listeners; without one the answer is `426`.
     * - An upgrade without CAMP credentials (no token, or nothing of CAMP's in the query) reaches its
     *   `upgrade` listeners; without one the answer is `401`.
     * - An upgrade with CAMP credentials is CAMP's, also on a connection that has carried requests before: the answers
     *   still owed are written first, then the request's socket closes without an error.
     * - It listens with this server and emits `listening`, `error` and `close` too. `listen()` only
     *   waits for that. `close()` refuses new connections and lets live sessions be; `close` is
     *   emitted when the last connection has ended. {@link Destroy} ends idle connections at once,
     *   requests under way after two seconds.
     * - `unref()` lets the process end although it listens, once no connection is left; `ref()` takes that
     *   back. `maxConnections` counts sessions too; a connection beyond it is hung up on and told as `drop`.
     *
     * TLS is terminated natively: sockets have `encrypted`, no certificates of clients. `setSecureContext()`
     * is {@link SetSecureContext}.
     */
    get http_server(): HttpServer | HttpsServer;
    /** The address the server listens on; `null` before `listening` and once it is destroyed. */
    address(): AddressInfo | null;
    /** The live sessions in the order in which they began: iterable any number of times, with their number as `size`. */
    readonly sessions: SessionList;
    /** Figures of all sessions together, those that have ended included in what is counted. */
    stats(): ServerStats;
    /** {@link stats} in the text format of Prometheus; every name begins with `camp_`. */
    metrics(): string;
    /**
     * Replaces key and certificate: TLS handshakes from now on use them, no session is dropped. Other
     * fields that are not given stay in force, `requestCert` and `ca` among them.
     * @throws {RangeError | TypeError} as {@link SSLOptions} says; the old ones stay in force
     * @throws {Error} the server was started without `ssl`
     */
    SetSecureContext(ssl: SSLOptions): void;
    /**
     * Opens a session to another CAMP server, this package's or another. Both ends are full sessions: the
     * one given has the hooks, heartbeat, back-pressure and figures of this server's other sessions.
     * `Get("__TYPE")` is `"peer"`, `Get("__TOKEN")` the token. No `session` event is emitted for it.
     *
     * The promise resolves when the other server has let us in and has sent its first frame of CAMP, or nothing
     * at all for 250 ms. Nothing of the session has been emitted by then: listeners added right after the
     * `await` miss nothing, not even `connected`.
     *
     * The session is closed with this server. {@link ICAMPWebsocketServerOptions.maxConnections} does not count it.
     *
     * Rejects, and leaves nothing behind, with
     * - `TypeError`, `RangeError`: an argument is wrong; the message names it
     * - `ERR_CAMP_CONNECT_FAILED`: the name is not known or nobody answers; `cause.code` is the system's, such as
     *   `ECONNREFUSED`, `ENOTFOUND`
     * - `ERR_CAMP_TLS_FAILED`: the certificate is not trusted, or the server does not speak TLS; `cause.code`
     *   tells, such as `UNABLE_TO_VERIFY_LEAF_SIGNATURE`, `ERR_TLS_CERT_ALTNAME_INVALID`, `EPROTO`
     * - `ERR_CAMP_REFUSED`: an HTTP answer other than the upgrade; `status` is its code, such as 401
     * - `ERR_CAMP_HANDSHAKE_FAILED`: not a WebSocket server, or not one of CAMP; or the connection broke meanwhile
     * - `ERR_CAMP_TIMEOUT`: `timeoutMs` is over
     * - `ERR_CAMP_SERVER_CLOSED`: this server was destroyed or drained, its `http_server` closed, or it could
     *   not listen
     * - `AbortError` (`code` `ABORT_ERR`): `signal` was aborted; the `cause` is its reason
     *
     * @param host `ws://host:port` or `wss://host:port`, with a path and a query if need be
     * @param bearer the token the other server is to validate
     */
    ConnectPeer(host: string | URL, bearer: string, options?: ConnectPeerOptions): Promise<CAMPServerWebsocketSession>;
    /**
     * Ends the server without hurry, for a rolling deploy: it lets go of the port at once, closes each
     * session gracefully once what was sent to it has been acknowledged and its transactions are over,
     * and is destroyed when all are gone or `timeoutMs` is over, whichever comes first. Resolves when
     * that is done.
     * @param timeoutMs milliseconds, 0 to 2147483647. Default 10000.
     * A bad `timeoutMs` rejects with a `TypeError` or `RangeError`.
     */
    Drain(timeoutMs?: number): Promise<void>;
    /**
     * Adds an extension behind those already registered; its `on_register` is called. From then on its
     * hooks see every message of every session.
     * @throws {Error} `Extension 'NAME' is already registered!`
     * @throws {TypeError} something that is no {@link ICAMPExtension}; or, with the `code` `ERR_CAMP_UNKNOWN_OPTION`, a
     * function whose name is a misspelling of a hook's that the extension does not have
     * Also throws what `on_register` throws; the extension is not registered then.
     */
    RegisterExtension(extension: ICAMPExtension): void;
    /**
     * Removes an extension, given itself or by name; its `on_unregister` is called. Messages under way
     * keep it. Nothing happens when it is not registered.
     */
    UnregisterExtension(extension: ICAMPExtension | string): void;
    /** The extension registered under this name, or `null`. */
    GetExtension(name: string): ICAMPExtension | null;
    /**
     * Stops accepting, sends every session BYE `Server shutdown.`, closes it with WebSocket code
     * 4000, unregisters its extensions and lets the process exit. Resolves when all of that is done.
     * Calling it again gives the same outcome.
     */
    Destroy(): Promise<void>;
    /** `await using server = CAMP(...)` ends with {@link Destroy}. */
    [Symbol.asyncDispose](): Promise<void>;
}

/** Options of {@link CAMPWebsocketServer.ConnectPeer}. The first three are for `wss:`. */
export interface ConnectPeerOptions {
    /**
     * Whom to trust instead of the system's root certificates: one or more certificates in PEM. They vouch for
     * those they have signed, and for themselves.
     */
    ca?: Pem | readonly Pem[] | undefined;
    /** The name or address that the server's certificate must have. Default: that of the URL. */
    servername?: string | undefined;
    /** `false` takes any certificate: for tests. Default true. */
    rejectUnauthorized?: boolean | undefined;
    /**
     * Milliseconds until the promise resolves at the latest, 1 to 2147483647. Default: the server's
     * `handshakeTimeoutMs`.
     */
    timeoutMs?: number | undefined;
    /** Gives up when it is aborted. It has no effect on the session once there is one. */
    signal?: AbortSignal | undefined;
}

/**
 * What the channels of `node:diagnostics_channel` tell, by name. They are the same for all servers of
 * the process; without a subscriber they cost nothing.
 */
export interface CAMPDiagnosticsChannels {
    /** A session begins. */
    "camp-server:session": { server: CAMPWebsocketServer; session: CAMPServerWebsocketSession };
    /** A session is over, with the WebSocket close code (1006: the connection broke) and reason. */
    "camp-server:closed": { server: CAMPWebsocketServer; session: CAMPServerWebsocketSession; code: number; reason: string };
    /**
     * A request was refused with this HTTP status and for this reason, which is also on the page that the client was sent.
     * But for `The validator has failed.`: there the client is told that its token is not accepted.
     */
    "camp-server:refused": { server: CAMPWebsocketServer; status: number; reason: string; remoteAddress: string };
    /** The drop policy removed or refused a message. */
    "camp-server:dropped": DroppedFrame & { server: CAMPWebsocketServer; session: CAMPServerWebsocketSession };
}

/** Figures of one session or of several: counts from the begin, and how things stand. */
export interface CommonStats {
    /** Bytes of CAMP frames received so far. */
    bytesReceived: number;
    /** Bytes of CAMP frames sent so far. */
    bytesSent: number;
    /** CAMP frames received so far. */
    framesReceived: number;
    /** CAMP frames sent so far. */
    framesSent: number;
    /** Text, binary and error messages received so far. */
    messagesReceived: number;
    /** Messages that the drop policy removed or refused so far. */
    messagesDropped: number;
    /** Messages that were not acknowledged in time so far. */
    ackTimeouts: number;
    /** Bytes handed to the socket and not yet written, now. */
    bytesInFlight: number;
    /** Bytes waiting behind the high watermark, now. */
    bytesQueued: number;
    /** Frames waiting behind the high watermark, now. */
    framesQueued: number;
    /** Bytes that temporary files of streams take up, now; a server counts sessions that are over and still read, too. */
    bytesSpooled: number;
}

/** What {@link CAMPServerWebsocketSession.stats} gives. */
export interface SessionStats extends CommonStats {
    /** Mean round-trip time in milliseconds, exponentially weighted; -1 before the first sample. */
    rttMs: number;
}

/** What {@link CAMPWebsocketServer.stats} gives. */
export interface ServerStats extends CommonStats {
    /** Live sessions, now. */
    sessions: number;
    /** Those of them that `ConnectPeer` has opened. */
    peers: number;
    /** Sessions opened so far, by clients and by `ConnectPeer`. */
    sessionsOpened: number;
    /** Requests of clients refused so far. */
    refused: number;
}

/** The live sessions of a server. */
export interface SessionList extends Iterable<CAMPServerWebsocketSession> {
    /** How many there are. */
    readonly size: number;
}

// ---------------------------------------------------------------------------------------------
// Session
// ---------------------------------------------------------------------------------------------

/**
 * The events of a {@link CAMPServerWebsocketSession}. Listeners run in the session's own async context, which begins
 * as that of the call of `CAMP()` or `ConnectPeer`. What one of them enters with `enterWith` of an
 * `AsyncLocalStorage` holds for the later events and hooks of that session, and nowhere else.
 */
export interface ICAMPServerWebsocketSessionEvents {
    /** The peer's ENDPOINT_INFO was accepted. Once per session, before its messages as a rule. */
    "connected": () => void;
    /** A text message (UTF8DATA) arrived. It has been acknowledged. */
    "message-utf8": (data: string) => void;
    /**
     * A binary message (BINARYDATA) arrived. The buffer belongs to the listener, and its memory holds nothing else:
     * it may be kept, changed, or, below 32 KiB, transferred to another thread. Longer ones can only be cloned.
     */
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

/**
 * A session: with a client, or with another server. `console.log` and `JSON.stringify` (with bigints as strings) show its
 * id, kind, remote address, state and bytes; never the token, nor what `Set` has stored.
 */
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
    /** Byte streams to and from the peer. */
    readonly transaction: CAMPTransaction;
    /** The older name of {@link transaction}: the same object. */
    readonly stream: CAMPTransaction;
    /** Figures of this session; once it is closed, the last ones. */
    stats(): SessionStats;
    /** Stores `value` under `key` for the life of this session object. */
    Set(key: string, value: any): void;
    /**
     * What `Set` stored under `key`. Two keys are there from the start: `__TYPE`, `"client"` or, when
     * `ConnectPeer` opened the session, `"peer"`, and `__TOKEN`, the token it was opened with. Otherwise
     * `undefined`.
     */
    Get(key: string): any;
    /**
     * Closes gracefully: all that was sent before goes out, then BYE with `reason`, cut to 1 MiB, then the
     * WebSocket closes with code 4000 and the reason's first 123 bytes. Resolves once the session is closed, whatever
     * way.
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
 * becomes an `unhandledRejection`; where the send itself was a mistake it is a `listener-error` of the server then. They reject with a {@link CAMPError}: `ERR_CAMP_SESSION_CLOSED`
 * when the session ends first, `ERR_CAMP_ACK_TIMEOUT` when the peer does not acknowledge within
 * `ackTimeoutMs`, `ERR_CAMP_DROPPED` when the drop policy removed or refused the message,
 * `ERR_CAMP_PAYLOAD_TOO_LARGE` above 1 MiB. A payload of the wrong type rejects with a `TypeError` whose `code`
 * is `ERR_INVALID_ARG_TYPE`, an unknown option with one whose `code` is `ERR_CAMP_UNKNOWN_OPTION`.
 *
 * A message from the peer has the same limit, and at most 65,536 WebSocket fragments: beyond either the
 * session is closed with code 1009.
 */
export interface CAMPBase {
    /** Sends a `ping`. Resolves once it is written to the socket. */
    Ping(): Promise<void>;
    /** Sends text, at most 1 MiB as UTF-8. Resolves when the peer has acknowledged it. */
    SendUTF8(data: string, options?: SendOptions): Promise<void>;
    /**
     * Sends bytes, at most 1 MiB. They are copied before the call returns: the caller may reuse
     * the memory at once. Resolves when the peer has acknowledged them. Memory that was transferred elsewhere
     * rejects with a `TypeError` whose `code` is `ERR_INVALID_STATE`.
     */
    SendBinary(data: NodeJS.ArrayBufferView | ArrayBuffer, options?: SendOptions): Promise<void>;
    /** Sends an error message, at most 1 MiB as UTF-8. Resolves when the peer has acknowledged it. */
    SendError(message: string, options?: SendOptions): Promise<void>;
}

/**
 * Bounds on the wait for an acknowledgement. A message that still waits for the hooks of an extension
 * is not sent any more; one that is on its way cannot be called back.
 */
export interface SendOptions {
    /** Aborts the wait: the promise rejects with an `AbortError` whose `cause` is the signal's reason. */
    signal?: AbortSignal | undefined;
    /**
     * Milliseconds from the call until the promise rejects with `ERR_CAMP_ACK_TIMEOUT`, 1 to 2147483647.
     * Default: `ackTimeoutMs` of the server, counted from when the message was written, applies alone.
     */
    timeoutMs?: number | undefined;
}

// ---------------------------------------------------------------------------------------------
// Transactions
// ---------------------------------------------------------------------------------------------

/** Who decides when the bytes of a transaction flow (protocol: TX_START, behaviour). */
export const CAMP_FLOW_BEHAVIOUR: {
    /** The sender: chunks follow at its pace. */
    readonly TX_PUSH: 0;
    /** The receiver: it asks for byte ranges. */
    readonly TX_PULL: 1;
};
export type CAMP_FLOW_BEHAVIOUR = 0 | 1;
export namespace CAMP_FLOW_BEHAVIOUR {
    type TX_PUSH = 0;
    type TX_PULL = 1;
}

/** The events of {@link CAMPTransaction}. They cost nothing without listeners. */
export interface CAMPTransactionEvents {
    /** The peer has begun a transaction; a name that it left empty is `anonymous`. */
    "tx-start": (txId: number, name: string) => void;
    /**
     * Bytes of an incoming transaction arrived, in their order. They are a copy of those that the
     * stream's reader gets. What is not read stops coming at 1 MiB: these events watch a stream, they do not
     * replace its reader.
     */
    "tx-chunk": (txId: number, chunk: Buffer) => void;
    /** An incoming transaction is finished, and what it announced has arrived. */
    "tx-finish": (txId: number) => void;
    /** The peer asked for bytes `start` to `end`, exclusive, of an outgoing pull transaction. */
    "tx-fetch": (txId: number, start: bigint, end: bigint) => void;
}

/**
 * Byte streams to and from the peer (protocol: transactions). Every promise settles, and one that
 * nobody awaits never becomes an `unhandledRejection`; arguments that are refused and sources that fail are then reported
 * as `listener-error` of the server. So is a listener that throws.
 */
export interface CAMPTransaction extends TypedEmitter<CAMPTransactionEvents> {
    /**
     * Streams a source to the peer, no faster than the socket takes it: what is read ahead stays
     * below 4 MiB. Resolves when the transaction is over: the peer has acknowledged TX_FINISH.
     *
     * The size is announced for bytes, a Blob and a file with a size; other sources push an unknown size. For
     * pulling, bytes and Blobs up to 4 MiB are kept in memory, a file with a size is read where it lies,
     * and everything else is first written to a temporary file, within `maxSpoolBytes` and `maxSpoolTotalBytes`.
     *
     * Rejects with what the source failed with (for `{ path }` an `Error` whose `code` is for
     * instance `ENOENT`); with an `AbortError` where the signal said so; with a `TypeError` or `RangeError` for bad
     * arguments, and with a `TypeError` for a chunk that is neither bytes nor a string; with a
     * {@link CAMPError}: `ERR_CAMP_CANCELLED` when the peer cancels, `ERR_CAMP_STREAM_OVERFLOW`, `ERR_CAMP_SESSION_CLOSED`, `ERR_CAMP_TIMEOUT`,
     * `ERR_CAMP_ACK_TIMEOUT`, `ERR_CAMP_UNSUPPORTED`. Whatever ends it early, the source is
     * released: a stream is destroyed, an iterator is returned, a reader is cancelled. What a Duplex has still to
     * write is its owner's: one that was read to its end is left as it is, and one that was not is not destroyed
     * either, unless it is a Transform; what it still gives is discarded.
     */
    Stream(source: StreamSource, options?: StreamOptions): Promise<void>;
    /**
     * The next stream of that name from the peer. Streams come in order of arrival; several
     * who wait for one name are served in the order they asked. A stream that nobody has asked
     * for is kept for 10 seconds, then cancelled; so are streams beyond 1024 kept at once in a
     * session, or arriving while 16 MiB of kept ones lie in memory, and the newest while they have more than 64 MiB
     * in memory and in files. Who asks for one that was cancelled because of that, or because it could not be
     * stored, gets it all the same: it ends with `ERR_CAMP_STREAM_OVERFLOW` or `ERR_CAMP_SPOOL_FAILED`.
     *
     * Rejects with a {@link CAMPError}: `ERR_CAMP_TIMEOUT` (`Timeout elapsed!`),
     * `ERR_CAMP_SESSION_CLOSED`; with an `AbortError` where the signal said so; with a `TypeError` or `RangeError`
     * for bad arguments. With `ERR_CAMP_TIMEOUT` the error has `streamName` and `timeoutMs`.
     *
     * @param name at most 1024 bytes. Default, also for `""`: `anonymous`.
     * @param timeout milliseconds to wait, 0 to 2147483647, or `Infinity`. Default 2500.
     */
    WaitForStream(name?: string, timeout?: number | WaitOptions): Promise<CAMPReadable>;
    /**
     * Asks for the bytes `start` to `end`, exclusive, of an incoming pull transaction (protocol:
     * TX_FETCH). An `end` past the size is cut to it. Ranges may come in any order and overlap;
     * their bytes are read from the stream in the order asked. Resolves when the peer has
     * acknowledged the request, which is before or after the bytes arrive.
     *
     * Rejects with a `TypeError` (not a `CAMPReadable`, a push transaction, positions that are not
     * numbers), a `RangeError` (an empty range, or outside of the size) or a {@link CAMPError}:
     * `ERR_CAMP_CANCELLED` when the transaction is over, `ERR_CAMP_SESSION_CLOSED`,
     * `ERR_CAMP_ACK_TIMEOUT`.
     */
    StreamRequestRange(readable: CAMPReadable, start: bigint | number, end: bigint | number): Promise<void>;
    /**
     * Gives up an incoming stream: the peer is told to stop (protocol: TX_CANCEL), and the stream is
     * destroyed. The same as its `destroy()`. TX_CANCEL does not say whose transaction it means: while a
     * stream to the peer has the same number, the peer is told once that one is finished.
     * @throws {TypeError} not a `CAMPReadable`
     */
    Cancel(readable: CAMPReadable): void;
}

/** What a stream consists of; a string is sent as UTF-8. */
export type StreamChunk = string | NodeJS.ArrayBufferView | ArrayBuffer | SharedArrayBuffer;

/**
 * What can be streamed. Bytes are copied while they are sent: they must not change before the
 * promise settles.
 */
export type StreamSource =
    | Readable
    | ReadableStream<any>
    | AsyncIterable<StreamChunk>
    | (Iterable<StreamChunk> & object)
    | NodeJS.ArrayBufferView
    | ArrayBuffer
    | SharedArrayBuffer
    | Blob
    | StreamFile;

/**
 * A file, or a part of one: whatever `fs.createReadStream` reads. It is read natively, not through JavaScript. Its
 * size is announced, and a file over 64 KiB that is shortened while it is sent ends the stream with
 * `ERR_CAMP_SOURCE_TRUNCATED`; one that grows is sent at its first size. A FIFO, a terminal, a device or a file that
 * the system makes up as it is read (in `/proc`, say) may have no size: it is sent to its end, or without end until
 * somebody cancels. A FIFO that nobody writes into is waited for, and holds no thread meanwhile.
 *
 * Errors have the system's code, such as `ENOENT`, `EISDIR`, `EACCES`, `ENXIO` (a socket), `ENAMETOOLONG`, and a message of
 * about 1,000 bytes at most: a longer path is cut. What
 * `fs.createReadStream` refuses at once is refused with the same code: `ERR_INVALID_ARG_TYPE`,
 * `ERR_INVALID_ARG_VALUE` (a null byte in the path), `ERR_OUT_OF_RANGE`.
 */
export interface StreamFile {
    /** Where it is: a path, its bytes, or a `file:` URL. Not empty. */
    path: string | Uint8Array | URL;
    /** Its first byte to be sent, at least 0. Default 0. Behind the file's end there is nothing, which is no error. */
    start?: number | bigint | undefined;
    /** Its last byte to be sent, *inclusive*, not before `start`. Default: to the end of the file, as for `Infinity`. */
    end?: number | bigint | null | undefined;
}

/** Options of {@link CAMPTransaction.Stream}. */
export interface StreamOptions {
    /** What the peer waits for, at most 1024 bytes. Default, also for `""`: `anonymous`. */
    streamName?: string | undefined;
    /**
     * Who decides when bytes flow. Default push. A pull is over once all of it was asked for and sent, or when its
     * last byte went out 5 seconds ago and nothing was asked for since, as in a download that is resumed.
     */
    behaviour?: CAMP_FLOW_BEHAVIOUR | "push" | "pull" | undefined;
    /** Cancels the transaction; the promise rejects with an `AbortError` whose `cause` is the signal's reason. */
    signal?: AbortSignal | undefined;
    /**
     * Milliseconds after which the transaction is cancelled if it is not over, 1 to 2147483647; the promise
     * rejects with `ERR_CAMP_TIMEOUT`. Default: no bound.
     */
    timeoutMs?: number | undefined;
}

/** Options of {@link CAMPTransaction.WaitForStream}. */
export interface WaitOptions {
    /** Milliseconds to wait, 0 to 2147483647, or `Infinity`. Default 2500. */
    timeoutMs?: number | undefined;
    /** Gives up waiting; the promise rejects with an `AbortError` whose `cause` is the signal's reason. */
    signal?: AbortSignal | undefined;
}

/**
 * An incoming transaction. Up to 64 KiB (`readableHighWaterMark`) are read ahead of the reader, up to 1 MiB
 * lie in memory, and up to `maxSpoolBytes` wait in a file.
 *
 * It ends with a {@link CAMPError} when something is missing: `ERR_CAMP_CANCELLED` (the peer
 * cancelled), `ERR_CAMP_SESSION_CLOSED`, `ERR_CAMP_SIZE_MISMATCH` (more or fewer bytes than announced),
 * `ERR_CAMP_STREAM_OVERFLOW`, `ERR_CAMP_SPOOL_FAILED`. While nobody has begun to read or listens
 * for `error`, the error waits for whoever does first. `destroy()` before the end cancels the
 * transaction.
 */
export class CAMPReadable extends Readable {
    private constructor();
    /** The number the peer gave the transaction, a uint32. */
    readonly txId: number;
    /** Its size in bytes as announced; `null` when the peer does not know it. */
    readonly byteLength: bigint | null;
    /** Who decides when bytes flow. */
    readonly behaviour: CAMP_FLOW_BEHAVIOUR;
    /** Bytes that have arrived so far, read or not; of a range asked for twice, both times. */
    getReceivedBytes(): bigint;
    /** Bytes that are still to arrive, at least 0; `null` when the size is unknown. */
    getRemainingBytes(): bigint | null;
    /**
     * Whether all bytes have arrived, read or not. With ranges asked for out of order it becomes
     * true when the peer has finished; so it does when the size is unknown.
     */
    isComplete(): boolean;
    /** The part that has arrived, 0 to 1; `null` when the size is unknown. */
    getProgress(): number | null;
    /** Whether this side asks for ranges. */
    isPull(): boolean;
    /** Whether the peer sends at its pace. */
    isPush(): boolean;
    /**
     * From now on asks for consecutive ranges as the reader consumes them, after those already
     * asked for, until everything was. The stream then ends as any other. A request that
     * the peer does not acknowledge ends it with `ERR_CAMP_ACK_TIMEOUT`.
     * @param windowBytes most bytes asked for and not yet read, a whole number of at least 1. Default 1 MiB.
     * @throws {TypeError} a push transaction, or `windowBytes` is no number
     * @throws {RangeError} `windowBytes` is out of range
     */
    autoPull(windowBytes?: number): this;
}

// ---------------------------------------------------------------------------------------------
// Errors
// ---------------------------------------------------------------------------------------------

/**
 * What went wrong:
 * - `ERR_CAMP_SESSION_CLOSED`: the session was over, or ended first
 * - `ERR_CAMP_ACK_TIMEOUT`: no acknowledgement within `ackTimeoutMs`
 * - `ERR_CAMP_DROPPED`: the drop policy removed or refused the message
 * - `ERR_CAMP_PAYLOAD_TOO_LARGE`: the payload is over 1 MiB (1,048,576 bytes)
 * - `ERR_CAMP_TIMEOUT`: no stream of that name came in time, or a transaction was not over in its time
 * - `ERR_CAMP_CANCELLED`: the transaction was cancelled by the peer, or is over
 * - `ERR_CAMP_SIZE_MISMATCH`: the size that a transaction announced is not what its source gave, or what arrived
 * - `ERR_CAMP_SOURCE_TRUNCATED`: a file was shortened while it was sent
 * - `ERR_CAMP_STREAM_OVERFLOW`: more of streams waits than `maxSpoolBytes`, `maxSpoolTotalBytes` or the 64 MiB for
 *   those that nobody has asked for
 * - `ERR_CAMP_SPOOL_FAILED`: what had arrived of a stream could not be kept on disk
 * - `ERR_CAMP_UNSUPPORTED`: the peer does not take part in transactions (protocol: feature bit 0)
 */
export type CAMPErrorCode =
    | "ERR_CAMP_SESSION_CLOSED"
    | "ERR_CAMP_ACK_TIMEOUT"
    | "ERR_CAMP_DROPPED"
    | "ERR_CAMP_PAYLOAD_TOO_LARGE"
    | "ERR_CAMP_TIMEOUT"
    | "ERR_CAMP_CANCELLED"
    | "ERR_CAMP_SIZE_MISMATCH"
    | "ERR_CAMP_SOURCE_TRUNCATED"
    | "ERR_CAMP_STREAM_OVERFLOW"
    | "ERR_CAMP_SPOOL_FAILED"
    | "ERR_CAMP_UNSUPPORTED"
    | "ERR_CAMP_CONNECT_FAILED"
    | "ERR_CAMP_TLS_FAILED"
    | "ERR_CAMP_REFUSED"
    | "ERR_CAMP_HANDSHAKE_FAILED"
    | "ERR_CAMP_SERVER_CLOSED";

/** The reason a promise rejects with, or a stream ends with. */
export class CAMPError extends Error {
    constructor(code: CAMPErrorCode, message: string, options?: { cause?: unknown; status?: number; streamName?: string; timeoutMs?: number });
    /** What went wrong, for programs. */
    readonly code: CAMPErrorCode;
    /** With `ERR_CAMP_REFUSED` the status code of the HTTP answer. */
    readonly status?: number;
    /** With `ERR_CAMP_TIMEOUT` of `WaitForStream` and `Stream`: the name of the stream. */
    readonly streamName?: string;
    /** With `ERR_CAMP_TIMEOUT` of `WaitForStream` and `Stream`: the milliseconds that are over. */
    readonly timeoutMs?: number;
}

// ---------------------------------------------------------------------------------------------
// Extensions
// ---------------------------------------------------------------------------------------------

/** A message in the hands of a hook. */
export type Box<T> = {
    /** The message; what is left here is what the next hook sees, and in the end is sent or emitted. */
    value: T;
};

/**
 * An extension: hooks around every message of every session of a server, see
 * {@link CAMPWebsocketServer.RegisterExtension}. All hooks are optional.
 *
 * - Hooks of one message run one after the other, in the order in which the extensions were registered.
 *   A message meets the extensions that were registered when it was sent, or when it arrived.
 * - A hook is synchronous or returns a promise. What it gives counts by its truth: `false` (or
 *   `undefined`, `0` ...) suppresses the message. The first `undefined` of each hook of an extension is warned of
 *   with the code `CAMP_HOOK_RESULT`. No further hook sees it, it is neither sent nor
 *   emitted; the promise of a suppressed send resolves, a suppressed message is acknowledged.
 * - A hook that throws or rejects is reported (`extension-error` on the server) and counts as one that
 *   gave `true`. So does one that leaves something else than a string, or a Buffer, in the box: then
 *   the value before it counts.
 * - Messages of a session keep their order, however long hooks take; those behind wait, other sessions
 *   do not. Closing a session waits at most 5 seconds for the hooks of what was sent before. A hook
 *   must not wait for a later send of the same session within a `before_send_*`: that one waits for it.
 */
export interface ICAMPExtension {
    /** The unique name of this extension. */
    name: string;
    /** Called when the extension is registered with a server. */
    on_register?(server: CAMPWebsocketServer): void;
    /** Called when the extension is unregistered, at the latest when the server has been destroyed. */
    on_unregister?(server: CAMPWebsocketServer): void;
    /** Called before a binary message is sent to the client. The buffer is a copy of what was sent. */
    before_send_binary?(session: CAMPServerWebsocketSession, outgoing_message: Box<Buffer>): Promise<boolean> | boolean;
    /** Called before a text message is sent to the client. */
    before_send_utf8?(session: CAMPServerWebsocketSession, outgoing_message: Box<string>): Promise<boolean> | boolean;
    /** Called before an error message is sent to the client. */
    before_send_error?(session: CAMPServerWebsocketSession, outgoing_message: Box<string>): Promise<boolean> | boolean;
    /** Called after a binary message has arrived, before it is acknowledged and `message-binary` is emitted. */
    on_receive_binary?(session: CAMPServerWebsocketSession, incoming_message: Box<Buffer>): Promise<boolean> | boolean;
    /** Called after a text message has arrived, before it is acknowledged and `message-utf8` is emitted. */
    on_receive_utf8?(session: CAMPServerWebsocketSession, incoming_message: Box<string>): Promise<boolean> | boolean;
    /** Called after an error message has arrived, before it is acknowledged and `message-error` is emitted. */
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
