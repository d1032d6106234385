use super::{
    Kept,
    phases::{Phase, Phases},
    planned::{Chunk, Planned},
    shards::{Item, SHARDS, Shard, Shards},
    turn::TurnView,
};
use crate::{
    CancelReason,
    parking::{drain, settled},
    scheduler::{
        ids::{EntryIndex, LocationId},
        plan::Plan,
        strategy::{RunSettings, Stop},
        vm::{Interrupt, Vm},
    },
};
use crossbeam::utils::CachePadded;
use parking_lot::Mutex;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// What all threads of a run share.
pub(super) struct Core<V: Vm> {
    pub(super) vm: Arc<V>,
    pub(super) settings: RunSettings,
    pub(super) shards: Shards<V>,
    pub(super) phases: Phases,
    kept: Arc<Kept<V>>,
    /// The segment at hand.
    planned: Mutex<Option<Arc<Planned<V>>>>,
    /// One past the last entry whose parts may be made. Only grows within a segment.
    until: AtomicU32,
    /// As far as all shards have them made once the phase at hand is over. Only the caller looks.
    shared_until: AtomicU32,
    trouble: Mutex<Option<Trouble<V>>>,
    has_trouble: AtomicBool,
    /// What the shards noted of the segment at hand.
    notes: Mutex<Vec<V::Ledger>>,
    used_bytes: CachePadded<AtomicUsize>,
    /// As of the beginning of the segment at hand.
    used_before: AtomicUsize,
    limit_bytes: AtomicUsize,
    /// Thread time spent in tasks of the segment at hand.
    task_ns: AtomicU64,
    /// And by the caller waiting for others' tasks.
    wait_ns: AtomicU64,
    /// Reads of the segment at hand that were waited for.
    pub(super) waited: AtomicU64,
    /// Pool workers inside.
    helpers: AtomicUsize,
    is_closing: AtomicBool,
}

/// Why a segment does not go as planned.
pub(super) enum Trouble<V: Vm> {
    /// A part can not be made, what stands at its location can not be read, memory ran out, or something panicked:
    /// entries have to be executed one after another to tell what comes of it.
    Surprise,
    Stop(Stop<V>),
}

/// How long a worker waits for the next phase before it leaves: about as long as it would take to come again.
const SPIN_MAX: Duration = Duration::from_micros(40);

/// How many parts go by between two looks at the clock.
const CLOCK_INTERVAL: u32 = 32;

/// Parts of fewer entries than these are left until somebody looks at their shard: telling others takes longer.
const SHARED_MIN: u32 = 32;

impl<V: Vm> Core<V> {
    pub(super) fn new(vm: Arc<V>, settings: RunSettings, shards: Shards<V>, kept: Arc<Kept<V>>) -> Self {
        Self {
            vm,
            settings,
            shards,
            phases: Phases::new(),
            kept,
            planned: Mutex::default(),
            until: AtomicU32::new(0),
            shared_until: AtomicU32::new(0),
            trouble: Mutex::new(None),
            has_trouble: AtomicBool::new(false),
            notes: Mutex::default(),
            used_bytes: CachePadded::default(),
            used_before: AtomicUsize::new(0),
            limit_bytes: AtomicUsize::new(0),
            task_ns: AtomicU64::new(0),
            wait_ns: AtomicU64::new(0),
            waited: AtomicU64::new(0),
            helpers: AtomicUsize::new(0),
            is_closing: AtomicBool::new(false),
        }
    }

    pub(super) fn add_budget(&self, bytes: usize) {
        let add = |limit: usize| Some(limit.saturating_add(bytes));
        let _ = self.limit_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// Begins a segment.
    pub(super) fn begin(&self, planned: Arc<Planned<V>>) {
        self.notes.lock().clear();
        self.shards.begin();
        self.until.store(planned.first, Ordering::SeqCst);
        self.shared_until.store(planned.first, Ordering::Relaxed);
        self.task_ns.store(0, Ordering::Relaxed);
        self.wait_ns.store(0, Ordering::Relaxed);
        self.waited.store(0, Ordering::Relaxed);
        self.used_before.store(self.used_bytes.load(Ordering::Relaxed), Ordering::Relaxed);
        *self.planned.lock() = Some(planned);
    }

    /// Undoes what was done of the segment at hand. No phase is open.
    pub(super) fn roll_back(&self) {
        self.shards.roll_back();
        self.used_bytes.store(self.used_before.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Lets everybody who comes work at a phase of the segment at hand, works too, and ends when all is done.
    ///
    /// # Errors
    ///
    /// The first trouble that any of the tasks met.
    pub(super) fn run_phase(&self, phase: Phase, tasks: u32) -> Result<(), Trouble<V>> {
        self.open(phase, tasks);
        self.end_phase()
    }

    pub(super) fn open(&self, phase: Phase, tasks: u32) {
        self.phases.open(phase, tasks);
        let inside = self.helpers.load(Ordering::SeqCst) + 1;
        for _ in inside..self.settings.threads.min(tasks as usize) {
            self.settings.pool.idle().wake_one();
        }
    }

    pub(super) fn end_phase(&self) -> Result<(), Trouble<V>> {
        self.take_tasks();
        let waiting = Instant::now();
        self.phases.wait();
        self.add_time(&self.wait_ns, waiting.elapsed());
        self.has_trouble.store(false, Ordering::Relaxed);
        self.trouble.lock().take().map_or(Ok(()), Err)
    }

    /// Whether somebody met with trouble: whatever is executed now is in vain.
    pub(super) fn has_trouble(&self) -> bool {
        // Relaxed: who takes the trouble takes a lock.
        self.has_trouble.load(Ordering::Relaxed)
    }

    fn meet(&self, trouble: Trouble<V>) {
        self.trouble.lock().get_or_insert(trouble);
        self.has_trouble.store(true, Ordering::Relaxed);
    }

    /// All entries before `until` are executed, or planned: their parts may be made. Whoever is there begins with that, if
    /// it is worth it; nobody waits for it. Whoever looks at a shard has what is due there done before.
    pub(super) fn allow(&self, until: u32) {
        self.until.store(until, Ordering::SeqCst);
        if until - self.shared_until.load(Ordering::Relaxed) >= SHARED_MIN && self.phases.is_over() {
            self.shared_until.store(until, Ordering::Relaxed);
            self.open(Phase::Apply, SHARDS as u32);
        }
    }

    /// Makes all parts that may be made.
    pub(super) fn catch_up(&self) -> Result<(), Trouble<V>> {
        self.end_phase()?;
        let until = self.until.load(Ordering::SeqCst);
        if self.shared_until.swap(until, Ordering::Relaxed) == until {
            return Ok(());
        }
        self.run_phase(Phase::Apply, SHARDS as u32)
    }

    /// What the shards noted.
    pub(super) fn take_notes(&self) -> Vec<V::Ledger> {
        std::mem::take(&mut self.notes.lock())
    }

    /// Thread time spent in tasks since the segment began.
    pub(super) fn task_time(&self) -> Duration {
        Duration::from_nanos(self.task_ns.load(Ordering::Relaxed))
    }

    /// The caller's time spent waiting for others' tasks since the segment began.
    pub(super) fn wait_time(&self) -> Duration {
        Duration::from_nanos(self.wait_ns.load(Ordering::Relaxed))
    }

    /// Works as a pool worker as long as phases follow each other. Returns whether anything was done.
    pub(super) fn help(&self) -> bool {
        if !self.wants_help() {
            return false;
        }
        if self.helpers.fetch_add(1, Ordering::SeqCst) + 1 >= self.settings.threads {
            self.helpers.fetch_sub(1, Ordering::SeqCst);
            return false;
        }
        let mut worked = false;
        loop {
            worked |= self.take_tasks();
            let began = Instant::now();
            let goes_on = || !self.is_closing.load(Ordering::SeqCst) && self.settings.may_spin;
            while goes_on() && !self.phases.is_open() && began.elapsed() < SPIN_MAX {
                std::hint::spin_loop();
            }
            if !goes_on() || !self.phases.is_open() {
                break;
            }
        }
        self.helpers.fetch_sub(1, Ordering::SeqCst);
        worked
    }

    /// Whether a pool worker that comes now finds something to do.
    pub(super) fn wants_help(&self) -> bool {
        self.phases.is_open() && self.helpers.load(Ordering::SeqCst) + 1 < self.settings.threads
    }

    /// Sends all workers away.
    pub(super) fn dismiss(&self) {
        self.is_closing.store(true, Ordering::SeqCst);
    }

    fn take_tasks(&self) -> bool {
        let mut worked = false;
        let mut planner = None;
        while let Some((phase, task)) = self.phases.take() {
            self.perform(phase, task, &mut planner);
            self.phases.finish();
            worked = true;
        }
        if let Some(local) = planner {
            self.kept.check_in(local);
        }
        if worked {
            drain(&*self.vm);
        }
        worked
    }

    fn perform(&self, phase: Phase, task: u32, planner: &mut Option<V::Local<TurnView<V>>>) {
        let began = Instant::now();
        let Some(planned) = self.planned.lock().clone() else { unreachable!("a phase is of a segment") };
        let work = || match phase {
            Phase::Plan => {
                let local = planner.get_or_insert_with(|| self.kept.check_out(&self.vm));
                self.plan(&planned, task, local)
            }
            Phase::Resolve => self.resolve(&planned, planned.shard_of(task)),
            Phase::Apply => self.make_parts(&planned, &mut self.shards.shard(planned.shard_of(task))),
            Phase::Seal => {
                self.note_changes(planned.shard_of(task));
                Ok(())
            }
        };
        match catch_unwind(AssertUnwindSafe(work)) {
            Ok(Ok(())) => {}
            Ok(Err(trouble)) => self.meet(trouble),
            Err(_) => {
                self.meet(Trouble::Surprise);
                // Whatever the panic left in it.
                *planner = None;
            }
        }
        self.add_time(&self.task_ns, began.elapsed());
    }

    fn add_time(&self, to: &AtomicU64, time: Duration) {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        to.fetch_add(ns, Ordering::Relaxed);
    }

    /// Plans a chunk of entries.
    fn plan(
        &self,
        planned: &Planned<V>,
        number: u32,
        local: &mut V::Local<TurnView<V>>,
    ) -> Result<(), Trouble<V>> {
        self.stop_if_cancelled()?;
        let entries = planned.entries_of(number);
        if self.settings.prefetch_entries_max > 0 && self.vm.may_wait() {
            // All of them are needed before any is executed.
            self.vm.prefetch(entries.clone());
        }
        let mut chunk = Chunk::with_capacity(entries.len());
        for entry in entries {
            chunk.push(entry, self.vm.plan(local, EntryIndex(entry)), &self.shards);
        }
        let charged = self.charge(chunk.bytes());
        planned.set_chunk(number, chunk);
        charged.map_err(|interrupt| self.trouble_of(&interrupt))
    }

    /// Finds the locations of a shard's parts, and reads what stands there.
    fn resolve(&self, planned: &Planned<V>, number: usize) -> Result<(), Trouble<V>> {
        let mut shard = self.shards.shard(number);
        let known = shard.len();
        let mut last: Option<(V::Key, u32)> = None;
        for (count, (entry, part, plan)) in (0..).zip(planned.parts(number)) {
            self.stop_now_and_then(count)?;
            let key = plan.key(part);
            let place = match &last {
                Some((same, place)) if *same == key => *place,
                _ => self.shards.locate_in(&mut shard, key.clone()),
            };
            last = Some((key, place));
            let value = shard.value(&self.vm, place, &self.waited, &|| self.should_stop());
            match value {
                Ok(value) if plan.suits(part, value) => {}
                Ok(_) => planned.except(entry),
                Err(interrupt) => return Err(self.trouble_of(&interrupt)),
            }
            shard.items.push(Item { entry, part, place });
        }
        let locations = (shard.len() - known) * Shards::<V>::BYTES_PER_LOCATION;
        self.charge(locations + size_of_val(&*shard.items)).map_err(|interrupt| self.trouble_of(&interrupt))
    }

    /// Makes a shard's parts that may be made.
    fn make_parts(&self, planned: &Planned<V>, shard: &mut Shard<V>) -> Result<(), Trouble<V>> {
        let until = self.until.load(Ordering::SeqCst);
        let mut count = 0;
        while let Some(Item { entry, part, place }) = shard.items.get(shard.next).copied()
            && entry < until
        {
            shard.next += 1;
            count += 1;
            self.stop_now_and_then(count)?;
            if let Some(plan) = planned.plan(entry)
                && !shard.change(place, (planned.segment, entry), |value| plan.act(part, value))
            {
                return Err(Trouble::Surprise);
            }
        }
        Ok(())
    }

    /// Has all parts made in a shard that may be.
    fn catch_up_in(&self, shard: &mut Shard<V>) -> Result<(), Interrupt<V>> {
        let due = |item: &Item| item.entry < self.until.load(Ordering::SeqCst);
        if !shard.items.get(shard.next).is_some_and(due) {
            return Ok(());
        }
        let Some(planned) = self.planned.lock().clone() else { unreachable!("there are parts") };
        self.make_parts(&planned, shard).map_err(|trouble| {
            self.meet(trouble);
            // Whoever takes the trouble says why.
            Interrupt::Cancelled
        })
    }

    fn note_changes(&self, number: usize) {
        let mut ledger = self.vm.ledger();
        self.shards.shard(number).note_changes(&self.vm, number, &mut ledger);
        self.notes.lock().push(ledger);
    }

    /// The location of a key.
    pub(super) fn locate(&self, key: V::Key, parent: Option<LocationId>) -> Result<LocationId, Interrupt<V>> {
        let (_, id, is_new) = self.shards.locate(key, parent);
        if is_new {
            self.charge(Shards::<V>::BYTES_PER_LOCATION)?;
        }
        Ok(id)
    }

    /// The location of a key, and what the entry in its turn finds there.
    pub(super) fn look(
        &self,
        key: V::Key,
        parent: Option<LocationId>,
    ) -> Result<(LocationId, V::Value), Interrupt<V>> {
        let (mut shard, id, is_new) = self.shards.locate(key, parent);
        if is_new {
            self.charge(Shards::<V>::BYTES_PER_LOCATION)?;
        }
        self.catch_up_in(&mut shard)?;
        if (parent.is_none() || !self.shards.has_resets())
            && let Some(value) = shard.value_at(id)
        {
            return Ok((id, value.clone()));
        }
        drop(shard);
        Ok((id, self.value(id)?))
    }

    /// What the entry in its turn finds at a location.
    pub(super) fn value(&self, id: LocationId) -> Result<V::Value, Interrupt<V>> {
        let (mut shard, place) = self.shards.find(id);
        self.catch_up_in(&mut shard)?;
        let location = shard.at(place);
        if (location.parent.is_none() || !self.shards.has_resets())
            && let Some(value) = &location.value
        {
            return Ok(value.clone());
        }
        let (key, parent) = (location.key.clone(), location.parent);
        drop(shard);
        let reset_by = self.shards.reset_by_parent_of(id);
        let parent = parent.map(|parent| {
            let (mut shard, place) = self.shards.find(parent);
            shard.at(place).key.clone()
        });
        let (mut shard, place) = self.shards.find(id);
        let location = shard.at(place);
        if location.written_by < reset_by {
            return Ok(V::value_after_reset(&key));
        }
        if let Some(value) = &location.value {
            return Ok(value.clone());
        }
        drop(shard);
        let ask = || self.vm.base_value(&key, parent.as_ref());
        let value = settled(&*self.vm, &self.waited, || self.should_stop(), ask)?;
        let (mut shard, place) = self.shards.find(id);
        shard.at(place).value = Some(value.clone());
        Ok(value)
    }

    /// Makes the writes of an entry that was executed in its turn.
    pub(super) fn apply_writes(&self, segment: u32, view: &mut TurnView<V>) -> Result<(), Interrupt<V>> {
        let entry = view.entry.0;
        for (id, write) in view.writes.drain(..).chain(view.late_writes.drain(..)) {
            self.value(id)?;
            self.shards.write(id, (segment, entry), &write);
        }
        Ok(())
    }

    pub(super) fn stop_of(&self, interrupt: &Interrupt<V>) -> Stop<V> {
        match interrupt {
            Interrupt::MemoryLimit => {
                Stop::MemoryLimit { limit_bytes: self.limit_bytes.load(Ordering::Relaxed) }
            }
            Interrupt::Cancelled => {
                Stop::Cancelled(self.settings.limits.exceeded().unwrap_or(CancelReason::Token))
            }
            Interrupt::Blocked(_)
            | Interrupt::Stale
            | Interrupt::Read(_)
            | Interrupt::Pending(_)
            | Interrupt::Panicked { .. } => {
                panic!("an execution in its turn is never interrupted by {interrupt:?}")
            }
        }
    }

    fn charge(&self, bytes: usize) -> Result<(), Interrupt<V>> {
        let used = self.used_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if used > self.limit_bytes.load(Ordering::Relaxed) { Err(Interrupt::MemoryLimit) } else { Ok(()) }
    }

    /// Whether nobody wants to know any more.
    pub(super) fn should_stop(&self) -> bool {
        self.has_trouble() || self.settings.limits.exceeded().is_some()
    }

    /// Looks whether to stop, at the clock now and then.
    fn stop_now_and_then(&self, count: u32) -> Result<(), Trouble<V>> {
        if self.has_trouble() {
            return Err(Trouble::Surprise);
        }
        if self.settings.limits.token.is_cancelled() || count.is_multiple_of(CLOCK_INTERVAL) {
            self.stop_if_cancelled()
        } else {
            Ok(())
        }
    }

    fn stop_if_cancelled(&self) -> Result<(), Trouble<V>> {
        match self.settings.limits.exceeded() {
            Some(reason) => Err(Trouble::Stop(Stop::Cancelled(reason))),
            None => Ok(()),
        }
    }

    /// What an interrupt of something that was done before its turn means.
    fn trouble_of(&self, interrupt: &Interrupt<V>) -> Trouble<V> {
        match interrupt {
            Interrupt::Cancelled => Trouble::Stop(self.stop_of(interrupt)),
            _ => Trouble::Surprise,
        }
    }
}
