//! Transactions of ours, one fact at a time.

use super::pair::{Solo, info_frame, utf8, with_backpressure};
use super::transaction_solo::{KEY, ack, connected, diagnostics, names, read, settled};
use crate::protocol::{Behaviour, FEATURE_TRANSACTIONS, Frame, VERSION};
use crate::session::{Backpressure, CHUNK, CREDIT, TxCommand, TxEvent, TxOutcome};

#[test]
fn a_push_goes_out_in_chunks_and_is_done_at_the_ack_of_its_finish() {
    let mut solo = connected();
    solo.begin(KEY, Behaviour::Push, Some(CHUNK as u64 + 1), 1);
    solo.feed(KEY, CHUNK + 1);
    solo.order(TxCommand::End { key: KEY });
    let frames = solo.frames();
    assert_eq!(names(&frames), ["TX_START", "TX_CHUNK", "TX_CHUNK", "TX_FINISH"]);
    let offsets =
        frames.iter().filter_map(|f| if let Frame::TxChunk { offset, .. } = f { Some(*offset) } else { None });
    assert_eq!(offsets.collect::<Vec<_>>(), [0, CHUNK as u64]);
    let credit = |bytes| TxEvent::Credit { key: KEY, bytes };
    assert_eq!(solo.transaction_events(), [credit(CHUNK), credit(1)]);
    solo.acknowledge(2);
    assert_eq!(solo.transaction_events(), [settled(KEY, TxOutcome::Done)]);
    assert!(solo.is_idle());
}

#[test]
fn a_source_with_more_or_fewer_bytes_than_announced_is_cancelled() {
    for fed in [0, 9, 11] {
        let mut solo = connected();
        solo.begin(KEY, Behaviour::Push, Some(10), 1);
        solo.feed(KEY, fed);
        solo.order(TxCommand::End { key: KEY });
        assert_eq!(names(&solo.frames()).last(), Some(&"TX_CANCEL"), "{fed} bytes");
        assert_eq!(solo.transaction_events().last(), Some(&settled(KEY, TxOutcome::SourceFailed)));
        assert!(solo.is_idle());
    }
}

#[test]
fn a_read_answered_with_fewer_bytes_than_asked_for_cancels_the_pull() {
    for given in [0, 9, 11] {
        let mut solo = connected();
        solo.begin(KEY, Behaviour::Pull, Some(10), 1);
        solo.fetched(0, 0, 10);
        solo.feed(KEY, given);
        assert_eq!(names(&solo.frames()), ["TX_START", "ACK", "TX_CANCEL"], "{given} bytes");
        assert_eq!(solo.transaction_events().last(), Some(&settled(KEY, TxOutcome::SourceFailed)));
        assert!(solo.is_idle());
    }
}

#[test]
fn bytes_that_nobody_asked_for_are_not_sent() {
    let mut solo = connected();
    solo.open(KEY, Behaviour::Pull, Some(10));
    solo.feed(KEY, 10);
    solo.order(TxCommand::End { key: KEY });
    assert_eq!(names(&solo.frames()), ["TX_START"]);
}

#[test]
fn commands_for_a_transaction_that_is_not_there_do_nothing() {
    let mut solo = connected();
    solo.feed(KEY, 10);
    solo.order(TxCommand::End { key: KEY });
    solo.order(TxCommand::Abort { key: KEY });
    solo.order(TxCommand::Refuse { key: 0 });
    solo.order(TxCommand::Consumed { key: 0, bytes: u64::MAX });
    assert_eq!(solo.frames(), []);
    assert_eq!(solo.events(), []);
}

#[test]
fn a_pull_of_no_bytes_is_finished_at_once_and_a_push_of_none_at_its_end() {
    let mut solo = connected();
    solo.begin(KEY, Behaviour::Pull, Some(0), 1);
    assert_eq!(names(&solo.frames()), ["TX_START", "TX_FINISH"]);
    solo.begin(KEY + 1, Behaviour::Push, Some(0), 3);
    assert_eq!(names(&solo.frames()), ["TX_START"]);
    solo.order(TxCommand::End { key: KEY + 1 });
    assert_eq!(names(&solo.frames()), ["TX_FINISH"]);
}

#[test]
fn a_finish_that_is_not_acknowledged_in_time_fails_the_transaction() {
    let mut solo = connected();
    solo.begin(KEY, Behaviour::Push, None, 1);
    solo.order(TxCommand::End { key: KEY });
    solo.advance(14_999);
    assert_eq!(solo.transaction_events(), []);
    solo.advance(1);
    assert_eq!(solo.transaction_events(), [settled(KEY, TxOutcome::TimedOut)]);
    solo.acknowledge(2);
    assert_eq!(solo.transaction_events(), []);
    assert!(solo.is_idle());
}

#[test]
fn transactions_opened_before_the_peers_info_start_with_it_in_order() {
    let mut solo = Solo::server();
    for key in [3, 1, 2] {
        solo.open(key, Behaviour::Push, None);
        solo.feed(key, 1);
    }
    assert_eq!(solo.frames(), []);
    solo.receive(info_frame(0));
    let frames = solo.frames();
    let starts = frames.iter().filter_map(|f| if let Frame::TxStart(start) = f { Some(start.tx_id) } else { None });
    assert_eq!(starts.collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn one_aborted_before_it_started_never_shows() {
    let mut solo = Solo::server();
    solo.open(KEY, Behaviour::Push, None);
    solo.order(TxCommand::Abort { key: KEY });
    solo.receive(info_frame(0));
    assert_eq!(names(&solo.frames()), ["ENDPOINT_INFO", "ACK"]);
    assert!(solo.is_idle());
}

#[test]
fn to_a_peer_without_transactions_none_starts_and_the_session_is_closed() {
    let mut solo = Solo::server();
    solo.open(KEY, Behaviour::Push, None);
    solo.receive(Frame::EndpointInfo { ack: 0, version: VERSION, features: !FEATURE_TRANSACTIONS });
    assert_eq!(solo.transaction_events(), [settled(KEY, TxOutcome::Unsupported)]);
    assert_eq!(solo.frames_and_close().1.map(|close| close.code), Some(4002));
    assert!(solo.is_idle());
}

#[test]
fn after_the_peers_cancel_nothing_of_the_transaction_follows() {
    let mut solo = connected();
    solo.driver.stop_writing();
    solo.open(KEY, Behaviour::Push, None);
    solo.open(KEY + 1, Behaviour::Pull, Some(10));
    solo.fetched(1, 0, 10);
    solo.cancelled(0);
    solo.cancelled(1);
    let events = solo.transaction_events();
    let [.., first, second] = &events[..] else { panic!("{events:?}") };
    assert_eq!([first, second], [&settled(KEY, TxOutcome::Cancelled), &settled(KEY + 1, TxOutcome::Cancelled)]);
    for key in [KEY, KEY + 1] {
        solo.feed(key, 10);
        solo.order(TxCommand::End { key });
        solo.order(TxCommand::Abort { key });
    }
    solo.fetched(1, 0, 10);
    solo.driver.resume_writing();
    assert_eq!(names(&solo.frames()), ["TX_START", "TX_START", "ACK", "ACK", "ACK"]);
    assert_eq!(solo.transaction_events(), []);
    assert!(solo.is_idle());
}

// Ranges.

#[test]
fn ranges_are_served_in_the_order_asked_and_the_finish_comes_behind_the_last_of_them() {
    let mut solo = connected();
    solo.begin(KEY, Behaviour::Pull, Some(10), 1);
    for (start, end) in [(5, 10), (0, 10), (2, 3)] {
        solo.fetched(0, start, end);
    }
    solo.feed(KEY, 5);
    solo.feed(KEY, 10);
    solo.feed(KEY, 1);
    let frames = solo.frames();
    assert_eq!(names(&frames)[4..], ["TX_CHUNK", "TX_CHUNK", "TX_CHUNK", "TX_FINISH"]);
    let fetched = |start, end| TxEvent::Fetched { tx_id: 0, start, end };
    let expected = [fetched(5, 10), read(5, 5), fetched(0, 10), fetched(2, 3), read(0, 10), read(2, 1)];
    assert_eq!(solo.transaction_events(), expected);
}

#[test]
fn a_fetch_that_crosses_the_finish_is_ignored() {
    let mut solo = connected();
    solo.begin(KEY, Behaviour::Pull, Some(10), 1);
    solo.fetched(0, 0, 10);
    solo.feed(KEY, 10);
    assert_eq!(names(&solo.frames()), ["TX_START", "ACK", "TX_CHUNK", "TX_FINISH"]);
    solo.transaction_events();
    solo.fetched(0, 0, 10);
    assert_eq!(solo.frames(), []);
    assert_eq!(solo.transaction_events(), []);
    solo.acknowledge(2);
    assert_eq!(solo.transaction_events(), [settled(KEY, TxOutcome::Done)]);
}

#[test]
fn a_range_without_bytes_is_answered_with_a_diagnostic_and_the_pull_goes_on() {
    let mut solo = connected();
    solo.open(KEY, Behaviour::Pull, Some(10));
    solo.frames();
    for (start, end) in [(0, 0), (5, 4), (10, 11), (u64::MAX, u64::MAX), (11, u64::MAX)] {
        solo.fetched(0, start, end);
        let text = format!("TX_FETCH of 0: no bytes of 10 lie in {start}..{end}");
        assert_eq!(diagnostics(solo.frames()), [text]);
    }
    assert_eq!(solo.transaction_events(), []);
    solo.fetched(0, 9, u64::MAX);
    assert_eq!(solo.transaction_events().last(), Some(&read(9, 1)));
}

#[test]
fn a_fetch_of_a_push_is_answered_with_a_diagnostic() {
    let mut solo = connected();
    solo.open(KEY, Behaviour::Push, Some(10));
    solo.frames();
    solo.fetched(0, 0, 10);
    assert_eq!(diagnostics(solo.frames()), ["TX_FETCH of 0: this transaction is pushed"]);
}

#[test]
fn no_more_than_1024_ranges_wait() {
    let mut solo = connected();
    solo.open(KEY, Behaviour::Pull, Some(10));
    solo.frames();
    // The first is being read.
    for _ in 0..1025 {
        solo.fetched(0, 0, 1);
    }
    assert!(solo.frames().iter().all(|frame| *frame == ack(99)));
    solo.fetched(0, 0, 1);
    assert_eq!(diagnostics(solo.frames()), ["TX_FETCH of 0: 1024 ranges wait already"]);
}

#[test]
fn a_pull_fetched_in_too_many_pieces_is_given_up() {
    const PIECES: u64 = 64 << 10;
    let mut solo = connected();
    solo.begin(KEY, Behaviour::Pull, Some(4 * PIECES), 1);
    for i in 0..=PIECES {
        assert!(!solo.is_idle(), "after {i} pieces");
        solo.fetched(0, 2 * i, 2 * i + 1);
        solo.feed(KEY, 1);
        solo.output();
    }
    assert_eq!(solo.transaction_events().last(), Some(&settled(KEY, TxOutcome::TooManyPieces)));
    assert!(solo.is_idle());
}

#[test]
fn of_a_pull_no_more_is_read_than_the_socket_takes() {
    let mut solo = Solo::connected(with_backpressure(Backpressure { high_watermark: 1, ..Backpressure::default() }));
    solo.driver.stop_writing();
    solo.open(KEY, Behaviour::Pull, Some(100 * CHUNK as u64));
    solo.fetched(0, 0, u64::MAX);
    let mut reads = 0;
    while let Some(TxEvent::Read { len, .. }) = solo.transaction_events().last() {
        solo.feed(KEY, *len);
        reads += 1;
        assert!(reads <= 4, "{reads} pieces are read, and nothing is taken");
    }
}

#[test]
fn a_message_goes_before_the_chunks_that_wait() {
    let mut solo = Solo::connected(with_backpressure(Backpressure { high_watermark: 1, ..Backpressure::default() }));
    solo.begin(KEY, Behaviour::Push, None, 1);
    solo.driver.stop_writing();
    solo.feed(KEY, CREDIT);
    solo.send(utf8("urgent"));
    solo.driver.resume_writing();
    let frames = solo.frames();
    let chunks_before = frames.iter().take_while(|frame| !matches!(frame, Frame::Utf8 { .. }));
    assert!(chunks_before.filter(|frame| matches!(frame, Frame::TxChunk { .. })).count() <= 1);
    assert_eq!(names(&frames).iter().filter(|name| **name == "TX_CHUNK").count(), CREDIT / CHUNK);
}
