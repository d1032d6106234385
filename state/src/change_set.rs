use crate::Account;
use alloy_primitives::{Address, B256, U256};
use revm::bytecode::Bytecode;
use std::collections::{HashMap, HashSet, hash_map::Entry};

/// What one block did to the state, merged over its transactions, system calls and rewards.
///
/// An account is listed only if its balance, nonce, code or a slot ended otherwise than it began, or if its
/// storage was wiped and it exists afterwards. The order of the lists carries no meaning until
/// [`ChangeSet::sort`] gives them the canonical one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChangeSet {
    /// The accounts that changed, each once.
    pub accounts: Vec<AccountChange>,
    /// Code that this block deployed, each hash once.
    pub codes: Vec<(B256, Bytecode)>,
}

/// One account before and after a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountChange {
    /// Whose account it is.
    pub address: Address,
    /// The account before the block; `None` if it did not exist.
    pub before: Option<Account>,
    /// The account after the block; `None` if it is gone.
    pub after: Option<Account>,
    /// The account did not exist before, or was destroyed: all its earlier storage is gone, and `storage` lists
    /// every slot it has now.
    pub storage_wiped: bool,
    /// Slots that changed; of a wiped account all slots that are not zero now.
    pub storage: Vec<SlotChange>,
}

/// One storage slot before and after a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotChange {
    /// The slot's key.
    pub slot: U256,
    /// Its value before the block (of a wiped account zero, whatever stood there before the wipe).
    pub before: U256,
    /// Its value after the block.
    pub after: U256,
}

impl ChangeSet {
    /// Sorts accounts, slots and codes by key, so that equal change sets compare equal.
    pub fn sort(&mut self) {
        self.accounts.sort_unstable_by_key(|change| change.address);
        for change in &mut self.accounts {
            change.storage.sort_unstable_by_key(|slot| slot.slot);
        }
        self.codes.sort_unstable_by_key(|(hash, _)| *hash);
    }

    /// The change of one account (a linear search: for tests and tools).
    #[must_use]
    pub fn account(&self, address: Address) -> Option<&AccountChange> {
        self.accounts.iter().find(|change| change.address == address)
    }

    /// Number of slots that changed, over all accounts.
    #[must_use]
    pub fn slot_count(&self) -> usize {
        self.accounts.iter().map(|change| change.storage.len()).sum()
    }

    /// Folds a later block's change set into this one, so that this one leads from its own state before to the
    /// later one's state after. Both must be of consecutive states.
    pub fn merge(&mut self, later: Self) {
        let mut index: HashMap<Address, usize> =
            self.accounts.iter().enumerate().map(|(i, change)| (change.address, i)).collect();
        for change in later.accounts {
            match index.entry(change.address) {
                Entry::Vacant(entry) => {
                    entry.insert(self.accounts.len());
                    self.accounts.push(change);
                }
                Entry::Occupied(entry) => {
                    self.accounts[*entry.get()].merge(change);
                }
            }
        }
        self.accounts.retain(AccountChange::is_change);
        let known: HashSet<B256> = self.codes.iter().map(|(hash, _)| *hash).collect();
        self.codes.extend(later.codes.into_iter().filter(|(hash, _)| !known.contains(hash)));
    }
}

impl AccountChange {
    /// Whether this entry belongs into a change set at all.
    #[must_use]
    pub fn is_change(&self) -> bool {
        self.before != self.after || !self.storage.is_empty() || (self.storage_wiped && self.after.is_some())
    }

    fn merge(&mut self, later: Self) {
        debug_assert_eq!(self.after, later.before, "change sets of {} are not consecutive", self.address);
        self.after = later.after;
        if later.storage_wiped {
            self.storage_wiped = true;
            self.storage = later.storage;
            return;
        }
        let places: HashMap<U256, usize> =
            self.storage.iter().enumerate().map(|(place, change)| (change.slot, place)).collect();
        for slot in later.storage {
            match places.get(&slot.slot) {
                Some(place) => self.storage[*place].after = slot.after,
                None => self.storage.push(slot),
            }
        }
        let wiped = self.storage_wiped;
        self.storage.retain(|slot| if wiped { !slot.after.is_zero() } else { slot.before != slot.after });
    }
}
