use crate::networks::Phase;
use citius_engine::{Engine, EngineConfig, ExecuteOptions, StrategyChoice, WorkerPool, chain::ChainSpec};
use revm::primitives::hardfork::SpecId;
use std::{
    collections::HashMap,
    num::NonZeroUsize,
    sync::Arc,
    time::{Duration, Instant},
};

/// The chain id that all fixtures are of.
pub(crate) const CHAIN_ID: u64 = 1;

/// Threads of the parallel runs.
pub(crate) const THREADS: [usize; 2] = [2, 4];

/// No block of these suites takes as long; what does hangs.
const BLOCK_TIME_MAX: Duration = Duration::from_secs(1_200);

/// One test thread's engines, on one pool: two a fork, and those of networks.
pub(crate) struct Machines {
    pool: Arc<WorkerPool>,
    engines: HashMap<(SpecId, Rules), Engine>,
    /// By the network's name, and whether it has come to proof of stake.
    networks: HashMap<(String, bool, Rules), Engine>,
}

/// What a block is more than its transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Rules {
    /// Nothing: no rewards, no system calls.
    TransactionsOnly,
    /// Everything that the fork says.
    WholeBlock,
}

impl Machines {
    pub(crate) fn new() -> Self {
        let threads = NonZeroUsize::new(THREADS[1]).expect("not zero");
        let pool = WorkerPool::unpinned(threads).expect("threads start");
        Self { pool, engines: HashMap::new(), networks: HashMap::new() }
    }

    /// Drops the engines, and with them the EVM memory that they keep for the next block.
    pub(crate) fn shrink(&mut self) {
        self.engines.clear();
        self.networks.clear();
    }

    pub(crate) fn engine(&mut self, spec: SpecId, rules: Rules) -> &Engine {
        let pool = &self.pool;
        self.engines.entry((spec, rules)).or_insert_with(|| {
            let chain = rules.of(ChainSpec::with_all_forks_until(CHAIN_ID, spec));
            Engine::new(chain, Arc::clone(pool), EngineConfig::default())
        })
    }

    pub(crate) fn engine_of_network(&mut self, phase: Phase<'_>, rules: Rules) -> &Engine {
        let pool = &self.pool;
        self.networks.entry((phase.network.into(), phase.is_merged, rules)).or_insert_with(|| {
            Engine::new(rules.of(phase.chain.clone()), Arc::clone(pool), EngineConfig::default())
        })
    }
}

impl Rules {
    fn of(self, chain: ChainSpec) -> ChainSpec {
        match self {
            Self::TransactionsOnly => chain.without_block_rewards().without_system_calls(),
            Self::WholeBlock => chain,
        }
    }
}

pub(crate) fn serial() -> ExecuteOptions {
    options(StrategyChoice::Serial, None)
}

pub(crate) fn optimistic(threads: usize) -> ExecuteOptions {
    options(StrategyChoice::Optimistic, NonZeroUsize::new(threads))
}

pub(crate) fn partitioned(threads: usize) -> ExecuteOptions {
    options(StrategyChoice::Partitioned, NonZeroUsize::new(threads))
}

fn options(strategy: StrategyChoice, threads: Option<NonZeroUsize>) -> ExecuteOptions {
    ExecuteOptions {
        strategy,
        threads,
        deadline: Some(Instant::now() + BLOCK_TIME_MAX),
        ..ExecuteOptions::default()
    }
}
