//! What waits until TX_START is acknowledged, and how long a pull waits for more requests (PROTOCOL section 5).

use super::pair::{Solo, info_frame, utf8, with_backpressure};
use super::transaction_solo::{KEY, cancel, connected, names, read, settled};
use crate::protocol::{Behaviour, Frame};
use crate::session::{Backpressure, CHUNK, CREDIT, Config, Input, TxCommand, TxEvent, TxOutcome};

fn pushed(solo: &mut Solo, len: usize) {
    solo.open(KEY, Behaviour::Push, None);
    solo.feed(KEY, len);
    solo.order(TxCommand::End { key: KEY });
}

// The begin.

#[test]
fn nothing_of_a_push_goes_out_before_its_start_is_acknowledged() {
    let mut solo = connected();
    pushed(&mut solo, CHUNK + 1);
    assert_eq!(names(&solo.frames()), ["TX_START"]);
    assert!(!solo.driver.session.owes_only_acks());
    solo.advance(999);
    assert_eq!(solo.frames(), []);
    assert_eq!(solo.transaction_events(), []);
    solo.acknowledge(1);
    assert_eq!(names(&solo.frames()), ["TX_CHUNK", "TX_CHUNK", "TX_FINISH"]);
    solo.acknowledge(2);
    assert_eq!(solo.transaction_events().last(), Some(&settled(KEY, TxOutcome::Done)));
    assert!(solo.is_idle());
}

#[test]
fn to_a_peer_that_never_acknowledges_it_goes_out_a_second_after_its_start_was_written() {
    let mut solo = connected();
    solo.driver.stop_writing();
    pushed(&mut solo, 5);
    solo.advance(3000);
    assert_eq!(names(&solo.frames()), ["TX_START"]);
    solo.driver.resume_writing();
    assert_eq!(solo.timeout_ms(), Some(4000));
    solo.advance(999);
    assert_eq!(solo.frames(), []);
    solo.advance(1);
    assert_eq!(names(&solo.frames()), ["TX_CHUNK", "TX_FINISH"]);
    // Its ACK may still come.
    solo.acknowledge(1);
    solo.acknowledge(2);
    assert_eq!(solo.frames(), []);
    assert!(solo.is_idle());
}

#[test]
fn the_second_does_not_pass_while_the_acknowledgement_may_lie_unread() {
    let mut solo = connected();
    pushed(&mut solo, 5);
    solo.frames();
    solo.advance(500);
    solo.driver.input(Input::ReadingPaused(true));
    solo.advance(10_000);
    assert_eq!(solo.frames(), []);
    solo.driver.input(Input::ReadingPaused(false));
    solo.advance(499);
    assert_eq!(solo.frames(), []);
    solo.advance(1);
    assert_eq!(names(&solo.frames()), ["TX_CHUNK", "TX_FINISH"]);
}

#[test]
fn an_ack_timeout_below_a_second_does_not_shorten_the_wait() {
    let ack_timeout = super::driver::ms(100);
    let mut solo = Solo::connected(Config { ack_timeout, ..Config::default() });
    pushed(&mut solo, 5);
    solo.advance(999);
    assert_eq!(names(&solo.frames()), ["TX_START"]);
    solo.advance(1);
    assert_eq!(names(&solo.frames()), ["TX_CHUNK", "TX_FINISH"]);
}

#[test]
fn each_transaction_waits_for_its_own_acknowledgement() {
    let mut solo = connected();
    for key in [KEY, KEY + 1] {
        solo.open(key, Behaviour::Push, None);
        solo.feed(key, 1);
    }
    solo.frames();
    solo.acknowledge(2);
    assert!(matches!(solo.frames()[..], [Frame::TxChunk { tx_id: 1, .. }]));
    // Repeated, and under the number of a transaction.
    solo.acknowledge(2);
    solo.acknowledge(0);
    assert_eq!(solo.frames(), []);
    solo.acknowledge(1);
    assert!(matches!(solo.frames()[..], [Frame::TxChunk { tx_id: 0, .. }]));
}

#[test]
fn a_message_does_not_wait_for_the_start_of_a_transaction() {
    let mut solo = connected();
    pushed(&mut solo, 5);
    solo.send(utf8("hello"));
    assert_eq!(names(&solo.frames()), ["TX_START", "UTF8DATA"]);
}

#[test]
fn a_push_that_waits_is_fed_no_more_than_its_credit() {
    let mut solo = connected();
    solo.open(KEY, Behaviour::Push, None);
    solo.feed(KEY, CREDIT);
    assert_eq!(solo.transaction_events(), []);
    solo.acknowledge(1);
    let credit: usize = solo
        .transaction_events()
        .iter()
        .map(|event| match event {
            TxEvent::Credit { bytes, .. } => *bytes,
            other => panic!("{other:?}"),
        })
        .sum();
    assert_eq!(credit, CREDIT);
}

#[test]
fn a_range_that_is_asked_for_early_is_read_and_sent_once_the_start_is_acknowledged() {
    let mut solo = connected();
    solo.open(KEY, Behaviour::Pull, Some(10));
    solo.fetched(0, 0, 10);
    assert_eq!(solo.transaction_events().last(), Some(&read(0, 10)));
    solo.feed(KEY, 10);
    assert_eq!(names(&solo.frames()), ["TX_START", "ACK"]);
    solo.acknowledge(1);
    assert_eq!(names(&solo.frames()), ["TX_CHUNK", "TX_FINISH"]);
}

#[test]
fn the_finish_of_a_stream_of_no_bytes_waits_too() {
    let mut solo = connected();
    solo.open(KEY, Behaviour::Pull, Some(0));
    solo.open(KEY + 1, Behaviour::Push, Some(0));
    solo.order(TxCommand::End { key: KEY + 1 });
    assert_eq!(names(&solo.frames()), ["TX_START", "TX_START"]);
    solo.acknowledge(1);
    assert_eq!(solo.frames(), [Frame::TxFinish { ack: 3, tx_id: 0 }]);
    solo.acknowledge(2);
    assert_eq!(solo.frames(), [Frame::TxFinish { ack: 4, tx_id: 1 }]);
}

#[test]
fn the_cancel_of_one_given_up_early_waits_for_the_acknowledgement_or_the_second() {
    for acknowledged in [true, false] {
        let mut solo = connected();
        solo.open(KEY, Behaviour::Push, None);
        solo.feed(KEY, 5);
        solo.order(TxCommand::Abort { key: KEY });
        assert_eq!(names(&solo.frames()), ["TX_START"]);
        if acknowledged {
            solo.acknowledge(1);
        } else {
            solo.advance(1000);
        }
        assert_eq!(solo.frames(), [cancel(2, 0)]);
        assert!(solo.is_idle());
    }
}

#[test]
fn a_key_may_name_another_transaction_while_the_cancel_waits() {
    let mut solo = connected();
    solo.open(KEY, Behaviour::Push, None);
    solo.order(TxCommand::Abort { key: KEY });
    solo.open(KEY, Behaviour::Push, None);
    solo.feed(KEY, 5);
    solo.frames();
    solo.acknowledge(1);
    assert_eq!(solo.frames(), [cancel(3, 0)]);
    solo.acknowledge(2);
    assert!(matches!(solo.frames()[..], [Frame::TxChunk { tx_id: 1, .. }]));
}

#[test]
fn one_cancelled_before_it_was_acknowledged_is_over_and_its_acknowledgement_means_nothing() {
    let mut solo = connected();
    pushed(&mut solo, 5);
    solo.open(KEY + 1, Behaviour::Push, None);
    solo.order(TxCommand::Abort { key: KEY + 1 });
    solo.frames();
    solo.cancelled(0);
    solo.cancelled(1);
    assert_eq!(names(&solo.frames()), ["ACK", "ACK"]);
    assert_eq!(solo.transaction_events(), [settled(KEY, TxOutcome::Cancelled)]);
    assert!(solo.is_idle());
    solo.acknowledge(1);
    solo.acknowledge(2);
    solo.advance(1000);
    assert_eq!(solo.frames(), []);
}

#[test]
fn a_refusal_is_put_off_until_the_own_one_given_up_early_is_cancelled() {
    let mut solo = connected();
    solo.open(KEY, Behaviour::Push, None);
    solo.started(0, -1, 0);
    solo.order(TxCommand::Abort { key: KEY });
    solo.order(TxCommand::Refuse { key: 0 });
    assert_eq!(names(&solo.frames()), ["TX_START", "ACK"]);
    solo.acknowledge(1);
    assert_eq!(solo.frames(), [cancel(2, 0), cancel(3, 0)]);
    solo.acknowledge(3);
    assert!(solo.is_idle());
}

#[test]
fn a_start_that_waits_behind_the_watermark_is_written_before_its_second_begins() {
    let mut solo = Solo::connected(with_backpressure(Backpressure { high_watermark: 1, ..Backpressure::default() }));
    solo.driver.stop_writing();
    solo.send(utf8("first"));
    pushed(&mut solo, 5);
    solo.advance(5000);
    assert_eq!(names(&solo.frames()), ["UTF8DATA"]);
    solo.driver.resume_writing();
    solo.advance(999);
    assert_eq!(names(&solo.frames()), ["TX_START"]);
    solo.advance(1);
    assert_eq!(names(&solo.frames()), ["TX_CHUNK", "TX_FINISH"]);
}

#[test]
fn one_opened_before_the_peers_info_waits_for_the_acknowledgement_of_its_own_start() {
    let mut solo = Solo::server();
    pushed(&mut solo, 5);
    solo.receive(info_frame(0));
    solo.acknowledge(0);
    assert_eq!(names(&solo.frames()), ["ENDPOINT_INFO", "ACK", "TX_START"]);
    solo.acknowledge(1);
    assert_eq!(names(&solo.frames()), ["TX_CHUNK", "TX_FINISH"]);
}

// The end of a pull.

/// A pull of ten bytes, of which this range has been asked for and sent.
fn pulled(start: u64, end: u64) -> Solo {
    let mut solo = connected();
    solo.begin(KEY, Behaviour::Pull, Some(10), 1);
    fetched(&mut solo, start, end);
    solo
}

fn fetched(solo: &mut Solo, start: u64, end: u64) {
    solo.fetched(0, start, end);
    solo.feed(KEY, (end - start) as usize);
    assert_eq!(names(&solo.frames()).last(), Some(&"TX_CHUNK"));
}

#[test]
fn a_pull_of_which_the_end_alone_was_asked_for_is_finished_after_five_seconds() {
    let mut solo = pulled(5, 10);
    assert_eq!(solo.timeout_ms(), Some(5000));
    solo.advance(4999);
    assert_eq!(solo.frames(), []);
    solo.advance(1);
    assert_eq!(solo.frames(), [Frame::TxFinish { ack: 2, tx_id: 0 }]);
    solo.acknowledge(2);
    assert_eq!(solo.transaction_events().last(), Some(&settled(KEY, TxOutcome::Done)));
    assert!(solo.is_idle());
}

#[test]
fn a_request_begins_the_five_seconds_anew_once_it_is_served() {
    let mut solo = pulled(5, 10);
    solo.advance(4999);
    solo.fetched(0, 1, 2);
    solo.advance(10_000);
    assert!(!names(&solo.frames()).contains(&"TX_FINISH"), "the read is still under way");
    solo.feed(KEY, 1);
    solo.advance(4999);
    assert!(!names(&solo.frames()).contains(&"TX_FINISH"));
    solo.advance(1);
    assert_eq!(names(&solo.frames()), ["TX_FINISH"]);
}

#[test]
fn the_five_seconds_begin_when_the_socket_has_taken_the_last_byte() {
    let mut solo = connected();
    solo.begin(KEY, Behaviour::Pull, Some(10), 1);
    solo.driver.stop_writing();
    fetched(&mut solo, 5, 10);
    solo.advance(10_000);
    solo.driver.resume_writing();
    solo.advance(4999);
    assert!(!names(&solo.frames()).contains(&"TX_FINISH"));
    solo.advance(1);
    assert!(names(&solo.frames()).contains(&"TX_FINISH"));
}

#[test]
fn a_pull_whose_last_byte_was_not_asked_for_waits_for_ever() {
    let mut solo = pulled(0, 9);
    solo.advance(14_000);
    assert_eq!(solo.frames(), []);
    assert!(!solo.is_idle());
}

#[test]
fn a_pull_sent_whole_is_finished_at_once() {
    let mut solo = pulled(5, 10);
    solo.fetched(0, 0, 5);
    solo.feed(KEY, 5);
    assert_eq!(names(&solo.frames()), ["ACK", "TX_CHUNK", "TX_FINISH"]);
}

#[test]
fn a_pull_that_is_over_leaves_no_wait_behind() {
    for end in [Solo::cancelled as fn(&mut Solo, u32), |solo, _| solo.order(TxCommand::Abort { key: KEY })] {
        let mut solo = pulled(5, 10);
        end(&mut solo, 0);
        solo.frames();
        assert!(solo.is_idle());
        solo.advance(5000);
        assert_eq!(solo.frames(), []);
    }
}
