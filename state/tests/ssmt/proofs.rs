//! Proofs against those of `alloy-trie`: its nodes, and its verifier.

use crate::{
    model::{Threads, World, state_root},
    nodes::Nodes,
    random::{SEED, number},
};
use alloy_primitives::{Address, B256, Bytes, U256, address, b256, bytes, keccak256};
use alloy_trie::{Nibbles, TrieAccount, proof::verify_proof};
use citius_hashing::Hasher;
use citius_state::{
    Account, MemoryState, StateReader,
    ssmt::{AccountProof, Ssmt, SsmtConfig, StorageProof, TrieName},
};
use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

fn trie(config: &SsmtConfig) -> Ssmt {
    Ssmt::new(config.clone(), Arc::new(Hasher::cpu()), Arc::new(Threads(2)))
}

/// A proof says what plain maps say, has the nodes that `alloy-trie` has, and convinces its verifier and ours.
pub(crate) fn check(proof: &AccountProof, state: &MemoryState, nodes: &Nodes, what: &str) {
    let root = state_root(state);
    let account = state.account(proof.address).unwrap();
    let Account { balance, nonce, code_hash } = account.unwrap_or_default();
    assert_eq!((proof.balance, proof.nonce, proof.code_hash), (balance, nonce, code_hash), "{what}");
    proof.verify(root).unwrap_or_else(|error| panic!("{what}: {error}"));
    let key = keccak256(proof.address);
    let value = TrieAccount { nonce, balance, storage_root: proof.storage_hash, code_hash };
    let value = account.map(|_| alloy_rlp::encode(value));
    verify_proof(root, Nibbles::unpack(key), value, &proof.account_proof)
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    let way: Vec<&Bytes> = nodes.way(TrieName::Accounts, key).filter(|node| node.len() > 1).collect();
    assert!(way.iter().copied().eq(&proof.account_proof), "{what}: {way:?} {:?}", proof.account_proof);
    for StorageProof { key: slot, value, proof: way } in &proof.storage_proof {
        let expected =
            if account.is_some() { state.storage(proof.address, *slot).unwrap() } else { U256::ZERO };
        assert_eq!(*value, expected, "{what}");
        let slot = keccak256(B256::from(*slot));
        let value = (!expected.is_zero()).then(|| alloy_rlp::encode(expected));
        verify_proof(proof.storage_hash, Nibbles::unpack(slot), value, way)
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        let expected = nodes.way(TrieName::Storage(key), slot).filter(|node| node.len() > 1);
        assert!(expected.eq(way), "{what}");
    }
}

/// Whatever is changed in a proof, it proves nothing any more.
fn check_forgeries(random: &mut ChaCha8Rng, proof: &AccountProof, root: B256, what: &str) {
    for _ in 0..10 {
        let mut forged = proof.clone();
        let StorageProof { value, proof: nodes, .. } = match forged.storage_proof.choose(random) {
            Some(slot) if random.random_bool(0.5) => slot.clone(),
            _ => StorageProof { key: U256::MAX, value: U256::ZERO, proof: vec![] },
        };
        let place = forged.storage_proof.iter().position(|slot| slot.value == value && slot.proof == nodes);
        let nodes = match place {
            Some(place) => &mut forged.storage_proof[place].proof,
            None => &mut forged.account_proof,
        };
        match random.random_range(0..7) {
            0 if !nodes.is_empty() => {
                let at = random.random_range(0..nodes.len());
                let mut node = nodes[at].to_vec();
                let byte = random.random_range(0..node.len());
                node[byte] ^= 1 << random.random_range(0..8);
                nodes[at] = node.into();
            }
            1 if !nodes.is_empty() => {
                nodes.remove(random.random_range(0..nodes.len()));
            }
            2 => {
                let at = random.random_range(0..=nodes.len());
                nodes.insert(at, nodes.first().cloned().unwrap_or(bytes!("c22001")));
            }
            3 => forged.balance += U256::ONE,
            4 => forged.nonce += 1,
            5 => forged.code_hash.0[31] ^= 1,
            6 if place.is_some() => forged.storage_proof[place.unwrap()].value += U256::ONE,
            _ => forged.storage_hash.0[0] ^= 1,
        }
        assert!(forged.verify(root).is_err(), "{what}: {forged:?}");
    }
}

fn sequence(seed: u64) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let what = format!("CITIUS_SEED={seed} CITIUS_CASES=1");
    let world = World::random(&mut random);
    let large_storage_from = *[1, 8, 50, 4096].choose(&mut random).unwrap();
    let config = SsmtConfig { large_storage_from, ..SsmtConfig::default() };
    let trie = trie(&config);
    let mut state = MemoryState::complete();
    for _ in 0..random.random_range(0..6) {
        let changes = Arc::new(world.changes(&mut random, &state));
        state.apply(&changes);
        trie.set_head(trie.seal(trie.head(), &changes).unwrap().version).unwrap();
    }
    let nodes = Nodes::of(&state);
    let root = state_root(&state);
    let mut proofs = Vec::new();
    for _ in 0..6 {
        let address = match random.random_range(0..4) {
            0 => Address::from(random.random::<[u8; 20]>()),
            _ => *world.addresses.choose(&mut random).unwrap(),
        };
        let mut slots: Vec<U256> =
            (0..random.random_range(0..4)).map(|_| *world.slots.choose(&mut random).unwrap()).collect();
        slots.push(U256::from(random.random::<u64>()));
        let proof = trie.proof(trie.head(), address, &slots).unwrap();
        check(&proof, &state, &nodes, &what);
        check_forgeries(&mut random, &proof, root, &what);
        let text = serde_json::to_string(&proof).unwrap();
        assert_eq!(serde_json::from_str::<AccountProof>(&text).unwrap(), proof, "{what}");
        proofs.push(proof);
    }
    // A state made of the proofs proves the same.
    let partial =
        Ssmt::from_proofs(root, &proofs, config, Arc::new(Hasher::cpu()), Arc::new(Threads(2))).unwrap();
    for proof in &proofs {
        let slots: Vec<U256> = proof.storage_proof.iter().map(|slot| slot.key).collect();
        assert_eq!(partial.proof(partial.head(), proof.address, &slots).unwrap(), *proof, "{what}");
    }
}

#[test]
fn proofs_are_those_of_the_plain_trie_and_cannot_be_forged() {
    let seed = number("CITIUS_SEED").unwrap_or(SEED);
    let is_long = std::env::var_os("CITIUS_LONG").is_some();
    let cases = number("CITIUS_CASES").unwrap_or(if is_long { 20_000 } else { 300 });
    for seed in seed..seed + cases {
        sequence(seed);
    }
    println!("{cases} states from seed {seed}");
}

#[test]
fn a_proof_has_the_shape_of_eth_get_proof() {
    let proof = AccountProof {
        address: address!("00000000000000000000000000000000000000a1"),
        account_proof: vec![bytes!("c22001")],
        balance: U256::from(256),
        code_hash: b256!("c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"),
        nonce: 17,
        storage_hash: B256::ZERO,
        storage_proof: vec![StorageProof { key: U256::from(3), value: U256::ZERO, proof: vec![] }],
    };
    let expected = serde_json::json!({
        "address": "0x00000000000000000000000000000000000000a1",
        "accountProof": ["0xc22001"],
        "balance": "0x100",
        "codeHash": "0xc5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470",
        "nonce": "0x11",
        "storageHash": "0x0000000000000000000000000000000000000000000000000000000000000000",
        "storageProof": [{ "key": "0x3", "value": "0x0", "proof": [] }],
    });
    assert_eq!(serde_json::to_value(&proof).unwrap(), expected);
}
