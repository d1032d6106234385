//! A process that writes a store on a real disk, and is killed at any moment: everything that it acknowledged is there.

use crate::{
    model::state_root,
    stores::{Chain, check, config, drawn},
};
use alloy_primitives::{Address, B256, U256, keccak256};
use citius_hashing::Hasher;
use citius_io::{Backend, Disk, DiskConfig, open_disk};
use citius_state::{
    Account, AccountChange, ChangeSet, MemoryState, SlotChange, StateReader,
    cold::{BlockRecord, ColdError, Durability, Opened, Store},
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use revm::bytecode::Bytecode;
use std::{
    collections::BTreeSet,
    env,
    io::{BufRead, BufReader, Write, stdout},
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

const BLOCKS: u64 = 150;
const DIRECTORY: &str = "CITIUS_KILLED_DIRECTORY";
const BACKEND: &str = "CITIUS_KILLED_BACKEND";
const SEED: &str = "CITIUS_KILLED_SEED";

fn disk(directory: &Path, backend: Backend) -> Result<Arc<dyn Disk>, citius_io::DiskError> {
    open_disk(directory, &DiskConfig { backend, threads: 2, ..DiskConfig::default() }).map(|(disk, _)| disk)
}

/// The same blocks in each process: nothing of them depends on the order of a map.
fn chain(seed: u64) -> Chain {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut chain = Chain { blocks: Vec::new(), states: vec![MemoryState::complete()] };
    let mut parent = B256::ZERO;
    for number in 1..=BLOCKS {
        let mut state = chain.states.last().unwrap().clone();
        let picked: BTreeSet<u64> = (0..15).map(|_| random.random_range(0..60)).collect();
        let accounts = picked.into_iter().map(|at| change(&mut random, &state, at, number)).collect();
        let code = vec![number as u8; 5_000 + number as usize];
        let codes = vec![(keccak256(&code), Bytecode::new_legacy(code.into()))];
        let changes = ChangeSet { accounts, codes: if number % 5 == 0 { codes } else { Vec::new() } };
        state.apply(&changes);
        let hash = keccak256(number.to_be_bytes());
        chain.blocks.push(Arc::new(BlockRecord {
            number,
            hash,
            parent,
            root: state_root(&state),
            changes: Arc::new(changes),
        }));
        chain.states.push(state);
        parent = hash;
    }
    chain
}

fn change(random: &mut ChaCha8Rng, state: &MemoryState, at: u64, number: u64) -> AccountChange {
    let address = Address::from_word(keccak256(at.to_be_bytes()));
    let before = state.account(address).unwrap();
    if before.is_some() && random.random_range(0..8) == 0 {
        return AccountChange { address, before, after: None, storage_wiped: true, storage: Vec::new() };
    }
    let slots: BTreeSet<u64> = (0..4).map(|_| random.random_range(0..60)).collect();
    let slot = |slot: u64| SlotChange {
        slot: U256::from(slot),
        before: state.storage(address, U256::from(slot)).unwrap_or_default(),
        after: U256::from(random.random_range(0..5_u64)),
    };
    let storage = slots.into_iter().map(slot).collect();
    let after = Some(Account { nonce: number, ..Account::EMPTY });
    AccountChange { address, before, after, storage_wiped: before.is_none(), storage }
}

fn durability(seed: u64) -> Durability {
    if seed.is_multiple_of(3) { Durability::Relaxed } else { Durability::Synced }
}

fn say(line: &str) {
    // Not through what the test harness might keep.
    let mut out = stdout().lock();
    out.write_all(line.as_bytes()).and_then(|()| out.flush()).unwrap();
}

/// Appends blocks from where the store ends, and says so, while another thread makes checkpoints and compacts. Is killed.
#[test]
#[ignore = "run by the test below, as a process of its own"]
fn writes_until_it_is_killed() {
    let Some(directory) = env::var_os(DIRECTORY) else { return };
    let backend =
        if env::var(BACKEND).is_ok_and(|name| name == "uring") { Backend::Uring } else { Backend::Blocking };
    let seed: u64 = env::var(SEED).unwrap().parse().unwrap();
    let chain = chain(seed);
    let disk = disk(Path::new(&directory), backend).unwrap();
    let store = Store::open(disk, config(durability(seed)), drawn()).unwrap().store;
    let mut random = ChaCha8Rng::seed_from_u64(store.last().number);
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut behind = 0;
            while !is_done.load(Ordering::Relaxed) {
                behind = (behind + 1) % 5;
                let through = store.last().number.saturating_sub(behind);
                store.checkpoint(through, &Hasher::cpu()).unwrap();
                if behind == 0 {
                    store.compact(7, &mut |_| ()).unwrap();
                }
            }
        });
        let mut next = store.last().number as usize;
        while next < chain.blocks.len() {
            let end = (next + random.random_range(1..4)).min(chain.blocks.len());
            match store.append(chain.blocks[next..end].to_vec()) {
                Ok(()) => {
                    next = end;
                    say(&format!("\nacknowledged {next}\n"));
                }
                // The journal is full: a checkpoint makes room.
                Err(ColdError::Budget { .. }) => thread::sleep(Duration::from_millis(1)),
                Err(error) => panic!("{error}"),
            }
        }
        is_done.store(true, Ordering::Relaxed);
    });
    say("\nall\n");
}

/// Starts the writer, kills it some time after its first word, and gives what it acknowledged.
fn killed(directory: &Path, backend: &str, seed: u64, random: &mut ChaCha8Rng) -> usize {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["killed::writes_until_it_is_killed", "--exact", "--ignored", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(BACKEND, backend)
        .env(SEED, seed.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (sender, first) = std::sync::mpsc::channel();
    let reader = thread::spawn(move || {
        let (mut acknowledged, mut said) = (0, Vec::new());
        for line in lines.map_while(Result::ok) {
            if let Some(number) = line.strip_prefix("acknowledged ") {
                // The last line may be cut off: then it was not said.
                let _ = sender.send(());
                acknowledged = number.parse().unwrap_or(acknowledged);
            }
            said.push(line);
        }
        (acknowledged, said)
    });
    // Without one it ended, or says nothing: what it said tells.
    let _ = first.recv();
    thread::sleep(Duration::from_micros(random.random_range(0..40_000)));
    child.kill().unwrap();
    let status = child.wait().unwrap();
    let (acknowledged, said): (usize, Vec<String>) = reader.join().unwrap();
    assert!(status.code().is_none_or(|code| code == 0), "seed {seed}: {said:?}");
    acknowledged
}

#[test]
fn what_a_killed_process_acknowledged_is_there() {
    let is_long = env::var_os("CITIUS_LONG").is_some();
    let rounds: u64 = if is_long { 300 } else { 6 };
    let first: u64 = env::var("CITIUS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    for (backend, name) in [(Backend::Uring, "uring"), (Backend::Blocking, "blocking")] {
        let mut seed = first;
        let mut folder = tempfile::tempdir().unwrap();
        if let Err(error) = disk(folder.path(), backend) {
            eprintln!("skipped: {name}: {error}");
            continue;
        }
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let (mut acknowledged, mut deaths) = (0, 0);
        let mut blocks = chain(seed);
        for round in 0..rounds {
            let what = format!("{name}, seed {seed}, round {round}");
            acknowledged = killed(folder.path(), name, seed, &mut random).max(acknowledged);
            let disk = disk(folder.path(), backend).unwrap();
            let opened: Opened = Store::open(disk, config(durability(seed)), drawn())
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            let found = check(&opened, &blocks, &what);
            assert!(found >= acknowledged, "{what}: {found} blocks of {acknowledged}");
            deaths += u64::from(found < BLOCKS as usize);
            if found == BLOCKS as usize || round % 4 == 3 {
                // Another chain.
                (seed, acknowledged) = (seed + 1, 0);
                blocks = chain(seed);
                folder = tempfile::tempdir().unwrap();
            }
        }
        eprintln!("{name}: {rounds} rounds, {deaths} deaths before the end, seeds {first} to {seed}");
        assert!(deaths > 0, "{name}: nothing was cut short");
    }
}
