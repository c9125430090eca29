//! The bound on frames sent and not acknowledged (API: `maxUnacknowledged`).

use std::collections::VecDeque;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::driver::ms;
use super::pair::{Solo, binary, bye_frame, info_frame, text_frame, tiny, utf8};
use crate::protocol::{Behaviour, Frame, Text};
use crate::session::{Backpressure, Command, Config, DataKind, DropPolicy, Event, Outcome, Payload, TxCommand};

fn bounded(max_unacknowledged: usize) -> Config {
    Config { max_unacknowledged, ack_timeout: ms(1000), ..Config::default() }
}

/// A session whose peer has acknowledged nothing of its three texts, the bound being three; the next number is 4.
fn at_the_bound(backpressure: Backpressure) -> Solo {
    let mut solo = Solo::connected(Config { backpressure, ..bounded(3) });
    for text in ["a", "b", "c"] {
        solo.send_text(text);
    }
    assert_eq!(solo.frames().len(), 3);
    solo
}

fn texts(frames: Vec<Frame>) -> Vec<String> {
    let text = |frame| match frame {
        Frame::Utf8 { text, .. } => Some(text.to_string()),
        _ => None,
    };
    frames.into_iter().filter_map(text).collect()
}

fn stream(key: u32) -> Command {
    let name = Text::from("stream");
    Command::Transaction(TxCommand::Open { key, name, size: None, behaviour: Behaviour::Push })
}

#[test]
fn at_the_bound_messages_wait_and_each_ack_lets_one_go() {
    let mut solo = at_the_bound(Backpressure::default());
    for text in ["d", "e"] {
        solo.send_text(text);
    }
    assert_eq!(solo.frames(), []);
    assert_eq!(solo.driver.session.queued().0, 2);
    solo.acknowledge(2);
    assert_eq!(solo.frames(), [text_frame(4, "d")]);
    solo.acknowledge(2);
    solo.acknowledge(77);
    assert_eq!(solo.frames(), []);
    solo.acknowledge(1);
    assert_eq!(solo.frames(), [text_frame(5, "e")]);
    solo.acknowledge(3);
    solo.send_text("f");
    assert_eq!(solo.frames(), [text_frame(6, "f")]);
}

#[test]
fn an_ack_that_does_not_come_in_time_makes_room_too() {
    let mut solo = at_the_bound(Backpressure::default());
    solo.advance(500);
    let late = solo.send_text("d");
    solo.advance(499);
    assert_eq!(solo.frames(), []);
    solo.advance(1);
    assert_eq!(solo.frames(), [text_frame(4, "d")]);
    assert_eq!(solo.outcome(0), Some(Outcome::TimedOut));
    // Its time counts from when it was written.
    solo.advance(999);
    assert_eq!(solo.outcome(late), None);
    solo.advance(1);
    assert_eq!(solo.outcome(late), Some(Outcome::TimedOut));
}

#[test]
fn what_waits_for_acks_is_under_the_caps_and_the_drop_policy() {
    for (policy, left) in [(DropPolicy::Oldest, ["2", "3", "4", "5"]), (DropPolicy::Newest, ["0", "1", "2", "3"])] {
        let mut solo = at_the_bound(Backpressure { max_queue_count: 4, policy, ..Backpressure::default() });
        for n in 0..6 {
            solo.send_text(&n.to_string());
        }
        let dropped = |event: &&Event| matches!(event, Event::Dropped { kind: DataKind::Utf8, .. });
        assert_eq!(solo.events().iter().filter(dropped).count(), 2, "{policy:?}");
        for ack in 1..8 {
            solo.acknowledge(ack);
        }
        assert_eq!(texts(solo.frames()), left, "{policy:?}");
    }
    let mut solo = at_the_bound(Backpressure { max_queued_bytes: 50, ..tiny(DropPolicy::Newest) });
    let token = solo.send(binary(50, 0));
    assert_eq!(solo.outcome(token), Some(Outcome::Dropped));
}

#[test]
fn dedupe_latest_replaces_what_waits_for_acks() {
    let mut solo = at_the_bound(tiny(DropPolicy::DedupeLatest));
    let earlier = solo.send_text("same");
    let later = solo.send_text("same");
    assert_eq!(solo.events(), [Event::Joined { earlier, later }]);
    solo.acknowledge(1);
    assert_eq!(texts(solo.frames()), ["same"]);
}

#[test]
fn acks_pongs_pings_and_endpoint_info_do_not_wait_for_acks() {
    let mut solo = at_the_bound(Backpressure::default());
    solo.send_text("waits");
    solo.receive(text_frame(7, "x"));
    solo.receive(Frame::Ping);
    solo.receive(info_frame(8));
    let ping = solo.ping();
    assert_eq!(solo.frames(), [Frame::Ack { ack: 7 }, Frame::Pong, Frame::Ack { ack: 8 }, Frame::Ping]);
    assert_eq!(solo.outcome(ping), Some(Outcome::Done));
}

#[test]
fn they_do_not_wait_either_once_a_slow_socket_takes_more() {
    let mut solo = Solo::connected(Config { backpressure: tiny(DropPolicy::Oldest), ..bounded(1) });
    solo.driver.stop_writing();
    solo.send(binary(100, 0));
    assert!(solo.driver.session.is_paused());
    solo.send_text("waits");
    solo.receive(text_frame(7, "x"));
    solo.receive(Frame::Ping);
    assert_eq!(solo.frames().len(), 1);
    solo.driver.resume_writing();
    assert_eq!(solo.frames(), [Frame::Ack { ack: 7 }, Frame::Pong]);
    solo.acknowledge(1);
    assert_eq!(texts(solo.frames()), ["waits"]);
}

#[test]
fn a_transaction_begins_behind_the_messages_sent_before_it() {
    let mut solo = at_the_bound(Backpressure::default());
    solo.send_text("before");
    solo.driver.command(stream(0));
    solo.send_text("after");
    assert_eq!(solo.frames(), []);
    solo.acknowledge(1);
    let frames = solo.frames();
    assert!(matches!(&frames[..], [Frame::Utf8 { .. }, Frame::TxStart(_)]), "{frames:?}");
    solo.acknowledge(2);
    assert_eq!(texts(solo.frames()), ["after"]);
}

#[test]
fn the_ranges_asked_for_count_and_wait_as_messages_do() {
    let mut solo = Solo::connected(bounded(1));
    let start = crate::protocol::TxStart { ack: 1, tx_id: 5, size: 100, behaviour: 1, name: Text::from("pull") };
    solo.receive(Frame::TxStart(start));
    solo.frames();
    let fetch = |start| Command::Transaction(TxCommand::Fetch { key: 0, start, end: start + 10 });
    let first = solo.driver.command(fetch(0));
    let second = solo.driver.command(fetch(10));
    assert_eq!(solo.frames(), [Frame::TxFetch { ack: 1, tx_id: 5, start: 0, end: 10 }]);
    solo.acknowledge(1);
    assert_eq!(solo.outcome(first), Some(Outcome::Done));
    assert_eq!(solo.frames(), [Frame::TxFetch { ack: 2, tx_id: 5, start: 10, end: 20 }]);
    solo.acknowledge(2);
    assert_eq!(solo.outcome(second), Some(Outcome::Done));
}

#[test]
fn error_frames_of_the_sessions_own_count() {
    let mut solo = at_the_bound(Backpressure::default());
    solo.receive_bytes(&b"short"[..]);
    assert_eq!(solo.frames(), []);
    solo.acknowledge(1);
    assert!(matches!(&solo.frames()[..], [Frame::Error { ack: 4, .. }]));
    solo.acknowledge(4);
    solo.send_text("next");
    assert_eq!(texts(solo.frames()), ["next"]);
}

#[test]
fn closing_waits_for_no_acks() {
    let mut solo = at_the_bound(Backpressure::default());
    solo.send_text("before");
    solo.close("end");
    let (frames, close) = solo.frames_and_close();
    assert_eq!(frames, [text_frame(4, "before"), bye_frame(5, "end")]);
    assert_eq!(close.map(|close| close.code), Some(4000));

    let mut solo = at_the_bound(Backpressure::default());
    solo.send_text("before");
    solo.receive(bye_frame(9, "bye"));
    let (frames, close) = solo.frames_and_close();
    assert_eq!(frames, [Frame::Ack { ack: 9 }, text_frame(4, "before")]);
    assert!(close.is_some());
}

#[test]
fn a_peer_that_never_acknowledges_is_still_read_whatever_the_application_has_sent() {
    let mut solo = at_the_bound(Backpressure::default());
    for key in 0..20_000 {
        solo.driver.command(stream(key));
    }
    solo.send_text("waits");
    for key in 20_000..40_000 {
        solo.driver.command(stream(key));
    }
    assert!(solo.driver.session.can_receive());
    solo.acknowledge(1);
    assert_eq!(solo.driver.session.queued().0, 0);
}

#[derive(Clone, Debug)]
enum Act {
    Send(bool),
    /// The peer acknowledges the n-th of the frames that wait for it.
    Acknowledge(usize),
    ReceiveText,
    Write(usize),
    Advance(u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        10 => any::<bool>().prop_map(Act::Send),
        6 => (0..40_usize).prop_map(Act::Acknowledge),
        2 => Just(Act::ReceiveText),
        4 => (1..200_usize).prop_map(Act::Write),
        1 => (0..600_u64).prop_map(Act::Advance),
    ]
}

/// The ack number of a frame that the bound is about.
fn number(frame: &Frame) -> Option<u32> {
    match frame {
        Frame::Utf8 { ack, .. } | Frame::Binary { ack, .. } => Some(*ack),
        _ => None,
    }
}

proptest! {
    #[test]
    fn never_more_are_unacknowledged_than_the_bound_and_nothing_waits_without_need(
        bound in 1..20_usize,
        limits in super::sequences::backpressure(),
        acts in vec(act(), 0..150),
    ) {
        let keep_alive = ms(1_000_000);
        let mut solo = Solo::connected(Config { backpressure: limits, keep_alive, ..bounded(bound) });
        solo.driver.stop_writing();
        let mut open: VecDeque<u32> = VecDeque::new();
        for (n, act) in (0_u32..).zip(acts) {
            match act {
                Act::Send(true) => drop(solo.send(utf8("text"))),
                Act::Send(false) => drop(solo.send(Payload::Binary(Bytes::from(n.to_be_bytes().to_vec())))),
                Act::Acknowledge(_) if open.is_empty() => {}
                Act::Acknowledge(nth) => {
                    let ack = open.remove(nth % open.len()).unwrap_or_default();
                    solo.acknowledge(ack);
                }
                Act::ReceiveText => solo.receive(text_frame(n, "text")),
                Act::Write(bytes) => solo.driver.write(bytes),
                Act::Advance(millis) => solo.advance(millis),
            }
            for event in solo.events() {
                if let Event::Settled { count, outcome: Outcome::TimedOut, .. } = event {
                    open.drain(..count as usize);
                }
            }
            open.extend(solo.frames().iter().filter_map(number));
            prop_assert!(open.len() <= bound);
            let session = &solo.driver.session;
            prop_assert!(session.queued().0 == 0 || session.is_paused() || open.len() == bound);
        }
    }
}
