use crate::{
    cpu::{Cpu, CpuKind, UnsupportedCpuKind},
    group::{Messages, Ranges, hash_all},
};
use alloy_primitives::B256;
use std::ops::Range;

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
}

impl Hasher {
    /// By the fastest instruction set of this processor, and nothing else.
    #[must_use]
    pub fn cpu() -> Self {
        Self { cpu: Cpu::best() }
    }

    /// By one way of this processor, and nothing else.
    ///
    /// # Errors
    ///
    /// If it lacks the instructions.
    pub fn with_cpu(kind: CpuKind) -> Result<Self, UnsupportedCpuKind> {
        Cpu::of(kind).map(|cpu| Self { cpu })
    }

    /// What hashes on this processor.
    #[must_use]
    pub const fn cpu_kind(&self) -> CpuKind {
        self.cpu.kind()
    }

    /// Keccak-256 of each message, in order. They are read where they lie, and no memory is allocated.
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
        hash_all(self.cpu, messages, digests);
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
