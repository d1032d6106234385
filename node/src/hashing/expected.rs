use alloy_primitives::B256;
use citius_hashing::{Backend, BackendError, Calibration, device::DeviceBackend};
use std::{ops::Range, sync::OnceLock};

/// A device that was measured earlier and is being looked for: not available until it is found.
#[derive(Debug)]
pub(super) struct ExpectedDevice {
    pub(super) calibration: Calibration,
    found: OnceLock<DeviceBackend>,
}

impl ExpectedDevice {
    pub(super) fn new(calibration: Calibration) -> Self {
        Self { calibration, found: OnceLock::new() }
    }

    /// Here it is; told once.
    pub(super) fn set(&self, device: DeviceBackend) {
        // Of two the first stays, and the second's host ends.
        let _ = self.found.set(device);
    }
}

impl Backend for ExpectedDevice {
    fn name(&self) -> &str {
        self.found.get().map_or(&self.calibration.identity, |device| device.name())
    }

    fn identity(&self) -> String {
        self.calibration.identity.clone()
    }

    fn is_available(&self) -> bool {
        self.found.get().is_some_and(Backend::is_available)
    }

    fn hash_batch(
        &self,
        arena: &[u8],
        ranges: &[Range<usize>],
        digests: &mut [B256],
    ) -> Result<(), BackendError> {
        let reason = || "it was not found yet".to_owned();
        let missing = || BackendError::Unavailable { backend: self.name().to_owned(), reason: reason() };
        self.found.get().ok_or_else(missing)?.hash_batch(arena, ranges, digests)
    }
}
