//! Incoming transactions that are read more slowly than they come.
//!
//! Up to [`WINDOW`] bytes of each are passed on ahead of their reader. What comes beyond goes into a
//! temporary file without a name, and from there to the reader in its order, so that an unread
//! stream neither fills memory nor holds up the rest of its session.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use super::disk;
use super::sessions::{Mailbox, Order};
use crate::session::{CHUNK, TxEnd, TxEvent};

/// Bytes of a transaction that may be with the application unread.
const WINDOW: usize = 1 << 20;

/// Bytes that may wait for the disk before the socket is no longer read.
const MAX_WAITING: usize = 4 << 20;

/// What a blocking operation has given.
#[derive(Debug)]
pub(super) enum SpoolReport {
    Written { tx_id: u32, bytes: usize, result: io::Result<Arc<File>> },
    Read { tx_id: u32, result: io::Result<Bytes> },
}

/// The incoming transactions of one session.
pub(super) struct Spools {
    mailbox: Rc<Mailbox>,
    by_id: HashMap<u32, Spool>,
    /// Bytes of all that wait to be written.
    waiting: usize,
}

#[derive(Default)]
struct Spool {
    /// Bytes passed on and not yet consumed.
    unread: usize,
    /// Made with the first write.
    file: Option<Arc<File>>,
    /// What is to be written next, in order.
    waiting: VecDeque<Bytes>,
    writing: bool,
    reading: bool,
    /// `read <= written`: the part of the file that is still to be passed on.
    read: u64,
    written: u64,
    /// The end, which comes behind what is spooled.
    end: Option<TxEvent>,
}

impl Spools {
    pub(super) fn new(mailbox: Rc<Mailbox>) -> Self {
        Spools { mailbox, by_id: HashMap::new(), waiting: 0 }
    }

    /// Whether the disk keeps up.
    pub(super) fn can_take(&self) -> bool {
        self.waiting < MAX_WAITING
    }

    /// Lets an event of an incoming transaction pass, or keeps it for later.
    pub(super) fn on_event(&mut self, event: TxEvent) -> Option<TxEvent> {
        match event {
            TxEvent::Started { tx_id, .. } => {
                self.by_id.insert(tx_id, Spool::default());
                Some(event)
            }
            TxEvent::Chunk { tx_id, data } => {
                let spool = self.by_id.entry(tx_id).or_default();
                if spool.is_empty() && spool.unread < WINDOW {
                    spool.unread += data.len();
                    return Some(TxEvent::Chunk { tx_id, data });
                }
                self.waiting += data.len();
                spool.waiting.push_back(Bytes::copy_from_slice(&data));
                self.write(tx_id);
                None
            }
            TxEvent::Ended { tx_id, outcome, .. } => {
                let spool = self.by_id.get_mut(&tx_id)?;
                if outcome == TxEnd::Finished && !spool.is_empty() {
                    spool.end = Some(event);
                    return None;
                }
                self.forget(tx_id);
                Some(event)
            }
            other => Some(other),
        }
    }

    /// The reader has taken bytes: more may be passed on.
    pub(super) fn on_consumed(&mut self, tx_id: u32, bytes: u64) {
        if let Some(spool) = self.by_id.get_mut(&tx_id) {
            spool.unread = spool.unread.saturating_sub(usize::try_from(bytes).unwrap_or(usize::MAX));
            self.read(tx_id);
        }
    }

    /// Nobody wants the rest.
    pub(super) fn forget(&mut self, tx_id: u32) {
        if let Some(spool) = self.by_id.remove(&tx_id) {
            self.waiting -= spool.waiting.iter().map(Bytes::len).sum::<usize>();
        }
    }

    /// A blocking operation is over. What it makes ready for the application goes to `pass`.
    pub(super) fn on_report(&mut self, report: SpoolReport, mut pass: impl FnMut(TxEvent)) {
        let tx_id = match report {
            SpoolReport::Written { tx_id, .. } | SpoolReport::Read { tx_id, .. } => tx_id,
        };
        let Some(spool) = self.by_id.get_mut(&tx_id) else { return };
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
                result.map(|data| {
                    spool.read += data.len() as u64;
                    spool.unread += data.len();
                    pass(TxEvent::Chunk { tx_id, data });
                })
            }
        };
        if outcome.is_err() {
            self.forget(tx_id);
            return pass(TxEvent::Ended { tx_id, outcome: TxEnd::SpoolFailed, expected: None, received: 0 });
        }
        if spool.is_empty() {
            // The file is used from its begin again.
            (spool.read, spool.written) = (0, 0);
            if let Some(end) = spool.end.take() {
                self.forget(tx_id);
                return pass(end);
            }
        }
        self.write(tx_id);
        self.read(tx_id);
    }

    fn write(&mut self, tx_id: u32) {
        let Some(spool) = self.by_id.get_mut(&tx_id) else { return };
        if spool.writing {
            return;
        }
        let Some(data) = spool.waiting.pop_front() else { return };
        self.waiting -= data.len();
        spool.writing = true;
        let (file, at) = (spool.file.clone(), spool.written);
        self.report_later(move || {
            let write = || {
                let file = file.map_or_else(|| tempfile::tempfile().map(Arc::new), Ok)?;
                disk::write_at(&file, at, &data)?;
                Ok(file)
            };
            SpoolReport::Written { tx_id, bytes: data.len(), result: write() }
        });
    }

    fn read(&mut self, tx_id: u32) {
        let Some(spool) = self.by_id.get_mut(&tx_id) else { return };
        let (false, true, Some(file)) = (spool.reading, spool.unread < WINDOW, &spool.file) else { return };
        let len = (spool.written - spool.read).min(CHUNK as u64) as usize;
        if len == 0 {
            return;
        }
        spool.reading = true;
        let (file, at) = (file.clone(), spool.read);
        self.report_later(move || SpoolReport::Read { tx_id, result: disk::read_at(&file, at, len) });
    }

    fn report_later(&self, operation: impl FnOnce() -> SpoolReport + Send + 'static) {
        disk::run(self.mailbox.clone(), move || Order::Spool(operation()));
    }
}

impl Spool {
    /// Whether everything that came has been passed on.
    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && !self.writing && self.read == self.written
    }
}
