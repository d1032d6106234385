//! Keccak-256 of four messages at once by AVX2: word `i` of all four states stands in one 256-bit register, or in
//! memory: of the 25, sixteen registers hold the sums of columns and the row that is worked on (as in XKCP's
//! "plane per plane" code: each row adds itself to the next round's sums).

#![allow(unsafe_code, reason = "loads from memory, and calls of functions that need AVX2")]

use crate::sponge::{LAST_BIT, PADDING, RATE, RATE_WORDS, ROUND_CONSTANTS, block_count};
use std::arch::x86_64::*;

/// Messages that are hashed at once.
pub const LANES: usize = 4;

/// Proof that this processor has AVX2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Avx2(());

impl Avx2 {
    /// The kernel, if this processor and the operating system support it.
    #[must_use]
    pub fn detect() -> Option<Self> {
        is_x86_feature_detected!("avx2").then_some(Self(()))
    }

    /// Keccak-256 of four messages of any lengths, in order. They are read where they lie, never outside their
    /// bounds, at any alignment. It takes as many permutations of all four lanes as the longest message has blocks:
    /// the others' digests are taken at their last blocks.
    pub fn keccak256_x4(self, messages: &[&[u8]; LANES], digests: &mut [[u8; 32]; LANES]) {
        // SAFETY: a value of this type is made only by `detect`, which saw the feature.
        unsafe { keccak256_x4(messages, digests) }
    }
}

/// The state: word `x + 5 y` of all lanes.
type State = [__m256i; 25];

#[target_feature(enable = "avx2")]
fn keccak256_x4(messages: &[&[u8]; LANES], digests: &mut [[u8; 32]; LANES]) {
    let mut longest = 0;
    let mut shortest = usize::MAX;
    for message in messages {
        longest = longest.max(message.len());
        shortest = shortest.min(message.len());
    }
    let mut state = [_mm256_setzero_si256(); 25];
    let full_in_all = block_count(shortest) - 1;
    for block in 0..full_in_all {
        // SAFETY: each message is longer than `block * RATE` by `RATE` bytes or more.
        unsafe { absorb_full(&mut state, messages, block * RATE) };
        permute(&mut state);
    }
    for block in full_in_all..block_count(longest) {
        absorb_ends(&mut state, messages, block * RATE);
        permute(&mut state);
        squeeze(&state, messages, block, digests);
    }
}

/// Takes in bytes `offset..offset + RATE` of each message.
///
/// # Safety
///
/// Each message has these bytes.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn absorb_full(state: &mut State, messages: &[&[u8]; LANES], offset: usize) {
    for pair in 0..RATE_WORDS / 2 {
        // SAFETY: 16 bytes from `offset + 16 * pair` on are within the `RATE` that the caller vouches for.
        let load =
            |message: &[u8]| unsafe { _mm_loadu_si128(message.as_ptr().add(offset + 16 * pair).cast()) };
        let even = _mm256_set_m128i(load(messages[2]), load(messages[0]));
        let odd = _mm256_set_m128i(load(messages[3]), load(messages[1]));
        let first = &mut state[2 * pair];
        *first = _mm256_xor_si256(*first, _mm256_unpacklo_epi64(even, odd));
        let second = &mut state[2 * pair + 1];
        *second = _mm256_xor_si256(*second, _mm256_unpackhi_epi64(even, odd));
    }
    let mut words = [0; LANES];
    for (word, message) in words.iter_mut().zip(messages) {
        // SAFETY: the last eight of the `RATE` bytes that the caller vouches for.
        *word = unsafe { message.as_ptr().add(offset + RATE - 8).cast::<i64>().read_unaligned() };
    }
    state[RATE_WORDS - 1] = _mm256_xor_si256(state[RATE_WORDS - 1], lanes(words));
}

/// Takes in what each message has from `offset` on, a block at most, padded where it ends. Lanes that ended before
/// take in anything.
#[inline]
#[target_feature(enable = "avx2")]
fn absorb_ends(state: &mut State, messages: &[&[u8]; LANES], offset: usize) {
    let mut rests = [0; LANES];
    let mut ends = [0; LANES];
    let mut longest = 0;
    for (lane, message) in messages.iter().enumerate() {
        // A lane that is done has no rest.
        let rest = message.len().saturating_sub(offset);
        rests[lane] = rest as i64;
        ends[lane] = end(message);
        longest = longest.max(rest);
    }

    // Whole words.
    let words = (longest / 8).min(RATE_WORDS);
    for four in 0..words.div_ceil(4) {
        let mut rows = [_mm256_setzero_si256(); LANES];
        for ((row, message), rest) in rows.iter_mut().zip(messages).zip(rests) {
            let left = _mm256_set1_epi64x((rest >> 3).min(RATE_WORDS as i64) - 4 * four as i64);
            let mask = _mm256_cmpgt_epi64(left, _mm256_setr_epi64x(0, 1, 2, 3));
            // SAFETY: words that are masked off are not read, and those that are not lie within the message: it has
            // `rest / 8` whole words from `offset` on.
            *row = unsafe {
                _mm256_maskload_epi64(message.as_ptr().wrapping_add(offset + 32 * four).cast(), mask)
            };
        }
        for (word, column) in state[4 * four..].iter_mut().zip(transpose(rows)) {
            *word = _mm256_xor_si256(*word, column);
        }
    }

    // The word in which a message ends, with its padding, and one bit in the last word of its last block.
    let rests = lanes(rests);
    let ends = lanes(ends);
    let place = _mm256_srli_epi64::<3>(rests);
    for (index, word) in state[..RATE_WORDS].iter_mut().enumerate() {
        let is_here = _mm256_cmpeq_epi64(place, _mm256_set1_epi64x(index as i64));
        *word = _mm256_xor_si256(*word, _mm256_and_si256(ends, is_here));
    }
    let is_last = _mm256_cmpgt_epi64(_mm256_set1_epi64x(RATE as i64), rests);
    let last = &mut state[RATE_WORDS - 1];
    *last = _mm256_xor_si256(*last, _mm256_and_si256(_mm256_set1_epi64x(LAST_BIT as i64), is_last));
}

/// A message's last bytes that fill no word (whole blocks are whole words), followed by the padding.
#[inline]
fn end(message: &[u8]) -> i64 {
    let count = message.len() % 8;
    let bytes = if count == 0 {
        0
    } else if let Some(last) = message.last_chunk() {
        u64::from_le_bytes(*last) >> (64 - 8 * count)
    } else {
        message.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
    };
    (bytes | PADDING << (8 * count)) as i64
}

#[inline]
#[target_feature(enable = "avx2")]
fn lanes(words: [i64; LANES]) -> __m256i {
    _mm256_setr_epi64x(words[0], words[1], words[2], words[3])
}

/// Word `i` of all rows, for each `i`.
#[inline]
#[target_feature(enable = "avx2")]
fn transpose(rows: [__m256i; LANES]) -> [__m256i; LANES] {
    let even = [_mm256_unpacklo_epi64(rows[0], rows[1]), _mm256_unpacklo_epi64(rows[2], rows[3])];
    let odd = [_mm256_unpackhi_epi64(rows[0], rows[1]), _mm256_unpackhi_epi64(rows[2], rows[3])];
    [
        _mm256_permute2x128_si256::<0x20>(even[0], even[1]),
        _mm256_permute2x128_si256::<0x20>(odd[0], odd[1]),
        _mm256_permute2x128_si256::<0x31>(even[0], even[1]),
        _mm256_permute2x128_si256::<0x31>(odd[0], odd[1]),
    ]
}

/// Writes the digests of the messages whose last block is `block`.
#[inline]
#[target_feature(enable = "avx2")]
fn squeeze(state: &State, messages: &[&[u8]; LANES], block: usize, digests: &mut [[u8; 32]; LANES]) {
    let rows = transpose([state[0], state[1], state[2], state[3]]);
    for ((digest, message), row) in digests.iter_mut().zip(messages).zip(rows) {
        if message.len() / RATE == block {
            // SAFETY: a digest has 32 bytes.
            unsafe { _mm256_storeu_si256(digest.as_mut_ptr().cast(), row) };
        }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn rotate<const LEFT: i32, const RIGHT: i32>(word: __m256i) -> __m256i {
    match LEFT {
        0 => word,
        1 => _mm256_or_si256(_mm256_add_epi64(word, word), _mm256_srli_epi64::<63>(word)),
        8 => {
            let order = _mm256_set_epi64x(
                0x0e0d_0c0b_0a09_080f,
                0x0605_0403_0201_0007,
                0x0e0d_0c0b_0a09_080f,
                0x0605_0403_0201_0007,
            );
            _mm256_shuffle_epi8(word, order)
        }
        56 => {
            let order = _mm256_set_epi64x(
                0x080f_0e0d_0c0b_0a09,
                0x0007_0605_0403_0201,
                0x080f_0e0d_0c0b_0a09,
                0x0007_0605_0403_0201,
            );
            _mm256_shuffle_epi8(word, order)
        }
        _ => _mm256_or_si256(_mm256_slli_epi64::<LEFT>(word), _mm256_srli_epi64::<RIGHT>(word)),
    }
}

/// Row `$y` of the next state: `χ(π(ρ(θ)))` of the five words that π brings there.
macro_rules! row {
    ($from:ident, $theta:ident, $to:ident, $y:literal: $([$word:literal <<< $by:literal])*) => {{
        let b = [$(rotate::<$by, { (64 - $by) % 64 }>(_mm256_xor_si256($from[$word], $theta[$word % 5]))),*];
        $to[5 * $y] = _mm256_xor_si256(b[0], _mm256_andnot_si256(b[1], b[2]));
        $to[5 * $y + 1] = _mm256_xor_si256(b[1], _mm256_andnot_si256(b[2], b[3]));
        $to[5 * $y + 2] = _mm256_xor_si256(b[2], _mm256_andnot_si256(b[3], b[4]));
        $to[5 * $y + 3] = _mm256_xor_si256(b[3], _mm256_andnot_si256(b[4], b[0]));
        $to[5 * $y + 4] = _mm256_xor_si256(b[4], _mm256_andnot_si256(b[0], b[1]));
    }};
}

/// Adds row `$y` to the sums of columns.
macro_rules! sum {
    ($parity:ident, $to:ident, $y:literal) => {
        $parity = [
            _mm256_xor_si256($parity[0], $to[5 * $y]),
            _mm256_xor_si256($parity[1], $to[5 * $y + 1]),
            _mm256_xor_si256($parity[2], $to[5 * $y + 2]),
            _mm256_xor_si256($parity[3], $to[5 * $y + 3]),
            _mm256_xor_si256($parity[4], $to[5 * $y + 4]),
        ]
    };
}

/// One round, from one copy of the state to another. A macro, since of a function that needs AVX2 the compiler
/// cannot be told to always inline it, and it would not.
macro_rules! round {
    ($a:ident, $parity:ident, $e:ident, $constant:expr) => {
        let theta = [
            _mm256_xor_si256($parity[4], rotate::<1, 63>($parity[1])),
            _mm256_xor_si256($parity[0], rotate::<1, 63>($parity[2])),
            _mm256_xor_si256($parity[1], rotate::<1, 63>($parity[3])),
            _mm256_xor_si256($parity[2], rotate::<1, 63>($parity[4])),
            _mm256_xor_si256($parity[3], rotate::<1, 63>($parity[0])),
        ];
        row!($a, theta, $e, 0: [0 <<< 0] [6 <<< 44] [12 <<< 43] [18 <<< 21] [24 <<< 14]);
        $e[0] = _mm256_xor_si256($e[0], _mm256_set1_epi64x($constant as i64));
        $parity = [$e[0], $e[1], $e[2], $e[3], $e[4]];
        row!($a, theta, $e, 1: [3 <<< 28] [9 <<< 20] [10 <<< 3] [16 <<< 45] [22 <<< 61]);
        sum!($parity, $e, 1);
        row!($a, theta, $e, 2: [1 <<< 1] [7 <<< 6] [13 <<< 25] [19 <<< 8] [20 <<< 18]);
        sum!($parity, $e, 2);
        row!($a, theta, $e, 3: [4 <<< 27] [5 <<< 36] [11 <<< 10] [17 <<< 15] [23 <<< 56]);
        sum!($parity, $e, 3);
        row!($a, theta, $e, 4: [2 <<< 62] [8 <<< 55] [14 <<< 39] [15 <<< 41] [21 <<< 2]);
        sum!($parity, $e, 4);
    };
}

/// Keccak-f[1600] of all lanes.
#[inline]
#[target_feature(enable = "avx2")]
fn permute(state: &mut State) {
    let mut parity = [state[0], state[1], state[2], state[3], state[4]];
    sum!(parity, state, 1);
    sum!(parity, state, 2);
    sum!(parity, state, 3);
    sum!(parity, state, 4);
    let mut other = *state;
    for constants in ROUND_CONSTANTS.as_chunks::<2>().0 {
        round!(state, parity, other, constants[0]);
        round!(other, parity, state, constants[1]);
    }
}
