// Servers with their cleanup, and the usual pair of a session and the peer at its other end.
import assert from "node:assert/strict";
import { CAMP } from "./product.mjs";
import { Peer, freshSid, terminatePeers } from "./peer.mjs";
import { destroySockets } from "./raw.mjs";
import { once, within } from "./wait.mjs";

export { once, within } from "./wait.mjs";

export const TOKEN = "T";
export const validator = {
  async validate(token) {
    return token === TOKEN;
  },
};

/**
 * A listening server on a free port; it and whatever is connected to it end with the test.
 * A listener that throws (a failed assertion, say) fails the test through `listenerErrors`.
 */
export async function startServer(t, options = {}, tokenValidator = validator) {
  const server = CAMP(tokenValidator, { port: 0, ...options });
  const listenerErrors = [];
  server.on("listener-error", (...args) => listenerErrors.push(args));
  let port;
  t.after(async () => {
    const violations = terminatePeers(port);
    destroySockets(port);
    await within(Promise.resolve(server.Destroy()), 10_000, "Destroy()");
    assert.deepEqual(violations, [], "frames that no CAMP server may send");
    assert.deepEqual(listenerErrors.map(([error, event]) => [event, error]), [], "errors in listeners");
  });
  await once(server, "listening");
  ({ port } = server.address());
  return { server, port, listenerErrors };
}

/** Every message goes back as it came. `void`: a send's promise is not the listener's result, it may reject. */
export function echo(server) {
  server.on("session", (session) => {
    session.on("message-utf8", (text) => void session.base.SendUTF8(text));
    session.on("message-binary", (data) => void session.base.SendBinary(data));
    session.on("message-error", (message) => void session.base.SendError(message));
  });
  return server;
}

/** The `session` event for one sid. `onSession` runs inside it: nothing of the session has happened yet. */
export function sessionFor(server, sid, onSession = () => {}, ms = 5000) {
  let listener;
  const found = new Promise((resolve) => {
    listener = (session) => {
      if (session.sid !== sid) return;
      onSession(session);
      resolve(session);
    };
    server.on("session", listener);
  });
  return within(found, ms, `session ${sid}`).finally(() => server.removeListener("session", listener));
}

/** Connects a peer and returns it with its session, connected unless the peer sends no ENDPOINT_INFO. */
export async function openSession({ server, port }, peerOptions = {}, onSession = () => {}) {
  const sid = peerOptions.sid ?? freshSid();
  const sendsInfo = peerOptions.autoInfo ?? true;
  let connected;
  const found = sessionFor(server, sid, (session) => {
    if (sendsInfo) {
      connected = once(session, "connected");
      connected.catch(() => {});
    }
    onSession(session);
  });
  const [session, peer] = await Promise.all([found, Peer.connect({ port, ...peerOptions, sid })]);
  await connected;
  if (sendsInfo) await peer.ready();
  return { session, peer };
}

/** A server of its own with one session. */
export async function openPair(t, { options, validator: tokenValidator, peer: peerOptions, onSession } = {}) {
  const running = await startServer(t, options, tokenValidator);
  return { ...running, ...(await openSession(running, peerOptions, onSession)) };
}

const SESSION_EVENTS = ["connected", "message-utf8", "message-binary", "message-error", "closed"];

/** Records the session's events as `[name, ...args]`; call it inside the `session` event. */
export function record(session, names = SESSION_EVENTS) {
  const events = [];
  for (const name of names) session.on(name, (...args) => events.push([name, ...args]));
  return events;
}

/** The rejection of `promise`, which must come. */
export async function rejection(promise, ms = 5000) {
  return within(
    Promise.resolve(promise).then(
      (value) => assert.fail(`resolved with ${value}`),
      (error) => error,
    ),
    ms,
    "rejection",
  );
}

/** Wrong arguments may throw at once or reject; either way with that class. */
export async function assertRefuses(call, ErrorClass, what) {
  let outcome;
  try {
    outcome = call();
  } catch (error) {
    assert.ok(error instanceof ErrorClass, `${what}: threw ${error}`);
    return;
  }
  const error = await rejection(outcome).catch((failure) => assert.fail(`${what}: ${failure.message}`));
  assert.ok(error instanceof ErrorClass, `${what}: rejected with ${error}`);
}
