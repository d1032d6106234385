//! The nodes on the way to a key, from the root of its trie on: what proves the key's value, and what a witness holds.

use super::{
    account::SlotValue,
    cold::assembled,
    error::{SsmtError, TrieName},
    shard::Shard,
    store::{FoundAccount, Ssmt},
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
        let walked = {
            let shard = self.shards[usize::from(key[0])].read();
            self.cut_way(&version.top, &shard, key, &mut way).map(drop)
        };
        if let Err(blinded) = walked {
            self.way_on(TrieName::Accounts, key, blinded, &mut way)?;
        }
        Ok((way, self.find_account_anywhere(version, key)?))
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
        let visit = |depth, rlp: &[u8]| way.push((depth, Bytes::copy_from_slice(rlp)));
        let walked = walk::trace(&home.arena, child, 0, &key[..], visit).map(value);
        drop(home);
        let value = match walked {
            Ok(value) => value,
            Err(blinded) => {
                self.way_on(TrieName::Storage(account), key, blinded, &mut way)?;
                self.find_slot_anywhere(account, found, key)?
            }
        };
        Ok((way, value))
    }

    /// Goes on in the store, if there is one, where a way leads out of memory. What is read there is not kept.
    fn way_on(&self, trie: TrieName, key: B256, blinded: Blinded, way: &mut Way) -> Result<(), SsmtError> {
        let Some(cold) = &self.cold else { return Err(SsmtError::Blinded { trie, path: blinded.path }) };
        let mut depth = blinded.path.len();
        loop {
            let parts = cold.parts(trie, &key[..], depth)?;
            let (arena, child) = assembled(&parts, depth, &self.hasher);
            let visit = |depth, rlp: &[u8]| way.push((depth, Bytes::copy_from_slice(rlp)));
            match walk::trace(&arena, child, depth, &key[..], visit) {
                Ok(_) => return Ok(()),
                Err(Blinded { path }) if path.len() > depth => depth = path.len(),
                Err(Blinded { path }) => return Err(SsmtError::Blinded { trie, path }),
            }
        }
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
