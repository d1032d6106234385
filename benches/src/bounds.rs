//! Bounds of perfect scheduling: whether generated blocks are as hard to spread as recorded ones.

use crate::{Size, THREADS, WrongAnswer};
use citius_engine::{Engine, EngineConfig, ExecuteOptions, StrategyChoice, WorkerPool, chain::ChainSpec};
use citius_node::{
    compare,
    execution::Case,
    limits::{LANES, Limits, Speedups},
    recorded::{RecordedBlock, RecordedError, block_folders},
};
use citius_state::StateReader;
use citius_workloads::{BlockShape, WorkloadKind, WorkloadSpec, generate};
use std::{array, env, fmt, path::Path, sync::Arc};

/// Serial runs of which an entry's time is the median.
const RUNS: usize = 5;

/// Some blocks, alone or as streams.
#[derive(Debug)]
pub struct BoundsBench {
    name: &'static str,
    cases: Vec<Case>,
}

/// What the bounds of some blocks come to, sender chains included. `Display` gives a line for each.
#[derive(Debug, Clone, Copy)]
pub struct BoundsSummary {
    /// The median of each bound by itself; of an even number the larger of the two in the middle.
    pub medians: Speedups,
    /// The geometric mean of each.
    pub geomeans: Speedups,
}

impl BoundsBench {
    /// Consecutive `mainnet-like` blocks, 20 of them at the canonical size.
    #[must_use]
    pub fn mainnet_like(size: Size) -> Self {
        let standard = WorkloadSpec::standard(WorkloadKind::MainnetLike);
        let spec = WorkloadSpec { blocks: size.pick(3, 20), ..standard };
        let workload = generate(&spec).unwrap_or_else(|error| panic!("{spec}: {error}"));
        Self { name: spec.kind.name(), cases: vec![Case::stream(workload)] }
    }

    /// The blocks in `$CITIUS_CORPUS/mainnet` that count for [`BlockShape::MAINNET`], at the smoke size only some of
    /// them; `None` if that is not set.
    ///
    /// # Errors
    ///
    /// [`RecordedError`] if the folder or a block cannot be read.
    pub fn recorded(size: Size) -> Result<Option<Self>, RecordedError> {
        let Some(corpus) = env::var_os("CITIUS_CORPUS") else { return Ok(None) };
        let chain = ChainSpec::mainnet();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(THREADS.get()).build();
        let pool = pool.unwrap_or_else(|error| panic!("{error}"));
        let mut cases = Vec::new();
        for folder in block_folders(&[Path::new(&corpus).join("mainnet")])?.iter().step_by(size.pick(20, 1)) {
            let block = RecordedBlock::load(folder)?;
            let (header, transactions) = (&block.header, block.transactions.len());
            if BlockShape::counts_for_mainnet(header.number, transactions, header.gas_used) {
                let blocks = vec![Arc::new(block.recover(&chain, &pool)?)];
                cases.push(Case { chain: chain.clone(), blocks, state: Arc::new(block.pre_state) });
            }
        }
        Ok(Some(Self { name: "recorded", cases }))
    }

    /// Which blocks these are.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Takes the blocks apart, and checks that they did what they do serially. One [`Limits`] a block, in order.
    ///
    /// # Errors
    ///
    /// [`WrongAnswer`] with the first difference.
    pub fn run(&self) -> Result<Vec<Limits>, WrongAnswer> {
        let pool = WorkerPool::unpinned(THREADS).unwrap_or_else(|error| panic!("{error}"));
        let mut limits = Vec::new();
        for case in &self.cases {
            let engine = Engine::new(case.chain.clone(), Arc::clone(&pool), EngineConfig::default());
            limits.extend(limits_of(case, &engine).map_err(|reason| self.wrong(reason))?);
        }
        Ok(limits)
    }

    fn wrong(&self, reason: String) -> WrongAnswer {
        WrongAnswer { bench: self.name.to_owned(), reason }
    }
}

fn limits_of(case: &Case, engine: &Engine) -> Result<Vec<Limits>, String> {
    let reader = Arc::clone(&case.state) as Arc<dyn StateReader>;
    let traces = engine.trace(&reader, &case.blocks, RUNS).map_err(|error| error.to_string())?;
    let options = ExecuteOptions { strategy: StrategyChoice::Serial, ..ExecuteOptions::default() };
    let mut stream = engine.stream(reader, &options);
    let mut limits = Vec::with_capacity(traces.len());
    for (block, trace) in case.blocks.iter().zip(traces) {
        stream.submit(Arc::clone(block));
        let serial = stream.next().ok_or("the stream ended early")?;
        limits.push(Limits::of(block, &trace));
        if let Some(difference) = compare::verdicts(&serial, &Ok(trace.outcome)) {
            return Err(format!("block {}: {difference}", block.header.number));
        }
    }
    Ok(limits)
}

impl BoundsSummary {
    /// Of some blocks' limits; `None` of no blocks.
    #[must_use]
    pub fn of(limits: &[Limits]) -> Option<Self> {
        let speedups: Vec<Speedups> =
            limits.iter().map(|limits| limits.with_sender_chains.speedups()).collect();
        let median = |lanes: usize| {
            let mut bounds: Vec<f64> = speedups.iter().map(|speedups| speedups.0[lanes]).collect();
            bounds.sort_unstable_by(f64::total_cmp);
            bounds[bounds.len() / 2]
        };
        let geomeans = Speedups::geomean(&speedups)?;
        Some(Self { medians: Speedups(array::from_fn(median)), geomeans })
    }
}

impl fmt::Display for BoundsSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, speedups) in [("median", self.medians), ("geometric mean", self.geomeans)] {
            write!(f, "  {what:<14}")?;
            for ((lanes, _), speedup) in LANES.iter().zip(speedups.0) {
                write!(f, "  {lanes} lanes {speedup:.2}x")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use citius_node::limits::Bounds;

    fn limits(makespan_ns: u64) -> Limits {
        let bounds = Bounds { entries_ns: 100, makespans_ns: [makespan_ns; LANES.len()] };
        Limits {
            entries_ns: 100,
            with_sender_chains: bounds,
            without_sender_chains: Bounds { makespans_ns: [1; LANES.len()], ..bounds },
            heaviest_share: 0.0,
            heaviest_gas_share: 0.0,
            longest_chain: 0,
            longest_sender_chain: 0,
        }
    }

    #[test]
    fn a_summary_is_of_speed_ups_with_sender_chains() {
        // Speed-ups of 1, 2 and 4, out of order.
        let summary = BoundsSummary::of(&[25, 100, 50].map(limits)).unwrap();
        assert_eq!(summary.medians.0, [2.0; LANES.len()]);
        assert!((summary.geomeans.0[0] - 2.0).abs() < 1e-9);
        let summary = BoundsSummary::of(&[25, 100, 20].map(limits)).unwrap();
        assert_eq!(summary.medians.0, [4.0; LANES.len()]);
        assert!(BoundsSummary::of(&[]).is_none());
    }
}
