use super::{
    Driver, Task,
    caution::Caution,
    early::Early,
    frontier::Commits,
    parked::Went,
    worker::{Execution, Worker},
};
use crate::{
    CancelReason,
    cancel::StopSign,
    pool::Idle,
    scheduler::{
        append_vec::AppendVec,
        charge::Charge,
        entry::{Entry, Record, State},
        ids::{EntryIndex, Incarnation},
        marks::Touched,
        memory::{Landed, Memory, Read, Scan},
        retries::Retries,
        strategy::{RunSettings, Stop, panic_message},
        view::SpeculativeView,
        vm::{Interrupt, Vm},
    },
    sync::model_fence,
};
use crossbeam::utils::{Backoff, CachePadded};
use parking_lot::Mutex;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// What all workers of a run share.
pub(crate) struct Core<V: Vm> {
    pub(crate) vm: Arc<V>,
    pub(crate) memory: Memory<V>,
    pub(crate) settings: RunSettings,
    pub(super) entries: AppendVec<Entry<V>>,
    /// One past the last entry that may be executed.
    pub(super) submitted: AtomicU32,
    /// The next entry that nobody has begun.
    pub(super) cursor: CachePadded<AtomicU32>,
    /// One past the last entry whose reads were asked for ahead.
    pub(super) prefetched: AtomicU32,
    /// The first entry that is not committed.
    pub(super) frontier: CachePadded<AtomicU32>,
    pub(super) charge: CachePadded<Charge>,
    pub(super) commits: Mutex<Commits<V>>,
    pub(super) retries: Retries,
    pub(super) early: Early,
    pub(super) caution: Caution,
    pub(super) driver: Driver,
    /// Workers that wait for what they have parked, and could do more.
    pub(super) dozing: Idle,
    pub(crate) stop_sign: Arc<StopSign>,
    pub(super) stop: Mutex<Option<Stop<V>>>,
    pub(super) counters: Counters,
    /// Pool workers inside.
    pub(super) helpers: AtomicUsize,
}

/// How long a worker that has nothing to do looks for more before it sleeps: about as long as it would take to wake up.
/// Models know no time, and leave before they would sleep.
const SPIN_MAX: Duration = if cfg!(feature = "loom") { Duration::MAX } else { Duration::from_micros(40) };

/// How long a worker that waits sleeps at most: nobody tells it of a deadline, or of what its own store has for it.
const DOZE_MAX: Duration = Duration::from_millis(1);

#[derive(Default)]
pub(super) struct Counters {
    pub(super) validations: AtomicU64,
    pub(super) max_in_flight: AtomicU32,
    pub(super) idle_ns: AtomicU64,
    pub(super) lent_ns: AtomicU64,
    pub(super) parked: AtomicU64,
    pub(super) parks: AtomicU64,
}

impl<V: Vm> Core<V> {
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop_sign.is_raised()
    }

    /// The first entry that is not committed.
    pub(crate) fn frontier(&self) -> u32 {
        self.frontier.load(Ordering::SeqCst)
    }

    pub(crate) fn entry(&self, entry: EntryIndex) -> &Entry<V> {
        self.entries.get(entry.0)
    }

    /// Why an execution found itself cancelled. The reason is of no account if the run was stopped before.
    pub(super) fn cancel_reason(&self) -> CancelReason {
        self.settings.limits.exceeded().unwrap_or(CancelReason::Token)
    }

    pub(super) fn is_complete(&self) -> bool {
        self.frontier() == self.submitted.load(Ordering::SeqCst)
    }

    pub(super) fn has_work(&self) -> bool {
        let end = self.window_end();
        !self.caution.has_given_up()
            && self.caution.admits()
            && (self.retries.has_below(end) || self.cursor.load(Ordering::SeqCst) < end)
    }

    /// One past the last entry that may be begun now.
    pub(super) fn window_end(&self) -> u32 {
        let ahead = if self.caution.is_pausing() { 1 } else { self.settings.look_ahead_entries_max };
        self.frontier().saturating_add(ahead).min(self.submitted.load(Ordering::SeqCst))
    }

    pub(super) fn add_idle(&self, time: Duration) {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.counters.idle_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// Does a short piece of lent work in place of waiting since `from`. Gives the time after it, if there was one.
    pub(super) fn help_lent(&self, worker: usize, from: Instant) -> Option<Instant> {
        if !self.settings.pool.help_lent(worker) {
            return None;
        }
        let now = Instant::now();
        let ns = u64::try_from((now - from).as_nanos()).unwrap_or(u64::MAX);
        self.counters.lent_ns.fetch_add(ns, Ordering::Relaxed);
        Some(now)
    }

    pub(super) fn stop(&self, stop: Stop<V>) {
        let mut first = self.stop.lock();
        if first.is_none() {
            *first = Some(stop);
        }
        drop(first);
        self.stop_sign.raise();
        self.driver.wake();
        self.dozing.wake_all();
    }

    /// Wakes one who can help: the driver, which is here for nothing else, then one who waits for a read, before a worker
    /// from outside. Whoever made work made it
    /// visible in the order of all SeqCst accesses, to which the sleepers' announcements belong too.
    pub(super) fn wake_one(&self) {
        // A worker that leaves looks once more for work, after it has made room.
        if !self.driver.wake_to_work() && !self.dozing.wake_one() && self.can_take_help() {
            self.settings.pool.idle().wake_one();
        }
    }

    /// Whether one more worker may come in; the driver counts as one.
    pub(super) fn can_take_help(&self) -> bool {
        self.helpers.load(Ordering::SeqCst) + 1 < self.settings.threads
    }

    /// Executes and commits as long as there is something to do, or to wait for. Returns whether there was.
    pub(super) fn work(&self, worker: &mut Worker<V>, until: &dyn Fn() -> bool) -> bool {
        let mut has_turn = false;
        let worked = self.work_in_turn(worker, until, &mut has_turn);
        if has_turn {
            self.caution.end_turn();
        }
        if worked && !self.is_stopped() && self.has_work() {
            // Whoever is asleep takes over.
            self.wake_one();
        }
        worked
    }

    fn work_in_turn(&self, worker: &mut Worker<V>, until: &dyn Fn() -> bool, has_turn: &mut bool) -> bool {
        let mut worked = false;
        let mut next = None;
        let backoff = Backoff::new();
        let mut idle_since = None;
        // One look at the clock ends a phase and begins the next.
        let mut clock = Instant::now();
        loop {
            if self.caution.has_given_up() || (next.is_none() && (self.is_stopped() || until())) {
                self.leave(worker, &mut clock);
                return worked;
            }
            // A panic of the machine, or of the scheduler itself, must not take the worker along.
            let turn = catch_unwind(AssertUnwindSafe(|| {
                let released = self.go_on(worker, next.take(), has_turn, worked, &mut clock)?;
                Some((self.advance(&mut clock), released))
            }));
            match turn {
                Ok(Some(done)) => {
                    worked = true;
                    backoff.reset();
                    idle_since = None;
                    match done {
                        // What comes before it comes first.
                        (None, Some(released))
                            if !self.is_stopped() && !self.retries.has_below(released.0.0) && !until() =>
                        {
                            next = Some(released);
                        }
                        (task, released) => {
                            next = task;
                            released.into_iter().for_each(|released| self.give_back(released));
                        }
                    }
                }
                Ok(None) if worker.is_waiting() => {
                    worked = true;
                    if std::mem::take(has_turn) {
                        self.caution.end_turn();
                    }
                    let helped = self.help_lent(worker.number, clock);
                    clock = helped.unwrap_or_else(|| self.doze(worker, until));
                }
                Ok(None) if self.settings.may_spin && !self.is_complete() => {
                    let since = *idle_since.get_or_insert(clock);
                    // Not for longer than it would wait: whoever leaves looks at the work of other runs, too.
                    let lent = if *has_turn { None } else { self.help_lent(worker.number, clock) };
                    clock = lent.unwrap_or_else(|| {
                        backoff.snooze();
                        Instant::now()
                    });
                    if clock - since >= SPIN_MAX {
                        return worked;
                    }
                }
                Ok(None) => return worked,
                Err(payload) => {
                    worked = true;
                    self.stop(Stop::Panicked { message: panic_message(&*payload) });
                }
            }
        }
    }

    /// Goes on with one execution: `next`, one that was parked, or a new one. `None` if there is none, else what waited
    /// for it, if it ended.
    fn go_on(
        &self,
        worker: &mut Worker<V>,
        next: Option<Task>,
        has_turn: &mut bool,
        has_worked: bool,
        clock: &mut Instant,
    ) -> Option<Option<Task>> {
        let task = match next {
            Some(task) => task,
            None => {
                // It has a stack and a state, and mostly stands before what comes next.
                if let Some(went) = worker.go_on(clock) {
                    return Some(self.take_up(worker, went));
                }
                if worker.is_full() {
                    return None;
                }
                worker.prepare();
                self.take_task_in_turn(has_turn)?
            }
        };
        if !has_worked && self.has_work() {
            self.wake_one();
        }
        Some(self.execute(worker, task, clock))
    }

    /// Sleeps until something completes for a worker, or there is something else to do. Gives the time after it.
    fn doze(&self, worker: &mut Worker<V>, until: &dyn Fn() -> bool) -> Instant {
        let asleep = Instant::now();
        if let Some(reason) = self.settings.limits.exceeded() {
            self.stop(Stop::Cancelled(reason));
        }
        // What waits for a read in vain need not wait for it.
        if worker.wake_suspects() {
            return asleep;
        }
        let takes_more = !worker.is_full();
        let has_work = |worker: &Worker<V>| {
            worker.has_complete()
                || self.is_stopped()
                || until()
                || self.caution.has_given_up()
                || (takes_more && self.has_work())
        };
        if has_work(worker) {
            return asleep;
        }
        // Whoever makes work does not find this one while it sleeps there: not for long.
        if !worker.wait_for_own_reads(DOZE_MAX) {
            let (seat, has_work) = (&worker.seat, || has_work(worker));
            if worker.number == 0 {
                self.driver.sleep_unless(seat, Some(DOZE_MAX), takes_more, has_work);
            } else if takes_more {
                self.dozing.sleep_unless(seat, Some(DOZE_MAX), has_work);
            } else if !has_work() {
                seat.park(Some(DOZE_MAX));
            }
        }
        self.add_idle(asleep.elapsed());
        Instant::now()
    }

    /// Ends what a worker has parked, and waits for the reads that it alone can take: somebody may wait for them.
    fn leave(&self, worker: &mut Worker<V>, clock: &mut Instant) {
        while let Some(went) = worker.end_one(clock) {
            if let Went::Ended(Execution { task: (index, incarnation), spent, .. }, ended) = went {
                if let Ok((hand, _)) = ended {
                    worker.give_hand(hand);
                }
                let entry = self.entries.get(index.0);
                let mut record = entry.record.lock();
                record.executions += 1;
                record.waits += 1;
                record.execute_time += spent;
                drop(record);
                self.give_back((index, incarnation));
            }
        }
        while worker.wait_for_own_reads(DOZE_MAX) {}
    }

    /// As [`Core::take_task`], but in a pause only for who has the turn.
    fn take_task_in_turn(&self, has_turn: &mut bool) -> Option<Task> {
        let is_pausing = self.caution.is_pausing();
        if is_pausing && !*has_turn {
            *has_turn = self.caution.take_turn();
        } else if !is_pausing && *has_turn {
            self.caution.end_turn();
            *has_turn = false;
        }
        if is_pausing && !*has_turn { None } else { self.take_task() }
    }

    /// Claims the entry that should be executed next: a repeated one before a new one.
    pub(super) fn take_task(&self) -> Option<Task> {
        while let Some(entry) = self.retries.pop_below(self.window_end()) {
            let task = self.claim(EntryIndex(entry));
            if task.is_some() {
                return task;
            }
        }
        let mut cursor = self.cursor.load(Ordering::SeqCst);
        while let Some(entry) = self.early.take(cursor, self.window_end()) {
            if let Some(incarnation) = self.entries.get(entry).start() {
                return Some((EntryIndex(entry), incarnation));
            }
        }
        while cursor < self.window_end() {
            match self.cursor.compare_exchange_weak(cursor, cursor + 1, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => match self.claim(EntryIndex(cursor)) {
                    Some(task) => return Some(task),
                    None => cursor += 1,
                },
                Err(now) => cursor = now,
            }
        }
        None
    }

    /// Claims an entry, unless somebody else did, or it waits for one that it follows.
    fn claim(&self, index: EntryIndex) -> Option<Task> {
        let incarnation = self.entries.get(index.0).start()?;
        (!self.must_follow((index, incarnation))).then_some((index, incarnation))
    }

    /// Whether a claimed entry waits for one that it follows. It is then claimed no more.
    fn must_follow(&self, (index, incarnation): Task) -> bool {
        let Some(before) = self.vm.follows(index) else { return false };
        let state = self.entries.get(before.0).status().0;
        if matches!(state, State::Done | State::Committing | State::Committed) {
            return false;
        }
        self.wait_for(index, incarnation, before);
        true
    }

    /// Executes a claimed entry and puts its writes in place, unless it is parked. Gives the next one that waited for it,
    /// claimed: it is best executed by whoever has in its caches what it waited for.
    fn execute(
        &self,
        worker: &mut Worker<V>,
        (index, incarnation): Task,
        clock: &mut Instant,
    ) -> Option<Task> {
        let entry = self.entries.get(index.0);
        let is_transaction = self.vm.transaction_count(index) > 0;
        if let Some(reason) = self.settings.limits.exceeded() {
            self.stop(Stop::Cancelled(reason));
            return None;
        }
        let frontier = self.frontier();
        if incarnation.0 == 0 && is_transaction && index.0 < self.cursor.load(Ordering::SeqCst) {
            self.note_in_flight(frontier, index.0);
        }
        if let Some(fuzz) = &self.settings.fuzz {
            fuzz.before_execute(index, incarnation, is_transaction);
        }
        // What begins before its turn is no measure of how far the others are.
        if worker.may_wait && index.0 < self.cursor.load(Ordering::SeqCst) {
            self.prefetch_from(index.0);
        }
        let mut hand = worker.take_hand();
        hand.view().begin(index, frontier);
        entry.marks.clear();
        let is_final = frontier == index.0;
        let execution = Execution { task: (index, incarnation), is_final, spent: Duration::ZERO, parks: 0 };
        let went = worker.begin(hand, execution, clock);
        self.take_up(worker, went)
    }

    /// Asks ahead for what the entries will read that come next, and for that of this one.
    fn prefetch_from(&self, index: u32) {
        let end = index.saturating_add(self.settings.prefetch_entries_max);
        let end = end.min(self.submitted.load(Ordering::SeqCst));
        // Whoever is first: the others find nothing left.
        let first = self.prefetched.fetch_max(end, Ordering::SeqCst);
        if first < end {
            self.vm.prefetch(first..end);
        }
    }

    /// Takes up what an execution came to: it is parked, or has ended.
    fn take_up(&self, worker: &mut Worker<V>, went: Went<V>) -> Option<Task> {
        let (execution, ended) = match went {
            Went::Parked { is_first } => {
                self.counters.parked.fetch_add(u64::from(is_first), Ordering::Relaxed);
                self.counters.parks.fetch_add(1, Ordering::Relaxed);
                return None;
            }
            Went::Ended(execution, ended) => (execution, ended),
        };
        let (mut hand, result) = ended.unwrap_or_else(|payload| {
            // A panic may have left anything in its state, which is dropped: here is another.
            let mut hand = worker.take_hand();
            hand.view().begin(execution.task.0, 0);
            (hand, Err(Interrupt::Panicked { message: panic_message(&*payload) }))
        });
        let released = self.end(worker, hand.view(), execution, result);
        worker.give_hand(hand);
        released
    }

    /// Ends an execution: puts its writes in place, or has it run again.
    fn end(
        &self,
        worker: &mut Worker<V>,
        view: &mut SpeculativeView<V>,
        Execution { task: (index, incarnation), is_final, spent, .. }: Execution,
        result: Result<V::Output, Interrupt<V>>,
    ) -> Option<Task> {
        let entry = self.entries.get(index.0);
        view.finish();
        let bytes = if result.is_ok() { view.used_bytes() } else { 0 };
        let locations = self.memory.charge_locations(view.take_new_locations());
        let charged = locations.and_then(|()| self.memory.charge(bytes));
        let result = result.and_then(|output| charged.map(|()| output));
        match &result {
            Err(Interrupt::Blocked(on)) => {
                let mut record = entry.record.lock();
                record.executions += 1;
                record.waits += 1;
                record.execute_time += spent;
                drop(record);
                self.wait_for(index, incarnation, *on);
                return None;
            }
            Err(Interrupt::Stale) => {
                let mut record = entry.record.lock();
                record.executions += 1;
                record.execute_time += spent;
                drop(record);
                entry.make_ready(incarnation);
                self.retry(index.0);
                return None;
            }
            Err(Interrupt::Cancelled) => {
                self.stop(Stop::Cancelled(self.cancel_reason()));
                return None;
            }
            // On a guess whatever failed may succeed in its turn: the frontier runs it again.
            Err(Interrupt::MemoryLimit) if is_final => {
                self.stop(Stop::MemoryLimit { limit_bytes: self.memory.limit_bytes() });
                return None;
            }
            Err(Interrupt::Panicked { message }) if is_final => {
                self.stop(Stop::Panicked { message: message.clone() });
                return None;
            }
            Err(Interrupt::Pending(ticket)) => panic!("entry {index} did not wait for {ticket:?}"),
            Err(Interrupt::Read(_) | Interrupt::MemoryLimit | Interrupt::Panicked { .. }) => {
                view.writes.clear();
                view.late_writes.clear();
            }
            Ok(_) => {}
        }
        let mut record = entry.record.lock();
        self.memory.release(std::mem::replace(&mut record.charged_bytes, bytes));
        let mut landed = Landed::default();
        // Of a first execution there is none, and its list's memory stays.
        let old = if record.written.is_empty() { Vec::new() } else { std::mem::take(&mut record.written) };
        record.written.extend(view.writes.iter().map(|(location, _)| *location));
        let writes = view.writes.drain(..);
        let reads_max = worker.reads_left();
        self.memory.land(&self.vm, (index, incarnation), writes, reads_max, &mut view.shares, &mut landed);
        worker.note_begun(landed.begun.drain(..));
        for location in old {
            if !record.written.contains(&location) {
                self.memory.withdraw(index, location, &mut landed);
            }
        }
        std::mem::swap(&mut record.late_writes, &mut view.late_writes);
        std::mem::swap(&mut record.reads, &mut view.reads);
        std::mem::swap(&mut record.scans, &mut view.scans);
        record.result = Some(result);
        record.is_contradicted = view.is_contradicted;
        record.is_final = is_final;
        record.executions += 1;
        record.execute_time += spent;
        record.latest_time = spent;
        drop(record);

        let aborts =
            !is_final && self.settings.fuzz.as_ref().is_some_and(|fuzz| fuzz.abort(index, incarnation));
        let mut is_suspect = view.is_suspect;
        while std::mem::take(&mut is_suspect) || !entry.finish(incarnation) {
            // Somebody wrote what this execution may have read.
            if !self.all_may_stand(index, &entry.record.lock(), None) {
                self.invalidate(index, incarnation, State::Running);
                self.retry(index.0);
                self.tell(index, landed);
                return None;
            }
        }
        if aborts && entry.transition(incarnation, State::Done, State::Invalidating) {
            self.invalidate(index, incarnation, State::Invalidating);
            self.retry(index.0);
        }
        // What the writes disturb first: who waited for this may have to wait for that.
        self.tell(index, landed);
        self.release_dependents(entry)
    }

    /// Parks an entry until `on` was executed.
    pub(super) fn wait_for(&self, index: EntryIndex, incarnation: Incarnation, on: EntryIndex) {
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

    /// Makes those ready that wait for an entry, and claims the first of them.
    pub(super) fn release_dependents(&self, entry: &Entry<V>) -> Option<Task> {
        let mut dependents = std::mem::take(&mut *entry.dependents.lock());
        dependents.sort_unstable();
        let mut first = None;
        for dependent in dependents {
            let waiting = self.entries.get(dependent);
            let (_, incarnation) = waiting.status();
            debug_assert_eq!(waiting.status().0, State::Waiting);
            waiting.make_ready(incarnation);
            // In a pause entries run in their turn only.
            if first.is_none() && !self.caution.is_pausing() {
                first = self.claim(EntryIndex(dependent));
            } else {
                self.retry(dependent);
            }
        }
        first
    }

    /// Gives back a claimed entry for anybody to execute.
    fn give_back(&self, (index, incarnation): Task) {
        self.entries.get(index.0).make_ready(incarnation);
        self.retry(index.0);
    }

    /// Has a ready entry run again: before all that nobody has begun, or, if it began before its turn, in its turn.
    pub(super) fn retry(&self, entry: u32) {
        if entry < self.cursor.load(Ordering::SeqCst) {
            self.retries.push(entry);
        }
        if !self.caution.is_pausing() {
            self.wake_one();
        }
    }

    /// Tells later entries that something they may have read was written: the executed ones are checked at once.
    pub(super) fn tell(&self, writer: EntryIndex, Landed { touched, suspects, .. }: Landed) {
        for suspect in suspects {
            self.check(EntryIndex(suspect), None);
        }
        if touched.is_empty() {
            return;
        }
        model_fence();
        // An entry that begins after this look at the cursor sees what was written.
        let begun = self.cursor.load(Ordering::SeqCst).min(self.submitted.load(Ordering::SeqCst));
        for index in (writer.0 + 1..begun).chain(self.early.begun_from(begun.max(writer.0 + 1))) {
            if self.entries.get(index).marks.may_hold(&touched) {
                self.check(EntryIndex(index), Some(&touched));
            }
        }
    }

    pub(super) fn check(&self, index: EntryIndex, touched: Option<&Touched>) {
        let entry = self.entries.get(index.0);
        if entry.suspect() {
            return;
        }
        let record = entry.record.lock();
        let (state, incarnation) = entry.status();
        if state != State::Done || record.is_final {
            return;
        }
        self.counters.validations.fetch_add(1, Ordering::Relaxed);
        if !self.all_may_stand(index, &record, touched)
            && entry.transition(incarnation, State::Done, State::Invalidating)
        {
            drop(record);
            self.invalidate(index, incarnation, State::Invalidating);
            self.retry(index.0);
        }
    }

    /// An execution is thrown away.
    pub(super) fn note_abort(&self) {
        self.caution.note_abort();
        if self.caution.has_given_up() {
            // It goes on alone.
            self.driver.wake();
        }
    }

    /// Marks an entry's writes as guesses and makes it ready. The caller alone may leave the state `from`.
    pub(super) fn invalidate(&self, index: EntryIndex, incarnation: Incarnation, from: State) {
        let entry = self.entries.get(index.0);
        debug_assert_eq!(entry.status().0, from);
        self.note_abort();
        for location in &entry.record.lock().written {
            self.memory.mark_estimate(index, *location);
        }
        entry.make_ready(incarnation);
    }

    /// Counts the transactions from the frontier to the one that begins: the latest, so all of them have begun.
    fn note_in_flight(&self, frontier: u32, index: u32) {
        let most = self.counters.max_in_flight.load(Ordering::Relaxed);
        let count = self.count_transactions(frontier, index);
        if count > most {
            self.counters.max_in_flight.fetch_max(count, Ordering::Relaxed);
        }
    }

    /// Transactions from one entry to another, both included.
    pub(super) fn count_transactions(&self, first: u32, last: u32) -> u32 {
        let (first, last) = (EntryIndex(first), EntryIndex(last));
        let before = self.vm.transactions_through(first) - self.vm.transaction_count(first);
        self.vm.transactions_through(last).saturating_sub(before)
    }

    /// Whether all that an execution observed holds. At the entry's turn to commit this decides.
    pub(super) fn is_valid(&self, index: EntryIndex, record: &Record<V>) -> bool {
        !record.is_contradicted
            && record.reads.iter().all(|read| {
                let Some(observation) = &read.observation else { return true };
                let holds = |value: &V::Value| V::holds(observation, value);
                self.memory.holds(read.location, index, holds)
            })
            && self.scans_hold(index, record)
    }

    /// Whether what an execution observed may still hold at the entry's turn; of locations that were just `touched`,
    /// if it is known which.
    fn all_may_stand(&self, index: EntryIndex, record: &Record<V>, touched: Option<&Touched>) -> bool {
        let is_as_before = |read: &Read<V>| touched.is_some_and(|touched| !touched.may_hold(read.location));
        !record.is_contradicted
            && record.reads.iter().all(|read| is_as_before(read) || self.may_stand(index, read))
            && (touched.is_some() || self.scans_hold(index, record))
    }

    /// Whether what was observed of one location may still hold at the entry's turn.
    pub(crate) fn may_stand(&self, index: EntryIndex, read: &Read<V>) -> bool {
        let Some(observation) = &read.observation else { return true };
        let may_hold = |value: &V::Value| V::may_come_to_hold(observation, value);
        self.memory.holds(read.location, index, may_hold)
    }

    fn scans_hold(&self, index: EntryIndex, record: &Record<V>) -> bool {
        let holds =
            |scan: &Scan<V>| self.memory.scan(&self.vm, &scan.range, index).is_ok_and(|now| now == scan.seen);
        record.scans.iter().all(holds)
    }
}
