//! Batches by every way of this processor against `sha3`, which shares no code with them.

#[path = "../../topology/tests/common/seeded.rs"]
mod seeded;

use alloy_primitives::B256;
use citius_hashing::{CpuKind, Hasher, hash_batch, keccak256};
use proptest::{
    collection::vec,
    prelude::{Strategy, any},
    prop_assert_eq, prop_oneof,
    sample::Index,
    test_runner::TestRunner,
};
use seeded::seeded;
use sha3::{Digest, Keccak256};
use std::ops::Range;

/// Bytes that a message consists of, one block.
const RATE: usize = 136;

fn oracle(message: &[u8]) -> B256 {
    B256::new(Keccak256::digest(message).into())
}

/// By every way that this processor has; the others are reported as skipped.
fn hashers() -> Vec<Hasher> {
    let of_kind = |kind| match Hasher::with_cpu(kind) {
        Ok(hasher) => Some(hasher),
        Err(unsupported) => {
            eprintln!("skipped: {unsupported}");
            None
        }
    };
    CpuKind::ALL.into_iter().filter_map(of_kind).collect()
}

/// Bytes of which no two messages here are the same.
fn arena(count: usize) -> Vec<u8> {
    (0..count as u64).map(|index| (index.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 37) as u8).collect()
}

fn check(arena: &[u8], ranges: &[Range<usize>]) {
    let expected: Vec<B256> = ranges.iter().map(|range| oracle(&arena[range.clone()])).collect();
    let messages: Vec<&[u8]> = ranges.iter().map(|range| &arena[range.clone()]).collect();
    for hasher in hashers() {
        let mut digests = vec![B256::repeat_byte(0xee); ranges.len()];
        hasher.hash_batch(arena, ranges, &mut digests);
        assert_eq!(digests, expected, "{}: {ranges:?}", hasher.cpu_kind());
        digests.fill(B256::repeat_byte(0xee));
        hasher.hash_each(&messages, &mut digests);
        assert_eq!(digests, expected, "{}: {ranges:?}", hasher.cpu_kind());
    }
}

#[test]
fn all_lengths_in_one_batch() {
    let arena = arena(3 * 1200);
    let ranges: Vec<Range<usize>> = (0..=1200).map(|length| 2 * length..3 * length).collect();
    check(&arena, &ranges);
    let backwards: Vec<Range<usize>> = ranges.into_iter().rev().collect();
    check(&arena, &backwards);
}

#[test]
fn lengths_around_blocks_whatever_their_number() {
    let arena = arena(100 * RATE + 2);
    let ranges: Vec<Range<usize>> =
        (1..=100).flat_map(|blocks| blocks * RATE - 2..=blocks * RATE + 2).map(|length| 0..length).collect();
    check(&arena, &ranges);
}

/// Whoever is left over shares lanes with the next, or is hashed alone: at every size of a batch.
#[test]
fn batches_of_every_small_size() {
    let arena = arena(6000);
    for count in 0..40 {
        let of = |lengths: &[usize]| -> Vec<Range<usize>> {
            (0..count).map(|index| index * 11..index * 11 + lengths[index % lengths.len()]).collect()
        };
        for lengths in [&[32][..], &[532], &[136, 135], &[532, 32, 100], &[4000, 1, 1, 1, 500], &[0]] {
            check(&arena, &of(lengths));
        }
    }
}

/// More than is sorted at once, and of lengths that are not told apart by counting.
#[test]
fn large_batches_and_long_messages() {
    let arena = arena(40_000);
    let length = |index: usize| match index % 500 {
        0 => 8_000 + index,
        1 => 64 * RATE - 1 + index % 3,
        _ => (index * 97) % 600,
    };
    let ranges: Vec<Range<usize>> = (0..5_000).map(|index| index..index + length(index)).collect();
    check(&arena, &ranges);
    let long: Vec<Range<usize>> = (0..30).map(|index| index..index + 9_000 + 700 * (index % 7)).collect();
    check(&arena, &long);
}

#[test]
fn random_batches() {
    let arena = arena(20_000);
    let size = prop_oneof![
        4 => 0..137_usize,
        2 => 500..560_usize,
        2 => 0..1_200_usize,
        1 => 0..12_000_usize,
    ];
    let batches = vec((any::<Index>(), size), 0..300).prop_map(|messages| {
        let place = |(start, length): (Index, usize)| {
            let start = start.index(20_000 - length);
            start..start + length
        };
        messages.into_iter().map(place).collect::<Vec<_>>()
    });
    let hashers = hashers();
    let check = |ranges: Vec<Range<usize>>| {
        let expected: Vec<B256> = ranges.iter().map(|range| oracle(&arena[range.clone()])).collect();
        for hasher in &hashers {
            let mut digests = vec![B256::ZERO; ranges.len()];
            hasher.hash_batch(&arena, &ranges, &mut digests);
            prop_assert_eq!(&digests, &expected, "{}", hasher.cpu_kind());
        }
        Ok(())
    };
    TestRunner::new(seeded(100)).run(&batches, check).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn free_functions_are_those_of_the_fastest_way() {
    let arena = arena(1_000);
    let ranges = [0..1_000, 500..500, 3..9];
    let expected: Vec<B256> = ranges.iter().map(|range| oracle(&arena[range.clone()])).collect();
    assert_eq!(hash_batch(&arena, &ranges), expected);
    assert_eq!(keccak256(&arena), expected[0]);
    assert_eq!(CpuKind::available().last(), Some(Hasher::cpu().cpu_kind()));
    assert_eq!("avx512".parse(), Ok(CpuKind::Avx512));
    assert!("avx1024".parse::<CpuKind>().is_err());
}

#[test]
#[should_panic(expected = "as many digests as messages")]
fn too_few_digests_are_refused() {
    Hasher::cpu().hash_each(&[b"one", b"two"], &mut [B256::ZERO]);
}

#[test]
#[should_panic(expected = "range")]
fn a_range_outside_the_arena_is_refused() {
    let _ = hash_batch(&[0; 10], &[0..3, 4..11, 0..2]);
}
