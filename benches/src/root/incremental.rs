//! What one would write with `alloy-trie`: a trie whose intermediate nodes are stored, so that a root costs what
//! changed. The way of it is that of nodes with a database ([`HashBuilder`] was made for it): sorted leaves, branches by
//! path ([`BranchNodeCompact`]), and a walk that takes hashes for granted wherever no key changed.

use alloy_primitives::B256;
use alloy_trie::{BranchNodeCompact, EMPTY_ROOT_HASH, HashBuilder, Nibbles};
use std::{
    collections::BTreeMap,
    ops::Bound::{self, Excluded, Included},
};

/// A leaf's value, as a trie holds it.
pub trait LeafValue {
    /// Appends its RLP.
    fn encode(&self, out: &mut Vec<u8>);
}

/// A trie over hashed keys.
#[derive(Debug, Clone)]
pub struct IncrementalTrie<V> {
    leaves: BTreeMap<B256, V>,
    /// By path. As databases have them: branches above the lowest one of each way.
    branches: BTreeMap<Nibbles, BranchNodeCompact>,
    root: B256,
}

impl<V> Default for IncrementalTrie<V> {
    fn default() -> Self {
        Self { leaves: BTreeMap::new(), branches: BTreeMap::new(), root: EMPTY_ROOT_HASH }
    }
}

impl<V: LeafValue> IncrementalTrie<V> {
    /// The root by what was written.
    #[must_use]
    pub fn root(&self) -> B256 {
        self.root
    }

    /// Leaves by key.
    pub fn leaves(&self) -> impl ExactSizeIterator<Item = (&B256, &V)> {
        self.leaves.iter()
    }

    /// Writes leaves, sorted by key, each once (`None` deletes), and returns the root.
    pub fn write(&mut self, writes: Vec<(B256, Option<V>)>) -> B256 {
        let changed: Vec<B256> = writes.iter().map(|(key, _)| *key).collect();
        for (key, value) in writes {
            match value {
                Some(value) => drop(self.leaves.insert(key, value)),
                None => drop(self.leaves.remove(&key)),
            }
        }
        let mut walk = Walk {
            trie: self,
            builder: HashBuilder::default().with_updates(true),
            walked: Vec::new(),
            value: Vec::new(),
        };
        walk.region(&Nibbles::new(), &changed);
        let Walk { mut builder, walked, .. } = walk;
        self.root = builder.root();
        let (_, made) = builder.split();
        for path in walked {
            if !made.contains_key(&path) {
                self.branches.remove(&path);
            }
        }
        self.branches.extend(made);
        self.root
    }

    /// The root out of nothing but the leaves.
    #[must_use]
    pub fn rebuilt_root(&self) -> B256 {
        let mut builder = HashBuilder::default();
        let mut rlp = Vec::new();
        for (key, value) in &self.leaves {
            rlp.clear();
            value.encode(&mut rlp);
            builder.add_leaf(Nibbles::unpack(key), &rlp);
        }
        builder.root()
    }
}

/// A walk along changed keys, in the order of keys.
struct Walk<'a, V> {
    trie: &'a IncrementalTrie<V>,
    builder: HashBuilder,
    /// Stored branches that were made anew, or are gone.
    walked: Vec<Nibbles>,
    value: Vec<u8>,
}

impl<V: LeafValue> Walk<'_, V> {
    /// All that is below a path, `changed` being the changed keys there.
    fn region(&mut self, path: &Nibbles, changed: &[B256]) {
        let (first, last) = (padded(path, 0), padded(path, 0xff));
        let stored = self.trie.branches.range(*path..).next().filter(|(at, _)| at.starts_with(path));
        let Some((at, branch)) = stored else { return self.leaves(Included(first), Included(last)) };
        // Of several in a region the highest comes first, and all others are below it.
        let (branch_first, branch_last) = (padded(at, 0), padded(at, 0xff));
        if at.len() > path.len() {
            self.leaves(Included(first), Excluded(branch_first));
        }
        self.branch(at, branch, between(changed, &branch_first, &branch_last));
        if at.len() > path.len() {
            self.leaves(Excluded(branch_last), Included(last));
        }
    }

    fn branch(&mut self, path: &Nibbles, branch: &BranchNodeCompact, changed: &[B256]) {
        self.walked.push(*path);
        for nibble in 0..16 {
            let mut child = *path;
            child.push(nibble);
            let (first, last) = (padded(&child, 0), padded(&child, 0xff));
            let changed = between(changed, &first, &last);
            let is_stored = branch.tree_mask.is_bit_set(nibble);
            if changed.is_empty() && !branch.state_mask.is_bit_set(nibble) {
                continue;
            }
            if changed.is_empty() && branch.hash_mask.is_bit_set(nibble) {
                self.builder.add_branch(child, branch.hash_for_nibble(nibble), is_stored);
            } else if is_stored {
                self.region(&child, changed);
            } else {
                self.leaves(Included(first), Included(last));
            }
        }
    }

    fn leaves(&mut self, from: Bound<B256>, to: Bound<B256>) {
        for (key, value) in self.trie.leaves.range((from, to)) {
            self.value.clear();
            value.encode(&mut self.value);
            self.builder.add_leaf_unchecked(Nibbles::unpack(key), &self.value);
        }
    }
}

/// A path's first or last key.
fn padded(path: &Nibbles, with: u8) -> B256 {
    let mut key = B256::repeat_byte(with);
    let (whole, odd) = (path.len() / 2, path.len() % 2);
    for (index, byte) in key[..whole].iter_mut().enumerate() {
        *byte = path.get_byte_unchecked(2 * index);
    }
    if odd == 1 {
        key[whole] = path.get_unchecked(2 * whole) << 4 | with & 0xf;
    }
    key
}

/// The keys from `first` to `last`, both included, of sorted ones.
fn between<'a>(keys: &'a [B256], first: &B256, last: &B256) -> &'a [B256] {
    let start = keys.partition_point(|key| key < first);
    let end = start + keys[start..].partition_point(|key| key <= last);
    &keys[start..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    impl LeafValue for u64 {
        fn encode(&self, out: &mut Vec<u8>) {
            alloy_rlp::Encodable::encode(self, out);
        }
    }

    /// Keys of few nibbles at a few places, so that ways part high and low, and share what is between.
    fn key(random: &mut ChaCha8Rng) -> B256 {
        let mut key = B256::repeat_byte(0x77);
        let ends = [1, 2, 3, 4, 8, 31];
        for _ in 0..random.random_range(1..4) {
            let place = ends[random.random_range(0..ends.len())];
            key[place] = [0x00, 0x07, 0x70, 0x71, 0xf7, 0xff][random.random_range(0..6)];
        }
        if random.random_bool(0.7) {
            key[0] = random.random();
            key[1] = random.random_range(0..8);
        }
        key
    }

    fn run(seed: u64) {
        eprintln!("seed {seed}: CITIUS_SEED={seed} cargo test -p citius-benches --lib incremental");
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut trie = IncrementalTrie::<u64>::default();
        let rounds = 30;
        for round in 0..rounds {
            let mut writes = BTreeMap::new();
            let deletes = if round % 7 == 6 { 0.95 } else { 0.3 };
            let count = random.random_range(1..if round == 0 { 2_000 } else { 60 });
            for _ in 0..count {
                let is_gone = random.random_bool(deletes);
                let bits = random.random_range(0..60);
                let value = (!is_gone).then(|| random.random_range(1..u64::MAX >> bits));
                writes.insert(key(&mut random), value);
            }
            if round % 7 == 6 {
                let known: Vec<B256> = trie.leaves().map(|(key, _)| *key).collect();
                let gone = known.into_iter().filter(|_| random.random_bool(0.8));
                writes.extend(gone.map(|key| (key, None)));
            }
            let root = trie.write(writes.into_iter().collect());
            assert_eq!(root, trie.rebuilt_root(), "seed {seed}, round {round}");
        }
        let all: Vec<_> = trie.leaves().map(|(key, _)| (*key, None)).collect();
        assert_eq!(trie.write(all), EMPTY_ROOT_HASH);
        assert!(trie.branches.is_empty(), "{:?}", trie.branches);
    }

    #[test]
    fn incremental_roots_are_those_of_rebuilt_tries() {
        let seed = std::env::var("CITIUS_SEED").ok().and_then(|seed| seed.parse().ok());
        match seed {
            Some(seed) => run(seed),
            None => (0..60).for_each(run),
        }
    }
}
