use super::{
    AccountWork, Work,
    hands::{Batch, Claimed, Hands, Held, Storage},
    large::seal_large,
    storage::{NO_STORAGE, Prepared},
};
use crate::{
    ssmt::{
        account::{self, ACCOUNT_VALUE_MAX},
        error::TrieName,
        top::{CUT, Top},
    },
    trie::{
        levels::Arenas,
        node::{Child, NodeRef, StorageRef},
        plain::root_hash,
        sweep::{Target, Values, Writes, grow},
        update::{Below, Updater, Write},
    },
};
use alloy_primitives::B256;
use alloy_trie::EMPTY_ROOT_HASH;
use std::{
    ops::Range,
    sync::{Arc, atomic::Ordering},
};

/// Bytes that an account's value has at least: two hashes and two numbers.
const VALUE_MIN: usize = 68;

impl Writes for &[&AccountWork] {
    fn key(&self, write: u32) -> &B256 {
        &self[write as usize].key
    }

    fn value_len(&self, write: u32) -> Option<usize> {
        self[write as usize].after.map(|_| VALUE_MIN)
    }
}

/// Accounts of some shards as the trie is to have them.
struct Encoded<'a> {
    accounts: &'a [&'a AccountWork],
    /// Where each value is, and the account's storage.
    spans: Vec<(Range<usize>, StorageRef)>,
    values: Vec<u8>,
}

impl<'a> Values for &'a Encoded<'a> {
    type Value = &'a [u8];

    fn key(&self, write: u32) -> &B256 {
        &self.accounts[write as usize].key
    }

    fn value(&self, write: u32) -> (Self::Value, Option<StorageRef>) {
        let (span, storage) = &self.spans[write as usize];
        (&self.values[span.clone()], Some(*storage))
    }
}

impl Hands<'_> {
    /// Writes the accounts of some claimed shards of a batch with their storage roots, which must be hashed, and hashes
    /// them. The other shards' are left as they are.
    pub(super) fn write_accounts(&mut self, batch: &Batch<'_>, shards: &[usize]) {
        let work = self.work;
        if shards.is_empty() {
            self.account_levels.clear();
            return;
        }
        let ready: Vec<&Claimed> =
            batch.shards.iter().filter(|shard| shards.contains(&shard.index)).collect();
        let encoded = self.encode(batch, &ready);
        let before = self.account_levels.hashed();
        let Self { accounts, account_levels, held, roots, .. } = self;
        for (number, target) in batch.targets.iter().enumerate() {
            if !shards.contains(&target.arena.into()) {
                accounts.leave(number);
            }
        }
        accounts.apply(&batch.targets, &&encoded, held, account_levels);
        for Claimed { index, writes, target } in ready {
            if let Some(target) = target.filter(|target| !accounts.is_left(*target)) {
                held[*index].accounts = Some(batch.targets[target].number);
                continue;
            }
            let shard = held[*index].shard;
            let is_empty = work.parent.sub(shard).is_ok_and(|sub| sub.is_empty());
            let is_there = |write: u32| batch.accounts[write as usize].after.is_some();
            if is_empty && writes.clone().all(is_there) {
                let number = roots.len() as u32;
                roots.push(Child::EMPTY);
                let (root, writes) = (NodeRef::EMPTY, writes.clone());
                let target = Target { root, arena: *index as u16, number, writes };
                grow(&target, CUT, &&encoded, held, account_levels);
                held[*index].accounts = Some(number);
                continue;
            }
            let writes: Vec<Write<'_>> = writes
                .clone()
                .map(|write| {
                    let (value, storage) = (&encoded).value(write);
                    let key = &batch.accounts[write as usize].key[..];
                    let value = is_there(write).then_some(value);
                    Write { key, value, storage: storage.filter(|_| value.is_some()) }
                })
                .collect();
            let stored = work.stored(TrieName::Accounts);
            let (arena, log) = held.parts(*index as u16);
            let mut updater = Updater::over(arena, log, stored.as_ref().map(|stored| stored as &dyn Below));
            match work.parent.sub(shard).and_then(|sub| updater.update(sub, CUT, &writes)) {
                Ok(child) => {
                    let number = roots.len() as u32;
                    roots.push(child);
                    account_levels.collect(arena, *index as u16, &child, number);
                    held[*index].accounts = Some(number);
                }
                Err(blinded) => work.fail(TrieName::Accounts, blinded),
            }
        }
        account_levels.hash(held, roots, 0, &work.setting.hasher);
        let hashed = account_levels.hashed() - before;
        self.count_hashed(hashed);
    }

    /// What the accounts of some claimed shards are to be.
    fn encode<'b>(&mut self, batch: &'b Batch<'_>, ready: &[&Claimed]) -> Encoded<'b> {
        let work = self.work;
        let mut encoded = Encoded {
            accounts: &batch.accounts,
            spans: vec![(0..0, NO_STORAGE); batch.accounts.len()],
            values: Vec::with_capacity(batch.accounts.len() * ACCOUNT_VALUE_MAX),
        };
        for Claimed { index, writes, .. } in ready {
            let held = &mut self.held[*index];
            let Some(guard) = &mut held.guard else { continue };
            for (write, storage) in writes.clone().zip(&held.storages) {
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
                let start = encoded.values.len();
                if let Some(after) = &batch.accounts[write as usize].after {
                    account::encode(after, root, &mut encoded.values);
                }
                encoded.spans[write as usize] = (start..encoded.values.len(), storage);
            }
        }
        encoded
    }
}

/// What of the storage of a shard's accounts is written now.
pub(super) fn prepared(work: &Work, held: &Held<'_>, roots: &[Child]) -> Vec<(B256, Prepared)> {
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
