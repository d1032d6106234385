use crate::root::state_root;
use alloy_primitives::{B256, U256};
use citius_state::{AccountChange, ChangeSet, MemoryState, StateReader};
use std::{collections::HashMap, sync::Arc};

/// A store of versions of one state that knows their roots: one version a block, side branches included.
///
/// The suite drives every implementation with the same change sets, and compares its roots with the headers'.
pub(crate) trait Roots {
    /// What failures call it.
    fn name(&self) -> &'static str;

    /// Begins with the state of a genesis block; returns its root.
    ///
    /// # Errors
    ///
    /// Why there is none, in words.
    fn begin(&mut self, genesis: B256, state: &MemoryState) -> Result<B256, String>;

    /// Adds the version that `changes` lead to from the one of `parent`; returns its root. A version may get several
    /// children, and they come in no particular order. `after` is the whole new state.
    ///
    /// # Errors
    ///
    /// Why there is none, in words.
    fn extend(
        &mut self,
        parent: B256,
        block: B256,
        changes: &ChangeSet,
        after: &MemoryState,
    ) -> Result<B256, String>;
}

/// Builds every trie anew, with alloy's trie.
#[derive(Debug)]
pub(crate) struct NaiveRoots;

impl Roots for NaiveRoots {
    fn name(&self) -> &'static str {
        "naive trie"
    }

    fn begin(&mut self, _genesis: B256, state: &MemoryState) -> Result<B256, String> {
        Ok(state_root(state))
    }

    fn extend(
        &mut self,
        _parent: B256,
        _block: B256,
        _changes: &ChangeSet,
        after: &MemoryState,
    ) -> Result<B256, String> {
        Ok(state_root(after))
    }
}

/// The states of a tree of blocks, by block hash.
pub(crate) struct Chain {
    versions: HashMap<B256, Version>,
    roots: Vec<Box<dyn Roots>>,
}

/// The chain up to some block.
#[derive(Clone)]
pub(crate) struct Version {
    pub(crate) number: u64,
    /// Of this block and all its ancestors.
    pub(crate) total_difficulty: U256,
    pub(crate) state_root: B256,
    /// The state after the block. It knows the hashes of the block and its ancestors, and of no other branch's.
    pub(crate) state: Arc<MemoryState>,
}

/// What a chain must know of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) hash: B256,
    pub(crate) number: u64,
    pub(crate) difficulty: U256,
    pub(crate) state_root: B256,
}

impl Chain {
    /// A chain of nothing but its genesis block.
    ///
    /// # Errors
    ///
    /// A root differs from the header's.
    pub(crate) fn new(
        genesis: Link,
        state: MemoryState,
        mut roots: Vec<Box<dyn Roots>>,
    ) -> Result<Self, String> {
        for roots in &mut roots {
            let root = roots.begin(genesis.hash, &state)?;
            compare_roots(&**roots, root, genesis)?;
        }
        let version = genesis.version(U256::ZERO, state);
        Ok(Self { versions: HashMap::from([(genesis.hash, version)]), roots })
    }

    /// The chain up to a block.
    pub(crate) fn version(&self, block: B256) -> Option<&Version> {
        self.versions.get(&block)
    }

    /// Adds a block that leads from its parent's state to another by `changes`.
    ///
    /// # Errors
    ///
    /// The changes do not begin where the parent's state ended, or a root differs from the header's.
    pub(crate) fn extend(&mut self, parent: B256, block: Link, changes: &ChangeSet) -> Result<(), String> {
        let before = self.versions.get(&parent).ok_or_else(|| format!("parent {parent} is unknown"))?;
        changes.accounts.iter().try_for_each(|change| check_before(&before.state, change))?;
        let mut state = MemoryState::clone(&before.state);
        state.apply(changes);
        for roots in &mut self.roots {
            let root = roots.extend(parent, block.hash, changes, &state)?;
            compare_roots(&**roots, root, block)?;
        }
        let version = block.version(before.total_difficulty, state);
        self.versions.insert(block.hash, version);
        Ok(())
    }
}

impl Link {
    fn version(self, difficulty_before: U256, mut state: MemoryState) -> Version {
        state.set_block_hash(self.number, self.hash);
        Version {
            number: self.number,
            total_difficulty: difficulty_before.saturating_add(self.difficulty),
            state_root: self.state_root,
            state: Arc::new(state),
        }
    }
}

fn compare_roots(roots: &dyn Roots, root: B256, block: Link) -> Result<(), String> {
    if root == block.state_root {
        return Ok(());
    }
    Err(format!("state root {root} ({}), expected {}", roots.name(), block.state_root))
}

fn check_before(before: &MemoryState, change: &AccountChange) -> Result<(), String> {
    let address = change.address;
    let account = before.account(address).map_err(|error| error.to_string())?;
    if change.before != account {
        return Err(format!("account {address} was {:?} before, changes say {:?}", account, change.before));
    }
    for slot in change.storage.iter().filter(|_| !change.storage_wiped) {
        let value = before.storage(address, slot.slot).map_err(|error| error.to_string())?;
        if slot.before != value {
            return Err(format!(
                "slot {:#x} of {address} was {value}, changes say {}",
                slot.slot, slot.before
            ));
        }
    }
    Ok(())
}
