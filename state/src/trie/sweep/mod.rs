//! Batched writes into many tries at once, level by level.
//!
//! [`Updater`] walks one trie key by key, and waits for memory at every node. A sweep goes down all tries of a batch
//! together, a level at a time: every node is fetched while others are looked at, is looked at once, and has its place
//! among those to be hashed then ([`Levels`]). What stands in a parent is written once, with the hash.
//!
//! A sweep makes what nearly all writes are: values that change, leaves that are added beside others or in the place of
//! one, leaves whose branch remains one without them. A trie in which anything else happens is left as it is, to be
//! written by the [`Updater`].

mod growth;
#[cfg(test)]
mod tests;

pub(crate) use growth::grow;

use super::{
    levels::{Arenas, Levels, Place, ROOT},
    node::{self, Child, HASH, Kind, NodeRef, StorageRef},
    path::{self, nibble},
    update::{Updater, Write},
};
use alloy_primitives::B256;
use smallvec::SmallVec;
use std::ops::Range;

/// Nibbles of a key.
const NIBBLES: usize = 64;
/// Nibbles from the root down to where nodes that are made can become as small as to stand in their parents whole:
/// to be looked at closely below.
const DEEP: usize = 40;
/// Cache lines that hold a branch's head and references, and a whole leaf.
const HEAD_LINES: usize = 3;

/// What is to be written, by number: sorted by key within each trie, each key once.
pub(crate) trait Writes {
    /// The key.
    fn key(&self, write: u32) -> &B256;

    /// Bytes that the value has at least, or `None` if it is to be deleted.
    fn value_len(&self, write: u32) -> Option<usize>;
}

/// What stands in the tries afterwards, by the numbers of the writes.
pub(crate) trait Values {
    /// Bytes of a value.
    type Value: AsRef<[u8]>;

    /// The key.
    fn key(&self, write: u32) -> &B256;

    /// The value, and an account's storage. Asked for only where there is a value.
    fn value(&self, write: u32) -> (Self::Value, Option<StorageRef>);
}

/// A trie to be written to.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// Its root. A hash must stand for it.
    pub(crate) root: NodeRef,
    pub(crate) arena: u16,
    /// The number that its root has in [`Levels::hash`].
    pub(crate) number: u32,
    /// Its writes; there must be some.
    pub(crate) writes: Range<u32>,
}

/// Writes to some tries.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    targets: Vec<Outcome>,
    /// The nodes of a level that are reached, and of the next one.
    steps: Vec<Step>,
    next: Vec<Step>,
    /// Leaves that get other values.
    updates: Vec<Spot>,
    /// Leaves that get a neighbour, from which a branch parts them.
    splits: Vec<Spot>,
    /// Children that branches gain or lose.
    changes: Vec<Change>,
    /// Leaves as they are, by write; [`NodeRef::EMPTY`] where there is none.
    found: Vec<NodeRef>,
    /// The write that `found` begins with.
    first: u32,
    /// Places that each level had before.
    before: Vec<usize>,
}

#[derive(Debug, Clone, Copy)]
struct Outcome {
    is_left: bool,
    /// Leaves added less leaves removed.
    leaves: i64,
}

/// A node that writes lead to.
#[derive(Debug, Clone, Copy)]
struct Step {
    place: u32,
    first: u32,
    end: u32,
    target: u32,
    depth: u8,
}

/// A leaf, and what is written there.
#[derive(Debug, Clone, Copy)]
struct Spot {
    place: u32,
    write: u32,
    target: u32,
    level: u8,
    depth: u8,
}

/// A child that a branch gains, or loses. Ordered by branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Change {
    level: u8,
    place: u32,
    nibble: u8,
    /// Nibbles above the branch.
    depth: u8,
    /// The write that adds it, or [`REMOVED`].
    write: u32,
    target: u32,
}

const REMOVED: u32 = u32::MAX;

impl Sweep {
    /// Goes down the tries, whose roots are `depth` nibbles below where keys begin, and finds out what is to be done.
    /// Nothing changes yet; `levels` has places for all nodes that will.
    pub(crate) fn descend(
        &mut self,
        targets: &[Target],
        depth: usize,
        writes: &impl Writes,
        arenas: &impl Arenas,
        levels: &mut Levels,
    ) {
        self.clear(levels);
        let end = targets.iter().map(|target| target.writes.end).max().unwrap_or_default();
        self.first = targets.iter().map(|target| target.writes.start).min().unwrap_or_default();
        self.found.resize((end - self.first) as usize, NodeRef::EMPTY);
        for (number, target) in targets.iter().enumerate() {
            self.targets.push(Outcome { is_left: false, leaves: 0 });
            let root = Place {
                node: target.root,
                parent: target.number,
                arena: target.arena,
                nibble: ROOT,
                is_noted: false,
            };
            arenas.arena(target.arena).prefetch(target.root, 0..HEAD_LINES);
            let place = levels.push(0, root);
            let Range { start: first, end } = target.writes;
            self.steps.push(Step { place, first, end, target: number as u32, depth: depth as u8 });
        }
        let mut level = 0;
        while !self.steps.is_empty() {
            let steps = std::mem::take(&mut self.steps);
            for step in &steps {
                if !self.targets[step.target as usize].is_left
                    && !self.visit(level, step, writes, arenas, levels)
                {
                    self.targets[step.target as usize].is_left = true;
                }
            }
            self.steps = std::mem::replace(&mut self.next, steps);
            self.next.clear();
            level += 1;
        }
        self.look_at_changes(arenas, levels);
    }

    fn clear(&mut self, levels: &Levels) {
        self.targets.clear();
        self.steps.clear();
        self.next.clear();
        self.updates.clear();
        self.splits.clear();
        self.changes.clear();
        self.found.clear();
        self.before.clear();
        self.before.extend(levels.lengths());
    }

    /// Looks at a node; whether a sweep can do what is to be done there.
    fn visit(
        &mut self,
        level: usize,
        step: &Step,
        writes: &impl Writes,
        arenas: &impl Arenas,
        levels: &mut Levels,
    ) -> bool {
        let Place { node, arena: number, .. } = *levels.place(level, step.place);
        let arena = arenas.arena(number);
        let bytes = arena.bytes(node);
        match node::kind(bytes) {
            Kind::Branch => {}
            Kind::Leaf | Kind::Account => return self.visit_leaf(level, step, bytes, writes, levels),
            Kind::Extension => {
                let (path, below) = node::extension(bytes);
                let leads_on = |write| path.matches(&writes.key(write)[..], step.depth.into()) == path.len();
                if !below.is_hashed()
                    || !below.node.is_stored()
                    || !leads_on(step.first)
                    || !leads_on(step.end - 1)
                {
                    return false;
                }
                arena.prefetch(below.node, 0..HEAD_LINES);
                let below =
                    Place { node: below.node, parent: step.place, arena: number, nibble: 0, is_noted: false };
                let place = levels.push(level + 1, below);
                self.next.push(Step { place, depth: step.depth + path.len() as u8, ..*step });
                return true;
            }
        }
        let depth = usize::from(step.depth);
        if depth >= DEEP {
            return false;
        }
        // All of it is to be hashed.
        arena.prefetch(node, HEAD_LINES..node::bytes_of(bytes).div_ceil(64) + 1);
        let mut first = step.first;
        while first < step.end {
            let nibble_of = |write| nibble(&writes.key(write)[..], depth);
            let nibble = nibble_of(first);
            let mut end = first + 1;
            while end < step.end && nibble_of(end) == nibble {
                end += 1;
            }
            let child = node::child_ref(bytes, nibble);
            if child == NodeRef::EMPTY {
                if end - first > 1 {
                    return false;
                }
                if let Some(value_len) = writes.value_len(first) {
                    if leaf_len(depth + 1, value_len) < HASH {
                        return false;
                    }
                    self.change(level, step.place, nibble, step.depth, first, step.target);
                }
            } else {
                if !child.is_stored() || !node::has_hashed_child(bytes, nibble) {
                    return false;
                }
                arena.prefetch(child, 0..HEAD_LINES);
                let child = Place { node: child, parent: step.place, arena: number, nibble, is_noted: false };
                let place = levels.push(level + 1, child);
                self.next.push(Step { place, first, end, target: step.target, depth: step.depth + 1 });
            }
            first = end;
        }
        true
    }

    fn visit_leaf(
        &mut self,
        level: usize,
        step: &Step,
        leaf: &[u8],
        writes: &impl Writes,
        levels: &mut Levels,
    ) -> bool {
        if step.end - step.first > 1 {
            return false;
        }
        let Step { place, first: write, target, depth, .. } = *step;
        let (path, _) = node::leaf(leaf);
        let matched = path.matches(&writes.key(write)[..], depth.into());
        let above = usize::from(depth);
        let spot = Spot { place, write, target, level: level as u8, depth };
        match (matched == path.len() && above + matched == NIBBLES, writes.value_len(write)) {
            (true, Some(value_len)) => {
                if leaf_len(above, value_len) < HASH {
                    return false;
                }
                self.found[(write - self.first) as usize] = levels.place(level, place).node;
                self.updates.push(spot);
            }
            (true, None) => {
                let Place { node, parent, nibble, .. } = *levels.place(level, place);
                if nibble == ROOT || level == 0 {
                    return false;
                }
                self.found[(write - self.first) as usize] = node;
                levels.abandon(level, place);
                self.change(level - 1, parent, nibble, depth - 1, REMOVED, target);
            }
            (false, None) => levels.abandon(level, place),
            (false, Some(_)) => {
                if above + matched >= DEEP || above + path.len() != NIBBLES {
                    return false;
                }
                self.splits.push(spot);
            }
        }
        true
    }

    fn change(&mut self, level: usize, place: u32, nibble: u8, depth: u8, write: u32, target: u32) {
        self.changes.push(Change { level: level as u8, place, nibble, depth, write, target });
    }

    /// Leaves tries alone in which a branch would not remain one.
    fn look_at_changes(&mut self, arenas: &impl Arenas, levels: &Levels) {
        self.changes.sort_unstable();
        for changes in self.changes.chunk_by(is_of_one_branch) {
            let place = levels.place(changes[0].level.into(), changes[0].place);
            let bytes = arenas.arena(place.arena).bytes(place.node);
            let mut children = node::children(bytes);
            for change in changes {
                children ^= 1 << change.nibble;
            }
            if !node::is_plain_branch(bytes) || children.count_ones() < 2 {
                self.targets[changes[0].target as usize].is_left = true;
            }
        }
    }

    /// The leaf that a write leads to, as it was before; [`NodeRef::EMPTY`] if there is none. Not to be asked for of a
    /// trie that is left.
    pub(crate) fn found(&self, write: u32) -> NodeRef {
        self.found[(write - self.first) as usize]
    }

    /// Whether a trie is as it was, and to be written otherwise.
    pub(crate) fn is_left(&self, target: usize) -> bool {
        self.targets[target].is_left
    }

    /// Leaves a trie alone.
    pub(crate) fn leave(&mut self, target: usize) {
        self.targets[target].is_left = true;
    }

    /// Leaves that a trie got less those that it lost.
    pub(crate) fn leaves_added(&self, target: usize) -> i64 {
        self.targets[target].leaves
    }

    /// Makes the writes, but for hashes; [`Levels::hash`] puts those in. Tries that are left have no places any more.
    pub(crate) fn apply(
        &mut self,
        targets: &[Target],
        values: &impl Values,
        arenas: &mut impl Arenas,
        levels: &mut Levels,
    ) {
        self.drop_left(targets, levels);
        let Self { targets, updates, splits, .. } = self;
        // Places first, and what is fetched for them while others are looked for: most were given back long ago.
        updates.retain(|spot| !targets[spot.target as usize].is_left);
        let bytes = |spot: &Spot| {
            let (value, storage) = values.value(spot.write);
            let path_len = path::hex_prefix_len(NIBBLES - usize::from(spot.depth));
            node::leaf_bytes(path_len, value.as_ref(), storage.is_some())
        };
        let mut sizes: Vec<u32> = Vec::with_capacity(updates.len());
        for spot in &*updates {
            let bytes = bytes(spot);
            let place = levels.place(spot.level.into(), spot.place);
            arenas.arena(place.arena).prefetch_place(bytes);
            sizes.push(bytes as u32);
        }
        for (spot, bytes) in updates.iter().zip(sizes) {
            let place = levels.place_mut(spot.level.into(), spot.place);
            let (arena, log) = arenas.parts(place.arena);
            let new = arena.allocate(bytes as usize);
            arena.prefetch(new, 0..bytes.div_ceil(64) as usize + 1);
            log.replaced.push(place.node);
            log.made.push(new);
            place.node = new;
        }
        for spot in &*updates {
            let place = levels.place(spot.level.into(), spot.place);
            let (arena, _) = arenas.parts(place.arena);
            write_leaf(arena.bytes_mut(place.node), spot.write, spot.depth.into(), values);
        }
        for spot in splits {
            if targets[spot.target as usize].is_left {
                continue;
            }
            let level = usize::from(spot.level);
            let place = levels.place_mut(level, spot.place);
            let number = place.arena;
            let (arena, log) = arenas.parts(number);
            let (value, storage) = values.value(spot.write);
            let write = Write { key: &values.key(spot.write)[..], value: Some(value.as_ref()), storage };
            let leaf = Child::hashed(place.node, &[0; HASH]);
            let mut updater = Updater::new(arena, log);
            let parted = updater.update(leaf, spot.depth.into(), &[write]);
            targets[spot.target as usize].leaves += updater.leaves_added();
            let Ok(parted) = parted else { panic!("there is nothing blinded below a leaf") };
            debug_assert!(parted.is_hashed(), "not as deep as {DEEP} nibbles");
            place.node = parted.node.settled();
            place.is_noted = true;
            let node = place.node;
            levels.collect_below(arena, number, node, spot.place, level + 1);
        }
        self.remake(values, arenas, levels);
    }

    /// Makes branches with other children in the places of some.
    fn remake(&mut self, values: &impl Values, arenas: &mut impl Arenas, levels: &mut Levels) {
        let Self { targets, changes, .. } = self;
        changes.retain(|change| !targets[change.target as usize].is_left);
        // As with leaves: places first.
        let mut made: Vec<(NodeRef, NodeRef)> = Vec::with_capacity(changes.len());
        for changes in changes.chunk_by(is_of_one_branch) {
            let Change { level, place: number, depth, target, .. } = changes[0];
            let level = usize::from(level);
            let place = *levels.place(level, number);
            let (arena, log) = arenas.parts(place.arena);
            let mut present = node::children(arena.bytes(place.node));
            let first = made.len();
            for change in changes {
                present ^= 1 << change.nibble;
                if change.write == REMOVED {
                    targets[target as usize].leaves -= 1;
                    log.replaced.push(node::child_ref(arena.bytes(place.node), change.nibble));
                    made.push((NodeRef::EMPTY, NodeRef::EMPTY));
                    continue;
                }
                targets[target as usize].leaves += 1;
                let (value, storage) = values.value(change.write);
                let path_len = path::hex_prefix_len(NIBBLES - usize::from(depth) - 1);
                let bytes = node::leaf_bytes(path_len, value.as_ref(), storage.is_some());
                let node = arena.allocate(bytes);
                arena.prefetch(node, 0..bytes.div_ceil(64) + 1);
                log.made.push(node);
                made.push((node, NodeRef::EMPTY));
                let (arena, nibble) = (place.arena, change.nibble);
                levels.push(level + 1, Place { node, parent: number, arena, nibble, is_noted: false });
            }
            let bytes = node::plain_branch_bytes(present);
            let branch = arena.allocate(bytes);
            arena.prefetch(branch, 0..bytes.div_ceil(64) + 1);
            log.made.push(branch);
            log.replaced.push(place.node);
            made[first].1 = branch;
        }
        let mut made = made.into_iter();
        for changes in changes.chunk_by(is_of_one_branch) {
            let Change { level, place: number, depth, .. } = changes[0];
            let place = levels.place_mut(level.into(), number);
            let (arena, _) = arenas.parts(place.arena);
            let mut branch = NodeRef::EMPTY;
            let mut children: SmallVec<[(u8, NodeRef); 4]> = SmallVec::new();
            for (change, (leaf, first)) in changes.iter().zip(made.by_ref()) {
                if branch == NodeRef::EMPTY {
                    branch = first;
                }
                children.push((change.nibble, leaf));
                if change.write != REMOVED {
                    write_leaf(arena.bytes_mut(leaf), change.write, usize::from(depth) + 1, values);
                }
            }
            let (old, new) = arena.two(place.node, branch);
            node::write_remade(new, old, &children);
            place.node = branch;
            place.is_noted = true;
        }
    }

    /// Takes the places of tries that are left out of `levels`.
    fn drop_left(&self, targets: &[Target], levels: &mut Levels) {
        if !self.targets.iter().any(|target| target.is_left) {
            return;
        }
        let before = |level: usize| self.before.get(level).copied().unwrap_or_default();
        for (place, target) in (before(0)..).zip(&self.targets[..targets.len()]) {
            if target.is_left {
                levels.abandon(0, place as u32);
            }
        }
        for level in 1..levels.lengths().count() {
            for place in before(level)..levels.length(level) {
                let parent = levels.place(level, place as u32).parent;
                if levels.place(level - 1, parent).node == NodeRef::EMPTY {
                    levels.abandon(level, place as u32);
                }
            }
        }
    }
}

fn is_of_one_branch(one: &Change, other: &Change) -> bool {
    (one.level, one.place) == (other.level, other.place)
}

/// Bytes that a leaf's RLP has at least.
fn leaf_len(depth: usize, value_len: usize) -> usize {
    1 + path::hex_prefix_len(NIBBLES - depth) + value_len
}

fn write_leaf(target: &mut [u8], write: u32, depth: usize, values: &impl Values) {
    let (value, storage) = values.value(write);
    let key = &values.key(write)[..];
    node::write_leaf(
        target,
        path::hex_prefix_len(NIBBLES - depth),
        |target| path::write_key_tail(target, key, depth, NIBBLES, true),
        value.as_ref(),
        storage,
    );
}
