//! Stores on a simulated disk: what is found again after a power cut at any moment.

use crate::model::{World, state_root};
use alloy_primitives::{B256, U256, keccak256};
use citius_hashing::Hasher;
use citius_io::{SimConfig, SimDisk};
use citius_state::{
    Account, MemoryState, StateReader,
    cold::{BlockRecord, ColdError, Durability, Opened, Store, StoreConfig},
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use revm::bytecode::Bytecode;
use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Blocks, and the state before the first and after each.
struct Chain {
    blocks: Vec<Arc<BlockRecord>>,
    states: Vec<MemoryState>,
}

impl Chain {
    fn random(random: &mut ChaCha8Rng, count: u64) -> Self {
        let world = World::random(random);
        let mut states = vec![MemoryState::complete()];
        let mut blocks: Vec<Arc<BlockRecord>> = Vec::new();
        let mut parent = B256::ZERO;
        for number in 1..=count {
            let mut state = states.last().unwrap().clone();
            let mut changes = world.changes(random, &state);
            for _ in 0..random.random_range(0..3) {
                let len = [0, 40, 600, 9_000][random.random_range(0..4)];
                let bytes: Vec<u8> = (0..len).map(|_| random.random()).collect();
                changes.codes.push((keccak256(&bytes), Bytecode::new_legacy(bytes.into())));
            }
            changes.codes.dedup_by_key(|(hash, _)| *hash);
            state.apply(&changes);
            let hash = keccak256(random.random::<[u8; 32]>());
            let root = state_root(&state);
            blocks.push(Arc::new(BlockRecord { number, hash, parent, root, changes }));
            states.push(state);
            parent = hash;
        }
        Self { blocks, states }
    }
}

/// What is done to a store.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// So many more blocks, in one group.
    Append(usize),
    /// Up to so many blocks before the last.
    Checkpoint(u64),
    Reopen,
}

fn random_steps(random: &mut ChaCha8Rng, blocks: usize) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut left = blocks;
    while left > 0 {
        match random.random_range(0..8) {
            0..5 => {
                let count = random.random_range(1..=left.min(3));
                left -= count;
                steps.push(Step::Append(count));
            }
            5..7 => steps.push(Step::Checkpoint(random.random_range(0..3))),
            _ => steps.push(Step::Reopen),
        }
    }
    steps.push(Step::Checkpoint(0));
    steps
}

fn config(durability: Durability) -> StoreConfig {
    StoreConfig { segment_bytes: 128 << 10, durability, ..StoreConfig::default() }
}

/// Another number at each opening.
fn drawn() -> u64 {
    static DRAWN: AtomicU64 = AtomicU64::new(7);
    DRAWN.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed)
}

/// How far a run came.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    /// Blocks that were acknowledged.
    acknowledged: usize,
    /// Those, and what was in flight.
    attempted: usize,
    /// Blocks that checkpoints hold.
    in_pages: usize,
}

/// Goes on with a store that has `progress.acknowledged` blocks.
fn run(
    disk: &SimDisk,
    chain: &Chain,
    steps: &[Step],
    durability: Durability,
    progress: &mut Progress,
) -> Result<Store, ColdError> {
    let hasher = Hasher::cpu();
    let open = || Store::open(Arc::new(disk.clone()), config(durability), drawn());
    let mut store = open()?.store;
    for step in steps {
        match *step {
            Step::Append(count) => {
                let first = progress.acknowledged;
                let blocks = chain.blocks[first..(first + count).min(chain.blocks.len())].to_vec();
                if blocks.is_empty() {
                    continue;
                }
                progress.attempted = first + blocks.len();
                store.append(blocks)?;
                progress.acknowledged = progress.attempted;
            }
            Step::Checkpoint(behind) => {
                store.checkpoint(store.last().number.saturating_sub(behind), &hasher)?;
                progress.in_pages = store.checkpoint_block().0.number as usize;
            }
            Step::Reopen => {
                drop(store);
                store = open()?.store;
            }
        }
    }
    Ok(store)
}

/// Whether a store holds a state of the chain: gives the number of its last block.
fn check(opened: &Opened, chain: &Chain, what: &str) -> usize {
    let Opened { store, blocks } = opened;
    let (at, root) = store.checkpoint_block();
    let at = at.number as usize;
    let state = &chain.states[at];
    assert_eq!(root, at.checked_sub(1).map_or(state_root(state), |last| chain.blocks[last].root), "{what}");
    let verified =
        store.verify(&Hasher::cpu(), &mut |_| ()).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(verified.lost, 0, "{what}: {verified:?}");
    let mut accounts = 0;
    let mut slots = 0;
    for (address, account) in chain.states.last().unwrap().accounts() {
        let key = keccak256(address);
        let expected: Option<Account> = state.account(address).unwrap();
        assert_eq!(store.account(&key).unwrap(), expected, "{what}: {address} at {at}, {account:?}");
        accounts += u64::from(expected.is_some());
        if expected.is_none() {
            continue;
        }
        for (slot, value) in state.slots(address).filter(|(_, value)| !value.is_zero()) {
            let slot = keccak256(slot.to_be_bytes::<32>());
            assert_eq!(store.slot(&key, &slot).unwrap(), value, "{what}: {address} at {at}");
            slots += 1;
        }
        assert_eq!(store.slot(&key, &B256::repeat_byte(0x33)).unwrap(), U256::ZERO, "{what}");
    }
    assert_eq!((verified.accounts, verified.slots), (accounts, slots), "{what}");
    for (hash, code) in chain.blocks[..at].iter().flat_map(|block| &block.changes.codes) {
        assert_eq!(store.code(hash).unwrap(), Some(code.original_bytes()), "{what}");
    }
    assert!(
        blocks.iter().eq(&chain.blocks[at..at + blocks.len()]),
        "{what}: other blocks than were appended"
    );
    assert_eq!(store.last().number as usize, at + blocks.len(), "{what}");
    at + blocks.len()
}

/// Cuts the power at each `stride`-th operation of a random run, at each again while the store is opened again, and goes on
/// from there. Gives the number of cuts.
fn sequence(seed: u64, stride: u64) -> u64 {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let blocks = random.random_range(1..12);
    let chain = Chain::random(&mut random, blocks);
    let steps = random_steps(&mut random, blocks as usize);
    let durability = if random.random_range(0..4) == 0 { Durability::Relaxed } else { Durability::Synced };
    let disk = || SimDisk::new(SimConfig { seed, ..SimConfig::default() });
    let whole = disk();
    let mut progress = Progress::default();
    let store = run(&whole, &chain, &steps, durability, &mut progress).unwrap();
    assert_eq!(progress.acknowledged, chain.blocks.len());
    drop(store);
    let mut cuts = 0;
    let mut cut = random.random_range(0..stride);
    while cut < whole.operations() {
        let what = format!("seed {seed}, cut at {cut} of {}", whole.operations());
        let before = disk();
        before.cut_power_at(cut);
        let mut progress = Progress::default();
        // The cut may come after the last operation that anybody waits for.
        let _ = run(&before, &chain, &steps, durability, &mut progress);
        // Once more, while it recovers.
        let mut after = before.restart(random.random());
        if random.random_range(0..3) == 0 {
            after.cut_power_at(random.random_range(0..8));
            let _ = Store::open(Arc::new(after.clone()), config(durability), drawn());
            after = after.restart(random.random());
            cuts += 1;
        }
        let opened = Store::open(Arc::new(after.clone()), config(durability), drawn())
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        let found = check(&opened, &chain, &what);
        let least = if durability == Durability::Synced { progress.acknowledged } else { progress.in_pages };
        assert!((least..=progress.attempted).contains(&found), "{what}: {found} of {progress:?}");
        // What is there is a store like any other.
        drop(opened);
        let mut progress = Progress { acknowledged: found, attempted: found, in_pages: 0 };
        let rest =
            [Step::Append(1), Step::Checkpoint(1), Step::Reopen, Step::Append(20), Step::Checkpoint(0)];
        let store = run(&after, &chain, &rest, durability, &mut progress)
            .unwrap_or_else(|error| panic!("{what}, going on: {error}"));
        drop(store);
        let opened = Store::open(Arc::new(after), config(durability), drawn()).unwrap();
        assert_eq!(check(&opened, &chain, &what), chain.blocks.len(), "{what}");
        cuts += 1;
        cut += stride;
    }
    cuts
}

#[test]
fn what_was_acknowledged_is_there_after_a_power_cut_at_any_moment() {
    let is_long = env::var_os("CITIUS_LONG").is_some();
    let wanted: u64 = env::var("CITIUS_CUTS").ok().and_then(|cuts| cuts.parse().ok()).unwrap_or(if is_long {
        1_000_000
    } else {
        1_500
    });
    let first: u64 = env::var("CITIUS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0);
    let (mut cuts, mut seed) = (0, first);
    while cuts < wanted {
        cuts += sequence(seed, if is_long { 1 } else { 5 });
        seed += 1;
    }
    eprintln!("{cuts} cuts, seeds {first} to {seed}");
}
