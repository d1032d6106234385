//! The persistent workers: one thread a planned core, shared by every stream of every engine in the process.
//!
//! No thread is created per block. The thread that asks for a result works too: a plan for `n` workers makes
//! `n - 1` threads, and the caller is the first worker.
//!
//! Executions come first. Workers can also be shared by whoever has work for many threads at once
//! ([`Workers::run`](citius_state::Workers::run)), and be lent what can be done in short pieces ([`WorkerPool::lend`]).

mod idle;
mod lent;
mod shared_run;
#[cfg(all(test, not(feature = "loom")))]
mod tests;

use citius_state::IdleWork;
use citius_topology::{PlacementReport, Plan, WorkerSlot};
use crossbeam::{sync::WaitGroup, utils::Backoff};
pub(crate) use idle::{Idle, Seat, Waker};
pub use lent::IdleLease;
use lent::LentWork;
use parking_lot::Mutex;
use std::{
    num::NonZeroUsize,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// Something that pool workers can help with.
pub(crate) trait Job: Send + Sync {
    /// Works as worker `worker` as long as there is something to do. Returns whether anything was done.
    fn help(&self, worker: usize) -> bool;

    /// Whether there is something to do for a worker.
    fn has_work(&self, worker: usize) -> bool;
}

/// Why a pool could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// A worker thread could not be started.
    #[error("worker thread {worker} could not be started")]
    Spawn {
        /// The worker's number.
        worker: usize,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// Persistent worker threads, pinned as the plan says.
#[derive(Debug)]
pub struct WorkerPool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    caller_slot: Option<WorkerSlot>,
    /// By worker.
    memory_nodes: Vec<u32>,
    size: NonZeroUsize,
}

struct Shared {
    jobs: Mutex<Vec<Arc<dyn Job>>>,
    /// Of jobs: where there is none, a look costs one load.
    job_count: AtomicUsize,
    idle: Idle,
    lent: LentWork,
    /// Every worker can have a core to itself, so that a short wait may spin.
    may_spin: bool,
    /// Somebody shares work: what follows a block at once is worth waiting for.
    is_shared: AtomicBool,
    /// Runs that are being prepared, whose work woken workers wait for.
    announced: AtomicUsize,
    closing: AtomicBool,
    placements: Mutex<Vec<PlacementReport>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("jobs", &self.jobs.lock().len()).finish_non_exhaustive()
    }
}

/// How long a worker that has just worked looks for more before it sleeps, where work was ever shared: about as long as it
/// would take to wake up. What follows a block at once, its state root, finds it awake.
const SPIN_MAX: Duration = Duration::from_micros(40);

/// Cores that this process may use. Asked for once: the system opens several files to answer.
pub(crate) fn cores() -> usize {
    static CORES: LazyLock<usize> =
        LazyLock::new(|| std::thread::available_parallelism().map_or(1, NonZeroUsize::get));
    *CORES
}

impl WorkerPool {
    /// Workers on the plan's cores. The first worker is whoever calls the engine (see
    /// [`WorkerPool::pin_caller`]).
    ///
    /// # Errors
    ///
    /// [`PoolError::Spawn`] if the system gives no thread. A core that refuses its worker is no error: the
    /// placement report says so.
    pub fn new(plan: &Plan) -> Result<Arc<Self>, PoolError> {
        let slots: Vec<Option<WorkerSlot>> = plan.workers.iter().cloned().map(Some).collect();
        Self::start(slots, plan.bindable)
    }

    /// Workers that the system places as it likes: for tests, and for hosts that manage cores themselves.
    ///
    /// # Errors
    ///
    /// [`PoolError::Spawn`] if the system gives no thread.
    pub fn unpinned(workers: NonZeroUsize) -> Result<Arc<Self>, PoolError> {
        Self::start(vec![None; workers.get()], false)
    }

    fn start(mut slots: Vec<Option<WorkerSlot>>, bindable: bool) -> Result<Arc<Self>, PoolError> {
        if slots.is_empty() {
            slots.push(None);
        }
        let size = NonZeroUsize::new(slots.len()).unwrap_or(NonZeroUsize::MIN);
        let shared = Arc::new(Shared {
            jobs: Mutex::new(Vec::new()),
            job_count: AtomicUsize::new(0),
            idle: Idle::default(),
            lent: LentWork::default(),
            may_spin: size.get() <= cores(),
            is_shared: AtomicBool::new(false),
            announced: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
            placements: Mutex::new(Vec::new()),
        });
        let memory_nodes =
            slots.iter().map(|slot| slot.as_ref().map_or(0, |slot| slot.lane.numa.0)).collect();
        let caller_slot = slots.remove(0).filter(|_| bindable);
        let mut pool =
            Self { shared, threads: Vec::with_capacity(slots.len()), caller_slot, memory_nodes, size };
        let started = WaitGroup::new();
        for (index, slot) in slots.into_iter().enumerate() {
            let worker = index + 1;
            let shared = Arc::clone(&pool.shared);
            let started = started.clone();
            let slot = slot.filter(|_| bindable);
            let thread = std::thread::Builder::new()
                .name(format!("citius-worker-{worker}"))
                .spawn(move || {
                    shared.place(slot.as_ref());
                    drop(started);
                    shared.run(worker);
                })
                .map_err(|source| PoolError::Spawn { worker, source })?;
            pool.threads.push(thread);
        }
        // So that the placements are complete, and the first block finds its workers awake.
        started.wait();
        Ok(Arc::new(pool))
    }

    /// Number of workers, the caller included.
    #[must_use]
    pub fn size(&self) -> NonZeroUsize {
        self.size
    }

    /// Pins the calling thread to the first worker's core. Left to the caller, who may have other plans.
    #[must_use]
    pub fn pin_caller(&self) -> Option<PlacementReport> {
        self.caller_slot.as_ref().map(PlacementReport::take)
    }

    /// Where the pool's threads found themselves when they started, in no particular order. The caller is not
    /// among them, and workers that are not pinned say nothing.
    #[must_use]
    pub fn placements(&self) -> Vec<PlacementReport> {
        self.shared.placements.lock().clone()
    }

    /// Wakes a worker for a job that is being prepared: it is there by the time the job is, and does not sleep before
    /// the announcement is dropped.
    pub(crate) fn announce(&self) -> Announcement<'_> {
        self.shared.announced.fetch_add(1, Ordering::SeqCst);
        self.shared.idle.wake_one();
        Announcement { shared: &self.shared }
    }

    /// Lends work to the workers, until the lease is dropped: those that no job gives anything to do, and those, with the
    /// caller, that would wait inside a block's execution, do it in pieces. Jobs are looked at between any two of them. A
    /// worker that sleeps comes only if it is woken with [`IdleLease::wake`], also for what is there already. A panic of
    /// the work ends its lease, and is kept there.
    pub fn lend(&self, work: Arc<dyn IdleWork>) -> IdleLease {
        IdleLease::new(&self.shared, work)
    }

    /// Does one short piece of lent work in place of waiting, if there is any.
    pub(crate) fn help_lent(&self, worker: usize) -> bool {
        self.shared.lent.help(worker)
    }

    /// Offers a job to the workers.
    pub(crate) fn offer(&self, job: Arc<dyn Job>) {
        let mut jobs = self.shared.jobs.lock();
        jobs.push(job);
        self.shared.job_count.store(jobs.len(), Ordering::SeqCst);
    }

    /// Takes a job back, and waits until no worker is in it any more.
    pub(crate) fn retire<J: Job + 'static>(&self, job: &Arc<J>) {
        let address = Arc::as_ptr(job).cast::<()>();
        let mut jobs = self.shared.jobs.lock();
        jobs.retain(|other| Arc::as_ptr(other).cast::<()>() != address);
        self.shared.job_count.store(jobs.len(), Ordering::SeqCst);
        drop(jobs);
        let backoff = Backoff::new();
        while Arc::strong_count(job) > 1 {
            backoff.snooze();
        }
    }

    /// The sleeping workers.
    pub(crate) fn idle(&self) -> &Idle {
        &self.shared.idle
    }
}

/// Work is on its way; see [`WorkerPool::announce`].
#[must_use]
pub(crate) struct Announcement<'p> {
    shared: &'p Shared,
}

impl Drop for Announcement<'_> {
    fn drop(&mut self) {
        self.shared.announced.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for WorkerPool {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        self.shared.idle.wake_all();
        for thread in self.threads.drain(..) {
            // A worker catches its jobs' panics; one that died all the same has nothing left to say.
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// Pins this worker, and looks whether it is where the plan says.
    fn place(&self, slot: Option<&WorkerSlot>) {
        if let Some(slot) = slot {
            let report = PlacementReport::take(slot);
            self.placements.lock().push(report);
        }
    }

    fn run(&self, worker: usize) {
        let seat = Seat::new(worker);
        let mut next = 0;
        let mut worked_at: Option<Instant> = None;
        let mut backoff = Backoff::new();
        while !self.closing.load(Ordering::SeqCst) {
            if self.help_jobs(worker, &mut next) {
                // Relaxed: it publishes nothing.
                let expects_more = self.may_spin && self.is_shared.load(Ordering::Relaxed);
                worked_at = expects_more.then(Instant::now);
                backoff = Backoff::new();
                continue;
            }
            let wakes = self.lent.wakes();
            if self.help_lent(worker) {
                continue;
            }
            if worked_at.is_some_and(|at| at.elapsed() < SPIN_MAX) {
                backoff.snooze();
                continue;
            }
            worked_at = None;
            self.idle.sleep_unless(&seat, None, || {
                self.closing.load(Ordering::SeqCst)
                    || self.announced.load(Ordering::SeqCst) > 0
                    || self.lent.wakes() != wakes
                    || self.jobs.lock().iter().any(|job| job.has_work(worker))
            });
            // Whoever was woken for an announcement waits here; it takes some ten microseconds.
            let backoff = Backoff::new();
            while self.announced.load(Ordering::SeqCst) > 0 && !self.closing.load(Ordering::SeqCst) {
                backoff.snooze();
            }
        }
    }

    /// Helps with each job once, in turn. Returns whether anything was done.
    fn help_jobs(&self, worker: usize, next: &mut usize) -> bool {
        let mut worked = false;
        for _ in 0..self.job_count.load(Ordering::SeqCst) {
            let job = {
                let jobs = self.jobs.lock();
                if jobs.is_empty() {
                    break;
                }
                *next = (*next + 1) % jobs.len();
                Arc::clone(&jobs[*next])
            };
            worked |= job.help(worker);
        }
        worked
    }

    /// Does one short piece of lent work, and wakes another worker if there is more.
    fn help_lent(&self, worker: usize) -> bool {
        let worked = self.lent.help(worker);
        if worked && self.lent.has_work() {
            self.idle.wake_one();
        }
        worked
    }
}
