//! The first moments of a session with another server: whether it is none of CAMP.

use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::{Driver, Stage};
use crate::session::{CloseReason, Event};

/// How long silence is waited out. A server of CAMP sends its first frame without being asked; one that
/// is busy may take longer.
const PATIENCE: Duration = Duration::from_millis(250);

impl Driver {
    /// Runs until the server has shown that it speaks CAMP, or has been silent for a while. What it has
    /// sent is told by [`Self::run`]; so is, but to nobody, the end of a session that fails here.
    pub(in crate::net) async fn greet(&mut self) -> Result<(), CloseReason> {
        self.reported_closed = true;
        let outcome = timeout(PATIENCE, std::future::poll_fn(|cx| self.poll_greeting(cx))).await.unwrap_or(Ok(()));
        self.reported_closed = outcome.is_err();
        if outcome.is_err() {
            self.place = None;
        }
        // Another task may go on from here: it is to be woken by the timer, not this one.
        self.armed = None;
        outcome
    }

    fn poll_greeting(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CloseReason>> {
        let now = Instant::now();
        let more = self.read(cx, now);
        self.on_timer(now);
        self.write(cx, now);
        // Statistics are ours, they say nothing about the server.
        while let Some(Event::Statistics(_)) = self.session.peek_event() {
            self.session.poll_event();
        }
        match self.session.peek_event() {
            Some(Event::Closed(reason)) => return Poll::Ready(Err(reason.clone())),
            Some(_) => return Poll::Ready(Ok(())),
            None => {}
        }
        if let Some(reason) = self.session.closing() {
            return Poll::Ready(Err(reason.clone()));
        }
        if more && self.stage == Stage::Open {
            cx.waker().wake_by_ref();
        }
        self.arm(cx, now);
        Poll::Pending
    }
}
