//! A store: pages with the state after some block, and a journal of the blocks since.

use super::{
    block::BlockRecord,
    codes::{CodeRecord, NewCode},
    error::ColdError,
    file::{OpenFile, PAGES, PageCounts, PageFile, read_page},
    journal::{Durability, Found, Journal, Position},
    leaves::{AccountUpdate, Before, SlotUpdate},
    line::Line,
    page::{PAGE_BYTES, PageNumber},
    record::{AccountRecord, Tree},
    space::Space,
    superblock::Superblock,
    tree::{Leaf, Updater, Written},
    verify::{Verified, Verifier},
    view::Shared,
    walk::{Answer, Sought},
};
use crate::Account;
use alloy_primitives::{
    Address, B256, Bytes, U256,
    map::{AddressMap, HashMap},
};
use alloy_trie::EMPTY_ROOT_HASH;
use citius_hashing::Hasher;
use citius_io::{DirectoryLock, Disk, OpenMode};
use parking_lot::Mutex;
use std::{collections::HashSet, sync::Arc};

/// How a store uses its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreConfig {
    /// Bytes of one of the journal's files: a group of blocks must fit in.
    pub segment_bytes: u64,
    /// Bytes that pages may take.
    pub page_bytes_max: u64,
    /// Bytes that the journal may take.
    pub journal_bytes_max: u64,
    /// Bytes of memory for pages that were read; at least one page is kept.
    pub page_cache_bytes: u64,
    /// How far a block is kept when [`Store::append`] returns.
    pub durability: Durability,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            page_bytes_max: 80 << 30,
            journal_bytes_max: 4 << 30,
            page_cache_bytes: 256 << 20,
            durability: Durability::Synced,
        }
    }
}

/// A state on disk, and the blocks that lead from it to the last one that was acknowledged.
#[derive(Debug)]
pub struct Store {
    _lock: DirectoryLock,
    config: StoreConfig,
    journal: Mutex<Open>,
    pages: Mutex<PageFile>,
    shared: Shared,
    sizes: Mutex<Sizes>,
}

/// The journal, and what is in it and not in the pages.
#[derive(Debug)]
struct Open {
    journal: Journal,
    line: Line,
    /// What the last records were written to, for the next ones.
    records: Vec<Vec<u8>>,
}

/// Records whose memory is kept at most, each of at most so many bytes.
const RECORDS_KEPT: usize = 4;
const RECORD_BYTES_KEPT: usize = 2 << 20;

/// What the file of pages holds, as of the last checkpoint.
#[derive(Debug, Clone, Copy, Default)]
struct Sizes {
    used: u64,
    end: u64,
    counts: PageCounts,
}

/// A block by number and hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockId {
    /// Its number.
    pub number: u64,
    /// Its hash.
    pub hash: B256,
}

/// What a store holds, in bytes and counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreStats {
    /// Checkpoints made, the first and empty one included.
    pub checkpoint: u64,
    /// Bytes of pages in use.
    pub page_bytes: u64,
    /// Bytes of the file of pages.
    pub file_bytes: u64,
    /// Bytes of the journal's files.
    pub journal_bytes: u64,
    /// Syncs of the journal since the store was opened.
    pub journal_syncs: u64,
    /// What checkpoints did to the file of pages since.
    pub pages: PageCounts,
    /// Pages that were read from the disk beside checkpoints.
    pub reads: u64,
    /// Pages that were found in the cache instead.
    pub read_hits: u64,
}

/// A store that was opened.
#[derive(Debug)]
pub struct Opened {
    /// The store.
    pub store: Store,
    /// The blocks since its checkpoint, as they were appended: they are not in the pages. Each follows the checkpoint's or one before it;
    /// where the chain was reorganised, several may follow one.
    pub blocks: Vec<Arc<BlockRecord>>,
}

impl Store {
    /// As [`Store::open`], one into which a state is being imported too.
    pub(super) fn open_any(
        disk: Arc<dyn Disk>,
        config: StoreConfig,
        random: u64,
    ) -> Result<Opened, ColdError> {
        let lock = disk.lock()?;
        let names = disk.names()?;
        let most = (config.page_bytes_max / PAGE_BYTES as u64).min(PageNumber::END);
        let has_journal = names.iter().any(|name| name.starts_with(super::journal::NAME));
        let has_pages = names.iter().any(|name| name == PAGES);
        let mut queue = disk.queue()?;
        let mode = if has_journal { OpenMode::Existing } else { OpenMode::Create };
        let file = Arc::new(OpenFile::open(&disk, PAGES, mode)?);
        let id = file.id();
        let mut read = |number| read_page(&*disk, &mut *queue, id, number);
        let mut superblocks = || Superblock::newest([read(PageNumber(0))?, read(PageNumber(1))?]);
        let (superblock, needed, pages) = if has_journal {
            let (superblock, before) = superblocks()?;
            let mut read = |number| read(number)?.map_err(|damage| ColdError::Damaged { number, damage });
            let mut map = Vec::new();
            let space = Space::read(superblock.map, most, |number| {
                map.push(number);
                read(number)
            })?;
            // Should the last superblock be lost later, the one before it must still lead to everything.
            let before = before.and_then(|before| {
                let space = Space::read(before.map, most, &mut read).ok()?;
                Some((before, space))
            });
            let mut pages =
                PageFile::new(Arc::clone(&disk), Arc::clone(&file), space, superblock.checkpoint)?;
            pages.set_map(map);
            if let Some((_, space)) = &before {
                pages.hold(space);
            }
            // Whoever wrote it may have ended before it was on the disk.
            pages.settle()?;
            (superblock, before.map_or(superblock.journal, |(before, _)| before.journal), pages)
        } else {
            // The journal is made last: without it nothing was ever acknowledged.
            if has_pages
                && let Ok((superblock, _)) = superblocks()
                && !superblock.is_empty()
            {
                return Err(ColdError::Journal {
                    missing: "every file of it".into(),
                    behind: format!("checkpoint {}", superblock.checkpoint),
                });
            }
            let mut pages = PageFile::new(Arc::clone(&disk), Arc::clone(&file), Space::new(most), 0)?;
            let first = |map| Superblock {
                checkpoint: 1,
                seed: random,
                block: 0,
                hash: B256::ZERO,
                root: EMPTY_ROOT_HASH,
                journal: Position::START,
                map,
                accounts: None,
                codes: None,
                import: None,
            };
            let superblock = pages.commit(first, |_| true)?;
            disk.sync_directory()?;
            (superblock, superblock.journal, pages)
        };
        let (mut journal, found) = Journal::open(
            Arc::clone(&disk),
            config.segment_bytes,
            config.journal_bytes_max,
            superblock.seed,
            random,
            superblock.journal,
        )?;
        journal.release(needed);
        let mut line = Line::new(superblock.base());
        for Found { bytes, behind } in found {
            let Some(block) = BlockRecord::read(&bytes) else {
                return Err(ColdError::Record { place: behind.to_string() });
            };
            let block = Arc::new(block);
            // What stands on a block before the checkpoint's was left behind by a reorganisation.
            if line.check(std::slice::from_ref(&block)).is_ok() {
                line.push(block, behind);
            }
        }
        if !has_journal {
            journal.make()?;
        }
        let blocks = line.blocks();
        let store = Self {
            _lock: lock,
            config,
            journal: Mutex::new(Open { journal, line, records: Vec::new() }),
            sizes: Mutex::new(Sizes::of(&pages)),
            pages: Mutex::new(pages),
            shared: Shared::new(disk, file, superblock, config.page_cache_bytes),
        };
        Ok(Opened { store, blocks })
    }

    /// The last block that was acknowledged; of an empty store number and hash are zero.
    #[must_use]
    pub fn last(&self) -> BlockId {
        self.journal.lock().line.last()
    }

    /// The block whose state the pages hold, and its root.
    #[must_use]
    pub fn checkpoint_block(&self) -> (BlockId, B256) {
        let superblock = self.shared.superblock();
        (BlockId { number: superblock.block, hash: superblock.hash }, superblock.root)
    }

    /// Blocks in the journal that are not in the pages.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.journal.lock().line.len()
    }

    /// What it holds.
    #[must_use]
    pub fn stats(&self) -> StoreStats {
        let checkpoint = self.shared.superblock().checkpoint;
        let (journal_bytes, journal_syncs) = {
            let open = self.journal.lock();
            (open.journal.file_bytes(), open.journal.syncs())
        };
        let Sizes { used, end, counts } = *self.sizes.lock();
        let (reads, read_hits) = self.shared.counts();
        StoreStats {
            checkpoint,
            page_bytes: used * PAGE_BYTES as u64,
            file_bytes: end * PAGE_BYTES as u64,
            journal_bytes,
            journal_syncs,
            pages: counts,
            reads,
            read_hits,
        }
    }

    /// Keeps blocks, as one group with one sync: by the configured durability they are there when this returns. A block follows the
    /// last one, or after a reorganisation an earlier one, but none before the checkpoint's. What is there already is not kept again.
    ///
    /// # Errors
    ///
    /// [`ColdError::Order`] if one follows no block that is there; [`ColdError::WrongRoot`] if one is there with another root;
    /// [`ColdError::TooLarge`], [`ColdError::Budget`]: nothing is kept then, and the store goes on. [`ColdError::Disk`]: it goes on no
    /// more ([`ColdError::Failed`]), unless the disk was too full for one more segment of the journal.
    pub fn append(&self, blocks: Vec<Arc<BlockRecord>>) -> Result<(), ColdError> {
        let mut open = self.journal.lock();
        let Some(last) = blocks.last().map(|block| block.id()) else { return Ok(()) };
        let superblock = self.shared.superblock();
        let mut new: Vec<Arc<BlockRecord>> = Vec::with_capacity(blocks.len());
        for block in blocks {
            let is_base = open.line.is_base(block.id());
            if is_base && superblock.id() == block.id() && superblock.root != block.root {
                return Err(ColdError::WrongRoot { expected: superblock.root, found: block.root });
            }
            if !is_base && !open.line.has(&block)? && new.iter().all(|other| other.id() != block.id()) {
                new.push(block);
            }
        }
        let blocks = new;
        if blocks.is_empty() {
            return open.line.follow(last.hash);
        }
        open.line.check(&blocks)?;
        let mut records = std::mem::take(&mut open.records);
        records.resize_with(blocks.len(), Vec::new);
        for (record, block) in records.iter_mut().zip(&blocks) {
            record.clear();
            block.write(record);
        }
        let appended = open.journal.append(&records, self.config.durability);
        records.retain(|record| record.capacity() <= RECORD_BYTES_KEPT);
        records.truncate(RECORDS_KEPT);
        open.records = records;
        appended?;
        let behind = open.journal.next();
        for block in blocks {
            open.line.push(block, behind);
        }
        Ok(())
    }

    /// Makes a block that was appended the last one, or the checkpoint's: checkpoints follow the line that leads to it. Nothing is written:
    /// when the store is opened again, the last one is that which was appended last.
    ///
    /// # Errors
    ///
    /// [`ColdError::Unknown`].
    pub fn follow(&self, hash: B256) -> Result<(), ColdError> {
        self.journal.lock().line.follow(hash)
    }

    /// Brings blocks up to the one with this number, and no further, from the journal to the pages: those on the way to the last one. Whoever
    /// appends or reads meanwhile waits for nothing. Whether there was anything to do.
    ///
    /// # Errors
    ///
    /// [`ColdError::WrongRoot`] if the pages would not have the block's root, [`ColdError::Budget`], [`ColdError::Damaged`]: the
    /// last checkpoint stands then. [`ColdError::Disk`]: no more checkpoints are made ([`ColdError::Failed`]).
    pub fn checkpoint(&self, through: u64, hasher: &Hasher) -> Result<bool, ColdError> {
        self.checkpoint_at(|line| line.up_to(line.last().hash, through).map(|block| block.hash), hasher)
    }

    /// Brings the blocks on the way to one, with numbers of `through` at most, from the journal to the pages, as
    /// [`Store::checkpoint`] does.
    ///
    /// # Errors
    ///
    /// As [`Store::checkpoint`].
    pub fn checkpoint_on(&self, way_to: B256, through: u64, hasher: &Hasher) -> Result<bool, ColdError> {
        self.checkpoint_at(|line| line.up_to(way_to, through).map(|block| block.hash), hasher)
    }

    /// The blocks from the checkpoint to the last one.
    pub(crate) fn way(&self) -> Vec<BlockId> {
        self.journal.lock().line.way()
    }

    /// Bytes of the journal's segments whose records are needed, and of all that it may have.
    pub(crate) fn journal_use(&self) -> (u64, u64) {
        let open = self.journal.lock();
        (open.journal.needed_bytes(), self.config.journal_bytes_max)
    }

    /// A block that no checkpoint has taken: what it changed, with all values before and after.
    #[must_use]
    pub fn record(&self, hash: B256) -> Option<Arc<BlockRecord>> {
        self.journal.lock().line.record(hash).cloned()
    }

    fn checkpoint_at(
        &self,
        block: impl FnOnce(&Line) -> Option<B256>,
        hasher: &Hasher,
    ) -> Result<bool, ColdError> {
        let mut pages = self.pages.lock();
        if pages.has_failed() {
            return Err(ColdError::Failed);
        }
        pages.begin();
        let superblock = self.shared.superblock();
        let (taken, is_released) = {
            let open = self.journal.lock();
            let taken = block(&open.line).and_then(|hash| open.line.through(hash));
            (taken, open.journal.needed() == superblock.journal)
        };
        let next = match &taken {
            Some((blocks, behind)) => {
                self.write_pages(&mut pages, &superblock, blocks, hasher).map(|(root, accounts, codes)| {
                    let BlockId { number, hash } = blocks.last().map_or(superblock.id(), |last| last.id());
                    let journal = *behind;
                    Superblock { block: number, hash, root, journal, accounts, codes, ..superblock }
                })
            }
            // Once more the same, so that the journal before it is needed no more.
            None if !is_released => Ok(superblock),
            None => {
                pages.end();
                return Ok(false);
            }
        };
        let (committed, ()) = self.commit(&mut pages, next.map(|next| (next, ())))?;
        self.shared.advance(committed);
        let mut open = self.journal.lock();
        if taken.is_some() {
            open.line.advance(committed.id(), committed.journal);
        }
        // Should the new superblock be lost, the one before it is found, and the blocks since that.
        open.journal.release(superblock.journal);
        Ok(true)
    }

    /// Makes a checkpoint of the same block out of what `make` does to the pages: it gives the superblock, whose number and map are
    /// put in.
    ///
    /// # Errors
    ///
    /// Those of `make`: the last checkpoint stands then. [`ColdError::Disk`]: no more checkpoints are made.
    pub(super) fn make_checkpoint<T>(
        &self,
        make: impl FnOnce(&mut PageFile, Superblock) -> Result<(Superblock, T), ColdError>,
    ) -> Result<T, ColdError> {
        let mut pages = self.pages.lock();
        if pages.has_failed() {
            return Err(ColdError::Failed);
        }
        pages.begin();
        let before = self.shared.superblock();
        let made = make(&mut pages, before);
        let (committed, given) = self.commit(&mut pages, made)?;
        self.shared.advance(committed);
        self.journal.lock().journal.release(before.journal);
        Ok(given)
    }

    /// Commits what was made, or gives it up.
    fn commit<T>(
        &self,
        pages: &mut PageFile,
        made: Result<(Superblock, T), ColdError>,
    ) -> Result<(Superblock, T), ColdError> {
        let checkpoint = pages.checkpoint();
        let may_reuse = |numbers: &[PageNumber]| {
            let may = self.shared.is_last_alone();
            if may {
                self.shared.forget(numbers);
            }
            may
        };
        let committed = made.and_then(|(next, given)| {
            Ok((pages.commit(|map| Superblock { checkpoint, map, ..next }, may_reuse)?, given))
        });
        if committed.is_err() {
            // Of writes that were under way the flag tells.
            let _ = pages.abandon();
        }
        pages.end();
        *self.sizes.lock() = Sizes::of(pages);
        committed
    }

    /// Blocks are appended behind this one.
    pub(super) fn begin_behind(&self, block: BlockId) {
        self.journal.lock().line = Line::new(Some(block));
    }

    /// What the last checkpoint has, and the pages to read it from. Checkpoints wait for it.
    pub(super) fn with_pages<T>(&self, read: impl FnOnce(&mut PageFile, Superblock) -> T) -> T {
        let mut pages = self.pages.lock();
        let superblock = self.shared.superblock();
        read(&mut pages, superblock)
    }

    /// The pages after blocks: their root, and where they are found.
    fn write_pages(
        &self,
        pages: &mut PageFile,
        superblock: &Superblock,
        blocks: &[Arc<BlockRecord>],
        hasher: &Hasher,
    ) -> Result<(B256, Option<Tree>, Option<Tree>), ColdError> {
        let (accounts, codes) = updates(blocks, hasher);
        let mut updater = Updater { pages, hasher };
        let accounts = tree_of(updater.update::<AccountRecord>(superblock.accounts, accounts, 0)?);
        let codes = tree_of(updater.update::<CodeRecord>(superblock.codes, codes, 0)?);
        let found = accounts.map_or(EMPTY_ROOT_HASH, |tree| tree.root);
        let expected = blocks.last().map_or(superblock.root, |last| last.root);
        if found != expected {
            return Err(ColdError::WrongRoot { expected, found });
        }
        Ok((found, accounts, codes))
    }

    /// An account in the pages, by the hash of its address.
    ///
    /// # Errors
    ///
    /// [`ColdError::Damaged`], [`ColdError::Disk`], [`ColdError::Blinded`].
    pub fn account(&self, key: &B256) -> Result<Option<Account>, ColdError> {
        match self.find(Sought::Account(*key))? {
            Answer::Account(found) => Ok(found.map(|(account, _)| account)),
            answer => unreachable!("an account is not {answer:?}"),
        }
    }

    /// A slot in the pages, by the hashes of address and key; zero if there is none.
    ///
    /// # Errors
    ///
    /// As [`Store::account`].
    pub fn slot(&self, account: &B256, key: &B256) -> Result<U256, ColdError> {
        match self.find(Sought::Slot(*account, *key))? {
            Answer::Slot(value) => Ok(value),
            answer => unreachable!("a slot is not {answer:?}"),
        }
    }

    /// A code in the pages, by its hash.
    ///
    /// # Errors
    ///
    /// As [`Store::account`].
    pub fn code(&self, hash: &B256) -> Result<Option<Bytes>, ColdError> {
        match self.find(Sought::Code(*hash))? {
            Answer::Code(code) => Ok(code),
            answer => unreachable!("a code is not {answer:?}"),
        }
    }

    fn find(&self, sought: Sought) -> Result<Answer, ColdError> {
        self.shared.find(&self.shared.view(), sought)
    }

    /// Reads the pages that lead to accounts and codes, as far as half of [`StoreConfig::page_cache_bytes`] has room for them: then
    /// each of these is one read away. Gives how many there are.
    pub fn warm(&self) -> usize {
        let most = self.config.page_cache_bytes / 2 / PAGE_BYTES as u64;
        self.shared.warm(&self.shared.view(), usize::try_from(most).unwrap_or(usize::MAX))
    }

    /// What reads the pages.
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Reads all pages, and computes every hash again. `progress` is told of every page. Checkpoints wait for it.
    ///
    /// # Errors
    ///
    /// [`ColdError::Damaged`] and [`ColdError::WrongRoot`] name what is wrong first.
    pub fn verify(
        &self,
        hasher: &Hasher,
        progress: &mut dyn FnMut(&Verified),
    ) -> Result<Verified, ColdError> {
        let mut pages = self.pages.lock();
        let superblock = self.shared.superblock();
        let mut verifier = Verifier {
            pages: &mut *pages,
            hasher,
            met: HashSet::new(),
            found: Verified::default(),
            progress,
        };
        if let Some(tree) = superblock.accounts {
            verifier.tree::<AccountRecord>(&tree, &mut |_| ())?;
        }
        if let Some(tree) = superblock.codes {
            verifier.tree::<CodeRecord>(&tree, &mut |_| ())?;
        }
        let found = superblock.accounts.map_or(EMPTY_ROOT_HASH, |tree| tree.root);
        if found != superblock.root {
            return Err(ColdError::WrongRoot { expected: superblock.root, found });
        }
        let Verifier { met, mut found, .. } = verifier;
        if let Some(number) = met.iter().find(|number| !pages.space().is_used(**number)) {
            return Err(ColdError::content(*number, "it is part of the state, and marked as free"));
        }
        found.lost = pages.live() - met.len() as u64;
        Ok(found)
    }
}

impl Sizes {
    fn of(pages: &PageFile) -> Self {
        Self { used: pages.space().count(), end: pages.space().end(), counts: pages.counts() }
    }
}

impl Superblock {
    /// Whether it is that of a store which never had a block.
    pub(super) fn is_empty(&self) -> bool {
        self.checkpoint == 1
    }

    fn id(&self) -> BlockId {
        BlockId { number: self.block, hash: self.hash }
    }

    /// The block that others may follow; none if any may be the first.
    fn base(&self) -> Option<BlockId> {
        (!self.is_empty()).then(|| self.id())
    }
}

pub(super) fn tree_of<L: Leaf>(written: Written<L>) -> Option<Tree> {
    match written {
        Written::Tree(tree) => Some(tree),
        Written::Few(records) => {
            debug_assert!(records.is_empty(), "records that take no bytes");
            None
        }
    }
}

/// What becomes of an account over several blocks.
#[derive(Debug)]
struct Outcome {
    after: Option<Account>,
    is_wiped: bool,
    slots: HashMap<U256, U256>,
}

/// What blocks, in order, change in the end, by hashed keys, sorted.
pub(super) fn updates(blocks: &[Arc<BlockRecord>], hasher: &Hasher) -> (Vec<AccountUpdate>, Vec<NewCode>) {
    let mut outcomes: AddressMap<Outcome> = AddressMap::default();
    for change in blocks.iter().flat_map(|block| &block.changes.accounts) {
        let outcome = outcomes.entry(change.address).or_insert_with(|| Outcome {
            after: None,
            is_wiped: false,
            slots: HashMap::default(),
        });
        outcome.after = change.after;
        if change.storage_wiped || change.after.is_none() {
            outcome.is_wiped = true;
            outcome.slots.clear();
        }
        if change.after.is_some() {
            outcome.slots.extend(change.storage.iter().map(|slot| (slot.slot, slot.after)));
        }
    }
    let outcomes: Vec<(Address, Outcome)> = outcomes.into_iter().collect();
    let slots: Vec<([u8; 32], U256)> = outcomes
        .iter()
        .flat_map(|(_, outcome)| outcome.slots.iter().map(|(slot, value)| (slot.to_be_bytes(), *value)))
        .collect();
    let messages: Vec<&[u8]> = outcomes
        .iter()
        .map(|(address, _)| address.as_slice())
        .chain(slots.iter().map(|(slot, _)| slot.as_slice()))
        .collect();
    let mut digests = vec![B256::ZERO; messages.len()];
    for (messages, digests) in
        messages.chunks(hasher.batch_size()).zip(digests.chunks_mut(hasher.batch_size()))
    {
        hasher.hash_each(messages, digests);
    }
    let (keys, slot_keys) = digests.split_at(outcomes.len());
    let mut slots =
        slot_keys.iter().zip(&slots).map(|(key, (_, value))| SlotUpdate { key: *key, value: *value });
    let mut accounts = Vec::with_capacity(outcomes.len());
    for ((_, outcome), key) in outcomes.into_iter().zip(keys) {
        let mut own: Vec<SlotUpdate> = slots.by_ref().take(outcome.slots.len()).collect();
        own.sort_unstable_by_key(|slot| slot.key);
        let Outcome { after, is_wiped, .. } = outcome;
        accounts.push(AccountUpdate { key: *key, before: Before::Any, after, is_wiped, slots: own });
    }
    accounts.sort_unstable_by_key(|account| account.key);
    let codes = blocks.iter().flat_map(|block| &block.changes.codes);
    let mut codes: Vec<NewCode> =
        codes.map(|(hash, code)| NewCode { key: *hash, bytes: code.original_bytes() }).collect();
    codes.sort_unstable_by_key(|code| code.key);
    codes.dedup_by_key(|code| code.key);
    (accounts, codes)
}
