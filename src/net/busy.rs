//! Bounded busy polling (API: `busyPollUs`): while messages come closer together than a bound, the
//! I/O thread looks for the next one instead of sleeping, which saves the time that waking it takes.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// Looks for work for a bounded time after the last, until dropped.
pub(super) struct BusyPoll {
    /// `None`: never.
    shared: Option<Rc<Shared>>,
}

struct Shared {
    bound: Duration,
    last: Cell<Option<Instant>>,
    polling: Cell<bool>,
    over: Cell<bool>,
    wanted: Notify,
}

impl BusyPoll {
    /// Starts the task that polls, unless `bound` is zero.
    pub(super) fn start(bound: Duration) -> Self {
        if bound.is_zero() {
            return BusyPoll { shared: None };
        }
        let (last, polling, over) = Default::default();
        let shared = Rc::new(Shared { bound, last, polling, over, wanted: Notify::new() });
        tokio::task::spawn_local(shared.clone().run());
        BusyPoll { shared: Some(shared) }
    }

    /// Something was done at `now`. If the last time was within the bound, the next one may be too.
    #[inline]
    pub(super) fn on_activity(&self, now: Instant) {
        let Some(shared) = &self.shared else { return };
        let last = shared.last.replace(Some(now));
        let soon = last.is_some_and(|last| now.saturating_duration_since(last) <= shared.bound);
        if soon && !shared.polling.get() {
            shared.wanted.notify_one();
        }
    }
}

impl Drop for BusyPoll {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            shared.over.set(true);
            shared.wanted.notify_one();
        }
    }
}

impl Shared {
    async fn run(self: Rc<Self>) {
        while !self.over.get() {
            self.wanted.notified().await;
            self.polling.set(true);
            while self.last.get().is_some_and(|last| last.elapsed() <= self.bound) {
                // Whoever shares this core goes first; then the runtime looks at its sockets.
                std::thread::yield_now();
                tokio::task::yield_now().await;
            }
            self.polling.set(false);
        }
    }
}
