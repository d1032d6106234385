//! States that are imported, exported and moved about, on simulated disks that fail and lose power.

use crate::{
    ground,
    model::state_root,
    stores::{config, drawn},
};
use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256, b256, keccak256};
use citius_hashing::Hasher;
use citius_io::{Disk, OpenMode, SimConfig, SimDisk};
use citius_state::{
    Account, AccountChange, ChangeSet, MemoryState, SlotChange, StateReader,
    cold::{
        BlockId, BlockRecord, ColdError, Durability, Import, ImportAccount, ImportStep, Opened, Snapshot,
        Store, StoreConfig,
    },
};
use rand::{
    Rng, SeedableRng,
    seq::{IndexedRandom, SliceRandom},
};
use rand_chacha::ChaCha8Rng;
use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    sync::Arc,
};

const BLOCK: BlockId = BlockId { number: 17, hash: B256::repeat_byte(0x17) };
const SOURCE: B256 = B256::repeat_byte(0x50);

/// A state, and its codes.
#[derive(Clone)]
struct World {
    state: MemoryState,
    codes: BTreeMap<B256, Bytes>,
    root: B256,
}

impl World {
    fn random(random: &mut ChaCha8Rng, most: usize) -> Self {
        let mut state = MemoryState::complete();
        let mut codes = BTreeMap::new();
        let count = *[1, 4, 60, most].choose(random).unwrap();
        let mut addresses: Vec<Address> =
            (0..count).map(|_| Address::from(random.random::<[u8; 20]>())).collect();
        if random.random_range(0..3) == 0 {
            addresses.extend(ground::deep_addresses());
        }
        let large = random.random_range(0..3);
        for (number, address) in addresses.into_iter().enumerate() {
            let code_hash = match random.random_range(0..4) {
                0 => {
                    let len = *[1, 40, 600, 9_000].choose(random).unwrap();
                    let code: Vec<u8> = (0..len).map(|_| random.random()).collect();
                    let hash = keccak256(&code);
                    codes.insert(hash, Bytes::from(code));
                    hash
                }
                _ => KECCAK256_EMPTY,
            };
            let balance = U256::from_be_bytes::<32>(random.random()) >> random.random_range(0..256);
            state.set_account(address, Account { balance, nonce: random.random_range(0..900), code_hash });
            let slots = if number < large { 900 } else { *[0, 0, 1, 3, 30].choose(random).unwrap() };
            for slot in 0..slots {
                let slot = U256::from(slot * 7);
                state.set_storage(address, slot, U256::from(random.random_range(1..u64::MAX)));
            }
        }
        let root = state_root(&state);
        Self { state, codes, root }
    }

    /// Its accounts as they are imported, large ones in parts.
    fn parts(&self) -> Vec<ImportAccount> {
        let mut parts = Vec::new();
        for (address, account) in self.state.accounts() {
            let Some(account) = account else { continue };
            let slots = self.state.slots(address).map(|(slot, value)| (keccak256(B256::from(slot)), value));
            let mut slots: Vec<(B256, U256)> = slots.collect();
            slots.sort_unstable();
            let mut first = true;
            loop {
                let rest = slots.split_off(slots.len().min(250));
                let key = keccak256(address);
                parts.push(ImportAccount { key, account, slots, is_continued: !first });
                slots = rest;
                first = false;
                if slots.is_empty() {
                    break;
                }
            }
        }
        parts
    }

    /// Steps that import it. Parts of one account stay in order.
    fn steps(&self, random: &mut ChaCha8Rng) -> Vec<ImportStep> {
        let mut parts = self.parts();
        if random.random() {
            parts.sort_by_key(|part| part.key);
        } else {
            let (mut firsts, rest): (Vec<_>, Vec<_>) = parts.into_iter().partition(|part| !part.is_continued);
            firsts.shuffle(random);
            firsts.extend(rest);
            parts = firsts;
        }
        let mut steps = Vec::new();
        let mut codes: Vec<Bytes> = self.codes.values().cloned().collect();
        while !parts.is_empty() {
            let count = random.random_range(1..=parts.len());
            let rest = parts.split_off(count);
            let some = codes.split_off(codes.len() - codes.len().min(random.random_range(0..40)));
            steps.push(ImportStep { accounts: parts, codes: some });
            parts = rest;
        }
        steps.push(ImportStep { accounts: Vec::new(), codes });
        steps
    }

    /// Whether a store has it.
    fn check(&self, store: &Store, what: &str) {
        let verified =
            store.verify(&Hasher::cpu(), &mut |_| ()).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(verified.lost, 0, "{what}: {verified:?}");
        assert_eq!(store.checkpoint_block().1, self.root, "{what}");
        let (mut accounts, mut slots) = (0, 0);
        for (address, account) in self.state.accounts() {
            let key = keccak256(address);
            assert_eq!(store.account(&key).unwrap(), account, "{what}: {address}");
            accounts += u64::from(account.is_some());
            for (number, (slot, value)) in self.state.slots(address).enumerate() {
                slots += u64::from(!value.is_zero());
                if number < 8 {
                    let slot = keccak256(slot.to_be_bytes::<32>());
                    assert_eq!(store.slot(&key, &slot).unwrap(), value, "{what}: {address}");
                }
            }
        }
        assert_eq!((verified.accounts, verified.slots), (accounts, slots), "{what}");
        for (hash, code) in &self.codes {
            assert_eq!(store.code(hash).unwrap().as_ref(), Some(code), "{what}");
        }
        assert_eq!(verified.codes, self.codes.len() as u64, "{what}");
    }

    /// A block behind it that writes some of its accounts anew.
    fn block(&self, parent: BlockId, random: &mut ChaCha8Rng) -> (BlockRecord, Self) {
        let mut after = self.clone();
        let change = |(address, before): (Address, Option<Account>)| AccountChange {
            address,
            before,
            after: before.map(|account| Account { nonce: account.nonce + 1, ..account }),
            storage_wiped: false,
            storage: vec![SlotChange {
                slot: U256::from(5),
                before: self.state.storage(address, U256::from(5)).unwrap_or_default(),
                after: U256::from(random.random_range(1..9)),
            }],
        };
        let changes = ChangeSet {
            accounts: self
                .state
                .accounts()
                .filter(|(_, account)| account.is_some())
                .take(20)
                .map(change)
                .collect(),
            codes: Vec::new(),
        };
        after.state.apply(&changes);
        after.root = state_root(&after.state);
        let hash = keccak256(parent.hash);
        let block = BlockRecord {
            number: parent.number + 1,
            hash,
            parent: parent.hash,
            root: after.root,
            changes: Arc::new(changes),
        };
        (block, after)
    }
}

fn synced() -> StoreConfig {
    config(Durability::Synced)
}

fn shared(disk: &SimDisk) -> Arc<dyn Disk> {
    Arc::new(disk.clone())
}

fn open(disk: &SimDisk) -> Result<Store, ColdError> {
    Store::open(shared(disk), synced(), drawn()).map(|opened| opened.store)
}

/// Imports from where it stands. `acknowledged` gets how many steps are durable.
fn import(
    disk: &SimDisk,
    world: &World,
    steps: &[ImportStep],
    acknowledged: &mut u64,
) -> Result<Store, ColdError> {
    let mut import = Import::open(shared(disk), synced(), drawn(), SOURCE)?;
    let begun = import.progress().cursor;
    assert!(begun >= *acknowledged, "{begun} steps of {acknowledged} are left");
    for (number, step) in steps.iter().enumerate().skip(begun as usize) {
        import.add(step.clone(), number as u64 + 1, &Hasher::cpu())?;
        *acknowledged = number as u64 + 1;
    }
    import.finish(BLOCK, Some(world.root))
}

/// Imports, but where that was done.
fn import_again(disk: &SimDisk, world: &World, steps: &[ImportStep], mut acknowledged: u64) -> Store {
    match import(disk, world, steps, &mut acknowledged) {
        Err(ColdError::NotEmpty { block, hash, root }) => {
            assert_eq!((block, hash, root), (BLOCK.number, BLOCK.hash, world.root));
            open(disk).unwrap()
        }
        other => other.unwrap(),
    }
}

#[test]
fn a_state_is_imported_in_any_steps_and_is_a_store_as_any_other() {
    for seed in 0..40 {
        let what = format!("seed {seed}");
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let world = World::random(&mut random, 400);
        let steps = world.steps(&mut random);
        let disk = SimDisk::new(SimConfig { seed, ..SimConfig::default() });
        let mut importing = Import::open(shared(&disk), synced(), drawn(), SOURCE).unwrap();
        for (number, step) in steps.iter().enumerate() {
            assert_eq!(importing.progress().cursor, number as u64, "{what}");
            importing.add(step.clone(), number as u64 + 1, &Hasher::cpu()).unwrap();
            if random.random_range(0..3) == 0 {
                let progress = importing.progress();
                drop(importing);
                let refused = open(&disk).unwrap_err();
                assert!(
                    matches!(refused, ColdError::Importing { accounts, slots, .. }
                        if (accounts, slots) == (progress.accounts, progress.slots)),
                    "{what}: {refused}"
                );
                assert!(refused.to_string().contains("citius state import"), "{refused}");
                let other = Import::open(shared(&disk), synced(), drawn(), B256::ZERO).unwrap_err();
                assert!(matches!(other, ColdError::OtherSource { begun: SOURCE, .. }), "{what}: {other}");
                importing = Import::open(shared(&disk), synced(), drawn(), SOURCE).unwrap();
                assert_eq!(importing.progress(), progress, "{what}");
            }
        }
        let slots = world.state.accounts().map(|(address, _)| world.state.slots(address).count() as u64);
        assert_eq!(importing.progress().slots, slots.sum::<u64>(), "{what}");
        let store = importing.finish(BLOCK, Some(world.root)).unwrap();
        world.check(&store, &what);
        let (block, after) = world.block(BLOCK, &mut random);
        store.append(vec![Arc::new(block)]).unwrap();
        drop(store);
        let Opened { store, blocks } = Store::open(shared(&disk), synced(), drawn()).unwrap();
        assert_eq!(blocks.len(), 1, "{what}");
        world.check(&store, &what);
        assert!(store.checkpoint(u64::MAX, &Hasher::cpu()).unwrap());
        after.check(&store, &what);
    }
}

#[test]
fn what_is_imported_twice_or_leads_to_another_root_is_refused_and_nothing_of_it_is_kept() {
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let world = World::random(&mut random, 300);
    let mut parts = world.parts();
    parts.retain(|part| !part.is_continued && part.slots.len() < 250);
    let disk = SimDisk::new(SimConfig::default());
    let hasher = Hasher::cpu();
    let mut import = Import::open(shared(&disk), synced(), drawn(), SOURCE).unwrap();
    let step = |accounts: &[ImportAccount]| ImportStep { accounts: accounts.to_vec(), codes: Vec::new() };
    import.add(step(&parts), 1, &hasher).unwrap();
    let (progress, root) = (import.progress(), import.root());
    let mut twice = parts[0].clone();
    twice.slots = vec![(B256::ZERO, U256::from(1)); 2];
    let continued =
        ImportAccount { key: B256::repeat_byte(9), slots: Vec::new(), is_continued: true, ..twice.clone() };
    let fresh = ImportAccount { key: B256::repeat_byte(7), ..parts[0].clone() };
    for (wrong, expected) in [
        (vec![fresh.clone(), parts[0].clone()], "there twice"),
        (vec![fresh.clone(), fresh.clone()], "there twice"),
        (vec![fresh.clone(), ImportAccount { key: fresh.key, is_continued: true, ..twice }], "there twice"),
        (vec![continued], "come before it"),
    ] {
        let error = import.add(step(&wrong), 2, &hasher).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!((import.progress(), import.root()), (progress, root));
    }
    let refused = import.finish(BLOCK, Some(B256::ZERO)).unwrap_err();
    assert!(matches!(refused, ColdError::WrongRoot { found, .. } if found == root), "{refused}");
    assert!(matches!(open(&disk), Err(ColdError::Importing { .. })));
    let import = Import::open(shared(&disk), synced(), drawn(), SOURCE).unwrap();
    drop(import.finish(BLOCK, Some(root)).unwrap());
    let again = Import::open(shared(&disk), synced(), drawn(), SOURCE).unwrap_err();
    assert!(matches!(again, ColdError::NotEmpty { block: 17, .. }), "{again}");
}

/// A store with a state, and the state.
fn filled(seed: u64, most: usize) -> (SimDisk, World) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let world = World::random(&mut random, most);
    let disk = SimDisk::new(SimConfig { seed, ..SimConfig::default() });
    drop(import(&disk, &world, &world.steps(&mut random), &mut 0).unwrap());
    (disk, world)
}

fn export(disk: &SimDisk, target: &SimDisk, ranges: u16) -> Result<usize, ColdError> {
    let exported = open(disk)?.export(&shared(target), ranges, &Hasher::cpu(), &mut |_| ())?;
    assert_eq!(exported.ranges.len(), usize::from(ranges));
    Ok(exported.kept)
}

fn import_snapshot(source: &SimDisk, disk: &SimDisk, step_bytes: usize) -> Result<Store, ColdError> {
    let snapshot = Snapshot::open(shared(source))?;
    snapshot.import(shared(disk), synced(), drawn(), step_bytes, &Hasher::cpu(), &mut |_| ())
}

fn new_disk(seed: u64) -> SimDisk {
    SimDisk::new(SimConfig { seed, ..SimConfig::default() })
}

#[test]
fn snapshots_hold_the_state_and_each_range_leads_to_the_root_alone() {
    for seed in 0..30 {
        let (disk, world) = filled(seed, 400);
        let ranges = [1, 2, 7, 16, 256][seed as usize % 5];
        let what = format!("seed {seed}, {ranges} ranges");
        let target = new_disk(seed);
        assert_eq!(export(&disk, &target, ranges).unwrap(), 0, "{what}");
        let snapshot = Snapshot::open(shared(&target)).unwrap();
        assert_eq!((snapshot.block(), snapshot.root()), (BLOCK, world.root), "{what}");
        let accounts: u64 = snapshot.ranges().iter().map(|range| range.accounts).sum();
        assert_eq!(accounts, world.state.accounts().count() as u64, "{what}");
        // Each with none of the others there.
        let kept = u64::from(ranges / 2);
        for number in 0..ranges {
            if u64::from(number) != kept {
                target.remove(&format!("range-{number:04}")).unwrap();
            }
        }
        snapshot
            .verify_range(kept as usize, &Hasher::cpu())
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(export(&disk, &target, ranges).unwrap(), 1, "{what}");
        assert_eq!(export(&disk, &target, ranges).unwrap(), usize::from(ranges), "{what}");
        let copy = new_disk(seed + 1);
        let store = import_snapshot(&target, &copy, 1 << (6 + seed % 12)).unwrap();
        world.check(&store, &what);
        assert_eq!(store.checkpoint_block().0, BLOCK, "{what}");
        drop(store);
        world.check(&open(&copy).unwrap(), &what);
        // Another number of ranges in the same place.
        export(&disk, &target, 3).unwrap();
        let names: BTreeSet<String> = target.names().unwrap().into_iter().collect();
        assert_eq!(names.iter().filter(|name| name.starts_with("range-")).count(), 3, "{what}");
        let store = import_snapshot(&target, &new_disk(seed + 2), 1 << 20).unwrap();
        world.check(&store, &what);
    }
}

#[test]
fn a_snapshot_with_any_other_bit_is_refused() {
    let (disk, _) = filled(4, 400);
    let mut random = ChaCha8Rng::seed_from_u64(4);
    let target = new_disk(4);
    export(&disk, &target, 4).unwrap();
    let names = ["manifest", "range-0000", "range-0001", "range-0002", "range-0003"];
    let (mut refused, mut padding) = (0, 0);
    for round in 0..300 {
        let damaged = target.restart(round);
        let name = names.choose(&mut random).unwrap();
        let file = damaged.open(name, OpenMode::Existing).unwrap();
        let bytes = damaged.len(file).unwrap();
        damaged.close(file).unwrap();
        let bit = random.random_range(0..bytes * 8);
        damaged.flip_bit(name, bit).unwrap();
        let store = new_disk(round);
        match import_snapshot(&damaged, &store, 1 << 20) {
            // Zeros up to a page's end are nobody's.
            Ok(_) => padding += 1,
            Err(ColdError::Snapshot { .. } | ColdError::Version { .. }) => refused += 1,
            Err(error) => panic!("round {round}, {name}, bit {bit}: {error}"),
        }
    }
    assert!(refused > 200 && padding > 0, "{refused} refused, {padding} of padding");
}

/// A store whose file is mostly free: many accounts came, and most of them went.
fn sparse(seed: u64, capacity_bytes: Option<u64>) -> (SimDisk, World) {
    let disk = SimDisk::new(SimConfig { seed, capacity_bytes, ..SimConfig::default() });
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut world = World { state: MemoryState::complete(), codes: BTreeMap::new(), root: B256::ZERO };
    let mut parent = BlockId { number: 0, hash: B256::ZERO };
    let store = open_large(&disk).unwrap();
    let created = |address, slots: u64| AccountChange {
        address,
        before: None,
        after: Some(Account { balance: U256::from(3), ..Account::EMPTY }),
        storage_wiped: false,
        storage: (0..slots)
            .map(|slot| SlotChange {
                slot: U256::from(slot),
                before: U256::ZERO,
                after: U256::from(slot + 1),
            })
            .collect(),
    };
    let addresses: Vec<Address> = (0..6_000).map(|_| Address::from(random.random::<[u8; 20]>())).collect();
    let mut apply = |accounts: Vec<AccountChange>, codes: Vec<Bytes>| {
        let hashed =
            codes.iter().map(|code| (keccak256(code), revm::bytecode::Bytecode::new_legacy(code.clone())));
        let changes = ChangeSet { accounts, codes: hashed.collect() };
        world.state.apply(&changes);
        world.codes.extend(codes.into_iter().map(|code| (keccak256(&code), code)));
        world.root = state_root(&world.state);
        let id = BlockId { number: parent.number + 1, hash: keccak256(parent.hash) };
        let block = BlockRecord {
            number: id.number,
            hash: id.hash,
            parent: parent.hash,
            root: world.root,
            changes: Arc::new(changes),
        };
        store.append(vec![Arc::new(block)]).unwrap();
        store.checkpoint(u64::MAX, &Hasher::cpu()).unwrap();
        parent = id;
    };
    for (number, part) in addresses.chunks(3_000).enumerate() {
        let slots = |at: usize| if at == 7 { 1_500 } else { at as u64 % 4 };
        let accounts = part.iter().enumerate().map(|(at, address)| created(*address, slots(at))).collect();
        apply(accounts, vec![Bytes::from(vec![number as u8 + 1; 21_000])]);
    }
    let gone =
        addresses.iter().enumerate().filter(|(at, _)| at % 10 != 7).map(|(_, address)| AccountChange {
            address: *address,
            before: Some(Account { balance: U256::from(3), ..Account::EMPTY }),
            after: None,
            storage_wiped: true,
            storage: Vec::new(),
        });
    apply(gone.collect(), Vec::new());
    drop(store);
    (disk, world)
}

fn large_config() -> StoreConfig {
    StoreConfig { segment_bytes: 4 << 20, ..synced() }
}

fn open_large(disk: &SimDisk) -> Result<Store, ColdError> {
    Store::open(shared(disk), large_config(), drawn()).map(|opened| opened.store)
}

#[test]
fn compaction_gives_the_end_of_the_file_back_and_changes_nothing_else() {
    let (sparse, world) = sparse(1, None);
    for step_pages in [1, 9, 40, 100_000] {
        let disk = sparse.restart(1);
        let store = open_large(&disk).unwrap();
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let (block, after) = world.block(store.last(), &mut random);
        store.append(vec![Arc::new(block)]).unwrap();
        let what = format!("steps of {step_pages}");
        world.check(&store, "before");
        let before = store.space();
        let mut most = 0;
        let compacted = store.compact(step_pages, &mut |space| most = most.max(space.file_bytes)).unwrap();
        assert_eq!((compacted.before, compacted.after), (before, store.space()), "{what}");
        assert!(before.amplification() > 3.0, "{what}: {before:?}");
        assert!(compacted.after.amplification() < 1.6, "{what}: {compacted:?}");
        assert!(most <= before.file_bytes + 8 * 4096, "{what}: {most} bytes, {before:?}");
        assert_eq!(compacted.after.live_bytes, before.live_bytes, "{what}");
        world.check(&store, &what);
        let end = compacted.after.file_bytes;
        let again = store.compact(step_pages, &mut |_| ()).unwrap();
        assert!(again.written == 0 && again.after.file_bytes <= end + 2 * 4096, "{what}: {again:?}");
        let end = store.space().file_bytes;
        // Either superblock leads to the state, and to the block behind it.
        let checkpoint = store.stats().checkpoint;
        drop(store);
        // What is behind the end reads as zeros.
        let file = disk.open("pages", OpenMode::Existing).unwrap();
        let mut bytes = vec![1; (disk.len(file).unwrap() - end) as usize];
        disk.read_exact_at(file, end, &mut bytes).unwrap();
        assert!(bytes.iter().all(|byte| *byte == 0), "{what}");
        disk.close(file).unwrap();
        disk.flip_bit("pages", (checkpoint % 2 * 4096 + 100) * 8).unwrap();
        let Opened { store, blocks } = Store::open(shared(&disk), large_config(), drawn()).unwrap();
        assert_eq!(blocks.len(), 1, "{what}");
        world.check(&store, &what);
        store.checkpoint(u64::MAX, &Hasher::cpu()).unwrap();
        after.check(&store, &what);
    }
    let empty = open_large(&new_disk(3)).unwrap();
    assert_eq!(empty.compact(10, &mut |_| ()).unwrap().checkpoints, 0);
}

/// What may be cut short.
enum Job {
    Import { world: World, steps: Vec<ImportStep> },
    Snapshot { world: World, source: SimDisk, step_bytes: usize },
    Export { world: World, store: SimDisk, ranges: u16 },
    Compact { world: World, filled: SimDisk, step_pages: u64 },
}

impl Job {
    fn random(seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        match seed % 4 {
            0 => {
                let world = World::random(&mut random, 250);
                let steps = world.steps(&mut random);
                Self::Import { world, steps }
            }
            1 => {
                let (disk, world) = filled(seed, 250);
                let source = new_disk(seed);
                export(&disk, &source, random.random_range(1..6)).unwrap();
                Self::Snapshot { world, source, step_bytes: 1 << random.random_range(8..16) }
            }
            2 => {
                let (store, world) = filled(seed, 250);
                Self::Export { world, store, ranges: random.random_range(1..9) }
            }
            _ => {
                let (filled, world) = sparse(seed, None);
                Self::Compact { world, filled, step_pages: random.random_range(3..200) }
            }
        }
    }

    /// The disk that it begins with.
    fn disk(&self, seed: u64) -> SimDisk {
        match self {
            Self::Compact { filled, .. } => filled.restart(seed),
            _ => new_disk(seed),
        }
    }

    fn run(&self, disk: &SimDisk, acknowledged: &mut u64) -> Result<(), ColdError> {
        match self {
            Self::Import { world, steps } => import(disk, world, steps, acknowledged).map(drop),
            Self::Snapshot { source, step_bytes, .. } => import_snapshot(source, disk, *step_bytes).map(drop),
            Self::Export { store, ranges, .. } => export(store, disk, *ranges).map(drop),
            Self::Compact { step_pages, .. } => open_large(disk)?.compact(*step_pages, &mut |_| ()).map(drop),
        }
    }

    /// Checks what is there after something happened, and does the rest.
    fn go_on(&self, disk: &SimDisk, acknowledged: u64, what: &str) {
        match self {
            Self::Import { world, steps } => {
                match open(disk) {
                    Ok(store) if store.stats().checkpoint > 1 => world.check(&store, what),
                    // The import had not begun.
                    Ok(_) => assert_eq!(acknowledged, 0, "{what}"),
                    Err(ColdError::Importing { .. }) => {}
                    Err(error) => panic!("{what}: {error}"),
                }
                world.check(&import_again(disk, world, steps, acknowledged), what);
            }
            Self::Snapshot { world, source, step_bytes } => {
                match import_snapshot(source, disk, *step_bytes) {
                    Ok(store) => world.check(&store, what),
                    Err(ColdError::NotEmpty { root, .. }) => assert_eq!(root, world.root, "{what}"),
                    Err(error) => panic!("{what}: {error}"),
                }
                world.check(&open(disk).unwrap(), what);
            }
            Self::Export { world, store, ranges } => {
                // A manifest that is whole names ranges that are.
                if let Ok(snapshot) = Snapshot::open(shared(disk)) {
                    for number in 0..snapshot.ranges().len() {
                        let verified = snapshot.verify_range(number, &Hasher::cpu());
                        verified.unwrap_or_else(|error| panic!("{what}: {error}"));
                    }
                }
                export(store, disk, *ranges).unwrap_or_else(|error| panic!("{what}: {error}"));
                world.check(&import_snapshot(disk, &new_disk(1), 1 << 20).unwrap(), what);
            }
            Self::Compact { world, step_pages, .. } => {
                let store = open_large(disk).unwrap_or_else(|error| panic!("{what}: {error}"));
                world.check(&store, what);
                let compacted = store.compact(*step_pages, &mut |_| ()).unwrap();
                assert!(compacted.after.amplification() < 1.6, "{what}: {compacted:?}");
                world.check(&store, what);
            }
        }
    }
}

/// Cuts the power at operations of a job `stride` apart, again while it goes on, and does the rest. Gives the number of cuts.
fn cuts_of(seed: u64, stride: u64) -> u64 {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let job = Job::random(seed);
    let whole = job.disk(seed);
    let begun = whole.operations();
    job.run(&whole, &mut 0).unwrap();
    let operations = whole.operations();
    let mut cuts = 0;
    let mut cut = begun + random.random_range(0..stride);
    while cut < operations {
        let what = format!("seed {seed}, cut at {cut} of {begun}..{operations}");
        let before = job.disk(seed);
        before.cut_power_at(cut);
        let mut acknowledged = 0;
        let _ = job.run(&before, &mut acknowledged);
        let mut after = before.restart(random.random());
        cuts += 1;
        if random.random_range(0..3) == 0 {
            after.cut_power_at(after.operations() + random.random_range(0..40));
            let _ = job.run(&after, &mut acknowledged);
            after = after.restart(random.random());
            cuts += 1;
        }
        job.go_on(&after, acknowledged, &what);
        cut += stride;
    }
    cuts
}

#[test]
fn imports_exports_and_compactions_go_on_after_a_power_cut_at_any_moment() {
    let is_long = env::var_os("CITIUS_LONG").is_some();
    let default = if is_long { 100_000 } else { 500 };
    let wanted: u64 = env::var("CITIUS_CUTS").ok().and_then(|cuts| cuts.parse().ok()).unwrap_or(default);
    let first: u64 = env::var("CITIUS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0);
    let (mut cuts, mut seed) = (0, first);
    while cuts < wanted {
        cuts += cuts_of(seed, if is_long { 1 } else { 11 });
        seed += 1;
    }
    eprintln!("{cuts} cuts, seeds {first} to {seed}");
}

#[test]
fn operations_that_fail_end_a_job_that_can_be_gone_on_with() {
    for seed in 0..8 {
        let job = Job::random(seed);
        let whole = job.disk(seed);
        let begun = whole.operations();
        job.run(&whole, &mut 0).unwrap();
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        for failing in (begun..whole.operations()).step_by(random.random_range(7..13)) {
            let disk = job.disk(seed);
            disk.fail_operation_at(failing);
            let mut acknowledged = 0;
            let _ = job.run(&disk, &mut acknowledged);
            job.go_on(&disk.restart(seed), acknowledged, &format!("seed {seed}, operation {failing} fails"));
        }
    }
}

fn file_bytes(disk: &SimDisk, name: &str) -> Vec<u8> {
    let file = disk.open(name, OpenMode::Existing).unwrap();
    let mut bytes = vec![0; disk.len(file).unwrap() as usize];
    disk.read_exact_at(file, 0, &mut bytes).unwrap();
    disk.close(file).unwrap();
    bytes
}

#[test]
fn a_full_disk_ends_an_import_or_export_and_leaves_what_was_durable() {
    let mut fills = 0;
    for seed in (0..24).filter(|seed| seed % 4 != 3) {
        let job = Job::random(seed);
        for capacity in [30, 140, 150, 170, 200, 260, 400, 2_000_u64] {
            let what = format!("seed {seed}, {capacity} KiB");
            let config = SimConfig { seed, capacity_bytes: Some(capacity << 10), ..SimConfig::default() };
            let disk = SimDisk::new(config);
            let mut acknowledged = 0;
            if job.run(&disk, &mut acknowledged).is_ok() {
                job.go_on(&disk, acknowledged, &what);
                continue;
            }
            fills += 1;
            let disk = disk.restart(seed);
            if let Job::Import { world, .. } = &job {
                match Import::open(shared(&disk), synced(), drawn(), SOURCE) {
                    Ok(import) => assert!(import.progress().cursor >= acknowledged, "{what}"),
                    Err(ColdError::NotEmpty { root, .. }) => assert_eq!(root, world.root, "{what}"),
                    Err(ColdError::Disk(_)) => assert_eq!(acknowledged, 0, "{what}"),
                    Err(error) => panic!("{what}: {error}"),
                }
            }
        }
    }
    assert!(fills > 20, "{fills} disks were full");
}

#[test]
fn compaction_needs_no_room_on_the_disk() {
    let (free, _) = sparse(2, None);
    let used: usize = ["pages", "journal-0000"].iter().map(|name| file_bytes(&free, name).len()).sum();
    let (full, world) = sparse(2, Some(used as u64));
    let file = full.open("other", OpenMode::CreateNew).unwrap();
    assert!(full.write_all_at(file, 0, &[1; 4096]).is_err(), "the disk has room");
    let store = open_large(&full).unwrap();
    let compacted = store.compact(50, &mut |_| ()).unwrap();
    assert!(compacted.after.amplification() < 1.6, "{compacted:?}");
    world.check(&store, "a full disk");
}

/// Whoever changes the form changes its version, and reads the older one or says what to do with it.
#[test]
fn snapshots_are_what_they_were() {
    let mut state = MemoryState::complete();
    let codes = [3, 5_000].map(|len| Bytes::from(vec![len as u8; len]));
    for at in 0..60_u64 {
        let address = Address::from_word(keccak256(at.to_be_bytes()));
        let code_hash = codes.get(at as usize).map_or(KECCAK256_EMPTY, keccak256);
        state.set_account(address, Account { balance: U256::from(at) << at, nonce: at, code_hash });
        for slot in 0..if at == 3 { 300 } else { at % 4 } {
            state.set_storage(address, U256::from(slot), U256::from(at + 1) << (8 * (slot % 30)));
        }
    }
    let root = state_root(&state);
    let codes = codes.into_iter().map(|code| (keccak256(&code), code)).collect();
    let world = World { state, codes, root };
    let step = ImportStep { accounts: world.parts(), codes: world.codes.values().cloned().collect() };
    let disk = new_disk(1);
    drop(import(&disk, &world, &[step], &mut 0).unwrap());
    let target = new_disk(2);
    export(&disk, &target, 2).unwrap();
    let digests = ["manifest", "range-0000", "range-0001"].map(|name| keccak256(file_bytes(&target, name)));
    assert_eq!(
        digests,
        [
            b256!("f9cd180bed7739da1f5a333effe3f68eaddab2c6855d12d3a2ea503fa01c101a"),
            b256!("5c084242d50fbdf9a80c63d9376b8054baae0a26a36acd1cd1627188ef832f6f"),
            b256!("fcc9af8468210fc2ea4000780572534909d032114316d24310a2ff809f00a63c"),
        ]
    );
    world.check(&import_snapshot(&target, &new_disk(3), 1 << 20).unwrap(), "a fixed snapshot");
}
