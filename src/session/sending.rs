//! The sending half: the application's commands, and frames for the wire.

use std::time::Instant;

use super::Session;
use super::acks::Tracked;
use super::io::{CloseReason, Command, Event, Outcome, Payload, Token, Transmit};
use super::outbox::{MAX_RUN, Offer, OnWritten, Outgoing, TxFrame};
use super::state::Phase;
use super::transaction::{self, Frames, TxCommand, TxOutcome};
use crate::protocol::{self, Frame, Text};

/// Bytes that fit into a close frame beside its code (RFC 6455, 5.5).
const MAX_CLOSE_REASON: usize = 123;

impl Session {
    pub(super) fn on_command(&mut self, command: Command, now: Instant) {
        match command {
            Command::Send(payload) => self.send(payload),
            Command::Ping => {
                let token = self.take_token();
                if matches!(self.phase, Phase::Open) {
                    self.outbox.push_control(Outgoing::Ping(Some(token)));
                } else {
                    self.settle(token, Outcome::SessionClosed);
                }
            }
            Command::Transaction(command) => self.command_transaction(command, now),
            Command::Close(reason) => {
                let bye = Text::from(truncate(&reason, protocol::MAX_PAYLOAD).to_owned());
                self.close(close_reason(4000, &reason), Some(bye), now);
            }
            Command::Destroy { code, reason } => self.close(close_reason(code, &reason), None, now),
        }
    }

    /// The next frame for the wire. `None` when there is nothing to send now.
    #[inline(always)]
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        if self.held_until.is_some() {
            return None;
        }
        if let Some(queued) = self.poll_queued() {
            return Some(queued);
        }
        let Phase::Closing { reason, sent, .. } = &mut self.phase else {
            return self.poll_chunk();
        };
        if *sent || !self.outbox.is_drained() {
            return None;
        }
        *sent = true;
        Some(Transmit::Close(CloseReason {
            code: reason.code,
            reason: truncate(&reason.reason, MAX_CLOSE_REASON).to_owned(),
        }))
    }

    /// The next frame of those that go before any chunk: once there is none, [`Self::send_now`] may be tried.
    #[inline(always)]
    pub fn poll_queued(&mut self) -> Option<Transmit> {
        if self.held_until.is_some() {
            return None;
        }
        match self.outbox.pop()? {
            Outgoing::Acks { first, count } => Some(self.acks_of(first, count)),
            frame => Some(Transmit::Frame(self.number(frame))),
        }
    }

    /// What the peer gets although it has ended the connection: our ENDPOINT_INFO, unless it went before, and the
    /// ACKs of what was accepted. Everything else that is queued stays, to be settled by [`Input::Disconnected`](super::Input::Disconnected).
    pub fn take_owed(&mut self) -> Vec<Transmit> {
        if self.held_until.is_some() {
            return Vec::new();
        }
        let owed = self.outbox.take_owed();
        let mut transmits = Vec::with_capacity(owed.len());
        for frame in owed {
            match frame {
                Outgoing::Acks { first, count } => {
                    for run in (0..count).step_by(MAX_RUN as usize) {
                        transmits.push(self.acks_of(first.wrapping_add(run), MAX_RUN.min(count.saturating_sub(run))));
                    }
                }
                frame => transmits.push(Transmit::Frame(self.number(frame))),
            }
        }
        transmits
    }

    /// Chunks go only when nothing else wants to: no transfer delays a message.
    fn poll_chunk(&mut self) -> Option<Transmit> {
        if self.outbox.is_paused() {
            return None;
        }
        let (chunk, then) = self.next_chunk()?;
        let length = chunk.encoded_len();
        self.bytes_tx = self.bytes_tx.saturating_add(length as u64);
        self.outbox.passed_through(length, then);
        Some(Transmit::Frame(chunk))
    }

    fn command_transaction(&mut self, command: TxCommand, now: Instant) {
        let token = matches!(command, TxCommand::Fetch { .. }).then(|| self.take_token());
        if matches!(self.phase, Phase::Open) {
            self.on_tx_command(command, token, now);
        } else if let Some(token) = token {
            self.settle(token, Outcome::SessionClosed);
        }
    }

    #[inline]
    fn acks_of(&mut self, first: u32, count: u32) -> Transmit {
        let length = Frame::Ack { ack: first }.encoded_len().saturating_mul(count as usize);
        self.bytes_tx = self.bytes_tx.saturating_add(length as u64);
        self.outbox.polled(length, OnWritten::Nothing);
        Transmit::Acks { first, count }
    }

    /// Gives a frame its ack number.
    #[inline(always)]
    fn number(&mut self, frame: Outgoing) -> Frame {
        let (frame, then) = match frame {
            Outgoing::Data { payload, token } => {
                let ack = self.acks.track(token.map_or(Tracked::Diagnostic, Tracked::Send));
                let frame = match payload {
                    Payload::Utf8(text) => Frame::Utf8 { ack, text },
                    Payload::Binary(data) => Frame::Binary { ack, data },
                    Payload::Error(message) => Frame::Error { ack, message },
                };
                (frame, OnWritten::Tracked(ack))
            }
            Outgoing::Acks { first, .. } => (Frame::Ack { ack: first }, OnWritten::Nothing),
            Outgoing::Pong => (Frame::Pong, OnWritten::Nothing),
            Outgoing::Ping(token) => (Frame::Ping, token.map_or(OnWritten::Nothing, OnWritten::Ping)),
            Outgoing::EndpointInfo => {
                let ack = self.acks.track(Tracked::EndpointInfo);
                let features = self.config.features;
                (Frame::EndpointInfo { ack, version: protocol::VERSION, features }, OnWritten::Tracked(ack))
            }
            Outgoing::Transaction(tx) => {
                let TxFrame { frame, ack: wait } = *tx;
                let ack = match wait {
                    Frames::Untracked | Frames::Refusal => self.acks.pass(),
                    Frames::Tracked(tracked) => self.acks.track(tracked),
                };
                let then = match wait {
                    Frames::Untracked => OnWritten::Nothing,
                    Frames::Tracked(Tracked::TxStart(_)) => OnWritten::TxStart(ack),
                    Frames::Tracked(_) => OnWritten::Tracked(ack),
                    Frames::Refusal => {
                        self.on_refusal_numbered(&frame, ack);
                        OnWritten::Nothing
                    }
                };
                (transaction::numbered(frame, ack), then)
            }
            Outgoing::Bye(reason) => (Frame::Bye { ack: self.acks.pass(), reason }, OnWritten::Nothing),
        };
        let length = frame.encoded_len();
        self.bytes_tx = self.bytes_tx.saturating_add(length as u64);
        self.outbox.polled(length, then);
        frame
    }

    #[inline]
    fn take_token(&mut self) -> Token {
        let token = self.next_token;
        self.next_token = token.wrapping_add(1);
        token
    }

    /// Sends a data frame; its fate comes back under the next [`Token`].
    #[inline(always)]
    pub fn send(&mut self, payload: Payload) {
        let token = self.take_token();
        if !matches!(self.phase, Phase::Open) {
            return self.settle(token, Outcome::SessionClosed);
        }
        if payload.len() > protocol::MAX_PAYLOAD {
            return self.settle(token, Outcome::TooLarge);
        }
        self.offer(payload, Some(token));
    }

    /// The number for a data frame with a payload of this length, which the caller then transmits at once, as if
    /// [`Self::send`] had been called and it had been polled. `None`: it has to be called, for something else goes
    /// first, or it is not to be sent now.
    #[inline]
    pub fn send_now(&mut self, payload: usize) -> Option<u32> {
        let open = matches!(self.phase, Phase::Open) && self.held_until.is_none();
        if !open || !self.outbox.passes_through() || payload > protocol::MAX_PAYLOAD {
            return None;
        }
        let token = self.take_token();
        let ack = self.acks.track(Tracked::Send(token));
        let length = protocol::data_len(payload);
        self.bytes_tx = self.bytes_tx.saturating_add(length as u64);
        self.outbox.passed_through(length, OnWritten::Tracked(ack));
        Some(ack)
    }

    /// Sends an ERROR frame that tells the peer what was wrong.
    pub(super) fn send_diagnostic(&mut self, message: String) {
        self.offer(Payload::Error(Text::from(message)), None);
    }

    #[inline(always)]
    fn offer(&mut self, payload: Payload, token: Option<Token>) {
        let mut evicted = Vec::new();
        let offer = self.outbox.offer(payload, token, &mut evicted);
        for (payload, token) in evicted {
            self.on_dropped(&payload, token);
        }
        match offer {
            Offer::Taken => {}
            Offer::Refused(payload, token) => self.on_dropped(&payload, token),
            Offer::Replaced(earlier) => {
                if let (Some(earlier), Some(later)) = (earlier, token) {
                    self.events.push_back(Event::Joined { earlier, later });
                }
            }
        }
    }

    fn on_dropped(&mut self, payload: &Payload, token: Option<Token>) {
        let Some(token) = token else { return };
        self.events.push_back(Event::Dropped { kind: payload.kind(), bytes: payload.len() });
        self.settle(token, Outcome::Dropped);
    }

    /// Reports the fate of one send.
    pub(super) fn settle(&mut self, token: Token, outcome: Outcome) {
        if let Some(Event::Settled { first, count, outcome: last }) = self.events.back_mut()
            && *last == outcome
            && first.wrapping_add(*count) == token
        {
            *count = count.saturating_add(1);
            return;
        }
        self.events.push_back(Event::Settled { first: token, count: 1, outcome });
    }

    /// Reports that a send succeeded; consecutive ones make one event.
    #[inline]
    pub(super) fn acknowledge_send(&mut self, token: Token) {
        let (first, count) = self.acknowledged;
        if count != 0 && first.wrapping_add(count) == token {
            self.acknowledged.1 = self.acknowledged.1.saturating_add(1);
            return;
        }
        self.flush_acknowledged();
        self.acknowledged = (token, 1);
    }

    pub(super) fn flush_acknowledged(&mut self) {
        let (first, count) = self.acknowledged;
        if count != 0 {
            self.acknowledged.1 = 0;
            self.events.push_back(Event::Settled { first, count, outcome: Outcome::Done });
        }
    }

    pub(super) fn fail_tracked(&mut self, frame: Tracked, outcome: Outcome) {
        match frame {
            Tracked::Send(token) => self.settle(token, outcome),
            Tracked::TxFinish(key) if outcome == Outcome::TimedOut => self.on_finish_settled(key, TxOutcome::TimedOut),
            _ => {}
        }
    }
}

pub(super) fn close_reason(code: u16, reason: &str) -> CloseReason {
    CloseReason { code, reason: truncate(reason, MAX_CLOSE_REASON).to_owned() }
}

/// The longest part of `text` from its start that has at most `max` bytes and ends between characters.
fn truncate(text: &str, max: usize) -> &str {
    text.get(..text.floor_char_boundary(max)).unwrap_or_default()
}
