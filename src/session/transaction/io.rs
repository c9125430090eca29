//! What transactions add to a session's inputs and outputs.

use bytes::Bytes;

use crate::protocol::{Behaviour, Text};

/// Names a transaction between the application and the session: outgoing ones as the application
/// chooses, unique among those that live; incoming ones by their turn, so that no number is used
/// twice while somebody may still read what came under it.
pub type TxKey = u32;

/// What the application, or the driver on its behalf, wants of a transaction.
#[derive(Debug)]
pub enum TxCommand {
    /// Begin an outgoing transaction. Push: data is fed as credit allows. Pull: data is given when
    /// [`TxEvent::Read`] asks for it.
    Open {
        /// Its name here.
        key: TxKey,
        /// Its name on the wire, at most `MAX_NAME` bytes.
        name: Text,
        /// Bytes in all, where that is known. A pull knows it.
        size: Option<u64>,
        /// Who sets the pace.
        behaviour: Behaviour,
    },
    /// The next bytes of a push, or those a [`TxEvent::Read`] asked for.
    Data {
        /// Of which transaction.
        key: TxKey,
        /// Bytes; fewer than asked for mean that the source is shorter than it said.
        data: Bytes,
    },
    /// The source of a push has ended.
    End {
        /// Of which transaction.
        key: TxKey,
    },
    /// The application gives an outgoing transaction up: the peer gets TX_CANCEL. No event follows.
    Abort {
        /// Which transaction.
        key: TxKey,
    },
    /// Ask the peer for a range of an incoming pull; settled under the next token.
    Fetch {
        /// Which transaction.
        key: TxKey,
        /// First byte.
        start: u64,
        /// Behind the last byte.
        end: u64,
    },
    /// The application has taken this many bytes of an incoming transaction.
    Consumed {
        /// Which transaction.
        key: TxKey,
        /// Bytes taken since the last report.
        bytes: u64,
    },
    /// The application does not want an incoming transaction (any more): the peer gets TX_CANCEL.
    Refuse {
        /// Which transaction.
        key: TxKey,
    },
}

/// What happens to transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxEvent {
    /// The peer began a transaction.
    Started {
        /// Its name here.
        key: TxKey,
        /// The peer's number.
        tx_id: u32,
        /// Who sets the pace.
        behaviour: Behaviour,
        /// Bytes in all, where the peer says.
        size: Option<u64>,
        /// Its name; never empty.
        name: Text,
    },
    /// The next bytes of an incoming transaction, in order of arrival.
    Chunk {
        /// Of which transaction.
        key: TxKey,
        /// At least one byte.
        data: Bytes,
    },
    /// An incoming transaction is over.
    Ended {
        /// Which.
        key: TxKey,
        /// How.
        outcome: TxEnd,
        /// Bytes announced; `None` if unknown.
        expected: Option<u64>,
        /// Bytes received.
        received: u64,
    },
    /// So many more bytes of a push may be fed, beyond the initial [`CREDIT`](super::CREDIT).
    Credit {
        /// Of which transaction.
        key: TxKey,
        /// Bytes that have gone to the socket.
        bytes: usize,
    },
    /// Bytes of a pull are wanted: answer with one [`TxCommand::Data`].
    Read {
        /// Of which transaction.
        key: TxKey,
        /// First byte.
        start: u64,
        /// How many, at least one.
        len: usize,
    },
    /// The peer asked for a valid range of an outgoing pull.
    Fetched {
        /// Our number.
        tx_id: u32,
        /// First byte.
        start: u64,
        /// Behind the last byte, within the size.
        end: u64,
    },
    /// An outgoing transaction is over.
    Settled {
        /// Which.
        key: TxKey,
        /// How.
        outcome: TxOutcome,
    },
}

/// How an incoming transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TxEnd {
    /// TX_FINISH, and all bytes are there as far as can be told.
    Finished = 0,
    /// The peer sent TX_CANCEL.
    Cancelled = 1,
    /// More or fewer bytes came than were announced.
    SizeBelied = 2,
    /// More waits for the application than may be kept.
    Overflow = 4,
    /// What waits for the application could not be stored.
    SpoolFailed = 5,
}

/// How an outgoing transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TxOutcome {
    /// TX_FINISH was acknowledged.
    Done = 0,
    /// The peer sent TX_CANCEL.
    Cancelled = 1,
    /// The session ended first.
    SessionClosed = 2,
    /// The source gave more or fewer bytes than it said.
    SourceFailed = 3,
    /// TX_FINISH was not acknowledged in time.
    TimedOut = 4,
    /// The peer has announced no transactions.
    Unsupported = 5,
    /// The peer asked for too many separate pieces of a pull.
    TooManyPieces = 6,
}
