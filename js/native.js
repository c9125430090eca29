// The native module, and the I/O thread of this environment.
import { createRequire } from "node:module";

/** @type {typeof import("../native.cjs")} */
const native = createRequire(import.meta.url)("../native.cjs");

/** @type {InstanceType<typeof native.NativeCore> | undefined} */
let core;

/**
 * A native server; the first one starts the I/O thread.
 *
 * @param {import("../native.cjs").NativeOptions} options
 * @param {() => void} wake called when there are records to read
 */
export function createNativeServer(options, wake) {
  core ??= new native.NativeCore();
  return new native.NativeServer(core, options, wake);
}

/**
 * What is called once per message, bound to one native server.
 *
 * @typedef {object} NativeFunctions
 * @property {(slot: number, text: string) => void} sendUtf8
 * @property {(slot: number, text: string) => void} sendError
 * @property {(slot: number, bytes: Uint8Array) => void} sendBinary
 * @property {(buffer: Uint8Array, stays: boolean) => number} read fills the buffer with records, returns how many
 *   bytes; without any, and unless the caller stays awake, the next ones wake it
 * @property {() => string} readText the payload of the next large record
 * @property {(buffer: Uint8Array) => void} readBytes the payload of the next large record
 * @property {() => Buffer} readBuffer the payload of the next large record, where it lies
 * @property {(slot: number) => void} verdict the hooks of the session's oldest held message have run
 * @property {() => void} flush hands over what was sent
 * @property {ArrayBuffer} [textOrders] where `TextOrders` writes; none where the engine takes no foreign memory
 */
