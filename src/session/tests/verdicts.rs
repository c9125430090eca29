//! Messages that wait for their receive hooks (DESIGN section 2).

use bytes::Bytes;

use super::driver::{SID, encode};
use super::pair::{Solo, binary, bye_frame, error, info_frame, reason, text_frame, utf8};
use crate::protocol::{Frame, Text};
use crate::session::{Config, DataKind, Event, Hooks, Input, Outcome};

fn on(kind: DataKind) -> Hooks {
    Hooks::NONE.with(kind)
}

/// A connected session that holds the message "held", the peer's number 1.
fn holding() -> Solo {
    let mut solo = Solo::connected(Config::default());
    solo.hooks(on(DataKind::Utf8));
    solo.receive(text_frame(1, "held"));
    assert_eq!(solo.events(), [Event::Held(utf8("held"), on(DataKind::Utf8))]);
    assert_eq!(solo.frames(), []);
    solo
}

fn binary_frame(ack: u32, len: usize) -> Frame {
    let data = Bytes::from(vec![0; len]);
    Frame::Binary { ack, data }
}

#[test]
fn a_held_message_is_acknowledged_at_its_verdict() {
    let mut solo = holding();
    solo.advance(10_000);
    assert_eq!(solo.frames(), []);
    solo.verdict();
    assert_eq!(solo.frames(), [Frame::Ack { ack: 1 }]);
    assert_eq!(solo.events(), []);
}

#[test]
fn each_kind_is_held_only_where_it_has_hooks() {
    let message = Text::from("e");
    for hooked in [DataKind::Utf8, DataKind::Binary, DataKind::Error] {
        let mut solo = Solo::connected(Config::default());
        solo.hooks(on(hooked));
        solo.receive(text_frame(1, "t"));
        solo.verdict();
        solo.receive(binary_frame(2, 1));
        solo.verdict();
        let message = message.clone();
        solo.receive(Frame::Error { ack: 3, message });
        solo.verdict();
        let payloads = [utf8("t"), binary(1, 0), error("e")];
        let expected = payloads.map(|payload| match payload.kind() == hooked {
            true => Event::Held(payload, on(hooked)),
            false => Event::Message(payload),
        });
        assert_eq!(solo.events(), expected);
        assert_eq!(solo.frames(), [1, 2, 3].map(|ack| Frame::Ack { ack }));
    }
}

#[test]
fn everything_after_a_held_message_waits_for_its_verdict() {
    let mut solo = holding();
    solo.receive(binary_frame(2, 1));
    solo.receive(info_frame(3));
    solo.receive(text_frame(4, "held too"));
    solo.receive(binary_frame(5, 2));
    assert_eq!((solo.frames(), solo.events()), (vec![], vec![]));

    solo.verdict();
    assert_eq!(solo.frames(), [1, 2, 3].map(|ack| Frame::Ack { ack }));
    let expected = [Event::Message(binary(1, 0)), Event::Held(utf8("held too"), on(DataKind::Utf8))];
    assert_eq!(solo.events(), expected);

    solo.verdict();
    assert_eq!(solo.frames(), [4, 5].map(|ack| Frame::Ack { ack }));
    assert_eq!(solo.events(), [Event::Message(binary(2, 0))]);
}

#[test]
fn acks_and_pings_pass_a_held_message() {
    let mut solo = holding();
    let token = solo.send_text("from a hook");
    assert_eq!(solo.frames(), [text_frame(1, "from a hook")]);
    solo.receive(binary_frame(2, 1));
    solo.acknowledge(1);
    assert_eq!(solo.outcome(token), Some(Outcome::Done));
    solo.receive(Frame::Ping);
    solo.receive(Frame::Pong);
    assert_eq!(solo.frames(), [Frame::Pong]);
}

#[test]
fn a_malformed_frame_waits_like_any_other() {
    let unknown_type = [&SID.to_be_bytes()[..], &[99, 0, 0, 0, 0]].concat();
    let not_utf8 = [&SID.to_be_bytes()[..], &[250, 0, 0, 0, 0, 0xff]].concat();
    let of_another = encode(SID + 1, &text_frame(2, "x")).to_vec();
    for bytes in [not_utf8, of_another, unknown_type, b"short".to_vec()] {
        let mut solo = holding();
        solo.receive(binary_frame(2, 1));
        solo.receive_bytes(bytes.clone());
        assert_eq!(solo.frames(), [], "{bytes:?} was answered at once");
        solo.verdict();
        let frames = solo.frames();
        assert!(matches!(frames[..], [Frame::Ack { ack: 1 }, Frame::Ack { ack: 2 }, Frame::Error { .. }]));
    }
}

#[test]
fn a_verdict_nobody_waits_for_is_ignored() {
    let mut solo = Solo::connected(Config::default());
    solo.hooks(on(DataKind::Utf8));
    solo.verdict();
    solo.receive(text_frame(1, "held"));
    assert_eq!(solo.frames(), []);
    solo.verdict();
    solo.verdict();
    assert_eq!(solo.frames(), [Frame::Ack { ack: 1 }]);
}

#[test]
fn hooks_added_while_a_message_is_held_do_not_reach_back() {
    let mut solo = holding();
    solo.receive(binary_frame(2, 1));
    let both = on(DataKind::Utf8).with(DataKind::Binary);
    solo.hooks(both);
    solo.receive(binary_frame(3, 2));
    solo.verdict();
    let expected = [Event::Message(binary(1, 0)), Event::Held(binary(2, 0), both)];
    assert_eq!(solo.events(), expected);
}

#[test]
fn hooks_removed_while_a_message_is_held_still_run_for_what_had_arrived() {
    let mut solo = holding();
    solo.receive(text_frame(2, "before"));
    solo.hooks(Hooks::NONE);
    solo.receive(text_frame(3, "after"));
    solo.verdict();
    assert_eq!(solo.events(), [Event::Held(utf8("before"), on(DataKind::Utf8))]);
    solo.verdict();
    assert_eq!(solo.events(), [Event::Message(utf8("after"))]);
    assert_eq!(solo.frames(), [1, 2, 3].map(|ack| Frame::Ack { ack }));
}

#[test]
fn a_message_names_the_set_of_its_arrival() {
    let set = |number: u32| Hooks::from_bits(number << 3).with(DataKind::Utf8);
    let mut solo = Solo::connected(Config::default());
    for number in 1..=3 {
        solo.hooks(set(number));
        solo.receive(text_frame(number, "x"));
    }
    assert_eq!(solo.events(), [1, 2, 3].map(|number| Event::Held(utf8("x"), set(number))));
    assert_eq!([1, 2, 3].map(|number| set(number).number()), [1, 2, 3]);
}

#[test]
fn messages_that_meet_hooks_are_given_out_ahead_and_acknowledged_one_by_one() {
    let mut solo = holding();
    for ack in 2..=100 {
        solo.receive(text_frame(ack, "next"));
    }
    assert_eq!(solo.events().len(), 63, "64 at once, the first among them");
    for ack in 1..=36 {
        solo.verdict();
        assert_eq!(solo.frames(), [Frame::Ack { ack }]);
        assert_eq!(solo.events(), [Event::Held(utf8("next"), on(DataKind::Utf8))]);
    }
    for ack in 37..=100 {
        solo.verdict();
        assert_eq!((solo.frames(), solo.events()), (vec![Frame::Ack { ack }], vec![]));
    }
}

#[test]
fn only_so_many_bytes_are_given_out_ahead() {
    let mut solo = Solo::connected(Config { max_backlog: 100, ..Config::default() });
    solo.hooks(on(DataKind::Utf8));
    solo.receive(text_frame(1, &"the first may have any size ".repeat(10)));
    solo.receive(text_frame(2, "waits"));
    assert_eq!(solo.events().len(), 1);
    solo.verdict();
    assert_eq!(solo.events(), [Event::Held(utf8("waits"), on(DataKind::Utf8))]);
}

#[test]
fn a_malformed_message_is_not_given_out_ahead() {
    let not_utf8 = [&SID.to_be_bytes()[..], &[250, 0, 0, 0, 0, 0xff]].concat();
    let of_another = encode(SID + 1, &text_frame(2, "x")).to_vec();
    for bytes in [not_utf8, of_another] {
        let mut solo = holding();
        solo.receive_bytes(bytes);
        solo.receive(text_frame(2, "behind"));
        assert_eq!((solo.frames(), solo.events()), (vec![], vec![]));
        solo.verdict();
        assert!(matches!(solo.frames()[..], [Frame::Ack { ack: 1 }, Frame::Error { .. }]));
        assert_eq!(solo.events(), [Event::Held(utf8("behind"), on(DataKind::Utf8))]);
    }
}

#[test]
fn reading_stops_when_more_than_the_bound_waits_and_goes_on_afterwards() {
    let mut solo = Solo::connected(Config { max_backlog: 164, ..Config::default() });
    solo.hooks(on(DataKind::Utf8));
    solo.receive(text_frame(1, &"held messages do not count".repeat(10)));
    solo.receive(binary_frame(2, 87));
    assert!(solo.driver.session.can_receive(), "a frame of 100 bytes, and 64 beside it");
    solo.receive(binary_frame(3, 0));
    assert!(!solo.driver.session.can_receive(), "another frame");
    solo.verdict();
    assert!(solo.driver.session.can_receive());
    assert_eq!(solo.messages(), [binary(87, 0), binary(0, 0)]);
}

#[test]
fn reading_goes_on_while_a_second_message_is_held_with_less_behind_it() {
    let mut solo = Solo::connected(Config { max_backlog: 200, ..Config::default() });
    solo.hooks(on(DataKind::Utf8));
    solo.receive(text_frame(1, "held"));
    solo.receive(binary_frame(2, 80));
    solo.receive(text_frame(3, "held too"));
    solo.receive(binary_frame(4, 80));
    assert!(!solo.driver.session.can_receive());
    solo.verdict();
    assert!(solo.driver.session.can_receive());
}

#[test]
fn a_bye_behind_a_held_message_takes_effect_after_it() {
    let mut solo = holding();
    solo.receive(bye_frame(2, "done"));
    assert_eq!(solo.output(), []);
    solo.verdict();
    let (frames, close) = solo.frames_and_close();
    assert_eq!(frames, [1, 2].map(|ack| Frame::Ack { ack }));
    assert_eq!(close, Some(reason(4000, "done")));
}

#[test]
fn frames_behind_a_bye_are_not_taken() {
    let mut solo = holding();
    solo.receive(bye_frame(2, "done"));
    solo.receive(binary_frame(3, 1));
    solo.verdict();
    assert_eq!(solo.messages(), []);
    assert_eq!(solo.frames_and_close().0.len(), 2);
}

#[test]
fn a_close_while_a_message_is_held_does_not_wait_for_the_verdict() {
    let mut solo = holding();
    solo.receive(binary_frame(2, 1));
    solo.close("end");
    let (frames, close) = solo.frames_and_close();
    assert_eq!(frames, [bye_frame(1, "end")]);
    assert_eq!(close, Some(reason(4000, "end")));
    solo.verdict();
    assert_eq!((solo.output(), solo.events()), (vec![], vec![]));
    solo.disconnect();
    assert_eq!(solo.events(), [Event::Closed(reason(4000, "end"))]);
}

#[test]
fn a_verdict_after_the_end_is_ignored() {
    let mut solo = holding();
    solo.receive(binary_frame(2, 1));
    solo.disconnect();
    assert_eq!(solo.events(), [Event::Closed(reason(1006, ""))]);
    solo.verdict();
    assert_eq!((solo.output(), solo.events()), (vec![], vec![]));
    assert!(solo.driver.session.can_receive());
}

#[test]
fn sixteen_malformed_frames_behind_a_held_message_close_after_it() {
    let mut solo = holding();
    let not_utf8 = [&SID.to_be_bytes()[..], &[250, 0, 0, 0, 0, 0xff]].concat();
    for _ in 0..20 {
        solo.receive_bytes(not_utf8.clone());
    }
    solo.receive(binary_frame(2, 1));
    solo.verdict();
    let (frames, close) = solo.frames_and_close();
    assert_eq!((frames.len(), close.map(|c| c.code)), (17, Some(4001)));
    assert_eq!(solo.messages(), []);
    assert!(solo.driver.session.can_receive());
}

#[test]
fn a_violation_while_a_message_is_held_closes_at_once() {
    let mut solo = holding();
    solo.driver.input(Input::violation(1002, "bad opcode"));
    let (frames, close) = solo.frames_and_close();
    assert_eq!((frames, close), (vec![], Some(reason(1002, "bad opcode"))));
}

#[test]
fn a_long_backlog_is_handled_in_the_order_it_came() {
    let mut solo = holding();
    for ack in 2..1000 {
        let hooked = ack % 7 == 0;
        solo.receive(match hooked {
            true => text_frame(ack, "held too"),
            false => binary_frame(ack, 0),
        });
    }
    for _ in 0..1000 {
        solo.verdict();
    }
    let expected = (1..1000).map(|ack| Frame::Ack { ack });
    assert!(solo.frames().into_iter().eq(expected));
}
