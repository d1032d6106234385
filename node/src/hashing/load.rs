use std::ops::Range;

/// Messages to hash, and in what batches.
#[derive(Debug, Clone)]
pub struct HashLoad {
    /// What it is called in tables.
    pub name: String,
    /// The bytes of all messages.
    pub arena: Vec<u8>,
    /// Where each message is.
    pub ranges: Vec<Range<usize>>,
    /// Messages in a batch; the last may have fewer.
    pub batch: usize,
}

impl HashLoad {
    /// Messages of one length, all in one batch.
    #[must_use]
    pub fn uniform(len: usize, messages: usize) -> Self {
        Self::of(format!("{len} B"), std::iter::repeat_n(len, messages))
    }

    /// Messages as a block's changes to a state trie make them, all in one batch: of ten six are full branches (532
    /// bytes), two leaves (80 to 110), one a key (32), one a sparse branch (100 to 400), in random order.
    #[must_use]
    pub fn trie_mix(messages: usize, seed: u64) -> Self {
        let mut dice = Dice(seed);
        let lengths = (0..messages).map(|_| match dice.below(10) {
            0..6 => 532,
            6..8 => 80 + dice.below(31),
            8 => 32,
            _ => 100 + dice.below(301),
        });
        Self::of("trie mix".into(), lengths)
    }

    /// The same messages, each in a batch of its own.
    #[must_use]
    pub fn one_by_one(self) -> Self {
        Self { name: format!("{}, one by one", self.name), batch: 1, ..self }
    }

    fn of(name: String, lengths: impl Iterator<Item = usize>) -> Self {
        let mut end = 0;
        let place = |len| {
            end += len;
            end - len..end
        };
        let ranges: Vec<Range<usize>> = lengths.map(place).collect();
        let mut dice = Dice(1);
        let arena = (0..end).map(|_| dice.next() as u8).collect();
        Self { name, arena, batch: ranges.len().max(1), ranges }
    }

    /// Permutations that all its messages take.
    #[must_use]
    pub fn permutations(&self) -> u64 {
        self.ranges.iter().map(|range| citius_kernels::block_count(range.len()) as u64).sum()
    }
}

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_is_what_it_says() {
        let load = HashLoad::trie_mix(10_000, 7);
        let share = |lengths: Range<usize>| {
            load.ranges.iter().filter(|range| lengths.contains(&range.len())).count() as f64 / 10_000.0
        };
        let is_about = |found: f64, expected: f64| (found - expected).abs() < 0.03;
        assert!(is_about(share(532..533), 0.6) && is_about(share(32..33), 0.1), "{}", share(532..533));
        assert!(is_about(share(80..100), 0.2 * 20.0 / 31.0) && share(401..532) == 0.0);
        assert_eq!(load.arena.len(), load.ranges.last().unwrap().end);
        assert_eq!(load.ranges, HashLoad::trie_mix(10_000, 7).ranges);
        assert_ne!(load.ranges, HashLoad::trie_mix(10_000, 8).ranges);
        assert_eq!((HashLoad::uniform(136, 5).permutations(), load.batch), (10, 10_000));
        assert_eq!(HashLoad::uniform(0, 2).one_by_one().batch, 1);
    }
}
