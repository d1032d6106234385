//! Keys whose hashes share many nibbles, found by trying the numbers below 2^24.
//!
//! Random keys meet in the upper levels only. With these a trie gets long extensions, and, where values are small, leaves
//! and branches that stand in their parents whole.

use alloy_primitives::{Address, B256, U256, keccak256};

/// Slots of which the two of each share the first 10 nibbles.
const SLOT_PAIRS: [[u32; 2]; 8] = [
    [7_083_008, 10_214_695],
    [6_689_885, 15_535_082],
    [1_584_033, 12_704_547],
    [16_673_110, 8_325_313],
    [16_521_125, 3_540_224],
    [16_369_636, 1_054_555],
    [15_966_222, 8_551_833],
    [15_758_041, 942_056],
];
/// Slots of which the three of each share the first 8.
const SLOT_TRIPLES: [[u32; 3]; 8] = [
    [16_504_394, 43_787, 6_765_711],
    [16_479_944, 5_014_749, 10_774_352],
    [16_247_290, 14_953_112, 14_354_688],
    [15_810_543, 14_043_967, 7_305_214],
    [15_336_790, 3_089_493, 4_736_316],
    [15_159_741, 12_956_625, 12_481_551],
    [14_878_743, 15_101_991, 9_450_123],
    [14_560_607, 14_719_185, 6_053_433],
];
/// As above, of addresses.
const ADDRESS_PAIRS: [[u32; 2]; 8] = [
    [14_572_191, 15_682_736],
    [12_955_371, 5_849_348],
    [10_637_901, 15_277_937],
    [8_289_158, 14_608_451],
    [16_725_430, 4_756_424],
    [16_581_040, 14_353_261],
    [16_518_025, 1_450_291],
    [16_485_862, 8_425_267],
];
const ADDRESS_TRIPLES: [[u32; 3]; 4] = [
    [16_364_203, 13_054_994, 10_743_122],
    [16_137_520, 2_845_996, 1_608_151],
    [15_429_082, 15_163_541, 7_929_485],
    [15_257_209, 8_859_038, 11_742_284],
];

/// Slots by pairs and triples whose hashes have a long beginning in common.
pub(crate) fn deep_slots() -> Vec<U256> {
    SLOT_PAIRS.concat().into_iter().chain(SLOT_TRIPLES.concat()).map(U256::from).collect()
}

/// Addresses, likewise.
pub(crate) fn deep_addresses() -> Vec<Address> {
    ADDRESS_PAIRS.concat().into_iter().chain(ADDRESS_TRIPLES.concat()).map(address).collect()
}

/// Addresses from a number on whose hashes begin with a byte: those of one shard.
pub(crate) fn addresses_in_shard(shard: u8, from: u32) -> impl Iterator<Item = Address> {
    (from..).map(address).filter(move |address| keccak256(address)[0] == shard)
}

/// Slots from a number on whose hashes begin with a byte.
pub(crate) fn slots_in_shard(shard: u8, from: u32) -> impl Iterator<Item = U256> {
    (from..).map(U256::from).filter(move |slot| keccak256(B256::from(*slot))[0] == shard)
}

/// An address by a number.
pub(crate) fn address(number: u32) -> Address {
    Address::left_padding_from(&number.to_be_bytes())
}

fn shared_nibbles(hashes: &[B256]) -> usize {
    let nibble = |hash: &B256, at: usize| hash[at / 2] >> (4 * (1 - at % 2)) & 0xf;
    (0..64).take_while(|at| hashes.iter().all(|hash| nibble(hash, *at) == nibble(&hashes[0], *at))).count()
}

#[test]
fn ground_keys_share_what_they_are_said_to_share() {
    let check = |least: usize, numbers: &[u32], hash: &dyn Fn(u32) -> B256| {
        let hashes: Vec<B256> = numbers.iter().map(|number| hash(*number)).collect();
        assert!(shared_nibbles(&hashes) >= least, "{numbers:?}: {hashes:?}");
    };
    let slot = |number: u32| keccak256(B256::from(U256::from(number)));
    let account = |number: u32| keccak256(address(number));
    SLOT_PAIRS.iter().for_each(|numbers| check(10, numbers, &slot));
    SLOT_TRIPLES.iter().for_each(|numbers| check(8, numbers, &slot));
    ADDRESS_PAIRS.iter().for_each(|numbers| check(10, numbers, &account));
    ADDRESS_TRIPLES.iter().for_each(|numbers| check(8, numbers, &account));
    assert!(addresses_in_shard(0x5a, 0).take(3).all(|address| keccak256(address)[0] == 0x5a));
    assert_eq!(slots_in_shard(0x5a, 7).take(3).filter(|slot| *slot >= U256::from(7)).count(), 3);
}
