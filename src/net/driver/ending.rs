//! The end of a connection whose session is over, or whose peer broke the rules.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Driver, Stage};
use crate::net::socket::take_turns;
use crate::net::transport::Transport;
use crate::session::{CloseReason, Input, later};

/// How long a socket may take to finish after its session is over.
const FINISH_TIMEOUT: Duration = Duration::from_secs(2);

/// Unread bytes of a peer that is to read what was sent last are discarded up to here: closing a socket with unread
/// bytes would destroy it on its way.
const MAX_DISCARDED: usize = 4 << 20;

/// Bytes discarded before others get their turn.
const DISCARD_BATCH: usize = 256 << 10;

impl Driver {
    /// The peer has sent its close frame. It gets what it is owed, then the answer.
    pub(super) fn on_close(&mut self, frame: Option<(u16, String)>, now: Instant) {
        self.put_owed();
        self.writer.put_close(frame.as_ref().map(|(code, _)| (*code, "")));
        self.end(frame.map(|(code, reason)| CloseReason { code, reason }), now);
    }

    /// The peer sends no more. It may still read.
    pub(super) fn on_hang_up(&mut self, now: Instant) {
        self.put_owed();
        self.end(None, now);
    }

    fn end(&mut self, reason: Option<CloseReason>, now: Instant) {
        self.session.handle(Input::Disconnected(reason), now);
        self.stage = Stage::Finishing { by: later(now, FINISH_TIMEOUT) };
    }

    /// Brings a connection to its end once its session has come to one.
    pub(super) fn finish(&mut self, cx: &mut Context<'_>, now: Instant) {
        match &mut self.stage {
            Stage::Violated if self.writer.close_is_out() => {
                self.stage = Stage::Discarding { left: MAX_DISCARDED, by: None };
            }
            Stage::Finishing { by } => {
                let by = *by;
                match self.writer.poll_flush(&mut self.transport, cx) {
                    Poll::Ready(Ok(())) => self.stage = Stage::Discarding { left: MAX_DISCARDED, by: Some(by) },
                    Poll::Pending if now < by => {}
                    _ => self.stage = Stage::Over,
                }
            }
            _ => {}
        }
        if let Stage::Discarding { left, by } = &mut self.stage {
            let late = by.is_some_and(|by| by <= now);
            if discard(&mut self.transport, left, cx).is_ready() || late {
                self.disconnect(now);
                self.deliver(now);
            }
        }
    }
}

/// Shuts down the sending side and reads until the peer hangs up or `left` bytes came.
fn discard(transport: &mut Transport, left: &mut usize, cx: &mut Context<'_>) -> Poll<()> {
    let mut transport = Pin::new(transport);
    if ready!(transport.as_mut().poll_shutdown(cx)).is_err() {
        return Poll::Ready(());
    }
    let mut scratch = [0; 4096];
    let mut batch = DISCARD_BATCH;
    while batch > 0 {
        let mut buf = ReadBuf::new(&mut scratch);
        let result = ready!(transport.as_mut().poll_read(cx, &mut buf));
        let read = buf.filled().len();
        if result.is_err() || read == 0 || *left < read {
            return Poll::Ready(());
        }
        *left = left.saturating_sub(read);
        batch = batch.saturating_sub(read);
    }
    take_turns(cx);
    Poll::Pending
}
