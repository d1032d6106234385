//! Witnesses: enough to read and to seal again, and nothing in them that could be left out.

use crate::{
    model::{Threads, World, state_root},
    random::{SEED, number},
};
use alloy_primitives::{Address, B256, Bytes, U256, keccak256, map::B256Set};
use citius_hashing::Hasher;
use citius_state::{
    ChangeSet, MemoryState, ReadError, RecordingReader, StateKey, StateReader, Touched,
    ssmt::{ExecutionWitness, Ssmt, SsmtConfig, SsmtError},
};
use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use revm::bytecode::Bytecode;
use std::sync::Arc;

fn rebuilt(root: B256, nodes: &[Bytes]) -> Result<Arc<Ssmt>, SsmtError> {
    let (hasher, workers) = (Arc::new(Hasher::cpu()), Arc::new(Threads(2)));
    Ssmt::from_witness(root, nodes, &B256Set::default(), SsmtConfig::default(), hasher, workers).map(Arc::new)
}

/// Reads and seals what a witness was made for. `Ok(false)` if something was missing, and that was said.
pub(crate) fn replays(
    root: B256,
    nodes: &[Bytes],
    touched: &Touched,
    state: &MemoryState,
    changes: &Arc<ChangeSet>,
    post_root: B256,
    what: &str,
) -> bool {
    let trie = match rebuilt(root, nodes) {
        Ok(trie) => trie,
        Err(SsmtError::RootMissing { .. }) => return false,
        Err(error) => panic!("{what}: {error}"),
    };
    let reader = trie.reader(trie.head()).unwrap();
    let mut is_whole = true;
    let mut check = |is_right: Result<bool, ReadError>| match is_right {
        Ok(is_right) => assert!(is_right, "{what}"),
        Err(ReadError::NotInWitness { .. }) => is_whole = false,
        Err(error) => panic!("{what}: {error}"),
    };
    for address in &touched.accounts {
        check(reader.account(*address).map(|account| account == state.account(*address).unwrap()));
    }
    for (address, slot) in &touched.slots {
        let account = state.account(*address).unwrap();
        let expected = if account.is_some() { state.storage(*address, *slot).unwrap() } else { U256::ZERO };
        check(reader.storage(*address, *slot).map(|value| value == expected));
    }
    match trie.seal(trie.head(), changes) {
        Ok(sealed) => assert_eq!(sealed.root, post_root, "{what}"),
        Err(SsmtError::Blinded { .. }) => is_whole = false,
        Err(error) => panic!("{what}: {error}"),
    }
    is_whole
}

fn sequence(seed: u64) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let what = format!("CITIUS_SEED={seed} CITIUS_CASES=1");
    let world = World::random(&mut random);
    let large_storage_from = *[1, 8, 50, 4096].choose(&mut random).unwrap();
    let config = SsmtConfig { large_storage_from, ..SsmtConfig::default() };
    let trie = Arc::new(Ssmt::new(config, Arc::new(Hasher::cpu()), Arc::new(Threads(2))));
    let mut state = MemoryState::complete();
    for _ in 0..random.random_range(0..6) {
        let changes = Arc::new(world.changes(&mut random, &state));
        state.apply(&changes);
        trie.set_head(trie.seal(trie.head(), &changes).unwrap().version).unwrap();
    }
    let (parent, root) = (trie.head(), state_root(&state));
    // A block that reads something and changes something.
    let reader = RecordingReader::new(trie.reader(parent).unwrap());
    for _ in 0..random.random_range(0..10) {
        let address = *world.addresses.choose(&mut random).unwrap();
        reader.account(address).unwrap();
        for _ in 0..random.random_range(0..3) {
            reader.storage(address, *world.slots.choose(&mut random).unwrap()).unwrap();
        }
    }
    let code = Bytecode::new_raw(vec![0x60, random.random()].into());
    let code_hash = trie.insert_code(code.clone());
    reader.code(code_hash).unwrap();
    let touched = reader.touched();
    let changes = Arc::new(world.changes(&mut random, &state));
    let sealed = trie.seal(parent, &changes).unwrap();
    let wrong = trie.witness(parent, &touched, &changes, B256::ZERO, vec![]);
    assert_eq!(wrong, Err(SsmtError::WrongRoot { expected: B256::ZERO, found: sealed.root }), "{what}");
    let witness = trie.witness(parent, &touched, &changes, sealed.root, vec![]).unwrap();
    let text = serde_json::to_string(&witness).unwrap();
    assert_eq!(serde_json::from_str::<ExecutionWitness>(&text).unwrap(), witness);
    for address in &touched.accounts {
        assert!(witness.keys.contains(&Bytes::copy_from_slice(address.as_slice())), "{what}");
    }
    let partial = Ssmt::from_execution_witness(
        root,
        &witness,
        SsmtConfig::default(),
        Arc::new(Hasher::cpu()),
        Arc::new(Threads(2)),
    );
    assert_eq!(partial.unwrap().code(code_hash), Some(code), "{what}");

    let replays = |nodes: &[Bytes]| replays(root, nodes, &touched, &state, &changes, sealed.root, &what);
    assert!(replays(&witness.state), "{what}");
    let step = (witness.state.len() / 40).max(1);
    for left_out in (random.random_range(0..step)..witness.state.len()).step_by(step) {
        let mut nodes = witness.state.clone();
        let node = nodes.remove(left_out);
        assert!(!replays(&nodes), "{what}: node {} can be left out: {node}", keccak256(&node));
    }
}

#[test]
fn witnesses_lead_to_the_same_root_and_no_node_can_be_left_out() {
    let seed = number("CITIUS_SEED").unwrap_or(SEED);
    let is_long = std::env::var_os("CITIUS_LONG").is_some();
    let cases = number("CITIUS_CASES").unwrap_or(if is_long { 10_000 } else { 150 });
    for seed in seed..seed + cases {
        sequence(seed);
    }
    println!("{cases} witnesses from seed {seed}");
}

fn header(parent_hash: B256, state_root: B256, number: u64) -> Bytes {
    let fields: [Vec<u8>; 10] = [
        alloy_rlp::encode(parent_hash),
        alloy_rlp::encode(B256::ZERO),
        alloy_rlp::encode(Address::ZERO),
        alloy_rlp::encode(state_root),
        alloy_rlp::encode(B256::ZERO),
        alloy_rlp::encode(B256::ZERO),
        alloy_rlp::encode([0_u8; 256].as_slice()),
        alloy_rlp::encode(0_u64),
        alloy_rlp::encode(number),
        alloy_rlp::encode(30_000_000_u64),
    ];
    let payload = fields.concat();
    let mut out = Vec::new();
    alloy_rlp::Header { list: true, payload_length: payload.len() }.encode(&mut out);
    out.extend(payload);
    out.into()
}

#[test]
fn headers_give_block_hashes_and_must_be_linked() {
    let root = alloy_trie::EMPTY_ROOT_HASH;
    let import = |headers: Vec<Bytes>| {
        let witness = ExecutionWitness { headers, ..ExecutionWitness::default() };
        let (hasher, workers) = (Arc::new(Hasher::cpu()), Arc::new(Threads(1)));
        Ssmt::from_execution_witness(root, &witness, SsmtConfig::default(), hasher, workers).map(Arc::new)
    };
    let first = header(B256::ZERO, B256::ZERO, 1000);
    let second = header(keccak256(&first), root, 1001);
    for headers in [vec![first.clone(), second.clone()], vec![second.clone(), first.clone()]] {
        let trie = import(headers).unwrap();
        let reader = trie.reader(trie.head()).unwrap();
        assert_eq!(reader.block_hash(1000), Ok(keccak256(&first)));
        assert_eq!(reader.block_hash(1001), Ok(keccak256(&second)));
        let missing = ReadError::NotInWitness { key: StateKey::BlockHash(999) };
        assert_eq!(reader.block_hash(999), Err(missing));
    }
    let other = header(B256::repeat_byte(1), root, 1001);
    let gap = header(keccak256(&first), root, 1002);
    let cases = [
        (vec![first.clone(), other], 1, "the header before it is not its parent"),
        (vec![first.clone(), gap], 1, "the header before it is not its parent"),
        (vec![first], 0, "its state root is not that of the state before the block"),
        (vec![second.slice(1..)], 0, "it is no RLP list that begins with the fields of a header"),
        (vec![second, Bytes::new()], 1, "it is no RLP list that begins with the fields of a header"),
    ];
    for (headers, index, reason) in cases {
        assert_eq!(import(headers).unwrap_err(), SsmtError::BadHeader { index, reason });
    }
}

#[test]
fn code_that_is_not_stored_is_named() {
    let (hasher, workers) = (Arc::new(Hasher::cpu()), Arc::new(Threads(1)));
    let trie = Ssmt::new(SsmtConfig::default(), hasher, workers);
    let hash = B256::repeat_byte(1);
    let touched = Touched { codes: [hash].into(), ..Touched::default() };
    let root = trie.root(trie.head()).unwrap();
    let witness = trie.witness(trie.head(), &touched, &Arc::default(), root, vec![]);
    assert_eq!(witness, Err(SsmtError::CodeMissing { hash }));
}
