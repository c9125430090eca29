// Two readers of one request: Node's `http`, and this package. Heads that went wrong in every way that comes to mind are
// given to both. Whom Node refuses is not let in, and of whom both let in they have read the same.
//
// `CAMP_CASES` sets the number of heads, `CAMP_SEED` repeats them.
import assert from "node:assert/strict";
import http from "node:http";
import { target } from "./support/raw.mjs";
import { SEED, seeded } from "./support/random.mjs";
import { exchange } from "./support/refusal.mjs";
import { startServer } from "./support/server.mjs";
import { test } from "./support/test.mjs";

const CASES = Number(process.env.CAMP_CASES ?? 0) || 500;

const FIELDS = [
  "Content-Length: 0", "Content-Length: 5", "Content-Length: -1", "Content-Length: +0", "Content-Length: 0, 0", "Content-Length: 0x0",
  "Content-Length:", "Content-Length: 18446744073709551615", "Content-Length: 18446744073709551616", "content-length: 00", "Content-Length: 0 0",
  "Transfer-Encoding: chunked", "Transfer-Encoding: xchunked", "Transfer-Encoding: gzip, chunked", "Transfer-Encoding: chunked, gzip",
  "Transfer-Encoding:", "transfer-encoding: CHUNKED", "Transfer-Encoding: identity", "Transfer-Encoding : chunked",
  "Host: other", "Host:", "Host: a b", "Host: [::1]:80", "Host: \xe4", "Connection: close", "Connection: keep-alive, Upgrade", "Connection: Upgrade,",
  "Upgrade: h2c", "Upgrade: websocket, h2c", "Expect: 100-continue", "Expect: nothing", "Origin: http://x", "Origin: \xff",
  "Sec-WebSocket-Protocol: camp", "Sec-WebSocket-Protocol: a, b", "Sec-WebSocket-Protocol: a b", "Sec-WebSocket-Extensions: permessage-deflate",
  "Cookie: a=1", "Cookie: b=2", "X-Empty:", "X-Empty: \t ", "X-Latin: \xe9\xff", "X-Control: a\x01b", "X-Tab: a\tb", "X-Delete: \x7f", "X-Nul: \x00",
  "X Space: a", "X@At: a", "X\xe9: a", ": no name", "no colon", " leading: space", "\tleading: tab", "X-Colon:a:b", "X-Comma: ,", `X-Long: ${"y".repeat(3000)}`,
];
const LINE_ENDS = ["\n", "\r", "\r\r\n", "\n\r\n", "\n\r", " \r\n", "\t\r\n", "\r\n ", "\r\n\t", "\x00\r\n", "\x0b\r\n", "\r\n\r\n"];
const METHODS = ["get", "POST", "HEAD", "OPTIONS", "CONNECT", "GETT", "G ET", "PRI", "M-SEARCH", "", "GET\t"];
const VERSIONS = ["HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "HTTP/0.9", "HTTP/1.11", "http/1.1", "HTTP/1.1 ", "HTTP/1,1", "HTTP/11", "ICE/1.0", "RTSP/1.0", ""];
const PREFIXES = ["", "foo", "*", "//", "/a#b", "#", "http://x", "http:///", "HTTP://x/", "ftp://x/", "x:80", "/\x80", "/\xc3\xa9", "/\\", "/ ", "/\t", "/{|}", "?", "/%", "/%00", "/\x7f", "://"];
const BYTES = "\x00\x01\t\n\x0b\x0c\r !\"#%&'(),/0:;<=>?@A[\\]^_`a{|}~\x7f\x80\xa0\xff";
const BEHIND = ["hello", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n", "0\r\n\r\n", "\r\n", "\x82", "\x81\x85"];

/** A good request in pieces. */
function goodRequest(sid) {
  return {
    before: "",
    method: "GET",
    target: target({ sid }),
    version: "HTTP/1.1",
    lines: ["Host: localhost", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="],
    ends: {},
    behind: "",
    bytes: [],
  };
}

/** What may go wrong with it. */
const MUTATIONS = [
  (request, random) => void request.lines.splice(random.int(request.lines.length + 1), 0, random.pick(FIELDS)),
  (request, random) => void request.lines.splice(random.int(request.lines.length + 1), 0, random.pick(FIELDS), random.pick(FIELDS)),
  (request, random) => void request.lines.splice(random.int(request.lines.length), 1),
  (request, random) => void request.lines.splice(random.int(request.lines.length), 0, random.pick(request.lines)),
  (request, random) => void (request.ends[random.int(request.lines.length + 1)] = random.pick(LINE_ENDS)),
  (request, random) => void (request.before = random.pick(["\r\n", "\r\n\r\n", "\n", "\r", " ", "\x00"])),
  (request, random) => void (request.method = random.pick(METHODS)),
  (request, random) => void (request.version = random.pick(VERSIONS)),
  (request, random) => void (request.target = `${random.pick(PREFIXES)}${request.target.slice(random.int(2))}`),
  (request, random) => void (request.behind = random.pick(BEHIND)),
  (request, random) => void request.bytes.push([random.next(), random.pick(["insert", "replace", "delete"]), random.pick(BYTES)]),
];

/** As latin1. The empty line at the end stays, so that nobody waits for more. */
function written({ before, method, target: to, version, lines, ends, behind, bytes }) {
  let text = before + [`${method} ${to} ${version}`, ...lines].map((line, i) => line + (ends[i] ?? "\r\n")).join("");
  for (const [where, how, byte] of bytes) {
    const at = Math.floor(where * text.length);
    text = text.slice(0, at) + (how === "delete" ? "" : byte) + text.slice(how === "insert" ? at : at + 1);
  }
  return `${text.replace(/[\r\n]*$/, (end) => (end.length > 2 ? end : "\r\n"))}\r\n${behind}`;
}

/** Node's reading of requests; `seen()` gives that of the last. */
async function nodeServer(t) {
  let last;
  const server = http.createServer({ joinDuplicateHeaders: true }, ({ url, headers }, response) => {
    last = { url, headers };
    response.end("no upgrade");
  });
  server.on("upgrade", ({ url, headers }, socket) => {
    last = { url, headers };
    socket.on("error", () => {});
    socket.end("HTTP/1.1 101 Switching Protocols\r\n\r\n");
  });
  server.on("connect", (_request, socket) => socket.destroy());
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { port: server.address().port, seen: () => last };
}

async function ourServer(t) {
  let last;
  const { port } = await startServer(t, { handshakeTimeoutMs: 2000 }, {
    validate(_token, { url, headers }) {
      last = { url, headers };
      return true;
    },
  });
  return { port, seen: () => last };
}

async function ask({ port, seen }, text) {
  const { status, socket, reason } = await exchange(port, text);
  socket.destroy();
  return { status, reason, seen: seen() };
}

/** What both make of a head; fails when the wrong one is lenient, or when they have read different requests. */
async function compare(servers, text) {
  const [node, ours] = await Promise.all(servers.map((server) => ask(server, text)));
  if (ours.status === 101) {
    const what = JSON.stringify(text);
    // Node overlooks an upgrade behind white space of some kinds, but that is no refusal.
    assert.ok([101, 200].includes(node.status), `let in, but Node answers ${node.status}: ${what}`);
    assert.deepEqual({ ...ours.seen, headers: { ...ours.seen.headers } }, { ...node.seen, headers: { ...node.seen.headers } }, what);
  }
  return [node.status, ours.status];
}

test("a good upgrade is one to both", async (t) => {
  const servers = [await nodeServer(t), await ourServer(t)];
  let sid = 0;
  for (const change of [() => {}, ...["Cookie: a=1", "X-Latin: \xe9", "Content-Length: 0"].map((field) => (request) => request.lines.push(field, "Cookie: b=2"))]) {
    const request = goodRequest(sid++);
    change(request);
    assert.deepEqual(await compare(servers, written(request)), [101, 101]);
  }
});

test("each single fault that Node refuses is refused here", async (t) => {
  const servers = [await nodeServer(t), await ourServer(t)];
  let refused = 0;
  let sid = 0;
  const attempt = async (change) => {
    const request = goodRequest(sid++);
    change(request);
    const [node] = await compare(servers, written(request));
    if (node === 400) refused++;
  };
  for (const field of FIELDS) await attempt((request) => request.lines.splice(1, 0, field));
  for (const end of LINE_ENDS) {
    for (const line of [0, 1, 4]) await attempt((request) => (request.ends[line] = end));
  }
  for (const method of METHODS) await attempt((request) => (request.method = method));
  for (const version of VERSIONS) await attempt((request) => (request.version = version));
  for (const prefix of PREFIXES) await attempt((request) => (request.target = prefix + request.target.slice(1)));
  for (const behind of BEHIND) await attempt((request) => (request.behind = behind));
  assert.ok(refused >= 50, `Node has refused ${refused} only`);
});

test(`${CASES} heads with faults at random: whom Node refuses is not let in`, { timeout: 30_000 + CASES * 40 }, async (t) => {
  const servers = [await nodeServer(t), await ourServer(t)];
  await seeded(t, SEED, async (random) => {
    for (let i = 0; i < CASES; i++) {
      const request = goodRequest(i);
      for (let faults = 1 + random.int(3); faults > 0; faults--) random.pick(MUTATIONS)(request, random);
      await compare(servers, written(request));
    }
  });
});
