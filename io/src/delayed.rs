//! A disk that is slower than another.

use crate::{
    BufferPool, Capabilities, Completion, DirectoryLock, Disk, DiskError, FileId, OpenMode, OperationKind,
    Queue, QueueFull, Request, metered::Slab,
};
use rustix::thread::set_current_timer_slack;
use std::{
    cmp::Ordering,
    collections::BinaryHeap,
    num::NonZeroU64,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// A disk whose operations take longer than another's, as if its drive were slower: to see what latency costs on a
/// machine whose own drive is fast. All in flight are delayed at the same time, and no core is busy meanwhile.
#[derive(Debug)]
pub struct Delayed {
    inner: Arc<dyn Disk>,
    delays: Delays,
}

/// What is added to the time of an operation.
///
/// It begins when the queue sees the operation complete. A caller that looks now and then, instead of waiting, cannot
/// tell when that was: then it begins with the look before, so that nothing is added for not having looked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delays {
    /// To each read.
    pub read: Duration,
    /// To each write and append.
    pub write: Duration,
    /// To each sync.
    pub sync: Duration,
}

impl Delayed {
    /// Delays what `inner` does.
    #[must_use]
    pub fn new(inner: Arc<dyn Disk>, delays: Delays) -> Self {
        Self { inner, delays }
    }
}

impl Delays {
    fn of(&self, kind: OperationKind) -> Duration {
        match kind {
            OperationKind::Read => self.read,
            OperationKind::Write | OperationKind::Append => self.write,
            OperationKind::Sync => self.sync,
            OperationKind::Preallocate | OperationKind::Trim => Duration::ZERO,
        }
    }
}

crate::disk::delegate! { Delayed {
    fn queue(&self) -> Result<Box<dyn Queue>, DiskError> {
        let inner = self.inner.queue()?;
        let capacity = inner.capacity();
        Ok(Box::new(DelayedQueue {
            inner,
            capacity,
            delays: self.delays,
            flights: Slab::default(),
            held: BinaryHeap::new(),
            fresh: Vec::new(),
            looked: Instant::now(),
        }))
    }
} }

#[derive(Debug)]
struct DelayedQueue {
    inner: Box<dyn Queue>,
    capacity: usize,
    delays: Delays,
    flights: Slab<Flight>,
    /// Complete, but not due; the earliest on top.
    held: BinaryHeap<Held>,
    /// Room for what the inner queue gives.
    fresh: Vec<Completion>,
    /// When the inner queue was last asked.
    looked: Instant,
}

#[derive(Debug)]
struct Flight {
    tag: u64,
    kind: OperationKind,
    submitted: Instant,
}

#[derive(Debug)]
struct Held {
    due: Instant,
    completion: Completion,
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.due == other.due
    }
}

impl Eq for Held {}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Held {
    /// The other way round: the heap has its greatest on top.
    fn cmp(&self, other: &Self) -> Ordering {
        other.due.cmp(&self.due)
    }
}

impl DelayedQueue {
    /// Holds what the inner queue gave back. `completed` is when that happened, at the earliest.
    fn hold(&mut self, completed: Instant) {
        for mut completion in self.fresh.drain(..) {
            let mut due = completed;
            if let Some(flight) = self.flights.take(completion.tag) {
                completion.tag = flight.tag;
                due = completed.max(flight.submitted) + self.delays.of(flight.kind);
            }
            self.held.push(Held { due, completion });
        }
    }

    /// Asks the inner queue without waiting.
    fn look(&mut self) -> Result<(), DiskError> {
        let before = self.looked;
        let result = self.inner.poll(&mut self.fresh);
        self.looked = Instant::now();
        self.hold(before);
        result.map(drop)
    }

    /// Hands over what is due. How many.
    fn release(&mut self, completions: &mut Vec<Completion>) -> usize {
        let now = Instant::now();
        let before = completions.len();
        while self.held.peek().is_some_and(|held| held.due <= now) {
            completions.extend(self.held.pop().map(|held| held.completion));
        }
        completions.len() - before
    }
}

impl Queue for DelayedQueue {
    fn submit(&mut self, mut request: Request) -> Result<(), QueueFull> {
        // What is held counts: to the caller it is in flight.
        if self.in_flight() >= self.capacity {
            return Err(QueueFull { request, capacity: self.capacity });
        }
        let (tag, kind) = (request.tag, request.operation.kind());
        request.tag = self.flights.put(Flight { tag, kind, submitted: Instant::now() });
        self.inner.submit(request).map_err(|mut full| {
            self.flights.take(full.request.tag);
            full.request.tag = tag;
            full
        })
    }

    fn poll(&mut self, completions: &mut Vec<Completion>) -> Result<usize, DiskError> {
        self.look()?;
        Ok(self.release(completions))
    }

    fn wait(
        &mut self,
        at_least: usize,
        timeout: Option<Duration>,
        completions: &mut Vec<Completion>,
    ) -> Result<usize, DiskError> {
        let wanted = at_least.min(self.in_flight());
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        self.look()?;
        let mut count = self.release(completions);
        while count < wanted {
            let now = Instant::now();
            if deadline.is_some_and(|deadline| deadline <= now) {
                break;
            }
            let due = self.held.peek().map(|held| held.due);
            let until = [due, deadline].into_iter().flatten().min();
            let time = until.map(|until| until.saturating_duration_since(now));
            if self.inner.in_flight() > 0 {
                let result = self.inner.wait(1, time, &mut self.fresh);
                self.looked = Instant::now();
                self.hold(self.looked);
                result?;
            } else if let Some(time) = time {
                sleep(time);
            }
            count += self.release(completions);
        }
        Ok(count)
    }

    fn in_flight(&self) -> usize {
        self.inner.in_flight() + self.held.len()
    }

    fn capacity(&self) -> usize {
        self.capacity
    }
}

/// Sleeps to the microsecond: without this the kernel may add 50 µs to each sleep of a thread (PR_SET_TIMERSLACK).
fn sleep(time: Duration) {
    let is_set = set_current_timer_slack(NonZeroU64::new(1)).is_ok();
    thread::sleep(time);
    if is_set {
        // The default of the thread again.
        let _ = set_current_timer_slack(None);
    }
}
