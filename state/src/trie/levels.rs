//! Changed nodes by their level, hashed from the deepest level up, with full lanes across tries and shards.

use super::{
    arena::Arena,
    log::Log,
    node::{self, Child, HASH, Kind, NodeRef, WIDTH},
};
use alloy_primitives::B256;
use citius_hashing::Hasher;

/// The arenas that tries lie in, each with the log of what is done to it, by number.
pub(crate) trait Arenas {
    /// An arena.
    fn arena(&self, number: u16) -> &Arena;

    /// An arena that is to be changed, and its log.
    fn parts(&mut self, number: u16) -> (&mut Arena, &mut Log);
}

/// One arena and its log; they have every number.
impl Arenas for (&mut Arena, &mut Log) {
    fn arena(&self, _number: u16) -> &Arena {
        self.0
    }

    fn parts(&mut self, _number: u16) -> (&mut Arena, &mut Log) {
        (self.0, self.1)
    }
}

/// Nodes that are to be hashed, of any number of tries in any number of arenas.
///
/// A node's level is the number of nodes above it, and its parent, which is to be hashed too, is one level up.
#[derive(Debug, Default)]
pub(crate) struct Levels {
    levels: Vec<Vec<Place>>,
    hashed: u64,
}

/// A node to be hashed, and where its hash goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// The node as it is to be; [`NodeRef::EMPTY`] if there is none, or none that changed.
    pub(crate) node: NodeRef,
    /// Its parent's place in the level above, or the root's number if `nibble` is [`ROOT`].
    pub(crate) parent: u32,
    pub(crate) arena: u16,
    /// Which child of its parent it is; 0 below an extension.
    pub(crate) nibble: u8,
    /// What its children were need not be noted: it was made just now, or they are noted already.
    pub(crate) is_noted: bool,
}

/// Stands for a nibble where there is no parent.
pub(crate) const ROOT: u8 = 0xff;

impl Levels {
    /// Takes note of all fresh nodes of a trie, whose root gets the number `root` in [`Levels::hash`].
    pub(crate) fn collect(&mut self, arena: &mut Arena, number: u16, child: &Child, root: u32) {
        if !child.node.is_fresh() {
            return;
        }
        let node = child.node.settled();
        let mut place = u32::MAX;
        if child.is_hashed() {
            place = self.push(0, Place { node, parent: root, arena: number, nibble: ROOT, is_noted: true });
        }
        self.collect_below(arena, number, node, place, 1);
    }

    /// Takes note of the fresh nodes below one, which has its place in the level above `level`.
    pub(crate) fn collect_below(
        &mut self,
        arena: &mut Arena,
        number: u16,
        parent: NodeRef,
        place: u32,
        level: usize,
    ) {
        let bytes = arena.bytes(parent);
        match node::kind(bytes) {
            Kind::Leaf | Kind::Account => {}
            Kind::Extension => {
                let child = node::extension(bytes).1;
                if child.node.is_fresh() {
                    self.collect_child(
                        arena,
                        number,
                        parent,
                        (0, child.node),
                        child.is_hashed(),
                        place,
                        level,
                    );
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
                    self.collect_child(arena, number, parent, *child, is_hashed, place, level);
                }
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "a step of a recursion, called in two places")]
    fn collect_child(
        &mut self,
        arena: &mut Arena,
        number: u16,
        parent: NodeRef,
        (nibble, child): (u8, NodeRef),
        is_hashed: bool,
        parent_place: u32,
        level: usize,
    ) {
        let node = child.settled();
        let mut place = u32::MAX;
        if is_hashed {
            let new = Place { node, parent: parent_place, arena: number, nibble, is_noted: true };
            place = self.push(level, new);
        } else {
            // It stands in its parent whole: there is nothing to find out, here and below.
            node::settle_child(arena.bytes_mut(parent), nibble, None);
        }
        self.collect_below(arena, number, node, place, level + 1);
    }

    /// Adds a node to be hashed, and says which place of its level that is.
    #[inline]
    pub(crate) fn push(&mut self, level: usize, place: Place) -> u32 {
        if self.levels.len() <= level {
            self.levels.resize_with(level + 1, Vec::new);
        }
        let places = &mut self.levels[level];
        places.push(place);
        places.len() as u32 - 1
    }

    #[inline]
    pub(crate) fn place(&self, level: usize, place: u32) -> &Place {
        &self.levels[level][place as usize]
    }

    #[inline]
    pub(crate) fn place_mut(&mut self, level: usize, place: u32) -> &mut Place {
        &mut self.levels[level][place as usize]
    }

    /// Gives a place up: there is nothing to be hashed.
    pub(crate) fn abandon(&mut self, level: usize, place: u32) {
        self.place_mut(level, place).node = NodeRef::EMPTY;
    }

    /// How many places each level has.
    pub(crate) fn lengths(&self) -> impl Iterator<Item = usize> {
        self.levels.iter().map(Vec::len)
    }

    /// How many places a level has.
    pub(crate) fn length(&self, level: usize) -> usize {
        self.levels.get(level).map_or(0, Vec::len)
    }

    /// Notes nothing any more.
    pub(crate) fn clear(&mut self) {
        self.levels.iter_mut().for_each(Vec::clear);
    }

    /// Hashes all that was noted, deepest first. `roots` are the tries' roots by number, of which the hashed ones get
    /// their hashes; the first `settled` ones were hashed before. Nothing is noted any more then.
    pub(crate) fn hash(
        &mut self,
        arenas: &mut impl Arenas,
        roots: &mut [Child],
        settled: usize,
        hasher: &Hasher,
    ) {
        let longest = self.levels.iter().map(Vec::len).max().unwrap_or_default();
        let batch = hasher.batch_size();
        let mut digests = vec![B256::ZERO; longest.min(batch)];
        for depth in (0..self.levels.len()).rev() {
            let (above, level) = self.levels.split_at_mut(depth);
            let (parents, level) = (above.last().map_or(&[][..], Vec::as_slice), &mut level[0]);
            level.retain(|place| place.node != NodeRef::EMPTY);
            for places in level.chunks(batch) {
                let digests = &mut digests[..places.len()];
                let rlp = |place: &Place| node::rlp_of(arenas.arena(place.arena).bytes(place.node));
                let messages: Vec<&[u8]> = places.iter().map(rlp).collect();
                hasher.hash_each(&messages, digests);
                for (place, digest) in places.iter().zip(digests) {
                    arenas.parts(place.arena).0.stamp(place.node);
                    if place.nibble == ROOT {
                        roots[place.parent as usize] = Child::hashed(place.node, &digest.0);
                    } else {
                        link(place, &parents[place.parent as usize], &digest.0, arenas);
                    }
                }
            }
            self.hashed += level.len() as u64;
            level.clear();
        }
        for root in &mut roots[settled..] {
            root.node = root.node.settled();
        }
    }

    /// Nodes hashed so far.
    pub(crate) fn hashed(&self) -> u64 {
        self.hashed
    }
}

/// Puts a node and its hash into its parent.
#[inline]
fn link(place: &Place, parent: &Place, digest: &[u8; HASH], arenas: &mut impl Arenas) {
    let (arena, log) = arenas.parts(place.arena);
    let (child, hash) = node::exchange_child(arena.bytes_mut(parent.node), place.nibble, place.node, digest);
    if !parent.is_noted {
        log.note_child(parent.node, place.nibble, child, hash);
    }
}
