use super::{measure_args::RunArgs, output, progress::Progress};
use crate::{
    configs::ssmt_config,
    contest::{self, Contest, ContestSettings},
    execution::{Case, Executor},
    hashing::{device_hasher, tell_of_devices},
    recorded::Witness,
    roots::StateTrie,
    roots_contest::RootSettings,
};
use anyhow::{Context, Result};
use citius_engine::StrategyChoice;
use citius_state::{MemoryState, ssmt::SsmtError};
use citius_topology::{
    Check, MachineSource, PlacementReport, Plan, ProfileSource, cpu_list, data_parallel_pool, pool_placement,
    resolve,
};
use serde::Serialize;
use std::{cell::Cell, collections::BTreeMap};

/// The machine made ready to measure: plan, workers, and a pool for what is parallel by nature.
pub(super) struct Bench {
    pub(super) plan: Plan,
    pub(super) placement: Placement,
    pub(super) executor: Executor,
    pub(super) data_pool: rayon::ThreadPool,
    strategy: StrategyChoice,
    pub(super) repeat: usize,
    contests: Cell<usize>,
}

/// Where the threads found themselves, thread by thread.
#[derive(Debug, Serialize)]
pub(super) struct Placement {
    /// Those that execute, the caller last; none if the plan pins none.
    workers: Vec<PlacementReport>,
    /// Those that recover senders.
    data_pool: Vec<PlacementReport>,
}

impl Bench {
    /// Resolves the plan and prints it, starts all threads, and pins this one.
    pub(super) fn start(args: &RunArgs, repeat: usize) -> Result<Self> {
        let profile = ProfileSource::from_argument(args.profile.as_deref());
        let report = resolve(MachineSource::ThisMachine, profile).context("cannot plan this machine")?;
        let plan = match args.threads {
            Some(threads) => report.plan.with_threads(threads),
            None => report.plan,
        };
        output::print(&summary(&plan))?;
        // Before this thread is pinned: new threads inherit its place.
        let data_pool = data_parallel_pool(&plan).context("cannot start the pool for sender recovery")?;
        // Before the workers start: by the time of the first measurement the pool sleeps again.
        let data_pool_placement = pool_placement(&data_pool, &plan);
        // Before too: hosts of devices run where this thread may.
        let hasher = device_hasher(args.devices.settings(&plan)).context("cannot choose what hashes")?;
        let executor = Executor::new(&plan).context("cannot start the workers")?.with_hasher(hasher);
        let mut workers = executor.placements();
        workers.extend(executor.pin_caller());
        let placement = Placement { workers, data_pool: data_pool_placement };
        output::print(&placement.summary())?;
        let strategy = args.strategy;
        Ok(Self { plan, placement, executor, data_pool, strategy, repeat, contests: Cell::new(0) })
    }

    /// Threads that work during a block.
    pub(super) fn threads(&self) -> usize {
        self.executor.workers().count().get()
    }

    /// Tells what devices hashed, where there are any.
    pub(super) fn tell_of_devices(&self) {
        tell_of_devices(&self.executor.hasher());
    }

    /// The trie of what a state lists, on the workers.
    pub(super) fn listed_trie(&self, state: &MemoryState) -> Result<StateTrie, SsmtError> {
        StateTrie::listed(state, ssmt_config(&self.plan), self.executor.hasher(), self.executor.workers())
    }

    /// The trie that a witness holds, on the workers.
    pub(super) fn witnessed_trie(&self, witness: &Witness) -> Result<StateTrie, SsmtError> {
        StateTrie::witnessed(
            witness,
            ssmt_config(&self.plan),
            self.executor.hasher(),
            self.executor.workers(),
        )
    }

    /// Measures a case; `finds_limits` says whether what limits its blocks is found too,
    /// `roots` which state roots are.
    pub(super) fn contest(
        &self,
        case: &Case,
        finds_limits: bool,
        roots: Option<RootSettings<'_>>,
        progress: &Progress,
    ) -> Contest {
        let index = self.contests.replace(self.contests.get() + 1);
        let Self { strategy, repeat, .. } = *self;
        let settings = ContestSettings { strategy, repeat, index, finds_limits, roots };
        contest::run(&self.executor, case, settings, || progress.step())
    }
}

impl Placement {
    /// Whether the threads are where the plan says, and their memory too: what was verified, and why the rest was not.
    fn summary(&self) -> String {
        let [workers, data_pool] = [&self.workers, &self.data_pool].map(|reports| placement_summary(reports));
        format!("workers: {workers}\nsender recovery: {data_pool}\n\n")
    }
}

fn placement_summary(placements: &[PlacementReport]) -> String {
    if placements.is_empty() {
        return "placement not checked, since this plan pins no thread".into();
    }
    let cores = check_summary("core", placements.iter().map(|report| &report.core));
    let pages = check_summary("memory", placements.iter().map(|report| &report.pages));
    format!("{cores}; {pages}")
}

/// How many threads passed a check, then everything else that it found, what is wrong first.
fn check_summary<'a>(what: &str, checks: impl ExactSizeIterator<Item = &'a Check>) -> String {
    let threads = checks.len();
    let (mut verified, mut wrong, mut skipped) = (0, BTreeMap::new(), BTreeMap::new());
    for check in checks {
        match check {
            Check::Verified => verified += 1,
            Check::Wrong { expected, found } => *wrong.entry((expected, found)).or_insert(0) += 1,
            Check::Skipped { reason } => *skipped.entry(reason).or_insert(0) += 1,
        }
    }
    let wrong = wrong
        .into_iter()
        .map(|((expected, found), count)| format!(", WRONG for {count} ({found} instead of {expected})"));
    let skipped = skipped.into_iter().map(|(reason, count)| format!(", skipped for {count} ({reason})"));
    let others: String = wrong.chain(skipped).collect();
    format!("{what} verified for {verified} of {threads} threads{others}")
}

/// The plan in short: profile, why, and the workers' cores.
fn summary(plan: &Plan) -> String {
    let threads = plan.workers.len();
    let shared = plan.workers.iter().filter(|slot| slot.shared).count();
    let shared = if shared > 0 { format!(", {shared} of them on shared cores") } else { String::new() };
    format!(
        "profile {} ({})\n{threads} threads{shared}; cores: {}\n",
        plan.profile.name,
        plan.profile.reason,
        core_list(plan),
    )
}

/// The workers' cores as ranges, those with most workers first.
fn core_list(plan: &Plan) -> String {
    let mut workers_on: BTreeMap<u32, usize> = BTreeMap::new();
    for slot in &plan.workers {
        *workers_on.entry(slot.lane.core.0).or_default() += 1;
    }
    let mut cores_with: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
    for (core, workers) in workers_on {
        cores_with.entry(workers).or_default().push(core);
    }
    let parts = cores_with.into_iter().rev().map(|(workers, cores)| {
        let cores = cpu_list::format(cores);
        if workers == 1 { cores } else { format!("{cores} with {workers} threads each") }
    });
    parts.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_never_hidden_by_what_was_skipped() {
        let skipped = |reason: &str| Check::Skipped { reason: reason.into() };
        let wrong = || Check::Wrong { expected: "CPU 1".into(), found: "CPU 3".into() };
        let checks =
            [skipped("no mask"), Check::Verified, wrong(), skipped("no mask"), skipped("a container")];
        assert_eq!(
            check_summary("core", checks.iter()),
            "core verified for 1 of 5 threads, WRONG for 1 (CPU 3 instead of CPU 1), skipped for 1 (a container), \
             skipped for 2 (no mask)"
        );
        assert_eq!(check_summary("core", [Check::Verified].iter()), "core verified for 1 of 1 threads");
    }

    #[test]
    fn cores_are_listed_as_ranges_however_many_threads_there_are() {
        let machine = MachineSource::Synthetic("pack:1 [numa(memory=8GiB)] core:4 pu:1".into());
        let profile = ProfileSource::Shipped("commodity-pc".into());
        let plan = resolve(machine, profile).unwrap().plan;
        assert_eq!(core_list(&plan.with_threads(4)), "0-3");
        assert_eq!(core_list(&plan.with_threads(1024)), "0-3 with 256 threads each");
        let uneven = core_list(&plan.with_threads(6));
        assert_eq!(uneven, "0-1 with 2 threads each; 2-3");
    }
}
