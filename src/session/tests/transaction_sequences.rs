//! Arbitrary sequences of whatever may happen to the transactions between two sessions, and of
//! whatever a hostile peer may send.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::driver::ms;
use super::pair::{Side, Solo, with_backpressure};
use super::transaction_exchange::{Exchange, other};
use crate::checks;
use crate::protocol::{Behaviour, Frame, Text, TxStart};
use crate::session::{Backpressure, CHUNK, Command, Config, Event, TxCommand, TxEnd, TxEvent, TxOutcome};

const ACK_TIMEOUT: u64 = 1000;

#[derive(Clone, Debug)]
enum Op {
    Open(Behaviour, u64, bool),
    Feed(usize, u64),
    /// Feeds all that there is credit for, whatever was announced.
    Overfeed(usize),
    /// Feeds all that is announced and ends it.
    Complete(usize),
    End(usize),
    Abort(usize),
    Answer(usize),
    AnswerShort(usize),
    /// In thousandths of the size, which ends may pass.
    Fetch(usize, u64, u64),
    FetchAll(usize),
    Refuse(usize),
    Consume(usize),
    Message,
    Deliver(usize),
    StopWriting,
    Write(usize),
    ResumeWriting,
    Advance(u64),
    Close,
    Disconnect,
}

fn behaviour() -> impl Strategy<Value = Behaviour> {
    prop_oneof![Just(Behaviour::Push), Just(Behaviour::Pull)]
}

fn size() -> impl Strategy<Value = u64> {
    let chunk = CHUNK as u64;
    prop_oneof![
        2 => Just(0),
        2 => Just(1),
        4 => 2..2000_u64,
        4 => chunk - 1..=chunk + 1,
        1 => 2 * chunk..5 * chunk,
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let n = || 0..4_usize;
    prop_oneof![
        8 => (behaviour(), size(), any::<bool>()).prop_map(|(b, size, known)| Op::Open(b, size, known)),
        8 => (n(), size()).prop_map(|(n, bytes)| Op::Feed(n, bytes)),
        1 => n().prop_map(Op::Overfeed),
        6 => n().prop_map(Op::Complete),
        1 => n().prop_map(Op::End),
        2 => n().prop_map(Op::Abort),
        16 => n().prop_map(Op::Answer),
        1 => n().prop_map(Op::AnswerShort),
        8 => (n(), 0..1100_u64, 0..1100_u64).prop_map(|(n, start, end)| Op::Fetch(n, start, end)),
        6 => n().prop_map(Op::FetchAll),
        2 => n().prop_map(Op::Refuse),
        4 => n().prop_map(Op::Consume),
        4 => Just(Op::Message),
        30 => (1..20_usize).prop_map(Op::Deliver),
        3 => Just(Op::StopWriting),
        6 => (1..2 * CHUNK).prop_map(Op::Write),
        2 => Just(Op::ResumeWriting),
        2 => (0..ACK_TIMEOUT / 2).prop_map(Op::Advance),
        1 => (4500..5500_u64).prop_map(Op::Advance),
    ]
}

fn end_op() -> impl Strategy<Value = Op> {
    prop_oneof![Just(Op::Close), Just(Op::Disconnect)]
}

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Server), Just(Side::Peer)]
}

/// Sending pauses early or late, and messages may have to wait for ACKs; none is dropped.
fn config() -> impl Strategy<Value = Config> {
    let watermark = prop_oneof![Just(0_usize), 1..2000_usize, CHUNK..4 * CHUNK];
    let unacknowledged = prop_oneof![2 => Just(usize::MAX), 1 => 1..4_usize];
    (watermark.clone(), watermark, unacknowledged).prop_map(|(high_watermark, low_watermark, most)| Config {
        max_unacknowledged: most,
        ack_timeout: ms(ACK_TIMEOUT),
        keep_alive: ms(1 << 40),
        ..with_backpressure(Backpressure {
            high_watermark,
            low_watermark,
            max_queued_bytes: usize::MAX,
            max_queue_count: usize::MAX,
            ..Backpressure::default()
        })
    })
}

fn apply(exchange: &mut Exchange, side: Side, op: Op) {
    match op {
        Op::Open(Behaviour::Push, size, known) => exchange.open(side, Behaviour::Push, known.then_some(size)),
        Op::Open(Behaviour::Pull, size, _) => exchange.open(side, Behaviour::Pull, Some(size)),
        Op::Feed(n, bytes) => {
            let size = exchange.offer(side, n).map(|offer| offer.size.map(|size| size.saturating_sub(offer.fed)));
            exchange.feed(side, n, bytes.min(size.flatten().unwrap_or(bytes)));
        }
        Op::Overfeed(n) => exchange.feed(side, n, u64::MAX),
        Op::Complete(n) => drop(exchange.complete(side, n)),
        Op::End(n) => exchange.end(side, n),
        Op::Abort(n) => exchange.abort(side, n),
        Op::Answer(n) => drop(exchange.answer(side, n, false)),
        Op::AnswerShort(n) => drop(exchange.answer(side, n, true)),
        Op::Fetch(n, start, end) => {
            let size = exchange.arrival(side, n).and_then(|arrival| arrival.size).unwrap_or(0);
            exchange.fetch(side, n, size * start / 1000, size * end / 1000);
        }
        Op::FetchAll(n) => exchange.fetch(side, n, 0, u64::MAX),
        Op::Refuse(n) => exchange.refuse(side, n),
        Op::Consume(n) => exchange.consume(side, n),
        Op::Message => exchange.message(side),
        Op::Deliver(count) => {
            for _ in 0..count {
                exchange.deliver_one(side);
            }
        }
        Op::StopWriting => exchange.pair.end(side).stop_writing(),
        Op::Write(bytes) => exchange.pair.end(side).write(bytes),
        Op::ResumeWriting => exchange.pair.end(side).resume_writing(),
        Op::Advance(millis) => exchange.advance(ms(millis)),
        Op::Close => exchange.close(side),
        Op::Disconnect => exchange.pair.disconnect(),
    }
    exchange.check();
}

/// Everything is given and taken until nothing moves any more.
fn bring_to_an_end(exchange: &mut Exchange) {
    const SIDES: [Side; 2] = [Side::Server, Side::Peer];
    for side in SIDES {
        apply(exchange, side, Op::ResumeWriting);
    }
    let mut asked = [0; 2];
    for round in 0..300 {
        exchange.deliver();
        let mut moved = false;
        for side in SIDES {
            for n in 0..exchange.books(side).offers.len() {
                moved |= exchange.answer(side, n, false);
                moved |= exchange.complete(side, n);
            }
            for n in 0..exchange.books(side).arrivals.len() {
                if n >= asked[side as usize] {
                    asked[side as usize] = n + 1;
                    exchange.fetch(side, n, 0, u64::MAX);
                    moved = true;
                }
                exchange.consume(side, n);
            }
        }
        // Two pulls of one number, each refused by the other side, are heard of only when one is given up.
        if !moved && round > 1 {
            moved |= SIDES.into_iter().any(|side| exchange.abort_open_pull(side));
        }
        // What is never acknowledged holds up what waits behind it until its time is over.
        if !moved && SIDES.into_iter().any(|side| exchange.waits_for_acks(side)) {
            exchange.advance(ms(ACK_TIMEOUT));
            moved = true;
        }
        if !moved && round > 1 {
            return;
        }
    }
    panic!("it goes on and on");
}

/// Whatever is done, in the end every transaction has come to its own, and nothing is left.
fn goes_well(config: Config, ops: Vec<(Side, Op)>) -> Result<(), TestCaseError> {
    let mut exchange = Exchange::new(config);
    for (side, op) in ops {
        apply(&mut exchange, side, op);
    }
    bring_to_an_end(&mut exchange);
    for side in [Side::Server, Side::Peer] {
        prop_assert!(!exchange.pair.end(side).session.is_closed());
        prop_assert_eq!(exchange.unsettled(side), Vec::<String>::new());
    }
    // A TX_CANCEL that crossed the end is not acknowledged.
    apply(&mut exchange, Side::Server, Op::Advance(2 * ACK_TIMEOUT));
    for side in [Side::Server, Side::Peer] {
        let failures = exchange.books(side).offers.iter().filter(|offer| offer.lied && !offer.aborted);
        for offer in failures {
            prop_assert_ne!(offer.settled, Some(TxOutcome::Done));
        }
        let idle = exchange.pair.end(side).session.tx.is_idle();
        prop_assert!(idle, "something is left behind the last transaction");
    }
    Ok(())
}

/// Sending pauses at once; no message is dropped.
fn pausing() -> Config {
    let (max_queued_bytes, max_queue_count) = (usize::MAX, usize::MAX);
    let limits = Backpressure {
        high_watermark: 0,
        low_watermark: 0,
        max_queued_bytes,
        max_queue_count,
        ..Backpressure::default()
    };
    Config { ack_timeout: ms(ACK_TIMEOUT), keep_alive: ms(1 << 40), ..with_backpressure(limits) }
}

#[test]
fn two_refusals_that_cross_with_the_ends_of_what_they_refuse_are_both_heard() {
    let (push, pull) = (Op::Open(Behaviour::Push, 0, false), Op::Open(Behaviour::Pull, 0, false));
    let ops = vec![
        (Side::Server, push.clone()),
        (Side::Server, Op::Message),
        (Side::Server, push.clone()),
        (Side::Server, pull.clone()),
        (Side::Peer, push),
        (Side::Server, Op::Deliver(5)),
        (Side::Peer, pull),
        (Side::Peer, Op::Deliver(2)),
        (Side::Peer, Op::Deliver(5)),
        (Side::Server, Op::Refuse(1)),
        (Side::Peer, Op::Deliver(1)),
        (Side::Peer, Op::Refuse(1)),
        (Side::Server, Op::Complete(1)),
    ];
    goes_well(pausing(), ops).unwrap();
}

#[test]
fn a_cancel_that_comes_later_than_any_ack_is_not_taken_for_a_refusal() {
    let ops = vec![
        (Side::Server, Op::Open(Behaviour::Push, 0, true)),
        (Side::Server, Op::StopWriting),
        (Side::Server, Op::Deliver(1)),
        (Side::Peer, Op::Refuse(0)),
        (Side::Server, Op::Overfeed(0)),
        (Side::Server, Op::Advance(463)),
        (Side::Server, Op::Advance(279)),
        (Side::Server, Op::Advance(258)),
        (Side::Peer, Op::Open(Behaviour::Push, 0, false)),
    ];
    goes_well(pausing(), ops).unwrap();
}

proptest! {
    #![proptest_config(checks::cases(256))]

    #[test]
    fn every_transaction_has_one_end_at_both_sides_and_the_bytes_between_are_those_sent(
        config in config(),
        ops in vec((side(), op()), 0..100),
    ) {
        goes_well(config, ops)?;
    }

    #[test]
    fn a_session_may_end_at_any_step_of_any_transaction(
        config in config(),
        before in vec((side(), op()), 0..60),
        (from, end) in (side(), end_op()),
        after in vec((side(), op()), 0..20),
    ) {
        let mut exchange = Exchange::new(config);
        for (side, op) in before.into_iter().chain([(from, end)]).chain(after) {
            apply(&mut exchange, side, op);
        }
        for side in [from, other(from)] {
            apply(&mut exchange, side, Op::ResumeWriting);
        }
        exchange.deliver();
        for side in [from, other(from)] {
            prop_assert!(exchange.pair.end(side).session.is_closed());
        }
    }

    #[test]
    fn transactions_take_turns_chunk_by_chunk(
        chunks in vec(1..5_usize, 1..6),
        writes in vec(1..2 * CHUNK, 0..40),
    ) {
        let config = with_backpressure(Backpressure { high_watermark: 1, low_watermark: 1, ..Backpressure::default() });
        let mut solo = Solo::connected(config);
        for key in 0..chunks.len() as u32 {
            let (name, size) = (Text::default(), None);
            open(&mut solo, TxCommand::Open { key, name, size, behaviour: Behaviour::Push });
            solo.acknowledge(1 + key);
        }
        solo.driver.stop_writing();
        for (key, count) in chunks.iter().enumerate() {
            let key = key as u32;
            let count = count * CHUNK;
            open(&mut solo, TxCommand::Data { key, data: Bytes::from(vec![0; count.min(crate::session::CREDIT)]) });
        }
        for bytes in writes {
            solo.driver.write(bytes);
        }
        solo.driver.resume_writing();
        let sent: Vec<u32> = solo.frames().iter().filter_map(chunk_of).collect();
        let total: usize = chunks.iter().map(|count| (*count).min(4)).sum();
        prop_assert_eq!(sent.len(), total);
        let mut left: Vec<usize> = chunks.iter().map(|count| (*count).min(4)).collect();
        for (i, tx_id) in sent.iter().enumerate() {
            left[*tx_id as usize] -= 1;
            let next = sent[i + 1..].iter().position(|other| other == tx_id);
            // Until its next turn, each of those with chunks left has had one.
            if let Some(gap) = next {
                let between: std::collections::HashSet<_> = sent[i + 1..i + 1 + gap].iter().collect();
                prop_assert_eq!(between.len(), gap, "one of them had two turns");
                let waiting = left.iter().enumerate().filter(|(id, left)| *id != *tx_id as usize && **left > 0);
                // The first of all goes before the others are there.
                prop_assert!(i == 0 || waiting.count() == gap, "{sent:?}");
            }
        }
    }

    #[test]
    fn whatever_transaction_frames_come_nothing_breaks_and_nothing_is_left(
        frames in vec(hostile_frame(), 0..120),
        close in any::<bool>(),
    ) {
        let mut solo = Solo::connected(Config { max_transactions: 3, max_unread: 1000, ..Config::default() });
        for (key, behaviour) in [Behaviour::Push, Behaviour::Pull, Behaviour::Pull].into_iter().enumerate() {
            let (key, name) = (key as u32, Text::default());
            open(&mut solo, TxCommand::Open { key, name, size: Some(100), behaviour });
        }
        let mut live = std::collections::HashMap::new();
        for frame in frames {
            solo.receive(frame);
            for event in solo.events() {
                match event {
                    Event::Transaction(TxEvent::Read { key, len, .. }) => {
                        open(&mut solo, TxCommand::Data { key, data: Bytes::from(vec![0; len]) });
                    }
                    Event::Transaction(TxEvent::Started { key, behaviour, .. }) => {
                        prop_assert_eq!(live.insert(key, behaviour), None);
                    }
                    Event::Transaction(TxEvent::Chunk { key, .. }) => prop_assert!(live.contains_key(&key)),
                    Event::Transaction(TxEvent::Ended { key, outcome, expected, received }) => {
                        let push = live.remove(&key) == Some(Behaviour::Push);
                        let belied = push && expected.is_some_and(|size| size != received);
                        prop_assert!(outcome != TxEnd::Finished || !belied);
                    }
                    _ => {}
                }
            }
            prop_assert!(live.len() <= 3);
        }
        if close {
            solo.close("enough");
        }
        solo.disconnect();
        prop_assert!(solo.driver.session.tx.is_idle());
    }
}

fn open(solo: &mut Solo, command: TxCommand) {
    solo.driver.command(Command::Transaction(command));
}

fn chunk_of(frame: &Frame) -> Option<u32> {
    match frame {
        Frame::TxChunk { tx_id, .. } => Some(*tx_id),
        _ => None,
    }
}

/// Numbers of pushes are below 4, of pulls from 4 on.
fn hostile_frame() -> impl Strategy<Value = Frame> {
    let tx_id = || prop_oneof![8 => 0..6_u32, 1 => any::<u32>()];
    let position = || prop_oneof![4 => 0..120_u64, 1 => any::<u64>(), 1 => Just(u64::MAX)];
    let size = prop_oneof![4 => 0..60_i64, 2 => Just(-1_i64), 1 => any::<i64>()];
    let data = vec(any::<u8>(), 0..50).prop_map(Bytes::from);
    let behaviour = prop_oneof![8 => Just(None), 1 => any::<u8>().prop_map(Some)];
    prop_oneof![
        4 => (tx_id(), size, behaviour).prop_map(|(tx_id, size, behaviour)| {
            let behaviour = behaviour.unwrap_or(u8::from(tx_id >= 4));
            Frame::TxStart(TxStart { ack: 7, tx_id, size, behaviour, name: Text::default() })
        }),
        8 => (tx_id(), position(), data).prop_map(|(tx_id, offset, data)| Frame::TxChunk { tx_id, offset, data }),
        2 => tx_id().prop_map(|tx_id| Frame::TxFinish { ack: 8, tx_id }),
        6 => (tx_id(), position(), position()).prop_map(|(tx_id, start, end)| Frame::TxFetch { ack: 9, tx_id, start, end }),
        2 => tx_id().prop_map(|tx_id| Frame::TxCancel { ack: 10, tx_id }),
        2 => (0..20_u32).prop_map(|ack| Frame::Ack { ack }),
    ]
}
