use crate::recorded::Witness;
use alloy_primitives::{B256, U256};
use citius_hashing::Hasher;
use citius_state::{
    AccountChange, ChangeSet, MemoryState, SlotChange, Workers,
    ssmt::{Draft, Sealed, Ssmt, SsmtConfig, SsmtError, VersionId},
};
use std::sync::Arc;

/// The state trie before a block or a stream of them. What is sealed on it is given up again, so that every repetition
/// finds it as it was.
#[derive(Debug)]
pub struct StateTrie {
    ssmt: Arc<Ssmt>,
    before: VersionId,
    is_witnessed: bool,
}

/// Versions, each sealed on the one before; given up when this is dropped.
#[derive(Debug)]
pub struct Line<'a> {
    trie: &'a StateTrie,
    versions: Vec<VersionId>,
}

impl StateTrie {
    /// The trie of what a state lists: of a partial one, a trie in which nothing else exists.
    ///
    /// # Errors
    ///
    /// [`SsmtError`]: none that is known, as nothing is blinded.
    pub fn listed(
        state: &MemoryState,
        config: SsmtConfig,
        hasher: Arc<Hasher>,
        workers: Arc<dyn Workers>,
    ) -> Result<Self, SsmtError> {
        let ssmt = Arc::new(Ssmt::new(config, hasher, workers));
        let before = ssmt.seal(ssmt.head(), &Arc::new(changes_from_nothing(state)))?.version;
        Ok(Self { ssmt, before, is_witnessed: false })
    }

    /// The part of the whole state's trie that a witness holds. Roots after it count only if they are those expected
    /// (see [`Witness::likely_branches`]).
    ///
    /// # Errors
    ///
    /// [`SsmtError::RootMissing`] and [`SsmtError::BadNode`] if the witness is none.
    pub fn witnessed(
        witness: &Witness,
        config: SsmtConfig,
        hasher: Arc<Hasher>,
        workers: Arc<dyn Workers>,
    ) -> Result<Self, SsmtError> {
        let Witness { pre_state_root, nodes, .. } = witness;
        let branches = witness.likely_branches();
        let ssmt = Ssmt::from_witness(*pre_state_root, nodes, &branches, config, hasher, workers)?;
        Ok(Self { before: ssmt.head(), ssmt: Arc::new(ssmt), is_witnessed: true })
    }

    /// Whether it is part of the whole state's trie, so that roots are those of headers.
    #[must_use]
    pub fn is_witnessed(&self) -> bool {
        self.is_witnessed
    }

    /// The root before the first block.
    ///
    /// # Errors
    ///
    /// [`SsmtError`]: none that is known, as this version is kept.
    pub fn root(&self) -> Result<B256, SsmtError> {
        self.ssmt.root(self.before)
    }

    /// Begins again before the first block.
    #[must_use]
    pub fn line(&self) -> Line<'_> {
        Line { trie: self, versions: Vec::new() }
    }
}

impl Line<'_> {
    /// Makes the version after the next block.
    ///
    /// # Errors
    ///
    /// [`SsmtError::Blinded`] if the witness does not hold what the block changes.
    pub fn seal(&mut self, changes: &Arc<ChangeSet>) -> Result<Sealed, SsmtError> {
        let sealed = self.trie.ssmt.seal(self.latest(), changes)?;
        self.versions.push(sealed.version);
        Ok(sealed)
    }

    /// Begins the version after the next block, which has this number, before the block is executed.
    ///
    /// # Errors
    ///
    /// [`SsmtError`]: none that is known, as the version before is kept.
    pub fn draft(&self, block_number: u64) -> Result<Draft, SsmtError> {
        self.trie.ssmt.draft(self.latest(), block_number)
    }

    /// Makes the version that was begun.
    ///
    /// # Errors
    ///
    /// As [`Line::seal`].
    pub fn finish(&mut self, draft: Draft, changes: &Arc<ChangeSet>) -> Result<Sealed, SsmtError> {
        let (sealed, _) = draft.seal(changes)?;
        self.versions.push(sealed.version);
        Ok(sealed)
    }

    fn latest(&self) -> VersionId {
        self.versions.last().copied().unwrap_or(self.trie.before)
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        for version in self.versions.drain(..).rev() {
            let discarded = self.trie.ssmt.discard(version);
            debug_assert_eq!(discarded, Ok(()), "nothing stands on it, and nobody else reads");
        }
    }
}

/// The change set that leads from nothing to a state: all that exists is created.
#[must_use]
pub fn changes_from_nothing(state: &MemoryState) -> ChangeSet {
    let created = |(address, account): (_, Option<_>)| {
        let slots = state.slots(address).filter(|(_, value)| !value.is_zero());
        let storage = slots.map(|(slot, after)| SlotChange { slot, before: U256::ZERO, after }).collect();
        let after = Some(account?);
        Some(AccountChange { address, before: None, after, storage_wiped: true, storage })
    };
    ChangeSet { accounts: state.accounts().filter_map(created).collect(), codes: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roots::listed_root;
    use alloy_primitives::Address;
    use citius_state::{Account, CallerAlone, Committed};

    #[test]
    fn what_is_sealed_on_a_trie_leaves_it_as_it_was() {
        let mut state = MemoryState::complete();
        for index in 0..200_u64 {
            let address = Address::left_padding_from(&index.to_be_bytes());
            state.set_account(address, Account { nonce: index, ..Account::EMPTY });
            for slot in 0..index % 7 {
                // Some of them zero.
                state.set_storage(address, U256::from(slot), U256::from(slot * index));
            }
        }
        let trie =
            StateTrie::listed(&state, SsmtConfig::default(), Arc::new(Hasher::cpu()), Arc::new(CallerAlone))
                .unwrap();
        assert_eq!(trie.root(), Ok(listed_root(&state)));

        let address = Address::left_padding_from(&[9]);
        let change = |nonce: u64, after: u64| {
            let before = Account { nonce: nonce - 1, ..Account::EMPTY };
            let slot = SlotChange { slot: U256::from(1), before: U256::ZERO, after: U256::from(after) };
            Arc::new(ChangeSet {
                accounts: vec![AccountChange {
                    address,
                    before: Some(before),
                    after: Some(Account { nonce, ..before }),
                    storage_wiped: false,
                    storage: vec![slot],
                }],
                codes: Vec::new(),
            })
        };
        let blocks = [change(10, 77), change(11, 0)];
        let roots = |blocks: &[Arc<ChangeSet>]| {
            let mut line = trie.line();
            blocks.iter().map(|changes| line.seal(changes).unwrap().root).collect::<Vec<_>>()
        };
        let first = roots(&blocks);
        for (changes, root) in blocks.iter().zip(&first) {
            state.apply(changes);
            assert_eq!(*root, listed_root(&state));
        }
        assert_eq!(roots(&blocks), first);
        assert_eq!(roots(&blocks[..1]), first[..1]);
        // Begun before, told of something else, and given up as well.
        let mut line = trie.line();
        drop(line.draft(1).unwrap());
        let draft = line.draft(1).unwrap();
        let slot = Committed::Slot { address, slot: U256::from(5), after: U256::from(5) };
        draft.sink().committed(1, &[slot]);
        assert_eq!(line.finish(draft, &blocks[0]).unwrap().root, first[0]);
        drop(line);
        assert_eq!(roots(&blocks), first);
    }
}
