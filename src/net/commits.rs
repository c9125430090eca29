//! Events are passed to the application once per turn of the event loop, whichever sessions they are
//! of: waking it is what costs, and it may have to share a core with this thread.

use std::cell::Cell;
use std::rc::Rc;

use tokio::sync::Notify;

use super::application::Application;

/// Bytes of events that are passed on at once: another core can work on them meanwhile.
const EARLY: usize = 16 << 10;

/// Bytes of one session's events that are passed on at once: fewer are best answered together.
const PART: usize = 32 << 10;

/// Passes on what was staged, until dropped.
pub(super) struct Commits {
    app: Rc<dyn Application>,
    shared: Rc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Whether a commit is to come at the end of this turn.
    due: Cell<bool>,
    wanted: Notify,
    over: Cell<bool>,
}

impl Commits {
    /// Starts the task that commits at the end of a turn.
    pub(super) fn start(app: Rc<dyn Application>) -> Self {
        let shared = Rc::<Shared>::default();
        tokio::task::spawn_local(shared.clone().run(app.clone()));
        Commits { app, shared }
    }

    /// Passes on what one session has staged so far if it is so much that it should not be kept together.
    #[inline]
    pub(super) fn part(&self) {
        if self.app.staged() >= PART {
            self.app.commit();
        }
    }

    /// A session's events were staged; they are passed on after those of the sessions that wait for their turn.
    pub(super) fn soon(&self) {
        if self.app.staged() >= EARLY {
            self.app.commit();
        } else if !self.shared.due.replace(true) {
            self.shared.wanted.notify_one();
        }
    }
}

impl Drop for Commits {
    fn drop(&mut self) {
        self.shared.over.set(true);
        self.shared.wanted.notify_one();
    }
}

impl Shared {
    async fn run(self: Rc<Self>, app: Rc<dyn Application>) {
        while !self.over.get() {
            self.wanted.notified().await;
            self.due.set(false);
            app.commit();
        }
    }
}
