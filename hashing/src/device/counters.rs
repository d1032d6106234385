//! Numbers of one device.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a device did since its backend was made. Totals; durations are in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceCounters {
    /// Batches hashed.
    pub batches: u64,
    /// Messages of those.
    pub messages: u64,
    /// Messages among them that were too long for the device: the processor hashed them.
    pub messages_long: u64,
    /// Digests computed again on the processor.
    pub messages_checked: u64,
    /// Batches given back because the device was not ready.
    pub batches_refused: u64,
    /// Batches given back because no answer came in time.
    pub batches_late: u64,
    /// Batches given back because the host died, failed or broke the protocol.
    pub batches_lost: u64,
    /// Batches given back because a checked digest was wrong.
    pub batches_wrong: u64,
    /// Starts that made the device ready.
    pub starts: u64,
    /// Starts that did not.
    pub starts_failed: u64,
    /// Time that callers waited for each other.
    pub wait_ns: u64,
    /// Time for putting messages into the shared memory and taking digests out of it.
    pub copy_ns: u64,
    /// Time from sending a command to its answer.
    pub round_trip_ns: u64,
    /// The part of that which the host spent with the driver, as it says.
    pub device_ns: u64,
}

/// The same, being counted. Relaxed: no value says anything about another.
#[derive(Debug, Default)]
pub(super) struct Counting {
    pub(super) batches: AtomicU64,
    pub(super) messages: AtomicU64,
    pub(super) messages_long: AtomicU64,
    pub(super) messages_checked: AtomicU64,
    pub(super) batches_refused: AtomicU64,
    pub(super) batches_late: AtomicU64,
    pub(super) batches_lost: AtomicU64,
    pub(super) batches_wrong: AtomicU64,
    pub(super) starts: AtomicU64,
    pub(super) starts_failed: AtomicU64,
    pub(super) wait_ns: AtomicU64,
    pub(super) copy_ns: AtomicU64,
    pub(super) round_trip_ns: AtomicU64,
    pub(super) device_ns: AtomicU64,
}

pub(super) fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

impl Counting {
    pub(super) fn read(&self) -> DeviceCounters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        DeviceCounters {
            batches: read(&self.batches),
            messages: read(&self.messages),
            messages_long: read(&self.messages_long),
            messages_checked: read(&self.messages_checked),
            batches_refused: read(&self.batches_refused),
            batches_late: read(&self.batches_late),
            batches_lost: read(&self.batches_lost),
            batches_wrong: read(&self.batches_wrong),
            starts: read(&self.starts),
            starts_failed: read(&self.starts_failed),
            wait_ns: read(&self.wait_ns),
            copy_ns: read(&self.copy_ns),
            round_trip_ns: read(&self.round_trip_ns),
            device_ns: read(&self.device_ns),
        }
    }
}
