// The extension example of camp-server 1.0.9's readme. Corrections, each because the readme's text
// is not valid TypeScript: the types come from the package; the second `before_send_utf8` is what
// it logs, `on_receive_binary`, and uses its own parameter; `Buffer.toString` takes an encoding.
import {Box, ICAMPExtension, CAMPServerWebsocketSession} from "camp-server";

class LoggerExtension implements ICAMPExtension {
    public name = "unique_name_for_logger";

    public async before_send_utf8(session: CAMPServerWebsocketSession, outgoing_message: Box<string>) {
        console.log(`Outgoing UTF-8 message: "${outgoing_message.value}"`);
        return true;
    }

    public async before_send_binary(session: CAMPServerWebsocketSession, outgoing_message: Box<Buffer>) {
        console.log(`Outgoing binary message: "${outgoing_message.value.toString("hex")}"`);
        return true;
    }

    public async on_receive_utf8(session: CAMPServerWebsocketSession, incoming_message: Box<string>) {
        console.log(`Incoming UTF-8 message: "${incoming_message.value}"`);
        return true;
    }

    public async on_receive_binary(session: CAMPServerWebsocketSession, incoming_message: Box<Buffer>) {
        console.log(`Incoming binary message: "${incoming_message.value.toString("hex")}"`);
        return true;
    }
}

export const logger: ICAMPExtension = new LoggerExtension();
