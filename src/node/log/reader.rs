//! JavaScript's end of the log.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::{Batch, Log};
use crate::node::record::LARGE;

/// Takes what was committed, and hands it out.
pub(in crate::node) struct LogReader {
    log: Arc<Log>,
    batch: RefCell<Reading>,
}

/// A batch that was taken and is being handed out.
#[derive(Default)]
struct Reading {
    batch: Batch,
    /// Where the next record begins in the first piece, and among all bytes ever.
    at: usize,
    position: u64,
    /// Pieces that were handed out.
    done: Vec<Vec<u8>>,
    /// The last commit in the batch, and in the one before.
    number: u64,
    before: u64,
}

impl LogReader {
    pub(in crate::node) fn new(log: Arc<Log>) -> Self {
        LogReader { log, batch: RefCell::default() }
    }

    /// Copies whole records into `out`, as many as fit up to the next stop, and returns their length. 0: there is
    /// nothing, and the next commit wakes, unless the caller says that it `stays` awake.
    pub(in crate::node) fn read(&self, out: &mut [u8], stays: bool) -> usize {
        let mut reading = self.batch.borrow_mut();
        if reading.is_handed_out() {
            self.take(&mut reading, stays);
        }
        let Reading { batch, at, position, done, .. } = &mut *reading;
        let Some(piece) = batch.pieces.front() else { return 0 };
        let left = &piece[*at..];
        let until_stop = batch.stops.front().map_or(left.len(), |stop| left.len().min((stop - *position) as usize));
        let records = &left[..until_stop];
        let length = if records.len() <= out.len() { records.len() } else { whole_records(records, out.len()) };
        out[..length].copy_from_slice(&records[..length]);
        *at += length;
        *position += length as u64;
        if *at == piece.len() {
            *at = 0;
            done.extend(batch.pieces.pop_front());
        }
        if batch.stops.front() == Some(position) {
            batch.stops.pop_front();
        }
        length
    }

    /// Whether the next read takes what was committed.
    pub(in crate::node) fn is_handed_out(&self) -> bool {
        self.batch.borrow().is_handed_out()
    }

    /// JavaScript has seen to what it has read, and its orders were handed over. True if the I/O thread
    /// waits to hear of it.
    pub(in crate::node) fn answer(&self) -> bool {
        let reading = self.batch.borrow();
        let number = if reading.is_handed_out() { reading.number } else { reading.before };
        self.log.answered.store(number, Ordering::SeqCst);
        self.log.awaited.swap(false, Ordering::SeqCst)
    }

    /// The payload of the next `LARGE` record.
    pub(in crate::node) fn next_large(&self) -> Option<Bytes> {
        self.batch.borrow_mut().batch.large.pop_front()
    }

    fn take(&self, reading: &mut Reading, stays: bool) {
        let mut committed = self.log.lock();
        std::mem::swap(&mut committed.batch.pieces, &mut reading.batch.pieces);
        std::mem::swap(&mut committed.batch.stops, &mut reading.batch.stops);
        committed.take_back(&mut reading.done);
        reading.batch.large.append(&mut committed.batch.large);
        reading.before = std::mem::replace(&mut reading.number, committed.number);
        committed.batch.large_bytes = 0;
        committed.bytes = 0;
        self.log.size.store(0, Ordering::Relaxed);
        self.log.taken.fetch_add(1, Ordering::Release);
        committed.awake = stays || !reading.is_handed_out();
        let waiting = std::mem::take(&mut committed.waiting);
        drop(committed);
        for waker in waiting {
            waker.wake();
        }
    }
}

impl Reading {
    fn is_handed_out(&self) -> bool {
        self.batch.pieces.is_empty()
    }
}

/// The length of the records at the start of `records` that end within `max` bytes.
fn whole_records(records: &[u8], max: usize) -> usize {
    let mut end = 0;
    while let Some(word) = records.get(end + 4..end + 8).and_then(|w| <[u8; 4]>::try_from(w).ok()) {
        let word = u32::from_ne_bytes(word);
        let inline = if word & LARGE == 0 { (word >> 8) as usize } else { 0 };
        let next = end + 8 + inline.next_multiple_of(8);
        if next > max {
            break;
        }
        end = next;
    }
    end
}
