//! Tries on pages beside plain maps.

use super::{
    error::{ColdError, PageDamage},
    items::Lookup,
    leaves::SlotUpdate,
    page::{PAGE_BYTES, Page, PageNumber},
    record::{Slot, Tree},
    tree::{Leaf, Pages, Updater, Written},
    verify::{Verified, Verifier, Verify},
    walk::lookup,
};
use crate::trie::Trie;
use alloy_primitives::{B256, U256, keccak256};
use citius_hashing::Hasher;
use rand::{Rng, SeedableRng, rngs::SmallRng, seq::IteratorRandom};
use std::collections::{BTreeMap, HashSet};

/// Pages in memory, as bytes: every read checks them.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pages: BTreeMap<PageNumber, Box<[u8; PAGE_BYTES]>>,
    next: u64,
    reads: u64,
}

impl Pages for Memory {
    fn read(&mut self, numbers: &[PageNumber]) -> Result<Vec<Page>, ColdError> {
        self.reads += numbers.len() as u64;
        let open = |number: &PageNumber| {
            let Some(bytes) = self.pages.get(number) else {
                return Err(ColdError::Damaged { number: *number, damage: PageDamage::Magic });
            };
            Page::open(bytes.clone(), *number)
                .map_err(|damage| ColdError::Damaged { number: *number, damage })
        };
        numbers.iter().map(open).collect()
    }

    fn write(&mut self, mut page: Page) -> Result<PageNumber, ColdError> {
        self.next += 1;
        let number = PageNumber(self.next);
        self.pages.insert(number, Box::new(*page.seal(number, 1)));
        Ok(number)
    }

    fn free(&mut self, number: PageNumber) {
        assert!(self.pages.remove(&number).is_some(), "{number} is freed twice, or was never written");
    }
}

/// A key's record in a trie.
fn find<L: Leaf>(pages: &mut Memory, tree: &Tree, key: &B256) -> Result<Option<L>, ColdError> {
    let mut number = tree.page;
    loop {
        let page = pages.read(&[number])?.remove(0);
        match lookup(&page, number, key)? {
            Lookup::Record(record) => return Ok(Some(record)),
            Lookup::Absent => return Ok(None),
            Lookup::Page(below) => number = below,
        }
    }
}

/// Whatever a trie must be: gives its records, and the pages that it has.
fn check_tree<L: Verify>(pages: &mut Memory, tree: &Tree) -> (Vec<L>, HashSet<PageNumber>) {
    let mut progress = |_: &Verified| ();
    let mut verifier = Verifier {
        pages,
        hasher: &Hasher::cpu(),
        met: HashSet::new(),
        found: Verified::default(),
        progress: &mut progress,
    };
    let mut all = Vec::new();
    verifier.tree(tree, &mut |record: &L| all.push(record.clone())).unwrap();
    (all, verifier.met)
}

fn slots_root(slots: &BTreeMap<B256, U256>) -> B256 {
    let values: Vec<(B256, Vec<u8>)> =
        slots.iter().map(|(key, value)| (*key, alloy_rlp::encode(value))).collect();
    root_of(&values)
}

fn root_of(leaves: &[(B256, Vec<u8>)]) -> B256 {
    let mut trie = Trie::new();
    let writes: Vec<_> = leaves.iter().map(|(key, value)| (&key[..], Some(&value[..]))).collect();
    trie.write(&writes).unwrap();
    trie.root(&Hasher::cpu())
}

/// Keys that lie close together as well as keys anywhere.
fn random_key(random: &mut SmallRng, spread: u32) -> B256 {
    let mut key = keccak256(random.random_range(0..spread).to_be_bytes());
    if random.random_range(0..3) == 0 {
        let near = keccak256(random.random_range(0..4_u8).to_be_bytes());
        let shared = random.random_range(0..31);
        key[..shared].copy_from_slice(&near[..shared]);
    }
    key
}

fn random_value(random: &mut SmallRng) -> U256 {
    U256::from_be_bytes::<32>(random.random()) >> random.random_range(0..256)
}

fn slots_sequence(seed: u64) -> usize {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut pages = Memory::default();
    let mut tree = None;
    let mut expected: BTreeMap<B256, U256> = BTreeMap::new();
    let spread = *[50, 2_000, 100_000].iter().choose(&mut random).unwrap();
    let mut most_pages = 0;
    for round in 0..random.random_range(1..12) {
        let mut updates: BTreeMap<B256, U256> = BTreeMap::new();
        let most = *[3, 100, 3_000].iter().choose(&mut random).unwrap();
        let keeps = random.random_range(0..10);
        for _ in 0..random.random_range(1..most) {
            let key = match expected.iter().choose(&mut random).filter(|_| most < 1_000 && random.random()) {
                Some((key, _)) => *key,
                None => random_key(&mut random, spread),
            };
            let is_kept = random.random_range(0..10) < keeps;
            updates.insert(key, if is_kept { random_value(&mut random) } else { U256::ZERO });
        }
        if random.random_range(0..12) == 0 {
            updates = expected.keys().map(|key| (*key, U256::ZERO)).collect();
        }
        for (key, value) in &updates {
            if value.is_zero() {
                expected.remove(key);
            } else {
                expected.insert(*key, *value);
            }
        }
        let changes = updates.iter().map(|(key, value)| SlotUpdate { key: *key, value: *value }).collect();
        let mut updater = Updater { pages: &mut pages, hasher: &Hasher::cpu() };
        tree = match updater.update::<Slot>(tree, changes, 0).unwrap() {
            Written::Tree(tree) => Some(tree),
            Written::Few(slots) => {
                assert!(slots.is_empty());
                None
            }
        };
        let what = format!("seed {seed}, round {round}");
        let mut pages_of = 0;
        if let Some(tree) = &tree {
            assert_eq!(tree.root, slots_root(&expected), "{what}");
            let (mut found, met): (Vec<Slot>, _) = check_tree(&mut pages, tree);
            found.sort_unstable_by_key(|slot| slot.key);
            pages_of = met.len();
            most_pages = most_pages.max(pages_of);
            assert!(found.iter().map(|slot| (&slot.key, &slot.value)).eq(&expected), "{what}");
            for (key, value) in expected.iter().choose_multiple(&mut random, 20) {
                let slot: Option<Slot> = find(&mut pages, tree, key).unwrap();
                assert_eq!(slot.unwrap().value, *value, "{what}");
                let mut other = *key;
                other[random.random_range(0..32)] ^= 1 << random.random_range(0..8);
                let slot: Option<Slot> = find(&mut pages, tree, &other).unwrap();
                assert_eq!(slot.map(|slot| slot.value), expected.get(&other).copied(), "{what}");
            }
        }
        assert!(tree.is_some() || expected.is_empty(), "{what}");
        assert_eq!(pages_of, pages.pages.len(), "{what}: pages leak");
    }
    most_pages
}

#[test]
fn tries_of_slots_on_pages_are_those_of_plain_maps() {
    let most_pages = (0..150).map(slots_sequence).max();
    assert!(most_pages >= Some(80), "{most_pages:?}");
}
