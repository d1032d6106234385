//! What every kernel shares: the constants of the sponge Keccak-256 is, from the [Keccak reference][ref], sections 1.2
//! and 3.
//!
//! [ref]: https://keccak.team/files/Keccak-reference-3.0.pdf

/// Bytes of a message that one permutation takes in: 1,600 bits of state less twice the digest's 256.
pub const RATE: usize = 136;

/// 64-bit words of the rate.
pub(crate) const RATE_WORDS: usize = RATE / 8;

/// What follows a message's last byte. SHA-3 as standardised (FIPS 202) has `0x06` here, Ethereum the original.
pub(crate) const PADDING: u64 = 0x01;

/// What ends the last block: set in its last word.
pub(crate) const LAST_BIT: u64 = 1 << 63;

/// The constants of the step ι, one a round.
pub(crate) const ROUND_CONSTANTS: [u64; 24] = [
    0x0000_0000_0000_0001,
    0x0000_0000_0000_8082,
    0x8000_0000_0000_808a,
    0x8000_0000_8000_8000,
    0x0000_0000_0000_808b,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8009,
    0x0000_0000_0000_008a,
    0x0000_0000_0000_0088,
    0x0000_0000_8000_8009,
    0x0000_0000_8000_000a,
    0x0000_0000_8000_808b,
    0x8000_0000_0000_008b,
    0x8000_0000_0000_8089,
    0x8000_0000_0000_8003,
    0x8000_0000_0000_8002,
    0x8000_0000_0000_0080,
    0x0000_0000_0000_800a,
    0x8000_0000_8000_000a,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8080,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8008,
];

/// Permutations that a message of `len` bytes takes: the padding always needs a byte.
#[must_use]
pub const fn block_count(len: usize) -> usize {
    len / RATE + 1
}
