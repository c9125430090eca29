// Applications' tests replace timers and clocks. A server goes by those that there were when it was loaded.
import assert from "node:assert/strict";
import { createServer } from "node:net";
import { once } from "node:events";
import { Child } from "./support/child.mjs";
import { Peer } from "./support/peer.mjs";
import { test } from "./support/test.mjs";

/** A server that takes connections and says nothing. */
async function silent(t) {
  const server = createServer();
  const sockets = new Set();
  server.on("connection", (socket) => sockets.add(socket.on("error", () => {})));
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  return `ws://127.0.0.1:${server.address().port}`;
}

for (const by of ["mock.timers", "fake-timers", "fake-timers but for ticks", "stubs"]) {
  for (const when of ["before", "after"]) {
    const what = `timers replaced ${when} CAMP() by ${by}`;

    const begin = async (t, peerOptions) => {
      const child = Child.start(t, "faked-timers.mjs", { by, when });
      assert.deepEqual((await child.report("faked")).isFaked, true);
      const { port } = await child.report("listening");
      const peer = await Peer.connect({ port, ...peerOptions });
      await peer.ready();
      return { child, peer };
    };

    test(`${what}: sessions begin, echo, time out and end`, async (t) => {
      const { child, peer } = await begin(t);
      for (let i = 0; i < 20; i++) await peer.echo(`message ${i}`);
      peer.sendText("wait");
      assert.equal((await child.report("waited")).code, "ERR_CAMP_TIMEOUT");
      peer.sendText("stream");
      assert.equal((await child.report("streamed")).code, "ERR_CAMP_TIMEOUT");
      peer.sendText(`connect ${await silent(t)}`);
      assert.equal((await child.report("connected")).code, "ERR_CAMP_TIMEOUT");
      peer.sendText("destroy");
      await child.report("destroyed");
      assert.equal((await peer.closed).code, 4000);
    });

    // Node's own streams and servers stand still without ticks.
    if (by === "mock.timers" || by === "fake-timers but for ticks") {
      test(`${what}: streams are read, and HTTP requests answered`, async (t) => {
        const { child, peer } = await begin(t);
        peer.sendText("read");
        peer.sendTxStart({ txId: 1, name: "up" });
        peer.send({ type: "TX_CHUNK", txId: 1, offset: 0, data: Buffer.from("from afar") });
        peer.sendTracked({ type: "TX_FINISH", txId: 1 });
        assert.equal((await child.report("read")).text, "from afar");
        const response = await fetch(`http://127.0.0.1:${peer.port}/`, { headers: { connection: "close" } });
        assert.equal(await response.text(), "answered");
        peer.sendText("destroy");
        await child.report("destroyed");
      });
    }

    test(`${what}: sends that are not acknowledged time out, and so does draining`, async (t) => {
      const { child, peer } = await begin(t);
      peer.autoAck = false;
      peer.sendText("send");
      assert.equal((await child.report("sent")).code, "ERR_CAMP_ACK_TIMEOUT");
      peer.sendText("never acknowledged either");
      peer.sendText("drain");
      await child.report("destroyed");
    });
  }
}
