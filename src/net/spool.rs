//! Incoming transactions that are read more slowly than they come.
//!
//! Up to [`WINDOW`] bytes of each are passed on ahead of their reader. Beyond that a reader who goes
//! on reading is waited for: the socket is not read meanwhile, and TCP slows the client down. For one
//! who does not, what comes goes into a temporary file without a name, and from there to the reader
//! in its order, so that an unread stream neither fills memory nor holds up the rest of its session.
//!
//! The files are bounded, for a session and for its server, and so is all that nobody has asked for.
//! Beyond a bound the newest transaction is cancelled.

mod bounds;
mod stream;
mod unread;
#[cfg(test)]
mod waiting_tests;

use std::cell::Cell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use bytes::Bytes;

use super::application::Application;
use super::disk::{self, DiskFile};
use super::ledger::{Charge, Ledger};
use super::sessions::{Mailbox, Order};
use crate::session::{CHUNK, TxEnd, TxEvent, TxKey, later};

use stream::{Patience, Spool, Store};

/// Bytes of a transaction that may be with the application unread, as [`unread`] counts them.
const WINDOW: usize = 1 << 20;

/// Bytes that may wait for the disk, or be on their way there, before the socket is no longer read. A chunk counts
/// with its [`OVERHEAD`].
const MAX_WAITING: usize = 4 << 20;

/// Bytes that are kept, in memory and in files, of a session's transactions that nobody has asked for.
const MAX_UNASKED: u64 = 64 << 20;

/// Files that a session may have.
const MAX_FILES: usize = 128;

/// Bytes written to the file at once.
const MAX_WRITE: usize = 1 << 20;

/// Smaller pieces are copied when they have to wait: they must not keep alive what they came with.
const SMALL: usize = 16 << 10;

/// Bytes that a chunk that waits takes beside its own, about: short ones must not take many times their length.
const OVERHEAD: usize = 128;

/// What a blocking operation has given.
#[derive(Debug)]
pub(super) enum SpoolReport {
    /// `weight` is what the bytes, and their chunks, have counted among those that wait.
    Written {
        key: TxKey,
        bytes: usize,
        weight: usize,
        result: io::Result<Arc<DiskFile>>,
    },
    Read {
        key: TxKey,
        result: io::Result<Bytes>,
    },
}

/// The incoming transactions of one session.
pub(super) struct Spools {
    mailbox: Rc<Mailbox>,
    ledger: Rc<Ledger>,
    by_key: HashMap<TxKey, Spool>,
    /// [`weight`] of all chunks that wait in memory.
    waiting: usize,
    /// The same of those on their way to the disk, of transactions that were forgotten meanwhile too.
    in_flight: usize,
    /// Bytes that the files have.
    in_files: Rc<Cell<u64>>,
    /// Most of them.
    max_in_files: u64,
    /// Bytes that are kept for nobody yet.
    unasked: u64,
    /// Those of them that the application has whole.
    left: HashMap<TxKey, u64>,
    /// Given up; the application and the session are still to be told.
    cancelled: Vec<TxKey>,
}

impl Spools {
    /// `max_in_files` bounds the files of this session, the ledger those of its server.
    pub(super) fn new(mailbox: Rc<Mailbox>, ledger: Rc<Ledger>, max_in_files: u64) -> Self {
        Spools {
            mailbox,
            ledger,
            by_key: HashMap::new(),
            waiting: 0,
            in_flight: 0,
            in_files: Rc::default(),
            max_in_files,
            unasked: 0,
            left: HashMap::new(),
            cancelled: Vec::new(),
        }
    }

    /// Bytes in temporary files.
    pub(super) fn in_files(&self) -> u64 {
        self.in_files.get()
    }

    /// Whether the socket may be read. If not, `waker` is woken once that may have changed, or
    /// [`Self::poll_timeout`] says when.
    pub(super) fn can_take(&mut self, app: &dyn Application, waker: &Waker, now: Instant) -> bool {
        let scarce = self.is_scarce();
        let mut slow = Vec::new();
        for (&key, spool) in &mut self.by_key {
            if spool.is_waited_for(scarce, app, waker, now) {
                return false;
            }
            if !spool.is_empty() && !spool.storing {
                spool.storing = true;
                slow.push(key);
            }
        }
        slow.into_iter().for_each(|key| self.write(key));
        self.waiting.saturating_add(self.in_flight) < MAX_WAITING
    }

    /// When [`Self::can_take`] is to be asked again at the latest.
    pub(super) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let scarce = self.is_scarce();
        let ends = self.by_key.values().filter_map(|spool| Some(later(spool.patience?.since?, spool.deserved(scarce))));
        ends.filter(|end| *end > now).min()
    }

    /// Lets an event of an incoming transaction pass, or keeps it for later.
    pub(super) fn on_event(&mut self, event: TxEvent, app: &dyn Application) -> Option<TxEvent> {
        match event {
            TxEvent::Started { key, .. } => {
                self.by_key.insert(key, Spool::new(self.ledger.birth()));
                Some(event)
            }
            TxEvent::Chunk { key, data } => self.on_chunk(key, data, app),
            TxEvent::Ended { key, outcome, .. } => {
                let spool = self.by_key.get_mut(&key)?;
                if outcome == TxEnd::Finished && !spool.is_empty() {
                    if let Some(store) = &spool.store {
                        store.charge.set_whole();
                    }
                    spool.end = Some(event);
                    return None;
                }
                self.end(key, outcome);
                Some(event)
            }
            other => Some(other),
        }
    }

    fn on_chunk(&mut self, key: TxKey, data: Bytes, app: &dyn Application) -> Option<TxEvent> {
        let spool = self.by_key.get_mut(&key)?;
        let (len, asked) = (data.len(), spool.asked);
        let mut passed = None;
        if spool.is_empty() && spool.unread.has_room() {
            spool.unread.pass(len);
            passed = Some(TxEvent::Chunk { key, data });
        } else {
            if spool.is_empty() {
                spool.patience = Some(Patience::begin(app));
            }
            self.waiting = self.waiting.saturating_add(weight(&data));
            spool.kept = spool.kept.saturating_add(len as u64);
            spool.waiting.push_back(if len < SMALL { Bytes::copy_from_slice(&data) } else { data });
            self.write(key);
        }
        if !asked {
            self.unasked = self.unasked.saturating_add(len as u64);
            self.bound_unasked();
        }
        passed.filter(|_| self.by_key.contains_key(&key))
    }

    /// Somebody has asked for it, or nobody will any more.
    pub(super) fn on_asked(&mut self, key: TxKey) {
        let bytes = match self.by_key.get_mut(&key) {
            Some(spool) if !spool.asked => {
                spool.asked = true;
                spool.held()
            }
            Some(_) => 0,
            None => self.left.remove(&key).unwrap_or(0),
        };
        self.unasked = self.unasked.saturating_sub(bytes);
    }

    /// The reader has taken bytes: more may be passed on, to `pass`.
    pub(super) fn on_consumed(&mut self, key: TxKey, bytes: u64, app: &dyn Application, pass: impl FnMut(TxEvent)) {
        let Some(spool) = self.by_key.get_mut(&key) else { return };
        let taken = spool.unread.take(usize::try_from(bytes).unwrap_or(usize::MAX));
        if !spool.asked {
            self.unasked = self.unasked.saturating_sub(taken as u64);
        }
        if !spool.is_empty() {
            spool.patience = Some(Patience::begin(app));
            self.advance(key, pass);
        }
    }

    /// Nobody wants the rest.
    pub(super) fn forget(&mut self, key: TxKey) {
        if let Some(spool) = self.by_key.remove(&key) {
            self.waiting = self.waiting.saturating_sub(spool.waiting.iter().map(weight).sum());
            if !spool.asked {
                self.unasked = self.unasked.saturating_sub(spool.held());
            }
        }
    }

    /// Gives a transaction up. [`Self::take_cancelled`] tells of it.
    pub(super) fn cancel(&mut self, key: TxKey) {
        if self.by_key.contains_key(&key) {
            self.forget(key);
            self.cancelled.push(key);
        }
    }

    /// Those that were given up since the last call.
    pub(super) fn take_cancelled(&mut self) -> Vec<TxKey> {
        std::mem::take(&mut self.cancelled)
    }

    /// A blocking operation is over. What it makes ready for the application goes to `pass`.
    pub(super) fn on_report(&mut self, report: SpoolReport, app: &dyn Application, mut pass: impl FnMut(TxEvent)) {
        let (key, weight) = match report {
            SpoolReport::Written { key, weight, .. } => (key, weight),
            SpoolReport::Read { key, .. } => (key, 0),
        };
        self.in_flight = self.in_flight.saturating_sub(weight);
        let Some(spool) = self.by_key.get_mut(&key) else { return };
        let outcome = match report {
            SpoolReport::Written { bytes, result, .. } => {
                spool.writing = false;
                result.map(|file| {
                    if let Some(store) = &mut spool.store {
                        store.file = Some(file);
                        store.readable = store.readable.saturating_add(bytes as u64);
                    }
                })
            }
            SpoolReport::Read { result, .. } => {
                spool.reading = false;
                result.map(|mut data| {
                    if let Some(store) = &mut spool.store {
                        store.readable = store.readable.saturating_sub(data.len() as u64);
                        store.blocks.take(data.len());
                    }
                    spool.kept = spool.kept.saturating_sub(data.len() as u64);
                    spool.patience = Some(Patience::begin(app));
                    while !data.is_empty() {
                        let piece = data.split_to(data.len().min(CHUNK));
                        spool.unread.pass(piece.len());
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
        while spool.unread.has_room()
            && spool.is_file_empty()
            && let Some(data) = spool.waiting.pop_front()
        {
            self.waiting = self.waiting.saturating_sub(weight(&data));
            spool.kept = spool.kept.saturating_sub(data.len() as u64);
            spool.unread.pass(data.len());
            pass(TxEvent::Chunk { key, data });
        }
        if spool.is_file_empty() {
            spool.store = None;
        }
        if !spool.is_empty() {
            return self.write(key);
        }
        (spool.patience, spool.storing) = (None, false);
        if let Some(end) = spool.end.take() {
            self.end(key, TxEnd::Finished);
            pass(end);
        }
    }

    /// The application has all of it that it gets.
    fn end(&mut self, key: TxKey, outcome: TxEnd) {
        if let Some(spool) = self.by_key.get(&key).filter(|spool| !spool.asked && outcome == TxEnd::Finished) {
            self.left.insert(key, spool.held());
            self.unasked = self.unasked.saturating_add(spool.held());
        }
        self.forget(key);
    }

    /// Writes what waits, or gives back room in the file.
    fn write(&mut self, key: TxKey) {
        let Some(spool) = self.by_key.get_mut(&key) else { return };
        if !spool.storing || spool.writing {
            return;
        }
        let cut = spool.store.as_mut().is_some_and(|store| store.blocks.shrink());
        if spool.waiting.is_empty() && !cut {
            return;
        }
        let (ledger, sum) = (&self.ledger, &self.in_files);
        let (birth, whole, mailbox) = (spool.birth, spool.end.is_some(), &self.mailbox);
        let store = spool.store.get_or_insert_with(|| {
            Store::new(Charge::for_incoming(ledger.clone(), sum.clone(), birth, (mailbox.clone(), key), whole))
        });
        let cut = cut.then(|| store.blocks.file_len());
        let (mut pieces, mut bytes, mut weighed) = (Vec::new(), 0_usize, 0_usize);
        while weighed < MAX_WRITE
            && let Some(data) = spool.waiting.pop_front()
        {
            bytes = bytes.saturating_add(data.len());
            weighed = weighed.saturating_add(weight(&data));
            pieces.extend(store.blocks.place(data));
        }
        self.waiting = self.waiting.saturating_sub(weighed);
        store.charge.set(store.blocks.file_len());
        spool.writing = true;
        let file = store.file.clone();
        self.bound_files();
        if !self.by_key.contains_key(&key) {
            return;
        }
        self.in_flight = self.in_flight.saturating_add(weighed);
        self.report_later(move || {
            let write = || {
                let file = file.map_or_else(DiskFile::temporary, Ok)?;
                cut.map_or(Ok(()), |len| file.cut(len))?;
                pieces.iter().try_for_each(|(at, data)| file.write_at(*at, data))?;
                Ok(file)
            };
            SpoolReport::Written { key, bytes, weight: weighed, result: write() }
        });
    }

    fn read(&mut self, key: TxKey) {
        let Some(spool) = self.by_key.get_mut(&key) else { return };
        let Some(Store { file: Some(file), blocks, readable, .. }) = &spool.store else { return };
        if spool.reading || !spool.unread.has_room() {
            return;
        }
        let room = spool.unread.room().max(CHUNK);
        let Some((at, len)) = blocks.next(room.min(usize::try_from(*readable).unwrap_or(usize::MAX))) else { return };
        spool.reading = true;
        let file = file.clone();
        self.report_later(move || SpoolReport::Read { key, result: file.read_at(at, len) });
    }

    fn report_later(&self, operation: impl FnOnce() -> SpoolReport + Send + 'static) {
        disk::run(self.mailbox.clone(), move || Order::Spool(operation()));
    }
}

/// What a chunk that waits counts.
fn weight(data: &Bytes) -> usize {
    data.len().saturating_add(OVERHEAD)
}
