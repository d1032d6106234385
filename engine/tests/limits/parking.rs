//! Executions that wait for cold reads, parked.

use crate::{
    case::{ALICE, BOB, CAROL, Case, ask, call, check_same, pay},
    code::Code,
    readers::{Later, Slow},
    support::{COUNTER, STRANGER, check_usable, config, counter, expected, options, pool, small},
};
use alloy_primitives::{Address, B256, Bytes, U256};
use citius_engine::{
    CancelReason, CancelToken, Engine, EngineConfig, ExecuteOptions, ExecutionError, StrategyChoice,
    chain::CustomPrecompile,
};
use citius_state::{Account, MemoryState, ReadError, StateKey, StateReader, Ticket, TicketIssuer};
use revm::{
    bytecode::{Bytecode, opcode as op},
    precompile::PrecompileOutput,
    primitives::hardfork::SpecId,
};
use std::{
    collections::HashMap,
    process::Command,
    sync::{Arc, Mutex, mpsc::Receiver},
    time::{Duration, Instant},
};

/// What never comes within this time never comes.
const LONG: Duration = Duration::from_secs(20);

fn sender(number: u64) -> Address {
    Address::from_word(B256::from(U256::from(0x5e_0000 + number)))
}

/// Payments from a sender each to a receiver each: nothing keeps them from being executed at one time.
fn apart(count: u64) -> Case {
    let case = Case::new(SpecId::CANCUN);
    (0..count).fold(Case { chain: case.chain.clone().without_system_calls(), ..case }, |case, number| {
        let receiver = Address::from_word(B256::from(U256::from(0x7e_0000 + number)));
        let balance = crate::case::RICH;
        case.with_balance(sender(number), balance).with(pay(sender(number), 0, receiver, 1))
    })
}

fn engine_with(case: &Case, workers: usize, parked: u32, reads: u32) -> Engine {
    let config = EngineConfig {
        parked_per_worker_max: parked,
        reads_per_worker_max: reads,
        // Each transaction by itself.
        batch_gas_max: 0,
        ..config()
    };
    Engine::new(case.chain.clone(), pool(workers), config)
}

/// Collects what is asked for until nothing more comes for a while, then lets all of it go on. Ends with the reader; gives
/// the most that was asked for at one time.
fn in_rounds(issuers: Receiver<(StateKey, TicketIssuer)>) -> usize {
    let mut most = 0;
    while let Ok(first) = issuers.recv() {
        let mut held = vec![first];
        while let Ok(next) = issuers.recv_timeout(Duration::from_millis(20)) {
            held.push(next);
        }
        most = most.max(held.len());
    }
    most
}

/// Executes on one worker, and gives the most reads in flight at one time, with what became of them.
fn most_in_flight(parked: u32, reads: u32) -> (usize, u64, u64) {
    let case = apart(24);
    let expected = expected(&case);
    let engine = engine_with(&case, 1, parked, reads);
    let (reader, issuers) = Slow::new(case.state.clone(), Later::Value);
    let completer = std::thread::spawn(move || in_rounds(issuers));
    let outcome = case.execute_with(&engine, Arc::new(reader), &options(StrategyChoice::Optimistic)).unwrap();
    check_same(&outcome, &expected, &format!("{parked} parked, {reads} reads"));
    let metrics = outcome.metrics;
    assert!(metrics.parked <= metrics.parks);
    (completer.join().unwrap(), metrics.parked, metrics.reads_waited_for)
}

#[test]
fn one_worker_has_as_many_reads_in_flight_as_it_may() {
    let (most, parked, _) = most_in_flight(32, 64);
    assert!(most >= 20 && parked >= 24, "{most} at one time, {parked} parked");
    for bound in [1, 2, 5] {
        let (most, parked, _) = most_in_flight(bound, 64);
        assert_eq!(most, bound as usize + 1, "one more runs, and joins those that wait");
        assert!(parked > 0);
        let (most, _, _) = most_in_flight(32, bound);
        assert_eq!(most, bound as usize, "reads");
    }
    let (most, parked, waited) = most_in_flight(0, 64);
    assert_eq!((most, parked), (1, 0), "parking is off");
    assert!(waited >= 48, "{waited} waited for");
}

#[test]
fn a_token_ends_what_is_parked() {
    let case = apart(24);
    for (workers, parked) in [(1, 4), (2, 32), (8, 1)] {
        let engine = engine_with(&case, workers, parked, 64);
        let (reader, issuers) = Slow::new(case.state.clone(), Later::Value);
        let cancel = CancelToken::default();
        let token = cancel.clone();
        let canceller = std::thread::spawn(move || {
            let held: Vec<_> = (0..2).map(|_| issuers.recv().unwrap()).collect();
            std::thread::sleep(Duration::from_millis(10));
            token.cancel();
            // Completed by nobody before the execution has ended.
            (held, issuers.into_iter().collect::<Vec<_>>())
        });
        let options = ExecuteOptions { cancel, ..options(StrategyChoice::Optimistic) };
        let answer = case.execute_with(&engine, Arc::new(reader), &options);
        assert_eq!(answer.unwrap_err(), ExecutionError::Cancelled { reason: CancelReason::Token });
        canceller.join().unwrap();
        check_usable(&engine);
    }
}

const FRAGILE: Address = Address::repeat_byte(0xff);

/// Of some keys the answer is on its way: those that say so, until they are let go.
struct Held {
    state: MemoryState,
    tickets: HashMap<StateKey, Ticket>,
    asked: Mutex<HashMap<StateKey, usize>>,
    /// Asked once it is let go, this one falls over.
    falls: Option<StateKey>,
}

impl Held {
    fn new(case: &Case, keys: &[StateKey]) -> (Arc<Self>, Vec<TicketIssuer>) {
        let (tickets, issuers): (Vec<_>, Vec<_>) = keys.iter().map(|_| Ticket::issue()).unzip();
        let tickets = keys.iter().copied().zip(tickets).collect();
        (Arc::new(Self { state: case.state.clone(), tickets, asked: Mutex::default(), falls: None }), issuers)
    }

    fn ask<T>(&self, key: StateKey, answer: Result<T, ReadError>) -> Result<T, ReadError> {
        *self.asked.lock().unwrap().entry(key).or_default() += 1;
        match self.tickets.get(&key) {
            Some(ticket) if !ticket.is_complete() => Err(ReadError::Pending { key, ticket: ticket.clone() }),
            _ if self.falls == Some(key) => panic!("it was too cold"),
            _ => answer,
        }
    }

    /// Waits until a key was asked for so often.
    fn wait_until_asked(&self, key: StateKey, times: usize) {
        let began = Instant::now();
        while self.asked.lock().unwrap().get(&key).is_none_or(|asked| *asked < times) {
            assert!(began.elapsed() < LONG, "{key} was never asked for {times} times");
            std::thread::sleep(Duration::from_micros(100));
        }
    }
}

impl StateReader for Held {
    fn account(&self, address: Address) -> Result<Option<Account>, ReadError> {
        self.ask(StateKey::Account(address), self.state.account(address))
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, ReadError> {
        self.ask(StateKey::Storage(address, slot), self.state.storage(address, slot))
    }

    fn code(&self, code_hash: B256) -> Result<Bytecode, ReadError> {
        self.ask(StateKey::Code(code_hash), self.state.code(code_hash))
    }

    fn block_hash(&self, number: u64) -> Result<B256, ReadError> {
        self.ask(StateKey::BlockHash(number), self.state.block_hash(number))
    }

    fn may_wait(&self) -> bool {
        true
    }
}

#[test]
fn a_panic_beside_what_is_parked_ends_the_run_and_a_panic_behind_a_park_too() {
    let fall_over = |_: &Bytes, _: u64, _: u64| -> Result<PrecompileOutput, _> { panic!("it fell over") };
    let case = apart(12).with(call(ALICE, 0, FRAGILE));
    let chain = case.chain.clone();
    let chain = chain.with_precompile(CustomPrecompile { address: FRAGILE, run: Arc::new(fall_over) });
    let mut beside = Case { chain, ..case };
    // First, so that it is final.
    beside.block.transactions.rotate_right(1);
    let keys: Vec<_> = (0..12).map(|number| StateKey::Account(sender(number))).collect();
    for workers in [1, 2, 8] {
        let engine = engine_with(&beside, workers, 32, 64);
        let (reader, issuers) = Held::new(&beside, &keys);
        let error = beside.execute_with(&engine, reader, &options(StrategyChoice::Optimistic)).unwrap_err();
        assert_eq!(error, ExecutionError::WorkerPanicked { message: "it fell over".into() });
        drop(issuers);
        check_usable(&engine);
    }
    let behind = apart(12);
    for workers in [1, 2, 8] {
        let engine = engine_with(&behind, workers, 32, 64);
        let (reader, issuers) = Held::new(&behind, &keys);
        let mut reader = Arc::into_inner(reader).unwrap();
        reader.falls = Some(keys[5]);
        let reader = Arc::new(reader);
        let asked = Arc::clone(&reader);
        let completer = std::thread::spawn(move || {
            asked.wait_until_asked(keys_of_last(), 1);
            drop(issuers);
        });
        let error = behind.execute_with(&engine, reader, &options(StrategyChoice::Optimistic)).unwrap_err();
        assert_eq!(error, ExecutionError::WorkerPanicked { message: "it was too cold".into() });
        completer.join().unwrap();
        check_usable(&engine);
    }
}

fn keys_of_last() -> StateKey {
    StateKey::Account(sender(11))
}

/// Called with data it adds one to its slot 0; without, it reads that and then looks at the stranger.
fn writes_or_looks() -> Bytes {
    let look = Code::new().load(0).op(op::POP).push_address(STRANGER).op(op::BALANCE).store(1).bytes();
    let mut code = vec![op::CALLDATASIZE, op::PUSH1, 0, op::JUMPI];
    code.extend(&look);
    code.push(op::STOP);
    code[2] = code.len() as u8;
    code.push(op::JUMPDEST);
    code.extend(&counter());
    code.into()
}

#[test]
fn what_waits_in_vain_ends_before_its_read_comes() {
    let slot = StateKey::Storage(COUNTER, U256::ZERO);
    let stranger = StateKey::Account(STRANGER);
    let gate = StateKey::Account(BOB);
    // The first transaction writes what the second has read by then; it begins to when Bob, its sender, is there.
    let mut case = Case::new(SpecId::CANCUN)
        .with_contract(COUNTER, 0, writes_or_looks())
        .with(ask(BOB, 0, COUNTER, 1))
        .with(call(CAROL, 0, COUNTER));
    case.chain = case.chain.without_system_calls();
    let expected = expected(&case);
    for workers in [1, 2] {
        let engine = engine_with(&case, workers, 32, 64);
        let (reader, mut issuers) = Held::new(&case, &[gate, stranger]);
        let watcher = Arc::clone(&reader);
        let completer = std::thread::spawn(move || {
            watcher.wait_until_asked(slot, 1);
            watcher.wait_until_asked(stranger, 1);
            // Bob: the write comes. What has read before ends, and comes here again.
            drop(issuers.remove(0));
            watcher.wait_until_asked(stranger, 2);
            drop(issuers);
        });
        let outcome = case.execute_with(&engine, reader, &options(StrategyChoice::Optimistic)).unwrap();
        completer.join().unwrap();
        check_same(&outcome, &expected, &format!("{workers} workers"));
        assert!(outcome.metrics.parked >= 2, "{:?}", outcome.metrics);
    }
}

#[test]
fn an_outcome_does_not_wait_for_what_later_blocks_wait_for() {
    let case = apart(8);
    let (mut first, mut second) = (case.block.clone(), case.block.clone());
    first.transactions.truncate(4);
    second.transactions.drain(..4);
    second.header.number += 1;
    for workers in [1, 2] {
        let engine = engine_with(&case, workers, 32, 64);
        let keys: Vec<_> = (3..8).map(|number| StateKey::Account(sender(number))).collect();
        let (reader, mut issuers) = Held::new(&case, &keys);
        let last_of_first = issuers.remove(0);
        let watcher = Arc::clone(&reader);
        // All of the second block is parked by the time that the first one can end.
        let completer = std::thread::spawn(move || {
            watcher.wait_until_asked(StateKey::Account(sender(7)), 1);
            drop(last_of_first);
        });
        let mut stream = engine.stream(reader, &options(StrategyChoice::Optimistic));
        stream.submit(Arc::new(first.clone()));
        stream.submit(Arc::new(second.clone()));
        assert_eq!(stream.next().unwrap().unwrap().transactions.len(), 4, "while the others wait");
        completer.join().unwrap();
        drop(issuers);
        assert_eq!(stream.next().unwrap().unwrap().transactions.len(), 4);
        drop(stream);
        check_usable(&engine);
    }
}

#[test]
fn a_stream_is_dropped_while_some_of_it_is_parked() {
    let case = apart(16);
    for workers in [2, 8] {
        let engine = engine_with(&case, workers, 4, 64);
        let keys: Vec<_> = (0..16).map(|number| StateKey::Account(sender(number))).collect();
        let (reader, issuers) = Held::new(&case, &keys);
        let mut stream = engine.stream(Arc::clone(&reader) as _, &options(StrategyChoice::Optimistic));
        stream.submit(Arc::new(case.block.clone()));
        reader.wait_until_asked(keys[0], 1);
        drop(stream);
        assert_eq!(Arc::strong_count(&reader), 1, "nobody has anything of it");
        drop(issuers);
        check_usable(&engine);
    }
}

/// Set in the process that overflows a stack.
const CHILD: &str = "CITIUS_TEST_OVERFLOWS";

#[test]
fn a_stack_overflow_is_reported_and_ends_the_process() {
    fn dig(depth: u64) -> u64 {
        let ground = std::hint::black_box([depth; 64]);
        if depth == u64::MAX { 0 } else { dig(depth + 1) + ground[7] }
    }
    if std::env::var_os(CHILD).is_some() {
        let run =
            |_: &Bytes, _: u64, reservoir: u64| Ok(PrecompileOutput::new(dig(0), Bytes::new(), reservoir));
        let mut case = small().with(call(ALICE, 4, FRAGILE));
        case.chain = case.chain.with_precompile(CustomPrecompile { address: FRAGILE, run: Arc::new(run) });
        let (reader, issuers) = Held::new(&case, &[]);
        drop(issuers);
        let engine = engine_with(&case, 2, 32, 64);
        let answer = case.execute_with(&engine, reader, &options(StrategyChoice::Optimistic));
        panic!("it came to the end: {:?}", answer.map(|_| ()));
    }
    let name = "parking::a_stack_overflow_is_reported_and_ends_the_process";
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stderr);
    assert!(!child.status.success() && child.status.code().is_none(), "a signal ends it: {}", child.status);
    assert!(said.contains("stack overflow in a parked execution"), "it said: {said}");
}
