//! A whole run, two threads driving it.

use super::{
    machine::{Op, Programs, Sealed},
    model,
};
use crate::{
    WorkerPool,
    scheduler::{Optimistic, Run, RunSettings, Serial, Strategy},
};
use loom::thread;
use std::{
    cell::Cell,
    num::NonZeroUsize,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

/// How often a thread looks for work before it leaves, found or not. A model must end in every schedule.
const LOOKS_MAX: u32 = 8;
/// Of a coroutine, in words.
const STACK_SIZE: usize = 1 << 15;

/// How often something happened in any schedule: a model in which nothing goes wrong shows nothing.
#[derive(Debug, Default)]
struct Seen {
    aborts: AtomicU64,
    waits: AtomicU64,
}

/// Runs the entries in every schedule of two threads, and compares with the serial run.
fn check(preemptions_max: usize, entries: &'static [Op]) -> Arc<Seen> {
    let pool = WorkerPool::unpinned(NonZeroUsize::MIN).unwrap();
    let expected = {
        let vm = Programs::new(entries);
        let run = Serial::default().start(Arc::clone(&vm), RunSettings::new(Arc::clone(&pool)));
        run.submit(0, 1 << 20);
        run.drive(&|| false);
        run.close();
        take(&vm.sealed)
    };
    assert!(expected.is_some());
    let seen = Arc::new(Seen::default());
    let total = Arc::clone(&seen);
    model(preemptions_max, move || {
        let vm = Programs::new(entries);
        let run = Optimistic::default().start(Arc::clone(&vm), RunSettings::new(Arc::clone(&pool)));
        run.submit(0, 1 << 20);
        let drivers = [0; 2].map(|_| {
            let run = Arc::clone(&run);
            thread::Builder::new().stack_size(STACK_SIZE).spawn(move || drive(&*run)).unwrap()
        });
        for driver in drivers {
            driver.join().unwrap();
        }
        // Both may have left while the other still worked. What one of them alone does not find is lost.
        let last = {
            let run = Arc::clone(&run);
            thread::Builder::new().stack_size(STACK_SIZE).spawn(move || drive(&*run)).unwrap()
        };
        last.join().unwrap();
        assert!(run.stopped().is_none(), "{:?}", run.stopped());
        let metrics = run.metrics(0);
        total.aborts.fetch_add(metrics.aborts, Ordering::Relaxed);
        total.waits.fetch_add(metrics.waits, Ordering::Relaxed);
        run.close();
        assert_eq!(take(&vm.sealed), expected);
    });
    seen
}

fn drive(run: &dyn Run<Programs>) {
    let looks = Cell::new(0);
    // Leaving before it would sleep: the sleep is not modelled.
    run.drive(&|| {
        looks.set(looks.get() + 1);
        looks.get() > LOOKS_MAX
    });
}

fn take(sealed: &Mutex<Option<Sealed>>) -> Option<Sealed> {
    sealed.lock().unwrap().take()
}

#[test]
fn a_read_of_an_earlier_write_is_serial() {
    let seen = check(2, &[Op::Next { of: 0, to: 0 }, Op::Next { of: 0, to: 0 }]);
    assert!(seen.aborts.load(Ordering::Relaxed) > 0, "{seen:?}");
}
