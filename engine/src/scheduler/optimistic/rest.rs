//! What comes after a run has given up running ahead: the rest, one entry after another, as the serial strategy does it.

use super::{Core, Kept};
use crate::scheduler::{
    ids::EntryIndex,
    serial::{SerialStream, SerialView, run_entry, tell_rest},
    strategy::{SegmentMetrics, Stop, panic_message},
    vm::Vm,
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

/// The state of a run that goes on one entry after another. Workers that have not noticed yet find nothing to commit.
pub(super) struct Rest<V: Vm> {
    local: V::Local<SerialView<V>>,
    ledger: V::Ledger,
    /// Locations when the segment at hand began, or the run was taken over.
    locations_before: usize,
}

impl<V: Vm> Core<V> {
    /// Goes on from the frontier until `until` holds, all that was submitted is done, or the run stops. Called by the
    /// driver, after the run has given up.
    pub(super) fn go_on_in_order(
        &self,
        rest: &mut Option<Rest<V>>,
        kept: &Kept<V>,
        until: &dyn Fn() -> bool,
    ) {
        let rest = rest.get_or_insert_with(|| self.take_over(kept));
        while !until() && !self.is_stopped() && !self.is_complete() {
            match catch_unwind(AssertUnwindSafe(|| self.run_rest_of_segment(rest))) {
                Ok(Ok(())) => {}
                Ok(Err(stop)) => self.stop(stop),
                Err(payload) => {
                    self.stop(Stop::Panicked { message: panic_message(&*payload) });
                    // Whatever the panic left in the old one.
                    rest.local = self.vm.local(SerialView::new());
                }
            }
        }
    }

    /// From here on nobody else commits.
    fn take_over(&self, kept: &Kept<V>) -> Rest<V> {
        let mut commits = self.commits.lock();
        commits.are_handed_over = true;
        let last = self.frontier().checked_sub(1);
        let done = last.map_or(0, |last| self.vm.transactions_through(EntryIndex(last)));
        commits.metrics.gave_up_after = Some(done);
        self.write_off(&mut commits.metrics);
        let ledger = std::mem::replace(&mut commits.ledger, self.vm.ledger());
        let (locations, ids) = self.memory.hand_over();
        let locations_before = locations.len();
        let stream = SerialStream::resume(
            Arc::clone(&self.vm),
            self.settings.clone(),
            locations,
            ids.into_iter(),
            self.memory.limit_bytes(),
        );
        let pooled = kept.serial_locals.lock().pop();
        let mut local = pooled.unwrap_or_else(|| self.vm.local(SerialView::new()));
        self.vm.rebind(&mut local);
        V::view(&mut local).turn_to(Some(stream));
        Rest { local, ledger, locations_before }
    }

    /// Counts executions ahead of the frontier: they were in vain. Those that are still going on are left out.
    fn write_off(&self, metrics: &mut SegmentMetrics) {
        let begun = self.cursor.load(Ordering::SeqCst).min(self.submitted.load(Ordering::SeqCst));
        for index in self.frontier()..begun {
            let steps = u64::from(self.vm.step_count(EntryIndex(index)));
            let record = self.entries.get(index).record.lock();
            metrics.executions += u64::from(record.executions) * steps;
            metrics.aborts += u64::from(record.executions - record.waits) * steps;
            metrics.waits += u64::from(record.waits) * steps;
            metrics.execute += record.execute_time;
            metrics.repeated += record.execute_time;
        }
    }

    fn run_rest_of_segment(&self, rest: &mut Rest<V>) -> Result<(), Stop<V>> {
        let Rest { local, ledger, locations_before } = rest;
        let began = Instant::now();
        let first = EntryIndex(self.frontier());
        let segment = self.vm.segment_of(first);
        let (_, end) = self.vm.entries_of(segment);
        // What was submitted since.
        V::view(local).stream().limit_bytes = self.memory.limit_bytes();
        let mut executions = 0;
        let done = (first.0..end.0).map(EntryIndex).try_for_each(|index| {
            executions += u64::from(self.vm.step_count(index));
            run_entry(&*self.vm, local, ledger, segment, index)
        });
        let mut commits = self.commits.lock();
        commits.metrics.executions += executions;
        commits.metrics.execute += began.elapsed();
        commits.metrics.reads_waited_for += V::view(local).stream().take_waited();
        done?;
        // Nobody else waits for the lock: whoever commits is here.
        tell_rest(&*self.vm, local, ledger, segment);
        let stream = &*V::view(local).stream();
        self.memory.count_locations(stream.len() - std::mem::replace(locations_before, stream.len()));
        std::mem::swap(&mut commits.ledger, ledger);
        self.seal(&mut commits, segment, &|id| stream.settled(id));
        std::mem::swap(&mut commits.ledger, ledger);
        self.frontier.store(end.0, Ordering::SeqCst);
        Ok(())
    }
}

impl<V: Vm> Rest<V> {
    /// Keeps what can be used again.
    pub(super) fn retire(mut self, kept: &Kept<V>) {
        V::unbind(&mut self.local);
        V::view(&mut self.local).turn_to(None);
        kept.serial_locals.lock().push(self.local);
    }
}
