use super::{
    error::{SsmtError, TrieName, VersionId},
    shard::Shard,
    store::{FoundAccount, Made, Sealed, Ssmt},
    version::Version,
    work::{AccountWork, Beforehand, SlotWork, Work, Written},
};
use crate::{Account, ChangeSet, CommitSink, Committed, IdleWork};
use alloy_primitives::{
    Address, B256, U256, keccak256,
    map::{AddressMap, HashMap, HashSet, IndexMap, hash_map::Entry},
};
use citius_hashing::Hasher;
use parking_lot::{Mutex, RwLock};
use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

/// Slots that are worth a piece of work, and the most of one.
const PIECE_MIN: usize = 16;
const PIECE_MAX: usize = 64;

/// Whose slot, and which.
type SlotKey = (Address, U256);

/// A version in the making, while its block still executes: storage that committed transactions have written is
/// put into the tries and hashed by whoever is idle, so that less is left to do when the block ends.
///
/// It is told of commits ([`Draft::sink`]), works in short pieces ([`Draft::idle_work`]), and is made a version by
/// [`Draft::seal`], for which the block's change set alone counts: what was told and did not come to be is taken back.
/// Readers of the version before see nothing of it. There is one draft at a time; whatever else needs the shards (a
/// seal, another version's nodes) takes it back, and its own seal then does all the work. So does a drop.
#[derive(Debug)]
pub struct Draft {
    ssmt: Arc<Ssmt>,
    shared: Arc<Shared>,
}

/// What a draft did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DraftStats {
    /// Slots that were told of.
    pub told: u64,
    /// Slots written ahead of the block's end.
    pub written: u64,
    /// Slots that had to be written otherwise at the end.
    pub rewritten: u64,
    /// Nodes hashed ahead of the block's end.
    pub hashed: u64,
}

/// The part of a draft that threads share.
#[derive(Debug)]
pub(super) struct Shared {
    parent: VersionId,
    block_number: u64,
    queue: Mutex<Vec<(SlotKey, U256)>>,
    /// Slots that wait.
    queued: AtomicUsize,
    /// Accounts that were written, to be looked up ahead, and how many.
    touched: Mutex<Vec<Address>>,
    touched_len: AtomicUsize,
    /// Accounts whose storage was wiped: what is told of their slots is left to the end.
    wiped: Mutex<HashSet<Address>>,
    told: AtomicU64,
    is_over: AtomicBool,
    inner: Mutex<Inner>,
    /// What stood before in slots that are written: what a reader of the parent must see.
    before: RwLock<HashMap<SlotKey, U256>>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Hashes of addresses.
    keys: AddressMap<B256>,
    /// Accounts of the parent.
    found: AddressMap<Option<FoundAccount>>,
    /// What is to be written, the oldest first.
    pending: IndexMap<SlotKey, U256>,
    /// What is written.
    written: HashMap<SlotKey, U256>,
    beforehand: Beforehand,
    stats: DraftStats,
}

impl Ssmt {
    /// Begins a version on top of `parent`, of the block with this number. An older draft is taken back.
    ///
    /// # Errors
    ///
    /// [`SsmtError::UnknownVersion`].
    pub fn draft(self: &Arc<Self>, parent: VersionId, block_number: u64) -> Result<Draft, SsmtError> {
        let mut versions = self.versions.write();
        versions.end_draft(&self.shards);
        versions.check_out(parent, &self.shards)?;
        let shared = Arc::new(Shared {
            parent,
            block_number,
            queue: Mutex::default(),
            queued: AtomicUsize::new(0),
            touched: Mutex::default(),
            touched_len: AtomicUsize::new(0),
            wiped: Mutex::default(),
            told: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            inner: Mutex::default(),
            before: RwLock::default(),
        });
        versions.set_draft(Arc::clone(&shared));
        Ok(Draft { ssmt: Arc::clone(self), shared })
    }
}

impl Draft {
    /// What the engine tells of commits. Accounts are looked up ahead, so that their keys are hashed and their nodes in the
    /// caches, but not written: every one would be once more at the end.
    #[must_use]
    pub fn sink(&self) -> Arc<dyn CommitSink> {
        Arc::clone(&self.shared) as Arc<dyn CommitSink>
    }

    /// The work that idle threads can do.
    #[must_use]
    pub fn idle_work(&self) -> Arc<dyn IdleWork> {
        Arc::new(Pieces { ssmt: Arc::clone(&self.ssmt), shared: Arc::clone(&self.shared) })
    }

    /// What was done so far.
    #[must_use]
    pub fn stats(&self) -> DraftStats {
        let told = self.shared.told.load(Ordering::Relaxed);
        DraftStats { told, ..self.shared.inner.lock().stats }
    }

    /// Makes the version: `changes` on top of the parent.
    ///
    /// # Errors
    ///
    /// As [`Ssmt::seal`].
    pub fn seal(self, changes: &Arc<ChangeSet>) -> Result<(Sealed, DraftStats), SsmtError> {
        self.ssmt.seal_draft(&self.shared, changes)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let mut versions = self.ssmt.versions.write();
        if versions.take_draft(&self.shared) {
            self.shared.end(&self.ssmt.shards);
        }
    }
}

impl CommitSink for Shared {
    fn committed(&self, block_number: u64, changes: &[Committed]) {
        if block_number != self.block_number || self.is_over() {
            return;
        }
        let mut queue = self.queue.lock();
        let mut wiped = self.wiped.lock();
        let mut touched = self.touched.lock();
        let length = queue.len();
        for change in changes {
            if let Committed::Account { address, .. } = change {
                touched.push(*address);
            }
            match change {
                Committed::Account { address, storage_wiped: true, .. } => {
                    wiped.insert(*address);
                }
                Committed::Slot { address, slot, after } if !wiped.contains(address) => {
                    queue.push(((*address, *slot), *after));
                }
                _ => {}
            }
        }
        // Relaxed, here and elsewhere: counters that others look at now and then.
        self.touched_len.store(touched.len(), Ordering::Relaxed);
        let added = queue.len() - length;
        self.queued.fetch_add(added, Ordering::Relaxed);
        self.told.fetch_add(added as u64, Ordering::Relaxed);
    }
}

/// A draft's work, for pools.
#[derive(Debug)]
struct Pieces {
    ssmt: Arc<Ssmt>,
    shared: Arc<Shared>,
}

impl IdleWork for Pieces {
    fn has_work(&self) -> bool {
        let Shared { queued, touched_len, .. } = &*self.shared;
        queued.load(Ordering::Relaxed).max(touched_len.load(Ordering::Relaxed)) >= PIECE_MIN
            && !self.shared.is_over()
    }

    fn help(&self, _worker: usize) -> bool {
        self.has_work() && self.shared.do_piece(&self.ssmt)
    }
}

impl Shared {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// What a slot was before the draft wrote it.
    pub(super) fn before(&self, address: Address, slot: U256) -> Option<U256> {
        self.before.read().get(&(address, slot)).copied()
    }

    /// Writes and hashes some slots, and looks some accounts up. Whether there were any; not while somebody else is at it.
    fn do_piece(&self, ssmt: &Ssmt) -> bool {
        // Whoever wants the shards for something else waits for this lock, and takes the draft back then.
        let Some(versions) = ssmt.versions.try_read() else { return false };
        let Some(mut inner) = self.inner.try_lock() else { return false };
        if self.is_over() {
            return false;
        }
        let Ok(parent) = versions.get(self.parent) else { return false };
        let _torn = versions.torn_on_panic();
        let inner = &mut *inner;
        let piece: Vec<(SlotKey, U256)> = {
            let mut queue = self.queue.lock();
            for (key, after) in queue.drain(..) {
                inner.pending.insert(key, after);
            }
            let piece = inner.pending.drain(..inner.pending.len().min(PIECE_MAX)).collect();
            self.queued.store(inner.pending.len(), Ordering::Relaxed);
            piece
        };
        let touched: Vec<Address> = {
            let mut touched = self.touched.lock();
            let count = touched.len().min(PIECE_MAX / 2);
            let piece = touched.drain(..count).collect();
            self.touched_len.store(touched.len(), Ordering::Relaxed);
            piece
        };
        if piece.is_empty() {
            return !touched.is_empty() && inner.look_up(ssmt, parent, touched);
        }
        inner.look_up(ssmt, parent, touched);
        let piece = if ssmt.cold.is_some() { inner.in_memory(ssmt, parent, piece) } else { piece };
        if self.write(ssmt, parent, inner, &piece).is_err() {
            // The seal will say what is wrong, if that is still so then.
            self.take_back(inner, &ssmt.shards);
        }
        true
    }

    fn write(
        &self,
        ssmt: &Ssmt,
        parent: &Version,
        inner: &mut Inner,
        piece: &[(SlotKey, U256)],
    ) -> Result<(), SsmtError> {
        let (accounts, slots) = inner.work_of(piece, &ssmt.hasher);
        for (account, address) in &accounts {
            let found = match inner.found.entry(*address) {
                Entry::Occupied(found) => *found.into_mut(),
                Entry::Vacant(place) => *place.insert(ssmt.find_account(parent, account.key)?),
            };
            let mut before = Vec::with_capacity(account.slots.len());
            for (slot, work) in &slots[account.slots.clone()] {
                if !inner.written.contains_key(&(*address, *slot)) {
                    let value =
                        found.map_or(Ok(U256::ZERO), |found| ssmt.find_slot(account.key, &found, work.key));
                    before.push(((*address, *slot), value?));
                }
            }
            // Before the slots themselves: see `Ssmt::storage`.
            self.before.write().extend(before);
        }
        let work = Work::new(
            ssmt.setting_of_caller(),
            Arc::clone(&parent.top),
            Written::Listed {
                accounts: accounts.into_iter().map(|(account, _)| account).collect(),
                slots: slots.into_iter().map(|(_, slot)| slot).collect(),
            },
            std::mem::take(&mut inner.beforehand),
            true,
        );
        work.help(0);
        let (done, error) = work.finish();
        inner.beforehand.prepared = work.into_prepared();
        for done in done {
            inner.stats.hashed += done.hashed;
            inner.beforehand.logs.insert(done.shard, done.log);
            inner.beforehand.prepared.extend(done.prepared);
        }
        for (key, after) in piece {
            inner.written.insert(*key, *after);
        }
        inner.stats.written += piece.len() as u64;
        error.map_or(Ok(()), Err)
    }

    /// Ends the draft: what it wrote never was. Nobody may be at a piece.
    pub(super) fn end(&self, shards: &[RwLock<Shard>]) {
        self.take_back(&mut self.inner.lock(), shards);
    }

    fn take_back(&self, inner: &mut Inner, shards: &[RwLock<Shard>]) {
        self.is_over.store(true, Ordering::Relaxed);
        for (shard, mut log) in std::mem::take(&mut inner.beforehand).logs {
            let mut shard = shards[usize::from(shard)].write();
            log.nodes.back(&mut shard.arena);
            log.undo(&mut shard);
        }
        inner.written.clear();
        self.before.write().clear();
    }
}

/// An account to be written: what it is after the block, and whether its storage was wiped.
type AccountLeft = (Address, Option<Account>, bool);

/// What a draft leaves to its seal: slots, and all accounts.
type Left = (Vec<(SlotKey, U256)>, Vec<AccountLeft>);

/// Accounts with their addresses, and slots with their keys, both before they were hashed.
type NamedWork = (Vec<(AccountWork, Address)>, Vec<(U256, SlotWork)>);

impl Inner {
    /// Hashes keys of accounts and finds them, for the seal to find them in the caches. What is wrong with them the seal
    /// will say.
    fn look_up(&mut self, ssmt: &Ssmt, parent: &Version, mut addresses: Vec<Address>) -> bool {
        addresses.retain(|address| !self.keys.contains_key(address));
        let messages: Vec<&[u8]> = addresses.iter().map(|address| address.as_slice()).collect();
        let mut digests = vec![B256::ZERO; messages.len()];
        ssmt.hasher.hash_each(&messages, &mut digests);
        for (address, key) in addresses.into_iter().zip(digests) {
            self.keys.insert(address, key);
            if let Ok(found) = ssmt.find_account(parent, key) {
                self.found.insert(address, found);
            }
        }
        true
    }

    /// Of some slots those that are in memory: what must be read first is left to the seal, which reads many at once.
    fn in_memory(
        &mut self,
        ssmt: &Ssmt,
        parent: &Version,
        mut piece: Vec<(SlotKey, U256)>,
    ) -> Vec<(SlotKey, U256)> {
        piece.retain(|((address, slot), _)| {
            let key = *self.keys.entry(*address).or_insert_with(|| keccak256(address));
            let found = match self.found.entry(*address) {
                Entry::Occupied(found) => *found.into_mut(),
                Entry::Vacant(place) => match ssmt.find_account(parent, key) {
                    Ok(found) => *place.insert(found),
                    Err(_) => return false,
                },
            };
            let slot_key = keccak256(slot.to_be_bytes::<32>());
            self.written.contains_key(&(*address, *slot))
                || found.is_none_or(|found| ssmt.find_slot(key, &found, slot_key).is_ok())
        });
        piece
    }

    /// The work of some slots, sorted as it must be.
    fn work_of(&mut self, piece: &[(SlotKey, U256)], hasher: &Hasher) -> NamedWork {
        let mut sorted: Vec<&(SlotKey, U256)> = piece.iter().collect();
        sorted.sort_unstable_by_key(|((address, _), _)| *address);
        let raw: Vec<[u8; 32]> = sorted.iter().map(|((_, slot), _)| slot.to_be_bytes()).collect();
        let mut messages: Vec<&[u8]> = raw.iter().map(<[u8; 32]>::as_slice).collect();
        let unknown: Vec<Address> = {
            let mut addresses: Vec<Address> = sorted.iter().map(|((address, _), _)| *address).collect();
            addresses.dedup();
            addresses.retain(|address| !self.keys.contains_key(address));
            addresses
        };
        messages.extend(unknown.iter().map(|address| address.as_slice()));
        let mut digests = vec![B256::ZERO; messages.len()];
        hasher.hash_each(&messages, &mut digests);
        let (slot_keys, addresses) = digests.split_at(raw.len());
        self.keys.extend(unknown.iter().copied().zip(addresses.iter().copied()));
        let slots: Vec<(U256, SlotWork)> = sorted
            .iter()
            .zip(slot_keys)
            .map(|(((_, slot), value), key)| (*slot, SlotWork { key: *key, value: *value }))
            .collect();
        let mut accounts = Vec::new();
        let mut start = 0;
        for group in sorted.chunk_by(|one, other| one.0.0 == other.0.0) {
            let address = group[0].0.0;
            let account = AccountWork {
                key: self.keys[&address],
                // Not looked at, but that it is there.
                after: Some(Account::EMPTY),
                wiped: false,
                slots: start..start + group.len(),
                number: 0,
            };
            start += group.len();
            accounts.push((account, address));
        }
        accounts.sort_unstable_by_key(|(account, _)| account.key);
        (accounts, slots)
    }
}

impl Ssmt {
    fn seal_draft(
        &self,
        shared: &Arc<Shared>,
        changes: &Arc<ChangeSet>,
    ) -> Result<(Sealed, DraftStats), SsmtError> {
        let told = shared.told.load(Ordering::Relaxed);
        let mut sealing = self.sealing.lock();
        let mut versions = self.versions.write();
        if !versions.take_draft(shared) {
            drop((versions, sealing));
            return Ok((self.seal(shared.parent, changes)?, DraftStats { told, ..DraftStats::default() }));
        }
        let _torn = versions.torn_on_panic();
        shared.is_over.store(true, Ordering::Relaxed);
        let mut inner = std::mem::take(&mut *shared.inner.lock());
        let parent = Arc::clone(versions.get(shared.parent)?);
        let left = self.what_is_left(&parent, &mut inner, &shared.before.read(), changes);
        let (piece, accounts) = match left {
            Ok(left) => left,
            Err(error) => {
                shared.take_back(&mut inner, &self.shards);
                return Err(error);
            }
        };
        inner.stats.rewritten =
            piece.iter().filter(|(key, _)| inner.written.contains_key(key)).count() as u64;
        let written = self.work_of_changes(&mut inner, &piece, &accounts);
        let beforehand = std::mem::take(&mut inner.beforehand);
        let Made { top, logs, nodes_hashed } = self.work(&mut sealing, &parent, written, beforehand)?;
        let root = top.hash();
        self.codes.keep(&changes.codes, shared.parent);
        let version = versions.insert(shared.parent, Arc::new(top), Arc::clone(changes), logs);
        self.end_period(&mut sealing, version);
        let nodes_hashed = nodes_hashed + inner.stats.hashed;
        Ok((Sealed { version, root, nodes_hashed }, DraftStats { told, ..inner.stats }))
    }

    /// The slots that are still to be written, and the accounts.
    fn what_is_left(
        &self,
        parent: &Version,
        inner: &mut Inner,
        before: &HashMap<SlotKey, U256>,
        changes: &ChangeSet,
    ) -> Result<Left, SsmtError> {
        let mut piece = Vec::new();
        let mut accounts = Vec::with_capacity(changes.accounts.len());
        let mut right: HashSet<SlotKey> = HashSet::default();
        let mut listed: HashSet<Address> = HashSet::default();
        let mut gone: HashSet<Address> = HashSet::default();
        for change in &changes.accounts {
            let address = change.address;
            let is_new = change.storage_wiped || change.after.is_none();
            accounts.push((address, change.after, change.storage_wiped));
            if !listed.insert(address) {
                return Err(SsmtError::Repeated { trie: TrieName::Accounts, key: keccak256(address) });
            }
            if is_new {
                gone.insert(address);
            }
            for slot in &change.storage {
                let key = (address, slot.slot);
                if !right.insert(key) {
                    let trie = TrieName::Storage(keccak256(address));
                    return Err(SsmtError::Repeated { trie, key: keccak256(slot.slot.to_be_bytes::<32>()) });
                }
                if is_new || inner.written.get(&key) != Some(&slot.after) {
                    piece.push((key, slot.after));
                }
            }
        }
        // What was told and did not last.
        for (key, value) in &inner.written {
            let (address, _) = key;
            if !gone.contains(address)
                && !right.contains(key)
                && let Some(before) = before.get(key)
                && before != value
            {
                piece.push((*key, *before));
            }
            if listed.insert(*address) {
                // Its storage may have come to lie elsewhere: its leaf must say so.
                let found = self.find_account(parent, inner.keys[address])?;
                accounts.push((*address, found.map(|found| found.account), found.is_none()));
            }
        }
        Ok((piece, accounts))
    }

    fn work_of_changes(
        &self,
        inner: &mut Inner,
        piece: &[(SlotKey, U256)],
        accounts: &[AccountLeft],
    ) -> Written {
        let (with_slots, slots) = inner.work_of(piece, &self.hasher);
        let ranges: AddressMap<(B256, Range<usize>)> =
            with_slots.into_iter().map(|(work, address)| (address, (work.key, work.slots))).collect();
        let unknown: Vec<Address> = accounts
            .iter()
            .map(|(address, ..)| *address)
            .filter(|address| !inner.keys.contains_key(address))
            .collect();
        let messages: Vec<&[u8]> = unknown.iter().map(|address| address.as_slice()).collect();
        let mut digests = vec![B256::ZERO; messages.len()];
        self.hasher.hash_each(&messages, &mut digests);
        inner.keys.extend(unknown.into_iter().zip(digests));
        let mut all: Vec<AccountWork> = accounts
            .iter()
            .map(|(address, after, wiped)| {
                let slots = ranges.get(address).map_or(0..0, |(_, slots)| slots.clone());
                AccountWork { key: inner.keys[address], after: *after, wiped: *wiped, slots, number: 0 }
            })
            .collect();
        all.sort_unstable_by_key(|account| account.key);
        Written::Listed { accounts: all, slots: slots.into_iter().map(|(_, slot)| slot).collect() }
    }
}
