//! Sweeps beside the [`Updater`], on keys that share prefixes of all lengths, and values short enough to be inlined.

use super::*;
use crate::trie::{
    arena::Arena,
    log::Log,
    plain::{Trie, root_hash},
    walk::{self, Found},
};
use alloy_primitives::{B256, keccak256};
use citius_hashing::Hasher;
use rand::{Rng, RngCore, SeedableRng, rngs::SmallRng, seq::IndexedRandom};
use std::{collections::BTreeMap, mem::take};

const TRIES: usize = 5;
const ARENAS: usize = 2;

type Map = BTreeMap<B256, Vec<u8>>;

/// Writes to all tries of a round, those of each sorted.
struct Round(Vec<(B256, Option<Vec<u8>>)>);

impl Writes for Round {
    fn key(&self, write: u32) -> &B256 {
        &self.0[write as usize].0
    }

    fn value_len(&self, write: u32) -> Option<usize> {
        self.0[write as usize].1.as_ref().map(Vec::len)
    }
}

impl Values for Round {
    type Value = Vec<u8>;

    fn key(&self, write: u32) -> &B256 {
        &self.0[write as usize].0
    }

    fn value(&self, write: u32) -> (Vec<u8>, Option<StorageRef>) {
        (self.0[write as usize].1.clone().unwrap(), None)
    }
}

#[derive(Default)]
struct Forest(Vec<(Arena, Log)>);

impl Arenas for Forest {
    fn arena(&self, number: u16) -> &Arena {
        &self.0[usize::from(number)].0
    }

    fn parts(&mut self, number: u16) -> (&mut Arena, &mut Log) {
        let (arena, log) = &mut self.0[usize::from(number)];
        (arena, log)
    }
}

/// How many tries were written in each way.
#[derive(Debug, Default)]
struct Ways {
    swept: usize,
    grown: usize,
    left: usize,
}

/// Asserts that every node below a child has the hash that its parent has for it, and none is fresh; the memory that they
/// take.
fn check(arena: &Arena, child: &Child) -> usize {
    assert!(!child.node.is_fresh());
    if child.is_empty() {
        return 0;
    }
    let bytes = arena.bytes(child.node);
    match child.hash() {
        Some(hash) => assert_eq!(B256::from(hash), keccak256(node::rlp_of(bytes))),
        None => assert_eq!(child.item(), node::rlp_of(bytes)),
    }
    let below = match node::kind(bytes) {
        Kind::Leaf | Kind::Account => 0,
        Kind::Extension => check(arena, &node::extension(bytes).1),
        Kind::Branch => (0..16).map(|nibble| check(arena, &node::child(bytes, nibble))).sum(),
    };
    below + node::bytes_of(bytes).next_multiple_of(8)
}

fn check_values(arena: &Arena, root: &Child, map: &Map) {
    let _ = check(arena, root);
    for (key, value) in map {
        let found = walk::find(arena, *root, 0, &key[..], |_| ()).unwrap();
        assert!(matches!(found, Found::Value { value: found, .. } if found == value), "{key}: {found:?}");
    }
}

fn key(random: &mut SmallRng, map: &Map, is_odd: bool) -> B256 {
    if random.random_bool(0.3) {
        return B256::from(random.random::<[u8; 32]>());
    }
    let few = if is_odd && random.random_bool(0.7) { 4 } else { usize::MAX };
    let known = map.keys().nth(random.random_range(0..map.len().clamp(1, few)));
    let mut key = known.copied().unwrap_or(B256::repeat_byte(7));
    match random.random_range(0..4) {
        // That of a leaf.
        _ if !is_odd => {}
        0 => {}
        // One that shares a beginning, short or long, with a leaf.
        1 => key[random.random_range(0..4)] ^= 1 << random.random_range(0..8),
        // One that parts from others at the same nibble, so that there are branches of many leaves deep down.
        _ => {
            let nibble: usize = *[9, 40, 57, 61, 63].choose(random).unwrap();
            let digit = random.random_range(0..16_u8);
            let byte = &mut key[nibble / 2];
            *byte = if nibble.is_multiple_of(2) { *byte & 0xf | digit << 4 } else { *byte & 0xf0 | digit };
        }
    }
    key
}

fn value(random: &mut SmallRng, is_odd: bool) -> Option<Vec<u8>> {
    let len = match random.random_range(0..30) {
        0 => return None,
        1..9 if is_odd => return None,
        9..15 => 1,
        15 => 300,
        _ => random.random_range(1..40),
    };
    let mut value = vec![0; len];
    random.fill_bytes(&mut value);
    Some(value)
}

/// Writes by sweeps what can be, the rest by itself, as a seal does. Leaves added less leaves removed, by trie.
fn write(
    forest: &mut Forest,
    roots: &mut [Child],
    round: &Round,
    ranges: &[Range<u32>],
    ways: &mut Ways,
) -> [i64; TRIES] {
    let mut leaves = [0; TRIES];
    let (mut sweep, mut levels) = (Sweep::default(), Levels::default());
    let target = |number: usize, root: NodeRef| Target {
        root,
        arena: (number % ARENAS) as u16,
        number: number as u32,
        writes: ranges[number].clone(),
    };
    let is_swept =
        |number: usize, root: &Child| root.node.is_stored() && root.is_hashed() && !ranges[number].is_empty();
    let targets: Vec<Target> = (0..TRIES)
        .filter(|number| is_swept(*number, &roots[*number]))
        .map(|number| target(number, roots[number].node))
        .collect();
    sweep.descend(&targets, 0, round, forest, &mut levels);
    for (number, target) in targets.iter().enumerate().filter(|(number, _)| !sweep.is_left(*number)) {
        for write in target.writes.clone() {
            let leaf = sweep.found(write);
            let arena = forest.arena(target.arena);
            let known =
                walk::find(arena, roots[target.number as usize], 0, &round.0[write as usize].0[..], |_| ());
            match known.unwrap() {
                Found::Absent => assert_eq!(leaf, NodeRef::EMPTY, "{number}"),
                Found::Value { value, .. } => assert_eq!(node::leaf(arena.bytes(leaf)).1, value),
            }
        }
    }
    sweep.apply(&targets, round, forest, &mut levels);
    for (number, root) in roots.iter_mut().enumerate() {
        let swept = targets.iter().position(|target| target.number as usize == number);
        if let Some(swept) = swept.filter(|target| !sweep.is_left(*target)) {
            ways.swept += 1;
            leaves[number] += sweep.leaves_added(swept);
            continue;
        }
        let writes = &round.0[ranges[number].start as usize..ranges[number].end as usize];
        if root.is_empty() && !writes.is_empty() && writes.iter().all(|(_, value)| value.is_some()) {
            ways.grown += 1;
            leaves[number] += writes.len() as i64;
            grow(&target(number, NodeRef::EMPTY), 0, round, forest, &mut levels);
            continue;
        }
        ways.left += usize::from(!writes.is_empty());
        let writes: Vec<Write<'_>> = writes
            .iter()
            .map(|(key, value)| Write { key: &key[..], value: value.as_deref(), storage: None })
            .collect();
        let (arena, log) = forest.parts((number % ARENAS) as u16);
        let mut updater = Updater::new(arena, log);
        *root = updater.update(*root, 0, &writes).unwrap();
        leaves[number] += updater.leaves_added();
        levels.collect(arena, (number % ARENAS) as u16, root, number as u32);
    }
    levels.hash(forest, roots, 0, &Hasher::cpu());
    leaves
}

#[test]
fn sweeps_make_what_the_updater_makes() {
    for seed in 0..4 {
        println!("seed {seed}");
        hold_beside_the_updater(seed, 300);
    }
}

fn hold_beside_the_updater(seed: u64, rounds: usize) {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut ways = Ways::default();
    let mut plain: Vec<Trie> = (0..TRIES).map(|_| Trie::new()).collect();
    let mut maps: Vec<Map> = vec![Map::new(); TRIES];
    let mut forest = Forest((0..ARENAS).map(|_| Default::default()).collect());
    let mut roots = [Child::EMPTY; TRIES];
    for number in 0..rounds {
        let mut round = Round(Vec::new());
        let mut ranges = Vec::new();
        for map in &maps {
            let most = *[200, 12, 12, 12, 4, 4, 4, 4].choose(&mut random).unwrap();
            let (is_wiped, is_odd) = (random.random_bool(0.04), random.random_bool(0.3));
            let mut writes: Map = Map::new();
            let mut deleted = Vec::new();
            for _ in 0..random.random_range(0..most) {
                let key = key(&mut random, map, is_odd);
                match value(&mut random, is_odd) {
                    Some(value) => drop(writes.insert(key, value)),
                    None => deleted.push(key),
                }
            }
            let mut all: BTreeMap<B256, Option<Vec<u8>>> =
                writes.into_iter().map(|(key, value)| (key, Some(value))).collect();
            let wiped = map.keys().filter(|_| is_wiped).copied();
            all.extend(deleted.into_iter().chain(wiped).map(|key| (key, None)));
            let first = round.0.len() as u32;
            round.0.extend(all);
            ranges.push(first..round.0.len() as u32);
        }
        let before = roots;
        let leaves = write(&mut forest, &mut roots, &round, &ranges, &mut ways);
        let is_undone = random.random_bool(0.25);
        for (trie, root) in roots.iter().enumerate() {
            let writes = &round.0[ranges[trie].start as usize..ranges[trie].end as usize];
            let map = &mut maps[trie];
            let old = map.clone();
            for (key, value) in writes {
                match value {
                    Some(value) => drop(map.insert(*key, value.clone())),
                    None => drop(map.remove(key)),
                }
            }
            let pairs: Vec<(&[u8], Option<&[u8]>)> =
                writes.iter().map(|(key, value)| (&key[..], value.as_deref())).collect();
            plain[trie].write(&pairs).unwrap();
            assert_eq!(map.len() as i64, old.len() as i64 + leaves[trie]);
            assert_eq!(root_hash(root), plain[trie].root(&Hasher::cpu()), "round {number}, trie {trie}");
            check_values(forest.arena((trie % ARENAS) as u16), root, map);
            if is_undone {
                *map = old;
                plain[trie] = Trie::new();
                let pairs: Vec<(&[u8], Option<&[u8]>)> =
                    map.iter().map(|(key, value)| (&key[..], Some(&value[..]))).collect();
                plain[trie].write(&pairs).unwrap();
            }
        }
        for (arena, log) in &mut forest.0 {
            let mut log = take(log);
            if is_undone {
                // There, back, and there again, before it is given up.
                log.back(arena);
                log.forth(arena);
                log.back(arena);
                log.undo(arena);
            } else {
                log.finish(arena);
            }
        }
        if is_undone {
            roots = before;
            for (trie, root) in roots.iter().enumerate() {
                assert_eq!(root_hash(root), plain[trie].root(&Hasher::cpu()), "round {number} undone");
                check_values(forest.arena((trie % ARENAS) as u16), root, &maps[trie]);
            }
        }
        for (at, (arena, _)) in forest.0.iter().enumerate() {
            let roots = roots.iter().skip(at).step_by(ARENAS);
            let used: usize = roots.map(|root| check(arena, root)).sum();
            assert_eq!(
                arena.live_bytes(),
                used as u64,
                "round {number}: nothing is lost, or given back twice"
            );
        }
    }
    println!("{ways:?}");
    assert!(ways.swept > rounds && ways.grown > rounds / 100 && ways.left > rounds / 4, "{ways:?}");
}

/// Four keys in two pairs, of which the branches are below 32 bytes too.
#[test]
fn small_branches_stand_in_their_parents() {
    for nibble in [9_usize, 40, 57, 61] {
        let base = B256::repeat_byte(7);
        let with = |at: usize, key: &B256| {
            let mut key = *key;
            key[at / 2] ^= if at.is_multiple_of(2) { 0x10 } else { 1 };
            key
        };
        let mut keys = vec![base, with(nibble, &base)];
        keys.extend(keys.clone().iter().map(|key| with(63, key)));
        keys.sort_unstable();
        let mut plain = Trie::new();
        let pairs: Vec<(&[u8], Option<&[u8]>)> = keys.iter().map(|key| (&key[..], Some(&[1][..]))).collect();
        plain.write(&pairs).unwrap();
        let mut forest = Forest((0..ARENAS).map(|_| Default::default()).collect());
        let mut roots = [Child::EMPTY; TRIES];
        let round = Round(keys.iter().map(|key| (*key, Some(vec![1]))).collect());
        write(&mut forest, &mut roots, &round, &[0..4, 4..4, 4..4, 4..4, 4..4], &mut Ways::default());
        assert_eq!(root_hash(&roots[0]), plain.root(&Hasher::cpu()), "nibble {nibble}");
        let _ = check(forest.arena(0), &roots[0]);
    }
}

/// Two keys alike but for one nibble, with values of one byte: at once, and one after the other.
#[test]
fn nodes_below_32_bytes_stand_in_their_parents() {
    let one = B256::repeat_byte(7);
    for nibble in [1_usize, 5, 6, 9, 40, 61, 63] {
        let mut other = one;
        other[nibble / 2] ^= 0x11;
        let mut keys = [one, other];
        keys.sort_unstable();
        let mut plain = Trie::new();
        plain.write(&keys.each_ref().map(|key| (&key[..], Some(&[1][..])))).unwrap();
        for rounds in [vec![vec![0, 1]], vec![vec![0], vec![1]]] {
            let mut forest = Forest((0..ARENAS).map(|_| Default::default()).collect());
            let mut roots = [Child::EMPTY; TRIES];
            for round in rounds {
                let round = Round(round.into_iter().map(|key: usize| (keys[key], Some(vec![1]))).collect());
                let end = round.0.len() as u32;
                let ranges = [0..end, end..end, end..end, end..end, end..end];
                write(&mut forest, &mut roots, &round, &ranges, &mut Ways::default());
            }
            assert_eq!(root_hash(&roots[0]), plain.root(&Hasher::cpu()), "nibble {nibble}");
            let _ = check(forest.arena(0), &roots[0]);
        }
    }
}
