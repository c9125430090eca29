//! Writing: what the session has to send, as far as the socket takes it.

use std::task::{Context, Poll};
use std::time::Instant;

use bytes::BytesMut;

use super::{Driver, Stage};
use crate::net::sends::{self, Sends};
use crate::net::trace::Direction;
use crate::protocol::{self, Frame};
use crate::session::{CloseReason, Input, Session, Transmit};

/// The payload of frames from this size on is written from where it lies.
const LARGE_FRAME: usize = 32 << 10;

impl Driver {
    /// Writes what the session has to send, as far as the socket takes it.
    pub(super) fn write(&mut self, cx: &mut Context<'_>, now: Instant) {
        if self.stage == Stage::Over || self.session.is_overdue() {
            return self.disconnect(now);
        }
        let was_paused = self.session.is_paused();
        self.writer.begin();
        while self.write_batch(cx, now) {}
        self.writer.rest();
        if self.server.config.trace.backpressure && was_paused != self.session.is_paused() {
            let verb = if was_paused { "resumes" } else { "pauses" };
            self.server.config.trace.backpressure(self.session.sid(), format_args!("sending {verb}"));
        }
    }

    /// Sends the application's messages: straight into the writer as far as nothing goes before them.
    pub(super) fn send(&mut self, sends: Sends, congested: bool) {
        let sid = self.session.sid();
        self.writer.begin();
        self.fill(sid, Session::poll_queued);
        sends.for_each(|kind, range, bytes| {
            let Some(payload) = bytes.get(range.clone()) else { return };
            let length = protocol::data_len(payload.len());
            let at_once = !congested && self.writer.has_room() && length < LARGE_FRAME;
            if let Some(ack) = if at_once { self.session.send_now(payload.len()) } else { None } {
                self.put_with(length, |out| protocol::encode_data(sid, kind.frame_type(), ack, payload, out));
                return;
            }
            let payload = sends::payload(kind, bytes.slice(range));
            // What waits for a slow reader must not keep alive the batch it came with.
            self.session.send(if congested { payload.detached() } else { payload });
        });
    }

    /// Puts what the peer is owed although it has ended the connection: nobody else would.
    pub(super) fn put_owed(&mut self) {
        // Nothing goes behind a close frame.
        if self.writer.is_closed() {
            return;
        }
        let sid = self.session.sid();
        self.writer.begin();
        // There is no later: it is put whatever waits for the socket.
        self.writer.make_room();
        for transmit in self.session.take_owed() {
            self.put_transmit(sid, transmit);
        }
    }

    /// Puts what `poll` gives, while there is room.
    #[inline(always)]
    fn fill(&mut self, sid: u64, mut poll: impl FnMut(&mut Session) -> Option<Transmit>) {
        while self.writer.has_room() {
            match poll(&mut self.session) {
                None => break,
                Some(transmit) => self.put_transmit(sid, transmit),
            }
        }
    }

    #[inline(always)]
    fn put_transmit(&mut self, sid: u64, transmit: Transmit) {
        match transmit {
            Transmit::Frame(frame) => self.put(sid, &frame),
            Transmit::Acks { first, count } => {
                for n in 0..count {
                    self.put(sid, &Frame::Ack { ack: first.wrapping_add(n) });
                }
            }
            Transmit::Close(CloseReason { code, reason }) => self.writer.put_close(Some((code, &reason))),
        }
    }

    #[inline]
    fn put(&mut self, sid: u64, frame: &Frame) {
        let length = frame.encoded_len();
        if length < LARGE_FRAME || self.server.config.trace.frames() {
            self.put_with(length, |out| frame.encode(sid, out));
        } else {
            self.figures.frames_tx = self.figures.frames_tx.saturating_add(1);
            self.writer.put_large(length, |out| frame.encode_head(sid, out));
        }
    }

    /// Puts a frame of that length, appended by `encode`.
    #[inline]
    fn put_with(&mut self, length: usize, encode: impl FnOnce(&mut BytesMut)) {
        self.figures.frames_tx = self.figures.frames_tx.saturating_add(1);
        let trace = &self.server.config.trace;
        self.writer.put(length, |out| {
            let start = out.len();
            encode(out);
            trace.frame(Direction::Out, out.get(start..).unwrap_or_default());
        });
    }

    /// Fills the writer once and flushes it. True when the session may have more to send.
    fn write_batch(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let sid = self.session.sid();
        self.fill(sid, Session::poll_transmit);
        let filled = !self.writer.has_room();
        let flushed = self.writer.poll_flush(&mut self.transport, cx);
        if let Poll::Ready(Err(_)) = flushed {
            self.disconnect(now);
            return false;
        }
        let written = self.writer.take_written();
        if written > 0 {
            let was_paused = self.session.is_paused();
            self.session.handle(Input::Written(written), now);
            return flushed.is_ready() && (filled || was_paused);
        }
        false
    }
}
