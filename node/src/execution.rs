//! The engine's only caller here: executes a [`Case`], keeps the verdicts or takes the time.

use crate::{
    clock::{self, Sample},
    compare::{Brief, Verdict},
    configs::engine_config,
};
use citius_engine::{
    Block, BlockMetrics, BlockTrace, Engine, EngineConfig, ExecuteOptions, ExecutionError, IdleLease,
    PoolError, StrategyChoice, WorkerPool, chain::ChainSpec,
};
use citius_hashing::Hasher;
use citius_state::{CommitSink, IdleWork, MemoryState, StateReader, Workers};
use citius_topology::{PlacementReport, Plan};
use citius_workloads::Workload;
use std::sync::Arc;

/// One block, or consecutive blocks as one stream, and the state before.
#[derive(Debug, Clone)]
pub struct Case {
    /// The chain's rules.
    pub chain: ChainSpec,
    /// The state before the first block.
    pub state: Arc<MemoryState>,
    /// The blocks, in order; several make a stream.
    pub blocks: Vec<Arc<Block>>,
}

impl Case {
    /// All blocks of a workload as one stream.
    #[must_use]
    pub fn stream(workload: Workload) -> Self {
        let mut state = workload.genesis;
        for block in &workload.blocks {
            // Every block's number and hash are known beforehand.
            state.set_block_hash(block.header.number, block.header.hash_slow());
        }
        let blocks = workload.blocks.into_iter().map(Arc::new).collect();
        Self { chain: workload.chain, state: Arc::new(state), blocks }
    }
}

/// What one execution said about a block, and how the work went, also where there is no outcome.
#[derive(Debug)]
pub struct Executed {
    /// The outcome or the error.
    pub verdict: Verdict,
    /// What ran.
    pub metrics: BlockMetrics,
}

/// The workers that all cases are executed on.
#[derive(Debug)]
pub struct Executor {
    pool: Arc<WorkerPool>,
    config: EngineConfig,
    hasher: Arc<Hasher>,
}

/// One case on an engine of its own. From run to run the engine keeps its workers' buffers and what they stand for
/// in service, but nothing of the blocks: every run reads the state anew.
pub struct Runner<'a> {
    case: &'a Case,
    engine: Engine,
    pool: Arc<WorkerPool>,
}

impl Executor {
    /// Starts the plan's workers.
    ///
    /// # Errors
    ///
    /// [`PoolError`] if they cannot be started.
    pub fn new(plan: &Plan) -> Result<Self, PoolError> {
        // A block that is repeated is to be the same one every time.
        let config = EngineConfig { learns_from_blocks: false, ..engine_config(plan) };
        Ok(Self { pool: WorkerPool::new(plan)?, config, hasher: Arc::new(Hasher::cpu()) })
    }

    /// Engines with these bounds.
    #[must_use]
    pub fn with_config(self, config: EngineConfig) -> Self {
        Self { config, ..self }
    }

    /// State tries hash with this.
    #[must_use]
    pub fn with_hasher(self, hasher: Hasher) -> Self {
        Self { hasher: Arc::new(hasher), ..self }
    }

    /// The threads, for the state trie.
    #[must_use]
    pub fn workers(&self) -> Arc<dyn Workers> {
        Arc::clone(&self.pool) as Arc<dyn Workers>
    }

    /// What the state trie hashes with.
    #[must_use]
    pub fn hasher(&self) -> Arc<Hasher> {
        Arc::clone(&self.hasher)
    }

    /// Pins the calling thread where the plan wants the one that submits blocks, which works too. The report says
    /// where it is; `None` if the plan is for another machine.
    #[must_use]
    pub fn pin_caller(&self) -> Option<PlacementReport> {
        self.pool.pin_caller()
    }

    /// Where the workers found themselves when they started.
    #[must_use]
    pub fn placements(&self) -> Vec<PlacementReport> {
        self.pool.placements()
    }

    /// An engine for a case.
    #[must_use]
    pub fn runner<'a>(&self, case: &'a Case) -> Runner<'a> {
        Runner { case, engine: self.engine(&case.chain), pool: Arc::clone(&self.pool) }
    }

    /// Executes one block serially over any reader.
    ///
    /// # Errors
    ///
    /// As the engine says.
    pub fn serial(&self, chain: &ChainSpec, reader: Arc<dyn StateReader>, block: &Arc<Block>) -> Verdict {
        let options = ExecuteOptions { strategy: StrategyChoice::Serial, ..ExecuteOptions::default() };
        self.engine(chain).execute_block(reader, Arc::clone(block), &options)
    }

    /// An engine for blocks of a chain, one at a time, each over a reader of its own. It learns from blocks.
    #[must_use]
    pub fn blocks_of(&self, chain: &ChainSpec) -> BlockRunner {
        let config = EngineConfig { learns_from_blocks: true, ..self.config.clone() };
        BlockRunner { engine: Engine::new(chain.clone(), Arc::clone(&self.pool), config) }
    }

    fn engine(&self, chain: &ChainSpec) -> Engine {
        Engine::new(chain.clone(), Arc::clone(&self.pool), self.config.clone())
    }
}

/// Executes blocks one at a time.
#[derive(Debug)]
pub struct BlockRunner {
    engine: Engine,
}

impl BlockRunner {
    /// Executes a block.
    #[must_use]
    pub fn execute(
        &self,
        reader: Arc<dyn StateReader>,
        block: &Arc<Block>,
        strategy: StrategyChoice,
    ) -> Executed {
        let options = ExecuteOptions { strategy, ..ExecuteOptions::default() };
        let (verdict, metrics) = self.engine.measure_block(reader, Arc::clone(block), &options);
        Executed { verdict, metrics }
    }
}

impl Runner<'_> {
    /// Executes the case, and keeps each block's verdict and metrics.
    #[must_use]
    pub fn execute(&self, strategy: StrategyChoice) -> Vec<Executed> {
        let mut executed = Vec::with_capacity(self.case.blocks.len());
        self.run(strategy, None, |one| executed.push(one));
        executed
    }

    /// Takes one sample of the case. A block's share runs from the commit of the block before to its own, the
    /// outcome freed. `on_run` gets what each run said of the blocks, when the clock has stopped.
    #[must_use]
    pub fn sample(&self, strategy: StrategyChoice, mut on_run: impl FnMut(&[Brief])) -> Sample {
        let count = self.case.blocks.len();
        let mut briefs: Vec<Brief> = Vec::with_capacity(count);
        clock::sample(|laps| {
            briefs.clear();
            self.run(strategy, None, |Executed { verdict, .. }| {
                let sealed_at = verdict.as_ref().ok().and_then(|outcome| outcome.metrics.times.sealed_at);
                briefs.push(verdict.map(|outcome| outcome.gas_used));
                match sealed_at {
                    Some(sealed_at) if briefs.len() < count => laps.lap_at(sealed_at),
                    _ => laps.lap(),
                }
            });
            on_run(&briefs);
        })
    }

    /// Takes the case's first blocks apart, as many as `blocks`; entries' times are medians of `runs` runs.
    ///
    /// # Errors
    ///
    /// As the engine says, if one of them is refused.
    pub fn trace(&self, blocks: usize, runs: usize) -> Result<Vec<BlockTrace>, ExecutionError> {
        let reader = Arc::clone(&self.case.state) as Arc<dyn StateReader>;
        let blocks = self.case.blocks.get(..blocks).unwrap_or(&self.case.blocks);
        self.engine.trace(&reader, blocks, runs)
    }

    /// Lends the threads work for when no block has any.
    pub(crate) fn lend(&self, work: Arc<dyn IdleWork>) -> IdleLease {
        self.pool.lend(work)
    }

    /// Executes the case; `on_executed` gets each block as soon as it is done, `sink` what commits before that.
    pub(crate) fn run(
        &self,
        strategy: StrategyChoice,
        sink: Option<Arc<dyn CommitSink>>,
        mut on_executed: impl FnMut(Executed),
    ) {
        let reader = Arc::clone(&self.case.state) as Arc<dyn StateReader>;
        let options = ExecuteOptions { strategy, commit_sink: sink, ..ExecuteOptions::default() };
        if let [block] = self.case.blocks.as_slice() {
            let (verdict, metrics) = self.engine.measure_block(reader, Arc::clone(block), &options);
            return on_executed(Executed { verdict, metrics });
        }
        let mut stream = self.engine.stream(reader, &options);
        let mut blocks = self.case.blocks.iter();
        // As many blocks ahead as the stream takes without waiting: an outcome is taken when it is there.
        let ahead = EngineConfig::default().look_ahead_blocks_max.get();
        for block in blocks.by_ref().take(ahead) {
            stream.submit(Arc::clone(block));
        }
        for taken in 1..=self.case.blocks.len() {
            let Some(verdict) = stream.next() else { break };
            if let Some(block) = blocks.next() {
                stream.submit(Arc::clone(block));
            }
            let metrics = stream.metrics();
            if taken == self.case.blocks.len() {
                // What the stream frees counts towards its last block.
                drop(stream);
                return on_executed(Executed { verdict, metrics });
            }
            on_executed(Executed { verdict, metrics });
        }
    }
}
