//! The layout of what the log holds, mirrored by `js/records.js`.
//!
//! A record is `[slot u32][length << 8 | LARGE | BESIDE | kind u32]` and its payload, padded to a multiple
//! of 8 bytes; all numbers in the byte order of the machine. A `LARGE` record has no payload in
//! the log: it waits beside it, to be taken by a call of its own, in order. A `BESIDE` record has a payload
//! in the log, and bytes that wait in the same way. So a reader that does not know a kind can pass over it.

use std::io;

use super::error::system_error_code;
use crate::net::{IoText, Opened, Refused, Slot, UpgradeRequest};
use crate::session::{DataKind, Event, Outcome, Payload};

/// Set in a record's second word when its payload is kept beside the log.
pub(super) const LARGE: u32 = 0x80;

/// Set in it when more bytes belong to the record, which are kept beside the log.
pub(super) const BESIDE: u32 = 0x40;

/// Payloads from this size on are kept beside the log, so that they are copied only once.
pub(super) const LARGE_FROM: usize = 4096;

/// The largest length that fits into a record's second word. A payload beside the log may be longer than that word says.
const MAX_LENGTH: usize = (1 << 24) - 1;

/// Longest text for people that a record holds, in bytes. Of a longer one both ends are kept.
const MAX_TEXT: usize = 1024;
const TEXT_HEAD: usize = 600;
const TEXT_TAIL: usize = 400;

/// What a record tells. Below [`BESIDE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Kind {
    /// UTF8DATA of ASCII characters alone; never `LARGE`.
    Ascii = 0,
    /// UTF8DATA with other characters; in UTF-16, for which the engine is quicker, unless it is `LARGE`.
    Utf8 = 1,
    /// BINARYDATA.
    Binary = 2,
    /// ERROR.
    Error = 3,
    /// `[first u32][count u32][outcome u32]`
    Settled = 4,
    /// `[earlier u32][later u32]`
    Joined = 5,
    /// `[kind u32][bytes u32]`
    Dropped = 6,
    /// `[rtt f64][rx f64][tx f64][ack timeouts u32]`
    Statistics = 7,
    Connected = 8,
    /// `[sid u64][remote length u32]`, remote address, token
    Opened = 9,
    /// `[rx f64][tx f64][code u32]`, reason
    Closed = 10,
    /// The slot is the upgrade's id. See [`validate`].
    Validate = 11,
    /// The slot is the upgrade's id.
    ValidationCancelled = 12,
    /// `[port u32][family u32]`, address
    Listening = 13,
    /// `code\0message`
    Failed = 14,
    Stopped = 15,
    /// As the three kinds of data, when hooks are to be run first.
    HeldAscii = 16,
    HeldUtf8 = 17,
    HeldBinary = 18,
    HeldError = 19,
    /// `[key u32][txId u32][size i64][behaviour u32]`, name
    TxStarted = 20,
    /// `[key u32][length u32]`; always [`BESIDE`], with the bytes
    TxChunk = 21,
    /// `[key u32][outcome u32][expected f64, -1: unknown][received f64]`
    TxEnded = 22,
    /// `[key u32][bytes u32]`
    TxCredit = 23,
    /// `[key u32][outcome u32]`, for a failed source `code\0message`
    TxSettled = 24,
    /// `[txId u32][0 u32][start f64][end f64]`
    TxFetched = 25,
    /// `[key u32][0 u32]`
    TxOutlives = 26,
    Gone = 27,
    /// `[set u32]`: the number of the hooks that the held messages after it met, in any session.
    HookSet = 32,
    /// `[status u32][remote length u32]`, remote address, reason
    Refused = 33,
    /// `[sid u64][connect id u32][0 u32]`, remote address
    PeerOpened = 34,
    /// The slot is the connect id. `[failure u32][status u32]`, then joined by `\0`: the code of the cause
    /// (empty: there is none), the message, and the text that came with a refusal
    PeerFailed = 35,
    /// The slot of these five is the [`HttpId`](crate::net::HttpId) of a connection that was handed over:
    /// `[remote port u32][local port u32]`, then remote address, local address, TLS version (empty:
    /// no TLS) and server name, joined by `\0`
    HttpOpened = 48,
    /// Bytes from the client.
    HttpData = 49,
    /// The client sends no more.
    HttpEnded = 50,
    /// `[bytes u32]`; 0 for the end
    HttpWritten = 51,
    /// Empty, or `code\0message`
    HttpClosed = 52,
    /// Begins as `HttpOpened`, up to the local address. Names no connection.
    HttpTurnedAway = 53,
    /// As the five.
    HttpHeld = 54,
}

impl Kind {
    /// Whether a payload of this kind may be `LARGE`. `js/records.js` has a case for each that may; of any other,
    /// which ends with a text, the log keeps what fits.
    pub(super) fn may_be_large(self) -> bool {
        matches!(
            self,
            Kind::Utf8
                | Kind::Binary
                | Kind::Error
                | Kind::Opened
                | Kind::Validate
                | Kind::HeldUtf8
                | Kind::HeldBinary
                | Kind::HeldError
                | Kind::HttpData
        )
    }
}

/// The text in UTF-16.
pub(super) fn utf16(text: &[u8]) -> Vec<u16> {
    // Never more units than bytes; one more is what the conversion asks for.
    let mut units = vec![0; text.len() + 1];
    let length = encoding_rs::mem::convert_utf8_to_utf16(text, &mut units);
    units.truncate(length);
    units
}

/// The kind under which a payload is delivered.
#[inline]
pub(super) fn data_kind(payload: &Payload) -> Kind {
    match payload {
        // A large one is looked at where it is made a string.
        Payload::Utf8(text) if text.len() < LARGE_FROM && text.is_ascii() => Kind::Ascii,
        Payload::Utf8(_) => Kind::Utf8,
        Payload::Binary(_) => Kind::Binary,
        Payload::Error(_) => Kind::Error,
    }
}

/// The kind under which a payload is put before its hooks.
pub(super) fn held_kind(payload: &Payload) -> Kind {
    match data_kind(payload) {
        Kind::Ascii => Kind::HeldAscii,
        Kind::Utf8 => Kind::HeldUtf8,
        Kind::Binary => Kind::HeldBinary,
        _ => Kind::HeldError,
    }
}

/// Payload of events that carry no message; `None` for those that do. `bytes` gives what the session has received and
/// sent; only its end asks.
pub(super) fn encode_event(event: &Event, bytes: impl FnOnce() -> (u64, u64), out: &mut Vec<u8>) -> Option<Kind> {
    let kind = match event {
        Event::Message(_) | Event::Held(..) | Event::Transaction(_) => return None,
        Event::Connected => Kind::Connected,
        Event::Settled { first, count, outcome } => {
            put_words(out, &[*first, *count, outcome_number(*outcome)]);
            Kind::Settled
        }
        Event::Joined { earlier, later } => {
            put_words(out, &[*earlier, *later]);
            Kind::Joined
        }
        Event::Dropped { kind, bytes } => {
            put_words(out, &[data_number(*kind), u32::try_from(*bytes).unwrap_or(u32::MAX)]);
            Kind::Dropped
        }
        Event::Statistics(s) => {
            put_floats(out, &[s.rtt_ms, s.bytes_rx as f64, s.bytes_tx as f64]);
            put_words(out, &[s.ack_timeouts]);
            Kind::Statistics
        }
        Event::Closed(close) => {
            let (rx, tx) = bytes();
            put_floats(out, &[rx as f64, tx as f64]);
            put_words(out, &[u32::from(close.code)]);
            put_text(out, &close.reason);
            Kind::Closed
        }
    };
    Some(kind)
}

/// `[sid u64][remote length u32]`, remote, token.
pub(super) fn opened(session: &Opened, out: &mut Vec<u8>) {
    let remote = session.remote.ip().to_string();
    out.extend_from_slice(&session.sid.to_ne_bytes());
    put_words(out, &[word_of(remote.len())]);
    out.extend_from_slice(remote.as_bytes());
    out.extend_from_slice(session.token.as_bytes());
}

/// `[status u32][remote length u32]`, remote, reason.
pub(super) fn refused(refused: &Refused<'_>, out: &mut Vec<u8>) {
    let remote = refused.remote.ip().to_string();
    put_words(out, &[u32::from(refused.status), word_of(remote.len())]);
    out.extend_from_slice(remote.as_bytes());
    put_text(out, refused.reason);
}

/// `[sid u64]`, then each with its length before it: token, url, remote address, and every header
/// field's name and value.
pub(super) fn validate(request: &UpgradeRequest, out: &mut Vec<u8>) {
    let mut put = |bytes: &[u8]| {
        let length = word_of(bytes.len());
        put_words(out, &[length]);
        out.extend_from_slice(&bytes[..length as usize]);
    };
    put(&request.sid.to_ne_bytes());
    put(request.token.as_bytes());
    put(request.url.as_bytes());
    put(request.remote.ip().to_string().as_bytes());
    for (name, value) in &request.headers {
        put(name.as_bytes());
        put(value);
    }
}

/// Appends a text for people: a path, a name or a peer's words in it may be of any length.
pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    if text.len() <= MAX_TEXT {
        return out.extend_from_slice(text.as_bytes());
    }
    out.extend_from_slice(&text.as_bytes()[..text.floor_char_boundary(TEXT_HEAD)]);
    out.extend_from_slice("…".as_bytes());
    out.extend_from_slice(&text.as_bytes()[text.ceil_char_boundary(text.len() - TEXT_TAIL)..]);
}

/// Appends the code and the text of a system's error, `code\0message`.
pub(super) fn put_system_error(out: &mut Vec<u8>, error: &io::Error) {
    out.extend_from_slice(system_error_code(error).as_bytes());
    out.push(0);
    put_text(out, &IoText(error).to_string());
}

/// What fits into a payload that may not be `LARGE`, in whole characters of the text at its end.
pub(super) fn fitting(payload: &[u8]) -> &[u8] {
    let mut end = payload.len().min(LARGE_FROM - 1);
    while end > 0 && payload.get(end).is_some_and(|byte| byte & 0xc0 == 0x80) {
        end -= 1;
    }
    &payload[..end]
}

/// A length as a number of a payload.
pub(super) fn word_of(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

pub(super) fn put_words(out: &mut Vec<u8>, words: &[u32]) {
    for word in words {
        out.extend_from_slice(&word.to_ne_bytes());
    }
}

pub(super) fn put_floats(out: &mut Vec<u8>, floats: &[f64]) {
    for float in floats {
        out.extend_from_slice(&float.to_ne_bytes());
    }
}

fn outcome_number(outcome: Outcome) -> u32 {
    outcome as u32
}

fn data_number(kind: DataKind) -> u32 {
    kind as u32
}

/// The two words before a record's payload; `flags` are [`LARGE`] or [`BESIDE`], or neither.
#[inline]
pub(super) fn header(slot: Slot, kind: Kind, len: usize, flags: u32) -> [u8; 8] {
    let word = (len.min(MAX_LENGTH) as u32) << 8 | flags | kind as u32;
    let mut header = [0; 8];
    header[..4].copy_from_slice(&slot.to_ne_bytes());
    header[4..].copy_from_slice(&word.to_ne_bytes());
    header
}
