//! The root of a trie out of leaves, and nodes further down, that come in order: in little memory, however many they are.

use super::{
    merkle::{Batch, Node, root_hash},
    prefix::Prefix,
};
use alloy_primitives::B256;
use citius_hashing::Hasher;

/// Points that are kept before those that are complete are hashed.
const POINTS_MAX: usize = 1 << 14;

/// A trie whose points come one after the other.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    points: Vec<Point>,
    values: Vec<u8>,
}

#[derive(Debug)]
enum Point {
    /// Where its value ends; it begins where that of the leaf before it does.
    Leaf(B256, usize),
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

impl Stream {
    /// Adds a leaf behind all that was added, by the value that the trie holds.
    pub(crate) fn leaf(&mut self, key: B256, hasher: &Hasher, write: impl FnOnce(&mut Vec<u8>)) {
        self.make_room(hasher);
        write(&mut self.values);
        self.points.push(Point::Leaf(key, self.values.len()));
    }

    /// Adds a node behind all that was added.
    pub(crate) fn node(&mut self, prefix: Prefix, node: Node, hasher: &Hasher) {
        self.make_room(hasher);
        self.points.push(Point::Node(prefix, node));
    }

    /// The trie's root.
    pub(crate) fn root(self, hasher: &Hasher) -> B256 {
        if self.points.is_empty() {
            return root_hash(None);
        }
        let mut batch = Batch::default();
        add(&mut batch, self.points, &self.values);
        batch.end(0);
        root_hash(batch.roots(hasher).first())
    }

    /// Puts nodes in the place of subtries to which nothing can come any more: those beside the way to the last point.
    fn make_room(&mut self, hasher: &Hasher) {
        if self.points.len() < POINTS_MAX {
            return;
        }
        let Some(last) = self.points.last().map(Point::prefix) else { return };
        let place = |point: &Point| {
            let prefix = point.prefix();
            let common = prefix.common(&last);
            Prefix::of(prefix.key(), (common + 1).min(prefix.nibbles()))
        };
        let places: Vec<Prefix> = self.points.iter().map(place).collect();
        let mut batch = Batch::default();
        let mut subtries: Vec<Prefix> = Vec::new();
        let values = std::mem::take(&mut self.values);
        let mut points = std::mem::take(&mut self.points);
        let tail = points.split_off(points.len() - 1);
        let start = leaf_end(&points);
        let mut rest = points.into_iter().zip(&places).peekable();
        let mut at = 0;
        while let Some((point, place)) = rest.next() {
            at = add_one(&mut batch, point, &values, at);
            if rest.peek().is_none_or(|(_, next)| *next != place) {
                batch.end(place.nibbles());
                subtries.push(*place);
            }
        }
        let nodes = batch.roots(hasher);
        self.points = subtries.into_iter().zip(nodes).map(|(place, node)| Point::Node(place, node)).collect();
        for point in tail {
            self.points.push(match point {
                Point::Leaf(key, end) => {
                    self.values.extend_from_slice(&values[start..end]);
                    Point::Leaf(key, self.values.len())
                }
                node @ Point::Node(..) => node,
            });
        }
    }
}

/// Where the value of the last leaf ends.
fn leaf_end(points: &[Point]) -> usize {
    points
        .iter()
        .rev()
        .find_map(|point| match point {
            Point::Leaf(_, end) => Some(*end),
            Point::Node(..) => None,
        })
        .unwrap_or_default()
}

fn add(batch: &mut Batch, points: Vec<Point>, values: &[u8]) {
    let mut at = 0;
    for point in points {
        at = add_one(batch, point, values, at);
    }
}

/// Adds a point whose value, if it is a leaf, begins at `at`, and gives where the next leaf's does.
fn add_one(batch: &mut Batch, point: Point, values: &[u8], at: usize) -> usize {
    match point {
        Point::Leaf(key, end) => {
            batch.leaf(key, |out| out.extend_from_slice(&values[at..end]));
            end
        }
        Point::Node(prefix, node) => {
            batch.node(prefix, node);
            at
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::keccak256;
    use alloy_trie::{HashBuilder, Nibbles};
    use std::collections::BTreeMap;

    #[test]
    fn roots_are_those_of_another_builder_however_many_leaves_come() {
        for (count, shared) in [(0, 0), (1, 0), (2, 31), (300, 1), (40_000, 0), (40_000, 3), (70_000, 20)] {
            let key = |number: u64| {
                let mut key = keccak256(number.to_be_bytes());
                if number.is_multiple_of(3) {
                    key[..shared].fill(0x5a);
                }
                key
            };
            let leaves: BTreeMap<B256, Vec<u8>> =
                (0..count).map(|number| (key(number), vec![7; 1 + number as usize % 60])).collect();
            let hasher = Hasher::cpu();
            let mut stream = Stream::default();
            let mut expected = HashBuilder::default();
            for (key, value) in &leaves {
                stream.leaf(*key, &hasher, |out| out.extend_from_slice(value));
                expected.add_leaf(Nibbles::unpack(key), value);
                assert!(stream.points.len() <= POINTS_MAX);
            }
            assert_eq!(stream.root(&hasher), expected.root(), "{count} leaves, {shared} bytes shared");
        }
    }
}
