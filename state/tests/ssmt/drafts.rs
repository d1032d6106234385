//! Versions that are drafted while their blocks execute, whatever is told of these.

use crate::model::{Threads, World, state_root};
use alloy_primitives::U256;
use citius_hashing::Hasher;
use citius_state::{
    ChangeSet, Committed, MemoryState, StateReader,
    ssmt::{Draft, Ssmt, SsmtConfig},
};
use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

const SEED: u64 = 1;
/// The number of the block that is drafted.
pub(crate) const DRAFTED: u64 = 7;

/// What an engine might tell of a block that ends with these changes: some of it in vain, some of it not at all.
pub(crate) fn told(random: &mut ChaCha8Rng, world: &World, changes: &ChangeSet) -> Vec<Vec<Committed>> {
    let mut calls = Vec::new();
    for _ in 0..random.random_range(0..4) {
        let noise = (0..random.random_range(1..30)).map(|_| Committed::Slot {
            address: *world.addresses.choose(random).unwrap(),
            slot: *world.slots.choose(random).unwrap(),
            after: U256::from(random.random_range(0..5)),
        });
        let noise: Vec<Committed> = noise.collect();
        calls.push(noise);
    }
    let tells_all = random.random_bool(0.5);
    let tells_accounts = random.random_bool(0.5);
    for change in &changes.accounts {
        let mut call = Vec::new();
        if tells_accounts || change.storage_wiped && random.random_bool(0.7) {
            call.push(Committed::Account {
                address: change.address,
                after: change.after,
                storage_wiped: change.storage_wiped,
            });
        }
        for slot in &change.storage {
            if tells_all || random.random_bool(0.6) {
                call.push(Committed::Slot { address: change.address, slot: slot.slot, after: slot.after });
            }
        }
        if !call.is_empty() {
            calls.push(call);
        }
    }
    calls
}

pub(crate) fn tell(random: &mut ChaCha8Rng, draft: &Draft, calls: &[Vec<Committed>], check: &dyn Fn()) {
    let (sink, work) = (draft.sink(), draft.idle_work());
    for call in calls {
        sink.committed(DRAFTED, call);
        sink.committed(
            DRAFTED + 1,
            &[Committed::Slot { address: Default::default(), slot: U256::ZERO, after: U256::ONE }],
        );
        while random.random_bool(0.6) && work.help(1) {
            check();
        }
    }
}

fn sequence(seed: u64) -> u64 {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let what = format!("CITIUS_SEED={seed} CITIUS_CASES=1");
    let world = World::random(&mut random);
    let config = SsmtConfig {
        history: 50,
        large_storage_from: *[1, 8, 50, 4096].choose(&mut random).unwrap(),
        ..SsmtConfig::default()
    };
    let threads = *[1, 2, 8].choose(&mut random).unwrap();
    let trie = Arc::new(Ssmt::new(config, Arc::new(Hasher::cpu()), Arc::new(Threads(threads))));
    let mut line = vec![(trie.head(), MemoryState::complete())];
    let mut written = 0;
    for _ in 0..random.random_range(1..10) {
        let (parent, state) = line[line.len() - 1].clone();
        let changes = Arc::new(world.changes(&mut random, &state));
        let draft = trie.draft(parent, DRAFTED).unwrap();
        let calls = told(&mut random, &world, &changes);
        // Whoever reads the parent sees the parent.
        let check = || {
            for address in world.addresses.iter().take(3) {
                for slot in world.slots.iter().take(5) {
                    let known =
                        state.account(*address).unwrap().map(|_| state.storage(*address, *slot).unwrap());
                    assert_eq!(
                        trie.storage(parent, *address, *slot).unwrap(),
                        known.unwrap_or_default(),
                        "{what}"
                    );
                }
            }
        };
        tell(&mut random, &draft, &calls, &check);
        check();
        let mut after = state.clone();
        after.apply(&changes);
        let (sealed, stats) = match random.random_range(0..6) {
            // It is dropped.
            0 => {
                drop(draft);
                (trie.seal(parent, &changes).unwrap(), Default::default())
            }
            // Something else needs the shards before it is sealed.
            1 => {
                let (older, expected) = line.choose(&mut random).unwrap();
                assert_eq!(trie.seal(*older, &Arc::default()).unwrap().root, state_root(expected), "{what}");
                draft.seal(&changes).unwrap()
            }
            2 => {
                let (older, expected) = line.choose(&mut random).unwrap();
                let (address, slot) = (world.addresses[0], world.slots[0]);
                let known =
                    expected.account(address).unwrap().map(|_| expected.storage(address, slot).unwrap());
                assert_eq!(trie.storage(*older, address, slot).unwrap(), known.unwrap_or_default(), "{what}");
                draft.seal(&changes).unwrap()
            }
            // Another takes its place.
            3 => {
                let other = trie.draft(parent, DRAFTED).unwrap();
                tell(&mut random, &other, &calls, &check);
                let by_draft = draft.seal(&changes).unwrap();
                drop(other);
                by_draft
            }
            _ => draft.seal(&changes).unwrap(),
        };
        written += stats.written;
        assert_eq!(sealed.root, state_root(&after), "{what}");
        trie.set_head(sealed.version).unwrap();
        line.push((sealed.version, after));
    }
    // What drafts did is undone and done again as what seals do.
    for (version, state) in &line {
        assert_eq!(trie.root(*version).unwrap(), state_root(state), "{what}");
        let again = trie.seal(*version, &Arc::default()).unwrap();
        assert_eq!(again.root, state_root(state), "{what}");
        trie.discard(again.version).unwrap();
        for address in world.addresses.iter().take(3) {
            for slot in world.slots.iter().take(5) {
                let known = state.account(*address).unwrap().map(|_| state.storage(*address, *slot).unwrap());
                assert_eq!(
                    trie.storage(*version, *address, *slot).unwrap(),
                    known.unwrap_or_default(),
                    "{what}"
                );
            }
        }
    }
    // With everything removed and forgotten, nothing is left in memory.
    let (last, state) = line.pop().unwrap();
    let mut everything = ChangeSet::default();
    for (address, account) in state.accounts().filter(|(_, account)| account.is_some()) {
        everything.accounts.push(citius_state::AccountChange {
            address,
            before: account,
            after: None,
            storage_wiped: true,
            storage: vec![],
        });
    }
    let mut version = trie.seal(last, &Arc::new(everything)).unwrap().version;
    for _ in 0..=50 {
        version = trie.seal(version, &Arc::default()).unwrap().version;
    }
    trie.set_head(version).unwrap();
    assert_eq!(trie.memory().node_bytes, 0, "{what}: {:?}", trie.memory());
    written
}

#[test]
fn a_drafted_version_is_the_sealed_one() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seed = number("CITIUS_SEED").unwrap_or(SEED);
    let is_long = std::env::var_os("CITIUS_LONG").is_some();
    let cases = number("CITIUS_CASES").unwrap_or(if is_long { 20_000 } else { 300 });
    let written: u64 = (seed..seed + cases).map(sequence).sum();
    println!("{cases} sequences from seed {seed}, {written} slots written ahead");
    assert!(cases < 100 || written > cases);
}
