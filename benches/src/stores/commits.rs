//! What a durable block costs, with checkpoints in the background and without.

use super::{StoresError, filling};
use crate::root::{Shape, Threads, Times, World, Writes};
use alloy_primitives::B256;
use citius_hashing::Hasher;
use citius_io::{Disk, DiskConfig, Metered, open_disk};
use citius_state::{
    Workers,
    cold::{BlockRecord, ColdError, Store, StoreConfig},
    ssmt::{Ssmt, SsmtConfig},
};
use serde::Serialize;
use std::{
    fmt, fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Stretches of each kind.
const ROUNDS: usize = 5;

/// Blocks one behind the other, as fast as they become durable.
#[derive(Debug, Clone, Serialize)]
pub struct CommitFigures {
    /// The state.
    pub state: Shape,
    /// What each block was to write.
    pub writes: Writes,
    /// Blocks of a stretch.
    pub blocks: u32,
    /// Nothing in the background.
    pub alone: Stretches,
    /// One checkpoint after the other in the background.
    pub with_checkpoints: Stretches,
    /// Blocks a second with checkpoints by those without, neighbouring stretches, the median.
    pub with_by_alone: f64,
    /// Checkpoints that were made in the background.
    pub checkpoints: u64,
    /// Syncs of the journal a block.
    pub syncs_per_block: f64,
}

/// Stretches of one kind.
#[derive(Debug, Clone, Serialize)]
pub struct Stretches {
    /// Blocks a second, the median of all stretches.
    pub blocks_per_second: f64,
    /// A block until it is durable.
    pub block: Times,
    /// Of that, waiting for the sync.
    pub sync: Times,
    /// All but the sync.
    pub beyond_sync: Times,
    /// Nine of ten blocks take at most this beyond the sync, in milliseconds.
    pub beyond_sync_ms_p90: f64,
}

#[derive(Default)]
struct Timed {
    blocks: Vec<Duration>,
    syncs: Vec<Duration>,
    beyond: Vec<Duration>,
    /// Blocks a second of each stretch.
    speeds: Vec<f64>,
}

impl Timed {
    fn figures(&self) -> Result<Stretches, StoresError> {
        let nothing = || StoresError::wrong("commit", "nothing was timed");
        let mut beyond = self.beyond.clone();
        beyond.sort_unstable();
        let p90 = beyond.get(beyond.len() * 9 / 10).copied().unwrap_or_default();
        let mut speeds = self.speeds.clone();
        speeds.sort_by(f64::total_cmp);
        Ok(Stretches {
            blocks_per_second: speeds.get(speeds.len() / 2).copied().ok_or_else(nothing)?,
            block: Times::of(&self.blocks).ok_or_else(nothing)?,
            sync: Times::of(&self.syncs).ok_or_else(nothing)?,
            beyond_sync: Times::of(&self.beyond).ok_or_else(nothing)?,
            beyond_sync_ms_p90: p90.as_secs_f64() * 1e3,
        })
    }
}

/// Roots after the state and after each of some blocks, by the trie in memory.
fn roots(world: &World, numbers: impl Iterator<Item = u64>) -> Result<Vec<B256>, StoresError> {
    let threads = Threads::unpinned().map_err(|error| StoresError::Peer(error.to_string()))?;
    let config = SsmtConfig { history: 0, flat_cache_bytes: 0, ..SsmtConfig::default() };
    let trie = Ssmt::new(config, Arc::new(Hasher::cpu()), Arc::clone(&threads.two) as Arc<dyn Workers>);
    let seal = |changes| {
        let sealed = trie.seal(trie.head(), &Arc::new(changes))?;
        trie.set_head(sealed.version)?;
        Ok::<B256, StoresError>(sealed.root)
    };
    let mut roots = vec![seal(world.genesis())?];
    for number in numbers {
        roots.push(seal(world.block(number, Writes::MAINNET_BLOCK))?);
    }
    Ok(roots)
}

/// Appends blocks to a store of some leaves, in stretches with checkpoints and without, in turns.
///
/// # Errors
///
/// [`StoresError`] of the store.
pub fn commits(leaves: usize, blocks: u32, directory: &Path) -> Result<CommitFigures, StoresError> {
    let directory = directory.join("commit");
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory)?;
    let world = World::new(Shape::of_leaves(leaves));
    let (disk, _) = open_disk(&directory, &DiskConfig::default())?;
    let metered = Arc::new(Metered::new(disk));
    let disk: Arc<dyn Disk> = Arc::clone(&metered) as Arc<dyn Disk>;
    let store = Store::open(disk, StoreConfig::default(), super::random())?.store;
    let hasher = Hasher::cpu();
    let filled = filling::fill(&store, &world, &hasher)?;
    let first = store.last().number + 1;
    let count = 2 * ROUNDS as u64 * u64::from(blocks);
    let roots = roots(&world, first..first + count)?;
    if roots[0] != filled {
        return Err(StoresError::wrong("commit", format!("{filled} in the pages, {} in memory", roots[0])));
    }
    let mut next = first;
    let mut stretch = || {
        let start = next;
        next += u64::from(blocks);
        let made = (start..next).map(|number| {
            let root = roots[(number - first) as usize + 1];
            filling::record(number, root, world.block(number, Writes::MAINNET_BLOCK))
        });
        made.collect::<Vec<Arc<BlockRecord>>>()
    };
    let syncs_before = store.stats().journal_syncs;
    let (mut alone, mut with_checkpoints) = (Timed::default(), Timed::default());
    let mut checkpoints = 0;
    for round in 0..ROUNDS {
        for turn in 0..2 {
            if (round + turn) % 2 == 0 {
                append(&store, &metered, &stretch(), &mut alone)?;
            } else {
                checkpoints += append_beside(&store, &metered, &stretch(), &mut with_checkpoints)?;
            }
            // The next stretch begins with nothing left to do.
            store.checkpoint(store.last().number, &hasher)?;
        }
    }
    let syncs = store.stats().journal_syncs - syncs_before;
    drop(store);
    fs::remove_dir_all(&directory)?;
    let mut ratios: Vec<f64> =
        with_checkpoints.speeds.iter().zip(&alone.speeds).map(|(with, alone)| with / alone).collect();
    ratios.sort_by(f64::total_cmp);
    Ok(CommitFigures {
        state: world.shape(),
        writes: Writes::MAINNET_BLOCK,
        blocks,
        alone: alone.figures()?,
        with_checkpoints: with_checkpoints.figures()?,
        with_by_alone: ratios[ratios.len() / 2],
        checkpoints,
        syncs_per_block: syncs as f64 / count as f64,
    })
}

/// Appends blocks one by one.
fn append(
    store: &Store,
    metered: &Metered,
    blocks: &[Arc<BlockRecord>],
    timed: &mut Timed,
) -> Result<(), StoresError> {
    let begun = Instant::now();
    for block in blocks {
        // Syncs of checkpoints are counted here, too: so it is the time without, from which they are left out.
        let before = metered.metrics().syncs;
        let start = Instant::now();
        store.append(vec![Arc::clone(block)])?;
        let took = start.elapsed();
        timed.blocks.push(took);
        let after = metered.metrics().syncs;
        if after.operations == before.operations + 1 {
            let synced = Duration::from_nanos(after.time_ns - before.time_ns);
            timed.syncs.push(synced);
            timed.beyond.push(took.saturating_sub(synced));
        }
    }
    timed.speeds.push(blocks.len() as f64 / begun.elapsed().as_secs_f64());
    Ok(())
}

/// The same, while a thread makes one checkpoint after the other; how many.
fn append_beside(
    store: &Store,
    metered: &Metered,
    blocks: &[Arc<BlockRecord>],
    timed: &mut Timed,
) -> Result<u64, StoresError> {
    let is_over = AtomicBool::new(false);
    let made = AtomicU64::new(0);
    thread::scope(|scope| {
        let checkpoints = scope.spawn(|| {
            let hasher = Hasher::cpu();
            while !is_over.load(Ordering::Relaxed) {
                if store.checkpoint(store.last().number, &hasher)? {
                    made.fetch_add(1, Ordering::Relaxed);
                } else {
                    thread::yield_now();
                }
            }
            Ok::<(), ColdError>(())
        });
        let appended = append(store, metered, blocks, timed);
        is_over.store(true, Ordering::Relaxed);
        match checkpoints.join() {
            Ok(made) => made?,
            Err(_) => return Err(StoresError::Peer("the thread of checkpoints has ended".into())),
        }
        appended
    })?;
    Ok(made.into_inner())
}

impl fmt::Display for CommitFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} accounts, {} slots; blocks of {} writes in stretches of {}; {:.2} syncs of the journal a block",
            self.state.accounts,
            self.state.slots,
            self.writes.total(),
            self.blocks,
            self.syncs_per_block
        )?;
        for (name, stretches) in
            [("alone", &self.alone), ("with checkpoints in the background", &self.with_checkpoints)]
        {
            writeln!(f, "{name}: {:.0} blocks a second", stretches.blocks_per_second)?;
            writeln!(f, "{:<44} {:>10} {:>10} {:>10}", "ms", "median", "min", "worst")?;
            writeln!(f, "{:<44} {}", "block until durable", stretches.block)?;
            writeln!(f, "{:<44} {}", "of that the sync", stretches.sync)?;
            writeln!(
                f,
                "{:<44} {} (nine of ten: {:.3})",
                "beyond the sync", stretches.beyond_sync, stretches.beyond_sync_ms_p90
            )?;
        }
        writeln!(f, "with {} checkpoints by alone: {:.2}x", self.checkpoints, self.with_by_alone)
    }
}
