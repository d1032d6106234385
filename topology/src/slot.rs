//! Places of a machine given to threads.

use crate::{CoreId, CpuId, NumaId, PackageId, WorkerIndex};
use serde::Serialize;

/// One logical CPU with where it sits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Lane {
    /// What a thread is pinned to.
    pub cpu: CpuId,
    /// The physical core of `cpu`.
    pub core: CoreId,
    /// The socket of `core`.
    pub package: PackageId,
    /// The NUMA node a thread here takes memory from.
    pub numa: NumaId,
}

/// Where one worker runs and where its memory comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WorkerSlot {
    /// Which worker.
    pub worker: WorkerIndex,
    /// Its CPU.
    pub lane: Lane,
    /// Whether another worker or another role has the same physical core.
    pub shared: bool,
    /// NUMA nodes with memory in the machine: with one, pages cannot be misplaced.
    pub memory_nodes_count: u32,
    /// Whether the lane is of the machine this process runs on.
    pub bindable: bool,
}

/// CPUs of a role beside the workers: its threads may run on any of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RoleSlots {
    /// Where the role runs, never empty.
    pub lanes: Vec<Lane>,
    /// Whether a worker or another role runs on the same cores.
    pub shared: bool,
    /// Whether the lanes are of the machine this process runs on.
    pub bindable: bool,
}

impl RoleSlots {
    /// The CPUs of the role.
    pub fn cpus(&self) -> Vec<CpuId> {
        self.lanes.iter().map(|lane| lane.cpu).collect()
    }
}
