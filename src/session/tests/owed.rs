//! What a peer that has ended the connection still gets (PROTOCOL section 4).

use super::pair::{Solo, binary, bye_frame, info_frame, text_frame};
use crate::protocol::{FEATURE_TRANSACTIONS, Frame, VERSION};
use crate::session::{Config, DropPolicy, Event, Outcome, Transmit};

/// The frames owed, one by one.
fn owed(solo: &mut Solo) -> Vec<Frame> {
    let mut frames = Vec::new();
    for transmit in solo.driver.session.take_owed() {
        match transmit {
            Transmit::Frame(frame) => frames.push(frame),
            Transmit::Acks { first, count } => {
                assert!((1..=64).contains(&count), "a run of {count} ACKs");
                frames.extend((0..count).map(|n| Frame::Ack { ack: first.wrapping_add(n) }));
            }
            Transmit::Close(reason) => panic!("{reason:?} is not owed"),
        }
    }
    frames
}

fn our_info() -> Frame {
    Frame::EndpointInfo { ack: 0, version: VERSION, features: FEATURE_TRANSACTIONS }
}

fn acks(numbers: impl Iterator<Item = u32>) -> Vec<Frame> {
    numbers.map(|ack| Frame::Ack { ack }).collect()
}

#[test]
fn our_endpoint_info_and_the_acks_of_all_that_was_accepted_are_owed() {
    let mut solo = Solo::server();
    solo.driver.batch(true);
    solo.receive(info_frame(0));
    (1..=200).for_each(|ack| solo.receive(text_frame(ack, "x")));
    let frames = owed(&mut solo);
    assert_eq!(frames[0], our_info());
    assert_eq!(frames[1..], acks(0..=200));
    assert_eq!(owed(&mut solo), []);
}

#[test]
fn the_ack_of_a_bye_is_owed() {
    let mut solo = Solo::connected(Config::default());
    solo.driver.batch(true);
    solo.receive(text_frame(1, "x"));
    solo.receive(bye_frame(2, "bye"));
    assert_eq!(owed(&mut solo), acks(1..=2));
}

#[test]
fn nothing_is_owed_to_a_peer_that_has_said_nothing() {
    let mut solo = Solo::server();
    assert_eq!(owed(&mut solo), []);
}

#[test]
fn messages_are_not_owed_and_settle_with_the_end() {
    let mut solo = Solo::connected(Config::default());
    solo.driver.batch(true);
    let sends = [solo.send_text("a"), solo.ping(), solo.send_text("b")];
    solo.receive(text_frame(1, "x"));
    assert_eq!(owed(&mut solo), acks(1..=1));
    solo.disconnect();
    solo.driver.batch(false);
    assert_eq!(sends.map(|token| solo.outcome(token)), [Some(Outcome::SessionClosed); 3]);
    assert!(matches!(solo.events().last(), Some(Event::Closed(_))));
    assert_eq!(solo.output(), []);
}

#[test]
fn acks_that_wait_behind_the_high_watermark_are_owed() {
    let mut solo = Solo::stuck(DropPolicy::Oldest);
    solo.send(binary(100, 0));
    solo.receive(text_frame(1, "x"));
    solo.send_text("waits");
    solo.receive(text_frame(2, "y"));
    assert!(solo.driver.session.is_paused());
    assert_eq!(owed(&mut solo), acks(1..=2));
}
