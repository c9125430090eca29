//! Frames that wait for the peer's ACK (PROTOCOL: Acknowledgements).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::io::Token;
use super::transaction::TxKey;

/// Numbers outgoing frames and remembers those not yet acknowledged.
#[derive(Debug)]
pub(super) struct Acks {
    /// Number of `entries[0]`; the entries are consecutive, modulo 2^32.
    first: u32,
    /// The first entry, when there is one, is `Waiting`.
    entries: VecDeque<Entry>,
    timeout: Duration,
}

/// What an ACK answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tracked {
    /// A send of the application.
    Send(Token),
    /// Our ENDPOINT_INFO.
    EndpointInfo,
    /// An ERROR frame of this session's own making.
    Diagnostic,
    /// The begin of an outgoing transaction of that number.
    TxStart(u32),
    /// The end of an outgoing transaction.
    TxFinish(TxKey),
}

#[derive(Debug)]
enum Entry {
    Waiting { frame: Tracked, written: Option<Instant> },
    Over,
}

impl Acks {
    pub(super) fn new(timeout: Duration) -> Self {
        Acks { first: 0, entries: VecDeque::new(), timeout }
    }

    /// Gives back the memory if nothing waits.
    pub(super) fn trim_idle(&mut self) {
        super::trim(&mut self.entries);
    }

    /// The number of the next frame, whose ACK somebody waits for.
    #[inline]
    pub(super) fn track(&mut self, frame: Tracked) -> u32 {
        let ack = self.first.wrapping_add(self.entries.len() as u32);
        self.entries.push_back(Entry::Waiting { frame, written: None });
        ack
    }

    /// The number of the next frame, whose ACK nobody waits for.
    pub(super) fn pass(&mut self) -> u32 {
        let ack = self.first.wrapping_add(self.entries.len() as u32);
        self.entries.push_back(Entry::Over);
        self.trim();
        ack
    }

    /// The frame was written at `at`: its timeout starts.
    #[inline]
    pub(super) fn written(&mut self, ack: u32, at: Instant) {
        let index = ack.wrapping_sub(self.first) as usize;
        if let Some(Entry::Waiting { written, .. }) = self.entries.get_mut(index) {
            *written = Some(at);
        }
    }

    /// The frame of that number, if its ACK is waited for.
    pub(super) fn waiting(&self, ack: u32) -> Option<Tracked> {
        match self.entries.get(ack.wrapping_sub(self.first) as usize) {
            Some(&Entry::Waiting { frame, .. }) => Some(frame),
            _ => None,
        }
    }

    /// An ACK arrived. `None` when nobody waits for that number: unknown or repeated.
    /// The time is that since the frame was written, where that is known.
    #[inline]
    pub(super) fn settle(&mut self, ack: u32, now: Instant) -> Option<(Tracked, Option<Duration>)> {
        let index = ack.wrapping_sub(self.first) as usize;
        let entry = self.entries.get_mut(index)?;
        let Entry::Waiting { frame, written } = *entry else { return None };
        *entry = Entry::Over;
        if index == 0 {
            self.trim();
        }
        Some((frame, written.map(|at| now.saturating_duration_since(at))))
    }

    /// The oldest frame whose time is up, removed.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Tracked> {
        match self.entries.front() {
            Some(&Entry::Waiting { frame, written: Some(at) }) if at + self.timeout <= now => {
                self.entries.pop_front();
                self.first = self.first.wrapping_add(1);
                self.trim();
                Some(frame)
            }
            _ => None,
        }
    }

    /// When the oldest frame's time is up. Frames are written in order, so none is up before.
    #[inline]
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.entries.front() {
            Some(Entry::Waiting { written: Some(at), .. }) => Some(*at + self.timeout),
            _ => None,
        }
    }

    /// All that still wait, oldest first; none is left.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Tracked> {
        self.first = self.first.wrapping_add(self.entries.len() as u32);
        std::mem::take(&mut self.entries).into_iter().filter_map(|entry| match entry {
            Entry::Waiting { frame, .. } => Some(frame),
            Entry::Over => None,
        })
    }

    /// Gives back what a burst has left allocated.
    pub(super) fn shrink(&mut self) {
        self.entries.shrink_to(self.entries.len() * 2);
    }

    fn trim(&mut self) {
        while let Some(Entry::Over) = self.entries.front() {
            self.entries.pop_front();
            self.first = self.first.wrapping_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acks() -> (Acks, Instant) {
        (Acks::new(Duration::from_secs(1)), Instant::now())
    }

    #[test]
    fn numbers_wrap_at_two_to_the_32() {
        let (mut acks, now) = acks();
        acks.first = u32::MAX;
        assert_eq!(acks.track(Tracked::Send(7)), u32::MAX);
        assert_eq!(acks.track(Tracked::Send(8)), 0);
        assert_eq!(acks.settle(0, now).map(|s| s.0), Some(Tracked::Send(8)));
        assert_eq!(acks.settle(u32::MAX, now).map(|s| s.0), Some(Tracked::Send(7)));
        assert_eq!(acks.track(Tracked::Send(9)), 1);
    }

    #[test]
    fn a_repeated_or_unknown_number_settles_nothing() {
        let (mut acks, now) = acks();
        acks.track(Tracked::Send(0));
        acks.track(Tracked::Send(1));
        assert!(acks.settle(1, now).is_some());
        assert!(acks.settle(1, now).is_none());
        assert!(acks.settle(2, now).is_none());
        assert!(acks.settle(u32::MAX, now).is_none());
    }

    #[test]
    fn time_runs_from_the_write() {
        let (mut acks, now) = acks();
        let ack = acks.track(Tracked::Send(0));
        assert_eq!(acks.deadline(), None);
        assert_eq!(acks.expire(now + Duration::from_secs(60)), None);
        acks.written(ack, now);
        assert_eq!(acks.deadline(), Some(now + Duration::from_secs(1)));
        assert_eq!(acks.expire(now + Duration::from_millis(999)), None);
        assert_eq!(acks.expire(now + Duration::from_secs(1)), Some(Tracked::Send(0)));
        assert_eq!(acks.deadline(), None);
    }

    #[test]
    fn a_frame_nobody_waits_for_takes_a_number() {
        let (mut acks, now) = acks();
        assert_eq!(acks.pass(), 0);
        assert_eq!(acks.track(Tracked::Send(0)), 1);
        assert!(acks.settle(0, now).is_none());
        assert_eq!(acks.drain().count(), 1);
        assert_eq!(acks.track(Tracked::Send(1)), 2);
    }
}
