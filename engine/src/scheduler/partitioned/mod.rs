//! The partitioned strategy: entries whose writes are known beforehand have them made where they belong, by whoever has
//! that part of the state.
//!
//! A segment goes through phases, each of which all threads share. *Plan*: what every entry will write, and in which
//! shard. *Resolve*: the locations, and what stands there. *Apply*: each shard has its parts made in the order of the
//! entries. *Seal*: each shard notes what changed. No two threads have the same shard: there are no versions, and nothing
//! is validated. An entry without plan is executed by the caller, in its turn: each shard that it looks at has the parts of
//! earlier entries made first, and none has those of later ones made before it is done.
//!
//! If anything is not as planned the segment's changes are undone, and its entries are executed one after another.

mod core;
pub(super) mod phases;
mod planned;
mod shards;
mod turn;

use self::core::{Core, Trouble};
use super::{
    ids::EntryIndex,
    plan::Plan,
    strategy::{Run, RunSettings, SegmentMetrics, Stop, Strategy, panic_message},
    vm::{Interrupt, Vm},
};
use crate::pool::Job;
use parking_lot::Mutex;
use phases::Phase;
use planned::Planned;
use shards::{SHARDS, Shards};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Instant,
};
use turn::TurnView;

/// Divides the locations among all workers, for segments whose entries are nearly all planned.
pub struct Partitioned<V: Vm> {
    kept: Arc<Kept<V>>,
}

/// Entries executed in their turn while shards lag behind, of which one may have a surprise in store.
const UNSURE_MAX: u32 = 8;

/// What is kept from one stream to the next: memory, nothing that was learnt.
struct Kept<V: Vm> {
    locals: Mutex<Vec<V::Local<TurnView<V>>>>,
    shards: Mutex<Vec<Shards<V>>>,
}

impl<V: Vm> Kept<V> {
    fn check_out(&self, vm: &Arc<V>) -> V::Local<TurnView<V>> {
        let pooled = self.locals.lock().pop();
        let mut local = pooled.unwrap_or_else(|| vm.local(TurnView::new()));
        vm.rebind(&mut local);
        local
    }

    fn check_in(&self, mut local: V::Local<TurnView<V>>) {
        // A view that kept its run would keep the run's memory.
        V::view(&mut local).attach(None);
        V::unbind(&mut local);
        self.locals.lock().push(local);
    }
}

/// The pool's and the caller's handle on a run.
struct PartitionedRun<V: Vm> {
    core: Arc<Core<V>>,
    kept: Arc<Kept<V>>,
    submitted: AtomicU32,
    state: Mutex<State<V>>,
    stop: Mutex<Option<Stop<V>>>,
}

/// What only the caller touches.
struct State<V: Vm> {
    ledger: V::Ledger,
    /// The segment at hand.
    next: u32,
    /// How the work on it goes.
    metrics: SegmentMetrics,
    sealed: Vec<SegmentMetrics>,
    submitted_at: Vec<Instant>,
}

impl<V: Vm> Default for Partitioned<V> {
    fn default() -> Self {
        Self { kept: Arc::new(Kept { locals: Mutex::default(), shards: Mutex::default() }) }
    }
}

impl<V: Vm> Strategy<V> for Partitioned<V> {
    fn name(&self) -> &'static str {
        "partitioned"
    }

    fn start(&self, vm: Arc<V>, settings: RunSettings) -> Arc<dyn Run<V>> {
        let shards = self.kept.shards.lock().pop().unwrap_or_else(Shards::new);
        let state = State {
            ledger: vm.ledger(),
            next: 0,
            metrics: SegmentMetrics::default(),
            sealed: Vec::new(),
            submitted_at: Vec::new(),
        };
        let run = Arc::new(PartitionedRun {
            core: Arc::new(Core::new(vm, settings, shards, Arc::clone(&self.kept))),
            kept: Arc::clone(&self.kept),
            submitted: AtomicU32::new(0),
            state: Mutex::new(state),
            stop: Mutex::new(None),
        });
        if run.core.settings.threads > 1 {
            run.core.settings.pool.offer(Arc::clone(&run) as Arc<dyn Job>);
        }
        run
    }
}

impl<V: Vm> Run<V> for PartitionedRun<V> {
    fn submit(&self, segment: u32, memory_bytes: usize) {
        self.core.add_budget(memory_bytes);
        self.state.lock().submitted_at.push(Instant::now());
        self.submitted.store(segment + 1, Ordering::SeqCst);
    }

    fn drive(&self, until: &dyn Fn() -> bool) {
        let mut state = self.state.lock();
        let mut local = self.kept.check_out(&self.core.vm);
        V::view(&mut local).attach(Some(Arc::clone(&self.core)));
        while !until() && self.stop.lock().is_none() && state.next < self.submitted.load(Ordering::SeqCst) {
            let segment = state.next;
            let result = catch_unwind(AssertUnwindSafe(|| self.run_segment(&mut state, &mut local, segment)));
            match result {
                Ok(Ok(())) => state.next += 1,
                Ok(Err(stop)) => *self.stop.lock() = Some(stop),
                Err(payload) => {
                    *self.stop.lock() = Some(Stop::Panicked { message: panic_message(&*payload) });
                    // Whatever the panic left in the worker's state.
                    return;
                }
            }
        }
        self.kept.check_in(local);
    }

    fn stopped(&self) -> Option<Stop<V>> {
        self.stop.lock().clone()
    }

    fn metrics(&self, segment: u32) -> SegmentMetrics {
        let state = self.state.lock();
        match state.sealed.get(segment as usize) {
            Some(metrics) => *metrics,
            None if segment == state.next => state.metrics,
            None => SegmentMetrics::default(),
        }
    }

    fn close(self: Arc<Self>) {
        self.core.dismiss();
        if self.core.settings.threads > 1 {
            let pool = Arc::clone(&self.core.settings.pool);
            pool.retire(&self);
        }
        // Nobody else is left: no worker, no view.
        let Some(Self { core, kept, .. }) = Arc::into_inner(self) else { return };
        let Some(core) = Arc::into_inner(core) else { return };
        let mut shards = core.shards;
        if shards.len() <= super::KEPT_LOCATIONS_MAX as usize {
            shards.clear();
            kept.shards.lock().push(shards);
        }
    }
}

impl<V: Vm> Job for PartitionedRun<V> {
    fn help(&self, _worker: usize) -> bool {
        self.core.help()
    }

    fn has_work(&self, _worker: usize) -> bool {
        self.core.wants_help()
    }
}

type Local<V> = <V as Vm>::Local<TurnView<V>>;

impl<V: Vm> PartitionedRun<V> {
    fn run_segment(&self, state: &mut State<V>, local: &mut Local<V>, segment: u32) -> Result<(), Stop<V>> {
        let core = &self.core;
        let began = Instant::now();
        let (first, end) = core.vm.entries_of(segment);
        let planned = Arc::new(Planned::new(segment, first.0, end.0));
        let locations_before = core.shards.len();
        state.metrics = SegmentMetrics::default();
        core.begin(Arc::clone(&planned));
        let ended = catch_unwind(AssertUnwindSafe(|| self.run_planned(state, local, &planned)));
        let ended = ended.unwrap_or_else(|_| {
            *local = self.fresh_local();
            // Tasks may be left that nobody waited for.
            core.end_phase().and(Err(Trouble::Surprise))
        });
        let as_planned = ended.is_ok();
        match ended {
            Ok(()) => {}
            Err(Trouble::Stop(stop)) => return Err(stop),
            Err(Trouble::Surprise) => {
                core.roll_back();
                state.ledger = core.vm.ledger();
                state.metrics.aborts = state.metrics.executions;
                state.metrics.repeated = core.task_time() + state.metrics.execute;
                for entry in first.0..end.0 {
                    self.execute(state, local, segment, EntryIndex(entry))?;
                }
            }
        }
        let executed = Instant::now();
        let execute = core.task_time() + state.metrics.execute;
        core.run_phase(Phase::Seal, SHARDS as u32).map_err(|trouble| match trouble {
            Trouble::Stop(stop) => stop,
            Trouble::Surprise => panic!("the changes could not be noted"),
        })?;
        for notes in core.take_notes() {
            core.vm.add_notes(&mut state.ledger, notes);
        }
        let settled = |id| core.shards.settled(id);
        // Not before: parts are made in no order, and may have to be undone.
        if core.vm.untold(&state.ledger) > 0 {
            core.vm.tell(&mut state.ledger, segment, &settled);
        }
        core.vm.seal(&mut state.ledger, segment, &settled);
        let sealed_at = Instant::now();
        let submitted = state.submitted_at.get(segment as usize).map_or(began, |at| began.max(*at));
        let transactions = (first.0..end.0).map(|entry| core.vm.transaction_count(EntryIndex(entry)));
        state.metrics = SegmentMetrics {
            max_in_flight: if as_planned { transactions.map(u64::from).sum() } else { 1 },
            locations: (core.shards.len() - locations_before) as u64,
            wall: sealed_at - submitted,
            execute,
            commit: sealed_at - executed,
            idle: core.wait_time(),
            reads_waited_for: core.waited.load(Ordering::Relaxed),
            sealed_at: Some(sealed_at),
            ..state.metrics
        };
        state.sealed.push(state.metrics);
        Ok(())
    }

    /// Makes all parts, and executes the entries in between that have none. All is done, or something is not as planned.
    fn run_planned(
        &self,
        state: &mut State<V>,
        local: &mut Local<V>,
        planned: &Planned<V>,
    ) -> Result<(), Trouble<V>> {
        let core = &self.core;
        core.run_phase(Phase::Plan, planned.chunks())?;
        planned.sort_shards();
        core.run_phase(Phase::Resolve, SHARDS as u32)?;
        let ended = self.walk(state, local, planned);
        // Whatever ended it, what is not as planned before that counts for more.
        core.catch_up()?;
        ended
    }

    /// Goes through all entries in order: takes what planned ones give, and executes the others.
    fn walk(
        &self,
        state: &mut State<V>,
        local: &mut Local<V>,
        planned: &Planned<V>,
    ) -> Result<(), Trouble<V>> {
        let core = &self.core;
        let mut from = planned.first;
        // Entries executed since all shards had caught up.
        let mut unsure = 0;
        loop {
            let until = planned.next_in_turn(from);
            core.allow(until);
            state.metrics.executions += u64::from(until - from);
            self.commit(state, planned, from..until).map_err(Trouble::Stop)?;
            if until == planned.end {
                return Ok(());
            }
            let entry = EntryIndex(until);
            // What goes on from a state that will not be is in vain: not for long.
            unsure += 1;
            if unsure > UNSURE_MAX || core.vm.is_long(entry) {
                core.catch_up()?;
                unsure = 0;
            }
            match self.execute(state, local, planned.segment, entry) {
                Ok(()) => {}
                Err(Stop::MemoryLimit { .. }) => return Err(Trouble::Surprise),
                Err(stop) => return Err(Trouble::Stop(stop)),
            }
            from = until + 1;
        }
    }

    fn fresh_local(&self) -> Local<V> {
        let core = &self.core;
        let mut local = core.vm.local(TurnView::new());
        core.vm.rebind(&mut local);
        V::view(&mut local).attach(Some(Arc::clone(core)));
        local
    }

    /// Takes what planned entries give into the ledger.
    fn commit(
        &self,
        state: &mut State<V>,
        planned: &Planned<V>,
        entries: std::ops::Range<u32>,
    ) -> Result<(), Stop<V>> {
        let vm = &self.core.vm;
        let refused = |refusal| Stop::Refused { segment: planned.segment, refusal };
        for entry in entries {
            let Some(plan) = planned.plan(entry) else { unreachable!("all of them are planned") };
            vm.admit(&state.ledger, EntryIndex(entry)).map_err(refused)?;
            vm.commit(&mut state.ledger, EntryIndex(entry), plan.output()).map_err(refused)?;
        }
        Ok(())
    }

    /// Executes an entry when all before it are done.
    fn execute(
        &self,
        state: &mut State<V>,
        local: &mut Local<V>,
        segment: u32,
        entry: EntryIndex,
    ) -> Result<(), Stop<V>> {
        let core = &self.core;
        let refused = |refusal| Stop::Refused { segment, refusal };
        let stop = |interrupt| match interrupt {
            Interrupt::Read(error) => refused(core.vm.refuse_read(entry, error)),
            interrupt => core.stop_of(&interrupt),
        };
        if let Some(reason) = core.settings.limits.exceeded() {
            return Err(Stop::Cancelled(reason));
        }
        let began = Instant::now();
        core.vm.admit(&state.ledger, entry).map_err(refused)?;
        V::view(local).begin(entry);
        state.metrics.executions += 1;
        let output = core.vm.execute(local, entry);
        let done = output.map_err(stop).and_then(|output| {
            core.vm.commit(&mut state.ledger, entry, output).map_err(refused)?;
            core.apply_writes(segment, V::view(local)).map_err(stop)
        });
        state.metrics.execute += began.elapsed();
        done
    }
}
