use std::sync::atomic::{AtomicU64, Ordering};

/// Chooses the digests that are checked.
#[derive(Debug)]
pub(super) struct Sampler {
    one_in: usize,
    state: AtomicU64,
}

impl Sampler {
    pub(super) fn new(one_in: usize) -> Self {
        Self { one_in: one_in.max(1), state: AtomicU64::new(0) }
    }

    /// Places in a batch of `count`: one of every `one_in`, anew each time; at least one of a batch that is not empty.
    /// Over some batches no place goes unchecked, so no part of a device is wrong for long.
    pub(super) fn draw(&self, count: usize) -> Vec<usize> {
        let mut places = Vec::with_capacity(count.div_ceil(self.one_in));
        for start in (0..count).step_by(self.one_in) {
            let length = self.one_in.min(count - start);
            places.push(start + (self.next() % length as u64) as usize);
        }
        places
    }

    /// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
    fn next(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut word = self.state.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_every_so_many_and_each_in_time() {
        let sampler = Sampler::new(64);
        assert!(sampler.draw(0).is_empty());
        assert_eq!(sampler.draw(1), [0]);
        let mut seen = [false; 150];
        for _ in 0..2_000 {
            let places = sampler.draw(150);
            assert_eq!(places.iter().map(|place| place / 64).collect::<Vec<_>>(), [0, 1, 2]);
            places.into_iter().for_each(|place| seen[place] = true);
        }
        assert_eq!(seen.iter().position(|seen| !seen), None);
        assert_eq!(Sampler::new(1).draw(3), [0, 1, 2]);
    }
}
