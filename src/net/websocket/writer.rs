//! Writes messages.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::AsyncWrite;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::{End, FINAL_BINARY, blocks, mask};

/// Room for message ends that an idle connection keeps.
const SPARE_MESSAGES: usize = 128;

/// The writing half of a connection.
///
/// Per wake: [`Self::begin`], then [`Self::put`] while there is [`Self::has_room`], then
/// [`Self::poll_flush`]; at the end [`Self::rest`].
#[derive(Debug)]
pub(in crate::net) struct Writer {
    end: End,
    /// Encoded and not yet taken by the socket. Between batches usually nothing.
    block: BytesMut,
    /// The payload of the message put last, when it is too large to be copied. It follows the block.
    payload: Bytes,
    /// For each message that is not written whole: where it ends in the stream of all bytes, and
    /// its length without header.
    messages: VecDeque<(u64, usize)>,
    /// Bytes put, and taken by the socket, since the connection began.
    put: u64,
    written: u64,
    /// The latest ping not yet answered: a flood of them is answered once.
    pong: Option<Bytes>,
    /// The close frame has been put; nothing is put behind it.
    closed: bool,
    /// The connection has more to do than to take what was put.
    flushing: bool,
}

impl Writer {
    pub(in crate::net) fn new(end: End) -> Self {
        let (block, payload, messages) = Default::default();
        Writer { end, block, payload, messages, put: 0, written: 0, pong: None, closed: false, flushing: false }
    }

    /// Begins a batch: until [`Self::rest`] the thread's block belongs to this writer.
    pub(in crate::net) fn begin(&mut self) {
        if self.block.is_empty() && self.block.capacity() < blocks::BLOCK {
            self.block = blocks::take_writing();
        }
    }

    /// Ends a batch. What the socket did not take is kept together with the block: the thread gets
    /// another one.
    pub(in crate::net) fn rest(&mut self) {
        if self.block.is_empty() {
            blocks::return_writing(std::mem::take(&mut self.block));
        }
        if self.is_flushed() {
            self.messages.shrink_to(SPARE_MESSAGES);
        }
    }

    /// Gives back what memory an idle connection does not need.
    pub(in crate::net) fn trim(&mut self) {
        if self.messages.is_empty() {
            self.messages = VecDeque::new();
        }
    }

    /// Whether another message may be put before the socket takes what is there.
    #[inline]
    pub(in crate::net) fn has_room(&self) -> bool {
        self.block.len() < blocks::BLOCK && self.payload.is_empty() && !self.closed
    }

    /// Puts a binary message of `length` bytes, appended by `encode`.
    #[inline]
    pub(in crate::net) fn put(&mut self, length: usize, encode: impl FnOnce(&mut BytesMut)) {
        let before = self.block.len();
        let key = self.put_header(OpCode::Data(Data::Binary), length);
        let payload = self.block.len();
        encode(&mut self.block);
        if let Some(key) = key {
            self.mask_from(payload, key);
        }
        self.count_put(before);
        self.messages.push_back((self.put, length));
    }

    /// Puts a binary message of `length` bytes, the first of which `encode` appends. The payload it
    /// gives is the rest, and is written from where it lies, unless it has to be masked.
    pub(in crate::net) fn put_large<'a>(
        &mut self,
        length: usize,
        encode: impl FnOnce(&mut BytesMut) -> Option<&'a Bytes>,
    ) {
        let before = self.block.len();
        let key = self.put_header(OpCode::Data(Data::Binary), length);
        let start = self.block.len();
        let payload = encode(&mut self.block).cloned().unwrap_or_default();
        if let Some(key) = key {
            self.block.extend_from_slice(&payload);
            self.mask_from(start, key);
        } else {
            self.payload = payload;
        }
        self.count_put(before);
        self.put = self.put.saturating_add(self.payload.len() as u64);
        self.messages.push_back((self.put, length));
    }

    /// Answers a ping, before the next message.
    pub(in crate::net) fn put_pong(&mut self, payload: Bytes) {
        self.pong = Some(payload);
    }

    /// Puts the close frame; the first one counts.
    pub(in crate::net) fn put_close(&mut self, close: Option<(u16, &str)>) {
        if self.closed {
            return;
        }
        let mut payload = Vec::new();
        if let Some((code, reason)) = close {
            payload.extend_from_slice(&code.to_be_bytes());
            payload.extend_from_slice(reason.as_bytes());
        }
        self.put_control(Control::Close, &payload);
        self.closed = true;
    }

    /// Gives the socket what it takes. Ready when nothing is left.
    pub(in crate::net) fn poll_flush(
        &mut self,
        io: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if self.has_room()
            && let Some(pong) = self.pong.take()
        {
            self.put_control(Control::Pong, &pong);
        }
        while !self.is_flushed() {
            let taken = if self.payload.is_empty() {
                ready!(Pin::new(&mut *io).poll_write(cx, &self.block))?
            } else {
                let slices = [IoSlice::new(&self.block), IoSlice::new(&self.payload)];
                ready!(Pin::new(&mut *io).poll_write_vectored(cx, &slices))?
            };
            if taken == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written = self.written.saturating_add(taken as u64);
            let of_block = taken.min(self.block.len());
            self.block.advance(of_block);
            self.payload.advance(taken.saturating_sub(of_block).min(self.payload.len()));
        }
        // Its memory may be wanted for what comes next.
        self.payload = Bytes::new();
        let flushed = Pin::new(io).poll_flush(cx);
        self.flushing = flushed.is_pending();
        flushed
    }

    /// Bytes of the messages that have been written whole since the last call, headers not counted.
    #[inline]
    pub(in crate::net) fn take_written(&mut self) -> usize {
        if self.is_flushed() {
            return self.messages.drain(..).map(|(_, length)| length).sum();
        }
        let mut bytes = 0;
        while let Some(&(end, length)) = self.messages.front() {
            if end > self.written {
                break;
            }
            bytes = length.saturating_add(bytes);
            self.messages.pop_front();
        }
        bytes
    }

    /// Whether the socket has taken everything that was put.
    #[inline]
    pub(in crate::net) fn is_flushed(&self) -> bool {
        self.block.is_empty() && self.payload.is_empty()
    }

    /// Whether there is nothing that waits for the socket.
    pub(in crate::net) fn is_idle(&self) -> bool {
        self.is_flushed() && self.pong.is_none() && !self.flushing
    }

    /// Whether the close frame has been put.
    pub(in crate::net) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether the close frame has been put and taken.
    pub(in crate::net) fn close_is_out(&self) -> bool {
        self.closed && self.is_flushed()
    }

    /// Copies a large payload, so that more can be put behind it although the socket has not taken it.
    pub(in crate::net) fn make_room(&mut self) {
        let pending = std::mem::take(&mut self.payload);
        self.block.extend_from_slice(&pending);
    }

    fn put_control(&mut self, control: Control, payload: &[u8]) {
        self.make_room();
        let before = self.block.len();
        let key = self.put_header(OpCode::Control(control), payload.len());
        let start = self.block.len();
        self.block.put_slice(payload);
        if let Some(key) = key {
            self.mask_from(start, key);
        }
        self.count_put(before);
    }

    /// Masks what stands in the block from `start` on.
    fn mask_from(&mut self, start: usize, key: [u8; 4]) {
        mask::apply(self.block.get_mut(start..).unwrap_or_default(), key, 0);
    }

    /// The block had `before` bytes before something was put.
    #[inline]
    fn count_put(&mut self, before: usize) {
        self.put = self.put.saturating_add(self.block.len().saturating_sub(before) as u64);
    }

    /// Gives the key that the payload is to be masked with.
    #[inline]
    fn put_header(&mut self, opcode: OpCode, length: usize) -> Option<[u8; 4]> {
        let mask = match self.end {
            End::Server => None,
            End::Client => Some(mask::fresh_key()),
        };
        if let (None, OpCode::Data(Data::Binary), 0..=125) = (mask, opcode, length) {
            self.block.extend_from_slice(&[FINAL_BINARY, length as u8]);
            return None;
        }
        let header = FrameHeader { is_final: true, opcode, mask, ..FrameHeader::default() };
        // Writing to memory does not fail.
        let _ = header.format(length as u64, &mut (&mut self.block).writer());
        mask
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// The first frame of `block`: its mask, and its payload without it.
    fn take_frame(block: &mut BytesMut) -> (Option<[u8; 4]>, Vec<u8>) {
        let mut cursor = Cursor::new(&block[..]);
        let (header, length) = FrameHeader::parse(&mut cursor).unwrap().unwrap();
        let at = cursor.position() as usize;
        let mut payload = block.split_to(at + length as usize).split_off(at).to_vec();
        if let Some(key) = header.mask {
            mask::apply(&mut payload, key, 0);
        }
        (header.mask, payload)
    }

    #[test]
    fn what_is_put_behind_a_large_payload_that_has_room_made_for_it_follows_it() {
        let mut writer = Writer::new(End::Server);
        let large = Bytes::from(vec![7; 40_000]);
        writer.put_large(large.len() + 1, |out| {
            out.put_u8(6);
            Some(&large)
        });
        assert!(!writer.has_room());
        writer.make_room();
        writer.put(3, |out| out.put_slice(b"ack"));
        writer.put_close(Some((1000, "")));
        let (_, payload) = take_frame(&mut writer.block);
        assert_eq!((payload.len(), payload[0], payload[40_000]), (40_001, 6, 7));
        assert_eq!(take_frame(&mut writer.block).1, b"ack");
        assert_eq!(take_frame(&mut writer.block).1, 1000u16.to_be_bytes());
        assert!(writer.block.is_empty() && writer.is_closed());
    }

    #[test]
    fn a_client_masks_every_frame_and_a_server_none() {
        let lengths = [0, 1, 125, 126, 65_535, 65_536];
        for end in [End::Client, End::Server] {
            let mut writer = Writer::new(end);
            for length in lengths {
                writer.put(length, |out| out.put_bytes(0x5a, length));
            }
            writer.put_close(Some((4000, "bye")));
            let mut keys = Vec::new();
            for length in lengths {
                let (key, payload) = take_frame(&mut writer.block);
                assert_eq!(payload, vec![0x5a; length]);
                keys.push(key);
            }
            let (key, payload) = take_frame(&mut writer.block);
            assert_eq!(payload, b"\x0f\xa0bye");
            keys.push(key);
            assert!(keys.iter().all(|key| key.is_some() == (end == End::Client)));
            if end == End::Client {
                keys.sort();
                keys.dedup();
                // Seven random keys of which three are the same would be a wonder.
                assert!(keys.len() >= 6, "{keys:?}");
            }
        }
    }
}
