use crossbeam::sync::{Parker, Unparker};
use parking_lot::Mutex;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// Threads that have nothing to do, asleep until somebody has work for them.
///
/// Protocol: a sleeper first says that it sleeps, then looks for work once more; whoever makes work first makes
/// it visible, then looks for sleepers. All four are SeqCst accesses (or under a lock), so they cannot miss each other.
#[derive(Debug, Default)]
pub(crate) struct Idle {
    count: AtomicUsize,
    sleepers: Mutex<Vec<Sleeper>>,
}

#[derive(Debug)]
struct Sleeper {
    worker: usize,
    unparker: Arc<Unparker>,
}

/// A thread's own means of sleeping.
#[derive(Debug)]
pub(crate) struct Seat {
    worker: usize,
    parker: Parker,
    unparker: Arc<Unparker>,
}

impl Seat {
    /// The seat of a worker; the thread that asks for a result is worker 0.
    pub(crate) fn new(worker: usize) -> Self {
        let parker = Parker::new();
        let unparker = Arc::new(parker.unparker().clone());
        Self { worker, parker, unparker }
    }

    /// Sleeps until woken, but no longer than `most` if that is given.
    pub(crate) fn park(&self, most: Option<Duration>) {
        match most {
            Some(most) => self.parker.park_timeout(most),
            None => self.parker.park(),
        }
    }

    /// Wakes this seat's sleeper.
    pub(crate) fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.unparker))
    }
}

/// Wakes one particular sleeper.
#[derive(Debug)]
pub(crate) struct Waker(Arc<Unparker>);

impl Waker {
    pub(crate) fn wake(&self) {
        self.0.unpark();
    }
}

impl Idle {
    /// Sleeps until woken, or for as long as is given, unless `has_work` says otherwise after the sleep was announced. May
    /// wake for nothing.
    pub(crate) fn sleep_unless(&self, seat: &Seat, most: Option<Duration>, has_work: impl FnOnce() -> bool) {
        let sleeper = Sleeper { worker: seat.worker, unparker: Arc::clone(&seat.unparker) };
        self.sleepers.lock().push(sleeper);
        self.count.fetch_add(1, Ordering::SeqCst);
        if !has_work() {
            seat.park(most);
        }
        let mut sleepers = self.sleepers.lock();
        if let Some(place) =
            sleepers.iter().position(|sleeper| Arc::ptr_eq(&sleeper.unparker, &seat.unparker))
        {
            sleepers.swap_remove(place);
            self.count.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// How many sleep, or are about to.
    #[cfg(all(test, not(feature = "loom")))]
    pub(crate) fn sleeper_count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// Wakes one sleeper, if there is one; whether there was.
    pub(crate) fn wake_one(&self) -> bool {
        let sleeper = if self.count.load(Ordering::SeqCst) > 0 { self.take_one() } else { None };
        if let Some(sleeper) = &sleeper {
            sleeper.unpark();
        }
        sleeper.is_some()
    }

    /// Wakes all sleepers.
    pub(crate) fn wake_all(&self) {
        if self.count.load(Ordering::SeqCst) > 0 {
            while let Some(sleeper) = self.take_one() {
                sleeper.unpark();
            }
        }
    }

    /// The first worker of those that sleep: a plan gives the first ones cores of their own, and the caller's to none of
    /// them.
    fn take_one(&self) -> Option<Arc<Unparker>> {
        let mut sleepers = self.sleepers.lock();
        let (place, _) = sleepers.iter().enumerate().min_by_key(|(_, sleeper)| sleeper.worker)?;
        let sleeper = sleepers.swap_remove(place);
        self.count.fetch_sub(1, Ordering::SeqCst);
        Some(sleeper.unparker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    #[test]
    fn a_sleeper_is_woken_and_leaves_no_trace() {
        let idle = Idle::default();
        let work = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let seat = Seat::new(1);
                while !work.load(Ordering::SeqCst) {
                    idle.sleep_unless(&seat, None, || work.load(Ordering::SeqCst));
                }
            });
            while idle.count.load(Ordering::SeqCst) == 0 && !work.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            work.store(true, Ordering::SeqCst);
            idle.wake_all();
        });
        assert_eq!(idle.count.load(Ordering::SeqCst), 0);
        assert!(idle.sleepers.lock().is_empty());
    }

    #[test]
    fn the_first_worker_is_woken_first() {
        let idle = Idle::default();
        let (sender, woken) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            for (asleep, worker) in [2, 1, 3].into_iter().enumerate() {
                let (idle, sender) = (&idle, sender.clone());
                scope.spawn(move || {
                    idle.sleep_unless(&Seat::new(worker), None, || false);
                    sender.send(worker).unwrap();
                });
                while idle.count.load(Ordering::SeqCst) <= asleep {
                    std::thread::yield_now();
                }
            }
            for worker in [1, 2, 3] {
                idle.wake_one();
                assert_eq!(woken.recv(), Ok(worker));
            }
        });
    }
}
