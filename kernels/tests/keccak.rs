//! Every kernel against `sha3`, which shares no code with them.

mod common;
#[path = "../../topology/tests/common/seeded.rs"]
mod seeded;

use citius_kernels::{RATE, block_count, generic};
use common::{Kernel, kernels, oracle};
use proptest::{
    collection::vec,
    prelude::{Strategy, any},
    prop_assert_eq,
    sample::Index,
    test_runner::TestRunner,
};
use seeded::seeded;
use std::ops::{Range, RangeInclusive};

/// As long as two full branches of the state trie, and a bit.
const LENGTHS: RangeInclusive<usize> = 0..=1200;

/// Bytes that repeat at no distance that matters here.
fn bytes(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        // xorshift64 (Marsaglia, "Xorshift RNGs", 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..count).map(|_| next()).collect()
}

fn check(kernel: &Kernel, messages: &[&[u8]]) {
    let digests = (kernel.hash)(messages);
    for (lane, (digest, message)) in digests.iter().zip(messages).enumerate() {
        let lengths: Vec<usize> = messages.iter().map(|message| message.len()).collect();
        assert_eq!(*digest, oracle(message), "{}, lane {lane} of lengths {lengths:?}", kernel.name);
    }
    assert_eq!(digests.len(), messages.len());
}

#[test]
fn known_digests() {
    let cases: [(&[u8], &str); 3] = [
        (b"", "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"),
        (b"abc", "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45"),
        (b"\x80", "56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421"),
    ];
    for kernel in kernels() {
        for (message, digest) in cases {
            let shown: String = (kernel.hash)(&vec![message; kernel.lanes])[0]
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            assert_eq!(shown, digest, "{}: {message:?}", kernel.name);
        }
    }
}

#[test]
fn messages_of_one_length() {
    let arena = bytes(2 * LENGTHS.end());
    let around_blocks = (8..64).flat_map(|blocks| blocks * RATE - 2..=blocks * RATE + 2);
    let arena_of_long = bytes(64 * RATE + 100);
    for kernel in kernels() {
        for length in LENGTHS {
            let messages: Vec<&[u8]> = (0..kernel.lanes).map(|lane| &arena[37 * lane..][..length]).collect();
            check(&kernel, &messages);
        }
        for length in around_blocks.clone() {
            let messages: Vec<&[u8]> =
                (0..kernel.lanes).map(|lane| &arena_of_long[3 * lane..][..length]).collect();
            check(&kernel, &messages);
        }
    }
}

/// Each length at each place of a group, among shorter and longer ones.
#[test]
fn each_length_in_each_lane() {
    let arena = bytes(3 * LENGTHS.end());
    for kernel in kernels().into_iter().filter(|kernel| kernel.lanes > 1) {
        for length in LENGTHS {
            for lane in 0..kernel.lanes {
                let others = (0..kernel.lanes).map(|other| (length * 7 + other * 331) % (LENGTHS.end() + 1));
                let mut messages: Vec<&[u8]> =
                    others.enumerate().map(|(other, length)| &arena[53 * other..][..length]).collect();
                messages[lane] = &arena[length..][..length];
                check(&kernel, &messages);
            }
        }
    }
}

/// One long message among empty ones and the other way round: each digest is taken at its own last block.
#[test]
fn a_digest_is_taken_at_the_last_block_of_its_message() {
    let arena = bytes(40 * RATE);
    for kernel in kernels() {
        for lane in 0..kernel.lanes {
            for long in [1, RATE - 1, RATE, 4 * RATE, 40 * RATE] {
                let mut messages: Vec<&[u8]> = vec![&[]; kernel.lanes];
                messages[lane] = &arena[..long];
                check(&kernel, &messages);
                let mut messages: Vec<&[u8]> = vec![&arena[..long]; kernel.lanes];
                messages[lane] = &[];
                check(&kernel, &messages);
            }
        }
    }
}

#[test]
fn random_groups() {
    let arena = bytes(5000);
    let message = (any::<Index>(), 0..2000_usize);
    for kernel in kernels() {
        let groups = vec(message.clone(), kernel.lanes..=kernel.lanes);
        let groups = groups.prop_map(|group| {
            let place = |(start, length): (Index, usize)| {
                let start = start.index(arena.len() - length);
                start..start + length
            };
            group.into_iter().map(place).collect::<Vec<_>>()
        });
        let check = |group: Vec<Range<usize>>| {
            let messages: Vec<&[u8]> = group.into_iter().map(|range| &arena[range]).collect();
            let expected: Vec<[u8; 32]> = messages.iter().map(|message| oracle(message)).collect();
            prop_assert_eq!((kernel.hash)(&messages), expected, "{}", kernel.name);
            Ok(())
        };
        TestRunner::new(seeded(500)).run(&groups, check).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn blocks_are_counted_with_the_padding() {
    let counted = [0, 1, RATE - 1, RATE, 2 * RATE - 1, 2 * RATE].map(block_count);
    assert_eq!(counted, [1, 1, 1, 2, 2, 3]);
    assert_eq!(generic::keccak256(b"abc"), oracle(b"abc"));
}
