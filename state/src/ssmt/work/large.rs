use super::{
    AccountWork, SlotWork,
    hands::{Hands, PENDING_MAX, Storage},
    storage::{NO_STORAGE, with_writes},
};
use crate::{
    ssmt::{
        error::TrieName,
        shard::{Shard, ShardLog},
        top::{CUT, Sub, Top},
    },
    trie::{
        node::{NodeRef, StorageRef},
        update::{Blinded, Updater},
        walk::{self, Way},
    },
};
use alloy_primitives::B256;
use alloy_trie::EMPTY_ROOT_HASH;
use citius_hashing::Hasher;
use parking_lot::Mutex;
use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Parts of large storage tries that are walked at once.
const PARTS_BATCH: usize = 64;

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
        let mut parts = Vec::new();
        for index in 0..self.held.len() {
            let shard = self.held[index].shard;
            for large in &larges {
                let first = large.slots.partition_point(|slot| slot.key[0] < shard);
                let count = large.slots[first..].partition_point(|slot| slot.key[0] == shard);
                if count > 0 {
                    let shards = &self.work.setting.shards;
                    if self.held[index].guard.is_none() {
                        self.held[index].guard = Some(shards[usize::from(shard)].write());
                        self.take_log(index);
                    }
                    parts.push((index, large, first..first + count));
                }
            }
        }
        for parts in parts.chunks(PARTS_BATCH) {
            self.warm_parts(parts);
            for (index, large, slots) in parts {
                self.write_part(*index, large, slots.clone());
                if self.levels.pending() > PENDING_MAX {
                    self.hash();
                }
            }
        }
    }

    fn warm_parts(&self, parts: &[(usize, &Arc<LargeWork>, Range<usize>)]) {
        let mut ways = Vec::new();
        for (index, large, slots) in parts {
            let held = &self.held[*index];
            if let (Some(guard), Ok(sub)) = (&held.guard, large.top.sub(held.shard)) {
                ways.extend(large.slots[slots.clone()].iter().map(|slot| Way {
                    arena: &guard.arena,
                    node: sub.node,
                    depth: CUT,
                    key: &slot.key[..],
                }));
            }
        }
        walk::warm(&mut ways);
    }

    fn write_part(&mut self, index: usize, large: &Arc<LargeWork>, slots: Range<usize>) {
        let work = self.work;
        let held = &mut self.held[index];
        let Some(guard) = &mut held.guard else { panic!("a shard with a part is locked") };
        let mut updater = Updater::new(&mut guard.arena, &mut held.log.nodes);
        let written = large
            .top
            .sub(held.shard)
            .and_then(|sub| with_writes(&large.slots[slots], |writes| updater.update(sub, CUT, writes)));
        let added = updater.leaves_added();
        match written {
            Ok(child) => {
                // Relaxed: read when all parts were given, behind `stored`. Wraps where slots were removed.
                large.leaves.fetch_add(added as usize, Ordering::Relaxed);
                let number = self.roots.len() as u32;
                self.roots.push(child);
                self.levels.collect(&mut guard.arena, index as u16, &child, CUT, number);
                self.parts.push((number, index, Arc::clone(large)));
            }
            Err(blinded) => work.fail(TrieName::Storage(large.account), blinded),
        }
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
