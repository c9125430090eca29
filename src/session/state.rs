//! The life of a session, and how it ends.

use std::time::Instant;

use super::acks::Tracked;
use super::io::{CloseReason, Event, Input, Outcome};
use super::outbox::{OnWritten, Outgoing};
use super::transaction::{Frames, Transactions};
use super::{CLOSE_TIMEOUT, MAX_CLOSE_TIME, PRESUMED_CONNECTED, Session, later};
use crate::protocol::Text;

/// ```text
/// Open ──close()──> Closing ──Disconnected──> Closed
///   └──────────────Disconnected────────────────^
/// ```
#[derive(Debug)]
pub(super) enum Phase {
    Open,
    /// What was queued goes out, then the close frame; the peer's data is no longer taken.
    Closing {
        reason: CloseReason,
        sent: bool,
        /// Moves with every progress on the socket, up to `latest`; once past, the connection is dropped.
        deadline: Instant,
        latest: Instant,
        overdue: bool,
    },
    Closed,
}

/// What is known of the peer's ENDPOINT_INFO.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PeerInfo {
    Unknown,
    /// It acknowledged ours: without one of its own until then it counts as connected.
    Expected {
        until: Instant,
    },
    /// It has sent none and counts as connected, with version 1 and transactions.
    Presumed,
    Received {
        features: u64,
    },
}

impl Session {
    /// Starts closing: what is queued goes out first, then BYE if there is one, then the close frame.
    pub(super) fn close(&mut self, reason: CloseReason, bye: Option<Text>, now: Instant) {
        if !matches!(self.phase, Phase::Open) {
            return;
        }
        self.outbox.lift_bound();
        if let Some(reason) = bye {
            self.outbox.push_control(Outgoing::Bye(reason));
        }
        self.backlog.clear();
        self.backlog_bytes = 0;
        self.held.clear();
        self.held_bytes = 0;
        self.tx = Transactions::default();
        self.phase = Phase::Closing {
            reason,
            sent: false,
            deadline: later(now, CLOSE_TIMEOUT),
            latest: later(now, MAX_CLOSE_TIME),
            overdue: false,
        };
    }

    /// The peer's ENDPOINT_INFO was accepted, or counts as accepted.
    pub(super) fn connect(&mut self, info: PeerInfo, now: Instant) {
        self.peer_info = info;
        if !self.connected {
            self.connected = true;
            self.events.push_back(Event::Connected);
            self.start_waiting_transactions(now);
        }
    }

    fn presume_connected(&mut self, now: Instant) {
        if let PeerInfo::Expected { until } = self.peer_info
            && until <= now
        {
            self.connect(PeerInfo::Presumed, now);
        }
    }

    /// Our ENDPOINT_INFO was acknowledged.
    pub(super) fn on_info_acknowledged(&mut self, now: Instant) {
        if self.peer_info == PeerInfo::Unknown {
            self.peer_info = PeerInfo::Expected { until: later(now, PRESUMED_CONNECTED) };
        }
    }

    pub(super) fn on_written(&mut self, bytes: usize, now: Instant) {
        self.outbox.written(bytes);
        let active = self.keepalive.active_time(now);
        while let Some(then) = self.outbox.pop_written() {
            match then {
                OnWritten::Nothing => {}
                OnWritten::Tracked(ack) => self.acks.written(ack, active),
                OnWritten::TxStart(ack) => {
                    self.acks.written(ack, active);
                    if let Some(Tracked::TxStart(tx_id)) = self.acks.waiting(ack) {
                        self.on_start_written(tx_id, active);
                    }
                }
                OnWritten::Rest(tx_id) => self.on_rest(tx_id, active),
                OnWritten::Ping(token) => self.acknowledge_send(token),
            }
        }
        self.extend_closing(now);
    }

    pub(super) fn on_taking(&mut self, now: Instant) {
        self.keepalive.heard();
        self.extend_closing(now);
    }

    /// The socket makes progress: a closing session waits on.
    fn extend_closing(&mut self, now: Instant) {
        if let Phase::Closing { deadline, latest, overdue, .. } = &mut self.phase {
            *deadline = later(now, CLOSE_TIMEOUT).min(*latest);
            *overdue = *deadline <= now;
        }
    }

    pub(super) fn on_timeout(&mut self, now: Instant) {
        if self.held_until.is_some_and(|until| until <= now) {
            self.held_until = None;
        }
        match &mut self.phase {
            Phase::Closed => return,
            Phase::Closing { deadline, overdue, .. } => *overdue |= *deadline <= now,
            Phase::Open => {
                self.presume_connected(now);
                self.on_transactions_due(now);
                self.on_keepalive_timeout(now);
            }
        }
        self.expire_acks(now);
    }

    pub(super) fn on_disconnected(&mut self, peer: Option<CloseReason>) {
        let broken = CloseReason { code: 1006, reason: String::new() };
        let reason = match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Closed => return,
            Phase::Closing { reason, .. } => reason,
            Phase::Open => peer.unwrap_or(broken),
        };
        self.held_until = None;
        self.held.clear();
        self.held_bytes = 0;
        self.backlog.clear();
        self.tx = Transactions::default();
        self.settle_all_closed();
        self.events.push_back(Event::Closed(reason));
    }

    /// Every send that is still open ends with the session.
    fn settle_all_closed(&mut self) {
        let tracked: Vec<_> = self.acks.drain().collect();
        for frame in tracked {
            self.fail_tracked(frame, Outcome::SessionClosed);
        }
        let unsent: Vec<_> = self.outbox.drain().collect();
        for frame in unsent {
            match frame {
                Outgoing::Data { token: Some(token), .. } | Outgoing::Ping(Some(token)) => {
                    self.settle(token, Outcome::SessionClosed)
                }
                Outgoing::Transaction(tx) => {
                    if let Frames::Tracked(Tracked::Send(token)) = tx.ack {
                        self.settle(token, Outcome::SessionClosed);
                    }
                }
                _ => {}
            }
        }
        let pings: Vec<_> = self.outbox.drain_unwritten_pings().collect();
        for token in pings {
            self.settle(token, Outcome::SessionClosed);
        }
        self.flush_acknowledged();
    }
}

impl Input {
    /// A WebSocket-level violation.
    pub fn violation(code: u16, reason: impl Into<String>) -> Input {
        Input::Violation { code, reason: reason.into() }
    }
}
