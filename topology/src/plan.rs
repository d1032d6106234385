//! Who runs where: plain data that every other room obeys.

use crate::{
    CoreId, Lane, NumaId, RoleSlots, WorkerIndex, WorkerSlot,
    profile::{FpgaProgram, IoBackend},
};
use serde::Serialize;
use std::collections::HashMap;

/// The resolved use of a machine. Made by [`plan`](crate::plan()); holds no hardware handle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The profile it follows.
    pub profile: ProfileChoice,
    /// Whether threads may be pinned by it: only a plan of the machine this process runs on.
    pub bindable: bool,
    /// One slot a worker, in order of [`WorkerIndex`].
    pub workers: Vec<WorkerSlot>,
    /// Where disk and network completions are handled.
    pub io: RoleSlots,
    /// Where state is hashed beside execution.
    pub hashing: RoleSlots,
    /// Where RPC, metrics and checkpoints run.
    pub service: RoleSlots,
    /// Lanes in the order in which workers take them; see [`Plan::with_threads`].
    pub worker_lanes: Vec<Lane>,
    /// How the memory budget is split: over the nodes that planned cores draw from, and over others only what these
    /// cannot hold.
    pub numa: Vec<NumaShare>,
    /// NUMA nodes with memory in the machine.
    pub memory_nodes_count: u32,
    /// Memory Citius may hold, in bytes.
    pub memory_budget_bytes: u64,
    /// What it is for.
    pub memory_parts: MemoryParts,
    /// Disk the store may fill, in bytes; `None` where nothing bounds it but its file system.
    pub ssd_capacity_bytes: Option<u64>,
    /// What the store takes of it, and how it asks it.
    pub storage: StoragePlan,
    /// How far back can be gone.
    pub history: HistoryPlan,
    /// How much workers may have under way.
    pub execution: ExecutionPlan,
    /// GPUs to hash on.
    pub gpus_count: u32,
    /// FPGA cards to hash on.
    pub fpgas_count: u32,
    /// The kernel precompiled for these cards, and its manifest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fpga_program: Option<FpgaProgram>,
    /// What an operator should know about this plan.
    pub notes: Vec<String>,
}

/// A profile's name and why it applies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProfileChoice {
    /// The profile's name.
    pub name: String,
    /// Why it was chosen.
    pub reason: String,
}

/// A node's part of the memory budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct NumaShare {
    /// The node.
    pub numa: NumaId,
    /// Its part, in bytes.
    pub memory_budget_bytes: u64,
}

/// What the memory budget is for; the parts add up to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MemoryParts {
    /// Nodes of the state trie, in bytes.
    pub trie_nodes_bytes_max: u64,
    /// Values that readers find without the trie, in bytes.
    pub flat_cache_bytes: u64,
    /// Pages of the disk, in bytes.
    pub page_cache_bytes: u64,
    /// Everything else: blocks in flight, what versions keep to be undone, code, stacks of parked executions, buffers.
    pub rest_bytes: u64,
}

/// What a store takes of its disk, and how it asks it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct StoragePlan {
    /// Pages, in bytes.
    pub page_bytes_max: u64,
    /// The journal, in bytes: three of its files at least.
    pub journal_bytes_max: u64,
    /// One of the journal's files, in bytes.
    pub segment_bytes: u64,
    /// How the disk is asked.
    pub io_backend: IoBackend,
    /// Operations that each queue has in flight at most; a worker has one.
    pub io_queue_depth: u32,
    /// Whether a thread of the kernel takes submissions.
    pub io_sqpoll: bool,
}

/// How far back can be gone, in blocks before the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct HistoryPlan {
    /// Versions of the state that are kept in memory.
    pub reorg_depth_blocks: u32,
    /// Blocks that checkpoints leave in the journal; never fewer.
    pub retention_blocks: u32,
}

/// What a worker may have under way where reads go to a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ExecutionPlan {
    /// Executions parked; 0 for no parking.
    pub parked_per_worker_max: u32,
    /// Reads in flight with which no further execution begins.
    pub reads_per_worker_max: u32,
    /// Entries whose likely reads are asked for ahead.
    pub prefetch_entries_max: u32,
}

impl Plan {
    /// The same plan with `threads_count` workers (0 counts as 1); never refused.
    ///
    /// Workers take lanes in one fixed order, so that fewer workers are a prefix of more: the workers' own cores,
    /// filling one NUMA node before the next so that few workers share caches; then cores no role has; then those
    /// of hashing, I/O and service, which become shared (asking for that many threads says so); then the second
    /// and further SMT siblings in the same order. Beyond that, workers share lanes round-robin.
    pub fn with_threads(&self, threads_count: usize) -> Self {
        let mut plan = self.clone();
        plan.workers = plan
            .worker_lanes
            .iter()
            .cycle()
            .take(threads_count.max(1))
            .zip(0_u32..)
            .map(|(&lane, worker)| WorkerSlot {
                worker: WorkerIndex(worker),
                lane,
                shared: false,
                memory_nodes_count: self.memory_nodes_count,
                bindable: self.bindable,
            })
            .collect();
        plan.mark_shared();
        plan
    }

    /// How many workers take memory from `node`.
    pub fn workers_on(&self, node: NumaId) -> usize {
        self.workers.iter().filter(|slot| slot.lane.numa == node).count()
    }

    /// What `core` is used for: `worker 3`, `io`, `hashing`, `service`; empty for an unused core.
    pub fn roles_of(&self, core: CoreId) -> Vec<String> {
        let workers = self.workers.iter().filter(|slot| slot.lane.core == core);
        let mut roles: Vec<String> = workers.map(|slot| format!("worker {}", slot.worker)).collect();
        for (name, role) in self.roles() {
            if role.lanes.iter().any(|lane| lane.core == core) {
                roles.push(name.to_owned());
            }
        }
        roles
    }

    /// The roles beside the workers, by name.
    pub fn roles(&self) -> [(&'static str, &RoleSlots); 3] {
        [("io", &self.io), ("hashing", &self.hashing), ("service", &self.service)]
    }

    /// Sets every `shared` from who is on which physical core.
    pub(crate) fn mark_shared(&mut self) {
        let mut uses: HashMap<CoreId, u32> = HashMap::new();
        for slot in &self.workers {
            *uses.entry(slot.lane.core).or_default() += 1;
        }
        for (_, role) in self.roles() {
            for lane in &role.lanes {
                *uses.entry(lane.core).or_default() += 1;
            }
        }
        let is_shared = |lane: &Lane| uses[&lane.core] > 1;
        for slot in &mut self.workers {
            slot.shared = is_shared(&slot.lane);
        }
        for role in [&mut self.io, &mut self.hashing, &mut self.service] {
            role.shared = role.lanes.iter().any(is_shared);
        }
    }
}
