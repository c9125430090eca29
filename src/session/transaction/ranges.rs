//! Which bytes of a pull have been sent.

/// A set of byte positions, as disjoint half-open ranges in order.
#[derive(Debug, Default)]
pub(super) struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// Adds `start..end`, joining what touches it. `start` is not behind `end`: so `from` is not behind `to`.
    pub(super) fn add(&mut self, start: u64, end: u64) {
        let from = self.0.partition_point(|&(_, e)| e < start);
        let to = self.0.partition_point(|&(s, _)| s <= end);
        let (mut low, mut high) = (start, end);
        if let (Some(first), Some(last)) = (self.0.get(from), to.checked_sub(1).and_then(|i| self.0.get(i)))
            && from < to
        {
            low = low.min(first.0);
            high = high.max(last.1);
        }
        self.0.splice(from..to, [(low, high)]);
    }

    /// Whether every byte of `0..size` is in the set.
    pub(super) fn cover(&self, size: u64) -> bool {
        size == 0 || matches!(self.0.first(), Some(&(0, end)) if end >= size)
    }

    /// Whether the last byte of `0..size` is in the set.
    pub(super) fn reach(&self, size: u64) -> bool {
        self.0.last().is_some_and(|&(_, end)| end >= size)
    }

    /// How many disjoint ranges there are.
    pub(super) fn pieces(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(checks::cases(256))]

        #[test]
        fn the_set_is_the_union_of_what_was_added(parts in prop::collection::vec((0u64..60, 1u64..20), 0..30)) {
            let mut ranges = Ranges::default();
            let mut bytes = [false; 80];
            for (start, length) in parts {
                ranges.add(start, start + length);
                for byte in start..start + length {
                    bytes[byte as usize] = true;
                }
                let pieces = bytes.iter().zip([false].iter().chain(&bytes)).filter(|(now, before)| **now && !**before);
                prop_assert_eq!(ranges.pieces(), pieces.count());
                for size in 0..80 {
                    prop_assert_eq!(ranges.cover(size as u64), bytes[..size].iter().all(|b| *b));
                }
                let last = bytes.iter().rposition(|b| *b).map_or(0, |last| last as u64 + 1);
                prop_assert!(ranges.reach(last) && !ranges.reach(last + 1));
            }
        }
    }
}
