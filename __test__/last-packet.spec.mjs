// A peer that sends its first frames and its end in one packet: what was accepted is acknowledged before the end is answered.
import assert from "node:assert/strict";
import { MAX_PAYLOAD, encode, rawFrame } from "./support/frames.mjs";
import { CERT, SECURE, info, letIn, otherServer } from "./support/other-server.mjs";
import { freshSid } from "./support/peer.mjs";
import { OPCODE, RawPeer, closePayload, rawUpgrade, target, wsFrame } from "./support/raw.mjs";
import { once, record, sessionFor, startServer } from "./support/server.mjs";
import { test } from "./support/test.mjs";
import { within } from "./support/wait.mjs";

const TEXTS = ["one", "two", "three"];
const bye = (sid) => ({ payload: encode({ type: "BYE", sid, ack: 4, reason: "bye" }) });

/** How a peer can end: what it sends behind its texts, which ACKs it is owed, and with which code it is answered. */
const ENDS = {
  "its close frame": { frames: () => [{ opcode: OPCODE.CLOSE, payload: closePayload(1000) }], acks: 4, code: 1000 },
  "a close frame without a code": { frames: () => [{ opcode: OPCODE.CLOSE }], acks: 4, code: 1005 },
  BYE: { frames: (sid) => [bye(sid)], acks: 5, code: 4000 },
  "BYE and its close frame": {
    frames: (sid) => [bye(sid), { opcode: OPCODE.CLOSE, payload: closePayload(4000, "bye") }], acks: 5, code: 4000,
  },
  "a text message": { frames: () => [{ opcode: OPCODE.TEXT, payload: "x" }], acks: 4, code: 1003 },
  "a reserved opcode": { frames: () => [{ opcode: 3 }], acks: 4, code: 1002 },
  "a frame over the limit": { frames: () => [{ declaredLength: MAX_PAYLOAD + 100 }], acks: 4, code: 1009 },
  "a payload over the limit": {
    frames: (sid) => [{ payload: encode({ type: "BINARYDATA", sid, ack: 4, data: Buffer.alloc(MAX_PAYLOAD + 1) }) }], acks: 4, code: 1009,
  },
  "sixteen malformed frames": { frames: (sid) => Array(16).fill({ payload: rawFrame(sid, 77, [1, 2, 3, 4]) }), acks: 4, code: 4001 },
  "the end of its sending (FIN)": { frames: () => [], acks: 4, fin: true },
};

/** Everything the peer says, its end included. */
function packet(sid, { frames }, mask) {
  const texts = TEXTS.map((text, i) => ({ payload: encode({ type: "UTF8DATA", sid, ack: i + 1, text }) }));
  return Buffer.concat([{ payload: info(sid) }, ...texts, ...frames(sid)].map((frame) => wsFrame({ ...frame, mask })));
}

async function assertOwed(peer, { acks, code, fin }, what) {
  const closed = await within(peer.closed, 5000, what);
  const frames = peer.messages.flatMap(({ frame }) => (frame === undefined ? [] : [frame]));
  assert.equal(frames[0]?.type, "ENDPOINT_INFO", what);
  const acknowledged = frames.filter(({ type }) => type === "ACK").map(({ ack }) => ack);
  assert.deepEqual(acknowledged, Array.from({ length: acks }, (_, ack) => ack), what);
  assert.equal(closed?.code, fin ? undefined : code, what);
  await within(peer.ended, 5000, `${what}: the end`);
}

const assertDelivered = (events, what) =>
  assert.deepEqual(events.map(([name, text]) => text ?? name), ["connected", ...TEXTS, "closed"], what);

for (const secure of [false, true]) {
  const over = secure ? "TLS" : "TCP";

  test(`a client gets ENDPOINT_INFO and every ACK before its end is answered, over ${over}`, async (t) => {
    const { server, port } = await startServer(t, secure ? { ssl: SECURE } : {});
    for (const [what, end] of Object.entries(ENDS)) {
      const sid = freshSid();
      let events, closed;
      const found = sessionFor(server, sid, (session) => {
        events = record(session);
        closed = once(session, "closed");
      });
      const response = await rawUpgrade({ port, target: target({ sid }), tls: secure ? { ca: CERT, servername: "localhost" } : undefined });
      assert.equal(response.status, 101);
      const peer = new RawPeer(response, { sid });
      peer.socket.write(packet(sid, end, true));
      if (end.fin) peer.socket.end();
      await found;
      await assertOwed(peer, end, what);
      await closed;
      assertDelivered(events, what);
    }
  });

  test(`another server gets ENDPOINT_INFO and every ACK before its end is answered, over ${over}`, async (t) => {
    const { server } = await startServer(t);
    for (const [what, end] of Object.entries(ENDS)) {
      let peer;
      const other = await otherServer(t, async (socket) => {
        peer = await letIn(socket, { trailing: (sid) => packet(sid, end, false) });
        if (end.fin) socket.end();
      }, { secure: secure ? SECURE : undefined });
      const session = await server.ConnectPeer(other.url.replace("127.0.0.1", "localhost"), "T", secure ? { ca: CERT } : {});
      const events = record(session);
      await once(session, "closed");
      await assertOwed(peer, end, what);
      assertDelivered(events, what);
    }
  });
}

test("ACKs go out before the answer to a close frame that comes behind a thousand messages at once", async (t) => {
  const { server, port } = await startServer(t);
  const sid = freshSid();
  const found = sessionFor(server, sid);
  const peer = new RawPeer(await rawUpgrade({ port, target: target({ sid }) }), { sid });
  const texts = Array.from({ length: 1000 }, (_, i) => wsFrame({ payload: encode({ type: "UTF8DATA", sid, ack: i + 1, text: String(i) }) }));
  peer.socket.write(Buffer.concat([wsFrame({ payload: info(sid) }), ...texts, wsFrame({ opcode: OPCODE.CLOSE, payload: closePayload(1000) })]));
  await found;
  await assertOwed(peer, { acks: 1001, code: 1000 }, "a thousand");
});
