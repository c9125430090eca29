//! The receiving half: from a frame's type to its handler.

use std::fmt::Display;
use std::time::Instant;

use bytes::Bytes;

use super::acks::Tracked;
use super::io::{CloseReason, DataKind, Event, Hooks, Payload};
use super::outbox::Outgoing;
use super::sending::close_reason;
use super::state::{PeerInfo, Phase};
use super::transaction::TxOutcome;
use super::{MAX_BAD_FRAMES, Session};
use crate::protocol::{self, Frame, FrameType, Message, Text, VERSION};

/// WebSocket close codes of CAMP (PROTOCOL section 4).
const GRACEFUL: u16 = 4000;
const PEER_ERRED: u16 = 4001;
pub(super) const WE_ERRED: u16 = 4002;
/// RFC 6455: message too big.
const TOO_BIG: u16 = 1009;

/// Messages of a session that are with their hooks at once.
const MAX_HELD: usize = 64;

/// Bytes that a frame in the backlog takes beside its own, about: short ones must not take many times their length.
const BACKLOG_OVERHEAD: usize = 64;

/// Weight of the newest round-trip sample.
const RTT_WEIGHT: f64 = 0.2;

impl Session {
    /// Handles a frame if it is an ACK of this session: there are as many of them as messages, and none of their
    /// bytes need to be kept. False: it is another, for [`Session::receive`].
    #[inline]
    pub fn take_ack(&mut self, frame: &[u8], now: Instant) -> bool {
        let Some((sid, ack)) = protocol::peek_ack(frame) else { return false };
        if sid != self.sid {
            return false;
        }
        self.heard_of(frame.len());
        self.on_ack(ack, now);
        true
    }

    /// Handles a frame if it is a message that can be given to the application where it lies, before anything else
    /// that comes in: nothing waits for a verdict, and no event to be polled. `None`: it is for [`Session::receive`].
    #[inline]
    pub fn take_message<'a>(&mut self, frame: &'a [u8]) -> Option<Message<'a>> {
        if !self.events.is_empty() || !self.held.is_empty() || !matches!(self.phase, Phase::Open) {
            return None;
        }
        let (sid, ack, message) = protocol::peek_message(frame)?;
        let kind = match message {
            Message::Ascii(_) | Message::Utf8(_) => DataKind::Utf8,
            Message::Binary(_) => DataKind::Binary,
        };
        if sid != self.sid || self.hooks.contains(kind) {
            return None;
        }
        self.heard_of(frame.len());
        self.outbox.push_ack(ack);
        Some(message)
    }

    /// Handles a binary WebSocket message, one CAMP frame, now or after the verdict that is pending.
    #[inline(always)]
    pub fn receive(&mut self, frame: Bytes, now: Instant) {
        self.heard_of(frame.len());
        let at_once = self.held.is_empty()
            || overtakes(&frame)
            || (self.backlog.is_empty() && self.joins_held(&frame, self.hooks));
        if !at_once {
            self.backlog_bytes = self.backlog_bytes.saturating_add(backlog_len(&frame));
            // What waits long must not keep alive the block it was read into.
            self.backlog.push_back((Bytes::copy_from_slice(&frame), self.hooks));
            return;
        }
        self.on_frame(frame, self.hooks, now);
    }

    #[inline]
    fn heard_of(&mut self, bytes: usize) {
        self.bytes_rx = self.bytes_rx.saturating_add(bytes as u64);
        self.keepalive.heard();
        self.held_until = None;
    }

    /// Whether a frame behind a held message may be given to its hooks ahead of that message's verdict.
    /// The application runs them in order; this only saves it from waiting for each.
    fn joins_held(&self, frame: &Bytes, hooks: Hooks) -> bool {
        let kind = match protocol::peek_type(frame) {
            Some(FrameType::Utf8Data) => DataKind::Utf8,
            Some(FrameType::BinaryData) => DataKind::Binary,
            Some(FrameType::Error) => DataKind::Error,
            _ => return false,
        };
        hooks.contains(kind)
            && self.held.len() < MAX_HELD
            && self.held_bytes.saturating_add(frame.len()) <= self.config.max_backlog
            && protocol::decode(frame.clone()).is_ok_and(|(sid, _)| sid == self.sid)
    }

    #[inline(always)]
    fn on_frame(&mut self, bytes: Bytes, hooks: Hooks, now: Instant) {
        let (sid, frame) = match protocol::decode(bytes) {
            Ok(decoded) => decoded,
            Err(error) if error.is_oversize() => {
                return self.close(close_reason(TOO_BIG, &error.to_string()), None, now);
            }
            Err(error) => return self.on_bad_frame(&error, now),
        };
        if sid != self.sid {
            let text = format!("{}: sid {sid} is not that of this session", frame.frame_type().name());
            return self.on_bad_frame(&text, now);
        }
        if !matches!(self.phase, Phase::Open) && !matches!(frame, Frame::Ack { .. }) {
            return;
        }
        match frame {
            Frame::Utf8 { ack, text } => self.on_data(ack, Payload::Utf8(text), hooks),
            Frame::Binary { ack, data } => self.on_data(ack, Payload::Binary(data), hooks),
            other => self.on_rare(other, hooks, now),
        }
    }

    /// Apart from [`Self::on_frame`], so that messages are handled without a detour.
    #[inline(never)]
    fn on_rare(&mut self, frame: Frame, hooks: Hooks, now: Instant) {
        match frame {
            Frame::Ack { ack } => self.on_ack(ack, now),
            Frame::Utf8 { ack, text } => self.on_data(ack, Payload::Utf8(text), hooks),
            Frame::Binary { ack, data } => self.on_data(ack, Payload::Binary(data), hooks),
            Frame::Error { ack, message } => self.on_data(ack, Payload::Error(message), hooks),
            Frame::Ping => self.outbox.push_control(Outgoing::Pong),
            Frame::Pong => {}
            Frame::EndpointInfo { ack, version, features } => self.on_endpoint_info(ack, version, features, now),
            Frame::Bye { ack, reason } => self.on_bye(ack, &reason, now),
            Frame::TxStart(_)
            | Frame::TxChunk { .. }
            | Frame::TxFinish { .. }
            | Frame::TxFetch { .. }
            | Frame::TxCancel { .. } => self.on_transaction(frame, now),
        }
    }

    #[inline(always)]
    fn on_data(&mut self, ack: u32, payload: Payload, hooks: Hooks) {
        if hooks.contains(payload.kind()) {
            let length = payload.len();
            self.held.push_back((ack, length));
            self.held_bytes = self.held_bytes.saturating_add(length);
            self.events.push_back(Event::Held(payload, hooks));
            return;
        }
        self.outbox.push_ack(ack);
        self.events.push_back(Event::Message(payload));
    }

    /// The hooks of the oldest held message have run: it is acknowledged, and what came after it is
    /// handled as far as nothing else is held.
    pub(super) fn on_verdict(&mut self, now: Instant) {
        let Some((ack, length)) = self.held.pop_front() else { return };
        self.held_bytes = self.held_bytes.saturating_sub(length);
        if !matches!(self.phase, Phase::Open) {
            return;
        }
        if self.is_backlogged() {
            // Its answers may lie unread.
            self.keepalive.heard();
        }
        self.outbox.push_ack(ack);
        while let Some((frame, hooks)) = self.backlog.front()
            && (self.held.is_empty() || self.joins_held(frame, *hooks))
        {
            let Some((frame, hooks)) = self.backlog.pop_front() else { break };
            self.backlog_bytes = self.backlog_bytes.saturating_sub(backlog_len(&frame));
            self.on_frame(frame, hooks, now);
        }
    }

    #[inline]
    fn on_ack(&mut self, ack: u32, now: Instant) {
        let Some((frame, elapsed)) = self.acks.settle(ack, self.keepalive.active_time(now)) else {
            return self.on_other_ack(ack);
        };
        if let Some(elapsed) = elapsed {
            let sample = elapsed.as_secs_f64() * 1000.0;
            self.rtt_ms =
                if self.rtt_ms < 0.0 { sample } else { self.rtt_ms * (1.0 - RTT_WEIGHT) + sample * RTT_WEIGHT };
        }
        if frame.is_send() {
            self.outbox.acknowledged();
        }
        match frame {
            Tracked::Send(token) => self.acknowledge_send(token),
            Tracked::EndpointInfo => self.on_info_acknowledged(now),
            Tracked::TxStart(tx_id) => self.on_start_known(tx_id),
            Tracked::TxFinish(key) => self.on_finish_settled(key, TxOutcome::Done),
            Tracked::Diagnostic => {}
        }
    }

    fn on_endpoint_info(&mut self, ack: u32, version: u32, features: u64, now: Instant) {
        if version != VERSION {
            let reason = format!("CAMP version {version} was offered, this server speaks version {VERSION}.");
            return self.close(close_reason(PEER_ERRED, &reason), None, now);
        }
        self.outbox.push_ack(ack);
        self.connect(PeerInfo::Received { features }, now);
    }

    fn on_bye(&mut self, ack: u32, reason: &Text, now: Instant) {
        self.outbox.push_ack(ack);
        self.close(close_reason(GRACEFUL, &reason.to_str_lossy()), None, now);
    }

    /// A malformed frame is answered with a diagnostic; the last one tolerated ends the session.
    fn on_bad_frame(&mut self, error: &dyn Display, now: Instant) {
        if !matches!(self.phase, Phase::Open) {
            return;
        }
        self.bad_frames = self.bad_frames.saturating_add(1);
        self.send_diagnostic(error.to_string());
        if self.bad_frames >= MAX_BAD_FRAMES {
            let reason = format!("{MAX_BAD_FRAMES} malformed frames, the last: {error}");
            let reason = CloseReason { code: PEER_ERRED, reason };
            self.close(reason, None, now);
        }
    }
}

/// What a frame in the backlog counts there.
fn backlog_len(frame: &Bytes) -> usize {
    frame.len().saturating_add(BACKLOG_OVERHEAD)
}

/// Whether a frame is handled at once although a message before it waits for its verdict: one that
/// delivers nothing. A hook that waits for the ACK of its own send depends on it.
fn overtakes(frame: &[u8]) -> bool {
    matches!(protocol::peek_type(frame), Some(FrameType::Ack | FrameType::PingPong))
}
