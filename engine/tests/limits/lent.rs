//! Work that is lent to the pool: done while a block is executed, by threads that would else wait; never instead of it.

use crate::{
    case::{ALICE, BOB, Case, check_same, pay},
    support::{STRANGER, check_usable, config, expected, options, pool, run, small},
};
use citius_engine::{
    Engine, ExecuteOptions, StrategyChoice, scheduler::EntryIndex, scheduler::Incarnation,
    scheduler::ScheduleFuzz,
};
use citius_state::IdleWork;
use revm::primitives::hardfork::SpecId;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// A worker's transaction is not done before the caller, who has nothing else to do, has done lent work.
#[derive(Default)]
struct Held {
    worker_began: AtomicBool,
    caller_helped: AtomicBool,
}

fn is_pool_thread() -> bool {
    thread::current().name().is_some_and(|name| name.starts_with("citius-worker-"))
}

fn wait_for(flag: &AtomicBool) {
    while !flag.load(Ordering::SeqCst) {
        thread::yield_now();
    }
}

impl ScheduleFuzz for Held {
    fn before_execute(&self, _entry: EntryIndex, _incarnation: Incarnation, is_transaction: bool) {
        if !is_transaction {
        } else if is_pool_thread() {
            self.worker_began.store(true, Ordering::SeqCst);
            wait_for(&self.caller_helped);
        } else {
            // So that each has one of the two.
            wait_for(&self.worker_began);
        }
    }
}

impl IdleWork for Held {
    fn has_work(&self) -> bool {
        !self.caller_helped.load(Ordering::SeqCst)
    }

    fn help(&self, worker: usize) -> bool {
        if worker != 0 {
            return false;
        }
        assert!(!is_pool_thread());
        self.caller_helped.store(true, Ordering::SeqCst);
        true
    }
}

#[test]
fn who_would_wait_inside_a_run_does_lent_work() {
    let case = Case::new(SpecId::SHANGHAI).with(pay(ALICE, 0, STRANGER, 1)).with(pay(BOB, 0, STRANGER, 1));
    let expected = expected(&case);
    let pool = pool(2);
    let engine = case.engine(&pool);
    for _ in 0..20 {
        let held = Arc::new(Held::default());
        let _lease = pool.lend(Arc::clone(&held) as Arc<dyn IdleWork>);
        let fuzz = Some(Arc::clone(&held) as Arc<dyn ScheduleFuzz>);
        let options = ExecuteOptions { fuzz, ..options(StrategyChoice::Optimistic) };
        let outcome = run(&case, &engine, &options).unwrap();
        check_same(&outcome, &expected, "with lent work");
        assert!(outcome.metrics.times.lent > Duration::ZERO);
    }
    check_usable(&engine);
}

/// There is always more.
#[derive(Default)]
struct Endless(AtomicUsize);

impl IdleWork for Endless {
    fn has_work(&self) -> bool {
        true
    }

    fn help(&self, _worker: usize) -> bool {
        self.0.fetch_add(1, Ordering::SeqCst);
        true
    }
}

#[test]
fn blocks_are_executed_beside_lent_work_that_never_ends() {
    for workers in [1, 2, 4] {
        let pool = pool(workers);
        let engine = Engine::new(small().chain, Arc::clone(&pool), config());
        let endless = Arc::new(Endless::default());
        let lease = pool.lend(Arc::clone(&endless) as Arc<dyn IdleWork>);
        lease.wake();
        for _ in 0..5 {
            check_usable(&engine);
        }
        while workers > 1 && endless.0.load(Ordering::SeqCst) == 0 {
            thread::yield_now();
        }
        drop(lease);
        let done = endless.0.load(Ordering::SeqCst);
        check_usable(&engine);
        assert_eq!(endless.0.load(Ordering::SeqCst), done, "helped behind the end of the lease");
    }
}
