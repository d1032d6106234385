//! Executes consecutive blocks over a state on disk, each durable before the next one begins, beside the same blocks on the trie in
//! memory.

use crate::{
    clock, compare,
    configs::{disk_config, durable_config},
    execution::{Executed, Executor},
    report::ColdReads,
    roots::changes_from_nothing,
};
use alloy_primitives::B256;
use citius_engine::{Block, StrategyChoice};
use citius_io::{Disk, DiskError, open_disk};
use citius_state::{
    ChangeSet, MemoryState, StateReader,
    cold::{BlockId, ColdError, Import, ImportStep, Opened, Store},
    durable::{DurableConfig, DurableState},
    ssmt::{Ssmt, SsmtError},
};
use citius_topology::Plan;
use citius_workloads::Workload;
use serde::Serialize;
use std::{
    collections::hash_map::RandomState,
    fmt::Write,
    fs,
    hash::{BuildHasher, Hasher as _},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

/// Accounts that are imported at a time.
const PIECE: usize = 50_000;
/// Hashes of blocks that a block may ask for.
const ANCESTORS: u64 = 256;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct SoakSettings {
    /// Where the state is made: an empty directory, or one that is made.
    pub directory: PathBuf,
    /// How blocks are executed over it.
    pub strategy: StrategyChoice,
    /// Blocks that no reorganisation reaches any more, from which on they are brought to the pages.
    pub checkpoint_every: usize,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum SoakError {
    /// Somebody's files are there.
    #[error("datadir = {}: expected an empty directory, or none; it has {found:?}", directory.display())]
    NotEmpty {
        /// The directory.
        directory: PathBuf,
        /// A file in it.
        found: String,
    },
    /// The directory cannot be made or read.
    #[error("{}: {source}", directory.display())]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The disk fails.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The store fails.
    #[error(transparent)]
    Store(#[from] ColdError),
    /// The trie fails.
    #[error(transparent)]
    Trie(#[from] SsmtError),
}

/// What became of a block.
#[derive(Debug, Clone, Serialize)]
pub struct SoakBlock {
    /// Its number.
    pub number: u64,
    /// Its transactions.
    pub txs: usize,
    /// Gas used.
    pub gas: u64,
    /// From its submission to its outcome, over the state on disk.
    pub execute_ns: u64,
    /// From its changes to its root.
    pub seal_ns: u64,
    /// From its root until it was durable.
    pub keep_ns: u64,
    /// Serially, over the state in memory.
    pub memory_ns: u64,
    /// Pages read from the disk meanwhile, by whomever.
    pub page_reads: u64,
    /// What cold reads made executions do.
    #[serde(flatten)]
    pub cold_reads: ColdReads,
    /// The root after it.
    pub root: B256,
    /// How it differs from the serial execution in memory, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mismatch: Option<String>,
}

/// What became of all blocks.
#[derive(Debug, Clone, Serialize)]
pub struct SoakReport {
    /// What the blocks do.
    pub workload: String,
    /// How the disk is asked.
    pub backend: &'static str,
    /// Accounts of the state before the first block.
    pub accounts: usize,
    /// Writing them.
    pub import_ns: u64,
    /// The blocks.
    pub blocks: Vec<SoakBlock>,
    /// Pages read from the disk.
    pub page_reads: u64,
    /// Trie nodes that were let go of.
    pub evicted_nodes: u64,
    /// Trie nodes in memory at the end, in bytes.
    pub node_bytes: u64,
    /// Syncs of the journal.
    pub journal_syncs: u64,
    /// Checkpoints at the end.
    pub checkpoint: u64,
    /// Pages in use at the end, in bytes.
    pub page_bytes: u64,
    /// The journal's files, in bytes.
    pub journal_bytes: u64,
    /// Closing it, opening it again, and all blocks since the last checkpoint sealed again.
    pub reopen_ns: u64,
    /// What is wrong with the state as it was found again: another root, or damage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found_again: Option<String>,
    /// Whether everything is as it should be.
    pub matches: bool,
}

/// Runs a workload's blocks. `on_block` is called after each.
///
/// # Errors
///
/// [`SoakError`]. A block that comes to something else is no error: the report says so.
pub fn run(
    executor: &Executor,
    plan: &Plan,
    settings: &SoakSettings,
    workload: Workload,
    mut on_block: impl FnMut(),
) -> Result<SoakReport, SoakError> {
    let config = DurableConfig { checkpoint_every: settings.checkpoint_every, ..durable_config(plan) };
    let disk = empty_disk(&settings.directory, plan)?;
    let backend = disk.capabilities().backend;
    let mut state = Arc::new(workload.genesis);
    let first = workload.blocks.first().map_or(1, |block| block.header.number);
    let before = workload.blocks.first().map(|block| block.header.parent_hash).unwrap_or_default();
    let mut last = BlockId { number: first.saturating_sub(1), hash: before };
    // The same in memory: what says which roots are right.
    let memory = Ssmt::new(config.ssmt.clone(), executor.hasher(), executor.workers());
    let accounts = state.accounts().count();
    let begun = Instant::now();
    import(&state, executor, Arc::clone(&disk), &config, last, &memory)?;
    let import_ns = clock::nanoseconds(begun.elapsed());

    let durable = open(&disk, &config, executor)?;
    for number in first.saturating_sub(ANCESTORS)..first {
        if let Ok(hash) = state.block_hash(number) {
            durable.ssmt().set_block_hash(number, hash);
        }
    }
    let runner = executor.blocks_of(&workload.chain);
    let mut blocks = Vec::with_capacity(workload.blocks.len());
    for block in workload.blocks {
        let block = Arc::new(block);
        let id = BlockId { number: block.header.number, hash: block.header.hash_slow() };
        let reads = durable.store().stats().reads;
        let begun = Instant::now();
        let Executed { verdict, metrics } =
            runner.execute(Arc::new(durable.reader()?), &block, settings.strategy);
        let execute_ns = clock::nanoseconds(begun.elapsed());

        let in_memory = Arc::clone(&state) as Arc<dyn StateReader>;
        let begun = Instant::now();
        let expected = runner.execute(in_memory, &block, StrategyChoice::Serial).verdict;
        let memory_ns = clock::nanoseconds(begun.elapsed());
        let mismatch = compare::verdicts(&expected, &verdict);
        let Ok(outcome) = &expected else {
            let error = format!("refused: {}", mismatch.unwrap_or_else(|| format!("{expected:?}")));
            blocks.push(refused(&block, error));
            break;
        };
        if let Some(mismatch) = mismatch {
            // Nothing of it is kept.
            blocks.push(refused(&block, mismatch));
            break;
        }
        let changes = Arc::new(outcome.changes.clone());

        let (head, _) = durable.head();
        let begun = Instant::now();
        let sealed = durable.ssmt().seal(head, &changes)?;
        let seal_ns = clock::nanoseconds(begun.elapsed());
        let begun = Instant::now();
        durable.keep(sealed.version, id, last.hash)?;
        let keep_ns = clock::nanoseconds(begun.elapsed());
        durable.set_head(sealed.version)?;

        let in_memory = memory.seal(memory.head(), &changes)?;
        memory.set_head(in_memory.version)?;
        let mismatch = (sealed.root != in_memory.root)
            .then(|| format!("state root {}, in memory {}", sealed.root, in_memory.root));
        let state = Arc::make_mut(&mut state);
        state.apply(&outcome.changes);
        state.set_block_hash(id.number, id.hash);
        durable.ssmt().set_block_hash(id.number, id.hash);
        blocks.push(SoakBlock {
            number: id.number,
            txs: block.transactions.len(),
            gas: outcome.gas_used,
            execute_ns,
            seal_ns,
            keep_ns,
            memory_ns,
            page_reads: durable.store().stats().reads - reads,
            cold_reads: ColdReads::of(&metrics),
            root: sealed.root,
            mismatch,
        });
        last = id;
        on_block();
    }

    let stats = durable.store().stats();
    let (evicted_nodes, node_bytes) = (durable.ssmt().evictions().nodes, durable.ssmt().memory().node_bytes);
    let background = durable.checkpoint_error().map(|error| format!("a checkpoint failed: {error}"));
    let begun = Instant::now();
    drop(durable);
    let root = memory.root(memory.head())?;
    let found_again = look_again(&disk, &config, executor, last, root);
    let reopen_ns = clock::nanoseconds(begun.elapsed());
    let found_again = found_again.unwrap_or_else(|error| Some(format!("not found again: {error}")));
    let found_again = background.or(found_again).or_else(|| verify(&disk, &config).err());
    let matches = found_again.is_none() && blocks.iter().all(|block| block.mismatch.is_none());
    Ok(SoakReport {
        workload: workload.name,
        backend,
        accounts,
        import_ns,
        page_reads: stats.reads,
        evicted_nodes,
        node_bytes,
        journal_syncs: stats.journal_syncs,
        checkpoint: stats.checkpoint,
        page_bytes: stats.page_bytes,
        journal_bytes: stats.journal_bytes,
        reopen_ns,
        found_again,
        matches,
        blocks,
    })
}

fn refused(block: &Block, error: String) -> SoakBlock {
    SoakBlock {
        number: block.header.number,
        txs: block.transactions.len(),
        gas: 0,
        execute_ns: 0,
        seal_ns: 0,
        keep_ns: 0,
        memory_ns: 0,
        page_reads: 0,
        cold_reads: ColdReads::default(),
        root: B256::ZERO,
        mismatch: Some(error),
    }
}

/// The disk of a directory in which nothing is.
fn empty_disk(directory: &Path, plan: &Plan) -> Result<Arc<dyn Disk>, SoakError> {
    let failed = |source| SoakError::Directory { directory: directory.to_owned(), source };
    fs::create_dir_all(directory).map_err(failed)?;
    if let Some(found) = fs::read_dir(directory).map_err(failed)?.next() {
        let found = found.map_err(failed)?.file_name().to_string_lossy().into_owned();
        return Err(SoakError::NotEmpty { directory: directory.to_owned(), found });
    }
    Ok(open_disk(directory, &disk_config(plan))?.0)
}

/// Writes a state to the pages of a store, as that after a block, and to the trie in memory.
fn import(
    state: &MemoryState,
    executor: &Executor,
    disk: Arc<dyn Disk>,
    config: &DurableConfig,
    block: BlockId,
    memory: &Ssmt,
) -> Result<(), SoakError> {
    let hasher = executor.hasher();
    let mut import = Import::open(disk, config.store, drawn(), block.hash)?;
    let ChangeSet { accounts, .. } = changes_from_nothing(state);
    let mut cursor = 0;
    for piece in accounts.chunks(PIECE) {
        let mut codes = Vec::new();
        for change in piece {
            if let Some(Ok(code)) = change.after.map(|account| state.code(account.code_hash))
                && !code.is_empty()
            {
                codes.push((code.hash_slow(), code));
            }
        }
        codes.sort_unstable_by_key(|(hash, _)| *hash);
        codes.dedup_by_key(|(hash, _)| *hash);
        let changes = ChangeSet { accounts: piece.to_vec(), codes };
        cursor += piece.len() as u64;
        let mut step = ImportStep::default();
        step.create(changes.clone(), &hasher);
        import.add(step, cursor, &hasher)?;
        let sealed = memory.seal(memory.head(), &Arc::new(changes))?;
        memory.set_head(sealed.version)?;
    }
    import.finish(block, Some(memory.root(memory.head())?))?;
    Ok(())
}

fn open(
    disk: &Arc<dyn Disk>,
    config: &DurableConfig,
    executor: &Executor,
) -> Result<DurableState, SoakError> {
    let (hasher, workers) = (executor.hasher(), executor.workers());
    Ok(DurableState::open(Arc::clone(disk), config.clone(), drawn(), hasher, workers)?)
}

/// What is wrong with the state when it is opened again, if anything is.
fn look_again(
    disk: &Arc<dyn Disk>,
    config: &DurableConfig,
    executor: &Executor,
    last: BlockId,
    root: B256,
) -> Result<Option<String>, SoakError> {
    let durable = open(disk, config, executor)?;
    let (version, block) = durable.head();
    let found = durable.ssmt().root(version)?;
    Ok((block != last || found != root).then(|| {
        format!(
            "found again: block {} {} with root {found}, not {} {} with root {root}",
            block.number, block.hash, last.number, last.hash
        )
    }))
}

/// Reads everything on the disk, and computes every hash again.
fn verify(disk: &Arc<dyn Disk>, config: &DurableConfig) -> Result<(), String> {
    let verified = || {
        let Opened { store, .. } = Store::open(Arc::clone(disk), config.store, drawn())?;
        store.verify(&citius_hashing::Hasher::cpu(), &mut |_| ())
    };
    match verified() {
        Ok(found) if found.lost > 0 => Err(format!("{} pages are lost", found.lost)),
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// A number that nobody else knows.
fn drawn() -> u64 {
    RandomState::new().build_hasher().finish()
}

impl SoakReport {
    /// The report for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let txs: usize = self.blocks.iter().map(|block| block.txs).sum();
        let _ = writeln!(
            text,
            "{}: {} blocks, {txs} transactions over {} accounts on disk ({})",
            self.workload,
            self.blocks.len(),
            self.accounts,
            self.backend
        );
        let _ = writeln!(text, "  imported in {}", milliseconds(self.import_ns));
        let execute: u64 = self.blocks.iter().map(|block| block.execute_ns).sum();
        let memory: u64 = self.blocks.iter().map(|block| block.memory_ns).sum();
        let per_second = txs as f64 * 1e9 / (execute as f64).max(1.0);
        let _ = writeln!(
            text,
            "  executed {} a block, {per_second:.0} transactions/s; serially in memory {}",
            self.spread(|block| block.execute_ns),
            milliseconds(memory / self.blocks.len().max(1) as u64)
        );
        let _ = writeln!(text, "  sealed   {} a block", self.spread(|block| block.seal_ns));
        let _ = writeln!(
            text,
            "  durable  {} a block, {:.2} syncs",
            self.spread(|block| block.keep_ns),
            self.journal_syncs as f64 / self.blocks.len().max(1) as f64
        );
        let mut cold = ColdReads::default();
        self.blocks.iter().for_each(|block| cold.add(&block.cold_reads));
        text.push_str(&cold.text());
        let _ = writeln!(
            text,
            "  memory   {} of nodes, {} nodes let go of, {} pages read",
            mebibytes(self.node_bytes),
            self.evicted_nodes,
            self.page_reads
        );
        let _ = writeln!(
            text,
            "  disk     {} of pages in use, {} of journal, checkpoint {}",
            mebibytes(self.page_bytes),
            mebibytes(self.journal_bytes),
            self.checkpoint
        );
        let _ = writeln!(text, "  opened   again in {}", milliseconds(self.reopen_ns));
        for block in &self.blocks {
            if let Some(mismatch) = &block.mismatch {
                let _ = writeln!(text, "  block {}: does not match: {mismatch}", block.number);
            }
        }
        if let Some(wrong) = &self.found_again {
            let _ = writeln!(text, "  WRONG    {wrong}");
        }
        if self.matches {
            text.push_str("  right    outcomes and roots are those in memory, and were found again\n");
        }
        text
    }

    /// Median and worst of a time.
    fn spread(&self, time: impl Fn(&SoakBlock) -> u64) -> String {
        let mut times: Vec<u64> = self.blocks.iter().map(time).collect();
        times.sort_unstable();
        let median = times.get(times.len() / 2).copied().unwrap_or_default();
        let worst = times.last().copied().unwrap_or_default();
        format!("{} (worst {})", milliseconds(median), milliseconds(worst))
    }
}

fn milliseconds(nanoseconds: u64) -> String {
    format!("{:.2} ms", nanoseconds as f64 / 1e6)
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
