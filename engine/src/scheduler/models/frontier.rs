//! The charge over the commit frontier.

use super::{machine::Programs, model};
use crate::{
    scheduler::{
        Incarnation,
        charge::Charge,
        entry::{Entry, State},
    },
    sync::{AtomicU32, Ordering},
};
use loom::{cell::UnsafeCell, thread};
use std::{
    ops::ControlFlow,
    sync::{Arc, Mutex},
};

/// The part of a run that commits, with executions that do nothing.
struct Commits {
    entries: Vec<Entry<Programs>>,
    charge: Charge,
    frontier: AtomicU32,
    /// loom refuses two threads in here at one time, and one that does not see what the other did here.
    in_charge: UnsafeCell<()>,
    committed: Mutex<Vec<(u32, u32)>>,
    /// The entry whose first incarnation the frontier finds stale.
    stale: Option<u32>,
}

type Task = (u32, Incarnation);

impl Commits {
    #[expect(clippy::arc_with_non_send_sync, reason = "loom's threads may share its cells: it watches them")]
    fn new(entries: u32, stale: Option<u32>) -> Arc<Self> {
        Arc::new(Self {
            entries: (0..entries).map(|_| Entry::new()).collect(),
            charge: Charge::new(),
            frontier: AtomicU32::new(0),
            in_charge: UnsafeCell::new(()),
            committed: Mutex::default(),
            stale,
        })
    }

    /// Executes and commits as a worker does, beginning with one entry.
    fn work(&self, entry: u32) {
        let claimed = self.entries[entry as usize].start();
        let mut next = claimed.map(|incarnation| (entry, incarnation));
        while let Some((entry, incarnation)) = next {
            assert!(self.entries[entry as usize].finish(incarnation));
            next = self.charge.signal(|| self.in_charge.with_mut(|_| self.commit_ready()));
        }
    }

    /// As the scheduler's function of this name.
    fn commit_ready(&self) -> ControlFlow<Task> {
        loop {
            let index = self.frontier.load(Ordering::SeqCst);
            let Some(entry) = self.entries.get(index as usize) else { return ControlFlow::Continue(()) };
            let (state, incarnation) = entry.status();
            if state != State::Done || !entry.transition(incarnation, State::Done, State::Committing) {
                return ControlFlow::Continue(());
            }
            if self.stale == Some(index) && incarnation.0 == 0 {
                return ControlFlow::Break((index, entry.restart(incarnation)));
            }
            self.committed.lock().unwrap().push((index, incarnation.0));
            self.frontier.store(index + 1, Ordering::SeqCst);
            assert!(entry.transition(incarnation, State::Committing, State::Committed));
        }
    }
}

/// Entries that are executed on three threads are committed in order, each once, by whoever is in charge.
fn check(stale: Option<u32>) {
    model(3, move || {
        let commits = Commits::new(3, stale);
        let others = [1, 2].map(|entry| {
            let commits = Arc::clone(&commits);
            thread::spawn(move || commits.work(entry))
        });
        commits.work(0);
        for other in others {
            other.join().unwrap();
        }
        let expected: Vec<_> = (0..3).map(|entry| (entry, u32::from(stale == Some(entry)))).collect();
        assert_eq!(*commits.committed.lock().unwrap(), expected);
    });
}

/// A charge that is given up without a look at the signals that came meanwhile leaves entries behind.
#[test]
fn no_signal_is_lost() {
    check(None);
}

/// Whoever is in charge gives the charge up to execute the frontier's entry again. It must read the signals that it
/// forgets: by a plain store it would not see, when it comes back, what they stood for.
#[test]
fn no_signal_is_lost_when_the_charge_is_given_up() {
    check(Some(1));
}

/// As above, and the frontier's own thread is the one that runs again while the others signal.
#[test]
fn no_signal_is_lost_when_the_first_entry_runs_again() {
    check(Some(0));
}
