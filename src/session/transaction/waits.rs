//! What a transaction of ours waits for, and for how long (PROTOCOL section 5).
//!
//! Nothing but TX_START goes out before that is acknowledged: published clients register a stream once they
//! have sent the ACK, and lose what comes before. A pull of which the last byte has gone out waits for more
//! requests: a resumed download asks for the end alone, and nothing would ever finish it.

use std::time::{Duration, Instant};

use super::Frames;
use super::io::TxKey;
use super::outgoing::{AllOutgoing, Stage};
use crate::protocol::Frame;
use crate::session::Session;

/// How long TX_START may be under way before it counts as known to a peer that acknowledges nothing.
const START_WAIT: Duration = Duration::from_secs(1);

/// How long a pull rests, its last byte sent and nothing asked for, before it is finished.
const REST: Duration = Duration::from_secs(5);

impl AllOutgoing {
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.dues.first().map(|(at, _)| *at)
    }

    /// Whether the last byte of a pull has gone out and nothing is asked for.
    pub(super) fn rests(&self, key: TxKey) -> bool {
        self.by_key.get(&key).is_some_and(|transaction| transaction.rests())
    }

    /// From now on it waits until then, or for no time.
    pub(super) fn set_due(&mut self, tx_id: u32, at: Option<Instant>) {
        let transaction = self.keys.get(&tx_id).and_then(|key| self.by_key.get_mut(key));
        let due = transaction.map(|transaction| &mut transaction.due).or_else(|| self.given_up.get_mut(&tx_id));
        let Some(due) = due else { return };
        if let Some(before) = std::mem::replace(due, at) {
            self.dues.remove(&(before, tx_id));
        }
        self.dues.extend(at.map(|at| (at, tx_id)));
    }

    /// False when none of that number was given up.
    pub(super) fn forget_given_up(&mut self, tx_id: u32) -> bool {
        self.set_due(tx_id, None);
        self.given_up.remove(&tx_id).is_some()
    }

    /// Whether only TX_START may be seen of it.
    pub(super) fn is_held(&self, tx_id: u32) -> bool {
        let transaction = self.keys.get(&tx_id).and_then(|key| self.by_key.get(key));
        transaction.map_or(self.given_up.contains_key(&tx_id), |transaction| transaction.stage == Stage::Announced)
    }
}

impl Session {
    /// TX_START was written at `at`, by the clock that stands while reading is paused.
    pub(in crate::session) fn on_start_written(&mut self, tx_id: u32, at: Instant) {
        if self.tx.outgoing.is_held(tx_id) {
            self.tx.outgoing.set_due(tx_id, at.checked_add(START_WAIT));
        }
    }

    /// TX_START was acknowledged, or has been under way for long: what waits behind it goes.
    pub(in crate::session) fn on_start_known(&mut self, tx_id: u32) {
        let all = &mut self.tx.outgoing;
        if !all.is_held(tx_id) {
            return;
        }
        all.set_due(tx_id, None);
        if all.given_up.remove(&tx_id).is_some() {
            self.push_transaction(Frame::TxCancel { ack: 0, tx_id }, Frames::Untracked);
            return self.tell_put_off(tx_id);
        }
        let Some(key) = all.keys.get(&tx_id).copied() else { return };
        if let Some(transaction) = all.by_key.get_mut(&key) {
            transaction.stage = Stage::Started;
        }
        self.take_turn(key);
        self.finish_if_complete(key);
    }

    /// It was given up while only TX_START may be seen of it: TX_CANCEL waits, too.
    pub(super) fn put_off_cancel(&mut self, tx_id: u32, due: Option<Instant>) {
        self.tx.outgoing.given_up.insert(tx_id, None);
        self.tx.outgoing.set_due(tx_id, due);
    }

    /// The last chunk asked for was written at `at`.
    pub(in crate::session) fn on_rest(&mut self, tx_id: u32, at: Instant) {
        if self.tx.outgoing.keys.get(&tx_id).is_some_and(|key| self.tx.outgoing.rests(*key)) {
            self.tx.outgoing.set_due(tx_id, at.checked_add(REST));
        }
    }

    /// Goes on with what has waited long enough.
    pub(in crate::session) fn on_transactions_due(&mut self, now: Instant) {
        let active = self.keepalive.active_time(now);
        while let Some(&(at, tx_id)) = self.tx.outgoing.dues.first()
            && at <= active
        {
            if self.tx.outgoing.is_held(tx_id) {
                self.on_start_known(tx_id);
                continue;
            }
            self.tx.outgoing.set_due(tx_id, None);
            if let Some(key) = self.tx.outgoing.keys.get(&tx_id).copied()
                && self.tx.outgoing.rests(key)
            {
                self.finish(key);
            }
        }
    }
}
