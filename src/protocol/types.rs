//! The values of the type and behaviour bytes.

/// The type byte of a frame, at offset 8 (PROTOCOL section 2).
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FrameType {
    /// Version and features of the sender, first on each side.
    EndpointInfo = 255,
    /// The sender is about to close.
    Bye = 254,
    /// A frame has been accepted.
    Ack = 253,
    /// A diagnostic for the peer.
    Error = 252,
    /// Keepalive question or answer.
    PingPong = 251,
    /// A text message.
    Utf8Data = 250,
    /// A binary message.
    BinaryData = 249,
    /// Opens a transaction.
    TxStart = 0,
    /// Bytes of a transaction.
    TxChunk = 1,
    /// The sender has sent everything.
    TxFinish = 2,
    /// The receiver asks for a range.
    TxFetch = 3,
    /// Either side gives the transaction up.
    TxCancel = 4,
}

impl FrameType {
    /// The type with this byte value, `None` if there is none (PROTOCOL section 2).
    #[inline]
    pub const fn from_u8(value: u8) -> Option<Self> {
        Some(match value {
            255 => Self::EndpointInfo,
            254 => Self::Bye,
            253 => Self::Ack,
            252 => Self::Error,
            251 => Self::PingPong,
            250 => Self::Utf8Data,
            249 => Self::BinaryData,
            0 => Self::TxStart,
            1 => Self::TxChunk,
            2 => Self::TxFinish,
            3 => Self::TxFetch,
            4 => Self::TxCancel,
            _ => return None,
        })
    }

    /// The name in the specification, such as `UTF8DATA` (PROTOCOL section 2).
    pub const fn name(self) -> &'static str {
        match self {
            Self::EndpointInfo => "ENDPOINT_INFO",
            Self::Bye => "BYE",
            Self::Ack => "ACK",
            Self::Error => "ERROR",
            Self::PingPong => "PING_PONG",
            Self::Utf8Data => "UTF8DATA",
            Self::BinaryData => "BINARYDATA",
            Self::TxStart => "TX_START",
            Self::TxChunk => "TX_CHUNK",
            Self::TxFinish => "TX_FINISH",
            Self::TxFetch => "TX_FETCH",
            Self::TxCancel => "TX_CANCEL",
        }
    }

    /// Whether the frame belongs to the transactions feature (PROTOCOL section 2).
    #[inline]
    pub const fn is_transaction(self) -> bool {
        matches!(self, Self::TxStart | Self::TxChunk | Self::TxFinish | Self::TxFetch | Self::TxCancel)
    }

    /// Whether the frame carries a message for the application: UTF8DATA, BINARYDATA or ERROR
    /// (PROTOCOL section 4).
    #[inline]
    pub const fn is_data(self) -> bool {
        matches!(self, Self::Utf8Data | Self::BinaryData | Self::Error)
    }
}

/// Who sets the pace of a transaction: the behaviour byte of TX_START (PROTOCOL section 5).
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Behaviour {
    /// Chunks follow at the sender's pace.
    Push = 0,
    /// The receiver asks for ranges with TX_FETCH.
    Pull = 1,
}

impl Behaviour {
    /// The behaviour with this byte value, `None` if there is none (PROTOCOL section 5).
    #[inline]
    pub const fn from_u8(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::Push),
            1 => Some(Self::Pull),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twelve_bytes_are_types_and_each_maps_back_to_itself() {
        let known: Vec<u8> =
            (0..=255).filter(|value| FrameType::from_u8(*value).is_some_and(|t| t as u8 == *value)).collect();
        assert_eq!(known, [0, 1, 2, 3, 4, 249, 250, 251, 252, 253, 254, 255]);
        let any = (0..=255).filter(|v| FrameType::from_u8(*v).is_some());
        assert_eq!(any.count(), 12);
    }

    #[test]
    fn transaction_types_are_those_below_five() {
        for frame_type in (0..=255).filter_map(FrameType::from_u8) {
            assert_eq!(frame_type.is_transaction(), (frame_type as u8) < 5);
            assert_eq!(frame_type.name().starts_with("TX_"), frame_type.is_transaction());
        }
    }

    #[test]
    fn data_types_are_the_three_the_application_sees() {
        let data = (0..=255).filter(|v| FrameType::from_u8(*v).is_some_and(FrameType::is_data));
        assert_eq!(data.collect::<Vec<u8>>(), [249, 250, 252]);
    }

    #[test]
    fn behaviour_is_zero_or_one() {
        let known = (0..=255).filter_map(Behaviour::from_u8);
        assert!(known.eq([Behaviour::Push, Behaviour::Pull]));
        assert_eq!((Behaviour::Push as u8, Behaviour::Pull as u8), (0, 1));
    }
}
