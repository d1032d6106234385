use crate::THREADS;
use citius_engine::{PoolError, WorkerPool};
use citius_topology::{MachineSource, ProfileSource, resolve};
use rayon::{ThreadPool, ThreadPoolBuilder};
use serde::Serialize;
use std::{fs, sync::Arc};

/// What to quote along with figures.
#[derive(Debug, Clone, Serialize)]
pub struct MachineFigures {
    /// The processor, as the system calls it.
    pub processor: String,
    /// The way of hashing.
    pub hashing: String,
    /// Runnable threads over the last minute, those of others included.
    pub load_average: f64,
}

impl MachineFigures {
    /// As it is now.
    #[must_use]
    pub fn now(hashing: &str) -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let field = |name: &str| {
            let line = cpuinfo.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let part = |name| field(name).unwrap_or_else(|| "unknown".into());
        let processor =
            format!("{}, family {} model {}", part("model name"), part("cpu family"), part("model\t"));
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load_average = load.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(f64::NAN);
        Self { processor, hashing: hashing.to_owned(), load_average }
    }
}

/// The threads that roots are computed on.
#[derive(Debug)]
pub struct Threads {
    pub(super) one: Arc<WorkerPool>,
    pub(crate) two: Arc<WorkerPool>,
    pub(super) rayon: ThreadPool,
    /// Where they are.
    pub is_pinned: bool,
}

impl Threads {
    /// Threads wherever the system puts them.
    ///
    /// # Errors
    ///
    /// [`PoolError`] if there are none to be had.
    pub fn unpinned() -> Result<Self, PoolError> {
        let two = WorkerPool::unpinned(THREADS)?;
        Ok(Self {
            one: WorkerPool::unpinned(std::num::NonZeroUsize::MIN)?,
            two,
            rayon: rayon(),
            is_pinned: false,
        })
    }

    /// Workers on the cores of this machine's plan, and this thread on the first of them.
    ///
    /// # Errors
    ///
    /// [`PoolError`] if there are none to be had.
    pub fn pinned() -> Result<Self, PoolError> {
        let Ok(report) = resolve(MachineSource::ThisMachine, ProfileSource::Pick) else {
            return Self::unpinned();
        };
        // Before this thread is pinned: new threads inherit its place.
        let rayon = rayon();
        let one = WorkerPool::unpinned(std::num::NonZeroUsize::MIN)?;
        let two = WorkerPool::new(&report.plan.with_threads(THREADS.get()))?;
        let is_pinned = two.pin_caller().is_some();
        Ok(Self { one, two, rayon, is_pinned })
    }
}

fn rayon() -> ThreadPool {
    match ThreadPoolBuilder::new().num_threads(THREADS.get()).build() {
        Ok(pool) => pool,
        Err(error) => panic!("no pool of {THREADS} threads: {error}"),
    }
}
