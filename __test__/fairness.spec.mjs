// What one client sends cheaply, by the thousand, does not hold up the others; and a message has its bound of fragments.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { Child } from "./support/child.mjs";
import { encode } from "./support/frames.mjs";
import { CERT, SECURE, info } from "./support/other-server.mjs";
import { freshSid } from "./support/peer.mjs";
import { OPCODE, RawPeer, rawUpgrade, target, wsFrame } from "./support/raw.mjs";
import { echo, once, sessionFor, startServer } from "./support/server.mjs";
import { test } from "./support/test.mjs";
import { eventually } from "./support/wait.mjs";

/** Bytes that lie ready in the server's socket: what it could read without a pause. */
const READY = 60_000;
const MAX_FRAGMENTS = 65_536;

const times = (bytes, count = Math.floor(READY / bytes.length)) => Buffer.alloc(bytes.length * count, bytes);
const many = (frame, count) => times(wsFrame(frame), count);
const text = (sid, body) => encode({ type: "UTF8DATA", sid, ack: 1, text: body });
const camp = (sid, frame) => many({ payload: encode({ sid, ...frame }) });
const pairs = (sid) => Buffer.concat([
  wsFrame({ payload: encode({ type: "TX_START", sid, ack: 2, txId: 1, size: -1n, behaviour: 0, name: "" }) }),
  wsFrame({ payload: encode({ type: "TX_CANCEL", sid, ack: 3, txId: 1 }) }),
]);

/** A message whose first fragment has all of it, and whose last one is empty. */
const fragmented = (payload, fragments) => Buffer.concat([
  wsFrame({ payload, fin: false }), many({ opcode: OPCODE.CONTINUATION, fin: false }, fragments - 2), wsFrame({ opcode: OPCODE.CONTINUATION }),
]);
const behind = (flood) => (sid) => Buffer.concat([flood(sid), wsFrame({ payload: text(sid, "flood") })]);

/** What ends, after all of it, with the text "flood". */
const FLOODS = {
  "empty fragments": (sid) => fragmented(text(sid, "flood"), READY / 6),
  pings: behind(() => many({ opcode: OPCODE.PING })),
  pongs: behind(() => many({ opcode: OPCODE.PONG })),
  "frames of PING_PONG": behind((sid) => camp(sid, { type: "PING_PONG", payload: "ping" })),
  "ACKs of nothing": behind((sid) => camp(sid, { type: "ACK", ack: 4_000_000 })),
  "chunks of no transaction": behind((sid) => camp(sid, { type: "TX_CHUNK", txId: 9, offset: 0n, data: [] })),
  "transactions begun and cancelled": behind((sid) => times(pairs(sid))),
};

async function connect(port, secure) {
  const sid = freshSid();
  const tls = secure ? { ca: CERT, servername: "localhost" } : undefined;
  const peer = new RawPeer(await rawUpgrade({ port, target: target({ sid }), tls }), { sid });
  peer.send(info(sid));
  await peer.next(({ frame }) => frame?.type === "ACK");
  return peer;
}

const written = (socket, bytes) => new Promise((resolve) => socket.write(bytes, resolve));
const isStopped = (pid) => / T /.test(readFileSync(`/proc/${pid}/stat`, "latin1"));

for (const secure of [false, true]) {
  for (const [what, flood] of Object.entries(FLOODS)) {
    const skip = process.platform === "linux" ? false : "reads /proc";

    test(`${what} do not hold up another session's message, over ${secure ? "TLS" : "TCP"}`, { skip }, async (t) => {
      const options = secure ? { ssl: { key: SECURE.key.toString(), cert: SECURE.cert.toString() } } : {};
      const child = Child.start(t, "order-server.mjs", { options });
      const { port } = await child.report("listening");
      const flooder = await connect(port, secure);
      const other = await connect(port, secure);
      // Both have sent before the server reads anything of it.
      child.process.kill("SIGSTOP");
      await eventually(() => isStopped(child.process.pid));
      flooder.socket.write(flood(flooder.sid));
      await written(other.socket, wsFrame({ payload: text(other.sid, "other") }));
      child.process.kill("SIGCONT");
      const order = [await child.report("message"), await child.report("message")];
      assert.deepEqual(order.map(({ text: body }) => body), ["other", "flood"]);
      flooder.socket.destroy();
      other.socket.destroy();
    });
  }
}

test("a message of 65,536 fragments is delivered, one of more is closed with 1009", async (t) => {
  const running = await startServer(t);
  echo(running.server);
  for (const [fragments, taken] of [[MAX_FRAGMENTS, true], [MAX_FRAGMENTS + 1, false]]) {
    const sid = freshSid();
    const found = sessionFor(running.server, sid);
    const peer = new RawPeer(await rawUpgrade({ port: running.port, target: target({ sid }) }), { sid });
    const session = await found;
    const closed = once(session, "closed", 20_000);
    peer.send(info(sid));
    peer.socket.write(fragmented(text(sid, "whole"), fragments));
    if (taken) {
      const { frame } = await peer.next(({ frame: got }) => got?.type === "UTF8DATA", 20_000);
      assert.equal(frame.text, "whole");
      peer.socket.destroy();
    } else {
      assert.deepEqual(await peer.closed, { code: 1009, reason: "A message of more than 65536 fragments." });
    }
    await closed;
  }
});
