use super::{Job, WorkerPool};
use citius_state::{IdleWork, SharedWork, Workers};
use std::{
    collections::BTreeSet,
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
};

fn pool(workers: usize) -> Arc<WorkerPool> {
    WorkerPool::unpinned(NonZeroUsize::new(workers).unwrap()).unwrap()
}

fn shared(work: impl Fn(usize) + Send + Sync + 'static) -> Arc<SharedWork> {
    Arc::new(work)
}

fn wait_until(holds: impl Fn() -> bool) {
    while !holds() {
        thread::yield_now();
    }
}

fn wait_until_asleep(pool: &WorkerPool) {
    wait_until(|| pool.idle().sleeper_count() == pool.size().get() - 1);
}

/// The number in the name of this thread, if it is a pool's.
fn own_number() -> Option<usize> {
    thread::current().name()?.strip_prefix("citius-worker-")?.parse().ok()
}

#[test]
fn every_free_worker_calls_once_by_its_own_number() {
    for size in [1, 2, 3, 8] {
        let pool = pool(size);
        assert_eq!(pool.count().get(), size);
        for _ in 0..20 {
            let calls = Arc::new(Mutex::new(Vec::new()));
            let noted = Arc::clone(&calls);
            let caller = thread::current().id();
            pool.run(&shared(move |worker| {
                if worker == 0 {
                    assert_eq!(thread::current().id(), caller);
                } else {
                    assert_eq!(own_number(), Some(worker));
                }
                noted.lock().unwrap().push(worker);
                // Nobody leaves before all are here: so all of them come.
                wait_until(|| noted.lock().unwrap().len() >= size);
            }));
            let mut calls = Arc::into_inner(calls).unwrap().into_inner().unwrap();
            calls.sort_unstable();
            assert_eq!(calls, (0..size).collect::<Vec<_>>());
        }
    }
}

#[test]
fn work_is_shared_by_workers_of_any_number_of_callers_and_inside_of_work() {
    const ITEMS: u64 = 64;
    let pool = pool(4);
    let add_all = |pool: &Arc<WorkerPool>, item: Arc<dyn Fn(u64) -> u64 + Send + Sync>| {
        let (next, sum) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let added = Arc::clone(&sum);
        pool.run(&shared(move |_| {
            loop {
                let at = next.fetch_add(1, Ordering::SeqCst);
                if at >= ITEMS {
                    break;
                }
                added.fetch_add(item(at), Ordering::SeqCst);
            }
        }));
        sum.load(Ordering::SeqCst)
    };
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..20 {
                    let inner = Arc::clone(&pool);
                    let nested = move |at| if at % 8 == 0 { add_all(&inner, Arc::new(|at| at)) } else { 1 };
                    let expected = 8 * (ITEMS * (ITEMS - 1) / 2) + ITEMS - 8;
                    assert_eq!(add_all(&pool, Arc::new(nested)), expected);
                }
            });
        }
    });
    assert!(pool.shared.jobs.lock().is_empty());
}

#[test]
fn a_panic_reaches_the_caller_when_all_calls_have_returned() {
    let pool = pool(3);
    for faulty in 0..3 {
        let inside = Arc::new(AtomicUsize::new(0));
        let (began, left) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&inside));
        let work = shared(move |worker| {
            inside.fetch_add(1, Ordering::SeqCst);
            began.fetch_add(1, Ordering::SeqCst);
            wait_until(|| began.load(Ordering::SeqCst) >= 3);
            if worker != faulty {
                // Whoever panics leaves before the others do.
                (0..1_000).for_each(|_| thread::yield_now());
            }
            inside.fetch_sub(1, Ordering::SeqCst);
            assert_ne!(worker, faulty, "worker fell over");
        });
        let payload = catch_unwind(AssertUnwindSafe(|| pool.run(&work))).unwrap_err();
        assert_eq!(left.load(Ordering::SeqCst), 0);
        assert!(payload.downcast_ref::<String>().unwrap().contains("worker fell over"));
        assert!(pool.shared.jobs.lock().is_empty());
    }
}

/// Counts, and remembers who came.
#[derive(Default)]
struct Pieces {
    left: AtomicUsize,
    done: AtomicUsize,
    helpers: Mutex<BTreeSet<usize>>,
}

impl IdleWork for Pieces {
    fn has_work(&self) -> bool {
        self.left.load(Ordering::SeqCst) > 0
    }

    fn help(&self, worker: usize) -> bool {
        let take = |left: usize| left.checked_sub(1);
        if self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_err() {
            return false;
        }
        assert_eq!(own_number(), Some(worker));
        self.helpers.lock().unwrap().insert(worker);
        self.done.fetch_add(1, Ordering::SeqCst);
        true
    }
}

#[test]
fn lent_work_wakes_nobody_by_itself_and_sleepers_when_it_is_said_to_be_there() {
    let pool = pool(4);
    let pieces = Arc::new(Pieces::default());
    let lease = pool.lend(Arc::clone(&pieces) as Arc<dyn IdleWork>);
    wait_until_asleep(&pool);
    pieces.left.store(100, Ordering::SeqCst);
    for _ in 0..1_000 {
        thread::yield_now();
        assert_eq!(pool.idle().sleeper_count(), 3);
    }
    assert_eq!(pieces.done.load(Ordering::SeqCst), 0);
    for round in 1..=50 {
        pieces.left.store(100, Ordering::SeqCst);
        lease.wake();
        wait_until(|| pieces.done.load(Ordering::SeqCst) == 100 * round);
        // Then it is over, and they sleep again.
        wait_until_asleep(&pool);
    }
    assert_eq!(lease.panic_message(), None);
}

/// Says that there is something to do, and has nothing for those who come.
#[derive(Default)]
struct Mirage(AtomicUsize);

impl IdleWork for Mirage {
    fn has_work(&self) -> bool {
        true
    }

    fn help(&self, _worker: usize) -> bool {
        self.0.fetch_add(1, Ordering::SeqCst);
        false
    }
}

#[test]
fn lent_work_that_nobody_can_help_with_keeps_nobody_awake() {
    let pool = pool(3);
    let mirage = Arc::new(Mirage::default());
    let lease = pool.lend(Arc::clone(&mirage) as Arc<dyn IdleWork>);
    lease.wake();
    wait_until(|| mirage.0.load(Ordering::SeqCst) > 0);
    wait_until_asleep(&pool);
    // Each may still have one look before it sleeps.
    let looks = mirage.0.load(Ordering::SeqCst);
    (0..1_000).for_each(|_| thread::yield_now());
    assert!(mirage.0.load(Ordering::SeqCst) <= looks + 2);
}

/// Ends when this many workers have been there.
struct Meeting {
    seen: Mutex<BTreeSet<usize>>,
    size: usize,
}

impl IdleWork for Meeting {
    fn has_work(&self) -> bool {
        self.seen.lock().unwrap().len() < self.size
    }

    fn help(&self, worker: usize) -> bool {
        self.seen.lock().unwrap().insert(worker);
        true
    }
}

#[test]
fn one_wake_up_is_enough_for_all_that_are_needed() {
    let pool = pool(5);
    wait_until_asleep(&pool);
    let meeting = Arc::new(Meeting { seen: Mutex::default(), size: 4 });
    let lease = pool.lend(Arc::clone(&meeting) as Arc<dyn IdleWork>);
    lease.wake();
    wait_until(|| !meeting.has_work());
    assert_eq!(*meeting.seen.lock().unwrap(), BTreeSet::from([1, 2, 3, 4]));
}

/// There is always more.
#[derive(Default)]
struct Endless {
    done: AtomicUsize,
    has_ended: AtomicBool,
}

impl IdleWork for Endless {
    fn has_work(&self) -> bool {
        true
    }

    fn help(&self, _worker: usize) -> bool {
        assert!(!self.has_ended.load(Ordering::SeqCst), "helped behind the end of the lease");
        self.done.fetch_add(1, Ordering::SeqCst);
        true
    }
}

#[test]
fn a_lease_ends_when_it_is_dropped() {
    let pool = pool(3);
    let other = Arc::new(Pieces::default());
    let other_lease = pool.lend(Arc::clone(&other) as Arc<dyn IdleWork>);
    for round in 1..=50 {
        let endless = Arc::new(Endless::default());
        let lease = pool.lend(Arc::clone(&endless) as Arc<dyn IdleWork>);
        lease.wake();
        // Work that never ends leaves the other its turns.
        other.left.store(5, Ordering::SeqCst);
        wait_until(|| {
            other.done.load(Ordering::SeqCst) == 5 * round && endless.done.load(Ordering::SeqCst) >= 5
        });
        drop(lease);
        endless.has_ended.store(true, Ordering::SeqCst);
        assert!(Arc::into_inner(endless).is_some(), "nobody has it any more");
    }
    assert_eq!(other_lease.panic_message(), None);
}

/// An execution that begins in the middle of a piece of lent work, and must be next.
#[derive(Default)]
struct Urgent {
    is_there: AtomicBool,
    done: AtomicUsize,
    /// Pieces that were begun while the execution was there.
    too_late: AtomicUsize,
    pieces: AtomicUsize,
}

impl Job for Urgent {
    fn help(&self, _worker: usize) -> bool {
        let worked = self.is_there.swap(false, Ordering::SeqCst);
        self.done.fetch_add(usize::from(worked), Ordering::SeqCst);
        worked
    }

    fn has_work(&self, _worker: usize) -> bool {
        self.is_there.load(Ordering::SeqCst)
    }
}

impl IdleWork for Urgent {
    fn has_work(&self) -> bool {
        true
    }

    fn help(&self, _worker: usize) -> bool {
        if self.is_there.load(Ordering::SeqCst) {
            self.too_late.fetch_add(1, Ordering::SeqCst);
        }
        if self.pieces.fetch_add(1, Ordering::SeqCst) % 7 == 6 {
            self.is_there.store(true, Ordering::SeqCst);
        }
        true
    }
}

#[test]
fn executions_come_before_lent_work() {
    // One worker besides the caller: between two pieces it looks for executions.
    let pool = pool(2);
    let urgent = Arc::new(Urgent::default());
    pool.offer(Arc::clone(&urgent) as Arc<dyn Job>);
    let lease = pool.lend(Arc::clone(&urgent) as Arc<dyn IdleWork>);
    lease.wake();
    wait_until(|| urgent.done.load(Ordering::SeqCst) >= 100);
    drop(lease);
    pool.retire(&urgent);
    assert_eq!(urgent.too_late.load(Ordering::SeqCst), 0);
}

#[derive(Default)]
struct Faulty(AtomicUsize);

impl IdleWork for Faulty {
    fn has_work(&self) -> bool {
        true
    }

    fn help(&self, _worker: usize) -> bool {
        self.0.fetch_add(1, Ordering::SeqCst);
        panic!("the lent work fell over")
    }
}

#[test]
fn a_panic_of_lent_work_ends_its_lease_and_nothing_else() {
    let pool = pool(3);
    let faulty = Arc::new(Faulty::default());
    let lease = pool.lend(Arc::clone(&faulty) as Arc<dyn IdleWork>);
    let pieces = Arc::new(Pieces::default());
    let other = pool.lend(Arc::clone(&pieces) as Arc<dyn IdleWork>);
    lease.wake();
    wait_until(|| lease.panic_message().is_some());
    assert_eq!(lease.panic_message().unwrap(), "the lent work fell over");
    pieces.left.store(10, Ordering::SeqCst);
    other.wake();
    wait_until(|| pieces.done.load(Ordering::SeqCst) == 10);
    drop(lease);
    wait_until_asleep(&pool);
    assert!(
        faulty.0.load(Ordering::SeqCst) <= 2,
        "each of the workers may have come before the other's panic"
    );
}
