// No token, passphrase or key comes out: not in an error, not in debug output, not on a channel.
import assert from "node:assert/strict";
import { channel } from "node:diagnostics_channel";
import { inspect } from "node:util";
import { Child } from "./support/child.mjs";
import { otherServer, readRequest, switching } from "./support/other-server.mjs";
import { Peer } from "./support/peer.mjs";
import { CAMP } from "./support/product.mjs";
import { assertHides } from "./support/secrets.mjs";
import { openSession, rejection, startServer, validator } from "./support/server.mjs";
import { test } from "./support/test.mjs";

const TOKEN = `pass word/"<'&+ü`;
const API_KEY = "swordfish 42";
const SECRETS = [TOKEN, API_KEY, "pass%20word", "pass+word", "swordfish"];
const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;").replaceAll("'", "&#39;");

/** What servers say that quote what they were asked for, given the request's target. */
const QUOTING = {
  "Express's 404": (target) => ["404 Not Found", `<html><body><pre>Cannot GET ${escaped(target)}</pre></body></html>`],
  "the decoded URL": (target) => ["404 Not Found", `<p>${escaped(decodeURIComponent(target))} was not found</p>`],
  "the plain token": () => ["401 Unauthorized", `Invalid token ${TOKEN} (key ${API_KEY})`],
  "a JSON text": () => ["401 Unauthorized", JSON.stringify({ error: "bad token", token: TOKEN, key: API_KEY })],
  "the status line": (target) => [`404 No ${target} here`, "no"],
  "a text that is cut off": () => ["401 Unauthorized", `<style>${"x".repeat(2048 - 45)}</style>Your token: ${TOKEN}`],
};

for (const [what, answer] of Object.entries(QUOTING)) {
  test(`what a refusal quotes of the URL is left out of the error: ${what}`, async (t) => {
    const { server } = await startServer(t);
    const other = await otherServer(t, async (socket) => {
      const [status, body] = answer((await readRequest(socket)).target);
      socket.end(`HTTP/1.1 ${status}\r\nContent-Type: text/html\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
    });
    const error = await rejection(server.ConnectPeer(`${other.url}/app?key=${encodeURIComponent(API_KEY)}`, TOKEN));
    assert.equal(error.code, "ERR_CAMP_REFUSED", error.stack);
    assertHides(error, SECRETS, what);
  });
}

test("what a server quotes in the head of an upgrade is left out too", async (t) => {
  const { server } = await startServer(t);
  for (const [name, words] of [["Sec-WebSocket-Extensions", "extensions"], ["Sec-WebSocket-Protocol", "subprotocol"]]) {
    const other = await otherServer(t, async (socket) => {
      const { key } = await readRequest(socket);
      socket.end(switching(key, { [name]: TOKEN }));
    });
    const error = await rejection(server.ConnectPeer(other.url, TOKEN));
    assert.match(error.message, new RegExp(`${words}.*\\*\\*\\*`));
    assertHides(error, [TOKEN]);
  }
});

test("a token or a URL of the wrong kind is not quoted", async (t) => {
  const { server } = await startServer(t);
  for (const [host, bearer, options] of [
    [`ws://h:99999/?authorization=${TOKEN}`, TOKEN], [`http://user:${API_KEY}@h/`, TOKEN], [`ws://user:${API_KEY}@127.0.0.1/`, TOKEN],
    ["ws://127.0.0.1:1", [TOKEN]], ["ws://127.0.0.1:1", TOKEN, API_KEY], ["ws://127.0.0.1:1", TOKEN, { ca: API_KEY }],
    [() => `ws://h/?${API_KEY}`, TOKEN],
  ]) {
    assertHides(await rejection(server.ConnectPeer(host, bearer, options)), SECRETS, String(host));
  }
  for (const options of [API_KEY, { path: `/?key=${API_KEY}` }, { allowedOrigins: [`https://user:${API_KEY}@h/x`] }, { ssl: API_KEY }]) {
    assert.throws(() => CAMP(validator, options), (error) => (assertHides(error, SECRETS), true));
  }
});

test("refusals on the wire, on the diagnostics channel and in what is inspected have no token", async (t) => {
  const running = await startServer(t);
  const seen = [];
  const listener = ({ reason, status, remoteAddress }) => seen.push({ reason, status, remoteAddress });
  channel("camp-server:refused").subscribe(listener);
  t.after(() => channel("camp-server:refused").unsubscribe(listener));
  const refused = await Peer.connect({ port: running.port, token: TOKEN }).then(assert.fail, (error) => error);
  const { session } = await openSession(running);
  assert.equal(seen.length, 1);
  for (const output of [inspect(seen), inspect(refused), inspect(session, { depth: 1 }), inspect(running.server, { depth: 1 })]) assertHides(output, SECRETS);
});

test("with every section of DEBUG on, nothing printed has a token, of clients or of ConnectPeer", async (t) => {
  const other = await otherServer(t, async (socket) => {
    const { target } = await readRequest(socket);
    socket.end(`HTTP/1.1 404 No ${target}\r\nContent-Type: text/plain\r\n\r\nCannot GET ${target}`);
  });
  const child = Child.start(t, "peer-client.mjs", { url: `${other.url}/?key=${encodeURIComponent(API_KEY)}`, token: TOKEN }, { env: { DEBUG: "*,CAMP_SERVER" } });
  const failed = await child.report("failed");
  assert.equal(failed.code, "ERR_CAMP_REFUSED");
  child.command("destroy");
  await child.exit();
  assert.match(child.stderr, /cannot connect/);
  assertHides(child.stderr, SECRETS, "stderr");
  assertHides(child.stdout, SECRETS, "stdout");
});
