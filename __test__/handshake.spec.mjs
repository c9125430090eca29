import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { encode } from "./support/frames.mjs";
import { Peer, Refused, freshSid } from "./support/peer.mjs";
import { RawPeer, connectionEnd, rawSocket, rawUpgrade, target, upgradeHead, wsFrame } from "./support/raw.mjs";
import { echo, once, openSession, sessionFor, startServer } from "./support/server.mjs";
import { test } from "./support/test.mjs";
import { deferred, eventually, within } from "./support/wait.mjs";

const REFUSAL = /<p>\s*Upgrade request for (\S+):(\d+) was refused\. (.+?)\s*<\/p>/;

/** A validator that remembers what it was asked. */
function recordingValidator(answer = true) {
  const tokens = [];
  return {
    tokens,
    async validate(token) {
      tokens.push(token);
      return answer;
    },
  };
}

async function assertRefused(port, query, reason) {
  const response = await rawUpgrade({ port, target: `/?${query}` });
  assert.equal(response.status, 401, query);
  assert.match(REFUSAL.exec(response.body)?.[3] ?? response.body, reason, query);
}

test("a good upgrade is answered with 101 and the accept key of RFC 6455", async (t) => {
  const { port } = await startServer(t);
  const key = "AQIDBAUGBwgJCgsMDQ4PEA==";
  const response = await rawUpgrade({ port, headers: { "Sec-WebSocket-Key": key } });
  assert.equal(response.status, 101);
  assert.equal(response.headers.upgrade.toLowerCase(), "websocket");
  assert.equal(response.headers.connection.toLowerCase(), "upgrade");
  const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
  assert.equal(response.headers["sec-websocket-accept"], accept);
});

test("any path is accepted", async (t) => {
  const { port } = await startServer(t);
  for (const path of ["/", "/chat", "/a/b/c.html", "/%20%C3%A9", "//"]) {
    const response = await rawUpgrade({ port, target: target({ path, sid: freshSid() }) });
    assert.equal(response.status, 101, path);
  }
});

test("the parameters are found in any order and among others", async (t) => {
  const validator = recordingValidator();
  const { server, port } = await startServer(t, {}, validator);
  const [[session], response] = await Promise.all([
    once(server, "session"),
    rawUpgrade({ port, target: "/p?x=1&x-camp-sid=77&&empty=&authorization=Bearer%20abc&z" }),
  ]);
  assert.equal(response.status, 101);
  assert.equal(session.sid, 77n);
  assert.deepEqual(validator.tokens, ["abc"]);
});

test("a refusal is the documented HTML page and ends the connection", async (t) => {
  const { port } = await startServer(t);
  const response = await rawUpgrade({ port, target: target({ token: "wrong" }) });
  assert.equal(response.statusLine, "HTTP/1.1 401 Unauthorized");
  assert.equal(response.headers["content-type"], "text/html; charset=utf-8");
  assert.equal(response.headers["content-length"], String(Buffer.byteLength(response.body)));
  assert.equal(response.headers.connection.toLowerCase(), "close");
  assert.ok(response.body.includes("<h1>401 Unauthorized</h1>"));
  const [, address, clientPort, reason] = REFUSAL.exec(response.body);
  assert.match(address, /127\.0\.0\.1/);
  assert.equal(Number(clientPort), response.socket.localPort);
  assert.equal(reason, "Invalid bearer token in authorization query.");
  await connectionEnd(response.socket);
});

test("a WebSocket library sees the refusal as a 401 with that page", async (t) => {
  const { port } = await startServer(t);
  const error = await Peer.connect({ port, token: "wrong" }).then(() => assert.fail("accepted"), (e) => e);
  assert.ok(error instanceof Refused);
  assert.equal(error.status, 401);
  assert.match(error.body, REFUSAL);
});

test("bad credentials are refused with their reason, in the order checked", async (t) => {
  const { port } = await startServer(t);
  const sid = "x-camp-sid=5";
  await assertRefused(port, "", /^No auth data supplied\.$/);
  await assertRefused(port, sid, /^No auth data supplied\.$/);
  await assertRefused(port, `authorization=&${sid}`, /^(No|Incorrect type of) auth data supplied\.$/);
  await assertRefused(port, `authorization=Basic%20T&${sid}`, /^Incorrect type of auth data supplied\.$/);
  await assertRefused(port, `authorization=T&${sid}`, /^Incorrect type of auth data supplied\.$/);
  await assertRefused(port, `authorization=BearerT&${sid}`, /^Incorrect type of auth data supplied\.$/);
  await assertRefused(port, "authorization=Basic%20T", /^Incorrect type of auth data supplied\.$/);
  await assertRefused(port, "authorization=Bearer%20T", /^No SID supplied\.$/);
  await assertRefused(port, "authorization=Bearer%20wrong", /^No SID supplied\.$/);
  await assertRefused(port, "authorization=Bearer%20wrong&x-camp-sid=abc", /^Invalid SID supplied\.$/);
  await assertRefused(port, `authorization=Bearer%20wrong&${sid}`, /^Invalid bearer token in authorization query\.$/);
});

test("validate is not asked about a request that is refused anyway", async (t) => {
  const validator = recordingValidator();
  const { port } = await startServer(t, {}, validator);
  await assertRefused(port, "x-camp-sid=5", /auth data/);
  await assertRefused(port, "authorization=Basic%20T&x-camp-sid=5", /auth data/);
  await assertRefused(port, "authorization=Bearer%20T&x-camp-sid=abc", /SID/);
  assert.deepEqual(validator.tokens, []);
});

test("the token reaches validate percent-decoded", async (t) => {
  const validator = recordingValidator();
  const { port } = await startServer(t, {}, validator);
  const tokens = ["a b", "a+b/c=", "ü€😀", "100%", "a&b=c", "Bearer x", "", "x".repeat(4000)];
  for (const token of tokens) {
    const response = await rawUpgrade({ port, target: target({ token, sid: freshSid() }) });
    assert.equal(response.status, 101, token);
  }
  assert.deepEqual(validator.tokens, tokens);
});

test("the scheme Bearer is matched without regard to case, in the query and in the field", async (t) => {
  const validator = recordingValidator();
  const { port } = await startServer(t, {}, validator);
  for (const scheme of ["Bearer", "bearer", "BEARER"]) {
    const sid = `x-camp-sid=${freshSid()}`;
    assert.equal((await rawUpgrade({ port, target: `/?authorization=${scheme}%20in%20the%20query&${sid}` })).status, 101, scheme);
    const headers = { Authorization: `${scheme}  in-the-field` };
    assert.equal((await rawUpgrade({ port, target: `/?x-camp-sid=${freshSid()}`, headers })).status, 101, scheme);
  }
  const both = await rawUpgrade({ port, target: target({ token: "query", sid: freshSid() }), headers: { Authorization: "Bearer field" } });
  assert.equal(both.status, 101);
  assert.deepEqual(validator.tokens, [...Array(3).fill(["in the query", "in-the-field"]).flat(), "query"]);
  for (const value of ["Bearer", "Basic x", "Bearerx", "\xff", "Bearer \xff"]) {
    const { status, body } = await rawUpgrade({ port, target: "/?x-camp-sid=1", headers: { Authorization: value } });
    assert.deepEqual([status, REFUSAL.exec(body)[3]], [401, "Incorrect type of auth data supplied."], value);
  }
});

test("a validate that says no, throws or rejects refuses the client and no session appears", async (t) => {
  const answers = {
    false: async () => false,
    "false at once": () => false,
    undefined: async () => undefined,
    throws: () => {
      throw new Error("thrown by validate");
    },
    rejects: async () => {
      throw new Error("rejected by validate");
    },
    "throws no error": () => {
      throw null;
    },
  };
  for (const [name, validate] of Object.entries(answers)) {
    const { server, port } = await startServer(t, {}, { validate });
    let sessions = 0;
    server.on("session", () => sessions++);
    const response = await rawUpgrade({ port });
    assert.equal(response.status, 401, name);
    assert.equal(REFUSAL.exec(response.body)[3], "Invalid bearer token in authorization query.", name);
    assert.equal(sessions, 0, name);
  }
});

test("validate may answer at once and is called as a method", async (t) => {
  class Validator {
    #good = "T";
    validate(token) {
      return token === this.#good;
    }
  }
  const { port } = await startServer(t, {}, new Validator());
  assert.equal((await rawUpgrade({ port })).status, 101);
});

test("a validate that never answers does not hold the connection beyond handshakeTimeoutMs", async (t) => {
  let calls = 0;
  const { port } = await startServer(t, { handshakeTimeoutMs: 20000 }, {
    validate: () => (++calls === 1 ? new Promise(() => {}) : true),
  });
  const response = await rawUpgrade({ port, target: target({ sid: 5n }), timeoutMs: 10_000 });
  assert.notEqual(response.status, 101);
  await connectionEnd(response.socket);
  const again = await rawUpgrade({ port, target: target({ sid: 5n }) });
  assert.equal(again.status, 101, "its sid is free again");
});

test("a validate that answers after the timeout makes no session", async (t) => {
  const answer = deferred();
  const { server, port } = await startServer(t, { handshakeTimeoutMs: 2000 }, {
    validate: (token) => (token === "slow" ? answer.promise : true),
  });
  const sids = [];
  server.on("session", (session) => sids.push(session.sid));
  const response = await rawUpgrade({ port, target: target({ token: "slow", sid: 1n }), timeoutMs: 10_000 });
  assert.notEqual(response.status, 101);
  answer.resolve(true);
  await openSession({ server, port }, { sid: 2n });
  assert.deepEqual(sids, [2n]);
});

test("a client that gives up while validate runs leaves its sid free", async (t) => {
  const asked = deferred();
  const answer = deferred();
  const { port } = await startServer(t, {}, {
    validate: (token) => {
      if (token !== "slow") return true;
      asked.resolve();
      return answer.promise;
    },
  });
  const socket = await rawSocket({ port });
  socket.write(upgradeHead({ port, target: target({ token: "slow", sid: 9n }) }));
  await within(asked.promise, 5000, "validate");
  socket.destroy();
  answer.resolve(true);
  // The server may notice only after a while; until then a refusal is right.
  const peer = await eventually(() => Peer.connect({ port, sid: 9n }).catch((error) => {
    if (error instanceof Refused) return null;
    throw error;
  }));
  await peer.ready();
});

test("the sid is found under every published spelling", async (t) => {
  const { server, port } = await startServer(t);
  let sid = 100n;
  for (const name of ["x-camp-sid", "X-CAMP-SID", "x-CAMP-sid", "X-Camp-Sid", "x-cryo-sid"]) {
    sid += 1n;
    const [session, response] = await Promise.all([
      sessionFor(server, sid),
      rawUpgrade({ port, target: `/?authorization=Bearer%20T&${name}=${sid}` }),
    ]);
    assert.equal(response.status, 101, name);
    assert.equal(session.sid, sid);
  }
});

test("every uint64 is a sid, in decimal or hexadecimal", async (t) => {
  const { server, port } = await startServer(t);
  const spellings = {
    0: 0n,
    "0x10": 16n,
    "0xffffffffffffffff": 2n ** 64n - 1n,
    "0xDeadBeef": 0xdeadbeefn,
    "9007199254740993": 9007199254740993n,
    "18446744073709551614": 2n ** 64n - 2n,
  };
  for (const [text, sid] of Object.entries(spellings)) {
    const [session, response] = await Promise.all([
      sessionFor(server, sid),
      rawUpgrade({ port, target: `/?authorization=Bearer%20T&x-camp-sid=${text}` }),
    ]);
    assert.equal(response.status, 101, text);
    assert.equal(session.id, sid);
  }
});

test("what is not a uint64 is refused as a sid", async (t) => {
  const { port } = await startServer(t);
  const auth = "authorization=Bearer%20T";
  const garbage = [
    "abc", "-1", "18446744073709551616", "1.5", "0x10000000000000000", "0x", "0xzz", "1e3", "12abc", "%EF%BC%91",
    "1%00", "0b1", "--1", "9".repeat(500),
  ];
  for (const text of garbage) await assertRefused(port, `${auth}&x-camp-sid=${text}`, /^Invalid SID supplied\.$/);
  await assertRefused(port, `${auth}&x-camp-sid=`, /^(No|Invalid) SID supplied\.$/);
});

test("a repeated sid counts when it says the same, and is refused when it does not", async (t) => {
  const { server, port } = await startServer(t);
  const [session, same] = await Promise.all([
    sessionFor(server, 5n),
    rawUpgrade({ port, target: "/?authorization=Bearer%20T&x-camp-sid=5&x-CAMP-sid=5" }),
  ]);
  assert.equal(same.status, 101);
  assert.equal(session.sid, 5n);
  await assertRefused(port, "authorization=Bearer%20T&x-camp-sid=6&x-CAMP-sid=7", /SID supplied\.$/);
  await assertRefused(port, "authorization=Bearer%20T&x-camp-sid=6&x-camp-sid=7", /SID supplied\.$/);
  await assertRefused(port, "authorization=Bearer%20T&x-camp-sid=6&x-cryo-sid=7", /SID supplied\.$/);
});

test("a second client with a live sid is refused and the live session does not notice", async (t) => {
  const { server, port } = await startServer(t);
  echo(server);
  const { session, peer } = await openSession({ server, port }, { sid: 42n });
  let closed = 0;
  session.on("closed", () => closed++);
  await assertRefused(port, "authorization=Bearer%20T&x-camp-sid=42", /^The session already exists\.$/);
  await assertRefused(port, "authorization=Bearer%20T&x-camp-sid=0x2a", /^The session already exists\.$/);
  await assertRefused(port, "authorization=Bearer%20wrong&x-camp-sid=42", /^The session already exists\.$/);
  await peer.echo("still here");
  assert.equal(closed, 0);
});

test("the sid of a closed session is free again", async (t) => {
  const { server, port } = await startServer(t);
  for (let round = 0; round < 5; round++) {
    const { session, peer } = await openSession({ server, port }, { sid: 42n });
    const closed = once(session, "closed");
    peer.close(4000);
    await closed;
  }
});

test("of simultaneous upgrades with one sid exactly one wins", async (t) => {
  const gate = deferred();
  const { server, port } = await startServer(t, {}, {
    async validate() {
      await gate.promise;
      return true;
    },
  });
  const sids = [];
  server.on("session", (session) => sids.push(session.sid));
  const upgrades = Array.from({ length: 8 }, () => rawUpgrade({ port, target: target({ sid: 7n }), timeoutMs: 10_000 }));
  // A different sid, let in by the same gate: when it is through, all eight have been decided.
  const other = rawUpgrade({ port, target: target({ sid: 8n }), timeoutMs: 10_000 });
  setTimeout(gate.resolve, 150);
  const responses = await Promise.all(upgrades);
  assert.equal((await other).status, 101);
  assert.deepEqual(responses.map(({ status }) => status).sort(), [101, 401, 401, 401, 401, 401, 401, 401]);
  for (const { status, body } of responses) {
    if (status === 401) assert.equal(REFUSAL.exec(body)[3], "The session already exists.");
  }
  await eventually(() => sids.length === 2);
  assert.deepEqual(sids.sort(), [7n, 8n]);
});

test("the subprotocol answered is camp when it is offered, else the first offered", async (t) => {
  const { port } = await startServer(t);
  const offers = [
    [null, undefined],
    ["camp", "camp"],
    ["foo, camp", "camp"],
    ["camp,foo", "camp"],
    [["foo", "camp"], "camp"],
    ["foo", "foo"],
    ["campfire, xcamp", "campfire"],
    [["foo, bar", "baz"], "foo"],
    ["", undefined],
    [" , foo", "foo"],
  ];
  for (const [offer, answer] of offers) {
    const response = await rawUpgrade({
      port, target: target({ sid: freshSid() }), headers: { "Sec-WebSocket-Protocol": offer },
    });
    assert.equal(response.status, 101, String(offer));
    assert.equal(response.headers["sec-websocket-protocol"], answer, String(offer));
  }
});

test("a WebSocket library that offers camp is told camp", async (t) => {
  const { port } = await startServer(t);
  const peer = await Peer.connect({ port, subprotocols: ["camp"] });
  assert.equal(peer.ws.protocol, "camp");
});

test("a client that offers permessage-deflate is served all the same", async (t) => {
  const { server, port } = await startServer(t);
  echo(server);
  const { peer } = await openSession({ server, port }, { wsOptions: { perMessageDeflate: true } });
  await peer.echo("a".repeat(5000));
});

test("frames sent in one segment with the upgrade request are not lost, also while validate runs", async (t) => {
  for (const slow of [false, true]) {
    const answer = deferred();
    const { server, port } = await startServer(t, {}, { validate: () => (slow ? answer.promise : true) });
    const texts = [];
    const received = deferred();
    server.on("session", (session) => session.on("message-utf8", (text) => {
      texts.push(text);
      if (texts.length === 3) received.resolve();
    }));
    const sid = 3n;
    const frames = [
      { type: "ENDPOINT_INFO", sid, ack: 0, version: 1, features: 1n },
      ...["one", "two", "three"].map((text, i) => ({ type: "UTF8DATA", sid, ack: i + 1, text })),
    ];
    const upgrading = rawUpgrade({
      port, target: target({ sid }), trailing: Buffer.concat(frames.map((frame) => wsFrame({ payload: encode(frame) }))),
    });
    if (slow) setTimeout(answer.resolve, 100, true);
    const response = await upgrading;
    assert.equal(response.status, 101);
    const peer = new RawPeer(response, { sid });
    await within(received.promise, 5000, "three messages");
    assert.deepEqual(texts, ["one", "two", "three"]);
    for (const ack of [0, 1, 2, 3]) await peer.next(({ frame }) => frame?.type === "ACK" && frame.ack === ack);
  }
});
