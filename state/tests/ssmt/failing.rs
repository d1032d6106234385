//! Seals that fail: on a partial state everything is as it was before them, and if a worker panics nothing is answered
//! any more.

use crate::{
    drafts::{DRAFTED, tell, told},
    model::{Threads, World, state_root},
    nodes::Nodes,
    partial::{some_keys, some_state},
    random::{SEED, number, random_hasher, random_ownership},
};
use alloy_primitives::{Address, Bytes, U256, keccak256, map::B256Set};
use alloy_trie::EMPTY_ROOT_HASH;
use citius_hashing::Hasher;
use citius_state::{
    Account, AccountChange, ChangeSet, MemoryState, SharedWork, SlotChange, StateReader, Workers,
    ssmt::{Ssmt, SsmtConfig, SsmtError, SsmtMemory, TrieName, VersionId},
};
use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use std::{
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// All that a version answers, and what the trie holds. Which nodes were made for a version is asked where that is known.
#[derive(Debug, PartialEq)]
struct Answers {
    accounts: Vec<Result<Option<Account>, SsmtError>>,
    slots: Vec<Result<U256, SsmtError>>,
    nodes: Vec<Vec<u8>>,
    memory: SsmtMemory,
}

fn answers(trie: &Ssmt, version: VersionId, world: &World) -> Answers {
    let account = |address| trie.account(version, address).map(|found| found.map(|(account, _)| account));
    let slots = |address| world.slots.iter().take(20).map(move |slot| trie.storage(version, address, *slot));
    let mut memory = trie.memory();
    // Free places are noted in lists, which grow.
    memory.arena_bytes = 0;
    Answers {
        accounts: world.addresses.iter().map(|address| account(*address)).collect(),
        slots: world.addresses.iter().take(20).flat_map(|address| slots(*address)).collect(),
        nodes: trie.nodes_made(version).unwrap(),
        memory,
    }
}

/// The part of a state that lies around a few keys.
fn part(state: &MemoryState, world: &World, random: &mut ChaCha8Rng, config: SsmtConfig) -> Arc<Ssmt> {
    let nodes = Nodes::of(state);
    let (accounts, slots) = some_keys(world, random);
    let mut given: Vec<Bytes> = nodes.ways(accounts, slots).into_iter().cloned().collect();
    given.extend(nodes.at(TrieName::Accounts, &[]).cloned());
    let workers = Arc::new(Threads(*[1, 2, 8].choose(random).unwrap()));
    let hasher = random_hasher(random);
    let root = state_root(state);
    Arc::new(Ssmt::from_witness(root, &given, &B256Set::default(), config, hasher, workers).unwrap())
}

fn seal(
    trie: &Arc<Ssmt>,
    parent: VersionId,
    changes: &Arc<ChangeSet>,
    world: &World,
    random: &mut ChaCha8Rng,
) -> Result<citius_state::ssmt::Sealed, SsmtError> {
    if random.random() {
        return trie.seal(parent, changes);
    }
    let draft = trie.draft(parent, DRAFTED).unwrap();
    let calls = told(random, world, changes);
    tell(random, &draft, &calls, &|| {});
    draft.seal(changes).map(|(sealed, _)| sealed)
}

/// Seals blocks on a partial state, of which some fail. How many did, and how many did not.
fn sequence(seed: u64) -> (u64, u64) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let what = format!("CITIUS_SEED={seed} CITIUS_CASES=1");
    let world = World::random(&mut random);
    let state = some_state(&world, &mut random, 4);
    let large_storage_from = *[1, 8, 50, 4096].choose(&mut random).unwrap();
    let config = SsmtConfig { large_storage_from, ..SsmtConfig::default() };
    let trie = part(&state, &world, &mut random, config);
    let mut known = vec![(trie.head(), state)];
    let (mut failed, mut sealed) = (0, 0);
    for _ in 0..12 {
        let (parent, state) = known.choose(&mut random).unwrap().clone();
        let (other, _) = *known.choose(&mut random).unwrap();
        let other_before = answers(&trie, other, &world);
        let before = answers(&trie, parent, &world);
        if random.random_bool(0.3) {
            trie.set_ownership(random_ownership(&mut random));
        }
        let changes = Arc::new(world.changes(&mut random, &state));
        match seal(&trie, parent, &changes, &world, &mut random) {
            Ok(made) => {
                let mut after = state;
                after.apply(&changes);
                assert_eq!(made.root, state_root(&after), "{what}");
                known.push((made.version, after));
                sealed += 1;
            }
            Err(error) => {
                assert!(matches!(error, SsmtError::Blinded { .. }), "{what}: {error}");
                assert!(before == answers(&trie, parent, &world), "{what}: {error}");
                assert!(other_before == answers(&trie, other, &world), "{what}: {error}");
                let again = trie.seal(parent, &changes);
                assert_eq!(again.err(), Some(error), "{what}: it fails for the same reason again");
                failed += 1;
            }
        }
        // What does not change anything can always be sealed.
        for (version, state) in &known {
            let empty = trie.seal(*version, &Arc::default()).unwrap();
            assert_eq!(empty.root, state_root(state), "{what}");
            trie.discard(empty.version).unwrap();
        }
    }
    for (version, state) in &known {
        for address in &world.addresses {
            let expected = state.account(*address).unwrap();
            match trie.account(*version, *address) {
                Ok(found) => assert_eq!(found.map(|found| found.0), expected, "{what}"),
                Err(error) => assert!(matches!(error, SsmtError::Blinded { .. }), "{what}: {error}"),
            }
        }
    }
    (failed, sealed)
}

#[test]
fn a_seal_that_fails_leaves_everything_as_it_was() {
    let seed = number("CITIUS_SEED").unwrap_or(SEED);
    let is_long = std::env::var_os("CITIUS_LONG").is_some();
    let cases = number("CITIUS_CASES").unwrap_or(if is_long { 2_000 } else { 60 });
    let (mut failed, mut sealed) = (0, 0);
    for seed in seed..seed + cases {
        let (more_failed, more_sealed) = sequence(seed);
        (failed, sealed) = (failed + more_failed, sealed + more_sealed);
    }
    assert!(cases < 50 || (failed > cases && sealed > cases), "{failed} failed, {sealed} did not");
    println!("{cases} partial states from seed {seed}: {failed} seals failed, {sealed} did not");
}

/// The caller alone, who panics when he has done so many pieces of work.
#[derive(Debug)]
struct Panicking {
    runs_left: AtomicUsize,
}

impl Workers for Panicking {
    fn count(&self) -> NonZeroUsize {
        NonZeroUsize::MIN
    }

    fn run(&self, work: &Arc<SharedWork>) {
        work(0);
        assert!(self.runs_left.fetch_sub(1, Ordering::Relaxed) > 1, "a worker panics, as it is to");
    }
}

#[test]
fn a_trie_in_which_a_worker_panicked_answers_nothing() {
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let world = World { accounts_a_change_max: 30, ..World::random(&mut random) };
    let workers = Arc::new(Panicking { runs_left: AtomicUsize::new(3) });
    let trie = Arc::new(Ssmt::new(SsmtConfig::default(), random_hasher(&mut random), workers));
    let (first, address) = (trie.head(), world.addresses[0]);
    let mut state = MemoryState::complete();
    let mut version = first;
    for _ in 0..2 {
        let changes = Arc::new(world.changes(&mut random, &state));
        version = trie.seal(version, &changes).unwrap().version;
        state.apply(&changes);
    }
    assert_eq!(trie.root(version), Ok(state_root(&state)));
    let changes = Arc::new(world.changes(&mut random, &state));
    let panicked = catch_unwind(AssertUnwindSafe(|| trie.seal(version, &changes)));
    assert!(panicked.is_err(), "a panic is passed on");
    for version in [first, version] {
        assert_eq!(trie.root(version), Err(SsmtError::Torn));
        assert_eq!(trie.account(version, address), Err(SsmtError::Torn));
        assert_eq!(trie.storage(version, address, U256::ZERO), Err(SsmtError::Torn));
        assert_eq!(trie.seal(version, &Arc::default()), Err(SsmtError::Torn));
        assert_eq!(trie.set_head(version), Err(SsmtError::Torn));
        assert_eq!(trie.discard(version), Err(SsmtError::Torn));
        assert_eq!(trie.draft(version, DRAFTED).err(), Some(SsmtError::Torn));
        assert_eq!(trie.reader(version).err(), Some(SsmtError::Torn));
        assert_eq!(trie.nodes_made(version), Err(SsmtError::Torn));
    }
}

#[test]
fn changes_that_list_a_key_twice_are_refused() {
    let address = Address::with_last_byte(1);
    let account = Account { nonce: 1, ..Account::EMPTY };
    let slot = |after: u64| SlotChange { slot: U256::ONE, before: U256::ZERO, after: U256::from(after) };
    let change = |after: Option<Account>, storage: Vec<SlotChange>| AccountChange {
        address,
        before: None,
        after,
        storage_wiped: false,
        storage,
    };
    let of = |accounts: Vec<AccountChange>| Arc::new(ChangeSet { accounts, codes: Vec::new() });
    let account_twice = SsmtError::Repeated { trie: TrieName::Accounts, key: keccak256(address) };
    let slot_twice = SsmtError::Repeated {
        trie: TrieName::Storage(keccak256(address)),
        key: keccak256(U256::ONE.to_be_bytes::<32>()),
    };
    let new = |storage| change(Some(account), storage);
    let gone = || change(None, Vec::new());
    for large_storage_from in [1, 4096] {
        for threads in [1, 8] {
            let config = SsmtConfig { history: 1, large_storage_from, ..SsmtConfig::default() };
            let workers = Arc::new(Threads(threads));
            let trie = Arc::new(Ssmt::new(config, Arc::new(Hasher::cpu()), workers));
            let first = trie.seal(trie.head(), &of(vec![new(vec![slot(7)])])).unwrap();
            trie.set_head(first.version).unwrap();
            let before = trie.memory();
            for (accounts, error) in [
                (vec![gone(), gone()], &account_twice),
                (vec![gone(), new(vec![])], &account_twice),
                (vec![new(vec![slot(8)]), new(vec![slot(9)])], &account_twice),
                (vec![new(vec![slot(8), slot(9)])], &slot_twice),
                (vec![new(vec![slot(8), slot(0)])], &slot_twice),
            ] {
                let changes = of(accounts);
                assert_eq!(trie.seal(first.version, &changes), Err(error.clone()));
                let draft = trie.draft(first.version, 2).unwrap();
                assert_eq!(draft.seal(&changes).unwrap_err(), *error);
                assert_eq!(trie.storage(first.version, address, U256::ONE), Ok(U256::from(7)));
                let after = trie.memory();
                assert_eq!((after.node_bytes, after.top_bytes), (before.node_bytes, before.top_bytes));
            }
            let last = trie.seal(first.version, &of(vec![gone()])).unwrap();
            assert_eq!(last.root, EMPTY_ROOT_HASH);
        }
    }
}
