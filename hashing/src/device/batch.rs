//! In which order, and in which pieces, a batch goes to a device.

use super::MESSAGE_BYTES_MAX;
use citius_kernels::{device::blocks_count, protocol::Layout};
use std::ops::Range;

/// Permutations of the longest message.
const BLOCKS_MAX: usize = blocks_count(MESSAGE_BYTES_MAX);

/// An order of a batch's messages. Kept from batch to batch for its memory.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// Places in the batch, fewest permutations first: neighbours on a device wait for each other.
    short: Vec<u32>,
    /// Places of messages that no device takes.
    long: Vec<u32>,
    /// Permutations of the short ones together.
    blocks_count: u64,
}

impl Order {
    /// Orders a batch. A counting sort, or none where all messages take alike.
    pub(super) fn set(&mut self, ranges: &[Range<usize>]) {
        self.short.clear();
        self.long.clear();
        let mut starts = [0_u32; BLOCKS_MAX + 1];
        for (place, range) in (0_u32..).zip(ranges) {
            if range.len() > MESSAGE_BYTES_MAX {
                self.long.push(place);
            } else {
                starts[blocks_count(range.len())] += 1;
            }
        }
        self.blocks_count =
            starts.iter().enumerate().map(|(blocks, count)| blocks as u64 * u64::from(*count)).sum();
        let shorts_count = ranges.len() - self.long.len();
        if starts.iter().any(|count| *count as usize == ranges.len()) {
            self.short.extend((0_u32..).take(ranges.len()));
            return;
        }
        let mut start = 0;
        for count in &mut starts {
            (*count, start) = (start, start + *count);
        }
        self.short.resize(shorts_count, 0);
        for (place, range) in (0_u32..).zip(ranges) {
            if range.len() <= MESSAGE_BYTES_MAX {
                let next = &mut starts[blocks_count(range.len())];
                self.short[*next as usize] = place;
                *next += 1;
            }
        }
    }

    /// Places of messages for the device, in the order in which they go there.
    pub(super) fn short(&self) -> &[u32] {
        &self.short
    }

    /// Places of messages that are too long for any device.
    pub(super) fn long(&self) -> &[u32] {
        &self.long
    }

    /// Permutations that the device has to do.
    pub(super) fn blocks_count(&self) -> u64 {
        self.blocks_count
    }
}

/// How many of the messages at `places` fit the shared memory at once: at least one, if there is one.
pub(super) fn piece_len(layout: Layout, ranges: &[Range<usize>], places: &[u32]) -> usize {
    let mut words_left = layout.arena_bytes() / 8;
    let fits = |place: &&u32| {
        let left = words_left.checked_sub(ranges[**place as usize].len().div_ceil(8));
        words_left = left.unwrap_or(words_left);
        left.is_some()
    };
    places.iter().take(layout.messages_max()).take_while(fits).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(lengths: &[usize]) -> Vec<Range<usize>> {
        let mut start = 0;
        lengths.iter().map(|length| (start, start += length).0..start).collect()
    }

    #[test]
    fn messages_of_like_cost_stand_together_and_long_ones_apart() {
        let ranges = ranges(&[300, 5, MESSAGE_BYTES_MAX, 136, 0, MESSAGE_BYTES_MAX + 1, 135]);
        let mut order = Order::default();
        order.set(&ranges);
        assert_eq!(order.short(), [1, 4, 6, 3, 0, 2]);
        assert_eq!(order.long(), [5]);
        assert_eq!(order.blocks_count(), 1 + 1 + 1 + 2 + 3 + 121);
        order.set(&ranges[3..4]);
        assert_eq!((order.short(), order.long(), order.blocks_count()), (&[0][..], &[][..], 2));
        order.set(&[]);
        assert!(order.short().is_empty() && order.long().is_empty());
    }

    #[test]
    fn pieces_fit_the_arena_and_the_table() {
        let layout = Layout::new(4096 * 4, 5).unwrap();
        let of = |lengths: &[usize], places: &[u32]| piece_len(layout, &ranges(lengths), places);
        assert_eq!(of(&[8; 9], &[0, 1, 2, 3, 4, 5, 6]), 5);
        assert_eq!(of(&[8192, 8192, 0, 1], &[0, 1, 2, 3]), 3, "an empty message takes no room");
        assert_eq!(of(&[8192, 8191, 1], &[0, 1, 2]), 2, "each message begins at a word of its own");
        assert_eq!(of(&[MESSAGE_BYTES_MAX, 1], &[0, 1]), 1);
        assert_eq!(of(&[], &[]), 0);
    }
}
