//! What a peer may not send (PROTOCOL section 6).

use bytes::Bytes;

use super::driver::{SID, encode};
use super::pair::{Solo, bye_frame, info_frame, text_frame};
use crate::protocol::{Frame, MAX_PAYLOAD, Text, TxStart};
use crate::session::{Config, Event, Input};

/// A frame's bytes: the sid of the session, a type, and the rest.
fn raw(frame_type: u8, rest: &[u8]) -> Bytes {
    let mut bytes = SID.to_be_bytes().to_vec();
    bytes.push(frame_type);
    bytes.extend_from_slice(rest);
    bytes.into()
}

/// Frames that are each answered with a diagnostic.
fn malformed() -> Vec<(&'static str, Bytes)> {
    let mut frames = vec![
        ("nothing", Bytes::new()),
        ("a cut sid", Bytes::from_static(b"\x01\x02\x03")),
        ("no type", Bytes::copy_from_slice(&SID.to_be_bytes())),
        ("an unknown ping payload", raw(251, b"pung")),
        ("an upper-case ping", raw(251, b"PING")),
        ("an empty ping", raw(251, b"")),
        ("UTF8DATA that is not", raw(250, b"\0\0\0\x07\xff")),
        ("UTF8DATA cut in a character", raw(250, b"\0\0\0\x07\xc3")),
        ("ERROR that is not UTF-8", raw(252, b"\0\0\0\x07\x80")),
        ("a name that is not UTF-8", raw(0, b"\0\0\0\x07\0\0\0\0\0\0\0\0\0\0\0\x01\0\xff")),
    ];
    for frame_type in 5..249 {
        frames.push(("an unknown type", raw(frame_type, b"\0\0\0\x07")));
    }
    let whole = [(255, 16), (254, 4), (253, 4), (252, 4), (250, 4), (249, 4)];
    let transactions = [(0, 17), (1, 12), (2, 8), (3, 24), (4, 8)];
    for (frame_type, fixed) in whole.into_iter().chain(transactions) {
        for len in 0..fixed {
            let rest = vec![0; len];
            frames.push(("shorter than its layout", raw(frame_type, &rest)));
        }
    }
    for frame_type in [255, 253, 251, 2, 3, 4] {
        frames.push(("longer than its layout", raw(frame_type, &[0; 25])));
    }
    let of_another = |frame: Frame| ("another sid", encode(SID + 1, &frame));
    let empty = Text::default;
    frames.extend([
        of_another(text_frame(7, "x")),
        of_another(info_frame(7)),
        of_another(bye_frame(7, "x")),
        of_another(Frame::Ack { ack: 1 }),
        of_another(Frame::Ping),
        of_another(Frame::Error { ack: 7, message: empty() }),
        of_another(Frame::TxStart(TxStart { ack: 7, tx_id: 0, size: 0, behaviour: 0, name: empty() })),
    ]);
    frames
}

#[test]
fn a_malformed_frame_is_answered_with_a_diagnostic_and_nothing_else() {
    for (what, bytes) in malformed() {
        let mut solo = Solo::connected(Config::default());
        let open = solo.send_text("waits for its ack");
        solo.frames();
        solo.receive_bytes(bytes.clone());
        let frames = solo.frames();
        let [Frame::Error { ack: 2, message }] = &frames[..] else {
            panic!("{what} ({bytes:?}) was answered with {frames:?}");
        };
        assert!((1..200).contains(&message.len()), "{what}: {message}");
        assert_eq!(solo.events(), [], "{what}");
        assert_eq!(solo.outcome(open), None, "{what}");

        solo.receive(text_frame(8, "the session lives on"));
        assert_eq!(solo.frames(), [Frame::Ack { ack: 8 }], "{what}");
    }
}

#[test]
fn the_diagnostic_names_the_fault() {
    let rows = [
        (raw(99, b"\0\0\0\0"), "99"),
        (raw(251, b"pung"), "pung"),
        (raw(250, b"\0\0"), "UTF8DATA"),
        (encode(4711, &Frame::Ping), "4711"),
    ];
    for (bytes, word) in rows {
        let mut solo = Solo::connected(Config::default());
        solo.receive_bytes(bytes);
        let frames = solo.frames();
        let named = matches!(&frames[..], [Frame::Error { message, .. }] if message.to_string().contains(word));
        assert!(named, "{word} is not in {frames:?}");
    }
}

#[test]
fn the_16th_malformed_frame_closes_the_session_with_4001() {
    let mut solo = Solo::connected(Config::default());
    for (n, (_, bytes)) in malformed().into_iter().rev().take(15).enumerate() {
        solo.receive_bytes(bytes);
        solo.receive(text_frame(n as u32, "in between"));
        assert_eq!(solo.frames().len(), 2);
    }
    assert_eq!(solo.messages().len(), 15);
    solo.receive_bytes(&b"x"[..]);
    let (frames, close) = solo.frames_and_close();
    assert!(matches!(frames[..], [Frame::Error { .. }]), "{frames:?}");
    let close = close.expect("a close frame");
    assert_eq!(close.code, 4001);
    solo.receive_bytes(&b"x"[..]);
    assert_eq!(solo.output(), []);
    solo.disconnect();
    assert_eq!(solo.events(), [Event::Closed(close)]);
}

#[test]
fn a_diagnostic_is_numbered_and_may_be_acknowledged() {
    let mut solo = Solo::connected(Config::default());
    solo.receive_bytes(&b"x"[..]);
    let token = solo.send_text("y");
    let frames = solo.frames();
    assert!(matches!(frames[..], [Frame::Error { ack: 1, .. }, Frame::Utf8 { ack: 2, .. }]));
    solo.acknowledge(1);
    assert_eq!((solo.events(), solo.outcome(token)), (vec![], None));
}

#[test]
fn a_payload_of_just_the_limit_is_taken() {
    let mut solo = Solo::connected(Config::default());
    solo.receive_bytes(raw(249, &vec![0; 4 + MAX_PAYLOAD]));
    solo.receive_bytes(raw(250, &vec![0; 4 + MAX_PAYLOAD]));
    assert_eq!(solo.frames().len(), 2);
    assert_eq!(solo.messages().len(), 2);
}

#[test]
fn a_payload_over_the_limit_closes_with_1009() {
    for frame_type in [249, 250, 252, 254] {
        let mut solo = Solo::connected(Config::default());
        solo.receive_bytes(raw(frame_type, &vec![b'x'; 4 + MAX_PAYLOAD + 1]));
        let (frames, close) = solo.frames_and_close();
        assert_eq!(frames, []);
        assert_eq!(close.map(|close| close.code), Some(1009));
        assert_eq!(solo.events(), []);
    }
}

#[test]
fn malformed_frames_during_a_close_change_nothing() {
    let mut solo = Solo::connected(Config::default());
    solo.close("end");
    let close = solo.frames_and_close().1;
    for (_, bytes) in malformed() {
        solo.receive_bytes(bytes);
    }
    solo.receive_bytes(raw(249, &vec![0; 4 + MAX_PAYLOAD + 1]));
    assert_eq!((solo.output(), solo.events()), (vec![], vec![]));
    solo.disconnect();
    assert_eq!(solo.events(), close.map(Event::Closed).into_iter().collect::<Vec<_>>());
}

#[test]
fn frames_after_the_end_change_nothing() {
    let mut solo = Solo::connected(Config::default());
    solo.disconnect();
    solo.events();
    for (_, bytes) in malformed() {
        solo.receive_bytes(bytes);
    }
    solo.receive(text_frame(1, "x"));
    solo.receive(bye_frame(2, "x"));
    solo.driver.input(Input::Timeout);
    solo.driver.input(Input::Verdict);
    solo.driver.input(Input::ReadingPaused(true));
    solo.driver.input(Input::violation(1002, "x"));
    assert_eq!((solo.output(), solo.events()), (vec![], vec![]));
}
