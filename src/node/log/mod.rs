//! The log: what happens on the I/O thread, on its way to JavaScript.
//!
//! The I/O thread stages records and commits them in batches; the JavaScript thread takes all that
//! was committed in one exchange. It is woken only when it has said that it found nothing.

mod reader;
mod writer;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;

use bytes::Bytes;
use napi::threadsafe_function::ThreadsafeFunction;
use napi::{Env, Status};

pub(super) use reader::LogReader;
pub(super) use writer::LogWriter;

use super::server::lock;

/// Calls JavaScript to take the log. While it exists it keeps the process alive, unless told otherwise.
pub(super) type Wake = ThreadsafeFunction<(), (), (), Status, false>;

/// Committed bytes at which no session reads on until JavaScript has taken them.
const FULL: usize = 64 << 20;

/// What a record counts beside its bytes: what JavaScript makes of it is larger.
const RECORD_WEIGHT: usize = 256;

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
    /// Bytes committed and not taken, and the weight of their records.
    size: AtomicUsize,
    /// The last commit that JavaScript has handed out, and answered as far as it does so at once.
    answered: AtomicU64,
    /// Whether the I/O thread wants to hear of that.
    awaited: AtomicBool,
}

struct Committed {
    batch: Batch,
    /// Bytes of its records, and their weight.
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
