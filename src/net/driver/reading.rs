//! Reading: a batch of frames at a time, as far as the session and the application take them.

use std::task::{Context, Poll};
use std::time::Instant;

use super::ending::FINISH_TIMEOUT;
use super::{Driver, Stage};
use crate::net::trace::Direction;
use crate::net::websocket::{Incoming, Violation};
use crate::session::{CloseReason, Input};

/// Frames, and bytes of frames, read from one socket before other sessions get their turn.
const READ_BATCH: u64 = 256;
const READ_BATCH_BYTES: usize = 256 << 10;

impl Driver {
    /// Reads a batch of frames. True when there may be more at once.
    pub(super) fn read(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        self.reader.begin();
        let more = self.read_batch(cx, now);
        self.reader.rest();
        more
    }

    fn read_batch(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let server = self.server.clone();
        let (app, trace) = (server.app.as_ref(), server.config.trace);
        let (mut frames, mut bytes) = (0, 0);
        while frames < READ_BATCH && bytes < READ_BATCH_BYTES {
            if self.stage != Stage::Open || !self.may_read(cx, now) {
                return false;
            }
            let before = frames;
            // What is not known to the application yet cannot be given to it.
            let direct = !trace.frames() && !self.reported_closed;
            let read = self.reader.poll_next(&mut self.transport, cx, |frame| {
                if !direct || frames >= READ_BATCH || bytes >= READ_BATCH_BYTES {
                    return false;
                }
                let taken = self.session.take_ack(frame, now) || {
                    self.session.set_hooks(self.server.config.hooks.get());
                    let message = if self.intake.has_room(app) { self.session.take_message(frame) } else { None };
                    if let Some(message) = message {
                        self.figures.messages_rx += 1;
                        self.intake.add(app, message.as_bytes().len());
                        app.message(self.slot, message);
                        self.server.commits.part();
                        self.delivered = true;
                        bytes += frame.len();
                    }
                    message.is_some()
                };
                frames += u64::from(taken);
                taken
            });
            self.figures.frames_rx += frames - before;
            let Poll::Ready(read) = read else { return false };
            frames += 1;
            match read {
                Ok(Some(Ok(Incoming::Binary(frame)))) => {
                    trace.frame(Direction::In, &frame);
                    bytes += frame.len();
                    self.figures.frames_rx += 1;
                    self.session.set_hooks(self.server.config.hooks.get());
                    self.session.receive(frame, now);
                }
                Ok(Some(Ok(Incoming::Close(frame)))) => {
                    self.write_acks(cx);
                    self.writer.put_close(frame.as_ref().map(|(code, _)| (*code, "")));
                    let reason = frame.map(|(code, reason)| CloseReason { code, reason });
                    self.session.handle(Input::Disconnected(reason), now);
                    self.stage = Stage::Finishing { by: now + FINISH_TIMEOUT };
                }
                Ok(Some(Ok(Incoming::Ping(payload)))) => self.writer.put_pong(payload),
                Ok(Some(Ok(Incoming::Pong))) => {}
                Ok(Some(Err(Violation { code, reason }))) => {
                    self.session.handle(Input::Violation { code, reason }, now);
                    self.stage = Stage::Violated;
                }
                Ok(None) | Err(_) => self.disconnect(now),
            }
        }
        true
    }

    fn may_read(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        if !self.session.can_receive() {
            return false;
        }
        let app = self.server.app.as_ref();
        let open = self.intake.is_open(app, cx.waker())
            && self.spools.as_mut().is_none_or(|spools| spools.can_take(app, cx.waker(), now));
        if open == self.intake.paused {
            self.intake.paused = !open;
            self.session.handle(Input::ReadingPaused(!open), now);
        }
        open
    }
}
