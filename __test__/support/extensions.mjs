// Names of hooks and frames by kind of message.

export const SEND = { utf8: "before_send_utf8", binary: "before_send_binary", error: "before_send_error" };
export const RECEIVE = { utf8: "on_receive_utf8", binary: "on_receive_binary", error: "on_receive_error" };
export const KINDS = ["utf8", "binary", "error"];
export const FRAME = { utf8: "UTF8DATA", binary: "BINARYDATA", error: "ERROR" };

export const payload = (kind, text) => (kind === "binary" ? Buffer.from(text) : text);
export const send = (session, kind, text) =>
  ({ utf8: () => session.base.SendUTF8(text), binary: () => session.base.SendBinary(Buffer.from(text)), error: () => session.base.SendError(text) })[kind]();
export const peerSend = (peer, kind, text) =>
  ({ utf8: () => peer.sendText(text), binary: () => peer.sendBinary(Buffer.from(text)), error: () => peer.sendError(text) })[kind]();
export const textOf = (frame) => frame.text ?? frame.message ?? Buffer.from(frame.data).toString();

/** Records `extension-error`. */
export function errorsOf(server) {
  const errors = [];
  server.on("extension-error", (error, extension, hook) => errors.push([error.message, extension.name, hook]));
  return errors;
}
