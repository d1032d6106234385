//! The part of the state that is not in memory, but in a store.
//!
//! 1. A blinded node is the same in every kept version that has it and in the store's last checkpoint: only what is stored is let go
//!    of ([`Periods`](super::periods::Periods)), what is written is taken in before, and no checkpoint is made behind the oldest kept version.
//! 2. So what is blinded is found in the pages by trie and key alone.
//! 3. Taking in and letting go are writes of the version that is being made, noted and undone with it.

use super::{
    codes::Codes,
    error::{SsmtError, TrieName, VersionId},
    shard::{Shard, ShardLog},
    store::{FoundAccount, Sealing, Ssmt, SsmtConfig, in_accounts},
    top::{CUT, SHARDS, Sub, Top},
    version::Version,
    work::Work,
};
use crate::{
    Account, Workers,
    cold::{
        BlockId, ColdError, Store,
        parts::stored,
        view::{Shared, View},
        walk::{Answer, Sought},
    },
    trie::{
        arena::Arena,
        levels::Levels,
        log::Log,
        node::{Child, Stamp},
        update::{Below, Blinded, Part, Updater},
    },
};
use alloy_primitives::{B256, U256};
use alloy_trie::EMPTY_ROOT_HASH;
use citius_hashing::Hasher;
use std::sync::Arc;

/// A store, as the trie in memory sees it.
#[derive(Debug, Clone)]
pub(crate) struct Cold {
    pub(super) store: Arc<Store>,
}

impl Cold {
    pub(super) fn shared(&self) -> &Shared {
        self.store.shared()
    }

    pub(super) fn view(&self) -> Arc<View> {
        self.store.shared().view()
    }

    /// What a trie has below a place; something is.
    pub(super) fn parts(&self, trie: TrieName, key: &[u8], depth: usize) -> Result<Vec<Part>, ColdError> {
        let parts = self.shared().parts(&self.view(), trie, key, depth)?;
        if parts.is_empty() {
            return Err(ColdError::Missing { trie, path: Blinded::at(key, depth).path });
        }
        Ok(parts)
    }
}

/// One trie of a store, for a seal.
#[derive(Debug)]
pub(super) struct InTrie<'a> {
    pub(super) work: &'a Work,
    pub(super) cold: &'a Cold,
    pub(super) trie: TrieName,
}

impl Below for InTrie<'_> {
    fn below(&self, key: &[u8], depth: usize) -> Result<Vec<Part>, Blinded> {
        self.cold.parts(self.trie, key, depth).map_err(|error| {
            self.work.fail_cold(error);
            Blinded::at(key, depth)
        })
    }
}

impl Ssmt {
    /// The state of a store's last checkpoint. It is read where it is needed, kept in memory as far as
    /// [`SsmtConfig::node_bytes_max`] allows, and storage tries are not cut into shards.
    ///
    /// Blocks since the checkpoint are the caller's to seal. From then on no checkpoint may be made behind the oldest version that is
    /// kept ([`Ssmt::oldest`]), and of those that are made the trie is to be told ([`Ssmt::stored`]).
    ///
    /// # Errors
    ///
    /// [`SsmtError::Cold`]; [`SsmtError::WrongRoot`] if what is read has not the root that the store says.
    pub fn over(
        store: Arc<Store>,
        config: SsmtConfig,
        hasher: Arc<Hasher>,
        workers: Arc<dyn Workers>,
    ) -> Result<Self, SsmtError> {
        let config = SsmtConfig { large_storage_from: u32::MAX, ..config };
        let (_, root) = store.checkpoint_block();
        let cold = Cold { store };
        let mut shards = Shard::all();
        let mut subs = Vec::with_capacity(SHARDS);
        if root != EMPTY_ROOT_HASH {
            let all = (0..=u8::MAX).map(|shard| Sought::Account(B256::repeat_byte(shard)));
            cold.shared().prepare(&cold.view(), all);
            for (number, shard) in (0..=u8::MAX).zip(&mut shards) {
                let key = [number; 1];
                let view = cold.view();
                let parts = cold.shared().parts(&view, TrieName::Accounts, &key, CUT)?;
                if !parts.is_empty() {
                    subs.push((number, first_nodes(shard, &parts, &hasher)));
                }
            }
        }
        let mut top = Top::default();
        top.replace(subs.into_iter(), &hasher).map_err(in_accounts)?;
        let found = top.hash();
        if found != root {
            return Err(SsmtError::WrongRoot { expected: root, found });
        }
        let mut ssmt = Self::with_parts(top, shards, config, hasher, workers);
        ssmt.codes = Codes::over_store(ssmt.config.code_cache_bytes);
        ssmt.cold = Some(cold);
        ssmt.stamp_shards(&ssmt.sealing.lock());
        Ok(ssmt)
    }

    /// The oldest version that is kept. Every version that is kept descends from it.
    #[must_use]
    pub fn oldest(&self) -> VersionId {
        self.versions.read().oldest()
    }

    /// The store's last checkpoint is the state of a version now, which is kept no more, or the oldest that is.
    pub fn stored(&self, version: VersionId) {
        let mut sealing = self.sealing.lock();
        sealing.periods.store(version);
        self.stamp_shards(&sealing);
        self.codes.let_go(version);
    }

    /// A version was made. Nothing else may be in the making.
    pub(super) fn end_period(&self, sealing: &mut Sealing, version: VersionId) {
        if self.cold.is_some() {
            sealing.periods.end(version);
            self.stamp_shards(sealing);
        }
    }

    /// As [`Ssmt::find_account`]; what is in a store is read there.
    pub(super) fn find_account_anywhere(
        &self,
        version: &Version,
        key: B256,
    ) -> Result<Option<FoundAccount>, SsmtError> {
        match (self.find_account(version, key), &self.cold) {
            (Err(SsmtError::Blinded { .. }), Some(cold)) => {
                match cold.shared().find(&cold.view(), Sought::Account(key))? {
                    Answer::Account(found) => Ok(found.map(FoundAccount::stored)),
                    answer => unreachable!("an account is not {answer:?}"),
                }
            }
            (found, _) => found,
        }
    }

    /// As [`Ssmt::find_slot`]; what is in a store is read there.
    pub(super) fn find_slot_anywhere(
        &self,
        account: B256,
        found: &FoundAccount,
        key: B256,
    ) -> Result<U256, SsmtError> {
        match (self.find_slot(account, found, key), &self.cold) {
            (Err(SsmtError::Blinded { .. }), Some(cold)) => Ok(cold.store.slot(&account, &key)?),
            (found, _) => found,
        }
    }

    fn stamp_shards(&self, sealing: &Sealing) {
        let (now, then) = sealing.periods.stamps();
        for shard in &*self.shards {
            shard.write().arena.set_stamps(now, then);
        }
    }

    /// The store, if there is one.
    #[must_use]
    pub fn store(&self) -> Option<&Arc<Store>> {
        self.cold.as_ref().map(|cold| &cold.store)
    }

    /// The block of the store's last checkpoint.
    #[must_use]
    pub fn stored_block(&self) -> Option<BlockId> {
        self.cold.as_ref().map(|cold| cold.store.checkpoint_block().0)
    }
}

/// The nodes of a shard that one page has.
fn first_nodes(shard: &mut Shard, parts: &[Part], hasher: &Hasher) -> Sub {
    let child = assemble(&mut shard.arena, parts, CUT, hasher);
    let node = child.node.is_stored().then(|| shard.arena.bytes(child.node));
    Sub::new(child, node)
}

/// A subtrie of its parts, by itself: its root is so many nibbles below the trie's.
pub(super) fn assembled(parts: &[Part], depth: usize, hasher: &Hasher) -> (Arena, Child) {
    let mut arena = Arena::default();
    let child = assemble(&mut arena, parts, depth, hasher);
    (arena, child)
}

fn assemble(arena: &mut Arena, parts: &[Part], depth: usize, hasher: &Hasher) -> Child {
    let mut log = Log::default();
    arena.set_stamps(Stamp::of(1), Stamp::of(0));
    let child = Updater::new(arena, &mut log).assemble(depth, parts);
    let mut roots: [Child; 1] = [child];
    let mut levels = Levels::default();
    levels.collect(arena, 0, &child, 0);
    levels.hash(&mut (arena, &mut log), &mut roots, 0, hasher);
    let [child] = roots;
    child
}

impl FoundAccount {
    /// An account that a store has, and its storage root.
    pub(super) fn stored((account, storage_root): (Account, B256)) -> Self {
        Self { account, storage: stored(storage_root), storage_root }
    }
}

impl ShardLog {
    /// Whether nothing was done.
    pub(super) fn is_empty(&self) -> bool {
        self.nodes.writes() == 0 && self.large_made.is_empty() && self.large_dropped.is_empty()
    }
}
