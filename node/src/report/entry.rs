use super::{ColdReads, RootEntry};
use crate::{contest::BlockContest, execution::Case, limits::Limits};
use citius_engine::{BlockError, BlockMetrics, ExecutionError};
use serde::Serialize;

/// Gas and transactions from which on a block's work, not its overhead, makes its time.
pub(super) const LARGE_GAS_MIN: u64 = 4_000_000;
pub(super) const LARGE_TXS_MIN: u64 = 30;

/// One block's line in a report. Times are nanoseconds: medians of interleaved runs, from decoded transactions with
/// known senders to finished receipts, bloom and merged change set.
#[derive(Debug, Clone, PartialEq, Serialize)]
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
    /// CPU time of the `Serial` run, all threads. In a stream it is read when a block's outcome is taken, not when the
    /// block was committed, and what the threads did ahead for later blocks counts: only the stream's own is exact.
    pub serial_cpu_ns: u64,
    /// CPU time of the parallel run, all threads; in a stream as `serial_cpu_ns`.
    pub parallel_cpu_ns: u64,
    /// The state root.
    #[serde(flatten)]
    pub roots: RootEntry,
    /// Thread time of executions in the parallel run, all threads together, of single runs between the timed ones. It is
    /// wall time: whoever waits for a core counts.
    pub execute_ns: u64,
    /// The part of `execute_ns` whose result was thrown away.
    pub repeated_ns: u64,
    /// Thread time of putting writes in place, validation, commits and the seal, as `execute_ns`.
    pub commit_ns: u64,
    /// Wall time of the recovery of all senders, the median of several; 0 where transactions carry no signature.
    pub recover_ns: u64,
    /// Threads that were allowed to work, the caller included.
    pub threads: usize,
    /// The strategy that ran, `none` behind a refused block of the same stream.
    pub strategy: String,
    /// Why that strategy was chosen, or why none ran.
    pub reason: String,
    /// Executions begun.
    pub executions: u64,
    /// Executions whose result was thrown away.
    pub aborts: u64,
    /// Most transactions that were started and not yet committed at one time.
    pub max_in_flight: u64,
    /// What cold reads made executions do.
    #[serde(flatten)]
    pub cold_reads: ColdReads,
    /// Whether the parallel result is the serial one, and the recorded one where there is one.
    pub matches: bool,
    /// What does not match, in words.
    pub mismatch: Option<String>,
    /// How plain revm over a `CacheDB` did other work than the engine, in words; `cachedb_ns` is then no measure.
    pub cachedb_note: Option<String>,
    /// What the record contradicts itself in, in words.
    pub record_note: Option<String>,
    /// Why the block was refused.
    pub error: Option<String>,
    /// The index of the transaction at fault, from 0.
    pub error_tx: Option<u64>,
    /// What perfect scheduling would make of the block, if that was asked for and the block was executed.
    pub limits: Option<Limits>,
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

impl Entry {
    /// The entry of block `index` of a case, which had so many threads.
    #[must_use]
    pub fn new(dir: String, case: &Case, index: usize, block: &BlockContest, threads: usize) -> Self {
        let header = &case.blocks[index].header;
        let error = block.parallel.as_ref().err();
        let metrics = match error {
            Some(ExecutionError::Refused(BlockError::AncestorRefused { number, .. })) => {
                not_executed(*number)
            }
            _ => block.metrics.clone(),
        };
        Self {
            dir,
            workload: None,
            number: header.number,
            txs: case.blocks[index].transactions.len() as u64,
            gas: block.parallel.as_ref().map_or(0, |outcome| outcome.gas_used),
            serial_ns: block.times.serial.wall_ns,
            parallel_ns: block.times.parallel.wall_ns,
            cachedb_ns: block.times.cachedb.wall_ns,
            serial_cpu_ns: block.times.serial.cpu_ns,
            parallel_cpu_ns: block.times.parallel.cpu_ns,
            roots: RootEntry::new(block.root.as_ref(), &block.times, threads),
            execute_ns: block.thread_times.execute_ns,
            repeated_ns: block.thread_times.repeated_ns,
            commit_ns: block.thread_times.commit_ns,
            recover_ns: 0,
            cold_reads: ColdReads::of(&metrics),
            threads: metrics.threads,
            strategy: metrics.strategy.to_owned(),
            reason: metrics.reason,
            executions: metrics.executions,
            aborts: metrics.aborts,
            max_in_flight: metrics.max_in_flight,
            matches: block.difference.is_none(),
            mismatch: block.difference.clone(),
            cachedb_note: block.cachedb_note.clone(),
            record_note: None,
            error: error.map(error_text),
            error_tx: error.and_then(error_transaction),
            limits: block.limits,
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

    /// Whether the block was executed to its end, so that its times are those of its transactions.
    #[must_use]
    pub fn is_executed(&self) -> bool {
        self.error.is_none()
    }

    /// Whether the block's work, not its overhead, makes its time: at least 4 Mgas and 30 transactions.
    #[must_use]
    pub fn is_large(&self) -> bool {
        self.gas >= LARGE_GAS_MIN && self.txs >= LARGE_TXS_MIN
    }

    /// Serial time over parallel time; `None` for blocks that were refused, are empty, or were not measured.
    #[must_use]
    pub fn speedup(&self) -> Option<f64> {
        let is_measured = self.is_executed() && self.txs > 0 && self.serial_ns > 0 && self.parallel_ns > 0;
        is_measured.then(|| self.serial_ns as f64 / self.parallel_ns as f64)
    }
}

/// The metrics of a block behind a refused one: what was done ahead for it is not told apart.
fn not_executed(refused: u64) -> BlockMetrics {
    BlockMetrics {
        strategy: "none",
        reason: format!("not executed: block {refused} before it was refused"),
        ..BlockMetrics::default()
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

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A block of one transfer.
    pub(in super::super) fn entry(dir: &str, serial_ns: u64, parallel_ns: u64, cachedb_ns: u64) -> Entry {
        Entry {
            dir: dir.to_owned(),
            workload: None,
            number: 1,
            txs: 1,
            gas: 21_000,
            serial_ns,
            parallel_ns,
            cachedb_ns,
            serial_cpu_ns: 0,
            parallel_cpu_ns: 0,
            roots: RootEntry::default(),
            execute_ns: 0,
            repeated_ns: 0,
            commit_ns: 0,
            recover_ns: 0,
            threads: 2,
            strategy: "optimistic".to_owned(),
            reason: String::new(),
            executions: 1,
            aborts: 0,
            max_in_flight: 1,
            cold_reads: ColdReads::default(),
            matches: true,
            mismatch: None,
            cachedb_note: None,
            record_note: None,
            error: None,
            error_tx: None,
            limits: None,
        }
    }

    #[test]
    fn mismatches_add_up() {
        let mut entry = entry("a", 1, 1, 1);
        entry.add_mismatch(None);
        assert!(entry.matches);
        entry.add_mismatch(Some("gas".to_owned()));
        entry.add_mismatch(Some("bloom".to_owned()));
        assert_eq!((entry.matches, entry.mismatch.as_deref()), (false, Some("gas; bloom")));
    }
}
