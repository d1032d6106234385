use crate::naive::{self, Map};
use alloy_primitives::{B256, hex};
use alloy_trie::{HashBuilder, Nibbles};
use citius_hashing::{CpuKind, Hasher};
use citius_state::trie::Trie;
use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;

const SEED: u64 = 1;

/// What keys look like.
#[derive(Debug, Clone, Copy)]
enum Keys {
    /// 32 random bytes: a secure trie.
    Hashed,
    /// 32 bytes of which nearly all are shared.
    DeepPrefix,
    /// 32 bytes of few different values.
    Crowded,
    /// One to four bytes, one of which may begin another.
    Short,
}

fn key(random: &mut ChaCha8Rng, keys: Keys) -> Vec<u8> {
    match keys {
        Keys::Hashed => random.random::<[u8; 32]>().to_vec(),
        Keys::DeepPrefix => {
            let mut key = [0x77; 32];
            let from = random.random_range(0..32);
            key[from] = random.random();
            key[31] = random.random_range(0..4);
            key.to_vec()
        }
        Keys::Crowded => (0..32).map(|_| *[0x00, 0x01, 0x10].choose(random).unwrap()).collect(),
        Keys::Short => {
            let len = random.random_range(1..5);
            (0..len).map(|_| *[0x00, 0x01, 0x10, 0x11, 0xf0].choose(random).unwrap()).collect()
        }
    }
}

fn value(random: &mut ChaCha8Rng) -> Vec<u8> {
    let len = match random.random_range(0..10) {
        0..6 => random.random_range(1..4),
        6..9 => random.random_range(1..40),
        _ => random.random_range(1..301),
    };
    (0..len).map(|_| random.random_range(1..=255)).collect()
}

fn alloy_root(map: &Map) -> B256 {
    let mut builder = HashBuilder::default();
    for (key, value) in map {
        builder.add_leaf(Nibbles::unpack(key), value);
    }
    builder.root()
}

/// One sequence of batches of random writes, the root compared after each.
fn sequence(seed: u64, hasher: &Hasher) -> usize {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let keys = [Keys::Hashed, Keys::DeepPrefix, Keys::Crowded, Keys::Short][random.random_range(0..4)];
    let mut map = Map::new();
    let mut trie = Trie::new();
    let batches = random.random_range(1..8);
    let mut known: Vec<Vec<u8>> = Vec::new();
    for _ in 0..batches {
        let mut writes: Vec<(Vec<u8>, Option<Vec<u8>>)> = Vec::new();
        for _ in 0..random.random_range(0..12) {
            let key = match known.choose(&mut random) {
                Some(known) if random.random_bool(0.5) => known.clone(),
                _ => key(&mut random, keys),
            };
            known.push(key.clone());
            let value = random.random_bool(0.6).then(|| value(&mut random));
            writes.push((key, value));
        }
        let borrowed: Vec<(&[u8], Option<&[u8]>)> =
            writes.iter().map(|(key, value)| (key.as_slice(), value.as_deref())).collect();
        trie.write(&borrowed).unwrap();
        for (key, value) in writes {
            match value {
                Some(value) => map.insert(key, value),
                None => map.remove(&key),
            };
        }
        // Sometimes several batches come before the root is asked for.
        if random.random_bool(0.3) {
            continue;
        }
        let what = || format!("seed {seed}: CITIUS_SEED={seed} CITIUS_CASES=1, {keys:?}, {map:x?}");
        assert_eq!(trie.root(hasher), naive::root(&map), "{}", what());
        if !matches!(keys, Keys::Short) {
            assert_eq!(trie.root(hasher), alloy_root(&map), "{}", what());
        }
        for key in &known {
            assert_eq!(trie.get(key).unwrap(), map.get(key).map(Vec::as_slice), "{}", what());
        }
    }
    let all: Vec<(&[u8], Option<&[u8]>)> = map.keys().map(|key| (key.as_slice(), None)).collect();
    trie.write(&all).unwrap();
    assert_eq!(trie.root(hasher), alloy_trie::EMPTY_ROOT_HASH, "seed {seed}");
    assert_eq!(trie.live_bytes(), 0, "seed {seed}: what was deleted is given back");
    batches
}

#[test]
fn random_writes_give_the_roots_of_the_definition() {
    let seed = number("CITIUS_SEED").unwrap_or(SEED);
    let cases = number("CITIUS_CASES").unwrap_or(if std::env::var_os("CITIUS_LONG").is_some() {
        120_000
    } else {
        3_000
    });
    for kind in CpuKind::ALL.into_iter().filter(|kind| !kind.is_available()) {
        eprintln!("skipped: hashing by {kind}, which this processor cannot");
    }
    let hashers: Vec<Hasher> =
        CpuKind::available().map(|kind| Hasher::with_cpu(kind).expect("it is available")).collect();
    let hasher = |seed: u64| &hashers[seed as usize % hashers.len()];
    let batches: usize = (seed..seed + cases).map(|seed| sequence(seed, hasher(seed))).sum();
    println!("{cases} sequences from seed {seed}, {batches} batches");
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

#[test]
fn the_definition_gives_known_roots() {
    let mut map = Map::new();
    for (key, value) in [("do", "verb"), ("horse", "stallion"), ("doge", "coin"), ("dog", "puppy")] {
        map.insert(key.into(), value.into());
    }
    let expected = hex!("5991bb8c6514148a29db676a14ac506cd2cd5775ace63c30a4fe457715e9ac84");
    assert_eq!(naive::root(&map), B256::from(expected));
}
