use super::{
    account::SlotValue,
    codes::Codes,
    cold::Cold,
    error::{SsmtError, TrieName, VersionId},
    evict::{EvictionStats, Hand},
    flat::{FlatCache, PATH_MAX},
    ownership::Ownership,
    periods::Periods,
    shard::{Shard, ShardLog},
    top::{CUT, SHARDS, Top},
    version::{Version, Versions},
    work::{Beforehand, NO_STORAGE, Prepared, Setting, Work, Written, root_child, storage_in_leaf},
};
use crate::{
    Account, ChangeSet, SharedWork, Workers,
    trie::{
        node::{StorageRef, rlp_of},
        region::Regions,
        update::Blinded,
        walk::{self, Found},
    },
};
use alloy_primitives::{Address, B256, U256};
use citius_hashing::Hasher;
use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::{collections::BTreeMap, sync::Arc};

/// How the state trie is laid out and what it keeps.
#[derive(Debug, Clone)]
pub struct SsmtConfig {
    /// Versions before the head that are kept: how deep a reorganisation may be.
    pub history: usize,
    /// Slots from which on a storage trie is cut into shards, as the account trie is.
    pub large_storage_from: u32,
    /// Blocks after which the ranges of the workers are cut anew from their loads; 0 for never.
    pub rebalance_every: u64,
    /// Bytes, about, for the values that readers find without hashing; 0 for no such cache.
    pub flat_cache_bytes: u64,
    /// Bytes for nodes, where others are in a store: what is written between two checkpoints is kept all the same.
    pub node_bytes_max: u64,
    /// Bytes for code that a store has, too.
    pub code_cache_bytes: u64,
}

impl Default for SsmtConfig {
    fn default() -> Self {
        Self {
            history: 128,
            large_storage_from: 4096,
            rebalance_every: 16,
            flat_cache_bytes: 256 << 20,
            node_bytes_max: 1 << 30,
            code_cache_bytes: 256 << 20,
        }
    }
}

/// The state of a chain: accounts, their storage, and Ethereum's root over both.
///
/// See the [module documentation](super).
#[derive(Debug)]
pub struct Ssmt {
    pub(super) shards: Arc<[RwLock<Shard>]>,
    pub(super) hasher: Arc<Hasher>,
    workers: Arc<dyn Workers>,
    pub(super) config: SsmtConfig,
    /// Where the rest of the state is, if it is not all in memory.
    pub(super) cold: Option<Cold>,
    pub(super) versions: RwLock<Versions>,
    pub(super) codes: Codes,
    pub(super) flat: Option<FlatCache>,
    /// Held while a version is made.
    pub(super) sealing: Mutex<Sealing>,
}

#[derive(Debug)]
pub(super) struct Sealing {
    ownership: Ownership,
    /// The memory of each NUMA node, and from which each shard takes its own.
    regions: BTreeMap<u32, Regions>,
    nodes: Box<[u32; SHARDS]>,
    /// Writes of late, by shard.
    loads: Box<[u64; SHARDS]>,
    sealed: u64,
    /// What of it a store has, where what is let go of next is looked for, and what was so far.
    pub(super) periods: Periods,
    pub(super) hand: Hand,
    pub(super) evicted: EvictionStats,
}

/// What a change set made of a version.
pub(super) struct Made {
    pub(super) top: Top,
    pub(super) logs: Vec<(u8, ShardLog)>,
    pub(super) nodes_hashed: u64,
}

/// A version that was just made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed {
    /// The version.
    pub version: VersionId,
    /// Its state root.
    pub root: B256,
    /// Nodes hashed for it, those above the shards not counted.
    pub nodes_hashed: u64,
}

impl Ssmt {
    /// An empty state.
    #[must_use]
    pub fn new(config: SsmtConfig, hasher: Arc<Hasher>, workers: Arc<dyn Workers>) -> Self {
        Self::with_parts(Top::default(), Shard::all(), config, hasher, workers)
    }

    /// A state whose first version is `top` over what is in the 256 shards.
    pub(super) fn with_parts(
        top: Top,
        shards: Vec<Shard>,
        config: SsmtConfig,
        hasher: Arc<Hasher>,
        workers: Arc<dyn Workers>,
    ) -> Self {
        let ownership = Ownership::even(workers.count().get());
        let sealing = Sealing {
            ownership: ownership.clone(),
            regions: BTreeMap::new(),
            nodes: Box::new([u32::MAX; SHARDS]),
            loads: Box::new([0; SHARDS]),
            sealed: 0,
            periods: Periods::default(),
            hand: Hand::default(),
            evicted: EvictionStats::default(),
        };
        let ssmt = Self {
            shards: shards.into_iter().map(RwLock::new).collect(),
            hasher,
            workers,
            versions: RwLock::new(Versions::new(Arc::new(top))),
            codes: Codes::default(),
            flat: FlatCache::new(config.flat_cache_bytes, VersionId(0)),
            config,
            cold: None,
            sealing: Mutex::new(sealing),
        };
        ssmt.set_ownership(ownership);
        ssmt
    }

    /// The current version.
    #[must_use]
    pub fn head(&self) -> VersionId {
        self.versions.read().head().id
    }

    /// The state root of a version.
    ///
    /// # Errors
    ///
    /// [`SsmtError::UnknownVersion`].
    pub fn root(&self, version: VersionId) -> Result<B256, SsmtError> {
        Ok(self.versions.read().get(version)?.top.hash())
    }

    /// What a version's block changed.
    ///
    /// # Errors
    ///
    /// [`SsmtError::UnknownVersion`].
    pub fn changes(&self, version: VersionId) -> Result<Arc<ChangeSet>, SsmtError> {
        Ok(Arc::clone(&self.versions.read().get(version)?.changes))
    }

    /// Makes the state after a block, beside all others: `changes` on top of the version `parent`. The head stays
    /// what it is.
    ///
    /// # Errors
    ///
    /// [`SsmtError::UnknownVersion`], [`SsmtError::Blinded`]; no version is made then.
    pub fn seal(&self, parent: VersionId, changes: &Arc<ChangeSet>) -> Result<Sealed, SsmtError> {
        let mut sealing = self.sealing.lock();
        let mut versions = self.versions.write();
        let torn = versions.torn_on_panic();
        versions.end_draft(&self.shards);
        versions.check_out(parent, &self.shards)?;
        let base = Arc::clone(versions.get(parent)?);
        let written = Written::changes(changes, self.workers.count().get(), &self.hasher);
        let Made { top, logs, nodes_hashed } =
            self.work(&mut sealing, &base, written, Beforehand::default())?;
        let root = top.hash();
        self.codes.keep(&changes.codes, parent);
        let version = versions.insert(parent, Arc::new(top), Arc::clone(changes), logs);
        self.end_period(&mut sealing, version);
        drop(torn);
        Ok(Sealed { version, root, nodes_hashed })
    }

    /// For work that the caller does alone.
    pub(super) fn setting_of_caller(&self) -> Setting {
        Setting {
            shards: Arc::clone(&self.shards),
            hasher: Arc::clone(&self.hasher),
            ownership: Ownership::even(1),
            large_from: self.config.large_storage_from.max(1),
            cold: self.cold.clone(),
        }
    }

    fn setting(&self, sealing: &Sealing) -> Setting {
        Setting {
            shards: Arc::clone(&self.shards),
            hasher: Arc::clone(&self.hasher),
            ownership: sealing.ownership.clone(),
            large_from: self.config.large_storage_from.max(1),
            cold: self.cold.clone(),
        }
    }

    /// Writes on top of a version.
    pub(super) fn work(
        &self,
        sealing: &mut Sealing,
        base: &Version,
        written: Written,
        beforehand: Beforehand,
    ) -> Result<Made, SsmtError> {
        let setting = self.setting(sealing);
        let parent = Arc::clone(&base.top);
        let work = Arc::new(Work::new(setting, parent, written, beforehand, false));
        let shared = Arc::clone(&work);
        let shared: Arc<SharedWork> = Arc::new(move |worker| shared.help(worker));
        self.workers.run(&shared);

        let (done, error) = work.finish();
        let mut logs = Vec::with_capacity(done.len());
        let mut subs = Vec::with_capacity(done.len());
        let mut nodes_hashed = 0;
        for done in done {
            nodes_hashed += done.hashed;
            let load = &mut sealing.loads[usize::from(done.shard)];
            *load = *load - *load / 8 + done.log.nodes.writes();
            logs.push((done.shard, done.log));
            subs.extend(done.accounts.map(|sub| (done.shard, sub)));
        }
        let mut top = Top::clone(&base.top);
        let replaced = match error {
            Some(error) => Err(error),
            None => top.replace(subs.into_iter(), &self.hasher).map_err(in_accounts),
        };
        if let Err(error) = replaced {
            for (shard, mut log) in logs {
                let mut shard = self.shards[usize::from(shard)].write();
                log.nodes.back(&mut shard.arena);
                log.undo(&mut shard);
            }
            return Err(error);
        }
        if self.cold.is_some() {
            self.evict(sealing, &top, &mut logs);
        }
        sealing.sealed += 1;
        let every = self.config.rebalance_every;
        if every > 0 && sealing.sealed.is_multiple_of(every) {
            self.give_shards(sealing, Ownership::balanced(self.workers.count().get(), &sealing.loads));
        }
        Ok(Made { top, logs, nodes_hashed })
    }

    /// Makes a version the current one, and drops those more than [`SsmtConfig::history`] before it, with all that
    /// descends from them alone.
    ///
    /// # Errors
    ///
    /// [`SsmtError::UnknownVersion`].
    pub fn set_head(&self, version: VersionId) -> Result<(), SsmtError> {
        let _sealing = self.sealing.lock();
        if let Some(flat) = &self.flat {
            let steps = {
                let versions = self.versions.read();
                versions.get(version)?;
                versions.steps(*flat.line(), version, PATH_MAX)
            };
            flat.move_to(version, steps.as_deref());
        }
        self.versions.write().set_head(version, self.config.history, &self.shards)
    }

    /// Gives a version up.
    ///
    /// # Errors
    ///
    /// [`SsmtError::UnknownVersion`], [`SsmtError::InUse`].
    pub fn discard(&self, version: VersionId) -> Result<(), SsmtError> {
        let _sealing = self.sealing.lock();
        self.versions.write().discard(version, &self.shards)
    }

    /// Gives the shards to workers by another table. Takes effect with the next seal; changes no root.
    pub fn set_ownership(&self, ownership: Ownership) {
        self.give_shards(&mut self.sealing.lock(), ownership);
    }

    /// Shards take memory from their owners' NUMA nodes from now on. What they have stays where it is: it would be read
    /// once more than it is by being moved, and replaced nodes take new places anyway.
    fn give_shards(&self, sealing: &mut Sealing, ownership: Ownership) {
        for worker in 0..ownership.workers() {
            let node = self.workers.memory_node(worker);
            let regions = sealing.regions.entry(node).or_default();
            for shard in ownership.range(worker) {
                if sealing.nodes[shard] != node {
                    sealing.nodes[shard] = node;
                    self.shards[shard].write().arena.move_to(regions.clone());
                }
            }
        }
        sealing.ownership = ownership;
    }

    /// Who works on which shards.
    #[must_use]
    pub fn ownership(&self) -> Ownership {
        self.sealing.lock().ownership.clone()
    }

    /// The versions, with the shards at the one asked for and no draft in them, until the guard is dropped.
    pub(super) fn wholly_at(&self, version: VersionId) -> Result<RwLockReadGuard<'_, Versions>, SsmtError> {
        let versions = self.versions.read();
        if versions.current() == version && !versions.has_draft() {
            return Ok(versions);
        }
        drop(versions);
        let mut versions = self.versions.write();
        versions.end_draft(&self.shards);
        versions.check_out(version, &self.shards)?;
        Ok(RwLockWriteGuard::downgrade(versions))
    }

    /// The versions, with the shards at the one asked for until the guard is dropped. There may be a draft on top of it:
    /// then slots must be read as [`Ssmt::storage`] does.
    pub(super) fn at(&self, version: VersionId) -> Result<RwLockReadGuard<'_, Versions>, SsmtError> {
        let versions = self.versions.read();
        if versions.current() == version {
            return Ok(versions);
        }
        drop(versions);
        let mut versions = self.versions.write();
        versions.check_out(version, &self.shards)?;
        Ok(RwLockWriteGuard::downgrade(versions))
    }

    /// An account of a version, and its storage root.
    ///
    /// # Errors
    ///
    /// [`SsmtError::Blinded`], [`SsmtError::Cold`], [`SsmtError::UnknownVersion`].
    pub fn account(
        &self,
        version: VersionId,
        address: Address,
    ) -> Result<Option<(Account, B256)>, SsmtError> {
        let key = citius_hashing::keccak256(address.as_slice());
        let versions = self.at(version)?;
        let found = self.find_account_anywhere(versions.get(version)?, key)?;
        Ok(found.map(|found| (found.account, found.storage_root)))
    }

    /// The value of a slot in a version; zero if there is none.
    ///
    /// # Errors
    ///
    /// [`SsmtError::Blinded`], [`SsmtError::Cold`], [`SsmtError::UnknownVersion`].
    pub fn storage(&self, version: VersionId, address: Address, slot: U256) -> Result<U256, SsmtError> {
        let key = citius_hashing::keccak256(address.as_slice());
        let versions = self.at(version)?;
        let Some(found) = self.find_account_anywhere(versions.get(version)?, key)? else {
            return Ok(U256::ZERO);
        };
        let slot_key = citius_hashing::keccak256(&slot.to_be_bytes::<32>());
        let value = self.find_slot_anywhere(key, &found, slot_key)?;
        // What a draft writes it has noted before: whoever sees the new value finds the old one here.
        Ok(versions.before_draft(address, slot).unwrap_or(value))
    }

    /// An account by the hash of its address. The shards must be at this version.
    pub(super) fn find_account(
        &self,
        version: &Version,
        key: B256,
    ) -> Result<Option<FoundAccount>, SsmtError> {
        let shard = self.shards[usize::from(key[0])].read();
        let sub = version.top.sub(key[0]).map_err(in_accounts)?;
        let found = walk::find(&shard.arena, sub, CUT, &key[..], |_| ()).map_err(in_accounts)?;
        let Found::Value { value, leaf: Some(leaf) } = found else { return Ok(None) };
        let Prepared { storage, root: storage_root, .. } = storage_in_leaf(leaf, value);
        match super::account::decode(value) {
            Ok((account, _)) => Ok(Some(FoundAccount { account, storage, storage_root })),
            Err(error) => panic!("account {key} in memory: {error}"),
        }
    }

    /// A slot by the hash of its key. The shards must be at the account's version.
    pub(super) fn find_slot(
        &self,
        account: B256,
        found: &FoundAccount,
        key: B256,
    ) -> Result<U256, SsmtError> {
        if found.storage == NO_STORAGE {
            return Ok(U256::ZERO);
        }
        let in_storage = |Blinded { path }| SsmtError::Blinded { trie: TrieName::Storage(account), path };
        let home = &self.shards[usize::from(account[0])];
        let value = |found: Found<'_>| match found {
            Found::Absent => U256::ZERO,
            Found::Value { value, .. } => match SlotValue::decode(value) {
                Ok(value) => value,
                Err(error) => panic!("slot {key} of account {account} in memory: {error}"),
            },
        };
        if let Some(number) = found.storage.root.as_large() {
            let top = Arc::clone(home.read().large.get(number));
            let shard = self.shards[usize::from(key[0])].read();
            let sub = top.sub(key[0]).map_err(in_storage)?;
            let found = walk::find(&shard.arena, sub, CUT, &key[..], |_| ()).map_err(in_storage)?;
            return Ok(value(found));
        }
        let shard = home.read();
        let child = root_child(found.storage.root, &found.storage_root);
        let found = walk::find(&shard.arena, child, 0, &key[..], |_| ()).map_err(in_storage)?;
        Ok(value(found))
    }

    /// The RLP of each node that a version made or changed: what was hashed for it, but for the nodes above the shards.
    ///
    /// # Errors
    ///
    /// [`SsmtError::UnknownVersion`].
    pub fn nodes_made(&self, version: VersionId) -> Result<Vec<Vec<u8>>, SsmtError> {
        let versions = self.wholly_at(version)?;
        let version = versions.get(version)?;
        let mut nodes = Vec::new();
        for (shard, log) in &*version.logs.lock() {
            let shard = self.shards[usize::from(*shard)].read();
            nodes
                .extend(log.nodes.written().into_iter().map(|node| rlp_of(shard.arena.bytes(node)).to_vec()));
        }
        Ok(nodes)
    }

    /// What it holds, in bytes.
    #[must_use]
    pub fn memory(&self) -> SsmtMemory {
        let mut memory = SsmtMemory::default();
        for shard in &*self.shards {
            let shard = shard.read();
            memory.node_bytes += shard.arena.live_bytes();
            memory.arena_bytes += shard.arena.reserved_bytes();
            memory.top_bytes += shard.large.len() as u64 * Top::BYTES;
        }
        let versions = self.versions.read();
        memory.top_bytes += versions.len() as u64 * Top::BYTES;
        memory.log_bytes = versions.log_bytes();
        memory
    }
}

/// An account as the trie has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FoundAccount {
    pub(crate) account: Account,
    pub(crate) storage: StorageRef,
    pub(crate) storage_root: B256,
}

/// What a state trie holds in memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SsmtMemory {
    /// Nodes of all versions.
    pub node_bytes: u64,
    /// What the arenas took for them from the system.
    pub arena_bytes: u64,
    /// The levels above the shards, of versions and of large storage tries.
    pub top_bytes: u64,
    /// What is noted for dropping and discarding versions.
    pub log_bytes: u64,
}

pub(super) fn in_accounts(Blinded { path }: Blinded) -> SsmtError {
    SsmtError::Blinded { trie: TrieName::Accounts, path }
}
