use super::{
    Task,
    work::{Core, Counters},
};
use crate::scheduler::{
    entry::{Record, State},
    ids::{EntryIndex, LocationId},
    strategy::{SegmentMetrics, Stop, is_time_to_tell},
    vm::{Interrupt, Vm},
};
use std::{
    ops::ControlFlow,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

/// What only the thread in charge of the frontier touches.
pub(super) struct Commits<V: Vm> {
    pub(super) ledger: V::Ledger,
    /// The run goes on one entry after another: see [`rest`](super::rest).
    pub(super) are_handed_over: bool,
    pub(super) metrics: SegmentMetrics,
    pub(super) segment_began: Instant,
    pub(super) locations_before: usize,
    pub(super) sealed: Vec<SegmentMetrics>,
    /// Time spent sealing since the last look at the clock, already counted.
    pub(super) sealing: Duration,
    pub(super) submitted_at: Vec<Instant>,
}

impl<V: Vm> Core<V> {
    /// Commits what can be committed, if nobody else is at it. Returns an entry that the caller must run next:
    /// the frontier's, whose reads were stale.
    pub(super) fn advance(&self, clock: &mut Instant) -> Option<Task> {
        self.charge.signal(|| {
            let mut commits = self.commits.lock();
            let before = self.frontier();
            let flow = self.commit_ready(&mut commits);
            // Not of an entry that was refused with some of its writes made.
            if !self.is_stopped()
                && let Some(last) = self.frontier().checked_sub(1)
            {
                self.tell_commits(&mut commits.ledger, self.vm.segment_of(EntryIndex(last)));
            }
            let now = Instant::now();
            let sealing = std::mem::take(&mut commits.sealing);
            commits.metrics.commit += (now - std::mem::replace(clock, now)).saturating_sub(sealing);
            drop(commits);
            // In a pause the one who is here has all there is to do.
            if self.frontier() != before && !self.caution.is_pausing() && self.has_work() {
                self.wake_one();
            }
            flow
        })
    }

    pub(super) fn commit_ready(&self, commits: &mut Commits<V>) -> ControlFlow<Task> {
        loop {
            let index = EntryIndex(self.frontier());
            if commits.are_handed_over
                || self.is_stopped()
                || index.0 == self.submitted.load(Ordering::SeqCst)
            {
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
            // An error is no observation: what the failed read would have seen may have changed since.
            if !record.is_final {
                commits.metrics.validations += 1;
            }
            let stands = || matches!(record.result, Some(Ok(_))) && self.is_valid(index, &record);
            if !record.is_final && !stands() {
                for location in &record.written {
                    self.memory.mark_estimate(index, *location);
                }
                self.note_abort();
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
    pub(super) fn replay_suffix(&self, after: EntryIndex) {
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
    pub(super) fn commit(
        &self,
        commits: &mut Commits<V>,
        index: EntryIndex,
        record: &mut Record<V>,
    ) -> Result<(), Stop<V>> {
        let segment = self.vm.segment_of(index);
        let refused = |refusal| Stop::Refused { segment, refusal };
        let Commits { ledger, metrics, .. } = commits;
        let steps = u64::from(self.vm.step_count(index));
        metrics.executions += u64::from(record.executions) * steps;
        metrics.aborts += (u64::from(record.executions - record.waits) - 1) * steps;
        metrics.waits += u64::from(record.waits) * steps;
        if record.executions - record.waits > 1 {
            self.vm.note_thrown_away(index);
        }
        metrics.execute += record.execute_time;
        metrics.repeated += record.execute_time - record.latest_time;
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
        let interrupted = |interrupt| match interrupt {
            Interrupt::Read(error) => refused(self.vm.refuse_read(index, error)),
            Interrupt::Cancelled => Stop::Cancelled(self.cancel_reason()),
            other => panic!("committing entry {index} was interrupted: {other:?}"),
        };
        for location in record.written.drain(..) {
            self.memory.commit(&self.vm, index, segment, location, ledger).map_err(interrupted)?;
        }
        for write in record.late_writes.drain(..) {
            self.memory.commit_late(&self.vm, index, segment, write, ledger).map_err(interrupted)?;
        }
        record.reads.clear();
        record.scans.clear();
        self.memory.release(std::mem::take(&mut record.charged_bytes));
        let (_, end) = self.vm.entries_of(segment);
        // Others may go on giving this thread something to commit for as long as the block lasts.
        if index.0 + 1 == end.0 || is_time_to_tell(index, self.vm.untold(&commits.ledger)) {
            self.tell_commits(&mut commits.ledger, segment);
        }
        if index.0 + 1 == end.0 {
            self.seal(commits, segment, &|id| self.memory.committed(id));
        }
        self.caution.note_commit();
        self.frontier.store(index.0 + 1, Ordering::SeqCst);
        if index.0 + 1 == end.0 {
            self.driver.wake();
        }
        Ok(())
    }

    /// Tells what this round committed. Under the lock of the commits, which is what keeps a hand-over from telling at the
    /// same time; nobody but that and a submission waits for it.
    fn tell_commits(&self, ledger: &mut V::Ledger, segment: u32) {
        if self.vm.untold(ledger) > 0 {
            self.vm.tell(ledger, segment, &|id| self.memory.committed(id));
        }
    }

    /// Adds what was counted outside the commits since the last segment was sealed.
    pub(super) fn with_counters(&self, metrics: SegmentMetrics) -> SegmentMetrics {
        let Counters { validations, max_in_flight, idle_ns, lent_ns, parked, parks } = &self.counters;
        let waited = &self.memory.waited;
        SegmentMetrics {
            validations: metrics.validations + validations.swap(0, Ordering::Relaxed),
            idle: Duration::from_nanos(idle_ns.swap(0, Ordering::Relaxed)),
            lent: Duration::from_nanos(lent_ns.swap(0, Ordering::Relaxed)),
            max_in_flight: max_in_flight.swap(0, Ordering::Relaxed).into(),
            parked: parked.swap(0, Ordering::Relaxed),
            parks: parks.swap(0, Ordering::Relaxed),
            reads_waited_for: metrics.reads_waited_for + waited.swap(0, Ordering::Relaxed),
            ..metrics
        }
    }

    pub(super) fn seal(
        &self,
        commits: &mut Commits<V>,
        segment: u32,
        lookup: &dyn Fn(LocationId) -> (V::Key, V::Value),
    ) {
        let start = Instant::now();
        let mut metrics = self.with_counters(std::mem::take(&mut commits.metrics));
        // Of the segments behind.
        let begun = self.cursor.load(Ordering::SeqCst).min(self.submitted.load(Ordering::SeqCst));
        if self.frontier() + 1 < begun {
            let in_flight = self.count_transactions(self.frontier() + 1, begun - 1);
            self.counters.max_in_flight.fetch_max(in_flight, Ordering::Relaxed);
        }
        let locations = self.memory.location_count();
        metrics.locations = (locations - commits.locations_before) as u64;
        commits.locations_before = locations;
        self.vm.seal(&mut commits.ledger, segment, lookup);
        let submitted = commits.submitted_at.get(segment as usize).copied();
        let began = submitted.map_or(commits.segment_began, |submitted| submitted.max(commits.segment_began));
        commits.segment_began = Instant::now();
        metrics.wall = commits.segment_began - began;
        metrics.commit += commits.segment_began - start;
        commits.sealing += commits.segment_began - start;
        metrics.sealed_at = Some(commits.segment_began);
        commits.sealed.push(metrics);
    }
}
