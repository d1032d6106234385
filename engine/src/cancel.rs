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
