//! What holds for every frame and for any bytes.

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::checks;

proptest! {
    #![proptest_config(checks::cases(2000))]

    #[test]
    fn a_frame_survives_encoding_and_decoding(sid: u64, frame in any_frame()) {
        let bytes = encode(sid, &frame);
        prop_assert_eq!(bytes.len(), frame.encoded_len());
        prop_assert!(bytes.len() >= MIN_FRAME);
        prop_assert_eq!(decode(bytes), Ok((sid, frame)));
    }

    #[test]
    fn arbitrary_bytes_decode_or_are_refused(
        bytes in vec(any::<u8>(), 0..80),
        frame_type in any_type(),
    ) {
        check_bytes(bytes.clone())?;
        // Once more with a known type, which a random byte seldom is.
        let mut typed = bytes;
        mutate(&mut typed, &Mutation::Type(frame_type));
        check_bytes(typed)?;
    }

    #[test]
    fn damaged_frames_decode_or_are_refused(
        sid: u64,
        frame in any_frame(),
        mutations in vec(any_mutation(), 1..6),
    ) {
        let mut bytes = encode(sid, &frame).to_vec();
        for mutation in &mutations {
            mutate(&mut bytes, mutation);
        }
        check_bytes(bytes)?;
    }

    #[test]
    fn a_frame_cut_anywhere_decodes_or_is_refused(sid: u64, frame in any_frame()) {
        let bytes = encode(sid, &frame);
        for len in 0..bytes.len().min(MAX_HEADER + 8) {
            check_bytes(bytes[..len].to_vec())?;
        }
    }
}

/// Whatever decodes encodes to the same bytes, and peeking at it tells the same; whatever does not says so in
/// printable ASCII.
fn check_bytes(bytes: Vec<u8>) -> Result<(), TestCaseError> {
    let bytes = Bytes::from(bytes);
    match decode(bytes.clone()) {
        Ok((sid, frame)) => {
            prop_assert_eq!(peek_sid(&bytes), Some(sid));
            prop_assert_eq!(peek_type(&bytes), Some(frame.frame_type()));
            let reason_dropped = matches!(&frame, Frame::Bye { reason, .. } if reason.is_empty());
            let kept = if reason_dropped { base::BYE_LEN } else { bytes.len() };
            prop_assert_eq!(encode(sid, &frame), bytes.slice(..kept));
            prop_assert!(kept == bytes.len() || std::str::from_utf8(&bytes[kept..]).is_err());
            let peeked = peek_ack(&bytes).map(|(sid, ack)| (sid, Frame::Ack { ack }));
            let peeked = peeked.or_else(|| peek_message(&bytes).map(|(sid, ack, message)| (sid, owned(ack, message))));
            let peekable = matches!(frame, Frame::Ack { .. } | Frame::Utf8 { .. } | Frame::Binary { .. });
            prop_assert_eq!(peeked, peekable.then_some((sid, frame)));
        }
        Err(error) => {
            prop_assert_eq!(peek_ack(&bytes), None);
            prop_assert_eq!(peek_message(&bytes), None);
            let message = error.to_string();
            prop_assert!(message.len() < 100, "{}", message);
            prop_assert!(message.bytes().all(|b| (b' '..=b'~').contains(&b)), "{}", message);
        }
    }
    Ok(())
}

fn owned(ack: u32, message: Message<'_>) -> Frame {
    let bytes = Bytes::copy_from_slice(message.as_bytes());
    match message {
        Message::Binary(_) => Frame::Binary { ack, data: bytes },
        Message::Ascii(_) | Message::Utf8(_) => {
            assert_eq!(matches!(message, Message::Ascii(_)), bytes.is_ascii());
            Frame::Utf8 { ack, text: Text::new(bytes).expect("peeking has checked it") }
        }
    }
}

fn encode(sid: u64, frame: &Frame) -> Bytes {
    let mut out = BytesMut::new();
    frame.encode(sid, &mut out);
    out.freeze()
}

fn any_text() -> impl Strategy<Value = Text> {
    prop_oneof![vec(any::<char>(), 0..100), vec(proptest::char::range('\0', '\x7f'), 0..200),]
        .prop_map(|chars| Text::from(String::from_iter(chars)))
}

fn any_data() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..300).prop_map(Bytes::from)
}

fn any_frame() -> impl Strategy<Value = Frame> {
    let ack = any::<u32>;
    let tx_id = any::<u32>;
    prop_oneof![
        (ack(), any::<u32>(), any::<u64>())
            .prop_map(|(ack, version, features)| { Frame::EndpointInfo { ack, version, features } }),
        (ack(), any_text()).prop_map(|(ack, reason)| Frame::Bye { ack, reason }),
        ack().prop_map(|ack| Frame::Ack { ack }),
        (ack(), any_text()).prop_map(|(ack, message)| Frame::Error { ack, message }),
        Just(Frame::Ping),
        Just(Frame::Pong),
        (ack(), any_text()).prop_map(|(ack, text)| Frame::Utf8 { ack, text }),
        (ack(), any_data()).prop_map(|(ack, data)| Frame::Binary { ack, data }),
        (ack(), tx_id(), any::<i64>(), any::<u8>(), any_text()).prop_map(|(ack, tx_id, size, behaviour, name)| {
            Frame::TxStart(TxStart { ack, tx_id, size, behaviour, name })
        }),
        (tx_id(), any::<u64>(), any_data()).prop_map(|(tx_id, offset, data)| Frame::TxChunk { tx_id, offset, data }),
        (ack(), tx_id()).prop_map(|(ack, tx_id)| Frame::TxFinish { ack, tx_id }),
        (ack(), tx_id(), any::<u64>(), any::<u64>())
            .prop_map(|(ack, tx_id, start, end)| { Frame::TxFetch { ack, tx_id, start, end } }),
        (ack(), tx_id()).prop_map(|(ack, tx_id)| Frame::TxCancel { ack, tx_id }),
    ]
}

/// One change to a frame's bytes.
#[derive(Clone, Debug)]
enum Mutation {
    Set(Index, u8),
    Insert(Index, u8),
    Remove(Index),
    Truncate(Index),
    Type(FrameType),
}

fn any_type() -> impl Strategy<Value = FrameType> {
    let types: Vec<_> = (0..=255).filter_map(FrameType::from_u8).collect();
    proptest::sample::select(types)
}

fn any_mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        any::<(Index, u8)>().prop_map(|(at, byte)| Mutation::Set(at, byte)),
        any::<(Index, u8)>().prop_map(|(at, byte)| Mutation::Insert(at, byte)),
        any::<Index>().prop_map(Mutation::Remove),
        any::<Index>().prop_map(Mutation::Truncate),
        any_type().prop_map(Mutation::Type),
    ]
}

fn mutate(bytes: &mut Vec<u8>, mutation: &Mutation) {
    // An index needs something to point at.
    if bytes.len() < 9 {
        return;
    }
    match mutation {
        Mutation::Set(at, byte) => *at.get_mut(bytes) = *byte,
        Mutation::Insert(at, byte) => bytes.insert(at.index(bytes.len()), *byte),
        Mutation::Remove(at) => drop(bytes.remove(at.index(bytes.len()))),
        Mutation::Truncate(at) => bytes.truncate(at.index(bytes.len())),
        Mutation::Type(frame_type) => bytes[8] = *frame_type as u8,
    }
}
