//! The frames that wait to be sent, and how long they are.

use bytes::Bytes;

use crate::protocol::{self, Frame, Text};
use crate::session::io::{Payload, Token};
use crate::session::transaction::Frames;

/// Length of an ACK (PROTOCOL section 3).
pub(super) const ACK_LEN: usize = 13;

/// ACKs that are transmitted at once: whoever writes them checks for room in between.
pub(in crate::session) const MAX_RUN: u32 = 64;

/// A frame to be sent. It gets its ack number when it is encoded.
#[derive(Debug)]
pub(in crate::session) enum Outgoing {
    Data {
        payload: Payload,
        token: Option<Token>,
    },
    /// ACKs of `count` frames numbered consecutively, a frame each.
    Acks {
        first: u32,
        count: u32,
    },
    Ping(Option<Token>),
    Pong,
    EndpointInfo,
    Bye(Text),
    /// Boxed, for the sake of the size of the others.
    Transaction(Box<TxFrame>),
}

/// A frame of a transaction, but not a chunk; its ack number is still to be filled in.
#[derive(Debug)]
pub(in crate::session) struct TxFrame {
    pub(in crate::session) frame: Frame,
    pub(in crate::session) ack: Frames,
}

/// What is to be done once a frame has been written.
#[derive(Clone, Copy, Debug)]
pub(in crate::session) enum OnWritten {
    Nothing,
    /// The ACK's timeout starts.
    Tracked(u32),
    /// The same, and the wait for the ACK of a TX_START.
    TxStart(u32),
    /// The transaction of that number may be at rest.
    Rest(u32),
    /// A `ping` of the application is settled.
    Ping(Token),
}

impl Outgoing {
    /// Whether no data frame that was sent later may go before it, nor it before one that was sent earlier.
    pub(super) fn keeps_its_place(&self) -> bool {
        matches!(self, Outgoing::Data { .. } | Outgoing::Transaction(_) | Outgoing::Bye(_))
    }

    /// Whether it counts among those that are unacknowledged.
    #[inline]
    pub(super) fn awaits_ack(&self) -> bool {
        match self {
            Outgoing::Data { .. } => true,
            Outgoing::Transaction(tx) => matches!(tx.ack, Frames::Tracked(tracked) if tracked.is_send()),
            _ => false,
        }
    }

    /// Its length, unless the application alone causes such frames.
    #[inline]
    pub(super) fn peer_caused_len(&self) -> usize {
        if self.keeps_its_place() { 0 } else { self.encoded_len() }
    }

    /// Length of its frame, or frames, in bytes (PROTOCOL section 3).
    #[inline]
    pub(super) fn encoded_len(&self) -> usize {
        match self {
            Outgoing::Data { payload, .. } => data_len(payload),
            Outgoing::Acks { count, .. } => ACK_LEN * *count as usize,
            Outgoing::Ping(_) | Outgoing::Pong => 13,
            Outgoing::EndpointInfo => 25,
            Outgoing::Bye(reason) => 13 + reason.len(),
            Outgoing::Transaction(tx) => tx.frame.encoded_len(),
        }
    }
}

impl Payload {
    /// The same bytes in an allocation of their own: what waits long must not keep alive the
    /// larger block it was cut from.
    pub fn detached(self) -> Payload {
        match self {
            Payload::Utf8(text) => Payload::Utf8(text.detached()),
            Payload::Binary(data) => Payload::Binary(Bytes::copy_from_slice(&data)),
            Payload::Error(text) => Payload::Error(text.detached()),
        }
    }
}

#[inline]
pub(super) fn data_len(payload: &Payload) -> usize {
    protocol::data_len(payload.len())
}
