//! A state that comes from elsewhere: written to the pages without the journal, in steps. Each step is one checkpoint, which
//! keeps how far the source was read; whatever happens, the import goes on behind the last one.

use super::{
    block::BlockRecord,
    codes::{CodeRecord, NewCode},
    error::ColdError,
    leaves::{AccountUpdate, Before, SlotUpdate},
    record::AccountRecord,
    store::{BlockId, Opened, Store, StoreConfig, tree_of, updates},
    tree::Updater,
};
use crate::{Account, ChangeSet};
use alloy_primitives::{B256, Bytes, U256};
use alloy_trie::EMPTY_ROOT_HASH;
use citius_hashing::Hasher;
use citius_io::Disk;
use std::sync::Arc;

/// How far an import has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImportProgress {
    /// What tells one source from another: the same whenever the same is imported.
    pub source: B256,
    /// How much of the source is durable, as the caller counts it.
    pub cursor: u64,
    /// Accounts that are durable.
    pub accounts: u64,
    /// Slots that are durable.
    pub slots: u64,
}

/// An account that is imported, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportAccount {
    /// The hash of its address.
    pub key: B256,
    /// The account.
    pub account: Account,
    /// Slots by the hash of their key; those that are zero count as not there.
    pub slots: Vec<(B256, U256)>,
    /// An earlier part of it was imported, with other slots.
    pub is_continued: bool,
}

/// What is imported at once: it must fit in memory, a few times.
#[derive(Debug, Clone, Default)]
pub struct ImportStep {
    /// Accounts in any order, but parts of one in their order.
    pub accounts: Vec<ImportAccount>,
    /// Codes. One that is there already is passed over.
    pub codes: Vec<Bytes>,
}

impl ImportStep {
    /// Adds what changes create out of nothing.
    pub fn create(&mut self, changes: ChangeSet, hasher: &Hasher) {
        self.codes.extend(changes.codes.iter().map(|(_, code)| code.original_bytes()));
        let changes = ChangeSet { accounts: changes.accounts, codes: Vec::new() };
        let (zero, changes) = (B256::ZERO, Arc::new(changes));
        let block = BlockRecord { number: 0, hash: zero, parent: zero, root: zero, changes };
        let (accounts, _) = updates(&[Arc::new(block)], hasher);
        self.accounts.extend(accounts.into_iter().filter_map(
            |AccountUpdate { key, after, slots, .. }| {
                let slots = slots.into_iter().map(|slot| (slot.key, slot.value)).collect();
                Some(ImportAccount { key, account: after?, slots, is_continued: false })
            },
        ));
    }
}

/// A store into which a state is imported.
#[derive(Debug)]
pub struct Import {
    store: Store,
    progress: ImportProgress,
}

impl Store {
    /// Opens the store of a directory, or makes one. `random` is drawn anew for every opening; nobody who sends transactions
    /// may know it beforehand.
    ///
    /// # Errors
    ///
    /// [`ColdError::Disk`] if another process has it, or the disk fails; [`ColdError::Superblocks`], [`ColdError::Journal`],
    /// [`ColdError::Damaged`] if it is damaged; [`ColdError::Version`] if it was written by a newer version;
    /// [`ColdError::Importing`] if a state is half imported into it.
    pub fn open(disk: Arc<dyn Disk>, config: StoreConfig, random: u64) -> Result<Opened, ColdError> {
        let opened = Self::open_any(disk, config, random)?;
        match opened.store.with_pages(|_, superblock| superblock.import) {
            None => Ok(opened),
            Some(ImportProgress { source, accounts, slots, .. }) => {
                Err(ColdError::Importing { source_id: source, accounts, slots })
            }
        }
    }
}

impl Import {
    /// Begins to import a state into an empty store, or goes on: [`Import::progress`] tells from where. `random` as for
    /// [`Store::open`].
    ///
    /// # Errors
    ///
    /// [`ColdError::NotEmpty`], [`ColdError::OtherSource`], and those of [`Store::open`].
    pub fn open(
        disk: Arc<dyn Disk>,
        config: StoreConfig,
        random: u64,
        source: B256,
    ) -> Result<Self, ColdError> {
        let Opened { store, blocks } = Store::open_any(disk, config, random)?;
        let superblock = store.with_pages(|_, superblock| superblock);
        let progress = match superblock.import {
            Some(progress) if progress.source == source => progress,
            Some(other) => return Err(ColdError::OtherSource { begun: other.source, given: source }),
            None if superblock.is_empty() && blocks.is_empty() => {
                let progress = ImportProgress { source, cursor: 0, accounts: 0, slots: 0 };
                store.make_checkpoint(|_, mut superblock| {
                    superblock.import = Some(progress);
                    Ok((superblock, ()))
                })?;
                progress
            }
            None => {
                let BlockId { number, hash } = store.last();
                let root = blocks.last().map_or(superblock.root, |block| block.root);
                return Err(ColdError::NotEmpty { block: number, hash, root });
            }
        };
        Ok(Self { store, progress })
    }

    /// What is durable.
    #[must_use]
    pub fn progress(&self) -> ImportProgress {
        self.progress
    }

    /// The root of what is durable.
    #[must_use]
    pub fn root(&self) -> B256 {
        self.store.with_pages(|_, superblock| superblock.root)
    }

    /// Imports a part of the source: it is durable when this returns, and that the source was read up to `cursor`.
    ///
    /// # Errors
    ///
    /// [`ColdError::Twice`], [`ColdError::NotBegun`], [`ColdError::Budget`], [`ColdError::TooLarge`], [`ColdError::Damaged`]: nothing
    /// is imported then. [`ColdError::Disk`]: the import goes on once it is opened again.
    pub fn add(&mut self, step: ImportStep, cursor: u64, hasher: &Hasher) -> Result<(), ColdError> {
        let accounts = merged(step.accounts)?;
        let codes = codes_of(step.codes, hasher);
        let begun = accounts.iter().filter(|account| account.before == Before::Absent).count() as u64;
        let slots = accounts.iter().map(|account| account.slots.len() as u64).sum::<u64>();
        let progress = ImportProgress {
            cursor,
            accounts: self.progress.accounts + begun,
            slots: self.progress.slots + slots,
            ..self.progress
        };
        self.store.make_checkpoint(|pages, mut superblock| {
            let mut updater = Updater { pages, hasher };
            superblock.accounts =
                tree_of(updater.update::<AccountRecord>(superblock.accounts, accounts, 0)?);
            superblock.codes = tree_of(updater.update::<CodeRecord>(superblock.codes, codes, 0)?);
            superblock.root = superblock.accounts.map_or(EMPTY_ROOT_HASH, |tree| tree.root);
            superblock.import = Some(progress);
            Ok((superblock, ()))
        })?;
        self.progress = progress;
        Ok(())
    }

    /// All is there: the pages hold the state after a block, and the store is as any other.
    ///
    /// # Errors
    ///
    /// [`ColdError::WrongRoot`] if that is not the root; what the disk says. The import is not done then.
    pub fn finish(self, block: BlockId, expected: Option<B256>) -> Result<Store, ColdError> {
        let found = self.root();
        if let Some(expected) = expected
            && expected != found
        {
            return Err(ColdError::WrongRoot { expected, found });
        }
        // Twice, so that both superblocks lead to the whole.
        for _ in 0..2 {
            self.store.make_checkpoint(|_, mut superblock| {
                (superblock.block, superblock.hash, superblock.import) = (block.number, block.hash, None);
                Ok((superblock, ()))
            })?;
        }
        self.store.begin_behind(block);
        Ok(self.store)
    }
}

/// Accounts sorted, the parts of each together.
fn merged(mut parts: Vec<ImportAccount>) -> Result<Vec<AccountUpdate>, ColdError> {
    parts.sort_by_key(|part| part.key);
    let mut accounts: Vec<AccountUpdate> = Vec::with_capacity(parts.len());
    for ImportAccount { key, account, slots, is_continued } in parts {
        let slots = slots.into_iter().filter(|(_, value)| !value.is_zero());
        let slots = slots.map(|(key, value)| SlotUpdate { key, value });
        match accounts.last_mut().filter(|last| last.key == key) {
            Some(last) if is_continued => last.slots.extend(slots),
            Some(_) => return Err(ColdError::Twice { key }),
            None => accounts.push(AccountUpdate {
                key,
                before: if is_continued { Before::Present } else { Before::Absent },
                after: Some(account),
                is_wiped: false,
                slots: slots.collect(),
            }),
        }
    }
    for account in &mut accounts {
        account.slots.sort_unstable_by_key(|slot| slot.key);
        if account.slots.windows(2).any(|pair| pair[0].key == pair[1].key) {
            return Err(ColdError::Twice { key: account.key });
        }
    }
    Ok(accounts)
}

fn codes_of(codes: Vec<Bytes>, hasher: &Hasher) -> Vec<NewCode> {
    let mut keys = vec![B256::ZERO; codes.len()];
    let messages: Vec<&[u8]> = codes.iter().map(|code| &code[..]).collect();
    for (messages, keys) in messages.chunks(hasher.batch_size()).zip(keys.chunks_mut(hasher.batch_size())) {
        hasher.hash_each(messages, keys);
    }
    let mut codes: Vec<NewCode> =
        keys.into_iter().zip(codes).map(|(key, bytes)| NewCode { key, bytes }).collect();
    codes.sort_unstable_by_key(|code| code.key);
    codes.dedup_by_key(|code| code.key);
    codes
}
