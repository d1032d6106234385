use crate::pool::{Seat, Waker};
use parking_lot::Mutex;
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// The thread that waits for an outcome. It sleeps apart from the pool's workers, since it has no use for the work
/// of other runs.
#[derive(Default)]
pub(super) struct Driver {
    pub(super) waker: Mutex<Option<Waker>>,
    pub(super) is_asleep: AtomicBool,
    /// It would do more if it were woken; else it has enough to wait for.
    takes_more: AtomicBool,
}

impl Driver {
    /// Sleeps until woken, or for as long as is given, unless `has_work` says otherwise after the sleep was announced. May
    /// wake for nothing.
    pub(super) fn sleep_unless(
        &self,
        seat: &Seat,
        most: Option<Duration>,
        takes_more: bool,
        has_work: impl FnOnce() -> bool,
    ) {
        self.takes_more.store(takes_more, Ordering::SeqCst);
        // As in `Idle`: first the announcement, then the look.
        self.is_asleep.store(true, Ordering::SeqCst);
        if !has_work() {
            seat.park(most);
        }
        self.is_asleep.store(false, Ordering::SeqCst);
    }

    /// Wakes the driver if it sleeps for want of work; whether it did.
    pub(super) fn wake_to_work(&self) -> bool {
        self.is_asleep.load(Ordering::SeqCst) && self.takes_more.load(Ordering::SeqCst) && self.wake()
    }

    /// Wakes the driver if it sleeps; whether it did.
    pub(super) fn wake(&self) -> bool {
        let was_asleep =
            self.is_asleep.load(Ordering::SeqCst) && self.is_asleep.swap(false, Ordering::SeqCst);
        if was_asleep && let Some(waker) = &*self.waker.lock() {
            waker.wake();
        }
        was_asleep
    }
}
