use super::{Job, Shared, WorkerPool};
use citius_state::{SharedWork, Workers};
use parking_lot::Mutex;
use std::{
    any::Any,
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Work that a caller shares with the workers that are free.
struct SharedRun {
    work: Arc<SharedWork>,
    /// By worker: whether it has called.
    has_called: Box<[AtomicBool]>,
    /// The caller's own call goes on.
    is_open: AtomicBool,
    /// The first one of a worker.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    shared: Arc<Shared>,
}

/// Sleepers that each who is awake wakes: all are awake after as many steps as their number has binary digits.
const WOKEN_BY_EACH: usize = 2;

impl Workers for WorkerPool {
    fn count(&self) -> NonZeroUsize {
        self.size()
    }

    fn memory_node(&self, worker: usize) -> u32 {
        self.memory_nodes.get(worker).copied().unwrap_or(0)
    }

    /// As the trait says. Workers that execute a block come when they find nothing to do there, if the work still goes
    /// on by then. May be called by several threads at one time, and inside a call: the thread that calls is worker 0 there.
    fn run(&self, work: &Arc<SharedWork>) {
        if self.size() == NonZeroUsize::MIN {
            return work(0);
        }
        self.shared.is_shared.store(true, Ordering::Relaxed);
        let run = Arc::new(SharedRun {
            work: Arc::clone(work),
            has_called: std::iter::repeat_with(AtomicBool::default).take(self.size().get()).collect(),
            is_open: AtomicBool::new(true),
            panic: Mutex::new(None),
            shared: Arc::clone(&self.shared),
        });
        self.offer(Arc::clone(&run) as Arc<dyn Job>);
        run.wake_some();
        let own = catch_unwind(AssertUnwindSafe(|| work(0)));
        run.is_open.store(false, Ordering::SeqCst);
        self.retire(&run);
        let panic = own.err().or_else(|| run.panic.lock().take());
        if let Some(payload) = panic {
            resume_unwind(payload);
        }
    }
}

impl SharedRun {
    fn wake_some(&self) {
        (0..WOKEN_BY_EACH).all(|_| self.shared.idle.wake_one());
    }
}

impl Job for SharedRun {
    fn help(&self, worker: usize) -> bool {
        if !self.has_work(worker) || self.has_called[worker].swap(true, Ordering::SeqCst) {
            return false;
        }
        self.wake_some();
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| (self.work)(worker))) {
            self.panic.lock().get_or_insert(payload);
        }
        true
    }

    fn has_work(&self, worker: usize) -> bool {
        self.is_open.load(Ordering::SeqCst) && !self.has_called[worker].load(Ordering::SeqCst)
    }
}
