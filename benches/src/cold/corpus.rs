//! Recorded and generated blocks over a state that does not fit in memory.

use super::ground::{Ground, Options, WithHashes, first, name_of, overlay};
use crate::{THREADS, WrongAnswer, stores::StoresError};
use alloy_primitives::B256;
use citius_engine::{Engine, EngineConfig, ExecuteOptions, WorkerPool, chain::ChainSpec};
use citius_node::{
    execution::Case,
    recorded::{RecordedBlock, block_folders},
};
use citius_state::{
    ChangeSet, StateReader,
    cold::{BlockId, StoreConfig},
    durable::{DurableConfig, DurableState},
    ssmt::SsmtConfig,
};
use citius_workloads::{WorkloadKind, WorkloadSpec, generate};
use serde::Serialize;
use std::{env, fmt, path::Path, sync::Arc};

/// What a memory budget does.
#[derive(Debug, Clone, Serialize)]
pub struct BudgetFigures {
    /// Memory for nodes and pages, of what the state takes in memory.
    pub percent: u64,
    /// Bytes of the state's nodes in memory, and those that were allowed.
    pub state_bytes: u64,
    /// As above.
    pub allowed_bytes: u64,
    /// Bytes of nodes in the end.
    pub kept_bytes: u64,
    /// Blocks whose roots are those of the trie in memory, what was laid under them included.
    pub blocks: u64,
    /// Nodes that were let go of.
    pub evicted_nodes: u64,
    /// Pages read from the disk, and found in the cache.
    pub page_reads: u64,
    /// As above.
    pub page_hits: u64,
    /// Cold reads that were parked.
    pub parked: u64,
    /// Checkpoints that were made.
    pub checkpoints: u64,
}

/// Seals blocks over a generated state, each with what it needs laid under it first, at memory budgets of 100, 10 and 1 % of the state.
/// Those in `$CITIUS_CORPUS/mainnet` if that is set, and those of two workloads.
///
/// # Errors
///
/// [`StoresError`] of the disk, the store, or a recorded block; and if a root is not that of the trie in memory.
pub fn corpus(options: &Options, progress: &mut dyn FnMut(usize)) -> Result<Vec<BudgetFigures>, StoresError> {
    let cases = cases(options)?;
    let ground = Ground::new(options, &[], progress)?;
    let pool = WorkerPool::unpinned(THREADS).unwrap_or_else(|error| panic!("{error}"));
    // Once over the trie in memory: what every budget must come to.
    let state_bytes = ground.memory.memory().node_bytes;
    let mut steps: Vec<Step> = Vec::new();
    for case in &cases {
        let engine = Engine::new(case.chain.clone(), Arc::clone(&pool), EngineConfig::default());
        let under = Arc::new(overlay(&case.state, &ground.memory, ground.memory.head())?);
        steps.push(Step::seal(&ground, under, None)?);
        let reader = WithHashes::new(ground.memory.reader(ground.memory.head())?, case);
        for (block, (changes, _)) in execute(&engine, case, reader)?.into_iter().enumerate() {
            let first = (block == 0).then(|| Arc::new(case.clone()));
            steps.push(Step::seal(&ground, Arc::new(changes), first)?);
        }
    }
    let mut all = Vec::new();
    for percent in [100, 10, 1] {
        // Each from the generated state on: what the last one kept is not taken over.
        let directory = ground.directory().with_extension(format!("{percent}"));
        let _ = std::fs::remove_dir_all(&directory);
        copy(ground.directory(), &directory)?;
        let figures = at_budget(&ground, &directory, percent, state_bytes, &steps, &pool);
        let _ = std::fs::remove_dir_all(&directory);
        all.push(figures?);
    }
    Ok(all)
}

/// One block, and the root that it leads to.
struct Step {
    changes: Arc<ChangeSet>,
    root: B256,
    /// What is to be executed here: this block, and those after it.
    case: Option<Arc<Case>>,
}

impl Step {
    fn seal(ground: &Ground, changes: Arc<ChangeSet>, case: Option<Arc<Case>>) -> Result<Self, StoresError> {
        let sealed = ground.memory.seal(ground.memory.head(), &changes)?;
        ground.memory.set_head(sealed.version)?;
        Ok(Self { changes, root: sealed.root, case })
    }
}

fn cases(options: &Options) -> Result<Vec<Case>, StoresError> {
    let mut cases = Vec::new();
    if let Some(corpus) = env::var_os("CITIUS_CORPUS") {
        let chain = ChainSpec::mainnet();
        let threads = rayon::ThreadPoolBuilder::new().num_threads(THREADS.get()).build();
        let threads = threads.unwrap_or_else(|error| panic!("{error}"));
        let wrong =
            |error: &dyn fmt::Display| WrongAnswer { bench: "corpus".into(), reason: error.to_string() };
        let folders = block_folders(&[Path::new(&corpus).join("mainnet")]).map_err(|error| wrong(&error))?;
        for folder in folders.iter().take(options.blocks) {
            let block = RecordedBlock::load(folder).map_err(|error| wrong(&error))?;
            let blocks = vec![Arc::new(block.recover(&chain, &threads).map_err(|error| wrong(&error))?)];
            cases.push(Case { chain: chain.clone(), blocks, state: Arc::new(block.pre_state) });
        }
    }
    for kind in [WorkloadKind::Erc20, WorkloadKind::AmmPairs] {
        let spec = WorkloadSpec { blocks: 2, ..WorkloadSpec::standard(kind) };
        cases.push(Case::stream(generate(&spec).unwrap_or_else(|error| panic!("{spec}: {error}"))));
    }
    Ok(cases)
}

/// What blocks change, and how many of their executions were parked.
fn execute(
    engine: &Engine,
    case: &Case,
    reader: Arc<WithHashes>,
) -> Result<Vec<(ChangeSet, u64)>, StoresError> {
    let mut stream = engine.stream(reader as Arc<dyn StateReader>, &ExecuteOptions::default());
    for block in &case.blocks {
        stream.submit(Arc::clone(block));
    }
    let mut all = Vec::new();
    while let Some(outcome) = stream.next() {
        let outcome =
            outcome.map_err(|error| WrongAnswer { bench: "corpus".into(), reason: error.to_string() })?;
        all.push((outcome.changes, outcome.metrics.parked));
    }
    Ok(all)
}

fn at_budget(
    ground: &Ground,
    directory: &Path,
    percent: u64,
    state_bytes: u64,
    steps: &[Step],
    pool: &Arc<WorkerPool>,
) -> Result<BudgetFigures, StoresError> {
    let allowed_bytes = state_bytes * percent / 100;
    let config = DurableConfig {
        store: StoreConfig { page_cache_bytes: allowed_bytes / 8, ..StoreConfig::default() },
        ssmt: SsmtConfig {
            history: 2,
            flat_cache_bytes: allowed_bytes / 8,
            node_bytes_max: allowed_bytes,
            ..SsmtConfig::default()
        },
        checkpoint_every: 3,
        ..DurableConfig::default()
    };
    let state = ground.open_at(directory, config)?;
    let mut parent = first();
    let mut figures = BudgetFigures {
        percent,
        state_bytes,
        allowed_bytes,
        kept_bytes: 0,
        blocks: 0,
        evicted_nodes: 0,
        page_reads: 0,
        page_hits: 0,
        parked: 0,
        checkpoints: 0,
    };
    let mut executed: std::collections::VecDeque<ChangeSet> = std::collections::VecDeque::new();
    for step in steps {
        if let Some(case) = &step.case {
            let engine = Engine::new(case.chain.clone(), Arc::clone(pool), EngineConfig::default());
            let reader = WithHashes::new(state.reader()?, case);
            for (changes, parked) in execute(&engine, case, reader)? {
                executed.push_back(changes);
                figures.parked += parked;
            }
        }
        let changes = executed.pop_front().map_or_else(|| Arc::clone(&step.changes), Arc::new);
        parent = seal(&state, parent, &changes, step.root, percent)?;
        figures.blocks += 1;
    }
    let stats = state.store().stats();
    (figures.page_reads, figures.page_hits, figures.checkpoints) =
        (stats.reads, stats.read_hits, stats.checkpoint);
    figures.evicted_nodes = state.ssmt().evictions().nodes;
    figures.kept_bytes = state.ssmt().memory().node_bytes;
    match state.checkpoint_error() {
        Some(error) => Err(error.into()),
        None => Ok(figures),
    }
}

fn seal(
    state: &DurableState,
    parent: BlockId,
    changes: &Arc<ChangeSet>,
    root: B256,
    percent: u64,
) -> Result<BlockId, StoresError> {
    let sealed = state.ssmt().seal(state.ssmt().head(), changes)?;
    let block = BlockId { number: parent.number + 1, hash: name_of(parent.number + 1) };
    if sealed.root != root {
        let reason = format!("block {} at {percent} %: root {} instead of {root}", block.number, sealed.root);
        return Err(WrongAnswer { bench: "corpus".into(), reason }.into());
    }
    state.keep(sealed.version, block, parent.hash)?;
    state.set_head(sealed.version)?;
    Ok(block)
}

fn copy(from: &Path, to: &Path) -> Result<(), StoresError> {
    std::fs::create_dir_all(to)?;
    for file in std::fs::read_dir(from)? {
        let file = file?;
        std::fs::copy(file.path(), to.join(file.file_name()))?;
    }
    Ok(())
}

impl fmt::Display for BudgetFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        write!(
            f,
            "{:>3} %: {:.0} of {:.0} MiB for nodes, {:.0} in the end; {} blocks with equal roots; {} nodes evicted; {} pages read, {} found in \
             memory; {} executions parked; {} checkpoints",
            self.percent,
            mib(self.allowed_bytes),
            mib(self.state_bytes),
            mib(self.kept_bytes),
            self.blocks,
            self.evicted_nodes,
            self.page_reads,
            self.page_hits,
            self.parked,
            self.checkpoints,
        )
    }
}
