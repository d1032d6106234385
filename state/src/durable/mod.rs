//! A state that outlives the process: the trie in memory ([`Ssmt`]) over a store on disk ([`Store`]).
//!
//! A block is sealed ([`Ssmt::seal`], or a draft), then kept ([`DurableState::keep`]: on the disk when that returns), then made the
//! head ([`DurableState::set_head`]). A thread of its own brings blocks to the pages that no reorganisation reaches any more.
//!
//! 1. A checkpoint is never made behind the oldest version that the trie keeps.
//! 2. So after a restart all blocks since the checkpoint are sealed again, each with its root compared, and a reorganisation may be as deep as
//!    before.

mod keeper;

use crate::{
    Workers,
    cold::{BlockId, BlockRecord, ColdError, Opened, Store, StoreConfig},
    ssmt::{Ssmt, SsmtConfig, SsmtError, SsmtReader, VersionId},
};
use alloy_primitives::{B256, map::B256Set};
use citius_hashing::Hasher;
use citius_io::{Disk, DiskError};
use keeper::{Keeper, Work};
use parking_lot::Mutex;
use std::{collections::BTreeMap, sync::Arc};

/// How a state is kept.
#[derive(Debug, Clone)]
pub struct DurableConfig {
    /// The store on disk.
    pub store: StoreConfig,
    /// The trie in memory.
    pub ssmt: SsmtConfig,
    /// Blocks that no reorganisation reaches any more, from which on they are brought to the pages; 0 to do so only when asked to.
    pub checkpoint_every: usize,
    /// Blocks that stay in the journal although no reorganisation reaches them any more, with all values before and after
    /// ([`Store::record`]), while it has room for them. What was written since stays in memory, too.
    pub retained_blocks: u64,
}

impl Default for DurableConfig {
    fn default() -> Self {
        Self {
            store: StoreConfig::default(),
            ssmt: SsmtConfig::default(),
            checkpoint_every: 64,
            retained_blocks: 0,
        }
    }
}

/// A state in memory and on disk.
#[derive(Debug)]
pub struct DurableState {
    /// Ends what it is at when it is dropped.
    keeper: Keeper,
    inner: Arc<Inner>,
}

/// What is shared with the thread that makes checkpoints.
#[derive(Debug)]
struct Inner {
    ssmt: Arc<Ssmt>,
    store: Arc<Store>,
    hasher: Arc<Hasher>,
    /// The blocks of versions, those before the checkpoint's left out.
    blocks: Mutex<BTreeMap<VersionId, BlockId>>,
    retained_blocks: u64,
    /// Held while a checkpoint is made.
    making: Mutex<()>,
    /// Held while blocks are kept, and the head is moved: nothing is kept that was given up.
    moving: Mutex<()>,
}

impl DurableState {
    /// Opens the state of a directory, or makes an empty one, and seals again what its journal has. `random` is drawn anew for every
    /// opening; nobody who sends transactions may know it beforehand. Checkpoints are hashed by `hasher`, on one thread.
    ///
    /// # Errors
    ///
    /// As [`Store::open`] and [`Ssmt::over`]; [`SsmtError::WrongRoot`] if a block of the journal leads elsewhere than it says.
    pub fn open(
        disk: Arc<dyn Disk>,
        config: DurableConfig,
        random: u64,
        hasher: Arc<Hasher>,
        workers: Arc<dyn Workers>,
    ) -> Result<Self, SsmtError> {
        let Opened { store, blocks } = Store::open(disk, config.store, random)?;
        let store = Arc::new(store);
        let history = config.ssmt.history as u64;
        let ssmt = Arc::new(Ssmt::over(Arc::clone(&store), config.ssmt, Arc::clone(&hasher), workers)?);
        let (base, _) = store.checkpoint_block();
        let known = BTreeMap::from([(ssmt.head(), base)]);
        let inner = Inner {
            ssmt,
            store,
            hasher,
            blocks: Mutex::new(known),
            retained_blocks: config.retained_blocks,
            making: Mutex::default(),
            moving: Mutex::default(),
        };
        let last = inner.store.last();
        let way: B256Set = inner.store.way().into_iter().map(|block| block.hash).collect();
        for block in blocks {
            let is_on_way = way.contains(&block.hash);
            if !is_on_way && !inner.is_kept(block.parent) {
                // It stands on what was given up on the way to the last one.
                continue;
            }
            let version = inner.seal_again(&block)?;
            // Versions that the last one has too far behind it are not kept meanwhile either.
            if is_on_way && block.number.saturating_add(history) <= last.number {
                inner.ssmt.set_head(version)?;
            }
        }
        if let Some(version) = inner.version_of(last.hash) {
            inner.ssmt.set_head(version)?;
        }
        inner.store.warm();
        let inner = Arc::new(inner);
        let keeper = Keeper::start(Arc::clone(&inner) as Arc<dyn Work>, config.checkpoint_every);
        Ok(Self { inner, keeper })
    }

    /// The trie.
    #[must_use]
    pub fn ssmt(&self) -> &Arc<Ssmt> {
        &self.inner.ssmt
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Arc<Store> {
        &self.inner.store
    }

    /// The head, and its block; of an empty state number and hash are zero.
    #[must_use]
    pub fn head(&self) -> (VersionId, BlockId) {
        let version = self.inner.ssmt.head();
        let zero = BlockId { number: 0, hash: B256::ZERO };
        (version, self.block_of(version).unwrap_or(zero))
    }

    /// The version of a block.
    #[must_use]
    pub fn version_of(&self, hash: B256) -> Option<VersionId> {
        self.inner.version_of(hash)
    }

    /// The block of a version.
    #[must_use]
    pub fn block_of(&self, version: VersionId) -> Option<BlockId> {
        self.inner.blocks.lock().get(&version).copied()
    }

    /// A reader of the head.
    ///
    /// # Errors
    ///
    /// As [`Ssmt::reader`].
    pub fn reader(&self) -> Result<SsmtReader, SsmtError> {
        self.inner.ssmt.reader(self.inner.ssmt.head())
    }

    /// Keeps the block that a version was sealed for: by the configured durability it is there when this returns. Where the journal
    /// is full, waits for a checkpoint.
    ///
    /// # Errors
    ///
    /// As [`Store::append`]; [`SsmtError::UnknownVersion`].
    pub fn keep(&self, version: VersionId, block: BlockId, parent: B256) -> Result<(), SsmtError> {
        let _moving = self.inner.moving.lock();
        let changes = self.inner.ssmt.changes(version)?;
        let root = self.inner.ssmt.root(version)?;
        let record = BlockRecord { number: block.number, hash: block.hash, parent, root, changes };
        let record = Arc::new(record);
        loop {
            match self.inner.store.append(vec![Arc::clone(&record)]) {
                Ok(()) => break,
                Err(error) if is_for_want_of_room(&error) => {
                    // The journal before the last checkpoint is needed until there is another one. What is only retained
                    // has to go.
                    if !self.inner.checkpoint(0)? {
                        return Err(error.into());
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.inner.blocks.lock().insert(version, block);
        Ok(())
    }

    /// Makes a version the head whose block is kept. Those that are too far before it for a reorganisation are given up, and come to the
    /// pages in the background.
    ///
    /// # Errors
    ///
    /// [`SsmtError::UnknownVersion`]; [`SsmtError::Cold`] with [`ColdError::Unknown`] if its block is not kept.
    pub fn set_head(&self, version: VersionId) -> Result<(), SsmtError> {
        let _moving = self.inner.moving.lock();
        self.inner.ssmt.root(version)?;
        let block = self.block_of(version).ok_or(ColdError::Unknown { hash: B256::ZERO })?;
        if block.hash != self.inner.store.last().hash {
            self.inner.store.follow(block.hash)?;
        }
        self.inner.ssmt.set_head(version)?;
        self.keeper.look();
        Ok(())
    }

    /// Brings to the pages, now, what no reorganisation reaches any more and is not retained. Whether there was anything to do.
    ///
    /// # Errors
    ///
    /// As [`Store::checkpoint`].
    pub fn checkpoint(&self) -> Result<bool, SsmtError> {
        self.inner.checkpoint(self.inner.retained())
    }

    /// What went wrong with the last checkpoint that was made in the background.
    #[must_use]
    pub fn checkpoint_error(&self) -> Option<SsmtError> {
        self.keeper.error()
    }
}

impl Inner {
    fn version_of(&self, hash: B256) -> Option<VersionId> {
        let blocks = self.blocks.lock();
        blocks.iter().rev().find(|(_, block)| block.hash == hash).map(|(version, _)| *version)
    }

    /// Seals a block of the journal.
    fn seal_again(&self, block: &BlockRecord) -> Result<VersionId, SsmtError> {
        let parent = self.version_of(block.parent);
        // The first of all stands on nothing.
        let parent = parent.or_else(|| self.blocks.lock().first_key_value().map(|(version, _)| *version));
        let parent = parent.unwrap_or_else(|| self.ssmt.head());
        let sealed = self.ssmt.seal(parent, &block.changes)?;
        if sealed.root != block.root {
            return Err(SsmtError::WrongRoot { expected: block.root, found: sealed.root });
        }
        self.blocks.lock().insert(sealed.version, block.id());
        Ok(sealed.version)
    }

    /// Whether the version of a block is there, and kept.
    fn is_kept(&self, hash: B256) -> bool {
        self.version_of(hash).is_some_and(|version| self.ssmt.root(version).is_ok())
    }

    /// Blocks that are retained: half of them where the journal begins to be full.
    fn retained(&self) -> u64 {
        let (needed, most) = self.store.journal_use();
        if needed >= most / 4 * 3 { self.retained_blocks / 2 } else { self.retained_blocks }
    }

    /// Blocks of the journal that no reorganisation reaches any more, and that are not retained.
    fn ripe(&self) -> u64 {
        let oldest = self.ssmt.oldest();
        let number = self.blocks.lock().get(&oldest).map_or(0, |block| block.number);
        number.saturating_sub(self.retained()).saturating_sub(self.store.checkpoint_block().0.number)
    }

    /// Leaves so many blocks in the journal behind those that a reorganisation may reach.
    fn checkpoint(&self, retained_blocks: u64) -> Result<bool, SsmtError> {
        let _making = self.making.lock();
        let oldest = self.ssmt.oldest();
        let Some(block) = self.blocks.lock().get(&oldest).copied() else { return Ok(false) };
        let Some(through) = block.number.checked_sub(retained_blocks) else { return Ok(false) };
        if !self.store.checkpoint_on(block.hash, through, &self.hasher)? {
            return Ok(false);
        }
        let (stored, _) = self.store.checkpoint_block();
        // The first of several: those that were made again later may be given up.
        let first = self.blocks.lock().iter().find(|(_, block)| block.hash == stored.hash).map(|(id, _)| *id);
        if let Some(version) = first {
            self.ssmt.stored(version);
            self.blocks.lock().retain(|known, _| *known >= version);
        }
        Ok(true)
    }
}

/// Whether a checkpoint may make room.
fn is_for_want_of_room(error: &ColdError) -> bool {
    match error {
        ColdError::Budget { .. } => true,
        ColdError::Disk(error) => matches!(**error, DiskError::Full { .. }),
        _ => false,
    }
}

impl Work for Inner {
    fn is_due(&self, every: usize) -> bool {
        self.ripe() >= every as u64
    }

    fn work(&self) -> Result<(), SsmtError> {
        self.checkpoint(self.retained()).map(|_| ())
    }
}
