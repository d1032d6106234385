use super::{measure_args::MeasureArgs, output, progress::Progress};
use crate::{
    contest::{self, Contest},
    execution::{Case, Executor},
    report::Asked,
};
use anyhow::{Context, Result};
use citius_engine::StrategyChoice;
use citius_topology::{
    Check, MachineSource, PlacementReport, Plan, ProfileSource, data_parallel_pool, resolve,
};

/// The machine made ready to measure: plan, workers, and a pool for what is parallel by nature.
pub(super) struct Bench {
    pub(super) plan: Plan,
    pub(super) executor: Executor,
    pub(super) data_pool: rayon::ThreadPool,
    strategy: StrategyChoice,
    pub(super) repeat: usize,
}

impl Bench {
    /// Checks where the report goes, resolves the plan and prints it, starts all threads, and pins this one.
    pub(super) fn start(args: &MeasureArgs) -> Result<Self> {
        if let Some(path) = &args.json {
            output::check_writable(path)?;
        }
        let profile = ProfileSource::from_argument(args.profile.as_deref());
        let report = resolve(MachineSource::ThisMachine, profile).context("cannot plan this machine")?;
        let plan = match args.threads {
            Some(threads) => report.plan.with_threads(threads.get()),
            None => report.plan,
        };
        output::print(&summary(&plan))?;
        // Before this thread is pinned: new threads inherit its place.
        let data_pool = data_parallel_pool(&plan).context("cannot start the pool for sender recovery")?;
        let executor = Executor::new(&plan).context("cannot start the workers")?;
        let mut placements = executor.placements();
        placements.extend(executor.pin_caller());
        output::print(&placement_summary(&placements))?;
        Ok(Self { plan, executor, data_pool, strategy: args.strategy, repeat: args.repeat.get() })
    }

    /// What the reader of an entry wants to know of a block that was refused.
    pub(super) fn asked(&self) -> Asked {
        Asked { threads: self.plan.workers.len(), strategy: self.strategy }
    }

    /// Measures a case.
    pub(super) fn contest(&self, case: &Case, progress: &Progress) -> Contest {
        contest::run(&self.executor, case, self.strategy, self.repeat, || progress.step())
    }
}

/// Whether the threads are where the plan says, and their memory too: what was verified, and why the rest was not.
fn placement_summary(placements: &[PlacementReport]) -> String {
    let describe = |what: &str, checks: Vec<&Check>| {
        let verified = checks.iter().filter(|check| matches!(check, Check::Verified)).count();
        let other = checks.iter().find_map(|check| match check {
            Check::Verified => None,
            Check::Skipped { reason } => Some(format!("; skipped: {reason}")),
            Check::Wrong { expected, found } => Some(format!("; WRONG: {found} instead of {expected}")),
        });
        format!("{what} verified for {verified} of {} threads{}", checks.len(), other.unwrap_or_default())
    };
    if placements.is_empty() {
        return "placement not checked: this plan pins no thread\n\n".into();
    }
    let cores = describe("core", placements.iter().map(|report| &report.core).collect());
    let pages = describe("memory", placements.iter().map(|report| &report.pages).collect());
    format!("{cores}; {pages}\n\n")
}

/// The plan in short: profile, why, and each worker's core.
fn summary(plan: &Plan) -> String {
    let cores: Vec<String> = plan.workers.iter().map(|slot| slot.lane.core.to_string()).collect();
    let shared = plan.workers.iter().filter(|slot| slot.shared).count();
    let shared = if shared > 0 { format!(", {shared} of them on shared cores") } else { String::new() };
    format!(
        "profile {} ({})\n{} threads{shared}; cores by worker: {}\n",
        plan.profile.name,
        plan.profile.reason,
        cores.len(),
        cores.join(" "),
    )
}
