use super::{
    machine::{Counters, Left, Program},
    signs::Signs,
};
use crate::{THREADS, TooFewThreads, WrongAnswer};
use citius_engine::{
    WorkerPool,
    scheduler::{EntryIndex, Interrupt, Optimistic, RunSettings, View},
};
use std::{
    num::NonZeroUsize,
    sync::{Arc, OnceLock},
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

/// Two entries, of which each waits until the other has begun too: the second needs a worker that sleeps.
pub struct WakeUpBench {
    strategy: Optimistic<Counters<Both>>,
    settings: RunSettings,
}

const NAME: &str = "wake-up";

/// Far longer than a worker takes to fall asleep.
const PAUSE: Duration = Duration::from_millis(1);

/// When and where each of two entries began.
#[derive(Debug)]
struct Both {
    begun: [OnceLock<(Instant, ThreadId)>; 2],
    signs: Signs,
}

impl Program for Both {
    fn execute<W: View<Counters<Self>>>(
        &self,
        _view: &mut W,
        EntryIndex(entry): EntryIndex,
    ) -> Result<(), Interrupt<Counters<Self>>> {
        self.begun[entry as usize].get_or_init(|| (Instant::now(), thread::current().id()));
        self.signs.give(entry);
        self.signs.wait_for(1 - entry);
        Ok(())
    }
}

impl WakeUpBench {
    /// A pool of two of the threads at hand.
    ///
    /// # Errors
    ///
    /// [`TooFewThreads`] if there are not two.
    pub fn new(at_hand: NonZeroUsize) -> Result<Self, TooFewThreads> {
        TooFewThreads::check(NAME, at_hand)?;
        let pool = WorkerPool::unpinned(THREADS).unwrap_or_else(|error| panic!("{error}"));
        Ok(Self { strategy: Optimistic::default(), settings: RunSettings::new(pool) })
    }

    /// Lets the pool fall asleep and submits both entries. Returns the time from there until the later one began.
    ///
    /// # Errors
    ///
    /// [`WrongAnswer`] if the entries did not run at one time, on two threads.
    pub fn run(&self) -> Result<Duration, WrongAnswer> {
        thread::sleep(PAUSE);
        let machine = Counters::new(Both { begun: Default::default(), signs: Signs::new(2) }, 2);
        let left = machine.run(&self.strategy, &self.settings);
        let wrong = |reason: &str| WrongAnswer { bench: NAME.to_owned(), reason: reason.to_owned() };
        time_to_second(&machine, &left)
            .ok_or_else(|| wrong("the entries did not run on two threads at one time"))
    }

    /// Checks that a second thread comes.
    ///
    /// # Errors
    ///
    /// [`WrongAnswer`] if none does.
    pub fn verify(&self) -> Result<(), WrongAnswer> {
        self.run().map(|_| ())
    }
}

/// From the submission until both had begun; `None` if one thread ran both.
fn time_to_second(machine: &Arc<Counters<Both>>, Left { metrics, .. }: &Left) -> Option<Duration> {
    let Both { begun: [first, second], signs } = &machine.program;
    let ((first_at, first), (second_at, second)) = (first.get()?, second.get()?);
    let submitted_at = metrics.sealed_at?.checked_sub(metrics.wall)?;
    (first != second && !signs.is_missed())
        .then(|| (*first_at).max(*second_at).saturating_duration_since(submitted_at))
}
