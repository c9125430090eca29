//! Reading: a batch of frames at a time, as far as the session and the application take them.

use std::io::ErrorKind;
use std::task::{Context, Poll};
use std::time::Instant;

use super::{Driver, Stage};
use crate::net::trace::Direction;
use crate::net::websocket::{Incoming, Violation};
use crate::session::Input;

/// Frames of WebSocket, and their bytes, read from one socket before other sessions get their turn: of all kinds,
/// for the cheapest ones are sent by the hundred thousand.
const READ_BATCH: u64 = 256;
const READ_BATCH_BYTES: usize = 256 << 10;

impl Driver {
    /// Reads a batch of frames. True when there may be more at once.
    pub(super) fn read(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        self.reader.begin();
        let more = self.read_batch(cx, now);
        self.reader.rest();
        let received = self.transport.socket().received();
        if received != std::mem::replace(&mut self.received, received) {
            self.session.handle(Input::Alive, now);
        }
        more || self.transport.socket().is_interrupted()
    }

    #[expect(
        clippy::arithmetic_side_effects,
        reason = "a batch is bounded, and counting does not come to the end of 64 bits"
    )]
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
                Ok(Some(Ok(Incoming::Fragment(length)))) => bytes += length,
                Ok(Some(Ok(Incoming::Ping(payload)))) => self.writer.put_pong(payload),
                Ok(Some(Ok(Incoming::Pong))) => {}
                Ok(Some(Ok(Incoming::Close(frame)))) => self.on_close(frame, now),
                Ok(Some(Err(Violation { code, reason }))) => {
                    self.session.handle(Input::Violation { code, reason }, now);
                    self.stage = Stage::Violated;
                }
                Ok(None) => self.on_hang_up(now),
                // Clients of TLS that hang up without a goodbye are common.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => self.on_hang_up(now),
                Err(_) => self.disconnect(now),
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
