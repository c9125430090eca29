// The rows of the transaction table in camp-server 1.0.9's readme, as code written against them.
import { createReadStream } from "node:fs";
import { Readable } from "node:stream";
import { CAMPReadable, CAMPServerWebsocketSession, CAMP_FLOW_BEHAVIOUR } from "camp-server";

declare const session: CAMPServerWebsocketSession;
declare const source: Readable;
declare const options: { streamName: string, behaviour: CAMP_FLOW_BEHAVIOUR };
declare const name: string;
declare const timeout: number;
declare const start: bigint;
declare const end: bigint;

session.transaction.Stream(source, options);
session.transaction.Stream(createReadStream("file"), { streamName: "file", behaviour: CAMP_FLOW_BEHAVIOUR.TX_PUSH });
const promise: Promise<CAMPReadable> = session.transaction.WaitForStream(name, timeout);
const stream: CAMPReadable = await promise;
session.transaction.StreamRequestRange(stream, start, end);
