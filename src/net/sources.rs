//! Sources of outgoing transactions that the core reads itself, so that their bytes never pass
//! through JavaScript: files, and what was collected in memory or in a spool file.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::disk;
use super::io_text::IoText;
use super::sessions::{Mailbox, Order};
use crate::protocol::{Behaviour, Text};
use crate::session::{Command, Input, Session, TxCommand, TxEvent, TxKey};

/// Bytes of a file read at once for a push, and how far reading may be ahead of the socket.
const READ: usize = 512 << 10;
const AHEAD: usize = 3 * READ;

/// An outgoing transaction as the application orders it.
#[derive(Debug)]
pub struct TxOrder {
    /// The application's name for it.
    pub key: TxKey,
    /// Its name on the wire.
    pub name: Text,
    /// Who sets the pace.
    pub behaviour: Behaviour,
    /// Where its bytes come from.
    pub source: Source,
}

/// Where the bytes of an outgoing transaction come from.
#[derive(Debug)]
pub enum Source {
    /// The application feeds a push as credit allows.
    Fed {
        /// Bytes in all, where that is known.
        size: Option<u64>,
    },
    /// Part of a file.
    File {
        /// Which file.
        path: PathBuf,
        /// First byte.
        start: u64,
        /// Behind the last byte; the file's end if that comes before.
        end: u64,
    },
    /// The application feeds all of it, then it is offered, from memory.
    Memory,
    /// The application feeds all of it, then it is offered, from a temporary file without a name.
    Spool,
}

/// What a blocking operation on a source has given.
#[derive(Debug)]
pub(super) enum SourceReport {
    Opened { key: TxKey, result: io::Result<(Arc<File>, u64, u64)> },
    Read { key: TxKey, result: io::Result<Bytes> },
    Spooled { key: TxKey, bytes: usize, result: io::Result<()> },
}

/// What the application is to be told.
pub(super) enum Notice {
    /// It may feed that much more.
    Credit { key: TxKey, bytes: usize },
    /// The transaction is over: its source failed.
    Failed { key: TxKey, error: io::Error },
}

/// The sources of one session that the core reads.
pub(super) struct Sources {
    mailbox: Rc<Mailbox>,
    max_spool: u64,
    by_key: HashMap<TxKey, Entry>,
}

struct Entry {
    name: Text,
    behaviour: Behaviour,
    state: State,
}

enum State {
    Opening,
    Collecting(BytesMut),
    /// One piece is written at a time; `waiting` are the next ones.
    Spooling {
        file: Arc<File>,
        written: u64,
        collected: u64,
        waiting: VecDeque<Bytes>,
        writing: bool,
        ended: bool,
    },
    Memory(Bytes),
    File {
        file: Arc<File>,
        next: u64,
        end: u64,
        credit: usize,
        reading: bool,
    },
}

impl Sources {
    /// `max_spool` bounds what is collected of one source.
    pub(super) fn new(mailbox: Rc<Mailbox>, max_spool: u64) -> Self {
        Sources { mailbox, max_spool, by_key: HashMap::new() }
    }

    /// Begins a transaction whose source the core reads.
    pub(super) fn open(&mut self, order: TxOrder) -> Option<Notice> {
        let TxOrder { key, name, behaviour, source } = order;
        let state = match source {
            Source::Fed { .. } => return None,
            Source::Memory => State::Collecting(BytesMut::new()),
            Source::Spool => match tempfile::tempfile() {
                Ok(file) => State::Spooling {
                    file: Arc::new(file),
                    written: 0,
                    collected: 0,
                    waiting: VecDeque::new(),
                    writing: false,
                    ended: false,
                },
                Err(error) => return Some(Notice::Failed { key, error }),
            },
            Source::File { path, start, end } => {
                self.report_later(move || SourceReport::Opened { key, result: open_file(&path, start, end) });
                State::Opening
            }
        };
        self.by_key.insert(key, Entry { name, behaviour, state });
        None
    }

    /// Bytes from the application for a source that is collected.
    pub(super) fn collect(&mut self, key: TxKey, data: &Bytes) -> Option<Notice> {
        let entry = self.by_key.get_mut(&key)?;
        match &mut entry.state {
            State::Collecting(bytes) => {
                bytes.extend_from_slice(data);
                Some(Notice::Credit { key, bytes: data.len() })
            }
            State::Spooling { waiting, collected, .. } => {
                *collected += data.len() as u64;
                if *collected > self.max_spool {
                    let text =
                        format!("the source has more than {} bytes, the limit of its spool file", self.max_spool);
                    self.forget(key);
                    return Some(Notice::Failed { key, error: io::Error::new(io::ErrorKind::FileTooLarge, text) });
                }
                waiting.push_back(data.clone());
                self.spool(key);
                None
            }
            _ => None,
        }
    }

    /// Whether the source of `key` is read or collected here.
    pub(super) fn has(&self, key: TxKey) -> bool {
        self.by_key.contains_key(&key)
    }

    /// The application has fed all of it.
    pub(super) fn end(&mut self, key: TxKey, session: &mut Session, now: std::time::Instant) {
        let Some(entry) = self.by_key.get_mut(&key) else { return };
        match &mut entry.state {
            State::Collecting(bytes) => {
                let bytes = std::mem::take(bytes).freeze();
                let size = bytes.len() as u64;
                entry.state = State::Memory(bytes);
                self.begin(key, size, session, now);
            }
            State::Spooling { ended, .. } => {
                *ended = true;
                self.offer_spool(key, session, now);
            }
            _ => {}
        }
    }

    pub(super) fn forget(&mut self, key: TxKey) {
        self.by_key.remove(&key);
    }

    /// A blocking operation is over.
    pub(super) fn on_report(
        &mut self,
        report: SourceReport,
        session: &mut Session,
        now: std::time::Instant,
    ) -> Option<Notice> {
        match report {
            SourceReport::Opened { key, result } => {
                let entry = self.by_key.get_mut(&key)?;
                match result {
                    Ok((file, start, end)) => {
                        entry.state = State::File { file, next: start, end, credit: AHEAD, reading: false };
                        self.begin(key, end - start, session, now);
                        self.feed(key, session, now);
                        None
                    }
                    Err(error) => self.fail(key, error, session, now),
                }
            }
            SourceReport::Read { key, result } => {
                let Entry { behaviour, state, .. } = self.by_key.get_mut(&key)?;
                let State::File { next, credit, reading, .. } = state else { return None };
                *reading = false;
                match result {
                    Ok(data) => {
                        if *behaviour == Behaviour::Push {
                            *next += data.len() as u64;
                            *credit = credit.saturating_sub(data.len());
                        }
                        let command = TxCommand::Data { key, data };
                        session.handle(Input::Command(Command::Transaction(command)), now);
                        self.feed(key, session, now);
                        None
                    }
                    Err(error) => self.fail(key, error, session, now),
                }
            }
            SourceReport::Spooled { key, bytes, result } => {
                let State::Spooling { written, writing, .. } = &mut self.by_key.get_mut(&key)?.state else {
                    return None;
                };
                *writing = false;
                *written += bytes as u64;
                match result {
                    Ok(()) => {
                        self.spool(key);
                        self.offer_spool(key, session, now);
                        Some(Notice::Credit { key, bytes })
                    }
                    Err(error) => self.fail(key, error, session, now),
                }
            }
        }
    }

    /// Answers the session's wish for bytes. False when the source is not here.
    pub(super) fn on_event(&mut self, event: &TxEvent, session: &mut Session, now: std::time::Instant) -> bool {
        match *event {
            TxEvent::Read { key, start, len } => {
                let Some(entry) = self.by_key.get(&key) else { return false };
                match &entry.state {
                    State::Memory(bytes) => {
                        let start = start as usize;
                        let data = bytes.slice(start..start + len);
                        let command = TxCommand::Data { key, data };
                        session.handle(Input::Command(Command::Transaction(command)), now);
                    }
                    State::File { file, next, .. } => {
                        let (file, at) = (file.clone(), *next + start);
                        self.report_later(move || SourceReport::Read { key, result: disk::read_at(&file, at, len) });
                    }
                    _ => {}
                }
                true
            }
            TxEvent::Credit { key, bytes } if self.has(key) => {
                if let Some(Entry { state: State::File { credit, .. }, .. }) = self.by_key.get_mut(&key) {
                    *credit += bytes;
                }
                self.feed(key, session, now);
                true
            }
            TxEvent::Settled { key, .. } => {
                self.forget(key);
                false
            }
            _ => false,
        }
    }

    fn begin(&mut self, key: TxKey, size: u64, session: &mut Session, now: std::time::Instant) {
        let Some(Entry { name, behaviour, .. }) = self.by_key.get(&key) else { return };
        let open = TxCommand::Open { key, name: name.clone(), size: Some(size), behaviour: *behaviour };
        session.handle(Input::Command(Command::Transaction(open)), now);
    }

    fn offer_spool(&mut self, key: TxKey, session: &mut Session, now: std::time::Instant) {
        let Some(entry) = self.by_key.get_mut(&key) else { return };
        if let State::Spooling { file, written, waiting, writing: false, ended: true, .. } = &entry.state
            && waiting.is_empty()
        {
            let (file, size) = (file.clone(), *written);
            entry.state = State::File { file, next: 0, end: size, credit: 0, reading: false };
            self.begin(key, size, session, now);
        }
    }

    /// Writes the next piece into the spool file.
    fn spool(&mut self, key: TxKey) {
        let Some(Entry { state: State::Spooling { file, waiting, writing, .. }, .. }) = self.by_key.get_mut(&key)
        else {
            return;
        };
        if *writing {
            return;
        }
        let Some(data) = waiting.pop_front() else { return };
        *writing = true;
        let file = file.clone();
        self.report_later(move || {
            let result = (&*file).write_all(&data);
            SourceReport::Spooled { key, bytes: data.len(), result }
        });
    }

    /// Reads the next piece of a file that is pushed.
    fn feed(&mut self, key: TxKey, session: &mut Session, now: std::time::Instant) {
        let Some(Entry { behaviour: Behaviour::Push, state, .. }) = self.by_key.get_mut(&key) else { return };
        let State::File { file, next, end, credit, reading } = state else { return };
        if *reading {
            return;
        }
        if next == end {
            let end = TxCommand::End { key };
            return session.handle(Input::Command(Command::Transaction(end)), now);
        }
        let len = (*end - *next).min(READ as u64) as usize;
        if *credit < len {
            return;
        }
        *reading = true;
        let (file, at) = (file.clone(), *next);
        self.report_later(move || SourceReport::Read { key, result: disk::read_at(&file, at, len) });
    }

    fn fail(&mut self, key: TxKey, error: io::Error, session: &mut Session, now: std::time::Instant) -> Option<Notice> {
        self.forget(key);
        session.handle(Input::Command(Command::Transaction(TxCommand::Abort { key })), now);
        Some(Notice::Failed { key, error })
    }

    fn report_later(&self, operation: impl FnOnce() -> SourceReport + Send + 'static) {
        disk::run(self.mailbox.clone(), move || Order::Source(operation()));
    }
}

/// The file with the range it has of `start..end`.
fn open_file(path: &std::path::Path, start: u64, end: u64) -> io::Result<(Arc<File>, u64, u64)> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {}", path.display(), IoText(&error)));
    // Before it is opened: a FIFO without a writer would hold the thread for ever.
    let metadata = std::fs::metadata(path).map_err(named)?;
    if metadata.is_dir() {
        return Err(named(io::ErrorKind::IsADirectory.into()));
    }
    if !metadata.is_file() {
        return Err(named(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")));
    }
    let file = File::open(path).map_err(named)?;
    let metadata = file.metadata().map_err(named)?;
    let end = end.min(metadata.len());
    if start > end {
        let text = format!("start {start} lies behind the end, {end}");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok((Arc::new(file), start, end))
}
