//! Transactions: byte streams with a name, in either direction (PROTOCOL section 5).
//!
//! A number may live in both directions at once; `incoming` has the peer's, `outgoing` ours.

mod incoming;
mod io;
mod outgoing;
mod ranges;
mod refusals;
mod waits;

use std::time::Instant;

pub use io::{TxCommand, TxEnd, TxEvent, TxKey, TxOutcome};

use incoming::AllIncoming;
use outgoing::AllOutgoing;
use refusals::Refusals;

use super::acks::Tracked;
use super::outbox::{Outgoing, TxFrame};
use super::receiving::WE_ERRED;
use super::sending::close_reason;
use super::state::PeerInfo;
use super::{Outcome, Session};
use crate::protocol::{FEATURE_TRANSACTIONS, Frame};

/// The name of a transaction that has none.
const ANONYMOUS: &str = "anonymous";

/// Bytes of a push that may be fed ahead of the socket.
pub const CREDIT: usize = 1 << 20;

/// Largest payload of a chunk that this side sends.
pub const CHUNK: usize = 256 << 10;

/// The transactions of a session.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    incoming: AllIncoming,
    /// The key of the next incoming one.
    next_incoming: TxKey,
    outgoing: AllOutgoing,
    /// Transactions of the peer that we do not want and that it has not given up yet, as far as we know.
    refused: Refusals,
    /// Chunks whose offset was not where the stream stood.
    pub(super) odd_offsets: u64,
    /// Frames of transactions that are not, or no longer, under way.
    pub(super) unknown: u64,
}

impl Transactions {
    /// Whether chunks are ready to be sent.
    pub(super) fn has_chunks(&self) -> bool {
        self.outgoing.has_chunks()
    }

    /// When the next of ours has waited long enough, on the clock that stands while reading is paused.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.outgoing.next_due()
    }
}

#[cfg(test)]
impl Transactions {
    /// Whether nothing is left of any transaction.
    pub(super) fn is_idle(&self) -> bool {
        self.incoming.is_empty() && self.refused.len() == 0 && self.outgoing.is_idle()
    }

    /// How many refusals are remembered.
    pub(super) fn refusals(&self) -> usize {
        self.refused.len()
    }
}

/// Whether somebody waits for a frame's ACK.
#[derive(Clone, Copy, Debug)]
pub(super) enum Frames {
    Untracked,
    Tracked(Tracked),
    /// TX_CANCEL of a transaction of the peer's; its ACK may take as long as it likes.
    Refusal,
}

impl Session {
    /// A transaction frame of the peer.
    pub(super) fn on_transaction(&mut self, frame: Frame, now: Instant) {
        if !matches!(self.peer_info, PeerInfo::Received { .. }) {
            self.connect(PeerInfo::Presumed, now);
        }
        let ours = self.config.features & FEATURE_TRANSACTIONS != 0;
        if !ours || !self.peer_has(FEATURE_TRANSACTIONS) {
            let whose = if ours { "its sender" } else { "this side" };
            let name = frame.frame_type().name();
            let reason = format!("Feature mismatch: {name} came, but {whose} did not announce transactions.");
            return self.close(close_reason(WE_ERRED, &reason), None, now);
        }
        match frame {
            Frame::TxStart(start) => self.on_tx_start(start),
            Frame::TxChunk { tx_id, offset, data } => self.on_tx_chunk(tx_id, offset, data),
            Frame::TxFinish { ack, tx_id } => self.on_tx_finish(ack, tx_id),
            Frame::TxFetch { ack, tx_id, start, end } => self.on_tx_fetch(ack, tx_id, start, end),
            Frame::TxCancel { ack, tx_id } => self.on_tx_cancel(ack, tx_id),
            _ => {}
        }
    }

    pub(super) fn on_tx_command(&mut self, command: TxCommand, token: Option<super::Token>, now: Instant) {
        match command {
            TxCommand::Open { key, name, size, behaviour } => self.open_outgoing(key, name, size, behaviour, now),
            TxCommand::Data { key, data } => self.feed(key, data),
            TxCommand::End { key } => self.end_source(key),
            TxCommand::Abort { key } => self.abort_outgoing(key),
            TxCommand::Fetch { key, start, end } => {
                let Some(tx_id) = self.incoming_number(key) else {
                    return token.into_iter().for_each(|token| self.settle(token, Outcome::Over));
                };
                let tracked = token.map_or(Frames::Untracked, |token| Frames::Tracked(Tracked::Send(token)));
                self.push_transaction(Frame::TxFetch { ack: 0, tx_id, start, end }, tracked);
            }
            TxCommand::Consumed { key, bytes } => self.on_consumed(key, bytes),
            TxCommand::Refuse { key } => self.on_refuse(key),
        }
    }

    /// TX_CANCEL does not tell the direction: the sender's own transaction comes first.
    fn on_tx_cancel(&mut self, ack: u32, tx_id: u32) {
        if !self.tx.incoming_is_known(tx_id) && !self.tx.outgoing.has(tx_id) {
            self.tx.unknown = self.tx.unknown.saturating_add(1);
            return;
        }
        // Before whatever that makes us say.
        self.acknowledge(ack);
        if !self.cancel_incoming(tx_id) {
            self.cancel_outgoing(tx_id);
        }
    }

    /// Queues a transaction frame; its ack number comes with its turn.
    fn push_transaction(&mut self, frame: Frame, ack: Frames) {
        self.outbox.push_control(Outgoing::Transaction(Box::new(TxFrame { frame, ack })));
    }

    /// The TX_CANCEL of a transaction of the peer's has got its number.
    pub(super) fn on_refusal_numbered(&mut self, frame: &Frame, ack: u32) {
        if let Frame::TxCancel { tx_id, .. } = frame {
            self.tx.refused.numbered(*tx_id, ack);
        }
    }

    /// An ACK came that nothing else waits for.
    pub(super) fn on_other_ack(&mut self, ack: u32) {
        self.tx.refused.acknowledged(ack);
    }

    fn acknowledge(&mut self, ack: u32) {
        self.outbox.push_ack(ack);
    }
}

/// The frame under its ack number.
pub(super) fn numbered(frame: Frame, number: u32) -> Frame {
    match frame {
        Frame::TxStart(mut start) => {
            start.ack = number;
            Frame::TxStart(start)
        }
        Frame::TxFinish { tx_id, .. } => Frame::TxFinish { ack: number, tx_id },
        Frame::TxFetch { tx_id, start, end, .. } => Frame::TxFetch { ack: number, tx_id, start, end },
        Frame::TxCancel { tx_id, .. } => Frame::TxCancel { ack: number, tx_id },
        other => other,
    }
}
