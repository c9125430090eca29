//! Frames that wait for the peer's ACK (PROTOCOL: Acknowledgements).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::io::Token;
use super::transaction::TxKey;

/// Numbers outgoing frames and remembers those not yet acknowledged.
#[derive(Debug)]
pub(super) struct Acks {
    /// The number of the next frame.
    next: u32,
    /// In the order of their numbers. The first one, when there is one, waits.
    entries: VecDeque<Entry>,
    /// Entries whose wait is over. Never much more than half of all, so that frames acknowledged out of turn take
    /// no memory for long.
    over: usize,
    timeout: Duration,
}

/// Entries of which it does not matter how many are over.
const FEW: usize = 64;

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

impl Tracked {
    /// Whether it is a send of the application, or an ERROR frame: [`Config::max_unacknowledged`] bounds these.
    ///
    /// [`Config::max_unacknowledged`]: super::Config::max_unacknowledged
    #[inline]
    pub(super) fn is_send(self) -> bool {
        matches!(self, Tracked::Send(_) | Tracked::Diagnostic)
    }
}

#[derive(Debug)]
struct Entry {
    ack: u32,
    /// `None` once the wait is over.
    frame: Option<Tracked>,
    written: Option<Instant>,
}

impl Acks {
    pub(super) fn new(timeout: Duration) -> Self {
        Acks { next: 0, entries: VecDeque::new(), over: 0, timeout }
    }

    /// Gives back the memory if nothing waits.
    pub(super) fn trim_idle(&mut self) {
        super::trim(&mut self.entries);
    }

    /// The number of the next frame, whose ACK somebody waits for.
    #[inline]
    pub(super) fn track(&mut self, frame: Tracked) -> u32 {
        let ack = self.pass();
        self.entries.push_back(Entry { ack, frame: Some(frame), written: None });
        ack
    }

    /// The number of the next frame, whose ACK nobody waits for.
    #[inline]
    pub(super) fn pass(&mut self) -> u32 {
        let ack = self.next;
        self.next = ack.wrapping_add(1);
        ack
    }

    /// The frame was written at `at`: its timeout starts.
    #[inline]
    pub(super) fn written(&mut self, ack: u32, at: Instant) {
        if let Some(entry) = self.find(ack).and_then(|index| self.entries.get_mut(index)) {
            entry.written = Some(at);
        }
    }

    /// The frame of that number, if its ACK is waited for.
    pub(super) fn waiting(&self, ack: u32) -> Option<Tracked> {
        self.find(ack).and_then(|index| self.entries.get(index)).and_then(|entry| entry.frame)
    }

    /// An ACK arrived. `None` when nobody waits for that number: unknown or repeated.
    /// The time is that since the frame was written, where that is known.
    #[inline]
    pub(super) fn settle(&mut self, ack: u32, now: Instant) -> Option<(Tracked, Option<Duration>)> {
        let index = self.find(ack)?;
        let entry = self.entries.get_mut(index)?;
        let frame = entry.frame.take()?;
        let elapsed = entry.written.map(|at| now.saturating_duration_since(at));
        self.over = self.over.saturating_add(1);
        if index == 0 {
            self.remove_first();
        } else if self.over > (self.entries.len() / 2).saturating_add(FEW) {
            self.entries.retain(|entry| entry.frame.is_some());
            self.over = 0;
        }
        Some((frame, elapsed))
    }

    /// The oldest frame whose time is up, removed.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Tracked> {
        if self.deadline()? > now {
            return None;
        }
        let frame = self.entries.front_mut()?.frame.take();
        self.over = self.over.saturating_add(1);
        self.remove_first();
        frame
    }

    /// When the oldest frame's time is up. Frames are written in order, so none is up before.
    #[inline]
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.entries.front()?.written.and_then(|at| at.checked_add(self.timeout))
    }

    /// All that still wait, oldest first; none is left.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Tracked> {
        self.over = 0;
        std::mem::take(&mut self.entries).into_iter().filter_map(|entry| entry.frame)
    }

    /// Gives back what a burst has left allocated.
    pub(super) fn shrink(&mut self) {
        self.entries.shrink_to(self.entries.len().saturating_mul(2));
    }

    /// Where the entry of that number is.
    #[inline]
    fn find(&self, ack: u32) -> Option<usize> {
        let first = self.entries.front()?.ack;
        let distance = ack.wrapping_sub(first);
        // Where no number is missing between, that is its place.
        if self.entries.get(distance as usize).is_some_and(|entry| entry.ack == ack) {
            return Some(distance as usize);
        }
        self.entries.binary_search_by_key(&distance, |entry| entry.ack.wrapping_sub(first)).ok()
    }

    /// Removes the first entry, whose wait is over, and those behind it of which the same is true.
    #[inline]
    fn remove_first(&mut self) {
        while self.entries.front().is_some_and(|entry| entry.frame.is_none()) {
            self.entries.pop_front();
            self.over = self.over.saturating_sub(1);
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
        acks.next = u32::MAX;
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

    #[test]
    fn frames_acknowledged_out_of_turn_take_no_memory_for_long() {
        let (mut acks, now) = acks();
        let first = acks.track(Tracked::Send(0));
        for n in 1..100_000 {
            let ack = acks.track(Tracked::Send(n));
            assert_eq!(acks.settle(ack, now).map(|s| s.0), Some(Tracked::Send(n)));
            assert!(acks.entries.len() <= 2 * FEW + 2);
        }
        let late = acks.track(Tracked::Send(100_000));
        acks.written(late, now);
        assert_eq!(acks.settle(first, now).map(|s| s.0), Some(Tracked::Send(0)));
        assert_eq!(acks.deadline(), Some(now + Duration::from_secs(1)));
        assert_eq!(acks.settle(late, now).map(|s| s.0), Some(Tracked::Send(100_000)));
        assert!(acks.entries.is_empty());
    }

    #[test]
    fn numbers_that_nobody_waits_for_are_stepped_over() {
        let (mut acks, now) = acks();
        let waiting: Vec<_> = (0..50)
            .map(|n| {
                acks.pass();
                acks.track(Tracked::Send(n))
            })
            .collect();
        for (n, ack) in waiting.iter().enumerate().rev() {
            assert!(acks.settle(ack.wrapping_sub(1), now).is_none());
            assert_eq!(acks.settle(*ack, now).map(|s| s.0), Some(Tracked::Send(n as u32)));
        }
        assert!(acks.entries.is_empty());
    }
}
