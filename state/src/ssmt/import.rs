//! A partial state from trie nodes: what is among the nodes and can be reached from the root is held, of everything
//! else the hash is known.

use super::{
    account::{self, SlotValue},
    error::SsmtError,
    shard::Shard,
    store::{Ssmt, SsmtConfig, in_accounts},
    top::{CUT, Sub, Top},
    work::{NO_STORAGE, UNKNOWN_LEAVES},
};
use crate::{
    Workers,
    trie::{
        arena::Arena,
        node::{self, Child, HASH, NodeRef, StorageRef, WIDTH},
        parse::{Item, KEY_NIBBLES, Parsed, parse},
        path,
    },
};
use alloy_primitives::{
    B256,
    map::{B256Map, B256Set},
};
use alloy_trie::EMPTY_ROOT_HASH;
use citius_hashing::Hasher;
use std::sync::Arc;

/// How many times the bytes of the nodes given, and how many bytes more, the state may take: accounts with equal storage
/// share nodes outside, but not here.
const UNFOLDS_TIMES: u64 = 32;
const UNFOLDS_BYTES: u64 = 64 << 20;
/// Bytes that a state may take in any case; no shard's arena is full then.
const UNFOLDS_BYTES_MAX: u64 = 4 << 30;

impl Ssmt {
    /// The state with this root, as far as these trie nodes tell: a witness's or some proofs'. Its only version is the
    /// head; blocks are sealed on top of it as on any other.
    ///
    /// `nodes` are RLPs in any order; what the root does not lead to is ignored. Whatever they lack is *blinded*: to
    /// read or write a path through it is [`SsmtError::Blinded`]. A deletion may need to know of a node beside
    /// the path whether it is a branch; `branch_hints` are the hashes of nodes of which that is known though they are
    /// not there. Nothing proves a hint: a root that was found with hints counts only if it is the one expected.
    ///
    /// # Errors
    ///
    /// [`SsmtError::RootMissing`]; the root of the empty trie needs no nodes. [`SsmtError::BadNode`] if what the root leads to
    /// is no state: not the canonical RLP of nodes, keys of other than 32 bytes, values that are no accounts or
    /// slots, or one node in two places of a trie.
    pub fn from_witness<N: AsRef<[u8]>>(
        root: B256,
        nodes: &[N],
        branch_hints: &B256Set,
        config: SsmtConfig,
        hasher: Arc<Hasher>,
        workers: Arc<dyn Workers>,
    ) -> Result<Self, SsmtError> {
        let messages: Vec<&[u8]> = nodes.iter().map(AsRef::as_ref).collect();
        let mut digests = vec![B256::ZERO; messages.len()];
        hasher.hash_each(&messages, &mut digests);
        let given: u64 = messages.iter().map(|node| node.len() as u64).sum();
        let import = Import {
            nodes: digests.into_iter().zip(messages).collect(),
            branch_hints,
            seen: B256Set::default(),
            seen_storage: B256Set::default(),
            bytes_left: (UNFOLDS_TIMES * given + UNFOLDS_BYTES).min(UNFOLDS_BYTES_MAX),
            shards: Shard::all(),
            subs: Vec::new(),
        };
        let (top, shards) = import.finish(root, &hasher)?;
        Ok(Self::with_parts(top, shards, config, hasher, workers))
    }
}

struct Import<'a> {
    /// All nodes by their hash.
    nodes: B256Map<&'a [u8]>,
    branch_hints: &'a B256Set,
    /// Nodes that stand in the account trie, and in the storage trie that is being read. A key's hash decides where it
    /// stands, so that no subtrie stands twice; nodes that claim it would unfold without end.
    seen: B256Set,
    seen_storage: B256Set,
    bytes_left: u64,
    shards: Vec<Shard>,
    subs: Vec<(u8, Sub)>,
}

/// Which trie a node is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Accounts,
    Storage,
}

/// Where a node is to stand.
#[derive(Debug, Clone, Copy)]
struct Place<'n> {
    shard: u8,
    of: Of,
    /// Nibbles above it.
    depth: usize,
    /// The node that it stands in or below, to be named in errors.
    within: &'n B256,
}

/// How many leaves are below, if all are known.
type Leaves = Option<u32>;

impl Import<'_> {
    fn finish(mut self, root: B256, hasher: &Hasher) -> Result<(Top, Vec<Shard>), SsmtError> {
        let mut top = Top::default();
        if root == EMPTY_ROOT_HASH {
            return Ok((top, self.shards));
        }
        let Some(rlp) = self.nodes.get(&root).copied() else {
            return Err(SsmtError::RootMissing { root, nodes: self.nodes.len() });
        };
        match self.enter(Of::Accounts, &root, rlp)? {
            Parsed::Branch(items) => {
                for (first, item) in (0..WIDTH as u8).zip(&items) {
                    self.middle(&mut top, first, item, false, &root)?;
                }
            }
            Parsed::Extension { path, child } if path.len() == 1 => {
                self.middle(&mut top, path.at(0), &child, true, &root)?;
            }
            short => self.cut(&short, None, &root)?,
        }
        top.replace(std::mem::take(&mut self.subs).into_iter(), hasher).map_err(in_accounts)?;
        if top.hash() != root {
            return Err(bad(&root, format!("what it leads to has the root {}", top.hash())));
        }
        Ok((top, self.shards))
    }

    /// Takes a node apart that the walk comes to by its hash.
    fn enter<'n>(&mut self, of: Of, name: &B256, rlp: &'n [u8]) -> Result<Parsed<'n>, SsmtError> {
        let seen = match of {
            Of::Accounts => &mut self.seen,
            Of::Storage => &mut self.seen_storage,
        };
        if !seen.insert(*name) {
            return Err(bad(name, "it stands in two places of one trie"));
        }
        if rlp.len() < HASH {
            return Err(bad(name, "a node below 32 bytes stands in its parent"));
        }
        self.parse(name, rlp)
    }

    fn parse<'n>(&mut self, name: &B256, rlp: &'n [u8]) -> Result<Parsed<'n>, SsmtError> {
        let Some(left) = self.bytes_left.checked_sub(rlp.len() as u64) else {
            return Err(bad(name, "the nodes stand for many times their own size"));
        };
        self.bytes_left = left;
        parse(rlp).map_err(|reason| bad(name, reason))
    }

    /// A child of the root, one nibble below it.
    fn middle(
        &mut self,
        top: &mut Top,
        first: u8,
        item: &Item<'_>,
        is_branch: bool,
        within: &B256,
    ) -> Result<(), SsmtError> {
        let hash = match item {
            Item::Empty => return Ok(()),
            Item::Hash(hash) => hash,
            Item::Inlined(_) => return Err(bad(within, "no account is below 32 bytes")),
        };
        let name = B256::from(**hash);
        let Some(rlp) = self.nodes.get(&name).copied() else {
            top.blind(first, self.blinded(hash, is_branch));
            return Ok(());
        };
        match self.enter(Of::Accounts, &name, rlp)? {
            Parsed::Branch(items) => {
                for (second, item) in (0..WIDTH as u8).zip(&items) {
                    let shard = first << 4 | second;
                    let place = Place { shard, of: Of::Accounts, depth: CUT, within: &name };
                    let (child, _) = self.place(item, false, place)?;
                    self.sub(shard, child);
                }
                Ok(())
            }
            _ if is_branch => Err(bad(&name, "an extension leads to it, and it is no branch")),
            short => self.cut(&short, Some(first), &name),
        }
    }

    /// A leaf or extension that crosses the cut, or ends there, behind the nibble `above`: its part below the cut
    /// becomes a shard's root.
    fn cut(&mut self, short: &Parsed<'_>, above: Option<u8>, name: &B256) -> Result<(), SsmtError> {
        let (Parsed::Leaf { path, .. } | Parsed::Extension { path, .. }) = short else {
            return Err(bad(name, "it is a branch"));
        };
        let skip = CUT - usize::from(above.is_some());
        if path.len() < skip {
            return Err(bad(name, "its path is too short"));
        }
        let first = above.unwrap_or_else(|| path.at(0));
        let shard = first << 4 | path.at(skip - 1);
        let place = Place { shard, of: Of::Accounts, depth: CUT, within: name };
        let child = match short {
            Parsed::Extension { path, child } if path.len() == skip => self.place(child, true, place)?.0,
            _ => {
                let (node, _) = self.put(short, skip, place)?;
                let rlp = node::rlp_of(self.shards[usize::from(shard)].arena.bytes(node));
                if rlp.len() < HASH {
                    Child::with_item(node, rlp)
                } else {
                    Child::hashed(node, &citius_hashing::keccak256(rlp).0)
                }
            }
        };
        self.sub(shard, child);
        Ok(())
    }

    fn sub(&mut self, shard: u8, child: Child) {
        if !child.is_empty() {
            let arena = &self.shards[usize::from(shard)].arena;
            let node = child.node.is_stored().then(|| arena.bytes(child.node));
            self.subs.push((shard, Sub::new(child, node)));
        }
    }

    fn blinded(&self, hash: &[u8; HASH], is_branch: bool) -> Child {
        let is_branch = is_branch || self.branch_hints.contains(hash);
        Child::hashed(if is_branch { NodeRef::BLINDED_BRANCH } else { NodeRef::BLINDED }, hash)
    }

    /// Puts a child and all that is known below it into its shard's arena. `is_branch`: it can be nothing else there.
    fn place(
        &mut self,
        item: &Item<'_>,
        is_branch: bool,
        place: Place<'_>,
    ) -> Result<(Child, Leaves), SsmtError> {
        let (name, parsed) = match item {
            Item::Empty => return Ok((Child::EMPTY, Some(0))),
            Item::Hash(hash) => {
                let name = B256::from(**hash);
                let Some(rlp) = self.nodes.get(&name).copied() else {
                    return Ok((self.blinded(hash, is_branch), None));
                };
                (name, self.enter(place.of, &name, rlp)?)
            }
            Item::Inlined(rlp) => (*place.within, self.parse(place.within, rlp)?),
        };
        if is_branch && !matches!(parsed, Parsed::Branch(_)) {
            return Err(bad(&name, "an extension leads to it, and it is no branch"));
        }
        let (node, leaves) = self.put(&parsed, 0, Place { within: &name, ..place })?;
        let child = match item {
            Item::Hash(hash) => Child::hashed(node, hash),
            Item::Empty | Item::Inlined(_) => {
                Child::with_item(node, node::rlp_of(self.arena(place.shard).bytes(node)))
            }
        };
        Ok((child, leaves))
    }

    fn arena(&mut self, shard: u8) -> &mut Arena {
        &mut self.shards[usize::from(shard)].arena
    }

    /// Puts a node, less the first `skip` nibbles of its path, and all that is known below it.
    fn put(
        &mut self,
        parsed: &Parsed<'_>,
        skip: usize,
        place: Place<'_>,
    ) -> Result<(NodeRef, Leaves), SsmtError> {
        let Place { shard, of, depth, within } = place;
        match parsed {
            Parsed::Leaf { path, value } => {
                let len = path.len() - skip;
                if depth + len != KEY_NIBBLES {
                    return Err(bad(within, format!("a leaf ends at nibble {}, not at 64", depth + len)));
                }
                let storage = match of {
                    Of::Accounts => Some(self.storage(value, shard, within)?),
                    Of::Storage => {
                        match SlotValue::decode(value) {
                            Ok(slot) if !slot.is_zero() => {}
                            Ok(_) => return Err(bad(within, "a slot is zero")),
                            Err(error) => return Err(bad(within, format!("a value is no slot: {error}"))),
                        }
                        None
                    }
                };
                let write = |target: &mut [u8]| {
                    path::write_nibbles(target, path.nibbles().skip(skip), len, true);
                };
                let path_len = path::hex_prefix_len(len);
                Ok((node::make_leaf(self.arena(shard), path_len, write, value, storage), Some(1)))
            }
            Parsed::Extension { path, child } => {
                let len = path.len() - skip;
                let end = self.within_key(depth + len, within)?;
                let (child, leaves) = self.place(child, true, Place { depth: end, ..place })?;
                let write = |target: &mut [u8]| {
                    path::write_nibbles(target, path.nibbles().skip(skip), len, false);
                };
                let path_len = path::hex_prefix_len(len);
                Ok((node::make_extension(self.arena(shard), path_len, write, &child), leaves))
            }
            Parsed::Branch(items) => {
                let depth = self.within_key(depth, within)? + 1;
                let mut children = [Child::EMPTY; WIDTH];
                let mut sum = Some(0_u32);
                for (child, item) in children.iter_mut().zip(items) {
                    let (placed, leaves) = self.place(item, false, Place { depth, ..place })?;
                    *child = placed;
                    sum = sum.zip(leaves).and_then(|(sum, leaves)| sum.checked_add(leaves));
                }
                Ok((node::make_branch(self.arena(shard), &children, &[]), sum))
            }
        }
    }

    /// The depth of a branch, which must be within the keys.
    fn within_key(&self, depth: usize, within: &B256) -> Result<usize, SsmtError> {
        if depth < KEY_NIBBLES {
            return Ok(depth);
        }
        Err(bad(within, format!("a branch is at nibble {depth}, and keys have 64")))
    }

    /// The storage of an account, as far as it is known.
    fn storage(&mut self, value: &[u8], shard: u8, within: &B256) -> Result<StorageRef, SsmtError> {
        let (account, root) =
            account::decode(value).map_err(|error| bad(within, format!("a value is no account: {error}")))?;
        let mut encoded = Vec::with_capacity(value.len());
        account::encode(&account, root, &mut encoded);
        if encoded != value {
            return Err(bad(within, "an account is not in its canonical form"));
        }
        if root == EMPTY_ROOT_HASH {
            return Ok(NO_STORAGE);
        }
        self.seen_storage.clear();
        let place = Place { shard, of: Of::Storage, depth: 0, within };
        let (child, leaves) = self.place(&Item::Hash(&root.0), false, place)?;
        Ok(StorageRef { root: child.node, leaves: leaves.unwrap_or(UNKNOWN_LEAVES) })
    }
}

fn bad(hash: &B256, reason: impl Into<String>) -> SsmtError {
    SsmtError::BadNode { hash: *hash, reason: reason.into() }
}
