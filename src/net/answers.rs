//! ACKs wait for the application's answer to what they acknowledge, so that both leave in one write:
//! until it has handed out the events they came with, but no longer than a moment.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::sessions::Mailbox;
use crate::session::later;

/// How long an ACK waits at most. Much shorter, and every sleep of the thread would have to set the machine's
/// timer anew, which under a hypervisor takes longer than a message.
const PATIENCE: Duration = Duration::from_millis(20);

/// The sessions that wait, until dropped.
pub(super) struct Answers {
    shared: Rc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// In the order of their commits.
    waiting: RefCell<VecDeque<Waiting>>,
    /// Notified when somebody waits after nobody did.
    first: Notify,
    /// The last commit that was waited for in vain.
    late: Cell<u64>,
    over: Cell<bool>,
}

struct Waiting {
    /// The commit with the session's events.
    commit: u64,
    since: Instant,
    mailbox: Rc<Mailbox>,
    serial: u32,
}

impl Answers {
    /// Starts the task that lets go of those whose time is up.
    pub(super) fn start() -> Self {
        let shared = Rc::<Shared>::default();
        tokio::task::spawn_local(shared.clone().run());
        Answers { shared }
    }

    /// Whether waiting is worth while for an application that has answered up to this commit: not while one is
    /// overdue.
    #[inline]
    pub(super) fn expects(&self, answered: u64) -> bool {
        answered >= self.shared.late.get()
    }

    /// The session of `mailbox` waits until the events of `commit` are answered.
    pub(super) fn wait(&self, mailbox: &Rc<Mailbox>, commit: u64, now: Instant) {
        let mut waiting = self.shared.waiting.borrow_mut();
        if waiting.is_empty() {
            self.shared.first.notify_one();
        }
        waiting.push_back(Waiting { commit, since: now, mailbox: mailbox.clone(), serial: mailbox.wait() });
    }

    /// The events of `commit`, and of those before it, are answered. True if somebody waits on.
    pub(super) fn release(&self, commit: u64) -> bool {
        self.shared.release(|waiting| waiting.commit <= commit);
        !self.shared.waiting.borrow().is_empty()
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.shared.over.set(true);
        self.shared.first.notify_one();
    }
}

impl Shared {
    /// Gives the last commit of those released.
    fn release(&self, is_due: impl Fn(&Waiting) -> bool) -> Option<u64> {
        let mut waiting = self.waiting.borrow_mut();
        let mut last = None;
        while waiting.front().is_some_and(&is_due) {
            if let Some(session) = waiting.pop_front() {
                session.mailbox.release(session.serial);
                last = Some(session.commit);
            }
        }
        last
    }

    async fn run(self: Rc<Self>) {
        while !self.over.get() {
            let oldest = self.waiting.borrow().front().map(|session| session.since);
            match oldest {
                Some(since) => tokio::time::sleep_until(later(since, PATIENCE).into()).await,
                None => self.first.notified().await,
            }
            let now = Instant::now();
            if let Some(late) = self.release(|session| now.saturating_duration_since(session.since) >= PATIENCE) {
                self.late.set(late);
            }
        }
    }
}
