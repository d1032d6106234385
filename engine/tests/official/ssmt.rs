//! The sharded state trie, held against the roots of headers and fixtures.

use crate::{case::Case, chain::Roots, machines::Machines, root::state_root, selection::seed};
use alloy_primitives::{B256, U256};
use citius_hashing::{CpuKind, Hasher};
use citius_state::{
    Account, AccountChange, CallerAlone, ChangeSet, Committed, MemoryState, SlotChange, StateReader, Workers,
    ssmt::{Draft, Sealed, Ssmt, SsmtConfig, VersionId},
};
use rand::{
    Rng, SeedableRng,
    seq::{IndexedRandom, SliceRandom},
};
use rand_chacha::ChaCha8Rng;
use std::{collections::HashMap, sync::Arc};

/// Versions that are kept before the head: more than any test's chain has blocks.
const HISTORY: usize = 1 << 20;
/// Storage tries are cut into shards from so many slots on: nearly all that are there at all, or hardly any.
const LARGE_STORAGE_FROM: [u32; 2] = [2, 4096];

/// No cache for readers, or one that holds all of a test's values.
const FLAT_CACHE_BYTES: [u64; 2] = [0, 1 << 20];

/// The versions of a tree of blocks in one sharded trie, side branches beside each other. How it is laid out, who works
/// on it, and when the head moves is chosen by a seed.
#[derive(Debug)]
pub(crate) struct SsmtRoots {
    trie: Arc<Ssmt>,
    blocks: HashMap<B256, VersionId>,
    /// In the order of their sealing.
    versions: Vec<VersionId>,
    dice: ChaCha8Rng,
}

impl SsmtRoots {
    pub(crate) fn new(seed: u64, machines: &Machines) -> Self {
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        let trie = empty(&mut dice, machines);
        let versions = vec![trie.head()];
        Self { trie, blocks: HashMap::new(), versions, dice }
    }

    fn seal(&mut self, parent: VersionId, block: B256, mut changes: ChangeSet) -> Result<B256, String> {
        // Their order carries no meaning; it is to be the same one in every run.
        changes.sort();
        changes.accounts.shuffle(&mut self.dice);
        let changes = Arc::new(changes);
        let sealed = if self.dice.random_ratio(1, 3) {
            let draft = self.trie.draft(parent, 0).map_err(in_words)?;
            tell(&draft, &changes);
            draft.seal(&changes).map(|(sealed, _)| sealed)
        } else {
            self.trie.seal(parent, &changes)
        };
        let Sealed { version, root, .. } = sealed.map_err(in_words)?;
        self.blocks.insert(block, version);
        self.versions.push(version);
        // Most often to the new block, as a chain does; now and then back, or over to another branch.
        let head = match self.dice.random_range(0..8) {
            0..4 => Some(version),
            4 => self.versions.choose(&mut self.dice).copied(),
            _ => None,
        };
        if let Some(head) = head {
            self.trie.set_head(head).map_err(in_words)?;
        }
        Ok(root)
    }

    fn version(&self, block: B256) -> Result<VersionId, String> {
        self.blocks.get(&block).copied().ok_or_else(|| format!("block {block} was never sealed"))
    }
}

impl Roots for SsmtRoots {
    fn name(&self) -> &'static str {
        "sharded trie"
    }

    fn begin(&mut self, genesis: B256, state: &MemoryState) -> Result<B256, String> {
        let empty = self.trie.head();
        self.seal(empty, genesis, from_nothing(state))
    }

    fn extend(
        &mut self,
        parent: B256,
        block: B256,
        changes: &ChangeSet,
        after: &MemoryState,
    ) -> Result<B256, String> {
        let root = self.seal(self.version(parent)?, block, changes.clone())?;
        check_values(&self.trie, self.version(block)?, after)?;
        Ok(root)
    }

    fn check(&mut self, block: B256, state: &MemoryState) -> Result<(), String> {
        if self.dice.random_ratio(1, 4) {
            self.trie.set_head(self.version(block)?).map_err(in_words)?;
        }
        check_values(&self.trie, self.version(block)?, state)
    }
}

/// Leads a trie from the state before a case's transaction to the one after it, and back: every root and value must be
/// right.
///
/// # Errors
///
/// The first difference, in words.
pub(crate) fn check_case(
    case: &Case,
    changes: &ChangeSet,
    after: &MemoryState,
    machines: &Machines,
) -> Result<(), String> {
    let trie = empty(&mut ChaCha8Rng::seed_from_u64(seed(&case.name)), machines);
    let seal = |parent, changes: ChangeSet, expected: B256, what: &str| {
        let Sealed { version, root, .. } = trie.seal(parent, &Arc::new(changes)).map_err(in_words)?;
        if root == expected {
            return Ok(version);
        }
        Err(format!("state root {what} {root} (sharded trie), expected {expected}"))
    };
    let before = seal(trie.head(), from_nothing(&case.state), state_root(&case.state), "before")?;
    let version = seal(before, changes.clone(), case.root, "after")?;
    check_values(&trie, version, after).map_err(|reason| format!("after (sharded trie): {reason}"))?;
    check_values(&trie, before, &case.state).map_err(|reason| format!("before (sharded trie): {reason}"))
}

fn empty(dice: &mut ChaCha8Rng, machines: &Machines) -> Arc<Ssmt> {
    let config = SsmtConfig {
        history: HISTORY,
        large_storage_from: LARGE_STORAGE_FROM[dice.random_range(0..2)],
        flat_cache_bytes: FLAT_CACHE_BYTES[dice.random_range(0..2)],
        ..SsmtConfig::default()
    };
    let kinds: Vec<CpuKind> = CpuKind::available().collect();
    let kind = kinds[dice.random_range(0..kinds.len())];
    let hasher = Hasher::with_cpu(kind).expect("it is available");
    let workers: Arc<dyn Workers> =
        if dice.random() { Arc::clone(machines.pool()) as _ } else { Arc::new(CallerAlone) };
    Arc::new(Ssmt::new(config, Arc::new(hasher), workers))
}

/// What makes a state out of nothing.
fn from_nothing(state: &MemoryState) -> ChangeSet {
    let slots = |address| {
        let slots = state.slots(address).filter(|(_, after)| !after.is_zero());
        slots.map(|(slot, after)| SlotChange { slot, before: U256::ZERO, after }).collect()
    };
    let accounts = state.accounts().filter_map(|(address, after)| {
        let storage = slots(address);
        after.map(|after| AccountChange {
            address,
            before: None,
            after: Some(after),
            storage_wiped: true,
            storage,
        })
    });
    ChangeSet { accounts: accounts.collect(), codes: Vec::new() }
}

/// Tells a draft of all slots that a block changes, and lets it write them.
fn tell(draft: &Draft, changes: &ChangeSet) {
    let (sink, work) = (draft.sink(), draft.idle_work());
    for AccountChange { address, after, storage_wiped, storage, .. } in &changes.accounts {
        let (address, after) = (*address, *after);
        if *storage_wiped {
            sink.committed(0, &[Committed::Account { address, after, storage_wiped: true }]);
        }
        for SlotChange { slot, after, .. } in storage {
            sink.committed(0, &[Committed::Slot { address, slot: *slot, after: *after }]);
        }
        while work.help(0) {}
    }
}

/// Compares all accounts and slots that a state knows.
fn check_values(trie: &Arc<Ssmt>, version: VersionId, state: &MemoryState) -> Result<(), String> {
    let reader = trie.reader(version).map_err(in_words)?;
    for (address, expected) in state.accounts() {
        let read = reader.account(address).map_err(in_words)?;
        if read != expected {
            return Err(format!("account {address} is read as {read:?}, expected {expected:?}"));
        }
        let account = trie.account(version, address).map_err(in_words)?;
        let account: Option<Account> = account.map(|(account, _)| account);
        if account != expected {
            return Err(format!("account {address} is {account:?}, expected {expected:?}"));
        }
        for (slot, _) in state.slots(address) {
            let expected = state.storage(address, slot).map_err(|error| error.to_string())?;
            let value = trie.storage(version, address, slot).map_err(in_words)?;
            if value != expected {
                return Err(format!("slot {slot:#x} of {address} is {value}, expected {expected}"));
            }
            let read = reader.storage(address, slot).map_err(in_words)?;
            if read != expected {
                return Err(format!("slot {slot:#x} of {address} is read as {read}, expected {expected}"));
            }
        }
    }
    Ok(())
}

fn in_words(error: impl std::fmt::Display) -> String {
    error.to_string()
}
