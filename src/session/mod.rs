//! One CAMP session, without I/O: time and frames come in as arguments, frames and events go out.
//!
//! The driving contract: call [`Session::handle`] with whatever happened, then drain
//! [`Session::poll_event`] and [`Session::poll_transmit`], and call `handle` with
//! [`Input::Timeout`] when the time of [`Session::poll_timeout`] has come. While
//! [`Session::can_receive`] is false, do not read from the socket.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::get_unwrap,
        clippy::panic,
        clippy::unreachable,
        clippy::todo,
        clippy::unimplemented,
        clippy::indexing_slicing,
        clippy::string_slice,
        clippy::arithmetic_side_effects,
        clippy::unchecked_time_subtraction,
        clippy::print_stdout,
        clippy::print_stderr,
        clippy::dbg_macro,
        clippy::exit
    )
)]

mod acks;
mod io;
mod keepalive;
mod outbox;
mod receiving;
mod sending;
mod state;
#[cfg(test)]
mod tests;
mod transaction;

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;

pub use io::{
    Backpressure, CloseReason, Command, Config, DataKind, DropPolicy, Event, Hooks, Input, Outcome, Payload, Role,
    Statistics, Token, Transmit,
};

use acks::Acks;
use keepalive::Keepalive;
use outbox::{Outbox, Outgoing};
use state::{PeerInfo, Phase};
use transaction::Transactions;
pub use transaction::{CHUNK, CREDIT, TxCommand, TxEnd, TxEvent, TxKey, TxOutcome};

/// How long a server holds back its first frame for the client's first one: published clients
/// attach their listener a little after the upgrade and lose a frame that comes with the 101.
const FIRST_FRAME_HOLD: Duration = Duration::from_millis(50);

/// A client that has acknowledged our ENDPOINT_INFO and sends none itself counts as connected
/// after this time.
const PRESUMED_CONNECTED: Duration = Duration::from_secs(1);

/// How long a closing session waits for the peer without any progress on the socket.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long closing may take in all, however slowly the peer reads.
const MAX_CLOSE_TIME: Duration = Duration::from_secs(30);

/// Malformed frames answered in a session; the last of them ends it.
const MAX_BAD_FRAMES: u32 = 16;

/// Bytes of control frames that may queue up for a peer that does not read before its own frames are
/// no longer read.
const MAX_QUEUED_CONTROL: usize = 256 << 10;

/// One end of a CAMP connection.
#[derive(Debug)]
pub struct Session {
    sid: u64,
    config: Rc<Config>,
    phase: Phase,
    hooks: Hooks,

    peer_info: PeerInfo,
    connected: bool,
    /// Until then nothing is transmitted, unless the peer's first frame comes before.
    held_until: Option<Instant>,

    acks: Acks,
    outbox: Outbox,
    next_token: Token,

    /// Messages given to their hooks, oldest first: the peer's number and the frame's length.
    held: VecDeque<(u32, usize)>,
    held_bytes: usize,
    /// Frames that arrived behind them, with the hooks of their arrival. Empty if `held` is.
    backlog: VecDeque<(Bytes, Hooks)>,
    backlog_bytes: usize,

    tx: Transactions,
    keepalive: Keepalive,
    bad_frames: u32,
    bytes_rx: u64,
    bytes_tx: u64,
    ack_timeouts: u32,
    rtt_ms: f64,

    events: VecDeque<Event>,
    /// Acknowledged sends not yet reported: the first, and how many.
    acknowledged: (Token, u32),
}

impl Session {
    /// A session whose WebSocket has just been opened.
    pub fn new(sid: u64, role: Role, config: Rc<Config>, now: Instant) -> Self {
        let mut outbox = Outbox::new(config.backpressure.clone(), config.max_unacknowledged);
        outbox.push_control(Outgoing::EndpointInfo);
        Session {
            sid,
            phase: Phase::Open,
            hooks: Hooks::NONE,
            peer_info: PeerInfo::Unknown,
            connected: false,
            held_until: match role {
                Role::Server => Some(later(now, FIRST_FRAME_HOLD)),
                Role::Peer => None,
            },
            acks: Acks::new(config.ack_timeout),
            outbox,
            next_token: 0,
            held: VecDeque::new(),
            held_bytes: 0,
            backlog: VecDeque::new(),
            backlog_bytes: 0,
            tx: Transactions::default(),
            keepalive: Keepalive::new(config.keep_alive, now),
            bad_frames: 0,
            bytes_rx: 0,
            bytes_tx: 0,
            ack_timeouts: 0,
            rtt_ms: -1.0,
            events: VecDeque::new(),
            acknowledged: (0, 0),
            config,
        }
    }

    /// Takes in something that happened at `now`.
    pub fn handle(&mut self, input: Input, now: Instant) {
        match input {
            Input::Frame(frame) => self.receive(frame, now),
            Input::Command(command) => self.on_command(command, now),
            Input::Verdict => self.on_verdict(now),
            Input::Written(bytes) => self.on_written(bytes, now),
            Input::Alive => self.keepalive.heard(),
            Input::Taking => self.on_taking(now),
            Input::ReadingPaused(paused) => self.keepalive.reading_paused(paused, now),
            Input::Violation { code, reason } => self.close(CloseReason { code, reason }, None, now),
            Input::Disconnected(reason) => self.on_disconnected(reason),
            Input::Timeout => self.on_timeout(now),
        }
    }

    /// The next event for the application.
    #[inline]
    pub fn poll_event(&mut self) -> Option<Event> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        let (first, count) = self.acknowledged;
        if count == 0 {
            return None;
        }
        self.acknowledged.1 = 0;
        Some(Event::Settled { first, count, outcome: Outcome::Done })
    }

    /// The next event but for the acknowledgement of sends, left where it is.
    pub fn peek_event(&self) -> Option<&Event> {
        self.events.front()
    }

    /// When [`Input::Timeout`] is due. It moves with every input; a call that comes early does nothing.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let phase = match self.phase {
            Phase::Open => Some(self.keepalive.next_tick()),
            Phase::Closing { overdue: true, .. } => None,
            Phase::Closing { deadline, .. } => Some(deadline),
            Phase::Closed => return None,
        };
        let acks = self.acks.deadline().and_then(|at| self.keepalive.real_time(at));
        let presumed = match self.peer_info {
            PeerInfo::Expected { until } if matches!(self.phase, Phase::Open) => Some(until),
            _ => None,
        };
        let transactions = self.tx.next_due().and_then(|at| self.keepalive.real_time(at));
        [phase, acks, presumed, transactions, self.held_until].into_iter().flatten().min()
    }

    /// Whether the timeout that is due judges the peer's silence, so that [`Input::Alive`] and [`Input::Taking`]
    /// have to come before it.
    pub fn judges_silence(&self, now: Instant) -> bool {
        match self.phase {
            Phase::Open => self.keepalive.next_tick() <= now,
            Phase::Closing { deadline, overdue, .. } => !overdue && deadline <= now,
            Phase::Closed => false,
        }
    }

    /// Whether frames of the peer should be read. False while too much waits behind a verdict, or
    /// when the peer reads none of the answers.
    pub fn can_receive(&self) -> bool {
        !self.is_backlogged() && self.outbox.queued_control_bytes() <= MAX_QUEUED_CONTROL
    }

    /// Whether more waits behind the pending verdict than is to be kept.
    fn is_backlogged(&self) -> bool {
        self.backlog_bytes > self.config.max_backlog
    }

    /// From now on messages of these kinds need a verdict.
    pub fn set_hooks(&mut self, hooks: Hooks) {
        self.hooks = hooks;
    }

    /// Whether the session has ended: its [`Event::Closed`] is, or was, to be polled.
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Why the session is ending, while it does.
    pub fn closing(&self) -> Option<&CloseReason> {
        match &self.phase {
            Phase::Closing { reason, .. } => Some(reason),
            _ => None,
        }
    }

    /// Whether the peer did not let the session close in time: the connection is to be dropped.
    pub fn is_overdue(&self) -> bool {
        matches!(self.phase, Phase::Closing { overdue: true, .. })
    }

    /// Whether sending is paused by the high watermark.
    pub fn is_paused(&self) -> bool {
        self.outbox.is_paused()
    }

    /// Whether there is something to transmit, and it is ACKs alone.
    pub fn owes_only_acks(&self) -> bool {
        matches!(self.phase, Phase::Open) && self.outbox.has_only_acks() && !self.tx.has_chunks()
    }

    /// Gives back what memory its queues keep: for a session that may be idle for long.
    pub fn trim(&mut self) {
        trim(&mut self.events);
        trim(&mut self.held);
        trim(&mut self.backlog);
        self.outbox.trim();
        self.acks.trim_idle();
    }

    /// The session id.
    pub fn sid(&self) -> u64 {
        self.sid
    }

    /// What waits behind the high watermark, in frames and bytes, and the bytes on their way to the
    /// socket that it has not taken.
    pub fn queued(&self) -> (usize, usize, usize) {
        self.outbox.queued()
    }

    /// The figures as they stand.
    pub fn statistics(&self) -> Statistics {
        Statistics {
            rtt_ms: self.rtt_ms,
            bytes_rx: self.bytes_rx,
            bytes_tx: self.bytes_tx,
            ack_timeouts: self.ack_timeouts,
        }
    }
}

/// Further ahead than anything is waited for.
const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// `by` after `at`, or far ahead if no clock shows that time: options may say that they mean for ever.
pub(crate) fn later(at: Instant, by: Duration) -> Instant {
    at.checked_add(by).or_else(|| at.checked_add(FAR)).unwrap_or(at)
}

/// Frees the memory of an empty queue.
fn trim<T>(queue: &mut VecDeque<T>) {
    if queue.is_empty() {
        *queue = VecDeque::new();
    }
}
