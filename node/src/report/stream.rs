use super::WorkloadLabel;
use serde::Serialize;

/// Several consecutive blocks that ran as one stream. Times are nanoseconds: medians of the whole stream's runs.
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
}
