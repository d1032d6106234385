//! Keccak-256 of eight messages at once by AVX-512: word `i` of all eight states stands in one 512-bit register.
//!
//! θ and χ are three-input functions (VPTERNLOGQ), ρ is VPROLQ. The 25 words of the state stay in registers from the
//! first block to the last; messages are read where they lie, transposed and padded in registers.

#![allow(unsafe_code, reason = "loads of parts of a register, and calls of functions that need AVX-512")]

use crate::sponge::{LAST_BIT, PADDING, RATE, RATE_WORDS, ROUND_CONSTANTS, block_count};
use std::arch::x86_64::*;

/// Messages that are hashed at once.
pub const LANES: usize = 8;

/// Proof that this processor has what this kernel needs: AVX-512 F and BW.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Avx512(());

impl Avx512 {
    /// The kernel, if this processor and the operating system support it.
    #[must_use]
    pub fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")).then_some(Self(()))
    }

    /// Keccak-256 of eight messages of any lengths, in order. They are read where they lie, never outside their
    /// bounds, at any alignment. It takes as many permutations of all eight lanes as the longest message has blocks:
    /// the others' digests are taken at their last blocks. An empty message costs next to nothing beside seven
    /// others.
    pub fn keccak256_x8(self, messages: &[&[u8]; LANES], digests: &mut [[u8; 32]; LANES]) {
        // SAFETY: a value of this type is made only by `detect`, which saw the features.
        unsafe { keccak256_x8(messages, digests) }
    }

    /// Asks the processor to fetch messages that are to be hashed next, as much of them as a trie's largest node has: while
    /// it permutes it does not look that far ahead.
    #[inline]
    pub fn prefetch(self, messages: &[&[u8]; LANES]) {
        const LINE: usize = 64;
        const NODE: usize = 576;
        for message in messages {
            for offset in (0..message.len().min(NODE)).step_by(LINE) {
                // SAFETY: a prefetch reads and writes nothing, whatever the address.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(message.as_ptr().wrapping_add(offset).cast()) };
            }
        }
    }
}

/// The state: word `x + 5 y` of all lanes.
type State = [__m512i; 25];

#[target_feature(enable = "avx512f,avx512bw")]
fn keccak256_x8(messages: &[&[u8]; LANES], digests: &mut [[u8; 32]; LANES]) {
    let mut longest = 0;
    let mut shortest = usize::MAX;
    for message in messages {
        longest = longest.max(message.len());
        shortest = shortest.min(message.len());
    }
    let mut state = [_mm512_setzero_si512(); 25];
    let full_in_all = block_count(shortest) - 1;
    for block in 0..full_in_all {
        // SAFETY: each message is `RATE` bytes or more longer than `block * RATE`.
        unsafe { absorb_full(&mut state, messages, block * RATE) };
        permute(&mut state);
    }
    for block in full_in_all..block_count(longest) {
        let last = absorb_ends(&mut state, messages, block * RATE);
        permute(&mut state);
        squeeze(&state, last, digests);
    }
}

/// Takes in bytes `offset..offset + RATE` of each message.
///
/// # Safety
///
/// Each message has these bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn absorb_full(state: &mut State, messages: &[&[u8]; LANES], offset: usize) {
    let mut rows = [_mm512_setzero_si512(); LANES];
    for half in 0..2 {
        for (row, message) in rows.iter_mut().zip(messages) {
            // SAFETY: 64 bytes from `offset + 64 * half` on are within the `RATE` that the caller vouches for.
            *row = unsafe { _mm512_loadu_si512(message.as_ptr().add(offset + 64 * half).cast()) };
        }
        for (word, column) in state[8 * half..].iter_mut().zip(transpose(rows)) {
            *word = _mm512_xor_si512(*word, column);
        }
    }
    let mut words = [0; LANES];
    for (word, message) in words.iter_mut().zip(messages) {
        // SAFETY: the last eight of the `RATE` bytes that the caller vouches for.
        *word = unsafe { message.as_ptr().add(offset + RATE - 8).cast::<i64>().read_unaligned() };
    }
    state[RATE_WORDS - 1] = _mm512_xor_si512(state[RATE_WORDS - 1], lanes(words));
}

/// Takes in what each message has from `offset` on, a block at most, padded where it ends. Says of each lane whether
/// this was its last block; lanes that ended before take in anything.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn absorb_ends(state: &mut State, messages: &[&[u8]; LANES], offset: usize) -> __mmask8 {
    let mut rests = [0; LANES];
    let mut longest = 0;
    for (rest, message) in rests.iter_mut().zip(messages) {
        // Of a lane that is done the rest is negative, which unsigned is more than any block.
        *rest = message.len().wrapping_sub(offset) as i64;
        longest = longest.max(*rest);
    }

    let mut rows = [_mm512_setzero_si512(); LANES];
    for (row, message) in rows.iter_mut().zip(messages) {
        *row = load_up_to_64(message, offset);
    }
    for (word, column) in state.iter_mut().zip(transpose(rows)) {
        *word = _mm512_xor_si512(*word, column);
    }
    if longest > 64 {
        for (row, message) in rows.iter_mut().zip(messages) {
            *row = load_up_to_64(message, offset + 64);
        }
        for (word, column) in state[8..].iter_mut().zip(transpose(rows)) {
            *word = _mm512_xor_si512(*word, column);
        }
    }
    if longest > 128 {
        let mut words = [0; LANES];
        for (word, message) in words.iter_mut().zip(messages) {
            *word = load_up_to_8(message, offset + 128);
        }
        state[RATE_WORDS - 1] = _mm512_xor_si512(state[RATE_WORDS - 1], lanes(words));
    }

    // The padding: one bit in the word in which a message ends, one in the last word of its last block.
    let rests = lanes(rests);
    let is_last = _mm512_cmplt_epu64_mask(rests, _mm512_set1_epi64(RATE as i64));
    let place = _mm512_srli_epi64::<3>(rests);
    let shift = _mm512_slli_epi64::<3>(_mm512_and_si512(rests, _mm512_set1_epi64(7)));
    let bit = _mm512_sllv_epi64(_mm512_set1_epi64(PADDING as i64), shift);
    for (index, word) in state[..RATE_WORDS].iter_mut().enumerate() {
        let is_here = _mm512_cmpeq_epi64_mask(place, _mm512_set1_epi64(index as i64));
        *word = _mm512_mask_xor_epi64(*word, is_here, *word, bit);
    }
    let end = &mut state[RATE_WORDS - 1];
    *end = _mm512_mask_xor_epi64(*end, is_last, *end, _mm512_set1_epi64(LAST_BIT as i64));
    is_last
}

/// Bytes `offset..offset + 64` of a message, zeros where it has none.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load_up_to_64(message: &[u8], offset: usize) -> __m512i {
    let has = message.len().saturating_sub(offset);
    let mask = if has >= 64 { u64::MAX } else { (1 << has) - 1 };
    // SAFETY: bytes that are masked off are not read, and those that are not lie within the message.
    unsafe { _mm512_maskz_loadu_epi8(mask, message.as_ptr().wrapping_add(offset).cast()) }
}

/// Bytes `offset..offset + 8` of a message, little-endian, zeros where it has none. `offset` is 8 or more.
#[inline]
fn load_up_to_8(message: &[u8], offset: usize) -> i64 {
    debug_assert!(offset >= 8);
    let has = message.len().saturating_sub(offset).min(8);
    if has == 0 {
        return 0;
    }
    // SAFETY: `offset + has` is at most the message's length, and at least 8.
    let ending = unsafe { message.as_ptr().add(offset + has - 8).cast::<u64>().read_unaligned() };
    (ending >> (8 * (8 - has))) as i64
}

#[inline]
#[target_feature(enable = "avx512f")]
fn lanes(words: [i64; LANES]) -> __m512i {
    let [a, b, c, d, e, f, g, h] = words;
    _mm512_setr_epi64(a, b, c, d, e, f, g, h)
}

/// Word `i` of all rows, for each `i`.
#[inline]
#[target_feature(enable = "avx512f")]
fn transpose(rows: [__m512i; LANES]) -> [__m512i; LANES] {
    let mut pairs = rows;
    for index in [0, 2, 4, 6] {
        pairs[index] = _mm512_unpacklo_epi64(rows[index], rows[index + 1]);
        pairs[index + 1] = _mm512_unpackhi_epi64(rows[index], rows[index + 1]);
    }
    let mut fours = rows;
    for (low, high) in [(0, 2), (1, 3), (4, 6), (5, 7)] {
        fours[low] = _mm512_shuffle_i64x2::<0b10_00_10_00>(pairs[low], pairs[high]);
        fours[high] = _mm512_shuffle_i64x2::<0b11_01_11_01>(pairs[low], pairs[high]);
    }
    // `fours[0]` holds words 0 and 4 of the first four rows, `fours[4]` of the others; and so on.
    let mut columns = rows;
    for (index, low) in [(0, 0), (1, 1), (2, 2), (3, 3)] {
        columns[index] = _mm512_shuffle_i64x2::<0b10_00_10_00>(fours[low], fours[low + 4]);
        columns[index + 4] = _mm512_shuffle_i64x2::<0b11_01_11_01>(fours[low], fours[low + 4]);
    }
    columns
}

/// Writes the digests of the lanes in `which`.
#[inline]
#[target_feature(enable = "avx512f")]
fn squeeze(state: &State, which: __mmask8, digests: &mut [[u8; 32]; LANES]) {
    // Rows of four words: lanes 2i and 2i + 1 are halves of the registers below.
    let low = [_mm512_unpacklo_epi64(state[0], state[1]), _mm512_unpackhi_epi64(state[0], state[1])];
    let high = [_mm512_unpacklo_epi64(state[2], state[3]), _mm512_unpackhi_epi64(state[2], state[3])];
    for odd in 0..2 {
        let first =
            _mm512_permutex2var_epi64(low[odd], _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11), high[odd]);
        let second =
            _mm512_permutex2var_epi64(low[odd], _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15), high[odd]);
        let quarters = [
            _mm512_castsi512_si256(first),
            _mm512_extracti64x4_epi64::<1>(first),
            _mm512_castsi512_si256(second),
            _mm512_extracti64x4_epi64::<1>(second),
        ];
        for (index, quarter) in quarters.into_iter().enumerate() {
            let lane = 2 * index + odd;
            if which & (1 << lane) != 0 {
                // SAFETY: a digest has 32 bytes.
                unsafe { _mm256_storeu_si256(digests[lane].as_mut_ptr().cast(), quarter) };
            }
        }
    }
}

/// `a ^ b ^ c`.
#[inline]
#[target_feature(enable = "avx512f")]
fn xor3(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    _mm512_ternarylogic_epi64::<0x96>(a, b, c)
}

/// `a ^ (!b & c)`.
#[inline]
#[target_feature(enable = "avx512f")]
fn chi(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    _mm512_ternarylogic_epi64::<0xd2>(a, b, c)
}

/// Row `y` of the next state: `χ(π(ρ(θ)))` of the five words that π brings there.
macro_rules! row {
    ($state:ident, $theta:ident: $([$word:literal <<< $by:literal])*) => {{
        let b = [$(_mm512_rol_epi64::<$by>(_mm512_xor_si512($state[$word], $theta[$word % 5]))),*];
        [
            chi(b[0], b[1], b[2]),
            chi(b[1], b[2], b[3]),
            chi(b[2], b[3], b[4]),
            chi(b[3], b[4], b[0]),
            chi(b[4], b[0], b[1]),
        ]
    }};
}

/// The sum of a column.
macro_rules! column {
    ($state:ident, $x:literal) => {
        xor3(xor3($state[$x], $state[$x + 5], $state[$x + 10]), $state[$x + 15], $state[$x + 20])
    };
}

/// Keccak-f[1600] of all lanes. One round is the loop's body: of two, or of all, the compiler makes slower code
/// (measured on Zen 5), though it then need not move words between registers.
#[inline]
#[target_feature(enable = "avx512f")]
fn permute(state: &mut State) {
    let mut a = *state;
    for constant in ROUND_CONSTANTS {
        let parity = [column!(a, 0), column!(a, 1), column!(a, 2), column!(a, 3), column!(a, 4)];
        let theta = [
            _mm512_xor_si512(parity[4], _mm512_rol_epi64::<1>(parity[1])),
            _mm512_xor_si512(parity[0], _mm512_rol_epi64::<1>(parity[2])),
            _mm512_xor_si512(parity[1], _mm512_rol_epi64::<1>(parity[3])),
            _mm512_xor_si512(parity[2], _mm512_rol_epi64::<1>(parity[4])),
            _mm512_xor_si512(parity[3], _mm512_rol_epi64::<1>(parity[0])),
        ];
        let row0 = row!(a, theta: [0 <<< 0] [6 <<< 44] [12 <<< 43] [18 <<< 21] [24 <<< 14]);
        let row1 = row!(a, theta: [3 <<< 28] [9 <<< 20] [10 <<< 3] [16 <<< 45] [22 <<< 61]);
        let row2 = row!(a, theta: [1 <<< 1] [7 <<< 6] [13 <<< 25] [19 <<< 8] [20 <<< 18]);
        let row3 = row!(a, theta: [4 <<< 27] [5 <<< 36] [11 <<< 10] [17 <<< 15] [23 <<< 56]);
        let row4 = row!(a, theta: [2 <<< 62] [8 <<< 55] [14 <<< 39] [15 <<< 41] [21 <<< 2]);
        let first = _mm512_xor_si512(row0[0], _mm512_set1_epi64(constant as i64));
        a = [
            first, row0[1], row0[2], row0[3], row0[4], row1[0], row1[1], row1[2], row1[3], row1[4], row2[0],
            row2[1], row2[2], row2[3], row2[4], row3[0], row3[1], row3[2], row3[3], row3[4], row4[0],
            row4[1], row4[2], row4[3], row4[4],
        ];
    }
    *state = a;
}
