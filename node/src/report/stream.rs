use super::WorkloadLabel;
use crate::contest::ContestTimes;
use serde::Serialize;

/// Consecutive blocks that ran as one stream. Times are nanoseconds: medians of the whole stream's runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StreamEntry {
    /// The workload that the stream belongs to.
    #[serde(flatten)]
    pub workload: Option<WorkloadLabel>,
    /// The names of its blocks, in order.
    pub dirs: Vec<String>,
    /// Wall time of the engine's `Serial` strategy.
    pub serial_ns: u64,
    /// Wall time of the strategy asked for.
    pub parallel_ns: u64,
    /// Wall time of plain revm over a `CacheDB`.
    pub cachedb_ns: u64,
    /// CPU time of the `Serial` run, all threads.
    pub serial_cpu_ns: u64,
    /// CPU time of the parallel run, all threads.
    pub parallel_cpu_ns: u64,
}

impl StreamEntry {
    /// The entry of a stream of these blocks.
    #[must_use]
    pub fn new(workload: Option<WorkloadLabel>, dirs: Vec<String>, times: &ContestTimes) -> Self {
        Self {
            workload,
            dirs,
            serial_ns: times.serial.wall_ns,
            parallel_ns: times.parallel.wall_ns,
            cachedb_ns: times.cachedb.wall_ns,
            serial_cpu_ns: times.serial.cpu_ns,
            parallel_cpu_ns: times.parallel.cpu_ns,
        }
    }
}
