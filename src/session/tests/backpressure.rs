//! Watermarks and drop policies (API: backpressure options).

use super::pair::{Solo, binary, error, info_frame, text_frame, tiny, utf8, with_backpressure};
use crate::protocol::{Frame, MAX_PAYLOAD};
use crate::session::{Backpressure, Config, DataKind, DropPolicy, Event, Outcome, Payload, Role, Token};

const POLICIES: [DropPolicy; 3] = [DropPolicy::Oldest, DropPolicy::Newest, DropPolicy::DedupeLatest];

/// A session whose socket is stuck and whose sending is paused; the next ack number is 2.
fn paused(backpressure: Backpressure) -> Solo {
    let mut solo = Solo::connected(with_backpressure(backpressure));
    solo.driver.stop_writing();
    solo.send(binary(100, 0));
    assert!(solo.driver.session.is_paused());
    assert_eq!(solo.frames().len(), 1);
    solo
}

fn dropped(kind: DataKind, bytes: usize, token: Token) -> [Event; 2] {
    let (first, count, outcome) = (token, 1, Outcome::Dropped);
    let settled = Event::Settled { first, count, outcome };
    [Event::Dropped { kind, bytes }, settled]
}

/// The data frames and the others that go out when the socket takes everything.
fn payloads_in_order(solo: &mut Solo) -> Vec<Payload> {
    solo.driver.resume_writing();
    let payload = |frame| match frame {
        Frame::Utf8 { text, .. } => Some(Payload::Utf8(text)),
        Frame::Binary { data, .. } => Some(Payload::Binary(data)),
        Frame::Error { message, .. } => Some(Payload::Error(message)),
        _ => None,
    };
    solo.frames().into_iter().filter_map(payload).collect()
}

#[test]
fn sending_pauses_at_the_high_watermark_and_not_below() {
    let mut solo = Solo::stuck(DropPolicy::Oldest);
    solo.send(binary(86, 0));
    assert!(!solo.driver.session.is_paused(), "99 of 100 bytes");
    assert_eq!(solo.frames().len(), 1);
    solo.driver.write(99);

    solo.send(binary(87, 0));
    assert!(solo.driver.session.is_paused(), "100 of 100 bytes");
    solo.send_text("waits");
    assert_eq!(solo.frames().len(), 1);
}

#[test]
fn sending_resumes_below_the_low_watermark_and_not_at_it() {
    for (last, resumes) in [(37, false), (36, true)] {
        let mut solo = Solo::stuck(DropPolicy::Oldest);
        solo.send(binary(50, 0));
        solo.send(binary(last, 0));
        solo.send_text("waits");
        assert_eq!(solo.frames().len(), 2);
        // The first frame is written; 50 or 49 bytes are left, the low watermark being 50.
        solo.driver.write(63);
        assert_eq!(solo.frames().len(), usize::from(resumes));
        assert_eq!(solo.driver.session.is_paused(), !resumes);
    }
}

#[test]
fn what_is_released_reaches_the_high_watermark_and_pauses_again() {
    let mut solo = paused(Backpressure { high_watermark: 60, ..tiny(DropPolicy::Oldest) });
    for _ in 0..4 {
        solo.send(binary(12, 1));
    }
    solo.driver.write(113);
    assert_eq!(solo.driver.unwritten(), 75);
    assert!(solo.driver.session.is_paused());
    solo.driver.write(75);
    assert_eq!(solo.driver.unwritten(), 25);
    assert!(!solo.driver.session.is_paused());
}

#[test]
fn what_the_socket_took_of_a_frame_counts_as_written() {
    let mut solo = paused(tiny(DropPolicy::Oldest));
    solo.send_text("waits");
    solo.driver.write(63);
    assert_eq!((solo.driver.unwritten(), solo.frames()), (50, vec![]));
    solo.driver.write(1);
    assert_eq!(solo.driver.unwritten(), 49 + 18);
    assert_eq!(solo.frames(), [text_frame(2, "waits")]);
}

#[test]
fn a_frame_larger_than_every_limit_goes_out_when_nothing_waits() {
    for policy in POLICIES {
        let mut solo = Solo::connected(with_backpressure(tiny(policy)));
        for len in [1000, MAX_PAYLOAD] {
            solo.send(binary(len, 0));
            assert_eq!(solo.frames().len(), 1);
            assert!(!solo.driver.session.is_paused());
        }
        assert_eq!(solo.events(), []);
    }
}

#[test]
fn no_watermark_wedges_a_session() {
    for (high_watermark, low_watermark) in [(0, 0), (1, 0), (1, 1000), (usize::MAX, usize::MAX)] {
        let backpressure = Backpressure { high_watermark, low_watermark, ..Backpressure::default() };
        let mut solo = Solo::new(Role::Peer, with_backpressure(backpressure));
        solo.driver.stop_writing();
        for _ in 0..10 {
            solo.send(binary(10, 0));
            solo.ping();
        }
        solo.driver.write(50);
        solo.driver.resume_writing();
        assert_eq!(solo.frames().len(), 21);
        assert_eq!(solo.driver.unwritten(), 0);
        assert!(!solo.driver.session.is_paused());
    }
}

#[test]
fn a_frame_over_max_queued_bytes_that_cannot_go_out_at_once_is_refused_and_evicts_nothing() {
    for policy in POLICIES {
        let mut solo = paused(tiny(policy));
        let waiting = solo.send_text("waits");
        let large = solo.send(binary(88, 1));
        assert_eq!(solo.events(), dropped(DataKind::Binary, 88, large));
        assert_eq!(solo.outcome(waiting), None);
        assert_eq!(payloads_in_order(&mut solo), [utf8("waits")]);
    }
}

#[test]
fn a_frame_of_just_max_queued_bytes_waits() {
    for policy in POLICIES {
        let mut solo = paused(tiny(policy));
        solo.send(binary(87, 1));
        assert_eq!(solo.events(), []);
        assert_eq!(payloads_in_order(&mut solo), [binary(87, 1)]);
    }
}

#[test]
fn with_no_room_at_all_everything_that_would_wait_is_refused() {
    for policy in POLICIES {
        let mut limits = tiny(policy);
        limits.max_queue_count = 0;
        let mut solo = paused(limits);
        let token = solo.send_text("");
        assert_eq!(solo.events(), dropped(DataKind::Utf8, 0, token));
        assert_eq!(payloads_in_order(&mut solo), []);
    }
}

#[test]
fn a_payload_over_the_protocols_limit_is_refused_at_once() {
    let mut solo = Solo::connected(Config::default());
    let token = solo.send(binary(MAX_PAYLOAD + 1, 0));
    assert_eq!(solo.outcome(token), Some(Outcome::TooLarge));
    assert_eq!(solo.frames(), []);
    solo.send_text("next");
    assert_eq!(solo.frames(), [text_frame(1, "next")]);
}

#[test]
fn drop_oldest_evicts_the_oldest_beyond_the_count() {
    let mut solo = paused(tiny(DropPolicy::Oldest));
    let tokens: Vec<_> = ["a", "b", "c", "d"].map(|t| solo.send_text(t)).to_vec();
    assert_eq!(solo.events(), []);
    solo.send(error("e"));
    assert_eq!(solo.events(), dropped(DataKind::Utf8, 1, tokens[0]));
    solo.send_text("f");
    assert_eq!(solo.events(), dropped(DataKind::Utf8, 1, tokens[1]));
    let expected = [utf8("c"), utf8("d"), error("e"), utf8("f")];
    assert_eq!(payloads_in_order(&mut solo), expected);
}

#[test]
fn drop_oldest_evicts_as_many_as_it_takes_for_the_bytes_and_no_more() {
    let mut solo = paused(tiny(DropPolicy::Oldest));
    let tokens = [10, 11, 12].map(|len| solo.send(binary(len, 1)));
    // 72 bytes wait; 60 more take the place of 23 + 24.
    solo.send(binary(47, 2));
    let expected = [dropped(DataKind::Binary, 10, tokens[0]), dropped(DataKind::Binary, 11, tokens[1])];
    assert_eq!(solo.events(), expected.into_iter().flatten().collect::<Vec<_>>());
    let expected = [binary(12, 1), binary(47, 2)];
    assert_eq!(payloads_in_order(&mut solo), expected);
}

#[test]
fn drop_newest_refuses_the_new_one() {
    let mut solo = paused(tiny(DropPolicy::Newest));
    for text in ["a", "b", "c"] {
        solo.send_text(text);
    }
    // 42 bytes wait.
    let large = solo.send(binary(46, 1));
    assert_eq!(solo.events(), dropped(DataKind::Binary, 46, large));
    solo.send(binary(45, 1));
    assert_eq!(solo.events(), []);
    let fifth = solo.send_text("");
    assert_eq!(solo.events(), dropped(DataKind::Utf8, 0, fifth));
    let expected = [utf8("a"), utf8("b"), utf8("c"), binary(45, 1)];
    assert_eq!(payloads_in_order(&mut solo), expected);
}

#[test]
fn dedupe_latest_puts_the_new_frame_in_the_place_of_the_equal_one() {
    let mut solo = paused(tiny(DropPolicy::DedupeLatest));
    let first = solo.send_text("a");
    let other = solo.send_text("b");
    let second = solo.send_text("a");
    let third = solo.send_text("a");
    let expected = [(first, second), (second, third)];
    let expected = expected.map(|(earlier, later)| Event::Joined { earlier, later });
    assert_eq!(solo.events(), expected);
    assert_eq!(payloads_in_order(&mut solo), [utf8("a"), utf8("b")]);

    solo.acknowledge(3);
    assert_eq!(solo.outcome(other), Some(Outcome::Done));
    assert_eq!(solo.outcome(first), None);
    solo.acknowledge(2);
    let fates = [first, second, third].map(|token| solo.outcome(token));
    assert_eq!(fates, [Some(Outcome::Done); 3]);
}

#[test]
fn dedupe_latest_takes_frames_of_another_kind_for_different() {
    let mut solo = paused(tiny(DropPolicy::DedupeLatest));
    let different = [utf8("x"), binary(1, b'x'), error("x"), utf8("y")];
    for payload in different.clone() {
        solo.send(payload);
    }
    assert_eq!(solo.events(), []);
    assert_eq!(payloads_in_order(&mut solo), different);
}

#[test]
fn dedupe_latest_replaces_in_a_full_queue_and_else_refuses_the_new_one() {
    let mut solo = paused(tiny(DropPolicy::DedupeLatest));
    let tokens = ["a", "b", "c", "d"].map(|text| solo.send_text(text));
    let refused = solo.send_text("e");
    assert_eq!(solo.events(), dropped(DataKind::Utf8, 1, refused));
    let later = solo.send_text("d");
    let earlier = tokens[3];
    assert_eq!(solo.events(), [Event::Joined { earlier, later }]);
    assert_eq!(solo.driver.ledger.joined(earlier), Some(later));
    let expected = ["a", "b", "c", "d"].map(utf8);
    assert_eq!(payloads_in_order(&mut solo), expected);
}

#[test]
fn dedupe_latest_leaves_alone_what_the_socket_has() {
    let mut solo = Solo::stuck(DropPolicy::DedupeLatest);
    solo.send_text("a");
    solo.send_text("a");
    assert_eq!(solo.frames().len(), 2);
    assert_eq!(solo.events(), []);
}

#[test]
fn a_send_whose_frame_a_diagnostic_replaces_is_settled_all_the_same() {
    let mut solo = Solo::connected(Config::default());
    let unknown = [&super::driver::SID.to_be_bytes()[..], &[99, 0, 0, 0, 0]].concat();
    solo.receive_bytes(unknown.clone());
    let Some(Frame::Error { message, .. }) = solo.frames().pop() else {
        panic!("no diagnostic");
    };

    let mut solo = paused(tiny(DropPolicy::DedupeLatest));
    let token = solo.send(Payload::Error(message));
    solo.receive_bytes(unknown);
    solo.driver.resume_writing();
    for ack in 0..5 {
        solo.acknowledge(ack);
    }
    solo.disconnect();
    assert_ne!(solo.outcome(token), None);
}

#[test]
fn control_frames_are_never_dropped_and_keep_their_place() {
    for policy in POLICIES {
        let mut solo = paused(tiny(policy));
        solo.send_text("first");
        for ack in 0..100 {
            solo.receive(text_frame(ack, ""));
            solo.receive(Frame::Ping);
            solo.ping();
            solo.receive(info_frame(ack));
            solo.send_text(&ack.to_string());
        }
        solo.driver.resume_writing();
        let is_data = |frame: &Frame| matches!(frame, Frame::Utf8 { .. });
        let (data, control): (Vec<_>, Vec<_>) = solo.frames().into_iter().partition(is_data);
        let expected = (0..100).flat_map(|ack| {
            let acknowledged = Frame::Ack { ack };
            [acknowledged.clone(), Frame::Pong, Frame::Ping, acknowledged]
        });
        assert!(control.into_iter().eq(expected), "{policy:?}");
        let expected = match policy {
            DropPolicy::Oldest => ["96", "97", "98", "99"],
            _ => ["first", "0", "1", "2"],
        };
        let text = |frame: &Frame| match frame {
            Frame::Utf8 { text, .. } => text.to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!(data.iter().map(text).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn a_waiting_control_frame_is_not_overtaken_by_later_data() {
    let mut solo = paused(tiny(DropPolicy::Oldest));
    solo.send_text("before");
    solo.receive(Frame::Ping);
    solo.send_text("after");
    solo.driver.resume_writing();
    let expected = [text_frame(2, "before"), Frame::Pong, text_frame(3, "after")];
    assert_eq!(solo.frames(), expected);
}

#[test]
fn control_frames_take_no_room_of_data() {
    let mut solo = paused(tiny(DropPolicy::Newest));
    for _ in 0..1000 {
        solo.receive(Frame::Ping);
    }
    for text in ["a", "b", "c", "d"] {
        solo.send_text(text);
    }
    assert_eq!(solo.events(), []);
}

#[test]
fn a_peer_that_reads_none_of_its_answers_is_no_longer_read() {
    let mut solo = paused(tiny(DropPolicy::Oldest));
    let mut answers = 0;
    while solo.driver.session.can_receive() {
        solo.receive(Frame::Ping);
        answers += 1;
        assert!(answers < 100_000, "its answers pile up");
    }
    solo.driver.resume_writing();
    assert!(solo.driver.session.can_receive());
    assert_eq!(solo.frames().len(), answers);
}

#[test]
fn a_send_that_a_diagnostic_evicts_is_reported() {
    let mut solo = paused(tiny(DropPolicy::Oldest));
    let tokens = ["a", "b", "c", "d"].map(|text| solo.send_text(text));
    solo.receive_bytes(&b"short"[..]);
    let expected = dropped(DataKind::Utf8, 1, tokens[0]);
    assert_eq!(solo.events()[..2], expected);
}
