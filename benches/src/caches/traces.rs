use super::SEED;
use crate::Size;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::HashSet;

/// Reads of a state, by the numbers of their keys.
#[derive(Debug, Clone)]
pub struct Trace {
    /// Its name in reports.
    pub name: String,
    /// The keys in the order in which they are read.
    pub reads: Vec<u32>,
    /// How many different ones there are.
    pub keys: usize,
}

/// The sweeps of a trace: after every so many reads others run over keys that nobody else reads, each in its turn.
#[derive(Debug, Clone, Copy)]
struct Scans {
    every: usize,
    length: u32,
    keys: u32,
}

impl Trace {
    pub(super) fn new(name: String, reads: Vec<u32>) -> Self {
        let keys = reads.iter().collect::<HashSet<_>>().len();
        Self { name, reads, keys }
    }

    /// Reads of which the key of rank `r`, from 1, has a part in proportion to `r` to the power of `-exponent`.
    fn zipf(exponent: f64, keys: u32, reads: usize, scans: Option<Scans>) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(SEED);
        let mut sums: Vec<f64> = Vec::with_capacity(keys as usize);
        for rank in 1..=keys {
            sums.push(sums.last().unwrap_or(&0.0) + f64::from(rank).powf(-exponent));
        }
        let sum = *sums.last().unwrap_or(&0.0);
        let mut trace = Vec::with_capacity(reads * 3 / 2);
        let mut scanned = 0;
        for read in 1..=reads {
            let place = random.random::<f64>() * sum;
            let rank = sums.partition_point(|below| *below <= place);
            trace.push(u32::try_from(rank).unwrap_or(keys).min(keys - 1));
            if let Some(scans) = scans.filter(|scans| read % scans.every == 0) {
                trace.extend((scanned..scanned + scans.length).map(|key| keys + key % scans.keys));
                scanned = (scanned + scans.length) % scans.keys;
            }
        }
        let name = format!("zipf-{exponent}{}", if scans.is_some() { "-scans" } else { "" });
        Self::new(name, trace)
    }
}

/// Zipf's law with exponents 0.8 and 0.99, each alone and with scans: a third of all reads, a sweep of 50,000 after every 100,000, over
/// half as many keys as the others have.
#[must_use]
pub fn generated(size: Size) -> Vec<Trace> {
    let keys = size.pick(2_000, 1_000_000);
    let reads = size.pick(10_000, 5_000_000);
    let scans = Scans { every: reads / 50, length: keys / 20, keys: keys / 2 };
    let of = |exponent| [None, Some(scans)].map(|scans| Trace::zipf(exponent, keys, reads, scans));
    [0.8, 0.99].into_iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rank_has_its_part_and_sweeps_read_each_key_in_turn() {
        let [_, scanned, alone, _] = generated(Size::Smoke).try_into().unwrap();
        let counts = |trace: &Trace, key: u32| trace.reads.iter().filter(|read| **read == key).count();
        let harmonic: f64 = (1..=2_000).map(|rank| f64::from(rank).powf(-0.99)).sum();
        let expected = 10_000.0 / harmonic;
        assert!((counts(&alone, 0) as f64 / expected - 1.0).abs() < 0.1, "{}", counts(&alone, 0));
        assert!(counts(&alone, 0) > counts(&alone, 1) && counts(&alone, 1) > counts(&alone, 3));
        assert_eq!(alone.reads.len(), 10_000);

        let sweeps: Vec<u32> = scanned.reads.iter().copied().filter(|key| *key >= 2_000).collect();
        let in_turn: Vec<u32> = (0..5_000).map(|read| 2_000 + read % 1_000).collect();
        assert_eq!((sweeps, scanned.name.as_str()), (in_turn, "zipf-0.8-scans"));
        assert_eq!(scanned.keys, scanned.reads.iter().collect::<HashSet<_>>().len());
    }
}
