//! Schedules that are worst for guesses: transactions are first executed in a given order, often backwards.

use citius_engine::scheduler::{EntryIndex, Incarnation, ScheduleFuzz};
use std::{
    sync::{
        Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Runs nothing ahead: the run is handed over before anything is executed.
pub(crate) struct GivesUp;

impl ScheduleFuzz for GivesUp {
    fn never_pauses(&self) -> bool {
        false
    }

    fn gives_up_after(&self) -> Option<u32> {
        Some(0)
    }
}

/// Holds the first execution of each transaction until the one before it in the order was executed.
#[derive(Debug)]
pub(crate) struct Order {
    /// Entry of the block's first transaction.
    first: u32,
    /// Transactions by the order of their first executions.
    order: Vec<u32>,
    /// How many of them were executed.
    executed: Mutex<usize>,
    next: Condvar,
    gave_up: AtomicBool,
}

impl Order {
    pub(crate) fn new(first: u32, order: Vec<u32>) -> Self {
        let executed = Mutex::new(0);
        Self { first, order, executed, next: Condvar::new(), gave_up: AtomicBool::new(false) }
    }

    /// The last transaction first.
    pub(crate) fn backwards(first: u32, transactions: u32) -> Self {
        Self::new(first, (0..transactions).rev().collect())
    }

    /// Whether all went in this order.
    pub(crate) fn was_kept(&self) -> bool {
        !self.gave_up.load(Ordering::SeqCst)
    }

    fn place(&self, entry: EntryIndex) -> Option<usize> {
        let transaction = entry.0.checked_sub(self.first)?;
        self.order.iter().position(|at| *at == transaction)
    }
}

impl ScheduleFuzz for Order {
    fn before_execute(&self, entry: EntryIndex, incarnation: Incarnation, _is_transaction: bool) {
        let Some(place) = self.place(entry).filter(|_| incarnation.0 == 0) else { return };
        let executed = self.executed.lock().unwrap();
        // Bounded, so that a scheduler that cannot keep the order fails the test instead of hanging it.
        let patience = Duration::from_secs(10);
        let (_guard, timeout) =
            self.next.wait_timeout_while(executed, patience, |executed| *executed < place).unwrap();
        if timeout.timed_out() {
            self.gave_up.store(true, Ordering::SeqCst);
        }
    }

    /// Asked after each execution that was not final.
    fn abort(&self, entry: EntryIndex, incarnation: Incarnation) -> bool {
        if let Some(place) = self.place(entry).filter(|_| incarnation.0 == 0) {
            let mut executed = self.executed.lock().unwrap();
            *executed = (*executed).max(place + 1);
            self.next.notify_all();
        }
        false
    }
}
