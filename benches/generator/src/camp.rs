//! The few facts of CAMP version 1 that a benchmark needs.

pub const TX_START: u8 = 0;
pub const TX_CHUNK: u8 = 1;
pub const TX_FINISH: u8 = 2;
pub const BINARY: u8 = 249;
pub const TEXT: u8 = 250;
pub const PING_PONG: u8 = 251;
pub const ERROR: u8 = 252;
pub const ACK: u8 = 253;
pub const BYE: u8 = 254;
pub const ENDPOINT_INFO: u8 = 255;

/// Bytes before the payload of a data frame: sid, type, ack.
pub const DATA_HEAD: usize = 13;
/// Bytes before the payload of a TX_CHUNK: sid, type, txId, offset.
pub const CHUNK_HEAD: usize = 21;

/// Where the field after the type begins: the ack, or the txId of a chunk.
pub const ACK_AT: usize = 9;

/// Payload of the only token that the servers of the benchmark let in.
pub const TOKEN: &str = "T";

/// `sid`, `type` and whatever follows.
pub fn frame(sid: u64, kind: u8, rest: &[&[u8]]) -> Vec<u8> {
    let mut body = Vec::with_capacity(9 + rest.iter().map(|part| part.len()).sum::<usize>());
    body.extend_from_slice(&sid.to_be_bytes());
    body.push(kind);
    for part in rest {
        body.extend_from_slice(part);
    }
    body
}

/// Version 1, with transactions.
pub fn endpoint_info(sid: u64, ack: u32) -> Vec<u8> {
    frame(sid, ENDPOINT_INFO, &[&ack.to_be_bytes(), &1u32.to_be_bytes(), &1u64.to_be_bytes()])
}

/// A push transaction.
pub fn tx_start(sid: u64, ack: u32, tx_id: u32, size: i64, name: &str) -> Vec<u8> {
    frame(sid, TX_START, &[&ack.to_be_bytes(), &tx_id.to_be_bytes(), &size.to_be_bytes(), &[0], name.as_bytes()])
}

pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

pub fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// What a stream of the benchmark consists of: the eight bytes at position 8n are n, big-endian.
pub fn stream_word(position: u64) -> [u8; 8] {
    (position / 8).to_be_bytes()
}
