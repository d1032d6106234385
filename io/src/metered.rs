//! A disk that counts what another does.

use crate::{
    BufferPool, Capabilities, Completion, DirectoryLock, Disk, DiskError, FileId, OpenMode, OperationKind,
    Queue, QueueFull, Request,
};
use parking_lot::Mutex;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// A disk whose operations are counted and timed, and otherwise those of another.
#[derive(Debug)]
pub struct Metered {
    inner: Arc<dyn Disk>,
    shared: Arc<Mutex<Queues>>,
}

/// Each queue counts for itself, without a lock or a line that others write.
#[derive(Debug, Default)]
struct Queues {
    alive: Vec<Arc<[Counters; KINDS]>>,
    /// What queues counted that are gone.
    gone: DiskMetrics,
}

const KINDS: usize = OperationKind::ALL.len();

/// Written by one queue alone; read by snapshots, which may see some newer than others.
#[derive(Debug, Default)]
struct Counters {
    operations: AtomicU64,
    errors: AtomicU64,
    bytes: AtomicU64,
    time_ns: AtomicU64,
    time_ns_max: AtomicU64,
}

/// What was counted since the disk was wrapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskMetrics {
    /// Reads.
    pub reads: OperationMetrics,
    /// Writes at given places.
    pub writes: OperationMetrics,
    /// Writes at the end.
    pub appends: OperationMetrics,
    /// Syncs of files.
    pub syncs: OperationMetrics,
    /// Reservations of space.
    pub preallocates: OperationMetrics,
    /// Space given back.
    pub trims: OperationMetrics,
}

/// What was counted of one kind of operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OperationMetrics {
    /// Completed, whether well or not.
    pub operations: u64,
    /// Completed with an error.
    pub errors: u64,
    /// Transferred, reserved or given back by those that succeeded.
    pub bytes: u64,
    /// From submission until the completion was handed over, summed: waiting in the queue is part of it.
    pub time_ns: u64,
    /// The longest of these times.
    pub time_ns_max: u64,
}

impl Metered {
    /// Counts what `inner` does from now on.
    #[must_use]
    pub fn new(inner: Arc<dyn Disk>) -> Self {
        Self { inner, shared: Arc::default() }
    }

    /// What was counted so far.
    #[must_use]
    pub fn metrics(&self) -> DiskMetrics {
        let queues = self.shared.lock();
        let mut metrics = queues.gone;
        queues.alive.iter().for_each(|counters| metrics.add(counters));
        metrics
    }
}

impl DiskMetrics {
    /// Those of one kind of operation.
    #[must_use]
    pub fn of(&self, kind: OperationKind) -> OperationMetrics {
        match kind {
            OperationKind::Read => self.reads,
            OperationKind::Write => self.writes,
            OperationKind::Append => self.appends,
            OperationKind::Sync => self.syncs,
            OperationKind::Preallocate => self.preallocates,
            OperationKind::Trim => self.trims,
        }
    }

    fn add(&mut self, counters: &[Counters; KINDS]) {
        let all = [
            &mut self.reads,
            &mut self.writes,
            &mut self.appends,
            &mut self.syncs,
            &mut self.preallocates,
            &mut self.trims,
        ];
        for (metrics, counters) in all.into_iter().zip(counters) {
            metrics.operations += counters.operations.load(Ordering::Relaxed);
            metrics.errors += counters.errors.load(Ordering::Relaxed);
            metrics.bytes += counters.bytes.load(Ordering::Relaxed);
            metrics.time_ns += counters.time_ns.load(Ordering::Relaxed);
            metrics.time_ns_max = metrics.time_ns_max.max(counters.time_ns_max.load(Ordering::Relaxed));
        }
    }
}

impl Counters {
    /// Only one thread counts at a time, so that a load and a store do.
    fn count(&self, result: &Result<crate::Done, DiskError>, time: Duration) {
        let add = |counter: &AtomicU64, value| {
            counter.store(counter.load(Ordering::Relaxed) + value, Ordering::Relaxed);
        };
        let time_ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        add(&self.operations, 1);
        match result {
            Ok(done) => add(&self.bytes, done.bytes),
            Err(_) => add(&self.errors, 1),
        }
        add(&self.time_ns, time_ns);
        let longest = self.time_ns_max.load(Ordering::Relaxed).max(time_ns);
        self.time_ns_max.store(longest, Ordering::Relaxed);
    }
}

crate::disk::delegate! { Metered {
    fn queue(&self) -> Result<Box<dyn Queue>, DiskError> {
        let inner = self.inner.queue()?;
        let counters: Arc<[Counters; KINDS]> = Arc::default();
        self.shared.lock().alive.push(Arc::clone(&counters));
        Ok(Box::new(MeteredQueue {
            inner,
            counters,
            shared: Arc::clone(&self.shared),
            flights: Slab::default(),
        }))
    }
} }

#[derive(Debug)]
struct MeteredQueue {
    inner: Box<dyn Queue>,
    counters: Arc<[Counters; KINDS]>,
    shared: Arc<Mutex<Queues>>,
    flights: Slab<Flight>,
}

#[derive(Debug)]
struct Flight {
    tag: u64,
    kind: OperationKind,
    submitted: Instant,
}

impl MeteredQueue {
    /// Counts the completions from `from` on, and gives them their tags back.
    fn count(&mut self, completions: &mut [Completion]) {
        let now = Instant::now();
        for completion in completions {
            if let Some(flight) = self.flights.take(completion.tag) {
                completion.tag = flight.tag;
                let time = now.duration_since(flight.submitted);
                self.counters[flight.kind as usize].count(&completion.result, time);
            }
        }
    }
}

impl Queue for MeteredQueue {
    fn submit(&mut self, mut request: Request) -> Result<(), QueueFull> {
        let (tag, kind) = (request.tag, request.operation.kind());
        request.tag = self.flights.put(Flight { tag, kind, submitted: Instant::now() });
        self.inner.submit(request).map_err(|mut full| {
            self.flights.take(full.request.tag);
            full.request.tag = tag;
            full
        })
    }

    fn poll(&mut self, completions: &mut Vec<Completion>) -> Result<usize, DiskError> {
        let before = completions.len();
        let result = self.inner.poll(completions);
        self.count(&mut completions[before..]);
        result
    }

    fn wait(
        &mut self,
        at_least: usize,
        timeout: Option<Duration>,
        completions: &mut Vec<Completion>,
    ) -> Result<usize, DiskError> {
        let before = completions.len();
        let result = self.inner.wait(at_least, timeout, completions);
        self.count(&mut completions[before..]);
        result
    }

    fn in_flight(&self) -> usize {
        self.inner.in_flight()
    }

    fn capacity(&self) -> usize {
        self.inner.capacity()
    }
}

impl Drop for MeteredQueue {
    fn drop(&mut self) {
        let mut queues = self.shared.lock();
        let Queues { alive, gone } = &mut *queues;
        gone.add(&self.counters);
        alive.retain(|counters| !Arc::ptr_eq(counters, &self.counters));
    }
}

/// Values by numbers that are used again: what a decorator keeps of operations in flight.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    values: Vec<Option<T>>,
    free: Vec<u64>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { values: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    pub(crate) fn put(&mut self, value: T) -> u64 {
        let index = self.free.pop().unwrap_or(self.values.len() as u64);
        if index as usize == self.values.len() {
            self.values.push(None);
        }
        self.values[index as usize] = Some(value);
        index
    }

    pub(crate) fn take(&mut self, index: u64) -> Option<T> {
        let value = self.values.get_mut(index as usize)?.take()?;
        self.free.push(index);
        Some(value)
    }
}
