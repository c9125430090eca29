//! How a session ends (PROTOCOL section 4).

use super::driver::{SID, Transmit, encode, ms};
use super::pair::{Pair, Side, Solo, binary, bye_frame, info_frame, reason, text_frame, utf8};
use crate::protocol::Frame;
use crate::session::{Command, Config, DataKind, DropPolicy, Event, Hooks, Input, Outcome};

#[test]
fn a_bye_is_acknowledged_then_closed_with_4000_and_its_reason() {
    let mut solo = Solo::connected(Config::default());
    solo.receive(bye_frame(9, "done"));
    let (frames, close) = solo.frames_and_close();
    assert_eq!(frames, [Frame::Ack { ack: 9 }]);
    assert_eq!(close, Some(reason(4000, "done")));
    solo.disconnect();
    assert_eq!(solo.events(), [Event::Closed(reason(4000, "done"))]);
}

#[test]
fn a_bye_whose_reason_is_not_utf8_is_one_without_a_reason() {
    let mut solo = Solo::connected(Config::default());
    let mut bytes = encode(SID, &bye_frame(9, "")).to_vec();
    bytes.extend(b"done\xff");
    solo.receive_bytes(bytes);
    let (frames, close) = solo.frames_and_close();
    assert_eq!(frames, [Frame::Ack { ack: 9 }]);
    assert_eq!(close, Some(reason(4000, "")));
}

#[test]
fn close_reaches_the_peer_as_bye_and_both_sides_close_with_4000() {
    for (closing, other) in [(Side::Server, Side::Peer), (Side::Peer, Side::Server)] {
        let mut pair = Pair::new(Config::default());
        pair.advance(ms(100));
        let last = pair.send(closing, utf8("last"));
        pair.end(closing).command(Command::Close("enough".to_owned()));
        pair.deliver();
        let closed = Event::Closed(reason(4000, "enough"));
        assert_eq!(pair.end(closing).events.last(), Some(&closed));
        assert_eq!(pair.end(other).events.last(), Some(&closed));
        assert_eq!(pair.end(closing).ledger.outcome(last), Some(Outcome::Done));
        assert_eq!(pair.messages(other), [utf8("last")]);
    }
}

#[test]
fn two_sides_that_close_at_once_both_end() {
    let mut pair = Pair::new(Config::default());
    pair.advance(ms(100));
    for side in [Side::Server, Side::Peer] {
        pair.end(side).command(Command::Close(format!("{side:?}")));
    }
    pair.deliver();
    for side in [Side::Server, Side::Peer] {
        let closed = Event::Closed(reason(4000, &format!("{side:?}")));
        assert_eq!(pair.end(side).events.last(), Some(&closed));
    }
}

#[test]
fn nothing_goes_out_after_bye_but_the_close() {
    let mut solo = Solo::connected(Config::default());
    solo.driver.stop_writing();
    solo.close("bye");
    solo.receive(text_frame(1, "late"));
    solo.receive(Frame::Ping);
    solo.receive(info_frame(2));
    solo.receive(bye_frame(3, "you too"));
    solo.receive_bytes(&b"malformed"[..]);
    let late = [solo.send_text("late"), solo.ping()];
    solo.close("again");
    solo.advance(4000);
    let (frames, close) = solo.frames_and_close();
    assert_eq!(frames, [bye_frame(1, "bye")]);
    assert_eq!(close, Some(reason(4000, "bye")));
    assert_eq!(late.map(|t| solo.outcome(t)), [Some(Outcome::SessionClosed); 2]);
    assert_eq!(solo.messages(), []);
}

#[test]
fn what_was_sent_before_close_goes_out_before_bye_though_the_watermark_pauses_it() {
    let mut solo = Solo::stuck(DropPolicy::Oldest);
    solo.send(binary(100, 0));
    solo.receive(text_frame(4, ""));
    let waiting = [solo.send_text("a"), solo.ping(), solo.send_text("b")];
    solo.close("end");
    let (frames, close) = solo.frames_and_close();
    assert_eq!((frames.len(), close), (1, None));

    solo.driver.resume_writing();
    let (frames, close) = solo.frames_and_close();
    let expected = [Frame::Ack { ack: 4 }, text_frame(2, "a"), Frame::Ping, text_frame(3, "b"), bye_frame(4, "end")];
    assert_eq!(frames, expected);
    assert_eq!(close, Some(reason(4000, "end")));
    solo.acknowledge(2);
    solo.acknowledge(3);
    assert_eq!(waiting.map(|t| solo.outcome(t)), [Some(Outcome::Done); 3]);
}

#[test]
fn destroy_sends_what_was_queued_then_closes_without_bye() {
    let mut solo = Solo::stuck(DropPolicy::Oldest);
    solo.send(binary(100, 0));
    solo.send_text("queued");
    let (code, text) = (4321, "why".to_owned());
    solo.driver.command(Command::Destroy { code, reason: text });
    solo.driver.resume_writing();
    let (frames, close) = solo.frames_and_close();
    assert_eq!(frames[1..], [text_frame(2, "queued")]);
    assert_eq!(close, Some(reason(4321, "why")));
}

#[test]
fn a_close_reason_is_cut_to_123_bytes_between_characters() {
    let long = "é".repeat(100);
    let cut = "é".repeat(61);
    let ways = [
        Input::Command(Command::Close(long.clone())),
        Input::Command(Command::Destroy { code: 4000, reason: long.clone() }),
        Input::violation(4000, long.clone()),
        Input::Frame(encode(SID, &bye_frame(1, &long))),
    ];
    for way in ways {
        let mut solo = Solo::connected(Config::default());
        solo.driver.input(way);
        let (_, close) = solo.frames_and_close();
        assert_eq!(close, Some(reason(4000, &cut)));
    }
    let mut solo = Solo::connected(Config::default());
    solo.close(&long);
    assert_eq!(solo.frames_and_close().0, [bye_frame(1, &long)]);
    let mut solo = Solo::connected(Config::default());
    solo.close(&"x".repeat(123));
    let (_, close) = solo.frames_and_close();
    assert_eq!(close, Some(reason(4000, &"x".repeat(123))));
}

#[test]
fn a_violation_closes_with_its_code_and_without_bye() {
    let mut solo = Solo::connected(Config::default());
    solo.driver.input(Input::violation(1003, "text message"));
    let (frames, close) = solo.frames_and_close();
    assert_eq!((frames, close), (vec![], Some(reason(1003, "text message"))));
}

#[test]
fn closed_comes_once_and_last_with_the_reason_of_whoever_closed_first() {
    let mut solo = Solo::connected(Config::default());
    solo.send_text("a");
    let theirs = || Input::Disconnected(Some(reason(4000, "left")));
    solo.driver.input(theirs());
    solo.driver.input(theirs());
    solo.close("late");
    assert!(solo.driver.session.is_closed());
    assert_eq!(solo.timeout_ms(), None);
    let events = solo.events();
    assert_eq!(events.last(), Some(&Event::Closed(reason(4000, "left"))));

    let mut solo = Solo::connected(Config::default());
    solo.close("ours");
    solo.driver.input(theirs());
    assert_eq!(solo.events(), [Event::Closed(reason(4000, "ours"))]);

    let mut solo = Solo::connected(Config::default());
    solo.disconnect();
    assert_eq!(solo.events(), [Event::Closed(reason(1006, ""))]);
}

#[test]
fn the_end_settles_all_that_is_open_and_all_that_is_sent_afterwards() {
    let mut solo = Solo::stuck(DropPolicy::Oldest);
    let written = solo.send(binary(20, 0));
    solo.driver.write(33);
    let mut sent = vec![written, solo.ping(), solo.send(binary(100, 0))];
    solo.driver.write(20);
    sent.extend([solo.ping(), solo.send_text("waits")]);
    let done = sent.remove(1);
    assert_eq!(solo.outcome(done), Some(Outcome::Done));
    assert_eq!(solo.frames().len(), 3);
    solo.disconnect();
    sent.push(solo.send_text("too late"));
    sent.push(solo.ping());
    for token in sent {
        assert_eq!(solo.outcome(token), Some(Outcome::SessionClosed));
    }
}

#[test]
fn acks_that_arrive_while_closing_settle_their_sends() {
    let mut solo = Solo::connected(Config::default());
    let token = solo.send_text("last");
    solo.close("end");
    solo.acknowledge(1);
    assert_eq!(solo.outcome(token), Some(Outcome::Done));
}

#[test]
fn a_closing_session_drops_the_connection_after_5_s_without_progress() {
    let mut solo = Solo::stuck(DropPolicy::Oldest);
    solo.send_text("a");
    solo.close("end");
    solo.advance(4000);
    solo.driver.write(1);
    solo.advance(4999);
    assert!(!solo.output().contains(&Transmit::Abort));
    solo.advance(1);
    assert_eq!(solo.output(), [Transmit::Abort]);
}

#[test]
fn a_closing_session_waits_for_a_peer_that_takes_what_was_written_but_30_s_at_most() {
    let mut solo = Solo::connected(Config::default());
    solo.close("end");
    solo.output();
    for _ in 0..6 {
        solo.advance(4999);
        solo.driver.input(Input::Taking);
    }
    solo.advance(5);
    assert_eq!(solo.output(), []);
    solo.driver.input(Input::Taking);
    solo.advance(1);
    assert_eq!(solo.output(), [Transmit::Abort]);
}

#[test]
fn what_a_peer_still_sends_does_not_delay_the_end_of_a_closing_session() {
    let mut solo = Solo::connected(Config::default());
    solo.close("end");
    solo.output();
    solo.advance(4999);
    solo.driver.input(Input::Alive);
    solo.receive(text_frame(1, "late"));
    solo.advance(1);
    assert_eq!(solo.output(), [Transmit::Abort]);
}

#[test]
fn a_timeout_of_a_closing_session_is_not_asked_for_again_at_the_same_time() {
    let mut solo = Solo::stuck(DropPolicy::Oldest);
    solo.close("end");
    let at = solo.driver.session.poll_timeout().expect("a deadline");
    solo.driver.now = at;
    solo.driver.input(Input::Timeout);
    let next = solo.driver.session.poll_timeout();
    assert!(next.is_none_or(|next| next > at), "asks for it again");
}

#[test]
fn a_close_gives_up_what_waits_behind_a_held_message() {
    let mut solo = Solo::connected(Config::default());
    solo.hooks(Hooks::NONE.with(DataKind::Utf8));
    for ack in 1..30 {
        solo.receive(text_frame(ack, &"x".repeat(100_000)));
    }
    assert!(!solo.driver.session.can_receive());
    solo.close("end");
    assert!(solo.driver.session.can_receive());
}

#[test]
fn a_closing_session_goes_on_reading_for_the_peers_close() {
    let mut solo = Solo::connected(Config::default());
    solo.hooks(Hooks::NONE.with(DataKind::Utf8));
    solo.receive(text_frame(1, "held"));
    solo.close("end");
    for ack in 2..20 {
        solo.receive(text_frame(ack, &"x".repeat(100_000)));
    }
    solo.verdict();
    assert!(solo.driver.session.can_receive());
}

#[test]
fn an_ack_that_comes_with_the_end_is_reported_before_it() {
    let mut solo = Solo::connected(Config::default());
    let token = solo.send_text("x");
    solo.driver.batch(true);
    solo.acknowledge(1);
    solo.disconnect();
    solo.driver.batch(false);
    assert_eq!(solo.outcome(token), Some(Outcome::Done));
    let closed = Event::Closed(reason(1006, ""));
    assert_eq!(solo.events().last(), Some(&closed));
}
