//! What a caller may choose about a device.

use super::{DeviceInfo, Kernel, Observer, Program};
use alloy_primitives::{hex, keccak256};
use std::{fs, time::Duration};

/// Which device runs what.
#[derive(Debug, Clone)]
pub struct DeviceSpec {
    /// The device, as [`DeviceHost::list`](super::DeviceHost::list) described it.
    pub device: DeviceInfo,
    /// The kernel, one of the device's.
    pub kernel: Kernel,
    /// The kernel precompiled, and its manifest; [`Kernel::Fpga`] alone comes so. Else it is built from source.
    pub program: Option<Program>,
}

impl DeviceSpec {
    /// What its backend is called: `opencl-vec8`, or `opencl-vec8-1` for the second device of one name.
    #[must_use]
    pub fn backend_name(&self) -> String {
        let number = self.device.id.split(':').nth(1).filter(|number| *number != "0");
        let number = number.map_or_else(String::new, |number| format!("-{number}"));
        format!("{}-{}{number}", self.device.api, self.kernel)
    }

    /// What its calibration is kept under, which is whatever changes the speed: device, driver, the kernel's source, and
    /// a precompiled program's manifest, which is read for this.
    #[must_use]
    pub fn identity(&self) -> String {
        let program = self.program.as_ref().map(|program| {
            let manifest = fs::read(&program.manifest_path).unwrap_or_default();
            format!(", manifest {}", hex::encode(&keccak256(manifest)[..8]))
        });
        let Self { device, kernel, .. } = self;
        let source = &kernel.source_sha256()[..16];
        format!("{}, {}, kernel {kernel} {source}{}", device.id, device.driver, program.unwrap_or_default())
    }
}

/// How long a batch may take: `base` and `per_block` for each permutation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchDeadline {
    /// For the way there and back, and for a machine that is busy.
    pub base: Duration,
    /// For each permutation (a started or full block of 136 bytes).
    pub per_block: Duration,
}

impl BatchDeadline {
    /// For a batch of so many permutations.
    #[must_use]
    pub fn of(self, blocks_count: u64) -> Duration {
        let blocks = u32::try_from(blocks_count).unwrap_or(u32::MAX);
        self.base.saturating_add(self.per_block.saturating_mul(blocks))
    }
}

/// Sizes, deadlines and bounds of one device.
#[derive(Debug, Clone)]
pub struct DeviceOptions {
    /// Bytes of messages that go to the device at a time: a multiple of 4096, 16 KiB to 128 MiB. A larger batch goes
    /// in pieces.
    pub arena_bytes: usize,
    /// Messages that go to the device at a time, up to 2^20.
    pub messages_max: usize,
    /// From starting the host until the device has passed its first test. Drivers compile the kernel in this time.
    pub start_deadline: Duration,
    /// From a batch's turn to its last answer. Batches take turns; each waits for its own for at most `base`.
    pub batch_deadline: BatchDeadline,
    /// One digest in so many is computed again and compared, chosen at random, and at least one a batch; 1 checks
    /// all, 0 none.
    pub checked_one_in: u32,
    /// Wrong digests after which the device is never used again.
    pub wrong_max: u32,
    /// Pause before the first new start after a failure; it doubles with each further one…
    pub retry_min: Duration,
    /// …up to this. A host that ran for longer than this begins again with the shortest pause.
    pub retry_max: Duration,
    /// Is told what happens.
    pub observer: Observer,
}

impl Default for DeviceOptions {
    /// Deadlines by which a device that is slower than one core without vector instructions (a permutation in about a
    /// microsecond) is late.
    fn default() -> Self {
        Self {
            arena_bytes: 64 << 20,
            messages_max: 1 << 18,
            start_deadline: Duration::from_secs(60),
            batch_deadline: BatchDeadline {
                base: Duration::from_millis(250),
                per_block: Duration::from_micros(1),
            },
            checked_one_in: 64,
            wrong_max: 3,
            retry_min: Duration::from_secs(1),
            retry_max: Duration::from_secs(300),
            observer: Observer::stderr(),
        }
    }
}
