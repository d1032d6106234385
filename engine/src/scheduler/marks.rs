use super::ids::LocationId;
use crate::sync::{AtomicU64, Ordering, model_fence};

/// Words of a set: with an entry's status they fill one cache line.
const WORDS: usize = if cfg!(feature = "loom") { 1 } else { 7 };
const BITS: u64 = 64 * WORDS as u64;

/// What an execution has read so far, as a set of hashed locations: whoever writes asks whether the execution may have
/// read that. The set belongs to the entry that reads, so that readers of one location share no cache line.
///
/// A mark comes before its read, and a write before the look at the marks, so that one of them finds the other.
#[derive(Debug, Default)]
pub(crate) struct ReadMarks {
    words: [AtomicU64; WORDS],
}

/// Locations that an execution wrote, hashed as in [`ReadMarks`].
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Touched {
    words: [u64; WORDS],
}

impl ReadMarks {
    /// Forgets everything: the next execution begins.
    pub(crate) fn clear(&self) {
        for word in &self.words {
            // Relaxed: whoever sees old marks only asks in vain.
            word.store(0, Ordering::Relaxed);
        }
    }

    /// Marks a location that is about to be read.
    #[inline]
    pub(crate) fn add(&self, location: LocationId) {
        let (word, bit) = place(location);
        if self.words[word].load(Ordering::Relaxed) & bit == 0 {
            // SeqCst: in one order with the reader's look at the location, the writer's change of it, and the writer's
            // look here.
            self.words[word].fetch_or(bit, Ordering::SeqCst);
        }
        model_fence();
    }

    /// Whether any of these locations may have been read.
    #[inline]
    pub(crate) fn may_hold(&self, touched: &Touched) -> bool {
        self.words.iter().zip(&touched.words).any(|(word, bits)| word.load(Ordering::SeqCst) & bits != 0)
    }
}

impl Touched {
    pub(crate) fn add(&mut self, location: LocationId) {
        let (word, bit) = place(location);
        self.words[word] |= bit;
    }

    /// Whether a location may be one of these.
    #[inline]
    pub(crate) fn may_hold(&self, location: LocationId) -> bool {
        let (word, bit) = place(location);
        self.words[word] & bit != 0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.words == [0; WORDS]
    }
}

/// Word and bit of a location.
fn place(location: LocationId) -> (usize, u64) {
    let spread = location.0.wrapping_mul(0x9e37_79b1);
    let bit = u64::from(spread) * BITS >> 32;
    ((bit / 64) as usize, 1 << (bit % 64))
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_is_found_and_little_else() {
        let marks = ReadMarks::default();
        for location in 0..40 {
            marks.add(LocationId(location));
        }
        let asked = |location| {
            let mut touched = Touched::default();
            touched.add(LocationId(location));
            marks.may_hold(&touched)
        };
        assert!((0..40).all(asked));
        let in_vain = (1_000..11_000).filter(|location| asked(*location)).count();
        assert!(in_vain < 1_500, "{in_vain} of 10,000 other locations");
        assert!(!marks.may_hold(&Touched::default()));
        marks.clear();
        assert!(!(0..40).any(asked));
    }

    #[test]
    fn locations_spread_over_all_bits() {
        let mut counts = [[0; 64]; WORDS];
        for location in 0..BITS as u32 * 100 {
            let (word, bit) = place(LocationId(location));
            counts[word][bit.trailing_zeros() as usize] += 1;
        }
        assert!(counts.iter().flatten().all(|count| (50..200).contains(count)), "{counts:?}");
    }
}
