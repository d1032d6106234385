//! A store is filled with a world account by account, in the order of the trie: a root then follows from what came before it, and
//! no state need be in memory.

use super::StoresError;
use crate::root::World;
use alloy_primitives::{B256, U256, keccak256};
use alloy_rlp::Encodable;
use alloy_trie::{EMPTY_ROOT_HASH, HashBuilder, Nibbles, TrieAccount};
use citius_hashing::Hasher;
use citius_state::{
    AccountChange, ChangeSet, SlotChange,
    cold::{BlockRecord, Store},
};
use std::sync::Arc;

/// Writes of one block, about.
const BLOCK_WRITES: usize = 200_000;
/// Writes of one checkpoint, about.
const CHECKPOINT_WRITES: usize = 1_000_000;

/// The hash that the block of a number has.
pub(super) fn block_hash(number: u64) -> B256 {
    B256::from(U256::from(number))
}

/// A block that follows the one of the number before.
pub(super) fn record(number: u64, root: B256, changes: ChangeSet) -> Arc<BlockRecord> {
    let (hash, parent) = (block_hash(number), block_hash(number - 1));
    Arc::new(BlockRecord { number, hash, parent, root, changes: Arc::new(changes) })
}

/// Fills an empty store, the last blocks brought to its pages; the root.
///
/// # Errors
///
/// [`StoresError::Cold`].
pub(super) fn fill(store: &Store, world: &World, hasher: &Hasher) -> Result<B256, StoresError> {
    let mut filling =
        Filling { store, hasher, number: store.last().number, writes: 0, block: Vec::new(), pending: 0 };
    let mut accounts = HashBuilder::default();
    let mut root = EMPTY_ROOT_HASH;
    let mut rlp = Vec::new();
    for (key, number) in sorted(world) {
        let change = world.creation(number);
        add_account(&mut accounts, key, &change, &mut rlp);
        filling.add(change)?;
        if filling.pending >= CHECKPOINT_WRITES {
            root = accounts.clone().root();
            filling.checkpoint(root)?;
        }
    }
    if filling.pending > 0 {
        root = accounts.root();
        filling.checkpoint(root)?;
    }
    Ok(root)
}

/// The numbers of all accounts with their keys, by key.
fn sorted(world: &World) -> impl Iterator<Item = (B256, u64)> {
    let key = |number: u64| keccak256(World::address(number));
    // Half of the memory of whole keys, and their order all the same: two that begin alike are not among so few.
    let mut order: Vec<([u8; 12], u32)> = (0..world.shape().accounts as u32)
        .map(|number| {
            let mut start = [0; 12];
            start.copy_from_slice(&key(u64::from(number))[..12]);
            (start, number)
        })
        .collect();
    order.sort_unstable();
    order.into_iter().map(move |(_, number)| (key(u64::from(number)), u64::from(number)))
}

fn add_account(accounts: &mut HashBuilder, key: B256, change: &AccountChange, rlp: &mut Vec<u8>) {
    let Some(account) = change.after else { return };
    let mut storage_root = EMPTY_ROOT_HASH;
    if !change.storage.is_empty() {
        let keyed = change.storage.iter().map(|slot| (keccak256(slot.slot.to_be_bytes::<32>()), slot.after));
        let mut slots: Vec<(B256, U256)> = keyed.collect();
        slots.sort_unstable_by_key(|(key, _)| *key);
        let mut builder = HashBuilder::default();
        for (key, value) in slots {
            rlp.clear();
            value.encode(rlp);
            builder.add_leaf_unchecked(Nibbles::unpack(key), rlp);
        }
        storage_root = builder.root();
    }
    rlp.clear();
    TrieAccount {
        nonce: account.nonce,
        balance: account.balance,
        storage_root,
        code_hash: account.code_hash,
    }
    .encode(rlp);
    accounts.add_leaf_unchecked(Nibbles::unpack(key), rlp);
}

/// Blocks that come together.
struct Filling<'a> {
    store: &'a Store,
    hasher: &'a Hasher,
    number: u64,
    /// Of the block.
    writes: usize,
    block: Vec<AccountChange>,
    /// Writes since the last checkpoint.
    pending: usize,
}

impl Filling<'_> {
    /// An account, in several blocks if it has many slots.
    fn add(&mut self, change: AccountChange) -> Result<(), StoresError> {
        if change.storage.len() <= BLOCK_WRITES {
            return self.push(change);
        }
        let slots: Vec<SlotChange> = change.storage;
        for (part, slots) in slots.chunks(BLOCK_WRITES).enumerate() {
            self.push(AccountChange {
                address: change.address,
                before: if part == 0 { None } else { change.after },
                after: change.after,
                storage_wiped: part == 0,
                storage: slots.to_vec(),
            })?;
            self.append(B256::ZERO)?;
        }
        Ok(())
    }

    fn push(&mut self, change: AccountChange) -> Result<(), StoresError> {
        let writes = 1 + change.storage.len();
        self.writes += writes;
        self.pending += writes;
        self.block.push(change);
        // Checkpoints are made of whole blocks, so the last one waits for its root.
        if self.writes >= BLOCK_WRITES && self.pending < CHECKPOINT_WRITES {
            self.append(B256::ZERO)
        } else {
            Ok(())
        }
    }

    fn append(&mut self, root: B256) -> Result<(), StoresError> {
        self.number += 1;
        self.writes = 0;
        let changes = ChangeSet { accounts: std::mem::take(&mut self.block), codes: Vec::new() };
        Ok(self.store.append(vec![record(self.number, root, changes)])?)
    }

    fn checkpoint(&mut self, root: B256) -> Result<(), StoresError> {
        self.append(root)?;
        self.pending = 0;
        self.store.checkpoint(self.number, self.hasher)?;
        Ok(())
    }
}
