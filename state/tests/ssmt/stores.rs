//! Stores on a simulated disk: what is found again after a power cut at any moment.

use crate::model::{World, state_root};
use alloy_primitives::{Address, B256, KECCAK256_EMPTY, U256, b256, keccak256};
use citius_hashing::Hasher;
use citius_io::{Disk, OpenMode, SimConfig, SimDisk};
use citius_state::{
    Account, AccountChange, ChangeSet, MemoryState, SlotChange, StateReader,
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
pub(crate) struct Chain {
    pub(crate) blocks: Vec<Arc<BlockRecord>>,
    pub(crate) states: Vec<MemoryState>,
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
                let len = [0, 40, 500, 600, 9_000][random.random_range(0..5)];
                let bytes: Vec<u8> = (0..len).map(|_| random.random()).collect();
                changes.codes.push((keccak256(&bytes), Bytecode::new_legacy(bytes.into())));
            }
            changes.codes.dedup_by_key(|(hash, _)| *hash);
            state.apply(&changes);
            let hash = keccak256(random.random::<[u8; 32]>());
            let root = state_root(&state);
            blocks.push(Arc::new(BlockRecord { number, hash, parent, root, changes: Arc::new(changes) }));
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

pub(crate) fn config(durability: Durability) -> StoreConfig {
    StoreConfig { segment_bytes: 128 << 10, durability, ..StoreConfig::default() }
}

/// Another number at each opening.
pub(crate) fn drawn() -> u64 {
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
pub(crate) fn check(opened: &Opened, chain: &Chain, what: &str) -> usize {
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
        let mut rest = vec![Step::Append(1), Step::Checkpoint(1), Step::Reopen];
        rest.extend([Step::Append(3); 4]);
        rest.push(Step::Checkpoint(0));
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

/// A store with all blocks of a chain, half of them in the pages.
fn filled(disk: &SimDisk, chain: &Chain) -> Store {
    let store = open(disk).unwrap().store;
    let half = chain.blocks.len() / 2;
    for block in &chain.blocks[..half] {
        store.append(vec![Arc::clone(block)]).unwrap();
    }
    assert!(store.checkpoint(u64::MAX, &Hasher::cpu()).unwrap());
    for block in &chain.blocks[half..] {
        store.append(vec![Arc::clone(block)]).unwrap();
    }
    store
}

fn open(disk: &SimDisk) -> Result<Opened, ColdError> {
    Store::open(Arc::new(disk.clone()), config(Durability::Synced), drawn())
}

/// A chain of which not all is in one page.
fn large_chain(seed: u64, count: u64) -> Chain {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    loop {
        let chain = Chain::random(&mut random, count);
        if chain.states[count as usize / 2].accounts().count() > 20 {
            return chain;
        }
    }
}

#[test]
fn a_failed_write_or_sync_ends_the_writing_and_loses_nothing_that_was_acknowledged() {
    for seed in 0..8 {
        let chain = large_chain(seed, 6);
        let operations = {
            let disk = SimDisk::new(SimConfig { seed, ..SimConfig::default() });
            drop(filled(&disk, &chain));
            disk.operations()
        };
        for failing in 0..operations {
            let what = format!("seed {seed}, operation {failing} fails");
            let disk = SimDisk::new(SimConfig { seed, ..SimConfig::default() });
            disk.fail_operation_at(failing);
            let Ok(Opened { store, .. }) = open(&disk) else { continue };
            let mut acknowledged = 0;
            let mut failed = None;
            for (number, block) in chain.blocks.iter().enumerate() {
                if number == chain.blocks.len() / 2 {
                    let _ = store.checkpoint(u64::MAX, &Hasher::cpu());
                }
                match store.append(vec![Arc::clone(block)]) {
                    Ok(()) => acknowledged = number + 1,
                    Err(error) => {
                        failed = Some(error);
                        break;
                    }
                }
            }
            if failed.is_some() {
                // Not even what would succeed now.
                let again = store.append(vec![Arc::clone(&chain.blocks[acknowledged])]);
                assert!(matches!(again, Err(ColdError::Failed)), "{what}: {again:?}");
                assert_eq!(store.last().number as usize, acknowledged, "{what}");
            }
            // What is in the pages is served all the same.
            let (at, _) = store.checkpoint_block();
            for (address, account) in chain.states[at.number as usize].accounts() {
                assert_eq!(store.account(&keccak256(address)).unwrap(), account, "{what}");
            }
            drop(store);
            let opened = open(&disk.restart(seed)).unwrap_or_else(|error| panic!("{what}: {error}"));
            let found = check(&opened, &chain, &what);
            assert!(
                found == acknowledged || found == acknowledged + 1,
                "{what}: {found}, not {acknowledged}"
            );
        }
    }
}

#[test]
fn a_disk_that_is_full_loses_nothing_that_was_acknowledged() {
    let chain = large_chain(3, 12);
    let mut fills = 0;
    for capacity in (40_u64..700).step_by(20) {
        let what = format!("{capacity} KiB");
        let disk = SimDisk::new(SimConfig { capacity_bytes: Some(capacity << 10), ..SimConfig::default() });
        let Ok(Opened { store, .. }) = open(&disk) else {
            fills += 1;
            continue;
        };
        let mut acknowledged = 0;
        for block in &chain.blocks {
            if store.append(vec![Arc::clone(block)]).is_err() {
                fills += 1;
                break;
            }
            acknowledged += 1;
            if acknowledged % 3 == 0 && store.checkpoint(u64::MAX, &Hasher::cpu()).is_err() {
                fills += 1;
            }
        }
        drop(store);
        let opened = open(&disk.restart(1)).unwrap_or_else(|error| panic!("{what}: {error}"));
        let found = check(&opened, &chain, &what);
        assert!((acknowledged..=acknowledged + 1).contains(&found), "{what}: {found}, not {acknowledged}");
    }
    assert!(fills > 3, "{fills} disks were full");
}

#[test]
fn pages_past_the_budget_are_refused_before_anything_is_written() {
    let chain = large_chain(4, 10);
    let disk = SimDisk::new(SimConfig::default());
    let small = StoreConfig { page_bytes_max: 12 * 4096, ..config(Durability::Synced) };
    let store = Store::open(Arc::new(disk.clone()), small, drawn()).unwrap().store;
    let mut refused = 0;
    for block in &chain.blocks {
        store.append(vec![Arc::clone(block)]).unwrap();
        match store.checkpoint(u64::MAX, &Hasher::cpu()) {
            Ok(_) => {}
            Err(ColdError::Budget { needed, budget }) => {
                assert!(needed > budget && budget == small.page_bytes_max, "{needed}, {budget}");
                refused += 1;
            }
            Err(error) => panic!("{error}"),
        }
        assert!(store.stats().file_bytes <= small.page_bytes_max);
    }
    assert!(refused > 0);
    drop(store);
    // With more room it goes on.
    let opened = open(&disk).unwrap();
    assert_eq!(check(&opened, &chain, "a small store"), chain.blocks.len());
    assert!(opened.store.checkpoint(u64::MAX, &Hasher::cpu()).unwrap());
}

#[test]
fn a_journal_past_its_budget_is_refused_until_checkpoints_make_room() {
    let chain = large_chain(4, 40);
    let segment_bytes = 64 << 10;
    let small =
        StoreConfig { segment_bytes, journal_bytes_max: 3 * segment_bytes, ..config(Durability::Synced) };
    let store = Store::open(Arc::new(SimDisk::new(SimConfig::default())), small, drawn()).unwrap().store;
    let (mut refused, mut next) = (0, 0);
    while next < chain.blocks.len() {
        match store.append(vec![Arc::clone(&chain.blocks[next])]) {
            Ok(()) => next += 1,
            Err(ColdError::Budget { needed, budget }) => {
                assert!(needed > budget && budget == small.journal_bytes_max, "{needed}, {budget}");
                refused += 1;
                // The superblock before the last one may be needed, and the blocks behind it: two make room.
                let half = store.last().number - store.pending() as u64 / 2;
                assert!(store.checkpoint(half, &Hasher::cpu()).unwrap(), "no room is made");
                let _ = store.checkpoint(u64::MAX, &Hasher::cpu()).unwrap();
            }
            Err(error) => panic!("{error}"),
        }
        assert!(store.stats().journal_bytes <= small.journal_bytes_max);
    }
    assert!(refused > 0);
}

#[test]
fn what_rots_is_reported_with_its_place_and_never_served() {
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let chain = large_chain(5, 10);
    let (mut reported, mut fell_back) = (0, 0);
    for round in 0..300 {
        let disk = SimDisk::new(SimConfig { seed: round, ..SimConfig::default() });
        let store = filled(&disk, &chain);
        store.checkpoint(chain.blocks.len() as u64 - 2, &Hasher::cpu()).unwrap();
        let bytes = store.stats().file_bytes;
        drop(store);
        if round % 3 == 0 {
            // Opened again, and a checkpoint that comes to nothing: what the older superblock leads to is kept.
            let small = StoreConfig { page_bytes_max: bytes, ..config(Durability::Synced) };
            let store = Store::open(Arc::new(disk.clone()), small, drawn()).unwrap().store;
            let _ = store.checkpoint(u64::MAX, &Hasher::cpu());
            if store.checkpoint_block().0.number as usize != chain.blocks.len() - 2 {
                continue;
            }
        }
        // Now and then that of the last superblock.
        let bit = if round % 4 == 0 { 8 * 4096 + 70 } else { random.random_range(0..8 * bytes) };
        disk.flip_bit("pages", bit).unwrap();
        let what = format!("round {round}, bit {bit}");
        let opened = match open(&disk) {
            Ok(opened) => opened,
            Err(error @ ColdError::Damaged { number, .. }) => {
                assert_eq!(number.0, bit / 8 / 4096, "{what}: {error}");
                reported += 1;
                continue;
            }
            Err(error) => panic!("{what}: {error}"),
        };
        let (at, _) = opened.store.checkpoint_block();
        let state = &chain.states[at.number as usize];
        if at.number as usize != chain.blocks.len() - 2 {
            // A superblock is gone: the one before it leads to the same blocks.
            assert_eq!(check(&opened, &chain, &what), chain.blocks.len(), "{what}");
            assert!(opened.store.checkpoint(u64::MAX, &Hasher::cpu()).unwrap(), "{what}");
            drop(opened);
            assert_eq!(check(&open(&disk).unwrap(), &chain, &what), chain.blocks.len(), "{what}");
            fell_back += 1;
            continue;
        }
        for (address, _) in chain.states.last().unwrap().accounts() {
            match opened.store.account(&keccak256(address)) {
                Ok(found) => assert_eq!(found, state.account(address).unwrap(), "{what}"),
                Err(ColdError::Damaged { number, .. }) => {
                    assert_eq!(number.0, bit / 8 / 4096, "{what}");
                    reported += 1;
                }
                Err(error) => panic!("{what}: {error}"),
            }
        }
    }
    assert!(reported > 50 && fell_back > 1, "{reported} reports, {fell_back} superblocks");
}

#[test]
fn a_journal_that_lacks_what_was_acknowledged_is_refused() {
    let chain = large_chain(6, 8);
    let mut refused = 0;
    for byte in (0..12 * 4096).step_by(512) {
        let disk = SimDisk::new(SimConfig::default());
        drop(filled(&disk, &chain));
        disk.flip_bit("journal-0000", byte * 8).unwrap();
        match open(&disk) {
            Err(ColdError::Journal { .. }) => refused += 1,
            Err(error) => panic!("{byte}: {error}"),
            // Padding, blocks that the pages have, or the last group, which nothing tells from one that was in flight.
            Ok(opened) => {
                let found = check(&opened, &chain, "a journal with another bit");
                assert!(found >= chain.blocks.len() - 1, "{byte}: {found}");
            }
        }
    }
    assert!(refused > 0);
}

#[test]
fn blocks_come_in_order_and_a_store_has_one_writer() {
    let chain = large_chain(7, 6);
    let disk = SimDisk::new(SimConfig::default());
    let store = filled(&disk, &chain);
    let gap = BlockRecord { number: 9, ..(*chain.blocks[5]).clone() };
    let refused = store.append(vec![Arc::new(gap)]);
    assert!(matches!(refused, Err(ColdError::Order { number: 9, .. })), "{refused:?}");
    // What is there already is not written again.
    let syncs = store.stats().journal_syncs;
    store.append(vec![Arc::clone(&chain.blocks[5])]).unwrap();
    assert_eq!((store.stats().journal_syncs, store.last()), (syncs, chain.blocks[5].id()));
    let other = open(&disk);
    assert!(
        matches!(&other, Err(ColdError::Disk(error)) if error.to_string().contains("locked")),
        "{other:?}"
    );
    drop(store);
    assert_eq!(check(&open(&disk).unwrap(), &chain, "in order"), chain.blocks.len());
}

#[test]
fn a_block_whose_root_is_wrong_gets_no_checkpoint() {
    let chain = large_chain(8, 4);
    let disk = SimDisk::new(SimConfig::default());
    let store = open(&disk).unwrap().store;
    let wrong = BlockRecord { root: B256::repeat_byte(1), ..(*chain.blocks[0]).clone() };
    store.append(vec![Arc::new(wrong)]).unwrap();
    let refused = store.checkpoint(u64::MAX, &Hasher::cpu());
    assert!(matches!(refused, Err(ColdError::WrongRoot { found, .. }) if found == chain.blocks[0].root));
    assert_eq!(store.checkpoint_block().0.number, 0);
    assert_eq!(store.verify(&Hasher::cpu(), &mut |_| ()).unwrap().lost, 0);
}

/// Two blocks with everything that forms on disk tell apart, made of nothing but numbers.
fn fixed_chain() -> Chain {
    let mut chain = Chain { blocks: Vec::new(), states: vec![MemoryState::complete()] };
    let mut parent = B256::ZERO;
    for number in 1..=2_u64 {
        let mut state = chain.states.last().unwrap().clone();
        let account = |at: u64| {
            let address = Address::from_word(keccak256(at.to_be_bytes()));
            let before = state.account(address).unwrap();
            let after = Account {
                balance: U256::from(at) << at,
                nonce: at * number,
                code_hash: if at.is_multiple_of(7) { keccak256([at as u8]) } else { KECCAK256_EMPTY },
            };
            let slots = if at == 3 { 90 } else { at % 4 };
            let slot = |slot: u64| {
                let slot = U256::from(slot);
                let before = state.storage(address, slot).unwrap_or_default();
                SlotChange { slot, before, after: U256::from(at + number) << (8 * (at % 30)) }
            };
            let storage = (0..slots).map(slot).collect();
            AccountChange { address, before, after: Some(after), storage_wiped: before.is_none(), storage }
        };
        let accounts = (1..=100).map(account).collect();
        let code = |len: usize| {
            let bytes = vec![number as u8; len];
            (keccak256(&bytes), Bytecode::new_legacy(bytes.into()))
        };
        let changes = ChangeSet { accounts, codes: vec![code(3), code(5_000)] };
        state.apply(&changes);
        let hash = keccak256(number.to_be_bytes());
        chain.blocks.push(Arc::new(BlockRecord {
            number,
            hash,
            parent,
            root: state_root(&state),
            changes: Arc::new(changes),
        }));
        chain.states.push(state);
        parent = hash;
    }
    chain
}

/// Whoever changes a form changes its version, and reads the older one or says what to do with it.
#[test]
fn forms_on_disk_are_what_they_were() {
    let chain = fixed_chain();
    let disk = SimDisk::new(SimConfig { reorder: false, slow_per_million: 0, ..SimConfig::default() });
    let store = Store::open(Arc::new(disk.clone()), config(Durability::Synced), 1).unwrap().store;
    store.append(vec![Arc::clone(&chain.blocks[0])]).unwrap();
    assert!(store.checkpoint(1, &Hasher::cpu()).unwrap());
    store.append(vec![Arc::clone(&chain.blocks[1])]).unwrap();
    drop(store);
    let digest = |name: &str| {
        let file = disk.open(name, OpenMode::Existing).unwrap();
        let mut bytes = vec![0; disk.len(file).unwrap() as usize];
        disk.read_exact_at(file, 0, &mut bytes).unwrap();
        disk.close(file).unwrap();
        keccak256(bytes)
    };
    assert_eq!(
        (digest("pages"), digest("journal-0000")),
        (
            b256!("74b3bf18a2da6c1bbad69d5ac239c3db865ac8bc433c9552a422a9862ce10fdd"),
            b256!("bd3ae8814fdc4a748e5c044aef1f10953add5b58dc240bc5646c57a9cc21a6d0"),
        )
    );
    assert_eq!(check(&open(&disk).unwrap(), &chain, "fixed blocks"), 2);
}

#[test]
fn a_read_that_fails_costs_a_checkpoint_and_nothing_else() {
    let chain = large_chain(9, 12);
    let mut failures = 0;
    for seed in 0..20 {
        let disk = SimDisk::new(SimConfig { seed, read_errors_per_million: 60_000, ..SimConfig::default() });
        let Ok(Opened { store, .. }) = open(&disk) else { continue };
        for block in &chain.blocks {
            store.append(vec![Arc::clone(block)]).unwrap();
            for _ in 0..100 {
                match store.checkpoint(u64::MAX, &Hasher::cpu()) {
                    Ok(_) => break,
                    Err(ColdError::Disk(_)) => failures += 1,
                    Err(error) => panic!("seed {seed}: {error}"),
                }
            }
            assert_eq!(store.checkpoint_block().0, store.last(), "seed {seed}");
        }
    }
    assert!(failures > 20, "{failures} reads failed");
}

/// The journal's files are used again, but none that the superblock before the last one needs.
#[test]
fn the_older_superblock_leads_to_every_block_while_the_journal_goes_round() {
    let chain = large_chain(4, 40);
    let small = StoreConfig { segment_bytes: 32 << 10, ..config(Durability::Synced) };
    let mut segments = 0;
    for last in 10..=chain.blocks.len() {
        let disk = SimDisk::new(SimConfig::default());
        let store = Store::open(Arc::new(disk.clone()), small, drawn()).unwrap().store;
        for block in &chain.blocks[..last] {
            store.append(vec![Arc::clone(block)]).unwrap();
            if block.number.is_multiple_of(4) {
                store.checkpoint(u64::MAX, &Hasher::cpu()).unwrap();
            }
        }
        let stats = store.stats();
        segments = segments.max(stats.journal_bytes / small.segment_bytes);
        drop(store);
        disk.flip_bit("pages", (stats.checkpoint % 2 * 4096 + 100) * 8).unwrap();
        let opened =
            Store::open(Arc::new(disk), small, drawn()).unwrap_or_else(|error| panic!("{last}: {error}"));
        assert_eq!(check(&opened, &chain, "by the older superblock"), last);
    }
    assert!(segments > 1, "the journal never went on to another file");
}
