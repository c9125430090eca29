// The declarations against the JavaScript they describe: every export and every member declared exists.
import * as declared from "camp-server";
import * as actual from "../../js/index.js";

/** Compiles only when every key of `Declared` is one of `Actual`. */
function has<Actual, Declared>(..._proof: keyof Declared extends keyof Actual ? [] : [Exclude<keyof Declared, keyof Actual>]): void {}

has<typeof actual, typeof declared>();
has<typeof declared, typeof actual>();
has<actual.CAMPWebsocketServer, declared.CAMPWebsocketServer>();
has<actual.CAMPServerWebsocketSession, declared.CAMPServerWebsocketSession>();
has<actual.CAMPServerWebsocketSession["base"], declared.CAMPBase>();
has<declared.CAMPBase, actual.CAMPServerWebsocketSession["base"]>();
has<actual.CAMPError, declared.CAMPError>();

/** What a function of ours gives back is what is declared. */
function gives<Actual extends Declared, Declared>(): [Actual?, Declared?] { return []; }

gives<ReturnType<actual.CAMPWebsocketServer["address"]>, ReturnType<declared.CAMPWebsocketServer["address"]>>();
gives<ReturnType<actual.CAMPWebsocketServer["Destroy"]>, Promise<void>>();
gives<ReturnType<actual.CAMPServerWebsocketSession["Close"]>, Promise<void>>();
gives<ReturnType<actual.CAMPServerWebsocketSession["Destroy"]>, Promise<void>>();
gives<ReturnType<actual.CAMPServerWebsocketSession["base"]["SendBinary"]>, Promise<void>>();
gives<Parameters<declared.CAMPBase["SendBinary"]>, Parameters<actual.CAMPServerWebsocketSession["base"]["SendBinary"]>>();
gives<Parameters<typeof declared.CAMP>, Parameters<typeof actual.CAMP>>();
