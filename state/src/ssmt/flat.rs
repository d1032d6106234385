//! Values of the head by raw address and slot, so that a read hashes nothing and walks nothing.
//!
//! All values are those of one version, the *line*: the head. Moving the head writes what differs. A reader of another
//! version knows what differs between the line and its version ([`Difference`]) and takes the rest from here.
//!
//! 1. The epoch is even while the values are those of the line, and odd while they change. Who looks a value up
//!    compares epochs before and after: between, it was that of the line that the reader knows.
//! 2. Values are put in by readers under the line's lock, after comparing epochs: never behind a change of the head.

use super::error::VersionId;
use crate::{Account, AccountChange, ChangeSet};
use alloy_primitives::{
    Address, U256,
    map::{AddressMap, AddressSet, HashMap},
};
use crossbeam::utils::CachePadded;
use parking_lot::{RwLock, RwLockReadGuard};
use quick_cache::sync::Cache;
use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

/// Bytes that an entry takes beside key and value: links, table, its part of the ghosts.
const OVERHEAD: u64 = 48;
/// Of a cache, the part for accounts.
const ACCOUNTS_PART: u64 = 4;
/// Accounts whose storage was forgotten, before all storage is.
const FORGOTTEN_MAX: usize = 1 << 16;
/// Versions between the line and a reader's version, beyond which the reader goes to the trie.
pub(crate) const PATH_MAX: usize = 64;
/// Counters, so that cores do not share one.
const STRIPES: usize = 16;

/// The cache. What does not fit in is evicted (S3-FIFO: what was read once only goes first).
#[derive(Debug)]
pub(crate) struct FlatCache {
    accounts: Cache<Address, Option<Account>>,
    /// Each with the number of times that its account's storage was forgotten before.
    slots: Cache<(Address, U256), (U256, u32)>,
    forgotten: RwLock<AddressMap<u32>>,
    forgotten_len: AtomicUsize,
    epoch: AtomicU64,
    line: RwLock<VersionId>,
    counts: [CachePadded<Counts>; STRIPES],
}

#[derive(Debug, Default)]
struct Counts {
    hits: AtomicU64,
    misses: AtomicU64,
}

/// What the flat cache did and holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FlatCacheStats {
    /// Reads that it answered.
    pub hits: u64,
    /// Reads that went to the trie.
    pub misses: u64,
    /// Accounts that it holds, those known not to exist included.
    pub accounts: u64,
    /// Slots that it holds.
    pub slots: u64,
}

impl FlatCache {
    /// A cache of about so many bytes; `None` if no entry fits in.
    pub(crate) fn new(bytes: u64, line: VersionId) -> Option<Self> {
        let account_bytes = size_of::<(Address, Option<Account>)>() as u64 + OVERHEAD;
        let slot_bytes = size_of::<((Address, U256), (U256, u32))>() as u64 + OVERHEAD;
        let accounts = usize::try_from(bytes / ACCOUNTS_PART / account_bytes).ok()?;
        let slots = usize::try_from((bytes - bytes / ACCOUNTS_PART) / slot_bytes).ok()?;
        (accounts > 0 && slots > 0).then(|| Self {
            accounts: Cache::new(accounts),
            slots: Cache::new(slots),
            forgotten: RwLock::default(),
            forgotten_len: AtomicUsize::new(0),
            epoch: AtomicU64::new(0),
            line: RwLock::new(line),
            counts: Default::default(),
        })
    }

    /// Which values are here; see the module's documentation.
    pub(crate) fn epoch(&self) -> u64 {
        // Acquire pairs with the release at the end of `move_to`: who sees the epoch sees its values.
        self.epoch.load(Ordering::Acquire)
    }

    /// The version whose values are here. It stays that as long as the guard lives.
    pub(crate) fn line(&self) -> RwLockReadGuard<'_, VersionId> {
        self.line.read()
    }

    pub(crate) fn account(&self, address: Address) -> Option<Option<Account>> {
        self.accounts.get(&address)
    }

    pub(crate) fn slot(&self, address: Address, slot: U256) -> Option<U256> {
        let (value, times) = self.slots.get(&(address, slot))?;
        (times == self.times_forgotten(address)).then_some(value)
    }

    fn times_forgotten(&self, address: Address) -> u32 {
        // Relaxed: changes between two epochs, as the values do.
        if self.forgotten_len.load(Ordering::Relaxed) == 0 {
            return 0;
        }
        self.forgotten.read().get(&address).copied().unwrap_or(0)
    }

    /// Puts in an account of the line, if it still is that of the epoch.
    pub(crate) fn fill_account(&self, epoch: u64, address: Address, account: Option<Account>) {
        let _line = self.line.read();
        if self.epoch() == epoch {
            self.accounts.insert(address, account);
        }
    }

    /// Puts in a slot of the line, if it still is that of the epoch.
    pub(crate) fn fill_slot(&self, epoch: u64, address: Address, slot: U256, value: U256) {
        let _line = self.line.read();
        if self.epoch() == epoch {
            self.slots.insert((address, slot), (value, self.times_forgotten(address)));
        }
    }

    /// Makes the values those of the version that some blocks lead to, done or undone: values that are here become what
    /// they are there. What is not here is left to readers. Without the blocks, and where these are more than the cache
    /// holds, everything is forgotten.
    pub(crate) fn move_to(&self, version: VersionId, steps: Option<&[Step]>) {
        let mut line = self.line.write();
        self.epoch.fetch_add(1, Ordering::AcqRel);
        match steps {
            Some(steps) if !self.is_less_than(steps) => steps.iter().for_each(|step| self.take(step)),
            _ => self.clear(),
        }
        *line = version;
        self.epoch.fetch_add(1, Ordering::Release);
    }

    fn clear(&self) {
        self.accounts.clear();
        self.clear_slots();
    }

    fn clear_slots(&self) {
        self.slots.clear();
        self.forgotten.write().clear();
        self.forgotten_len.store(0, Ordering::Relaxed);
    }

    /// Whether it holds less than was written.
    fn is_less_than(&self, steps: &[Step]) -> bool {
        let mut accounts = 0;
        let mut slots = 0;
        for step in steps {
            accounts += step.changes.accounts.len() as u64;
            slots += step.changes.slot_count() as u64;
        }
        accounts > self.accounts.capacity() || slots > self.slots.capacity()
    }

    fn take(&self, step: &Step) {
        if self.accounts.is_empty() && self.slots.is_empty() {
            return;
        }
        let unknown: Vec<Address> = step.unknown().collect();
        if !unknown.is_empty() {
            let mut forgotten = self.forgotten.write();
            for address in unknown {
                *forgotten.entry(address).or_default() += 1;
            }
            self.forgotten_len.store(forgotten.len(), Ordering::Relaxed);
        }
        if self.forgotten_len.load(Ordering::Relaxed) > FORGOTTEN_MAX {
            self.clear_slots();
        }
        for change in &step.changes.accounts {
            let address = change.address;
            // What is not here: the error gives the value back.
            let _ = self.accounts.replace(address, step.account(change), true);
            let times = self.times_forgotten(address);
            for (slot, value) in step.slots(change) {
                let _ = self.slots.replace((address, slot), (value, times), true);
            }
        }
    }

    /// Counts a read.
    pub(crate) fn count(&self, address: Address, is_hit: bool) {
        let counts = &self.counts[usize::from(address[19]) % STRIPES];
        let count = if is_hit { &counts.hits } else { &counts.misses };
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn stats(&self) -> FlatCacheStats {
        let sum = |count: fn(&Counts) -> &AtomicU64| {
            self.counts.iter().map(|counts| count(counts).load(Ordering::Relaxed)).sum()
        };
        FlatCacheStats {
            hits: sum(|counts| &counts.hits),
            misses: sum(|counts| &counts.misses),
            accounts: self.accounts.len() as u64,
            slots: self.slots.len() as u64,
        }
    }
}

/// One step between versions: a block's changes, made or undone.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) changes: Arc<ChangeSet>,
    pub(crate) is_forward: bool,
}

impl Step {
    /// Accounts of which only the slots that [`Step::slots`] tells are known: all others may be other ones.
    fn unknown(&self) -> impl Iterator<Item = Address> {
        self.changes.accounts.iter().filter(|change| is_unknown(change)).map(|change| change.address)
    }

    /// What becomes of an account.
    fn account(&self, change: &AccountChange) -> Option<Account> {
        if self.is_forward { change.after } else { change.before }
    }

    /// What becomes of its slots.
    fn slots<'a>(&self, change: &'a AccountChange) -> impl Iterator<Item = (U256, U256)> + 'a {
        let is_forward = self.is_forward;
        // Of an account that is gone or was wiped, what the block says is not all that there was before it.
        let is_told = if is_forward { change.after.is_some() } else { !is_unknown(change) };
        let slots = if is_told { &change.storage[..] } else { &[] };
        slots.iter().map(move |slot| (slot.slot, if is_forward { slot.after } else { slot.before }))
    }
}

/// Whether a change set does not say which slots an account had. (What did not exist had none.)
fn is_unknown(change: &AccountChange) -> bool {
    (change.storage_wiped || change.after.is_none()) && change.before.is_some()
}

/// Values of one version that differ from another one's.
#[derive(Debug, Default)]
pub(crate) struct Difference {
    accounts: AddressMap<Option<Account>>,
    slots: AddressMap<HashMap<U256, U256>>,
    /// Accounts of which only the slots above are known: all others may be other ones.
    unknown: AddressSet,
}

/// What a difference says of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Differs<T> {
    /// It is the same in both versions.
    No,
    /// It has this value.
    To(T),
    /// Only the trie knows.
    Unknown,
}

impl Difference {
    /// What the last version of these steps has that the first one has not.
    pub(crate) fn of(steps: &[Step]) -> Self {
        let mut difference = Self::default();
        for step in steps {
            difference.step(step);
        }
        difference
    }

    fn step(&mut self, step: &Step) {
        for address in step.unknown() {
            self.unknown.insert(address);
            self.slots.remove(&address);
        }
        for change in &step.changes.accounts {
            self.accounts.insert(change.address, step.account(change));
            let mut slots = step.slots(change).peekable();
            if slots.peek().is_some() {
                self.slots.entry(change.address).or_default().extend(slots);
            }
        }
    }

    pub(crate) fn account(&self, address: Address) -> Differs<Option<Account>> {
        self.accounts.get(&address).map_or(Differs::No, |account| Differs::To(*account))
    }

    pub(crate) fn slot(&self, address: Address, slot: U256) -> Differs<U256> {
        match self.slots.get(&address).and_then(|slots| slots.get(&slot)) {
            Some(value) => Differs::To(*value),
            None if self.unknown.contains(&address) => Differs::Unknown,
            None => Differs::No,
        }
    }
}
