//! The outgoing queue: watermarks, caps and drop policies (API: backpressure options).
//!
//! ```text
//! offer ─┬─> committed ──pop──> in the driver's hands ──written──> gone
//!        │        ^
//!        └─> waiting   (while sending is paused, or too many data frames are unacknowledged)
//! ```
//!
//! Committed frames are bound for the socket in their order. Waiting ones may still give way
//! to newer ones, but only data frames do: control frames are neither dropped nor overtaken.
//! Those that the peer needs in order to acknowledge, and to be kept alive, do not wait for its ACKs.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "lengths of what is in memory; what is taken off was added before, and in tests an overflow panics"
)]

mod frame;
mod policy;

use std::collections::VecDeque;

use super::io::{Backpressure, Payload, Token};
use frame::ACK_LEN;
pub(super) use frame::{MAX_RUN, OnWritten, Outgoing, TxFrame};
pub(super) use policy::Offer;

#[derive(Debug)]
pub(super) struct Outbox {
    limits: Backpressure,
    /// Most data frames that may be committed or on their way and not yet acknowledged.
    max_unacknowledged: usize,
    committed: VecDeque<Outgoing>,
    /// Empty unless `paused`, or `unacknowledged` is at its maximum.
    waiting: VecDeque<Outgoing>,
    /// Data frames in `waiting`: how many, and the sum of their encoded lengths.
    waiting_data: usize,
    waiting_data_bytes: usize,
    /// Frames in `waiting` that do not wait for ACKs.
    waiting_urgent: usize,
    /// Encoded bytes of the control frames in `committed` and `waiting`, but for those that the application alone causes.
    queued_control_bytes: usize,
    /// Sends of the application, and ERROR frames, that were committed and whose ACK has neither come nor been given up.
    unacknowledged: usize,
    /// Frames polled and not yet written, oldest first; those of which nothing is to be done count as one.
    unwritten: VecDeque<(usize, OnWritten)>,
    /// Bytes reported as written beyond the frames removed from `unwritten`.
    written_ahead: usize,
    /// Encoded bytes of `committed` and `unwritten` that the socket has not taken.
    in_flight: usize,
    paused: bool,
}

impl Outbox {
    pub(super) fn new(limits: Backpressure, max_unacknowledged: usize) -> Self {
        Outbox {
            limits,
            max_unacknowledged,
            committed: VecDeque::new(),
            waiting: VecDeque::new(),
            waiting_data: 0,
            waiting_data_bytes: 0,
            waiting_urgent: 0,
            queued_control_bytes: 0,
            unacknowledged: 0,
            unwritten: VecDeque::new(),
            written_ahead: 0,
            in_flight: 0,
            paused: false,
        }
    }

    /// Gives back the memory of queues that are empty.
    pub(super) fn trim(&mut self) {
        super::trim(&mut self.committed);
        super::trim(&mut self.waiting);
        super::trim(&mut self.unwritten);
    }

    /// Queues a control frame.
    #[inline]
    pub(super) fn push_control(&mut self, frame: Outgoing) {
        self.queued_control_bytes += frame.peer_caused_len();
        let urgent = !frame.keeps_its_place();
        if self.paused || !(urgent || (self.waiting.is_empty() && self.may_commit(&frame))) {
            self.waiting_urgent += usize::from(urgent);
            self.waiting.push_back(frame);
        } else {
            self.commit(frame);
        }
    }

    /// Queues the ACK of the peer's frame of that number.
    #[inline]
    pub(super) fn push_ack(&mut self, number: u32) {
        if !self.paused
            && let Some(Outgoing::Acks { first, count }) = self.committed.back_mut()
            && first.wrapping_add(*count) == number
        {
            *count += 1;
            self.queued_control_bytes += ACK_LEN;
            self.in_flight += ACK_LEN;
            self.paused = self.in_flight >= self.limits.high_watermark;
            return;
        }
        self.push_control(Outgoing::Acks { first: number, count: 1 });
    }

    /// Queues a data frame as the drop policy allows; frames that give way go into `evicted`.
    #[inline(always)]
    pub(super) fn offer(
        &mut self,
        payload: Payload,
        token: Option<Token>,
        evicted: &mut Vec<(Payload, Option<Token>)>,
    ) -> Offer {
        if self.may_commit_data() {
            self.commit(Outgoing::Data { payload, token });
            return Offer::Taken;
        }
        self.offer_waiting(payload, token, evicted)
    }

    /// The next frame, or run of ACKs, to encode; its encoded length is to be given to [`Self::polled`].
    #[inline(always)]
    pub(super) fn pop(&mut self) -> Option<Outgoing> {
        if let Some(Outgoing::Acks { first, count }) = self.committed.front_mut()
            && *count > MAX_RUN
        {
            let run = Outgoing::Acks { first: *first, count: MAX_RUN };
            *first = first.wrapping_add(MAX_RUN);
            *count -= MAX_RUN;
            self.queued_control_bytes -= run.encoded_len();
            return Some(run);
        }
        let frame = self.committed.pop_front()?;
        self.queued_control_bytes -= frame.peer_caused_len();
        Some(frame)
    }

    /// A frame of `len` bytes went to the driver.
    #[inline]
    pub(super) fn polled(&mut self, len: usize, then: OnWritten) {
        match (self.unwritten.back_mut(), then) {
            (Some((last, OnWritten::Nothing)), OnWritten::Nothing) => *last += len,
            _ => self.unwritten.push_back((len, then)),
        }
    }

    /// Whether a frame may go to the driver without waiting here.
    #[inline]
    pub(super) fn passes_through(&self) -> bool {
        self.may_commit_data() && self.committed.is_empty()
    }

    /// A send or a chunk of `len` bytes went to the driver without having waited here.
    #[inline]
    pub(super) fn passed_through(&mut self, len: usize, then: OnWritten) {
        if let OnWritten::Tracked(_) = then {
            self.unacknowledged += 1;
        }
        self.in_flight += len;
        self.paused |= self.in_flight >= self.limits.high_watermark;
        self.polled(len, then);
    }

    /// The socket took `bytes` more; [`Self::pop_written`] tells which frames that completes.
    #[inline]
    pub(super) fn written(&mut self, bytes: usize) {
        self.written_ahead += bytes;
        self.in_flight = self.in_flight.saturating_sub(bytes);
        if self.paused && self.may_resume() {
            self.resume();
        }
    }

    /// The ACK of a frame that is [`Outgoing::awaits_ack`] has come, or is no longer waited for.
    #[inline]
    pub(super) fn acknowledged(&mut self) {
        self.unacknowledged = self.unacknowledged.saturating_sub(1);
        if !self.waiting.is_empty() {
            self.release();
        }
    }

    /// No more data frames come: those that wait need not wait for ACKs.
    pub(super) fn lift_bound(&mut self) {
        self.max_unacknowledged = usize::MAX;
        self.release();
    }

    /// The oldest frame that has been written whole.
    #[inline]
    pub(super) fn pop_written(&mut self) -> Option<OnWritten> {
        let &(len, then) = self.unwritten.front()?;
        if len > self.written_ahead {
            return None;
        }
        self.unwritten.pop_front();
        self.written_ahead -= len;
        Some(then)
    }

    /// Removes our ENDPOINT_INFO and the ACKs, in order, whatever stands before them.
    pub(super) fn take_owed(&mut self) -> Vec<Outgoing> {
        let is_owed = |frame: &Outgoing| matches!(frame, Outgoing::EndpointInfo | Outgoing::Acks { .. });
        let mut owed = Vec::new();
        for queue in [&mut self.committed, &mut self.waiting] {
            for frame in std::mem::take(queue) {
                if is_owed(&frame) {
                    owed.push(frame);
                } else {
                    queue.push_back(frame);
                }
            }
        }
        let bytes: usize = owed.iter().map(Outgoing::encoded_len).sum();
        self.queued_control_bytes = self.queued_control_bytes.saturating_sub(bytes);
        owed
    }

    /// Whether every frame has been handed to the driver.
    pub(super) fn is_drained(&self) -> bool {
        self.committed.is_empty() && self.waiting.is_empty()
    }

    /// Whether there are frames to be polled, and they are ACKs.
    pub(super) fn has_only_acks(&self) -> bool {
        !self.committed.is_empty() && self.committed.iter().all(|frame| matches!(frame, Outgoing::Acks { .. }))
    }

    /// Whether sending is paused by the high watermark.
    pub(super) fn is_paused(&self) -> bool {
        self.paused
    }

    /// Frames and bytes of `waiting`, and the bytes before them that the socket has not taken.
    pub(super) fn queued(&self) -> (usize, usize, usize) {
        let control = if self.waiting.is_empty() { 0 } else { self.queued_control_bytes };
        (self.waiting.len(), self.waiting_data_bytes + control, self.in_flight)
    }

    /// Bytes of control frames that the peer has caused and that were not polled yet: many only if it does not read.
    pub(super) fn queued_control_bytes(&self) -> usize {
        self.queued_control_bytes
    }

    /// Removes everything, in order: what was not sent will not be.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Outgoing> {
        self.waiting_data = 0;
        self.waiting_data_bytes = 0;
        self.waiting_urgent = 0;
        self.queued_control_bytes = 0;
        std::mem::take(&mut self.committed).into_iter().chain(std::mem::take(&mut self.waiting))
    }

    /// The `ping`s of the application that were polled and never written.
    pub(super) fn drain_unwritten_pings(&mut self) -> impl Iterator<Item = Token> {
        std::mem::take(&mut self.unwritten).into_iter().filter_map(|(_, then)| match then {
            OnWritten::Ping(token) => Some(token),
            _ => None,
        })
    }

    /// Gives back what a burst has left allocated.
    pub(super) fn shrink(&mut self) {
        self.committed.shrink_to(self.committed.len() * 2);
        self.waiting.shrink_to(self.waiting.len() * 2);
        self.unwritten.shrink_to(self.unwritten.len() * 2);
    }

    fn may_commit(&self, frame: &Outgoing) -> bool {
        if frame.awaits_ack() { self.may_commit_data() } else { !self.paused }
    }

    /// Whether a data frame need not wait.
    #[inline(always)]
    fn may_commit_data(&self) -> bool {
        !self.paused && self.unacknowledged < self.max_unacknowledged
    }

    #[inline(always)]
    fn commit(&mut self, frame: Outgoing) {
        self.unacknowledged += usize::from(frame.awaits_ack());
        self.in_flight += frame.encoded_len();
        self.committed.push_back(frame);
        if self.in_flight >= self.limits.high_watermark {
            self.paused = true;
        }
    }

    /// An empty socket always resumes: no watermark, however low, may wedge a session.
    fn may_resume(&self) -> bool {
        self.in_flight < self.limits.low_watermark || self.in_flight == 0
    }

    fn resume(&mut self) {
        self.paused = false;
        self.release();
    }

    /// Commits what waits and need not.
    fn release(&mut self) {
        while !self.paused {
            if self.waiting.front().is_some_and(|frame| !self.may_commit(frame)) {
                return self.release_urgent();
            }
            let Some(frame) = self.waiting.pop_front() else { return };
            self.uncount(&frame);
            self.commit(frame);
        }
    }

    /// The first that waits has to wait for ACKs: what does not goes before it.
    fn release_urgent(&mut self) {
        if self.waiting_urgent == 0 {
            return;
        }
        for frame in std::mem::take(&mut self.waiting) {
            if self.paused || frame.keeps_its_place() {
                self.waiting.push_back(frame);
            } else {
                self.uncount(&frame);
                self.commit(frame);
            }
        }
    }

    fn uncount(&mut self, waiting: &Outgoing) {
        let len = waiting.encoded_len();
        if let Outgoing::Data { .. } = waiting {
            self.waiting_data -= 1;
            self.waiting_data_bytes -= len;
        } else if !waiting.keeps_its_place() {
            self.waiting_urgent -= 1;
        }
    }
}
