//! Phases of tasks, of which each is to be done once, and seen by whoever comes after its phase.

use super::model;
use crate::scheduler::partitioned::phases::{Phase, Phases};
use loom::{cell::UnsafeCell, thread};
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

/// Two phases over two shards: the second finds in each what the first left in the other.
struct Run {
    phases: Phases,
    shards: [Shard; 2],
    sums: [Shard; 2],
}

#[derive(Default)]
struct Shard {
    /// loom refuses two threads in here at one time, and one that does not see what another did here.
    access: UnsafeCell<()>,
    value: AtomicU32,
}

impl Shard {
    fn get(&self) -> u32 {
        self.access.with(|_| self.value.load(Ordering::Relaxed))
    }

    fn add(&self, amount: u32) {
        self.access.with_mut(|_| self.value.fetch_add(amount, Ordering::Relaxed));
    }
}

impl Run {
    fn take_tasks(&self) {
        while let Some((phase, task)) = self.phases.take() {
            let task = task as usize;
            match phase {
                Phase::Resolve => self.shards[task].add(1 + task as u32),
                Phase::Apply => self.sums[task].add(self.shards[1 - task].get()),
                other => panic!("{other:?} was never opened"),
            }
            self.phases.finish();
        }
    }

    fn run_phase(&self, phase: Phase) {
        self.phases.open(phase, 2);
        self.take_tasks();
        while !self.phases.is_over() {
            thread::yield_now();
        }
    }
}

#[test]
fn every_task_is_done_once_and_before_the_next_phase() {
    model(3, || {
        let run = Run { phases: Phases::new(), shards: Default::default(), sums: Default::default() };
        #[expect(
            clippy::arc_with_non_send_sync,
            reason = "loom's threads may share its cells: it watches them"
        )]
        let run = Arc::new(run);
        // They come when they come, and may miss a phase or both.
        let helpers = [0, 1].map(|_| {
            let run = Arc::clone(&run);
            thread::spawn(move || run.take_tasks())
        });
        run.run_phase(Phase::Resolve);
        run.run_phase(Phase::Apply);
        assert_eq!(run.sums.each_ref().map(Shard::get), [2, 1]);
        for helper in helpers {
            helper.join().unwrap();
        }
    });
}
