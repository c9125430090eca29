//! Transactions of the peer's that are not wanted here, and how far it knows.
//!
//! TX_CANCEL does not tell whose transaction it means. It is taken for its sender's own if that one has such a
//! number under way: TX_START has come from it, and neither TX_FINISH, TX_CANCEL nor the ACK of our refusal since.
//! Time does not end that: the peer's TX_CANCEL, or its ACK, may lie in a socket for long.

use std::collections::{BTreeMap, HashMap};

/// Refusals remembered until the peer is known to have heard of them. Beyond that many the oldest that went out is
/// forgotten, for one that acknowledges no TX_CANCEL and ends nothing must not make memory grow; and while none has
/// gone out, the peer begins no more.
pub(super) const MAX_REFUSED: usize = 1024;

/// How far the peer knows that a transaction of its own is not wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// One of ours has the number: TX_CANCEL comes behind its end.
    PutOff,
    /// The same, and the peer has sent all of its own.
    PutOffFinished,
    /// TX_CANCEL is on its way, under this number once it has one: a TX_CANCEL that crosses it means the same
    /// transaction.
    Told(Option<u32>),
}

/// Refusals by the peer's numbers.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    by_tx_id: BTreeMap<u32, Refusal>,
    /// The transactions of those that were told, by the numbers of the TX_CANCELs.
    by_ack: HashMap<u32, u32>,
}

impl Refusals {
    pub(super) fn get(&self, tx_id: u32) -> Option<Refusal> {
        self.by_tx_id.get(&tx_id).copied()
    }

    pub(super) fn insert(&mut self, tx_id: u32, refusal: Refusal) {
        self.remove(tx_id);
        self.by_tx_id.insert(tx_id, refusal);
        if self.by_tx_id.len() > MAX_REFUSED {
            // The lowest number is most likely the oldest.
            let told =
                |(&number, refusal): (&u32, &Refusal)| matches!(refusal, Refusal::Told(Some(_))).then_some(number);
            if let Some(oldest) = self.by_tx_id.iter().find_map(told) {
                self.remove(oldest);
            }
        }
    }

    pub(super) fn remove(&mut self, tx_id: u32) {
        if let Some(Refusal::Told(Some(ack))) = self.by_tx_id.remove(&tx_id) {
            self.by_ack.remove(&ack);
        }
    }

    /// The TX_CANCEL that tells it has this number.
    pub(super) fn numbered(&mut self, tx_id: u32, ack: u32) {
        if let Some(Refusal::Told(number)) = self.by_tx_id.get_mut(&tx_id) {
            *number = Some(ack);
            self.by_ack.insert(ack, tx_id);
        }
    }

    /// The TX_CANCEL of this number, if it is one of these, has come to the peer.
    pub(super) fn acknowledged(&mut self, ack: u32) {
        if let Some(tx_id) = self.by_ack.remove(&ack) {
            self.by_tx_id.remove(&tx_id);
        }
    }

    /// Whether there are as many as may be, and none has gone out.
    pub(super) fn is_full(&self) -> bool {
        self.by_tx_id.len() >= MAX_REFUSED && self.by_ack.is_empty()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_tx_id.len().max(self.by_ack.len())
    }
}
