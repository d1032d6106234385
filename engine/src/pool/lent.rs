use super::Shared;
use crate::scheduler::panic_message;
use citius_state::IdleWork;
use crossbeam::utils::Backoff;
use parking_lot::{Mutex, RwLock};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

/// Work for workers that would else wait or sleep.
///
/// Whoever lends some wakes a worker for it; that one wakes the next if there is more. Nobody stays awake for work that is
/// lent and not there.
#[derive(Debug, Default)]
pub(super) struct LentWork {
    lent: RwLock<Vec<Arc<Lent>>>,
    /// Of what is lent: where nothing is, a look costs one load.
    count: AtomicUsize,
    /// Where the next look begins, so that each gets its turn.
    turn: AtomicUsize,
    /// Counts calls of [`IdleLease::wake`]: whoever falls asleep misses none.
    wakes: AtomicU64,
}

struct Lent {
    work: Arc<dyn IdleWork>,
    /// What it said when it panicked. It is not asked again.
    panic: Mutex<Option<String>>,
}

impl std::fmt::Debug for Lent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lent").field("panic", &*self.panic.lock()).finish_non_exhaustive()
    }
}

impl LentWork {
    /// Does one short piece, if there is one.
    pub(super) fn help(&self, worker: usize) -> bool {
        let count = self.count.load(Ordering::SeqCst);
        if count == 0 {
            return false;
        }
        // Relaxed: any place will do.
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        (0..count)
            .any(|step| self.at(first.wrapping_add(step)).is_some_and(|lent| self.help_one(&lent, worker)))
    }

    /// Whether anything that is lent has something to do.
    pub(super) fn has_work(&self) -> bool {
        let count = self.count.load(Ordering::SeqCst);
        (0..count)
            .filter_map(|place| self.at(place))
            .any(|lent| catch_unwind(AssertUnwindSafe(|| lent.work.has_work())).unwrap_or(false))
    }

    /// How often somebody was to be woken.
    pub(super) fn wakes(&self) -> u64 {
        self.wakes.load(Ordering::SeqCst)
    }

    /// The lock is not kept while lent code runs, which may end another lease.
    fn at(&self, place: usize) -> Option<Arc<Lent>> {
        let lent = self.lent.read();
        let place = place.checked_rem(lent.len())?;
        lent.get(place).cloned()
    }

    fn help_one(&self, lent: &Arc<Lent>, worker: usize) -> bool {
        let help = || lent.work.has_work() && lent.work.help(worker);
        catch_unwind(AssertUnwindSafe(help)).unwrap_or_else(|payload| {
            lent.panic.lock().get_or_insert_with(|| panic_message(&*payload));
            self.remove(lent);
            false
        })
    }

    fn add(&self, lent: Arc<Lent>) {
        let mut all = self.lent.write();
        all.push(lent);
        self.count.store(all.len(), Ordering::SeqCst);
    }

    fn remove(&self, lent: &Arc<Lent>) {
        let mut all = self.lent.write();
        all.retain(|other| !Arc::ptr_eq(other, lent));
        self.count.store(all.len(), Ordering::SeqCst);
    }
}

/// Work that is lent to a pool (see [`WorkerPool::lend`](super::WorkerPool::lend)), until this is dropped.
///
/// Dropping it waits until nobody is at the work any more: that is not for the work itself to do.
#[derive(Debug)]
#[must_use = "dropping it ends the lease"]
pub struct IdleLease {
    shared: Arc<Shared>,
    lent: Arc<Lent>,
}

impl IdleLease {
    pub(super) fn new(shared: &Arc<Shared>, work: Arc<dyn IdleWork>) -> Self {
        let lent = Arc::new(Lent { work, panic: Mutex::new(None) });
        shared.lent.add(Arc::clone(&lent));
        Self { shared: Arc::clone(shared), lent }
    }

    /// Says that there is something to do again: a worker that sleeps is woken for it, and wakes others if there is more. The
    /// work must be visible to [`IdleWork::has_work`] before. Workers that are awake come by themselves; a call costs little
    /// where nobody sleeps.
    pub fn wake(&self) {
        // First this, then the look for sleepers: who goes to sleep says so first, and then looks here.
        self.shared.lent.wakes.fetch_add(1, Ordering::SeqCst);
        self.shared.idle.wake_one();
    }

    /// What the work said when it panicked, if it did. That ended the lease; the workers are not hurt.
    #[must_use]
    pub fn panic_message(&self) -> Option<String> {
        self.lent.panic.lock().clone()
    }
}

impl Drop for IdleLease {
    fn drop(&mut self) {
        self.shared.lent.remove(&self.lent);
        let backoff = Backoff::new();
        // Whoever is at it has a clone; no new ones are made.
        while Arc::strong_count(&self.lent) > 1 {
            backoff.snooze();
        }
    }
}
