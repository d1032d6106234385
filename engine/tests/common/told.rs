//! Listens to commits, and holds what was told of a block against its change set.

use alloy_primitives::{Address, U256};
use citius_state::{Account, AccountChange, ChangeSet, CommitSink, Committed, StateReader};
use std::{
    collections::{HashMap, HashSet},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

/// Keeps all that is told.
#[derive(Debug, Default)]
pub(crate) struct Listener {
    calls: Mutex<Vec<(u64, Vec<Committed>)>>,
    is_told: AtomicBool,
}

impl CommitSink for Listener {
    fn committed(&self, block_number: u64, changes: &[Committed]) {
        assert!(!self.is_told.swap(true, Ordering::SeqCst), "told by two threads at one time");
        assert!(!changes.is_empty());
        self.calls.lock().unwrap().push((block_number, changes.to_vec()));
        self.is_told.store(false, Ordering::SeqCst);
    }
}

/// What stands in the end of a block by what was told of it.
#[derive(Default)]
struct Told {
    accounts: HashMap<Address, Option<Account>>,
    wiped: HashSet<Address>,
    slots: HashMap<(Address, U256), U256>,
}

impl Listener {
    /// Takes what was told of a block so far, and nothing of any other, and checks that it leads from the state before to
    /// where the change set leads. Gives how many calls there were.
    pub(crate) fn check(
        &self,
        block_number: u64,
        before: &dyn StateReader,
        changes: &ChangeSet,
    ) -> Result<usize, String> {
        let calls = self.take(block_number)?;
        let mut told = Told::default();
        for call in &calls {
            told.add(call)?;
        }
        told.check(before, changes)?;
        Ok(calls.len())
    }

    /// Takes what was told, which must be of blocks from this one on, and gives what is of it.
    pub(crate) fn take(&self, block_number: u64) -> Result<Vec<Vec<Committed>>, String> {
        let mut calls = self.calls.lock().unwrap();
        let later = calls.iter().position(|(number, _)| *number != block_number).unwrap_or(calls.len());
        let later = calls.split_off(later);
        let of_block = std::mem::replace(&mut *calls, later);
        if calls.iter().any(|(number, _)| *number <= block_number) {
            return Err(format!("told of block {block_number}, or one before, behind a later one"));
        }
        Ok(of_block.into_iter().map(|(_, call)| call).collect())
    }
}

impl Told {
    fn add(&mut self, call: &[Committed]) -> Result<(), String> {
        let is_slot = |value: &Committed| matches!(value, Committed::Slot { .. });
        if !call.is_sorted_by_key(is_slot) {
            return Err("an account comes behind a slot".into());
        }
        let key = |value: &Committed| match *value {
            Committed::Account { address, .. } => (address, None),
            Committed::Slot { address, slot, .. } => (address, Some(slot)),
        };
        if call.iter().map(key).collect::<HashSet<_>>().len() < call.len() {
            return Err("a key comes twice in one call".into());
        }
        for value in call {
            match *value {
                Committed::Account { address, after, storage_wiped } => {
                    if storage_wiped {
                        self.wiped.insert(address);
                        self.slots.retain(|(owner, _), _| *owner != address);
                    }
                    let last = self.accounts.insert(address, after);
                    let nonce = |account: Option<Account>| account.map(|account| account.nonce);
                    if let (Some(Some(last)), Some(next)) = (last.map(nonce), nonce(after))
                        && next < last
                        && !storage_wiped
                    {
                        return Err(format!("{address} went back from nonce {last} to {next}"));
                    }
                }
                Committed::Slot { address, slot, after } => {
                    self.slots.insert((address, slot), after);
                }
            }
        }
        Ok(())
    }

    fn check(&self, before: &dyn StateReader, changes: &ChangeSet) -> Result<(), String> {
        let by_address: HashMap<_, _> =
            changes.accounts.iter().map(|change| (change.address, change)).collect();
        for change in &changes.accounts {
            self.check_account(change)?;
        }
        for (address, after) in &self.accounts {
            let expected = by_address.get(address).map_or_else(
                || before.account(*address).map_err(|error| error.to_string()),
                |change| Ok(change.after),
            )?;
            if *after != expected {
                return Err(format!("{address} was told to be {after:?} instead of {expected:?}"));
            }
        }
        for ((address, slot), after) in &self.slots {
            let change = by_address.get(address);
            let changed = change.and_then(|change| change.storage.iter().find(|other| other.slot == *slot));
            let expected = match changed {
                Some(change) => change.after,
                None if self.wiped.contains(address) => U256::ZERO,
                None => before.storage(*address, *slot).map_err(|error| error.to_string())?,
            };
            if *after != expected {
                return Err(format!("slot {slot} of {address} was told to be {after} instead of {expected}"));
            }
        }
        Ok(())
    }

    /// Whether all was told that changed of an account.
    fn check_account(&self, change: &AccountChange) -> Result<(), String> {
        let AccountChange { address, before, after, storage_wiped, storage } = change;
        if before != after && !self.accounts.contains_key(address) {
            return Err(format!("{address} changed, and nobody was told"));
        }
        // An account that did not exist has no storage whether that was reset or not.
        if before.is_some() && *storage_wiped != self.wiped.contains(address) {
            return Err(format!("storage of {address} wiped: {storage_wiped}; the other was told"));
        }
        match storage.iter().find(|slot| !self.slots.contains_key(&(*address, slot.slot))) {
            Some(slot) => Err(format!("slot {} of {address} changed, and nobody was told", slot.slot)),
            None => Ok(()),
        }
    }
}
