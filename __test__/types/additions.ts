// What this package adds to camp-server 1.0.9: what compiles, and what does not.
import { CAMP, CAMPServerWebsocketSession, CAMPUpgradeRequest, ServerStats, SessionStats } from "camp-server";

/** Compiles only when both types are the same. */
function same<A, B>(..._proof: (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? [] : [never]): void {}

// Validators
export const server = CAMP({
    validate(token, request) {
        same<typeof token, string>();
        same<typeof request, CAMPUpgradeRequest>();
        same<typeof request.url, string>();
        same<typeof request.remoteAddress, string>();
        same<typeof request.sid, bigint>();
        same<typeof request.signal, AbortSignal>();
        return request.headers["x-key"] === token;
    },
});
// @ts-expect-error origins are strings
CAMP({ validate: () => true }, { allowedOrigins: [/example/] });
// @ts-expect-error a path is a string
CAMP({ validate: () => true }, { path: 5 });

// Sessions, sending, figures
for (const session of server.sessions) {
    same<typeof session, CAMPServerWebsocketSession>();
    const signal = AbortSignal.timeout(5);
    session.base.SendUTF8("x", { signal }).catch(() => {});
    session.base.SendBinary(new Uint8Array(1), { timeoutMs: 5 }).catch(() => {});
    session.base.SendError("x", { signal: undefined, timeoutMs: undefined }).catch(() => {});
    // @ts-expect-error milliseconds are a number
    session.base.SendUTF8("x", { timeoutMs: "5" });
    same<ReturnType<typeof session.stats>, SessionStats>();
    session.stats().rttMs.toFixed();
}
same<typeof server.sessions.size, number>();
// @ts-expect-error a view
server.sessions.size = 1;
// @ts-expect-error a view
server.sessions.add;
same<ReturnType<typeof server.stats>, ServerStats>();
same<ReturnType<typeof server.metrics>, string>();
same<ReturnType<typeof server.Drain>, Promise<void>>();
void server.Drain(1000);
server.SetSecureContext({ key: "", cert: Buffer.alloc(1) });
// @ts-expect-error key and certificate belong together
server.SetSecureContext({ key: "" });
