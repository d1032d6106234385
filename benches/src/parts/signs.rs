use std::{
    hint,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

/// Signs that entries on several threads give one another, one each.
#[derive(Debug)]
pub(super) struct Signs {
    given: Vec<AtomicBool>,
    is_missed: AtomicBool,
}

/// Longest wait for a sign: after a first one that did not come nobody waits any more.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Looks at a sign before the thread gives way to others.
const SPINS: u32 = 1 << 12;

impl Signs {
    /// Signs of so many entries.
    pub(super) fn new(entries: u32) -> Self {
        Self { given: (0..entries).map(|_| AtomicBool::new(false)).collect(), is_missed: false.into() }
    }

    /// Gives an entry's sign; again, if it is executed again.
    pub(super) fn give(&self, entry: u32) {
        self.given[entry as usize].store(true, Ordering::Release);
    }

    /// Waits for an entry's sign, but not for ever.
    pub(super) fn wait_for(&self, entry: u32) {
        let is_given = || self.given[entry as usize].load(Ordering::Acquire);
        for _ in 0..SPINS {
            if is_given() {
                return;
            }
            hint::spin_loop();
        }
        let began = Instant::now();
        while !is_given() && !self.is_missed() {
            if began.elapsed() > WAIT_MAX {
                self.is_missed.store(true, Ordering::Relaxed);
            }
            thread::yield_now();
        }
    }

    /// Whether somebody waited in vain.
    pub(super) fn is_missed(&self) -> bool {
        self.is_missed.load(Ordering::Relaxed)
    }
}
