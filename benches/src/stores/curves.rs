//! How the store grows: what a leaf takes, what blocks, checkpoints and openings cost.

use super::{StoresError, contender::disk_bytes, filling, forget_files};
use crate::root::{Shape, Times, World, Writes};
use alloy_primitives::B256;
use citius_hashing::Hasher;
use citius_io::{Disk, DiskConfig, Metered, open_disk};
use citius_state::cold::{BlockRecord, ColdError, Store, StoreConfig};
use serde::Serialize;
use std::{
    fmt, fs,
    ops::RangeInclusive,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

/// Blocks that are appended one by one, and then brought to the pages by one checkpoint.
const BLOCKS: u64 = 50;
/// Blocks of a group, where nobody looks at single ones.
const GROUP: u64 = 50;

/// A state of some size.
#[derive(Debug, Clone, Serialize)]
pub struct CurvePoint {
    /// Its accounts and slots.
    pub state: Shape,
    /// Filling it, in the order of the trie, all roots included.
    pub fill_s: f64,
    /// Bytes of pages in use, a leaf.
    pub page_bytes_per_leaf: f64,
    /// Bytes of all files, the journal's too, a leaf.
    pub disk_bytes_per_leaf: f64,
    /// A block of [`Writes::MAINNET_BLOCK`] until it is durable.
    pub append: Times,
    /// Of that, waiting for the sync.
    pub sync: Times,
    /// All but the sync.
    pub beyond_sync: Times,
    /// Writes of the blocks of one checkpoint.
    pub checkpoint_writes: u64,
    /// Bringing them to the pages.
    pub checkpoint_ms: f64,
    /// Pages that it read.
    pub checkpoint_reads: u64,
    /// Pages that it wrote.
    pub checkpoint_page_writes: u64,
    /// Writes that are in the journal alone when the store is opened again.
    pub journalled: u64,
    /// Opening it.
    pub open_ms: f64,
    /// Bringing them to the pages.
    pub fold_ms: f64,
}

/// Fills states one after the other in a directory, smallest first.
///
/// # Errors
///
/// [`StoresError`] of the store, and if a small one is found to be wrong.
pub fn curves(
    leaves: &[usize],
    journalled: usize,
    directory: &Path,
    each: &mut dyn FnMut(&CurvePoint),
) -> Result<Vec<CurvePoint>, StoresError> {
    let mut points = Vec::new();
    for leaves in leaves {
        let directory = directory.join(format!("curve-{leaves}"));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory)?;
        let point = measure(*leaves, journalled, &directory)?;
        each(&point);
        points.push(point);
        fs::remove_dir_all(&directory)?;
    }
    Ok(points)
}

fn open(directory: &Path) -> Result<(Store, Arc<Metered>), StoresError> {
    let (disk, _) = open_disk(directory, &DiskConfig::default())?;
    let metered = Arc::new(Metered::new(disk));
    let disk: Arc<dyn Disk> = Arc::clone(&metered) as Arc<dyn Disk>;
    Ok((Store::open(disk, StoreConfig::default(), super::random())?.store, metered))
}

fn measure(leaves: usize, journalled: usize, directory: &Path) -> Result<CurvePoint, StoresError> {
    /// A state up to which everything is read and hashed once more in the end.
    const VERIFIED: usize = 100_000;
    let world = World::new(Shape::of_leaves(leaves));
    let hasher = Hasher::cpu();
    let (store, _) = open(directory)?;
    let start = Instant::now();
    filling::fill(&store, &world, &hasher)?;
    let fill_s = start.elapsed().as_secs_f64();
    let first = store.last().number + 1;
    // Before the file grows by what is tried in vain below.
    let stats = store.stats();
    let disk_bytes = disk_bytes(directory)?;
    drop(store);
    let more = journalled.div_ceil(Writes::MAINNET_BLOCK.total()) as u64;
    let (checkpoint, last) = (first + BLOCKS - 1, first + BLOCKS + more - 1);
    let roots = roots_after(directory, &world, first..=last, &[checkpoint, last])?;
    forget_files(directory)?;

    let (store, metered) = open(directory)?;
    let (mut append, mut sync, mut beyond) = (Vec::new(), Vec::new(), Vec::new());
    let mut checkpoint_writes = 0;
    for number in first..=checkpoint {
        let root = if number == checkpoint { roots[0] } else { B256::ZERO };
        let block = block(&world, number, root);
        checkpoint_writes += writes(&block);
        let before = metered.metrics().syncs.time_ns;
        let start = Instant::now();
        store.append(vec![block])?;
        let took = start.elapsed();
        let synced = Duration::from_nanos(metered.metrics().syncs.time_ns - before);
        append.push(took);
        sync.push(synced);
        beyond.push(took.saturating_sub(synced));
    }
    let before = store.stats().pages;
    let start = Instant::now();
    store.checkpoint(checkpoint, &hasher)?;
    let checkpoint_ms = start.elapsed().as_secs_f64() * 1e3;
    let after = store.stats().pages;

    let mut found = 0;
    append_all(
        &store,
        &world,
        checkpoint + 1..=last,
        |number| if number == last { roots[1] } else { B256::ZERO },
        &mut found,
    )?;
    // Nothing is done when it is dropped: it is as if the process had ended.
    drop(store);
    forget_files(directory)?;
    let start = Instant::now();
    let (store, _) = open(directory)?;
    let open_ms = start.elapsed().as_secs_f64() * 1e3;
    let start = Instant::now();
    store.checkpoint(last, &hasher)?;
    let fold_ms = start.elapsed().as_secs_f64() * 1e3;
    if leaves <= VERIFIED {
        store.verify(&hasher, &mut |_| ())?;
    }
    let each = |bytes: u64| bytes as f64 / leaves as f64;
    let nothing = || StoresError::wrong("curves", "nothing was timed");
    Ok(CurvePoint {
        state: world.shape(),
        fill_s,
        page_bytes_per_leaf: each(stats.page_bytes),
        disk_bytes_per_leaf: each(disk_bytes),
        append: Times::of(&append).ok_or_else(nothing)?,
        sync: Times::of(&sync).ok_or_else(nothing)?,
        beyond_sync: Times::of(&beyond).ok_or_else(nothing)?,
        checkpoint_writes,
        checkpoint_ms,
        checkpoint_reads: after.reads - before.reads,
        checkpoint_page_writes: after.writes - before.writes,
        journalled: found,
        open_ms,
        fold_ms,
    })
}

fn block(world: &World, number: u64, root: B256) -> Arc<BlockRecord> {
    filling::record(number, root, world.block(number, Writes::MAINNET_BLOCK))
}

/// Accounts and slots that a block writes.
fn writes(block: &BlockRecord) -> u64 {
    (block.changes.accounts.len() + block.changes.slot_count()) as u64
}

/// Appends blocks in groups.
fn append_all(
    store: &Store,
    world: &World,
    numbers: RangeInclusive<u64>,
    root: impl Fn(u64) -> B256,
    written: &mut u64,
) -> Result<(), StoresError> {
    let (mut next, last) = (*numbers.start(), *numbers.end());
    while next <= last {
        let end = last.min(next + GROUP - 1);
        let group: Vec<Arc<BlockRecord>> =
            (next..=end).map(|number| block(world, number, root(number))).collect();
        *written += group.iter().map(|block| writes(block)).sum::<u64>();
        store.append(group)?;
        next = end + 1;
    }
    Ok(())
}

/// The roots after some of the blocks that would follow, which the store itself finds: its pages are as they were afterwards, and its
/// journal is put back. The first of `after` follows `numbers`' first, and the last of them is the last.
fn roots_after(
    directory: &Path,
    world: &World,
    numbers: RangeInclusive<u64>,
    after: &[u64],
) -> Result<Vec<B256>, StoresError> {
    let journal = directory.join("journal-before");
    fs::create_dir_all(&journal)?;
    let files = |of: &Path| {
        let names = fs::read_dir(of)?.filter_map(Result::ok).filter(|entry| entry.path().is_file());
        let names = names.map(|entry| entry.file_name()).filter(|name| name != "pages");
        Ok::<Vec<_>, StoresError>(names.collect())
    };
    for name in files(directory)? {
        fs::copy(directory.join(&name), journal.join(&name))?;
    }
    let (store, _) = open(directory)?;
    let hasher = Hasher::cpu();
    let mut roots = Vec::new();
    let mut next = *numbers.start();
    for end in after {
        append_all(&store, world, next..=*end, |_| B256::ZERO, &mut 0)?;
        match store.checkpoint(*end, &hasher) {
            Err(ColdError::WrongRoot { found, .. }) => roots.push(found),
            Err(error) => return Err(error.into()),
            Ok(_) => return Err(StoresError::wrong("curves", "a state has the root zero")),
        }
        next = end + 1;
    }
    drop(store);
    for name in files(directory)? {
        fs::remove_file(directory.join(&name))?;
    }
    for name in files(&journal)? {
        fs::rename(journal.join(&name), directory.join(&name))?;
    }
    fs::remove_dir_all(&journal)?;
    Ok(roots)
}

impl fmt::Display for CurvePoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} accounts, {} slots: filled in {:.1} s; {:.1} bytes a leaf in pages, {:.1} of the disk",
            self.state.accounts,
            self.state.slots,
            self.fill_s,
            self.page_bytes_per_leaf,
            self.disk_bytes_per_leaf
        )?;
        writeln!(f, "{:<44} {:>10} {:>10} {:>10}", "ms", "median", "min", "worst")?;
        writeln!(f, "{:<44} {}", "block until durable", self.append)?;
        writeln!(f, "{:<44} {}", "of that the sync", self.sync)?;
        writeln!(f, "{:<44} {}", "beyond the sync", self.beyond_sync)?;
        writeln!(
            f,
            "checkpoint of {} writes: {:.0} ms, {} pages read, {} written",
            self.checkpoint_writes, self.checkpoint_ms, self.checkpoint_reads, self.checkpoint_page_writes
        )?;
        writeln!(
            f,
            "{} writes in the journal: opened in {:.0} ms, in the pages after another {:.0} ms",
            self.journalled, self.open_ms, self.fold_ms
        )
    }
}
