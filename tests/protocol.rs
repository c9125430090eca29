//! The wire format against hand-written vectors, and its limits.

use bytes::{Bytes, BytesMut};
use camp_server::protocol::{
    DecodeError, Frame, FrameType, MAX_FRAME, MAX_NAME, MAX_PAYLOAD, Text, TxStart, decode, peek_sid, peek_type,
};
use serde_json::Value;

fn encode(sid: u64, frame: &Frame) -> Bytes {
    let mut out = BytesMut::new();
    frame.encode(sid, &mut out);
    out.freeze()
}

// Vectors.

fn vectors(json: &str) -> Vec<Value> {
    serde_json::from_str(json).expect("a JSON array")
}

fn string<'a>(vector: &'a Value, key: &str) -> &'a str {
    let value = vector[key].as_str();
    value.unwrap_or_else(|| panic!("{}: string {key}", vector["name"]))
}

fn text(vector: &Value, key: &str) -> Text {
    Text::from(string(vector, key).to_owned())
}

fn small<T: TryFrom<u64>>(vector: &Value, key: &str) -> T {
    let value = vector[key].as_u64().and_then(|n| T::try_from(n).ok());
    value.unwrap_or_else(|| panic!("{}: number {key}", vector["name"]))
}

fn large<T: std::str::FromStr>(vector: &Value, key: &str) -> T {
    let value = string(vector, key).parse().ok();
    value.unwrap_or_else(|| panic!("{}: decimal string {key}", vector["name"]))
}

fn hex(vector: &Value, key: &str) -> Vec<u8> {
    let (pairs, odd) = string(vector, key).as_bytes().as_chunks::<2>();
    assert!(odd.is_empty(), "{}: {key} has whole bytes", vector["name"]);
    let digit = |c: u8| char::from(c).to_digit(16).expect("a hex digit") as u8;
    pairs.iter().map(|[high, low]| digit(*high) * 16 + digit(*low)).collect()
}

fn frame_of(v: &Value) -> Frame {
    let ack = || small(v, "ack");
    let tx_id = || small(v, "txId");
    let data = || Bytes::from(hex(v, "data"));
    match string(v, "type") {
        "ENDPOINT_INFO" => {
            Frame::EndpointInfo { ack: ack(), version: small(v, "version"), features: large(v, "features") }
        }
        "BYE" => Frame::Bye { ack: ack(), reason: text(v, "reason") },
        "ACK" => Frame::Ack { ack: ack() },
        "ERROR" => Frame::Error { ack: ack(), message: text(v, "message") },
        "PING_PONG" => match string(v, "payload") {
            "ping" => Frame::Ping,
            "pong" => Frame::Pong,
            other => panic!("ping payload {other}"),
        },
        "UTF8DATA" => Frame::Utf8 { ack: ack(), text: text(v, "text") },
        "BINARYDATA" => Frame::Binary { ack: ack(), data: data() },
        "TX_START" => Frame::TxStart(TxStart {
            ack: ack(),
            tx_id: tx_id(),
            size: large(v, "size"),
            behaviour: small(v, "behaviour"),
            name: text(v, "txName"),
        }),
        "TX_CHUNK" => Frame::TxChunk { tx_id: tx_id(), offset: large(v, "offset"), data: data() },
        "TX_FINISH" => Frame::TxFinish { ack: ack(), tx_id: tx_id() },
        "TX_FETCH" => Frame::TxFetch { ack: ack(), tx_id: tx_id(), start: large(v, "start"), end: large(v, "end") },
        "TX_CANCEL" => Frame::TxCancel { ack: ack(), tx_id: tx_id() },
        other => panic!("type {other}"),
    }
}

#[test]
fn vectors_decode_to_their_fields_and_encode_to_their_bytes() {
    let mut seen = [false; 256];
    for vector in vectors(include_str!("vectors/frames.json")) {
        let name = string(&vector, "name");
        let bytes = Bytes::from(hex(&vector, "hex"));
        let (sid, frame) = (large(&vector, "sid"), frame_of(&vector));
        assert_eq!(decode(bytes.clone()), Ok((sid, frame.clone())), "{name}");
        assert_eq!(encode(sid, &frame), bytes, "{name}");
        assert_eq!(frame.frame_type().name(), string(&vector, "type"), "{name}");
        seen[frame.frame_type() as usize] = true;
    }
    let missing = (0..=255).filter_map(FrameType::from_u8);
    let missing: Vec<_> = missing.filter(|t| !seen[*t as usize]).collect();
    assert_eq!(missing, [], "every type has a vector");
}

fn variant(error: &DecodeError) -> &'static str {
    match error {
        DecodeError::TooShort { .. } => "TooShort",
        DecodeError::TrailingBytes { .. } => "TrailingBytes",
        DecodeError::UnknownType { .. } => "UnknownType",
        DecodeError::UnknownPing { .. } => "UnknownPing",
        DecodeError::InvalidUtf8 { .. } => "InvalidUtf8",
        DecodeError::PayloadTooLarge { .. } => "PayloadTooLarge",
    }
}

#[test]
fn bad_vectors_give_the_named_error() {
    for vector in vectors(include_str!("vectors/bad-frames.json")) {
        let name = string(&vector, "name");
        let mut bytes = hex(&vector, "hex");
        if let Some(fill) = vector.get("fill") {
            let count: usize = small(fill, "count");
            bytes.resize(bytes.len() + count, hex(fill, "byte")[0]);
        }
        let error = decode(bytes.into()).expect_err(name);
        assert_eq!(variant(&error), string(&vector, "error"), "{name}");
        assert_eq!(error.to_string(), string(&vector, "message"), "{name}");
        assert_eq!(error.is_oversize(), variant(&error) == "PayloadTooLarge");
    }
}

// Limits.

#[test]
fn a_payload_of_exactly_the_limit_is_accepted() {
    let data = Bytes::from(vec![0; MAX_PAYLOAD]);
    let text = Text::from("a".repeat(MAX_PAYLOAD));
    let frames = [
        Frame::Bye { ack: 1, reason: text.clone() },
        Frame::Error { ack: 1, message: text.clone() },
        Frame::Utf8 { ack: 1, text },
        Frame::Binary { ack: 1, data: data.clone() },
        Frame::TxChunk { tx_id: 1, offset: 0, data },
    ];
    for frame in frames {
        let bytes = encode(1, &frame);
        assert!(bytes.len() <= MAX_FRAME);
        assert!(decode(bytes) == Ok((1, frame)));
    }
}

#[test]
fn a_name_over_its_limit_is_left_to_the_session() {
    let start =
        Frame::TxStart(TxStart { ack: 1, tx_id: 1, size: 0, behaviour: 0, name: Text::from("n".repeat(MAX_NAME + 1)) });
    assert_eq!(decode(encode(1, &start)), Ok((1, start)));
}

#[test]
fn payloads_share_the_buffer_of_the_frame() {
    let data = Bytes::from(vec![7; 100]);
    let bytes = encode(1, &Frame::Binary { ack: 1, data });
    let payload_at = bytes[13..].as_ptr();
    let Ok((_, Frame::Binary { data, .. })) = decode(bytes) else {
        panic!("a BINARYDATA frame");
    };
    assert_eq!(data.as_ptr(), payload_at);
}

#[test]
fn encode_appends_and_keeps_what_is_there() {
    let mut out = BytesMut::from(&b"before"[..]);
    Frame::Ping.encode(1, &mut out);
    assert_eq!(&out[..], b"before\0\0\0\0\0\0\0\x01\xfbping");
}

#[test]
fn peeking_needs_only_the_bytes_it_reads() {
    let frame = [0, 0, 0, 0, 0, 0, 1, 0, 250];
    assert_eq!(peek_sid(&frame), Some(256));
    assert_eq!(peek_type(&frame), Some(FrameType::Utf8Data));
    assert_eq!(peek_sid(&frame[..8]), Some(256));
    assert_eq!(peek_type(&frame[..8]), None);
    assert_eq!(peek_sid(&frame[..7]), None);
    assert_eq!(peek_type(&[5; 13]), None);
}
