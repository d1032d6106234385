//! Readers of several versions, and the cache that they share, against plain maps: heads go forward, back and aside.

use crate::{
    model::{Threads, World, state_root},
    random::{SEED, number},
};
use alloy_primitives::{Address, B256, Bytes, U256};
use citius_hashing::Hasher;
use citius_state::{
    ChangeSet, MemoryState, ReadError, StateKey, StateReader,
    ssmt::{Ssmt, SsmtConfig, SsmtError, SsmtReader, VersionId},
};
use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use revm::bytecode::Bytecode;
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

struct Known {
    version: VersionId,
    state: Arc<MemoryState>,
}

fn new_trie(random: &mut ChaCha8Rng, history: usize) -> Arc<Ssmt> {
    let config = SsmtConfig {
        history,
        large_storage_from: *[1, 8, 50, 4096].choose(random).unwrap(),
        // None at all, one of a few entries, one that holds everything.
        flat_cache_bytes: *[0, 2_000, 20_000, 10_000_000, 10_000_000].choose(random).unwrap(),
        ..SsmtConfig::default()
    };
    Arc::new(Ssmt::new(config, Arc::new(Hasher::cpu()), Arc::new(Threads(2))))
}

/// Reads a few keys of a world, and compares.
fn check_some(reader: &SsmtReader, state: &MemoryState, world: &World, random: &mut ChaCha8Rng, what: &str) {
    for _ in 0..6 {
        let address = *world.addresses.choose(random).unwrap();
        let account = state.account(address).unwrap();
        assert_eq!(reader.account(address).unwrap(), account, "{what}: {address}");
        for _ in 0..3 {
            let slot = *world.slots.choose(random).unwrap();
            let expected = if account.is_some() { state.storage(address, slot).unwrap() } else { U256::ZERO };
            let found = reader.storage(address, slot).unwrap();
            assert_eq!(found, expected, "{what}: slot {slot} of {address} in {}", reader.version());
        }
    }
}

fn seal(trie: &Ssmt, parent: &Known, world: &World, random: &mut ChaCha8Rng) -> Known {
    let changes = Arc::new(world.changes(random, &parent.state));
    let sealed = trie.seal(parent.version, &changes).unwrap();
    let mut state = MemoryState::clone(&parent.state);
    state.apply(&changes);
    Known { version: sealed.version, state: Arc::new(state) }
}

fn sequence(seed: u64, hits: &mut u64) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let what = format!("CITIUS_SEED={seed} CITIUS_CASES=1");
    let world = World::random(&mut random);
    let history = random.random_range(0..6);
    let trie = new_trie(&mut random, history);
    let mut known = vec![Known { version: trie.head(), state: Arc::new(MemoryState::complete()) }];
    let mut readers: Vec<(SsmtReader, Arc<MemoryState>)> = Vec::new();
    for _ in 0..30 {
        match random.random_range(0..8) {
            0..3 => {
                let is_last = random.random_bool(0.7);
                let parent = if is_last { known.len() - 1 } else { random.random_range(0..known.len()) };
                let next = seal(&trie, &known[parent], &world, &mut random);
                assert_eq!(trie.root(next.version).unwrap(), state_root(&next.state), "{what}");
                known.push(next);
            }
            3..5 => {
                let head = known.choose(&mut random).unwrap().version;
                trie.set_head(head).unwrap();
                assert_eq!(trie.head(), head);
                known.retain(|known| trie.root(known.version).is_ok());
            }
            5 => {
                let Known { version, state } = known.choose(&mut random).unwrap();
                readers.push((trie.reader(*version).unwrap(), Arc::clone(state)));
            }
            6 if !readers.is_empty() => {
                readers.swap_remove(random.random_range(0..readers.len()));
            }
            _ => {}
        }
        for (reader, state) in &readers {
            assert_eq!(
                trie.root(reader.version()).unwrap(),
                reader.root(),
                "{what}: it is kept while it is read"
            );
            check_some(reader, state, &world, &mut random, &what);
        }
        let head = known.iter().find(|known| known.version == trie.head()).unwrap();
        check_some(&trie.reader(head.version).unwrap(), &head.state, &world, &mut random, &what);
    }
    *hits += trie.flat_cache().hits;
}

#[test]
fn readers_of_every_version_see_it_wherever_the_head_is() {
    let seed = number("CITIUS_SEED").unwrap_or(SEED);
    let is_long = std::env::var_os("CITIUS_LONG").is_some();
    let cases = number("CITIUS_CASES").unwrap_or(if is_long { 20_000 } else { 300 });
    let mut hits = 0;
    for seed in seed..seed + cases {
        sequence(seed, &mut hits);
    }
    assert!(hits > 100 * cases || cases < 20, "the cache hardly answered: {hits} times");
    println!("{cases} sequences from seed {seed}, {hits} reads from the cache");
}

/// A head that goes back some blocks and forward on another branch, again and again, under readers in threads.
fn reorganisations(seed: u64) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let what = format!("CITIUS_SEED={seed} CITIUS_CASES=1");
    let world = World { destroys_percent: 10, ..World::random(&mut random) };
    let trie = new_trie(&mut random, 1000);
    let mut line = vec![Known { version: trie.head(), state: Arc::new(MemoryState::complete()) }];
    let slots: Vec<_> = (0..3).map(|_| parking_lot::Mutex::new(None)).collect();
    let (is_over, reads) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let threads = slots.iter().enumerate().map(|(number, slot)| {
            let (trie, world, is_over, reads, what) = (&trie, &world, &is_over, &reads, &what);
            scope.spawn(move || {
                let mut random = ChaCha8Rng::seed_from_u64(seed + 1000 * number as u64);
                let mut own: Option<(SsmtReader, Arc<MemoryState>)> = None;
                while !is_over.load(Ordering::Relaxed) {
                    if let Some((version, state)) = slot.lock().take()
                        && let Ok(reader) = trie.reader(version)
                    {
                        own = Some((reader, state));
                    }
                    let Some((reader, state)) = &own else { continue };
                    check_some(reader, state, world, &mut random, what);
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        let threads: Vec<_> = threads.collect();
        let is_over_at_last = Over(&is_over);
        for _ in 0..25 {
            // Back, and forward elsewhere.
            let depth = random.random_range(0..line.len().min(6));
            line.truncate(line.len() - depth);
            for _ in 0..random.random_range(1..6) {
                let next = seal(&trie, line.last().unwrap(), &world, &mut random);
                line.push(next);
                if random.random_bool(0.5) {
                    trie.set_head(line.last().unwrap().version).unwrap();
                }
                let Known { version, state } = line.choose(&mut random).unwrap();
                *slots.choose(&mut random).unwrap().lock() = Some((*version, Arc::clone(state)));
            }
            let last = line.last().unwrap();
            trie.set_head(last.version).unwrap();
            assert_eq!(trie.root(trie.head()).unwrap(), state_root(&last.state), "{what}");
            let reader = trie.reader(last.version).unwrap();
            check_some(&reader, &last.state, &world, &mut random, &what);
        }
        // Some reads there are, unless the readers failed.
        while reads.load(Ordering::Relaxed) < 20 && threads.iter().any(|thread| !thread.is_finished()) {
            std::thread::yield_now();
        }
        drop(is_over_at_last);
    });
}

/// Ends the readers' threads, even if the other one panics.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn readers_in_threads_see_their_versions_while_the_head_is_moved() {
    let seed = number("CITIUS_SEED").unwrap_or(SEED);
    let is_long = std::env::var_os("CITIUS_LONG").is_some();
    let cases = number("CITIUS_CASES").unwrap_or(if is_long { 2000 } else { 40 });
    for seed in seed..seed + cases {
        reorganisations(seed);
    }
    println!("{cases} reorganised chains from seed {seed}");
}

#[test]
fn code_and_block_hashes_are_found_by_their_keys() {
    let trie = new_trie(&mut ChaCha8Rng::seed_from_u64(SEED), 10);
    let code = |byte: u8| Bytecode::new_raw(Bytes::from(vec![byte, 0]));
    let deployed = code(0x60);
    let hash = deployed.hash_slow();
    let changes = ChangeSet { accounts: vec![], codes: vec![(hash, deployed.clone())] };
    let reader = trie.reader(trie.head()).unwrap();
    let missing = ReadError::NotInWitness { key: StateKey::Code(hash) };
    assert_eq!(reader.code(hash), Err(missing));
    trie.seal(trie.head(), &Arc::new(changes)).unwrap();
    assert_eq!(reader.code(hash).unwrap(), deployed);
    let inserted = trie.insert_code(code(0x61));
    assert_eq!(reader.code(inserted).unwrap(), code(0x61));

    let missing = ReadError::NotInWitness { key: StateKey::BlockHash(7) };
    assert_eq!(reader.block_hash(7), Err(missing));
    trie.set_block_hash(7, B256::repeat_byte(7));
    let other = trie.reader(trie.head()).unwrap();
    reader.set_block_hash(7, B256::repeat_byte(8));
    assert_eq!(reader.block_hash(7), Ok(B256::repeat_byte(8)));
    assert_eq!(other.block_hash(7), Ok(B256::repeat_byte(7)));
    for number in 8..2000 {
        trie.set_block_hash(number, B256::ZERO);
    }
    assert!(other.block_hash(7).is_err());
}

#[test]
fn a_version_is_kept_while_it_is_read() {
    let trie = new_trie(&mut ChaCha8Rng::seed_from_u64(SEED), 0);
    let first = trie.head();
    let reader = trie.reader(first).unwrap();
    let second = trie.seal(first, &Arc::default()).unwrap().version;
    trie.set_head(second).unwrap();
    assert_eq!(reader.account(Address::ZERO).unwrap(), None);
    drop(reader);
    let third = trie.seal(second, &Arc::default()).unwrap().version;
    trie.set_head(third).unwrap();
    assert!(matches!(trie.reader(first), Err(SsmtError::UnknownVersion { .. })));
}
