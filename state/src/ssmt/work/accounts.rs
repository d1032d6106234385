use super::{
    Work,
    hands::{Hands, Held, Storage},
    large::seal_large,
    storage::{NO_STORAGE, Prepared},
};
use crate::{
    ssmt::{
        account,
        error::TrieName,
        top::{CUT, Top},
    },
    trie::{
        node::{Child, StorageRef},
        plain::root_hash,
        update::{Updater, Write},
    },
};
use alloy_primitives::B256;
use alloy_trie::EMPTY_ROOT_HASH;
use std::sync::{Arc, atomic::Ordering};

impl Hands<'_> {
    /// Writes the accounts of a shard with their storage roots, which must be hashed.
    pub(super) fn write_accounts(&mut self, index: usize) {
        let written = self.write_accounts_of(index);
        let held = &mut self.held[index];
        if let (Some(child), Some(guard)) = (written, &mut held.guard) {
            let number = self.roots.len() as u32;
            self.roots.push(child);
            held.accounts = Some(number);
            self.levels.collect(&mut guard.arena, index as u16, &child, CUT, number);
        }
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
