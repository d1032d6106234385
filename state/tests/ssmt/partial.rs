//! Partial states: made of some of the nodes of a whole one, they answer as that does, or not at all.

use crate::{
    model::{Threads, World, state_root},
    nodes::{Nodes, built},
    random::{SEED, number},
};
use alloy_primitives::{Address, B256, Bytes, U256, keccak256, map::B256Set};
use alloy_rlp::Decodable;
use alloy_trie::{TrieAccount, nodes::TrieNode};
use citius_hashing::Hasher;
use citius_state::{
    CallerAlone, MemoryState, StateReader,
    ssmt::{Ssmt, SsmtConfig, SsmtError},
};
use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use std::{collections::BTreeSet, sync::Arc};

fn config(random: &mut ChaCha8Rng) -> SsmtConfig {
    let large_storage_from = *[1, 8, 50, 4096].choose(random).unwrap();
    SsmtConfig { large_storage_from, ..SsmtConfig::default() }
}

fn import<N: AsRef<[u8]>>(
    root: B256,
    nodes: &[N],
    hints: &B256Set,
    config: &SsmtConfig,
) -> Result<Ssmt, SsmtError> {
    Ssmt::from_witness(root, nodes, hints, config.clone(), Arc::new(Hasher::cpu()), Arc::new(Threads(2)))
}

/// A state of some blocks.
pub(crate) fn some_state(world: &World, random: &mut ChaCha8Rng, blocks: usize) -> MemoryState {
    let mut state = MemoryState::complete();
    for _ in 0..blocks {
        state.apply(&world.changes(random, &state));
    }
    state
}

/// A few keys of a world.
pub(crate) fn some_keys(
    world: &World,
    random: &mut ChaCha8Rng,
) -> (BTreeSet<Address>, BTreeSet<(Address, U256)>) {
    let accounts = random.random_range(0..=world.addresses.len().min(10));
    let accounts: BTreeSet<Address> =
        (0..accounts).map(|_| *world.addresses.choose(random).unwrap()).collect();
    let mut slots = BTreeSet::new();
    for address in &accounts {
        for _ in 0..random.random_range(0..4) {
            slots.insert((*address, *world.slots.choose(random).unwrap()));
        }
    }
    (accounts, slots)
}

/// Reads what was to be known and what perhaps is: answers are right, and of the first there are answers.
fn check_reads(
    trie: &Ssmt,
    state: &MemoryState,
    world: &World,
    known: (&BTreeSet<Address>, &BTreeSet<(Address, U256)>),
    what: &str,
) {
    let head = trie.head();
    for address in &world.addresses {
        let expected = state.account(*address).unwrap();
        match trie.account(head, *address) {
            Ok(found) => assert_eq!(found.map(|found| found.0), expected, "{what}"),
            Err(SsmtError::Blinded { .. }) => assert!(!known.0.contains(address), "{what}: {address}"),
            Err(error) => panic!("{what}: {error}"),
        }
        for slot in world.slots.iter().take(50) {
            let expected =
                if expected.is_some() { state.storage(*address, *slot).unwrap() } else { U256::ZERO };
            match trie.storage(head, *address, *slot) {
                Ok(found) => assert_eq!(found, expected, "{what}"),
                Err(SsmtError::Blinded { .. }) => assert!(!known.1.contains(&(*address, *slot)), "{what}"),
                Err(error) => panic!("{what}: {error}"),
            }
        }
    }
}

fn sequence(seed: u64) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let what = format!("CITIUS_SEED={seed} CITIUS_CASES=1");
    let world = World::random(&mut random);
    let config = config(&mut random);
    let blocks = random.random_range(0..6);
    let state = some_state(&world, &mut random, blocks);
    let nodes = Nodes::of(&state);
    let root = state_root(&state);
    let (accounts, slots) = some_keys(&world, &mut random);
    let mut given: BTreeSet<Bytes> =
        nodes.ways(accounts.clone(), slots.clone()).into_iter().cloned().collect();
    if random.random_ratio(1, 8) {
        given.extend(nodes.all().cloned());
    }
    let mut hints = B256Set::default();
    let list = |given: &BTreeSet<Bytes>| given.iter().cloned().collect::<Vec<_>>();
    let is_missing = given.is_empty() && root != alloy_trie::EMPTY_ROOT_HASH;
    match import(root, &list(&given), &hints, &config) {
        Ok(trie) => {
            assert!(!is_missing, "{what}");
            assert_eq!(trie.root(trie.head()).unwrap(), root, "{what}");
            check_reads(&trie, &state, &world, (&accounts, &slots), &what);
        }
        Err(error) => {
            assert!(is_missing, "{what}: {error}");
            assert_eq!(error, SsmtError::RootMissing { root, nodes: 0 });
            given.extend(nodes.at(citius_state::ssmt::TrieName::Accounts, &[]).cloned());
        }
    }
    // A block on top: each node that it misses is named, and with all of them given it has the right root.
    let changes = Arc::new(world.changes(&mut random, &state));
    let mut after = state.clone();
    after.apply(&changes);
    let mut missed = 0;
    let trie = loop {
        let trie = import(root, &list(&given), &hints, &config).unwrap();
        let parent = trie.head();
        match trie.seal(parent, &changes) {
            Ok(sealed) => {
                assert_eq!(sealed.root, state_root(&after), "{what}");
                trie.set_head(sealed.version).unwrap();
                break trie;
            }
            Err(SsmtError::Blinded { trie: name, path }) => {
                assert_eq!(trie.root(parent).unwrap(), root, "{what}: nothing is left of a seal that failed");
                let node =
                    nodes.at(name, &path).unwrap_or_else(|| panic!("{what}: {name} has nothing at {path:?}"));
                let is_branch =
                    TrieNode::decode(&mut &node[..]).is_ok_and(|node| matches!(node, TrieNode::Branch(_)));
                let is_new = if is_branch && random.random_bool(0.5) && hints.insert(keccak256(node)) {
                    true
                } else {
                    given.insert(node.clone())
                };
                assert!(is_new, "{what}: {path:?} of {name} was given");
                missed += 1;
            }
            Err(error) => panic!("{what}: {error}"),
        }
        assert!(missed < 10_000, "{what}");
    };
    let none = (&BTreeSet::new(), &BTreeSet::new());
    check_reads(&trie, &after, &world, none, &what);
    // And one more, on what the first left.
    let changes = Arc::new(world.changes(&mut random, &after));
    after.apply(&changes);
    match trie.seal(trie.head(), &changes) {
        Ok(sealed) => assert_eq!(sealed.root, state_root(&after), "{what}"),
        Err(error) => assert!(matches!(error, SsmtError::Blinded { .. }), "{what}: {error}"),
    }
}

#[test]
fn partial_states_answer_as_the_whole_or_name_what_they_miss() {
    let seed = number("CITIUS_SEED").unwrap_or(SEED);
    let is_long = std::env::var_os("CITIUS_LONG").is_some();
    let cases = number("CITIUS_CASES").unwrap_or(if is_long { 20_000 } else { 400 });
    for seed in seed..seed + cases {
        sequence(seed);
    }
    println!("{cases} partial states from seed {seed}");
}

/// Changes a node, and the hashes of it in all others, up to the root: what comes out is well linked, but for a node
/// that was put below itself.
fn replace(nodes: &mut [Vec<u8>], at: usize, with: Vec<u8>, root: &mut B256) {
    let mut changed = vec![(keccak256(&nodes[at]), keccak256(&with))];
    nodes[at] = with;
    for _ in 0..200 {
        let Some((old, new)) = changed.pop() else { return };
        if old == *root {
            *root = new;
        }
        for node in nodes.iter_mut() {
            // Hashes stand behind their header.
            let is_old = |at: &usize| node[*at] == 0xa0 && node[at + 1..at + 33] == old[..];
            let places: Vec<usize> = (0..node.len().saturating_sub(32)).filter(is_old).collect();
            if !places.is_empty() {
                let before = keccak256(&*node);
                for place in places {
                    node[place + 1..place + 33].copy_from_slice(new.as_slice());
                }
                changed.push((before, keccak256(&*node)));
            }
        }
    }
}

fn mutated(random: &mut ChaCha8Rng, nodes: &[Vec<u8>], at: usize) -> Vec<u8> {
    let mut node = nodes[at].clone();
    match random.random_range(0..8) {
        0..3 => {
            let place = random.random_range(0..node.len());
            node[place] = random.random();
        }
        3 => {
            // Where headers and paths are.
            let place = random.random_range(0..node.len().min(6));
            node[place] ^= 1 << random.random_range(0..8);
        }
        4 => node.truncate(random.random_range(0..node.len())),
        5 => node.extend((0..random.random_range(1..40)).map(|_| random.random::<u8>())),
        6 => node.clone_from(nodes.choose(random).unwrap()),
        _ => {
            // Another node's hash in the place of one.
            let hash = keccak256(nodes.choose(random).unwrap());
            let places: Vec<usize> =
                (0..node.len().saturating_sub(32)).filter(|at| node[*at] == 0xa0).collect();
            if let Some(place) = places.choose(random) {
                node[place + 1..place + 33].copy_from_slice(hash.as_slice());
            }
        }
    }
    node
}

fn mutation(seed: u64, refused: &mut u64) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let what = format!("CITIUS_SEED={seed} CITIUS_CASES=1");
    let world = World::random(&mut random);
    let config = config(&mut random);
    let state = some_state(&world, &mut random, 4);
    let mut root = state_root(&state);
    let mut nodes: Vec<Vec<u8>> =
        Nodes::of(&state).all().filter(|node| node.len() > 1).map(|node| node.to_vec()).collect();
    if nodes.is_empty() {
        return;
    }
    for _ in 0..random.random_range(1..3) {
        let at = random.random_range(0..nodes.len());
        if nodes[at].is_empty() {
            continue;
        }
        let with = mutated(&mut random, &nodes, at);
        replace(&mut nodes, at, with, &mut root);
    }
    let trie = match import(root, &nodes, &B256Set::default(), &config) {
        Ok(trie) => trie,
        Err(error) => {
            *refused += 1;
            let is_typed = matches!(error, SsmtError::BadNode { .. } | SsmtError::RootMissing { .. });
            assert!(is_typed, "{what}: {error}");
            return;
        }
    };
    // What was taken is a state: whatever is asked of it, it answers or says what is missing.
    assert_eq!(trie.root(trie.head()).unwrap(), root, "{what}");
    for address in &world.addresses {
        let found = trie.account(trie.head(), *address);
        assert!(matches!(found, Ok(_) | Err(SsmtError::Blinded { .. })), "{what}: {found:?}");
        for slot in world.slots.iter().take(20) {
            let found = trie.storage(trie.head(), *address, *slot);
            assert!(matches!(found, Ok(_) | Err(SsmtError::Blinded { .. })), "{what}: {found:?}");
        }
    }
    for _ in 0..3 {
        let changes = Arc::new(world.changes(&mut random, &state));
        match trie.seal(trie.head(), &changes) {
            Ok(sealed) => trie.set_head(sealed.version).unwrap(),
            Err(error) => assert!(matches!(error, SsmtError::Blinded { .. }), "{what}: {error}"),
        }
    }
}

#[test]
fn nodes_that_are_none_are_refused() {
    let seed = number("CITIUS_SEED").unwrap_or(SEED);
    let is_long = std::env::var_os("CITIUS_LONG").is_some();
    let cases = number("CITIUS_CASES").unwrap_or(if is_long { 50_000 } else { 1000 });
    let mut refused = 0;
    for seed in seed..seed + cases {
        mutation(seed, &mut refused);
    }
    assert!(cases < 100 || refused * 10 > cases, "only {refused} of {cases} mutations were refused");
    println!("{cases} mutations from seed {seed}, {refused} refused");
}

fn list(items: &[Vec<u8>]) -> Vec<u8> {
    let payload = items.concat();
    let mut out = Vec::new();
    alloy_rlp::Header { list: true, payload_length: payload.len() }.encode(&mut out);
    out.extend(payload);
    out
}

#[test]
fn nodes_that_unfold_without_end_are_refused() {
    // 16 times the same child, 60 times below each other.
    let account = alloy_rlp::encode(TrieAccount::default());
    let path = alloy_rlp::encode([0x20, 0x12, 0x34].as_slice());
    let mut nodes = vec![list(&[path, alloy_rlp::encode(account.as_slice())])];
    for _ in 0..60 {
        let hash = alloy_rlp::encode(keccak256(nodes.last().unwrap()));
        let mut items = vec![hash; 16];
        items.push(vec![0x80]);
        nodes.push(list(&items));
    }
    let root = keccak256(nodes.last().unwrap());
    let error = import(root, &nodes, &B256Set::default(), &SsmtConfig::default()).unwrap_err();
    assert!(error.to_string().ends_with("it stands in two places of one trie"), "{error}");

    // 1,500 accounts with one and the same storage of 1,500 slots.
    let key = |number: u64| keccak256(number.to_be_bytes());
    let slots = built(&(0..1500).map(|slot| (key(slot), alloy_rlp::encode(slot + 1))).collect());
    let storage_root = keccak256(&slots[&vec![]]);
    let value = alloy_rlp::encode(TrieAccount { storage_root, ..TrieAccount::default() });
    let accounts = (0..1500).map(|account| (key(account), value.clone())).collect();
    let accounts = built(&accounts);
    let root = keccak256(&accounts[&vec![]]);
    let nodes: Vec<Bytes> = accounts.into_values().chain(slots.into_values()).collect();
    let error = import(root, &nodes, &B256Set::default(), &SsmtConfig::default()).unwrap_err();
    assert!(error.to_string().ends_with("the nodes stand for many times their own size"), "{error}");
}

#[test]
fn the_empty_root_needs_no_nodes() {
    let none: [Bytes; 0] = [];
    let trie = Ssmt::from_witness(
        alloy_trie::EMPTY_ROOT_HASH,
        &none,
        &B256Set::default(),
        SsmtConfig::default(),
        Arc::new(Hasher::cpu()),
        Arc::new(CallerAlone),
    )
    .unwrap();
    assert_eq!(trie.account(trie.head(), Address::ZERO).unwrap(), None);
    assert_eq!(trie.memory().node_bytes, 0);
}
