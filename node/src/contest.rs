//! Serial, parallel and `CacheDB` runs of one case, interleaved, and whether the first two agree.

use crate::{
    baseline::Baseline,
    clock::{self, Sample},
    compare::{self, Verdict},
    execution::{Case, Executor},
};
use citius_engine::StrategyChoice;

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
    /// The first difference between the two, in words.
    pub difference: Option<String>,
    /// The block's share of each run.
    pub times: ContestTimes,
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

/// Executes a case `repeat` times by each runner, one after the other in rotating order, and checks a parallel
/// result against the serial one before the first and after every repetition. `on_repetition` is called after each.
pub fn run(
    executor: &Executor,
    case: &Case,
    strategy: StrategyChoice,
    repeat: usize,
    mut on_repetition: impl FnMut(),
) -> Contest {
    let runner = executor.runner(case);
    // Both also warm up.
    let serial = runner.verdicts(StrategyChoice::Serial);
    let mut check = Check::new(&serial, runner.verdicts(strategy));
    baseline_sample(case);

    let turns: [&dyn Fn() -> Sample; 3] =
        [&|| runner.sample(StrategyChoice::Serial), &|| runner.sample(strategy), &|| baseline_sample(case)];
    let mut samples: [Vec<Sample>; 3] = Default::default();
    for repetition in 0..repeat {
        for turn in 0..turns.len() {
            let turn = (repetition + turn) % turns.len();
            samples[turn].push(turns[turn]());
        }
        check.update(&serial, || runner.verdicts(strategy));
        on_repetition();
    }

    let [by_serial, by_parallel, by_cachedb] = samples.each_ref().map(|samples| clock::medians(samples));
    let Check { parallel, differences } = check;
    let blocks = serial
        .into_iter()
        .zip(parallel)
        .zip(differences)
        .enumerate()
        .map(|(block, ((serial, parallel), difference))| {
            let of = |medians: &Sample| medians.get(block).copied().unwrap_or_default();
            let times =
                ContestTimes { serial: of(&by_serial), parallel: of(&by_parallel), cachedb: of(&by_cachedb) };
            BlockContest { serial, parallel, difference, times }
        })
        .collect();
    let [serial, parallel, cachedb] = samples.each_ref().map(|samples| median_sum(samples));
    Contest { blocks, whole: ContestTimes { serial, parallel, cachedb } }
}

/// The latest parallel verdicts and how they differ; a difference, once seen, stays.
struct Check {
    parallel: Vec<Verdict>,
    differences: Vec<Option<String>>,
}

impl Check {
    fn new(serial: &[Verdict], parallel: Vec<Verdict>) -> Self {
        assert_eq!(serial.len(), parallel.len(), "a verdict for every block");
        let pairs = serial.iter().zip(&parallel);
        let differences = pairs.map(|(serial, parallel)| compare::verdicts(serial, parallel)).collect();
        Self { parallel, differences }
    }

    fn update(&mut self, serial: &[Verdict], parallel: impl FnOnce() -> Vec<Verdict>) {
        if self.differences.iter().all(Option::is_none) {
            *self = Self::new(serial, parallel());
        }
    }
}

fn baseline_sample(case: &Case) -> Sample {
    clock::sample(|laps| {
        let mut baseline = Some(Baseline::new(&case.chain, &case.state));
        for (index, block) in case.blocks.iter().enumerate() {
            // What follows a refused block is not executed, but has its lap.
            let outcome = baseline.as_mut().map(|baseline| baseline.execute(block));
            if matches!(outcome, Some(Err(_))) || index + 1 == case.blocks.len() {
                baseline = None;
            }
            drop(outcome);
            laps.lap();
        }
    })
}

fn median_sum(samples: &[Sample]) -> clock::Times {
    let column = |field: fn(&clock::Times) -> u64| {
        clock::median(samples.iter().map(|sample| sample.iter().map(field).sum()).collect())
    };
    clock::Times { wall_ns: column(|times| times.wall_ns), cpu_ns: column(|times| times.cpu_ns) }
}
