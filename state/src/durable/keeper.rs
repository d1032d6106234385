//! The thread that makes checkpoints.

use crate::{cold::ColdError, ssmt::SsmtError};
use parking_lot::{Condvar, Mutex};
use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread::{Builder, JoinHandle},
};

/// What it does.
pub(super) trait Work: Send + Sync {
    /// Whether there is so much to do.
    fn is_due(&self, every: usize) -> bool;

    fn work(&self) -> Result<(), SsmtError>;
}

/// The thread, if there is one; it ends with this.
#[derive(Debug)]
pub(super) struct Keeper {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_to_look: bool,
    is_to_end: bool,
    error: Option<SsmtError>,
}

impl Keeper {
    /// Starts it, to work whenever so much is due; never for 0.
    pub(super) fn start(work: Arc<dyn Work>, every: usize) -> Self {
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        let run = move || own.run(&*work, every);
        let thread = (every > 0).then(|| Builder::new().name("checkpoints".into()).spawn(run));
        // Without a thread there are no checkpoints but those that are asked for.
        Self { shared, thread: thread.and_then(Result::ok) }
    }

    /// There may be something to do.
    pub(super) fn look(&self) {
        self.shared.state.lock().is_to_look = true;
        self.shared.changed.notify_one();
    }

    /// What went wrong the last time.
    pub(super) fn error(&self) -> Option<SsmtError> {
        self.shared.state.lock().error.clone()
    }
}

impl Shared {
    fn run(&self, work: &dyn Work, every: usize) {
        loop {
            {
                let mut state = self.state.lock();
                while !state.is_to_look && !state.is_to_end {
                    self.changed.wait(&mut state);
                }
                if state.is_to_end {
                    return;
                }
                state.is_to_look = false;
            }
            if work.is_due(every) {
                let worked = catch_unwind(AssertUnwindSafe(|| work.work()));
                let error = worked.unwrap_or_else(|panic| Err(told(&*panic).into())).err();
                let mut state = self.state.lock();
                // What made it fail first says more than that it failed.
                let is_known =
                    matches!(&error, Some(SsmtError::Cold(cold)) if matches!(**cold, ColdError::Failed));
                if !is_known || state.error.is_none() {
                    state.error = error;
                }
            }
        }
    }
}

fn told(panic: &(dyn Any + Send)) -> ColdError {
    let text = panic.downcast_ref::<&str>().copied();
    let message = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    ColdError::Panicked { message: message.unwrap_or("no message").to_owned() }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.shared.state.lock().is_to_end = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // What panics in it was told.
            let _ = thread.join();
        }
    }
}
