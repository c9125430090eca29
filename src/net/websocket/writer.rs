//! Writes a server's messages.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::AsyncWrite;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::blocks;

/// Room for message ends that an idle connection keeps.
const SPARE_MESSAGES: usize = 16;

/// The writing half of a connection.
///
/// Per wake: [`Self::begin`], then [`Self::put`] while there is [`Self::has_room`], then
/// [`Self::poll_flush`]; at the end [`Self::rest`].
#[derive(Debug, Default)]
pub(in crate::net) struct Writer {
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
}

impl Writer {
    /// Begins a batch: until [`Self::rest`] the thread's block belongs to this writer.
    pub(in crate::net) fn begin(&mut self) {
        if self.block.is_empty() {
            self.block = blocks::take_writing();
        }
    }

    /// Ends a batch. What the socket did not take is kept together with the block: the thread gets
    /// another one.
    pub(in crate::net) fn rest(&mut self) {
        if self.is_flushed() {
            blocks::return_writing(std::mem::take(&mut self.block));
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
        self.put_header(OpCode::Data(Data::Binary), length);
        encode(&mut self.block);
        self.put += (self.block.len() - before) as u64;
        self.messages.push_back((self.put, length));
    }

    /// Puts a binary message of `length` bytes, the first of which `encode` appends. The payload it
    /// gives is the rest, and is written from where it lies.
    pub(in crate::net) fn put_large<'a>(
        &mut self,
        length: usize,
        encode: impl FnOnce(&mut BytesMut) -> Option<&'a Bytes>,
    ) {
        let before = self.block.len();
        self.put_header(OpCode::Data(Data::Binary), length);
        self.payload = encode(&mut self.block).cloned().unwrap_or_default();
        self.put += (self.block.len() - before + self.payload.len()) as u64;
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
            self.written += taken as u64;
            let of_block = taken.min(self.block.len());
            self.block.advance(of_block);
            self.payload.advance(taken - of_block);
        }
        // Its memory may be wanted for what comes next.
        self.payload = Bytes::new();
        Pin::new(io).poll_flush(cx)
    }

    /// Bytes of the messages that have been written whole since the last call, headers not counted.
    #[inline]
    pub(in crate::net) fn take_written(&mut self) -> usize {
        let mut bytes = 0;
        while let Some(&(end, length)) = self.messages.front() {
            if end > self.written {
                break;
            }
            bytes += length;
            self.messages.pop_front();
        }
        bytes
    }

    /// Whether the socket has taken everything that was put.
    #[inline]
    pub(in crate::net) fn is_flushed(&self) -> bool {
        self.block.is_empty() && self.payload.is_empty()
    }

    /// Whether the close frame has been put and taken.
    pub(in crate::net) fn close_is_out(&self) -> bool {
        self.closed && self.is_flushed()
    }

    fn put_control(&mut self, control: Control, payload: &[u8]) {
        // It comes behind what was put before.
        let pending = std::mem::take(&mut self.payload);
        self.block.extend_from_slice(&pending);
        let before = self.block.len();
        self.put_header(OpCode::Control(control), payload.len());
        self.block.put_slice(payload);
        self.put += (self.block.len() - before) as u64;
    }

    #[inline]
    fn put_header(&mut self, opcode: OpCode, length: usize) {
        let header = FrameHeader { is_final: true, opcode, ..FrameHeader::default() };
        // Writing to memory does not fail.
        let _ = header.format(length as u64, &mut (&mut self.block).writer());
    }
}
