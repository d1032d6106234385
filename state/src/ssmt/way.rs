//! The nodes on the way to a key, from the root of its trie on: what proves the key's value, and what a witness holds.

use super::{
    account::SlotValue,
    error::{SsmtError, TrieName},
    shard::Shard,
    store::{FoundAccount, Ssmt, in_accounts},
    top::{CUT, Top},
    version::Version,
    work::{NO_STORAGE, root_child},
};
use crate::trie::{
    update::Blinded,
    walk::{self, Found},
};
use alloy_primitives::{B256, Bytes, U256};
use std::sync::Arc;

/// Nodes that stand for themselves, from the root on, each with the number of nibbles above it.
pub(crate) type Way = Vec<(usize, Bytes)>;

impl Ssmt {
    /// The way to an account by the hash of its address, and the account.
    ///
    /// # Errors
    ///
    /// [`SsmtError::Blinded`].
    pub(super) fn account_way(
        &self,
        version: &Version,
        key: B256,
    ) -> Result<(Way, Option<FoundAccount>), SsmtError> {
        let mut way = Way::new();
        {
            let shard = self.shards[usize::from(key[0])].read();
            self.cut_way(&version.top, &shard, key, &mut way).map_err(in_accounts)?;
        }
        Ok((way, self.find_account(version, key)?))
    }

    /// The way to a slot by the hash of its key, and its value.
    ///
    /// # Errors
    ///
    /// [`SsmtError::Blinded`].
    pub(super) fn storage_way(
        &self,
        account: B256,
        found: &FoundAccount,
        key: B256,
    ) -> Result<(Way, U256), SsmtError> {
        let mut way = Way::new();
        if found.storage == NO_STORAGE {
            return Ok((way, U256::ZERO));
        }
        let in_storage = |Blinded { path }| SsmtError::Blinded { trie: TrieName::Storage(account), path };
        let value = |found: Found<'_>| match found {
            Found::Absent => U256::ZERO,
            Found::Value { value, .. } => SlotValue::decode(value).unwrap_or_default(),
        };
        let home = self.shards[usize::from(account[0])].read();
        if let Some(number) = found.storage.root.as_large() {
            let top = Arc::clone(home.large.get(number));
            drop(home);
            let shard = self.shards[usize::from(key[0])].read();
            let found = self.cut_way(&top, &shard, key, &mut way).map_err(in_storage)?;
            let value = value(found);
            return Ok((way, value));
        }
        let child = root_child(found.storage.root, &found.storage_root);
        let visit = |depth, rlp| way.push((depth, Bytes::copy_from_slice(rlp)));
        let found = walk::trace(&home.arena, child, 0, &key[..], visit).map_err(in_storage)?;
        let value = value(found);
        Ok((way, value))
    }

    /// The way through a trie that is cut into shards; `shard` is the key's.
    fn cut_way<'s>(
        &self,
        top: &Top,
        shard: &'s Shard,
        key: B256,
        way: &mut Way,
    ) -> Result<Found<'s>, Blinded> {
        let (above, is_merged) = top.above(key[0], &self.hasher)?;
        way.extend(above.into_iter().map(Bytes::from).enumerate());
        let sub = top.sub(key[0])?;
        // The shard's root as it lies in memory is not a node then: its path begins above the cut.
        let mut is_above = is_merged && sub.is_hashed();
        walk::trace(&shard.arena, sub, CUT, &key[..], |depth, rlp| {
            if !std::mem::take(&mut is_above) {
                way.push((depth, Bytes::copy_from_slice(rlp)));
            }
        })
    }
}
