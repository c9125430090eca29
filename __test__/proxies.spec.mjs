// The README's configurations of proxies, run by the proxies themselves.
import assert from "node:assert/strict";
import { request } from "./support/http.mjs";
import { PROXIES, startProxy } from "./support/http-proxies.mjs";
import { Peer, freshSid } from "./support/peer.mjs";
import { target } from "./support/raw.mjs";
import { echo, once, openSession, startServer } from "./support/server.mjs";
import { test } from "./support/test.mjs";
import { eventually } from "./support/wait.mjs";

const MIB = 1 << 20;

for (const proxy of PROXIES) {
  const skip = proxy.program === undefined && `${proxy.name} is not installed: apt-get install ${proxy.name.toLowerCase()}`;
  if (skip) console.log(`SKIPPED, for ${skip}`);
  const testBehind = (name, body) => test(`${proxy.name}: ${name}`, { skip }, body);

  /** A server that echoes and has a page, with the proxy before it. */
  const start = async (t, options = {}, { timeout } = {}) => {
    const running = await startServer(t, options);
    echo(running.server);
    running.server.setMaxListeners(0);
    running.server.http_server.on("request", (incoming, response) => void incoming.pipe(response));
    const { path, log } = await startProxy(t, proxy, { port: running.port, timeout });
    const ask = (options) => request({ socketPath: path, host: undefined, port: undefined, ...options });
    const url = (sid, path_ = "/") => `ws+unix:${path}:${target({ sid, path: path_ })}`;
    const open = () => {
      const sid = freshSid();
      return openSession(running, { sid, url: url(sid) });
    };
    return { ...running, ask, open, url, log };
  };

  testBehind("20 of 20 sessions come on connections that have carried a request before", async (t) => {
    const { server, ask, open } = await start(t);
    let connections = 0;
    server.http_server.on("connection", () => connections++);
    for (let i = 0; i < 20; i++) {
      const { status, text } = await ask({ method: "POST", path: "/page", body: `request ${i}` });
      assert.deepEqual([status, text], [200, `request ${i}`]);
      const { peer } = await open();
      await peer.echo(`message ${i}`);
    }
    // A session that does not take the connection of the request before leaves it to the next request. A proxy may do
    // that while it has not noticed that the answer is complete.
    assert.ok(connections > 10, `${connections} of 20`);
    assert.deepEqual([server.stats().sessions, server.stats().refused], [20, 0]);
  });

  testBehind("requests go on while sessions come and go at once", async (t) => {
    const { server, ask, open } = await start(t);
    const visitors = Array.from({ length: 20 }, async (_, i) => {
      await ask({ path: "/" });
      const { peer } = await open();
      await peer.echo(`visitor ${i}`);
      assert.equal((await ask({ method: "POST", body: `still ${i}` })).text, `still ${i}`);
      peer.close(4000);
      await peer.closed;
    });
    await Promise.all(visitors);
    assert.equal(server.stats().sessionsOpened, 20);
  });

  testBehind("large messages and large requests pass whole", async (t) => {
    const { ask, open } = await start(t);
    const { peer } = await open();
    for (const size of [1, 65_536, MIB]) {
      const data = Buffer.alloc(size, "0123456789abcdef");
      peer.sendBinary(data);
      assert.ok(Buffer.from((await peer.next("BINARYDATA", 20_000)).data).equals(data), `${size} bytes`);
      const { body } = await ask({ method: "POST", body: data });
      assert.ok(body.equals(data), `request of ${size} bytes`);
    }
  });

  testBehind("close codes pass in both directions", async (t) => {
    const { open } = await start(t);
    const ours = await open();
    ours.session.Destroy(4321, "by the server");
    assert.deepEqual(await ours.peer.closed, { code: 4321, reason: "by the server" });
    const theirs = await open();
    const closed = once(theirs.session, "closed");
    theirs.peer.close(4000);
    assert.equal((await theirs.peer.closed).code, 4000);
    await closed;
  });

  testBehind("a refusal reaches the client as it is, also on a connection in use", async (t) => {
    const { ask, url, port } = await start(t, { path: "/camp" });
    const sid = freshSid();
    for (const used of [false, true]) {
      if (used) await ask({ path: "/" });
      const refused = Peer.connect({ port, sid, url: url(sid, "/elsewhere") });
      await assert.rejects(refused, ({ status, body }) => status === 404 && /not spoken at this path/.test(body));
    }
  });

  testBehind("the heartbeat keeps a silent session from the proxy's timeout", async (t) => {
    const { open } = await start(t, { keepAliveIntervalMs: 1000 }, { timeout: "3s" });
    const { peer, session } = await open();
    // Six seconds and more, twice the timeout.
    await peer.until(() => peer.of("PING_PONG").length >= 7, 25_000, "7 pings");
    await session.base.SendUTF8("still there");
  });

  testBehind("a timeout that is shorter than the heartbeat ends the session", async (t) => {
    const { open } = await start(t, { keepAliveIntervalMs: 60_000 }, { timeout: "1s" });
    const { peer, session } = await open();
    await once(session, "closed", 10_000);
    assert.equal((await peer.closed).code, 1006);
  });

  testBehind("the log has paths and no tokens", async (t) => {
    const { ask, open, log } = await start(t);
    await ask({ path: "/page?secret=x" });
    const { peer } = await open();
    peer.close(4000);
    await eventually(() => /GET \/page.* 200 /.test(log()) && /GET \/.* 101 /.test(log()), 10_000, "both are logged");
    assert.doesNotMatch(log(), /authorization|secret/i);
  });
}
