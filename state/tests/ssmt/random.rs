use crate::model::{Threads, World, state_root, storage_root};
use alloy_primitives::U256;
use citius_hashing::Hasher;
use citius_state::{
    MemoryState, StateReader,
    ssmt::{Ownership, Ssmt, SsmtConfig, VersionId},
};
use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

pub(crate) const SEED: u64 = 1;

/// A version and the state that it must hold.
struct Known {
    version: VersionId,
    state: MemoryState,
    parent: Option<VersionId>,
}

fn check(trie: &Ssmt, known: &Known, world: &World, what: &str) {
    let root = trie.root(known.version).unwrap();
    assert_eq!(root, state_root(&known.state), "{what}");
    for address in world.addresses.iter().take(8) {
        let account = known.state.account(*address).unwrap();
        let expected = account.map(|account| (account, storage_root(&known.state, *address)));
        assert_eq!(trie.account(known.version, *address).unwrap(), expected, "{what}");
        for slot in world.slots.iter().take(8) {
            let expected =
                if account.is_some() { known.state.storage(*address, *slot).unwrap() } else { U256::ZERO };
            assert_eq!(trie.storage(known.version, *address, *slot).unwrap(), expected, "{what}");
        }
    }
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
    let trie = Ssmt::new(config.clone(), Arc::new(Hasher::cpu()), Arc::new(Threads(threads)));
    let first = Known { version: trie.head(), state: MemoryState::complete(), parent: None };
    let mut known = vec![first];
    for _ in 0..random.random_range(1..12) {
        // Mostly the head's line grows.
        let parent =
            if random.random_bool(0.7) { known.len() - 1 } else { random.random_range(0..known.len()) };
        let changes = Arc::new(world.changes(&mut random, &known[parent].state));
        let sealed = trie.seal(known[parent].version, &changes).unwrap();
        let mut state = known[parent].state.clone();
        state.apply(&changes);
        assert_eq!(sealed.root, trie.root(sealed.version).unwrap());
        known.push(Known { version: sealed.version, state, parent: Some(known[parent].version) });
        match random.random_range(0..6) {
            0..3 => {
                let head = known.choose(&mut random).unwrap().version;
                trie.set_head(head).unwrap();
                known.retain(|known| trie.root(known.version).is_ok());
            }
            3 => {
                let version = known[random.random_range(0..known.len())].version;
                let has_children = known.iter().any(|known| known.parent == Some(version));
                let is_needed = has_children || version == trie.head() || known.len() == 1;
                let result = trie.discard(version);
                assert_eq!(result.is_ok(), !is_needed && known[0].version != version, "{what}: {result:?}");
                known.retain(|known| trie.root(known.version).is_ok());
            }
            4 => {
                let mut bounds: Vec<u16> = (1..threads).map(|_| random.random_range(0..=256)).collect();
                bounds.extend([0, 256]);
                bounds.sort_unstable();
                trie.set_ownership(Ownership::from_bounds(bounds).unwrap());
            }
            _ => {}
        }
        for known in &known {
            check(&trie, known, &world, &what);
        }
    }
    // When only one version is left and that is empty, nothing is left in memory.
    let last = known.pop().unwrap();
    let mut everything = citius_state::ChangeSet::default();
    for (address, account) in last.state.accounts() {
        if account.is_some() {
            everything.accounts.push(citius_state::AccountChange {
                address,
                before: account,
                after: None,
                storage_wiped: true,
                storage: vec![],
            });
        }
    }
    let mut version = trie.seal(last.version, &Arc::new(everything)).unwrap().version;
    for _ in 0..=config.history {
        version = trie.seal(version, &Arc::default()).unwrap().version;
    }
    trie.set_head(version).unwrap();
    assert_eq!(trie.memory().node_bytes, 0, "{what}: {:?}", trie.memory());
    assert_eq!(trie.root(version).unwrap(), alloy_trie::EMPTY_ROOT_HASH);
}

#[test]
fn versions_have_the_roots_and_values_of_plain_maps() {
    let seed = number("CITIUS_SEED").unwrap_or(SEED);
    let is_long = std::env::var_os("CITIUS_LONG").is_some();
    let cases = number("CITIUS_CASES").unwrap_or(if is_long { 20_000 } else { 300 });
    for seed in seed..seed + cases {
        sequence(seed);
    }
    println!("{cases} sequences from seed {seed}");
}

pub(crate) fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}
