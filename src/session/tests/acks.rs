//! Acknowledgements (PROTOCOL section 4).

use bytes::Bytes;

use super::driver::ms;
use super::pair::{Solo, binary, bye_frame, error, info_frame, text_frame, utf8, with_backpressure};
use crate::protocol::{Frame, Text};
use crate::session::{Backpressure, Config, DropPolicy, Event, Input, Outcome, Payload};

/// A connected session whose ACKs may take 1 s.
fn one_second() -> Solo {
    Solo::connected(Config { ack_timeout: ms(1000), ..Config::default() })
}

fn timeouts_of_next_tick(solo: &mut Solo) -> u32 {
    solo.events();
    let until_tick = 15_000 - (solo.driver.now - solo.start).as_millis() as u64 % 15_000;
    solo.advance(until_tick);
    let of_tick = |event| match event {
        Event::Statistics(statistics) => Some(statistics.ack_timeouts),
        _ => None,
    };
    solo.events().into_iter().find_map(of_tick).expect("a tick")
}

#[test]
fn tracked_frames_and_bye_are_numbered_from_0_and_the_others_take_no_number() {
    let mut solo = Solo::server();
    solo.receive(info_frame(70));
    solo.send_text("a");
    solo.ping();
    solo.receive(text_frame(71, ""));
    solo.send(binary(1, 7));
    solo.receive(Frame::Ping);
    solo.receive_bytes(&b"short"[..]);
    solo.send(error("e"));
    solo.close("end");
    let frames = solo.frames_and_close().0;
    let acks = frames.iter().filter_map(|frame| match frame {
        Frame::EndpointInfo { ack, .. }
        | Frame::Utf8 { ack, .. }
        | Frame::Binary { ack, .. }
        | Frame::Error { ack, .. }
        | Frame::Bye { ack, .. } => Some(*ack),
        _ => None,
    });
    assert_eq!(acks.collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    assert_eq!(frames.len(), 10);
}

#[test]
fn each_data_frame_is_acknowledged_under_its_senders_number() {
    let mut solo = Solo::connected(Config::default());
    for ack in [u32::MAX - 1, u32::MAX, 0, 0, 77] {
        let (data, message) = (Bytes::new(), Text::default());
        solo.receive(text_frame(ack, ""));
        solo.receive(Frame::Binary { ack, data });
        solo.receive(Frame::Error { ack, message });
        assert_eq!(solo.frames(), [ack; 3].map(|ack| Frame::Ack { ack }));
        let empty = [utf8(""), Payload::Binary(Bytes::new()), error("")];
        assert_eq!(solo.messages(), empty);
    }
}

#[test]
fn acks_are_not_acknowledged() {
    let mut solo = Solo::connected(Config::default());
    solo.send_text("a");
    solo.frames();
    for ack in [1, 1, 0, 500] {
        solo.acknowledge(ack);
    }
    assert_eq!(solo.frames(), []);
}

#[test]
fn acks_settle_their_sends_in_any_order() {
    let mut solo = Solo::connected(Config::default());
    let tokens: Vec<_> = (0..5).map(|_| solo.send_text("x")).collect();
    for ack in [3, 1, 5, 2] {
        assert_eq!(solo.outcome(ack - 1), None);
        solo.acknowledge(ack);
        assert_eq!(solo.outcome(ack - 1), Some(Outcome::Done));
    }
    assert_eq!(tokens, [0, 1, 2, 3, 4]);
    assert_eq!(solo.driver.ledger.open(), [3]);
}

#[test]
fn acks_that_come_together_make_one_event() {
    let mut solo = Solo::connected(Config::default());
    for _ in 0..100 {
        solo.send_text("x");
    }
    solo.driver.batch(true);
    for ack in 1..=100 {
        solo.acknowledge(ack);
    }
    solo.driver.batch(false);
    let (first, count, outcome) = (0, 100, Outcome::Done);
    let settled = Event::Settled { first, count, outcome };
    assert_eq!(solo.events(), [settled]);
}

#[test]
fn an_unknown_or_repeated_ack_is_no_offence() {
    let mut solo = Solo::connected(Config::default());
    solo.send_text("a");
    let second = solo.send_text("b");
    solo.frames();
    solo.acknowledge(1);
    for ack in [1, 1, 0, 3, 4, 1000, u32::MAX, u32::MAX / 2] {
        for _ in 0..5 {
            solo.acknowledge(ack);
        }
    }
    assert_eq!(solo.outcome(second), None);
    solo.acknowledge(2);
    assert_eq!(solo.outcome(second), Some(Outcome::Done));
    assert_eq!(solo.frames(), []);
}

#[test]
fn a_send_times_out_when_its_time_is_up_and_not_before() {
    let mut solo = one_second();
    solo.advance(500);
    let token = solo.send_text("a");
    assert_eq!(solo.timeout_ms(), Some(1500));
    solo.advance(999);
    assert_eq!(solo.outcome(token), None);
    solo.advance(1);
    assert_eq!(solo.outcome(token), Some(Outcome::TimedOut));
}

#[test]
fn the_time_of_an_ack_counts_from_the_write() {
    let mut solo = one_second();
    solo.driver.stop_writing();
    let token = solo.send_text("abc");
    solo.advance(5000);
    solo.driver.write(15);
    solo.advance(5000);
    assert_eq!(solo.outcome(token), None, "its last byte is not written");
    solo.driver.write(1);
    solo.advance(999);
    assert_eq!(solo.outcome(token), None);
    solo.advance(1);
    assert_eq!(solo.outcome(token), Some(Outcome::TimedOut));
}

#[test]
fn each_send_has_a_time_of_its_own() {
    let mut solo = one_second();
    let tokens: Vec<_> = (0..4)
        .map(|_| {
            solo.advance(100);
            solo.send_text("x")
        })
        .collect();
    solo.acknowledge(2);
    solo.advance(900);
    let fates = |solo: &Solo| -> Vec<_> { tokens.iter().map(|t| solo.outcome(*t)).collect() };
    let (done, out) = (Some(Outcome::Done), Some(Outcome::TimedOut));
    assert_eq!(fates(&solo), [out, done, out, None]);
    solo.advance(100);
    assert_eq!(fates(&solo), [out, done, out, out]);
}

#[test]
fn an_ack_that_comes_after_its_time_is_ignored() {
    let mut solo = one_second();
    let token = solo.send_text("a");
    solo.advance(1000);
    solo.acknowledge(1);
    assert_eq!(solo.outcome(token), Some(Outcome::TimedOut));
    let next = solo.send_text("b");
    solo.acknowledge(2);
    assert_eq!(solo.outcome(next), Some(Outcome::Done));
}

#[test]
fn timed_out_sends_are_counted_once_per_tick() {
    let mut solo = one_second();
    solo.send_text("a");
    solo.send_text("b");
    solo.advance(2000);
    assert_eq!(solo.statistics().ack_timeouts, 2);
    solo.receive(Frame::Pong);
    assert_eq!(timeouts_of_next_tick(&mut solo), 2);
    solo.receive(Frame::Pong);
    assert_eq!(timeouts_of_next_tick(&mut solo), 0);
    solo.receive(Frame::Pong);
    solo.send_text("c");
    assert_eq!(timeouts_of_next_tick(&mut solo), 1);
}

#[test]
fn the_round_trip_time_is_minus_1_before_the_first_sample() {
    let mut solo = Solo::server();
    assert_eq!(solo.statistics().rtt_ms, -1.0);
    solo.advance(15_000);
    let events = solo.events();
    assert!(matches!(&events[0], Event::Statistics(s) if s.rtt_ms == -1.0));
}

#[test]
fn the_round_trip_time_is_a_mean_with_weight_a_fifth_for_the_newest() {
    let mut solo = Solo::server();
    solo.advance(50);
    solo.advance(100);
    solo.acknowledge(0);
    let mut mean = 100.0;
    for (ack, sample) in [(1, 50), (2, 400), (3, 0), (4, 1), (5, 10_000)] {
        solo.send_text("x");
        solo.advance(sample);
        solo.acknowledge(ack);
        mean = mean * 0.8 + sample as f64 * 0.2;
        let measured = solo.statistics().rtt_ms;
        assert!((measured - mean).abs() < 1e-6, "{measured} is not {mean}");
    }
}

#[test]
fn a_repeated_ack_is_no_sample() {
    let mut solo = Solo::connected(Config::default());
    solo.send_text("x");
    solo.acknowledge(1);
    solo.advance(5000);
    solo.acknowledge(1);
    solo.acknowledge(0);
    assert_eq!(solo.statistics().rtt_ms, 0.0);
}

#[test]
fn an_ack_that_overtakes_the_report_of_the_write_settles_and_is_no_sample() {
    let mut solo = Solo::server();
    solo.driver.stop_writing();
    solo.receive(info_frame(0));
    let token = solo.send_text("x");
    solo.advance(100);
    solo.acknowledge(1);
    assert_eq!(solo.outcome(token), Some(Outcome::Done));
    assert_eq!(solo.statistics().rtt_ms, -1.0);
    solo.driver.resume_writing();
    solo.advance(14_000);
    assert_eq!(solo.statistics().ack_timeouts, 0);
}

#[test]
fn ack_timeouts_stand_while_reading_is_paused() {
    let mut solo = one_second();
    let token = solo.send_text("x");
    solo.advance(400);
    solo.driver.input(Input::ReadingPaused(true));
    solo.advance(10_000);
    assert_eq!(solo.outcome(token), None);
    solo.driver.input(Input::ReadingPaused(true));
    solo.driver.input(Input::ReadingPaused(false));
    assert_eq!(solo.timeout_ms(), Some(11_000));
    solo.advance(599);
    assert_eq!(solo.outcome(token), None);
    solo.advance(1);
    assert_eq!(solo.outcome(token), Some(Outcome::TimedOut));
}

#[test]
fn a_send_written_while_reading_is_paused_has_its_whole_time_afterwards() {
    let mut solo = one_second();
    solo.driver.input(Input::ReadingPaused(true));
    solo.advance(3000);
    let token = solo.send_text("x");
    solo.advance(3000);
    solo.driver.input(Input::ReadingPaused(false));
    solo.advance(999);
    assert_eq!(solo.outcome(token), None);
    solo.advance(1);
    assert_eq!(solo.outcome(token), Some(Outcome::TimedOut));
}

#[test]
fn two_pauses_add_up() {
    let mut solo = one_second();
    let token = solo.send_text("x");
    for _ in 0..2 {
        solo.advance(300);
        solo.driver.input(Input::ReadingPaused(true));
        solo.advance(2000);
        solo.driver.input(Input::ReadingPaused(false));
    }
    solo.advance(399);
    assert_eq!(solo.outcome(token), None);
    solo.advance(1);
    assert_eq!(solo.outcome(token), Some(Outcome::TimedOut));
}

#[test]
fn nobody_waits_for_the_ack_of_a_bye() {
    let mut solo = one_second();
    solo.close("end");
    assert_eq!(solo.frames_and_close().0, [bye_frame(1, "end")]);
    solo.advance(4000);
    assert_eq!(solo.statistics().ack_timeouts, 0);
    solo.acknowledge(1);
    assert_eq!(solo.events(), []);
}

#[test]
fn a_ping_is_settled_when_it_is_written_and_waits_for_no_answer() {
    let mut solo = one_second();
    solo.driver.stop_writing();
    let token = solo.ping();
    assert_eq!(solo.frames(), [Frame::Ping]);
    solo.driver.write(12);
    assert_eq!(solo.outcome(token), None);
    solo.driver.write(1);
    assert_eq!(solo.outcome(token), Some(Outcome::Done));
}

#[test]
fn a_frame_that_waits_behind_the_watermark_does_not_time_out() {
    let backpressure = Backpressure { high_watermark: 20, policy: DropPolicy::Newest, ..Backpressure::default() };
    let mut solo = Solo::connected(Config { ack_timeout: ms(1000), ..with_backpressure(backpressure) });
    solo.driver.stop_writing();
    solo.send(binary(20, 0));
    let waiting = solo.send_text("waits");
    solo.advance(9000);
    assert_eq!(solo.outcome(waiting), None);
    solo.driver.resume_writing();
    assert_eq!(solo.frames().last(), Some(&text_frame(2, "waits")));
    solo.advance(999);
    assert_eq!(solo.outcome(waiting), None);
    solo.advance(1);
    assert_eq!(solo.outcome(waiting), Some(Outcome::TimedOut));
}
