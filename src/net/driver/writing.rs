//! Writing: what the session has to send, as far as the socket takes it.

use std::task::{Context, Poll};
use std::time::Instant;

use super::{Driver, Stage};
use crate::net::trace::Direction;
use crate::protocol::Frame;
use crate::session::{CloseReason, Input, Transmit};

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

    #[inline]
    fn put(&mut self, sid: u64, frame: &Frame) {
        self.figures.frames_tx += 1;
        let length = frame.encoded_len();
        let trace = &self.server.config.trace;
        if length < LARGE_FRAME || trace.frames() {
            self.writer.put(length, |out| {
                let start = out.len();
                frame.encode(sid, out);
                trace.frame(Direction::Out, &out[start..]);
            });
        } else {
            self.writer.put_large(length, |out| frame.encode_head(sid, out));
        }
    }

    /// Fills the writer once and flushes it. True when the session may have more to send.
    fn write_batch(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let sid = self.session.sid();
        while self.writer.has_room() {
            match self.session.poll_transmit() {
                None => break,
                Some(Transmit::Frame(frame)) => self.put(sid, &frame),
                Some(Transmit::Acks { first, count }) => {
                    for n in 0..count {
                        self.put(sid, &Frame::Ack { ack: first.wrapping_add(n) });
                    }
                }
                Some(Transmit::Close(CloseReason { code, reason })) => self.writer.put_close(Some((code, &reason))),
            }
        }
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
