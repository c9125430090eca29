//! Sources of outgoing transactions that the core reads itself, so that their bytes never pass
//! through JavaScript: files, and what was collected in memory or in a spool file.

mod collecting;
mod flowing;

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::disk::{self, DiskFile};
use super::ledger::{Charge, Ledger};
use super::sessions::{Mailbox, Order};
use super::source_file::{self, Flow, Opened};
use crate::protocol::{Behaviour, Text};
use crate::session::{Command, Input, Session, TxCommand, TxEvent, TxKey};

/// Bytes of a file read at once for a push, and how far reading may be ahead of the socket.
const READ: usize = 512 << 10;
const AHEAD: usize = 3 * READ;

/// Transactions of one session that may each be read so far ahead. Further ones make do with less: nobody says how
/// many there are, and all of them wait for the same client.
const CROWD: usize = 64;
const READ_IN_CROWD: usize = 64 << 10;
const AHEAD_IN_CROWD: usize = 2 * READ_IN_CROWD;

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
    Opened {
        key: TxKey,
        result: io::Result<Opened>,
    },
    Read {
        key: TxKey,
        result: io::Result<Bytes>,
    },
    /// The next bytes of what has no size; none at its end.
    Flowed {
        key: TxKey,
        result: io::Result<Bytes>,
    },
    Spooled {
        key: TxKey,
        bytes: usize,
        result: io::Result<Arc<DiskFile>>,
    },
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
    ledger: Rc<Ledger>,
    max_spool: u64,
    in_files: Rc<Cell<u64>>,
    by_key: HashMap<TxKey, Entry>,
}

struct Entry {
    name: Text,
    behaviour: Behaviour,
    state: State,
    /// Where the bytes come from, if that has no size.
    flow: Option<Flow>,
    /// For the temporary file.
    charge: Option<Charge>,
}

enum State {
    Opening,
    Collecting(BytesMut),
    /// One piece is written at a time; `waiting` are the next ones.
    Spooling {
        /// Made with the first write.
        file: Option<Arc<DiskFile>>,
        written: u64,
        collected: u64,
        waiting: VecDeque<Bytes>,
        writing: bool,
        ended: bool,
    },
    Memory(Bytes),
    /// A push of what has no size, or was read whole.
    Passing {
        credit: usize,
    },
    File {
        file: Arc<DiskFile>,
        next: u64,
        end: u64,
        /// Bytes read at once.
        piece: usize,
        credit: usize,
        reading: bool,
    },
}

impl Sources {
    /// `max_spool` bounds what is collected of one source, the ledger what is of all.
    pub(super) fn new(mailbox: Rc<Mailbox>, ledger: Rc<Ledger>, max_spool: u64) -> Self {
        Sources { mailbox, ledger, max_spool, in_files: Rc::default(), by_key: HashMap::new() }
    }

    /// Bytes in temporary files.
    pub(super) fn in_files(&self) -> u64 {
        self.in_files.get()
    }

    /// Begins a transaction whose source the core reads.
    pub(super) fn open(&mut self, order: TxOrder) {
        let TxOrder { key, name, behaviour, source } = order;
        let state = match source {
            Source::Fed { .. } => return,
            Source::Memory => State::Collecting(BytesMut::new()),
            Source::Spool => State::spooling(),
            Source::File { path, start, end } => {
                self.report_later(move || SourceReport::Opened { key, result: source_file::open(&path, start, end) });
                State::Opening
            }
        };
        self.by_key.insert(key, Entry { name, behaviour, state, flow: None, charge: None });
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
                self.offer_memory(key, bytes, session, now);
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
                let (piece, credit) =
                    if self.by_key.len() > CROWD { (READ_IN_CROWD, AHEAD_IN_CROWD) } else { (READ, AHEAD) };
                let entry = self.by_key.get_mut(&key)?;
                match result {
                    Ok(Opened::Sized { file, start, end }) => {
                        entry.state = State::File { file, next: start, end, piece, credit, reading: false };
                        self.begin(key, Some(end.saturating_sub(start)), session, now);
                        self.feed(key, session, now);
                        None
                    }
                    Ok(Opened::Whole(bytes)) => {
                        self.offer_memory(key, bytes, session, now);
                        None
                    }
                    Ok(Opened::Unsized { file, first, left }) => {
                        entry.flow = Some(Flow::new(file, left));
                        if entry.behaviour == Behaviour::Pull {
                            entry.state = State::spooling();
                        } else {
                            entry.state = State::Passing { credit };
                            self.begin(key, None, session, now);
                        }
                        self.on_flow(key, first, session, now)
                    }
                    Err(error) => self.fail(key, error, session, now),
                }
            }
            SourceReport::Flowed { key, result } => {
                let flow = self.by_key.get_mut(&key)?.flow.as_mut()?;
                match result {
                    Ok(data) => {
                        flow.on_read(data.len());
                        if data.is_empty() {
                            self.end_flow(key, session, now);
                        }
                        self.on_flow(key, data, session, now)
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
                            *next = next.saturating_add(data.len() as u64);
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
                let Entry { state, flow, .. } = self.by_key.get_mut(&key)?;
                let State::Spooling { file, written, writing, .. } = state else { return None };
                *writing = false;
                *written = written.saturating_add(bytes as u64);
                match result {
                    Ok(written_to) => {
                        *file = Some(written_to);
                        let fed = flow.is_none();
                        self.spool(key);
                        self.offer_spool(key, session, now);
                        self.pump(key, session, now);
                        fed.then_some(Notice::Credit { key, bytes })
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
                        let start = usize::try_from(start).unwrap_or(usize::MAX).min(bytes.len());
                        let data = bytes.slice(start..start.saturating_add(len).min(bytes.len()));
                        let command = TxCommand::Data { key, data };
                        session.handle(Input::Command(Command::Transaction(command)), now);
                    }
                    State::File { file, next, .. } => {
                        let (file, at) = (file.clone(), next.saturating_add(start));
                        self.report_later(move || SourceReport::Read { key, result: file.read_at(at, len) });
                    }
                    _ => {}
                }
                true
            }
            TxEvent::Credit { key, bytes } if self.has(key) => {
                if let Some(Entry { state: State::File { credit, .. } | State::Passing { credit }, .. }) =
                    self.by_key.get_mut(&key)
                {
                    *credit = credit.saturating_add(bytes);
                }
                self.feed(key, session, now);
                self.pump(key, session, now);
                true
            }
            TxEvent::Settled { key, .. } => {
                self.forget(key);
                false
            }
            _ => false,
        }
    }

    fn begin(&mut self, key: TxKey, size: Option<u64>, session: &mut Session, now: std::time::Instant) {
        let Some(Entry { name, behaviour, .. }) = self.by_key.get(&key) else { return };
        let open = TxCommand::Open { key, name: name.clone(), size, behaviour: *behaviour };
        session.handle(Input::Command(Command::Transaction(open)), now);
    }

    /// Reads the next piece of a file that is pushed.
    fn feed(&mut self, key: TxKey, session: &mut Session, now: std::time::Instant) {
        let Some(Entry { behaviour: Behaviour::Push, state, .. }) = self.by_key.get_mut(&key) else { return };
        let State::File { file, next, end, piece, credit, reading } = state else { return };
        if *reading {
            return;
        }
        if next == end {
            let end = TxCommand::End { key };
            return session.handle(Input::Command(Command::Transaction(end)), now);
        }
        let len = end.saturating_sub(*next).min(*piece as u64) as usize;
        if *credit < len {
            return;
        }
        *reading = true;
        let (file, at) = (file.clone(), *next);
        self.report_later(move || SourceReport::Read { key, result: file.read_at(at, len) });
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

impl State {
    fn spooling() -> Self {
        let waiting = VecDeque::new();
        State::Spooling { file: None, written: 0, collected: 0, waiting, writing: false, ended: false }
    }
}
