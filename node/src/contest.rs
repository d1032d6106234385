//! Serial, parallel and `CacheDB` runs of one case, interleaved, and whether the first two agree.

use crate::{
    baseline::{Baseline, BaselineError, BaselineOutcome},
    clock::{self, Sample},
    compare::{self, Brief, Verdict},
    execution::{Case, Executed, Executor, Runner},
    limits::Limits,
    roots_contest::{RootContest, RootRace, RootSettings},
};
use citius_engine::{BlockMetrics, PhaseTimes, StrategyChoice};
use std::time::Duration;

/// What a contest found about one case.
#[derive(Debug)]
pub struct Contest {
    /// Each block's findings, in order.
    pub blocks: Vec<BlockContest>,
    /// Times of the whole case: medians of the runs' sums.
    pub whole: ContestTimes,
}

/// What a contest found about one block.
#[derive(Debug)]
pub struct BlockContest {
    /// The serial verdict: the reference.
    pub serial: Verdict,
    /// The parallel verdict; the one that differs, if one did.
    pub parallel: Verdict,
    /// What ran for the parallel verdict.
    pub metrics: BlockMetrics,
    /// The first difference between the two, or of a timed run, in words.
    pub difference: Option<String>,
    /// How plain revm over a `CacheDB` differs in short: it refuses the block, or uses other gas. Its times are then
    /// those of other work.
    pub cachedb_note: Option<String>,
    /// The block's share of each run.
    pub times: ContestTimes,
    /// What the threads did in parallel runs between the samples.
    pub thread_times: ThreadTimes,
    /// What perfect scheduling would make of the block, if that was asked for and the block was executed.
    pub limits: Option<Limits>,
    /// The state root after the block, if that was asked for, the block was executed, and the trie holds what it changed.
    pub root: Option<RootContest>,
}

/// Times of the three runners.
#[derive(Debug, Clone, Copy, Default)]
pub struct ContestTimes {
    /// The engine's `Serial` strategy.
    pub serial: clock::Times,
    /// The strategy asked for.
    pub parallel: clock::Times,
    /// Plain revm over a `CacheDB`.
    pub cachedb: clock::Times,
}

/// What threads spend their time on, all of them together: medians of several runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ThreadTimes {
    /// Executions.
    pub execute_ns: u64,
    /// The part of these that was thrown away.
    pub repeated_ns: u64,
    /// Writes put in place, validation, commits, the seal.
    pub commit_ns: u64,
}

/// How a contest is held.
#[derive(Debug, Clone, Copy)]
pub struct ContestSettings<'a> {
    /// The strategy that runs against `Serial`.
    pub strategy: StrategyChoice,
    /// Timed samples of each runner.
    pub repeat: usize,
    /// Which contest this is: the one who begins changes from one to the next, so that few repetitions of many cases
    /// favour nobody either.
    pub index: usize,
    /// Whether the blocks' [`Limits`] are found too, after everything else.
    pub finds_limits: bool,
    /// The state roots that are found too, if any.
    pub roots: Option<RootSettings<'a>>,
}

/// Serial runs of which an entry's time is the median.
const TRACE_RUNS: usize = 5;

/// Executes a case `repeat` times by each runner, interleaved in changing order, and checks a parallel result against
/// the serial one before the first and after every repetition; what a timed run says is checked in short.
/// `on_repetition` is called after each repetition.
pub fn run(
    executor: &Executor,
    case: &Case,
    settings: ContestSettings<'_>,
    mut on_repetition: impl FnMut(),
) -> Contest {
    let ContestSettings { strategy, repeat, index, finds_limits, roots } = settings;
    let runner = executor.runner(case);
    let serial = runner.execute(StrategyChoice::Serial);
    let parallel = runner.execute(strategy);
    let mut roots = roots.map(|roots| RootRace::new(roots, case, strategy, &serial));
    let mut findings = Findings::new(serial, parallel, baseline_gas(case));
    // Everybody has run once; the second time warms up as well, with what its own first run left.
    for who in turns(index, 0) {
        sample(who, case, &runner, strategy, &mut findings);
    }
    if let Some(roots) = &mut roots {
        roots.repeat(&runner, index, None);
    }
    let mut samples: [Vec<Sample>; 3] = Default::default();
    for repetition in 0..repeat {
        for who in turns(index, repetition) {
            samples[who as usize].push(sample(who, case, &runner, strategy, &mut findings));
        }
        findings.check(|| runner.execute(strategy));
        if let Some(roots) = &mut roots {
            roots.repeat(&runner, index, Some(repetition));
        }
        on_repetition();
    }
    let mut contest = findings.contest(&samples);
    for (found, (root, difference)) in
        contest.blocks.iter_mut().zip(roots.map(RootRace::finish).unwrap_or_default())
    {
        found.root = root;
        found.difference = found.difference.take().or(difference);
    }
    if finds_limits {
        find_limits(case, &runner, &mut contest.blocks);
    }
    contest
}

/// Takes the blocks that were executed apart. A traced run that did something else is a difference.
fn find_limits(case: &Case, runner: &Runner<'_>, blocks: &mut [BlockContest]) {
    let executed = blocks.iter().take_while(|block| block.serial.is_ok()).count();
    let traced = runner.trace(executed, TRACE_RUNS);
    for (index, found) in blocks.iter_mut().enumerate().take(executed) {
        let difference = match &traced {
            Ok(traces) => {
                found.limits = Some(Limits::of(&case.blocks[index], &traces[index]));
                compare::verdicts(&found.serial, &Ok(traces[index].outcome.clone()))
            }
            Err(error) => Some(error.to_string()),
        };
        let difference = difference.map(|difference| format!("a traced run: {difference}"));
        found.difference = found.difference.take().or(difference);
    }
}

/// Who takes a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Serial,
    Parallel,
    CacheDb,
}

impl Who {
    const ALL: [Self; 3] = [Self::Serial, Self::Parallel, Self::CacheDb];
}

/// The order of turns in a repetition. Over six, everybody stands in each place, and runs after each other one,
/// equally often; over three, in each place.
fn turns(contest: usize, repetition: usize) -> [Who; 3] {
    const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0], [1, 0, 2], [0, 2, 1]];
    ORDERS[repetition % ORDERS.len()].map(|who| Who::ALL[(who + contest) % Who::ALL.len()])
}

fn sample(
    who: Who,
    case: &Case,
    runner: &Runner<'_>,
    strategy: StrategyChoice,
    findings: &mut Findings,
) -> Sample {
    match who {
        Who::Serial => runner.sample(StrategyChoice::Serial, |briefs| findings.check_timed("serial", briefs)),
        Who::Parallel => runner.sample(strategy, |briefs| findings.check_timed("parallel", briefs)),
        Who::CacheDb => baseline_sample(case),
    }
}

/// What is known of each block: the serial reference, the latest parallel execution, and how anything differed. A
/// difference, once seen, stays.
struct Findings {
    serial: Vec<Executed>,
    briefs: Vec<Brief>,
    parallel: Vec<Executed>,
    /// Of each parallel execution so far, block by block.
    phases: Vec<Vec<PhaseTimes>>,
    differences: Vec<Option<String>>,
    cachedb_notes: Vec<Option<String>>,
}

impl Findings {
    fn new(
        serial: Vec<Executed>,
        parallel: Vec<Executed>,
        cachedb: Vec<Option<Result<u64, BaselineError>>>,
    ) -> Self {
        let brief =
            |one: &Executed| one.verdict.as_ref().map(|outcome| outcome.gas_used).map_err(Clone::clone);
        let briefs: Vec<Brief> = serial.iter().map(brief).collect();
        let notes = briefs.iter().zip(&cachedb);
        let cachedb_notes = notes.map(|(serial, cachedb)| cachedb_note(serial, cachedb.as_ref())).collect();
        let differences = differences(&serial, &parallel);
        let phases = vec![Vec::new(); parallel.len()];
        Self { serial, briefs, parallel, phases, differences, cachedb_notes }
    }

    /// Checks another parallel execution, completely.
    fn check(&mut self, parallel: impl FnOnce() -> Vec<Executed>) {
        if self.differences.iter().all(Option::is_none) {
            self.parallel = parallel();
            for (phases, executed) in self.phases.iter_mut().zip(&self.parallel) {
                phases.push(executed.metrics.times);
            }
            self.differences = differences(&self.serial, &self.parallel);
        }
    }

    /// Checks a timed run, in short.
    fn check_timed(&mut self, who: &str, timed: &[Brief]) {
        for (index, (difference, brief)) in self.differences.iter_mut().zip(&self.briefs).enumerate() {
            if difference.is_none() {
                *difference = compare::briefs(brief, timed.get(index))
                    .map(|difference| format!("a timed {who} run: {difference}"));
            }
        }
    }

    fn contest(self, samples: &[Vec<Sample>; 3]) -> Contest {
        let medians = samples.each_ref().map(|samples| clock::medians(samples));
        let of =
            |block: usize| medians.each_ref().map(|medians| medians.get(block).copied().unwrap_or_default());
        let thread_times: Vec<_> = self.phases.iter().map(|phases| ThreadTimes::of(phases)).collect();
        let parts = self.serial.into_iter().zip(self.parallel).zip(self.differences).zip(self.cachedb_notes);
        let blocks = parts.enumerate().map(|(block, (((serial, parallel), difference), cachedb_note))| {
            let Executed { verdict: parallel, metrics } = parallel;
            let times = ContestTimes::new(of(block));
            BlockContest {
                serial: serial.verdict,
                parallel,
                metrics,
                difference,
                cachedb_note,
                times,
                thread_times: thread_times[block],
                limits: None,
                root: None,
            }
        });
        let whole = ContestTimes::new(samples.each_ref().map(|samples| median_sum(samples)));
        Contest { blocks: blocks.collect(), whole }
    }
}

impl ThreadTimes {
    fn of(runs: &[PhaseTimes]) -> Self {
        let median = |phase: fn(&PhaseTimes) -> Duration| {
            clock::median(runs.iter().map(|times| clock::nanoseconds(phase(times))).collect())
        };
        Self {
            execute_ns: median(|times| times.execute),
            repeated_ns: median(|times| times.repeated),
            commit_ns: median(|times| times.commit),
        }
    }
}

impl ContestTimes {
    /// In the order of [`Who::ALL`].
    fn new([serial, parallel, cachedb]: [clock::Times; 3]) -> Self {
        Self { serial, parallel, cachedb }
    }
}

fn differences(serial: &[Executed], parallel: &[Executed]) -> Vec<Option<String>> {
    assert_eq!(serial.len(), parallel.len(), "a verdict for every block");
    let pairs = serial.iter().zip(parallel);
    pairs.map(|(serial, parallel)| compare::verdicts(&serial.verdict, &parallel.verdict)).collect()
}

/// How the baseline's gas differs from the serial one, in words; `None` if both refuse the block.
fn cachedb_note(serial: &Brief, cachedb: Option<&Result<u64, BaselineError>>) -> Option<String> {
    match (serial, cachedb) {
        (Ok(serial), Some(Ok(cachedb))) => {
            (serial != cachedb).then(|| format!("uses {cachedb} gas instead of {serial}"))
        }
        (Ok(_), Some(Err(error))) => Some(format!("refuses the block: {error}")),
        (Ok(_), None) => Some("refuses a block before this one".to_owned()),
        (Err(_), Some(Ok(cachedb))) => Some(format!("accepts the block, with {cachedb} gas")),
        (Err(_), Some(Err(_)) | None) => None,
    }
}

/// The gas that the baseline uses for each block; `None` behind one that it refused.
fn baseline_gas(case: &Case) -> Vec<Option<Result<u64, BaselineError>>> {
    let mut gas = Vec::with_capacity(case.blocks.len());
    run_baseline(case, |outcome| gas.push(outcome.map(|outcome| outcome.map(|outcome| outcome.gas_used))));
    gas
}

fn baseline_sample(case: &Case) -> Sample {
    clock::sample(|laps| {
        run_baseline(case, |outcome| {
            drop(outcome);
            laps.lap();
        });
    })
}

/// What follows a refused block is not executed, but called back for.
fn run_baseline(case: &Case, mut on_block: impl FnMut(Option<Result<BaselineOutcome, BaselineError>>)) {
    let mut baseline = Some(Baseline::new(&case.chain, &case.state));
    for (index, block) in case.blocks.iter().enumerate() {
        let outcome = baseline.as_mut().map(|baseline| baseline.execute(block));
        if matches!(outcome, Some(Err(_))) || index + 1 == case.blocks.len() {
            baseline = None;
        }
        on_block(outcome);
    }
}

fn median_sum(samples: &[Sample]) -> clock::Times {
    let column = |field: fn(&clock::Times) -> u64| {
        clock::median(samples.iter().map(|sample| sample.iter().map(field).sum()).collect())
    };
    clock::Times { wall_ns: column(|times| times.wall_ns), cpu_ns: column(|times| times.cpu_ns) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use citius_engine::{BlockError, ExecutionError};

    fn refused() -> ExecutionError {
        let hash = alloy_primitives::B256::ZERO;
        BlockError::BlockGasExceeded { index: 0, hash, gas_limit: 2, available: 1 }.into()
    }

    #[test]
    fn over_six_repetitions_no_place_and_no_predecessor_is_anyones_own() {
        for contest in 0..3 {
            for who in Who::ALL {
                for place in 0..3 {
                    let count = |repetitions| {
                        (0..repetitions).filter(|index| turns(contest, *index)[place] == who).count()
                    };
                    assert_eq!((count(3), count(6)), (1, 2), "{who:?} in place {place}");
                }
                for other in Who::ALL.into_iter().filter(|other| *other != who) {
                    let follows =
                        |index: &usize| turns(contest, *index).windows(2).any(|pair| pair == [other, who]);
                    assert_eq!((0..6).filter(follows).count(), 2, "{who:?} after {other:?}");
                }
            }
        }
        let firsts: Vec<Who> = (0..3).map(|contest| turns(contest, 0)[0]).collect();
        assert_eq!(firsts, Who::ALL, "with one repetition, too");
    }

    #[test]
    fn a_timed_run_that_says_something_else_is_a_difference_that_stays() {
        let mut findings = Findings::new(Vec::new(), Vec::new(), Vec::new());
        findings.briefs = vec![Ok(7), Err(refused())];
        findings.differences = vec![None, None];
        findings.check_timed("serial", &[Ok(7), Err(refused())]);
        assert_eq!(findings.differences, [None, None]);
        findings.check_timed("parallel", &[Ok(8), Ok(7)]);
        findings.check_timed("parallel", &[Ok(7), Err(refused())]);
        let [Some(gas), Some(accepted)] = findings.differences.as_slice() else {
            panic!("{:?}", findings.differences)
        };
        assert!(gas.starts_with("a timed parallel run: accepted with 8 gas"), "{gas}");
        assert!(accepted.contains("wants 2 gas"), "{accepted}");
    }

    #[test]
    fn a_baseline_that_refuses_or_uses_other_gas_is_noted() {
        let error = Err(BaselineError::BlockGasExceeded { index: 3 });
        let note = |serial: Brief, cachedb| cachedb_note(&serial, cachedb);
        assert_eq!(note(Ok(7), Some(&Ok(7))), None);
        assert_eq!(note(Ok(7), Some(&Ok(8))).unwrap(), "uses 8 gas instead of 7");
        assert!(note(Ok(7), Some(&error)).unwrap().contains("transaction 3"));
        assert!(note(Ok(7), None).is_some());
        assert!(note(Err(refused()), Some(&Ok(7))).is_some());
        assert_eq!(note(Err(refused()), Some(&error)), None);
        assert_eq!(note(Err(refused()), None), None);
    }
}
