// What a monitoring tool may subscribe to (`node:diagnostics_channel`).
import { channel } from "node:diagnostics_channel";

/** `{ server, session }`: a session begins. */
export const sessionChannel = channel("camp-server:session");
/** `{ server, session, code, reason }`: a session is over. */
export const closedChannel = channel("camp-server:closed");
/** `{ server, status, reason, remoteAddress }`: a request was refused. */
export const refusedChannel = channel("camp-server:refused");
/** `{ server, session, type, bytes, policy }`: the drop policy removed or refused a message. */
export const droppedChannel = channel("camp-server:dropped");
