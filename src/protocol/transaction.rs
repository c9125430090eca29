//! The transaction frames (PROTOCOL section 3): for each its length, decoder and encoder, and at
//! the end its bytes. `*_LEN` is the fixed part, sid and type included.

use bytes::{Bytes, BytesMut};

use super::Frame;
use super::error::DecodeError;
use super::reader::Reader;
use super::text::Text;
use super::types::FrameType;
use super::writer::Writer;

/// TX_START: opens a transaction (PROTOCOL sections 3 and 5).
///
/// Values that the protocol forbids are kept as they came: the session answers them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxStart {
    /// The sender's number for this frame.
    pub ack: u32,
    /// The sender's number for the transaction.
    pub tx_id: u32,
    /// Length of the stream in bytes, -1 if unknown.
    pub size: i64,
    /// The behaviour byte, see [`Behaviour::from_u8`](super::Behaviour::from_u8).
    pub behaviour: u8,
    /// The transaction's name. Empty means `anonymous`.
    pub name: Text,
}

// TX_START: ack u32, txId u32, size i64, behaviour u8, name.

pub(super) const START_LEN: usize = 26;

pub(super) fn decode_start(mut body: Reader) -> Result<Frame, DecodeError> {
    let ack = body.u32("ack")?;
    let tx_id = body.u32("txId")?;
    let size = body.i64("size")?;
    let behaviour = body.u8("behaviour")?;
    let name = body.text("name")?;
    Ok(Frame::TxStart(TxStart { ack, tx_id, size, behaviour, name }))
}

pub(super) fn encode_start(sid: u64, start: &TxStart, out: &mut BytesMut) {
    Writer::<START_LEN>::new(sid, FrameType::TxStart)
        .u32(start.ack)
        .u32(start.tx_id)
        .i64(start.size)
        .u8(start.behaviour)
        .finish(start.name.as_bytes(), out);
}

// TX_CHUNK: txId u32, offset u64, bytes.

pub(super) const CHUNK_LEN: usize = 21;

#[inline]
pub(super) fn decode_chunk(mut body: Reader) -> Result<Frame, DecodeError> {
    let tx_id = body.u32("txId")?;
    let offset = body.u64("offset")?;
    let data = body.payload()?;
    Ok(Frame::TxChunk { tx_id, offset, data })
}

#[inline]
pub(super) fn encode_chunk(sid: u64, tx_id: u32, offset: u64, data: &Bytes, out: &mut BytesMut) {
    Writer::<CHUNK_LEN>::new(sid, FrameType::TxChunk).u32(tx_id).u64(offset).finish(data, out);
}

// TX_FINISH: ack u32, txId u32.

pub(super) const FINISH_LEN: usize = 17;

pub(super) fn decode_finish(mut body: Reader) -> Result<Frame, DecodeError> {
    let ack = body.u32("ack")?;
    let tx_id = body.u32("txId")?;
    body.end()?;
    Ok(Frame::TxFinish { ack, tx_id })
}

pub(super) fn encode_finish(sid: u64, ack: u32, tx_id: u32, out: &mut BytesMut) {
    Writer::<FINISH_LEN>::new(sid, FrameType::TxFinish).u32(ack).u32(tx_id).finish(&[], out);
}

// TX_FETCH: ack u32, txId u32, start u64, end u64.

pub(super) const FETCH_LEN: usize = 33;

pub(super) fn decode_fetch(mut body: Reader) -> Result<Frame, DecodeError> {
    let ack = body.u32("ack")?;
    let tx_id = body.u32("txId")?;
    let start = body.u64("start")?;
    let end = body.u64("end")?;
    body.end()?;
    Ok(Frame::TxFetch { ack, tx_id, start, end })
}

pub(super) fn encode_fetch(sid: u64, ack: u32, tx_id: u32, start: u64, end: u64, out: &mut BytesMut) {
    Writer::<FETCH_LEN>::new(sid, FrameType::TxFetch).u32(ack).u32(tx_id).u64(start).u64(end).finish(&[], out);
}

// TX_CANCEL: ack u32, txId u32.

pub(super) const CANCEL_LEN: usize = 17;

pub(super) fn decode_cancel(mut body: Reader) -> Result<Frame, DecodeError> {
    let ack = body.u32("ack")?;
    let tx_id = body.u32("txId")?;
    body.end()?;
    Ok(Frame::TxCancel { ack, tx_id })
}

pub(super) fn encode_cancel(sid: u64, ack: u32, tx_id: u32, out: &mut BytesMut) {
    Writer::<CANCEL_LEN>::new(sid, FrameType::TxCancel).u32(ack).u32(tx_id).finish(&[], out);
}

#[cfg(test)]
mod tests {
    use super::super::assert_bytes;
    use super::*;

    #[test]
    fn start() {
        let start = TxStart { ack: 1, tx_id: 2, size: -1, behaviour: 0, name: Text::from("a") };
        assert_bytes(
            Frame::TxStart(start),
            b"\x00\0\0\0\x01\0\0\0\x02\xff\xff\xff\xff\xff\xff\xff\xff\0a",
            START_LEN + 1,
        );
    }

    #[test]
    fn chunk() {
        let frame = Frame::TxChunk { tx_id: 2, offset: 0x0102_0304_0506_0708, data: Bytes::from_static(b"abc") };
        assert_bytes(frame, b"\x01\0\0\0\x02\x01\x02\x03\x04\x05\x06\x07\x08abc", CHUNK_LEN + 3);
    }

    #[test]
    fn finish() {
        let frame = Frame::TxFinish { ack: 3, tx_id: 2 };
        assert_bytes(frame, b"\x02\0\0\0\x03\0\0\0\x02", FINISH_LEN);
    }

    #[test]
    fn fetch() {
        let frame = Frame::TxFetch { ack: 3, tx_id: 2, start: 256, end: u64::MAX };
        assert_bytes(frame, b"\x03\0\0\0\x03\0\0\0\x02\0\0\0\0\0\0\x01\0\xff\xff\xff\xff\xff\xff\xff\xff", FETCH_LEN);
    }

    #[test]
    fn cancel() {
        let frame = Frame::TxCancel { ack: 3, tx_id: 2 };
        assert_bytes(frame, b"\x04\0\0\0\x03\0\0\0\x02", CANCEL_LEN);
    }
}
