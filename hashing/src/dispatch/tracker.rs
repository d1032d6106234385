use std::sync::atomic::{AtomicU64, Ordering};

/// How far measured times are from predicted ones, by the last batches: an exponentially weighted mean.
#[derive(Debug)]
pub(super) struct Tracker {
    /// A positive `f64`.
    bits: AtomicU64,
}

impl Default for Tracker {
    fn default() -> Self {
        Self { bits: AtomicU64::new(1.0_f64.to_bits()) }
    }
}

impl Tracker {
    /// What the last batch weighs when it was slower than those before: five such show nearly all of it.
    const SLOWER: f64 = 0.3;
    /// When it was faster: a device that recovered is tried seldom, and has to be believed soon.
    const FASTER: f64 = 0.6;
    /// Nothing moves the mean further than this: one batch behind a suspended machine is no reason to never try again.
    const BOUNDS: (f64, f64) = (0.05, 100.0);

    /// Measured over predicted; 1 before anything was measured.
    pub(super) fn ratio(&self) -> f64 {
        f64::from_bits(self.bits.load(Ordering::Relaxed))
    }

    /// A batch took `ratio` times what was predicted. Of two threads at once one may go unheard: it is a mean.
    pub(super) fn observe(&self, ratio: f64) {
        let ratio = ratio.clamp(Self::BOUNDS.0, Self::BOUNDS.1);
        let before = self.ratio();
        let weight = if ratio > before { Self::SLOWER } else { Self::FASTER };
        self.bits.store((before + weight * (ratio - before)).to_bits(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_slow_is_seen_soon_and_forgotten_sooner() {
        let tracker = Tracker::default();
        (0..5).for_each(|_| tracker.observe(10.0));
        assert!((8.0..10.0).contains(&tracker.ratio()), "{}", tracker.ratio());
        (0..3).for_each(|_| tracker.observe(1.0));
        assert!((1.0..2.0).contains(&tracker.ratio()), "{}", tracker.ratio());
        tracker.observe(f64::INFINITY);
        assert!(tracker.ratio() < 40.0, "{}", tracker.ratio());
    }
}
