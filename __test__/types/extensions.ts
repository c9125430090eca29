// Extensions: what compiles, and what does not.
import { Box, CAMP, CAMPServerWebsocketSession, CAMPWebsocketServer, ICAMPExtension } from "camp-server";

/** Compiles only when both types are the same. */
function same<A, B>(..._proof: (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? [] : [never]): void {}

const server = CAMP({ validate: () => true });

class Shout implements ICAMPExtension {
    name = "shout";

    on_register(of: CAMPWebsocketServer) {
        of.GetExtension(this.name);
    }

    before_send_utf8(session: CAMPServerWebsocketSession, message: Box<string>) {
        message.value = `${session.sid}: ${message.value.toUpperCase()}`;
        return true;
    }

    async on_receive_binary(_session: CAMPServerWebsocketSession, message: Box<Buffer>) {
        return message.value.length < 1000;
    }
}

const shout = new Shout();
server.RegisterExtension(shout);
server.RegisterExtension({ name: "hooks are optional" });
server.UnregisterExtension(shout);
server.UnregisterExtension("shout");
same<ReturnType<typeof server.GetExtension>, ICAMPExtension | null>();
server.on("extension-error", (error, extension, hook) => {
    same<typeof error, unknown>();
    same<typeof extension, ICAMPExtension>();
    same<typeof hook, string>();
});
// @ts-expect-error an extension has a name
server.RegisterExtension({});
// @ts-expect-error a hook answers with a boolean
server.RegisterExtension({ name: "x", before_send_utf8: () => "yes" });
// @ts-expect-error a text hook gets text
server.RegisterExtension({ name: "x", before_send_utf8: (_session, message: Box<Buffer>) => message.value.length > 0 });
