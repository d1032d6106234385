//! A trie stored one node a key: under its path, in a plain store.

use super::{StoresError, redb::Counted};
use alloy_primitives::{B256, keccak256};
use alloy_rlp::{Decodable, Encodable};
use alloy_trie::{
    EMPTY_ROOT_HASH, Nibbles, TrieMask,
    nodes::{BranchNode, ExtensionNode, LeafNode, RlpNode, TrieNode},
};
use redb::{Database, ReadableDatabase, ReadableTable, Table, TableDefinition};
use std::{path::Path, sync::Arc};

/// A node's encoding by its path, a nibble a byte: so what is below a node is next to it.
const NODES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("nodes");

type Nodes<'a> = Table<'a, &'static [u8], &'static [u8]>;

/// A trie of 32-byte keys and long values, of which nothing is removed, in redb. What a node becomes is written over what it was.
#[derive(Debug)]
pub struct NodeTrie {
    database: Database,
    counted: Arc<Counted>,
}

/// Something with a place in the trie.
enum Point {
    Leaf(Nibbles, Vec<u8>),
    /// A branch that is stored.
    Branch(Nibbles, RlpNode),
}

impl Point {
    fn path(&self) -> &Nibbles {
        match self {
            Self::Leaf(path, _) | Self::Branch(path, _) => path,
        }
    }
}

impl NodeTrie {
    /// An empty one in a file.
    ///
    /// # Errors
    ///
    /// [`StoresError`] of redb.
    pub fn open(path: &Path, cache_mib: usize) -> Result<Self, StoresError> {
        let (database, counted) = super::redb::open(path, cache_mib)?;
        let writes = database.begin_write()?;
        writes.open_table(NODES)?;
        writes.commit()?;
        Ok(Self { database, counted })
    }

    /// What it did to its file.
    #[must_use]
    pub fn counted(&self) -> &Counted {
        &self.counted
    }

    /// The value of a key, from the root down.
    ///
    /// # Errors
    ///
    /// [`StoresError`] of redb.
    pub fn get(&self, key: &B256) -> Result<Option<Vec<u8>>, StoresError> {
        let reads = self.database.begin_read()?;
        let nodes = reads.open_table(NODES)?;
        let key = Nibbles::unpack(key);
        let mut depth = 0;
        loop {
            let Some(node) = nodes.get(&key.slice(..depth).to_vec()[..])? else { return Ok(None) };
            match decode(node.value())? {
                TrieNode::EmptyRoot => return Ok(None),
                TrieNode::Leaf(leaf) => {
                    return Ok((key.slice(depth..) == leaf.key).then_some(leaf.value));
                }
                TrieNode::Extension(extension) => {
                    if !key.slice(depth..).starts_with(&extension.key) {
                        return Ok(None);
                    }
                    depth += extension.key.len();
                }
                TrieNode::Branch(branch) => {
                    let Some(nibble) = key.get(depth) else { return Ok(None) };
                    if !branch.state_mask.is_bit_set(nibble) {
                        return Ok(None);
                    }
                    depth += 1;
                }
            }
        }
    }

    /// Writes values, sorted by key, durable in one step; the root.
    ///
    /// # Errors
    ///
    /// [`StoresError`] of redb.
    pub fn write(&self, values: Vec<(B256, Vec<u8>)>) -> Result<B256, StoresError> {
        let points: Vec<Point> =
            values.into_iter().map(|(key, value)| Point::Leaf(Nibbles::unpack(key), value)).collect();
        let writes = self.database.begin_write()?;
        let root = if points.is_empty() {
            RlpNode::default()
        } else {
            update(&mut writes.open_table(NODES)?, Nibbles::default(), points)?
        };
        writes.commit()?;
        Ok(root.as_hash().unwrap_or(if root.is_empty() { EMPTY_ROOT_HASH } else { keccak256(&root) }))
    }
}

fn decode(mut rlp: &[u8]) -> Result<TrieNode, StoresError> {
    TrieNode::decode(&mut rlp).map_err(|error| StoresError::Peer(format!("a node is none: {error}")))
}

/// Stores a node; what stands for it in its parent.
fn put(nodes: &mut Nodes<'_>, path: &Nibbles, node: &TrieNode) -> Result<RlpNode, StoresError> {
    let mut rlp = Vec::new();
    node.encode(&mut rlp);
    nodes.insert(&path.to_vec()[..], &rlp[..])?;
    Ok(RlpNode::from_rlp(&rlp))
}

/// Writes leaves, at least one, below a path at which a node may be.
fn update(nodes: &mut Nodes<'_>, path: Nibbles, mut points: Vec<Point>) -> Result<RlpNode, StoresError> {
    let old = nodes.get(&path.to_vec()[..])?.map(|node| decode(node.value())).transpose()?;
    match old {
        None | Some(TrieNode::EmptyRoot) => build(nodes, path, points),
        Some(TrieNode::Leaf(leaf)) => {
            let whole = path.join(&leaf.key);
            let at = points.partition_point(|point| *point.path() < whole);
            if points.get(at).is_none_or(|point| *point.path() != whole) {
                points.insert(at, Point::Leaf(whole, leaf.value));
            }
            build(nodes, path, points)
        }
        Some(TrieNode::Extension(extension)) => {
            let below = path.join(&extension.key);
            let (inside, mut outside): (Vec<Point>, Vec<Point>) =
                points.into_iter().partition(|point| point.path().starts_with(&below));
            let child = if inside.is_empty() { extension.child } else { update(nodes, below, inside)? };
            let at = outside.partition_point(|point| *point.path() < below);
            outside.insert(at, Point::Branch(below, child));
            build(nodes, path, outside)
        }
        Some(TrieNode::Branch(branch)) => {
            let depth = path.len();
            let mut children: Vec<(u8, RlpNode)> = branch
                .as_ref()
                .children()
                .filter_map(|(nibble, child)| Some((nibble, child?.clone())))
                .collect();
            for (nibble, group) in by_nibble(points, depth) {
                let mut below = path;
                below.push(nibble);
                let at = children.partition_point(|(other, _)| *other < nibble);
                if children.get(at).is_some_and(|(other, _)| *other == nibble) {
                    children[at].1 = update(nodes, below, group)?;
                } else {
                    children.insert(at, (nibble, build(nodes, below, group)?));
                }
            }
            put_branch(nodes, &path, children)
        }
    }
}

/// Makes the node at a path over some points, at least one.
fn build(nodes: &mut Nodes<'_>, path: Nibbles, mut points: Vec<Point>) -> Result<RlpNode, StoresError> {
    let depth = path.len();
    if points.len() == 1
        && let Some(point) = points.pop()
    {
        return match point {
            Point::Leaf(key, value) => {
                put(nodes, &path, &TrieNode::Leaf(LeafNode::new(key.slice(depth..), value)))
            }
            Point::Branch(place, child) if place.len() == depth => Ok(child),
            Point::Branch(place, child) => {
                put(nodes, &path, &TrieNode::Extension(ExtensionNode::new(place.slice(depth..), child)))
            }
        };
    }
    let (first, last) = (*points[0].path(), *points[points.len() - 1].path());
    let fork = first.common_prefix_length(&last);
    let place = first.slice(..fork);
    let mut children = Vec::new();
    for (nibble, group) in by_nibble(points, fork) {
        let mut below = place;
        below.push(nibble);
        children.push((nibble, build(nodes, below, group)?));
    }
    let branch = put_branch(nodes, &place, children)?;
    if fork == depth {
        return Ok(branch);
    }
    put(nodes, &path, &TrieNode::Extension(ExtensionNode::new(place.slice(depth..), branch)))
}

fn put_branch(
    nodes: &mut Nodes<'_>,
    path: &Nibbles,
    children: Vec<(u8, RlpNode)>,
) -> Result<RlpNode, StoresError> {
    let mut state_mask = TrieMask::default();
    children.iter().for_each(|(nibble, _)| state_mask.set_bit(*nibble));
    let stack = children.into_iter().map(|(_, child)| child).collect();
    put(nodes, path, &TrieNode::Branch(BranchNode::new(stack, state_mask)))
}

/// Sorted points by their nibble at a depth.
fn by_nibble(points: Vec<Point>, depth: usize) -> Vec<(u8, Vec<Point>)> {
    let mut groups: Vec<(u8, Vec<Point>)> = Vec::new();
    for point in points {
        let nibble = point.path().get(depth).unwrap_or_default();
        match groups.last_mut().filter(|(last, _)| *last == nibble) {
            Some((_, group)) => group.push(point),
            None => groups.push((nibble, vec![point])),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_trie::HashBuilder;
    use rand::{Rng, SeedableRng, rngs::SmallRng};
    use std::{collections::BTreeMap, fs, process};

    /// Keys that share a lot, so that there are extensions, and some are cut.
    fn key(random: &mut SmallRng) -> B256 {
        let mut key = B256::repeat_byte(random.random_range(0..3));
        key[random.random_range(0..32)] = random.random();
        key
    }

    #[test]
    fn roots_and_values_are_those_of_a_trie_built_anew() {
        for seed in 0..30 {
            let mut random = SmallRng::seed_from_u64(seed);
            let path = std::env::temp_dir().join(format!("citius-nodes-{}-{seed}", process::id()));
            let trie = NodeTrie::open(&path, 1).unwrap();
            let mut all: BTreeMap<B256, Vec<u8>> = BTreeMap::new();
            for _ in 0..6 {
                let writes: BTreeMap<B256, Vec<u8>> = (0..random.random_range(1..40))
                    .map(|_| (key(&mut random), (0..40).map(|_| random.random()).collect()))
                    .collect();
                all.extend(writes.clone());
                let mut builder = HashBuilder::default();
                for (key, value) in &all {
                    builder.add_leaf(Nibbles::unpack(key), value);
                }
                let root = trie.write(writes.into_iter().collect()).unwrap();
                assert_eq!(root, builder.root(), "seed {seed}");
            }
            for (key, value) in &all {
                assert_eq!(trie.get(key).unwrap().as_ref(), Some(value), "seed {seed}");
            }
            let other = key(&mut random);
            assert_eq!(trie.get(&other).unwrap().as_ref(), all.get(&other), "seed {seed}");
            drop(trie);
            fs::remove_file(path).unwrap();
        }
    }
}
