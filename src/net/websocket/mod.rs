//! WebSocket framing after the upgrade (RFC 6455), for many connections that are mostly idle.
//!
//! Headers are tungstenite's. Buffers are ours, because a connection should keep none: reading and
//! writing use blocks of the thread, and what a connection holds of its own is only what has come
//! in part, or what its socket has not taken. A connection that once carried a message of 1 MiB
//! keeps nothing of it.

mod blocks;
mod mask;
mod reader;
#[cfg(test)]
mod reading_tests;
mod writer;

use bytes::Bytes;

pub(super) use reader::Reader;
pub(super) use writer::Writer;

/// Which end of the connection we are. A client masks what it sends, a server does not (RFC 6455, 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Server,
    Client,
}

/// What a peer sent, one message at a time.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    /// A whole binary message.
    Binary(Bytes),
    /// A fragment of so many bytes, of a message that goes on.
    Fragment(usize),
    /// A ping, to be answered with the same payload.
    Ping(Bytes),
    /// An answer to a ping.
    Pong,
    /// The peer closes, with code and reason if it gave any. Nothing is read after it.
    Close(Option<(u16, String)>),
}

/// A breach of RFC 6455, or of a limit. Nothing can be read after it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Violation {
    /// WebSocket close code that says so.
    pub(super) code: u16,
    /// What was wrong.
    pub(super) reason: String,
}

/// The first byte of a binary message's only frame (RFC 6455, 5.2).
const FINAL_BINARY: u8 = 0x82;

/// Fragments of one message (API: the limits of messages).
const MAX_FRAGMENTS: u32 = 65_536;

/// RFC 6455, 7.4.1.
const PROTOCOL_ERROR: u16 = 1002;
const UNSUPPORTED_DATA: u16 = 1003;
const INVALID_PAYLOAD: u16 = 1007;
const TOO_BIG: u16 = 1009;

impl Violation {
    fn protocol(reason: impl Into<String>) -> Self {
        Violation { code: PROTOCOL_ERROR, reason: reason.into() }
    }
}
