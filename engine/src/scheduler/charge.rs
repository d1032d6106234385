use crate::sync::{AtomicUsize, Ordering};
use std::ops::ControlFlow;

/// Makes one of many signalling threads do a piece of work, without locks and without lost signals.
///
/// Whoever signals first is in charge and works; signals that arrive meanwhile make it look again. Others return
/// at once. The models in `models/frontier.rs` check both halves.
#[derive(Debug)]
pub(crate) struct Charge {
    signals: AtomicUsize,
}

impl Charge {
    pub(crate) fn new() -> Self {
        Self { signals: AtomicUsize::new(0) }
    }

    /// Signals that there may be work. Runs `work` if nobody is in charge, again for signals that arrive while
    /// it runs. A `work` that breaks gives up the charge with a value: signals until then are forgotten, so it
    /// must only break if the value's owner signals again later.
    pub(crate) fn signal<T>(&self, mut work: impl FnMut() -> ControlFlow<T>) -> Option<T> {
        // AcqRel: what the signaller wrote before is seen by who is in charge (its exchange below reads this).
        if self.signals.fetch_add(1, Ordering::AcqRel) != 0 {
            return None;
        }
        let mut seen = 1;
        loop {
            if let ControlFlow::Break(value) = work() {
                // A swap, not a store: it takes part in the order of signals, so that who signals next sees what
                // those before wrote.
                self.signals.swap(0, Ordering::AcqRel);
                return Some(value);
            }
            match self.signals.compare_exchange(seen, 0, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return None,
                Err(now) => seen = now,
            }
        }
    }
}
