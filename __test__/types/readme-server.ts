// The server example of camp-server 1.0.9's readme. One correction: the package is imported under
// its name, `camp-server`.
import {CAMP} from "camp-server";

const PORT = 8080;

const server = await CAMP({
    async validate(token: string): Promise<boolean> {
        return token === "MySuperSecretToken";
    }
}, {port: PORT});

server.on("listening", () => {
    console.info("Server is listening...");
    server.on("session", async session => {
        console.info(`Session ID: ${session.id}`);
    });
});
