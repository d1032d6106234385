//! The work of one seal: what a change set does to the tries, shared among workers.
//!
//! Every worker claims shards, its own first, and keeps them until the end:
//!
//! 1. accounts are looked up, and small storage tries written;
//! 2. when all shards are that far, the parts of large storage tries that belong to the claimed shards are written, and
//!    all storage is hashed, deepest level first, across tries and shards;
//! 3. when all parts are hashed, accounts are written with their new storage roots, and hashed.
//!
//! Whoever comes when all shards are claimed has nothing to do. The caller claims whatever is left, so that any
//! number of workers will do.

use super::{
    account::{self, SlotValue},
    error::{SsmtError, TrieName},
    ownership::Ownership,
    shard::{Shard, ShardLog},
    top::{CUT, SHARDS, Sub, Top},
};
use crate::{
    Account,
    trie::{
        arena::Arena,
        levels::Levels,
        node::{self, Child, Kind, NodeRef, StorageRef, WIDTH},
        plain::root_hash,
        update::{Blinded, Updater, Write},
        walk::{self, Found, Way},
    },
};
use alloy_primitives::{
    B256, U256,
    map::{B256Map, HashMap},
};
use alloy_trie::EMPTY_ROOT_HASH;
use citius_hashing::Hasher;
use crossbeam::utils::Backoff;
use parking_lot::{Mutex, RwLock, RwLockWriteGuard};
use smallvec::SmallVec;
use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

/// Nodes that wait for their hashes before a worker hashes what it has: enough to fill the lanes at every level, and
/// few enough to be in the second-level cache still.
const PENDING_MAX: u64 = 512;
/// Shards that a worker claims at a time, of its own and of others: enough to walk many ways at once, and to leave
/// something to others.
const OWN_BATCH: usize = 16;
const OTHERS_BATCH: usize = 4;
/// Parts of large storage tries that are walked at once.
const PARTS_BATCH: usize = 64;

/// An account to be written.
#[derive(Debug, Clone)]
pub(crate) struct AccountWork {
    /// Hash of its address.
    pub(crate) key: B256,
    /// The account after the block; `None` to remove it.
    pub(crate) after: Option<Account>,
    /// Its earlier storage is gone.
    pub(crate) wiped: bool,
    /// Its slots, in the list of all slots.
    pub(crate) slots: Range<usize>,
}

/// A slot to be written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SlotWork {
    /// Hash of its key.
    pub(crate) key: B256,
    /// Its value; zero to remove it.
    pub(crate) value: U256,
}

/// What of an account's storage is written already.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    /// Its root, or the large trie that it was before.
    pub(crate) storage: StorageRef,
    pub(crate) root: B256,
    /// A large trie as it is now, which no slab holds yet.
    pub(crate) large: Option<Arc<Top>>,
}

/// What is there before a seal.
#[derive(Debug, Default)]
pub(crate) struct Beforehand {
    /// By the hash of the address.
    pub(crate) prepared: B256Map<Prepared>,
    /// What was done to shards for that.
    pub(crate) logs: HashMap<u8, ShardLog>,
}

/// How the parts of a state trie come by their shards and workers.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub(crate) shards: Arc<[RwLock<Shard>]>,
    pub(crate) hasher: Arc<Hasher>,
    pub(crate) ownership: Ownership,
    /// Slots from which on a storage trie is cut into shards.
    pub(crate) large_from: u32,
}

/// One seal, or a part of it that is done beforehand.
#[derive(Debug)]
pub(crate) struct Work {
    setting: Setting,
    /// Storage alone is written, and what comes of it is [`Done::prepared`].
    only_storage: bool,
    prepared: B256Map<Prepared>,
    logs: Mutex<HashMap<u8, ShardLog>>,
    pub(crate) parent: Arc<Top>,
    /// By key.
    accounts: Vec<AccountWork>,
    slots: Vec<SlotWork>,
    /// Where the accounts of each shard begin.
    starts: Box<[usize; SHARDS + 1]>,
    claims: [AtomicBool; SHARDS],
    /// Shards whose accounts were looked up.
    looked_up: AtomicUsize,
    /// Shards whose storage is hashed.
    stored: AtomicUsize,
    larges: Mutex<Vec<Arc<LargeWork>>>,
    done: Mutex<Vec<Done>>,
    error: Mutex<Option<SsmtError>>,
    /// A worker panicked: nobody need wait for it.
    is_broken: AtomicBool,
}

/// What a seal did to a shard.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) shard: u8,
    pub(crate) log: ShardLog,
    /// The account subtrie, if it was written.
    pub(crate) accounts: Option<Sub>,
    /// Storage that was written beforehand.
    pub(crate) prepared: Vec<(B256, Prepared)>,
    pub(crate) hashed: u64,
}

/// A large storage trie to be written.
#[derive(Debug)]
struct LargeWork {
    account: B256,
    /// What it was before; nothing of a trie that has just become large.
    top: Arc<Top>,
    /// By key.
    slots: Vec<SlotWork>,
    parts: Mutex<Vec<(u8, Sub)>>,
    leaves: AtomicUsize,
}

/// A shard that a worker has claimed.
struct Held<'a> {
    shard: u8,
    guard: Option<RwLockWriteGuard<'a, Shard>>,
    log: ShardLog,
    /// The storage of the shard's accounts, in their order.
    storages: Vec<Storage>,
    /// The root of the account subtrie, by its number among the worker's roots, once it is written.
    accounts: Option<u32>,
    hashed: u64,
}

/// What becomes of an account's storage.
enum Storage {
    /// It is what it was.
    Known(StorageRef, B256),
    /// A trie in the account's shard, by its number among the worker's roots, with so many slots.
    Small(u32, u32),
    /// A trie in all shards, and what was there before.
    Large(Arc<LargeWork>, NodeRef),
}

impl Work {
    /// `accounts` by key, each once.
    pub(crate) fn new(
        setting: Setting,
        parent: Arc<Top>,
        accounts: Vec<AccountWork>,
        slots: Vec<SlotWork>,
        beforehand: Beforehand,
        only_storage: bool,
    ) -> Self {
        let mut starts = Box::new([accounts.len(); SHARDS + 1]);
        let mut at = 0;
        for (shard, start) in starts.iter_mut().enumerate().take(SHARDS) {
            at += accounts[at..].partition_point(|account| usize::from(account.key[0]) < shard);
            *start = at;
        }
        Self {
            setting,
            only_storage,
            prepared: beforehand.prepared,
            logs: Mutex::new(beforehand.logs),
            parent,
            accounts,
            slots,
            starts,
            claims: [const { AtomicBool::new(false) }; SHARDS],
            looked_up: AtomicUsize::new(0),
            stored: AtomicUsize::new(0),
            larges: Mutex::default(),
            done: Mutex::default(),
            error: Mutex::default(),
            is_broken: AtomicBool::new(false),
        }
    }

    /// What was done to each shard, once all work is; and what went wrong.
    pub(crate) fn finish(&self) -> (Vec<Done>, Option<SsmtError>) {
        let mut done = std::mem::take(&mut *self.done.lock());
        let untouched = std::mem::take(&mut *self.logs.lock()).into_iter();
        done.extend(untouched.map(|(shard, log)| Done {
            shard,
            log,
            accounts: None,
            prepared: Vec::new(),
            hashed: 0,
        }));
        (done, self.error.lock().take())
    }

    /// The storage that was given as prepared.
    pub(crate) fn into_prepared(self) -> B256Map<Prepared> {
        self.prepared
    }

    /// Works until nothing is left that nobody has begun.
    pub(crate) fn help(&self, worker: usize) {
        let guard = BreakOnPanic { work: self };
        let mut hands = Hands {
            work: self,
            held: Vec::new(),
            levels: Levels::default(),
            roots: Vec::new(),
            settled: 0,
            parts: Vec::new(),
        };
        let own = self.setting.ownership.range(worker);
        let mut batch = Vec::with_capacity(OWN_BATCH);
        for (shards, size) in
            [(own.clone(), OWN_BATCH), (0..own.start, OTHERS_BATCH), (own.end..SHARDS, OTHERS_BATCH)]
        {
            for shard in shards {
                // Claims order nothing: what a shard holds is behind its lock.
                if !self.claims[shard].swap(true, Ordering::Relaxed) {
                    batch.push(shard as u8);
                }
                if batch.len() == size {
                    hands.look_up(&mut batch);
                }
            }
            hands.look_up(&mut batch);
        }
        let count = hands.held.len();
        if count > 0 {
            self.wait_for(&self.looked_up);
            hands.write_large_parts();
            hands.hash();
            hands.give_parts();
            // As above: who sees all counted sees all parts.
            self.stored.fetch_add(count, Ordering::Release);
            if !self.larges.lock().is_empty() {
                self.wait_for(&self.stored);
            }
            hands.finish();
        }
        std::mem::forget(guard);
    }

    fn accounts_of(&self, shard: u8) -> &[AccountWork] {
        &self.accounts[self.starts[usize::from(shard)]..self.starts[usize::from(shard) + 1]]
    }

    fn wait_for(&self, counter: &AtomicUsize) {
        let backoff = Backoff::new();
        while counter.load(Ordering::Acquire) < SHARDS {
            assert!(!self.is_broken.load(Ordering::Relaxed), "another worker of this seal panicked");
            backoff.snooze();
        }
    }

    fn fail(&self, trie: TrieName, blinded: Blinded) {
        let error = SsmtError::Blinded { trie, path: blinded.path };
        let mut first = self.error.lock();
        // Of several, one is chosen that does not depend on who came first.
        let key = |error: &SsmtError| format!("{error}");
        if first.as_ref().is_none_or(|known| key(&error) < key(known)) {
            *first = Some(error);
        }
    }
}

struct BreakOnPanic<'a> {
    work: &'a Work,
}

impl Drop for BreakOnPanic<'_> {
    fn drop(&mut self) {
        self.work.is_broken.store(true, Ordering::Relaxed);
    }
}

/// What one worker of a seal has in hand.
struct Hands<'a> {
    work: &'a Work,
    held: Vec<Held<'a>>,
    levels: Levels,
    /// Roots of storage tries, and of parts of large ones, that are to be hashed.
    roots: Vec<Child>,
    /// How many of them are.
    settled: usize,
    /// Written parts of large storage tries: number among the roots, place among the claimed shards, whose.
    parts: Vec<(u32, usize, Arc<LargeWork>)>,
}

impl<'a> Hands<'a> {
    /// Looks the accounts of claimed shards up, and writes their storage where it is small.
    fn look_up(&mut self, batch: &mut Vec<u8>) {
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
    fn take_log(&mut self, index: usize) {
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
    fn locate(&mut self, index: usize, account: &AccountWork) -> Result<Prepared, (TrieName, Blinded)> {
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

    fn warm_storage(&self, located: &[(usize, &AccountWork, Result<Prepared, (TrieName, Blinded)>)]) {
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
    ) -> Result<Storage, (TrieName, Blinded)> {
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

    fn large(&self, account: &AccountWork, top: Arc<Top>, slots: Vec<SlotWork>, old: StorageRef) -> Storage {
        let large = Arc::new(LargeWork {
            account: account.key,
            top,
            slots,
            parts: Mutex::default(),
            leaves: AtomicUsize::new(old.leaves as usize),
        });
        self.work.larges.lock().push(Arc::clone(&large));
        Storage::Large(large, old.root)
    }

    /// Writes the parts of large storage tries that lie in the claimed shards.
    fn write_large_parts(&mut self) {
        let larges = self.work.larges.lock().clone();
        if larges.is_empty() {
            return;
        }
        let mut parts = Vec::new();
        for index in 0..self.held.len() {
            let shard = self.held[index].shard;
            for large in &larges {
                let first = large.slots.partition_point(|slot| slot.key[0] < shard);
                let count = large.slots[first..].partition_point(|slot| slot.key[0] == shard);
                if count > 0 {
                    let shards = &self.work.setting.shards;
                    if self.held[index].guard.is_none() {
                        self.held[index].guard = Some(shards[usize::from(shard)].write());
                        self.take_log(index);
                    }
                    parts.push((index, large, first..first + count));
                }
            }
        }
        for parts in parts.chunks(PARTS_BATCH) {
            self.warm_parts(parts);
            for (index, large, slots) in parts {
                self.write_part(*index, large, slots.clone());
                if self.levels.pending() > PENDING_MAX {
                    self.hash();
                }
            }
        }
    }

    fn warm_parts(&self, parts: &[(usize, &Arc<LargeWork>, Range<usize>)]) {
        let mut ways = Vec::new();
        for (index, large, slots) in parts {
            let held = &self.held[*index];
            if let (Some(guard), Ok(sub)) = (&held.guard, large.top.sub(held.shard)) {
                ways.extend(large.slots[slots.clone()].iter().map(|slot| Way {
                    arena: &guard.arena,
                    node: sub.node,
                    depth: CUT,
                    key: &slot.key[..],
                }));
            }
        }
        walk::warm(&mut ways);
    }

    fn write_part(&mut self, index: usize, large: &Arc<LargeWork>, slots: Range<usize>) {
        let work = self.work;
        let held = &mut self.held[index];
        let Some(guard) = &mut held.guard else { panic!("a shard with a part is locked") };
        let mut updater = Updater::new(&mut guard.arena, &mut held.log.nodes);
        let written = large
            .top
            .sub(held.shard)
            .and_then(|sub| with_writes(&large.slots[slots], |writes| updater.update(sub, CUT, writes)));
        let added = updater.leaves_added();
        match written {
            Ok(child) => {
                // Relaxed: read when all parts were given, behind `stored`. Wraps where slots were removed.
                large.leaves.fetch_add(added as usize, Ordering::Relaxed);
                let number = self.roots.len() as u32;
                self.roots.push(child);
                self.levels.collect(&mut guard.arena, index as u16, &child, CUT, number);
                self.parts.push((number, index, Arc::clone(large)));
            }
            Err(blinded) => work.fail(TrieName::Storage(large.account), blinded),
        }
    }
}

impl Hands<'_> {
    /// Hashes all storage that waits for it.
    fn hash(&mut self) {
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

    /// Hands over the parts of large storage tries, hashed.
    fn give_parts(&mut self) {
        for (number, index, large) in self.parts.drain(..) {
            let held = &self.held[index];
            let child = self.roots[number as usize];
            let node = held.guard.as_ref().filter(|_| child.node.is_stored());
            let sub = Sub::new(child, node.map(|guard| guard.arena.bytes(child.node)));
            large.parts.lock().push((held.shard, sub));
        }
    }

    /// Writes the accounts of a shard with their storage roots, which must be hashed.
    fn write_accounts(&mut self, index: usize) {
        let written = self.write_accounts_of(index);
        let held = &mut self.held[index];
        if let (Some(child), Some(guard)) = (written, &mut held.guard) {
            let number = self.roots.len() as u32;
            self.roots.push(child);
            held.accounts = Some(number);
            self.levels.collect(&mut guard.arena, index as u16, &child, CUT, number);
        }
    }

    /// Writes the accounts that waited for others, hashes them and says what was done.
    fn finish(mut self) {
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

    fn write_accounts_of(&mut self, index: usize) -> Option<Child> {
        let work = self.work;
        let held = &mut self.held[index];
        let accounts = work.accounts_of(held.shard);
        let guard = held.guard.as_mut().filter(|_| !accounts.is_empty())?;
        let mut values = Vec::with_capacity(accounts.len() * 112);
        let mut spans = Vec::with_capacity(accounts.len());
        let mut encoded = Vec::with_capacity(112);
        for (account, storage) in accounts.iter().zip(&held.storages) {
            let (storage, root) = match storage {
                Storage::Known(storage, root) => (*storage, *root),
                Storage::Small(number, leaves) => {
                    let root = &self.roots[*number as usize];
                    (StorageRef { root: root.node, leaves: *leaves }, root_hash(root))
                }
                Storage::Large(large, old) => {
                    match seal_large(large, *old, guard, &mut held.log, &work.setting.hasher) {
                        Ok(sealed) => sealed,
                        Err(blinded) => {
                            work.fail(TrieName::Storage(large.account), blinded);
                            (NO_STORAGE, EMPTY_ROOT_HASH)
                        }
                    }
                }
            };
            let start = values.len();
            if let Some(after) = &account.after {
                account::encode(after, root, &mut encoded);
                values.extend_from_slice(&encoded);
            }
            spans.push((start..values.len(), storage));
        }
        let writes: Vec<Write<'_>> = accounts
            .iter()
            .zip(&spans)
            .map(|(account, (span, storage))| Write {
                key: &account.key[..],
                value: account.after.is_some().then(|| &values[span.clone()]),
                storage: account.after.is_some().then_some(*storage),
            })
            .collect();
        let mut updater = Updater::new(&mut guard.arena, &mut held.log.nodes);
        let written = work.parent.sub(held.shard).and_then(|sub| updater.update(sub, CUT, &writes));
        match written {
            Ok(child) => Some(child),
            Err(blinded) => {
                work.fail(TrieName::Accounts, blinded);
                None
            }
        }
    }
}

/// What of the storage of a shard's accounts is written now.
fn prepared(work: &Work, held: &Held<'_>, roots: &[Child]) -> Vec<(B256, Prepared)> {
    let mut all = Vec::with_capacity(held.storages.len());
    for (account, storage) in work.accounts_of(held.shard).iter().zip(&held.storages) {
        let prepared = match storage {
            Storage::Known(..) => continue,
            Storage::Small(number, leaves) => {
                let root = &roots[*number as usize];
                let storage = StorageRef { root: root.node, leaves: *leaves };
                Prepared { storage, root: root_hash(root), large: None }
            }
            Storage::Large(large, old) => {
                let mut top = Top::clone(&large.top);
                if let Err(blinded) = top.replace(large.parts.lock().drain(..), &work.setting.hasher) {
                    work.fail(TrieName::Storage(large.account), blinded);
                    continue;
                }
                let leaves = large.leaves.load(Ordering::Relaxed) as u32;
                let root = top.hash();
                Prepared { storage: StorageRef { root: *old, leaves }, root, large: Some(Arc::new(top)) }
            }
        };
        all.push((account.key, prepared));
    }
    all
}

/// A large storage trie with all its new parts.
fn seal_large(
    large: &LargeWork,
    old: NodeRef,
    shard: &mut Shard,
    log: &mut ShardLog,
    hasher: &Hasher,
) -> Result<(StorageRef, B256), Blinded> {
    let mut top = Top::clone(&large.top);
    top.replace(large.parts.lock().drain(..), hasher)?;
    if let Some(number) = old.as_large() {
        log.large_replaced.push(number);
    }
    let root = top.hash();
    if root == EMPTY_ROOT_HASH {
        return Ok((NO_STORAGE, root));
    }
    let number = shard.large.insert(Arc::new(top));
    log.large_made.push(number);
    let leaves = large.leaves.load(Ordering::Relaxed) as u32;
    Ok((StorageRef { root: NodeRef::large(number), leaves }, root))
}

/// The storage of an account that has none.
pub(crate) const NO_STORAGE: StorageRef = StorageRef { root: NodeRef::EMPTY, leaves: 0 };

/// Stands for the number of slots of a storage of which not everything is known.
pub(crate) const UNKNOWN_LEAVES: u32 = u32::MAX;

impl Prepared {
    /// No storage.
    const NONE: Self = Self { storage: NO_STORAGE, root: EMPTY_ROOT_HASH, large: None };
}

/// Where an account's storage is, and its root.
pub(crate) fn storage_in_leaf(leaf: &[u8], value: &[u8]) -> Prepared {
    match (node::storage(leaf), account::storage_root(value)) {
        (Some(storage), Some(root)) => Prepared { storage, root, large: None },
        found => panic!("a leaf of the account trie holds an account: {found:?}"),
    }
}

/// The root of a small storage trie, as a parent would see it.
pub(crate) fn root_child(arena: &Arena, node: NodeRef, hash: &B256) -> Child {
    if node == NodeRef::EMPTY {
        return Child::EMPTY;
    }
    if node.is_stored() {
        let rlp = node::rlp_of(arena.bytes(node));
        if rlp.len() < node::HASH {
            return Child::with_item(node, rlp);
        }
    }
    Child::hashed(node, &hash.0)
}

/// All slots below a node, in the order of their keys.
fn collect_slots(arena: &Arena, root: NodeRef, slots: &mut Vec<SlotWork>) {
    fn below(arena: &Arena, node: NodeRef, path: &mut Vec<u8>, slots: &mut Vec<SlotWork>) {
        if !node.is_stored() {
            return;
        }
        let bytes = arena.bytes(node);
        let len = path.len();
        match node::kind(bytes) {
            Kind::Branch => {
                for nibble in 0..WIDTH as u8 {
                    path.push(nibble);
                    below(arena, node::child_ref(bytes, nibble), path, slots);
                    path.truncate(len);
                }
            }
            Kind::Extension => {
                let (own, child) = node::extension(bytes);
                path.extend(own.nibbles());
                below(arena, child.node, path, slots);
            }
            Kind::Leaf | Kind::Account => {
                let (own, value) = node::leaf(bytes);
                path.extend(own.nibbles());
                let mut key = B256::ZERO;
                for (byte, pair) in key.iter_mut().zip(path.chunks(2)) {
                    *byte = pair[0] << 4 | pair[1];
                }
                let value = SlotValue::decode(value).unwrap_or_default();
                slots.push(SlotWork { key, value });
            }
        }
        path.truncate(len);
    }
    below(arena, root, &mut Vec::with_capacity(64), slots);
}

/// Two lists by key made one; where both have a key, the second counts.
fn merged(old: Vec<SlotWork>, new: Vec<SlotWork>) -> Vec<SlotWork> {
    let mut all = Vec::with_capacity(old.len() + new.len());
    let mut new = new.into_iter().peekable();
    for slot in old {
        while let Some(earlier) = new.next_if(|write| write.key < slot.key) {
            all.push(earlier);
        }
        all.push(new.next_if(|write| write.key == slot.key).unwrap_or(slot));
    }
    all.extend(new);
    all
}

/// Calls `write` with slots as the trie takes them.
fn with_writes<R>(slots: &[SlotWork], write: impl FnOnce(&[Write<'_>]) -> R) -> R {
    let values: SmallVec<[Option<SlotValue>; FEW]> =
        slots.iter().map(|slot| SlotValue::new(slot.value)).collect();
    let writes: SmallVec<[Write<'_>; FEW]> = slots
        .iter()
        .zip(&values)
        .map(|(slot, value)| Write {
            key: &slot.key[..],
            value: value.as_ref().map(SlotValue::bytes),
            storage: None,
        })
        .collect();
    write(&writes)
}

/// Slots that most accounts have written to in a block at most.
const FEW: usize = 8;
