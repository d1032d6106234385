use super::{
    AccountWork, OWN_BATCH, SlotWork, Work,
    large::LargeWork,
    storage::{
        NO_STORAGE, Prepared, Slots, UNKNOWN_LEAVES, collect_slots, merged, root_child, storage_in_leaf,
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
        levels::{Arenas, Levels},
        log::Log,
        node::{self, Child, NodeRef, StorageRef},
        sweep::{Sweep, Target, grow},
        update::{Below, Blinded, Updater},
        walk::{self, Found},
    },
};
use alloy_primitives::B256;
use alloy_trie::EMPTY_ROOT_HASH;
use parking_lot::RwLockWriteGuard;
use std::{
    mem::take,
    ops::Range,
    sync::{Arc, atomic::Ordering},
};

/// Nodes that a write makes at least: as many go to the hasher for each slot.
const NODES_OF_WRITE: usize = 2;

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

impl Arenas for Vec<Held<'_>> {
    #[inline]
    fn arena(&self, number: u16) -> &Arena {
        match &self[usize::from(number)].guard {
            Some(guard) => &guard.arena,
            None => panic!("a shard that is written is locked"),
        }
    }

    #[inline]
    fn parts(&mut self, number: u16) -> (&mut Arena, &mut Log) {
        let held = &mut self[usize::from(number)];
        match &mut held.guard {
            Some(guard) => (&mut guard.arena, &mut held.log.nodes),
            None => panic!("a shard that is written is locked"),
        }
    }
}

/// What becomes of an account's storage.
#[derive(Clone)]
pub(super) enum Storage {
    /// It is what it was.
    Known(StorageRef, B256),
    /// A trie in the account's shard, by its number among the worker's roots, with so many slots.
    Small(u32, u32),
    /// A trie in all shards, and what was there before.
    Large(Arc<LargeWork>, NodeRef),
}

/// A storage trie, or a part of a large one, that is to be written.
pub(super) struct SlotTrie<'a> {
    /// The place among the claimed shards of the one that it lies in.
    pub(super) index: usize,
    pub(super) root: Child,
    /// Its writes among [`Hands::slots`].
    pub(super) slots: Range<u32>,
    pub(super) whose: Whose<'a>,
}

/// Accounts of some claimed shards, which the sweep goes down to together.
pub(super) struct Batch<'a> {
    pub(super) accounts: Vec<&'a AccountWork>,
    pub(super) shards: Vec<Claimed>,
    /// The tries that are swept.
    pub(super) targets: Vec<Target>,
}

/// A claimed shard of a batch.
#[derive(Debug, Clone)]
pub(super) struct Claimed {
    pub(super) index: usize,
    /// Its accounts in the batch.
    pub(super) writes: Range<u32>,
    /// Its trie among those that are swept.
    pub(super) target: Option<usize>,
}

/// Whose trie it is.
pub(super) enum Whose<'a> {
    /// That of the account with this number in its shard, which had so many slots.
    Account(&'a AccountWork, usize, u32),
    Large(Arc<LargeWork>),
}

impl Whose<'_> {
    fn key(&self) -> B256 {
        match self {
            Self::Account(account, ..) => account.key,
            Self::Large(large) => large.account,
        }
    }
}

/// What one worker of a seal has in hand.
pub(super) struct Hands<'a> {
    pub(super) work: &'a Work,
    pub(super) held: Vec<Held<'a>>,
    /// The accounts on their way down, and up again.
    pub(super) accounts: Sweep,
    pub(super) account_levels: Levels,
    /// The same of storage.
    storage: Sweep,
    levels: Levels,
    /// Tries that are to be written next, and their slots.
    pub(super) tries: Vec<SlotTrie<'a>>,
    pub(super) slots: Vec<SlotWork>,
    /// How many at a time: enough to fill the lanes at every level, and without devices few enough that their nodes are
    /// in the second-level cache still when they are hashed.
    pub(super) slots_max: usize,
    /// Roots that are written, by number.
    pub(super) roots: Vec<Child>,
    /// How many of them are hashed.
    settled: usize,
    /// Written parts of large storage tries: number among the roots, place among the claimed shards, whose.
    pub(super) parts: Vec<(u32, usize, Arc<LargeWork>)>,
}

impl<'a> Hands<'a> {
    pub(super) fn new(work: &'a Work) -> Self {
        Self {
            work,
            held: Vec::new(),
            accounts: Sweep::default(),
            account_levels: Levels::default(),
            storage: Sweep::default(),
            levels: Levels::default(),
            tries: Vec::new(),
            slots: Vec::new(),
            slots_max: work.setting.hasher.batch_size() / NODES_OF_WRITE,
            roots: Vec::new(),
            settled: 0,
            parts: Vec::new(),
        }
    }

    /// Looks the accounts of claimed shards up, and writes their storage where it is small, and them where no storage
    /// waits for others.
    pub(super) fn look_up(&mut self, batch: &mut Vec<u8>) {
        let work = self.work;
        let first = self.held.len();
        for shard in batch.iter().copied() {
            let count = work.accounts_of(shard).len();
            let guard = (count > 0).then(|| work.setting.shards[usize::from(shard)].write());
            let storages = vec![Storage::Known(NO_STORAGE, EMPTY_ROOT_HASH); count];
            self.held.push(Held {
                shard,
                guard,
                log: ShardLog::default(),
                storages,
                accounts: None,
                hashed: 0,
            });
            self.take_log(self.held.len() - 1);
            let writes =
                count + work.accounts_of(shard).iter().map(|account| account.slots.len()).sum::<usize>();
            let is_new = work.parent.sub(shard).is_ok_and(|sub| sub.is_empty());
            if let Some(held) = self.held.last_mut().filter(|_| !is_new) {
                held.log.nodes.expect(writes);
            }
        }
        let mut shards: Vec<usize> =
            (first..self.held.len()).filter(|index| self.held[*index].guard.is_some()).collect();
        let accounts = self.descend(&shards);
        if let Some(cold) = &work.setting.cold {
            self.prepare_accounts(cold, &accounts);
        }
        for Claimed { index, writes, target } in accounts.shards.iter().cloned() {
            for (number, write) in writes.enumerate() {
                let account = accounts.accounts[write as usize];
                let storage = self
                    .locate(index, account, target.map(|target| (target, write)))
                    .and_then(|found| self.storage_of(index, number, account, found));
                match storage {
                    Ok(Some(storage)) => self.held[index].storages[number] = storage,
                    Ok(None) => {}
                    Err((trie, blinded)) => work.fail(trie, blinded),
                }
                if self.slots.len() >= self.slots_max {
                    self.write_tries(0);
                }
            }
        }
        self.write_tries(0);
        if work.only_storage {
            self.account_levels.clear();
        } else {
            // While their nodes are in the caches.
            let is_large = |storage: &Storage| matches!(storage, Storage::Large(..));
            shards.retain(|index| !self.held[*index].storages.iter().any(is_large));
            self.write_accounts(&accounts, &shards);
        }
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

    /// Goes down to the accounts of some claimed shards, as far as that is simple.
    pub(super) fn descend(&mut self, shards: &[usize]) -> Batch<'a> {
        let work = self.work;
        let mut batch = Batch { accounts: Vec::new(), shards: Vec::new(), targets: Vec::new() };
        for index in shards.iter().copied() {
            let shard = self.held[index].shard;
            let first = batch.accounts.len() as u32;
            batch.accounts.extend(work.accounts_of(shard));
            let writes = first..batch.accounts.len() as u32;
            let mut target = None;
            if let Ok(sub) = work.parent.sub(shard)
                && sub.node.is_stored()
                && sub.is_hashed()
            {
                let number = self.roots.len() as u32;
                self.roots.push(sub);
                target = Some(batch.targets.len());
                let writes = writes.clone();
                batch.targets.push(Target { root: sub.node, arena: index as u16, number, writes });
            }
            batch.shards.push(Claimed { index, writes, target });
        }
        let Self { accounts, account_levels, held, .. } = self;
        accounts.descend(&batch.targets, CUT, &&batch.accounts[..], held, account_levels);
        batch
    }

    /// Finds an account's storage, as it is before the writes.
    fn locate(
        &mut self,
        index: usize,
        account: &AccountWork,
        target: Option<(usize, u32)>,
    ) -> Result<Prepared, Lacking> {
        let in_accounts = |blinded| (TrieName::Accounts, blinded);
        let held = &mut self.held[index];
        let Some(guard) = &mut held.guard else { panic!("a shard with accounts is locked") };
        let found = match (self.work.prepared.get(&account.key), target) {
            (Some(prepared), _) => prepared.clone(),
            (None, Some((target, write))) if !self.accounts.is_left(target) => {
                match self.accounts.found(write) {
                    NodeRef::EMPTY => Prepared::NONE,
                    leaf => {
                        let leaf = guard.arena.bytes(leaf);
                        storage_in_leaf(leaf, node::leaf(leaf).1)
                    }
                }
            }
            _ => {
                let sub = self.work.parent.sub(held.shard).map_err(in_accounts)?;
                let found = walk::find(&guard.arena, sub, CUT, &account.key[..], |_| ());
                match (found, &self.work.setting.cold) {
                    (Ok(Found::Value { value, leaf: Some(leaf) }), _) => storage_in_leaf(leaf, value),
                    (Ok(_), _) => Prepared::NONE,
                    (Err(_), Some(cold)) => self.work.prepared_in(cold, &account.key),
                    (Err(blinded), None) => return Err(in_accounts(blinded)),
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

    /// What is to become of an account's storage; `None` if that is a small trie, which is written with others. A large one
    /// is for all shards together to write.
    fn storage_of(
        &mut self,
        index: usize,
        number: usize,
        account: &'a AccountWork,
        Prepared { storage, root, large }: Prepared,
    ) -> Result<Option<Storage>, Lacking> {
        let work = self.work;
        let held = &mut self.held[index];
        let Some(guard) = &mut held.guard else { panic!("a shard with accounts is locked") };
        if account.after.is_none() || (account.slots.is_empty() && large.is_none()) {
            return Ok(Some(Storage::Known(storage, root)));
        }
        let first = self.slots.len();
        work.written.slots_of(account, &mut self.slots);
        let count = self.slots.len() - first;
        if let Some(top) =
            large.or_else(|| storage.root.as_large().map(|number| Arc::clone(guard.large.get(number))))
        {
            let slots = self.slots.split_off(first);
            return Ok(Some(self.large(account, top, slots, storage)));
        }
        let is_whole = storage.leaves != UNKNOWN_LEAVES;
        if is_whole && storage.leaves as usize + count >= work.setting.large_from as usize {
            debug_assert!(
                work.setting.cold.is_none(),
                "over a store none becomes large: parts may not be here"
            );
            let mut all = Vec::with_capacity(storage.leaves as usize + count);
            collect_slots(&guard.arena, storage.root, &mut all);
            let slots = merged(all, self.slots.split_off(first));
            held.log.drop_storage(storage.root);
            return Ok(Some(self.large(account, Arc::default(), slots, NO_STORAGE)));
        }
        let root = root_child(storage.root, &root);
        let slots = first as u32..self.slots.len() as u32;
        let whose = Whose::Account(account, number, storage.leaves);
        self.tries.push(SlotTrie { index, root, slots, whose });
        Ok(None)
    }

    /// Writes and hashes the tries that wait for it, whose roots are `depth` nibbles below where keys begin.
    pub(super) fn write_tries(&mut self, depth: usize) {
        if self.tries.is_empty() {
            return;
        }
        let tries = take(&mut self.tries);
        let first = self.roots.len() as u32;
        let mut targets = Vec::with_capacity(tries.len());
        for (number, SlotTrie { index, root, slots, .. }) in (first..).zip(&tries) {
            self.roots.push(*root);
            if root.node.is_stored() && root.is_hashed() && !slots.is_empty() {
                targets.push(Target { root: root.node, arena: *index as u16, number, writes: slots.clone() });
            }
        }
        let slots = Slots(&self.slots);
        let Self { storage, held, levels, .. } = self;
        storage.descend(&targets, depth, &slots, held, levels);
        storage.apply(&targets, &slots, held, levels);
        if let Some(cold) = &self.work.setting.cold {
            self.prepare_slots(cold, &tries, first, &targets, depth);
        }
        let mut swept = (0..targets.len()).peekable();
        for (number, trie) in (first..).zip(&tries) {
            let target = swept.next_if(|target| targets[*target].number == number);
            let added = match target.filter(|target| !self.storage.is_left(*target)) {
                Some(target) => self.storage.leaves_added(target),
                None if trie.root.is_empty() && self.adds_all(trie) => {
                    let target = Target {
                        root: NodeRef::EMPTY,
                        arena: trie.index as u16,
                        number,
                        writes: trie.slots.clone(),
                    };
                    grow(&target, depth, &Slots(&self.slots), &mut self.held, &mut self.levels);
                    trie.slots.len() as i64
                }
                None => match self.write_alone(trie, number, depth) {
                    Ok(added) => added,
                    Err(blinded) => {
                        self.work.fail(TrieName::Storage(trie.whose.key()), blinded);
                        continue;
                    }
                },
            };
            match &trie.whose {
                Whose::Account(_, place, leaves) => {
                    let leaves = match *leaves {
                        UNKNOWN_LEAVES => UNKNOWN_LEAVES,
                        leaves => (i64::from(leaves) + added) as u32,
                    };
                    self.held[trie.index].storages[*place] = Storage::Small(number, leaves);
                }
                Whose::Large(large) => {
                    // Relaxed: read when all parts were given, behind `stored`. Wraps where slots were removed.
                    large.leaves.fetch_add(added as usize, Ordering::Relaxed);
                    self.parts.push((number, trie.index, Arc::clone(large)));
                }
            }
        }
        self.slots.clear();
        self.hash();
        self.tries = tries;
        self.tries.clear();
    }

    /// Whether a storage trie is to be written by itself.
    pub(super) fn is_storage_left(&self, target: usize) -> bool {
        self.storage.is_left(target)
    }

    /// Whether all that is written to a trie has values, and there is something.
    fn adds_all(&self, trie: &SlotTrie<'_>) -> bool {
        let slots = &self.slots[trie.slots.start as usize..trie.slots.end as usize];
        !slots.is_empty() && slots.iter().all(|slot| !slot.value.is_zero())
    }

    /// Writes a trie by itself; leaves added less leaves removed.
    fn write_alone(&mut self, trie: &SlotTrie<'_>, number: u32, depth: usize) -> Result<i64, Blinded> {
        let stored = self.work.stored(TrieName::Storage(trie.whose.key()));
        let (arena, log) = self.held.parts(trie.index as u16);
        let mut updater = Updater::over(arena, log, stored.as_ref().map(|stored| stored as &dyn Below));
        let slots = &self.slots[trie.slots.start as usize..trie.slots.end as usize];
        let child = with_writes(slots, |writes| updater.update(trie.root, depth, writes))?;
        let added = updater.leaves_added();
        self.roots[number as usize] = child;
        self.levels.collect(arena, trie.index as u16, &child, number);
        Ok(added)
    }

    /// Hashes all that waits for it.
    fn hash(&mut self) {
        let before = self.levels.hashed();
        self.levels.hash(&mut self.held, &mut self.roots, self.settled, &self.work.setting.hasher);
        self.settled = self.roots.len();
        self.count_hashed(self.levels.hashed() - before);
    }

    /// Counts nodes as hashed, in whichever shard.
    pub(super) fn count_hashed(&mut self, nodes: u64) {
        // Of a shard that is not locked nothing is told in the end.
        if let Some(held) = self.held.iter_mut().find(|held| held.guard.is_some()) {
            held.hashed += nodes;
        }
    }

    /// Writes the accounts that waited for others, hashes them and says what was done.
    pub(super) fn finish(mut self) {
        if !self.work.only_storage && self.work.error.lock().is_none() {
            let waits = |index: &usize| {
                !self.held[*index].storages.is_empty() && self.held[*index].accounts.is_none()
            };
            let shards: Vec<usize> = (0..self.held.len()).filter(waits).collect();
            for shards in shards.chunks(OWN_BATCH) {
                let accounts = self.descend(shards);
                self.write_accounts(&accounts, shards);
            }
        }
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

/// Which trie lacks a node.
type Lacking = (TrieName, Blinded);
