//! The end of a connection whose session is over, or whose peer broke the rules.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Driver, Stage};
use crate::net::transport::Transport;

/// How long a socket may take to finish after its session is over.
pub(super) const FINISH_TIMEOUT: Duration = Duration::from_secs(2);

/// Unread bytes of a peer that broke the rules are discarded up to here, so that it can read why.
const MAX_DISCARDED: usize = 4 << 20;

impl Driver {
    /// Brings a connection to its end once its session has come to one.
    pub(super) fn finish(&mut self, cx: &mut Context<'_>, now: Instant) {
        if self.stage == Stage::Violated && self.writer.close_is_out() {
            self.stage = Stage::Discarding { left: MAX_DISCARDED };
        }
        match &mut self.stage {
            Stage::Discarding { left } => {
                if let Poll::Ready(()) = discard(&mut self.transport, left, cx) {
                    self.disconnect(now);
                    self.deliver(now);
                }
            }
            Stage::Finishing { by } => {
                let late = *by <= now;
                let flushed = self.writer.poll_flush(&mut self.transport, cx);
                if late || flushed.is_ready() {
                    // Closing the socket says the rest; TLS adds its goodbye if it fits.
                    let _ = Pin::new(&mut self.transport).poll_shutdown(cx);
                    self.stage = Stage::Over;
                }
            }
            _ => {}
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
    loop {
        let mut buf = ReadBuf::new(&mut scratch);
        let result = ready!(transport.as_mut().poll_read(cx, &mut buf));
        let read = buf.filled().len();
        if result.is_err() || read == 0 || *left < read {
            return Poll::Ready(());
        }
        *left -= read;
    }
}
