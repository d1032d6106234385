//! What a process is allowed of its machine.

use crate::{CpuId, NumaId, cgroup::CgroupLimits};
use serde::Serialize;
use std::path::Path;

/// Affinity and cgroup limits; `None` and the default mean unlimited.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// CPUs allowed by the scheduler's mask and the cgroup's cpuset together.
    pub cpus: Option<Vec<CpuId>>,
    /// Memory nodes allowed by the cgroup's cpuset.
    pub numa_nodes: Option<Vec<NumaId>>,
    /// CPU time per wall-clock time in thousandths of a core, from the cgroup's CPU quota.
    pub cpu_quota_millicores: Option<u64>,
    /// Memory limit of the cgroup, in bytes.
    pub memory_bytes: Option<u64>,
}

impl Limits {
    /// Limits of the calling thread.
    ///
    /// Call it before any pinning: the mask of a pinned thread holds its one CPU, and so would the machine.
    pub fn of_this_thread() -> Self {
        let affinity = core_affinity::get_core_ids().map(|ids| {
            ids.into_iter().map(|id| CpuId(u32::try_from(id.id).expect("CPU numbers fit u32"))).collect()
        });
        Self::combine(affinity, CgroupLimits::read(Path::new("/")))
    }

    /// The tighter of an affinity mask and a cgroup's limits in every respect.
    pub fn combine(affinity: Option<Vec<CpuId>>, cgroup: CgroupLimits) -> Self {
        let cpus = match (affinity, cgroup.cpus) {
            (Some(mask), Some(set)) => Some(mask.into_iter().filter(|cpu| set.contains(cpu)).collect()),
            (one, other) => one.or(other),
        };
        Self {
            cpus,
            numa_nodes: cgroup.numa_nodes,
            cpu_quota_millicores: cgroup.cpu_quota_millicores,
            memory_bytes: cgroup.memory_bytes,
        }
    }

    /// Whether threads may run on `cpu`.
    pub fn allows_cpu(&self, cpu: CpuId) -> bool {
        self.cpus.as_ref().is_none_or(|cpus| cpus.contains(&cpu))
    }

    /// Whether memory may come from `node`.
    pub fn allows_numa(&self, node: NumaId) -> bool {
        self.numa_nodes.as_ref().is_none_or(|nodes| nodes.contains(&node))
    }

    /// Whole cores the quota pays for, at least one. Rounded down: a worker that the quota stops in mid-block
    /// stalls all that wait for its transaction.
    pub fn cpu_quota_cores_count(&self) -> Option<u32> {
        let quota = self.cpu_quota_millicores?;
        Some(u32::try_from(quota / 1000).unwrap_or(u32::MAX).max(1))
    }
}
