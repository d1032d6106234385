//! The one source of chance of a simulation, the same on every machine and for ever.

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
#[derive(Clone, Debug)]
pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number below `end`; 0 if that is 0.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// True `count` times in a million. Draws nothing for 0, so that a fault that is off changes no outcome.
    pub(super) fn per_million(&mut self, count: u32) -> bool {
        count > 0 && self.below(1_000_000) < u64::from(count)
    }

    /// A chance in 256 of something to survive: never, always, or something between.
    pub(super) fn odds(&mut self) -> u64 {
        match self.below(4) {
            0 => 0,
            1 => 256,
            _ => self.below(257),
        }
    }
}
