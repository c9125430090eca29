// The messages of one session that wait for their receive hooks, or behind one that does.

/** @typedef {import("./session.js").CAMPServerWebsocketSession} Session */

/** @typedef {{ set: number, kind: number, box: { value: any } }} Entry */

/**
 * First in, first out, whatever time the hooks take. The native side gives out several messages at
 * once; each verdict is the oldest one's.
 */
export class ReceiveQueue {
  #session;
  /** What waits, from `#head` on. @type {Entry[]} */
  #entries = [];
  #head = 0;
  /** Whether the hooks of a message are under way. */
  #running = false;
  #pumping = false;

  /** @param {Session} session */
  constructor(session) {
    this.#session = session;
  }

  /**
   * @param {number} set the number of the hooks it met on arrival
   * @param {number} kind
   * @param {string | Buffer} message
   */
  add(set, kind, message) {
    this.#entries.push({ set, kind, box: { value: message } });
    this.#pump();
  }

  #pump() {
    if (this.#pumping) return;
    this.#pumping = true;
    while (!this.#running && this.#head < this.#entries.length) {
      const entry = /** @type {Entry} */ (this.#entries[this.#head++]);
      if (this.#head === this.#entries.length) {
        this.#entries = [];
        this.#head = 0;
      }
      this.#run(entry);
    }
    this.#pumping = false;
  }

  /** @param {Entry} entry */
  #run({ set, kind, box }) {
    const session = this.#session;
    // Of a session that has ended nothing is delivered, and its slot may be another's.
    if (session._closed) return;
    this.#running = true;
    session._server._extensions.runReceive(session, set, kind, box, (passed) => {
      this.#running = false;
      if (session._closed) return;
      session._server._functions.verdict(session._slot);
      session._server._exchange.schedule();
      if (passed) session._scope.run(session._message, session, kind, box.value);
      this.#pump();
    });
  }
}
