//! One incoming transaction: what of it is kept back, and how long its reader is waited for.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::unread::Unread;
use crate::net::application::Application;
use crate::net::blocks::Blocks;
use crate::net::disk::DiskFile;
use crate::net::ledger::{Birth, Charge};
use crate::session::TxEvent;

/// A reader who has taken something this lately is waited for.
const PATIENCE: Duration = Duration::from_millis(5);

/// The same for one who has asked for it, when half of what may be kept is.
const LAST_PATIENCE: Duration = Duration::from_secs(1);

pub(super) struct Spool {
    pub(super) birth: Birth,
    /// Somebody has asked for it.
    pub(super) asked: bool,
    /// What was passed on and not yet consumed.
    pub(super) unread: Unread,
    /// Bytes kept back, in the file, on the way there and in `waiting`.
    pub(super) kept: u64,
    /// What is next behind the file, in order.
    pub(super) waiting: VecDeque<Bytes>,
    /// The reader's time to go on reading, while something is kept back.
    pub(super) patience: Option<Patience>,
    /// That time was over: what waits is written to the file.
    pub(super) storing: bool,
    pub(super) store: Option<Store>,
    pub(super) writing: bool,
    pub(super) reading: bool,
    /// The end, which comes behind what is kept back.
    pub(super) end: Option<TxEvent>,
}

/// A file in use.
pub(super) struct Store {
    pub(super) charge: Charge,
    pub(super) blocks: Blocks,
    /// Made with the first write.
    pub(super) file: Option<Arc<DiskFile>>,
    /// Bytes in the file that are still to be passed on.
    pub(super) readable: u64,
}

/// It runs only once the application has handed out what it was given: a busy application is no
/// slow reader.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    /// How often the application had taken what was passed on, at the begin.
    pub(super) taken: u64,
    pub(super) since: Option<Instant>,
}

impl Spool {
    pub(super) fn new(birth: Birth) -> Self {
        Spool {
            birth,
            asked: false,
            unread: Unread::default(),
            kept: 0,
            waiting: VecDeque::new(),
            patience: None,
            storing: false,
            store: None,
            writing: false,
            reading: false,
            end: None,
        }
    }

    /// Bytes that are here for its reader, wherever they are.
    pub(super) fn held(&self) -> u64 {
        self.kept.saturating_add(self.unread.bytes() as u64)
    }

    /// Whether everything that came has been passed on.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.is_file_empty()
    }

    pub(super) fn is_file_empty(&self) -> bool {
        !self.writing && self.store.as_ref().is_none_or(|store| store.readable == 0)
    }

    /// How long its reader is waited for.
    pub(super) fn deserved(&self, scarce: bool) -> Duration {
        if scarce && self.asked { LAST_PATIENCE } else { PATIENCE }
    }

    /// Whether its reader goes on reading, or would if the disk had given what is asked of it.
    pub(super) fn is_waited_for(&mut self, scarce: bool, app: &dyn Application, waker: &Waker, now: Instant) -> bool {
        if self.is_empty() {
            return false;
        }
        if self.reading && self.unread.has_room() {
            return true;
        }
        let length = self.deserved(scarce);
        self.patience.as_mut().is_some_and(|patience| !patience.is_over(length, app, waker, now))
    }
}

impl Store {
    pub(super) fn new(charge: Charge) -> Self {
        Store { charge, blocks: Blocks::default(), file: None, readable: 0 }
    }
}

impl Patience {
    pub(super) fn begin(app: &dyn Application) -> Self {
        Patience { taken: app.taken(), since: None }
    }

    pub(super) fn is_over(&mut self, length: Duration, app: &dyn Application, waker: &Waker, now: Instant) -> bool {
        while self.since.is_none() {
            // What was passed on may be behind a batch that is still being handed out.
            if app.is_idle() || app.taken() >= self.taken.saturating_add(2) {
                self.since = Some(now);
            } else if app.wake_when_taken(app.taken(), waker) {
                return false;
            }
        }
        self.since.is_some_and(|since| now.saturating_duration_since(since) >= length)
    }
}
