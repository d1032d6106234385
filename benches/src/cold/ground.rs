//! What cold blocks stand on: a generated state in memory, and the same in a store.

use crate::{
    Size,
    root::{Shape, World},
    stores::StoresError,
};
use alloy_primitives::{Address, B256, U256, keccak256};
use citius_engine::WorkerPool;
use citius_hashing::Hasher;
use citius_io::{Delayed, Delays, Disk, DiskConfig, FileId, OpenMode, SimConfig, SimDisk, open_disk};
use citius_node::execution::Case;
use citius_state::{
    Account, AccountChange, ChangeSet, MemoryState, ReadError, SlotChange, StateKey, StateReader, Workers,
    cold::{BlockId, Import, ImportStep, StoreConfig},
    durable::{DurableConfig, DurableState},
    ssmt::{Ssmt, SsmtConfig, SsmtReader, VersionId},
};
use revm::bytecode::Bytecode;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// What is measured, and where.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the store is made; it is removed again.
    pub directory: PathBuf,
    /// Accounts of the generated state.
    pub accounts: usize,
    /// Its slots.
    pub slots: usize,
    /// What a read of the modelled drive of [`execution`](super::execution) takes.
    pub latency: Duration,
    /// Customary blocks whose transactions [`execution`](super::execution) puts into one, so that rings and caches are made once for
    /// many.
    pub customary: u32,
    /// Runs of everything that is timed.
    pub runs: usize,
    /// Recorded blocks of [`corpus`](super::corpus) at most.
    pub blocks: usize,
}

impl Options {
    /// Those of a size, in a directory.
    #[must_use]
    pub fn of(size: Size, directory: PathBuf) -> Self {
        Self {
            directory,
            accounts: size.pick(3_000, 2_000_000),
            slots: size.pick(12_000, 8_000_000),
            latency: Duration::from_micros(100),
            customary: size.pick(1, 10),
            runs: size.pick(1, 7),
            blocks: size.pick(2, 100),
        }
    }
}

/// Accounts that are made at a time.
const PIECE: usize = 100_000;
/// Bytes that are copied at a time.
const COPIED: usize = 1 << 20;
/// Buffers of the modelled drive, as many as a real one has.
const BUFFERS: usize = 1_024;
/// The block after which the generated state is that of the chain.
const FIRST: BlockId = BlockId { number: 0, hash: B256::repeat_byte(0xc1) };

/// A generated state, and what blocks need laid over it.
#[derive(Debug)]
pub struct Ground {
    /// All of it in memory.
    pub(super) memory: Arc<Ssmt>,
    directory: PathBuf,
}

impl Ground {
    /// Makes the state twice; `laid` is what blocks find beside what is generated. `progress` is told of accounts made.
    ///
    /// # Errors
    ///
    /// [`StoresError`] of the disk and the store, or if both have not the same root.
    pub fn new(
        options: &Options,
        laid: &[&MemoryState],
        progress: &mut dyn FnMut(usize),
    ) -> Result<Self, StoresError> {
        let (world, hasher) =
            (World::new(Shape { accounts: options.accounts, slots: options.slots }), Hasher::cpu());
        let config = SsmtConfig { history: 0, flat_cache_bytes: 0, ..SsmtConfig::default() };
        let memory = Arc::new(Ssmt::new(config, Arc::new(Hasher::cpu()), workers()));
        // What an earlier run left here.
        let _ = fs::remove_dir_all(&options.directory);
        fs::create_dir_all(&options.directory)?;
        let (disk, _) = open_disk(&options.directory, &DiskConfig::default())?;
        let mut import = Import::open(disk, StoreConfig::default(), crate::stores::random(), FIRST.hash)?;
        let mut made = 0;
        let generated = (0..options.accounts).step_by(PIECE).map(|first| {
            let numbers = first..(first + PIECE).min(options.accounts);
            let accounts = numbers.map(|number| world.creation(number as u64)).collect();
            ChangeSet { accounts, codes: Vec::new() }
        });
        for changes in generated.chain(laid.iter().map(|state| creation(state))) {
            made += changes.accounts.len();
            let changes = Arc::new(changes);
            let sealed = memory.seal(memory.head(), &changes)?;
            memory.set_head(sealed.version)?;
            let mut step = ImportStep::default();
            step.create(ChangeSet::clone(&changes), &hasher);
            import.add(step, made as u64, &hasher)?;
            progress(made);
        }
        let root = memory.root(memory.head())?;
        drop(import.finish(FIRST, Some(root))?);
        Ok(Self { memory, directory: options.directory.clone() })
    }

    /// A drive that is modelled: what is in the store, in memory, each read of which takes as long. No kernel is asked for anything.
    ///
    /// # Errors
    ///
    /// [`StoresError`] of the disk.
    pub fn model(&self, latency: Duration) -> Result<Arc<dyn Disk>, StoresError> {
        let (real, _) = open_disk(&self.directory, &DiskConfig::default())?;
        let config = SimConfig {
            reorder: false,
            slow_per_million: 0,
            pooled_buffers: BUFFERS,
            ..SimConfig::default()
        };
        let model = SimDisk::new(config);
        for name in real.names()? {
            let (from, to) = (real.open(&name, OpenMode::Existing)?, model.open(&name, OpenMode::CreateNew)?);
            copy(&*real, from, &model, to)?;
            model.close(to)?;
            real.close(from)?;
        }
        model.sync_directory()?;
        Ok(Arc::new(Delayed::new(Arc::new(model), Delays { read: latency, ..Delays::default() })))
    }

    /// The state out of the store, nothing of it in memory but the pages that lead to others.
    ///
    /// # Errors
    ///
    /// As [`DurableState::open`].
    pub fn open(&self, config: DurableConfig) -> Result<DurableState, StoresError> {
        self.open_at(&self.directory, config)
    }

    /// The same, out of a copy of the store.
    pub(super) fn open_at(
        &self,
        directory: &Path,
        config: DurableConfig,
    ) -> Result<DurableState, StoresError> {
        let (disk, _) = open_disk(directory, &DiskConfig::default())?;
        open_on(disk, config)
    }

    /// Where the store is.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        // Whoever named the directory finds it empty or not at all.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// The state out of a store on a disk.
pub(super) fn open_on(disk: Arc<dyn Disk>, config: DurableConfig) -> Result<DurableState, StoresError> {
    Ok(DurableState::open(disk, config, crate::stores::random(), Arc::new(Hasher::cpu()), workers())?)
}

fn copy(from: &dyn Disk, source: FileId, to: &dyn Disk, target: FileId) -> Result<(), StoresError> {
    let end = from.len(source)?;
    let mut piece = vec![0; COPIED];
    for offset in (0..end).step_by(COPIED) {
        let length = COPIED.min((end - offset) as usize);
        from.read_exact_at(source, offset, &mut piece[..length])?;
        to.write_all_at(target, offset, &piece[..length])?;
    }
    Ok(to.sync(target)?)
}

pub(super) fn workers() -> Arc<dyn Workers> {
    WorkerPool::unpinned(crate::THREADS).unwrap_or_else(|error| panic!("{error}"))
}

/// What makes the accounts of a state that exist out of nothing.
fn creation(state: &MemoryState) -> ChangeSet {
    let mut changes = ChangeSet::default();
    for (address, account) in state.accounts() {
        let Some(account) = account else { continue };
        let slots = state.slots(address).filter(|(_, value)| !value.is_zero());
        let storage = slots.map(|(slot, after)| SlotChange { slot, before: U256::ZERO, after }).collect();
        changes.accounts.push(AccountChange {
            address,
            before: None,
            after: Some(account),
            storage_wiped: true,
            storage,
        });
        if let Ok(code) = state.code(account.code_hash)
            && !code.is_empty()
        {
            changes.codes.push((account.code_hash, code));
        }
    }
    changes.codes.sort_unstable_by_key(|(hash, _)| *hash);
    changes.codes.dedup_by_key(|(hash, _)| *hash);
    changes
}

/// What brings the accounts and slots that a state knows to what they are there, from what they are in a version.
pub(super) fn overlay(
    state: &MemoryState,
    trie: &Ssmt,
    version: VersionId,
) -> Result<ChangeSet, StoresError> {
    let mut changes = creation(state);
    changes.accounts.clear();
    for (address, after) in state.accounts() {
        let before = trie.account(version, address)?.map(|(account, _)| account);
        let mut storage = Vec::new();
        for (slot, after) in state.slots(address) {
            let before = trie.storage(version, address, slot)?;
            if before != after {
                storage.push(SlotChange { slot, before, after });
            }
        }
        if before != after || !storage.is_empty() {
            let storage_wiped = before.is_none();
            let storage = if after.is_some() { storage } else { Vec::new() };
            changes.accounts.push(AccountChange { address, before, after, storage_wiped, storage });
        }
    }
    Ok(changes)
}

/// A state whose hashes of blocks another one tells.
pub(super) struct WithHashes {
    pub(super) state: SsmtReader,
    pub(super) hashes: Arc<MemoryState>,
}

impl WithHashes {
    pub(super) fn new(state: SsmtReader, case: &Case) -> Arc<Self> {
        Arc::new(Self { state, hashes: Arc::clone(&case.state) })
    }
}

impl StateReader for WithHashes {
    fn account(&self, address: Address) -> Result<Option<Account>, ReadError> {
        self.state.account(address)
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, ReadError> {
        self.state.storage(address, slot)
    }

    fn code(&self, code_hash: B256) -> Result<Bytecode, ReadError> {
        self.state.code(code_hash)
    }

    fn block_hash(&self, number: u64) -> Result<B256, ReadError> {
        self.hashes.block_hash(number)
    }

    fn may_wait(&self) -> bool {
        self.state.may_wait()
    }

    fn prefetch(&self, keys: &[StateKey]) {
        self.state.prefetch(keys);
    }

    fn progress(&self, wait: Option<Duration>) -> bool {
        self.state.progress(wait)
    }
}

/// The hash that stands for a block's in a store.
pub(super) fn name_of(number: u64) -> B256 {
    keccak256(number.to_be_bytes())
}

pub(super) const fn first() -> BlockId {
    FIRST
}
