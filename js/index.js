// The public exports.
import { CAMPWebsocketServer } from "./server.js";

export { CAMPError } from "./errors.js";
export { CAMPReadable, CAMP_FLOW_BEHAVIOUR } from "./readable.js";
export { CAMPServerWebsocketSession } from "./session.js";
export { CAMPWebsocketServer };

/**
 * Starts a server. It is returned at once and binds its port in the background.
 *
 * @param {import("../index.js").ITokenValidator} validator
 * @param {import("../index.js").ICAMPWebsocketServerOptions} [options]
 */
export function CAMP(validator, options) {
  return new CAMPWebsocketServer(validator, options);
}

export { CAMP as camp };
