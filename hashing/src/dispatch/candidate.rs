use super::{DispatchConfig, Event, tracker::Tracker};
use crate::{
    backend::{Backend, BackendError},
    calibration::Calibration,
    shape::BatchShape,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Instant,
};

/// After so many failures in a row the time until the next try is doubled no more.
const DOUBLINGS_MAX: u32 = 10;

/// What a device did so far.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceCounters {
    /// Its name.
    pub name: String,
    /// Batches it hashed.
    pub batches: u64,
    /// Messages in them.
    pub messages: u64,
    /// How long callers waited for those, in nanoseconds.
    pub busy_ns: u64,
    /// Batches it got though it was slow, to see whether it still is.
    pub probes: u64,
    /// Batches it did not take.
    pub unavailable: u64,
    /// Batches it was late with.
    pub late: u64,
    /// Batches with a digest found wrong.
    pub wrong: u64,
    /// How much longer it takes than predicted, by the last batches.
    pub slowness: f64,
    /// Whether it is not used any more.
    pub is_quarantined: bool,
}

/// When a device would be done with a batch, in nanoseconds from now.
pub(super) struct Forecast {
    /// At its calibrated speed.
    pub(super) calibrated_ns: f64,
    /// At its present speed.
    pub(super) finish_ns: f64,
}

/// A device, and what is known of it. Atomics are relaxed throughout: counters and hints, nothing is read through them.
#[derive(Debug)]
pub(super) struct Candidate {
    backend: Arc<dyn Backend>,
    calibration: Calibration,
    /// What the batches that it has now were predicted to take, in nanoseconds.
    queued_ns: AtomicU64,
    slowness: Tracker,
    is_slow: AtomicBool,
    is_quarantined: AtomicBool,
    /// Batches until it may be tried again.
    rest: AtomicU32,
    failures_in_a_row: AtomicU32,
    /// Batches that it lost for being slow, since the last that it got.
    lost: AtomicU32,
    batches: AtomicU64,
    messages: AtomicU64,
    busy_ns: AtomicU64,
    probes: AtomicU64,
    unavailable: AtomicU64,
    late: AtomicU64,
    wrong: AtomicU64,
}

impl Candidate {
    pub(super) fn new(backend: Arc<dyn Backend>, calibration: Calibration) -> Self {
        Self {
            backend,
            calibration,
            queued_ns: AtomicU64::default(),
            slowness: Tracker::default(),
            is_slow: AtomicBool::default(),
            is_quarantined: AtomicBool::default(),
            rest: AtomicU32::default(),
            failures_in_a_row: AtomicU32::default(),
            lost: AtomicU32::default(),
            batches: AtomicU64::default(),
            messages: AtomicU64::default(),
            busy_ns: AtomicU64::default(),
            probes: AtomicU64::default(),
            unavailable: AtomicU64::default(),
            late: AtomicU64::default(),
            wrong: AtomicU64::default(),
        }
    }

    pub(super) fn name(&self) -> String {
        self.backend.name().to_owned()
    }

    /// What waits there comes first.
    pub(super) fn forecast(&self, shape: &BatchShape) -> Forecast {
        let queued = self.queued_ns.load(Ordering::Relaxed) as f64;
        let calibrated_ns = queued + self.calibration.predict_ns(shape);
        Forecast { calibrated_ns, finish_ns: calibrated_ns * self.slowness.ratio() }
    }

    /// Whether it is neither resting nor gone. Asking counts as one of the batches for which it rests.
    pub(super) fn may_be_tried(&self) -> bool {
        if self.is_quarantined.load(Ordering::Relaxed) {
            return false;
        }
        let less = |rest: u32| rest.checked_sub(1);
        let is_resting = self.rest.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok();
        !is_resting && self.backend.is_available()
    }

    /// It lost a batch for being slow: whether it is time to see if it still is.
    pub(super) fn is_probe_due(&self, every: u32) -> bool {
        let is_due = self.lost.fetch_add(1, Ordering::Relaxed) + 1 >= every;
        if is_due {
            self.lost.store(0, Ordering::Relaxed);
            self.probes.fetch_add(1, Ordering::Relaxed);
        }
        is_due
    }

    /// Has it hash a batch by `hash`, which checks it too, and learns from the time. May have something to tell.
    pub(super) fn run(
        &self,
        shape: &BatchShape,
        messages: usize,
        margin_percent: u32,
        hash: impl FnOnce(&dyn Backend) -> Result<(), BackendError>,
    ) -> Result<Option<Event>, BackendError> {
        let own = self.calibration.predict_ns(shape).ceil();
        let before = self.queued_ns.fetch_add(own as u64, Ordering::Relaxed);
        let start = Instant::now();
        let result = hash(&*self.backend);
        let took = start.elapsed().as_nanos() as u64;
        self.queued_ns.fetch_sub(own as u64, Ordering::Relaxed);
        result?;
        self.failures_in_a_row.store(0, Ordering::Relaxed);
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.messages.fetch_add(messages as u64, Ordering::Relaxed);
        self.busy_ns.fetch_add(took, Ordering::Relaxed);
        self.slowness.observe(took as f64 / (before as f64 + own).max(1.0));
        Ok(self.change_of_speed(margin_percent))
    }

    fn change_of_speed(&self, margin_percent: u32) -> Option<Event> {
        let slowness = self.slowness.ratio();
        let margin = 1.0 + f64::from(margin_percent) / 100.0;
        // Between the two it stays what it was, lest it change with every batch.
        let is_slow = match self.is_slow.load(Ordering::Relaxed) {
            true => slowness > margin,
            false => slowness > margin * margin * margin,
        };
        let was_slow = self.is_slow.swap(is_slow, Ordering::Relaxed);
        let backend = || self.name();
        match (was_slow, is_slow) {
            (false, true) => Some(Event::Slow { backend: backend(), slowness }),
            (true, false) => Some(Event::Recovered { backend: backend() }),
            _ => None,
        }
    }

    /// It failed: it rests, the longer the more often it failed in a row. Says whether it is in quarantine from now on.
    pub(super) fn fail(&self, error: &BackendError, config: &DispatchConfig) -> bool {
        let failures = self.failures_in_a_row.fetch_add(1, Ordering::Relaxed).min(DOUBLINGS_MAX);
        self.rest.store(config.probe_every.saturating_mul(1 << failures), Ordering::Relaxed);
        let counter = match error {
            BackendError::Unavailable { .. } => &self.unavailable,
            BackendError::Late { .. } => &self.late,
            BackendError::Wrong { .. } => &self.wrong,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let is_beyond = self.wrong.load(Ordering::Relaxed) >= u64::from(config.wrong_max.max(1));
        is_beyond && !self.is_quarantined.swap(true, Ordering::Relaxed)
    }

    pub(super) fn counters(&self) -> DeviceCounters {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        DeviceCounters {
            name: self.name(),
            batches: of(&self.batches),
            messages: of(&self.messages),
            busy_ns: of(&self.busy_ns),
            probes: of(&self.probes),
            unavailable: of(&self.unavailable),
            late: of(&self.late),
            wrong: of(&self.wrong),
            slowness: self.slowness.ratio(),
            is_quarantined: self.is_quarantined.load(Ordering::Relaxed),
        }
    }
}
