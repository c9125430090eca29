// The records that concern a server as a whole: to whom each is handed.
import { bytesAt, chunk, LARGE, word32 } from "./chunk.js";
import { dispatchHttp } from "./http-records.js";

const VALIDATE = 11;
const VALIDATION_CANCELLED = 12;
const LISTENING = 13;
const FAILED = 14;
const STOPPED = 15;
const REFUSED = 33;
const PEER_FAILED = 35;

/** @typedef {import("./session.js").CAMPServerWebsocketSession} Session */

/**
 * Who is told of what concerns a server as a whole.
 *
 * @typedef {object} Receiver
 * @property {import("./scope.js").Scope} scope the context of what concerns no session
 * @property {(slot: number, sid: bigint, remote: string, token: string) => Session} opened
 * @property {(slot: number, id: number, sid: bigint, remote: string) => Session | undefined} peerOpened
 * @property {(id: number, failure: number, status: number, text: string) => void} peerFailed
 * @property {(slot: number) => void} closed the session's end has been told; its slot may go
 * @property {(id: number, payload: Buffer) => void} validate
 * @property {(id: number) => void} validationCancelled
 * @property {(status: number, remote: string, reason: string) => void} refused
 * @property {(port: number, family: number, address: string) => void} listening
 * @property {(code: string, message: string) => void} failed
 * @property {() => void} stopped
 * @property {(error: unknown) => void} fault a record could not be dealt with
 * @property {() => import("./http.js").HttpInterop | undefined} http who takes connections that are not ours
 */

/**
 * @param {Receiver} receiver
 * @param {number} id of what it is about: an upgrade request, an attempt to connect, an HTTP connection
 * @param {number} word the record's second
 * @param {number} start of its payload
 * @param {number} length
 * @param {(length: number) => Buffer} largeBytes takes a payload that lies beside the log
 */
export function dispatchServer(receiver, id, word, start, length, largeBytes) {
  const i = start >>> 2;
  switch (word & 0xff) {
    case VALIDATE:
      receiver.validate(id, bytesAt(start, length));
      break;
    case VALIDATE | LARGE:
      receiver.validate(id, largeBytes(length));
      break;
    case VALIDATION_CANCELLED:
      receiver.validationCancelled(id);
      break;
    case LISTENING:
      receiver.listening(word32(i), word32(i + 1), chunk.latin1Slice(start + 8, start + length));
      break;
    case FAILED: {
      const [code = "", message = ""] = chunk.utf8Slice(start, start + length).split("\0");
      receiver.failed(code, message);
      break;
    }
    case STOPPED:
      receiver.stopped();
      break;
    case REFUSED: {
      const from = start + 8;
      const remoteEnd = from + word32(i + 1);
      receiver.refused(word32(i), chunk.latin1Slice(from, remoteEnd), chunk.utf8Slice(remoteEnd, start + length));
      break;
    }
    case PEER_FAILED:
      receiver.peerFailed(id, word32(i), word32(i + 1), chunk.utf8Slice(start + 8, start + length));
      break;
    default:
      dispatchHttp(receiver.http(), id, word, start, length, largeBytes);
  }
}
