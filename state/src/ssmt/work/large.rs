use super::{
    AccountWork, SlotWork,
    hands::{Hands, SlotTrie, Storage, Whose},
    storage::NO_STORAGE,
};
use crate::{
    ssmt::{
        error::TrieName,
        shard::{Shard, ShardLog},
        top::{CUT, Sub, Top},
    },
    trie::{
        node::{NodeRef, StorageRef},
        update::Blinded,
    },
};
use alloy_primitives::B256;
use alloy_trie::EMPTY_ROOT_HASH;
use citius_hashing::Hasher;
use parking_lot::Mutex;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// A large storage trie to be written.
#[derive(Debug)]
pub(super) struct LargeWork {
    pub(super) account: B256,
    /// What it was before; nothing of a trie that has just become large.
    pub(super) top: Arc<Top>,
    /// By key.
    pub(super) slots: Vec<SlotWork>,
    pub(super) parts: Mutex<Vec<(u8, Sub)>>,
    pub(super) leaves: AtomicUsize,
}

impl<'a> Hands<'a> {
    pub(super) fn large(
        &self,
        account: &AccountWork,
        top: Arc<Top>,
        slots: Vec<SlotWork>,
        old: StorageRef,
    ) -> Storage {
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
    pub(super) fn write_large_parts(&mut self) {
        let larges = self.work.larges.lock().clone();
        if larges.is_empty() {
            return;
        }
        for index in 0..self.held.len() {
            let shard = self.held[index].shard;
            for large in &larges {
                let first = large.slots.partition_point(|slot| slot.key[0] < shard);
                let count = large.slots[first..].partition_point(|slot| slot.key[0] == shard);
                if count == 0 {
                    continue;
                }
                if self.held[index].guard.is_none() {
                    self.held[index].guard = Some(self.work.setting.shards[usize::from(shard)].write());
                    self.take_log(index);
                }
                match large.top.sub(shard) {
                    Ok(root) => {
                        let start = self.slots.len() as u32;
                        self.slots.extend_from_slice(&large.slots[first..first + count]);
                        let slots = start..self.slots.len() as u32;
                        self.tries.push(SlotTrie {
                            index,
                            root,
                            slots,
                            whose: Whose::Large(Arc::clone(large)),
                        });
                    }
                    Err(blinded) => self.work.fail(TrieName::Storage(large.account), blinded),
                }
                if self.slots.len() >= self.slots_max {
                    self.write_tries(CUT);
                }
            }
        }
        self.write_tries(CUT);
    }

    /// Hands over the parts of large storage tries, hashed.
    pub(super) fn give_parts(&mut self) {
        for (number, index, large) in self.parts.drain(..) {
            let held = &self.held[index];
            let child = self.roots[number as usize];
            let node = held.guard.as_ref().filter(|_| child.node.is_stored());
            let sub = Sub::new(child, node.map(|guard| guard.arena.bytes(child.node)));
            large.parts.lock().push((held.shard, sub));
        }
    }
}

/// A large storage trie with all its new parts.
pub(super) fn seal_large(
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
