//! Whole blocks: what the engine is for.

use crate::{Size, THREADS, WrongAnswer};
use citius_engine::{
    BlockOutcome, Engine, EngineConfig, ExecuteOptions, ExecutionError, StrategyChoice, WorkerPool,
    chain::ChainSpec,
};
use citius_node::{
    baseline::Baseline,
    compare,
    execution::Case,
    recorded::{RecordedBlock, RecordedError, block_folders},
};
use citius_workloads::{WorkloadKind, WorkloadSpec, generate};
use std::{env, path::Path, sync::Arc};

/// Who executes a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runner {
    /// The engine's `Serial` strategy.
    Serial,
    /// The engine's `Optimistic` strategy on [`THREADS`] threads.
    Optimistic,
    /// The engine's `Partitioned` strategy on [`THREADS`] threads.
    Partitioned,
    /// Plain revm over a `CacheDB`.
    CacheDb,
}

impl Runner {
    /// Everybody.
    pub const ALL: [Self; 4] = [Self::Serial, Self::Optimistic, Self::Partitioned, Self::CacheDb];

    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Serial => "serial",
            Self::Optimistic => "optimistic",
            Self::Partitioned => "partitioned",
            Self::CacheDb => "cachedb",
        }
    }
}

/// One block, the state before it, and an engine of its own.
pub struct BlockBench {
    name: String,
    case: Case,
    engine: Engine,
    /// The gas that the block's header tells, where it was executed by others.
    expected_gas: Option<u64>,
}

impl BlockBench {
    fn new(name: String, case: Case, expected_gas: Option<u64>) -> Self {
        let pool = WorkerPool::unpinned(THREADS).unwrap_or_else(|error| panic!("{error}"));
        let engine = Engine::new(case.chain.clone(), pool, EngineConfig::default());
        Self { name, case, engine, expected_gas }
    }

    /// Says which block it is.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Executes the block once, and frees what became of it. Returns the gas used.
    ///
    /// # Panics
    ///
    /// If the block is refused, which [`BlockBench::verify`] tells without panic.
    #[must_use]
    pub fn run(&self, runner: Runner) -> u64 {
        match runner {
            Runner::Serial => self.gas(StrategyChoice::Serial),
            Runner::Optimistic => self.gas(StrategyChoice::Optimistic),
            Runner::Partitioned => self.gas(StrategyChoice::Partitioned),
            Runner::CacheDb => self.baseline_gas().unwrap_or_else(|reason| panic!("{}: {reason}", self.name)),
        }
    }

    /// Checks that all strategies agree to the last slot, that plain revm uses the same gas, and so does the chain
    /// where the block comes from one. Returns the gas.
    ///
    /// # Errors
    ///
    /// [`WrongAnswer`] with the first difference.
    pub fn verify(&self) -> Result<u64, WrongAnswer> {
        let wrong = |reason: String| WrongAnswer { bench: self.name.clone(), reason };
        let serial = self.execute(StrategyChoice::Serial);
        for strategy in [StrategyChoice::Optimistic, StrategyChoice::Partitioned] {
            if let Some(difference) = compare::verdicts(&serial, &self.execute(strategy)) {
                return Err(wrong(format!("{strategy}: {difference}")));
            }
        }
        let gas = serial.map_err(|error| wrong(error.to_string()))?.gas_used;
        let baseline = self.baseline_gas().map_err(wrong)?;
        if gas != baseline || self.expected_gas.is_some_and(|expected| expected != gas) {
            let expected = self.expected_gas;
            return Err(wrong(format!("uses {gas} gas; plain revm {baseline}, the chain {expected:?}")));
        }
        Ok(gas)
    }

    fn execute(&self, strategy: StrategyChoice) -> Result<BlockOutcome, ExecutionError> {
        let [block] = self.case.blocks.as_slice() else { unreachable!("a case of one block") };
        let options = ExecuteOptions { strategy, ..ExecuteOptions::default() };
        self.engine.execute_block(Arc::clone(&self.case.state) as _, Arc::clone(block), &options)
    }

    fn gas(&self, strategy: StrategyChoice) -> u64 {
        let outcome = self.execute(strategy);
        outcome.unwrap_or_else(|error| panic!("{}: {error}", self.name)).gas_used
    }

    fn baseline_gas(&self) -> Result<u64, String> {
        let [block] = self.case.blocks.as_slice() else { unreachable!("a case of one block") };
        let outcome = Baseline::new(&self.case.chain, &self.case.state).execute(block);
        outcome.map(|outcome| outcome.gas_used).map_err(|error| error.to_string())
    }
}

/// Generated blocks: transfers that conflict in nothing, token transfers and swaps of which a fifth conflict.
#[must_use]
pub fn generated(size: Size) -> Vec<BlockBench> {
    let kinds = [
        (WorkloadKind::TransfersIndependent, 0, 1_000),
        (WorkloadKind::Erc20, 20, 500),
        (WorkloadKind::AmmPairs, 20, 200),
    ];
    kinds
        .map(|(kind, conflict_percent, transactions)| {
            let transactions_per_block = size.pick(20, transactions);
            let accounts = 2 * transactions_per_block;
            let standard = WorkloadSpec::standard(kind);
            let spec = WorkloadSpec { transactions_per_block, accounts, conflict_percent, ..standard };
            let workload = generate(&spec).unwrap_or_else(|error| panic!("{spec}: {error}"));
            let case = Case {
                chain: workload.chain,
                state: Arc::new(workload.genesis),
                blocks: workload.blocks.into_iter().map(Arc::new).collect(),
            };
            BlockBench::new(format!("{kind}/{transactions_per_block}"), case, None)
        })
        .into()
}

/// Recorded blocks of the main network, spread over those in `$CITIUS_CORPUS/mainnet`; `None` if that is not set.
///
/// # Errors
///
/// [`RecordedError`] if the folder or a block cannot be read.
pub fn recorded(size: Size) -> Result<Option<Vec<BlockBench>>, RecordedError> {
    let Some(corpus) = env::var_os("CITIUS_CORPUS") else { return Ok(None) };
    let chain = ChainSpec::mainnet();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(THREADS.get()).build();
    let pool = pool.unwrap_or_else(|error| panic!("{error}"));
    let folders = block_folders(&[Path::new(&corpus).join("mainnet")])?;
    let count = size.pick(1, 4).min(folders.len());
    // The last of each share: the last of all is the youngest.
    let chosen = (1..=count).map(|share| &folders[share * folders.len() / count - 1]);
    let benches = chosen.map(|folder| {
        let block = RecordedBlock::load(folder)?;
        let case = Case {
            chain: chain.clone(),
            blocks: vec![Arc::new(block.recover(&chain, &pool)?)],
            state: Arc::new(block.pre_state),
        };
        Ok(BlockBench::new(format!("mainnet/{}", block.name), case, Some(block.header.gas_used)))
    });
    benches.collect::<Result<_, _>>().map(Some)
}
