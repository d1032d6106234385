use alloy_primitives::B256;
use std::{fmt, ops::Range};

/// Something that hashes batches: this processor by one of its instruction sets, or a device.
pub trait Backend: fmt::Debug + Send + Sync {
    /// A short name for tables and logs: `avx512`, `gpu`, `opencl-fpga`.
    fn name(&self) -> &str;

    /// What calibration is stored under: device, driver and a hash of the kernel; whatever changes speed.
    fn identity(&self) -> String;

    /// Whether a batch may be sent now. A device that failed may come back.
    fn is_available(&self) -> bool;

    /// Keccak-256 of `arena[range]` for each range, in order. Ranges may overlap and come in any order; an empty
    /// one is the empty message.
    ///
    /// # Errors
    ///
    /// [`BackendError`]; what `digests` holds then is undefined, and the batch is to be hashed elsewhere.
    ///
    /// # Panics
    ///
    /// If `digests` is not as long as `ranges`, or a range leaves the arena.
    fn hash_batch(
        &self,
        arena: &[u8],
        ranges: &[Range<usize>],
        digests: &mut [B256],
    ) -> Result<(), BackendError>;
}

/// Why a backend gave no digests. The batch can always be hashed by the processor instead.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BackendError {
    /// The device or its host process is gone or refuses work.
    #[error("{backend} is not available: {reason}")]
    Unavailable {
        /// The backend's name.
        backend: String,
        /// Why.
        reason: String,
    },
    /// No answer within the deadline.
    #[error("{backend} gave no answer within {deadline_ms} ms")]
    Late {
        /// The backend's name.
        backend: String,
        /// How long was waited.
        deadline_ms: u64,
    },
    /// A digest that was checked on the processor is wrong.
    #[error("{backend} gave a wrong digest of message {index}")]
    Wrong {
        /// The backend's name.
        backend: String,
        /// The message's place in the batch.
        index: usize,
    },
}
