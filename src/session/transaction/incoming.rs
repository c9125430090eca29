//! Transactions that the peer began.

use std::collections::HashMap;

use bytes::Bytes;

use super::io::{TxEnd, TxEvent, TxKey};
use super::refusals::{MAX_REFUSED, Refusal};
use super::{ANONYMOUS, Frames, Transactions};
use crate::protocol::{Behaviour, Frame, MAX_NAME, Text, TxStart};
use crate::session::Session;
use crate::session::io::Event;

/// One transaction of the peer's.
#[derive(Debug)]
pub(super) struct Incoming {
    key: TxKey,
    behaviour: Behaviour,
    size: Option<u64>,
    received: u64,
    /// Bytes passed on and not reported as consumed.
    unread: u64,
}

/// The peer's transactions by its numbers.
pub(super) type AllIncoming = HashMap<u32, Incoming>;

impl Transactions {
    /// Whether the peer may still give up a transaction of its own of this number.
    pub(super) fn incoming_is_known(&self, tx_id: u32) -> bool {
        self.incoming.contains_key(&tx_id)
            || matches!(self.refused.get(tx_id), Some(Refusal::PutOff | Refusal::Told(_)))
    }
}

impl Session {
    pub(super) fn on_tx_start(&mut self, start: TxStart) {
        let behaviour = Behaviour::from_u8(start.behaviour);
        let fault = match behaviour {
            None => Some(format!("behaviour {} is neither 0 (push) nor 1 (pull)", start.behaviour)),
            _ if start.size < -1 => Some(format!("size {} is below -1", start.size)),
            Some(Behaviour::Pull) if start.size < 0 => Some("a pull needs a size, not -1".to_owned()),
            _ if start.name.len() > MAX_NAME => {
                Some(format!("a name of {} bytes, {MAX_NAME} at most", start.name.len()))
            }
            _ if self.tx.incoming.contains_key(&start.tx_id) => Some("that transaction is under way".to_owned()),
            _ if self.tx.incoming.len() >= self.config.max_transactions => {
                Some(format!("{} transactions are under way, the limit", self.tx.incoming.len()))
            }
            _ if self.tx.refused.is_full() => Some(format!("{MAX_REFUSED} refusals have not gone out yet, the limit")),
            _ => None,
        };
        let (Some(behaviour), None) = (behaviour, &fault) else {
            let fault = fault.unwrap_or_default();
            return self.send_diagnostic(format!("TX_START of {}: {fault}", start.tx_id));
        };
        let size = u64::try_from(start.size).ok();
        self.tx.refused.remove(start.tx_id);
        let key = self.tx.next_incoming;
        self.tx.next_incoming = key.wrapping_add(1);
        self.tx.incoming.insert(start.tx_id, Incoming { key, behaviour, size, received: 0, unread: 0 });
        self.acknowledge(start.ack);
        let name = if start.name.is_empty() { Text::from(ANONYMOUS) } else { start.name };
        self.events.push_back(Event::Transaction(TxEvent::Started { key, tx_id: start.tx_id, behaviour, size, name }));
    }

    /// Chunks are delivered in order of arrival; published clients number them in ways of their own.
    pub(super) fn on_tx_chunk(&mut self, tx_id: u32, offset: u64, data: Bytes) {
        let Some(incoming) = self.tx.incoming.get_mut(&tx_id) else {
            self.tx.unknown = self.tx.unknown.saturating_add(1);
            return;
        };
        if incoming.behaviour == Behaviour::Push && offset != incoming.received {
            self.tx.odd_offsets = self.tx.odd_offsets.saturating_add(1);
        }
        incoming.received = incoming.received.saturating_add(data.len() as u64);
        if data.is_empty() {
            return;
        }
        if incoming.behaviour == Behaviour::Push && incoming.size.is_some_and(|size| incoming.received > size) {
            return self.give_up_incoming(tx_id, TxEnd::SizeBelied);
        }
        incoming.unread = incoming.unread.saturating_add(data.len() as u64);
        if incoming.unread > self.config.max_unread {
            return self.give_up_incoming(tx_id, TxEnd::Overflow);
        }
        let key = incoming.key;
        self.events.push_back(Event::Transaction(TxEvent::Chunk { key, data }));
    }

    pub(super) fn on_tx_finish(&mut self, ack: u32, tx_id: u32) {
        let Some(incoming) = self.tx.incoming.remove(&tx_id) else {
            match self.tx.refused.get(tx_id) {
                Some(Refusal::Told(_)) => self.tx.refused.remove(tx_id),
                Some(Refusal::PutOff) => self.tx.refused.insert(tx_id, Refusal::PutOffFinished),
                Some(Refusal::PutOffFinished) | None => {}
            }
            self.tx.unknown = self.tx.unknown.saturating_add(1);
            return;
        };
        self.acknowledge(ack);
        let Incoming { key, behaviour, size, received, .. } = incoming;
        let belied = behaviour == Behaviour::Push && size.is_some_and(|size| size != received);
        let outcome = if belied { TxEnd::SizeBelied } else { TxEnd::Finished };
        self.events.push_back(Event::Transaction(TxEvent::Ended { key, outcome, expected: size, received }));
    }

    /// The peer gives up a transaction of its own. False when it has none of that number.
    pub(super) fn cancel_incoming(&mut self, tx_id: u32) -> bool {
        if !self.tx.incoming_is_known(tx_id) {
            return false;
        }
        self.tx.refused.remove(tx_id);
        if let Some(incoming) = self.tx.incoming.remove(&tx_id) {
            self.events.push_back(Event::Transaction(incoming.ended(TxEnd::Cancelled)));
        }
        true
    }

    pub(super) fn on_consumed(&mut self, key: TxKey, bytes: u64) {
        if let Some(incoming) = self.tx.incoming.values_mut().find(|incoming| incoming.key == key) {
            incoming.unread = incoming.unread.saturating_sub(bytes);
        }
    }

    /// The application does not want it: what still comes is ignored.
    pub(super) fn on_refuse(&mut self, key: TxKey) {
        if let Some(tx_id) = self.incoming_number(key) {
            self.tx.incoming.remove(&tx_id);
            self.tell_refusal(tx_id);
        }
    }

    /// Ours of that number is finished or gone: TX_CANCEL now means the peer's.
    pub(super) fn tell_put_off(&mut self, tx_id: u32) {
        match self.tx.refused.get(tx_id) {
            Some(Refusal::PutOff) => self.tell_refusal(tx_id),
            // Behind its TX_FINISH the peer's next TX_CANCEL of that number means ours.
            Some(Refusal::PutOffFinished) => {
                self.tx.refused.remove(tx_id);
                self.push_transaction(Frame::TxCancel { ack: 0, tx_id }, Frames::Untracked);
            }
            Some(Refusal::Told(_)) | None => {}
        }
    }

    fn tell_refusal(&mut self, tx_id: u32) {
        if self.tx.outgoing.would_be_cancelled(tx_id) {
            self.tx.refused.insert(tx_id, Refusal::PutOff);
        } else {
            self.tx.refused.insert(tx_id, Refusal::Told(None));
            self.push_transaction(Frame::TxCancel { ack: 0, tx_id }, Frames::Refusal);
        }
    }

    /// The peer's number of a transaction that is under way.
    pub(super) fn incoming_number(&self, key: TxKey) -> Option<u32> {
        self.tx.incoming.iter().find(|(_, incoming)| incoming.key == key).map(|(&tx_id, _)| tx_id)
    }

    fn give_up_incoming(&mut self, tx_id: u32, outcome: TxEnd) {
        if let Some(incoming) = self.tx.incoming.remove(&tx_id) {
            self.tell_refusal(tx_id);
            self.events.push_back(Event::Transaction(incoming.ended(outcome)));
        }
    }
}

impl Incoming {
    fn ended(&self, outcome: TxEnd) -> TxEvent {
        TxEvent::Ended { key: self.key, outcome, expected: self.size, received: self.received }
    }
}
