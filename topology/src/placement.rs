//! Checks that a running worker is where its plan says.

use crate::{CpuId, WorkerIndex, WorkerSlot, cpu_list, pin_current_thread, sys};
use serde::Serialize;

/// Where a worker was found. Wrong or unknown placement costs speed, never correctness, so it is reported and
/// not an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlacementReport {
    /// Which worker.
    pub worker: WorkerIndex,
    /// Whether it is pinned to, and runs on, its CPU.
    pub core: Check,
    /// Whether a page it touched just now came from its NUMA node.
    pub pages: Check,
}

/// The outcome of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Check {
    /// As planned.
    Verified,
    /// Nothing to check, or the system does not tell.
    Skipped {
        /// Why.
        reason: String,
    },
    /// Not as planned.
    Wrong {
        /// What the plan says.
        expected: String,
        /// What was found.
        found: String,
    },
}

impl PlacementReport {
    /// Pins the calling thread as [`pin_current_thread`] does, then checks. A refused pinning is reported as a
    /// skipped core.
    pub fn take(slot: &WorkerSlot) -> Self {
        let refused = pin_current_thread(slot).err();
        let mut report = Self::check(slot);
        if let Some(error) = refused {
            report.core = Check::Skipped { reason: with_causes(&error) };
        }
        report
    }

    /// Looks where the calling thread, worker `slot`, may run, runs, and gets a fresh page from.
    pub fn check(slot: &WorkerSlot) -> Self {
        let worker = slot.worker;
        if !slot.bindable {
            let skipped = || Check::Skipped { reason: "planned for another machine than this one".into() };
            return Self { worker, core: skipped(), pages: skipped() };
        }
        Self { worker, core: check_core(slot), pages: check_pages(slot) }
    }

    /// Whether a check found something other than planned.
    pub fn is_wrong(&self) -> bool {
        [&self.core, &self.pages].into_iter().any(|check| matches!(check, Check::Wrong { .. }))
    }
}

fn check_core(slot: &WorkerSlot) -> Check {
    let Some(allowed) = core_affinity::get_core_ids() else {
        return Check::Skipped { reason: "the system does not tell the thread's CPU mask".into() };
    };
    let allowed: Vec<u32> = allowed.into_iter().filter_map(|id| u32::try_from(id.id).ok()).collect();
    match sys::current_cpu() {
        Ok(now) => judge_core(slot.lane.cpu, &allowed, now),
        Err(error) => {
            Check::Skipped { reason: format!("the system does not tell the thread's CPU: {error}") }
        }
    }
}

fn judge_core(planned: CpuId, allowed: &[u32], now: CpuId) -> Check {
    if allowed == [planned.0] && now == planned {
        return Check::Verified;
    }
    let mask = cpu_list::format(allowed.iter().copied());
    Check::Wrong { expected: format!("CPU {planned}"), found: format!("CPU {now}, free to run on {mask}") }
}

fn check_pages(slot: &WorkerSlot) -> Check {
    if slot.memory_nodes_count < 2 {
        return Check::Skipped { reason: "all memory is on one NUMA node".into() };
    }
    match sys::fresh_page_node() {
        Ok(node) if node == slot.lane.numa => Check::Verified,
        Ok(node) => Check::Wrong {
            expected: format!("NUMA node {}", slot.lane.numa),
            found: format!("NUMA node {node}"),
        },
        Err(error) => Check::Skipped { reason: format!("the system does not tell where pages are: {error}") },
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_on_its_cpu_that_could_leave_is_misplaced() {
        assert_eq!(judge_core(CpuId(2), &[2], CpuId(2)), Check::Verified);
        let Check::Wrong { expected, found } = judge_core(CpuId(2), &[0, 1, 2, 3], CpuId(2)) else {
            panic!()
        };
        assert_eq!((expected.as_str(), found.as_str()), ("CPU 2", "CPU 2, free to run on 0-3"));
    }
}
