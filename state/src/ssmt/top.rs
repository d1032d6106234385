use crate::trie::{
    node::{self, Child, HASH, NodeRef, WIDTH},
    plain::root_hash,
    short::{extension, prefixed},
    update::Blinded,
};
use alloy_primitives::B256;
use citius_hashing::Hasher;
use std::sync::Arc;

/// Subtries that a sharded trie is cut into, by the first two nibbles of the key.
pub(crate) const SHARDS: usize = 256;
/// Nibbles above the cut.
pub(crate) const CUT: usize = 2;

/// The two levels above the shards of a sharded trie, and its root.
///
/// A shard's subtrie is hashed as if it hung below a branch at the cut. Where a branch above the cut would have one
/// child only there is none: the child's path begins higher up ([`Sub::short`] is what that takes).
#[derive(Debug, Clone)]
pub(crate) struct Top {
    subs: Box<[Sub; SHARDS]>,
    middles: [Middle; WIDTH],
    root: Child,
    hash: B256,
}

/// A shard's subtrie.
#[derive(Debug, Clone)]
pub(crate) struct Sub {
    pub(crate) child: Child,
    /// The RLP of its root if that is a leaf or an extension.
    pub(crate) short: Option<Arc<[u8]>>,
}

impl Sub {
    pub(crate) const EMPTY: Self = Self { child: Child::EMPTY, short: None };

    /// A subtrie by its root, whose bytes `node` are those in memory.
    pub(crate) fn new(child: Child, node: Option<&[u8]>) -> Self {
        let short = node.filter(|node| node::kind(node) != node::Kind::Branch);
        Self { child, short: short.map(|node| node::rlp_of(node).into()) }
    }
}

/// What stands at the first nibble.
#[derive(Debug, Clone, Copy)]
enum Middle {
    Empty,
    /// One shard alone is not empty, the one with this second nibble: nothing branches here.
    Single(u8),
    /// A branch over the shards.
    Branch(Child),
    /// A node of which only the hash is known: nothing is known of its shards.
    Blinded(Child),
}

impl Default for Top {
    fn default() -> Self {
        Self {
            subs: Box::new([const { Sub::EMPTY }; SHARDS]),
            middles: [Middle::Empty; WIDTH],
            root: Child::EMPTY,
            hash: root_hash(&Child::EMPTY),
        }
    }
}

impl Top {
    /// Bytes of one, but for what few shards have in [`Sub::short`].
    pub(crate) const BYTES: u64 = (size_of::<Self>() + SHARDS * size_of::<Sub>()) as u64;

    /// A trie of which nothing is known but the hash of some nodes below the root.
    pub(crate) fn blind(&mut self, nibble: u8, child: Child) {
        self.middles[usize::from(nibble)] = Middle::Blinded(child);
    }

    /// The root's hash.
    pub(crate) fn hash(&self) -> B256 {
        self.hash
    }

    /// A shard's subtrie.
    ///
    /// # Errors
    ///
    /// [`Blinded`] if the node above it is not there.
    pub(crate) fn sub(&self, shard: u8) -> Result<Child, Blinded> {
        match self.middles[usize::from(shard >> 4)] {
            Middle::Blinded(_) => Err(Blinded { path: vec![shard >> 4] }),
            _ => Ok(self.subs[usize::from(shard)].child),
        }
    }

    /// All subtries that are known.
    pub(crate) fn subs(&self) -> impl Iterator<Item = (u8, &Child)> {
        (0..=u8::MAX).zip(self.subs.iter().map(|sub| &sub.child))
    }

    /// Puts subtries in their places and hashes what is above them.
    ///
    /// # Errors
    ///
    /// [`Blinded`] if a node must be known to be a branch or not, and is not there.
    pub(crate) fn replace(
        &mut self,
        subs: impl Iterator<Item = (u8, Sub)>,
        hasher: &Hasher,
    ) -> Result<(), Blinded> {
        let mut changed = 0_u16;
        for (shard, sub) in subs {
            changed |= 1 << (shard >> 4);
            self.subs[usize::from(shard)] = sub;
        }
        let mut buffers: Vec<Vec<u8>> = Vec::with_capacity(WIDTH);
        let mut hashed: Vec<usize> = Vec::with_capacity(WIDTH);
        for first in (0..WIDTH).filter(|first| changed >> first & 1 != 0) {
            let children = self.children(first);
            let mut present = (0..WIDTH as u8).filter(|nibble| !children[usize::from(*nibble)].is_empty());
            self.middles[first] = match (present.next(), present.next()) {
                (None, _) => Middle::Empty,
                (Some(only), None) => Middle::Single(only),
                _ => {
                    let mut buffer = vec![0; node::branch_rlp_len(&children, &[])];
                    node::write_branch(&mut buffer, &children, &[]);
                    if buffer.len() < HASH {
                        Middle::Branch(Child::with_item(NodeRef::BLINDED, &buffer))
                    } else {
                        hashed.push(first);
                        buffers.push(buffer);
                        Middle::Branch(Child::hashed(NodeRef::BLINDED, &[0; HASH]))
                    }
                }
            };
        }
        let messages: Vec<&[u8]> = buffers.iter().map(Vec::as_slice).collect();
        let mut digests = [B256::ZERO; WIDTH];
        hasher.hash_each(&messages, &mut digests[..messages.len()]);
        for (first, digest) in hashed.into_iter().zip(&digests) {
            self.middles[first] = Middle::Branch(Child::hashed(NodeRef::BLINDED, &digest.0));
        }
        self.root = match self.root_rlp(hasher)? {
            Some(rlp) => item_of(&rlp, hasher),
            None => Child::EMPTY,
        };
        self.hash = root_hash(&self.root);
        Ok(())
    }

    fn children(&self, first: usize) -> [Child; WIDTH] {
        std::array::from_fn(|second| self.subs[first << 4 | second].child)
    }

    /// The RLP of the trie's root, unless the trie is empty.
    pub(crate) fn root_rlp(&self, hasher: &Hasher) -> Result<Option<Vec<u8>>, Blinded> {
        let mut present = (0..WIDTH).filter(|first| !matches!(self.middles[*first], Middle::Empty));
        match (present.next(), present.next()) {
            (None, _) => Ok(None),
            (Some(only), None) => match self.middles[only] {
                Middle::Empty => Ok(None),
                Middle::Single(second) => self.lifted(&[only as u8, second]).map(Some),
                Middle::Branch(child) => Ok(Some(extension(&[only as u8], &child))),
                Middle::Blinded(child) if child.node == NodeRef::BLINDED_BRANCH => {
                    Ok(Some(extension(&[only as u8], &child)))
                }
                Middle::Blinded(_) => Err(Blinded { path: vec![only as u8] }),
            },
            _ => {
                let mut children = [Child::EMPTY; WIDTH];
                for (first, child) in children.iter_mut().enumerate() {
                    *child = match self.middles[first] {
                        Middle::Empty => continue,
                        Middle::Single(second) => item_of(&self.lifted_below(first as u8, second)?, hasher),
                        Middle::Branch(child) | Middle::Blinded(child) => child,
                    };
                }
                let mut rlp = vec![0; node::branch_rlp_len(&children, &[])];
                node::write_branch(&mut rlp, &children, &[]);
                Ok(Some(rlp))
            }
        }
    }

    /// A shard's root with both nibbles above it in its path.
    fn lifted(&self, above: &[u8; 2]) -> Result<Vec<u8>, Blinded> {
        self.lift(above[0] << 4 | above[1], above, above)
    }

    /// A shard's root with the second nibble in its path.
    fn lifted_below(&self, first: u8, second: u8) -> Result<Vec<u8>, Blinded> {
        self.lift(first << 4 | second, &[second], &[first, second])
    }

    fn lift(&self, shard: u8, above: &[u8], path: &[u8]) -> Result<Vec<u8>, Blinded> {
        let sub = &self.subs[usize::from(shard)];
        match &sub.short {
            Some(short) => Ok(prefixed(above, short)),
            None if sub.child.node == NodeRef::BLINDED => Err(Blinded { path: path.to_vec() }),
            None => Ok(extension(above, &sub.child)),
        }
    }

    /// The RLPs of the nodes above a shard, from the root on, that stand for themselves, and whether the last of them
    /// is the shard's root, its path longer.
    ///
    /// # Errors
    ///
    /// [`Blinded`] if one of them is not there.
    pub(crate) fn above(&self, shard: u8, hasher: &Hasher) -> Result<(Vec<Vec<u8>>, bool), Blinded> {
        let Some(root) = self.root_rlp(hasher)? else { return Ok((Vec::new(), false)) };
        let mut nodes = vec![root];
        let (first, second) = (shard >> 4, shard & 0xf);
        let present = self.middles.iter().filter(|middle| !matches!(middle, Middle::Empty)).count();
        let is_merged = match self.middles[usize::from(first)] {
            Middle::Empty => false,
            Middle::Blinded(_) => return Err(Blinded { path: vec![first] }),
            Middle::Branch(child) => {
                if child.is_hashed() {
                    let children = self.children(usize::from(first));
                    let mut rlp = vec![0; node::branch_rlp_len(&children, &[])];
                    node::write_branch(&mut rlp, &children, &[]);
                    nodes.push(rlp);
                }
                false
            }
            Middle::Single(only) => {
                if present > 1 {
                    let lifted = self.lifted_below(first, only)?;
                    if lifted.len() >= HASH {
                        nodes.push(lifted);
                    }
                }
                // A branch below an extension is a node of its own.
                only != second || self.subs[usize::from(shard)].short.is_some()
            }
        };
        Ok((nodes, is_merged))
    }
}

/// A node by its RLP, as its parent sees it.
fn item_of(rlp: &[u8], hasher: &Hasher) -> Child {
    if rlp.len() < HASH {
        return Child::with_item(NodeRef::BLINDED, rlp);
    }
    let mut digest = [B256::ZERO];
    hasher.hash_each(&[rlp], &mut digest);
    Child::hashed(NodeRef::BLINDED, &digest[0].0)
}
