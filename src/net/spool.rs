//! Incoming transactions that are read more slowly than they come.
//!
//! Up to [`WINDOW`] bytes of each are passed on ahead of their reader. Beyond that a reader who goes
//! on reading is waited for: the socket is not read meanwhile, and TCP slows the client down. For one
//! who does not, what comes goes into a temporary file without a name, and from there to the reader
//! in its order, so that an unread stream neither fills memory nor holds up the rest of its session.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::application::Application;
use super::disk;
use super::sessions::{Mailbox, Order};
use crate::session::{CHUNK, TxEnd, TxEvent, TxKey};

/// Bytes of a transaction that may be with the application unread.
const WINDOW: usize = 1 << 20;

/// Bytes that may wait for the disk before the socket is no longer read.
const MAX_WAITING: usize = 4 << 20;

/// Bytes written to the file at once.
const MAX_WRITE: usize = 1 << 20;

/// A reader who has taken something this lately is waited for.
const PATIENCE: Duration = Duration::from_millis(5);

/// The same, when half of what may be kept back is: the alternative will be to give up.
const LAST_PATIENCE: Duration = Duration::from_secs(1);

/// Smaller pieces are copied when they have to wait: they must not keep alive what they came with.
const SMALL: usize = 16 << 10;

/// What a blocking operation has given.
#[derive(Debug)]
pub(super) enum SpoolReport {
    Written { key: TxKey, bytes: usize, result: io::Result<Arc<File>> },
    Read { key: TxKey, result: io::Result<Bytes> },
}

/// The incoming transactions of one session.
pub(super) struct Spools {
    mailbox: Rc<Mailbox>,
    by_key: HashMap<TxKey, Spool>,
    /// Bytes of all that wait in memory.
    waiting: usize,
    /// Most bytes of one transaction that may be unread.
    max_unread: u64,
}

#[derive(Default)]
struct Spool {
    /// Bytes passed on and not yet consumed.
    unread: usize,
    /// Bytes kept back, in the file, on the way there and in `waiting`.
    kept: u64,
    /// What is next behind the file, in order.
    waiting: VecDeque<Bytes>,
    /// The reader's time to go on reading, while something is kept back.
    patience: Option<Patience>,
    /// That time was over: what waits is written to the file.
    storing: bool,
    /// Made with the first write.
    file: Option<Arc<File>>,
    writing: bool,
    reading: bool,
    /// `read <= written`: the part of the file that is still to be passed on.
    read: u64,
    written: u64,
    /// The end, which comes behind what is kept back.
    end: Option<TxEvent>,
}

/// It runs only once the application has handed out what it was given: a busy application is no
/// slow reader.
#[derive(Clone, Copy)]
struct Patience {
    /// How often the application had taken what was passed on, at the begin.
    taken: u64,
    since: Option<Instant>,
}

impl Spools {
    pub(super) fn new(mailbox: Rc<Mailbox>, max_unread: u64) -> Self {
        Spools { mailbox, by_key: HashMap::new(), waiting: 0, max_unread }
    }

    /// Whether the socket may be read. If not, `waker` is woken once that may have changed, or
    /// [`Self::poll_timeout`] says when.
    pub(super) fn can_take(&mut self, app: &dyn Application, waker: &Waker, now: Instant) -> bool {
        let mut slow = Vec::new();
        for (&key, spool) in &mut self.by_key {
            if spool.is_waited_for(self.max_unread, app, waker, now) {
                return false;
            }
            if !spool.is_empty() && !spool.storing {
                spool.storing = true;
                slow.push(key);
            }
        }
        slow.into_iter().for_each(|key| self.write(key));
        self.waiting < MAX_WAITING
    }

    /// When [`Self::can_take`] is to be asked again at the latest.
    pub(super) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let ends =
            self.by_key.values().filter_map(|spool| Some(spool.patience?.since? + spool.deserved(self.max_unread)));
        ends.filter(|end| *end > now).min()
    }

    /// Lets an event of an incoming transaction pass, or keeps it for later.
    pub(super) fn on_event(&mut self, event: TxEvent, app: &dyn Application) -> Option<TxEvent> {
        match event {
            TxEvent::Started { key, .. } => {
                self.by_key.insert(key, Spool::default());
                Some(event)
            }
            TxEvent::Chunk { key, data } => {
                let spool = self.by_key.get_mut(&key)?;
                if spool.is_empty() {
                    if spool.unread < WINDOW {
                        spool.unread += data.len();
                        return Some(TxEvent::Chunk { key, data });
                    }
                    spool.patience = Some(Patience::begin(app));
                }
                self.waiting += data.len();
                spool.kept += data.len() as u64;
                spool.waiting.push_back(if data.len() < SMALL { Bytes::copy_from_slice(&data) } else { data });
                self.write(key);
                None
            }
            TxEvent::Ended { key, outcome, .. } => {
                let spool = self.by_key.get_mut(&key)?;
                if outcome == TxEnd::Finished && !spool.is_empty() {
                    spool.end = Some(event);
                    return None;
                }
                self.forget(key);
                Some(event)
            }
            other => Some(other),
        }
    }

    /// The reader has taken bytes: more may be passed on, to `pass`.
    pub(super) fn on_consumed(&mut self, key: TxKey, bytes: u64, app: &dyn Application, pass: impl FnMut(TxEvent)) {
        let Some(spool) = self.by_key.get_mut(&key) else { return };
        spool.unread = spool.unread.saturating_sub(usize::try_from(bytes).unwrap_or(usize::MAX));
        if !spool.is_empty() {
            spool.patience = Some(Patience::begin(app));
            self.advance(key, pass);
        }
    }

    /// Nobody wants the rest.
    pub(super) fn forget(&mut self, key: TxKey) {
        if let Some(spool) = self.by_key.remove(&key) {
            self.waiting -= spool.waiting.iter().map(Bytes::len).sum::<usize>();
        }
    }

    /// A blocking operation is over. What it makes ready for the application goes to `pass`.
    pub(super) fn on_report(&mut self, report: SpoolReport, app: &dyn Application, mut pass: impl FnMut(TxEvent)) {
        let key = match report {
            SpoolReport::Written { key, .. } | SpoolReport::Read { key, .. } => key,
        };
        let Some(spool) = self.by_key.get_mut(&key) else { return };
        let outcome = match report {
            SpoolReport::Written { bytes, result, .. } => {
                spool.writing = false;
                result.map(|file| {
                    spool.file = Some(file);
                    spool.written += bytes as u64;
                })
            }
            SpoolReport::Read { result, .. } => {
                spool.reading = false;
                result.map(|mut data| {
                    spool.read += data.len() as u64;
                    spool.kept -= data.len() as u64;
                    spool.unread += data.len();
                    spool.patience = Some(Patience::begin(app));
                    while !data.is_empty() {
                        let piece = data.split_to(data.len().min(CHUNK));
                        pass(TxEvent::Chunk { key, data: piece });
                    }
                })
            }
        };
        if outcome.is_err() {
            self.forget(key);
            return pass(TxEvent::Ended { key, outcome: TxEnd::SpoolFailed, expected: None, received: 0 });
        }
        self.advance(key, pass);
    }

    /// The finished transactions of which something is still to be passed on; all others are given up.
    pub(super) fn retain_finished(&mut self) -> Vec<TxKey> {
        let unfinished: Vec<TxKey> =
            self.by_key.iter().filter(|(_, spool)| spool.end.is_none()).map(|(&key, _)| key).collect();
        unfinished.into_iter().for_each(|key| self.forget(key));
        self.by_key.keys().copied().collect()
    }

    /// Whether there is nothing to be passed on any more, now or later.
    pub(super) fn is_idle(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Passes on what there is room for: first what is in the file, then what waits behind it.
    fn advance(&mut self, key: TxKey, mut pass: impl FnMut(TxEvent)) {
        self.read(key);
        let Some(spool) = self.by_key.get_mut(&key) else { return };
        while spool.unread < WINDOW
            && spool.is_file_empty()
            && let Some(data) = spool.waiting.pop_front()
        {
            self.waiting -= data.len();
            spool.kept -= data.len() as u64;
            spool.unread += data.len();
            pass(TxEvent::Chunk { key, data });
        }
        if spool.is_file_empty() {
            // It is used from its begin again.
            (spool.read, spool.written) = (0, 0);
        }
        if !spool.is_empty() {
            return self.write(key);
        }
        (spool.patience, spool.storing) = (None, false);
        if let Some(end) = spool.end.take() {
            self.forget(key);
            pass(end);
        }
    }

    fn write(&mut self, key: TxKey) {
        let Some(spool) = self.by_key.get_mut(&key) else { return };
        if !spool.storing || spool.writing || spool.waiting.is_empty() {
            return;
        }
        let (mut pieces, mut bytes) = (Vec::new(), 0);
        while bytes < MAX_WRITE
            && let Some(data) = spool.waiting.pop_front()
        {
            bytes += data.len();
            pieces.push(data);
        }
        self.waiting -= bytes;
        spool.writing = true;
        let (file, mut at) = (spool.file.clone(), spool.written);
        self.report_later(move || {
            let write = || {
                let file = file.map_or_else(|| tempfile::tempfile().map(Arc::new), Ok)?;
                for data in pieces {
                    disk::write_at(&file, at, &data)?;
                    at += data.len() as u64;
                }
                Ok(file)
            };
            SpoolReport::Written { key, bytes, result: write() }
        });
    }

    fn read(&mut self, key: TxKey) {
        let Some(spool) = self.by_key.get_mut(&key) else { return };
        let (false, true, Some(file)) = (spool.reading, spool.unread < WINDOW, &spool.file) else { return };
        let room = (WINDOW - spool.unread).max(CHUNK);
        let len = (spool.written - spool.read).min(room as u64) as usize;
        if len == 0 {
            return;
        }
        spool.reading = true;
        let (file, at) = (file.clone(), spool.read);
        self.report_later(move || SpoolReport::Read { key, result: disk::read_at(&file, at, len) });
    }

    fn report_later(&self, operation: impl FnOnce() -> SpoolReport + Send + 'static) {
        disk::run(self.mailbox.clone(), move || Order::Spool(operation()));
    }
}

impl Spool {
    /// Whether everything that came has been passed on.
    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.is_file_empty()
    }

    /// How long its reader is waited for.
    fn deserved(&self, max_unread: u64) -> Duration {
        if self.kept > max_unread / 2 { LAST_PATIENCE } else { PATIENCE }
    }

    fn is_file_empty(&self) -> bool {
        !self.writing && self.read == self.written
    }

    /// Whether its reader goes on reading, or would if the disk had given what is asked of it.
    fn is_waited_for(&mut self, max_unread: u64, app: &dyn Application, waker: &Waker, now: Instant) -> bool {
        if self.is_empty() {
            return false;
        }
        if self.reading && self.unread < WINDOW {
            return true;
        }
        let length = self.deserved(max_unread);
        self.patience.as_mut().is_some_and(|patience| !patience.is_over(length, app, waker, now))
    }
}

impl Patience {
    fn begin(app: &dyn Application) -> Self {
        Patience { taken: app.taken(), since: None }
    }

    fn is_over(&mut self, length: Duration, app: &dyn Application, waker: &Waker, now: Instant) -> bool {
        while self.since.is_none() {
            // What was passed on may be behind a batch that is still being handed out.
            if app.is_idle() || app.taken() >= self.taken + 2 {
                self.since = Some(now);
            } else if app.wake_when_taken(app.taken(), waker) {
                return false;
            }
        }
        self.since.is_some_and(|since| since + length <= now)
    }
}
