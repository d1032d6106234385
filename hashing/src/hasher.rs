use crate::{
    backend::Backend,
    calibrations::Calibrations,
    cpu::{Cpu, CpuKind, UnsupportedCpuKind},
    cpu_backend::CpuBackend,
    dispatch::{Counters, DispatchConfig, Dispatcher},
    group::{Messages, Ranges, hash_all},
};
use alloy_primitives::B256;
use std::{ops::Range, sync::Arc};

/// The largest batch that is handed over at a time where devices take part: as many messages as make the slowest start of a
/// device worth while. Who beats the processor only beyond it is of no use.
pub const DEVICE_BATCH: usize = 1 << 18;

/// Hashes batches of independent messages. Cheap to clone, and shared by as many threads as like; a call hashes on
/// its own thread, and batches of different threads know nothing of each other.
///
/// ```
/// use alloy_primitives::B256;
/// use citius_hashing::{Hasher, keccak256};
///
/// let mut digests = [B256::ZERO; 3];
/// Hasher::cpu().hash_each(&[b"one", b"", &[7; 532]], &mut digests);
/// assert_eq!(digests[2], keccak256(&[7; 532]));
/// ```
#[derive(Debug, Clone)]
pub struct Hasher {
    cpu: Cpu,
    /// Where there are devices.
    dispatcher: Option<Arc<Dispatcher>>,
}

/// Why a hasher with devices cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HasherError {
    /// The processor lacks an instruction set.
    #[error(transparent)]
    Unsupported(#[from] UnsupportedCpuKind),
    /// A backend was not measured, so nobody knows when to use it.
    #[error("{name} is not calibrated: no calibration of `{identity}`")]
    NotCalibrated {
        /// Its name.
        name: String,
        /// What its calibration would be found under.
        identity: String,
    },
}

impl Hasher {
    /// By the fastest instruction set of this processor, and nothing else.
    #[must_use]
    pub fn cpu() -> Self {
        Self { cpu: Cpu::best(), dispatcher: None }
    }

    /// By one way of this processor, and nothing else.
    ///
    /// # Errors
    ///
    /// If it lacks the instructions.
    pub fn with_cpu(kind: CpuKind) -> Result<Self, UnsupportedCpuKind> {
        Cpu::of(kind).map(|cpu| Self { cpu, dispatcher: None })
    }

    /// By one way of this processor, and by devices where they finish a batch earlier. Whatever a device does, the
    /// digests are right: see [`DispatchConfig`].
    ///
    /// # Errors
    ///
    /// If the processor lacks the instructions, or there is no calibration of it or of a device.
    pub fn new(
        cpu: CpuKind,
        devices: Vec<Arc<dyn Backend>>,
        calibrations: &Calibrations,
        config: DispatchConfig,
    ) -> Result<Self, HasherError> {
        let hasher = Self::with_cpu(cpu)?;
        if devices.is_empty() {
            return Ok(hasher);
        }
        let calibration_of = |backend: &dyn Backend| {
            let identity = backend.identity();
            let missing =
                || HasherError::NotCalibrated { name: backend.name().to_owned(), identity: identity.clone() };
            calibrations.get(&identity).cloned().ok_or_else(missing)
        };
        let cpu_calibration = calibration_of(&CpuBackend::new(cpu)?)?;
        let with_calibration = |device: Arc<dyn Backend>| {
            let calibration = calibration_of(&*device)?;
            Ok((device, calibration))
        };
        let devices = devices.into_iter().map(with_calibration).collect::<Result<_, HasherError>>()?;
        let dispatcher = Dispatcher::new(hasher.cpu, cpu_calibration, devices, config);
        Ok(Self { dispatcher: Some(Arc::new(dispatcher)), ..hasher })
    }

    /// What was done so far, by this hasher and its clones; `None` without devices, where nothing is counted.
    #[must_use]
    pub fn counters(&self) -> Option<Counters> {
        self.dispatcher.as_ref().map(|dispatcher| dispatcher.counters())
    }

    /// Messages that whoever has many hands over at a time: without devices no more than the caches hold, else as many as
    /// make the slowest start of a device worth while ([`DEVICE_BATCH`]).
    #[must_use]
    pub fn batch_size(&self) -> usize {
        const CACHED: usize = 1 << 10;
        if self.dispatcher.is_some() { DEVICE_BATCH } else { CACHED }
    }

    /// What hashes on this processor.
    #[must_use]
    pub const fn cpu_kind(&self) -> CpuKind {
        self.cpu.kind()
    }

    /// Keccak-256 of each message, in order. On the processor they are read where they lie, and no memory is
    /// allocated; for a device they are copied into one arena, which the thread keeps for its next batch.
    ///
    /// # Panics
    ///
    /// If there are not as many digests as messages.
    pub fn hash_each(&self, messages: &[&[u8]], digests: &mut [B256]) {
        self.hash(messages, digests);
    }

    /// Keccak-256 of `arena[range]` for each range, in order. Ranges may overlap and come in any order; an empty one
    /// is the empty message.
    ///
    /// # Panics
    ///
    /// If there are not as many digests as ranges, or a range leaves the arena.
    pub fn hash_batch(&self, arena: &[u8], ranges: &[Range<usize>], digests: &mut [B256]) {
        self.hash(&Ranges { arena, ranges }, digests);
    }

    fn hash(&self, messages: &(impl Messages + ?Sized), digests: &mut [B256]) {
        assert_eq!(messages.count(), digests.len(), "as many digests as messages");
        match &self.dispatcher {
            // One message is nothing to ask a device for.
            Some(dispatcher) if digests.len() > 1 => dispatcher.hash(messages, digests),
            _ => hash_all(self.cpu, messages, digests),
        }
    }
}

impl Default for Hasher {
    fn default() -> Self {
        Self::cpu()
    }
}

/// Keccak-256 of `arena[range]` for each range, in order, by the fastest instruction set of this processor.
///
/// ```
/// let digests = citius_hashing::hash_batch(b"abcabc", &[0..3, 3..6, 2..2]);
/// assert_eq!(digests, [b"abc", b"abc", &b""[..]].map(citius_hashing::keccak256));
/// ```
///
/// # Panics
///
/// If a range leaves the arena.
#[must_use]
pub fn hash_batch(arena: &[u8], ranges: &[Range<usize>]) -> Vec<B256> {
    let mut digests = vec![B256::ZERO; ranges.len()];
    Hasher::cpu().hash_batch(arena, ranges, &mut digests);
    digests
}
