//! Executions that would take minutes, ended by a token or a deadline.

use crate::{
    case::{ALICE, BOB, CAROL, Case, call, pay},
    code::Code,
    readers::{Later, Slow, Watching},
    support::{STRANGER, WAYS, check_usable, engine, options, run, small},
};
use alloy_primitives::{Address, B256, Bytes, U256};
use citius_engine::{CancelReason, CancelToken, ExecuteOptions, ExecutionError, StrategyChoice, Transaction};
use citius_state::{Account, MemoryState, ReadError, StateReader};
use revm::{
    bytecode::{Bytecode, opcode as op},
    context::TxEnv,
    primitives::hardfork::SpecId,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

const BUSY: Address = Address::repeat_byte(0xbb);
const TOKEN: ExecutionError = ExecutionError::Cancelled { reason: CancelReason::Token };
const DEADLINE: ExecutionError = ExecutionError::Cancelled { reason: CancelReason::Deadline };
/// Half a minute or more of jumps for each of the two transactions.
const GAS: u64 = 50_000_000_000;

fn jumps_for_ever() -> Bytes {
    Bytes::from_static(&[op::JUMPDEST, op::PUSH1, 0, op::JUMP])
}

/// Two transactions call the busy contract; payments stand around them.
fn busy(code: Bytes, gas_limit: u64) -> Case {
    let call = |from| TxEnv { gas_limit, ..call(from, 0, BUSY) };
    let mut case = Case::new(SpecId::CANCUN)
        .with_contract(BUSY, 0, code)
        .with(pay(CAROL, 0, STRANGER, 1))
        .with(call(ALICE))
        .with(call(BOB))
        .with(pay(CAROL, 1, STRANGER, 1));
    case.block.header.gas_limit = 4 * gas_limit;
    case
}

/// Cancels from another thread once the busy contract is running.
fn check_token_ends(case: &Case) {
    for (strategy, workers) in WAYS {
        let engine = engine(case, workers);
        let token = CancelToken::default();
        let options = ExecuteOptions { cancel: token.clone(), ..options(strategy) };
        let (reader, is_running) = Watching::code(case);
        let canceller = std::thread::spawn(move || {
            is_running.recv().unwrap();
            std::thread::sleep(Duration::from_millis(10));
            token.cancel();
        });
        let answer = case.execute_with(&engine, Arc::new(reader), &options);
        assert_eq!(answer.unwrap_err(), TOKEN, "{strategy} on {workers}");
        canceller.join().unwrap();
        check_usable(&engine);
    }
}

#[test]
fn a_token_or_a_deadline_ends_the_wait_for_an_answer() {
    let case = small();
    for (strategy, workers) in WAYS {
        let engine = engine(&case, workers);
        let run = |options: &ExecuteOptions| {
            // Issuers are held, and complete nothing.
            let (reader, issuers) = Slow::new(case.state.clone(), Later::Value);
            let token = options.cancel.clone();
            let canceller = std::thread::spawn(move || {
                let held = issuers.recv().unwrap();
                std::thread::sleep(Duration::from_millis(10));
                token.cancel();
                (held, issuers.into_iter().collect::<Vec<_>>())
            });
            let answer = case.execute_with(&engine, Arc::new(reader), options);
            canceller.join().unwrap();
            answer.unwrap_err()
        };
        assert_eq!(run(&options(strategy)), TOKEN, "{strategy} on {workers}");
        let deadline = Some(Instant::now() + Duration::from_millis(5));
        let late = run(&ExecuteOptions { deadline, ..options(strategy) });
        assert!(late == DEADLINE || late == TOKEN, "{strategy} on {workers}: {late}");
        check_usable(&engine);
    }
}

#[test]
fn a_token_ends_an_endless_loop() {
    check_token_ends(&busy(jumps_for_ever(), GAS));
}

#[test]
fn a_token_ends_an_endless_conditional_loop() {
    let code = [op::JUMPDEST, op::PUSH1, 1, op::PUSH1, 0, op::JUMPI];
    check_token_ends(&busy(Bytes::copy_from_slice(&code), GAS));
}

#[test]
fn a_token_ends_calls_that_branch_without_a_jump() {
    // Calls itself twice, to the depth of 1024. Its gas would last for some ten seconds.
    let branch = Code::new()
        .ops(&[op::PUSH1, 0, op::DUP1, op::DUP1, op::DUP1, op::DUP1, op::ADDRESS, op::GAS, op::CALL, op::POP])
        .bytes();
    let code = [branch.clone(), branch].concat();
    check_token_ends(&busy(code.into(), 500_000_000));
}

#[test]
fn a_token_ends_a_loop_over_storage() {
    let code = [op::JUMPDEST, op::GAS, op::SLOAD, op::POP, op::PUSH1, 0, op::JUMP];
    check_token_ends(&busy(Bytes::copy_from_slice(&code), GAS));
}

#[test]
fn a_deadline_ends_an_endless_loop() {
    let case = busy(jumps_for_ever(), GAS);
    for (strategy, workers) in WAYS {
        let engine = engine(&case, workers);
        let deadline = Some(Instant::now() + Duration::from_millis(30));
        let answer = run(&case, &engine, &ExecuteOptions { deadline, ..options(strategy) });
        assert_eq!(answer.unwrap_err(), DEADLINE, "{strategy} on {workers}");
        check_usable(&engine);
    }
}

#[test]
fn what_is_cancelled_or_too_late_at_the_start_is_not_executed() {
    let case = busy(jumps_for_ever(), GAS);
    for (strategy, workers) in WAYS {
        let engine = engine(&case, workers);
        let cancel = CancelToken::default();
        cancel.cancel();
        let answer = run(&case, &engine, &ExecuteOptions { cancel, ..options(strategy) });
        assert_eq!(answer.unwrap_err(), TOKEN, "{strategy} on {workers}");
        let deadline = Some(Instant::now());
        let answer = run(&case, &engine, &ExecuteOptions { deadline, ..options(strategy) });
        assert_eq!(answer.unwrap_err(), DEADLINE, "{strategy} on {workers}");
        check_usable(&engine);
    }
}

#[test]
fn a_limit_that_is_not_reached_changes_nothing() {
    let case = small();
    for (strategy, workers) in WAYS {
        let deadline = Some(Instant::now() + Duration::from_secs(100_000));
        let cancel = CancelToken::default();
        let limited = ExecuteOptions { deadline, cancel: cancel.clone(), ..options(strategy) };
        let engine = engine(&case, workers);
        assert_eq!(run(&case, &engine, &limited).unwrap().transactions.len(), 12);
        cancel.cancel();
        assert_eq!(run(&case, &engine, &limited).unwrap_err(), TOKEN);
        assert!(TOKEN.is_retryable() && cancel.is_cancelled());
    }
}

#[test]
fn a_cancelled_stream_keeps_the_blocks_before() {
    let mut busy = busy(jumps_for_ever(), GAS);
    let mut fine = busy.block.clone();
    fine.transactions = [pay(CAROL, 0, STRANGER, 1), pay(CAROL, 1, STRANGER, 1)]
        .map(|env| Transaction::new(env, B256::ZERO))
        .to_vec();
    // What is left calls the busy contract.
    busy.block.transactions = busy.block.transactions[1..3].to_vec();
    busy.block.header.number += 1;
    for (strategy, workers) in WAYS {
        let engine = engine(&busy, workers);
        let cancel = CancelToken::default();
        let options = ExecuteOptions { cancel: cancel.clone(), ..options(strategy) };
        let mut stream = engine.stream(Arc::new(busy.state.clone()), &options);
        stream.submit(Arc::new(fine.clone()));
        assert_eq!(stream.next().unwrap().unwrap().transactions.len(), 2, "{strategy} on {workers}");
        for block in [&busy.block, &busy.block] {
            stream.submit(Arc::new(block.clone()));
        }
        // Whoever asks for an outcome works at what is there, however long that takes.
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(20));
                cancel.cancel();
            });
            assert_eq!(stream.next().unwrap().unwrap_err(), TOKEN, "{strategy} on {workers}");
        });
        assert_eq!(stream.next().unwrap().unwrap_err(), TOKEN, "{strategy} on {workers}");
        assert!(stream.next().is_none());
        drop(stream);
        check_usable(&engine);
    }
}

#[test]
fn a_stream_can_be_dropped_in_the_middle() {
    let case = busy(jumps_for_ever(), GAS);
    for workers in [2, 8] {
        let engine = engine(&case, workers);
        let mut stream = engine.stream(Arc::new(case.state.clone()), &options(StrategyChoice::Optimistic));
        stream.submit(Arc::new(case.block.clone()));
        stream.submit(Arc::new(case.block.clone()));
        drop(stream);
        check_usable(&engine);
    }
}

/// Cancels when it is asked for its twentieth account.
struct Cancelling {
    state: MemoryState,
    token: CancelToken,
    asked: AtomicUsize,
}

impl StateReader for Cancelling {
    fn account(&self, address: Address) -> Result<Option<Account>, ReadError> {
        if self.asked.fetch_add(1, Ordering::SeqCst) + 1 == 20 {
            self.token.cancel();
        }
        self.state.account(address)
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, ReadError> {
        self.state.storage(address, slot)
    }

    fn code(&self, code_hash: B256) -> Result<Bytecode, ReadError> {
        self.state.code(code_hash)
    }

    fn block_hash(&self, number: u64) -> Result<B256, ReadError> {
        self.state.block_hash(number)
    }
}

#[test]
fn a_token_ends_payments_to_many_at_the_next_account() {
    let receiver = |nonce: u64| Address::from_word(B256::from(U256::from(1_000 + nonce)));
    let case = (0..600)
        .fold(Case::new(SpecId::CANCUN), |case, nonce| case.with(pay(ALICE, nonce, receiver(nonce), 1)));
    for (strategy, workers) in WAYS {
        let engine = engine(&case, workers);
        let token = CancelToken::default();
        let options = ExecuteOptions { cancel: token.clone(), ..options(strategy) };
        let reader = Arc::new(Cancelling { state: case.state.clone(), token, asked: AtomicUsize::new(0) });
        let answer = case.execute_with(&engine, Arc::clone(&reader) as _, &options);
        assert_eq!(answer.unwrap_err(), TOKEN, "{strategy} on {workers}");
        // Whoever was about to ask, still asks.
        let asked = reader.asked.load(Ordering::SeqCst);
        assert!(asked <= 20 + 2 * workers, "{strategy} on {workers}: {asked} accounts");
        check_usable(&engine);
    }
}
