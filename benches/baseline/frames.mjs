// Builds and reads the frames of the baseline server.

export const FrameType = /** @type {const} */ ({
  TxStart: 0,
  TxChunk: 1,
  TxFinish: 2,
  BinaryData: 249,
  Utf8Data: 250,
  PingPong: 251,
  Error: 252,
  Ack: 253,
  Bye: 254,
  EndpointInfo: 255,
});

export const HEADER_SIZE = 9;
export const ACK_SIZE = 4;
const TX_ID_SIZE = 4;
const OFFSET_SIZE = 8;

/** @typedef {{ sid: bigint, type: number, ack: number, payload: Buffer }} Frame */
/** @typedef {{ txId: number, name: string }} TxStart */
/** @typedef {{ txId: number, data: Buffer }} TxChunk */

export class FrameFormatter {
  /** @param {bigint} sid @param {number} type @param {number} ack @param {Buffer} payload */
  static acknowledged(sid, type, ack, payload) {
    const header = Buffer.alloc(HEADER_SIZE + ACK_SIZE);
    header.writeBigUInt64BE(sid, 0);
    header.writeUInt8(type, 8);
    header.writeUInt32BE(ack, 9);
    return Buffer.concat([header, payload]);
  }

  /** @param {bigint} sid @param {number} ack */
  static endpointInfo(sid, ack) {
    const payload = Buffer.alloc(12);
    payload.writeUInt32BE(1, 0);
    payload.writeBigUInt64BE(1n, 4);
    return FrameFormatter.acknowledged(sid, FrameType.EndpointInfo, ack, payload);
  }

  /** @param {bigint} sid @param {number} ack */
  static ack(sid, ack) {
    return FrameFormatter.acknowledged(sid, FrameType.Ack, ack, Buffer.alloc(0));
  }

  /** @param {bigint} sid @param {number} ack @param {string} text */
  static utf8(sid, ack, text) {
    return FrameFormatter.acknowledged(sid, FrameType.Utf8Data, ack, Buffer.from(text, "utf8"));
  }

  /** @param {bigint} sid @param {number} ack @param {Buffer} data */
  static binary(sid, ack, data) {
    return FrameFormatter.acknowledged(sid, FrameType.BinaryData, ack, data);
  }

  /** @param {bigint} sid @param {"ping" | "pong"} word */
  static pingPong(sid, word) {
    const header = Buffer.alloc(HEADER_SIZE);
    header.writeBigUInt64BE(sid, 0);
    header.writeUInt8(FrameType.PingPong, 8);
    return Buffer.concat([header, Buffer.from(word, "utf8")]);
  }

  /** @param {bigint} sid @param {number} ack @param {number} txId @param {string} name */
  static txStart(sid, ack, txId, name) {
    const payload = Buffer.alloc(TX_ID_SIZE + 9);
    payload.writeUInt32BE(txId, 0);
    payload.writeBigInt64BE(-1n, 4);
    payload.writeUInt8(0, 12);
    return FrameFormatter.acknowledged(sid, FrameType.TxStart, ack, Buffer.concat([payload, Buffer.from(name, "utf8")]));
  }

  /** @param {bigint} sid @param {number} txId @param {number} offset @param {Buffer} data */
  static txChunk(sid, txId, offset, data) {
    const header = Buffer.alloc(HEADER_SIZE + TX_ID_SIZE + OFFSET_SIZE);
    header.writeBigUInt64BE(sid, 0);
    header.writeUInt8(FrameType.TxChunk, 8);
    header.writeUInt32BE(txId, 9);
    header.writeBigUInt64BE(BigInt(offset), 13);
    return Buffer.concat([header, data]);
  }

  /** @param {bigint} sid @param {number} ack @param {number} txId */
  static txFinish(sid, ack, txId) {
    const payload = Buffer.alloc(TX_ID_SIZE);
    payload.writeUInt32BE(txId, 0);
    return FrameFormatter.acknowledged(sid, FrameType.TxFinish, ack, payload);
  }

  /** @param {Buffer} message @returns {Frame} */
  static parse(message) {
    if (message.length < HEADER_SIZE + ACK_SIZE) throw new RangeError(`frame of ${message.length} bytes`);
    return {
      sid: message.readBigUInt64BE(0),
      type: message.readUInt8(8),
      ack: message.readUInt32BE(9),
      payload: message.subarray(HEADER_SIZE + ACK_SIZE),
    };
  }

  /** @param {Frame} frame @returns {TxStart} */
  static parseTxStart({ payload }) {
    return { txId: payload.readUInt32BE(0), name: payload.toString("utf8", TX_ID_SIZE + 9) };
  }

  /** @param {Frame} frame @returns {TxChunk} */
  static parseTxChunk({ ack, payload }) {
    return { txId: ack, data: payload.subarray(OFFSET_SIZE) };
  }

  /** @param {Frame} frame @returns {number} */
  static parseTxFinish({ payload }) {
    return payload.readUInt32BE(0);
  }
}
