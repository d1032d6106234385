//! Keccak-256 of batches, by every way of this processor and, to compare, by `sha3`.
//!
//! For ratios of samples taken in turns there is `citius hash-bench`, over the same loads.

use crate::{Size, WrongAnswer};
use alloy_primitives::B256;
use citius_hashing::{Backend, BackendError, CpuBackend, CpuKind, processor};
use citius_node::hashing::{HashLoad, HashResult, contest};
use sha3::{Digest, Keccak256};
use std::{num::NonZeroUsize, ops::Range, sync::Arc};

/// A load, and everything that can hash it.
pub struct KeccakBench {
    load: HashLoad,
    backends: Vec<Arc<dyn Backend>>,
}

impl KeccakBench {
    /// Keys, mapping keys, a block and a byte, full branches, and a mix as of a state trie: as batches, and full
    /// branches and keys one by one.
    #[must_use]
    pub fn all(size: Size) -> Vec<Self> {
        let messages = size.pick(21, 1_024);
        let uniform = |len| HashLoad::uniform(len, messages);
        let loads = [
            uniform(32),
            uniform(64),
            uniform(136),
            uniform(532),
            HashLoad::trie_mix(messages, 1),
            uniform(32).one_by_one(),
            uniform(532).one_by_one(),
        ];
        loads.into_iter().map(|load| Self { load, backends: backends() }).collect()
    }

    /// What is hashed.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.load.name
    }

    /// Number of messages.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.load.ranges.len() as u64
    }

    /// What hashes it, the one that others are compared with first.
    #[must_use]
    pub fn backends(&self) -> &[Arc<dyn Backend>] {
        &self.backends
    }

    /// Hashes all messages; the digests take the place of what is in `digests`.
    ///
    /// # Errors
    ///
    /// The backend's.
    ///
    /// # Panics
    ///
    /// If there are not as many digests as messages.
    pub fn run(&self, backend: &dyn Backend, digests: &mut [B256]) -> Result<(), BackendError> {
        let HashLoad { arena, ranges, batch, .. } = &self.load;
        assert_eq!(digests.len(), ranges.len(), "as many digests as messages");
        for (ranges, digests) in ranges.chunks(*batch).zip(digests.chunks_mut(*batch)) {
            backend.hash_batch(arena, ranges, digests)?;
        }
        Ok(())
    }

    /// Checks all digests of all backends against `sha3`.
    ///
    /// # Errors
    ///
    /// [`WrongAnswer`] if one is wrong.
    pub fn verify(&self) -> Result<(), WrongAnswer> {
        let wrong = |backend: &dyn Backend, reason: String| WrongAnswer {
            bench: format!("{} by {}", self.name(), backend.name()),
            reason,
        };
        let expected: Vec<B256> =
            self.load.ranges.iter().map(|range| oracle(&self.load.arena[range.clone()])).collect();
        for backend in &self.backends {
            let mut digests = vec![B256::ZERO; expected.len()];
            self.run(&**backend, &mut digests).map_err(|error| wrong(&**backend, error.to_string()))?;
            if let Some(index) =
                digests.iter().zip(&expected).position(|(digest, expected)| digest != expected)
            {
                return Err(wrong(
                    &**backend,
                    format!("the digest of message {index} is {}", digests[index]),
                ));
            }
        }
        Ok(())
    }

    /// Ratios to the first backend, of samples taken in turns: a line for people.
    ///
    /// # Errors
    ///
    /// [`WrongAnswer`] if a digest is wrong or a backend fails.
    pub fn ratios(&self, repeat: usize) -> Result<String, WrongAnswer> {
        let wrong = |reason: String| WrongAnswer { bench: self.name().to_owned(), reason };
        let results = contest(&self.backends, &self.load, NonZeroUsize::MIN, repeat, || ());
        let results =
            results.map_err(|error| wrong(error.to_string()))?.map_err(|error| wrong(error.to_string()))?;
        let of = |result: &HashResult| {
            format!(
                "{} {:.2}x ({:.1} ns a permutation)",
                result.backend, result.ratio_to_first, result.ns_per_permutation
            )
        };
        Ok(format!("{}: {}", self.name(), results.iter().map(of).collect::<Vec<_>>().join(", ")))
    }
}

/// What ratios are of: the processor, since they differ from one to the next.
#[must_use]
pub fn machine() -> String {
    processor()
}

fn oracle(message: &[u8]) -> B256 {
    B256::new(Keccak256::digest(message).into())
}

/// The ways of this processor, keccak-asm (`scalar`) first, and `sha3`; what the processor lacks is said.
fn backends() -> Vec<Arc<dyn Backend>> {
    let mut backends: Vec<Arc<dyn Backend>> = Vec::new();
    for kind in [CpuKind::Scalar, CpuKind::Generic, CpuKind::Avx2, CpuKind::Avx512] {
        match CpuBackend::new(kind) {
            Ok(backend) => backends.push(Arc::new(backend)),
            Err(unsupported) => eprintln!("skipped: {unsupported}"),
        }
    }
    backends.push(Arc::new(Sha3));
    backends
}

/// The crate `sha3`, which nothing but tests and benches uses.
#[derive(Debug)]
struct Sha3;

impl Backend for Sha3 {
    fn name(&self) -> &str {
        "sha3"
    }

    fn identity(&self) -> String {
        self.name().to_owned()
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
        for (digest, range) in digests.iter_mut().zip(ranges) {
            *digest = oracle(&arena[range.clone()]);
        }
        Ok(())
    }
}
