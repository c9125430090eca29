//! Transactions of the peer's, one fact at a time, and those that share a number with one of ours.

use bytes::Bytes;

use super::driver::ms;
use super::pair::{Side, Solo, info_frame};
use super::transaction_exchange::Exchange;
use super::transaction_solo::{KEY, ack, cancel, connected, diagnostics, ended, names, start_frame};
use crate::protocol::{Behaviour, Frame, MAX_NAME};
use crate::session::{CREDIT, Command, Config, Outcome, Role, TxCommand, TxEnd, TxEvent, TxOutcome};

#[test]
fn a_faulty_start_is_answered_with_a_diagnostic_and_begins_nothing() {
    let long = "n".repeat(MAX_NAME + 1);
    let cases = [
        (start_frame(0, -1, 1, ""), "TX_START of 0: a pull needs a size, not -1"),
        (start_frame(1, -2, 0, ""), "TX_START of 1: size -2 is below -1"),
        (start_frame(2, i64::MIN, 1, ""), "TX_START of 2: size -9223372036854775808 is below -1"),
        (start_frame(3, 0, 2, ""), "TX_START of 3: behaviour 2 is neither 0 (push) nor 1 (pull)"),
        (start_frame(4, 0, 0, &long), "TX_START of 4: a name of 1025 bytes, 1024 at most"),
    ];
    let mut solo = connected();
    for (frame, text) in cases {
        solo.receive(frame);
        let frames = solo.frames();
        assert_eq!(names(&frames), ["ERROR"]);
        assert_eq!(diagnostics(frames), [text]);
    }
    assert_eq!(solo.events(), []);
    assert!(solo.is_idle());
}

#[test]
fn a_number_that_is_under_way_is_refused_and_free_again_behind_its_end() {
    let mut solo = connected();
    solo.started(0, -1, 0);
    solo.frames();
    solo.started(0, -1, 0);
    assert_eq!(diagnostics(solo.frames()), ["TX_START of 0: that transaction is under way"]);
    for end in [Solo::finished, Solo::cancelled] {
        end(&mut solo, 0);
        solo.frames();
        solo.started(0, -1, 0);
        assert_eq!(names(&solo.frames()), ["ACK"]);
    }
}

#[test]
fn more_transactions_than_allowed_are_refused_until_one_has_ended() {
    let mut solo = Solo::connected(Config { max_transactions: 2, ..Config::default() });
    for tx_id in 0..2 {
        solo.started(tx_id, -1, 0);
    }
    solo.frames();
    solo.started(2, -1, 0);
    assert_eq!(diagnostics(solo.frames()), ["TX_START of 2: 2 transactions are under way, the limit"]);
    solo.order(TxCommand::Refuse { key: 0 });
    solo.frames();
    solo.started(3, -1, 0);
    assert_eq!(solo.frames(), [ack(96)]);
}

#[test]
fn more_bytes_than_announced_end_a_push_at_once_and_fewer_at_its_finish() {
    let mut solo = connected();
    solo.started(0, 10, 0);
    solo.chunk(0, 10);
    solo.transaction_events();
    solo.chunk(0, 1);
    assert_eq!(solo.transaction_events(), [ended(TxEnd::SizeBelied, Some(10), 11)]);
    assert_eq!(solo.frames(), [ack(96), cancel(1, 0)]);
    solo.finished(0);
    assert_eq!(solo.frames(), []);

    solo.started(0, 10, 0);
    solo.chunk(0, 9);
    solo.finished(0);
    let second = TxEvent::Ended { key: 1, outcome: TxEnd::SizeBelied, expected: Some(10), received: 9 };
    assert_eq!(solo.transaction_events().last(), Some(&second));
    assert_eq!(solo.frames(), [ack(96), ack(97)]);
    assert!(solo.is_idle());
}

#[test]
fn a_pull_that_is_finished_with_gaps_or_repetitions_ends_cleanly() {
    for received in [0, 5, 25] {
        let mut solo = connected();
        solo.started(0, 10, 1);
        solo.chunk(0, received);
        solo.finished(0);
        assert_eq!(solo.transaction_events().last(), Some(&ended(TxEnd::Finished, Some(10), received as u64)));
    }
}

#[test]
fn more_unread_bytes_than_may_be_kept_end_a_transaction() {
    let mut solo = Solo::connected(Config { max_unread: 100, ..Config::default() });
    solo.started(0, -1, 0);
    solo.chunk(0, 100);
    solo.order(TxCommand::Consumed { key: 0, bytes: 40 });
    solo.chunk(0, 40);
    solo.chunk(0, 1);
    assert_eq!(solo.transaction_events().last(), Some(&ended(TxEnd::Overflow, None, 141)));
    assert_eq!(names(&solo.frames()), ["ACK", "TX_CANCEL"]);
    solo.acknowledge(1);
    assert!(solo.is_idle());
}

#[test]
fn offsets_are_counted_where_they_are_odd_and_never_obeyed() {
    let mut solo = connected();
    solo.started(0, -1, 0);
    for (offset, byte) in [(0, 1), (2, 2), (1, 3), (u64::MAX, 4)] {
        solo.receive(Frame::TxChunk { tx_id: 0, offset, data: Bytes::from(vec![byte]) });
    }
    let bytes = solo.transaction_events().into_iter().filter_map(|event| match event {
        TxEvent::Chunk { data, .. } => Some(data[0]),
        _ => None,
    });
    assert_eq!(bytes.collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(solo.driver.session.tx.odd_offsets, 3);
}

#[test]
fn frames_of_unknown_transactions_are_counted_and_not_answered() {
    let mut solo = connected();
    solo.chunk(0, 10);
    solo.finished(0);
    solo.cancelled(0);
    solo.fetched(0, 0, 10);
    assert_eq!(solo.frames(), []);
    assert_eq!(solo.events(), []);
    assert_eq!(solo.driver.session.tx.unknown, 4);
}

#[test]
fn what_comes_behind_a_refusal_is_ignored() {
    let mut solo = connected();
    solo.started(0, -1, 0);
    solo.order(TxCommand::Refuse { key: 0 });
    solo.frames();
    solo.events();
    solo.chunk(0, 10);
    solo.finished(0);
    assert_eq!(solo.frames(), []);
    assert_eq!(solo.events(), []);
}

#[test]
fn a_request_is_settled_by_its_ack_its_time_or_the_end_of_the_session() {
    let mut solo = connected();
    solo.started(0, 10, 1);
    let tokens = [(0, 5), (5, 10), (0, 1)]
        .map(|(start, end)| solo.driver.command(Command::Transaction(TxCommand::Fetch { key: 0, start, end })));
    solo.acknowledge(1);
    assert_eq!(solo.outcome(tokens[0]), Some(Outcome::Done));
    assert_eq!(solo.outcome(tokens[1]), None);
    solo.driver.advance(ms(15_000));
    assert_eq!(solo.outcome(tokens[1]), Some(Outcome::TimedOut));
    let last = solo.driver.command(Command::Transaction(TxCommand::Fetch { key: 0, start: 0, end: 1 }));
    solo.disconnect();
    assert_eq!(solo.outcome(last), Some(Outcome::SessionClosed));
    let late = solo.driver.command(Command::Transaction(TxCommand::Fetch { key: 0, start: 0, end: 1 }));
    assert_eq!(solo.outcome(late), Some(Outcome::SessionClosed));
}

#[test]
fn on_a_closing_session_nothing_begins_and_nothing_is_left() {
    let mut solo = Solo::new(Role::Server, Config::default());
    solo.receive(info_frame(0));
    solo.open(KEY, Behaviour::Push, None);
    solo.started(0, -1, 0);
    solo.driver.stop_writing();
    solo.close("enough");
    assert!(solo.is_idle());
    solo.events();
    solo.open(KEY + 1, Behaviour::Push, None);
    solo.feed(KEY, CREDIT);
    solo.started(1, -1, 0);
    solo.chunk(0, 10);
    solo.driver.resume_writing();
    assert_eq!(solo.events(), []);
    assert!(!names(&solo.frames_and_close().0).contains(&"TX_CHUNK"));
    assert!(solo.is_idle());
}

// The same number in both directions: TX_CANCEL does not tell which is meant.

fn both_directions() -> Exchange {
    let mut exchange = Exchange::new(Config::default());
    for side in [Side::Server, Side::Peer] {
        exchange.open(side, Behaviour::Push, None);
    }
    exchange.deliver();
    exchange
}

fn outcomes(exchange: &Exchange, side: Side) -> (Option<TxOutcome>, Option<TxEnd>) {
    let books = exchange.books(side);
    (books.offers[0].settled, books.arrivals[0].ended)
}

#[test]
fn a_refusal_leaves_the_own_transaction_of_that_number_alone() {
    let mut exchange = both_directions();
    exchange.refuse(Side::Server, 0);
    exchange.deliver();
    assert_eq!(outcomes(&exchange, Side::Server), (None, None));
    assert_eq!(outcomes(&exchange, Side::Peer), (None, None));
    exchange.feed(Side::Server, 0, 1000);
    exchange.end(Side::Server, 0);
    exchange.deliver();
    assert_eq!(outcomes(&exchange, Side::Server), (Some(TxOutcome::Done), None));
    assert_eq!(outcomes(&exchange, Side::Peer), (Some(TxOutcome::Cancelled), Some(TxEnd::Finished)));
}

#[test]
fn a_transaction_given_up_behind_its_finish_does_not_take_the_peers_with_it() {
    let mut exchange = both_directions();
    exchange.pair.hold(Side::Peer, true);
    exchange.end(Side::Server, 0);
    exchange.deliver();
    exchange.abort(Side::Server, 0);
    exchange.pair.hold(Side::Peer, false);
    exchange.deliver();
    assert_eq!(outcomes(&exchange, Side::Peer), (None, Some(TxEnd::Finished)));
    assert_eq!(outcomes(&exchange, Side::Server), (None, None));
}

#[test]
fn the_peers_own_cancel_of_a_refused_transaction_is_not_taken_for_ours() {
    let mut exchange = both_directions();
    exchange.refuse(Side::Server, 0);
    exchange.abort(Side::Peer, 0);
    exchange.deliver();
    assert_eq!(outcomes(&exchange, Side::Server), (None, None));
    assert_eq!(outcomes(&exchange, Side::Peer), (None, None));
}

#[test]
fn a_refusal_told_behind_the_peers_finish_leaves_its_refusal_of_ours_to_be_heard() {
    let mut exchange = both_directions();
    exchange.end(Side::Peer, 0);
    exchange.pair.hold(Side::Server, true);
    exchange.refuse(Side::Server, 0);
    exchange.deliver();
    exchange.refuse(Side::Peer, 0);
    exchange.end(Side::Server, 0);
    exchange.pair.hold(Side::Server, false);
    exchange.deliver();
    assert_eq!(exchange.unsettled(Side::Server), Vec::<String>::new());
    assert_eq!(exchange.unsettled(Side::Peer), Vec::<String>::new());
}

#[test]
fn the_peers_own_cancel_is_not_taken_for_ours_however_late_it_comes() {
    let config = Config { ack_timeout: ms(1000), keep_alive: ms(1 << 40), ..Config::default() };
    let mut exchange = Exchange::new(config);
    exchange.open(Side::Server, Behaviour::Push, Some(0));
    exchange.deliver();
    exchange.pair.hold(Side::Server, true);
    exchange.refuse(Side::Peer, 0);
    exchange.feed(Side::Server, 0, 1);
    exchange.advance(ms(5000));
    exchange.open(Side::Peer, Behaviour::Push, Some(0));
    exchange.pair.hold(Side::Server, false);
    exchange.deliver();
    assert_eq!(exchange.books(Side::Peer).offers[0].settled, None);
}

#[test]
fn a_refusal_is_forgotten_at_its_ack_however_late_that_comes() {
    let mut solo = connected();
    solo.started(0, -1, 0);
    solo.order(TxCommand::Refuse { key: 0 });
    solo.advance(20_000);
    assert!(!solo.is_idle());
    solo.acknowledge(1);
    assert!(solo.is_idle());
}

#[test]
fn no_more_than_1024_refusals_are_remembered_for_a_peer_that_acknowledges_none() {
    let mut solo = connected();
    for (key, tx_id) in (1000..4000).enumerate() {
        solo.started(tx_id, -1, 0);
        solo.order(TxCommand::Refuse { key: key as u32 });
    }
    solo.output();
    assert_eq!(solo.driver.session.tx.refusals(), 1024);
    solo.disconnect();
    assert!(solo.is_idle());
}

#[test]
fn a_peer_of_which_1024_transactions_were_refused_begins_no_more_until_it_can_be_told() {
    let mut solo = Solo::connected(Config { max_unacknowledged: 1, ..Config::default() });
    // The second message waits for the ACK of the first, and all that is behind it waits, too.
    solo.send_text("a");
    solo.send_text("b");
    for tx_id in 0..1024 {
        solo.started(tx_id, 1, 0);
        solo.chunk(tx_id, 2);
    }
    let frames = solo.frames();
    assert_eq!(frames.iter().filter(|frame| **frame == ack(96)).count(), 1024);
    assert!(!names(&frames).contains(&"TX_CANCEL"));
    solo.started(1024, 1, 0);
    assert_eq!(solo.frames(), []);
    solo.acknowledge(1);
    solo.acknowledge(2);
    let text = "TX_START of 1024: 1024 refusals have not gone out yet, the limit";
    assert_eq!(diagnostics(solo.frames()), [text]);
    solo.started(1024, 1, 0);
    assert_eq!(solo.frames(), [ack(96)]);
}
