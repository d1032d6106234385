use crate::{
    model::{Threads, World, from_nothing},
    nodes::Nodes,
    versions::{Known, Versions},
};
use alloy_trie::EMPTY_ROOT_HASH;
use citius_hashing::{CpuKind, Hasher};
use citius_state::{
    AccountChange, CallerAlone, ChangeSet, MemoryState,
    ssmt::{Ownership, Ssmt, SsmtConfig, SsmtError, VersionId},
};
use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

pub(crate) const SEED: u64 = 1;

/// By one of this processor's ways to hash.
pub(crate) fn random_hasher(random: &mut ChaCha8Rng) -> Arc<Hasher> {
    let kinds: Vec<CpuKind> = CpuKind::available().collect();
    Arc::new(Hasher::with_cpu(*kinds.choose(random).unwrap()).unwrap())
}

pub(crate) fn report_missing_kinds() {
    for kind in CpuKind::ALL.into_iter().filter(|kind| !kind.is_available()) {
        eprintln!("skipped: hashing by {kind}, which this processor cannot");
    }
}

/// Any table at all: of more workers than there are, or of fewer, and of ranges without shards.
pub(crate) fn random_ownership(random: &mut ChaCha8Rng) -> Ownership {
    let mut bounds: Vec<u16> =
        (0..random.random_range(0..10)).map(|_| random.random_range(0..=256)).collect();
    bounds.extend([0, 256]);
    bounds.sort_unstable();
    Ownership::from_bounds(bounds).unwrap()
}

/// Random blocks on random parents, versions given up, heads moved, shards given to others.
fn sequence(seed: u64) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let what = format!("CITIUS_SEED={seed} CITIUS_CASES=1");
    let world = World::random(&mut random);
    let threads = *[1, 2, 8].choose(&mut random).unwrap();
    let config = SsmtConfig {
        history: random.random_range(0..5),
        large_storage_from: *[1, 8, 50, 4096].choose(&mut random).unwrap(),
        rebalance_every: *[0, 1, 3].choose(&mut random).unwrap(),
        ..SsmtConfig::default()
    };
    let moves_shards = random.random_bool(0.3);
    let looks_at_nodes = random.random_bool(0.2);
    let trie = Ssmt::new(config.clone(), random_hasher(&mut random), Arc::new(Threads(threads)));
    let nothing = trie.memory();
    let mut versions = Versions::new(&trie, config.history);
    let mut gone = Vec::new();
    for _ in 0..random.random_range(1..12) {
        if moves_shards {
            let ownership = random_ownership(&mut random);
            trie.set_ownership(ownership.clone());
            assert_eq!(trie.ownership(), ownership);
        }
        // Mostly the head's line grows.
        let index = match random.random_bool(0.7) {
            true => versions.known.len() - 1,
            false => random.random_range(0..versions.known.len()),
        };
        let parent = Arc::clone(&versions.known[index]);
        let changes = Arc::new(world.changes(&mut random, &parent.state));
        let sealed = trie.seal(parent.version, &changes).unwrap();
        let mut state = parent.state.clone();
        state.apply(&changes);
        let known = Known::new(sealed.version, Some(parent.version), state);
        assert_eq!(sealed.root, known.root, "{what}");
        versions.push(if looks_at_nodes {
            known.with_nodes(&trie, &Nodes::of(&parent.state), sealed.nodes_hashed, &what)
        } else {
            known
        });
        match random.random_range(0..6) {
            0..3 => {
                let head = versions.known.choose(&mut random).unwrap().version;
                trie.set_head(head).unwrap();
                gone.extend(versions.set_head(head));
            }
            3 | 4 => {
                let version = versions.known.choose(&mut random).unwrap().version;
                let expected = versions.discard(version);
                let expected = expected.map_err(|reason| SsmtError::InUse { version, reason });
                assert_eq!(trie.discard(version), expected, "{what}");
                gone.extend(expected.ok().map(|()| version));
            }
            _ => {}
        }
        versions.check(&trie, &world, &mut random, &what);
        if let Some(gone) = gone.choose(&mut random) {
            versions.check_gone(&trie, *gone, &what);
        }
    }
    let last = versions.known.pop().unwrap();
    let mut version = last.version;
    // Of a storage that shrank below the cut it depends on its past how it is laid out.
    if [1, 4096].contains(&config.large_storage_from) {
        version = check_memory(&trie, &last, &config, &what);
    }
    // When only empty versions are left, nothing is left in memory.
    version = empty(&trie, version, &last.state, config.history);
    let memory = trie.memory();
    assert_eq!((memory.node_bytes, memory.log_bytes), (0, 0), "{what}: {memory:?}");
    assert_eq!(memory.top_bytes, (config.history as u64 + 1) * nothing.top_bytes, "{what}: {memory:?}");
    assert_eq!(trie.root(version).unwrap(), EMPTY_ROOT_HASH);
}

/// Gives up all versions but one and empty ones behind it: what is left in memory is what its state takes.
fn check_memory(trie: &Ssmt, known: &Known, config: &SsmtConfig, what: &str) -> VersionId {
    let history = config.history as u64;
    let mut version = known.version;
    for _ in 0..=config.history {
        version = trie.seal(version, &Arc::default()).unwrap().version;
    }
    trie.set_head(version).unwrap();
    let config = SsmtConfig { history: 0, ..config.clone() };
    let fresh = Ssmt::new(config.clone(), Arc::new(Hasher::cpu()), Arc::new(CallerAlone));
    let one_version = fresh.memory().top_bytes;
    let sealed = fresh.seal(fresh.head(), &Arc::new(from_nothing(&known.state))).unwrap();
    assert_eq!(sealed.root, known.root, "{what}");
    fresh.set_head(sealed.version).unwrap();
    let (found, expected) = (trie.memory(), fresh.memory());
    assert_eq!(found.node_bytes, expected.node_bytes, "{what}");
    assert_eq!(found.top_bytes, expected.top_bytes + history * one_version, "{what}");
    version
}

/// Removes all accounts of a version, and gives everything up but empty versions behind it; the last one is the head.
pub(crate) fn empty(trie: &Ssmt, of: VersionId, state: &MemoryState, history: usize) -> VersionId {
    let mut everything = ChangeSet::default();
    for (address, before) in state.accounts().filter(|(_, account)| account.is_some()) {
        let change = AccountChange { address, before, after: None, storage_wiped: true, storage: vec![] };
        everything.accounts.push(change);
    }
    let mut version = trie.seal(of, &Arc::new(everything)).unwrap().version;
    for _ in 0..=history {
        version = trie.seal(version, &Arc::default()).unwrap().version;
    }
    trie.set_head(version).unwrap();
    version
}

#[test]
fn history_may_be_without_bound() {
    let config = SsmtConfig { history: usize::MAX, ..SsmtConfig::default() };
    let trie = Ssmt::new(config, Arc::new(Hasher::cpu()), Arc::new(CallerAlone));
    let first = trie.head();
    let next = trie.seal(first, &Arc::default()).unwrap().version;
    trie.set_head(next).unwrap();
    assert_eq!(trie.root(first), Ok(EMPTY_ROOT_HASH));
}

#[test]
fn versions_have_the_roots_and_values_of_plain_maps() {
    report_missing_kinds();
    let seed = number("CITIUS_SEED").unwrap_or(SEED);
    let is_long = std::env::var_os("CITIUS_LONG").is_some();
    let cases = number("CITIUS_CASES").unwrap_or(if is_long { 100_000 } else { 300 });
    for seed in seed..seed + cases {
        sequence(seed);
    }
    println!("{cases} sequences from seed {seed}");
}

pub(crate) fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}
