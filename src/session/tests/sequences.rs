//! Arbitrary sequences of whatever may happen to a session.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::driver::{SID, Transmit, encode, ms};
use super::pair::{Solo, binary, bye_frame, error, info_frame, text_frame, utf8};
use crate::checks;
use crate::protocol::Frame;
use crate::session::{Backpressure, Command, Config, DataKind, DropPolicy, Event, Hooks, Input, Payload, Role};

#[derive(Clone, Debug)]
enum Op {
    Send(Payload),
    Ping,
    /// The socket takes this many bytes more.
    Write(usize),
    ResumeWriting,
    StopWriting,
    Advance(u64),
    PauseReading(bool),
    Frame(Bytes),
    Hooks(Hooks),
    Verdict,
    Close(String),
    Destroy,
    Violation,
    Disconnect,
    /// Whether inputs come with nothing polled in between.
    Batch(bool),
}

pub(super) fn backpressure() -> impl Strategy<Value = Backpressure> {
    let policy = prop_oneof![Just(DropPolicy::Oldest), Just(DropPolicy::Newest), Just(DropPolicy::DedupeLatest)];
    (0..200_usize, 0..200_usize, 0..150_usize, 0..6_usize, policy).prop_map(
        |(high_watermark, low_watermark, max_queued_bytes, max_queue_count, policy)| Backpressure {
            high_watermark,
            low_watermark,
            max_queued_bytes,
            max_queue_count,
            policy,
        },
    )
}

fn config() -> impl Strategy<Value = Config> {
    (backpressure(), 1..1000_u64, 1..1000_u64, 0..100_usize, 1..20_usize).prop_map(
        |(backpressure, keep_alive, ack_timeout, max_backlog, max_unacknowledged)| Config {
            keep_alive: ms(keep_alive),
            ack_timeout: ms(ack_timeout),
            backpressure,
            max_unacknowledged,
            features: 0,
            max_backlog,
            ..Config::default()
        },
    )
}

/// Few different payloads, so that equal ones meet.
pub(super) fn payload() -> impl Strategy<Value = Payload> {
    prop_oneof![
        (0..4_usize).prop_map(|n| utf8(&"u".repeat(n * 20))),
        (0..4_usize).prop_map(|n| binary(n * 30, b'b')),
        (0..2_usize).prop_map(|n| error(&"e".repeat(n))),
        // What a session answers to a frame of type 99.
        Just(error("unknown frame type 99")),
        (200..2000_usize).prop_map(|n| binary(n, 0)),
    ]
}

fn hooks() -> impl Strategy<Value = Hooks> {
    const KINDS: [DataKind; 3] = [DataKind::Utf8, DataKind::Binary, DataKind::Error];
    any::<[bool; 3]>().prop_map(|wanted| {
        let wanted = KINDS.into_iter().zip(wanted).filter(|(_, wanted)| *wanted);
        wanted.fold(Hooks::NONE, |hooks, (kind, _)| hooks.with(kind))
    })
}

fn frame() -> impl Strategy<Value = Bytes> {
    let ack = 0..12_u32;
    prop_oneof![
        8 => ack.clone().prop_map(|ack| encode(SID, &Frame::Ack { ack })),
        4 => ack.clone().prop_map(|ack| encode(SID, &text_frame(ack, "text"))),
        2 => ack.clone().prop_map(|ack| {
            let data = Bytes::from_static(b"data");
            encode(SID, &Frame::Binary { ack, data })
        }),
        1 => ack.clone().prop_map(|ack| encode(SID, &info_frame(ack))),
        2 => Just(encode(SID, &Frame::Ping)),
        2 => Just(encode(SID, &Frame::Pong)),
        1 => Just(Bytes::from([&SID.to_be_bytes()[..], &[99, 0, 0, 0, 0]].concat())),
        1 => arbitrary_frame(),
    ]
}

/// Bytes that are seldom a whole frame, and often begin like one.
fn arbitrary_frame() -> impl Strategy<Value = Bytes> {
    let known = prop_oneof![0..5_u8, 249..=255_u8];
    let bytes = vec(any::<u8>(), 0..40);
    prop_oneof![
        1 => bytes.clone().prop_map(Bytes::from),
        3 => (known, bytes).prop_map(|(frame_type, rest)| {
            Bytes::from([&SID.to_be_bytes()[..], &[frame_type], &rest].concat())
        }),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        200 => payload().prop_map(Op::Send),
        40 => Just(Op::Ping),
        100 => (1..150_usize).prop_map(Op::Write),
        5 => Just(Op::ResumeWriting),
        10 => Just(Op::StopWriting),
        60 => (0..300_u64).prop_map(Op::Advance),
        20 => any::<bool>().prop_map(Op::PauseReading),
        300 => frame().prop_map(Op::Frame),
        20 => hooks().prop_map(Op::Hooks),
        20 => any::<bool>().prop_map(Op::Batch),
        60 => Just(Op::Verdict),
        3 => "[a-zé]{0,200}".prop_map(Op::Close),
        2 => Just(Op::Destroy),
        2 => Just(Op::Violation),
        2 => Just(Op::Disconnect),
        2 => Just(Op::Frame(encode(SID, &bye_frame(9, "bye")))),
    ]
}

/// Does it; a session that gives up its connection loses it.
fn apply(solo: &mut Solo, op: Op) {
    let driver = &mut solo.driver;
    match op {
        Op::Send(payload) => {
            driver.command(Command::Send(payload));
        }
        Op::Ping => {
            driver.command(Command::Ping);
        }
        Op::Write(bytes) => driver.write(bytes),
        Op::ResumeWriting => driver.resume_writing(),
        Op::StopWriting => driver.stop_writing(),
        Op::Advance(millis) => driver.advance(ms(millis)),
        Op::PauseReading(paused) => driver.input(Input::ReadingPaused(paused)),
        Op::Frame(bytes) => driver.input(Input::Frame(bytes)),
        Op::Hooks(hooks) => solo.hooks(hooks),
        Op::Verdict => solo.verdict(),
        Op::Close(reason) => solo.close(&reason),
        Op::Destroy => {
            let (code, reason) = (4000, "destroyed".to_owned());
            driver.command(Command::Destroy { code, reason });
        }
        Op::Violation => driver.input(Input::violation(1002, "violation")),
        Op::Disconnect => solo.disconnect(),
        Op::Batch(batch) => driver.batch(batch),
    }
    if solo.output().contains(&Transmit::Abort) {
        solo.disconnect();
    }
}

proptest! {
    #![proptest_config(checks::cases(256))]

    #[test]
    fn every_send_is_settled_exactly_once_whatever_happens(
        config in config(),
        ops in vec(op(), 0..120),
    ) {
        let mut solo = Solo::new(Role::Server, config);
        for op in ops {
            apply(&mut solo, op);
        }
        solo.disconnect();
        solo.driver.batch(false);
        prop_assert!(solo.driver.ledger.open().is_empty());
        let is_end = |event: &&Event| matches!(event, Event::Closed(_));
        prop_assert_eq!(solo.events().iter().filter(is_end).count(), 1);
    }

    #[test]
    fn every_timeout_moves_the_next_one_or_ends_the_session(
        config in config(),
        ops in vec(op(), 0..60),
    ) {
        let mut solo = Solo::new(Role::Server, config);
        for op in ops {
            apply(&mut solo, op);
            solo.driver.batch(false);
            for _ in 0..2 {
                let Some(at) = solo.driver.session.poll_timeout() else { break };
                solo.driver.now = solo.driver.now.max(at);
                solo.driver.input(Input::Timeout);
                if solo.output().contains(&Transmit::Abort) {
                    solo.disconnect();
                }
                let next = solo.driver.session.poll_timeout();
                prop_assert!(next.is_none_or(|next| next > solo.driver.now));
            }
        }
    }

    #[test]
    fn a_session_left_alone_by_its_peer_ends(config in config(), ops in vec(op(), 0..60)) {
        let mut solo = Solo::new(Role::Server, config);
        for op in ops {
            apply(&mut solo, op);
        }
        solo.driver.batch(false);
        // Two intervals, then what a close may take.
        solo.driver.input(Input::ReadingPaused(false));
        for _ in 0..100 {
            apply(&mut solo, Op::Verdict);
        }
        apply(&mut solo, Op::Advance(2000));
        apply(&mut solo, Op::Advance(5000));
        prop_assert!(solo.driver.session.is_closed());
    }

    #[test]
    fn no_bytes_a_peer_sends_get_more_than_16_diagnostics(
        hooks in hooks(),
        frames in vec(arbitrary_frame(), 0..60),
    ) {
        // A fault in a transaction's terms is answered too, but is not a malformed frame.
        let mut solo = Solo::connected(Config { features: 0, ..Config::default() });
        solo.hooks(hooks);
        let mut diagnostics = 0;
        for bytes in frames {
            solo.receive_bytes(bytes);
            solo.verdict();
            let (frames, _) = solo.frames_and_close();
            let is_error = |frame: &&Frame| matches!(frame, Frame::Error { .. });
            diagnostics += frames.iter().filter(is_error).count();
        }
        prop_assert!(diagnostics <= 16);
    }
}
