//! Batched writes into one trie: all that a batch changes is visited once, and nothing is hashed.

use super::{
    arena::Arena,
    log::Log,
    node::{self, Child, HASH, Kind, NodeRef, StorageRef, WIDTH},
    path::{self, nibble},
};
use alloy_primitives::{B256, hex};
use std::fmt;

/// One write. A batch is sorted by key, each key once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Write<'a> {
    /// The whole key, from the root on.
    pub(crate) key: &'a [u8],
    /// The value, or `None` to delete it.
    pub(crate) value: Option<&'a [u8]>,
    /// For an account: where its storage is.
    pub(crate) storage: Option<StorageRef>,
}

/// A path leads through a node of which only the hash is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Blinded {
    /// The nibbles from the trie's root to that node.
    pub(crate) path: Vec<u8>,
}

impl Blinded {
    pub(crate) fn at(key: &[u8], depth: usize) -> Self {
        Self { path: (0..depth).map(|at| nibble(key, at)).collect() }
    }
}

/// Nibbles as text, as nodes' paths are named in errors.
pub(crate) fn path_text(path: &[u8]) -> String {
    let digits = path.iter().map(|nibble| hex::encode([*nibble])[1..].to_owned());
    std::iter::once("0x".to_owned()).chain(digits).collect()
}

/// What is known of a subtrie that is not in the arena: leaves, and branches of which the hash alone is known, sorted by their places,
/// none below another.
#[derive(Debug, Clone)]
pub(crate) enum Part {
    Leaf {
        key: B256,
        value: Vec<u8>,
        storage: Option<StorageRef>,
    },
    /// A branch so many nibbles below the trie's root.
    Branch {
        key: B256,
        nibbles: u8,
        child: Child,
    },
}

impl Part {
    pub(crate) fn key(&self) -> &B256 {
        match self {
            Self::Leaf { key, .. } | Self::Branch { key, .. } => key,
        }
    }
}

/// Where subtries are of which an arena has the hash only.
pub(crate) trait Below: fmt::Debug {
    /// What is below a node that is so many nibbles down a key's way; something is.
    ///
    /// # Errors
    ///
    /// [`Blinded`] if that is not known.
    fn below(&self, key: &[u8], depth: usize) -> Result<Vec<Part>, Blinded>;
}

/// Writes into the tries of one arena.
#[derive(Debug)]
pub(crate) struct Updater<'a> {
    arena: &'a mut Arena,
    log: &'a mut Log,
    stored: Option<&'a dyn Below>,
    /// Leaves added less leaves removed since the beginning.
    leaves: i64,
}

impl<'a> Updater<'a> {
    pub(crate) fn new(arena: &'a mut Arena, log: &'a mut Log) -> Self {
        Self { arena, log, stored: None, leaves: 0 }
    }

    /// Writes to tries of which parts may lie elsewhere: they are taken in where a write needs them.
    pub(crate) fn over(arena: &'a mut Arena, log: &'a mut Log, stored: Option<&'a dyn Below>) -> Self {
        Self { arena, log, stored, leaves: 0 }
    }

    /// Leaves added less leaves removed.
    pub(crate) fn leaves_added(&self) -> i64 {
        self.leaves
    }

    /// Makes `writes` in the subtrie at `child`, whose root is `depth` nibbles below the trie's.
    ///
    /// # Errors
    ///
    /// [`Blinded`]; the log tells what was made until then.
    pub(crate) fn update(
        &mut self,
        child: Child,
        depth: usize,
        writes: &[Write<'_>],
    ) -> Result<Child, Blinded> {
        let Some(first) = writes.first() else { return Ok(child) };
        if child.is_empty() {
            return Ok(self.insert_all(depth, writes));
        }
        if child.node.is_blinded() {
            let child = self.take_in(first.key, depth)?;
            return self.update(child, depth, writes);
        }
        match node::kind(self.arena.bytes(child.node)) {
            Kind::Leaf | Kind::Account => Ok(self.update_leaf(child, depth, writes)),
            Kind::Extension => self.update_extension(child, depth, writes),
            Kind::Branch => self.update_branch(child, depth, writes),
        }
    }

    /// A subtrie that is stored elsewhere, as if it had just been made: its root is so many nibbles down a key's way.
    fn take_in(&mut self, key: &[u8], depth: usize) -> Result<Child, Blinded> {
        let stored = self.stored.ok_or_else(|| Blinded::at(key, depth))?;
        let parts = stored.below(key, depth)?;
        match self.assemble(depth, &parts) {
            child if child.node.is_stored() => Ok(child),
            _ => Err(Blinded::at(key, depth)),
        }
    }

    /// A subtrie of its parts, as it is stored.
    pub(crate) fn assemble(&mut self, depth: usize, parts: &[Part]) -> Child {
        let (first, last) = match parts {
            [] => return Child::EMPTY,
            [Part::Leaf { key, value, storage }] => {
                let leaf = self.leaf(&Write { key: &key[..], value: Some(value), storage: *storage }, depth);
                return self.read(leaf);
            }
            [Part::Branch { key, nibbles, child }] => {
                let child = self.extend(&key[..], depth, usize::from(*nibbles), *child);
                return self.read(child);
            }
            [first, .., last] => (first.key(), last.key()),
        };
        let fork = depth + path::common_nibbles(&first[..], &last[..], depth);
        let mut children = [Child::EMPTY; WIDTH];
        for group in
            parts.chunk_by(|one, other| nibble(&one.key()[..], fork) == nibble(&other.key()[..], fork))
        {
            children[usize::from(nibble(&group[0].key()[..], fork))] = self.assemble(fork + 1, group);
        }
        let branch = node::make_branch(self.arena, &children, &[]);
        let branch = self.made(branch);
        let branch = self.read(branch);
        let child = self.extend(&first[..], depth, fork, branch);
        self.read(child)
    }

    /// Takes note that a node was not made, but read.
    fn read(&mut self, child: Child) -> Child {
        if child.node.is_stored() {
            node::mark_read(self.arena.bytes_mut(child.node.settled()));
        }
        child
    }

    fn made(&mut self, node: NodeRef) -> Child {
        self.log.made.push(node);
        Child::made(self.arena, node)
    }

    /// Lets go of a node that this version has no more.
    fn retire(&mut self, node: NodeRef) {
        self.log.replaced.push(node);
    }

    /// A trie of what is written where nothing was.
    fn insert_all(&mut self, depth: usize, writes: &[Write<'_>]) -> Child {
        if writes.iter().all(|write| write.value.is_some()) {
            self.leaves += writes.len() as i64;
            return self.build(depth, writes);
        }
        let kept: Vec<Write<'_>> = writes.iter().filter(|write| write.value.is_some()).copied().collect();
        self.leaves += kept.len() as i64;
        self.build(depth, &kept)
    }

    /// A trie of writes that all have values.
    fn build(&mut self, depth: usize, writes: &[Write<'_>]) -> Child {
        let (first, last) = match writes {
            [] => return Child::EMPTY,
            [only] => return self.leaf(only, depth),
            [first, .., last] => (first, last),
        };
        let shared = path::common_nibbles(first.key, last.key, depth);
        let branch_depth = depth + shared;
        let mut children = [Child::EMPTY; WIDTH];
        let (value, rest) = split_value(branch_depth, writes);
        for (nibble, group) in groups(branch_depth, rest) {
            children[usize::from(nibble)] = self.build(branch_depth + 1, group);
        }
        let branch = node::make_branch(self.arena, &children, value.unwrap_or_default());
        let branch = self.made(branch);
        self.extend(first.key, depth, branch_depth, branch)
    }

    fn leaf(&mut self, write: &Write<'_>, depth: usize) -> Child {
        let end = 2 * write.key.len();
        let node = node::make_leaf(
            self.arena,
            path::hex_prefix_len(end - depth),
            |target| path::write_key_tail(target, write.key, depth, end, true),
            write.value.unwrap_or_default(),
            write.storage,
        );
        self.made(node)
    }

    /// Puts an extension of a key's nibbles before a branch, if there are any.
    fn extend(&mut self, key: &[u8], from: usize, end: usize, child: Child) -> Child {
        if from == end {
            return child;
        }
        let node = node::make_extension(
            self.arena,
            path::hex_prefix_len(end - from),
            |target| path::write_key_tail(target, key, from, end, false),
            &child,
        );
        self.made(node)
    }

    fn update_leaf(&mut self, child: Child, depth: usize, writes: &[Write<'_>]) -> Child {
        let bytes = self.arena.bytes(child.node);
        let (leaf_path, value) = node::leaf(bytes);
        let storage = node::storage(bytes);
        let is_same = |write: &&Write<'_>| {
            2 * write.key.len() == depth + leaf_path.len()
                && leaf_path.matches(write.key, depth) == leaf_path.len()
        };
        if let Some(write) = writes.iter().find(is_same) {
            if let [only] = writes {
                if write.value == Some(value) && write.storage == storage {
                    return child;
                }
                self.retire(child.node);
                if only.value.is_some() {
                    return self.leaf(only, depth);
                }
                self.leaves -= 1;
                return Child::EMPTY;
            }
            self.retire(child.node);
            self.leaves -= 1;
            return self.insert_all(depth, writes);
        }
        if writes.iter().all(|write| write.value.is_none()) {
            return child;
        }
        // The leaf joins what is written.
        let mut key = writes[0].key.to_vec();
        set_tail(&mut key, depth, leaf_path.nibbles());
        let value = value.to_vec();
        let own = Write { key: &key, value: Some(&value), storage };
        let mut all: Vec<Write<'_>> = writes.iter().filter(|write| write.value.is_some()).copied().collect();
        self.leaves += all.len() as i64;
        let place = all.partition_point(|write| write.key < own.key);
        all.insert(place, own);
        self.retire(child.node);
        self.build(depth, &all)
    }

    fn update_extension(
        &mut self,
        child: Child,
        depth: usize,
        writes: &[Write<'_>],
    ) -> Result<Child, Blinded> {
        let (own_path, below) = node::extension(self.arena.bytes(child.node));
        let len = own_path.len();
        let matched = |write: &Write<'_>| own_path.matches(write.key, depth);
        // Where the first key leaves the path that has something to insert.
        let leaves_at = writes
            .iter()
            .filter(|write| write.value.is_some())
            .map(matched)
            .min()
            .filter(|matched| *matched < len);
        let first =
            writes.partition_point(|write| matched(write) < len && !is_behind(own_path, write, depth));
        let behind = writes[first..].partition_point(|write| matched(write) == len);
        let inside = &writes[first..first + behind];
        let Some(split) = leaves_at else {
            let Some(key) = inside.first().map(|write| write.key) else { return Ok(child) };
            let new = self.update(below, depth + len, inside)?;
            if new.node == below.node && !new.node.is_fresh() {
                return Ok(child);
            }
            if new.is_hashed() && below.is_hashed() && node::kind(self.arena.bytes(new.node)) == Kind::Branch
            {
                self.change_child(child.node.settled(), 0, &new);
                return Ok(Child::made(self.arena, child.node.settled()));
            }
            return self.join(key, depth, depth + len, new, Some(child.node));
        };
        // The path is split: a branch takes its place, with what was below as one of its children.
        let nibbles: Vec<u8> = own_path.nibbles().collect();
        self.retire(child.node);
        let mut prefix = writes[0].key.to_vec();
        set_tail(&mut prefix, depth, nibbles.iter().copied());
        let old = if split + 1 == len {
            below
        } else {
            let node = node::make_extension(
                self.arena,
                path::hex_prefix_len(len - split - 1),
                |target| {
                    path::write_nibbles(target, nibbles[split + 1..].iter().copied(), len - split - 1, false);
                },
                &below,
            );
            self.made(node)
        };
        let mut children = [Child::EMPTY; WIDTH];
        children[usize::from(nibbles[split])] = old;
        let branch_depth = depth + split;
        // Deletions of what is not there need not be looked at.
        let near: Vec<Write<'_>> =
            writes.iter().filter(|write| matched_of(&nibbles, write, depth) >= split).copied().collect();
        let (value, rest) = split_value(branch_depth, &near);
        if value.is_some() {
            self.leaves += 1;
        }
        for (nibble, group) in groups(branch_depth, rest) {
            let place = &mut children[usize::from(nibble)];
            *place = self.update(*place, branch_depth + 1, group)?;
        }
        self.branch_of(&prefix, depth, branch_depth, &children, value.unwrap_or_default())
    }

    fn update_branch(&mut self, child: Child, depth: usize, writes: &[Write<'_>]) -> Result<Child, Blinded> {
        let (own, rest) = split_own(depth, writes);
        // Children for which a hash stands before and after change where they lie; what else changes takes a new node.
        let mut others: Vec<(u8, Child)> = Vec::new();
        let mut is_changed = false;
        for (nibble, group) in groups(depth, rest) {
            let old = node::child(self.arena.bytes(child.node), nibble);
            let new = self.update(old, depth + 1, group)?;
            if new.node == old.node && !new.node.is_fresh() {
                continue;
            }
            is_changed = true;
            if old.is_hashed() && new.is_hashed() {
                self.change_child(child.node.settled(), nibble, &new);
            } else {
                others.push((nibble, new));
            }
        }
        if others.is_empty() && own.is_none() {
            return Ok(if is_changed { Child::made(self.arena, child.node.settled()) } else { child });
        }
        let bytes = self.arena.bytes(child.node);
        let old_value = node::branch_value(bytes).to_vec();
        let value = match own {
            Some(write) => write.value.unwrap_or_default(),
            None => &old_value,
        };
        self.leaves += i64::from(!value.is_empty()) - i64::from(!old_value.is_empty());
        let mut children = [Child::EMPTY; WIDTH];
        for nibble in 0..WIDTH as u8 {
            children[usize::from(nibble)] = node::child(bytes, nibble);
        }
        for (nibble, new) in &others {
            children[usize::from(*nibble)] = *new;
        }
        if others.is_empty() && value == old_value {
            return Ok(if is_changed { Child::made(self.arena, child.node.settled()) } else { child });
        }
        let value = value.to_vec();
        let new = self.branch_of(writes[0].key, depth, depth, &children, &value)?;
        self.retire(child.node);
        Ok(new)
    }

    /// Replaces a child of a branch or extension where it lies. A hash stands for it before and after.
    fn change_child(&mut self, parent: NodeRef, nibble: u8, new: &Child) {
        let node = self.arena.bytes_mut(parent);
        node::mark_written(node);
        let (child, hash) = node::exchange_child(node, nibble, new.node, new.hash().unwrap_or(&[0; HASH]));
        self.log.note_child(parent, nibble, child, hash);
    }

    /// The node for these children and this value, whichever kind that takes, behind the nibbles `from..depth` of
    /// the key.
    fn branch_of(
        &mut self,
        key: &[u8],
        from: usize,
        depth: usize,
        children: &[Child; WIDTH],
        value: &[u8],
    ) -> Result<Child, Blinded> {
        let mut present = children.iter().enumerate().filter(|(_, child)| !child.is_empty());
        match (present.next(), present.next(), value.is_empty()) {
            (None, _, true) => Ok(Child::EMPTY),
            (None, _, false) => {
                let node = node::make_leaf(
                    self.arena,
                    path::hex_prefix_len(depth - from),
                    |target| path::write_key_tail(target, key, from, depth, true),
                    value,
                    None,
                );
                Ok(self.made(node))
            }
            (Some((nibble, only)), None, true) => {
                let mut prefix = key.to_vec();
                set_tail(&mut prefix, depth, std::iter::once(nibble as u8));
                self.join(&prefix, from, depth + 1, *only, None)
            }
            _ => {
                let branch = node::make_branch(self.arena, children, value);
                let branch = self.made(branch);
                Ok(self.extend(key, from, depth, branch))
            }
        }
    }

    /// The node for `child` behind the nibbles `from..depth` of the key: paths become one. `old` is the extension
    /// that led there until now.
    fn join(
        &mut self,
        key: &[u8],
        from: usize,
        depth: usize,
        child: Child,
        old: Option<NodeRef>,
    ) -> Result<Child, Blinded> {
        if let Some(old) = old {
            self.retire(old);
        }
        if child.is_empty() {
            return Ok(child);
        }
        let child = if child.node == NodeRef::BLINDED { self.take_in(key, depth)? } else { child };
        if child.node == NodeRef::BLINDED_BRANCH {
            return Ok(self.extend(key, from, depth, child));
        }
        let bytes = self.arena.bytes(child.node);
        match node::kind(bytes) {
            Kind::Branch => Ok(self.extend(key, from, depth, child)),
            Kind::Extension => {
                let (own_path, below) = node::extension(bytes);
                let nibbles = joined(key, from, depth, own_path.nibbles());
                let node = node::make_extension(
                    self.arena,
                    path::hex_prefix_len(nibbles.len()),
                    |target| path::write_nibbles(target, nibbles.iter().copied(), nibbles.len(), false),
                    &below,
                );
                self.retire(child.node);
                Ok(self.made(node))
            }
            Kind::Leaf | Kind::Account => {
                let (own_path, value) = node::leaf(bytes);
                let nibbles = joined(key, from, depth, own_path.nibbles());
                let (value, storage) = (value.to_vec(), node::storage(bytes));
                let node = node::make_leaf(
                    self.arena,
                    path::hex_prefix_len(nibbles.len()),
                    |target| path::write_nibbles(target, nibbles.iter().copied(), nibbles.len(), true),
                    &value,
                    storage,
                );
                self.retire(child.node);
                Ok(self.made(node))
            }
        }
    }
}

fn joined(key: &[u8], from: usize, depth: usize, tail: impl Iterator<Item = u8>) -> Vec<u8> {
    (from..depth).map(|at| nibble(key, at)).chain(tail).collect()
}

/// Replaces a key's nibbles from a place on.
fn set_tail(key: &mut Vec<u8>, from: usize, nibbles: impl Iterator<Item = u8>) {
    key.truncate(from.div_ceil(2));
    for (at, nibble) in (from..).zip(nibbles) {
        if at.is_multiple_of(2) {
            key.push(nibble << 4);
        } else {
            key[at / 2] = key[at / 2] & 0xf0 | nibble;
        }
    }
}

fn matched_of(nibbles: &[u8], write: &Write<'_>, depth: usize) -> usize {
    let len = nibbles.len().min((2 * write.key.len()).saturating_sub(depth));
    (0..len).find(|at| nibbles[*at] != nibble(write.key, depth + at)).unwrap_or(len)
}

/// Whether a write that leaves a path comes behind all that follow it.
fn is_behind(path: path::HexPrefix<'_>, write: &Write<'_>, depth: usize) -> bool {
    let matched = path.matches(write.key, depth);
    depth + matched < 2 * write.key.len() && nibble(write.key, depth + matched) > path.at(matched)
}

/// The write whose key ends here, and the others. It is the first, if there is one.
fn split_own<'w, 'a>(depth: usize, writes: &'w [Write<'a>]) -> (Option<&'w Write<'a>>, &'w [Write<'a>]) {
    match writes.split_first() {
        Some((first, rest)) if 2 * first.key.len() == depth => (Some(first), rest),
        _ => (None, writes),
    }
}

/// The value written where a key ends, and the other writes.
fn split_value<'w, 'a>(depth: usize, writes: &'w [Write<'a>]) -> (Option<&'a [u8]>, &'w [Write<'a>]) {
    let (own, rest) = split_own(depth, writes);
    (own.and_then(|write| write.value), rest)
}

/// The writes by their nibble at a depth.
fn groups<'w, 'a>(depth: usize, mut writes: &'w [Write<'a>]) -> impl Iterator<Item = (u8, &'w [Write<'a>])> {
    std::iter::from_fn(move || {
        let first = nibble(writes.first()?.key, depth);
        let len = if writes.len() > 32 {
            writes.partition_point(|write| nibble(write.key, depth) <= first)
        } else {
            writes.iter().position(|write| nibble(write.key, depth) != first).unwrap_or(writes.len())
        };
        let (group, rest) = writes.split_at(len);
        writes = rest;
        Some((first, group))
    })
}
