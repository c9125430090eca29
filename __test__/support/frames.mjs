// The twelve CAMP frames by hand, from the protocol's tables. Shares no code with the product on purpose.

export const TYPE = Object.freeze({
  ENDPOINT_INFO: 255,
  BYE: 254,
  ACK: 253,
  ERROR: 252,
  PING_PONG: 251,
  UTF8DATA: 250,
  BINARYDATA: 249,
  TX_START: 0,
  TX_CHUNK: 1,
  TX_FINISH: 2,
  TX_FETCH: 3,
  TX_CANCEL: 4,
});

const NAME_OF = new Map(Object.entries(TYPE).map(([name, value]) => [value, name]));

/** Frames the receiver answers with an ACK. */
export const ACK_TRACKED = new Set([
  "ENDPOINT_INFO", "BYE", "ERROR", "UTF8DATA", "BINARYDATA", "TX_START", "TX_FINISH", "TX_FETCH", "TX_CANCEL",
]);

export const MAX_PAYLOAD = 1024 * 1024;

const u8 = (value) => Buffer.of(value);

function u32(value) {
  const buffer = Buffer.alloc(4);
  new DataView(buffer.buffer, buffer.byteOffset).setUint32(0, value);
  return buffer;
}

function u64(value) {
  const buffer = Buffer.alloc(8);
  new DataView(buffer.buffer, buffer.byteOffset).setBigUint64(0, BigInt(value));
  return buffer;
}

function i64(value) {
  const buffer = Buffer.alloc(8);
  new DataView(buffer.buffer, buffer.byteOffset).setBigInt64(0, BigInt(value));
  return buffer;
}

const bytes = (value) => (typeof value === "string" ? Buffer.from(value, "utf8") : Buffer.from(value ?? []));

/** Everything after the header: one line per layout. */
const BODY = {
  ENDPOINT_INFO: (f) => [u32(f.ack), u32(f.version), u64(f.features)],
  BYE: (f) => [u32(f.ack), bytes(f.reason)],
  ACK: (f) => [u32(f.ack)],
  ERROR: (f) => [u32(f.ack), bytes(f.message)],
  PING_PONG: (f) => [bytes(f.payload)],
  UTF8DATA: (f) => [u32(f.ack), bytes(f.text)],
  BINARYDATA: (f) => [u32(f.ack), bytes(f.data)],
  TX_START: (f) => [u32(f.ack), u32(f.txId), i64(f.size), u8(f.behaviour), bytes(f.name)],
  TX_CHUNK: (f) => [u32(f.txId), u64(f.offset), bytes(f.data)],
  TX_FINISH: (f) => [u32(f.ack), u32(f.txId)],
  TX_FETCH: (f) => [u32(f.ack), u32(f.txId), u64(f.start), u64(f.end)],
  TX_CANCEL: (f) => [u32(f.ack), u32(f.txId)],
};

/** `encode({ type: "UTF8DATA", sid, ack, text })`; text fields also take raw bytes, for spoiled ones. */
export function encode(frame) {
  const body = BODY[frame.type];
  if (body === undefined) throw new TypeError(`no such frame type: ${frame.type}`);
  return Buffer.concat([u64(frame.sid), u8(TYPE[frame.type]), ...body(frame)]);
}

/** A header and whatever follows, for frames that should not exist. */
export function rawFrame(sid, type, rest = []) {
  return Buffer.concat([u64(sid), u8(type), Buffer.from(rest)]);
}

function text(buffer, from) {
  // ignoreBOM keeps a leading U+FEFF: it is payload like everything else.
  return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(buffer.subarray(from));
}

function exactly(buffer, length, name) {
  if (buffer.length !== length) throw new RangeError(`${name} of ${buffer.length} bytes, the layout has ${length}`);
}

function atLeast(buffer, length, name) {
  if (buffer.length < length) throw new RangeError(`${name} of ${buffer.length} bytes, the layout has at least ${length}`);
}

const FIXED = { ENDPOINT_INFO: 25, ACK: 13, PING_PONG: 13, TX_FINISH: 17, TX_FETCH: 33, TX_CANCEL: 17 };
const AT_LEAST = { BYE: 13, ERROR: 13, UTF8DATA: 13, BINARYDATA: 13, TX_START: 26, TX_CHUNK: 21 };

const FIELDS = {
  ENDPOINT_INFO: (v) => ({ ack: v.getUint32(9), version: v.getUint32(13), features: v.getBigUint64(17) }),
  BYE: (v, b) => ({ ack: v.getUint32(9), reason: text(b, 13) }),
  ACK: (v) => ({ ack: v.getUint32(9) }),
  ERROR: (v, b) => ({ ack: v.getUint32(9), message: text(b, 13) }),
  PING_PONG: (v, b) => ({ payload: text(b, 9) }),
  UTF8DATA: (v, b) => ({ ack: v.getUint32(9), text: text(b, 13) }),
  BINARYDATA: (v, b) => ({ ack: v.getUint32(9), data: b.subarray(13) }),
  TX_START: (v, b) => ({
    ack: v.getUint32(9), txId: v.getUint32(13), size: v.getBigInt64(17), behaviour: v.getUint8(25), name: text(b, 26),
  }),
  TX_CHUNK: (v, b) => ({ txId: v.getUint32(9), offset: v.getBigUint64(13), data: b.subarray(21) }),
  TX_FINISH: (v) => ({ ack: v.getUint32(9), txId: v.getUint32(13) }),
  TX_FETCH: (v) => ({
    ack: v.getUint32(9), txId: v.getUint32(13), start: v.getBigUint64(17), end: v.getBigUint64(25),
  }),
  TX_CANCEL: (v) => ({ ack: v.getUint32(9), txId: v.getUint32(13) }),
};

/** Strict: throws on anything the layouts do not allow, so that the server's own frames are judged too. */
export function decode(input) {
  const buffer = Buffer.from(input.buffer ?? input, input.byteOffset ?? 0, input.byteLength);
  atLeast(buffer, 9, "frame");
  const view = new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
  const type = NAME_OF.get(view.getUint8(8));
  if (type === undefined) throw new RangeError(`unknown frame type ${view.getUint8(8)}`);
  if (type in FIXED) exactly(buffer, FIXED[type], type);
  else atLeast(buffer, AT_LEAST[type], type);
  const frame = { type, sid: view.getBigUint64(0), ...FIELDS[type](view, buffer), byteLength: buffer.length };
  if (type === "PING_PONG" && frame.payload !== "ping" && frame.payload !== "pong") {
    throw new RangeError(`PING_PONG says ${frame.payload}`);
  }
  return frame;
}
