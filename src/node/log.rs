//! The log: what happens on the I/O thread, on its way to JavaScript.
//!
//! The I/O thread stages records and commits them in batches; the JavaScript thread takes all that
//! was committed in one exchange. It is woken only when it has said that it found nothing.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;

use bytes::Bytes;
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi::{Env, Status};

use super::record::{self, Kind, LARGE, LARGE_FROM};
use super::server::lock;
use crate::net::Slot;

/// Calls JavaScript to take the log. While it exists it keeps the process alive, unless told otherwise.
pub(super) type Wake = ThreadsafeFunction<(), (), (), Status, false>;

/// Committed bytes at which no session reads on until JavaScript has taken them.
const FULL: usize = 64 << 20;

/// Records lie in pieces of about this many bytes.
const PIECE: usize = 32 << 10;

/// Pieces whose memory is used again, unless one has grown beyond twice its size.
const SPARE_PIECES: usize = 8;

/// The shared part.
pub(super) struct Log {
    committed: Mutex<Committed>,
    /// `None` once the server is disposed of. A lock of its own: JavaScript may run, and take what was committed,
    /// before the call that wakes it has returned.
    wake: Mutex<Option<Wake>>,
    /// How often JavaScript has taken the log.
    taken: AtomicU64,
    /// Bytes committed and not taken.
    size: AtomicUsize,
    /// The last commit that JavaScript has handed out, and answered as far as it does so at once.
    answered: AtomicU64,
    /// Whether the I/O thread wants to hear of that.
    awaited: AtomicBool,
}

struct Committed {
    batch: Batch,
    /// Bytes of its records.
    bytes: usize,
    /// Empty ones.
    spare: Vec<Vec<u8>>,
    /// Commits so far.
    number: u64,
    /// Sessions that wait for the log to be taken.
    waiting: Vec<Waker>,
    /// Whether JavaScript has been woken, or is busy with what it took.
    awake: bool,
}

/// Records, and the payloads kept beside them.
#[derive(Default)]
struct Batch {
    /// Whole records, none of the pieces empty.
    pieces: VecDeque<Vec<u8>>,
    large: VecDeque<Bytes>,
    /// Sum of `large`, while it grows.
    large_bytes: usize,
    /// Where the records end behind which a read stops, in order, as positions among all bytes ever.
    stops: VecDeque<u64>,
}

/// What is to be committed.
#[derive(Default)]
struct Staged {
    records: Vec<u8>,
    large: VecDeque<Bytes>,
    large_bytes: usize,
    stops: VecDeque<u64>,
    /// Position of the first record.
    position: u64,
}

impl Log {
    pub(super) fn new(wake: Wake) -> Arc<Self> {
        Arc::new(Log {
            committed: Mutex::new(Committed {
                batch: Batch::default(),
                bytes: 0,
                spare: Vec::new(),
                number: 0,
                waiting: Vec::new(),
                awake: false,
            }),
            wake: Mutex::new(Some(wake)),
            taken: AtomicU64::new(0),
            size: AtomicUsize::new(0),
            answered: AtomicU64::new(0),
            awaited: AtomicBool::new(false),
        })
    }

    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Acquire)
    }

    pub(super) fn is_full(&self) -> bool {
        self.size.load(Ordering::Relaxed) >= FULL
    }

    pub(super) fn is_idle(&self) -> bool {
        !self.lock().awake
    }

    pub(super) fn answered(&self) -> u64 {
        self.answered.load(Ordering::SeqCst)
    }

    /// The I/O thread is to be told once [`Self::answered`] has grown.
    pub(super) fn await_answer(&self) {
        self.awaited.store(true, Ordering::SeqCst);
    }

    /// See [`Application::wake_when_taken`](crate::net::Application::wake_when_taken).
    pub(super) fn wake_when_taken(&self, count: u64, waker: &Waker) -> bool {
        let mut committed = self.lock();
        if self.taken() > count {
            return false;
        }
        if !committed.waiting.iter().any(|other| other.will_wake(waker)) {
            committed.waiting.push(waker.clone());
        }
        true
    }

    /// Whether the wake keeps the process alive.
    // napi would have a clone made and dropped instead, for threads that come and go. Here it is one
    // function that counts at times and at times does not.
    #[allow(deprecated)]
    pub(super) fn hold_process(&self, env: &Env, held: bool) -> napi::Result<()> {
        match lock(&self.wake).as_mut() {
            Some(wake) if held => wake.refer(env),
            Some(wake) => wake.unref(env),
            None => Ok(()),
        }
    }

    /// Lets go of JavaScript: no wake follows, and the process may end.
    pub(super) fn dispose(&self) {
        *lock(&self.wake) = None;
    }

    fn lock(&self) -> MutexGuard<'_, Committed> {
        lock(&self.committed)
    }
}

/// The I/O thread's end.
pub(super) struct LogWriter {
    log: Arc<Log>,
    staged: RefCell<Staged>,
    /// Commits so far.
    commits: Cell<u64>,
}

impl LogWriter {
    pub(super) fn new(log: Arc<Log>) -> Self {
        LogWriter { log, staged: RefCell::default(), commits: Cell::new(0) }
    }

    /// Bytes staged; payloads kept beside the log are not counted.
    pub(super) fn staged(&self) -> usize {
        self.staged.borrow().records.len()
    }

    /// The number of the commit that the record staged last belongs to.
    pub(super) fn commit_number(&self) -> u64 {
        self.commits.get() + u64::from(!self.staged.borrow().records.is_empty())
    }

    /// Stages a message.
    #[inline]
    pub(super) fn put_payload(&self, slot: Slot, kind: Kind, payload: Bytes) {
        if matches!(kind, Kind::Utf8 | Kind::HeldUtf8) && payload.len() < LARGE_FROM {
            self.put_utf16(slot, kind, &payload);
        } else {
            self.put_bytes(slot, kind, payload);
        }
    }

    /// Stages a text of fewer than [`LARGE_FROM`] bytes.
    #[inline(never)]
    pub(super) fn put_utf16(&self, slot: Slot, kind: Kind, text: &[u8]) {
        let units = record::utf16(text);
        let mut staged = self.staged.borrow_mut();
        staged.records.extend_from_slice(&record::header(slot, kind, units.len() * 2, false));
        staged.records.extend(units.iter().flat_map(|unit| unit.to_ne_bytes()));
        staged.pad();
    }

    /// Stages a record with a payload of fewer than [`LARGE_FROM`] bytes.
    #[inline]
    pub(super) fn put_slice(&self, slot: Slot, kind: Kind, payload: &[u8]) {
        let mut staged = self.staged.borrow_mut();
        staged.records.extend_from_slice(&record::header(slot, kind, payload.len(), false));
        staged.records.extend_from_slice(payload);
        staged.pad();
    }

    /// Stages a record with a payload that is shared.
    #[inline]
    pub(super) fn put_bytes(&self, slot: Slot, kind: Kind, payload: Bytes) {
        if payload.len() < LARGE_FROM {
            return self.put_slice(slot, kind, &payload);
        }
        let mut staged = self.staged.borrow_mut();
        staged.records.extend_from_slice(&record::header(slot, kind, payload.len(), true));
        staged.large_bytes += payload.len();
        staged.large.push_back(payload);
    }

    /// Stages a record of these words, with bytes that are kept beside the log whatever their size.
    pub(super) fn put_beside(&self, slot: Slot, kind: Kind, words: &[u32], bytes: Bytes) {
        // A small piece must not keep alive the block it was read into.
        let bytes = if bytes.len() < LARGE_FROM { Bytes::copy_from_slice(&bytes) } else { bytes };
        let mut staged = self.staged.borrow_mut();
        staged.records.extend_from_slice(&record::header(slot, kind, words.len() * 4, false));
        record::put_words(&mut staged.records, words);
        staged.pad();
        staged.large_bytes += bytes.len();
        staged.large.push_back(bytes);
    }

    /// Stages a record whose payload `encode` appends.
    pub(super) fn put(&self, slot: Slot, kind: Kind, encode: impl FnOnce(&mut Vec<u8>)) {
        let mut payload = Vec::new();
        encode(&mut payload);
        self.put_bytes(slot, kind, payload.into());
    }

    /// The next read stops behind the record staged last: JavaScript finishes a turn of its event
    /// loop before it gets what follows.
    pub(super) fn stop_reading(&self) {
        let mut staged = self.staged.borrow_mut();
        let end = staged.position + staged.records.len() as u64;
        staged.stops.push_back(end);
    }

    /// Makes what is staged available, and wakes JavaScript if it sleeps.
    pub(super) fn commit(&self) {
        let mut staged = self.staged.borrow_mut();
        if staged.records.is_empty() {
            return;
        }
        self.commits.set(self.commits.get() + 1);
        staged.position += staged.records.len() as u64;
        let mut committed = self.log.lock();
        let Committed { batch, bytes, spare, number, awake, .. } = &mut *committed;
        *number = self.commits.get();
        *bytes += staged.records.len();
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

/// The JavaScript thread's end.
pub(super) struct LogReader {
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
    pub(super) fn new(log: Arc<Log>) -> Self {
        LogReader { log, batch: RefCell::default() }
    }

    /// Copies whole records into `out`, as many as fit up to the next stop, and returns their length. 0: there is
    /// nothing, and the next commit wakes, unless the caller says that it `stays` awake.
    pub(super) fn read(&self, out: &mut [u8], stays: bool) -> usize {
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
    pub(super) fn is_handed_out(&self) -> bool {
        self.batch.borrow().is_handed_out()
    }

    /// JavaScript has seen to what it has read, and its orders were handed over. True if the I/O thread
    /// waits to hear of it.
    pub(super) fn answer(&self) -> bool {
        let reading = self.batch.borrow();
        let number = if reading.is_handed_out() { reading.number } else { reading.before };
        self.log.answered.store(number, Ordering::SeqCst);
        self.log.awaited.swap(false, Ordering::SeqCst)
    }

    /// The payload of the next `LARGE` record.
    pub(super) fn next_large(&self) -> Option<Bytes> {
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

impl Committed {
    /// Keeps the memory of pieces that were handed out, as far as it is likely to be wanted.
    fn take_back(&mut self, done: &mut Vec<Vec<u8>>) {
        for mut piece in done.drain(..) {
            if self.spare.len() < SPARE_PIECES && piece.capacity() <= 2 * PIECE {
                piece.clear();
                self.spare.push(piece);
            }
        }
    }
}

impl Staged {
    #[inline]
    fn pad(&mut self) {
        let padded = self.records.len().next_multiple_of(8);
        self.records.resize(padded, 0);
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
