//! Heartbeat and liveness (API: `keepAliveIntervalMs`).

use std::time::{Duration, Instant};

use super::io::{CloseReason, Event};
use super::outbox::Outgoing;
use super::{PeerInfo, Session, later};
use crate::protocol::Text;

const SILENT: &str = "Disconnecting session due to not responding to ping frames.";

/// The heartbeat of one session, and the clock of what waits for its peer: that clock stands
/// while reading is paused on our side, for the peer's answers may lie unread.
#[derive(Debug)]
pub(super) struct Keepalive {
    interval: Duration,
    next_tick: Instant,
    /// Whether the last `ping` still waits for a sign of life.
    unanswered: bool,
    paused_at: Option<Instant>,
    /// How long reading was paused in all.
    standstill: Duration,
}

impl Keepalive {
    pub(super) fn new(interval: Duration, now: Instant) -> Self {
        Keepalive {
            interval,
            next_tick: later(now, interval),
            unanswered: false,
            paused_at: None,
            standstill: Duration::ZERO,
        }
    }

    /// The peer gave a sign of life.
    #[inline]
    pub(super) fn heard(&mut self) {
        self.unanswered = false;
    }

    pub(super) fn next_tick(&self) -> Instant {
        self.next_tick
    }

    pub(super) fn reading_paused(&mut self, paused: bool, now: Instant) {
        match (paused, self.paused_at) {
            (true, None) => self.paused_at = Some(now),
            (false, Some(since)) => {
                self.standstill = self.standstill.saturating_add(now.saturating_duration_since(since));
                self.paused_at = None;
                self.unanswered = false;
            }
            _ => {}
        }
    }

    /// `now` on the clock that stands while reading is paused.
    #[inline]
    pub(super) fn active_time(&self, now: Instant) -> Instant {
        let until = self.paused_at.unwrap_or(now);
        if self.standstill.is_zero() {
            return until;
        }
        until.checked_sub(self.standstill).unwrap_or(until)
    }

    /// When that clock will show `active`; never while it stands.
    pub(super) fn real_time(&self, active: Instant) -> Option<Instant> {
        match self.paused_at {
            Some(_) => None,
            None => active.checked_add(self.standstill),
        }
    }
}

impl Session {
    /// A tick: the statistics, then either the end of a silent peer or the next `ping`.
    pub(super) fn on_keepalive_timeout(&mut self, now: Instant) {
        if now < self.keepalive.next_tick {
            return;
        }
        self.keepalive.next_tick = later(now, self.keepalive.interval);
        let statistics = self.statistics();
        self.ack_timeouts = 0;
        self.events.push_back(Event::Statistics(statistics));

        let excused = self.keepalive.paused_at.is_some() || self.is_backlogged();
        if self.keepalive.unanswered && !excused {
            let reason = CloseReason { code: 4000, reason: SILENT.to_owned() };
            self.close(reason, Some(Text::from(SILENT)), now);
            return;
        }
        self.outbox.push_control(Outgoing::Ping(None));
        self.keepalive.unanswered = true;
        self.outbox.shrink();
        self.acks.shrink();
        self.events.shrink_to(self.events.len().saturating_mul(2));
    }

    /// Ends the wait for ACKs that are overdue.
    pub(super) fn expire_acks(&mut self, now: Instant) {
        if self.keepalive.paused_at.is_some() {
            return;
        }
        let active = self.keepalive.active_time(now);
        while let Some(frame) = self.acks.expire(active) {
            self.ack_timeouts = self.ack_timeouts.saturating_add(1);
            if frame.is_send() {
                self.outbox.acknowledged();
            }
            self.fail_tracked(frame, super::Outcome::TimedOut);
        }
    }

    /// What the peer announced, or is taken to have.
    pub(super) fn peer_has(&self, feature: u64) -> bool {
        match self.peer_info {
            PeerInfo::Received { features } => features & feature != 0,
            _ => true,
        }
    }
}
