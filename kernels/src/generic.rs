//! Keccak-256 as the reference writes it, step by step: the slow twin that is obviously right, for tests and for
//! processors of which nothing is known.

use crate::sponge::{PADDING, RATE, ROUND_CONSTANTS};

/// The rotations of the step ρ, for the word at `(x, y)` in place `x + 5 y`.
const ROTATIONS: [u32; 25] =
    [0, 1, 62, 28, 27, 36, 44, 6, 55, 20, 3, 10, 43, 25, 39, 41, 45, 15, 21, 8, 18, 2, 61, 56, 14];

/// Keccak-256 of a message of any length.
#[must_use]
pub fn keccak256(message: &[u8]) -> [u8; 32] {
    let mut state = [0; 25];
    let mut blocks = message.chunks_exact(RATE);
    for block in &mut blocks {
        absorb(&mut state, block);
    }
    let rest = blocks.remainder();
    let mut last = [0; RATE];
    last[..rest.len()].copy_from_slice(rest);
    last[rest.len()] ^= PADDING as u8;
    last[RATE - 1] ^= 0x80;
    absorb(&mut state, &last);

    let mut digest = [0; 32];
    for (bytes, word) in digest.chunks_exact_mut(8).zip(state) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    digest
}

fn absorb(state: &mut [u64; 25], block: &[u8]) {
    for (word, bytes) in state.iter_mut().zip(block.chunks_exact(8)) {
        *word ^= u64::from_le_bytes(bytes.try_into().expect("a chunk of eight"));
    }
    for constant in ROUND_CONSTANTS {
        round(state, constant);
    }
}

fn round(state: &mut [u64; 25], constant: u64) {
    // θ
    let mut parity = [0; 5];
    for (index, word) in state.iter().enumerate() {
        parity[index % 5] ^= word;
    }
    for (index, word) in state.iter_mut().enumerate() {
        let x = index % 5;
        *word ^= parity[(x + 4) % 5] ^ parity[(x + 1) % 5].rotate_left(1);
    }
    // ρ and π
    let mut moved = [0; 25];
    for x in 0..5 {
        for y in 0..5 {
            moved[y + 5 * ((2 * x + 3 * y) % 5)] = state[x + 5 * y].rotate_left(ROTATIONS[x + 5 * y]);
        }
    }
    // χ
    for y in 0..5 {
        for x in 0..5 {
            state[x + 5 * y] = moved[x + 5 * y] ^ (!moved[(x + 1) % 5 + 5 * y] & moved[(x + 2) % 5 + 5 * y]);
        }
    }
    // ι
    state[0] ^= constant;
}
