//! Two sessions that exchange byte streams, held against their books at every step.

use std::time::Duration;

use super::driver::{Driver, Transmit, decode};
use super::pair::{Pair, Side, utf8};
use super::transaction_books::{Arrival, Books, MOST, Offer, content};
use crate::protocol::{Behaviour, Text};
use crate::session::{Command, Config, TxCommand, TxKey};

/// A pair of sessions with its books; every step is checked against them.
pub(super) struct Exchange {
    pub(super) pair: Pair,
    books: [Books; 2],
    next_key: TxKey,
}

pub(super) fn other(side: Side) -> Side {
    match side {
        Side::Server => Side::Peer,
        Side::Peer => Side::Server,
    }
}

impl Exchange {
    pub(super) fn new(config: Config) -> Self {
        let mut books: [Books; 2] = Default::default();
        books.iter_mut().for_each(|books| books.messages_are_bounded = config.max_unacknowledged < usize::MAX);
        let mut exchange = Exchange { pair: Pair::new(config), books, next_key: 0 };
        exchange.check();
        exchange.deliver();
        exchange
    }

    pub(super) fn books(&self, side: Side) -> &Books {
        &self.books[side as usize]
    }

    pub(super) fn offer(&mut self, side: Side, index: usize) -> Option<&mut Offer> {
        self.books[side as usize].offers.get_mut(index)
    }

    pub(super) fn arrival(&mut self, side: Side, index: usize) -> Option<&mut Arrival> {
        self.books[side as usize].arrivals.get_mut(index)
    }

    pub(super) fn open(&mut self, side: Side, behaviour: Behaviour, size: Option<u64>) {
        let key = self.next_key;
        self.next_key += 1;
        self.books[side as usize].offers.push(Offer::new(key, behaviour, size));
        let name = Text::from(key.to_string());
        self.order(side, TxCommand::Open { key, name, size, behaviour });
    }

    /// Feeds a push as far as its credit goes. With its size known, more than that is a lie.
    pub(super) fn feed(&mut self, side: Side, index: usize, bytes: u64) {
        let Some(offer) = self.offer(side, index) else { return };
        if !offer.is_fed() {
            return;
        }
        let len = bytes.min(offer.credit).min(MOST - offer.fed);
        let data = content(offer.key, offer.fed, len as usize);
        offer.fed += len;
        offer.credit -= len;
        offer.lied |= offer.size.is_some_and(|size| offer.fed > size);
        let key = offer.key;
        self.order(side, TxCommand::Data { key, data });
    }

    pub(super) fn end(&mut self, side: Side, index: usize) {
        let Some(offer) = self.offer(side, index) else { return };
        if !offer.is_fed() {
            return;
        }
        offer.ended = true;
        offer.lied |= offer.size.is_some_and(|size| offer.fed != size);
        let key = offer.key;
        self.order(side, TxCommand::End { key });
    }

    /// Gives what the session wants to read, or less.
    pub(super) fn answer(&mut self, side: Side, index: usize, short: bool) -> bool {
        let Some(offer) = self.offer(side, index).filter(|offer| !offer.is_over()) else { return false };
        let Some((start, len)) = offer.reading.take() else { return false };
        let given = if short { len - 1 } else { len };
        offer.lied |= short;
        offer.given += given as u64;
        let (key, data) = (offer.key, content(offer.key, start, given));
        self.order(side, TxCommand::Data { key, data });
        true
    }

    /// Feeds what was announced, as far as the credit goes, and ends it once that is all.
    pub(super) fn complete(&mut self, side: Side, index: usize) -> bool {
        let Some(offer) = self.offer(side, index).filter(|offer| offer.is_fed()) else { return false };
        let left = offer.size.map_or(0, |size| size.saturating_sub(offer.fed));
        let fed = left.min(offer.credit);
        self.feed(side, index, fed);
        if fed == left {
            self.end(side, index);
        }
        fed > 0 || fed == left
    }

    pub(super) fn abort(&mut self, side: Side, index: usize) {
        let Some(offer) = self.offer(side, index) else { return };
        if offer.is_over() {
            return;
        }
        offer.aborted = true;
        let key = offer.key;
        self.order(side, TxCommand::Abort { key });
    }

    /// Gives up a pull that its receiver refused while a pull of the same number was refused here.
    pub(super) fn abort_open_pull(&mut self, side: Side) -> bool {
        let [books, others] = [self.books(side), self.books(other(side))];
        let refused = |arrivals: &[Arrival], key| arrivals.iter().any(|a| a.key == key && a.refused);
        let twins =
            |offer: &&Offer| others.offers.iter().filter(|twin| twin.tx_id == offer.tx_id).map(|twin| twin.key).next();
        let stuck = |offer: &Offer| {
            offer.behaviour == Behaviour::Pull
                && !offer.is_over()
                && refused(&others.arrivals, offer.key)
                && twins(&offer).is_some_and(|key| refused(&books.arrivals, key))
        };
        let Some(index) = books.offers.iter().position(stuck) else { return false };
        self.abort(side, index);
        true
    }

    pub(super) fn fetch(&mut self, side: Side, index: usize, start: u64, end: u64) {
        let Some(arrival) = self.arrival(side, index) else { return };
        let key = arrival.own_key;
        if arrival.is_live() {
            self.order(side, TxCommand::Fetch { key, start, end });
        }
    }

    pub(super) fn refuse(&mut self, side: Side, index: usize) {
        let Some(arrival) = self.arrival(side, index).filter(|a| a.is_live()) else { return };
        arrival.refused = true;
        let key = arrival.own_key;
        self.order(side, TxCommand::Refuse { key });
    }

    pub(super) fn consume(&mut self, side: Side, index: usize) {
        let Some(arrival) = self.arrival(side, index).filter(|a| a.is_live()) else { return };
        let bytes = std::mem::take(&mut arrival.unconsumed);
        let key = arrival.own_key;
        self.order(side, TxCommand::Consumed { key, bytes });
    }

    /// Delivers in both directions until nothing moves any more, and looks after each frame.
    pub(super) fn deliver(&mut self) {
        while [Side::Server, Side::Peer].into_iter().filter(|side| self.deliver_one(*side)).count() > 0 {}
    }

    pub(super) fn deliver_one(&mut self, from: Side) -> bool {
        let delivered = self.pair.deliver_one(from);
        self.check();
        delivered
    }

    /// Lets time pass for both sides.
    pub(super) fn advance(&mut self, by: Duration) {
        let target = self.pair.end(Side::Server).now + by;
        while self.pair.step(target) {
            self.check();
            self.deliver();
        }
    }

    pub(super) fn message(&mut self, side: Side) {
        if !self.books(side).closing {
            self.books[side as usize].messages_waiting += 1;
        }
        self.pair.send(side, utf8("message"));
        self.check();
    }

    pub(super) fn close(&mut self, side: Side) {
        self.books[side as usize].closing = true;
        self.pair.end(side).command(Command::Close("enough".to_owned()));
        self.check();
    }

    /// Whether something waits at this side until others are acknowledged.
    pub(super) fn waits_for_acks(&mut self, side: Side) -> bool {
        let (frames, _, _) = self.pair.end(side).session.queued();
        self.books(side).messages_are_bounded && frames > 0
    }

    /// What should have come to an end and has not, in words.
    pub(super) fn unsettled(&self, side: Side) -> Vec<String> {
        let books = self.books(side);
        let offers = books.offers.iter().filter(|offer| !offer.is_over()).map(|offer| format!("{offer:?}"));
        let arrivals = books.arrivals.iter().filter(|a| a.is_live()).map(|arrival| format!("{arrival:?}"));
        offers.chain(arrivals).collect()
    }

    fn order(&mut self, side: Side, command: TxCommand) {
        if !self.books(side).closing {
            self.pair.end(side).command(Command::Transaction(command));
        }
        self.check();
    }

    /// Compares what was said since the last look with the books.
    pub(super) fn check(&mut self) {
        for side in [Side::Server, Side::Peer] {
            let Driver { polled, events, now, .. } = self.pair.end(side);
            let (polled, events, now) = (std::mem::take(polled), std::mem::take(events), *now);
            let [server, peer] = &mut self.books;
            let (own, others) = match side {
                Side::Server => (server, peer),
                Side::Peer => (peer, server),
            };
            for event in events {
                own.on_event(event, others);
            }
            for transmit in polled {
                if let Transmit::Frame(bytes) = transmit {
                    own.on_sent(decode(&bytes), now, others);
                }
            }
            if self.pair.end(side).session.is_closed() {
                assert!(self.pair.end(side).session.tx.is_idle(), "something is left behind the end");
            }
        }
    }
}
