//! The numbers both sides agree on (PROTOCOL section 2), all sizes in bytes.

use super::{base, transaction};

/// The protocol version this crate speaks, as sent in ENDPOINT_INFO (PROTOCOL section 2).
pub const VERSION: u32 = 1;

/// Feature bit 0: transactions. Bits 1 to 63 are sent as 0 and ignored (PROTOCOL section 2).
pub const FEATURE_TRANSACTIONS: u64 = 1;

/// Longest payload of one frame in bytes, header excluded: 1 MiB (PROTOCOL section 2).
pub const MAX_PAYLOAD: usize = 1_048_576;

/// Longest transaction name in bytes (PROTOCOL section 2). The session enforces it, not `decode`.
pub const MAX_NAME: usize = 1024;

/// Shortest legal frame in bytes (PROTOCOL section 2).
pub const MIN_FRAME: usize = 13;

/// Longest header of any frame in bytes: that of TX_START (PROTOCOL section 3).
pub const MAX_HEADER: usize = 26;

/// Longest legal frame in bytes: a TX_CHUNK with a full payload (PROTOCOL section 3).
pub const MAX_FRAME: usize = MAX_PAYLOAD + 21;

// The limits are written out for the reader and checked against the layouts here.
const _: () = {
    assert!(MIN_FRAME == base::ACK_LEN);
    assert!(MAX_HEADER == transaction::START_LEN);
    assert!(MAX_FRAME == MAX_PAYLOAD + transaction::CHUNK_LEN);
    assert!(MAX_FRAME >= MAX_NAME + transaction::START_LEN);
};
