//! An account's storage as a seal finds it and writes it.

use super::{SlotWork, Work};
use crate::{
    cold::parts::stored,
    ssmt::{
        account::{self, SlotValue},
        cold::Cold,
        top::Top,
    },
    trie::{
        arena::Arena,
        node::{self, Child, Kind, NodeRef, StorageRef, WIDTH},
        sweep::{Values, Writes},
        update::Write,
    },
};
use alloy_primitives::B256;
use alloy_trie::EMPTY_ROOT_HASH;
use smallvec::SmallVec;
use std::sync::Arc;

/// Slots that most accounts have written to in a block at most.
const FEW: usize = 8;

/// Slots as they are to be in their tries.
pub(super) struct Slots<'a>(pub(super) &'a [SlotWork]);

impl Writes for Slots<'_> {
    fn key(&self, write: u32) -> &B256 {
        &self.0[write as usize].key
    }

    fn value_len(&self, write: u32) -> Option<usize> {
        let value = &self.0[write as usize].value;
        (!value.is_zero()).then(|| value.byte_len())
    }
}

impl Values for Slots<'_> {
    type Value = SlotValue;

    fn key(&self, write: u32) -> &B256 {
        &self.0[write as usize].key
    }

    fn value(&self, write: u32) -> (SlotValue, Option<StorageRef>) {
        match SlotValue::new(self.0[write as usize].value) {
            Some(value) => (value, None),
            None => panic!("slot {} is deleted, it has no value", self.0[write as usize].key),
        }
    }
}

/// What of an account's storage is written already.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    /// Its root, or the large trie that it was before.
    pub(crate) storage: StorageRef,
    pub(crate) root: B256,
    /// A large trie as it is now, which no slab holds yet.
    pub(crate) large: Option<Arc<Top>>,
}

/// The storage of an account that has none.
pub(crate) const NO_STORAGE: StorageRef = StorageRef { root: NodeRef::EMPTY, leaves: 0 };

/// Stands for the number of slots of a storage of which not everything is known.
pub(crate) const UNKNOWN_LEAVES: u32 = u32::MAX;

impl Prepared {
    /// No storage.
    pub(super) const NONE: Self = Self { storage: NO_STORAGE, root: EMPTY_ROOT_HASH, large: None };
}

impl Work {
    /// The storage of an account that is not in memory.
    pub(super) fn prepared_in(&self, cold: &Cold, account: &B256) -> Prepared {
        match cold.shared().storage_root(&cold.view(), account) {
            Ok(root) => {
                root.map_or(Prepared::NONE, |root| Prepared { storage: stored(root), root, large: None })
            }
            Err(error) => {
                self.fail_cold(error);
                Prepared::NONE
            }
        }
    }
}

/// Where an account's storage is, and its root.
pub(crate) fn storage_in_leaf(leaf: &[u8], value: &[u8]) -> Prepared {
    match (node::storage(leaf), account::storage_root(value)) {
        (Some(storage), Some(root)) => Prepared { storage, root, large: None },
        found => panic!("a leaf of the account trie holds an account: {found:?}"),
    }
}

/// The root of a small storage trie. Whatever its size, a hash stands for it.
pub(crate) fn root_child(node: NodeRef, hash: &B256) -> Child {
    if node == NodeRef::EMPTY { Child::EMPTY } else { Child::hashed(node, &hash.0) }
}

/// All slots below a node, in the order of their keys.
pub(super) fn collect_slots(arena: &Arena, root: NodeRef, slots: &mut Vec<SlotWork>) {
    fn below(arena: &Arena, node: NodeRef, path: &mut Vec<u8>, slots: &mut Vec<SlotWork>) {
        if !node.is_stored() {
            return;
        }
        let bytes = arena.bytes(node);
        let len = path.len();
        match node::kind(bytes) {
            Kind::Branch => {
                for nibble in 0..WIDTH as u8 {
                    path.push(nibble);
                    below(arena, node::child_ref(bytes, nibble), path, slots);
                    path.truncate(len);
                }
            }
            Kind::Extension => {
                let (own, child) = node::extension(bytes);
                path.extend(own.nibbles());
                below(arena, child.node, path, slots);
            }
            Kind::Leaf | Kind::Account => {
                let (own, value) = node::leaf(bytes);
                path.extend(own.nibbles());
                let mut key = B256::ZERO;
                for (byte, pair) in key.iter_mut().zip(path.chunks(2)) {
                    *byte = pair[0] << 4 | pair[1];
                }
                let value = SlotValue::decode(value).unwrap_or_default();
                slots.push(SlotWork { key, value });
            }
        }
        path.truncate(len);
    }
    below(arena, root, &mut Vec::with_capacity(64), slots);
}

/// Two lists by key made one; where both have a key, the second counts.
pub(super) fn merged(old: Vec<SlotWork>, new: Vec<SlotWork>) -> Vec<SlotWork> {
    let mut all = Vec::with_capacity(old.len() + new.len());
    let mut new = new.into_iter().peekable();
    for slot in old {
        while let Some(earlier) = new.next_if(|write| write.key < slot.key) {
            all.push(earlier);
        }
        all.push(new.next_if(|write| write.key == slot.key).unwrap_or(slot));
    }
    all.extend(new);
    all
}

/// Calls `write` with slots as the trie takes them.
pub(super) fn with_writes<R>(slots: &[SlotWork], write: impl FnOnce(&[Write<'_>]) -> R) -> R {
    let values: SmallVec<[Option<SlotValue>; FEW]> =
        slots.iter().map(|slot| SlotValue::new(slot.value)).collect();
    let writes: SmallVec<[Write<'_>; FEW]> = slots
        .iter()
        .zip(&values)
        .map(|(slot, value)| Write {
            key: &slot.key[..],
            value: value.as_ref().map(SlotValue::bytes),
            storage: None,
        })
        .collect();
    write(&writes)
}
