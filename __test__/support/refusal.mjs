// What a refused client is told, and what the server tells others of it.
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { rawSocket, readResponse } from "./raw.mjs";

const PARAGRAPH = /<p>\s*Upgrade request for \S+:\d+ was refused\. (.+?)\s*<\/p>/;

/** The reason in a refusal's page. */
export const reasonIn = (body) => PARAGRAPH.exec(body)?.[1]?.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");

/** What `server` publishes about requests that it refuses, as `[status, reason]`, from now to the end of the test. */
export function refusals(t, server) {
  const told = [];
  const listener = (message) => {
    if (message.server === server) told.push([message.status, message.reason]);
  };
  subscribe("camp-server:refused", listener);
  t.after(() => unsubscribe("camp-server:refused", listener));
  return told;
}

/** Sends these bytes (of a string: as latin1) and reads the answer, with the `reason` in it. */
export async function exchange(port, bytes, { end = false, timeoutMs = 10_000 } = {}) {
  const socket = await rawSocket({ port });
  const bodiless = /^\s*HEAD /.test(bytes.toString("latin1"));
  const answer = readResponse(socket, timeoutMs, { bodiless, final: true });
  socket.write(bytes, "latin1");
  if (end) socket.end();
  const response = await answer;
  return { ...response, reason: reasonIn(response.body) };
}
