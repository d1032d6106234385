//! What a machine consists of, as plain data.

use crate::{CoreId, CpuId, Devices, Limits, MachineSource, NumaId, PackageId};
use serde::Serialize;

/// A machine as found or described. Holds no hardware handle: two equal machines are planned alike anywhere.
///
/// Made by [`Machine::discover`], [`Machine::synthetic`] and [`Machine::from_xml`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// Where this description comes from.
    pub source: MachineSource,
    /// Whether threads may be pinned to it: true only for the machine this process runs on.
    pub bindable: bool,
    /// Sockets, in hwloc's order.
    pub packages: Vec<PackageId>,
    /// Memory nodes, in order of their number.
    pub numa_nodes: Vec<NumaNode>,
    /// Data and unified caches, in hwloc's order.
    pub caches: Vec<Cache>,
    /// Physical cores; a core's [`CoreId`] is its place here.
    pub cores: Vec<Core>,
    /// Memory of the whole machine, in bytes: `MemTotal` of `/proc/meminfo`, or the sum of a description's nodes.
    pub memory_bytes: u64,
    /// Accelerators and disks.
    pub devices: Devices,
    /// What this process is allowed of the machine.
    pub limits: Limits,
}

/// One NUMA node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NumaNode {
    /// The operating system's number.
    pub id: NumaId,
    /// Memory of this node in bytes; 0 for a node of CPUs only.
    pub memory_bytes: u64,
    /// Logical CPUs next to this memory; empty for a memory-only node.
    pub cpus: Vec<CpuId>,
}

/// One data or unified cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cache {
    /// 1 for L1, and so on.
    pub level: u32,
    /// Size in bytes; 0 where the machine does not say.
    pub size_bytes: u64,
    /// Cores behind this cache.
    pub cores: Vec<CoreId>,
}

/// One physical core.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Core {
    /// Its place in [`Machine::cores`].
    pub id: CoreId,
    /// The socket it sits in.
    pub package: PackageId,
    /// The node its memory comes from: the nearest one that has memory.
    pub numa: NumaId,
    /// Its SMT siblings, lowest first.
    pub cpus: Vec<CpuId>,
}

impl Machine {
    /// The same machine with other accelerators and disks, for described machines, which have none of their own.
    pub fn with_devices(mut self, devices: Devices) -> Self {
        self.devices = devices;
        self
    }

    /// The same machine seen through `limits`, which replace those it had. Cores draw memory from the nodes left.
    pub fn with_limits(mut self, limits: Limits) -> Self {
        for core in &mut self.cores {
            core.numa = Self::nearest_memory(&self.numa_nodes, &limits, &core.cpus).unwrap_or(core.numa);
        }
        self.limits = limits;
        self
    }

    /// Siblings of `core` this process may run on, lowest first.
    pub fn usable_cpus(&self, core: &Core) -> Vec<CpuId> {
        core.cpus.iter().copied().filter(|&cpu| self.limits.allows_cpu(cpu)).collect()
    }

    /// Cores with at least one usable sibling, in order.
    pub fn usable_cores(&self) -> impl Iterator<Item = &Core> {
        self.cores.iter().filter(|core| core.cpus.iter().any(|&cpu| self.limits.allows_cpu(cpu)))
    }

    /// How many cores this process may keep busy: the usable ones, capped by the CPU quota.
    pub fn usable_cores_count(&self) -> u32 {
        let usable = u32::try_from(self.usable_cores().count()).unwrap_or(u32::MAX);
        self.limits.cpu_quota_cores_count().map_or(usable, |quota| usable.min(quota))
    }

    /// Memory this process may use, in bytes: the machine's, or less where a cgroup or its memory nodes say so.
    pub fn usable_memory_bytes(&self) -> u64 {
        let mut usable = self.memory_bytes;
        if let Some(limit) = self.limits.memory_bytes {
            usable = usable.min(limit);
        }
        if self.limits.numa_nodes.is_some() {
            let nodes = self.numa_nodes.iter().filter(|node| self.limits.allows_numa(node.id));
            usable = usable.min(nodes.map(|node| node.memory_bytes).sum());
        }
        usable
    }

    /// The node `id`, if the machine has it.
    pub fn numa_node(&self, id: NumaId) -> Option<&NumaNode> {
        self.numa_nodes.iter().find(|node| node.id == id)
    }

    /// The node `cpus` draw memory from: the one with memory whose CPUs enclose them most tightly (the first of
    /// several: hwloc numbers ordinary memory before high-bandwidth memory), else the first with memory.
    pub(crate) fn nearest_memory(nodes: &[NumaNode], limits: &Limits, cpus: &[CpuId]) -> Option<NumaId> {
        let with_memory = || nodes.iter().filter(|node| node.memory_bytes > 0 && limits.allows_numa(node.id));
        with_memory()
            .filter(|node| cpus.iter().all(|cpu| node.cpus.contains(cpu)))
            .min_by_key(|node| node.cpus.len())
            .or_else(|| with_memory().next())
            .or_else(|| nodes.first())
            .map(|node| node.id)
    }
}
