use crate::{
    backend::{Backend, BackendError},
    cpu::{Cpu, CpuKind, UnsupportedCpuKind},
    group::{Ranges, hash_all},
};
use alloy_primitives::B256;
use std::ops::Range;

/// One way of this processor to hash, as a backend: what calibration measures and devices are compared with. One core
/// of it: a batch is hashed on the thread that calls.
#[derive(Debug, Clone)]
pub struct CpuBackend {
    cpu: Cpu,
}

impl CpuBackend {
    /// The backend of one way to hash.
    ///
    /// # Errors
    ///
    /// If the processor lacks the instructions.
    pub fn new(kind: CpuKind) -> Result<Self, UnsupportedCpuKind> {
        Cpu::of(kind).map(|cpu| Self { cpu })
    }
}

impl Backend for CpuBackend {
    fn name(&self) -> &str {
        self.cpu.kind().name()
    }

    /// The kernel, this crate's version and the processor's model.
    fn identity(&self) -> String {
        format!("cpu {} {} {}", self.name(), env!("CARGO_PKG_VERSION"), processor())
    }

    fn is_available(&self) -> bool {
        true
    }

    fn hash_batch(
        &self,
        arena: &[u8],
        ranges: &[Range<usize>],
        digests: &mut [B256],
    ) -> Result<(), BackendError> {
        assert_eq!(ranges.len(), digests.len(), "as many digests as ranges");
        hash_all(self.cpu, &Ranges { arena, ranges }, digests);
        Ok(())
    }
}

/// The processor's name for itself, with family, model and stepping where it names no model (as in virtual machines).
#[cfg(target_arch = "x86_64")]
#[must_use]
pub fn processor() -> String {
    use std::arch::x86_64::__cpuid;
    let signature = __cpuid(1).eax;
    let mut name = Vec::new();
    if __cpuid(0x8000_0000).eax >= 0x8000_0004 {
        for leaf in 0x8000_0002..=0x8000_0004 {
            let part = __cpuid(leaf);
            for word in [part.eax, part.ebx, part.ecx, part.edx] {
                name.extend(word.to_le_bytes());
            }
        }
    }
    let name: String = name.into_iter().take_while(|byte| *byte != 0).map(char::from).collect();
    format!("{} ({signature:08x})", name.trim())
}

/// The processor's architecture, where nothing more is known.
#[cfg(not(target_arch = "x86_64"))]
#[must_use]
pub fn processor() -> String {
    if cfg!(target_arch = "aarch64") { "aarch64" } else { "unknown" }.to_owned()
}
