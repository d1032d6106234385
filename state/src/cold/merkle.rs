//! Roots of subtries out of what pages hold: leaves, or nodes further down. All subtries of a batch are hashed together,
//! from the leaves up, so that the hasher's lanes are full.

use super::prefix::Prefix;
use crate::trie::{
    node::{self, Child, HASH, ITEM_MAX, NodeRef, WIDTH},
    short,
};
use alloy_primitives::{B256, KECCAK256_EMPTY, keccak256};
use alloy_trie::EMPTY_ROOT_HASH;
use citius_hashing::Hasher;
use std::ops::Range;

/// The root of a subtrie, as much as is needed of it to put something above it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    /// A branch, by what stands for it in its parent.
    Branch(Item),
    /// A leaf or an extension, whole: its path is made longer if its siblings go.
    Short(Vec<u8>),
}

/// What stands for a node in its parent: a hash, or a node of less than 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Item {
    len: u8,
    bytes: [u8; ITEM_MAX],
}

impl Item {
    /// A node by its hash.
    pub(crate) fn hash(hash: &B256) -> Self {
        let mut bytes = [0xa0; ITEM_MAX];
        bytes[1..].copy_from_slice(&hash[..]);
        Self { len: ITEM_MAX as u8, bytes }
    }

    /// An item by its bytes; `None` if there are too many.
    pub(crate) fn of(item: &[u8]) -> Option<Self> {
        let mut bytes = [0; ITEM_MAX];
        bytes.get_mut(..item.len())?.copy_from_slice(item);
        Some(Self { len: item.len() as u8, bytes })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The hash, if it is one.
    pub(crate) fn as_hash(&self) -> Option<B256> {
        (usize::from(self.len) == ITEM_MAX).then(|| B256::from_slice(&self.bytes[1..]))
    }

    fn child(&self) -> Child {
        Child::with_item(NodeRef::BLINDED, self.bytes())
    }
}

impl Node {
    /// What stands for it in its parent.
    fn item_of_short(rlp: &[u8], digest: &B256) -> Item {
        if rlp.len() < HASH { Item::of(rlp).unwrap_or(Item::hash(digest)) } else { Item::hash(digest) }
    }

    /// The hash of a trie of which it is the root.
    pub(crate) fn root_hash(&self) -> B256 {
        match self {
            Self::Short(rlp) => keccak256(rlp),
            Self::Branch(item) => item.as_hash().unwrap_or_else(|| keccak256(item.bytes())),
        }
    }
}

/// The hash of a trie with this root.
pub(crate) fn root_hash(root: Option<&Node>) -> B256 {
    root.map_or(EMPTY_ROOT_HASH, Node::root_hash)
}

/// Something with a place in a trie.
#[derive(Debug, Clone)]
pub(crate) enum Point {
    /// A value, as the trie holds it: its range in the batch's bytes.
    Leaf(B256, Range<u32>),
    /// A node further down.
    Node(Prefix, Node),
}

impl Point {
    fn prefix(&self) -> Prefix {
        match self {
            Self::Leaf(key, _) => Prefix::whole(key),
            Self::Node(prefix, _) => *prefix,
        }
    }
}

/// Subtries whose roots are to be found.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    points: Vec<Point>,
    values: Vec<u8>,
    /// The points of each subtrie, and how many nibbles are above its root.
    subtries: Vec<(Range<usize>, u8)>,
}

/// A node that is being made.
#[derive(Debug)]
struct Planned {
    /// Rounds of hashing before it can be hashed.
    height: u8,
    made: Made,
    node: Option<Node>,
    item: Option<Item>,
}

#[derive(Debug)]
enum Made {
    /// From a leaf or node: known at once.
    Known,
    /// Children by nibble.
    Branch(Vec<(u8, usize)>),
    /// An extension of a branch.
    Extension { from: u8, to: Prefix, branch: usize },
}

impl Batch {
    /// Adds a leaf, in order, by the value that the trie holds.
    pub(crate) fn leaf(&mut self, key: B256, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.values.len() as u32;
        write(&mut self.values);
        self.points.push(Point::Leaf(key, start..self.values.len() as u32));
    }

    /// Adds a node, in order.
    pub(crate) fn node(&mut self, prefix: Prefix, node: Node) {
        self.points.push(Point::Node(prefix, node));
    }

    /// Ends a subtrie: all that was added since the last one ended, at least one point. Its root is `depth` nibbles down.
    pub(crate) fn end(&mut self, depth: u8) {
        let start = self.subtries.last().map_or(0, |(points, _)| points.end);
        debug_assert!(start < self.points.len(), "a subtrie holds something");
        self.subtries.push((start..self.points.len(), depth));
    }

    /// The roots of the subtries, in order.
    pub(crate) fn roots(self, hasher: &Hasher) -> Vec<Node> {
        let mut planned = Vec::with_capacity(2 * self.points.len());
        let tops: Vec<usize> = self
            .subtries
            .iter()
            .map(|(points, depth)| self.plan(&self.points[points.clone()], *depth, &mut planned))
            .collect();
        settle(&mut planned, hasher);
        tops.into_iter()
            .map(|top| match planned[top].node.take() {
                Some(node) => node,
                None => unreachable!("every node is made once its children are"),
            })
            .collect()
    }

    /// Plans the node at a depth over some points, and gives its number.
    fn plan(&self, points: &[Point], depth: u8, planned: &mut Vec<Planned>) -> usize {
        let [first, .., last] = points else {
            planned.push(self.lone(&points[0], depth));
            return planned.len() - 1;
        };
        let (first, last) = (first.prefix(), last.prefix());
        let fork = first.common(&last);
        let mut children = Vec::with_capacity(4);
        let mut height = 0;
        for group in points.chunk_by(|one, other| one.prefix().nibble(fork) == other.prefix().nibble(fork)) {
            let child = self.plan(group, fork + 1, planned);
            height = height.max(planned[child].height);
            children.push((group[0].prefix().nibble(fork), child));
        }
        let mut push = |height, made| {
            planned.push(Planned { height, made, node: None, item: None });
            planned.len() - 1
        };
        let branch = push(height + 1, Made::Branch(children));
        if fork == depth {
            return branch;
        }
        push(height + 2, Made::Extension { from: depth, to: Prefix::of(first.key(), fork), branch })
    }

    /// A point alone below a depth.
    fn lone(&self, point: &Point, depth: u8) -> Planned {
        let node = match point {
            Point::Leaf(key, value) => {
                Node::Short(short::leaf(key, depth, &self.values[value.start as usize..value.end as usize]))
            }
            Point::Node(prefix, node) if prefix.nibbles() == depth => node.clone(),
            Point::Node(prefix, Node::Branch(item)) => {
                let above: Vec<u8> = prefix.tail(depth).collect();
                Node::Short(short::extension(&above, &item.child()))
            }
            Point::Node(prefix, Node::Short(rlp)) => {
                Node::Short(short::with_path(rlp, |own| prefix.tail(depth).chain(own.nibbles()).collect()))
            }
        };
        Planned { height: 0, made: Made::Known, node: Some(node), item: None }
    }
}

/// Makes all nodes, one height after the other.
fn settle(planned: &mut [Planned], hasher: &Hasher) {
    let highest = planned.iter().map(|node| node.height).max().unwrap_or_default();
    let mut by_height: Vec<Vec<usize>> = vec![Vec::new(); usize::from(highest) + 1];
    for (number, node) in planned.iter().enumerate() {
        by_height[usize::from(node.height)].push(number);
    }
    let mut arena: Vec<u8> = Vec::new();
    let mut ranges: Vec<Range<usize>> = Vec::new();
    let mut hashed: Vec<usize> = Vec::new();
    let mut digests: Vec<B256> = Vec::new();
    for numbers in by_height {
        arena.clear();
        ranges.clear();
        hashed.clear();
        for number in numbers {
            let start = arena.len();
            match &planned[number].made {
                Made::Known => match &planned[number].node {
                    Some(Node::Short(rlp)) => arena.extend_from_slice(rlp),
                    Some(Node::Branch(item)) => planned[number].item = Some(*item),
                    None => unreachable!("it is known"),
                },
                Made::Branch(children) => {
                    let mut all = [Child::EMPTY; WIDTH];
                    for (nibble, child) in children {
                        all[usize::from(*nibble)] = item_of(planned, *child).child();
                    }
                    arena.resize(start + node::branch_rlp_len(&all, &[]), 0);
                    node::write_branch(&mut arena[start..], &all, &[]);
                }
                Made::Extension { from, to, branch } => {
                    let above: Vec<u8> = to.tail(*from).collect();
                    let rlp = short::extension(&above, &item_of(planned, *branch).child());
                    arena.extend_from_slice(&rlp);
                    planned[number].node = Some(Node::Short(rlp));
                }
            }
            if arena.len() > start {
                ranges.push(start..arena.len());
                hashed.push(number);
            }
        }
        let messages: Vec<&[u8]> = ranges.iter().map(|range| &arena[range.clone()]).collect();
        digests.clear();
        digests.resize(messages.len(), KECCAK256_EMPTY);
        for (messages, digests) in
            messages.chunks(hasher.batch_size()).zip(digests.chunks_mut(hasher.batch_size()))
        {
            hasher.hash_each(messages, digests);
        }
        for ((number, message), digest) in hashed.iter().zip(&messages).zip(&digests) {
            let item = Node::item_of_short(message, digest);
            let planned = &mut planned[*number];
            planned.item = Some(item);
            if planned.node.is_none() {
                planned.node = Some(Node::Branch(item));
            }
        }
    }
}

fn item_of(planned: &[Planned], number: usize) -> Item {
    match planned[number].item {
        Some(item) => item,
        None => unreachable!("children are hashed before their parents"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trie::{Trie, path};
    use rand::{Rng, SeedableRng, rngs::SmallRng};
    use std::collections::BTreeMap;

    fn map(random: &mut SmallRng) -> BTreeMap<B256, Vec<u8>> {
        let shared = random.random_range(0..=31);
        let base: [u8; 32] = random.random();
        (0..random.random_range(1..200))
            .map(|_| {
                let mut key: [u8; 32] = random.random();
                key[..shared].copy_from_slice(&base[..shared]);
                let len = if random.random() { 1 } else { random.random_range(1..80) };
                (B256::from(key), (0..len).map(|_| random.random_range(1..=255)).collect())
            })
            .collect()
    }

    fn root(leaves: &BTreeMap<B256, Vec<u8>>) -> B256 {
        let mut trie = Trie::new();
        let writes: Vec<_> = leaves.iter().map(|(key, value)| (&key[..], Some(&value[..]))).collect();
        trie.write(&writes).unwrap();
        trie.root(&Hasher::cpu())
    }

    #[test]
    fn roots_are_those_of_a_plain_trie_wherever_the_trie_is_cut() {
        for seed in 0..300 {
            let mut random = SmallRng::seed_from_u64(seed);
            let leaves = map(&mut random);
            let mut whole = Batch::default();
            for (key, value) in &leaves {
                whole.leaf(*key, |out| out.extend_from_slice(value));
            }
            whole.end(0);
            let found = whole.roots(&Hasher::cpu());
            assert_eq!(root_hash(found.first()), root(&leaves), "seed {seed}");
            // Cut at any antichain of prefixes, what is below made alone.
            let all: Vec<(&B256, &Vec<u8>)> = leaves.iter().collect();
            let mut parts = Vec::new();
            cut(&all, 0, &mut random, &mut parts);
            let mut below = Batch::default();
            for (part, depth) in &parts {
                for (key, value) in part {
                    below.leaf(**key, |out| out.extend_from_slice(value));
                }
                below.end(*depth);
            }
            let nodes = below.roots(&Hasher::cpu());
            let mut above = Batch::default();
            for ((part, depth), node) in parts.iter().zip(nodes) {
                above.node(Prefix::of(part[0].0, *depth), node);
            }
            above.end(0);
            let found = above.roots(&Hasher::cpu());
            assert_eq!(root_hash(found.first()), root(&leaves), "seed {seed}, cut");
        }
    }

    type Part<'a> = (Vec<(&'a B256, &'a Vec<u8>)>, u8);

    fn cut<'a>(
        leaves: &[(&'a B256, &'a Vec<u8>)],
        depth: u8,
        random: &mut SmallRng,
        parts: &mut Vec<Part<'a>>,
    ) {
        if depth == 64 || random.random_range(0..4) == 0 {
            parts.push((leaves.to_vec(), depth));
            return;
        }
        let nibble = |key: &B256| path::nibble(&key[..], usize::from(depth));
        for group in leaves.chunk_by(|one, other| nibble(one.0) == nibble(other.0)) {
            cut(group, depth + 1, random, parts);
        }
    }
}
