//! Figures of a session that the application may read at any time, from any thread.

use std::sync::atomic::{AtomicU64, Ordering};

/// How a session stands. Counters from its begin first, then gauges.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// Bytes of CAMP frames received.
    pub bytes_rx: u64,
    /// Bytes of CAMP frames sent.
    pub bytes_tx: u64,
    /// CAMP frames received.
    pub frames_rx: u64,
    /// CAMP frames sent.
    pub frames_tx: u64,
    /// Data frames received and passed on.
    pub messages_rx: u64,
    /// Data frames the drop policy removed or refused.
    pub dropped: u64,
    /// Sends that were not acknowledged in time.
    pub ack_timeouts: u64,
    /// Bytes on their way to the socket that it has not taken.
    pub in_flight_bytes: u64,
    /// Bytes that wait behind the high watermark.
    pub queued_bytes: u64,
    /// Frames that wait behind the high watermark.
    pub queued_frames: u64,
    /// Bytes of the temporary files that its streams take up.
    pub spooled_bytes: u64,
    /// Mean round-trip time in milliseconds; -1 before the first sample.
    pub rtt_ms: f64,
}

/// Number of [`Figures`].
pub const FIGURES: usize = 12;

impl Figures {
    /// All of them, in the order above.
    pub fn to_array(self) -> [f64; FIGURES] {
        let whole = [
            self.bytes_rx,
            self.bytes_tx,
            self.frames_rx,
            self.frames_tx,
            self.messages_rx,
            self.dropped,
            self.ack_timeouts,
            self.in_flight_bytes,
            self.queued_bytes,
            self.queued_frames,
            self.spooled_bytes,
        ];
        let mut all = [self.rtt_ms; FIGURES];
        for (to, from) in all.iter_mut().zip(whole) {
            *to = from as f64;
        }
        all
    }

    /// Those of several sessions together: of one that has ended only the counters count.
    #[expect(clippy::arithmetic_side_effects, reason = "counting does not come to the end of 64 bits")]
    pub fn add(&mut self, other: &Figures, ended: bool) {
        self.bytes_rx += other.bytes_rx;
        self.bytes_tx += other.bytes_tx;
        self.frames_rx += other.frames_rx;
        self.frames_tx += other.frames_tx;
        self.messages_rx += other.messages_rx;
        self.dropped += other.dropped;
        self.ack_timeouts += other.ack_timeouts;
        if !ended {
            self.in_flight_bytes += other.in_flight_bytes;
            self.queued_bytes += other.queued_bytes;
            self.queued_frames += other.queued_frames;
            self.spooled_bytes += other.spooled_bytes;
        }
    }
}

/// The [`Figures`] of one session, shared between its driver and whoever reads them.
#[derive(Debug, Default)]
pub struct Counters {
    bytes_rx: AtomicU64,
    bytes_tx: AtomicU64,
    frames_rx: AtomicU64,
    frames_tx: AtomicU64,
    messages_rx: AtomicU64,
    dropped: AtomicU64,
    ack_timeouts: AtomicU64,
    in_flight_bytes: AtomicU64,
    queued_bytes: AtomicU64,
    queued_frames: AtomicU64,
    spooled_bytes: AtomicU64,
    /// The bits of a float.
    rtt_ms: AtomicU64,
}

impl Counters {
    pub(super) fn new() -> Self {
        let counters = Counters::default();
        counters.set(&Figures { rtt_ms: -1.0, ..Figures::default() });
        counters
    }

    /// Bytes of CAMP frames received and sent.
    pub fn bytes(&self) -> (u64, u64) {
        (get(&self.bytes_rx), get(&self.bytes_tx))
    }

    /// All figures, each as of its last change.
    pub fn figures(&self) -> Figures {
        Figures {
            bytes_rx: get(&self.bytes_rx),
            bytes_tx: get(&self.bytes_tx),
            frames_rx: get(&self.frames_rx),
            frames_tx: get(&self.frames_tx),
            messages_rx: get(&self.messages_rx),
            dropped: get(&self.dropped),
            ack_timeouts: get(&self.ack_timeouts),
            in_flight_bytes: get(&self.in_flight_bytes),
            queued_bytes: get(&self.queued_bytes),
            queued_frames: get(&self.queued_frames),
            spooled_bytes: get(&self.spooled_bytes),
            rtt_ms: f64::from_bits(get(&self.rtt_ms)),
        }
    }

    /// The only figure that changes after a session's end.
    pub(super) fn set_spooled(&self, bytes: u64) {
        set(&self.spooled_bytes, bytes);
    }

    pub(super) fn set(&self, figures: &Figures) {
        set(&self.bytes_rx, figures.bytes_rx);
        set(&self.bytes_tx, figures.bytes_tx);
        set(&self.frames_rx, figures.frames_rx);
        set(&self.frames_tx, figures.frames_tx);
        set(&self.messages_rx, figures.messages_rx);
        set(&self.dropped, figures.dropped);
        set(&self.ack_timeouts, figures.ack_timeouts);
        set(&self.in_flight_bytes, figures.in_flight_bytes);
        set(&self.queued_bytes, figures.queued_bytes);
        set(&self.queued_frames, figures.queued_frames);
        self.set_spooled(figures.spooled_bytes);
        set(&self.rtt_ms, figures.rtt_ms.to_bits());
    }
}

#[inline]
fn get(figure: &AtomicU64) -> u64 {
    figure.load(Ordering::Relaxed)
}

#[inline]
fn set(figure: &AtomicU64, value: u64) {
    figure.store(value, Ordering::Relaxed);
}
