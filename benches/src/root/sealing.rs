use super::{Shape, Threads, Times, World, Writes, contest::wrong};
use crate::WrongAnswer;
use alloy_primitives::B256;
use citius_hashing::Hasher;
use citius_state::{
    ChangeSet, Workers,
    ssmt::{Ssmt, SsmtConfig, SsmtError},
};
use serde::Serialize;
use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

/// Versions before the head.
const HISTORY: usize = 8;
/// Blocks before the first that is timed.
const WARM_UP: usize = 20;

/// Seals one behind the other, and nothing else in between.
#[derive(Debug, Clone, Serialize)]
pub struct SealingFigures {
    /// The state.
    pub state: Shape,
    /// What each block was to write.
    pub writes: Writes,
    /// Blocks timed.
    pub blocks: usize,
    /// [`Ssmt::seal`] on one thread.
    pub seal_1: Times,
    /// [`Ssmt::seal`] on two threads.
    pub seal_2: Times,
}

/// Seals blocks of `world` one behind the other, no two the same, first all on one thread, then all on two: with the trie in
/// the caches as far as it fits, no flat cache beside it, and no work in between. What an idea does to the seal shows here
/// first.
///
/// # Errors
///
/// [`WrongAnswer`] if roots differ.
pub fn sealing(
    world: &World,
    writes: Writes,
    blocks: usize,
    threads: &Threads,
) -> Result<SealingFigures, WrongAnswer> {
    let blocks: Vec<_> =
        (1..=WARM_UP + blocks.max(1)).map(|number| Arc::new(world.block(number as u64, writes))).collect();
    let (root, seal_1) = run(world, &blocks, Arc::clone(&threads.one) as Arc<dyn Workers>)?;
    let (root_by_two, seal_2) = run(world, &blocks, Arc::clone(&threads.two) as Arc<dyn Workers>)?;
    if root != root_by_two {
        return Err(wrong(format!("{root} on one thread, {root_by_two} on two")));
    }
    Ok(SealingFigures { state: world.shape(), writes, blocks: blocks.len() - WARM_UP, seal_1, seal_2 })
}

fn run(
    world: &World,
    blocks: &[Arc<ChangeSet>],
    workers: Arc<dyn Workers>,
) -> Result<(B256, Times), WrongAnswer> {
    let failed = |error: SsmtError| wrong(error.to_string());
    let config = SsmtConfig { history: HISTORY, flat_cache_bytes: 0, ..SsmtConfig::default() };
    let trie = Ssmt::new(config, Arc::new(Hasher::cpu()), workers);
    let timed = |changes: &Arc<ChangeSet>| {
        let start = Instant::now();
        let sealed = trie.seal(trie.head(), changes).map_err(failed)?;
        let taken = start.elapsed();
        trie.set_head(sealed.version).map_err(failed)?;
        Ok(taken)
    };
    timed(&Arc::new(world.genesis()))?;
    let times = blocks.iter().map(timed).collect::<Result<Vec<Duration>, WrongAnswer>>()?;
    let root = trie.root(trie.head()).map_err(failed)?;
    let times = Times::of(&times[WARM_UP..]).ok_or_else(|| wrong("nothing was timed".into()))?;
    Ok((root, times))
}

impl fmt::Display for SealingFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { state, blocks, seal_1, seal_2, .. } = self;
        writeln!(f, "{} accounts, {} slots; {blocks} blocks", state.accounts, state.slots)?;
        writeln!(f, "{:<44} {:>10} {:>10} {:>10}", "ms", "median", "min", "worst")?;
        writeln!(f, "{:<44} {seal_1}", "seal, 1 thread")?;
        writeln!(f, "{:<44} {seal_2}", "seal, 2 threads")
    }
}
