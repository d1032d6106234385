use crossbeam::sync::{Parker, Unparker};
use parking_lot::Mutex;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Threads that have nothing to do, asleep until somebody has work for them.
///
/// Protocol: a sleeper first says that it sleeps, then looks for work once more; whoever makes work first makes
/// it visible, then looks for sleepers. All four are SeqCst accesses (or under a lock), so they cannot miss each other.
#[derive(Debug, Default)]
pub(crate) struct Idle {
    count: AtomicUsize,
    sleepers: Mutex<Vec<Arc<Unparker>>>,
}

/// A thread's own means of sleeping.
#[derive(Debug)]
pub(crate) struct Seat {
    parker: Parker,
    unparker: Arc<Unparker>,
}

impl Seat {
    pub(crate) fn new() -> Self {
        let parker = Parker::new();
        let unparker = Arc::new(parker.unparker().clone());
        Self { parker, unparker }
    }

    /// Sleeps until woken.
    pub(crate) fn park(&self) {
        self.parker.park();
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
    /// Sleeps until woken, unless `has_work` says otherwise after the sleep was announced. May wake for nothing.
    pub(crate) fn sleep_unless(&self, seat: &Seat, has_work: impl FnOnce() -> bool) {
        self.sleepers.lock().push(Arc::clone(&seat.unparker));
        self.count.fetch_add(1, Ordering::SeqCst);
        if !has_work() {
            seat.park();
        }
        let mut sleepers = self.sleepers.lock();
        if let Some(place) = sleepers.iter().position(|sleeper| Arc::ptr_eq(sleeper, &seat.unparker)) {
            sleepers.swap_remove(place);
            self.count.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Wakes one sleeper, if there is one.
    pub(crate) fn wake_one(&self) {
        if self.count.load(Ordering::SeqCst) > 0
            && let Some(sleeper) = self.take_one()
        {
            sleeper.unpark();
        }
    }

    /// Wakes all sleepers.
    pub(crate) fn wake_all(&self) {
        if self.count.load(Ordering::SeqCst) > 0 {
            while let Some(sleeper) = self.take_one() {
                sleeper.unpark();
            }
        }
    }

    fn take_one(&self) -> Option<Arc<Unparker>> {
        let sleeper = self.sleepers.lock().pop()?;
        self.count.fetch_sub(1, Ordering::SeqCst);
        Some(sleeper)
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
                let seat = Seat::new();
                while !work.load(Ordering::SeqCst) {
                    idle.sleep_unless(&seat, || work.load(Ordering::SeqCst));
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
}
