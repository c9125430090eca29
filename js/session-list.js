// The live sessions as the application sees them.

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
