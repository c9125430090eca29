// A TCP connection that is slow and breaks where one wants.
import net from "node:net";
import { once } from "node:events";

/**
 * Listens for one connection to `port` after the other. Each side's bytes are passed on in pieces of up to
 * `piece()` bytes, `pause()` ms apart, until `cutAfter` bytes have passed either way: then both ends are reset.
 */
export async function flakyProxy(t, { port, cutAfter = Infinity, piece = () => 65_536, pause = () => 0 }) {
  const sockets = new Set();
  let passed = 0;
  const cut = () => {
    for (const socket of sockets) socket.resetAndDestroy();
  };
  const pass = async (from, to) => {
    try {
      for await (const data of from) {
        for (let at = 0; at < data.length;) {
          const end = Math.min(data.length, at + Math.max(1, piece()), at + Math.max(1, cutAfter - passed));
          passed += end - at;
          if (!to.write(data.subarray(at, end))) await Promise.race([once(to, "drain"), once(to, "close")]);
          at = end;
          if (passed >= cutAfter) return cut();
          const ms = pause();
          if (ms > 0) await new Promise((resolve) => setTimeout(resolve, ms));
        }
      }
      to.end();
    } catch {
      to.destroy();
    }
  };
  const server = net.createServer({ allowHalfOpen: true }, (client) => {
    const upstream = net.connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => sockets.delete(socket));
    }
    void pass(client, upstream);
    void pass(upstream, client);
  });
  t.after(() => {
    cut();
    server.close();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { port: server.address().port, cut };
}
