use crate::backend::BackendError;
use std::fmt;

/// Something about a device that its owner should know: a line in the log.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// A batch had to be hashed again on the processor.
    Redone {
        /// Why; it names the device.
        error: BackendError,
        /// Messages in the batch.
        messages: usize,
    },
    /// A device gave wrong digests so often that it gets no batch any more.
    Quarantined {
        /// The device.
        backend: String,
    },
    /// A device takes so much longer than it was calibrated for that it loses batches. Told once until it recovers.
    Slow {
        /// The device.
        backend: String,
        /// Measured over predicted time.
        slowness: f64,
    },
    /// A slow device takes about what it was calibrated for again.
    Recovered {
        /// The device.
        backend: String,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Redone { error, messages } => {
                write!(formatter, "{error}: hashed its batch of {messages} messages on the processor")
            }
            Self::Quarantined { backend } => {
                write!(formatter, "{backend} gave wrong digests again and again: not used any more")
            }
            Self::Slow { backend, slowness } => {
                write!(formatter, "{backend} takes {slowness:.1} times as long as calibrated")
            }
            Self::Recovered { backend } => {
                write!(formatter, "{backend} is as fast as calibrated again")
            }
        }
    }
}
