//! A whole run, two threads driving it.

use super::{
    machine::{Op, Programs, Sealed},
    model,
};
use crate::{
    WorkerPool,
    scheduler::{Optimistic, Run, RunSettings, Serial, Strategy},
    sync::{AtomicUsize, Ordering},
};
use loom::thread;
use std::{
    cell::Cell,
    num::NonZeroUsize,
    sync::{Arc, Mutex, atomic::AtomicU64},
};

/// How often a thread looks for work before it leaves, found or not. A model must end in every schedule.
const LOOKS_MAX: u32 = 8;
/// Of a coroutine, in words.
const STACK_SIZE: usize = 1 << 15;

/// How often something happened in all schedules: a model in which nothing goes wrong shows nothing.
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
        let looks = Arc::new(AtomicUsize::new(0));
        let driver = || {
            let (run, looks) = (Arc::clone(&run), Arc::clone(&looks));
            thread::Builder::new().stack_size(STACK_SIZE).spawn(move || drive(&*run, &looks)).unwrap()
        };
        for driver in [driver(), driver()] {
            driver.join().unwrap();
        }
        // Each may have left while the other still worked. What the last one does not find is lost.
        driver().join().unwrap();
        assert!(run.stopped().is_none(), "{:?}", run.stopped());
        let metrics = run.metrics(0);
        total.aborts.fetch_add(metrics.aborts, Ordering::Relaxed);
        total.waits.fetch_add(metrics.waits, Ordering::Relaxed);
        run.close();
        assert_eq!(take(&vm.sealed), expected);
    });
    seen
}

/// `looks` is what loom sees of the atomics that it does not know: threads meet in it before they take an entry.
fn drive(run: &dyn Run<Programs>, looks: &AtomicUsize) {
    let own = Cell::new(0);
    // Leaving before it would sleep: the sleep is not modelled.
    run.drive(&|| {
        looks.fetch_add(1, Ordering::SeqCst);
        own.set(own.get() + 1);
        own.get() > LOOKS_MAX
    });
}

fn take(sealed: &Mutex<Option<Sealed>>) -> Option<Sealed> {
    sealed.lock().unwrap().take()
}

#[test]
fn a_read_of_an_earlier_write_is_serial() {
    let seen = check(3, &[Op::Next { of: 0, to: 0 }, Op::Next { of: 0, to: 0 }]);
    assert!(seen.aborts.load(Ordering::Relaxed) > 0, "{seen:?}");
}

/// The last entry may find what it reads about to be computed again, and wait; with a fourth preemption, for an
/// entry that is finished meanwhile.
#[test]
fn a_chain_of_reads_is_serial() {
    let seen = check(4, &[Op::Next { of: 9, to: 0 }, Op::Next { of: 0, to: 1 }, Op::Next { of: 1, to: 2 }]);
    assert!(seen.aborts.load(Ordering::Relaxed) > 0, "{seen:?}");
    assert!(seen.waits.load(Ordering::Relaxed) > 0, "{seen:?}");
}

/// The second entry writes elsewhere when it runs again: its first write is withdrawn from under the third.
#[test]
fn a_write_that_moves_is_serial() {
    let seen = check(
        3,
        &[Op::Next { of: 9, to: 0 }, Op::Fork { by: 0, same: 1, changed: 2 }, Op::Next { of: 1, to: 1 }],
    );
    assert!(seen.aborts.load(Ordering::Relaxed) > 1, "{seen:?}");
}

#[test]
fn a_read_of_sums_is_serial() {
    let seen =
        check(3, &[Op::Add { to: 0, amount: 1 }, Op::Add { to: 0, amount: 10 }, Op::Next { of: 0, to: 0 }]);
    assert!(seen.aborts.load(Ordering::Relaxed) > 0, "{seen:?}");
}
