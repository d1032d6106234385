//! States over stores, with hardly any memory and with enough, beside plain maps: on forks, across openings, while checkpoints are made.

use crate::{
    drafts::{DRAFTED, tell, told},
    model::{Threads, World, state_root},
    nodes::Nodes,
    proofs::check as check_proof,
    random::{SEED, number, random_hasher},
    versions::{Known, Versions},
    witnesses::replays,
};
use alloy_primitives::{Address, B256, U256, keccak256};
use citius_io::{SimConfig, SimDisk};
use citius_state::{
    Account, AccountChange, ChangeSet, MemoryState, ReadError, SlotChange, StateKey, StateReader, Touched,
    cold::{BlockId, StoreConfig},
    durable::{DurableConfig, DurableState},
    ssmt::{SsmtConfig, SsmtReader, VersionId},
};
use rand::{
    Rng, SeedableRng,
    seq::{IndexedRandom, SliceRandom},
};
use rand_chacha::ChaCha8Rng;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Reads, and waits where it must.
fn wait_for<T>(reader: &SsmtReader, read: impl Fn() -> Result<T, ReadError>) -> (T, bool) {
    let mut has_waited = false;
    loop {
        match read() {
            Err(ReadError::Pending { ticket, .. }) => {
                has_waited = true;
                while !ticket.is_complete() {
                    reader.progress(Some(Duration::from_millis(50)));
                }
            }
            answer => return (answer.unwrap(), has_waited),
        }
    }
}

/// What all sequences did.
#[derive(Debug, Default)]
struct Done {
    evicted: u64,
    page_reads: u64,
    waits: u64,
    checkpoints: u64,
    openings: u64,
    blocks: u64,
}

struct Sequence {
    random: ChaCha8Rng,
    what: String,
    world: World,
    disk: SimDisk,
    config: DurableConfig,
    state: DurableState,
    versions: Versions,
    blocks: BTreeMap<VersionId, BlockId>,
    /// All blocks that ever were, with their parents' hashes and the states after them.
    all: Vec<(BlockId, B256, MemoryState)>,
    /// The greatest number that the oldest version's block ever had.
    oldest: u64,
}

fn open(disk: &SimDisk, config: &DurableConfig, random: &mut ChaCha8Rng) -> DurableState {
    let threads = Threads(*[1, 2, 5].choose(random).unwrap());
    let hasher = random_hasher(random);
    DurableState::open(Arc::new(disk.clone()), config.clone(), random.random(), hasher, Arc::new(threads))
        .unwrap()
}

impl Sequence {
    fn new(seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let world = World::random(&mut random);
        let config = DurableConfig {
            store: StoreConfig {
                segment_bytes: 256 << 10,
                page_cache_bytes: *[0, 20_000, 10_000_000].choose(&mut random).unwrap(),
                ..StoreConfig::default()
            },
            ssmt: SsmtConfig {
                history: random.random_range(0..5),
                rebalance_every: *[0, 1, 3].choose(&mut random).unwrap(),
                flat_cache_bytes: *[0, 2_000, 10_000_000].choose(&mut random).unwrap(),
                node_bytes_max: *[0, 0, 3_000, 30_000, u64::MAX].choose(&mut random).unwrap(),
                code_cache_bytes: 10_000,
                ..SsmtConfig::default()
            },
            checkpoint_every: *[0, 0, 1].choose(&mut random).unwrap(),
            retained_blocks: *[0, 0, 1, 3].choose(&mut random).unwrap(),
        };
        let disk = SimDisk::new(SimConfig { seed, ..SimConfig::default() });
        let state = open(&disk, &config, &mut random);
        let versions = Versions::new(state.ssmt(), config.ssmt.history);
        let zero = BlockId { number: 0, hash: B256::ZERO };
        let blocks = BTreeMap::from([(state.ssmt().head(), zero)]);
        let all = vec![(zero, B256::ZERO, MemoryState::complete())];
        let what = format!("CITIUS_SEED={seed} CITIUS_CASES=1");
        let mut sequence =
            Self { random, what, world, disk, config, state, versions, blocks, all, oldest: 0 };
        sequence.seal(0, BlockId { number: 0, hash: keccak256([1]) });
        let genesis = sequence.versions.known[1].version;
        sequence.set_head(genesis);
        sequence
    }

    /// A version that is kept and has a block: mostly the last.
    fn pick(&mut self) -> usize {
        let has_block = |index: &usize| !self.blocks[&self.versions.known[*index].version].hash.is_zero();
        let all: Vec<usize> = (0..self.versions.known.len()).filter(has_block).collect();
        if self.random.random_bool(0.7) { all[all.len() - 1] } else { *all.choose(&mut self.random).unwrap() }
    }

    /// A block on top of a version that is kept.
    fn seal(&mut self, parent: usize, block: BlockId) {
        let parent = Arc::clone(&self.versions.known[parent]);
        let changes = Arc::new(self.world.changes(&mut self.random, &parent.state));
        let trie = self.state.ssmt();
        let sealed = if self.random.random_bool(0.3) {
            let draft = trie.draft(parent.version, DRAFTED).unwrap();
            let calls = told(&mut self.random, &self.world, &changes);
            tell(&mut self.random, &draft, &calls, &|| ());
            draft.seal(&changes).unwrap().0
        } else {
            trie.seal(parent.version, &changes).unwrap()
        };
        self.check_witness(parent.version, &parent.state, &changes, sealed.root);
        let mut state = parent.state.clone();
        state.apply(&changes);
        let known = Known::new(sealed.version, Some(parent.version), state);
        assert_eq!(sealed.root, known.root, "{}: block {}", self.what, block.number);
        let parent_hash = self.blocks[&parent.version].hash;
        self.state.keep(sealed.version, block, parent_hash).unwrap();
        if self.random.random_bool(0.1) {
            let pending = self.state.store().pending();
            self.state.keep(sealed.version, block, parent_hash).unwrap();
            assert!(self.state.store().pending() <= pending, "{}: kept twice", self.what);
        }
        self.all.push((block, parent_hash, known.state.clone()));
        self.blocks.insert(sealed.version, block);
        self.versions.push(known);
    }

    /// Whoever has a block's witness alone comes to the same root, whatever of it was on the disk.
    fn check_witness(
        &mut self,
        parent: VersionId,
        state: &MemoryState,
        changes: &Arc<ChangeSet>,
        root: B256,
    ) {
        let Self { random, what, world, state: durable, .. } = self;
        if random.random_bool(0.7) {
            return;
        }
        let mut touched = Touched::default();
        for _ in 0..random.random_range(0..8) {
            let address = *world.addresses.choose(random).unwrap();
            touched.accounts.insert(address);
            touched.slots.insert((address, *world.slots.choose(random).unwrap()));
        }
        let witness = durable.ssmt().witness(parent, &touched, changes, root, vec![]);
        let witness = witness.unwrap_or_else(|error| panic!("{what}: {error}"));
        let before = durable.ssmt().root(parent).unwrap();
        assert!(replays(before, &witness.state, &touched, state, changes, root, what), "{what}");
    }

    fn set_head(&mut self, head: VersionId) {
        self.state.set_head(head).unwrap();
        self.versions.set_head(head);
        assert_eq!(self.versions.known[0].version, self.state.ssmt().oldest(), "{}", self.what);
    }

    fn open_again(self) -> Self {
        let Self { mut random, what, world, disk, config, state, all, oldest, .. } = self;
        drop(state);
        let state = open(&disk, &config, &mut random);
        let mut known = Vec::new();
        let mut blocks = BTreeMap::new();
        for (block, parent, after) in &all {
            let Some(version) = state.version_of(block.hash) else { continue };
            let parent = state.version_of(*parent).filter(|parent| *parent != version);
            known.push(Arc::new(Known::new(version, parent, after.clone())));
            blocks.insert(version, *block);
        }
        let head = state.ssmt().head();
        assert_eq!(state.block_of(head).unwrap(), state.store().last(), "{what}: another head");
        assert!(known.is_sorted_by_key(|known| known.version), "{what}: blocks come in their order");
        let versions = Versions::of(known, head, config.ssmt.history);
        Self { random, what, world, disk, config, state, versions, blocks, all, oldest }
    }

    /// Compares the versions, as they are read at once and by readers.
    fn check(&mut self, done: &mut Done) {
        let Self { random, what, world, state, versions, .. } = self;
        versions.check(state.ssmt(), world, random, what);
        let mut known = versions.known.clone();
        known.shuffle(random);
        if let Some(known) = known.first().filter(|_| random.random_bool(0.3)) {
            let nodes = Nodes::of(&known.state);
            for _ in 0..3 {
                let address = *world.addresses.choose(random).unwrap();
                let slots = [(); 2].map(|()| *world.slots.choose(random).unwrap());
                let proof = state.ssmt().proof(known.version, address, &slots).unwrap();
                check_proof(&proof, &known.state, &nodes, what);
            }
        }
        for known in known.iter().take(3) {
            let reader = state.ssmt().reader(known.version).unwrap();
            let reader = if random.random_bool(0.3) { reader.blocking() } else { reader };
            let keys: Vec<(Address, U256)> = (0..12)
                .map(|_| (*world.addresses.choose(random).unwrap(), *world.slots.choose(random).unwrap()))
                .collect();
            if random.random_bool(0.5) {
                let ahead = |(address, slot): &(Address, U256)| {
                    [StateKey::Account(*address), StateKey::Storage(*address, *slot)]
                };
                reader.prefetch(&keys.iter().flat_map(ahead).collect::<Vec<_>>());
            }
            for (address, slot) in keys {
                let (account, has_waited) = wait_for(&reader, || reader.account(address));
                assert_eq!(account, known.account(address).map(|(account, _)| account), "{what}: {address}");
                let (value, waited_again) = wait_for(&reader, || reader.storage(address, slot));
                assert_eq!(value, known.storage(address, slot), "{what}: slot {slot} of {address}");
                done.waits += u64::from(has_waited) + u64::from(waited_again);
            }
            // Reads that nobody waits for may be left.
            while random.random_bool(0.7) && reader.progress(Some(Duration::from_millis(50))) {}
        }
    }

    /// What is retained is there, as it was, on the way to the head.
    fn check_retained(&mut self) {
        let Self { what, state, all, oldest, config, .. } = self;
        // After an opening another head may be the last, and what is kept begin before what was the oldest.
        *oldest = state.block_of(state.ssmt().oldest()).unwrap().number.max(*oldest);
        let mut wanted = state.head().1.hash;
        while let Some((block, parent, after)) = all.iter().find(|(block, ..)| block.hash == wanted) {
            if block.hash.is_zero() || block.number + config.retained_blocks <= *oldest {
                break;
            }
            let record = state.store().record(block.hash);
            let record = record.unwrap_or_else(|| panic!("{what}: block {} is not retained", block.number));
            assert_eq!((record.parent, record.root), (*parent, state_root(after)), "{what}");
            wanted = *parent;
        }
    }

    fn run(mut self, done: &mut Done) {
        for number in 1..self.random.random_range(4..25) {
            let index = self.pick();
            let parent = self.blocks[&self.versions.known[index].version].number;
            let hash = keccak256(self.random.random::<[u8; 32]>());
            self.seal(index, BlockId { number: parent + 1, hash });
            done.blocks += 1;
            if self.random.random_bool(0.6) {
                let index = self.pick();
                self.set_head(self.versions.known[index].version);
            }
            if self.random.random_bool(0.4) {
                done.checkpoints += u64::from(self.state.checkpoint().unwrap());
            }
            if self.random.random_bool(0.15) {
                done.evicted += self.state.ssmt().evictions().nodes;
                done.page_reads += self.state.store().stats().reads;
                self = self.open_again();
                done.openings += 1;
            }
            assert_eq!(self.state.checkpoint_error(), None, "{}, step {number}", self.what);
            self.check_retained();
            self.check(done);
        }
        done.evicted += self.state.ssmt().evictions().nodes;
        done.page_reads += self.state.store().stats().reads;
    }
}

#[test]
fn states_over_stores_are_those_of_plain_maps() {
    let seed = number("CITIUS_SEED").unwrap_or(SEED);
    let is_long = std::env::var_os("CITIUS_LONG").is_some();
    let cases = number("CITIUS_CASES").unwrap_or(if is_long { 20_000 } else { 200 });
    let mut done = Done::default();
    for seed in seed..seed + cases {
        Sequence::new(seed).run(&mut done);
    }
    println!("{cases} sequences from seed {seed}: {done:?}");
    if cases >= 100 {
        let Done { evicted, page_reads, waits, checkpoints, openings, blocks } = done;
        for count in [evicted, page_reads, waits, checkpoints, openings, blocks] {
            assert!(count > cases / 2, "{count} is not enough to tell anything");
        }
    }
}

/// A thread remembers where an account's slots begin, until there is another checkpoint.
#[test]
fn large_storage_is_found_where_the_last_checkpoint_has_it() {
    const SLOTS: u64 = 300;
    let config = DurableConfig {
        ssmt: SsmtConfig { history: 0, flat_cache_bytes: 0, node_bytes_max: 0, ..SsmtConfig::default() },
        checkpoint_every: 0,
        ..DurableConfig::default()
    };
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let state = open(&SimDisk::new(SimConfig::default()), &config, &mut random);
    let address = Address::repeat_byte(7);
    let account = Account { nonce: 1, ..Account::EMPTY };
    let mut values = vec![U256::ZERO; SLOTS as usize];
    let (mut parent, mut reads) = (B256::ZERO, 0);
    for number in 1..=6_u64 {
        let mut storage = Vec::new();
        for slot in 0..SLOTS {
            if number == 1 || random.random_bool(0.2) {
                let (before, after) = (values[slot as usize], U256::from(1_000 * number + slot));
                storage.push(SlotChange { slot: U256::from(slot), before, after });
                values[slot as usize] = after;
            }
        }
        let before = (number > 1).then_some(account);
        let change =
            AccountChange { address, before, after: Some(account), storage_wiped: number == 1, storage };
        let changes = Arc::new(ChangeSet { accounts: vec![change], codes: Vec::new() });
        let sealed = state.ssmt().seal(state.ssmt().head(), &changes).unwrap();
        let block = BlockId { number, hash: keccak256([number as u8]) };
        state.keep(sealed.version, block, parent).unwrap();
        state.set_head(sealed.version).unwrap();
        parent = block.hash;
        assert!(state.checkpoint().unwrap());
        // Lets go of what is stored.
        let nothing = Arc::new(ChangeSet::default());
        let next = state.ssmt().seal(state.ssmt().head(), &nothing).unwrap().version;
        let reader = state.ssmt().reader(next).unwrap();
        for slot in 0..SLOTS {
            let (value, has_waited) = wait_for(&reader, || reader.storage(address, U256::from(slot)));
            assert_eq!(value, values[slot as usize], "block {number}, slot {slot}");
            reads += u64::from(has_waited);
        }
        drop(reader);
        state.ssmt().discard(next).unwrap();
    }
    assert!(reads > 10, "{reads} reads of the disk");
}
