//! What is let go of when nodes are more than they may be: subtries that the store has, those that were written least often first.
//!
//! A hand goes round the shards, and within each through its tries in the order of keys. What was last written before the store's
//! checkpoint is let go of as a whole, or counted down once where it was written again and again: many keys that are written once
//! (an airdrop) do not drive out those that every block writes. Reads do not count here: they are answered by the flat cache, and
//! by pages.

use super::{
    periods::Periods,
    shard::{Shard, ShardLog},
    store::{Sealing, Ssmt},
    top::{SHARDS, Top},
};
use crate::trie::node::{self, Kind, NodeRef, WIDTH};

/// Nodes that are looked at in a seal at most, beside four for each that was made.
const LOOKS: u64 = 4_096;
const LOOKS_PER_NODE: u64 = 4;

/// Where the hand is.
#[derive(Debug, Default)]
pub(super) struct Hand {
    shard: u8,
    /// The nibbles below the shard's root.
    path: Vec<u8>,
}

/// What was let go of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EvictionStats {
    /// Subtries that a hash stands for now.
    pub subtries: u64,
    /// Nodes of them.
    pub nodes: u64,
    /// Bytes of these.
    pub bytes: u64,
}

impl Ssmt {
    /// Lets go of nodes until no more are kept than may be, as writes of the version that is being made, whose tries are hashed.
    pub(super) fn evict(&self, sealing: &mut Sealing, top: &Top, logs: &mut Vec<(u8, ShardLog)>) {
        // Versions beside one another may have let go of the same: then there seems to be less than there is.
        let sizes = self.shards.iter().map(|shard| {
            let shard = shard.read();
            shard.arena.live_bytes().saturating_sub(shard.evicted)
        });
        let mut excess = sizes.sum::<u64>().saturating_sub(self.config.node_bytes_max);
        if excess == 0 {
            return;
        }
        let made: u64 = logs.iter().map(|(_, log)| log.nodes.made.len() as u64).sum();
        let mut looks = LOOKS + LOOKS_PER_NODE * made;
        for _ in 0..SHARDS {
            let number = sealing.hand.shard;
            let Ok(root) = top.sub(number) else { return };
            let mut guard = self.shards[usize::from(number)].write();
            let at = logs.iter().position(|(shard, _)| *shard == number);
            let mut log = at.map_or_else(ShardLog::default, |at| logs.swap_remove(at).1);
            let path = std::mem::take(&mut sealing.hand.path);
            let mut round = Round {
                shard: &mut guard,
                log: &mut log,
                periods: &sealing.periods,
                excess,
                looks,
                path: Vec::with_capacity(64),
                stats: EvictionStats::default(),
            };
            let is_through = round.visit(root.node, &path);
            (excess, looks) = (round.excess, round.looks);
            sealing.hand.path = std::mem::take(&mut round.path);
            let EvictionStats { subtries, nodes, bytes } = round.stats;
            sealing.evicted.subtries += subtries;
            sealing.evicted.nodes += nodes;
            sealing.evicted.bytes += bytes;
            guard.evicted += bytes;
            log.evicted += bytes;
            drop(guard);
            if at.is_some() || !log.is_empty() {
                logs.push((number, log));
            }
            if !is_through {
                return;
            }
            sealing.hand = Hand { shard: number.wrapping_add(1), path: Vec::new() };
        }
    }

    /// What was let go of since the state was opened.
    #[must_use]
    pub fn evictions(&self) -> EvictionStats {
        self.sealing.lock().evicted
    }
}

/// A way of the hand through one shard.
struct Round<'a> {
    shard: &'a mut Shard,
    log: &'a mut ShardLog,
    periods: &'a Periods,
    /// Bytes to be let go of.
    excess: u64,
    looks: u64,
    path: Vec<u8>,
    stats: EvictionStats,
}

impl Round<'_> {
    /// Goes through what is below a node, from a path on. Whether it came to the end; else `path` is where it stopped.
    fn visit(&mut self, node: NodeRef, from: &[u8]) -> bool {
        if !node.is_stored() {
            return true;
        }
        let bytes = self.shard.arena.bytes(node);
        match node::kind(bytes) {
            Kind::Leaf => true,
            Kind::Account => match node::storage(bytes) {
                Some(storage) => self.visit(storage.root, from),
                None => true,
            },
            Kind::Extension => self.visit_child(node, 0, from),
            Kind::Branch => {
                let (first, rest) = from.split_first().map_or((0, from), |(first, rest)| (*first, rest));
                for nibble in first..WIDTH as u8 {
                    self.path.push(nibble);
                    if !self.visit_child(node, nibble, if nibble == first { rest } else { &[] }) {
                        return false;
                    }
                    self.path.pop();
                }
                true
            }
        }
    }

    fn visit_child(&mut self, parent: NodeRef, nibble: u8, from: &[u8]) -> bool {
        let bytes = self.shard.arena.bytes(parent);
        let (child, is_hashed) = match node::kind(bytes) {
            Kind::Branch => (node::child_ref(bytes, nibble), node::has_hashed_child(bytes, nibble)),
            _ => {
                let child = node::extension(bytes).1;
                (child.node, child.is_hashed())
            }
        };
        if !child.is_stored() || !is_hashed {
            return true;
        }
        if self.excess == 0 || self.looks == 0 {
            return false;
        }
        self.looks -= 1;
        let now = self.shard.arena.now();
        let bytes = self.shard.arena.bytes_mut(child);
        let stamp = node::stamp(bytes);
        if !stamp.is_known() {
            node::set_stamp(bytes, now);
        }
        if self.periods.is_stored(stamp) {
            if node::forget_write(bytes) {
                self.let_go(parent, nibble, child);
            }
            return true;
        }
        self.visit(child, from)
    }

    /// Lets go of a subtrie: its hash stands for it from now on.
    fn let_go(&mut self, parent: NodeRef, nibble: u8, child: NodeRef) {
        let first = self.log.nodes.replaced.len();
        let mut bytes = 0;
        let mut below = vec![child];
        while let Some(node) = below.pop() {
            if !node.is_stored() {
                continue;
            }
            let content = self.shard.arena.bytes(node);
            match node::kind(content) {
                Kind::Branch => below.extend((0..WIDTH as u8).map(|nibble| node::child_ref(content, nibble))),
                Kind::Extension => below.push(node::extension(content).1.node),
                Kind::Account => below.extend(node::storage(content).map(|storage| storage.root)),
                Kind::Leaf => {}
            }
            bytes += node::bytes_of(content).next_multiple_of(8) as u64;
            self.log.nodes.replaced.push(node);
        }
        let is_branch = node::kind(self.shard.arena.bytes(child)) == Kind::Branch;
        let blinded = if is_branch { NodeRef::BLINDED_BRANCH } else { NodeRef::BLINDED };
        let parent_bytes = self.shard.arena.bytes_mut(parent);
        let hash = node::hash_of_child(parent_bytes, nibble);
        let (old, old_hash) = node::exchange_child(parent_bytes, nibble, blinded, &hash);
        self.log.nodes.note_child(parent, nibble, old, old_hash);
        self.stats.subtries += 1;
        self.stats.nodes += (self.log.nodes.replaced.len() - first) as u64;
        self.stats.bytes += bytes;
        self.excess = self.excess.saturating_sub(bytes);
        self.looks = self.looks.saturating_sub((self.log.nodes.replaced.len() - first) as u64 / 2);
    }
}
