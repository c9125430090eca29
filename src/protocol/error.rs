//! What can be wrong with a frame.

use std::fmt;

use super::types::FrameType;

/// Why bytes are not a frame. The peer is always at fault (PROTOCOL section 6).
///
/// Its text is short and printable: it may go to the peer as the message of an ERROR frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The frame ends before the end of a field.
    TooShort {
        /// The frame's type, `None` if the frame ends before it is known.
        frame: Option<FrameType>,
        /// The first field that is missing or cut, named as in PROTOCOL section 3.
        field: &'static str,
        /// Length in bytes a frame has to have to contain that field.
        needed: usize,
        /// Length of this frame in bytes.
        got: usize,
    },
    /// A frame of fixed length goes on after its last field.
    TrailingBytes {
        /// The frame's type.
        frame: FrameType,
        /// Length of such a frame in bytes.
        expected: usize,
        /// Length of this frame in bytes.
        got: usize,
    },
    /// The type byte is none of PROTOCOL section 2.
    UnknownType {
        /// The type byte.
        value: u8,
    },
    /// A PING_PONG says neither `ping` nor `pong`.
    UnknownPing {
        /// What it says instead.
        payload: [u8; 4],
    },
    /// A text field is not UTF-8.
    InvalidUtf8 {
        /// The frame's type.
        frame: FrameType,
        /// The field, named as in PROTOCOL section 3.
        field: &'static str,
        /// Length in bytes of the field's longest valid beginning.
        valid_up_to: usize,
    },
    /// The payload is over the limit.
    PayloadTooLarge {
        /// The frame's type.
        frame: FrameType,
        /// Length of the payload in bytes.
        size: usize,
        /// The limit in bytes, [`MAX_PAYLOAD`](super::MAX_PAYLOAD).
        max: usize,
    },
}

impl DecodeError {
    /// Whether the payload limit was exceeded, which closes the connection with 1009 where the
    /// other faults are answered with an ERROR frame (PROTOCOL section 6).
    pub const fn is_oversize(&self) -> bool {
        matches!(self, Self::PayloadTooLarge { .. })
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort { frame, field, needed, got } => {
                let name = frame.map_or("frame", FrameType::name);
                write!(f, "{name}: {got} bytes, the {field} field needs {needed}")
            }
            Self::TrailingBytes { frame, expected, got } => {
                write!(f, "{}: {got} bytes, expected {expected}", frame.name())
            }
            Self::UnknownType { value } => write!(f, "unknown frame type {value}"),
            Self::UnknownPing { payload } => {
                write!(f, "PING_PONG: unknown payload \"{}\"", payload.escape_ascii())
            }
            Self::InvalidUtf8 { frame, field, valid_up_to } => {
                write!(f, "{}: the {field} field is not UTF-8 from byte {valid_up_to}", frame.name())
            }
            Self::PayloadTooLarge { frame, size, max } => {
                write!(f, "{}: {size} bytes of payload, at most {max}", frame.name())
            }
        }
    }
}

impl std::error::Error for DecodeError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_read_as_short_facts() {
        let short = DecodeError::TooShort { frame: Some(FrameType::Utf8Data), field: "ack", needed: 13, got: 11 };
        assert_eq!(short.to_string(), "UTF8DATA: 11 bytes, the ack field needs 13");
        let large = DecodeError::PayloadTooLarge { frame: FrameType::TxChunk, size: 1_048_577, max: 1_048_576 };
        assert_eq!(large.to_string(), "TX_CHUNK: 1048577 bytes of payload, at most 1048576");
        assert!(large.is_oversize() && !short.is_oversize());
    }

    #[test]
    fn a_ping_payload_is_escaped() {
        let payload = [0, b'\n', b'"', 0xff];
        assert_eq!(DecodeError::UnknownPing { payload }.to_string(), r#"PING_PONG: unknown payload "\x00\n\"\xff""#);
    }
}
