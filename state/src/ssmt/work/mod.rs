//! The work of one seal: what a change set does to the tries, shared among workers.
//!
//! Every worker claims shards, its own first, and keeps them until the end:
//!
//! 0. keys are hashed, in pieces that have nothing to do with shards;
//! 1. accounts are looked up, small storage tries are written and hashed, and so are the accounts of shards in which no
//!    large storage changes;
//! 2. when all shards are that far, the parts of large storage tries that belong to the claimed shards are written, and
//!    all storage is hashed, deepest level first, across tries and shards;
//! 3. when all parts are hashed, the other accounts are written with their new storage roots, and hashed.
//!
//! Whoever comes when all shards are claimed has nothing to do. The caller claims whatever is left, so that any
//! number of workers will do.

mod accounts;
mod ahead;
mod hands;
mod large;
mod storage;

pub(crate) use storage::{NO_STORAGE, Prepared, UNKNOWN_LEAVES, root_child, storage_in_leaf};

use super::{
    cold::{Cold, InTrie},
    error::{SsmtError, TrieName},
    keys::{HashedChanges, sort},
    ownership::Ownership,
    shard::{Shard, ShardLog},
    top::{SHARDS, Sub, Top},
};
use crate::{Account, ChangeSet, cold::ColdError, trie::update::Blinded};
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
    /// Its number in the change set.
    pub(crate) number: u32,
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
    /// Where what is not in memory is.
    pub(crate) cold: Option<Cold>,
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
    written: Written,
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

/// What is to be written.
#[derive(Debug)]
pub(crate) enum Written {
    /// All of a change set, whose keys are hashed first.
    Changes(HashedChanges),
    /// Accounts by their keys, each once, and their slots.
    Listed { accounts: Vec<AccountWork>, slots: Vec<SlotWork> },
}

impl Written {
    /// A change set that so many workers write, by this hasher.
    pub(crate) fn changes(changes: &Arc<ChangeSet>, workers: usize, hasher: &Hasher) -> Self {
        Self::Changes(HashedChanges::new(changes, workers, hasher.batch_size()))
    }

    fn accounts_of(&self, shard: u8) -> &[AccountWork] {
        match self {
            Self::Changes(changes) => changes.accounts_of(shard),
            Self::Listed { accounts, .. } => {
                let start = accounts.partition_point(|account| account.key[0] < shard);
                let rest = &accounts[start..];
                &rest[..rest.partition_point(|account| account.key[0] == shard)]
            }
        }
    }

    /// Appends an account's slots, by their keys.
    fn slots_of(&self, account: &AccountWork, to: &mut Vec<SlotWork>) {
        match self {
            Self::Changes(changes) => changes.slots_of(account, to),
            Self::Listed { slots, .. } => {
                let start = to.len();
                to.extend_from_slice(&slots[account.slots.clone()]);
                sort(&mut to[start..]);
            }
        }
    }
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
    pub(crate) fn new(
        setting: Setting,
        parent: Arc<Top>,
        written: Written,
        beforehand: Beforehand,
        only_storage: bool,
    ) -> Self {
        Self {
            setting,
            only_storage,
            prepared: beforehand.prepared,
            logs: Mutex::new(beforehand.logs),
            parent,
            written,
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
        let repeated = match &self.written {
            Written::Changes(changes) => changes.repeated(),
            Written::Listed { .. } => None,
        };
        (done, repeated.or_else(|| self.error.lock().take()))
    }

    /// The storage that was given as prepared.
    pub(crate) fn into_prepared(self) -> B256Map<Prepared> {
        self.prepared
    }

    /// Works until nothing is left that nobody has begun.
    pub(crate) fn help(&self, worker: usize) {
        let guard = BreakOnPanic { work: self };
        if let Written::Changes(changes) = &self.written {
            changes.help(&self.setting.hasher);
            self.wait_for(|| changes.is_done());
        }
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
            self.wait_for(|| self.looked_up.load(Ordering::Acquire) == SHARDS);
            hands.write_large_parts();
            hands.give_parts();
            // As above: who sees all counted sees all parts.
            self.stored.fetch_add(count, Ordering::Release);
            if !self.larges.lock().is_empty() {
                self.wait_for(|| self.stored.load(Ordering::Acquire) == SHARDS);
            }
            hands.finish();
        }
        std::mem::forget(guard);
    }

    fn accounts_of(&self, shard: u8) -> &[AccountWork] {
        self.written.accounts_of(shard)
    }

    fn wait_for(&self, is_there: impl Fn() -> bool) {
        let backoff = Backoff::new();
        while !is_there() {
            assert!(!self.is_broken.load(Ordering::Relaxed), "another worker of this seal panicked");
            backoff.snooze();
        }
    }

    /// Where a trie's nodes are that are not in memory.
    fn stored(&self, trie: TrieName) -> Option<InTrie<'_>> {
        self.setting.cold.as_ref().map(|cold| InTrie { work: self, cold, trie })
    }

    /// A store gave nothing.
    pub(crate) fn fail_cold(&self, error: ColdError) {
        *self.error.lock() = Some(error.into());
    }

    fn fail(&self, trie: TrieName, blinded: Blinded) {
        let error = SsmtError::Blinded { trie, path: blinded.path };
        let mut first = self.error.lock();
        if matches!(*first, Some(SsmtError::Cold(_))) {
            return;
        }
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
