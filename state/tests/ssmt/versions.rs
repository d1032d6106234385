//! The versions that a trie must hold: a tree of plain states.

use crate::{
    model::{World, state_root, storage_root},
    nodes::Nodes,
};
use alloy_primitives::{Address, B256, U256, keccak256, map::B256Set};
use alloy_rlp::Decodable;
use alloy_trie::nodes::TrieNode;
use citius_state::{
    Account, MemoryState, StateReader,
    ssmt::{Ssmt, SsmtError, VersionId},
};
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;
use std::{collections::BTreeMap, sync::Arc};

/// A version and the state that it must hold.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) version: VersionId,
    pub(crate) parent: Option<VersionId>,
    pub(crate) state: MemoryState,
    pub(crate) root: B256,
    storage_roots: BTreeMap<Address, B256>,
    /// What the trie said was made for it, when that had just been done.
    made: Option<Vec<Vec<u8>>>,
}

/// Bytes of the least node that is hashed.
const HASH: usize = 32;

impl Known {
    /// Takes note of the nodes that a trie made for it, which must be those that its state has and its parent's has not,
    /// and no more than were hashed.
    pub(crate) fn with_nodes(mut self, trie: &Ssmt, before: &Nodes, nodes_hashed: u64, what: &str) -> Self {
        let made = trie.nodes_made(self.version).unwrap();
        let hashed: B256Set = made.iter().filter(|node| node.len() >= HASH).map(keccak256).collect();
        let (before, after) = (before.deep(), Nodes::of(&self.state));
        let is_new = |node: &&B256| !before.contains(*node);
        let missing: Vec<B256> =
            after.deep().iter().filter(is_new).filter(|node| !hashed.contains(*node)).copied().collect();
        assert!(missing.is_empty(), "{what}: {missing:?} were not made");
        assert_eq!(made.iter().filter(|node| node.len() >= HASH).count() as u64, nodes_hashed, "{what}");
        // A shard's root may be part of a longer path; all else that was made is there.
        let all: B256Set = after.all().map(keccak256).collect();
        let is_branch = |node: &Vec<u8>| {
            node.len() >= HASH && matches!(TrieNode::decode(&mut &node[..]), Ok(TrieNode::Branch(_)))
        };
        for node in made.iter().filter(|node| is_branch(node)) {
            assert!(all.contains(&keccak256(node)), "{what}: a branch that is in no trie: {node:02x?}");
        }
        self.made = Some(made);
        self
    }

    pub(crate) fn new(version: VersionId, parent: Option<VersionId>, state: MemoryState) -> Self {
        let existing = state.accounts().filter(|(_, account)| account.is_some());
        let storage_roots = existing.map(|(address, _)| (address, storage_root(&state, address))).collect();
        Self { version, parent, root: state_root(&state), state, storage_roots, made: None }
    }

    pub(crate) fn account(&self, address: Address) -> Option<(Account, B256)> {
        let account = self.state.account(address).unwrap();
        account.map(|account| (account, self.storage_roots[&address]))
    }

    pub(crate) fn storage(&self, address: Address, slot: U256) -> U256 {
        match self.state.account(address).unwrap() {
            Some(_) => self.state.storage(address, slot).unwrap(),
            None => U256::ZERO,
        }
    }

    /// Compares the root, and a few accounts and slots.
    pub(crate) fn check(&self, trie: &Ssmt, world: &World, random: &mut ChaCha8Rng, what: &str) {
        let version = self.version;
        assert_eq!(trie.root(version).unwrap(), self.root, "{what}: root of version {version}");
        for address in world.addresses.choose_multiple(random, 6) {
            let found = trie.account(version, *address).unwrap();
            assert_eq!(found, self.account(*address), "{what}: account {address} in version {version}");
            for slot in world.slots.choose_multiple(random, 6) {
                let found = trie.storage(version, *address, *slot).unwrap();
                let expected = self.storage(*address, *slot);
                assert_eq!(found, expected, "{what}: slot {slot:#x} of {address} in version {version}");
            }
        }
    }
}

/// What is kept, as plainly as can be.
#[derive(Debug)]
pub(crate) struct Versions {
    /// Oldest first.
    pub(crate) known: Vec<Arc<Known>>,
    head: VersionId,
    history: usize,
}

impl Versions {
    /// The empty state of a new trie.
    pub(crate) fn new(trie: &Ssmt, history: usize) -> Self {
        let first = Known::new(trie.head(), None, MemoryState::complete());
        Self { known: vec![Arc::new(first)], head: trie.head(), history }
    }

    /// What is kept of some versions, the oldest first, with this head.
    pub(crate) fn of(known: Vec<Arc<Known>>, head: VersionId, history: usize) -> Self {
        let mut versions = Self { known, head, history };
        versions.set_head(head);
        versions
    }

    pub(crate) fn push(&mut self, known: Known) {
        self.known.push(Arc::new(known));
    }

    pub(crate) fn get(&self, version: VersionId) -> Option<&Arc<Known>> {
        self.known.iter().find(|known| known.version == version)
    }

    /// What stays if a version becomes the head: what descends from the version so many before it.
    pub(crate) fn kept_with_head(&self, head: VersionId) -> Vec<VersionId> {
        let mut oldest = head;
        for _ in 0..self.history {
            match self.get(oldest).and_then(|known| known.parent).filter(|parent| self.get(*parent).is_some())
            {
                Some(parent) => oldest = parent,
                None => break,
            }
        }
        let mut kept = vec![oldest];
        // Parents come before their children.
        for known in &self.known {
            if known.parent.is_some_and(|parent| kept.contains(&parent)) {
                kept.push(known.version);
            }
        }
        kept
    }

    /// Moves the head, and forgets what is not kept then.
    pub(crate) fn set_head(&mut self, head: VersionId) -> Vec<VersionId> {
        let kept = self.kept_with_head(head);
        let (kept, gone): (Vec<_>, Vec<_>) =
            self.known.drain(..).partition(|known| kept.contains(&known.version));
        self.known = kept;
        self.head = head;
        gone.into_iter().map(|known| known.version).collect()
    }

    /// Forgets a version, unless something needs it: whether it may be discarded.
    pub(crate) fn discard(&mut self, version: VersionId) -> Result<(), &'static str> {
        if version == self.head {
            return Err("it is the head");
        }
        if version == self.known[0].version {
            return Err("it is the oldest that is kept");
        }
        if self.known.iter().any(|known| known.parent == Some(version)) {
            return Err("others descend from it");
        }
        self.known.retain(|known| known.version != version);
        Ok(())
    }

    /// Compares all that is kept, in any order.
    pub(crate) fn check(&self, trie: &Ssmt, world: &World, random: &mut ChaCha8Rng, what: &str) {
        assert_eq!(trie.head(), self.head, "{what}");
        let mut known = self.known.clone();
        known.shuffle(random);
        for known in known {
            // Of the oldest it is not known any more what was made for it.
            if let Some(made) = known.made.as_ref().filter(|_| known.version != self.known[0].version) {
                let found = trie.nodes_made(known.version).unwrap();
                assert!(found == *made, "{what}: nodes of version {}", known.version);
            }
            known.check(trie, world, random, what);
        }
    }

    /// A version that is gone is unknown, whatever is asked of it.
    pub(crate) fn check_gone(&self, trie: &Ssmt, gone: VersionId, what: &str) {
        let (kept, oldest) = (self.known.len(), self.known[0].version);
        let expected = SsmtError::UnknownVersion { version: gone, kept, oldest };
        assert_eq!(trie.root(gone), Err(expected.clone()), "{what}");
        assert_eq!(trie.account(gone, Address::ZERO), Err(expected.clone()), "{what}");
        assert_eq!(trie.storage(gone, Address::ZERO, U256::ZERO), Err(expected.clone()), "{what}");
        assert_eq!(trie.seal(gone, &Arc::default()), Err(expected.clone()), "{what}");
        assert_eq!(trie.set_head(gone), Err(expected.clone()), "{what}");
        assert_eq!(trie.discard(gone), Err(expected), "{what}");
    }
}
