// The interfaces printed in camp-server 1.0.9's readme: what was written against them still compiles.
import {
    BackpressureOpts, Box as PackageBox, CAMP, CAMPServerWebsocketSession, CAMPWebsocketServer, DropPolicy,
    ICAMPExtension as PackageExtension, ICAMPWebsocketServerOptions as PackageOptions, ITokenValidator as PackageValidator,
} from "camp-server";

interface ITokenValidator {
    validate(token: string): Promise<boolean>;
}

interface ICAMPWebsocketServerOptions {
    keepAliveIntervalMs?: number;
    port?: number;
    ssl?: {
        key: Buffer;
        cert: Buffer;
    };
    backpressure?: {
        highWaterMark?: number;
        lowWaterMark?: number;
        maxQueuedBytes?: number;
        maxQueueCount?: number;
        dropPolicy?: "drop-oldest" | "drop-newest" | "dedupe-latest";
    };
}

type Box<T> = { value: T };

interface ICAMPExtension {
    on_register(server: CAMPWebsocketServer): void;
    on_unregister(server: CAMPWebsocketServer): void;
    before_send_binary?(session: CAMPServerWebsocketSession, outgoing_message: Box<Buffer>): Promise<boolean>;
    before_send_utf8?(session: CAMPServerWebsocketSession, outgoing_message: Box<string>): Promise<boolean>;
    before_send_error?(session: CAMPServerWebsocketSession, outgoing_message: Box<string>): Promise<boolean>;
    on_receive_binary?(session: CAMPServerWebsocketSession, incoming_message: Box<Buffer>): Promise<boolean>;
    on_receive_utf8?(session: CAMPServerWebsocketSession, incoming_message: Box<string>): Promise<boolean>;
    on_receive_error?(session: CAMPServerWebsocketSession, incoming_message: Box<string>): Promise<boolean>;
    name: string;
}

interface CAMPWebsocketServerEvents {
    "session": (session: CAMPServerWebsocketSession) => void;
    "listening": () => void;
}

declare const validator: ITokenValidator;
declare const options: ICAMPWebsocketServerOptions;
declare const extension: ICAMPExtension;
declare const text: Box<string>;
declare const listeners: CAMPWebsocketServerEvents;

export const server: CAMPWebsocketServer = CAMP(validator, options);
server.on("session", listeners.session).on("listening", listeners.listening);

export const packageValidator: PackageValidator = validator;
export const packageOptions: PackageOptions = options;
export const packageExtension: PackageExtension = extension;
export const packageBox: PackageBox<string> = text;
export const policy: DropPolicy | undefined = options.backpressure?.dropPolicy;
export const bounds: Partial<BackpressureOpts> | undefined = options.backpressure;
