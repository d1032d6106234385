use crate::{contest::BlockContest, execution::Case};
use citius_engine::{BlockError, ExecutionError, StrategyChoice};
use serde::Serialize;

/// One block's line in a report. Times are nanoseconds: medians of interleaved runs, from decoded transactions with
/// known senders to finished receipts, bloom and merged change set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The block's name: its folder's, or that of its workload and its number.
    pub dir: String,
    /// The workload that the block belongs to.
    #[serde(flatten)]
    pub workload: Option<WorkloadLabel>,
    /// The block's number.
    pub number: u64,
    /// Transactions in the block.
    pub txs: u64,
    /// Gas used by the block, 0 if it was refused.
    pub gas: u64,
    /// Wall time of the engine's `Serial` strategy.
    pub serial_ns: u64,
    /// Wall time of the strategy asked for; in a stream from the commit of the block before to its own.
    pub parallel_ns: u64,
    /// Wall time of plain revm over a `CacheDB`.
    pub cachedb_ns: u64,
    /// CPU time of the `Serial` run, all threads.
    pub serial_cpu_ns: u64,
    /// CPU time of the parallel run, all threads.
    pub parallel_cpu_ns: u64,
    /// Wall time of the recovery of all senders, measured once.
    pub recover_ns: u64,
    /// Threads that were allowed to work, the caller included.
    pub threads: usize,
    /// The strategy that ran; of a refused block the one named, empty if none was.
    pub strategy: String,
    /// Why that strategy was chosen.
    pub reason: String,
    /// Executions begun.
    pub executions: u64,
    /// Executions whose result was thrown away.
    pub aborts: u64,
    /// Most transactions that were started and not yet committed at one time.
    pub max_in_flight: u64,
    /// Whether the parallel result is the serial one, and the recorded one where there is one.
    pub matches: bool,
    /// What does not match, in words.
    pub mismatch: Option<String>,
    /// Why the block was refused.
    pub error: Option<String>,
    /// The index of the transaction at fault, from 0.
    pub error_tx: Option<u64>,
}

/// What tells one workload from another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WorkloadLabel {
    /// The workload's name.
    pub name: String,
    /// How many of a block's transactions conflict, in percent.
    pub conflict_percent: u8,
    /// What chose everything that is random.
    pub seed: u64,
}

/// What was asked for, of which a refused block does not tell whether it was done.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// Threads of the plan.
    pub threads: usize,
    /// The strategy.
    pub strategy: StrategyChoice,
}

impl Asked {
    /// A strategy that is named is the one that runs.
    fn strategy_name(self) -> String {
        match self.strategy {
            StrategyChoice::Auto => String::new(),
            named => named.to_string(),
        }
    }
}

impl Entry {
    /// The entry of block `index` of a case. What was asked for stands in for what a refused block does not tell of
    /// its run.
    #[must_use]
    pub fn new(dir: String, case: &Case, index: usize, block: &BlockContest, asked: Asked) -> Self {
        let header = &case.blocks[index].header;
        let outcome = block.parallel.as_ref().ok();
        let metrics = outcome.map(|outcome| &outcome.metrics);
        let error = block.parallel.as_ref().err();
        Self {
            dir,
            workload: None,
            number: header.number,
            txs: case.blocks[index].transactions.len() as u64,
            gas: outcome.map_or(0, |outcome| outcome.gas_used),
            serial_ns: block.times.serial.wall_ns,
            parallel_ns: block.times.parallel.wall_ns,
            cachedb_ns: block.times.cachedb.wall_ns,
            serial_cpu_ns: block.times.serial.cpu_ns,
            parallel_cpu_ns: block.times.parallel.cpu_ns,
            recover_ns: 0,
            threads: metrics.map_or(asked.threads, |metrics| metrics.threads),
            strategy: metrics.map_or_else(|| asked.strategy_name(), |metrics| metrics.strategy.to_owned()),
            reason: metrics.map(|metrics| metrics.reason.clone()).unwrap_or_default(),
            executions: metrics.map_or(0, |metrics| metrics.executions),
            aborts: metrics.map_or(0, |metrics| metrics.aborts),
            max_in_flight: metrics.map_or(0, |metrics| metrics.max_in_flight),
            matches: block.difference.is_none(),
            mismatch: block.difference.clone(),
            error: error.map(error_text),
            error_tx: error.and_then(error_transaction),
        }
    }

    /// Adds what does not match what was recorded.
    pub fn add_mismatch(&mut self, mismatch: Option<String>) {
        let Some(mismatch) = mismatch else { return };
        self.matches = false;
        self.mismatch = Some(match self.mismatch.take() {
            Some(known) => format!("{known}; {mismatch}"),
            None => mismatch,
        });
    }

    /// Serial time over parallel time; `None` for blocks that were refused, are empty, or were not measured.
    #[must_use]
    pub fn speedup(&self) -> Option<f64> {
        let is_measured = self.error.is_none() && self.txs > 0 && self.serial_ns > 0 && self.parallel_ns > 0;
        is_measured.then(|| self.serial_ns as f64 / self.parallel_ns as f64)
    }
}

/// Why a block was refused; blocks behind a refused one carry its error.
fn error_text(error: &ExecutionError) -> String {
    let ExecutionError::Refused(mut error) = error.clone() else { return error.to_string() };
    while let BlockError::AncestorRefused { error: first, .. } = error {
        error = *first;
    }
    error.to_string()
}

fn error_transaction(error: &ExecutionError) -> Option<u64> {
    let ExecutionError::Refused(error) = error else { return None };
    error.transaction_index().map(|index| index as u64)
}
