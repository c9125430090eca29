//! The bound on what one session may pass to the application before the application takes it.

use std::task::Waker;

use super::application::Application;

/// What an event counts beside its payload. It costs less memory than that, but time: a listener that takes 50 µs for
/// each of a thousand messages keeps the other sessions waiting for 50 ms.
const OVERHEAD: usize = 4 << 10;

/// Counts what was passed on and not yet taken.
#[derive(Debug)]
pub(super) struct Intake {
    max: usize,
    /// Bytes passed on since the application's count of takes was `count`.
    bytes: usize,
    count: u64,
    /// Whether the session was told that reading is paused.
    pub(super) paused: bool,
}

impl Intake {
    pub(super) fn new(max: usize) -> Self {
        Intake { max, bytes: 0, count: 0, paused: false }
    }

    /// A payload of `len` bytes is passed on.
    #[inline]
    pub(super) fn add(&mut self, app: &dyn Application, len: usize) {
        self.refresh(app);
        self.bytes = self.bytes.saturating_add(len).saturating_add(OVERHEAD);
    }

    /// Whether there is room for another payload.
    #[inline]
    pub(super) fn has_room(&self, app: &dyn Application) -> bool {
        self.bytes < self.max && !app.is_full()
    }

    /// Whether the socket may be read; if not, `waker` is woken once that may have changed.
    #[inline]
    pub(super) fn is_open(&mut self, app: &dyn Application, waker: &Waker) -> bool {
        if self.has_room(app) {
            return true;
        }
        self.refresh(app);
        if self.has_room(app) {
            return true;
        }
        !app.wake_when_taken(app.taken(), waker)
    }

    fn refresh(&mut self, app: &dyn Application) {
        let count = app.taken();
        if count != self.count {
            self.count = count;
            self.bytes = 0;
        }
    }
}
