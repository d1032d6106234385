use super::Event;
use std::{fmt, sync::Arc};

/// How devices are chosen and checked.
#[derive(Debug, Clone)]
pub struct DispatchConfig {
    /// By how much of its own time a device must beat the processor, in percent: it is somebody else's queue and
    /// driver, so a draw goes to the processor.
    pub margin_percent: u32,
    /// One of so many of a device's digests is checked, at least one a batch. 1 checks all.
    pub check_one_in: usize,
    /// So many batches with a wrong digest, and a device is not used any more.
    pub wrong_max: u32,
    /// A device that is slower than calibrated gets every so manieth batch that it would win otherwise; one that failed
    /// is passed over for as many, and for twice as many after each failure that follows.
    pub probe_every: u32,
    /// Told of what devices do wrong, on the thread that hashes.
    pub on_event: OnEvent,
}

impl Default for DispatchConfig {
    fn default() -> Self {
        let on_event = OnEvent(Arc::new(|_| {}));
        Self { margin_percent: 20, check_one_in: 64, wrong_max: 3, probe_every: 64, on_event }
    }
}

/// A function that is told of events.
#[derive(Clone)]
pub struct OnEvent(pub Arc<dyn Fn(&Event) + Send + Sync>);

impl fmt::Debug for OnEvent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("OnEvent")
    }
}
