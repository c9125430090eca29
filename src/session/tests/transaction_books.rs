//! What two sessions say about their transactions, compared with what was asked of them.

use std::collections::{HashMap, VecDeque};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::protocol::{Behaviour, Frame, TxStart};
use crate::session::{CHUNK, CREDIT, Event, TxEnd, TxEvent, TxKey, TxOutcome};

/// Bytes that a source has at most.
pub(super) const MOST: u64 = 3 << 20;

/// The content of every source: a stretch of this, from another place for each key.
static PATTERN: LazyLock<Bytes> = LazyLock::new(|| {
    let mut state = 1_u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..(1 << 20) + MOST).map(next).collect()
});

pub(super) fn content(key: TxKey, start: u64, len: usize) -> Bytes {
    let at = (key as usize * 4099) % (1 << 20) + start as usize;
    PATTERN.slice(at..at + len)
}

/// An outgoing transaction, as its application and its wire see it.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) key: TxKey,
    pub(super) behaviour: Behaviour,
    pub(super) size: Option<u64>,
    pub(super) fed: u64,
    pub(super) credit: u64,
    pub(super) ended: bool,
    /// The bytes the session wants, until they are given.
    pub(super) reading: Option<(u64, usize)>,
    /// Bytes given, and bytes that went out in chunks.
    pub(super) given: u64,
    sent: u64,
    /// When the last of them did, by the clock of its sender.
    chunk_at: Option<Instant>,
    /// When TX_START went out, under which ack number, and whether that was acknowledged.
    start: Option<(Instant, u32)>,
    start_acknowledged: bool,
    /// Ranges accepted, and what is still to be sent of them.
    fetched: Vec<(u64, u64)>,
    unsent: VecDeque<(u64, u64)>,
    /// The application gave other bytes than it had announced.
    pub(super) lied: bool,
    pub(super) aborted: bool,
    pub(super) settled: Option<TxOutcome>,
    stage: Stage,
    pub(super) tx_id: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Unannounced,
    Started,
    Finished,
    Cancelled,
}

/// An incoming transaction, as its application sees it.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) tx_id: u32,
    /// Its receiver's key.
    pub(super) own_key: TxKey,
    /// The sender's key.
    pub(super) key: TxKey,
    pub(super) behaviour: Behaviour,
    pub(super) size: Option<u64>,
    received: u64,
    pub(super) unconsumed: u64,
    pub(super) refused: bool,
    pub(super) ended: Option<TxEnd>,
    cancels_sent: u32,
}

impl Offer {
    pub(super) fn new(key: TxKey, behaviour: Behaviour, size: Option<u64>) -> Self {
        Offer {
            key,
            behaviour,
            size,
            fed: 0,
            credit: CREDIT as u64,
            ended: false,
            reading: None,
            given: 0,
            sent: 0,
            chunk_at: None,
            start: None,
            start_acknowledged: false,
            fetched: Vec::new(),
            unsent: VecDeque::new(),
            lied: false,
            aborted: false,
            settled: None,
            stage: Stage::Unannounced,
            tx_id: None,
        }
    }

    /// Whether it is a push that may still be fed.
    pub(super) fn is_fed(&self) -> bool {
        self.behaviour == Behaviour::Push && !self.ended && !self.is_over()
    }

    pub(super) fn is_over(&self) -> bool {
        self.aborted || self.settled.is_some()
    }
}

impl Arrival {
    pub(super) fn is_live(&self) -> bool {
        !self.refused && self.ended.is_none()
    }
}

#[derive(Debug, Default)]
pub(super) struct Books {
    pub(super) offers: Vec<Offer>,
    pub(super) arrivals: Vec<Arrival>,
    /// Indices into `offers` by the numbers on the wire.
    by_tx_id: HashMap<u32, usize>,
    pub(super) messages_waiting: u32,
    /// Whether messages may have to wait for ACKs: a chunk then goes before them.
    pub(super) messages_are_bounded: bool,
    pub(super) closing: bool,
}

impl Books {
    pub(super) fn on_sent(&mut self, frame: Frame, now: Instant, others: &mut Books) {
        match frame {
            Frame::Ack { ack } => others.on_ack_sent(ack),
            Frame::Utf8 { .. } => self.messages_waiting = self.messages_waiting.saturating_sub(1),
            Frame::TxStart(start) => self.on_start_sent(&start, now),
            Frame::TxChunk { tx_id, offset, data } => {
                assert!(self.messages_waiting == 0 || self.messages_are_bounded, "a chunk went before a message");
                self.sent_offer(tx_id).on_chunk_sent(offset, &data, now);
            }
            Frame::TxFinish { tx_id, .. } => self.sent_offer(tx_id).on_finish_sent(now),
            Frame::TxCancel { tx_id, .. } => self.on_cancel_sent(tx_id, now),
            _ => {}
        }
    }

    fn sent_offer(&mut self, tx_id: u32) -> &mut Offer {
        let index = self.by_tx_id.get(&tx_id).expect("a frame of a transaction that was not announced");
        &mut self.offers[*index]
    }

    /// The other side acknowledged a frame of this one.
    fn on_ack_sent(&mut self, ack: u32) {
        let started = |offer: &&mut Offer| offer.start.is_some_and(|(_, number)| number == ack);
        if let Some(offer) = self.offers.iter_mut().find(started) {
            offer.start_acknowledged = true;
        }
    }

    fn on_start_sent(&mut self, start: &TxStart, now: Instant) {
        let key: TxKey = start.name.to_str_lossy().parse().expect("the name is the key");
        let index = self.offers.iter().position(|offer| offer.key == key).expect("nobody offered it");
        assert!(self.by_tx_id.insert(start.tx_id, index).is_none(), "number {} is used twice", start.tx_id);
        let offer = &mut self.offers[index];
        assert_eq!(offer.stage, Stage::Unannounced);
        assert_eq!(start.size, offer.size.map_or(-1, |size| size as i64));
        offer.stage = Stage::Started;
        offer.tx_id = Some(start.tx_id);
        offer.start = Some((now, start.ack));
    }

    fn on_cancel_sent(&mut self, tx_id: u32, now: Instant) {
        if let Some(index) = self.by_tx_id.get(&tx_id)
            && let offer = &mut self.offers[*index]
            && offer.stage == Stage::Started
            && (offer.aborted || offer.settled == Some(TxOutcome::SourceFailed))
        {
            offer.check_known(now);
            offer.stage = Stage::Cancelled;
            return;
        }
        let given_up = |a: &&mut Arrival| a.tx_id == tx_id && a.cancels_sent == 0 && !a.is_live();
        let arrival = self.arrivals.iter_mut().rfind(given_up).expect("a TX_CANCEL for nothing");
        assert!(
            arrival.refused || matches!(arrival.ended, Some(TxEnd::SizeBelied | TxEnd::Overflow)),
            "a TX_CANCEL of {arrival:?}"
        );
        arrival.cancels_sent += 1;
    }

    pub(super) fn on_event(&mut self, event: Event, others: &mut Books) {
        let event = match event {
            Event::Transaction(event) => event,
            Event::Closed(_) => {
                self.closing = true;
                return;
            }
            _ => return,
        };
        match event {
            TxEvent::Started { key: own_key, tx_id, behaviour, size, name } => {
                let key: TxKey = name.to_str_lossy().parse().expect("the name is the key");
                let twin = others.offers.iter().find(|offer| offer.key == key).expect("nobody offered it");
                assert_eq!((behaviour, size), (twin.behaviour, twin.size));
                assert!(!self.arrivals.iter().any(|a| a.tx_id == tx_id && a.is_live()), "{tx_id} started twice");
                let (received, unconsumed, cancels_sent) = (0, 0, 0);
                let (refused, ended) = (false, None);
                let arrival = Arrival {
                    tx_id,
                    own_key,
                    key,
                    behaviour,
                    size,
                    received,
                    unconsumed,
                    refused,
                    ended,
                    cancels_sent,
                };
                self.arrivals.push(arrival);
            }
            TxEvent::Chunk { key, data } => self.live_arrival(key).on_chunk(&data, others),
            TxEvent::Ended { key, outcome, expected, received } => {
                let arrival = self.live_arrival(key);
                let tx_id = arrival.tx_id;
                assert_eq!((expected, received), (arrival.size, arrival.received), "what {tx_id} was told to have");
                arrival.ended = Some(outcome);
                arrival.check_end(outcome, others);
            }
            TxEvent::Credit { key, bytes } => {
                let offer = self.open_offer(key);
                offer.credit += bytes as u64;
                assert!(offer.credit <= CREDIT as u64, "more credit than there ever was");
            }
            TxEvent::Read { key, start, len } => {
                let offer = self.open_offer(key);
                assert!(offer.reading.is_none(), "two reads at a time");
                assert!(len > 0 && len <= 2 * CHUNK, "a read of {len} bytes");
                assert!(offer.given - offer.sent <= 6 * CHUNK as u64, "{} bytes lie read", offer.given - offer.sent);
                offer.reading = Some((start, len));
            }
            TxEvent::Fetched { tx_id, start, end } => {
                let offer = self.sent_offer(tx_id);
                assert!(start < end && offer.size.is_some_and(|size| end <= size), "{start}..{end} was accepted");
                offer.fetched.push((start, end));
                offer.unsent.push_back((start, end));
            }
            TxEvent::Settled { key, outcome } => {
                let offer = self.open_offer(key);
                offer.settled = Some(outcome);
                offer.reading = None;
                let refused = others.arrivals.iter().find(|a| a.key == key).is_some_and(|a| a.refused);
                match outcome {
                    TxOutcome::Done | TxOutcome::TimedOut => assert_eq!(offer.stage, Stage::Finished),
                    TxOutcome::Cancelled => assert!(refused, "{key} was cancelled, but nobody refused it"),
                    TxOutcome::SourceFailed => assert!(offer.lied),
                    TxOutcome::SessionClosed | TxOutcome::Unsupported | TxOutcome::TooManyPieces => {
                        panic!("{key} ended with {outcome:?}")
                    }
                }
            }
        }
    }

    fn open_offer(&mut self, key: TxKey) -> &mut Offer {
        let offer = self.offers.iter_mut().find(|offer| offer.key == key).expect("nobody offered it");
        assert!(!offer.is_over(), "an event after the end of {offer:?}");
        offer
    }

    fn live_arrival(&mut self, own_key: TxKey) -> &mut Arrival {
        let live = self.arrivals.iter_mut().find(|a| a.own_key == own_key && a.is_live());
        live.unwrap_or_else(|| panic!("an event of {own_key}, which is not under way"))
    }
}

impl Offer {
    /// Its receiver has acknowledged TX_START, or a second has passed.
    fn check_known(&self, now: Instant) {
        let (at, _) = self.start.expect("TX_START went out");
        let waited = now.duration_since(at) >= Duration::from_secs(1);
        assert!(self.start_acknowledged || waited, "something went out before the ACK of {self:?}");
    }

    fn on_chunk_sent(&mut self, offset: u64, data: &Bytes, now: Instant) {
        assert_eq!(self.stage, Stage::Started, "a chunk of {self:?}");
        self.check_known(now);
        self.chunk_at = Some(now);
        assert!(!data.is_empty() && data.len() <= CHUNK, "a chunk of {} bytes", data.len());
        assert!(*data == content(self.key, offset, data.len()), "other bytes at {offset} of {}", self.key);
        let end = offset + data.len() as u64;
        match self.behaviour {
            Behaviour::Push => assert_eq!(offset, self.sent),
            Behaviour::Pull => {
                let range = self.unsent.front_mut().expect("a chunk that nobody asked for");
                assert!(offset == range.0 && end <= range.1, "{offset}..{end} of {range:?}");
                range.0 = end;
                if range.0 == range.1 {
                    self.unsent.pop_front();
                }
            }
        }
        self.sent += data.len() as u64;
    }

    fn on_finish_sent(&mut self, now: Instant) {
        assert_eq!(self.stage, Stage::Started, "a TX_FINISH of {self:?}");
        self.check_known(now);
        self.stage = Stage::Finished;
        match self.behaviour {
            Behaviour::Push => {
                assert!(self.ended && self.sent == self.fed, "a TX_FINISH before the end of {self:?}");
                assert!(self.size.is_none_or(|size| size == self.sent));
            }
            Behaviour::Pull => {
                assert!(self.unsent.is_empty(), "a TX_FINISH before {:?}", self.unsent);
                let mut ranges = self.fetched.clone();
                ranges.sort_unstable();
                let covered = ranges.iter().fold(0, |to, &(start, end)| if start <= to { end.max(to) } else { to });
                let reached = self.fetched.iter().any(|&(_, end)| Some(end) == self.size);
                let rested = self.chunk_at.is_some_and(|at| now.duration_since(at) >= Duration::from_secs(5));
                let whole = Some(covered) == self.size;
                assert!(whole || (reached && rested), "a TX_FINISH before the whole was sent, {covered} bytes");
            }
        }
    }
}

impl Arrival {
    fn on_chunk(&mut self, data: &Bytes, others: &Books) {
        let offer = others.offers.iter().find(|offer| offer.key == self.key).expect("nobody offered it");
        let at = match self.behaviour {
            Behaviour::Push => self.received,
            Behaviour::Pull => offer.position(self.received),
        };
        assert!(*data == content(self.key, at, data.len()), "other bytes than were sent, at {at}");
        self.received += data.len() as u64;
        self.unconsumed += data.len() as u64;
    }

    fn check_end(&self, outcome: TxEnd, others: &Books) {
        let offer = others.offers.iter().find(|offer| offer.key == self.key).expect("nobody offered it");
        match outcome {
            TxEnd::Finished => assert!(offer.stage == Stage::Finished && self.received == offer.sent),
            TxEnd::Cancelled => assert_eq!(offer.stage, Stage::Cancelled),
            other => panic!("{other:?} between two sessions of ours"),
        }
    }
}

impl Offer {
    /// Where the byte lies that is sent after `count` others of the ranges asked for.
    fn position(&self, mut count: u64) -> u64 {
        for (start, end) in &self.fetched {
            if count < end - start {
                return start + count;
            }
            count -= end - start;
        }
        panic!("more bytes than were asked for")
    }
}
