use std::collections::{BTreeSet, HashMap};

/// Hits of a cache that knows the future: it keeps what is read next, and takes in nothing that is read later than all that it has
/// (Belady, "A study of replacement algorithms for a virtual-storage computer", IBM Systems Journal 1966; with leave to pass by).
#[must_use]
pub fn best_hits(reads: &[u32], capacity: usize) -> u64 {
    let next = next_reads(reads);
    // By the next read, at which each key is the one read.
    let mut kept: BTreeSet<usize> = BTreeSet::new();
    let mut hits = 0;
    for (now, &next) in next.iter().enumerate() {
        hits += u64::from(kept.remove(&now));
        if next == usize::MAX {
            continue;
        }
        kept.insert(next);
        if kept.len() > capacity {
            kept.pop_last();
        }
    }
    hits
}

/// For each read when its key is read again; the end of all numbers for never.
fn next_reads(reads: &[u32]) -> Vec<usize> {
    let mut seen: HashMap<u32, usize> = HashMap::new();
    let mut next = vec![usize::MAX; reads.len()];
    for (now, key) in reads.iter().enumerate().rev() {
        next[now] = seen.insert(*key, now).unwrap_or(usize::MAX);
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// The most hits from some read on, by trying everything.
    fn slow(reads: &[u32], kept: &[u32], capacity: usize) -> u64 {
        let Some((key, rest)) = reads.split_first() else { return 0 };
        if kept.contains(key) {
            return 1 + slow(rest, kept, capacity);
        }
        let mut best = slow(rest, kept, capacity);
        let with = [kept, &[*key]].concat();
        if with.len() <= capacity {
            return best.max(slow(rest, &with, capacity));
        }
        for out in 0..kept.len() {
            let mut others = with.clone();
            others.remove(out);
            best = best.max(slow(rest, &others, capacity));
        }
        best
    }

    #[test]
    fn nobody_can_do_better() {
        for seed in 0..100 {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            let capacity = random.random_range(1..4);
            let reads: Vec<u32> = (0..10).map(|_| random.random_range(0..5)).collect();
            assert_eq!(best_hits(&reads, capacity), slow(&reads, &[], capacity), "seed {seed}: {reads:?}");
        }
    }
}
