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

mod accounts;
mod hands;
mod large;
mod storage;

pub(crate) use storage::{NO_STORAGE, Prepared, UNKNOWN_LEAVES, root_child, storage_in_leaf};

use super::{
    error::{SsmtError, TrieName},
    ownership::Ownership,
    shard::{Shard, ShardLog},
    top::{SHARDS, Sub, Top},
};
use crate::{Account, trie::update::Blinded};
use alloy_primitives::{
    B256, U256,
    map::{B256Map, HashMap},
};
use citius_hashing::Hasher;
use crossbeam::utils::Backoff;
use hands::Hands;
use large::LargeWork;
use parking_lot::{Mutex, RwLock};
use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

/// Shards that a worker claims at a time, of its own and of others: enough to walk many ways at once, and to leave
/// something to others.
const OWN_BATCH: usize = 32;
const OTHERS_BATCH: usize = 4;

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
        let mut hands = Hands::new(self);
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
