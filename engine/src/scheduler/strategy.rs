use super::{fuzz::ScheduleFuzz, ids::EntryIndex, vm::Vm};
use crate::{
    CancelReason,
    cancel::Limits,
    parking::Bounds,
    pool::{WorkerPool, cores},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// A way to run a stream. All give the same result.
pub trait Strategy<V: Vm>: Send + Sync {
    /// The name users know it by.
    fn name(&self) -> &'static str;

    /// Starts a stream. Entries come with [`Run::submit`].
    fn start(&self, vm: Arc<V>, settings: RunSettings) -> Arc<dyn Run<V>>;
}

/// One stream under one strategy.
pub trait Run<V: Vm>: Send + Sync {
    /// Makes a further segment of the stream available; `memory_bytes` adds to the stream's memory budget.
    fn submit(&self, segment: u32, memory_bytes: usize);

    /// Works on the calling thread until `until` holds, everything submitted is committed, or the run stopped.
    fn drive(&self, until: &dyn Fn() -> bool);

    /// Why the run stopped before its end, if it did.
    fn stopped(&self) -> Option<Stop<V>>;

    /// How the work on a segment went that is sealed, or in which the run stopped. Nothing of later ones.
    fn metrics(&self, segment: u32) -> SegmentMetrics;

    /// Ends the run: no worker touches it afterwards.
    fn close(self: Arc<Self>);
}

/// What a run is given besides its entries.
#[derive(Clone)]
pub struct RunSettings {
    pub(crate) pool: Arc<WorkerPool>,
    /// Threads that may work at one time, the caller included.
    pub(crate) threads: usize,
    /// Whether entries run in their turn only, for a while, where running ahead is in vain.
    pub(crate) may_pause: bool,
    /// Whether that may be for good: what is left is then executed serially.
    pub(crate) may_give_up: bool,
    /// Whether each of them has a core to itself, so that a short wait may spin.
    pub(crate) may_spin: bool,
    pub(crate) limits: Limits,
    pub(crate) fuzz: Option<Arc<dyn ScheduleFuzz>>,
    /// Entries that may be executed ahead of the frontier.
    pub(crate) look_ahead_entries_max: u32,
    /// How much each thread may have waiting for reads.
    pub(crate) parking: Bounds,
    /// Entries, from one that begins on, whose reads are asked for ahead.
    pub(crate) prefetch_entries_max: u32,
    /// Locations to expect, for the size of tables.
    pub(crate) expected_locations: usize,
}

impl std::fmt::Debug for RunSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunSettings").field("threads", &self.threads).finish_non_exhaustive()
    }
}

impl RunSettings {
    /// Settings for a machine of one's own on some workers: no limits, nothing disturbed.
    #[must_use]
    pub fn new(pool: Arc<WorkerPool>) -> Self {
        let threads = pool.size().get();
        Self {
            pool,
            threads,
            may_pause: true,
            may_give_up: true,
            may_spin: threads <= cores(),
            limits: Limits::default(),
            fuzz: None,
            look_ahead_entries_max: 512,
            parking: Bounds::default(),
            prefetch_entries_max: 0,
            expected_locations: 1 << 10,
        }
    }

    /// Runs ahead even where it is in vain.
    #[must_use]
    pub fn without_pauses(mut self) -> Self {
        self.may_pause = false;
        self.may_give_up = false;
        self
    }

    /// Parks at most so many executions while a thread runs another one; 0 for none.
    #[must_use]
    pub fn with_parked_max(mut self, parked_max: u32) -> Self {
        self.parking.parked_max = parked_max;
        self
    }

    /// Disturbs the schedule.
    #[must_use]
    pub fn with_fuzz(mut self, fuzz: Arc<dyn ScheduleFuzz>) -> Self {
        self.may_pause = !fuzz.never_pauses();
        self.may_give_up = self.may_pause;
        self.fuzz = Some(fuzz);
        self
    }
}

/// Why a run stopped before its end.
#[derive(Debug)]
pub enum Stop<V: Vm> {
    /// The machine refused an entry or a segment: a verdict.
    Refused {
        /// The segment that was refused.
        segment: u32,
        /// Why.
        refusal: V::Refusal,
    },
    /// Token or deadline.
    Cancelled(CancelReason),
    /// The memory budget was used up.
    MemoryLimit {
        /// The budget.
        limit_bytes: usize,
    },
    /// A worker panicked.
    Panicked {
        /// The panic's message.
        message: String,
    },
}

impl<V: Vm> Clone for Stop<V> {
    fn clone(&self) -> Self {
        match self {
            Self::Refused { segment, refusal } => {
                Self::Refused { segment: *segment, refusal: refusal.clone() }
            }
            Self::Cancelled(reason) => Self::Cancelled(*reason),
            Self::MemoryLimit { limit_bytes } => Self::MemoryLimit { limit_bytes: *limit_bytes },
            Self::Panicked { message } => Self::Panicked { message: message.clone() },
        }
    }
}

/// How one segment's work went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SegmentMetrics {
    /// Executions begun.
    pub executions: u64,
    /// Executions whose result was thrown away.
    pub aborts: u64,
    /// Read sets checked.
    pub validations: u64,
    /// Executions that stopped to wait for an earlier entry.
    pub waits: u64,
    /// Most transactions started and not yet committed at one time.
    pub max_in_flight: u64,
    /// Locations known when the segment was sealed, less those known when the one before was.
    pub locations: u64,
    /// Executions that were parked, each counted once.
    pub parked: u64,
    /// Times that executions were parked.
    pub parks: u64,
    /// Reads that a thread waited for without parking what asked.
    pub reads_waited_for: u64,
    /// From the commit of the segment before (or the segment's submission, if later) to its own.
    pub wall: Duration,
    /// Thread time spent executing.
    pub execute: Duration,
    /// The part of `execute` whose result was thrown away.
    pub repeated: Duration,
    /// Thread time spent committing and sealing.
    pub commit: Duration,
    /// Thread time spent asleep while the segment was the frontier's.
    pub idle: Duration,
    /// Thread time that those who would have waited gave to lent work ([`WorkerPool::lend`]).
    pub lent: Duration,
    /// Transactions of the stream that were committed when the run gave up running ahead, if it did in this segment.
    pub gave_up_after: Option<u32>,
    /// When the segment was sealed.
    pub sealed_at: Option<Instant>,
}

/// Entries that are told of together: of a call for every one of them hardly more would be told.
const TOLD_TOGETHER: u32 = 8;
/// Of more values than these somebody is told at once.
const TOLD_LATER_MAX: usize = 64;

/// Whether somebody should be told of commits right behind this entry, though more are about to come.
pub(super) fn is_time_to_tell(entry: EntryIndex, untold: usize) -> bool {
    untold > 0 && (entry.0 % TOLD_TOGETHER == TOLD_TOGETHER - 1 || untold > TOLD_LATER_MAX)
}

/// The message of a caught panic.
pub(crate) fn panic_message(payload: &(dyn std::any::Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".into())
}
