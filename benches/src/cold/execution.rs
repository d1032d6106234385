//! Cold blocks beside warm ones.

use super::ground::{Ground, Options, WithHashes};
use crate::{THREADS, WrongAnswer, stores::StoresError};
use citius_engine::{
    BlockMetrics, BlockOutcome, Engine, EngineConfig, ExecuteOptions, StrategyChoice, WorkerPool,
};
use citius_node::execution::Case;
use citius_state::{StateReader, durable::DurableConfig, ssmt::SsmtConfig};
use citius_workloads::{WorkloadKind, WorkloadSpec, generate};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

/// What cold blocks of one kind take.
#[derive(Debug, Clone, Serialize)]
pub struct ColdFigures {
    /// The workload.
    pub name: &'static str,
    /// Transactions of a run.
    pub transactions: usize,
    /// Medians of a run's seconds: over the trie in memory, over the store with executions parked, over the store with threads that
    /// wait.
    pub memory_s: f64,
    /// As above.
    pub parked_s: f64,
    /// As above.
    pub waiting_s: f64,
    /// Throughput of parked executions as a part of that in memory: the median of the runs' ratios.
    pub parked_of_memory: f64,
    /// That of waiting threads.
    pub waiting_of_memory: f64,
    /// Medians of the seconds that the threads were on a processor, in memory and over the store with executions parked.
    pub memory_cpu_s: f64,
    /// As above.
    pub parked_cpu_s: f64,
    /// Pages read from the disk for a transaction.
    pub reads_per_transaction: f64,
    /// Of a run's wall time the part for each page, were they read one after the other.
    pub us_per_read: f64,
    /// Executions that were parked in a run.
    pub parked: u64,
    /// Cold reads that a thread waited for all the same.
    pub waited_for: u64,
    /// Executions thrown away in a run, and thread time of which nothing came: idle, over that of the run.
    pub aborts: u64,
    /// As above.
    pub idle_part: f64,
    /// Keys that were asked for ahead, and of these those that were read then.
    pub asked_ahead: u64,
    /// As above.
    pub useful_ahead: u64,
}

/// Executes the blocks of some workloads over a cold store and over the trie in memory, in turns.
///
/// # Errors
///
/// [`StoresError`] of the disk and the store, and if a block comes to something else over the store.
pub fn execution(
    options: &Options,
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<ColdFigures>, StoresError> {
    let kinds = [WorkloadKind::Erc20, WorkloadKind::AmmPairs];
    let cases: Vec<(WorkloadKind, Case)> = kinds
        .into_iter()
        .map(|kind| {
            let spec = WorkloadSpec::standard(kind);
            let workload = generate(&spec).unwrap_or_else(|error| panic!("{spec}: {error}"));
            (kind, Case::stream(workload))
        })
        .collect();
    let mut all = Vec::new();
    // One after the other: what both have at one address may differ.
    for (kind, case) in &cases {
        let ground = Ground::new(options, &[&case.state], progress)?;
        all.push(of_case(kind.name(), case, &ground, options)?);
    }
    Ok(all)
}

struct Run {
    seconds: f64,
    cpu_seconds: f64,
    metrics: Vec<BlockMetrics>,
    outcomes: Vec<BlockOutcome>,
}

fn of_case(
    name: &'static str,
    case: &Case,
    ground: &Ground,
    options: &Options,
) -> Result<ColdFigures, StoresError> {
    let pool = WorkerPool::unpinned(THREADS).unwrap_or_else(|error| panic!("{error}"));
    let engine = Engine::new(case.chain.clone(), pool, EngineConfig::default());
    let (mut memory, mut parked, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
    let (mut memory_cpu, mut parked_cpu) = (Vec::new(), Vec::new());
    let (mut reads, mut last) = (0, None);
    for _ in 0..options.runs.max(1) {
        let in_memory = {
            let reader = ground.memory.reader(ground.memory.head())?;
            run(&engine, case, WithHashes::new(reader, case))?
        };
        let cold = |is_blocking: bool| {
            let ssmt = SsmtConfig { history: 0, flat_cache_bytes: 64 << 20, ..SsmtConfig::default() };
            let config = DurableConfig { ssmt, checkpoint_every: 0, ..DurableConfig::default() };
            let state = ground.open(options.latency, config)?;
            let before = state.store().stats().reads;
            let reader = state.reader()?;
            let reader = if is_blocking { reader.blocking() } else { reader };
            let run = run(&engine, case, WithHashes::new(reader, case))?;
            Ok::<_, StoresError>((run, state.store().stats().reads - before))
        };
        let (with_parking, pages) = cold(false)?;
        let (without, _) = cold(true)?;
        for other in [&with_parking, &without] {
            for (outcome, expected) in other.outcomes.iter().zip(&in_memory.outcomes) {
                if outcome.transactions != expected.transactions || !same(outcome, expected) {
                    let reason = "a block comes to something else over the store".into();
                    return Err(WrongAnswer { bench: name.into(), reason }.into());
                }
            }
        }
        memory_cpu.push(in_memory.cpu_seconds);
        parked_cpu.push(with_parking.cpu_seconds);
        memory.push(in_memory.seconds);
        parked.push(with_parking.seconds);
        waiting.push(without.seconds);
        reads = pages;
        last = Some(with_parking);
    }
    let transactions = case.blocks.iter().map(|block| block.transactions.len()).sum::<usize>();
    let metrics = last.map(|run| run.metrics).unwrap_or_default();
    let sum = |count: fn(&BlockMetrics) -> u64| metrics.iter().map(count).sum::<u64>();
    let ratios =
        |times: &[f64]| median(memory.iter().zip(times).map(|(memory, time)| memory / time).collect());
    Ok(ColdFigures {
        name,
        transactions,
        parked_of_memory: ratios(&parked),
        waiting_of_memory: ratios(&waiting),
        memory_s: median(memory),
        memory_cpu_s: median(memory_cpu),
        parked_cpu_s: median(parked_cpu),
        us_per_read: median(parked.clone()) * 1e6 / (reads as f64).max(1.0),
        parked_s: median(parked),
        waiting_s: median(waiting),
        reads_per_transaction: reads as f64 / transactions.max(1) as f64,
        waited_for: sum(|metrics| metrics.reads_waited_for),
        aborts: sum(|metrics| metrics.aborts),
        idle_part: metrics.iter().map(|metrics| metrics.times.idle.as_secs_f64()).sum::<f64>()
            / (metrics.iter().map(|metrics| metrics.times.wall.as_secs_f64()).sum::<f64>()
                * THREADS.get() as f64)
                .max(1e-9),
        parked: sum(|metrics| metrics.parked),
        asked_ahead: sum(|metrics| metrics.keys_asked_ahead),
        useful_ahead: sum(|metrics| metrics.keys_ahead_useful),
    })
}

fn same(one: &BlockOutcome, other: &BlockOutcome) -> bool {
    let sorted = |outcome: &BlockOutcome| {
        let mut changes = outcome.changes.clone();
        changes.sort();
        changes
    };
    one.gas_used == other.gas_used && sorted(one) == sorted(other)
}

fn run(engine: &Engine, case: &Case, reader: Arc<WithHashes>) -> Result<Run, StoresError> {
    let options = ExecuteOptions { strategy: StrategyChoice::Optimistic, ..ExecuteOptions::default() };
    let (begun, busy) = (Instant::now(), cpu_time());
    let mut stream = engine.stream(reader as Arc<dyn StateReader>, &options);
    for block in &case.blocks {
        stream.submit(Arc::clone(block));
    }
    let mut run = Run { seconds: 0.0, cpu_seconds: 0.0, metrics: Vec::new(), outcomes: Vec::new() };
    while let Some(outcome) = stream.next() {
        let outcome =
            outcome.map_err(|error| WrongAnswer { bench: "execution".into(), reason: error.to_string() })?;
        run.metrics.push(outcome.metrics.clone());
        run.outcomes.push(outcome);
    }
    run.seconds = begun.elapsed().max(Duration::from_nanos(1)).as_secs_f64();
    run.cpu_seconds = cpu_time() - busy;
    Ok(run)
}

/// Seconds that the threads of this process were on a processor.
fn cpu_time() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_unstable_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or_default()
}

impl fmt::Display for ColdFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: {} transactions; in memory {:.1} ms (of processors {:.1}), cold {:.1} ms (of processors {:.1}; {:.2} of the throughput), cold \
             without parking {:.1} ms ({:.2})",
            self.name,
            self.transactions,
            1e3 * self.memory_s,
            1e3 * self.memory_cpu_s,
            1e3 * self.parked_s,
            1e3 * self.parked_cpu_s,
            self.parked_of_memory,
            1e3 * self.waiting_s,
            self.waiting_of_memory,
        )?;
        write!(
            f,
            "  {:.2} page reads a transaction, one every {:.1} µs; {} executions parked, {} reads waited for, {} executions thrown away, threads idle \
             for {:.2} of the time; {} keys asked ahead, {} of them of use",
            self.reads_per_transaction,
            self.us_per_read,
            self.parked,
            self.waited_for,
            self.aborts,
            self.idle_part,
            self.asked_ahead,
            self.useful_ahead,
        )
    }
}
