//! Which messages share the lanes of a kernel.
//!
//! A group takes as many permutations as its longest message has blocks, so messages are sorted by their number of
//! blocks, most first, and cut into groups: whoever is left over of one length fills the lanes of the next. (No other
//! partition takes fewer permutations: the `k`-th group's longest message is never shorter than the `k * lanes`-th
//! longest of all.) Only where a message is so much longer than the next that its lanes would run empty for long, or
//! is alone, it is hashed by itself.

use crate::cpu::{Cpu, LANES_MAX};
use alloy_primitives::B256;
use citius_kernels::block_count;
use std::{cell::Cell, ops::Range};

/// Messages that are sorted at once: their places fit the stack, and what is left over of each such part (fewer than
/// [`LANES_MAX`]) does not count.
const PART_MAX: usize = 2048;

/// Numbers of blocks that are told apart by counting; what has more is sorted by comparing. 64 blocks are 8.7 KB:
/// beyond the nodes of tries there is code, of which a block has little.
const CLASSES: usize = 64;

/// Messages by their places.
pub(crate) trait Messages {
    fn count(&self) -> usize;
    fn get(&self, index: usize) -> &[u8];

    /// Calls `use_them` with all messages in one arena.
    fn with_arena<T>(&self, use_them: impl FnOnce(&[u8], &[Range<usize>]) -> T) -> T;
}

/// Messages that were brought into one arena: kept by each thread for its next batch.
#[derive(Default)]
struct Scratch {
    arena: Vec<u8>,
    ranges: Vec<Range<usize>>,
}

/// What a thread keeps at most, in bytes: more than any block's batch of nodes.
const SCRATCH_MAX: usize = 64 << 20;

thread_local! {
    static SCRATCH: Cell<Scratch> = Cell::default();
}

impl Messages for [&[u8]] {
    fn count(&self) -> usize {
        self.len()
    }

    #[inline]
    fn get(&self, index: usize) -> &[u8] {
        self[index]
    }

    fn with_arena<T>(&self, use_them: impl FnOnce(&[u8], &[Range<usize>]) -> T) -> T {
        // Taken out, so that whatever is called may hash batches itself.
        let Scratch { mut arena, mut ranges } = SCRATCH.take();
        arena.clear();
        ranges.clear();
        for message in self {
            ranges.push(arena.len()..arena.len() + message.len());
            arena.extend_from_slice(message);
        }
        let result = use_them(&arena, &ranges);
        if arena.capacity() <= SCRATCH_MAX {
            SCRATCH.set(Scratch { arena, ranges });
        }
        result
    }
}

/// Messages in one arena.
pub(crate) struct Ranges<'a> {
    pub(crate) arena: &'a [u8],
    pub(crate) ranges: &'a [Range<usize>],
}

impl Messages for Ranges<'_> {
    fn count(&self) -> usize {
        self.ranges.len()
    }

    #[inline]
    fn get(&self, index: usize) -> &[u8] {
        &self.arena[self.ranges[index].clone()]
    }

    fn with_arena<T>(&self, use_them: impl FnOnce(&[u8], &[Range<usize>]) -> T) -> T {
        use_them(self.arena, self.ranges)
    }
}

/// Hashes all messages on the calling thread. `digests` is as long as there are messages.
pub(crate) fn hash_all(cpu: Cpu, messages: &(impl Messages + ?Sized), digests: &mut [B256]) {
    let count = messages.count();
    let lanes = cpu.lanes();
    if lanes == 1 || count == 1 {
        for (index, digest) in digests.iter_mut().enumerate() {
            *digest = cpu.hash_one(messages.get(index));
        }
        return;
    }
    let mut places = [0_u16; PART_MAX];
    let mut start = 0;
    while start < count {
        let end = count.min(start + PART_MAX);
        let part = &mut places[..end - start];
        sort(part, |place| block_count(messages.get(start + place).len()));
        hash_sorted(cpu, part, |place| messages.get(start + place), &mut digests[start..end]);
        start = end;
    }
}

/// Fills `places` with all numbers below its length, those with most blocks first.
fn sort(places: &mut [u16], blocks: impl Fn(usize) -> usize) {
    let mut ends = [0_u16; CLASSES];
    let class = |place: usize| CLASSES - blocks(place).min(CLASSES);
    let mut is_one_class = true;
    let first = class(0);
    for place in 0..places.len() {
        let class = class(place);
        ends[class] += 1;
        is_one_class &= class == first;
    }
    if is_one_class {
        places.iter_mut().zip(0..).for_each(|(place, number)| *place = number);
    } else {
        let mut sum = 0;
        for end in &mut ends {
            sum += *end;
            *end = sum - *end;
        }
        // Each is the next place of its class now, and the class's end at last.
        for place in 0..places.len() {
            let next = &mut ends[class(place)];
            places[usize::from(*next)] = place as u16;
            *next += 1;
        }
    }
    let long = places.partition_point(|place| class(usize::from(*place)) == 0);
    places[..long].sort_unstable_by_key(|place| usize::MAX - blocks(usize::from(*place)));
}

fn hash_sorted<'a>(cpu: Cpu, places: &[u16], message: impl Fn(usize) -> &'a [u8], digests: &mut [B256]) {
    let lanes = cpu.lanes();
    let blocks = |place: &u16| block_count(message(usize::from(*place)).len());
    let mut group_digests = [[0; 32]; LANES_MAX];
    // Lanes without a message hash the empty one.
    let gather = |places: &[u16]| {
        let mut messages: [&[u8]; LANES_MAX] = [&[]; LANES_MAX];
        for (slot, place) in messages.iter_mut().zip(&places[..lanes.min(places.len())]) {
            *slot = message(usize::from(*place));
        }
        messages
    };
    let mut rest = places;
    while let Some(longest) = rest.first() {
        let alone = blocks(longest);
        let shared = rest.get(1).map_or(0, blocks);
        if alone * 100 < (alone - shared) * cpu.permutation_cost_percent() {
            let place = usize::from(*longest);
            digests[place] = cpu.hash_one(message(place));
            rest = &rest[1..];
            continue;
        }
        let (group, others) = rest.split_at(lanes.min(rest.len()));
        if cpu.fetches_ahead() {
            cpu.prefetch(&gather(others));
        }
        cpu.hash_lanes(&gather(group), &mut group_digests);
        for (digest, place) in group_digests.iter().zip(group) {
            digests[usize::from(*place)] = B256::new(*digest);
        }
        rest = others;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_sorted_by_blocks_and_none_is_lost() {
        let cases: [&[usize]; 6] =
            [&[1], &[3, 3, 3], &[1, 2, 3, 1, 1], &[200, 1, 300, 64, 63, 65], &[70, 90, 80], &[64, 64]];
        for blocks in cases {
            let mut places = vec![u16::MAX; blocks.len()];
            sort(&mut places, |place| blocks[place]);
            let sorted: Vec<usize> = places.iter().map(|place| blocks[usize::from(*place)]).collect();
            assert!(sorted.is_sorted_by(|left, right| left >= right), "{blocks:?}: {sorted:?}");
            places.sort_unstable();
            assert!(places.iter().copied().eq(0..blocks.len() as u16), "{blocks:?}: {places:?}");
        }
    }
}
