use parking_lot::{Condvar, Mutex};
use std::{fmt, sync::Arc, time::Duration};

/// A promise that a read can be repeated with success once it completes.
///
/// Tickets are cheap to clone. The [`TicketIssuer`] completes them; an issuer that is dropped completes its
/// tickets too, so that nobody waits for a store that is gone (the repeated read then reports the failure).
#[derive(Clone)]
pub struct Ticket {
    shared: Arc<Shared>,
}

/// The other end of a [`Ticket`], held by whoever performs the read.
pub struct TicketIssuer {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    done: Condvar,
}

#[derive(Default)]
struct State {
    complete: bool,
    callbacks: Vec<Box<dyn FnOnce() + Send>>,
}

impl Ticket {
    /// A new ticket and its issuer.
    #[must_use]
    pub fn issue() -> (Self, TicketIssuer) {
        let shared = Arc::new(Shared::default());
        (Self { shared: Arc::clone(&shared) }, TicketIssuer { shared })
    }

    /// Whether asking again now gives an answer.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.shared.state.lock().complete
    }

    /// Blocks the calling thread until the ticket completes.
    pub fn wait(&self) {
        let mut state = self.shared.state.lock();
        while !state.complete {
            self.shared.done.wait(&mut state);
        }
    }

    /// Blocks the calling thread until the ticket completes, but no longer than `timeout`. Whether it completed.
    pub fn wait_for(&self, timeout: Duration) -> bool {
        let mut state = self.shared.state.lock();
        self.shared.done.wait_while_for(&mut state, |state| !state.complete, timeout);
        state.complete
    }

    /// Runs `callback` on completion, on the completing thread; at once if it is complete already.
    pub fn on_complete(&self, callback: impl FnOnce() + Send + 'static) {
        let mut state = self.shared.state.lock();
        if state.complete {
            drop(state);
            callback();
        } else {
            state.callbacks.push(Box::new(callback));
        }
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("complete", &self.is_complete()).finish()
    }
}

impl TicketIssuer {
    /// Completes the ticket: wakes all who wait and runs the callbacks.
    pub fn complete(self) {}
}

impl Drop for TicketIssuer {
    fn drop(&mut self) {
        let callbacks = {
            let mut state = self.shared.state.lock();
            state.complete = true;
            std::mem::take(&mut state.callbacks)
        };
        self.shared.done.notify_all();
        for callback in callbacks {
            callback();
        }
    }
}

impl fmt::Debug for TicketIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketIssuer").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn waiters_and_callbacks_see_completion_once() {
        let (ticket, issuer) = Ticket::issue();
        let calls = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&calls);
        ticket.on_complete(move || {
            counter.fetch_add(1, Ordering::SeqCst);
        });
        let waiter = {
            let ticket = ticket.clone();
            std::thread::spawn(move || ticket.wait())
        };
        assert!(!ticket.is_complete());
        issuer.complete();
        waiter.join().unwrap();
        let counter = Arc::clone(&calls);
        ticket.on_complete(move || {
            counter.fetch_add(1, Ordering::SeqCst);
        });
        assert_eq!(calls.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn a_dropped_issuer_leaves_nobody_waiting() {
        let (ticket, issuer) = Ticket::issue();
        drop(issuer);
        ticket.wait();
    }

    #[test]
    fn a_wait_ends_with_its_timeout_or_the_ticket() {
        let (ticket, issuer) = Ticket::issue();
        assert!(!ticket.wait_for(Duration::from_millis(1)));
        drop(issuer);
        assert!(ticket.wait_for(Duration::from_secs(60)));
    }
}
