use super::{
    AccountWork, SlotWork, Work,
    large::LargeWork,
    storage::{
        FEW, NO_STORAGE, Prepared, UNKNOWN_LEAVES, collect_slots, merged, root_child, storage_in_leaf,
        with_writes,
    },
};
use crate::{
    ssmt::{
        error::TrieName,
        shard::{Shard, ShardLog},
        top::{CUT, Sub},
        work::{Done, accounts::prepared},
    },
    trie::{
        arena::Arena,
        levels::Levels,
        node::{Child, NodeRef, StorageRef},
        update::{Blinded, Updater},
        walk::{self, Found, Way},
    },
};
use alloy_primitives::B256;
use alloy_trie::EMPTY_ROOT_HASH;
use parking_lot::RwLockWriteGuard;
use smallvec::SmallVec;
use std::sync::{Arc, atomic::Ordering};

/// Nodes that wait for their hashes before a worker hashes what it has: enough to fill the lanes at every level, and
/// few enough to be in the second-level cache still.
pub(super) const PENDING_MAX: u64 = 512;

/// A shard that a worker has claimed.
pub(super) struct Held<'a> {
    pub(super) shard: u8,
    pub(super) guard: Option<RwLockWriteGuard<'a, Shard>>,
    pub(super) log: ShardLog,
    /// The storage of the shard's accounts, in their order.
    pub(super) storages: Vec<Storage>,
    /// The root of the account subtrie, by its number among the worker's roots, once it is written.
    pub(super) accounts: Option<u32>,
    pub(super) hashed: u64,
}

/// Which trie lacks a node.
type Lacking = (TrieName, Blinded);

/// An account, its shard's place among the claimed ones, and what was found of its storage.
type Located<'a> = (usize, &'a AccountWork, Result<Prepared, Lacking>);

/// What becomes of an account's storage.
pub(super) enum Storage {
    /// It is what it was.
    Known(StorageRef, B256),
    /// A trie in the account's shard, by its number among the worker's roots, with so many slots.
    Small(u32, u32),
    /// A trie in all shards, and what was there before.
    Large(Arc<LargeWork>, NodeRef),
}

/// What one worker of a seal has in hand.
pub(super) struct Hands<'a> {
    pub(super) work: &'a Work,
    pub(super) held: Vec<Held<'a>>,
    pub(super) levels: Levels,
    /// Roots of storage tries, and of parts of large ones, that are to be hashed.
    pub(super) roots: Vec<Child>,
    /// How many of them are.
    pub(super) settled: usize,
    /// Written parts of large storage tries: number among the roots, place among the claimed shards, whose.
    pub(super) parts: Vec<(u32, usize, Arc<LargeWork>)>,
}

impl<'a> Hands<'a> {
    pub(super) fn new(work: &'a Work) -> Self {
        Self {
            work,
            held: Vec::new(),
            levels: Levels::default(),
            roots: Vec::new(),
            settled: 0,
            parts: Vec::new(),
        }
    }

    /// Looks the accounts of claimed shards up, and writes their storage where it is small.
    pub(super) fn look_up(&mut self, batch: &mut Vec<u8>) {
        let work = self.work;
        let first = self.held.len();
        for shard in batch.iter().copied() {
            let range = work.accounts_of(shard);
            let guard = (!range.is_empty()).then(|| work.setting.shards[usize::from(shard)].write());
            let storages = Vec::with_capacity(range.len());
            self.held.push(Held {
                shard,
                guard,
                log: ShardLog::default(),
                storages,
                accounts: None,
                hashed: 0,
            });
            self.take_log(self.held.len() - 1);
        }
        self.warm_accounts(first);
        let mut located = Vec::new();
        for index in first..self.held.len() {
            for account in work.accounts_of(self.held[index].shard) {
                located.push((index, account, self.locate(index, account)));
            }
        }
        self.warm_storage(&located);
        for (index, account, found) in located {
            let storage = found.and_then(|located| self.write_storage(index, account, located));
            let storage = storage.unwrap_or_else(|(trie, blinded)| {
                work.fail(trie, blinded);
                Storage::Known(NO_STORAGE, EMPTY_ROOT_HASH)
            });
            self.held[index].storages.push(storage);
            if self.levels.pending() > PENDING_MAX {
                self.hash();
            }
        }
        // While their nodes are in the caches: accounts of shards where no storage waits for others.
        self.hash();
        for index in first..self.held.len() {
            let is_large = |storage: &Storage| matches!(storage, Storage::Large(..));
            if !work.only_storage && !self.held[index].storages.iter().any(is_large) {
                self.write_accounts(index);
            }
        }
        self.hash();
        // Release pairs with the acquire in `wait_for`: who sees all counted sees all large tries.
        work.looked_up.fetch_add(batch.len(), Ordering::Release);
        batch.clear();
    }

    /// Goes on with what was noted of a claimed shard beforehand, once it is locked.
    pub(super) fn take_log(&mut self, index: usize) {
        let held = &mut self.held[index];
        if held.guard.is_some()
            && let Some(log) = self.work.logs.lock().remove(&held.shard)
        {
            held.log = log;
        }
    }

    fn warm_accounts(&self, first: usize) {
        let mut ways = Vec::new();
        for held in &self.held[first..] {
            if let (Some(guard), Ok(sub)) = (&held.guard, self.work.parent.sub(held.shard)) {
                ways.extend(self.work.accounts_of(held.shard).iter().map(|account| Way {
                    arena: &guard.arena,
                    node: sub.node,
                    depth: CUT,
                    key: &account.key[..],
                }));
            }
        }
        walk::warm(&mut ways);
    }

    /// Finds an account's storage, as it is before the writes.
    fn locate(&mut self, index: usize, account: &AccountWork) -> Result<Prepared, Lacking> {
        let in_accounts = |blinded| (TrieName::Accounts, blinded);
        let held = &mut self.held[index];
        let Some(guard) = &mut held.guard else { panic!("a shard with accounts is locked") };
        let found = match self.work.prepared.get(&account.key) {
            Some(prepared) => prepared.clone(),
            None => {
                let sub = self.work.parent.sub(held.shard).map_err(in_accounts)?;
                let found = walk::find(&guard.arena, sub, CUT, &account.key[..], |_| ());
                match found.map_err(in_accounts)? {
                    Found::Value { value, leaf: Some(leaf) } => storage_in_leaf(leaf, value),
                    _ => Prepared::NONE,
                }
            }
        };
        if !account.wiped && account.after.is_some() {
            return Ok(found);
        }
        match (found.large, found.storage.root.as_large()) {
            // What it has become belongs to nobody yet; what it was is no more than its upper levels.
            (Some(top), old) => {
                let number = guard.large.insert(top);
                held.log.large_made.push(number);
                held.log.large_dropped.push(number);
                held.log.large_replaced.extend(old);
            }
            _ => held.log.drop_storage(found.storage.root),
        }
        Ok(Prepared::NONE)
    }

    fn warm_storage(&self, located: &[Located<'_>]) {
        let mut ways = Vec::new();
        for (index, account, found) in located {
            let (Ok(found), Some(guard)) = (found, &self.held[*index].guard) else { continue };
            if found.storage.root.is_stored() {
                ways.extend(self.work.slots[account.slots.clone()].iter().map(|slot| Way {
                    arena: &guard.arena,
                    node: found.storage.root,
                    depth: 0,
                    key: &slot.key[..],
                }));
            }
        }
        walk::warm(&mut ways);
    }

    /// Writes an account's slots, unless that is for all shards together to do.
    fn write_storage(
        &mut self,
        index: usize,
        account: &AccountWork,
        Prepared { storage, root, large }: Prepared,
    ) -> Result<Storage, Lacking> {
        let work = self.work;
        let held = &mut self.held[index];
        let Some(guard) = &mut held.guard else { panic!("a shard with accounts is locked") };
        if account.after.is_none() || (account.slots.is_empty() && large.is_none()) {
            return Ok(Storage::Known(storage, root));
        }
        let mut slots: SmallVec<[SlotWork; FEW]> = SmallVec::from_slice(&work.slots[account.slots.clone()]);
        slots.sort_unstable_by_key(|slot| slot.key);
        if let Some(top) =
            large.or_else(|| storage.root.as_large().map(|number| Arc::clone(guard.large.get(number))))
        {
            return Ok(self.large(account, top, slots.into_vec(), storage));
        }
        let is_whole = storage.leaves != UNKNOWN_LEAVES;
        if is_whole && storage.leaves as usize + slots.len() >= work.setting.large_from as usize {
            let mut all = Vec::with_capacity(storage.leaves as usize + slots.len());
            collect_slots(&guard.arena, storage.root, &mut all);
            let slots = merged(all, slots.into_vec());
            held.log.drop_storage(storage.root);
            return Ok(self.large(account, Arc::default(), slots, NO_STORAGE));
        }
        let child = root_child(&guard.arena, storage.root, &root);
        let mut updater = Updater::new(&mut guard.arena, &mut held.log.nodes);
        let child = with_writes(&slots, |writes| updater.update(child, 0, writes))
            .map_err(|blinded| (TrieName::Storage(account.key), blinded))?;
        let leaves = if is_whole {
            (i64::from(storage.leaves) + updater.leaves_added()) as u32
        } else {
            UNKNOWN_LEAVES
        };
        let number = self.roots.len() as u32;
        self.roots.push(child);
        self.levels.collect(&mut guard.arena, index as u16, &child, 0, number);
        Ok(Storage::Small(number, leaves))
    }

    /// Hashes all storage that waits for it.
    pub(super) fn hash(&mut self) {
        let before = self.levels.hashed();
        let mut arenas: Vec<Option<&mut Arena>> =
            self.held.iter_mut().map(|held| held.guard.as_mut().map(|guard| &mut guard.arena)).collect();
        self.levels.hash(&mut arenas, &mut self.roots, self.settled, &self.work.setting.hasher);
        self.settled = self.roots.len();
        // Of a shard that is not locked nothing is told in the end.
        if let Some(held) = self.held.iter_mut().find(|held| held.guard.is_some()) {
            held.hashed += self.levels.hashed() - before;
        }
    }

    /// Writes the accounts that waited for others, hashes them and says what was done.
    pub(super) fn finish(mut self) {
        for index in 0..self.held.len() {
            if !self.work.only_storage && self.held[index].accounts.is_none() {
                self.write_accounts(index);
                if self.levels.pending() > PENDING_MAX {
                    self.hash();
                }
            }
        }
        self.hash();
        let mut all = Vec::with_capacity(self.held.len());
        for held in self.held {
            let Some(guard) = &held.guard else { continue };
            let accounts = held.accounts.map(|number| {
                let child = self.roots[number as usize];
                Sub::new(child, child.node.is_stored().then(|| guard.arena.bytes(child.node)))
            });
            let prepared =
                if self.work.only_storage { prepared(self.work, &held, &self.roots) } else { Vec::new() };
            all.push(Done { shard: held.shard, log: held.log, accounts, prepared, hashed: held.hashed });
        }
        self.work.done.lock().append(&mut all);
    }
}
