use super::{BareHashing, IncrementalState, Shape, Threads, Times, World, Writes, times::median_ratio};
use crate::{THREADS, WrongAnswer};
use alloy_primitives::B256;
use citius_hashing::Hasher;
use citius_state::{
    ChangeSet, Workers,
    ssmt::{Ssmt, SsmtConfig, SsmtError, VersionId},
};
use serde::Serialize;
use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

/// Versions before the head: few, so that what they replaced is given back soon.
const HISTORY: usize = 8;
/// Blocks that are written before any is timed: by then what is given back suffices for what is made, and no memory is
/// taken from the system any more.
const WARM_UP: u64 = HISTORY as u64 + 4;

/// Who takes part besides [`Ssmt`] on two threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contestants {
    /// [`Ssmt`] on one thread, the incremental root with storage roots on one and two threads.
    All,
    /// The incremental root on one thread.
    Few,
    /// [`Ssmt`] on one thread: nobody else takes the caches from one block to the next.
    Nobody,
}

/// One state, held by several tries of their own, so that every one finds a block's nodes where they lay since the
/// block that wrote them.
#[derive(Debug)]
pub struct Contest<'a> {
    world: &'a World,
    threads: &'a Threads,
    hasher: Arc<Hasher>,
    one: Option<Ssmt>,
    two: Ssmt,
    incremental: Option<IncrementalState>,
    incremental_spread: Option<IncrementalState>,
    next_block: u64,
    rebuilds: bool,
}

/// What a block costs.
#[derive(Debug, Clone, Serialize)]
pub struct BlockFigures {
    /// The state.
    pub state: Shape,
    /// What each block was to write.
    pub writes: Writes,
    /// Accounts and slots that the median block wrote, accounts whose storage alone changed included.
    pub keys: usize,
    /// Nodes that the median block made, those above the shards not counted.
    pub nodes: usize,
    /// Their Keccak permutations.
    pub permutations: usize,
    /// Blocks timed.
    pub blocks: usize,
    /// [`Ssmt::seal`] on one thread.
    pub seal_1: Option<Times>,
    /// [`Ssmt::seal`] on two threads.
    pub seal_2: Times,
    /// The same blocks once more on one thread, their first versions discarded: with all nodes in the caches.
    pub seal_1_again: Option<Times>,
    /// The same on two threads.
    pub seal_2_again: Times,
    /// [`Ssmt::set_head`] behind it, which drops an old version.
    pub set_head: Times,
    /// The hashing alone on one thread.
    pub bare_1: Times,
    /// The hashing alone on two threads.
    pub bare_2: Times,
    /// The incremental root on `alloy-trie`.
    pub incremental_1: Option<Times>,
    /// The same with storage roots on two threads.
    pub incremental_2: Option<Times>,
    /// Median over blocks: the incremental root's time by that of the seal on two threads.
    pub incremental_1_by_seal_2: Option<f64>,
    /// The same with storage roots on two threads.
    pub incremental_2_by_seal_2: Option<f64>,
    /// Median over blocks: the seal on two threads by the bare hashing on two threads.
    pub seal_2_by_bare_2: f64,
    /// Median seal on two threads by 1.5 times the median bare hashing on two threads and 0.5 ms.
    pub seal_2_by_allowance: f64,
}

impl<'a> Contest<'a> {
    /// Builds the state `genesis` of `world` for everyone. With `rebuilds` each root is compared with one computed anew
    /// from all leaves too, which takes long on a large state.
    ///
    /// # Errors
    ///
    /// [`WrongAnswer`] if the roots differ.
    pub fn new(
        world: &'a World,
        contestants: Contestants,
        threads: &'a Threads,
        rebuilds: bool,
    ) -> Result<Self, WrongAnswer> {
        let hasher = Arc::new(Hasher::cpu());
        let trie = |workers: &Arc<citius_engine::WorkerPool>| {
            let config = SsmtConfig { history: HISTORY, ..SsmtConfig::default() };
            Ssmt::new(config, Arc::clone(&hasher), Arc::clone(workers) as Arc<dyn Workers>)
        };
        let is_all = contestants == Contestants::All;
        let is_alone = contestants == Contestants::Nobody;
        let mut contest = Self {
            world,
            threads,
            one: (is_all || is_alone).then(|| trie(&threads.one)),
            two: trie(&threads.two),
            incremental: (!is_alone).then(IncrementalState::default),
            incremental_spread: is_all.then(IncrementalState::default),
            hasher,
            next_block: 0,
            rebuilds,
        };
        contest.round(&Arc::new(world.genesis()), &mut Samples::default())?;
        Ok(contest)
    }

    /// Writes and times blocks, everyone each, in turn.
    ///
    /// # Errors
    ///
    /// [`WrongAnswer`] if roots differ.
    pub fn run(&mut self, writes: Writes, blocks: usize) -> Result<BlockFigures, WrongAnswer> {
        let mut samples = Samples::default();
        for number in 0..WARM_UP + blocks.max(1) as u64 {
            if number == WARM_UP {
                samples = Samples::default();
            }
            self.next_block += 1;
            let changes = Arc::new(self.world.block(self.next_block, writes));
            samples.keys.push(changes.accounts.len() + changes.slot_count());
            self.round(&changes, &mut samples)?;
        }
        let figures = samples.figures(self.world.shape(), writes);
        figures.ok_or_else(|| wrong("nothing was timed".into()))
    }

    fn round(&mut self, changes: &Arc<ChangeSet>, samples: &mut Samples) -> Result<(), WrongAnswer> {
        let mut roots = Vec::new();
        let mut version = None;
        // Everyone comes first, second, third and last equally often.
        for turn in 0..4 {
            match (turn + self.next_block) % 4 {
                0 => {
                    if let Some(one) = &self.one {
                        let seal = Seal::twice(one, changes)?;
                        roots.extend(seal.roots.map(|root| ("one thread", root)));
                        samples.seal_1.push(seal.first);
                        samples.seal_1_again.push(seal.again);
                    }
                }
                1 => {
                    let seal = Seal::twice(&self.two, changes)?;
                    roots.extend(seal.roots.map(|root| ("two threads", root)));
                    samples.seal_2.push(seal.first);
                    samples.seal_2_again.push(seal.again);
                    samples.set_head.push(seal.set_head);
                    version = Some(seal.version);
                }
                2 => {
                    if let Some(incremental) = &mut self.incremental {
                        let start = Instant::now();
                        let root = incremental.write(changes, None);
                        samples.incremental_1.push(start.elapsed());
                        roots.push(("incremental", root));
                    }
                }
                _ => {
                    if let Some(spread) = &mut self.incremental_spread {
                        let start = Instant::now();
                        let root = spread.write(changes, Some(&self.threads.rayon));
                        samples.incremental_2.push(start.elapsed());
                        roots.push(("incremental on two threads", root));
                    }
                }
            }
        }
        if let Some(incremental) = self.incremental.as_ref().filter(|_| self.rebuilds) {
            roots.push(("built anew", incremental.rebuilt_root()));
        }
        same(&roots)?;
        // The first block made the whole state: its nodes need not be copied.
        if let Some(version) = version.filter(|_| self.next_block > 0) {
            let nodes = self.two.nodes_made(version).map_err(|error| wrong(error.to_string()))?;
            let bare = BareHashing::of(&nodes, &self.hasher);
            samples.nodes.push((bare.nodes(), bare.permutations()));
            drop(nodes);
            // Once for nothing, so that what is timed finds all in the caches.
            let _ = bare.run(&*self.threads.one);
            let (mut one, mut two) = (Duration::MAX, Duration::MAX);
            for _ in 0..BARE_REPEATS {
                one = one.min(bare.run(&*self.threads.one));
                two = two.min(bare.run(&*self.threads.two));
            }
            samples.bare_1.push(one);
            samples.bare_2.push(two);
        }
        Ok(())
    }
}

/// Runs of the bare hashing a block, of which the shortest counts: seals are held against hashing at its best.
const BARE_REPEATS: usize = 3;

/// A block that was sealed, discarded, sealed again, and made the head.
struct Seal {
    roots: [B256; 2],
    version: VersionId,
    first: Duration,
    again: Duration,
    set_head: Duration,
}

impl Seal {
    fn twice(trie: &Ssmt, changes: &Arc<ChangeSet>) -> Result<Self, WrongAnswer> {
        let failed = |error: SsmtError| wrong(error.to_string());
        let timed = || {
            let start = Instant::now();
            let sealed = trie.seal(trie.head(), changes).map_err(failed)?;
            Ok((sealed, start.elapsed()))
        };
        let (discarded, first) = timed()?;
        trie.discard(discarded.version).map_err(failed)?;
        let (sealed, again) = timed()?;
        let start = Instant::now();
        trie.set_head(sealed.version).map_err(failed)?;
        let set_head = start.elapsed();
        Ok(Self { roots: [discarded.root, sealed.root], version: sealed.version, first, again, set_head })
    }
}

fn same(roots: &[(&str, B256)]) -> Result<(), WrongAnswer> {
    if roots.windows(2).all(|pair| pair[0].1 == pair[1].1) {
        return Ok(());
    }
    Err(wrong(format!("roots differ: {roots:?}")))
}

pub(super) fn wrong(reason: String) -> WrongAnswer {
    WrongAnswer { bench: "root".to_owned(), reason }
}

#[derive(Default)]
struct Samples {
    keys: Vec<usize>,
    /// Nodes and permutations.
    nodes: Vec<(usize, usize)>,
    seal_1: Vec<Duration>,
    seal_2: Vec<Duration>,
    seal_1_again: Vec<Duration>,
    seal_2_again: Vec<Duration>,
    set_head: Vec<Duration>,
    bare_1: Vec<Duration>,
    bare_2: Vec<Duration>,
    incremental_1: Vec<Duration>,
    incremental_2: Vec<Duration>,
}

impl Samples {
    fn figures(mut self, state: Shape, writes: Writes) -> Option<BlockFigures> {
        self.keys.sort_unstable();
        self.nodes.sort_unstable();
        let (seal_2, bare_2) = (Times::of(&self.seal_2)?, Times::of(&self.bare_2)?);
        let (nodes, permutations) = *self.nodes.get(self.nodes.len() / 2)?;
        Some(BlockFigures {
            state,
            writes,
            keys: *self.keys.get(self.keys.len() / 2)?,
            nodes,
            permutations,
            blocks: self.seal_2.len(),
            seal_1: Times::of(&self.seal_1),
            seal_2,
            seal_1_again: Times::of(&self.seal_1_again),
            seal_2_again: Times::of(&self.seal_2_again)?,
            set_head: Times::of(&self.set_head)?,
            bare_1: Times::of(&self.bare_1)?,
            bare_2,
            incremental_1: Times::of(&self.incremental_1),
            incremental_2: Times::of(&self.incremental_2),
            incremental_1_by_seal_2: (!self.incremental_1.is_empty())
                .then(|| median_ratio(&self.incremental_1, &self.seal_2)),
            incremental_2_by_seal_2: (!self.incremental_2.is_empty())
                .then(|| median_ratio(&self.incremental_2, &self.seal_2)),
            seal_2_by_bare_2: median_ratio(&self.seal_2, &self.bare_2),
            seal_2_by_allowance: seal_2.median_ms / (1.5 * bare_2.median_ms + 0.5),
        })
    }
}

impl fmt::Display for BlockFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { state, blocks, keys, nodes, permutations, .. } = self;
        writeln!(f, "{} accounts, {} slots; {blocks} blocks", state.accounts, state.slots)?;
        writeln!(f, "median block: {keys} accounts and slots, {nodes} nodes, {permutations} permutations")?;
        writeln!(f, "{:<44} {:>10} {:>10} {:>10}", "ms", "median", "min", "worst")?;
        let lines = [
            ("seal, 1 thread", self.seal_1),
            ("seal, 2 threads", Some(self.seal_2)),
            ("seal again, 1 thread", self.seal_1_again),
            ("seal again, 2 threads", Some(self.seal_2_again)),
            ("making it the head", Some(self.set_head)),
            ("bare hashing, 1 thread", Some(self.bare_1)),
            ("bare hashing, 2 threads", Some(self.bare_2)),
            ("incremental on alloy-trie, 1 thread", self.incremental_1),
            ("incremental, storage roots on 2 threads", self.incremental_2),
        ];
        for (name, times) in lines {
            if let Some(times) = times {
                writeln!(f, "{name:<44} {times}")?;
            }
        }
        if let Some(alone) = self.incremental_1_by_seal_2 {
            write!(f, "incremental by seal on {THREADS} threads: {alone:.2}x")?;
        }
        if let Some(spread) = self.incremental_2_by_seal_2 {
            write!(f, ", {spread:.2}x with storage roots on {THREADS} threads")?;
        }
        if self.incremental_1.is_some() {
            writeln!(f)?;
        }
        let (by_bare, by_allowance) = (self.seal_2_by_bare_2, self.seal_2_by_allowance);
        writeln!(
            f,
            "seal by bare hashing on {THREADS} threads: {by_bare:.2}x; by 1.5 times that and 0.5 ms: {by_allowance:.2}"
        )
    }
}
