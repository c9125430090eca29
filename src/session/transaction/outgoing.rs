//! Transactions that this side began.
//!
//! Chunks do not wait in the outbox: they are cut when the socket has room and nothing else is to
//! be sent, one transaction after the other, so that no transfer delays messages or another one.
//! `waits` tells when the first may go.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Instant;

use bytes::Bytes;

use super::io::{TxEvent, TxKey, TxOutcome};
use super::ranges::Ranges;
use super::{CHUNK, Frames};
use crate::protocol::{Behaviour, FEATURE_TRANSACTIONS, Frame, Text, TxStart};
use crate::session::Session;
use crate::session::acks::Tracked;
use crate::session::io::Event;
use crate::session::outbox::OnWritten;
use crate::session::receiving::WE_ERRED;
use crate::session::sending::close_reason;

/// Ranges that may wait in one pull.
const MAX_RANGES: usize = 1024;

/// Bytes of a range that are read at once.
const READ: u64 = 512 << 10;

/// Disjoint pieces in which a pull may have been sent.
const MAX_PIECES: usize = 64 << 10;

/// One transaction of ours.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// `None` until TX_START is queued, which waits for the peer's ENDPOINT_INFO.
    tx_id: Option<u32>,
    name: Text,
    size: Option<u64>,
    /// Bytes to be sent, each with its position.
    queue: VecDeque<(u64, Bytes)>,
    source: Source,
    pub(super) stage: Stage,
    /// When it has waited long enough; `dues` has it, too.
    pub(super) due: Option<Instant>,
}

/// How much of a transaction the peer may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// TX_START alone.
    Announced,
    /// TX_START is acknowledged, or long under way: its bytes go.
    Started,
    /// TX_FINISH is queued; nothing goes any more.
    Finished,
}

#[derive(Debug)]
enum Source {
    /// A push: bytes come in order.
    Fed { fed: u64, ended: bool },
    /// A pull: bytes are read as the peer asks for them.
    Ranged {
        waiting: VecDeque<(u64, u64)>,
        /// What is left of the range being served.
        current: (u64, u64),
        /// Where the read under way starts.
        reading: Option<(u64, usize)>,
        sent: Ranges,
    },
}

/// Ours by key, and whose turn it is.
#[derive(Debug, Default)]
pub(super) struct AllOutgoing {
    pub(super) by_key: HashMap<TxKey, Outgoing>,
    pub(super) keys: HashMap<u32, TxKey>,
    /// Given up before TX_START was acknowledged, with their dues: TX_CANCEL waits, too.
    pub(super) given_up: HashMap<u32, Option<Instant>>,
    /// When which number has waited long enough, on the clock that stands while reading is paused.
    pub(super) dues: BTreeSet<(Instant, u32)>,
    /// Keys with bytes to be sent; the first is next.
    turns: VecDeque<TxKey>,
    next_tx_id: u32,
}

impl AllOutgoing {
    /// Whether one of this number is under way.
    pub(super) fn has(&self, tx_id: u32) -> bool {
        self.keys.contains_key(&tx_id) || self.given_up.contains_key(&tx_id)
    }

    /// Whether a TX_CANCEL of this number would mean one of ours.
    pub(super) fn would_be_cancelled(&self, tx_id: u32) -> bool {
        let transaction = self.keys.get(&tx_id).and_then(|key| self.by_key.get(key));
        let open = transaction.is_some_and(|transaction| transaction.stage != Stage::Finished);
        open || self.given_up.contains_key(&tx_id)
    }

    pub(super) fn has_chunks(&self) -> bool {
        !self.turns.is_empty()
    }

    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        let waits = !self.given_up.is_empty() || !self.dues.is_empty();
        self.by_key.is_empty() && self.keys.is_empty() && self.turns.is_empty() && !waits
    }
}

impl Session {
    pub(super) fn open_outgoing(
        &mut self,
        key: TxKey,
        name: Text,
        size: Option<u64>,
        behaviour: Behaviour,
        now: Instant,
    ) {
        let source = match behaviour {
            Behaviour::Push => Source::Fed { fed: 0, ended: false },
            Behaviour::Pull => {
                let (waiting, current, reading, sent) = Default::default();
                Source::Ranged { waiting, current, reading, sent }
            }
        };
        let (stage, queue) = (Stage::Announced, VecDeque::new());
        let transaction = Outgoing { tx_id: None, name, size, queue, source, stage, due: None };
        self.tx.outgoing.by_key.insert(key, transaction);
        if self.connected {
            self.start_outgoing(key, now);
        }
    }

    /// What was opened before the peer's ENDPOINT_INFO came begins now.
    pub(in crate::session) fn start_waiting_transactions(&mut self, now: Instant) {
        let mut keys: Vec<TxKey> =
            self.tx.outgoing.by_key.iter().filter(|(_, t)| t.tx_id.is_none()).map(|(key, _)| *key).collect();
        keys.sort_unstable();
        for key in keys {
            self.start_outgoing(key, now);
        }
    }

    fn start_outgoing(&mut self, key: TxKey, now: Instant) {
        if !self.peer_has(FEATURE_TRANSACTIONS) {
            self.settle_outgoing(key, TxOutcome::Unsupported);
            let reason = "Feature mismatch: the peer did not announce transactions.";
            return self.close(close_reason(WE_ERRED, reason), None, now);
        }
        let all = &mut self.tx.outgoing;
        while all.has(all.next_tx_id) {
            all.next_tx_id = all.next_tx_id.wrapping_add(1);
        }
        let Some(transaction) = all.by_key.get_mut(&key) else { return };
        let tx_id = all.next_tx_id;
        all.next_tx_id = tx_id.wrapping_add(1);
        all.keys.insert(tx_id, key);
        transaction.tx_id = Some(tx_id);
        let behaviour = match transaction.source {
            Source::Fed { .. } => Behaviour::Push,
            Source::Ranged { .. } => Behaviour::Pull,
        };
        let size = transaction.size.map_or(-1, |size| i64::try_from(size).unwrap_or(i64::MAX));
        let (name, behaviour) = (transaction.name.clone(), behaviour as u8);
        let start = TxStart { ack: 0, tx_id, size, behaviour, name };
        self.push_transaction(Frame::TxStart(start), Frames::Tracked(Tracked::TxStart(tx_id)));
    }

    /// Bytes of a push, or those that were read for a pull.
    pub(super) fn feed(&mut self, key: TxKey, data: Bytes) {
        let Some(transaction) = self.tx.outgoing.by_key.get_mut(&key) else { return };
        match &mut transaction.source {
            Source::Fed { .. } if data.is_empty() => return,
            Source::Fed { fed, .. } => {
                let at = *fed;
                *fed = fed.saturating_add(data.len() as u64);
                if transaction.size.is_some_and(|size| *fed > size) {
                    return self.fail_outgoing(key, TxOutcome::SourceFailed);
                }
                transaction.queue.push_back((at, data));
            }
            Source::Ranged { reading, .. } => {
                let Some((at, len)) = reading.take() else { return };
                if data.len() != len {
                    return self.fail_outgoing(key, TxOutcome::SourceFailed);
                }
                transaction.queue.push_back((at, data));
                self.read_ahead(key);
            }
        }
        self.take_turn(key);
    }

    pub(super) fn end_source(&mut self, key: TxKey) {
        let Some(transaction) = self.tx.outgoing.by_key.get_mut(&key) else { return };
        let Source::Fed { fed, ended } = &mut transaction.source else { return };
        *ended = true;
        if transaction.size.is_some_and(|size| size != *fed) {
            return self.fail_outgoing(key, TxOutcome::SourceFailed);
        }
        self.finish_if_complete(key);
    }

    /// The application gives it up.
    pub(super) fn abort_outgoing(&mut self, key: TxKey) {
        let Some(Outgoing { tx_id: Some(tx_id), stage, due, .. }) = self.remove_outgoing(key) else { return };
        match stage {
            Stage::Announced => return self.put_off_cancel(tx_id, due),
            Stage::Started => self.push_transaction(Frame::TxCancel { ack: 0, tx_id }, Frames::Untracked),
            // Behind its TX_FINISH a TX_CANCEL means the peer's own transaction of that number.
            Stage::Finished => {}
        }
        self.tell_put_off(tx_id);
    }

    pub(super) fn on_tx_fetch(&mut self, ack: u32, tx_id: u32, start: u64, end: u64) {
        let key = self.tx.outgoing.keys.get(&tx_id).copied();
        let transaction = key.and_then(|key| Some((key, self.tx.outgoing.by_key.get_mut(&key)?)));
        let Some((key, transaction)) = transaction.filter(|(_, transaction)| transaction.stage != Stage::Finished)
        else {
            self.tx.unknown = self.tx.unknown.saturating_add(1);
            return;
        };
        let size = transaction.size.unwrap_or(0);
        let fault = match &mut transaction.source {
            Source::Fed { .. } => Some("this transaction is pushed".to_owned()),
            Source::Ranged { .. } if start >= end || start >= size => {
                Some(format!("no bytes of {size} lie in {start}..{end}"))
            }
            Source::Ranged { waiting, .. } if waiting.len() >= MAX_RANGES => {
                Some(format!("{MAX_RANGES} ranges wait already"))
            }
            Source::Ranged { waiting, .. } => {
                waiting.push_back((start, end.min(size)));
                None
            }
        };
        if let Some(fault) = fault {
            return self.send_diagnostic(format!("TX_FETCH of {tx_id}: {fault}"));
        }
        self.acknowledge(ack);
        if !self.tx.outgoing.is_held(tx_id) {
            self.tx.outgoing.set_due(tx_id, None);
        }
        self.events.push_back(Event::Transaction(TxEvent::Fetched { tx_id, start, end: end.min(size) }));
        self.read_ahead(key);
    }

    /// The peer does not want it.
    pub(super) fn cancel_outgoing(&mut self, tx_id: u32) {
        if let Some(key) = self.tx.outgoing.keys.get(&tx_id).copied() {
            self.settle_outgoing(key, TxOutcome::Cancelled);
        } else if self.tx.outgoing.forget_given_up(tx_id) {
            self.tell_put_off(tx_id);
        }
    }

    /// The next chunk, from the transaction whose turn it is, and what is to be done once it has been written.
    pub(in crate::session) fn next_chunk(&mut self) -> Option<(Frame, OnWritten)> {
        let all = &mut self.tx.outgoing;
        let key = all.turns.pop_front()?;
        let transaction = all.by_key.get_mut(&key)?;
        let tx_id = transaction.tx_id?;
        let (offset, data) = transaction.queue.front_mut()?;
        let at = *offset;
        let chunk = data.split_to(data.len().min(CHUNK));
        let end = at.saturating_add(chunk.len() as u64);
        *offset = end;
        if data.is_empty() {
            transaction.queue.pop_front();
        }
        if !transaction.queue.is_empty() {
            all.turns.push_back(key);
        }
        match &mut transaction.source {
            Source::Fed { .. } => {
                self.events.push_back(Event::Transaction(TxEvent::Credit { key, bytes: chunk.len() }));
            }
            Source::Ranged { sent, .. } => {
                sent.add(at, end);
                if sent.pieces() > MAX_PIECES {
                    self.fail_outgoing(key, TxOutcome::TooManyPieces);
                }
                self.read_ahead(key);
            }
        }
        self.finish_if_complete(key);
        let then = if self.tx.outgoing.rests(key) { OnWritten::Rest(tx_id) } else { OnWritten::Nothing };
        Some((Frame::TxChunk { tx_id, offset: at, data: chunk }, then))
    }

    /// TX_FINISH was acknowledged, or not in time.
    pub(in crate::session) fn on_finish_settled(&mut self, key: TxKey, outcome: TxOutcome) {
        self.settle_outgoing(key, outcome);
    }

    /// Reads the next piece of a pull while the last one is on its way.
    fn read_ahead(&mut self, key: TxKey) {
        let Some(transaction) = self.tx.outgoing.by_key.get_mut(&key) else { return };
        let Source::Ranged { waiting, current, reading, .. } = &mut transaction.source else { return };
        if reading.is_some() || transaction.queue.len() > 1 {
            return;
        }
        if current.0 == current.1 {
            let Some(next) = waiting.pop_front() else { return };
            *current = next;
        }
        let len = current.1.saturating_sub(current.0).min(READ) as usize;
        *reading = Some((current.0, len));
        let start = current.0;
        current.0 = current.0.saturating_add(len as u64);
        self.events.push_back(Event::Transaction(TxEvent::Read { key, start, len }));
    }

    pub(super) fn take_turn(&mut self, key: TxKey) {
        let all = &mut self.tx.outgoing;
        let ready = all.by_key.get(&key).is_some_and(|t| t.stage == Stage::Started && !t.queue.is_empty());
        if ready && !all.turns.contains(&key) {
            all.turns.push_back(key);
        }
    }

    pub(super) fn finish_if_complete(&mut self, key: TxKey) {
        let Some(transaction) = self.tx.outgoing.by_key.get(&key) else { return };
        let complete = transaction.is_served()
            && match &transaction.source {
                Source::Fed { ended, .. } => *ended,
                Source::Ranged { sent, .. } => transaction.size.is_some_and(|size| sent.cover(size)),
            };
        if complete {
            self.finish(key);
        }
    }

    pub(super) fn finish(&mut self, key: TxKey) {
        let Some(transaction) = self.tx.outgoing.by_key.get_mut(&key) else { return };
        let Some(tx_id) = transaction.tx_id else { return };
        transaction.stage = Stage::Finished;
        self.push_transaction(Frame::TxFinish { ack: 0, tx_id }, Frames::Tracked(Tracked::TxFinish(key)));
        self.tell_put_off(tx_id);
    }

    /// The source broke its word: the peer is told, and so is the application.
    fn fail_outgoing(&mut self, key: TxKey, outcome: TxOutcome) {
        self.abort_outgoing(key);
        self.events.push_back(Event::Transaction(TxEvent::Settled { key, outcome }));
    }

    fn settle_outgoing(&mut self, key: TxKey, outcome: TxOutcome) {
        if self.tx.outgoing.by_key.contains_key(&key) {
            let tx_id = self.remove_outgoing(key).and_then(|transaction| transaction.tx_id);
            self.events.push_back(Event::Transaction(TxEvent::Settled { key, outcome }));
            if let Some(tx_id) = tx_id {
                self.tell_put_off(tx_id);
            }
        }
    }

    fn remove_outgoing(&mut self, key: TxKey) -> Option<Outgoing> {
        let all = &mut self.tx.outgoing;
        let transaction = all.by_key.remove(&key)?;
        if let Some(tx_id) = transaction.tx_id {
            all.keys.remove(&tx_id);
            all.turns.retain(|other| *other != key);
            if let Some(due) = transaction.due {
                all.dues.remove(&(due, tx_id));
            }
        }
        Some(transaction)
    }
}

impl Outgoing {
    /// Whether all that was asked for so far has gone out, and more may.
    fn is_served(&self) -> bool {
        self.stage == Stage::Started
            && self.queue.is_empty()
            && match &self.source {
                Source::Fed { .. } => true,
                // What was accepted is served first: nothing follows TX_FINISH.
                Source::Ranged { waiting, current, reading, .. } => {
                    waiting.is_empty() && current.0 == current.1 && reading.is_none()
                }
            }
    }

    /// Whether it is a pull of which the last byte has gone out, and nothing is asked for.
    pub(super) fn rests(&self) -> bool {
        let Source::Ranged { sent, .. } = &self.source else { return false };
        self.is_served() && self.size.is_some_and(|size| sent.reach(size))
    }
}
