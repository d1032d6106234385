//! What happens to a device, for logs.

use super::DeviceError;
use crate::BackendError;
use std::{fmt, sync::Arc, time::Duration};

/// Something an operator may want to know. Its text is one line.
#[derive(Debug, thiserror::Error)]
pub enum DeviceEvent {
    /// The device takes batches from now on.
    #[error("device {backend}: ready after {} ms", started_in.as_millis())]
    Ready {
        /// The backend's name.
        backend: String,
        /// What the start took.
        started_in: Duration,
    },
    /// The device is not ready: it could not be started, or its host was killed or ended.
    #[error("device {backend}: {}; next start in {} ms", text(error), retry_in.as_millis())]
    Restarting {
        /// The backend's name.
        backend: String,
        /// Why.
        error: DeviceError,
        /// When the next start is.
        retry_in: Duration,
    },
    /// A batch came to nothing; the processor is to hash it.
    #[error("{error}: a batch of {messages_count} messages goes to the processor")]
    BatchFailed {
        /// Why; it has the backend's name.
        error: BackendError,
        /// Messages of the batch.
        messages_count: usize,
    },
    /// The device will not be used again.
    #[error("device {backend}: not used any more: {}", text(error))]
    Off {
        /// The backend's name.
        backend: String,
        /// Why.
        error: DeviceError,
    },
}

/// An error and what caused it.
fn text(error: &DeviceError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Who is told of events. Called from whatever thread they happen on, so it must be quick.
#[derive(Clone)]
pub struct Observer(Arc<dyn Fn(&DeviceEvent) + Send + Sync>);

impl Observer {
    /// Calls `observe` for each event.
    pub fn new(observe: impl Fn(&DeviceEvent) + Send + Sync + 'static) -> Self {
        Self(Arc::new(observe))
    }

    /// Writes a line an event to the standard error.
    #[must_use]
    pub fn stderr() -> Self {
        Self::new(|event| eprintln!("{event}"))
    }

    pub(super) fn tell(&self, event: &DeviceEvent) {
        (self.0)(event);
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}
