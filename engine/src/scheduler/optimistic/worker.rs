use super::{
    Kept, Task,
    parked::{Parked, Went},
    work::Core,
};
use crate::{
    pool::Seat,
    scheduler::{
        ids::EntryIndex,
        view::SpeculativeView,
        vm::{Interrupt, Vm},
    },
};
use citius_state::Ticket;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

/// What one thread has at hand while it is in a run: states to execute with, and the executions that it has parked.
pub(super) struct Worker<V: Vm> {
    /// 0 is the driver.
    pub(super) number: usize,
    pub(super) seat: Seat,
    core: Arc<Core<V>>,
    kept: Arc<Kept<V>>,
    spare: Vec<Box<Hand<V>>>,
    /// Where nothing can be parked there is none, and executions run on the thread's own stack.
    parked: Option<Parked<V>>,
    /// Reads may be on their way.
    pub(super) may_wait: bool,
}

/// What one execution works with.
pub(super) struct Hand<V: Vm> {
    pub(super) local: V::Local<SpeculativeView<V>>,
    /// The stream, if it is turned to one. (Here, since all workers would count the clones that each execution made.)
    vm: Option<Arc<V>>,
}

/// An execution that has begun.
#[derive(Debug)]
pub(super) struct Execution {
    pub(super) task: Task,
    /// Everything before was committed when it began: what it reads can not change any more.
    pub(super) is_final: bool,
    /// Time that a thread spent on it.
    pub(super) spent: Duration,
    /// How often it was parked.
    pub(super) parks: u32,
}

/// What it ended with.
pub(super) type Ended<V> = (Box<Hand<V>>, Result<<V as Vm>::Output, Interrupt<V>>);

impl<V: Vm> Hand<V> {
    pub(super) fn execute(&mut self, index: EntryIndex) -> Result<V::Output, Interrupt<V>> {
        let Some(vm) = self.vm.take() else { panic!("a hand is turned to a stream while it executes") };
        let result = vm.execute(&mut self.local, index);
        self.vm = Some(vm);
        result
    }

    pub(super) fn view(&mut self) -> &mut SpeculativeView<V> {
        V::view(&mut self.local)
    }
}

impl<V: Vm> Worker<V> {
    pub(super) fn new(number: usize, core: &Arc<Core<V>>, kept: &Arc<Kept<V>>) -> Self {
        let seat = Seat::new(number);
        let may_wait = core.vm.may_wait();
        let bounds = core.settings.parking;
        let parked = (may_wait && bounds.parked_max > 0)
            .then(|| Parked::new(Arc::clone(&kept.stacks), bounds, seat.waker()));
        let (core, kept) = (Arc::clone(core), Arc::clone(kept));
        Self { number, seat, core, kept, spare: Vec::new(), parked, may_wait }
    }

    /// Sees to it that the next execution has what it works with. An entry that is claimed must not wait for that: others would
    /// run ahead of it meanwhile, in vain if they need what it writes.
    pub(super) fn prepare(&mut self) {
        if self.spare.is_empty() {
            let hand = self.make_hand();
            self.spare.push(hand);
        }
    }

    /// A state to execute with, turned to the run.
    pub(super) fn take_hand(&mut self) -> Box<Hand<V>> {
        self.spare.pop().unwrap_or_else(|| self.make_hand())
    }

    fn make_hand(&self) -> Box<Hand<V>> {
        let vm = &self.core.vm;
        let kept = self.kept.hands.lock().pop();
        let mut hand =
            kept.unwrap_or_else(|| Box::new(Hand { local: vm.local(SpeculativeView::new()), vm: None }));
        vm.rebind(&mut hand.local);
        hand.vm = Some(Arc::clone(vm));
        hand.view().attach(Some(Arc::clone(&self.core)));
        hand
    }

    /// Takes it back, for the next execution.
    pub(super) fn give_hand(&mut self, hand: Box<Hand<V>>) {
        self.spare.push(hand);
    }

    /// Begins an execution, which runs until it ends or is parked.
    pub(super) fn begin(
        &mut self,
        mut hand: Box<Hand<V>>,
        execution: Execution,
        clock: &mut Instant,
    ) -> Went<V> {
        let stack = self.parked.as_ref().and_then(Parked::take_stack);
        if let (Some(parked), Some(stack)) = (&mut self.parked, stack) {
            return parked.begin(stack, hand, execution, clock);
        }
        let index = execution.task.0;
        let began = *clock;
        let result = catch_unwind(AssertUnwindSafe(|| hand.execute(index)));
        *clock = Instant::now();
        let spent = *clock - began;
        Went::Ended(Execution { spent, ..execution }, result.map(|result| (hand, result)))
    }

    /// Goes on with an execution whose read is there; the lowest entry of all that can go on.
    pub(super) fn go_on(&mut self, clock: &mut Instant) -> Option<Went<V>> {
        if self.may_wait {
            self.core.vm.progress(None);
        }
        self.parked.as_mut()?.go_on(clock)
    }

    /// Ends one of the parked executions, if there are any.
    pub(super) fn end_one(&mut self, clock: &mut Instant) -> Option<Went<V>> {
        self.parked.as_mut()?.end_one(clock)
    }

    /// Has those look whether to go on waiting that are told that what they read may have changed. Whether there are any.
    pub(super) fn wake_suspects(&mut self) -> bool {
        let core = &self.core;
        let is_suspect = |index| core.entry(index).is_suspect();
        self.parked.as_mut().is_some_and(|parked| parked.wake_those(is_suspect))
    }

    /// Takes note of reads that are on their way and that no execution here waits for.
    pub(super) fn note_begun(&mut self, reads: impl IntoIterator<Item = Ticket>) {
        if let Some(parked) = &self.parked {
            reads.into_iter().for_each(|ticket| parked.note_begun(&ticket));
        }
    }

    /// How many reads may be begun that nobody waits for.
    pub(super) fn reads_left(&self) -> usize {
        self.parked.as_ref().map_or(usize::MAX, Parked::reads_left)
    }

    /// Whether something that was parked can go on.
    pub(super) fn has_complete(&self) -> bool {
        self.parked.as_ref().is_some_and(Parked::has_complete)
    }

    /// Whether nothing more should begin here before something has come.
    pub(super) fn is_full(&self) -> bool {
        self.parked.as_ref().is_some_and(Parked::is_full)
    }

    /// Whether this thread must come back here, for what it has parked or for reads that it alone can take.
    pub(super) fn is_waiting(&self) -> bool {
        self.parked.as_ref().is_some_and(|parked| !parked.is_empty())
            || (self.may_wait && self.core.vm.progress(None))
    }

    /// Lets reads of this thread go on, and sleeps for them if none is complete. Whether any are in flight.
    pub(super) fn wait_for_own_reads(&self, most: Duration) -> bool {
        self.may_wait && self.core.vm.progress(Some(most))
    }
}

impl<V: Vm> Drop for Worker<V> {
    fn drop(&mut self) {
        // What is parked still, after a panic, is unwound before its state could be used again.
        self.parked = None;
        for mut hand in self.spare.drain(..) {
            // A view that kept its run would keep the run's memory.
            hand.view().attach(None);
            V::unbind(&mut hand.local);
            hand.vm = None;
            self.kept.hands.lock().push(hand);
        }
    }
}
