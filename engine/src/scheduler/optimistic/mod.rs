//! The optimistic strategy: its handle on a run here, what workers do in `work`, the commits in `frontier`.

mod caution;
mod driver;
mod early;
mod frontier;
mod parked;
mod rest;
mod work;
mod worker;

use super::{
    append_vec::AppendVec,
    charge::Charge,
    entry::Entry,
    ids::{EntryIndex, Incarnation},
    locations::LocationTable,
    memory::Memory,
    retries::Retries,
    serial::SerialView,
    strategy::{Run, RunSettings, SegmentMetrics, Stop, Strategy},
    vm::Vm,
};
use crate::{
    cancel::StopSign,
    parking::Stacks,
    pool::{Idle, Job},
};
use caution::Caution;
use crossbeam::utils::CachePadded;
use driver::Driver;
use early::Early;
use frontier::Commits;
use parking_lot::Mutex;
use rest::Rest;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
pub(crate) use work::Core;
use work::Counters;
use worker::{Hand, Worker};

/// Runs ahead of the commit frontier on all workers.
pub struct Optimistic<V: Vm> {
    kept: Arc<Kept<V>>,
}

/// What is kept from one stream to the next: memory, nothing that was learnt.
struct Kept<V: Vm> {
    /// What executions worked with: for each worker what it had parked, and one more.
    hands: Mutex<Vec<Box<Hand<V>>>>,
    /// The stacks of those that can be parked.
    stacks: Arc<Stacks>,
    /// Those of drivers that went on alone.
    serial_locals: Mutex<Vec<V::Local<SerialView<V>>>>,
    /// Tables of locations and entries.
    tables: Mutex<Vec<Tables<V>>>,
}

type Tables<V> = (LocationTable<V>, AppendVec<Entry<V>>);

/// The pool's and the caller's handle on a run.
struct OptimisticRun<V: Vm> {
    core: Arc<Core<V>>,
    kept: Arc<Kept<V>>,
    /// Once the run has given up. The driver's alone.
    rest: Mutex<Option<Rest<V>>>,
}

/// An entry claimed for execution.
type Task = (EntryIndex, Incarnation);

impl<V: Vm> Default for Optimistic<V> {
    fn default() -> Self {
        let kept = Kept {
            hands: Mutex::default(),
            stacks: Arc::default(),
            serial_locals: Mutex::default(),
            tables: Mutex::default(),
        };
        Self { kept: Arc::new(kept) }
    }
}

#[cfg(all(test, not(feature = "loom")))]
impl<V: Vm> Optimistic<V> {
    /// The stacks of its executions.
    pub(crate) fn stacks(&self) -> &Stacks {
        &self.kept.stacks
    }
}

impl<V: Vm> Strategy<V> for Optimistic<V> {
    fn name(&self) -> &'static str {
        "optimistic"
    }

    fn start(&self, vm: Arc<V>, settings: RunSettings) -> Arc<dyn Run<V>> {
        let (table, entries) = self.kept.tables.lock().pop().unzip();
        let stop_sign = Arc::new(StopSign::new(settings.limits.clone()));
        let core = Core {
            memory: Memory::new(table, settings.expected_locations, Arc::clone(&stop_sign)),
            stop_sign,
            entries: entries.unwrap_or_else(AppendVec::new),
            submitted: AtomicU32::new(0),
            cursor: CachePadded::new(AtomicU32::new(0)),
            prefetched: AtomicU32::new(0),
            frontier: CachePadded::new(AtomicU32::new(0)),
            charge: CachePadded::new(Charge::new()),
            commits: Mutex::new(Commits {
                ledger: vm.ledger(),
                are_handed_over: false,
                metrics: SegmentMetrics::default(),
                segment_began: Instant::now(),
                locations_before: 0,
                sealed: Vec::new(),
                sealing: Duration::ZERO,
                submitted_at: Vec::new(),
            }),
            retries: Retries::default(),
            early: Early::default(),
            caution: Caution::new(&settings),
            driver: Driver::default(),
            dozing: Idle::default(),
            stop: Mutex::new(None),
            counters: Counters::default(),
            helpers: AtomicUsize::new(0),
            vm,
            settings,
        };
        let run = Arc::new(OptimisticRun {
            core: Arc::new(core),
            kept: Arc::clone(&self.kept),
            rest: Mutex::new(None),
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
            core.entries.push_recycled(Entry::new, Entry::reset);
        }
        core.submitted.store(end.0, Ordering::SeqCst);
        if core.settings.threads > 1 {
            let early = core.vm.early_entries_of(segment);
            core.early.add(early.into_iter().map(|(at, entry)| (at.0, entry.0)));
        }
        // One is enough: whoever finds more work than its own wakes the next.
        core.wake_one();
    }

    fn drive(&self, until: &dyn Fn() -> bool) {
        let core = &self.core;
        let mut worker = Worker::new(0, core, &self.kept);
        *core.driver.waker.lock() = Some(worker.seat.waker());
        loop {
            core.work(&mut worker, until);
            if core.caution.has_given_up() {
                core.go_on_in_order(&mut self.rest.lock(), &self.kept, until);
            }
            if until() || core.is_stopped() || core.is_complete() {
                break;
            }
            let asleep = Instant::now();
            if core.help_lent(0, asleep).is_some() {
                continue;
            }
            core.driver.sleep_unless(&worker.seat, None, true, || {
                until()
                    || core.is_stopped()
                    || core.is_complete()
                    || core.has_work()
                    || core.caution.has_given_up()
            });
            core.add_idle(asleep.elapsed());
        }
        *core.driver.waker.lock() = None;
    }

    fn stopped(&self) -> Option<Stop<V>> {
        self.core.stop.lock().clone()
    }

    fn metrics(&self, segment: u32) -> SegmentMetrics {
        let mut commits = self.core.commits.lock();
        if segment as usize == commits.sealed.len() {
            // The run stopped in this one: nothing more will be counted.
            let metrics = std::mem::take(&mut commits.metrics);
            let metrics = self.core.with_counters(metrics);
            commits.sealed.push(metrics);
        }
        commits.sealed.get(segment as usize).copied().unwrap_or_default()
    }

    fn close(self: Arc<Self>) {
        // Whoever is still inside leaves at its next look.
        self.core.stop_sign.raise();
        self.core.dozing.wake_all();
        if self.core.settings.threads > 1 {
            let pool = Arc::clone(&self.core.settings.pool);
            pool.retire(&self);
        }
        // Nobody else is left: no worker, no view.
        let Some(Self { core, kept, rest }) = Arc::into_inner(self) else { return };
        if let Some(rest) = rest.into_inner() {
            rest.retire(&kept);
        }
        let Some(core) = Arc::into_inner(core) else { return };
        let (table, mut entries) = (core.memory.table, core.entries);
        let is_small = table.len() <= super::KEPT_LOCATIONS_MAX && entries.len() <= super::KEPT_ENTRIES_MAX;
        entries.restart();
        if is_small {
            kept.tables.lock().push((table, entries));
        }
    }
}

impl<V: Vm> Job for OptimisticRun<V> {
    fn help(&self, worker: usize) -> bool {
        if !self.has_work(worker) {
            return false;
        }
        let helpers = &self.core.helpers;
        if helpers.fetch_add(1, Ordering::SeqCst) + 1 >= self.core.settings.threads {
            helpers.fetch_sub(1, Ordering::SeqCst);
            return false;
        }
        let mut worker = Worker::new(worker, &self.core, &self.kept);
        let worked = self.core.work(&mut worker, &|| false);
        drop(worker);
        helpers.fetch_sub(1, Ordering::SeqCst);
        worked
    }

    fn has_work(&self, _worker: usize) -> bool {
        !self.core.is_stopped() && self.core.can_take_help() && self.core.has_work()
    }
}
