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
has<actual.CAMPServerWebsocketSession["transaction"], declared.CAMPTransaction>();
has<actual.CAMPReadable, declared.CAMPReadable>();
has<typeof actual.CAMP_FLOW_BEHAVIOUR, typeof declared.CAMP_FLOW_BEHAVIOUR>();
has<typeof declared.CAMP_FLOW_BEHAVIOUR, typeof actual.CAMP_FLOW_BEHAVIOUR>();

/** What a function of ours gives back is what is declared. */
function gives<Actual extends Declared, Declared>(): [Actual?, Declared?] { return []; }

gives<ReturnType<actual.CAMPWebsocketServer["address"]>, ReturnType<declared.CAMPWebsocketServer["address"]>>();
gives<ReturnType<actual.CAMPWebsocketServer["Destroy"]>, Promise<void>>();
gives<Awaited<ReturnType<actual.CAMPWebsocketServer["ConnectPeer"]>>, actual.CAMPServerWebsocketSession>();
gives<Parameters<declared.CAMPWebsocketServer["ConnectPeer"]>, Parameters<actual.CAMPWebsocketServer["ConnectPeer"]>>();
gives<ReturnType<actual.CAMPServerWebsocketSession["Close"]>, Promise<void>>();
gives<ReturnType<actual.CAMPServerWebsocketSession["Destroy"]>, Promise<void>>();
gives<ReturnType<actual.CAMPServerWebsocketSession["base"]["SendBinary"]>, Promise<void>>();
gives<Parameters<declared.CAMPBase["SendBinary"]>, Parameters<actual.CAMPServerWebsocketSession["base"]["SendBinary"]>>();
gives<Parameters<typeof declared.CAMP>, Parameters<typeof actual.CAMP>>();
gives<ReturnType<actual.CAMPServerWebsocketSession["transaction"]["Stream"]>, Promise<void>>();
gives<ReturnType<actual.CAMPServerWebsocketSession["transaction"]["StreamRequestRange"]>, Promise<void>>();
gives<Awaited<ReturnType<actual.CAMPServerWebsocketSession["transaction"]["WaitForStream"]>>, actual.CAMPReadable>();
gives<Parameters<declared.CAMPTransaction["Stream"]>, Parameters<actual.CAMPServerWebsocketSession["transaction"]["Stream"]>>();
gives<ReturnType<actual.CAMPReadable["getReceivedBytes"]>, bigint>();
gives<ReturnType<actual.CAMPReadable["getRemainingBytes"]>, bigint | null>();
gives<ReturnType<actual.CAMPReadable["getProgress"]>, number | null>();
gives<ReturnType<actual.CAMPReadable["isComplete"]>, boolean>();
