//! What becomes of accounts and slots on pages.

use super::{
    error::ColdError,
    merkle::{Batch, Node},
    record::{AccountRecord, INLINE_MAX, Slot, Storage, slots_bytes},
    tree::{Leaf, Pages, Updater, Written},
};
use crate::Account;
use alloy_primitives::{B256, U256};
use citius_hashing::Hasher;

/// What becomes of a slot; zero for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SlotUpdate {
    /// The hash of the slot's key.
    pub(crate) key: B256,
    pub(crate) value: U256,
}

/// What becomes of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccountUpdate {
    /// The hash of its address.
    pub(crate) key: B256,
    pub(crate) before: Before,
    pub(crate) after: Option<Account>,
    /// All its slots are gone before those below are written.
    pub(crate) is_wiped: bool,
    /// Sorted.
    pub(crate) slots: Vec<SlotUpdate>,
}

/// What must be there of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Before {
    /// It may be there or not.
    Any,
    /// Nothing.
    Absent,
    /// The account, some slots of which are there.
    Present,
}

/// The root of storage that is to be found yet: no trie has it.
const OPEN: B256 = B256::ZERO;

impl Leaf for Slot {
    type Change = SlotUpdate;

    fn key_of(change: &SlotUpdate) -> &B256 {
        &change.key
    }

    fn change<P: Pages>(
        _updater: &mut Updater<'_, P>,
        _old: Option<Self>,
        SlotUpdate { key, value }: SlotUpdate,
    ) -> Result<Option<Self>, ColdError> {
        Ok((!value.is_zero()).then_some(Self { key, value }))
    }
}

impl Leaf for AccountRecord {
    type Change = AccountUpdate;

    fn key_of(change: &AccountUpdate) -> &B256 {
        &change.key
    }

    fn change<P: Pages>(
        updater: &mut Updater<'_, P>,
        old: Option<Self>,
        change: AccountUpdate,
    ) -> Result<Option<Self>, ColdError> {
        let AccountUpdate { key, before, after, is_wiped, slots } = change;
        match (before, &old) {
            (Before::Absent, Some(_)) => return Err(ColdError::Twice { key }),
            (Before::Present, None) => return Err(ColdError::NotBegun { key }),
            _ => {}
        }
        let mut storage = old.map_or(Storage::Empty, |old| old.storage);
        if is_wiped || after.is_none() {
            if let Storage::Pages(tree) = storage {
                updater.free_tree::<Slot>(tree)?;
            }
            storage = Storage::Empty;
        }
        let Some(account) = after else { return Ok(None) };
        if !slots.is_empty() {
            storage = changed(updater, &key, storage, slots)?;
        }
        Ok(Some(Self { key, account, storage }))
    }

    fn free<P: Pages>(&self, updater: &mut Updater<'_, P>) -> Result<(), ColdError> {
        match &self.storage {
            Storage::Pages(tree) => updater.free_tree::<Slot>(*tree),
            _ => Ok(()),
        }
    }

    fn settle(records: &mut [&mut Self], hasher: &Hasher) {
        let mut batch = Batch::default();
        let mut open: Vec<&mut B256> = Vec::new();
        for record in records {
            if let Storage::Inline(root, slots) = &mut record.storage
                && *root == OPEN
            {
                for slot in slots {
                    batch.leaf(slot.key, |out| super::record::Record::write_value(slot, out));
                }
                batch.end(0);
                open.push(root);
            }
        }
        for (root, node) in open.into_iter().zip(batch.roots(hasher)) {
            *root = Node::root_hash(&node);
        }
    }
}

/// Storage after changes.
fn changed<P: Pages>(
    updater: &mut Updater<'_, P>,
    account: &B256,
    storage: Storage,
    slots: Vec<SlotUpdate>,
) -> Result<Storage, ColdError> {
    let (tree, slots) = match storage {
        Storage::Blinded(_) => return Err(ColdError::Blinded { key: *account, nibbles: 64 }),
        Storage::Pages(tree) => (Some(tree), slots),
        Storage::Empty => (None, slots),
        Storage::Inline(_, old) => (None, together(&old, &slots)),
    };
    Ok(match updater.update::<Slot>(tree, slots, INLINE_MAX)? {
        Written::Tree(tree) => Storage::Pages(tree),
        Written::Few(slots) if slots.is_empty() => Storage::Empty,
        Written::Few(slots) => {
            debug_assert!(slots_bytes(&slots) <= INLINE_MAX, "few slots take few bytes");
            Storage::Inline(OPEN, slots)
        }
    })
}

/// Slots as changes, with later changes over them; both sorted.
fn together(old: &[Slot], changes: &[SlotUpdate]) -> Vec<SlotUpdate> {
    let mut all: Vec<SlotUpdate> =
        old.iter().map(|slot| SlotUpdate { key: slot.key, value: slot.value }).collect();
    all.retain(|slot| changes.binary_search_by_key(&slot.key, |change| change.key).is_err());
    all.extend_from_slice(changes);
    all.sort_unstable_by_key(|slot| slot.key);
    all
}
