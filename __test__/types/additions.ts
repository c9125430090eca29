// What this package adds to camp-server 1.0.9: what compiles, and what does not.
import { CAMP, CAMPUpgradeRequest } from "camp-server";

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
