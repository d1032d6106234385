//! Cold blocks beside warm ones.

use super::ground::{Ground, Options, WithHashes, open_on};
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
    /// Over the trie in memory.
    pub memory: Times,
    /// Over the store on the modelled drive, executions parked.
    pub parked: Times,
    /// The same with threads that wait.
    pub waiting: Times,
    /// Over the store on the machine's own drive, executions parked; nothing is added to its time.
    pub on_disk: Times,
    /// What was done on the modelled drive, in the last run.
    pub done: Done,
    /// On the machine's own drive.
    pub done_on_disk: Done,
}

/// Medians of all runs.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Times {
    /// Seconds of a run.
    pub wall_s: f64,
    /// Seconds that the threads of this process were on a processor.
    pub cpu_s: f64,
    /// Throughput as a part of that in memory: the median of the runs' ratios.
    pub of_memory: f64,
}

/// What the engine and the store did in a run.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Done {
    /// Pages read from the drive.
    pub reads: u64,
    /// Executions that were parked.
    pub parked: u64,
    /// Cold reads that a thread waited for all the same.
    pub waited_for: u64,
    /// Executions thrown away.
    pub aborts: u64,
    /// Thread time of which nothing came, over that of the run.
    pub idle_part: f64,
    /// Keys that were asked for ahead.
    pub asked_ahead: u64,
    /// Of these those that were read then.
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
    let mut all = Vec::new();
    // One after the other: what both have at one address may differ.
    for kind in [WorkloadKind::Erc20, WorkloadKind::AmmPairs] {
        let standard = WorkloadSpec::standard(kind);
        let blocks = options.customary;
        let spec = WorkloadSpec {
            transactions_per_block: blocks * standard.transactions_per_block,
            accounts: blocks * standard.accounts,
            ..standard
        };
        let workload = generate(&spec).unwrap_or_else(|error| panic!("{spec}: {error}"));
        let case = Case::stream(workload);
        let ground = Ground::new(options, &[&case.state], progress)?;
        all.push(of_case(kind.name(), &case, &ground, options)?);
    }
    Ok(all)
}

struct Run {
    seconds: f64,
    cpu_seconds: f64,
    metrics: Vec<BlockMetrics>,
    outcomes: Vec<BlockOutcome>,
}

/// Where a run reads the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Memory,
    Parked,
    Waiting,
    OnDisk,
}

impl Place {
    const ALL: [Self; 4] = [Self::Memory, Self::Parked, Self::Waiting, Self::OnDisk];
}

fn of_case(
    name: &'static str,
    case: &Case,
    ground: &Ground,
    options: &Options,
) -> Result<ColdFigures, StoresError> {
    let pool = WorkerPool::unpinned(THREADS).unwrap_or_else(|error| panic!("{error}"));
    let engine = Engine::new(case.chain.clone(), pool, EngineConfig::default());
    let model = ground.model(options.latency)?;
    let cold = |place: Place| {
        let ssmt = SsmtConfig { history: 0, flat_cache_bytes: 64 << 20, ..SsmtConfig::default() };
        let config = DurableConfig { ssmt, checkpoint_every: 0, ..DurableConfig::default() };
        let state = match place {
            Place::OnDisk => ground.open(config)?,
            _ => open_on(Arc::clone(&model), config)?,
        };
        let before = state.store().stats().reads;
        let reader = state.reader()?;
        let reader = if place == Place::Waiting { reader.blocking() } else { reader };
        let run = run(&engine, case, WithHashes::new(reader, case))?;
        let done = Done::of(&run.metrics, state.store().stats().reads - before);
        Ok::<_, StoresError>((run, done))
    };
    let mut walls = Place::ALL.map(|_| Vec::new());
    let mut cpus = walls.clone();
    let mut done = Place::ALL.map(|_| Done::default());
    for _ in 0..options.runs.max(1) {
        let mut expected: Option<Vec<BlockOutcome>> = None;
        for place in Place::ALL {
            let run = if place == Place::Memory {
                let reader = ground.memory.reader(ground.memory.head())?;
                run(&engine, case, WithHashes::new(reader, case))?
            } else {
                let (run, what) = cold(place)?;
                done[place as usize] = what;
                run
            };
            walls[place as usize].push(run.seconds);
            cpus[place as usize].push(run.cpu_seconds);
            let expected = expected.get_or_insert_with(|| run.outcomes.clone());
            if !run.outcomes.iter().zip(expected).all(|(outcome, expected)| same(outcome, expected)) {
                let reason = "a block comes to something else over the store".into();
                return Err(WrongAnswer { bench: name.into(), reason }.into());
            }
        }
    }
    let times = |place: Place| {
        let (wall, memory) = (&walls[place as usize], &walls[Place::Memory as usize]);
        Times {
            wall_s: median(wall.clone()),
            cpu_s: median(cpus[place as usize].clone()),
            of_memory: median(memory.iter().zip(wall).map(|(memory, wall)| memory / wall).collect()),
        }
    };
    Ok(ColdFigures {
        name,
        transactions: case.blocks.iter().map(|block| block.transactions.len()).sum::<usize>(),
        memory: times(Place::Memory),
        parked: times(Place::Parked),
        waiting: times(Place::Waiting),
        on_disk: times(Place::OnDisk),
        done: done[Place::Parked as usize],
        done_on_disk: done[Place::OnDisk as usize],
    })
}

impl Done {
    fn of(metrics: &[BlockMetrics], reads: u64) -> Self {
        let sum = |count: fn(&BlockMetrics) -> u64| metrics.iter().map(count).sum::<u64>();
        let idle: f64 = metrics.iter().map(|metrics| metrics.times.idle.as_secs_f64()).sum();
        let wall: f64 = metrics.iter().map(|metrics| metrics.times.wall.as_secs_f64()).sum();
        Self {
            reads,
            parked: sum(|metrics| metrics.parked),
            waited_for: sum(|metrics| metrics.reads_waited_for),
            aborts: sum(|metrics| metrics.aborts),
            idle_part: idle / (wall * THREADS.get() as f64).max(1e-9),
            asked_ahead: sum(|metrics| metrics.keys_asked_ahead),
            useful_ahead: sum(|metrics| metrics.keys_ahead_useful),
        }
    }
}

fn same(one: &BlockOutcome, other: &BlockOutcome) -> bool {
    let sorted = |outcome: &BlockOutcome| {
        let mut changes = outcome.changes.clone();
        changes.sort();
        changes
    };
    one.transactions == other.transactions && one.gas_used == other.gas_used && sorted(one) == sorted(other)
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

impl ColdFigures {
    /// Microseconds that a page read took of the processors' time: what a cold run takes more than one in memory.
    #[must_use]
    pub fn cpu_us_per_read(&self, times: &Times, done: &Done) -> f64 {
        (times.cpu_s - self.memory.cpu_s) * 1e6 / (done.reads as f64).max(1.0)
    }
}

impl fmt::Display for ColdFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {} transactions", self.name, self.transactions)?;
        let rows = [
            ("in memory", &self.memory, None),
            ("modelled drive", &self.parked, Some(&self.done)),
            ("  no parking", &self.waiting, None),
            ("own drive", &self.on_disk, Some(&self.done_on_disk)),
        ];
        for (name, times, done) in rows {
            let Times { wall_s, cpu_s, of_memory } = times;
            write!(
                f,
                "  {name:<14} {:8.1} ms, {:8.1} ms of processors, {of_memory:.2} of the throughput in memory",
                1e3 * wall_s,
                1e3 * cpu_s
            )?;
            if let Some(done) = done {
                write!(
                    f,
                    "; {:.2} page reads a transaction, one every {:.1} µs, {:.1} µs of processors more for each; {} parked, {} waited for, {} \
                     thrown away, idle for {:.2}; {} keys asked ahead, {} of use",
                    done.reads as f64 / self.transactions.max(1) as f64,
                    wall_s * 1e6 / (done.reads as f64).max(1.0),
                    self.cpu_us_per_read(times, done),
                    done.parked,
                    done.waited_for,
                    done.aborts,
                    done.idle_part,
                    done.asked_ahead,
                    done.useful_ahead,
                )?;
            }
            if name != "own drive" {
                writeln!(f)?;
            }
        }
        Ok(())
    }
}
