//! The base frames (PROTOCOL section 3): for each its length, decoder and encoder, and at the end
//! its bytes. `*_LEN` is the fixed part, sid and type included.

use bytes::{Bytes, BytesMut};

use super::Frame;
use super::error::DecodeError;
use super::reader::Reader;
use super::text::Text;
use super::types::FrameType;
use super::writer::Writer;

// ENDPOINT_INFO: ack u32, version u32, features u64.

pub(super) const ENDPOINT_INFO_LEN: usize = 25;

pub(super) fn decode_endpoint_info(mut body: Reader) -> Result<Frame, DecodeError> {
    let ack = body.u32("ack")?;
    let version = body.u32("version")?;
    let features = body.u64("features")?;
    body.end()?;
    Ok(Frame::EndpointInfo { ack, version, features })
}

pub(super) fn encode_endpoint_info(sid: u64, ack: u32, version: u32, features: u64, out: &mut BytesMut) {
    Writer::<ENDPOINT_INFO_LEN>::new(sid, FrameType::EndpointInfo).u32(ack).u32(version).u64(features).finish(&[], out);
}

// BYE: ack u32, reason. No reason and an empty one are the same bytes; one that is not UTF-8 counts as none.

pub(super) const BYE_LEN: usize = 13;

pub(super) fn decode_bye(mut body: Reader) -> Result<Frame, DecodeError> {
    let ack = body.u32("ack")?;
    let reason = Text::new(body.payload()?).unwrap_or_default();
    Ok(Frame::Bye { ack, reason })
}

pub(super) fn encode_bye(sid: u64, ack: u32, reason: &Text, out: &mut BytesMut) {
    Writer::<BYE_LEN>::new(sid, FrameType::Bye).u32(ack).finish(reason.as_bytes(), out);
}

// ACK: acknowledged ack u32.

pub(super) const ACK_LEN: usize = 13;

#[inline]
pub(super) fn decode_ack(mut body: Reader) -> Result<Frame, DecodeError> {
    let ack = body.u32("ack")?;
    body.end()?;
    Ok(Frame::Ack { ack })
}

#[inline]
pub(super) fn encode_ack(sid: u64, ack: u32, out: &mut BytesMut) {
    Writer::<ACK_LEN>::new(sid, FrameType::Ack).u32(ack).finish(&[], out);
}

// ERROR: ack u32, message.

pub(super) const ERROR_LEN: usize = 13;

pub(super) fn decode_error(mut body: Reader) -> Result<Frame, DecodeError> {
    let ack = body.u32("ack")?;
    let message = body.text("message")?;
    Ok(Frame::Error { ack, message })
}

pub(super) fn encode_error(sid: u64, ack: u32, message: &Text, out: &mut BytesMut) {
    Writer::<ERROR_LEN>::new(sid, FrameType::Error).u32(ack).finish(message.as_bytes(), out);
}

// PING_PONG: four bytes, one of two words.

pub(super) const PING_PONG_LEN: usize = 13;

const PING: [u8; 4] = *b"ping";
const PONG: [u8; 4] = *b"pong";

pub(super) fn decode_ping_pong(mut body: Reader) -> Result<Frame, DecodeError> {
    let payload = body.array("payload")?;
    body.end()?;
    match payload {
        PING => Ok(Frame::Ping),
        PONG => Ok(Frame::Pong),
        _ => Err(DecodeError::UnknownPing { payload }),
    }
}

pub(super) fn encode_ping(sid: u64, out: &mut BytesMut) {
    encode_ping_pong(sid, PING, out);
}

pub(super) fn encode_pong(sid: u64, out: &mut BytesMut) {
    encode_ping_pong(sid, PONG, out);
}

fn encode_ping_pong(sid: u64, payload: [u8; 4], out: &mut BytesMut) {
    Writer::<PING_PONG_LEN>::new(sid, FrameType::PingPong).array(payload).finish(&[], out);
}

// UTF8DATA: ack u32, text.

pub(super) const UTF8_LEN: usize = 13;

#[inline(always)]
pub(super) fn decode_utf8(mut body: Reader) -> Result<Frame, DecodeError> {
    let ack = body.u32("ack")?;
    let text = body.text("text")?;
    Ok(Frame::Utf8 { ack, text })
}

#[inline]
pub(super) fn encode_utf8(sid: u64, ack: u32, text: &Text, out: &mut BytesMut) {
    Writer::<UTF8_LEN>::new(sid, FrameType::Utf8Data).u32(ack).finish(text.as_bytes(), out);
}

// BINARYDATA: ack u32, bytes.

pub(super) const BINARY_LEN: usize = 13;

#[inline(always)]
pub(super) fn decode_binary(mut body: Reader) -> Result<Frame, DecodeError> {
    let ack = body.u32("ack")?;
    let data = body.payload()?;
    Ok(Frame::Binary { ack, data })
}

#[inline]
pub(super) fn encode_binary(sid: u64, ack: u32, data: &Bytes, out: &mut BytesMut) {
    Writer::<BINARY_LEN>::new(sid, FrameType::BinaryData).u32(ack).finish(data, out);
}

#[cfg(test)]
mod tests {
    use super::super::assert_bytes;
    use super::*;

    #[test]
    fn endpoint_info() {
        let frame = Frame::EndpointInfo { ack: 0x0102_0304, version: 1, features: 0x8000_0000_0000_0001 };
        assert_bytes(frame, b"\xff\x01\x02\x03\x04\0\0\0\x01\x80\0\0\0\0\0\0\x01", ENDPOINT_INFO_LEN);
    }

    #[test]
    fn bye() {
        let reason = Text::from("done");
        assert_bytes(Frame::Bye { ack: 7, reason }, b"\xfe\0\0\0\x07done", BYE_LEN + 4);
        let reason = Text::default();
        assert_bytes(Frame::Bye { ack: 7, reason }, b"\xfe\0\0\0\x07", BYE_LEN);
    }

    #[test]
    fn a_bye_whose_reason_is_not_utf8_is_one_without_a_reason() {
        let bytes = Bytes::from_static(b"\0\0\0\0\0\0\0\x09\xfe\0\0\0\x07ok\x80");
        assert_eq!(super::super::decode(bytes), Ok((9, Frame::Bye { ack: 7, reason: Text::default() })));
    }

    #[test]
    fn ack() {
        let ack = u32::MAX;
        assert_bytes(Frame::Ack { ack }, b"\xfd\xff\xff\xff\xff", ACK_LEN);
    }

    #[test]
    fn error() {
        let message = Text::from("no");
        assert_bytes(Frame::Error { ack: 256, message }, b"\xfc\0\0\x01\0no", ERROR_LEN + 2);
    }

    #[test]
    fn ping_pong() {
        assert_bytes(Frame::Ping, b"\xfbping", PING_PONG_LEN);
        assert_bytes(Frame::Pong, b"\xfbpong", PING_PONG_LEN);
    }

    #[test]
    fn utf8() {
        let text = Text::from("h\u{e9}");
        assert_bytes(Frame::Utf8 { ack: 1, text }, b"\xfa\0\0\0\x01h\xc3\xa9", UTF8_LEN + 3);
    }

    #[test]
    fn binary() {
        let data = Bytes::from_static(b"\xff\0");
        assert_bytes(Frame::Binary { ack: 1, data }, b"\xf9\0\0\0\x01\xff\0", BINARY_LEN + 2);
    }
}
