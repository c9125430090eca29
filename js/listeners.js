// Hands messages to listeners as `EventEmitter` does with `captureRejections`, for less: that keeps every message
// alive, and runs a reaction for it, until the promise that its listener returned is settled.
import { EventEmitter } from "node:events";
import { reportRejection } from "./pending.js";

const { emit } = EventEmitter.prototype;

/** By kind of message. */
const EVENTS = ["message-utf8", "message-binary", "message-error"];

/** @typedef {import("./session.js").CAMPServerWebsocketSession} Session */
/** @typedef {(error: unknown) => void} Report is told why a listener's promise was rejected */

/** The listeners of one session, as it hands out its messages. */
export class Listeners {
  #session;
  /** By kind of message, each made when it is first needed. @type {(Report | undefined)[]} */
  #reports = [undefined, undefined, undefined];

  /** @param {Session} session */
  constructor(session) {
    this.#session = session;
  }

  /**
   * Calls each listener of such messages; one that throws, or whose promise is rejected, is reported and stops nothing
   * else.
   *
   * @param {number} kind
   * @param {string | Buffer} message
   */
  call(kind, message) {
    const session = this.#session;
    const event = /** @type {string} */ (EVENTS[kind]);
    // Somebody looks at every event of the session.
    if (session.emit !== emit) return session._emit(event, message);
    for (const listener of session.rawListeners(event)) {
      try {
        const result = listener.call(session, message);
        if (result !== undefined && result !== null) this.#watch(kind, result);
      } catch (error) {
        session._server._onListenerError(error, event, session);
      }
    }
  }

  /**
   * @param {number} kind
   * @param {any} result what a listener has returned
   */
  #watch(kind, result) {
    const report = (this.#reports[kind] ??= (error) => {
      this.#session._server._onListenerError(error, /** @type {string} */ (EVENTS[kind]), this.#session);
    });
    if (reportRejection(result, report)) return;
    const { then } = result;
    if (typeof then === "function") then.call(result, undefined, report);
  }
}
