// The extensions of a server: who is registered, and the running of their hooks.
import { types } from "node:util";
import { DataKind } from "./numbers.js";
import { debugSection } from "./options.js";
import { nearest, unknownName } from "./option-names.js";
import { peek, report } from "./report.js";
import { warn } from "./warnings.js";

/** @typedef {import("../index.js").ICAMPExtension} Extension */
/** @typedef {import("./server.js").CAMPWebsocketServer} Server */
/** @typedef {import("./session.js").CAMPServerWebsocketSession} Session */
/** @typedef {keyof Extension & `${"before" | "on"}_${string}`} HookName */
/** @typedef {{ value: any }} Box */

const SEND_HOOKS = /** @type {const} */ (["before_send_utf8", "before_send_binary", "before_send_error"]);
const RECEIVE_HOOKS = /** @type {const} */ (["on_receive_utf8", "on_receive_binary", "on_receive_error"]);
const CALLBACKS = /** @type {const} */ (["on_register", "on_unregister", ...SEND_HOOKS, ...RECEIVE_HOOKS]);

/** Bits of the native side's mask below the number of a set. */
const KIND_BITS = 3;

/** Sets kept for messages that met them and still wait behind a slow hook; older ones become the present one. */
const MAX_SETS = 256;

/**
 * The extensions with hooks for each kind of message, in the order of their registration. Never
 * changed once made: a message keeps the set it met.
 *
 * @typedef {object} HookSet
 * @property {readonly Extension[][]} send
 * @property {readonly Extension[][]} receive
 */

/** @type {HookSet} */
const NO_HOOKS = { send: [[], [], []], receive: [[], [], []] };

export class Extensions {
  #server;
  /** In the order of registration. @type {Map<string, Extension>} */
  #byName = new Map();
  #current = NO_HOOKS;
  #number = 0;
  /** Those with receive hooks, by number, the newest last. @type {Map<number, HookSet>} */
  #sets = new Map();
  #debug = debugSection("CAMP_EXTENSION");
  /** The hooks of each extension that have given `undefined`. @type {WeakMap<Extension, Set<string>>} */
  #undecided = new WeakMap();

  /** @param {Server} server */
  constructor(server) {
    this.#server = server;
  }

  /** @param {Extension} extension */
  register(extension) {
    const { name } = check(extension);
    if (this.#byName.has(name)) throw new Error(`Extension '${name}' is already registered!`);
    this.#byName.set(name, extension);
    this.#renew();
    this.#trace(name, "is registered");
    try {
      this.#watch(extension.on_register?.(this.#server), extension, "on_register");
    } catch (error) {
      this.#byName.delete(name);
      this.#renew();
      throw error;
    }
  }

  /** @param {Extension | string} which */
  unregister(which) {
    for (const [name, extension] of this.#byName) {
      if (extension !== which && name !== which) continue;
      this.#byName.delete(name);
      this.#renew();
      this.#trace(name, "is unregistered");
      try {
        this.#watch(extension.on_unregister?.(this.#server), extension, "on_unregister");
      } catch (error) {
        this.#report(error, extension, "on_unregister");
      }
      return;
    }
  }

  unregisterAll() {
    for (const name of [...this.#byName.keys()]) this.unregister(name);
  }

  get names() {
    return [...this.#byName.keys()];
  }

  /** @param {string} name */
  get(name) {
    return this.#byName.get(name) ?? null;
  }

  /**
   * The extensions that a message sent now meets.
   *
   * @param {number} kind
   */
  sending(kind) {
    return /** @type {Extension[]} */ (this.#current.send[kind]);
  }

  /**
   * Runs the send hooks of a message. `done` is called with whether it is to be sent; what is to be
   * sent is left in the box. Without a slow hook it is called before this returns.
   *
   * @param {Extension[]} extensions
   * @param {Session} session
   * @param {number} kind
   * @param {Box} box
   * @param {(passed: boolean) => void} done
   */
  runSend(extensions, session, kind, box, done) {
    new Run(extensions, /** @type {HookName} */ (SEND_HOOKS[kind]), session, kind, box, this.#listener, done).next(0);
  }

  /**
   * Runs the receive hooks of a message in the same way.
   *
   * @param {Session} session
   * @param {number} set the number of the hooks it met on arrival
   * @param {number} kind
   * @param {Box} box
   * @param {(passed: boolean) => void} done
   */
  runReceive(session, set, kind, box, done) {
    const { receive } = this.#sets.get(set) ?? this.#current;
    const name = /** @type {HookName} */ (RECEIVE_HOOKS[kind]);
    new Run(/** @type {Extension[]} */ (receive[kind]), name, session, kind, box, this.#listener, (passed) => {
      if (!passed) this.#trace(String(session.sid), `${name} suppressed a message`);
      done(passed);
    }).next(0);
  }

  /** Makes the set of those registered now, and lets messages meet it from now on. */
  #renew() {
    const extensions = [...this.#byName.values()];
    /** @param {readonly HookName[]} names */
    const having = (names) => names.map((name) => extensions.filter((extension) => extension[name] != null));
    this.#current = { send: having(SEND_HOOKS), receive: having(RECEIVE_HOOKS) };
    this.#number = (this.#number + 1) & (0xffffffff >>> KIND_BITS);
    const held = bits(this.#current.receive);
    if (held !== 0) this.#sets.set(this.#number, this.#current);
    if (this.#sets.size > MAX_SETS) {
      const [oldest = 0] = this.#sets.keys();
      this.#sets.delete(oldest);
    }
    this.#server._sendHooks = bits(this.#current.send);
    this.#server._native.setHooks(((this.#number << KIND_BITS) | held) >>> 0);
  }

  /**
   * @param {unknown} result
   * @param {Extension} extension
   * @param {string} name
   */
  #watch(result, extension, name) {
    Promise.resolve(result).catch((error) => this.#report(error, extension, name));
  }

  /**
   * @param {unknown} error
   * @param {Extension} extension
   * @param {string} hook
   */
  #report = (error, extension, hook) => {
    this.#trace(nameOf(extension), `${hook} failed:`, error);
    try {
      this.#server._emit("extension-error", error, extension, hook);
    } catch (second) {
      this.#server._onListenerError(second, "extension-error");
    }
  };

  /**
   * A hook has given `undefined`. Where that is for want of a `return`, a logger silences a server.
   *
   * @param {Extension} extension
   * @param {string} hook
   */
  #onUndecided = (extension, hook) => {
    let hooks = this.#undecided.get(extension);
    if (hooks === undefined) this.#undecided.set(extension, (hooks = new Set()));
    if (hooks.has(hook)) return;
    hooks.add(hook);
    const name = nameOf(extension);
    warn("CAMP_HOOK_RESULT", `${hook} of extension '${name}' has given undefined, which suppresses the message: return true to let it pass, false to suppress it.`);
  };

  /** @type {RunListener} */
  #listener = { failed: this.#report, undecided: this.#onUndecided };

  /**
   * @param {string} name
   * @param {string} what
   * @param {unknown[]} details
   */
  #trace(name, what, ...details) {
    if (this.#debug) report(`CAMP_EXTENSION ${name} ${what}`, ...details);
  }
}

/**
 * Who is told of what hooks do.
 *
 * @typedef {object} RunListener
 * @property {(error: unknown, extension: Extension, hook: string) => void} failed
 * @property {(extension: Extension, hook: string) => void} undecided
 */

/** One message on its way through the hooks of its kind. */
class Run {
  #extensions;
  #name;
  #session;
  #kind;
  #box;
  #listener;
  #done;

  /**
   * @param {Extension[]} extensions
   * @param {HookName} name
   * @param {Session} session
   * @param {number} kind
   * @param {Box} box
   * @param {RunListener} listener
   * @param {(passed: boolean) => void} done
   */
  constructor(extensions, name, session, kind, box, listener, done) {
    this.#extensions = extensions;
    this.#name = name;
    this.#session = session;
    this.#kind = kind;
    this.#box = box;
    this.#listener = listener;
    this.#done = done;
  }

  /** @param {number} index which hook is next */
  next(index) {
    for (let i = index; i < this.#extensions.length; i++) {
      const extension = /** @type {Extension} */ (this.#extensions[i]);
      const good = this.#box.value;
      let verdict;
      try {
        const hook = /** @type {any} */ (extension[this.#name]);
        if (hook != null) verdict = this.#session._scope.run(hook, extension, this.#session, this.#box);
        if (typeof verdict?.then === "function") {
          // A thenable of other making may call back more than once, or at once: a promise does not.
          const promise = types.isPromise(verdict) ? verdict : Promise.resolve(verdict);
          promise.then(
            (settled) => this.#goOn(settled, good, i),
            (error) => this.#goOn(this.#failed(error, extension), good, i),
          );
          return;
        }
      } catch (error) {
        verdict = this.#failed(error, extension);
      }
      if (!this.#settle(verdict, good, extension)) return;
    }
    this.#done(true);
  }

  /**
   * @param {unknown} verdict
   * @param {unknown} good
   * @param {number} index of the hook that gave it
   */
  #goOn(verdict, good, index) {
    if (this.#settle(verdict, good, /** @type {Extension} */ (this.#extensions[index]))) this.next(index + 1);
  }

  /**
   * A hook that fails counts as one that lets the message pass.
   *
   * @param {unknown} error
   * @param {Extension} extension
   */
  #failed(error, extension) {
    this.#listener.failed(error, extension, this.#name);
    return true;
  }

  /**
   * False: the message is suppressed.
   *
   * @param {unknown} verdict
   * @param {unknown} good what the box held before
   * @param {Extension} extension
   */
  #settle(verdict, good, extension) {
    if (!verdict) {
      if (verdict === undefined) this.#listener.undecided(extension, this.#name);
      this.#done(false);
      return false;
    }
    try {
      const { value } = this.#box;
      if (this.#kind === DataKind.BINARY ? Buffer.isBuffer(value) : typeof value === "string") return true;
      this.#box.value = good;
      this.#listener.failed(new TypeError(`${this.#name} left ${describe(value)} in the box.`), extension, this.#name);
    } catch (error) {
      this.#box.value = good;
      this.#listener.failed(error, extension, this.#name);
    }
    return true;
  }
}

/**
 * @param {Extension} extension
 * @returns {Extension}
 */
function check(extension) {
  if (typeof extension !== "object" || extension === null) {
    throw new TypeError(`An extension must be an object, not ${describe(extension)}.`);
  }
  if (typeof extension.name !== "string") {
    throw new TypeError(`An extension's name must be a string, not ${describe(extension.name)}.`);
  }
  for (const name of CALLBACKS) {
    if (extension[name] != null && typeof extension[name] !== "function") {
      throw new TypeError(`${name} of extension '${extension.name}' must be a function, not ${describe(extension[name])}.`);
    }
  }
  for (const name of functionsOf(extension)) {
    const hook = CALLBACKS.find((known) => known === name) ?? nearest(name, CALLBACKS);
    // Beside the hook itself it is a function of the extension's own.
    if (hook === undefined || extension[/** @type {HookName} */ (hook)] != null) continue;
    throw unknownName(`Extension '${extension.name}' has no hook ${name}: did you mean ${hook}?`);
  }
  return extension;
}

/**
 * The names of an extension's functions, those of its classes included. No getter is called.
 *
 * @param {object} extension
 */
function functionsOf(extension) {
  const names = [];
  for (let object = extension; object !== null && object !== Object.prototype; object = Object.getPrototypeOf(object)) {
    for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(object))) {
      if (typeof value === "function") names.push(name);
    }
  }
  return names;
}

/** @param {readonly unknown[][]} byKind */
function bits(byKind) {
  return byKind.reduce((mask, extensions, kind) => (extensions.length === 0 ? mask : mask | (1 << kind)), 0);
}

/**
 * The name that it has by now.
 *
 * @param {Extension} extension
 */
function nameOf(extension) {
  const name = peek(extension, "name");
  return typeof name === "string" ? name : describe(name);
}

/** @param {unknown} value */
function describe(value) {
  return value === null ? "null" : typeof value;
}
