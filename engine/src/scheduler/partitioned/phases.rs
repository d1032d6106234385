use crate::sync::{AtomicU32, AtomicU64, Ordering};
use crossbeam::utils::{Backoff, CachePadded};

/// One phase after another, each of some tasks, which whoever is there takes.
///
/// One thread opens a phase, takes tasks like everybody else, and waits until all are done before it opens the next. What
/// a task needs to know besides its number is set before its phase is opened, and stays until the last task is done.
#[derive(Debug)]
pub(in crate::scheduler) struct Phases {
    /// Which phase, how many tasks it has, and the next one. All in one word: who takes a task knows of which phase it is.
    word: CachePadded<AtomicU64>,
    done: CachePadded<AtomicU32>,
}

/// What is done in a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::scheduler) enum Phase {
    /// Entries are planned; a task is a chunk of entries.
    Plan,
    /// Locations of planned parts are looked up; a task is a shard.
    Resolve,
    /// Parts are made; a task is a shard.
    Apply,
    /// Changes are noted; a task is a shard.
    Seal,
}

const ALL: [Phase; 4] = [Phase::Plan, Phase::Resolve, Phase::Apply, Phase::Seal];

const COUNT_SHIFT: u32 = 28;
const PHASE_SHIFT: u32 = 2 * COUNT_SHIFT;
const COUNT_MASK: u64 = (1 << COUNT_SHIFT) - 1;

fn count(word: u64) -> u64 {
    word >> COUNT_SHIFT & COUNT_MASK
}

fn next(word: u64) -> u64 {
    word & COUNT_MASK
}

impl Phases {
    /// No phase is open.
    pub(in crate::scheduler) fn new() -> Self {
        Self { word: CachePadded::new(AtomicU64::new(0)), done: CachePadded::new(AtomicU32::new(0)) }
    }

    /// Opens a phase. The one before is over.
    pub(in crate::scheduler) fn open(&self, phase: Phase, tasks: u32) {
        self.done.store(0, Ordering::SeqCst);
        let word = (phase as u64) << PHASE_SHIFT | u64::from(tasks) << COUNT_SHIFT;
        // SeqCst: who opens a phase looks for sleepers next (see `Idle`).
        self.word.store(word, Ordering::SeqCst);
    }

    /// Whether there are tasks to take.
    pub(in crate::scheduler) fn is_open(&self) -> bool {
        let word = self.word.load(Ordering::SeqCst);
        next(word) < count(word)
    }

    /// Takes a task. [`Phases::finish`] follows.
    pub(in crate::scheduler) fn take(&self) -> Option<(Phase, u32)> {
        let mut word = self.word.load(Ordering::SeqCst);
        while next(word) < count(word) {
            match self.word.compare_exchange(word, word + 1, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => return Some((ALL[(word >> PHASE_SHIFT) as usize], next(word) as u32)),
                Err(now) => word = now,
            }
        }
        None
    }

    /// A task is done.
    pub(in crate::scheduler) fn finish(&self) {
        // Release: what the task left is seen by whoever waits for it.
        self.done.fetch_add(1, Ordering::SeqCst);
    }

    /// Whether all tasks of the phase are done.
    pub(in crate::scheduler) fn is_over(&self) -> bool {
        u64::from(self.done.load(Ordering::SeqCst)) == count(self.word.load(Ordering::SeqCst))
    }

    /// Waits until all tasks of the phase are done. They are taken, and short.
    pub(in crate::scheduler) fn wait(&self) {
        let backoff = Backoff::new();
        while !self.is_over() {
            backoff.snooze();
        }
    }
}
