use super::{
    arena::Arena,
    node::{HASH, rlp_of},
};
use std::fmt;

/// Bytes of a child's item at most: a hash with its header, or a node below 32 bytes.
pub(crate) const ITEM_MAX: usize = HASH + 1;

/// Where a node is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct NodeRef(u32);

impl NodeRef {
    /// Addresses that an arena may have.
    pub(crate) const ADDRESSES: u32 = 1 << 30;
    /// No node: the empty trie.
    pub(crate) const EMPTY: Self = Self(0x7fff_ffff);
    /// A node of which only the hash is known.
    pub(crate) const BLINDED: Self = Self(0x7fff_fffe);
    /// A node of which only the hash is known, and that it is a branch.
    pub(crate) const BLINDED_BRANCH: Self = Self(0x7fff_fffd);
    /// The node was made since the last root was asked for: nobody else knows it, and its hash is not in its parent.
    const FRESH: u32 = 1 << 31;

    pub(crate) fn new(address: u32) -> Self {
        debug_assert!(address < Self::ADDRESSES);
        Self(address)
    }

    pub(crate) fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    pub(crate) fn bits(self) -> u32 {
        self.0
    }

    pub(crate) fn address(self) -> u32 {
        debug_assert!(self.is_stored(), "{self:?} has no address");
        self.0 & !Self::FRESH
    }

    /// Whether there is a node in the arena.
    pub(crate) fn is_stored(self) -> bool {
        self.0 & !Self::FRESH < Self::ADDRESSES
    }

    /// The number of a large storage trie, in the place of a root.
    pub(crate) fn large(number: u32) -> Self {
        assert!(number < Self::ADDRESSES / 2, "too many large storage tries in one shard");
        Self(Self::ADDRESSES | number)
    }

    /// The number of the large storage trie that stands here.
    pub(crate) fn as_large(self) -> Option<u32> {
        (Self::ADDRESSES..Self::ADDRESSES + Self::ADDRESSES / 2)
            .contains(&self.0)
            .then(|| self.0 - Self::ADDRESSES)
    }

    pub(crate) fn is_blinded(self) -> bool {
        self == Self::BLINDED || self == Self::BLINDED_BRANCH
    }

    pub(crate) fn is_fresh(self) -> bool {
        self.0 & Self::FRESH != 0
    }

    pub(crate) fn fresh(self) -> Self {
        Self(self.0 | Self::FRESH)
    }

    pub(crate) fn settled(self) -> Self {
        Self(self.0 & !Self::FRESH)
    }
}

impl fmt::Debug for NodeRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::EMPTY => f.write_str("empty"),
            Self::BLINDED => f.write_str("blinded"),
            Self::BLINDED_BRANCH => f.write_str("blinded branch"),
            node => write!(f, "{}{}", node.settled().0, if node.is_fresh() { " (fresh)" } else { "" }),
        }
    }
}

/// A child as its parent sees it: where it is, and the item that stands for it in the parent's RLP.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Child {
    pub(crate) node: NodeRef,
    len: u8,
    item: [u8; ITEM_MAX],
}

impl Child {
    /// No child.
    pub(crate) const EMPTY: Self = Self { node: NodeRef::EMPTY, len: 1, item: [0x80; ITEM_MAX] };

    /// A child by its hash.
    pub(crate) fn hashed(node: NodeRef, hash: &[u8; HASH]) -> Self {
        let mut item = [0xa0; ITEM_MAX];
        item[1..].copy_from_slice(hash);
        Self { node, len: ITEM_MAX as u8, item }
    }

    /// A child by its item: a hash with its header, or a whole node of less than 32 bytes.
    pub(crate) fn with_item(node: NodeRef, bytes: &[u8]) -> Self {
        let mut item = [0; ITEM_MAX];
        item[..bytes.len()].copy_from_slice(bytes);
        Self { node, len: bytes.len() as u8, item }
    }

    /// A node that was just made: its hash is to be found later, unless it is small enough to stand for itself.
    pub(crate) fn made(arena: &Arena, node: NodeRef) -> Self {
        let rlp = rlp_of(arena.bytes(node));
        let node = node.fresh();
        if rlp.len() < HASH { Self::with_item(node, rlp) } else { Self::hashed(node, &[0; HASH]) }
    }

    pub(crate) fn item(&self) -> &[u8] {
        &self.item[..usize::from(self.len)]
    }

    /// Whether a hash stands for it.
    pub(crate) fn is_hashed(&self) -> bool {
        usize::from(self.len) == ITEM_MAX
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.node == NodeRef::EMPTY
    }

    /// Its hash, if one stands for it.
    pub(crate) fn hash(&self) -> Option<&[u8; HASH]> {
        if self.is_hashed() { self.item[1..].first_chunk() } else { None }
    }
}
