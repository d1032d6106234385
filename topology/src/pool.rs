//! A rayon pool on the plan's cores, for work that is parallel by nature, such as sender recovery.

use crate::{PlacementReport, Plan, TopologyError, pin_current_thread};
use rayon::{ThreadPool, ThreadPoolBuilder};

/// A pool of one thread a worker slot, named `citius-data-<i>` and pinned as worker `i` is. Never the global pool,
/// which has its own idea of the machine.
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
    let slots = plan.workers.clone();
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
    pool.broadcast(|thread| PlacementReport::check(&plan.workers[thread.index()]))
}
