//! How a session begins (PROTOCOL section 4).

use super::driver::{Transmit, decode, ms};
use super::pair::{Pair, Side, Solo, bye_frame, info_frame, reason, text_frame, tiny, utf8, with_backpressure};
use crate::protocol::{FEATURE_TRANSACTIONS, Frame, Text, TxStart};
use crate::session::{Config, DropPolicy, Event, Outcome, Role};

fn transaction_frame() -> Frame {
    Frame::TxStart(TxStart { ack: 1, tx_id: 0, size: -1, behaviour: 0, name: Text::default() })
}

#[test]
fn both_sides_send_endpoint_info_first_with_ack_0_and_acknowledge_the_others() {
    let mut pair = Pair::new(Config::default());
    pair.send(Side::Server, utf8("from the server"));
    pair.send(Side::Peer, utf8("from the peer"));
    pair.deliver();
    for side in [Side::Server, Side::Peer] {
        let sent = std::mem::take(&mut pair.end(side).polled);
        let sent = sent.into_iter().map(|transmit| match transmit {
            Transmit::Frame(bytes) => decode(&bytes),
            other => panic!("{other:?}"),
        });
        let sent: Vec<_> = sent.collect();
        assert_eq!(sent[0], Frame::EndpointInfo { ack: 0, version: 1, features: FEATURE_TRANSACTIONS });
        assert!(sent.contains(&Frame::Ack { ack: 0 }), "{side:?}");
        assert_eq!(pair.end(side).events[0], Event::Connected);
        assert_eq!(pair.end(side).ledger.outcome(0), Some(Outcome::Done));
    }
    assert_eq!(pair.messages(Side::Server), [utf8("from the peer")]);
    assert_eq!(pair.messages(Side::Peer), [utf8("from the server")]);
}

#[test]
fn the_configured_features_are_announced() {
    let config = Config { features: FEATURE_TRANSACTIONS, ..Config::default() };
    let mut solo = Solo::new(Role::Peer, config);
    assert_eq!(solo.frames(), [info_frame(0)]);
}

#[test]
fn a_server_holds_its_first_frame_for_50_ms() {
    let mut solo = Solo::server();
    solo.send_text("a");
    assert_eq!(solo.timeout_ms(), Some(50));
    solo.advance(49);
    assert_eq!(solo.frames(), []);
    solo.advance(1);
    let frames = solo.frames();
    assert!(matches!(frames[0], Frame::EndpointInfo { ack: 0, .. }));
    assert_eq!(frames[1..], [text_frame(1, "a")]);
}

#[test]
fn a_servers_hold_ends_with_the_peers_first_frame() {
    let mut solo = Solo::server();
    solo.advance(10);
    solo.receive(info_frame(0));
    let frames = solo.frames();
    assert!(matches!(frames[0], Frame::EndpointInfo { ack: 0, .. }));
    assert_eq!(frames[1..], [Frame::Ack { ack: 0 }]);
}

#[test]
fn even_a_malformed_first_frame_ends_the_hold() {
    let mut solo = Solo::server();
    solo.receive_bytes(&b""[..]);
    let frames = solo.frames();
    assert!(matches!(frames[0], Frame::EndpointInfo { ack: 0, .. }));
    assert!(matches!(frames[1], Frame::Error { ack: 1, .. }));
}

#[test]
fn a_close_during_the_hold_goes_out_when_it_ends() {
    let mut solo = Solo::server();
    solo.close("early");
    assert_eq!(solo.output(), []);
    solo.advance(50);
    let (frames, close) = solo.frames_and_close();
    assert!(matches!(frames[0], Frame::EndpointInfo { ack: 0, .. }));
    assert_eq!(frames[1..], [bye_frame(1, "early")]);
    assert_eq!(close, Some(reason(4000, "early")));
}

#[test]
fn a_peer_speaks_at_once() {
    let mut solo = Solo::new(Role::Peer, Config::default());
    assert!(matches!(solo.frames()[..], [Frame::EndpointInfo { ack: 0, .. }]));
}

#[test]
fn another_version_is_closed_with_4001_and_a_reason_that_names_both() {
    for version in [0, 2, u32::MAX] {
        let mut solo = Solo::server();
        let (ack, features) = (0, 0);
        solo.receive(Frame::EndpointInfo { ack, version, features });
        let (frames, close) = solo.frames_and_close();
        assert!(!frames.contains(&Frame::Ack { ack: 0 }));
        let close = close.expect("a close frame");
        assert_eq!(close.code, 4001);
        let words: Vec<_> = close.reason.split(|c: char| !c.is_numeric()).collect();
        assert!(words.contains(&version.to_string().as_str()), "{close:?}");
        assert!(words.contains(&"1"), "{close:?}");
        assert_eq!(solo.events(), []);
        solo.disconnect();
        assert_eq!(solo.events(), [Event::Closed(close)]);
    }
}

#[test]
fn connected_comes_once_whatever_the_peer_repeats() {
    let mut solo = Solo::connected(Config::default());
    solo.receive(info_frame(1));
    solo.receive(info_frame(1));
    let again = Frame::Ack { ack: 1 };
    assert_eq!(solo.frames(), [again.clone(), again]);
    assert_eq!(solo.events(), []);
}

#[test]
fn a_peer_that_acknowledged_ours_and_sends_none_counts_as_connected_after_1_s() {
    let mut solo = Solo::server();
    solo.advance(200);
    solo.acknowledge(0);
    assert_eq!(solo.timeout_ms(), Some(1200));
    solo.advance(999);
    assert_eq!(solo.events(), []);
    solo.advance(1);
    assert_eq!(solo.events(), [Event::Connected]);

    solo.receive(info_frame(0));
    assert_eq!(solo.frames().last(), Some(&Frame::Ack { ack: 0 }));
    solo.advance(2000);
    assert_eq!(solo.events(), []);
}

#[test]
fn a_peer_that_announces_itself_within_that_second_connects_once() {
    let mut solo = Solo::server();
    solo.advance(200);
    solo.acknowledge(0);
    solo.advance(500);
    solo.receive(info_frame(0));
    assert_eq!(solo.events(), [Event::Connected]);
    solo.advance(2000);
    assert_eq!(solo.events(), []);
}

#[test]
fn a_peer_that_says_nothing_is_not_connected() {
    let mut solo = Solo::server();
    solo.advance(5000);
    assert_eq!(solo.events(), []);
}

#[test]
fn the_first_transaction_frame_of_a_peer_that_announced_nothing_connects_it() {
    let features = FEATURE_TRANSACTIONS;
    let config = Config { features, ..Config::default() };
    let mut solo = Solo::new(Role::Server, config);
    solo.receive(transaction_frame());
    assert_eq!(solo.events().first(), Some(&Event::Connected));
}

#[test]
fn a_transaction_frame_where_one_side_lacks_the_feature_is_closed_with_4002() {
    let ours_and_theirs = [(0, FEATURE_TRANSACTIONS), (FEATURE_TRANSACTIONS, 0), (0, 0)];
    for (ours, theirs) in ours_and_theirs {
        let config = Config { features: ours, ..Config::default() };
        let mut solo = Solo::new(Role::Server, config);
        let (ack, version, features) = (0, 1, theirs);
        solo.receive(Frame::EndpointInfo { ack, version, features });
        solo.receive(transaction_frame());
        let (frames, close) = solo.frames_and_close();
        assert!(!frames.contains(&Frame::Ack { ack: 1 }));
        assert_eq!(close.map(|close| close.code), Some(4002));
    }
}

#[test]
fn base_frames_before_endpoint_info_are_handled_as_usual() {
    let mut solo = Solo::server();
    solo.receive(text_frame(5, "early"));
    solo.receive(Frame::Ping);
    let answers = [Frame::Ack { ack: 5 }, Frame::Pong];
    assert_eq!(solo.frames()[1..], answers);
    assert_eq!(solo.messages(), [utf8("early")]);
}

#[test]
fn tiny_limits_and_a_peer_that_reads_slowly_do_not_lose_the_exchange() {
    let mut pair = Pair::new(with_backpressure(tiny(DropPolicy::Newest)));
    for side in [Side::Server, Side::Peer] {
        pair.end(side).stop_writing();
    }
    for _ in 0..200 {
        pair.end(Side::Server).write(1);
        pair.end(Side::Peer).write(1);
        pair.advance(ms(1));
    }
    for side in [Side::Server, Side::Peer] {
        assert_eq!(pair.end(side).events, [Event::Connected]);
    }
}
