//! A rayon pool on the plan's cores, for work that is parallel by nature, such as sender recovery.

use crate::{PlacementReport, Plan, TopologyError, WorkerSlot, pin_current_thread};
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::collections::HashSet;

/// A pool of one thread for every core that the plan's workers have, named `citius-data-<i>` and pinned. Never the
/// global pool, which has its own idea of the machine. Workers that share a core share a thread here: more would only
/// steal from each other.
///
/// Workers and pool share cores, so that one should rest while the other runs: senders are recovered before
/// execution. Where the system refuses pinning, threads run unpinned; [`pool_placement`] tells.
///
/// # Errors
///
/// [`TopologyError::NotBindable`] for a plan of a described machine, [`TopologyError::Pool`] if threads cannot be
/// started.
pub fn data_parallel_pool(plan: &Plan) -> Result<ThreadPool, TopologyError> {
    if !plan.bindable {
        return Err(TopologyError::NotBindable { cpu: plan.workers[0].lane.cpu });
    }
    let slots = slots(plan);
    let threads_count = slots.len();
    ThreadPoolBuilder::new()
        .num_threads(threads_count)
        .thread_name(|i| format!("citius-data-{i}"))
        .start_handler(move |i| {
            // Refused pinning costs speed alone, and `pool_placement` reports it.
            let _ = pin_current_thread(&slots[i]);
        })
        .build()
        .map_err(|error| TopologyError::Pool { threads_count, reason: error.to_string() })
}

/// Where the threads of a [`data_parallel_pool`] of `plan` are, thread by thread. Waits for running work.
pub fn pool_placement(pool: &ThreadPool, plan: &Plan) -> Vec<PlacementReport> {
    let slots = slots(plan);
    pool.broadcast(|thread| PlacementReport::check(&slots[thread.index()]))
}

/// The first worker's slot on each core.
fn slots(plan: &Plan) -> Vec<WorkerSlot> {
    let mut cpus = HashSet::new();
    plan.workers.iter().filter(|slot| cpus.insert(slot.lane.cpu)).cloned().collect()
}
