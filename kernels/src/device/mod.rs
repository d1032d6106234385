//! Keccak-256 kernels for devices, as source text: what `citius-device-host` gives to drivers.
//!
//! All take the same three buffers and a count, and give digests in the order of the messages:
//!
//! | buffer | elements | content |
//! |---|---|---|
//! | `arena` | `u64`, little-endian | the messages' bytes; each begins at a word of its own |
//! | `messages` | two `u32` each | where the message begins, in words of the arena, and its length in bytes |
//! | `digests` | four `u64` each | the digest's 32 bytes, written by the kernel |
//!
//! Buffers are aligned to 8 bytes at least and do not overlap. A kernel reads no byte past the message's last word, and
//! what stands in that word behind the message does not matter: Keccak's own padding (`0x01` … `0x80`, [Keccak
//! submission 3.0][keccak], section 1.1.1; not the `0x06` of FIPS 202) is applied in the kernel. Messages are at most
//! [`MESSAGE_BYTES_MAX`] long, and cost a permutation for each started or full block of [`RATE_BYTES`]. The OpenCL kernels
//! check no bounds: whoever starts them does ([`Job::check`](crate::protocol::Job::check)).
//!
//! [keccak]: https://keccak.team/files/Keccak-submission-3.pdf

mod kernel;
mod opencl;
mod wgsl;

pub use kernel::Kernel;
pub use wgsl::ROUND_CONSTANTS;

/// Bytes that one permutation absorbs.
pub const RATE_BYTES: usize = 136;

/// The longest message a device takes, in bytes. What is longer is rare (contract code) and would keep one invocation
/// busy while all others wait, long enough for drivers to take the kernel for hung.
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024;

/// The name of the entry point in every kernel.
pub const ENTRY_POINT: &str = "keccak256";

/// Permutations that a message of `length_bytes` costs.
#[must_use]
pub const fn blocks_count(length_bytes: usize) -> usize {
    length_bytes / RATE_BYTES + 1
}
