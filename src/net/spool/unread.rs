//! What of one transaction lies unread with the application.

use std::collections::VecDeque;

use super::WINDOW;

/// What a chunk costs in JavaScript beside its bytes, about: a million of one byte each must not count one MiB.
const OVERHEAD: usize = 256;

/// Chunks that were passed on, and are read in their order.
#[derive(Debug, Default)]
pub(super) struct Unread {
    bytes: usize,
    /// Lengths of those that were not read whole.
    chunks: VecDeque<usize>,
    /// Bytes that were read of the first.
    of_first: usize,
}

impl Unread {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether another chunk may be passed on.
    pub(super) fn has_room(&self) -> bool {
        self.room() > 0
    }

    /// How much more may be passed on.
    pub(super) fn room(&self) -> usize {
        WINDOW.saturating_sub(self.bytes).saturating_sub(self.chunks.len().saturating_mul(OVERHEAD))
    }

    pub(super) fn pass(&mut self, len: usize) {
        self.bytes = self.bytes.saturating_add(len);
        self.chunks.push_back(len);
    }

    /// So many bytes were read. Gives how many of them were unread.
    pub(super) fn take(&mut self, bytes: usize) -> usize {
        let taken = bytes.min(self.bytes);
        self.bytes = self.bytes.saturating_sub(taken);
        self.of_first = self.of_first.saturating_add(taken);
        while let Some(&first) = self.chunks.front()
            && self.of_first >= first
        {
            self.chunks.pop_front();
            self.of_first = self.of_first.saturating_sub(first);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_chunks_fill_the_window_by_what_they_cost() {
        let mut unread = Unread::default();
        let mut chunks = 0;
        while unread.has_room() {
            unread.pass(1);
            chunks += 1;
        }
        assert_eq!(chunks, WINDOW.div_ceil(OVERHEAD + 1));
    }

    #[test]
    fn what_is_read_makes_room_whole_chunk_by_whole_chunk() {
        let mut unread = Unread::default();
        unread.pass(10);
        unread.pass(20);
        assert_eq!(unread.room(), WINDOW - 30 - 2 * OVERHEAD);
        assert_eq!(unread.take(9), 9);
        assert_eq!(unread.room(), WINDOW - 21 - 2 * OVERHEAD);
        assert_eq!(unread.take(2), 2);
        assert_eq!(unread.room(), WINDOW - 19 - OVERHEAD);
        assert_eq!(unread.take(100), 19, "no more than there is");
        assert_eq!(unread.room(), WINDOW);
    }
}
