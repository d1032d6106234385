//! Fresh nodes by their depth, hashed from the deepest level up, with full lanes across tries and shards.

use super::{
    arena::Arena,
    node::{self, Child, HASH, Kind, NodeRef, WIDTH},
};
use alloy_primitives::B256;
use citius_hashing::Hasher;

/// Messages that are handed to the hasher at a time.
const BATCH: usize = 1024;

/// Fresh nodes that are to be hashed, of any number of tries in any number of arenas.
#[derive(Debug, Default)]
pub(crate) struct Levels {
    /// By depth.
    levels: Vec<Vec<Place>>,
    pending: u64,
    hashed: u64,
}

/// A node to be hashed, and where its hash goes.
#[derive(Debug, Clone, Copy)]
struct Place {
    node: NodeRef,
    /// A node of the same arena, or the root's number if `nibble` is [`ROOT`].
    parent: u32,
    arena: u16,
    nibble: u8,
}

/// Stands for a nibble where there is no parent.
const ROOT: u8 = 0xff;

impl Levels {
    /// Takes note of all fresh nodes of a trie, whose root gets the number `root` in [`Levels::hash`]. `depth` is
    /// the root's, in levels to be hashed after all deeper ones.
    pub(crate) fn collect(
        &mut self,
        arena: &mut Arena,
        arena_index: u16,
        child: &Child,
        depth: usize,
        root: u32,
    ) {
        if !child.node.is_fresh() {
            return;
        }
        let node = child.node.settled();
        if child.is_hashed() {
            self.push(depth, Place { node, parent: root, arena: arena_index, nibble: ROOT });
        }
        self.collect_below(arena, arena_index, node, depth + 1);
    }

    fn collect_below(&mut self, arena: &mut Arena, index: u16, parent: NodeRef, depth: usize) {
        let bytes = arena.bytes(parent);
        match node::kind(bytes) {
            Kind::Leaf | Kind::Account => {}
            Kind::Extension => {
                let child = node::extension(bytes).1;
                if child.node.is_fresh() {
                    self.collect_child(arena, index, parent, (0, child.node), child.is_hashed(), depth);
                }
            }
            Kind::Branch => {
                let mut fresh = [(0, NodeRef::EMPTY); WIDTH];
                let mut count = 0;
                for (place, child) in fresh.iter_mut().zip(node::fresh_children(bytes)) {
                    *place = child;
                    count += 1;
                }
                for child in &fresh[..count] {
                    let is_hashed = node::has_hashed_child(arena.bytes(parent), child.0);
                    self.collect_child(arena, index, parent, *child, is_hashed, depth);
                }
            }
        }
    }

    fn collect_child(
        &mut self,
        arena: &mut Arena,
        index: u16,
        parent: NodeRef,
        (nibble, child): (u8, NodeRef),
        is_hashed: bool,
        depth: usize,
    ) {
        let node = child.settled();
        if is_hashed {
            self.push(depth, Place { node, parent: parent.bits(), arena: index, nibble });
        } else {
            // It stands in its parent whole: there is nothing to find out.
            node::settle_child(arena.bytes_mut(parent), nibble, None);
        }
        self.collect_below(arena, index, node, depth + 1);
    }

    fn push(&mut self, depth: usize, place: Place) {
        if self.levels.len() <= depth {
            self.levels.resize_with(depth + 1, Vec::new);
        }
        self.levels[depth].push(place);
        self.pending += 1;
    }

    /// Hashes all that was noted, deepest first. `roots` are the tries' roots by number, of which the hashed ones get
    /// their hashes. Everything is settled then, and nothing noted any more.
    /// `settled` roots, the first ones, were hashed before.
    pub(crate) fn hash(
        &mut self,
        arenas: &mut [Option<&mut Arena>],
        roots: &mut [Child],
        settled: usize,
        hasher: &Hasher,
    ) {
        let mut digests = [B256::ZERO; BATCH];
        for level in self.levels.iter_mut().rev() {
            for places in level.chunks(BATCH) {
                let digests = &mut digests[..places.len()];
                let messages: Vec<&[u8]> =
                    places.iter().map(|place| node::rlp_of(arena(arenas, place).bytes(place.node))).collect();
                hasher.hash_each(&messages, digests);
                for (place, digest) in places.iter().zip(digests) {
                    settle(place, &digest.0, arenas, roots);
                }
            }
            level.clear();
        }
        self.hashed += std::mem::take(&mut self.pending);
        for root in &mut roots[settled..] {
            root.node = root.node.settled();
        }
    }

    /// Nodes that wait for their hashes.
    pub(crate) fn pending(&self) -> u64 {
        self.pending
    }

    /// Nodes hashed so far.
    pub(crate) fn hashed(&self) -> u64 {
        self.hashed
    }
}

fn settle(place: &Place, digest: &[u8; HASH], arenas: &mut [Option<&mut Arena>], roots: &mut [Child]) {
    if place.nibble == ROOT {
        let root = &mut roots[place.parent as usize];
        *root = Child::hashed(root.node, digest);
        return;
    }
    let parent = NodeRef::from_bits(place.parent);
    let Some(arena) = &mut arenas[usize::from(place.arena)] else { panic!("{place:?} is in an arena") };
    node::settle_child(arena.bytes_mut(parent), place.nibble, Some(digest));
}

fn arena<'a>(arenas: &'a [Option<&mut Arena>], place: &Place) -> &'a Arena {
    match &arenas[usize::from(place.arena)] {
        Some(arena) => arena,
        None => panic!("{place:?} is in an arena"),
    }
}
