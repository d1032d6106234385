//! Roots of lists against `alloy-trie` and the Yellow Paper's definition.

use crate::naive;
use alloy_trie::root::ordered_trie_root_with_encoder;
use citius_hashing::Hasher;
use citius_state::trie::index_root;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const SEED: u64 = 1;

fn alloy_root(items: &[Vec<u8>]) -> alloy_primitives::B256 {
    ordered_trie_root_with_encoder(items, |item, out| out.extend_from_slice(item))
}

fn item(random: &mut ChaCha8Rng) -> Vec<u8> {
    let len = match random.random_range(0..20) {
        0..5 => random.random_range(1..4),
        5..12 => random.random_range(1..60),
        12..18 => random.random_range(100..700),
        18 => random.random_range(700..5_000),
        _ => random.random_range(60_000..70_000),
    };
    (0..len).map(|_| random.random()).collect()
}

#[test]
fn roots_of_lists_are_those_of_alloy_trie() {
    let seed = std::env::var("CITIUS_SEED").map_or(SEED, |seed| seed.parse().unwrap());
    println!("seed {seed}; replay: CITIUS_SEED={seed} cargo test -p citius-state --test trie lists");
    let hasher = Hasher::cpu();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let items: Vec<Vec<u8>> = (0..=300).map(|_| item(&mut random)).collect();
    for count in 0..=300 {
        assert_eq!(index_root(&items[..count], &hasher), alloy_root(&items[..count]), "{count} items");
    }
}

#[test]
fn roots_of_long_lists_are_those_of_alloy_trie() {
    // Where keys become longer by a byte, and where nodes are short enough to stand in their parents.
    let hasher = Hasher::cpu();
    for count in [0x7f, 0x80, 0x81, 0xff, 0x100, 0x101, 0xffff, 0x1_0000, 0x1_0001, 0x1_0123] {
        let items: Vec<Vec<u8>> = (0..count).map(|at: u32| at.to_be_bytes()[2..].to_vec()).collect();
        assert_eq!(index_root(&items, &hasher), alloy_root(&items), "{count} items");
    }
}

#[test]
fn a_list_is_a_trie_over_the_rlp_of_positions() {
    let hasher = Hasher::cpu();
    for count in 0..140_usize {
        let items: Vec<Vec<u8>> = (0..count).map(|at| vec![at as u8 + 1; at % 50 + 1]).collect();
        let map = items.iter().enumerate().map(|(at, item)| (alloy_rlp::encode(at), item.clone()));
        assert_eq!(index_root(&items, &hasher), naive::root(&map.collect()), "{count} items");
    }
}

#[test]
fn an_item_may_be_longer_than_three_bytes_count() {
    let hasher = Hasher::cpu();
    let items = [vec![7; 0x100_0000], vec![8; 3]];
    assert_eq!(index_root(&items, &hasher), alloy_root(&items));
}
