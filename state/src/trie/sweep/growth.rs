use super::{DEEP, HASH, NIBBLES, Target, Values, leaf_len, write_leaf};
use crate::trie::{
    arena::Arena,
    levels::{Arenas, Levels, Place, ROOT},
    log::Log,
    node::{self, Child, NodeRef, StorageRef, WIDTH},
    path,
    update::{Updater, Write},
};
use smallvec::SmallVec;
use std::ops::Range;

/// Makes a trie of writes that all have values, in the place of nothing; but for hashes, as [`Sweep::apply`].
pub(crate) fn grow(
    target: &Target,
    depth: usize,
    values: &impl Values,
    arenas: &mut impl Arenas,
    levels: &mut Levels,
) {
    let (arena, log) = arenas.parts(target.arena);
    let mut growth = Growth { values, arena, log, levels, number: target.arena };
    growth.build(target.writes.clone(), depth, 0, target.number, ROOT);
}

/// A trie in the making.
struct Growth<'a, V> {
    values: &'a V,
    arena: &'a mut Arena,
    log: &'a mut Log,
    levels: &'a mut Levels,
    /// The arena's.
    number: u16,
}

impl<V: Values> Growth<'_, V> {
    fn key(&self, write: u32) -> &[u8] {
        &self.values.key(write)[..]
    }

    /// Builds a subtrie whose root is child `nibble` of the node at place `parent`.
    fn build(&mut self, writes: Range<u32>, depth: usize, level: usize, parent: u32, nibble: u8) {
        let first = writes.start;
        if writes.len() == 1 {
            let (value, storage) = self.values.value(first);
            let path_len = path::hex_prefix_len(NIBBLES - depth);
            let leaf = self.arena.allocate(node::leaf_bytes(path_len, value.as_ref(), storage.is_some()));
            write_leaf(self.arena.bytes_mut(leaf), first, depth, self.values);
            self.put(leaf, level, parent, nibble);
            return;
        }
        let shared = path::common_nibbles(self.key(first), self.key(writes.end - 1), depth);
        let end = depth + shared;
        let mut groups: SmallVec<[(u8, Range<u32>); WIDTH]> = SmallVec::new();
        let mut rest = writes.clone();
        while let Some(first) = rest.clone().next() {
            let nibble = path::nibble(self.key(first), end);
            let next = self.end_of(nibble, end, rest.clone());
            groups.push((nibble, first..next));
            rest.start = next;
        }
        let is_small =
            |(_, group): &(u8, Range<u32>)| group.len() == 1 && self.is_small(group.start, end + 1);
        if end >= DEEP || groups.iter().any(is_small) {
            self.build_alone(writes, depth, level, parent, nibble);
            return;
        }
        let (mut level, mut parent, mut nibble) = (level, parent, nibble);
        if shared > 0 {
            let path_len = path::hex_prefix_len(shared);
            let below = Child::hashed(NodeRef::EMPTY, &[0; HASH]);
            let key = &self.values.key(first)[..];
            let write_path = |target: &mut [u8]| path::write_key_tail(target, key, depth, end, false);
            let extension = node::make_extension(self.arena, path_len, write_path, &below);
            parent = self.put(extension, level, parent, nibble);
            (level, nibble) = (level + 1, 0);
        }
        let present = groups.iter().fold(0, |mask, (nibble, _)| mask | 1_u16 << nibble);
        let branch = self.arena.allocate(node::plain_branch_bytes(present));
        node::write_plain_branch(self.arena.bytes_mut(branch), present);
        let place = self.put(branch, level, parent, nibble);
        for (nibble, group) in groups {
            self.build(group, end + 1, level + 1, place, nibble);
        }
    }

    /// Where the writes end that have a nibble at some depth, of those of which the first one has it.
    fn end_of(&self, nibble: u8, depth: usize, writes: Range<u32>) -> u32 {
        const FEW: usize = 32;
        let has = |write| path::nibble(self.key(write), depth) == nibble;
        if writes.len() <= FEW {
            return writes.clone().find(|write| !has(*write)).unwrap_or(writes.end);
        }
        let (mut low, mut high) = (writes.start, writes.end);
        while low < high {
            let middle = low + (high - low) / 2;
            if has(middle) { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// Whether a leaf would stand in its parent whole.
    fn is_small(&self, write: u32, depth: usize) -> bool {
        // Above, the shortest leaf is long enough: path and one byte of value.
        const SAFE: usize = 5;
        depth > SAFE && leaf_len(depth, self.values.value(write).0.as_ref().len()) < HASH
    }

    /// Has the [`Updater`] build a subtrie.
    fn build_alone(&mut self, writes: Range<u32>, depth: usize, level: usize, parent: u32, nibble: u8) {
        let values: Vec<(V::Value, Option<StorageRef>)> =
            writes.clone().map(|write| self.values.value(write)).collect();
        let writes: Vec<Write<'_>> = writes
            .zip(&values)
            .map(|(write, (value, storage))| Write {
                key: &self.values.key(write)[..],
                value: Some(value.as_ref()),
                storage: *storage,
            })
            .collect();
        let built = Updater::new(self.arena, self.log).update(Child::EMPTY, depth, &writes);
        let Ok(built) = built else { panic!("there is nothing blinded in nothing") };
        debug_assert!(built.is_hashed(), "what holds two keys from above {DEEP} nibbles on is long enough");
        let node = built.node.settled();
        let place =
            self.levels.push(level, Place { node, parent, arena: self.number, nibble, is_noted: true });
        self.levels.collect_below(self.arena, self.number, node, place, level + 1);
    }

    fn put(&mut self, node: NodeRef, level: usize, parent: u32, nibble: u8) -> u32 {
        self.log.made.push(node);
        self.levels.push(level, Place { node, parent, arena: self.number, nibble, is_noted: true })
    }
}
