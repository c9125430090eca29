// The live sessions as the application sees them.

import { printable } from "./printing.js";

/** @typedef {import("./session.js").CAMPServerWebsocketSession} Session */

/** A view that cannot be changed from outside. */
export class SessionList {
  #sessions;

  /** @param {Set<Session>} sessions */
  constructor(sessions) {
    this.#sessions = sessions;
  }

  get size() {
    return this.#sessions.size;
  }

  [Symbol.iterator]() {
    return this.#sessions.values();
  }
}

printable(SessionList, "SessionList", (list) => ({ size: list.size, sids: Array.from(list, ({ sid }) => sid) }));
