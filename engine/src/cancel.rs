use crate::CancelReason;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

/// Ends an execution from another thread.
#[derive(Debug, Clone, Default)]
pub struct CancelToken {
    cancelled: Arc<AtomicBool>,
}

impl CancelToken {
    /// Ends every execution that was given this token, at its next state access, jump or call.
    pub fn cancel(&self) {
        // Relaxed: the flag publishes nothing.
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether [`CancelToken::cancel`] was called.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}

/// How many state accesses go by between two looks at the clock.
pub(crate) const DEADLINE_INTERVAL: u32 = 256;

/// Tells everybody in a run to stop: somebody raised it, or the run's limits are exceeded.
#[derive(Debug, Default)]
pub(crate) struct StopSign {
    raised: AtomicBool,
    pub(crate) limits: Limits,
}

impl StopSign {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { raised: AtomicBool::new(false), limits }
    }

    pub(crate) fn raise(&self) {
        self.raised.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_raised(&self) -> bool {
        // SeqCst: whoever is about to sleep must not miss it (see `Idle`).
        self.raised.load(Ordering::SeqCst)
    }

    /// Raised or cancelled, but without a look at the clock.
    pub(crate) fn is_set(&self) -> bool {
        self.is_raised() || self.limits.token.is_cancelled()
    }

    /// Whether to stop, whatever the reason.
    pub(crate) fn should_stop(&self) -> bool {
        self.is_raised() || self.limits.exceeded().is_some()
    }
}

/// Token and deadline together, asked often and cheaply.
#[derive(Debug, Clone, Default)]
pub(crate) struct Limits {
    pub(crate) token: CancelToken,
    pub(crate) deadline: Option<Instant>,
}

impl Limits {
    /// What ended the execution, if anything did.
    pub(crate) fn exceeded(&self) -> Option<CancelReason> {
        if self.token.is_cancelled() {
            Some(CancelReason::Token)
        } else if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            Some(CancelReason::Deadline)
        } else {
            None
        }
    }
}
