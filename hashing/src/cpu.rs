use alloy_primitives::B256;
use citius_kernels::generic;
#[cfg(target_arch = "x86_64")]
use citius_kernels::{avx2::Avx2, avx512::Avx512};
use keccak_asm::Keccak256;
use std::{fmt, str::FromStr};

/// The most messages that any instruction set hashes at once.
pub(crate) const LANES_MAX: usize = 8;

/// A way of this processor to hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CpuKind {
    /// The plain twin of the others, for tests.
    Generic,
    /// One message at a time, in assembly.
    Scalar,
    /// Four messages at a time.
    Avx2,
    /// Eight messages at a time.
    Avx512,
}

impl CpuKind {
    /// All of them, the slowest first.
    pub const ALL: [Self; 4] = [Self::Generic, Self::Scalar, Self::Avx2, Self::Avx512];

    /// Those that this processor has, the slowest first.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|kind| kind.is_available())
    }

    /// Whether this processor has it.
    #[must_use]
    pub fn is_available(self) -> bool {
        Cpu::of(self).is_ok()
    }

    /// Its name in tables, logs and arguments.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }
}

impl fmt::Display for CpuKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for CpuKind {
    type Err = UnknownCpuKind;

    fn from_str(name: &str) -> Result<Self, UnknownCpuKind> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == name);
        found.ok_or_else(|| UnknownCpuKind { name: name.to_owned() })
    }
}

/// No way to hash has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is none of generic, scalar, avx2, avx512")]
pub struct UnknownCpuKind {
    /// What was asked for.
    pub name: String,
}

/// This processor lacks an instruction set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this processor cannot hash by {kind}")]
pub struct UnsupportedCpuKind {
    /// What was asked for.
    pub kind: CpuKind,
}

/// A way to hash that this processor has.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cpu {
    Generic,
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
}

impl Cpu {
    /// The fastest.
    pub(crate) fn best() -> Self {
        CpuKind::ALL.into_iter().rev().find_map(|kind| Self::of(kind).ok()).unwrap_or(Self::Scalar)
    }

    pub(crate) fn of(kind: CpuKind) -> Result<Self, UnsupportedCpuKind> {
        let found = match kind {
            CpuKind::Generic => Some(Self::Generic),
            CpuKind::Scalar => Some(Self::Scalar),
            #[cfg(target_arch = "x86_64")]
            CpuKind::Avx2 => Avx2::detect().map(Self::Avx2),
            #[cfg(target_arch = "x86_64")]
            CpuKind::Avx512 => Avx512::detect().map(Self::Avx512),
            #[cfg(not(target_arch = "x86_64"))]
            CpuKind::Avx2 | CpuKind::Avx512 => None,
        };
        found.ok_or(UnsupportedCpuKind { kind })
    }

    pub(crate) const fn kind(self) -> CpuKind {
        match self {
            Self::Generic => CpuKind::Generic,
            Self::Scalar => CpuKind::Scalar,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => CpuKind::Avx2,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => CpuKind::Avx512,
        }
    }

    /// Messages that are hashed at once.
    pub(crate) const fn lanes(self) -> usize {
        match self.kind() {
            CpuKind::Generic | CpuKind::Scalar => 1,
            CpuKind::Avx2 => 4,
            CpuKind::Avx512 => 8,
        }
    }

    /// What a permutation of all lanes costs, in hundredths of what the scalar code takes for one message's; for the
    /// choice between them where lanes would stay empty. Measured on Zen 5: 183 and 90. For AVX-512 a bit more is
    /// taken, since other processors gain less from it (about 140 on Cascade Lake), and one message left alone is
    /// to be no slower than by the scalar code anywhere.
    pub(crate) const fn permutation_cost_percent(self) -> usize {
        match self.kind() {
            CpuKind::Generic | CpuKind::Scalar => 100,
            CpuKind::Avx2 => 180,
            CpuKind::Avx512 => 110,
        }
    }

    /// Hashes one message.
    pub(crate) fn hash_one(self, message: &[u8]) -> B256 {
        match self {
            Self::Generic => B256::new(generic::keccak256(message)),
            _ => keccak256(message),
        }
    }

    /// Whether [`Self::prefetch`] does anything.
    #[inline]
    pub(crate) fn fetches_ahead(self) -> bool {
        self.lanes() == LANES_MAX
    }

    /// Has messages fetched that are to be hashed next.
    #[inline]
    pub(crate) fn prefetch(self, messages: &[&[u8]; LANES_MAX]) {
        #[cfg(target_arch = "x86_64")]
        if let Self::Avx512(kernel) = self {
            kernel.prefetch(messages);
        }
    }

    /// Hashes [`Self::lanes`] messages or fewer, at once; the first digests are theirs.
    pub(crate) fn hash_lanes(self, messages: &[&[u8]; LANES_MAX], digests: &mut [[u8; 32]; LANES_MAX]) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(kernel) => kernel.keccak256_x8(messages, digests),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(kernel) => {
                if let (Some(messages), Some(digests)) = (messages.first_chunk(), digests.first_chunk_mut()) {
                    kernel.keccak256_x4(messages, digests);
                }
            }
            Self::Generic | Self::Scalar => digests[0] = self.hash_one(messages[0]).0,
        }
    }
}

/// Keccak-256 of one message, as Ethereum uses it.
///
/// ```
/// use alloy_primitives::b256;
///
/// let empty = b256!("c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470");
/// assert_eq!(citius_hashing::keccak256(b""), empty);
/// ```
#[must_use]
pub fn keccak256(message: &[u8]) -> B256 {
    B256::new(Keccak256::digest(message).into())
}
