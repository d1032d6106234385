use super::worker::{Ended, Execution, Hand};
use crate::{
    parking::{Bounds, Coroutine, Left, OwnStack, Stacks, Wake},
    pool::Waker,
    scheduler::{ids::EntryIndex, vm::Vm},
};
use citius_state::Ticket;
use crossbeam::queue::SegQueue;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

/// The executions that one worker has parked, and what it has begun to read.
///
/// Bound: no further execution begins once more are parked, or as many reads in flight, as [`Bounds`] says. So that many
/// may be parked while another one runs, which may join them; then the worker waits for the first of all to go on.
pub(super) struct Parked<V: Vm> {
    stacks: Arc<Stacks>,
    bounds: Bounds,
    held: Vec<Held<V>>,
    inbox: Arc<Inbox>,
    /// Numbers what is parked, each time anew: a ticket of an execution that has gone on since is of no account.
    next_number: u64,
}

/// One parked execution.
struct Held<V: Vm> {
    coroutine: Coroutine<Ended<V>>,
    execution: Execution,
    number: u64,
    /// It should look whether it can go on.
    is_due: bool,
}

/// What completes for a worker: whoever completes it puts it here.
struct Inbox {
    complete: SegQueue<u64>,
    /// Reads that nobody here waits for, and that are not complete.
    begun: AtomicUsize,
    waker: Waker,
}

/// How an execution went on.
pub(super) enum Went<V: Vm> {
    /// It waits, for the first time or again, and is kept.
    Parked { is_first: bool },
    /// It ended, as is said or with a panic.
    Ended(Execution, std::thread::Result<Ended<V>>),
}

impl<V: Vm> Parked<V> {
    pub(super) fn new(stacks: Arc<Stacks>, bounds: Bounds, waker: Waker) -> Self {
        let inbox = Inbox { complete: SegQueue::new(), begun: AtomicUsize::new(0), waker };
        Self { stacks, bounds, held: Vec::new(), inbox: Arc::new(inbox), next_number: 0 }
    }

    /// A stack for an execution. Without one it runs on that of its thread.
    pub(super) fn take_stack(&self) -> Option<OwnStack> {
        self.stacks.take().ok()
    }

    pub(super) fn begin(
        &mut self,
        stack: OwnStack,
        mut hand: Box<Hand<V>>,
        execution: Execution,
        clock: &mut Instant,
    ) -> Went<V> {
        let index = execution.task.0;
        let coroutine = Coroutine::new(stack, move || {
            let result = hand.execute(index);
            (hand, result)
        });
        self.resume(coroutine, execution, Wake::GoOn, clock)
    }

    /// Goes on with the lowest entry that is due, if any is.
    pub(super) fn go_on(&mut self, clock: &mut Instant) -> Option<Went<V>> {
        while let Some(number) = self.inbox.complete.pop() {
            if let Some(held) = self.held.iter_mut().find(|held| held.number == number) {
                held.is_due = true;
            }
        }
        let due = self.held.iter().enumerate().filter(|(_, held)| held.is_due);
        let (place, _) = due.min_by_key(|(_, held)| held.execution.task.0)?;
        let Held { coroutine, execution, .. } = self.held.swap_remove(place);
        Some(self.resume(coroutine, execution, Wake::GoOn, clock))
    }

    /// Ends an execution before its time, if any is left.
    pub(super) fn end_one(&mut self, clock: &mut Instant) -> Option<Went<V>> {
        let Held { coroutine, execution, .. } = self.held.pop()?;
        Some(self.resume(coroutine, execution, Wake::End, clock))
    }

    fn resume(
        &mut self,
        mut coroutine: Coroutine<Ended<V>>,
        mut execution: Execution,
        wake: Wake,
        clock: &mut Instant,
    ) -> Went<V> {
        let began = *clock;
        let left = catch_unwind(AssertUnwindSafe(|| coroutine.resume(wake)));
        *clock = Instant::now();
        execution.spent += *clock - began;
        let ended = match left {
            Ok(Left::Parked(ticket)) => {
                execution.parks += 1;
                let is_first = execution.parks == 1;
                self.hold(coroutine, execution, &ticket);
                return Went::Parked { is_first };
            }
            Ok(Left::Ended(ended)) => Ok(ended),
            Err(payload) => Err(payload),
        };
        coroutine.retire(&self.stacks);
        Went::Ended(execution, ended)
    }

    fn hold(&mut self, coroutine: Coroutine<Ended<V>>, execution: Execution, ticket: &Ticket) {
        let number = self.next_number;
        self.next_number += 1;
        // First kept, then told of: a ticket that is complete by now is told of at once.
        self.held.push(Held { coroutine, execution, number, is_due: false });
        let inbox = Arc::clone(&self.inbox);
        ticket.on_complete(move || {
            inbox.complete.push(number);
            inbox.waker.wake();
        });
    }

    /// Has those look whether to go on waiting of which this is true. Whether there are any.
    pub(super) fn wake_those(&mut self, is_meant: impl Fn(EntryIndex) -> bool) -> bool {
        let mut are_any = false;
        for held in self.held.iter_mut().filter(|held| is_meant(held.execution.task.0)) {
            held.is_due = true;
            are_any = true;
        }
        are_any
    }

    pub(super) fn note_begun(&self, ticket: &Ticket) {
        self.inbox.begun.fetch_add(1, Ordering::SeqCst);
        let inbox = Arc::clone(&self.inbox);
        ticket.on_complete(move || {
            inbox.begun.fetch_sub(1, Ordering::SeqCst);
            inbox.waker.wake();
        });
    }

    /// How many more reads may be in flight.
    pub(super) fn reads_left(&self) -> usize {
        let in_flight = self.held.len() + self.inbox.begun.load(Ordering::SeqCst);
        // Of an execution that runs there may be one in any case.
        (self.bounds.reads_max.max(1) as usize).saturating_sub(in_flight)
    }

    pub(super) fn is_full(&self) -> bool {
        self.held.len() > self.bounds.parked_max as usize || self.reads_left() == 0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    pub(super) fn has_complete(&self) -> bool {
        !self.inbox.complete.is_empty()
    }
}
