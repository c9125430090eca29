//! The heartbeat (API: `keepAliveIntervalMs`), 15 s unless said.

use std::time::Duration;

use super::driver::{SID, Transmit, encode, ms};
use super::pair::{Pair, Side, Solo, bye_frame, info_frame, reason, text_frame};
use crate::protocol::Frame;
use crate::session::{Config, DataKind, Event, Hooks, Input, Statistics};

const SILENT: &str = "Disconnecting session due to not responding to ping frames.";

fn ticks(events: &[Event]) -> usize {
    let tick = |event: &&Event| matches!(event, Event::Statistics(_));
    events.iter().filter(tick).count()
}

fn is_closing(solo: &mut Solo) -> bool {
    let close = |transmit: &Transmit| matches!(transmit, Transmit::Close(_));
    solo.output().iter().any(close)
}

#[test]
fn each_tick_brings_the_statistics_then_a_ping() {
    let mut solo = Solo::connected(Config::default());
    for tick in 1..=5 {
        assert_eq!(solo.timeout_ms(), Some(tick * 15_000));
        solo.advance(14_999);
        assert_eq!((solo.frames(), solo.events()), (vec![], vec![]));
        solo.advance(1);
        assert_eq!(solo.frames(), [Frame::Ping]);
        assert_eq!(ticks(&solo.events()), 1);
        solo.receive(Frame::Pong);
    }
}

#[test]
fn the_statistics_count_the_bytes_of_frames_in_both_directions() {
    let mut solo = Solo::connected(Config::default());
    solo.send_text("abc");
    solo.acknowledge(1);
    solo.receive(text_frame(1, "12345"));
    solo.receive_bytes(&b"junk"[..]);
    let diagnostic = solo.frames().pop().expect("a diagnostic").encoded_len() as u64;
    solo.advance(15_000);
    let events = solo.events();
    let Some(Event::Statistics(statistics)) = events.last() else {
        panic!("{events:?}");
    };
    let expected = Statistics {
        rtt_ms: 0.0,
        bytes_rx: 25 + 13 + 13 + 18 + 4,
        // The ping of the tick comes after its figures.
        bytes_tx: 25 + 13 + 16 + 13 + diagnostic,
        ack_timeouts: 0,
    };
    assert_eq!(*statistics, expected);
    assert_eq!(solo.statistics().bytes_tx, expected.bytes_tx + 13);
}

#[test]
fn the_interval_is_the_configured_one() {
    let mut solo = Solo::connected(Config { keep_alive: ms(100), ..Config::default() });
    solo.advance(100);
    assert_eq!(solo.frames(), [Frame::Ping]);
}

#[test]
fn a_peer_silent_for_a_whole_interval_after_a_ping_is_closed_with_bye() {
    let mut solo = Solo::connected(Config::default());
    solo.advance(29_999);
    assert_eq!(solo.frames(), [Frame::Ping]);
    solo.events();
    solo.advance(1);
    let (frames, close) = solo.frames_and_close();
    assert_eq!(frames, [bye_frame(1, SILENT)]);
    assert_eq!(close, Some(reason(4000, SILENT)));
    assert_eq!(ticks(&solo.events()), 1);
    solo.disconnect();
    assert_eq!(solo.events(), [Event::Closed(reason(4000, SILENT))]);
}

#[test]
fn a_peer_that_never_said_anything_is_closed_too() {
    let mut solo = Solo::server();
    solo.advance(30_000);
    assert!(is_closing(&mut solo));
}

#[test]
fn what_came_before_the_ping_is_no_answer_to_it() {
    let mut solo = Solo::connected(Config::default());
    solo.advance(14_999);
    solo.receive(Frame::Pong);
    solo.advance(15_001);
    assert!(is_closing(&mut solo));
}

#[test]
fn any_frame_is_a_sign_of_life() {
    let malformed = encode(99, &Frame::Pong);
    let frames = [
        encode(SID, &Frame::Pong),
        encode(SID, &Frame::Ping),
        encode(SID, &Frame::Ack { ack: 12345 }),
        encode(SID, &text_frame(3, "x")),
        encode(SID, &info_frame(4)),
        malformed,
    ];
    for bytes in frames {
        let mut solo = Solo::connected(Config::default());
        solo.advance(29_999);
        solo.receive_bytes(bytes);
        solo.advance(1);
        assert!(!is_closing(&mut solo));
        solo.advance(15_000);
        assert!(is_closing(&mut solo));
    }
}

#[test]
fn bytes_that_make_no_frame_yet_and_bytes_that_are_taken_are_signs_of_life() {
    for sign in [|| Input::Alive, || Input::Taking] {
        let mut solo = Solo::connected(Config::default());
        for _ in 0..5 {
            solo.advance(14_999);
            solo.driver.input(sign());
            solo.advance(1);
        }
        assert!(!is_closing(&mut solo));
        solo.advance(15_000);
        assert!(is_closing(&mut solo));
    }
}

#[test]
fn bytes_that_make_no_frame_do_not_lift_the_hold_of_the_first_frame() {
    let mut solo = Solo::server();
    solo.driver.input(Input::Alive);
    assert_eq!(solo.frames(), []);
    solo.advance(50);
    assert_eq!(solo.frames().len(), 1);
}

#[test]
fn silence_is_judged_at_the_heartbeat_and_at_the_end_of_a_closing_sessions_patience() {
    let mut solo = Solo::connected(Config { ack_timeout: ms(100), ..Config::default() });
    let judges = |solo: &Solo| solo.driver.session.judges_silence(solo.driver.now);
    solo.send_text("x");
    solo.driver.now += ms(100);
    assert!(!judges(&solo), "the time of an ACK is up, no more");
    solo.driver.now += ms(14_900);
    assert!(judges(&solo));
    solo.driver.input(Input::Timeout);
    assert!(!judges(&solo));
    solo.close("end");
    solo.driver.now += ms(4999);
    assert!(!judges(&solo));
    solo.driver.now += ms(1);
    assert!(judges(&solo));
}

#[test]
fn a_held_message_is_a_sign_of_life() {
    let mut solo = Solo::connected(Config::default());
    solo.hooks(Hooks::NONE.with(DataKind::Utf8));
    solo.receive(text_frame(1, "held"));
    for ack in 2..10 {
        solo.advance(15_000);
        solo.receive(text_frame(ack, "behind it"));
    }
    assert!(!is_closing(&mut solo));
}

#[test]
fn a_ping_is_answered_and_a_pong_never() {
    let mut solo = Solo::connected(Config::default());
    solo.receive(Frame::Ping);
    solo.receive(Frame::Ping);
    assert_eq!(solo.frames(), [Frame::Pong, Frame::Pong]);
    solo.receive(Frame::Pong);
    assert_eq!((solo.frames(), solo.events()), (vec![], vec![]));
}

#[test]
fn two_sessions_keep_each_other_alive() {
    let mut pair = Pair::new(Config::default());
    pair.advance(ms(15 * 60 * 1000));
    for side in [Side::Server, Side::Peer] {
        assert!(!pair.end(side).session.is_closed());
        assert_eq!(ticks(&pair.end(side).events), 60);
    }
}

#[test]
fn a_peer_that_falls_silent_is_closed_within_two_intervals() {
    let mut pair = Pair::new(Config::default());
    pair.advance(ms(100_000));
    pair.hold(Side::Peer, true);
    pair.advance(ms(30_000));
    let server = pair.end(Side::Server);
    let close = |t: &Transmit| *t == Transmit::Close(reason(4000, SILENT));
    assert_eq!(server.polled.iter().filter(|t| close(t)).count(), 1);
}

#[test]
fn an_early_timeout_does_nothing() {
    let mut solo = Solo::connected(Config::default());
    let token = solo.send_text("x");
    solo.frames();
    solo.events();
    for _ in 0..100 {
        solo.driver.input(Input::Timeout);
    }
    assert_eq!((solo.output(), solo.events()), (vec![], vec![]));
    assert_eq!(solo.outcome(token), None);
    assert_eq!(solo.timeout_ms(), Some(15_000));
}

#[test]
fn a_late_timeout_leaves_a_whole_interval_for_the_answer() {
    let mut solo = Solo::connected(Config::default());
    solo.driver.now += ms(100_000);
    solo.driver.input(Input::Timeout);
    assert_eq!(solo.frames(), [Frame::Ping]);
    assert_eq!(solo.timeout_ms(), Some(115_000));
    solo.advance(14_999);
    assert_eq!(solo.output(), []);
}

#[test]
fn a_closing_session_has_no_heartbeat() {
    let mut solo = Solo::connected(Config { keep_alive: ms(100), ..Config::default() });
    solo.close("end");
    solo.output();
    solo.advance(4000);
    assert_eq!((solo.output(), solo.events()), (vec![], vec![]));
}

#[test]
fn liveness_stands_while_reading_is_paused_and_the_heartbeat_goes_on() {
    let mut solo = Solo::connected(Config::default());
    solo.advance(16_000);
    solo.driver.input(Input::ReadingPaused(true));
    solo.events();
    solo.advance(150_000);
    assert_eq!(ticks(&solo.events()), 10);
    assert!(!is_closing(&mut solo));
    solo.driver.input(Input::ReadingPaused(false));
    solo.advance(14_999);
    assert!(!is_closing(&mut solo));
}

#[test]
fn a_peer_silent_after_a_pause_is_closed_within_two_intervals() {
    let mut solo = Solo::connected(Config::default());
    solo.driver.input(Input::ReadingPaused(true));
    solo.advance(100_000);
    solo.driver.input(Input::ReadingPaused(false));
    solo.advance(30_000);
    assert!(is_closing(&mut solo));
}

#[test]
fn a_hook_that_hangs_does_not_get_the_peer_closed_whose_frames_are_not_read() {
    let mut solo = Solo::connected(Config { max_backlog: 1000, ..Config::default() });
    solo.hooks(Hooks::NONE.with(DataKind::Utf8));
    solo.receive(text_frame(1, "held"));
    solo.receive(text_frame(2, &"x".repeat(1000)));
    assert!(!solo.driver.session.can_receive());
    solo.advance(60_000);
    assert!(!is_closing(&mut solo));
}

#[test]
fn answers_left_unread_behind_a_slow_hook_do_not_get_the_peer_closed() {
    let mut solo = Solo::connected(Config { max_backlog: 1000, ..Config::default() });
    solo.hooks(Hooks::NONE.with(DataKind::Utf8));
    solo.receive(text_frame(1, "held"));
    solo.receive(text_frame(2, &"x".repeat(1000)));
    assert!(!solo.driver.session.can_receive());
    // The pong to the ping of this tick is not read.
    solo.advance(29_999);
    solo.driver.now += ms(1);
    // The verdict comes, and the timeout is due before the socket is read again.
    solo.verdict();
    solo.driver.input(Input::Timeout);
    assert!(solo.driver.session.can_receive());
    assert!(!is_closing(&mut solo));
}

#[test]
fn a_time_that_no_clock_shows_never_comes() {
    let mut solo =
        Solo::connected(Config { keep_alive: Duration::MAX, ack_timeout: Duration::MAX, ..Config::default() });
    solo.send_text("unanswered");
    solo.frames();
    solo.advance(u64::from(u32::MAX));
    assert_eq!((solo.frames(), ticks(&solo.events())), (vec![], 0));
    assert!(!is_closing(&mut solo));
}
