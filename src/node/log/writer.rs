//! The I/O thread's end of the log.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use napi::threadsafe_function::ThreadsafeFunctionCallMode;

use super::{Committed, Log, PIECE, RECORD_WEIGHT};
use crate::net::Slot;
use crate::node::record::{self, BESIDE, Kind, LARGE, LARGE_FROM};
use crate::node::server::lock;

/// Stages records, and commits them.
pub(in crate::node) struct LogWriter {
    log: Arc<Log>,
    staged: RefCell<Staged>,
    /// Commits so far.
    commits: Cell<u64>,
}

/// What is to be committed.
#[derive(Default)]
struct Staged {
    records: Vec<u8>,
    /// How many they are, but for those whose payload lies beside the log.
    count: usize,
    large: VecDeque<Bytes>,
    large_bytes: usize,
    stops: VecDeque<u64>,
    /// Position of the first record.
    position: u64,
}

impl LogWriter {
    pub(in crate::node) fn new(log: Arc<Log>) -> Self {
        LogWriter { log, staged: RefCell::default(), commits: Cell::new(0) }
    }

    /// Bytes staged; payloads kept beside the log are not counted.
    pub(in crate::node) fn staged(&self) -> usize {
        self.staged.borrow().records.len()
    }

    /// The number of the commit that the record staged last belongs to.
    pub(in crate::node) fn commit_number(&self) -> u64 {
        self.commits.get() + u64::from(!self.staged.borrow().records.is_empty())
    }

    /// Stages a message.
    #[inline]
    pub(in crate::node) fn put_payload(&self, slot: Slot, kind: Kind, payload: Bytes) {
        if matches!(kind, Kind::Utf8 | Kind::HeldUtf8) && payload.len() < LARGE_FROM {
            self.put_utf16(slot, kind, &payload);
        } else {
            self.put_bytes(slot, kind, payload);
        }
    }

    /// Stages a text, which is usually of fewer than [`LARGE_FROM`] bytes.
    #[inline(never)]
    pub(in crate::node) fn put_utf16(&self, slot: Slot, kind: Kind, text: &[u8]) {
        if text.len() >= LARGE_FROM {
            return self.put_copy(slot, kind, text);
        }
        let units = record::utf16(text);
        let mut staged = self.staged.borrow_mut();
        staged.records.extend_from_slice(&record::header(slot, kind, units.len() * 2, 0));
        staged.records.extend(units.iter().flat_map(|unit| unit.to_ne_bytes()));
        staged.pad();
    }

    /// Stages a record with a payload that is usually of fewer than [`LARGE_FROM`] bytes.
    #[inline]
    pub(in crate::node) fn put_slice(&self, slot: Slot, kind: Kind, payload: &[u8]) {
        if payload.len() >= LARGE_FROM {
            return self.put_copy(slot, kind, payload);
        }
        let mut staged = self.staged.borrow_mut();
        staged.records.extend_from_slice(&record::header(slot, kind, payload.len(), 0));
        staged.records.extend_from_slice(payload);
        staged.pad();
    }

    #[cold]
    fn put_copy(&self, slot: Slot, kind: Kind, payload: &[u8]) {
        self.put_bytes(slot, kind, Bytes::copy_from_slice(payload));
    }

    /// Stages a record with a payload that is shared.
    #[inline]
    pub(in crate::node) fn put_bytes(&self, slot: Slot, kind: Kind, payload: Bytes) {
        if payload.len() < LARGE_FROM {
            return self.put_slice(slot, kind, &payload);
        }
        let kind = match kind {
            Kind::Ascii => Kind::Utf8,
            Kind::HeldAscii => Kind::HeldUtf8,
            other => other,
        };
        if !kind.may_be_large() {
            return self.put_slice(slot, kind, record::fitting(&payload));
        }
        let mut staged = self.staged.borrow_mut();
        staged.records.extend_from_slice(&record::header(slot, kind, payload.len(), LARGE));
        staged.large_bytes += payload.len();
        staged.large.push_back(payload);
    }

    /// Stages a record of these words, with bytes that are kept beside the log whatever their size.
    pub(in crate::node) fn put_beside(&self, slot: Slot, kind: Kind, words: &[u32], bytes: Bytes) {
        // A small piece must not keep alive the block it was read into.
        let bytes = if bytes.len() < LARGE_FROM { Bytes::copy_from_slice(&bytes) } else { bytes };
        let mut staged = self.staged.borrow_mut();
        staged.records.extend_from_slice(&record::header(slot, kind, words.len() * 4, BESIDE));
        record::put_words(&mut staged.records, words);
        staged.pad();
        staged.large_bytes += bytes.len();
        staged.large.push_back(bytes);
    }

    /// Stages a record whose payload `encode` appends.
    pub(in crate::node) fn put(&self, slot: Slot, kind: Kind, encode: impl FnOnce(&mut Vec<u8>)) {
        let mut payload = Vec::new();
        encode(&mut payload);
        self.put_bytes(slot, kind, payload.into());
    }

    /// The next read stops behind the record staged last: JavaScript finishes a turn of its event
    /// loop before it gets what follows.
    pub(in crate::node) fn stop_reading(&self) {
        let mut staged = self.staged.borrow_mut();
        let end = staged.position + staged.records.len() as u64;
        staged.stops.push_back(end);
    }

    /// Makes what is staged available, and wakes JavaScript if it sleeps.
    pub(in crate::node) fn commit(&self) {
        let mut staged = self.staged.borrow_mut();
        if staged.records.is_empty() {
            return;
        }
        self.commits.set(self.commits.get() + 1);
        staged.position += staged.records.len() as u64;
        let mut committed = self.log.lock();
        let Committed { batch, bytes, spare, number, awake, .. } = &mut *committed;
        *number = self.commits.get();
        *bytes += staged.records.len() + std::mem::take(&mut staged.count) * RECORD_WEIGHT;
        match batch.pieces.back_mut() {
            Some(last) if last.len() + staged.records.len() <= PIECE => last.append(&mut staged.records),
            _ => {
                let empty = spare.pop().unwrap_or_default();
                batch.pieces.push_back(std::mem::replace(&mut staged.records, empty));
            }
        }
        batch.stops.append(&mut staged.stops);
        batch.large_bytes += std::mem::take(&mut staged.large_bytes);
        batch.large.append(&mut staged.large);
        self.log.size.store(*bytes + batch.large_bytes, Ordering::Relaxed);
        let was_awake = std::mem::replace(awake, true);
        drop(committed);
        if !was_awake && let Some(wake) = lock(&self.log.wake).as_ref() {
            // A closing environment takes nothing any more; its sessions end with it.
            let _ = wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
        }
    }
}

impl Staged {
    #[inline]
    /// Ends a record.
    fn pad(&mut self) {
        self.count += 1;
        let padded = self.records.len().next_multiple_of(8);
        self.records.resize(padded, 0);
    }
}
