//! Keccak-256 with Ethereum's padding (`0x01`, not SHA-3's `0x06`), one algorithm a file, and no policy: which one runs
//! where is `citius-hashing`'s to say.
//!
//! | kernel | messages at once | needs |
//! |---|---|---|
//! | [`generic`] | 1 | nothing; the slow twin the others are held against |
//! | [`avx2`] | 4 | AVX2 |
//! | [`avx512`] | 8 | AVX-512 F and BW |
//!
//! [`device`] holds the kernels of devices, as sources, and [`protocol`] how `citius-device-host`, which runs them, is spoken to: the two
//! rooms that must agree on it both stand on this one.
//!
//! Those that need something are methods of a value that exists only where it was found, so that a call checks
//! nothing:
//!
//! ```
//! # #[cfg(target_arch = "x86_64")]
//! if let Some(kernel) = citius_kernels::avx512::Avx512::detect() {
//!     let mut digests = [[0; 32]; 8];
//!     kernel.keccak256_x8(&[b"one", b"two", b"", b"", b"", b"", b"", b"eight"], &mut digests);
//!     assert_eq!(digests[1], citius_kernels::generic::keccak256(b"two"));
//! }
//! ```

#[cfg(target_arch = "x86_64")]
pub mod avx2;
#[cfg(target_arch = "x86_64")]
pub mod avx512;
pub mod device;
pub mod generic;
pub mod protocol;
mod sponge;

pub use sponge::{RATE, block_count};
