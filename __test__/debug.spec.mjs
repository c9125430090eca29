import assert from "node:assert/strict";
import { Child } from "./support/child.mjs";
import { Peer } from "./support/peer.mjs";
import { test } from "./support/test.mjs";

const SECTIONS = ["CAMP_SERVER", "CAMP_SERVER_SESSION", "CAMP_SERVER_ACK", "CAMP_BACKPRESSURE", "CAMP_EXTENSION", "*"];
const TOKEN = "s3cr3t+T0ken/with=parts";
const WRONG = "wr0ng-T0ken-guessed";
const SID = 7_427_427_427n;

/** One client's short life against a server with that DEBUG; returns what the server printed. */
async function run(t, debug) {
  const child = Child.start(t, "echo-server.mjs", { token: TOKEN }, { env: debug === undefined ? {} : { DEBUG: debug } });
  const { port } = await child.report("listening");
  await assert.rejects(Peer.connect({ port, token: WRONG }));
  const peer = await Peer.connect({ port, token: TOKEN, sid: SID });
  await peer.ready();
  await peer.echo("hello");
  peer.sendBinary([1, 2, 3]);
  await peer.next("BINARYDATA");
  await peer.roundTrip();
  peer.close(4000);
  await child.report("closed");
  child.command("destroy");
  await child.exit();
  const lines = child.stderr.split("\n").filter((line) => line !== "");
  return { child, lines, about: (type) => lines.filter((line) => type.test(line) && line.includes(String(SID))) };
}

test("without DEBUG nothing is printed", async (t) => {
  assert.deepEqual((await run(t)).lines, []);
  assert.deepEqual((await run(t, "something:else")).lines, []);
});

test("CAMP_SERVER_SESSION prints one line a frame, with direction, type, sid and ack", async (t) => {
  const { about } = await run(t, "CAMP_SERVER_SESSION");
  for (const [type, each] of [[/ENDPOINT_INFO/i, 1], [/UTF8/i, 1], [/BINARY/i, 1]]) {
    const lines = about(type);
    assert.equal(lines.length, 2 * each, `${type}:\n${lines.join("\n")}`);
    // Both frames are alike but for their direction: without digits (times, acks), that is what differs.
    const [one, two] = lines.map((line) => line.replace(/\d+/g, "#"));
    assert.notEqual(one, two, "no direction");
  }
  // Both sides' ENDPOINT_INFO has ack 0, both texts have ack 1.
  for (const line of about(/ENDPOINT_INFO/i)) assert.match(line, /\b0\b/);
  for (const line of about(/UTF8/i)) assert.match(line, /\b1\b/);
  assert.equal(about(/PING_PONG/i).length, 2);
});

test("a section may be one of several in DEBUG", async (t) => {
  const { about } = await run(t, "foo,CAMP_SERVER_SESSION,bar");
  assert.equal(about(/UTF8/i).length, 2);
});

test("* prints every section", async (t) => {
  const { about } = await run(t, "*");
  assert.ok(about(/UTF8/i).length >= 2);
});

test("one section does not print another's lines", async (t) => {
  const { lines } = await run(t, "CAMP_EXTENSION");
  assert.deepEqual(lines, []);
});

test("a token is never printed, whatever the section", async (t) => {
  for (const section of SECTIONS) {
    const { child } = await run(t, section);
    const output = child.stdout + child.stderr;
    for (const token of [TOKEN, WRONG]) {
      const shapes = [token, encodeURIComponent(token), Buffer.from(token).toString("base64"), Buffer.from(token).toString("hex"), token.slice(0, 9)];
      for (const shape of shapes) assert.ok(!output.includes(shape), `DEBUG=${section} printed ${shape}`);
    }
  }
});

test("CAMP_SERVER tells where a validator failed, and not with which token", async (t) => {
  const child = Child.start(t, "failing-validator.mjs", {}, { env: { DEBUG: "CAMP_SERVER" } });
  const { port } = await child.report("listening");
  for (const token of ["hidden-token-1", "hidden-token-2"]) await assert.rejects(Peer.connect({ port, token }), { status: 401 });
  child.command("destroy");
  await child.exit();
  assert.match(child.stderr, /^CAMP_SERVER validate failed with TypeError\n {4}at .*failing-validator\.mjs:7/m);
  assert.match(child.stderr, /^CAMP_SERVER validate failed with ECONNREFUSED\n {4}at .*failing-validator\.mjs:8/m);
  assert.doesNotMatch(child.stderr, /hidden-token/);
});
