//! The twelve frames of CAMP: layout, limits, decoding and encoding (PROTOCOL sections 2, 3, 6).
//!
//! [`decode`] turns one binary WebSocket message into a [`Frame`], [`Frame::encode`] turns it back.
//! Payloads share the message's buffer, nothing is copied on receipt. This layer knows layouts
//! only: whether a frame is welcome, and whether its sid is the session's, is for the session.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::get_unwrap,
        clippy::panic,
        clippy::unreachable,
        clippy::todo,
        clippy::unimplemented,
        clippy::indexing_slicing,
        clippy::string_slice,
        clippy::arithmetic_side_effects,
        clippy::unchecked_time_subtraction,
        clippy::print_stdout,
        clippy::print_stderr,
        clippy::dbg_macro,
        clippy::exit
    )
)]

mod base;
mod error;
mod limits;
#[cfg(test)]
mod properties;
mod reader;
mod text;
mod transaction;
mod types;
mod writer;

use bytes::{Bytes, BytesMut};

pub use error::DecodeError;
pub use limits::{FEATURE_TRANSACTIONS, MAX_FRAME, MAX_HEADER, MAX_NAME, MAX_PAYLOAD, MIN_FRAME, VERSION};
pub use text::{NotUtf8, Text};
pub use transaction::TxStart;
pub use types::{Behaviour, FrameType};

use reader::Reader;
use writer::Writer;

/// One frame without its sid (PROTOCOL section 3).
///
/// `ack` is the sender's number for the frame, `tx_id` the sender's number for the transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// ENDPOINT_INFO: what the sender speaks (PROTOCOL section 4).
    EndpointInfo {
        /// The sender's number for this frame.
        ack: u32,
        /// Protocol version.
        version: u32,
        /// Feature bits, see [`FEATURE_TRANSACTIONS`].
        features: u64,
    },
    /// BYE: the sender is about to close (PROTOCOL section 4).
    Bye {
        /// The sender's number for this frame.
        ack: u32,
        /// Why. Empty if not given.
        reason: Text,
    },
    /// ACK: a frame has been accepted (PROTOCOL section 4).
    Ack {
        /// The acknowledged frame's number.
        ack: u32,
    },
    /// ERROR: a diagnostic for the peer (PROTOCOL section 6).
    Error {
        /// The sender's number for this frame.
        ack: u32,
        /// The diagnostic.
        message: Text,
    },
    /// PING_PONG that asks for an answer (PROTOCOL section 4).
    Ping,
    /// PING_PONG that is the answer (PROTOCOL section 4).
    Pong,
    /// UTF8DATA: a text message.
    Utf8 {
        /// The sender's number for this frame.
        ack: u32,
        /// The message.
        text: Text,
    },
    /// BINARYDATA: a binary message.
    Binary {
        /// The sender's number for this frame.
        ack: u32,
        /// The message.
        data: Bytes,
    },
    /// TX_START: opens a transaction (PROTOCOL section 5).
    TxStart(TxStart),
    /// TX_CHUNK: bytes of a transaction (PROTOCOL section 5). Not acknowledged.
    TxChunk {
        /// The transaction.
        tx_id: u32,
        /// Position of the first byte in the transaction, as the sender counts.
        offset: u64,
        /// The bytes.
        data: Bytes,
    },
    /// TX_FINISH: the sender has sent everything (PROTOCOL section 5).
    TxFinish {
        /// The sender's number for this frame.
        ack: u32,
        /// The transaction.
        tx_id: u32,
    },
    /// TX_FETCH: the receiver asks for the bytes in `start..end` (PROTOCOL section 5).
    TxFetch {
        /// The sender's number for this frame.
        ack: u32,
        /// The transaction.
        tx_id: u32,
        /// First byte asked for.
        start: u64,
        /// One past the last byte asked for. Not checked against `start` here.
        end: u64,
    },
    /// TX_CANCEL: either side gives the transaction up (PROTOCOL section 5).
    TxCancel {
        /// The sender's number for this frame.
        ack: u32,
        /// The transaction.
        tx_id: u32,
    },
}

/// Decodes one whole frame into its sid and its fields (PROTOCOL sections 3 and 6).
///
/// The payload is a slice of `frame` and keeps its buffer alive.
#[inline(always)]
pub fn decode(frame: Bytes) -> Result<(u64, Frame), DecodeError> {
    let (sid, frame_type, body) = Reader::open(frame)?;
    let frame = match frame_type {
        FrameType::Utf8Data => base::decode_utf8(body),
        FrameType::BinaryData => base::decode_binary(body),
        other => decode_rare(other, body),
    }?;
    Ok((sid, frame))
}

/// Apart from [`decode`], so that the decoding of messages is inlined where they are handled.
#[inline(never)]
fn decode_rare(frame_type: FrameType, body: Reader) -> Result<Frame, DecodeError> {
    match frame_type {
        FrameType::EndpointInfo => base::decode_endpoint_info(body),
        FrameType::Bye => base::decode_bye(body),
        FrameType::Ack => base::decode_ack(body),
        FrameType::Error => base::decode_error(body),
        FrameType::PingPong => base::decode_ping_pong(body),
        FrameType::Utf8Data => base::decode_utf8(body),
        FrameType::BinaryData => base::decode_binary(body),
        FrameType::TxStart => transaction::decode_start(body),
        FrameType::TxChunk => transaction::decode_chunk(body),
        FrameType::TxFinish => transaction::decode_finish(body),
        FrameType::TxFetch => transaction::decode_fetch(body),
        FrameType::TxCancel => transaction::decode_cancel(body),
    }
}

/// The type of a frame that is not decoded yet (PROTOCOL section 2). `None` if the frame is too
/// short to have one or the type is unknown.
#[inline]
pub fn peek_type(frame: &[u8]) -> Option<FrameType> {
    FrameType::from_u8(*frame.get(8)?)
}

/// The sid of a frame that is not decoded yet (PROTOCOL section 2). `None` if the frame is too
/// short to have one.
#[inline]
pub fn peek_sid(frame: &[u8]) -> Option<u64> {
    frame.first_chunk().copied().map(u64::from_be_bytes)
}

/// The sid and the number of an ACK (PROTOCOL section 3). `None`: it is another frame, or malformed.
#[inline]
pub fn peek_ack(frame: &[u8]) -> Option<(u64, u32)> {
    let frame: &[u8; base::ACK_LEN] = frame.try_into().ok()?;
    let (sid, rest) = frame.split_first_chunk()?;
    let (frame_type, ack) = rest.split_first()?;
    let ack = <[u8; 4]>::try_from(ack).ok()?;
    (*frame_type == FrameType::Ack as u8).then(|| (u64::from_be_bytes(*sid), u32::from_be_bytes(ack)))
}

/// The content of a UTF8DATA or BINARYDATA where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// A text of ASCII characters alone.
    Ascii(&'a [u8]),
    /// Another text.
    Utf8(&'a str),
    /// Bytes.
    Binary(&'a [u8]),
}

/// The sid, the number and the content of a UTF8DATA or BINARYDATA (PROTOCOL section 3). `None`: it is another frame,
/// or one that [`decode`] finds fault with.
#[inline]
pub fn peek_message(frame: &[u8]) -> Option<(u64, u32, Message<'_>)> {
    let (head, payload) = frame.split_first_chunk::<{ base::UTF8_LEN }>()?;
    let (sid, rest) = head.split_first_chunk()?;
    let (frame_type, ack) = rest.split_first()?;
    let ack = <[u8; 4]>::try_from(ack).ok()?;
    if payload.len() > MAX_PAYLOAD {
        return None;
    }
    const UTF8: u8 = FrameType::Utf8Data as u8;
    const BINARY: u8 = FrameType::BinaryData as u8;
    let message = match *frame_type {
        UTF8 if payload.is_ascii() => Message::Ascii(payload),
        UTF8 => Message::Utf8(std::str::from_utf8(payload).ok()?),
        BINARY => Message::Binary(payload),
        _ => return None,
    };
    Some((u64::from_be_bytes(*sid), u32::from_be_bytes(ack), message))
}

/// Appends a UTF8DATA, BINARYDATA or ERROR with this payload, as [`Frame::encode`] does (PROTOCOL section 3).
#[inline]
pub fn encode_data(sid: u64, frame_type: FrameType, ack: u32, payload: &[u8], out: &mut BytesMut) {
    Writer::<{ base::UTF8_LEN }>::new(sid, frame_type).u32(ack).finish(payload, out);
}

/// Length of such a frame in bytes.
#[inline]
pub fn data_len(payload: usize) -> usize {
    base::UTF8_LEN.saturating_add(payload)
}

impl Message<'_> {
    /// The bytes of the content.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Message::Ascii(bytes) | Message::Binary(bytes) => bytes,
            Message::Utf8(text) => text.as_bytes(),
        }
    }
}

impl Frame {
    /// The type byte this frame is sent with (PROTOCOL section 2).
    #[inline]
    pub fn frame_type(&self) -> FrameType {
        match self {
            Self::EndpointInfo { .. } => FrameType::EndpointInfo,
            Self::Bye { .. } => FrameType::Bye,
            Self::Ack { .. } => FrameType::Ack,
            Self::Error { .. } => FrameType::Error,
            Self::Ping | Self::Pong => FrameType::PingPong,
            Self::Utf8 { .. } => FrameType::Utf8Data,
            Self::Binary { .. } => FrameType::BinaryData,
            Self::TxStart(_) => FrameType::TxStart,
            Self::TxChunk { .. } => FrameType::TxChunk,
            Self::TxFinish { .. } => FrameType::TxFinish,
            Self::TxFetch { .. } => FrameType::TxFetch,
            Self::TxCancel { .. } => FrameType::TxCancel,
        }
    }

    /// Length in bytes that [`encode`](Self::encode) appends.
    #[inline]
    pub fn encoded_len(&self) -> usize {
        match self {
            Self::EndpointInfo { .. } => base::ENDPOINT_INFO_LEN,
            Self::Bye { reason, .. } => base::BYE_LEN.saturating_add(reason.len()),
            Self::Ack { .. } => base::ACK_LEN,
            Self::Error { message, .. } => base::ERROR_LEN.saturating_add(message.len()),
            Self::Ping | Self::Pong => base::PING_PONG_LEN,
            Self::Utf8 { text, .. } => base::UTF8_LEN.saturating_add(text.len()),
            Self::Binary { data, .. } => base::BINARY_LEN.saturating_add(data.len()),
            Self::TxStart(start) => transaction::START_LEN.saturating_add(start.name.len()),
            Self::TxChunk { data, .. } => transaction::CHUNK_LEN.saturating_add(data.len()),
            Self::TxFinish { .. } => transaction::FINISH_LEN,
            Self::TxFetch { .. } => transaction::FETCH_LEN,
            Self::TxCancel { .. } => transaction::CANCEL_LEN,
        }
    }

    /// Appends the frame to `out` (PROTOCOL section 3).
    ///
    /// The limits are not checked: a payload over [`MAX_PAYLOAD`] makes a frame no peer accepts.
    #[inline]
    pub fn encode(&self, sid: u64, out: &mut BytesMut) {
        match self {
            Self::EndpointInfo { ack, version, features } => {
                base::encode_endpoint_info(sid, *ack, *version, *features, out)
            }
            Self::Bye { ack, reason } => base::encode_bye(sid, *ack, reason, out),
            Self::Ack { ack } => base::encode_ack(sid, *ack, out),
            Self::Error { ack, message } => base::encode_error(sid, *ack, message, out),
            Self::Ping => base::encode_ping(sid, out),
            Self::Pong => base::encode_pong(sid, out),
            Self::Utf8 { ack, text } => base::encode_utf8(sid, *ack, text, out),
            Self::Binary { ack, data } => base::encode_binary(sid, *ack, data, out),
            Self::TxStart(start) => transaction::encode_start(sid, start, out),
            Self::TxChunk { tx_id, offset, data } => transaction::encode_chunk(sid, *tx_id, *offset, data, out),
            Self::TxFinish { ack, tx_id } => transaction::encode_finish(sid, *ack, *tx_id, out),
            Self::TxFetch { ack, tx_id, start, end } => transaction::encode_fetch(sid, *ack, *tx_id, *start, *end, out),
            Self::TxCancel { ack, tx_id } => transaction::encode_cancel(sid, *ack, *tx_id, out),
        }
    }

    /// Appends the frame to `out` but for its payload, which is returned: it comes last. `None` for
    /// frames that have none, or a text.
    pub fn encode_head(&self, sid: u64, out: &mut BytesMut) -> Option<&Bytes> {
        match self {
            Self::Binary { ack, data } => {
                base::encode_binary(sid, *ack, &Bytes::new(), out);
                Some(data)
            }
            Self::TxChunk { tx_id, offset, data } => {
                transaction::encode_chunk(sid, *tx_id, *offset, &Bytes::new(), out);
                Some(data)
            }
            other => {
                other.encode(sid, out);
                None
            }
        }
    }
}

/// Asserts that `frame` is these bytes after the sid, both ways, and that they number `len`.
#[cfg(test)]
fn assert_bytes(frame: Frame, after_sid: &[u8], len: usize) {
    const SID: u64 = 0x0102_0304_0506_0708;
    let mut expected = vec![1, 2, 3, 4, 5, 6, 7, 8];
    expected.extend_from_slice(after_sid);

    let mut encoded = BytesMut::new();
    frame.encode(SID, &mut encoded);
    assert_eq!(&encoded[..], &expected[..]);

    let mut head = BytesMut::new();
    let payload = frame.encode_head(SID, &mut head);
    head.extend_from_slice(payload.map_or(&[], |payload| &payload[..]));
    assert_eq!(&head[..], &expected[..]);
    assert_eq!((encoded.len(), frame.encoded_len()), (len, len));
    assert_eq!(peek_sid(&encoded), Some(SID));
    assert_eq!(peek_type(&encoded), Some(frame.frame_type()));
    assert_eq!(decode(encoded.freeze()), Ok((SID, frame)));
}
