//! The room in a temporary file, used again: what was read of it makes place for what is written next.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "positions within a file that is written and read here alone, and whose length is bounded"
)]

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;

/// The file is used in blocks of this many bytes.
const BLOCK: usize = 1 << 20;

/// Blocks at the file's end that are worth cutting off while something else is still in it.
const SHRINK: u32 = 16;

/// Where in a temporary file a stream of bytes lies, first in, first out.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    /// Blocks in use, in the order of their bytes.
    order: VecDeque<u32>,
    /// Blocks below `count` that are not in use.
    free: BTreeSet<u32>,
    /// Blocks that the file reaches over.
    count: u32,
    /// Bytes of the first block that were taken out, and bytes of the last that are taken up.
    head: usize,
    tail: usize,
}

impl Blocks {
    /// Finds room for `data` behind what was placed before.
    pub(super) fn place(&mut self, mut data: Bytes) -> Vec<(u64, Bytes)> {
        let mut placed = Vec::with_capacity(1 + data.len() / BLOCK);
        while !data.is_empty() {
            let last = match self.order.back() {
                Some(&last) if self.tail < BLOCK => last,
                _ => self.add_block(),
            };
            let piece = data.split_to(data.len().min(BLOCK - self.tail));
            placed.push((position(last, self.tail), piece.clone()));
            self.tail += piece.len();
        }
        placed
    }

    /// Where the next bytes to be taken out lie: at most `max`, in one piece.
    pub(super) fn next(&self, max: usize) -> Option<(u64, usize)> {
        let first = *self.order.front()?;
        let end = if self.order.len() == 1 { self.tail } else { BLOCK };
        let len = max.min(end - self.head);
        (len > 0).then(|| (position(first, self.head), len))
    }

    /// `len` bytes that [`Self::next`] named were taken out.
    pub(super) fn take(&mut self, len: usize) {
        self.head += len;
        if self.head == BLOCK
            && let Some(block) = self.order.pop_front()
        {
            self.free.insert(block);
            self.head = 0;
        }
    }

    /// Bytes from the file's begin to the end of what is in it.
    pub(super) fn file_len(&self) -> u64 {
        match self.order.back() {
            Some(&last) if last + 1 == self.count => position(last, self.tail),
            _ => position(self.count, 0),
        }
    }

    /// Gives up room at the end that is not in use, if it is much. True if the file is to be cut to
    /// [`Self::file_len`].
    pub(super) fn shrink(&mut self) -> bool {
        let in_use = self.order.iter().max().map_or(0, |last| last + 1);
        if self.count - in_use < SHRINK {
            return false;
        }
        self.free.split_off(&in_use);
        self.count = in_use;
        true
    }

    fn add_block(&mut self) -> u32 {
        let block = self.free.pop_first().unwrap_or_else(|| {
            self.count += 1;
            self.count - 1
        });
        self.order.push_back(block);
        self.tail = 0;
        block
    }
}

fn position(block: u32, offset: usize) -> u64 {
    u64::from(block) * BLOCK as u64 + offset as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(len: usize) -> Bytes {
        Bytes::from(vec![7; len])
    }

    fn take_all(blocks: &mut Blocks, mut len: usize) {
        while len > 0 {
            let (_, part) = blocks.next(len).expect("something is in it");
            blocks.take(part);
            len -= part;
        }
    }

    #[test]
    fn pieces_follow_each_other_and_end_with_their_block() {
        let mut blocks = Blocks::default();
        let placed = blocks.place(bytes(BLOCK + 10));
        let ranges: Vec<_> = placed.iter().map(|(at, data)| (*at, data.len())).collect();
        assert_eq!(ranges, [(0, BLOCK), (BLOCK as u64, 10)]);
        assert_eq!(blocks.place(bytes(5))[0].0, BLOCK as u64 + 10);
        assert_eq!(blocks.file_len(), BLOCK as u64 + 15);
        assert_eq!(blocks.next(100), Some((0, 100)));
        assert_eq!(blocks.next(usize::MAX), Some((0, BLOCK)));
    }

    #[test]
    fn what_was_taken_out_makes_room_for_what_comes() {
        let mut blocks = Blocks::default();
        blocks.place(bytes(2 * BLOCK));
        for _ in 0..1000 {
            take_all(&mut blocks, BLOCK);
            blocks.place(bytes(BLOCK));
        }
        assert!(blocks.file_len() <= 3 * BLOCK as u64, "{}", blocks.file_len());
    }

    #[test]
    fn nothing_is_placed_over_what_is_still_there() {
        let mut blocks = Blocks::default();
        let mut expected = VecDeque::new();
        let mut content = vec![0u8; 64 * BLOCK];
        let mut value = 0u8;
        for round in 0..200usize {
            let len = 1 + (round * 7_919_999) % (3 * BLOCK);
            value = value.wrapping_add(1);
            for (at, data) in blocks.place(bytes(len)) {
                content[at as usize..at as usize + data.len()].fill(value);
            }
            expected.push_back((value, len));
            while expected.iter().map(|(_, len)| len).sum::<usize>() > 4 * BLOCK {
                let (value, mut len) = expected.pop_front().expect("it is not empty");
                while len > 0 {
                    let (at, part) = blocks.next(len).expect("something is in it");
                    assert!(content[at as usize..at as usize + part].iter().all(|byte| *byte == value));
                    blocks.take(part);
                    len -= part;
                }
            }
        }
        assert!(blocks.file_len() <= 9 * BLOCK as u64, "{}", blocks.file_len());
    }

    #[test]
    fn a_long_end_that_is_not_in_use_is_cut_off() {
        let mut blocks = Blocks::default();
        blocks.place(bytes(40 * BLOCK));
        take_all(&mut blocks, 39 * BLOCK + 1);
        assert!(!blocks.shrink(), "its last block is in use");
        blocks.place(bytes(BLOCK));
        take_all(&mut blocks, BLOCK - 1);
        assert!(blocks.shrink());
        assert_eq!(blocks.file_len(), BLOCK as u64);
        assert_eq!(blocks.next(usize::MAX), Some((0, BLOCK)));
    }
}
