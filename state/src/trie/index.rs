//! Roots of lists: tries whose keys are the RLP of positions ([Yellow Paper, section 4.3.2][yp]).
//!
//! No such trie is ever read or written again, so nothing of it is kept: leaves are hashed in one batch, then branches
//! level by level, the deepest first. Values may be of any length, which those of [`Trie`](super::Trie) may not.
//!
//! [yp]: https://ethereum.github.io/yellowpaper/paper.pdf

use super::{
    node::{self, Child, HASH, NodeRef, WIDTH},
    path,
    plain::root_hash,
    rlp,
};
use alloy_primitives::B256;
use citius_hashing::Hasher;
use std::ops::Range;

/// Bytes of leaves that are hashed at a time: what a core's cache holds.
const LEAF_BYTES_MAX: usize = 1 << 18;

/// The root of the trie that holds each item at the RLP of its position: of a block's transactions, receipts or
/// withdrawals, each as consensus encodes it ([EIP-2718](https://eips.ethereum.org/EIPS/eip-2718)).
///
/// # Panics
///
/// If there are 2^32 items, or one of so many bytes.
///
/// ```
/// use citius_hashing::Hasher;
/// use citius_state::trie::{Trie, index_root};
///
/// let hasher = Hasher::cpu();
/// let items = [b"first".as_slice(), b"second".as_slice()];
/// let mut trie = Trie::new();
/// trie.write(&[(&[0x80], Some(items[0])), (&[0x01], Some(items[1]))])?;
/// assert_eq!(index_root(&items, &hasher), trie.root(&hasher));
/// # Ok::<(), citius_state::trie::TrieError>(())
/// ```
#[must_use]
pub fn index_root<T: AsRef<[u8]>>(items: &[T], hasher: &Hasher) -> B256 {
    assert!(u32::try_from(items.len()).is_ok(), "a list of {} items", items.len());
    let keys: Vec<Key> = in_key_order(items.len()).map(Key::new).collect();
    if keys.is_empty() {
        return root_hash(&Child::EMPTY);
    }
    // Of each subtrie that is done, at the place of its first key: what its parent sees of it.
    let mut roots = leaves(&keys, items, hasher);
    let mut levels: Vec<Vec<Branch>> = Vec::new();
    collect(&keys, 0..keys.len(), 0, &mut levels);
    for branches in levels.iter().rev() {
        hash_branches(&keys, branches, &mut roots, hasher);
    }
    root_hash(&roots[0])
}

/// The RLP of a position.
#[derive(Debug, Clone, Copy)]
struct Key {
    position: usize,
    bytes: [u8; 5],
    len: u8,
}

impl Key {
    fn new(position: usize) -> Self {
        let mut bytes = [0; 5];
        let digits = (position as u32).to_be_bytes();
        let zeros = (position as u32).leading_zeros() as usize / 8;
        let len = rlp::write_string(&mut bytes, &digits[zeros..]) as u8;
        Self { position, bytes, len }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    fn nibbles(&self) -> usize {
        2 * usize::from(self.len)
    }
}

/// Positions in the order of their keys: that of 0 is 0x80, behind those of one byte below.
fn in_key_order(count: usize) -> impl Iterator<Item = usize> {
    let single = count.min(0x80);
    (1..single).chain(0..count.min(1)).chain(single..count)
}

/// A branch, and what leads to it if its parent stands further above.
#[derive(Debug)]
struct Branch {
    /// Its keys.
    keys: Range<usize>,
    /// Nibbles above it and above what leads to it.
    from: usize,
    /// Nibbles above it.
    depth: usize,
}

/// Takes note of all branches over some keys, by depth. No key begins another one, so branches hold no values.
fn collect(keys: &[Key], range: Range<usize>, from: usize, levels: &mut Vec<Vec<Branch>>) {
    let [first, .., last] = &keys[range.clone()] else { return };
    let depth = from + path::common_nibbles(first.bytes(), last.bytes(), from);
    for (_, group) in groups(keys, range.clone(), depth) {
        collect(keys, group, depth + 1, levels);
    }
    if levels.len() <= depth {
        levels.resize_with(depth + 1, Vec::new);
    }
    levels[depth].push(Branch { keys: range, from, depth });
}

/// Keys by their nibble at a depth.
fn groups(keys: &[Key], mut range: Range<usize>, depth: usize) -> impl Iterator<Item = (u8, Range<usize>)> {
    std::iter::from_fn(move || {
        let nibble = path::nibble(keys[range.clone()].first()?.bytes(), depth);
        let len = keys[range.clone()].partition_point(|key| path::nibble(key.bytes(), depth) <= nibble);
        let group = range.start..range.start + len;
        range.start = group.end;
        Some((nibble, group))
    })
}

/// Every leaf as its parent sees it.
fn leaves<T: AsRef<[u8]>>(keys: &[Key], items: &[T], hasher: &Hasher) -> Vec<Child> {
    let mut batch = Batch::default();
    let mut children = Vec::with_capacity(keys.len());
    for (index, key) in keys.iter().enumerate() {
        let shared = |other: Option<&Key>| {
            other.map_or(0, |other| path::common_nibbles(key.bytes(), other.bytes(), 0) + 1)
        };
        let before = index.checked_sub(1).and_then(|before| keys.get(before));
        let depth = shared(before).max(shared(keys.get(index + 1)));
        let item = items[key.position].as_ref();
        assert!(u32::try_from(item.len() + 64).is_ok(), "item {} has {} bytes", key.position, item.len());
        batch.push(|out| write_leaf(out, key, depth, item));
        if batch.arena.len() >= LEAF_BYTES_MAX {
            batch.hash_onto(&mut children, hasher);
        }
    }
    batch.hash_onto(&mut children, hasher);
    children
}

fn write_leaf(out: &mut Vec<u8>, key: &Key, depth: usize, item: &[u8]) {
    let mut encoded = [0; 6];
    let path = &mut encoded[..path::hex_prefix_len(key.nibbles() - depth)];
    path::write_key_tail(path, key.bytes(), depth, key.nibbles(), true);
    let payload = rlp::string_len(path) + rlp::string_len(item);
    let start = out.len();
    out.resize(start + rlp::header_len(payload) + payload, 0);
    let target = &mut out[start..];
    let mut at = rlp::write_list_header(target, payload);
    at += rlp::write_string(&mut target[at..], path);
    rlp::write_string(&mut target[at..], item);
}

/// Hashes branches of one depth, then what leads to them.
fn hash_branches(keys: &[Key], branches: &[Branch], roots: &mut [Child], hasher: &Hasher) {
    let mut batch = Batch::default();
    for branch in branches {
        let mut children = [Child::EMPTY; WIDTH];
        for (nibble, group) in groups(keys, branch.keys.clone(), branch.depth) {
            children[usize::from(nibble)] = roots[group.start];
        }
        batch.push(|out| {
            let start = out.len();
            out.resize(start + node::branch_rlp_len(&children, &[]), 0);
            node::write_branch(&mut out[start..], &children, &[]);
        });
    }
    let mut hashed = Vec::with_capacity(branches.len());
    batch.hash_onto(&mut hashed, hasher);
    for (branch, child) in branches.iter().zip(hashed.drain(..)) {
        roots[branch.keys.start] = child;
    }
    let led_to = || branches.iter().filter(|branch| branch.from < branch.depth);
    for branch in led_to() {
        let (key, child) = (&keys[branch.keys.start], roots[branch.keys.start]);
        let path_len = path::hex_prefix_len(branch.depth - branch.from);
        batch.push(|out| {
            let start = out.len();
            out.resize(start + node::extension_rlp_len(path_len, &child), 0);
            let write = |target: &mut [u8]| {
                path::write_key_tail(target, key.bytes(), branch.from, branch.depth, false);
            };
            node::write_extension(&mut out[start..], path_len, write, &child);
        });
    }
    batch.hash_onto(&mut hashed, hasher);
    for (branch, child) in led_to().zip(hashed) {
        roots[branch.keys.start] = child;
    }
}

/// Nodes that are hashed together.
#[derive(Debug, Default)]
struct Batch {
    arena: Vec<u8>,
    nodes: Vec<Range<usize>>,
}

impl Batch {
    fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.arena.len();
        write(&mut self.arena);
        self.nodes.push(start..self.arena.len());
    }

    /// Appends all nodes as their parents see them, and is empty then.
    fn hash_onto(&mut self, children: &mut Vec<Child>, hasher: &Hasher) {
        let long: Vec<&[u8]> =
            self.nodes.iter().map(|node| &self.arena[node.clone()]).filter(|rlp| rlp.len() >= HASH).collect();
        let mut digests = vec![B256::ZERO; long.len()];
        hasher.hash_each(&long, &mut digests);
        let mut digests = digests.iter();
        for node in self.nodes.drain(..) {
            let rlp = &self.arena[node];
            children.push(match digests.as_slice() {
                [digest, ..] if rlp.len() >= HASH => {
                    digests.next();
                    Child::hashed(NodeRef::BLINDED, &digest.0)
                }
                _ => Child::with_item(NodeRef::BLINDED, rlp),
            });
        }
        self.arena.clear();
    }
}
