//! A state of incremental tries: the storage of each account, and the accounts.

use super::incremental::{IncrementalTrie, LeafValue};
use alloy_primitives::{B256, U256, keccak256, map::B256Map};
use alloy_rlp::Encodable;
use alloy_trie::{EMPTY_ROOT_HASH, TrieAccount};
use citius_state::{Account, ChangeSet};
use rayon::{
    ThreadPool,
    iter::{IndexedParallelIterator, IntoParallelRefMutIterator, ParallelIterator},
};

/// The state trie by `alloy-trie`, with its intermediate nodes stored.
#[derive(Debug, Default)]
pub struct IncrementalState {
    accounts: IncrementalTrie<AccountLeaf>,
    storages: B256Map<IncrementalTrie<U256>>,
}

/// An account, and the root of its storage.
#[derive(Debug, Clone, Copy)]
pub struct AccountLeaf {
    account: Account,
    storage_root: B256,
}

impl LeafValue for AccountLeaf {
    fn encode(&self, out: &mut Vec<u8>) {
        let Account { balance, nonce, code_hash } = self.account;
        TrieAccount { nonce, balance, storage_root: self.storage_root, code_hash }.encode(out);
    }
}

impl LeafValue for U256 {
    fn encode(&self, out: &mut Vec<u8>) {
        Encodable::encode(self, out);
    }
}

/// One account's writes.
struct Task {
    key: B256,
    after: Option<Account>,
    storage: IncrementalTrie<U256>,
    slots: Vec<(U256, U256)>,
}

impl IncrementalState {
    /// Writes what a block changed; the state root. With a pool storage roots are spread over its threads.
    pub fn write(&mut self, changes: &ChangeSet, pool: Option<&ThreadPool>) -> B256 {
        let mut tasks: Vec<Task> = changes
            .accounts
            .iter()
            .map(|change| {
                let key = keccak256(change.address);
                let storage = self.storages.remove(&key).unwrap_or_default();
                Task {
                    key,
                    after: change.after,
                    storage: if change.storage_wiped { IncrementalTrie::default() } else { storage },
                    slots: change.storage.iter().map(|slot| (slot.slot, slot.after)).collect(),
                }
            })
            .collect();
        match pool {
            Some(pool) => pool.install(|| tasks.par_iter_mut().with_max_len(1).for_each(Task::write_storage)),
            None => tasks.iter_mut().for_each(Task::write_storage),
        }
        let mut accounts: Vec<(B256, Option<AccountLeaf>)> = Vec::with_capacity(tasks.len());
        for task in tasks {
            let storage_root = task.storage.root();
            accounts.push((task.key, task.after.map(|account| AccountLeaf { account, storage_root })));
            if task.after.is_some() && storage_root != EMPTY_ROOT_HASH {
                self.storages.insert(task.key, task.storage);
            }
        }
        accounts.sort_unstable_by_key(|(key, _)| *key);
        self.accounts.write(accounts)
    }

    /// The state root out of nothing but accounts and slots.
    #[must_use]
    pub fn rebuilt_root(&self) -> B256 {
        let mut accounts = IncrementalTrie::default();
        let leaves = self.accounts.leaves().map(|(key, leaf)| {
            let storage_root = self.storages.get(key).map_or(EMPTY_ROOT_HASH, IncrementalTrie::rebuilt_root);
            (*key, Some(AccountLeaf { storage_root, ..*leaf }))
        });
        accounts.write(leaves.collect())
    }
}

impl Task {
    fn write_storage(&mut self) {
        if self.slots.is_empty() {
            return;
        }
        let mut writes: Vec<(B256, Option<U256>)> = self
            .slots
            .drain(..)
            .map(|(slot, value)| (keccak256(slot.to_be_bytes::<32>()), (!value.is_zero()).then_some(value)))
            .collect();
        writes.sort_unstable_by_key(|(key, _)| *key);
        self.storage.write(writes);
    }
}
