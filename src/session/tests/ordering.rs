//! What goes out, and what arrives, is what was sent in its order minus what was dropped.

use std::collections::VecDeque;

use proptest::collection::vec;
use proptest::prelude::*;

use super::driver::{Transmit, decode, ms};
use super::pair::{Pair, Side, Solo, text_frame, with_backpressure};
use super::sequences::{backpressure, payload};
use crate::checks;
use crate::protocol::Frame;
use crate::session::{Backpressure, Config, DataKind, DropPolicy, Event, Hooks, Input, Outcome, Payload, Token};

/// What a session has to send, as far as a list can tell.
#[derive(Clone, Debug, PartialEq)]
enum Item {
    Data(Token, Payload),
    Ack(u32),
    Ping,
    Pong,
}

impl Item {
    fn is_send(&self, token: Token) -> bool {
        matches!(self, Item::Data(t, _) if *t == token)
    }

    /// Whether this is the frame.
    fn matches(&self, frame: &Frame) -> bool {
        match (self, frame) {
            (Item::Data(_, Payload::Utf8(sent)), Frame::Utf8 { text, .. }) => sent == text,
            (Item::Data(_, Payload::Binary(sent)), Frame::Binary { data, .. }) => sent == data,
            (Item::Data(_, Payload::Error(sent)), Frame::Error { message, .. }) => sent == message,
            (Item::Ack(sent), Frame::Ack { ack }) => sent == ack,
            (Item::Ping, Frame::Ping) | (Item::Pong, Frame::Pong) => true,
            _ => false,
        }
    }

    fn encoded_len(&self) -> usize {
        match self {
            Item::Data(_, payload) => 13 + payload.len(),
            _ => 13,
        }
    }
}

/// The list of what waits, kept by the events.
struct Model {
    limits: Backpressure,
    waiting: VecDeque<Item>,
    next_ack: u32,
}

impl Model {
    /// The newest send, if there was one, is the last item: drops and replacements are as the
    /// policy says.
    fn note(&mut self, events: Vec<Event>, newest: Option<Token>) -> Result<(), TestCaseError> {
        for event in events {
            match event {
                Event::Joined { earlier, later } => {
                    prop_assert_eq!(self.limits.policy, DropPolicy::DedupeLatest);
                    prop_assert_eq!(Some(later), newest);
                    let new = self.waiting.pop_back().expect("the new frame");
                    let old = self.waiting.iter_mut().find(|item| item.is_send(earlier));
                    let old = old.expect("the waiting frame");
                    let same = matches!((&*old, &new), (Item::Data(_, a), Item::Data(_, b)) if a == b);
                    prop_assert!(same, "{:?} is not {:?}", old, new);
                    *old = new;
                }
                Event::Settled { first, count, outcome: Outcome::Dropped } => {
                    for token in first..first + count {
                        self.drop(token, newest)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn drop(&mut self, token: Token, newest: Option<Token>) -> Result<(), TestCaseError> {
        let is_data = |item: &Item| matches!(item, Item::Data(..));
        let oldest = self.waiting.iter().position(is_data);
        let index = self.waiting.iter().position(|item| item.is_send(token));
        let index = index.expect("a waiting frame");
        if self.limits.policy == DropPolicy::Oldest && Some(token) != newest {
            prop_assert_eq!(Some(index), oldest);
        } else {
            prop_assert_eq!(Some(token), newest);
        }
        self.waiting.remove(index);
        Ok(())
    }

    /// These went out.
    fn sent(&mut self, frames: Vec<Frame>) -> Result<(), TestCaseError> {
        for frame in frames {
            let item = self.waiting.pop_front().expect("something to send");
            prop_assert!(item.matches(&frame), "{:?} in place of {:?}", frame, item);
            if let Frame::Utf8 { ack, .. } | Frame::Binary { ack, .. } | Frame::Error { ack, .. } = frame {
                prop_assert_eq!(ack, self.next_ack);
                self.next_ack += 1;
            }
        }
        Ok(())
    }

    fn check_bounds(&self) -> Result<(), TestCaseError> {
        let is_data = |item: &&Item| matches!(item, Item::Data(..));
        let data: Vec<_> = self.waiting.iter().filter(is_data).collect();
        prop_assert!(data.len() <= self.limits.max_queue_count);
        let bytes: usize = data.iter().map(|item| item.encoded_len()).sum();
        prop_assert!(bytes <= self.limits.max_queued_bytes);
        Ok(())
    }
}

#[derive(Clone, Debug)]
enum Act {
    Send(Payload),
    Ping,
    ReceiveText,
    ReceivePing,
    Write(usize),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => payload().prop_map(Act::Send),
        1 => Just(Act::Ping),
        2 => Just(Act::ReceiveText),
        1 => Just(Act::ReceivePing),
        4 => (1..200_usize).prop_map(Act::Write),
    ]
}

#[derive(Clone, Debug)]
enum Step {
    Send(Side, Payload),
    Write(Side, usize),
    Deliver(Side, usize),
    Hold(Side, bool),
    Hooks(Side, bool),
    Verdict(Side),
    Advance(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let side = || prop_oneof![Just(Side::Server), Just(Side::Peer)];
    prop_oneof![
        10 => (side(), payload()).prop_map(|(from, payload)| Step::Send(from, payload)),
        10 => (side(), 1..200_usize).prop_map(|(at, bytes)| Step::Write(at, bytes)),
        10 => (side(), 1..5_usize).prop_map(|(from, count)| Step::Deliver(from, count)),
        2 => (side(), any::<bool>()).prop_map(|(from, held)| Step::Hold(from, held)),
        1 => (side(), any::<bool>()).prop_map(|(at, hooked)| Step::Hooks(at, hooked)),
        3 => side().prop_map(Step::Verdict),
        2 => (0..20_u64).prop_map(Step::Advance),
    ]
}

/// What was sent from one side, minus what was dropped or replaced by a later, equal one.
fn expected(sent: &[(Token, Payload)], pair: &mut Pair, from: Side) -> Vec<Payload> {
    let ledger = &pair.end(from).ledger;
    let mut order: Vec<(Token, Payload)> = sent.to_vec();
    for (token, _) in sent {
        if let Some(later) = ledger.joined(*token) {
            order.retain(|(t, _)| *t != later);
            let place = order.iter_mut().find(|(t, _)| t == token);
            place.expect("the frame replaced").0 = later;
        }
    }
    order.retain(|(token, _)| ledger.outcome(*token) != Some(Outcome::Dropped));
    order.into_iter().map(|(_, payload)| payload).collect()
}

proptest! {
    #![proptest_config(checks::cases(256))]

    #[test]
    fn frames_go_out_in_the_order_asked_for_minus_what_the_policy_dropped(
        limits in backpressure(),
        acts in vec(act(), 0..120),
    ) {
        let mut solo = Solo::connected(with_backpressure(limits.clone()));
        solo.driver.stop_writing();
        let mut model = Model { limits, waiting: VecDeque::new(), next_ack: 1 };
        for (n, act) in (0_u32..).zip(acts) {
            let mut newest = None;
            match act {
                Act::Send(payload) => {
                    let token = solo.driver.ledger.issued;
                    newest = Some(token);
                    model.waiting.push_back(Item::Data(token, payload.clone()));
                    solo.send(payload);
                }
                Act::Ping => {
                    model.waiting.push_back(Item::Ping);
                    solo.ping();
                }
                Act::ReceiveText => {
                    model.waiting.push_back(Item::Ack(n));
                    solo.receive(text_frame(n, "text"));
                }
                Act::ReceivePing => {
                    model.waiting.push_back(Item::Pong);
                    solo.receive(Frame::Ping);
                }
                Act::Write(bytes) => solo.driver.write(bytes),
            }
            model.note(solo.events(), newest)?;
            model.sent(solo.frames())?;
            model.check_bounds()?;
        }
        solo.driver.resume_writing();
        model.sent(solo.frames())?;
        prop_assert_eq!(model.waiting, []);
    }

    #[test]
    fn data_arrives_in_the_order_sent_minus_what_was_dropped(
        limits in backpressure(),
        max_unacknowledged in 1..20_usize,
        steps in vec(step(), 0..150),
    ) {
        let mut pair = Pair::new(Config { max_unacknowledged, ..with_backpressure(limits) });
        let sides = [Side::Server, Side::Peer];
        let mut sent = [vec![], vec![]];
        for side in sides {
            pair.end(side).stop_writing();
        }
        for step in steps {
            match step {
                Step::Send(from, payload) => {
                    let token = pair.send(from, payload.clone());
                    sent[from as usize].push((token, payload));
                }
                Step::Write(at, bytes) => pair.end(at).write(bytes),
                Step::Deliver(from, count) => {
                    for _ in 0..count {
                        pair.deliver_one(from);
                    }
                }
                Step::Hold(from, held) => pair.hold(from, held),
                Step::Hooks(at, hooked) => {
                    let hooks = [Hooks::NONE, Hooks::NONE.with(DataKind::Utf8)];
                    pair.end(at).session.set_hooks(hooks[usize::from(hooked)]);
                }
                Step::Verdict(at) => pair.end(at).input(Input::Verdict),
                Step::Advance(millis) => pair.advance(ms(millis)),
            }
        }
        for side in sides {
            pair.hold(side, false);
            pair.end(side).resume_writing();
        }
        pair.advance(ms(50));
        for _ in 0..sent[0].len() + sent[1].len() {
            pair.end(Side::Server).input(Input::Verdict);
            pair.end(Side::Peer).input(Input::Verdict);
            pair.deliver();
        }
        for (from, to) in [(Side::Server, Side::Peer), (Side::Peer, Side::Server)] {
            let expected = expected(&sent[from as usize], &mut pair, from);
            let taken = |event| match event {
                Event::Message(payload) | Event::Held(payload, _) => Some(payload),
                _ => None,
            };
            let events = std::mem::take(&mut pair.end(to).events);
            let received: Vec<_> = events.into_iter().filter_map(taken).collect();
            prop_assert_eq!(received, expected);

            for (token, _) in &sent[from as usize] {
                let fate = pair.end(from).ledger.outcome(*token);
                let settled = matches!(fate, Some(Outcome::Done | Outcome::Dropped));
                prop_assert!(settled, "token {}: {:?}", token, fate);
            }
            let is_close = |t: &&Transmit| !matches!(t, Transmit::Frame(_));
            prop_assert_eq!(pair.end(from).polled.iter().filter(is_close).count(), 0);
            if let Some(Transmit::Frame(first)) = pair.end(from).polled.first() {
                let is_info = matches!(decode(first), Frame::EndpointInfo { ack: 0, .. });
                prop_assert!(is_info);
            }
        }
    }
}
