// Async contexts: what `AsyncLocalStorage` and monitoring tools take for the origin of what runs.
import { AsyncLocalStorage, AsyncResource } from "node:async_hooks";

/**
 * Whether an AsyncResource holds its context, so that what is entered in its scope stays there. Where the engine holds
 * the context, as it does by default from Node 24 on, each run of a resource begins anew.
 */
const HOLDS = "_propagate" in AsyncLocalStorage.prototype;

/** The scope that runs now, where resources do not hold their context. @type {Scope | undefined} */
let running;

/**
 * The async context of one session, or of something else that callbacks are called for. It begins as that of the code
 * that makes it. A callback that enters another with `enterWith` changes it for the later ones, and for nobody else.
 */
export class Scope {
  #type;
  #resource;

  /** @param {string} type as `async_hooks` shows it */
  constructor(type) {
    this.#type = type;
    this.#resource = new AsyncResource(type);
  }

  /**
   * Calls a function in this context, with what is left of the arguments.
   *
   * @template T
   * @param {(this: any, ...args: any[]) => T} action
   * @param {unknown} [self]
   * @param {unknown} [first]
   * @param {unknown} [second]
   * @returns {T}
   */
  run(action, self, first, second) {
    if (HOLDS) return /** @type {T} */ (this.#resource.runInAsyncScope(action, self, first, second));
    if (running === this) return action.call(self, first, second);
    return /** @type {T} */ (this.#resource.runInAsyncScope(this.#runAndHold, this, action, self, first, second));
  }

  /**
   * @template T
   * @param {(this: any, ...args: any[]) => T} action
   * @param {unknown} self
   * @param {unknown} first
   * @param {unknown} second
   * @returns {T}
   */
  #runAndHold(action, self, first, second) {
    const outer = running;
    running = this;
    try {
      return action.call(self, first, second);
    } finally {
      running = outer;
      this.#resource = new AsyncResource(this.#type);
    }
  }
}

/** The context of the code that makes it. No callback runs in it, so it never changes. */
export class Origin {
  #resource = new AsyncResource("CAMPServer");

  /**
   * A scope that begins with this context, whatever is running.
   *
   * @param {string} type as `async_hooks` shows it
   * @returns {Scope}
   */
  scope(type) {
    return this.#resource.runInAsyncScope(newScope, undefined, type);
  }
}

/** @param {string} type */
function newScope(type) {
  return new Scope(type);
}

/**
 * The callback, called in the context of now.
 *
 * @template {unknown[]} A
 * @param {(...args: A) => void} callback
 * @returns {(...args: A) => void}
 */
export function inThisContext(callback) {
  const resource = new AsyncResource("CAMPCallback");
  return (...args) => void resource.runInAsyncScope(callback, undefined, ...args);
}
