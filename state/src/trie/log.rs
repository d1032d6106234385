use super::{
    arena::Arena,
    node::{self, HASH, Kind, NodeRef, WIDTH},
};
use std::collections::HashSet;

/// What writes did to an arena: the way back, and once that is gone, the way forth.
///
/// A branch whose children change is changed where it lies, so that hardly more memory is written than the children's
/// hashes take; everything else that changes gets a new place, and what it replaces stays where it is.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// Places taken.
    pub(crate) made: Vec<NodeRef>,
    /// Nodes that this version does not have any more. Some of them may have been made by it.
    pub(crate) replaced: Vec<NodeRef>,
    /// Roots of whole tries of which the same holds.
    pub(crate) dropped: Vec<NodeRef>,
    /// Children that changed in their places, in order.
    patches: Vec<Patch>,
}

/// A node's child as it was; once the patch is taken back, as it is to be.
#[derive(Debug, Clone, Copy)]
struct Patch {
    parent: NodeRef,
    child: NodeRef,
    hash: [u8; HASH],
    nibble: u8,
}

impl Log {
    /// Makes room for what so many writes do, about: to grow step by step took as long as to write a leaf.
    pub(crate) fn expect(&mut self, writes: usize) {
        self.made.reserve(writes + writes / 4);
        self.replaced.reserve(writes + writes / 4);
        self.patches.reserve(4 * writes);
    }

    /// Takes note of a child that is being replaced where it lies.
    pub(crate) fn note_child(&mut self, parent: NodeRef, nibble: u8, child: NodeRef, hash: [u8; HASH]) {
        self.patches.push(Patch { parent, child, hash, nibble });
    }

    /// Bytes that it holds.
    pub(crate) fn bytes(&self) -> u64 {
        let nodes = self.made.capacity() + self.replaced.capacity() + self.dropped.capacity();
        (nodes * size_of::<NodeRef>() + self.patches.capacity() * size_of::<Patch>()) as u64
    }

    /// How much was done: nodes made, and children changed.
    pub(crate) fn writes(&self) -> u64 {
        (self.made.len() + self.patches.len()) as u64
    }

    /// Nodes that were made or changed, and are there still.
    pub(crate) fn written(&self) -> Vec<NodeRef> {
        let replaced: HashSet<u32> = self.replaced.iter().map(|node| node.settled().bits()).collect();
        let nodes = self.made.iter().copied().chain(self.patches.iter().map(|patch| patch.parent));
        let mut nodes: Vec<NodeRef> = nodes.filter(|node| !replaced.contains(&node.bits())).collect();
        nodes.sort_unstable_by_key(|node| node.bits());
        nodes.dedup();
        nodes
    }

    /// Takes an arena that is at this version back to the one before.
    pub(crate) fn back(&mut self, arena: &mut Arena) {
        for patch in self.patches.iter_mut().rev() {
            patch.swap(arena);
        }
    }

    /// Takes an arena that is at the version before to this one, again.
    pub(crate) fn forth(&mut self, arena: &mut Arena) {
        for patch in &mut self.patches {
            patch.swap(arena);
        }
    }

    /// Gives back what the writes made: they never were. The arena must be at another version.
    pub(crate) fn undo(self, arena: &mut Arena) {
        for node in self.made {
            arena.free(node);
        }
    }

    /// Gives back what the writes replaced: no version before this one is needed any more.
    pub(crate) fn finish(self, arena: &mut Arena) {
        for node in self.replaced {
            arena.free(node.settled());
        }
        for root in self.dropped {
            free_all(arena, root);
        }
    }
}

impl Patch {
    fn swap(&mut self, arena: &mut Arena) {
        let node = arena.bytes_mut(self.parent);
        let (child, hash) = node::exchange_child(node, self.nibble, self.child, &self.hash);
        (self.child, self.hash) = (child, hash);
    }
}

/// Gives back a node and all below it in the same arena; storage tries of accounts are not followed.
pub(crate) fn free_all(arena: &mut Arena, root: NodeRef) {
    let mut nodes = vec![root];
    while let Some(node) = nodes.pop() {
        if !node.is_stored() {
            continue;
        }
        let bytes = arena.bytes(node);
        match node::kind(bytes) {
            Kind::Branch => nodes.extend((0..WIDTH as u8).map(|nibble| node::child_ref(bytes, nibble))),
            Kind::Extension => nodes.push(node::extension(bytes).1.node),
            Kind::Leaf | Kind::Account => {}
        }
        arena.free(node.settled());
    }
}
