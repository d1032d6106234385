use super::top::{SHARDS, Top};
use crate::trie::{
    arena::Arena,
    log::{Log, free_all},
    node::NodeRef,
    region::Regions,
};
use parking_lot::RwLock;
use std::sync::Arc;

/// What one prefix of two nibbles owns: the part of the account trie below it, the small storage tries of these
/// accounts, and of every large storage trie the part below the same prefix.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) arena: Arena,
    /// The upper levels of the large storage tries of this shard's accounts, by number.
    pub(crate) large: Slab,
    /// Bytes of nodes that some version lets go of because they are stored elsewhere, and that others still have.
    pub(crate) evicted: u64,
}

impl Shard {
    /// All shards of a state, empty. They share their memory's regions.
    pub(crate) fn all() -> Vec<Self> {
        let regions = Regions::default();
        let shard =
            |_| Self { arena: Arena::in_regions(regions.clone()), large: Slab::default(), evicted: 0 };
        (0..SHARDS).map(shard).collect()
    }
}

/// What writes did to a shard.
#[derive(Debug, Default)]
pub(crate) struct ShardLog {
    pub(crate) nodes: Log,
    pub(crate) large_made: Vec<u32>,
    pub(crate) large_replaced: Vec<u32>,
    /// Large tries that are gone as a whole, in all shards.
    pub(crate) large_dropped: Vec<u32>,
    /// Bytes of nodes among those replaced that are stored elsewhere.
    pub(crate) evicted: u64,
}

/// Tops of large storage tries by number.
#[derive(Debug, Default)]
pub(crate) struct Slab {
    tops: Vec<Option<Arc<Top>>>,
    free: Vec<u32>,
}

impl Slab {
    pub(crate) fn insert(&mut self, top: Arc<Top>) -> u32 {
        if let Some(number) = self.free.pop() {
            self.tops[number as usize] = Some(top);
            return number;
        }
        self.tops.push(Some(top));
        self.tops.len() as u32 - 1
    }

    pub(crate) fn get(&self, number: u32) -> &Arc<Top> {
        match self.tops.get(number as usize) {
            Some(Some(top)) => top,
            _ => panic!("large storage {number} is not there"),
        }
    }

    pub(crate) fn remove(&mut self, number: u32) -> Arc<Top> {
        match self.tops.get_mut(number as usize).and_then(Option::take) {
            Some(top) => {
                self.free.push(number);
                top
            }
            None => panic!("large storage {number} is not there"),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.tops.len() - self.free.len()
    }
}

impl ShardLog {
    /// Takes note that a storage trie is gone in this version.
    pub(crate) fn drop_storage(&mut self, root: NodeRef) {
        match root.as_large() {
            Some(number) => self.large_dropped.push(number),
            None if root.is_stored() => self.nodes.dropped.push(root),
            None => {}
        }
    }

    /// Gives back what the writes made. The shard must be at another version.
    pub(crate) fn undo(self, shard: &mut Shard) {
        shard.evicted -= self.evicted;
        self.nodes.undo(&mut shard.arena);
        for number in self.large_made {
            shard.large.remove(number);
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        let large = self.large_made.len() + self.large_replaced.len() + self.large_dropped.len();
        self.nodes.bytes() + (large * size_of::<u32>()) as u64
    }
}

/// Gives back what the writes to shard `of` replaced.
pub(crate) fn finish(shards: &[RwLock<Shard>], of: u8, log: ShardLog) {
    let dropped: Vec<Arc<Top>> = {
        let mut shard = shards[usize::from(of)].write();
        let shard = &mut *shard;
        shard.evicted -= log.evicted;
        log.nodes.finish(&mut shard.arena);
        for number in log.large_replaced {
            shard.large.remove(number);
        }
        log.large_dropped.into_iter().map(|number| shard.large.remove(number)).collect()
    };
    for top in dropped {
        for (shard, child) in top.subs() {
            if child.node.is_stored() {
                free_all(&mut shards[usize::from(shard)].write().arena, child.node);
            }
        }
    }
}
