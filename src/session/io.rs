//! What goes into a [`Session`](super::Session) and what comes out of it.

use std::time::Duration;

use bytes::Bytes;

use super::transaction::{TxCommand, TxEvent};
use crate::protocol::{FEATURE_TRANSACTIONS, Frame, FrameType, Text};

/// Names one send of the application within its session: 0, 1, 2, … in call order, wrapping.
pub type Token = u32;

/// Something that happened to the session; given to [`Session::handle`](super::Session::handle).
#[derive(Debug)]
pub enum Input {
    /// A binary WebSocket message: one CAMP frame.
    Frame(Bytes),
    /// The application wants something.
    Command(Command),
    /// The receive hooks of the message last asked about have run: acknowledge it and go on.
    /// Whether it is delivered, and with which payload, the application decides: it holds it.
    Verdict,
    /// The socket has taken this many bytes of the frames polled so far.
    Written(usize),
    /// Bytes have come from the peer, whether or not they make a frame yet.
    Alive,
    /// The peer has taken bytes that waited for it, which says as much.
    Taking,
    /// Reading from the socket was stopped (true) or resumed because the application had not
    /// taken what was read. Silence meanwhile is not the peer's.
    ReadingPaused(bool),
    /// The peer broke a rule below CAMP (RFC 6455): close with this WebSocket code.
    Violation {
        /// WebSocket close code.
        code: u16,
        /// What was wrong, for the close frame.
        reason: String,
    },
    /// The WebSocket is over; with the peer's close frame, when it sent one.
    Disconnected(Option<CloseReason>),
    /// The time given by [`Session::poll_timeout`](super::Session::poll_timeout) has come.
    Timeout,
}

/// What the application asks of its session.
#[derive(Debug)]
pub enum Command {
    /// Send a data frame; its fate comes back under the next [`Token`].
    Send(Payload),
    /// Send a `ping`; settled under the next [`Token`] once written.
    Ping,
    /// Something about a transaction. [`TxCommand::Fetch`] is settled under the next [`Token`].
    Transaction(TxCommand),
    /// Send everything queued, then BYE with this reason, then close with 4000.
    Close(String),
    /// Send everything queued, then close with this code, without BYE.
    Destroy {
        /// WebSocket close code.
        code: u16,
        /// Reason in the close frame, cut to 123 bytes.
        reason: String,
    },
}

/// The content of a data frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// UTF8DATA.
    Utf8(Text),
    /// BINARYDATA.
    Binary(Bytes),
    /// ERROR.
    Error(Text),
}

/// The kinds of data frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum DataKind {
    /// UTF8DATA.
    Utf8 = 0,
    /// BINARYDATA.
    Binary = 1,
    /// ERROR.
    Error = 2,
}

impl DataKind {
    /// The type of the frame.
    #[inline]
    pub fn frame_type(self) -> FrameType {
        match self {
            DataKind::Utf8 => FrameType::Utf8Data,
            DataKind::Binary => FrameType::BinaryData,
            DataKind::Error => FrameType::Error,
        }
    }
}

impl Payload {
    /// Which data frame carries it.
    pub fn kind(&self) -> DataKind {
        match self {
            Payload::Utf8(_) => DataKind::Utf8,
            Payload::Binary(_) => DataKind::Binary,
            Payload::Error(_) => DataKind::Error,
        }
    }

    /// Size in bytes.
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes as they go over the wire.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Payload::Utf8(text) | Payload::Error(text) => text.as_bytes(),
            Payload::Binary(data) => data,
        }
    }
}

/// Something the application should hear of; from [`Session::poll_event`](super::Session::poll_event).
#[derive(Debug, PartialEq)]
pub enum Event {
    /// The peer's ENDPOINT_INFO was accepted, or it counts as accepted. Once per session.
    Connected,
    /// A data frame arrived and was acknowledged.
    Message(Payload),
    /// A data frame arrived whose kind has receive hooks, in the set given: run them, then answer
    /// with [`Input::Verdict`]. Until then nothing after it in this session is handled, but for messages
    /// that meet hooks, too: they are given out in order, and each verdict is the oldest one's.
    Held(Payload, Hooks),
    /// The fate of sends: all those from `first` on, `count` of them.
    Settled {
        /// The first of the run.
        first: Token,
        /// How many, at least 1.
        count: u32,
        /// What became of each.
        outcome: Outcome,
    },
    /// `dedupe-latest` replaced the frame of `earlier` by the equal one of `later`: the earlier
    /// send shares the fate of the later one.
    Joined {
        /// The send whose frame was waiting.
        earlier: Token,
        /// The send whose frame took its place.
        later: Token,
    },
    /// A data frame was dropped by the drop policy. Its own [`Event::Settled`] follows.
    Dropped {
        /// The kind of the frame.
        kind: DataKind,
        /// Payload bytes.
        bytes: usize,
    },
    /// Something happened to a transaction.
    Transaction(TxEvent),
    /// One keep-alive tick's figures.
    Statistics(Statistics),
    /// The session is over. The last event, once.
    Closed(CloseReason),
}

/// What became of a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Outcome {
    /// The peer acknowledged it (a `ping`: it was written).
    Done = 0,
    /// No ACK came within the timeout.
    TimedOut = 1,
    /// The session ended first.
    SessionClosed = 2,
    /// The drop policy removed or refused it.
    Dropped = 3,
    /// The payload is over the protocol's limit.
    TooLarge = 4,
    /// The transaction it was for is over.
    Over = 5,
}

/// Figures of a session, from its begin unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Statistics {
    /// Mean round-trip time in milliseconds; -1 before the first sample.
    pub rtt_ms: f64,
    /// Bytes of CAMP frames received.
    pub bytes_rx: u64,
    /// Bytes of CAMP frames sent.
    pub bytes_tx: u64,
    /// Sends that were not acknowledged in time since the last tick.
    pub ack_timeouts: u32,
}

/// A WebSocket close code with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseReason {
    /// WebSocket close code; 1006 when the connection broke without a close frame.
    pub code: u16,
    /// Free text.
    pub reason: String,
}

/// What the driver should put on the wire; from [`Session::poll_transmit`](super::Session::poll_transmit).
#[derive(Debug, PartialEq, Eq)]
pub enum Transmit {
    /// One frame, to be encoded with the session's sid and sent as one binary WebSocket message.
    Frame(Frame),
    /// ACKs of frames numbered consecutively, each to be sent as a frame of its own.
    Acks {
        /// The first acknowledged frame.
        first: u32,
        /// How many, at least 1 and at most 64.
        count: u32,
    },
    /// The WebSocket close frame. Nothing follows.
    Close(CloseReason),
}

/// Which data frames have receive hooks, as a set; with a number by which the application knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hooks(u32);

/// Bits of [`Hooks`] that stand for kinds; above them is the number.
const KIND_BITS: u32 = 3;

impl Hooks {
    /// No hooks.
    pub const NONE: Hooks = Hooks(0);

    /// A bit for each [`DataKind`], and above these three the set's number.
    pub fn from_bits(bits: u32) -> Hooks {
        Hooks(bits)
    }

    /// This set and `kind`.
    pub fn with(self, kind: DataKind) -> Hooks {
        Hooks(self.0 | 1 << kind as u8)
    }

    /// Whether messages of `kind` need a verdict.
    #[inline]
    pub fn contains(self, kind: DataKind) -> bool {
        self.0 & 1 << kind as u8 != 0
    }

    /// The number the application gave it.
    pub fn number(self) -> u32 {
        self.0 >> KIND_BITS
    }
}

/// Which side of the connection a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It accepted the connection.
    Server,
    /// It opened the connection to another server.
    Peer,
}

/// What all sessions of a server have in common.
#[derive(Clone, Debug)]
pub struct Config {
    /// Time between heartbeats.
    pub keep_alive: Duration,
    /// How long an ACK may take, from when its frame was written.
    pub ack_timeout: Duration,
    /// Bounds of the outgoing queue.
    pub backpressure: Backpressure,
    /// Data frames that may have been sent and not acknowledged; at this many, further ones wait in the queue.
    pub max_unacknowledged: usize,
    /// Feature bits announced in ENDPOINT_INFO.
    pub features: u64,
    /// Messages that arrive behind one that waits for its hooks: bytes kept before reading stops.
    pub max_backlog: usize,
    /// Transactions of the peer under way at once.
    pub max_transactions: usize,
    /// Bytes of one incoming transaction that the application may leave untaken: in memory up to a
    /// window, then spooled.
    pub max_unread: u64,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            keep_alive: Duration::from_millis(15_000),
            ack_timeout: Duration::from_millis(15_000),
            backpressure: Backpressure::default(),
            max_unacknowledged: 8192,
            features: FEATURE_TRANSACTIONS,
            max_backlog: 1 << 20,
            max_transactions: 64,
            max_unread: 1 << 30,
        }
    }
}

/// Bounds of the outgoing queue, in bytes of CAMP frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backpressure {
    /// Bytes handed to the socket and not yet written at which sending pauses.
    pub high_watermark: usize,
    /// Below this many such bytes sending resumes.
    pub low_watermark: usize,
    /// Most bytes of data frames waiting behind the watermark.
    pub max_queued_bytes: usize,
    /// Most data frames waiting.
    pub max_queue_count: usize,
    /// What gives way when one of the two is reached.
    pub policy: DropPolicy,
}

impl Default for Backpressure {
    fn default() -> Self {
        Backpressure {
            high_watermark: 16 << 20,
            low_watermark: 1 << 20,
            max_queued_bytes: 8 << 20,
            max_queue_count: 1024,
            policy: DropPolicy::Oldest,
        }
    }
}

/// What gives way when the outgoing queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum DropPolicy {
    /// The oldest waiting data frames.
    Oldest = 0,
    /// The new frame.
    Newest = 1,
    /// A waiting frame of the same kind and payload is replaced; else the new frame gives way.
    DedupeLatest = 2,
}
