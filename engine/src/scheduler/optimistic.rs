use super::{
    append_vec::AppendVec,
    charge::Charge,
    entry::{Entry, Record, State},
    ids::{EntryIndex, Incarnation, LocationId},
    locations::LocationTable,
    memory::{Memory, Suspects},
    retries::Retries,
    strategy::{Run, RunSettings, SegmentMetrics, Stop, Strategy, panic_message},
    view::SpeculativeView,
    vm::{Interrupt, Vm},
};
use crate::pool::{Job, Seat, Waker};
use crossbeam::utils::{Backoff, CachePadded};
use parking_lot::Mutex;
use std::{
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// Runs ahead of the commit frontier on all workers.
pub struct Optimistic<V: Vm> {
    kept: Arc<Kept<V>>,
}

/// What is kept from one stream to the next: memory, nothing that was learnt.
struct Kept<V: Vm> {
    /// Workers' states.
    locals: Mutex<Vec<V::Local<SpeculativeView<V>>>>,
    /// Tables of locations and entries.
    tables: Mutex<Vec<Tables<V>>>,
}

type Tables<V> = (LocationTable<V>, AppendVec<Entry<V>>);

/// What all workers of a run share.
pub(crate) struct Core<V: Vm> {
    pub(crate) vm: Arc<V>,
    pub(crate) memory: Memory<V>,
    pub(crate) settings: RunSettings,
    entries: AppendVec<Entry<V>>,
    /// One past the last entry that may be executed.
    submitted: AtomicU32,
    /// The next entry that nobody has begun.
    cursor: CachePadded<AtomicU32>,
    /// The first entry that is not committed.
    frontier: CachePadded<AtomicU32>,
    charge: CachePadded<Charge>,
    commits: Mutex<Commits<V>>,
    retries: Retries,
    /// Wakes the thread that waits for an outcome.
    driver: Mutex<Option<Waker>>,
    is_stopped: AtomicBool,
    stop: Mutex<Option<Stop<V>>>,
    counters: Counters,
}

/// What only the thread in charge of the frontier touches.
struct Commits<V: Vm> {
    ledger: V::Ledger,
    log: Vec<(LocationId, V::Value)>,
    metrics: SegmentMetrics,
    segment_began: Instant,
    locations_before: u32,
    sealed: Vec<SegmentMetrics>,
    submitted_at: Vec<Instant>,
}

#[derive(Default)]
struct Counters {
    validations: AtomicU64,
    in_flight: AtomicU32,
    max_in_flight: AtomicU32,
    idle_ns: AtomicU64,
}

/// The pool's and the caller's handle on a run.
struct OptimisticRun<V: Vm> {
    core: Arc<Core<V>>,
    kept: Arc<Kept<V>>,
    /// Workers inside, the caller not counted.
    helpers: AtomicUsize,
}

/// An entry claimed for execution.
type Task = (EntryIndex, Incarnation);

impl<V: Vm> Default for Optimistic<V> {
    fn default() -> Self {
        Self { kept: Arc::new(Kept { locals: Mutex::default(), tables: Mutex::default() }) }
    }
}

impl<V: Vm> Strategy<V> for Optimistic<V> {
    fn name(&self) -> &'static str {
        "optimistic"
    }

    fn start(&self, vm: Arc<V>, settings: RunSettings) -> Arc<dyn Run<V>> {
        let (table, entries) = self.kept.tables.lock().pop().unzip();
        let core = Core {
            memory: Memory::new(table, settings.expected_locations),
            entries: entries.unwrap_or_else(AppendVec::new),
            submitted: AtomicU32::new(0),
            cursor: CachePadded::new(AtomicU32::new(0)),
            frontier: CachePadded::new(AtomicU32::new(0)),
            charge: CachePadded::new(Charge::new()),
            commits: Mutex::new(Commits {
                ledger: vm.ledger(),
                log: Vec::new(),
                metrics: SegmentMetrics::default(),
                segment_began: Instant::now(),
                locations_before: 0,
                sealed: Vec::new(),
                submitted_at: Vec::new(),
            }),
            retries: Retries::default(),
            driver: Mutex::new(None),
            is_stopped: AtomicBool::new(false),
            stop: Mutex::new(None),
            counters: Counters::default(),
            vm,
            settings,
        };
        let run = Arc::new(OptimisticRun {
            core: Arc::new(core),
            kept: Arc::clone(&self.kept),
            helpers: AtomicUsize::new(0),
        });
        if run.core.settings.threads > 1 {
            let pool = Arc::clone(&run.core.settings.pool);
            pool.offer(Arc::clone(&run) as Arc<dyn Job>);
        }
        run
    }
}

impl<V: Vm> Run<V> for OptimisticRun<V> {
    fn submit(&self, segment: u32, memory_bytes: usize) {
        let core = &self.core;
        core.memory.add_budget(memory_bytes);
        core.commits.lock().submitted_at.push(Instant::now());
        let (first, end) = core.vm.entries_of(segment);
        for _ in first.0..end.0 {
            core.entries.push(Entry::new());
        }
        core.submitted.store(end.0, Ordering::SeqCst);
        // One is enough: whoever finds more work than its own wakes the next.
        core.settings.pool.idle().wake_one();
    }

    fn drive(&self, until: &dyn Fn() -> bool) {
        let core = &self.core;
        let seat = Seat::new();
        *core.driver.lock() = Some(seat.waker());
        let mut local = self.check_out();
        loop {
            core.work(&mut local, until);
            if until() || core.is_stopped() || core.is_complete() {
                break;
            }
            let asleep = Instant::now();
            core.settings.pool.idle().sleep_unless(&seat, || {
                until() || core.is_stopped() || core.is_complete() || core.has_work()
            });
            core.add_idle(asleep.elapsed());
        }
        *core.driver.lock() = None;
        self.check_in(local);
    }

    fn stopped(&self) -> Option<Stop<V>> {
        self.core.stop.lock().clone()
    }

    fn metrics(&self, segment: u32) -> SegmentMetrics {
        let mut commits = self.core.commits.lock();
        if segment as usize == commits.sealed.len() {
            // The run stopped in this one: nothing more will be counted.
            let metrics = self.core.with_counters(commits.metrics);
            commits.sealed.push(metrics);
        }
        commits.sealed.get(segment as usize).copied().unwrap_or_default()
    }

    fn close(self: Arc<Self>) {
        // Whoever is still inside leaves at its next look.
        self.core.is_stopped.store(true, Ordering::SeqCst);
        if self.core.settings.threads > 1 {
            let pool = Arc::clone(&self.core.settings.pool);
            pool.retire(&self);
        }
        // Nobody else is left: no worker, no view.
        let Some(Self { core, kept, .. }) = Arc::into_inner(self) else { return };
        let Some(core) = Arc::into_inner(core) else { return };
        let (table, mut entries) = (core.memory.table, core.entries);
        entries.clear();
        kept.tables.lock().push((table, entries));
    }
}

impl<V: Vm> Job for OptimisticRun<V> {
    fn help(&self) -> bool {
        if !self.has_work() {
            return false;
        }
        if self.helpers.fetch_add(1, Ordering::SeqCst) + 1 >= self.core.settings.threads {
            self.helpers.fetch_sub(1, Ordering::SeqCst);
            return false;
        }
        let mut local = self.check_out();
        let worked = self.core.work(&mut local, &|| false);
        self.check_in(local);
        self.helpers.fetch_sub(1, Ordering::SeqCst);
        worked
    }

    fn has_work(&self) -> bool {
        !self.core.is_stopped()
            && self.helpers.load(Ordering::SeqCst) + 1 < self.core.settings.threads
            && self.core.has_work()
    }
}

impl<V: Vm> OptimisticRun<V> {
    fn check_out(&self) -> V::Local<SpeculativeView<V>> {
        let mut local =
            self.kept.locals.lock().pop().unwrap_or_else(|| self.core.vm.local(SpeculativeView::new()));
        self.core.vm.rebind(&mut local);
        V::view(&mut local).attach(Some(Arc::clone(&self.core)));
        local
    }

    fn check_in(&self, mut local: V::Local<SpeculativeView<V>>) {
        // A view that kept its run would keep the run's memory.
        V::view(&mut local).attach(None);
        V::unbind(&mut local);
        self.kept.locals.lock().push(local);
    }
}

impl<V: Vm> Core<V> {
    pub(crate) fn is_stopped(&self) -> bool {
        // Relaxed: only ends loops; what stopped the run is behind a lock.
        self.is_stopped.load(Ordering::Relaxed)
    }

    /// The first entry that is not committed.
    pub(crate) fn frontier(&self) -> u32 {
        self.frontier.load(Ordering::SeqCst)
    }

    fn is_complete(&self) -> bool {
        self.frontier() == self.submitted.load(Ordering::SeqCst)
    }

    fn has_work(&self) -> bool {
        !self.retries.is_empty() || self.cursor.load(Ordering::SeqCst) < self.window_end()
    }

    /// One past the last entry that may be begun now.
    fn window_end(&self) -> u32 {
        let ahead = self.frontier().saturating_add(self.settings.look_ahead_entries_max);
        ahead.min(self.submitted.load(Ordering::SeqCst))
    }

    fn add_idle(&self, time: Duration) {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.counters.idle_ns.fetch_add(ns, Ordering::Relaxed);
    }

    fn stop(&self, stop: Stop<V>) {
        let mut first = self.stop.lock();
        if first.is_none() {
            *first = Some(stop);
        }
        drop(first);
        self.is_stopped.store(true, Ordering::SeqCst);
        self.wake_driver();
    }

    fn wake_driver(&self) {
        if let Some(driver) = &*self.driver.lock() {
            driver.wake();
        }
    }

    /// Executes and commits as long as there is something to do. Returns whether there was.
    fn work(&self, local: &mut V::Local<SpeculativeView<V>>, until: &dyn Fn() -> bool) -> bool {
        let mut worked = false;
        let mut next = None;
        let backoff = Backoff::new();
        loop {
            if next.is_none() && (self.is_stopped() || until()) {
                return worked;
            }
            match next.take().or_else(|| self.take_task()) {
                Some(task) => {
                    if !worked && self.has_work() {
                        self.settings.pool.idle().wake_one();
                    }
                    worked = true;
                    backoff.reset();
                    // A panic of the machine, or of the scheduler itself, must not take the worker along.
                    match catch_unwind(AssertUnwindSafe(|| {
                        self.execute(local, task);
                        self.advance()
                    })) {
                        Ok(task) => next = task,
                        Err(payload) => {
                            self.stop(Stop::Panicked { message: panic_message(&*payload) });
                            *local = self.fresh_local(local);
                        }
                    }
                }
                // A task often appears within a microsecond; sleeping and waking costs several.
                None if self.settings.pool.may_spin() && !backoff.is_completed() && !self.is_complete() => {
                    backoff.snooze();
                }
                None => return worked,
            }
        }
    }

    /// A panic may have left anything in a local: start it anew.
    fn fresh_local(&self, old: &mut V::Local<SpeculativeView<V>>) -> V::Local<SpeculativeView<V>> {
        let core = V::view(old).detach();
        let mut local = self.vm.local(SpeculativeView::new());
        V::view(&mut local).attach(core);
        local
    }

    /// Claims the entry that should be executed next: a repeated one before a new one.
    fn take_task(&self) -> Option<Task> {
        while let Some(entry) = self.retries.pop() {
            if let Some(incarnation) = self.entries.get(entry).start() {
                return Some((EntryIndex(entry), incarnation));
            }
        }
        let mut cursor = self.cursor.load(Ordering::SeqCst);
        while cursor < self.window_end() {
            match self.cursor.compare_exchange_weak(cursor, cursor + 1, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => match self.entries.get(cursor).start() {
                    Some(incarnation) => return Some((EntryIndex(cursor), incarnation)),
                    None => cursor += 1,
                },
                Err(now) => cursor = now,
            }
        }
        None
    }

    /// Executes a claimed entry and puts its writes in place.
    fn execute(&self, local: &mut V::Local<SpeculativeView<V>>, (index, incarnation): Task) {
        let entry = self.entries.get(index.0);
        let is_transaction = self.vm.is_transaction(index);
        if let Some(reason) = self.settings.limits.exceeded() {
            self.stop(Stop::Cancelled(reason));
            return;
        }
        if incarnation.0 == 0 && is_transaction {
            let in_flight = self.counters.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
            self.counters.max_in_flight.fetch_max(in_flight, Ordering::Relaxed);
        }
        if let Some(fuzz) = &self.settings.fuzz {
            fuzz.before_execute(index, incarnation, is_transaction);
        }
        let began = Instant::now();
        // Everything before is committed: what this execution reads can not change any more.
        let is_final = self.frontier() == index.0;
        V::view(local).begin(index, is_final);
        let result = self.vm.execute(local, index);
        let view = V::view(local);
        match &result {
            Err(Interrupt::Blocked(on)) => {
                let mut record = entry.record.lock();
                record.executions += 1;
                record.waits += 1;
                record.execute_time += began.elapsed();
                drop(record);
                return self.wait_for(index, incarnation, *on);
            }
            Err(Interrupt::Cancelled) => {
                if let Some(reason) = self.settings.limits.exceeded() {
                    self.stop(Stop::Cancelled(reason));
                }
                return;
            }
            Err(Interrupt::MemoryLimit) => {
                return self.stop(Stop::MemoryLimit { limit_bytes: self.memory.limit_bytes() });
            }
            Err(Interrupt::Read(_)) => view.writes.clear(),
            Ok(_) => {}
        }
        let mut suspects = Suspects::new();
        let mut record = entry.record.lock();
        let old = std::mem::take(&mut record.written);
        record.written.extend(view.writes.iter().map(|(location, _)| *location));
        self.memory.land(&self.vm, index, incarnation, view.writes.drain(..), &mut suspects);
        for location in old {
            if !record.written.contains(&location) {
                self.memory.withdraw(index, location, &mut suspects);
            }
        }
        std::mem::swap(&mut record.reads, &mut view.reads);
        std::mem::swap(&mut record.scans, &mut view.scans);
        record.result = Some(result);
        record.is_final = is_final;
        record.executions += 1;
        record.execute_time += began.elapsed();
        drop(record);

        let aborts =
            !is_final && self.settings.fuzz.as_ref().is_some_and(|fuzz| fuzz.abort(index, incarnation));
        while !entry.finish(incarnation) {
            // Somebody wrote what this execution may have read.
            if !self.is_valid(index, &entry.record.lock()) {
                self.invalidate(index, incarnation, State::Running);
                self.retry(index.0);
                return self.tell(&mut suspects);
            }
        }
        if aborts && entry.transition(incarnation, State::Done, State::Invalidating) {
            self.invalidate(index, incarnation, State::Invalidating);
            self.retry(index.0);
        }
        self.release_dependents(entry);
        self.tell(&mut suspects);
    }

    /// Parks an entry until `on` was executed.
    fn wait_for(&self, index: EntryIndex, incarnation: Incarnation, on: EntryIndex) {
        let entry = self.entries.get(index.0);
        if !entry.transition(incarnation, State::Running, State::Waiting) {
            // It became suspect, which is all the same now: it runs again.
            entry.make_ready(incarnation);
            return self.retry(index.0);
        }
        let blocker = self.entries.get(on.0);
        let mut dependents = blocker.dependents.lock();
        // Under the lock: whoever finishes the blocker takes its dependents only after this.
        match blocker.status().0 {
            State::Done | State::Committing | State::Committed => {
                drop(dependents);
                entry.make_ready(incarnation);
                self.retry(index.0);
            }
            _ => dependents.push(index.0),
        }
    }

    fn release_dependents(&self, entry: &Entry<V>) {
        let dependents = std::mem::take(&mut *entry.dependents.lock());
        for dependent in dependents {
            let waiting = self.entries.get(dependent);
            let (_, incarnation) = waiting.status();
            debug_assert_eq!(waiting.status().0, State::Waiting);
            waiting.make_ready(incarnation);
            self.retry(dependent);
        }
    }

    fn retry(&self, entry: u32) {
        self.retries.push(entry);
        self.settings.pool.idle().wake_one();
    }

    /// Tells entries that something they read was written: the executed ones are checked at once.
    fn tell(&self, suspects: &mut Suspects) {
        suspects.sort_unstable();
        suspects.dedup();
        for suspect in suspects.drain(..) {
            self.check(EntryIndex(suspect));
        }
    }

    fn check(&self, index: EntryIndex) {
        let entry = self.entries.get(index.0);
        if entry.suspect() {
            return;
        }
        let record = entry.record.lock();
        let (state, incarnation) = entry.status();
        if state == State::Done
            && !record.is_final
            && !self.is_valid(index, &record)
            && entry.transition(incarnation, State::Done, State::Invalidating)
        {
            drop(record);
            self.invalidate(index, incarnation, State::Invalidating);
            self.retry(index.0);
        }
    }

    /// Marks an entry's writes as guesses and makes it ready. The caller alone may leave the state `from`.
    fn invalidate(&self, index: EntryIndex, incarnation: Incarnation, from: State) {
        let entry = self.entries.get(index.0);
        debug_assert_eq!(entry.status().0, from);
        for location in &entry.record.lock().written {
            self.memory.mark_estimate(index, *location);
        }
        entry.make_ready(incarnation);
    }

    /// Whether all that an execution observed still holds.
    fn is_valid(&self, index: EntryIndex, record: &Record<V>) -> bool {
        self.counters.validations.fetch_add(1, Ordering::Relaxed);
        record.reads.iter().all(|read| {
            let Some(observation) = &read.observation else { return true };
            self.memory.holds(read.location, index, observation)
        }) && record
            .scans
            .iter()
            .all(|scan| self.memory.scan(&self.vm, &scan.range, index).is_ok_and(|now| now == scan.seen))
    }

    /// Commits what can be committed, if nobody else is at it. Returns an entry that the caller must run next:
    /// the frontier's, whose reads were stale.
    fn advance(&self) -> Option<Task> {
        self.charge.signal(|| {
            let began = Instant::now();
            let mut commits = self.commits.lock();
            let before = self.frontier();
            let flow = self.commit_ready(&mut commits);
            commits.metrics.commit += began.elapsed();
            drop(commits);
            if self.frontier() != before && self.has_work() {
                self.settings.pool.idle().wake_one();
            }
            flow
        })
    }

    fn commit_ready(&self, commits: &mut Commits<V>) -> ControlFlow<Task> {
        loop {
            let index = EntryIndex(self.frontier());
            if self.is_stopped() || index.0 == self.submitted.load(Ordering::SeqCst) {
                return ControlFlow::Continue(());
            }
            let entry = self.entries.get(index.0);
            let (state, incarnation) = entry.status();
            if state != State::Done || !entry.transition(incarnation, State::Done, State::Committing) {
                return ControlFlow::Continue(());
            }
            if let Some(fuzz) = &self.settings.fuzz
                && !entry.record.lock().is_final
                && fuzz.replay_suffix(index, incarnation)
            {
                self.replay_suffix(index);
                return ControlFlow::Break((index, entry.restart(incarnation)));
            }
            let mut record = entry.record.lock();
            if !record.is_final && !self.is_valid(index, &record) {
                for location in &record.written {
                    self.memory.mark_estimate(index, *location);
                }
                return ControlFlow::Break((index, entry.restart(incarnation)));
            }
            if let Err(stop) = self.commit(commits, index, &mut record) {
                self.stop(stop);
                return ControlFlow::Continue(());
            }
            let moved = entry.transition(incarnation, State::Committing, State::Committed);
            debug_assert!(moved, "only the frontier leaves this state");
        }
    }

    /// Sends everything executed behind an entry back to be run again.
    fn replay_suffix(&self, after: EntryIndex) {
        for index in
            after.0 + 1..self.cursor.load(Ordering::SeqCst).min(self.submitted.load(Ordering::SeqCst))
        {
            let entry = self.entries.get(index);
            let (state, incarnation) = entry.status();
            if state == State::Done && entry.transition(incarnation, State::Done, State::Invalidating) {
                self.invalidate(EntryIndex(index), incarnation, State::Invalidating);
                self.retry(index);
            }
        }
    }

    /// Publishes one entry: into the ledger, into the committed values.
    fn commit(
        &self,
        commits: &mut Commits<V>,
        index: EntryIndex,
        record: &mut Record<V>,
    ) -> Result<(), Stop<V>> {
        let segment = self.vm.segment_of(index);
        let refused = |refusal| Stop::Refused { segment, refusal };
        let Commits { ledger, log, metrics, .. } = commits;
        metrics.executions += u64::from(record.executions);
        metrics.aborts += u64::from(record.executions - record.waits) - 1;
        metrics.waits += u64::from(record.waits);
        metrics.execute += record.execute_time;
        // First, as it does not depend on how the entry's execution went.
        self.vm.admit(ledger, index).map_err(refused)?;
        let output = match record.result.take() {
            Some(Ok(output)) => output,
            Some(Err(Interrupt::Read(error))) => return Err(refused(self.vm.refuse_read(index, error))),
            other => {
                panic!("entry {index} has no result to commit: {:?}", other.map(|result| result.is_ok()))
            }
        };
        self.vm.commit(ledger, index, output).map_err(refused)?;
        for location in record.written.drain(..) {
            self.memory.commit(&self.vm, index, segment, location, log).map_err(
                |interrupt| match interrupt {
                    Interrupt::Read(error) => refused(self.vm.refuse_read(index, error)),
                    other => panic!("committing entry {index} was interrupted: {other:?}"),
                },
            )?;
        }
        record.reads = Vec::new();
        record.scans = Vec::new();
        if self.vm.is_transaction(index) {
            self.counters.in_flight.fetch_sub(1, Ordering::Relaxed);
        }
        let (first, end) = self.vm.entries_of(segment);
        if index.0 + 1 == end.0 {
            self.seal(commits, segment, first);
        }
        self.frontier.store(index.0 + 1, Ordering::SeqCst);
        if index.0 + 1 == end.0 {
            self.wake_driver();
        }
        Ok(())
    }

    /// Adds what was counted outside the commits since the last segment was sealed.
    fn with_counters(&self, metrics: SegmentMetrics) -> SegmentMetrics {
        let Counters { validations, in_flight, max_in_flight, idle_ns } = &self.counters;
        SegmentMetrics {
            validations: validations.swap(0, Ordering::Relaxed),
            idle: Duration::from_nanos(idle_ns.swap(0, Ordering::Relaxed)),
            max_in_flight: max_in_flight.swap(in_flight.load(Ordering::Relaxed), Ordering::Relaxed).into(),
            ..metrics
        }
    }

    fn seal(&self, commits: &mut Commits<V>, segment: u32, first: EntryIndex) {
        let mut metrics = self.with_counters(std::mem::take(&mut commits.metrics));
        let locations = self.memory.table.len();
        metrics.locations = u64::from(locations - commits.locations_before);
        commits.locations_before = locations;
        let changes = self.memory.changes(first, &mut commits.log);
        self.vm.seal(&mut commits.ledger, segment, changes, &|id| self.memory.committed(id));
        let submitted = commits.submitted_at.get(segment as usize).copied();
        let began = submitted.map_or(commits.segment_began, |submitted| submitted.max(commits.segment_began));
        commits.segment_began = Instant::now();
        metrics.wall = commits.segment_began - began;
        metrics.sealed_at = Some(commits.segment_began);
        commits.sealed.push(metrics);
    }
}
