//! States that hold only what a block needs, or not even that.

use crate::{
    case::{ALICE, BOB, CAROL, Case, ask, call, check_same, create, pay},
    code::{Code, deploys},
    readers::Counting,
    schedule::Order,
    support::{COUNTER, STRANGER, config, counter, engine, expected, options, pool},
};
use alloy_primitives::{Address, Bytes};
use citius_engine::{
    BlockError, BlockOutcome, Engine, EngineConfig, ExecuteOptions, ExecutionError, StrategyChoice,
    scheduler::ScheduleFuzz,
};
use citius_state::{MemoryState, ReadError, StateKey, StateReader};
use revm::{bytecode::opcode as op, context::TxEnv, primitives::hardfork::SpecId};
use std::{collections::HashSet, sync::Arc};

const WITNESS: Address = Address::repeat_byte(0x31);
const SWITCH: Address = Address::repeat_byte(0x50);
const OLD: Address = Address::repeat_byte(0x01);
const NEW: Address = Address::repeat_byte(0x02);

/// Reads accounts, slots, code and a block hash, creates a contract that writes at once, and pays somebody who does
/// not exist.
fn varied() -> Case {
    let code = Code::new()
        .ops(&[op::PUSH1, 4, op::BLOCKHASH, op::POP])
        .load(1)
        .store(2)
        .call(COUNTER, 0, None)
        .op(op::POP)
        .push_address(OLD)
        .ops(&[op::EXTCODESIZE])
        .store(3)
        .bytes();
    Case::new(SpecId::SHANGHAI)
        .with_contract(COUNTER, 0, counter())
        .with_contract(WITNESS, 0, code)
        .with_contract(OLD, 0, Bytes::from_static(&[op::STOP]))
        .with_slot(WITNESS, 1, 5)
        // Somebody paid the address before the contract is created there.
        .with_balance(CAROL.create(0), 1)
        .with(pay(ALICE, 0, STRANGER, 1))
        .with(call(BOB, 0, WITNESS))
        .with(create(CAROL, 0, deploys(Code::new().push(7).store(9), &counter())))
        .with(call(ALICE, 1, COUNTER))
        .with(call(BOB, 1, CAROL.create(0)))
}

/// What a serial execution asks for.
fn needed(case: &Case) -> HashSet<StateKey> {
    let reader = Arc::new(Counting::new(case.state.clone()));
    let options = options(StrategyChoice::Serial);
    case.execute_with(&engine(case, 1), Arc::clone(&reader) as Arc<dyn StateReader>, &options).unwrap();
    reader.asked().into_keys().collect()
}

/// Optimistically with the last transaction first.
fn backwards(case: &Case, reader: Arc<dyn StateReader>) -> Result<BlockOutcome, ExecutionError> {
    let transactions = case.block.transactions.len();
    let engine = Engine::new(case.chain.clone(), pool(transactions + 1), EngineConfig::default());
    let order = Arc::new(Order::backwards(case.begin_steps(), transactions as u32));
    let fuzz = Some(Arc::clone(&order) as Arc<dyn ScheduleFuzz>);
    let options = ExecuteOptions { fuzz, ..options(StrategyChoice::Optimistic) };
    let answer = case.execute_with(&engine, reader, &options);
    assert!(order.was_kept());
    answer
}

/// The answers of all parallel ways on what `reader` shows.
fn parallel(
    case: &Case,
    reader: impl Fn() -> Arc<dyn StateReader>,
) -> Vec<Result<BlockOutcome, ExecutionError>> {
    let mut answers = vec![backwards(case, reader())];
    for workers in [2, 8] {
        let engine = engine(case, workers);
        let options = options(StrategyChoice::Optimistic);
        answers.extend((0..10).map(|_| case.execute_with(&engine, reader(), &options)));
    }
    // Several transactions in one entry, and all of them.
    for batch_gas_max in [150_000, u64::MAX] {
        let config = EngineConfig { batch_gas_max, batches_per_thread_min: 0, ..config() };
        let engine = Engine::new(case.chain.clone(), pool(2), config);
        answers.push(case.execute_with(&engine, reader(), &options(StrategyChoice::Optimistic)));
    }
    answers
}

#[test]
fn a_witness_of_what_serial_needs_is_enough_for_all() {
    let case = varied();
    let expected = expected(&case);
    let witness = Counting::knows(&case.state, &needed(&case));
    for answer in parallel(&case, || Arc::new(witness.clone())) {
        check_same(&answer.unwrap(), &expected, "witness");
    }
}

#[test]
fn whatever_is_missing_is_named_alike_at_the_same_transaction() {
    let case = varied();
    let needed = needed(&case);
    let kinds = |is: fn(&StateKey) -> bool| needed.iter().filter(|key| is(key)).count();
    assert!(kinds(|key| matches!(key, StateKey::Account(_))) >= 8);
    assert!(kinds(|key| matches!(key, StateKey::Storage(..))) >= 3);
    assert!(kinds(|key| matches!(key, StateKey::Code(_))) >= 3);
    assert_eq!(kinds(|key| matches!(key, StateKey::BlockHash(_))), 1);
    for key in needed.iter().copied() {
        let reader = || Arc::new(Counting::without(case.state.clone(), key)) as Arc<dyn StateReader>;
        let serial =
            case.execute_with(&engine(&case, 1), reader(), &options(StrategyChoice::Serial)).unwrap_err();
        let ExecutionError::Refused(BlockError::State { index: Some(_), error }) = &serial else {
            panic!("{serial}")
        };
        assert_eq!(*error, ReadError::NotInWitness { key });
        for answer in parallel(&case, reader) {
            assert_eq!(answer.unwrap_err(), serial, "without {key}");
        }
    }
}

#[test]
fn of_many_missing_keys_the_first_that_is_needed_is_named() {
    let case = varied();
    // Nobody but the senders, and then Bob's contract without its code.
    let senders = [ALICE, BOB, CAROL].map(StateKey::Account);
    for (known, index) in [(vec![], 0), (vec![STRANGER, crate::case::MINER, WITNESS], 1)] {
        let keys = senders.into_iter().chain(known.into_iter().map(StateKey::Account)).collect();
        let witness = Counting::knows(&case.state, &keys);
        let reader = || Arc::new(witness.clone()) as Arc<dyn StateReader>;
        let serial =
            case.execute_with(&engine(&case, 1), reader(), &options(StrategyChoice::Serial)).unwrap_err();
        let ExecutionError::Refused(error) = &serial else { panic!("{serial}") };
        assert_eq!(error.transaction_index(), Some(index));
        for answer in parallel(&case, reader) {
            assert_eq!(answer.unwrap_err(), serial);
        }
    }
}

/// Given data, takes it for its slot 0; else follows what slot 0 says.
fn switch(follow: Code) -> Bytes {
    let turn = Code::new().argument().store(0).op(op::STOP);
    Code::new().op(op::CALLDATASIZE).when(turn).ops(&follow.bytes()).bytes()
}

/// The first transaction turns the switch from 1 to 2; the second follows it. Only a second transaction that runs
/// before the first needs what lies where 1 points.
fn check_guess_is_harmless(case: Case, missing: StateKey) {
    let case = case
        .with_slot(SWITCH, 0, 1)
        .with(ask(ALICE, 0, SWITCH, 2))
        .with(call(BOB, 0, SWITCH))
        .with(pay(CAROL, 0, STRANGER, 1));
    let needed = needed(&case);
    assert!(!needed.contains(&missing), "{missing} is needed after all");
    let expected = expected(&case);
    assert_eq!(expected.transactions.iter().filter(|transaction| transaction.result.is_success()).count(), 3);
    let witness = Counting::knows(&case.state, &needed);
    // Executed backwards, the missing key is asked for.
    let reader = Arc::new(Counting::new(case.state.clone()));
    backwards(&case, Arc::clone(&reader) as Arc<dyn StateReader>).unwrap();
    assert!(reader.asked().contains_key(&missing), "no guess needs {missing}");
    for answer in parallel(&case, || Arc::new(witness.clone())) {
        check_same(&answer.unwrap(), &expected, &format!("without {missing}"));
    }
}

#[test]
fn a_slot_that_only_a_guess_reads_need_not_be_there() {
    let follow = Code::new().load(0).ops(&[op::SLOAD]).store(9);
    let case = Case::new(SpecId::SHANGHAI).with_contract(SWITCH, 0, switch(follow)).with_slot(SWITCH, 2, 22);
    check_guess_is_harmless(case, StateKey::Storage(SWITCH, alloy_primitives::U256::ONE));
}

#[test]
fn an_account_that_only_a_guess_reads_need_not_be_there() {
    // The switch says 1 or 2, and the address is that number.
    let follow = Code::new().load(0).ops(&[op::BALANCE]).store(9);
    let case = Case::new(SpecId::SHANGHAI).with_contract(SWITCH, 0, switch(follow));
    let (one, two) = (Address::with_last_byte(1), Address::with_last_byte(2));
    check_guess_is_harmless(case.with_balance(one, 5).with_balance(two, 6), StateKey::Account(one));
}

#[test]
fn code_that_only_a_guess_runs_need_not_be_there() {
    // Times an address of twenty equal bytes: calls `OLD` or `NEW`.
    let follow = Code::new()
        .ops(&[op::PUSH1, 0, op::DUP1, op::DUP1, op::DUP1, op::DUP1])
        .push_address(OLD)
        .load(0)
        .ops(&[op::MUL, op::GAS, op::CALL])
        .store(9);
    let code = |number| Code::new().push(number).store(number).bytes();
    let case = Case::new(SpecId::SHANGHAI)
        .with_contract(SWITCH, 0, switch(follow))
        .with_contract(OLD, 0, code(1))
        .with_contract(NEW, 0, code(2));
    let hash = case.state.account(OLD).unwrap().unwrap().code_hash;
    check_guess_is_harmless(case, StateKey::Code(hash));
}

#[test]
fn a_block_hash_that_only_a_guess_reads_need_not_be_there() {
    let follow = Code::new().load(0).ops(&[op::BLOCKHASH]).store(9);
    let case = Case::new(SpecId::SHANGHAI).with_contract(SWITCH, 0, switch(follow));
    check_guess_is_harmless(case, StateKey::BlockHash(1));
}

#[test]
fn a_transaction_without_room_is_refused_for_that_whatever_the_witness_lacks() {
    let case = Case::new(SpecId::SHANGHAI).with(pay(ALICE, 0, STRANGER, 1));
    // It would fit alone, not behind another.
    let gas_limit = case.block.header.gas_limit;
    let case = case.with(TxEnv { gas_limit, ..pay(BOB, 0, STRANGER, 1) });
    let reader = || {
        let missing = StateKey::Account(BOB);
        Arc::new(Counting::without(case.state.clone(), missing)) as Arc<dyn StateReader>
    };
    let serial =
        case.execute_with(&engine(&case, 1), reader(), &options(StrategyChoice::Serial)).unwrap_err();
    let without_room =
        matches!(serial, ExecutionError::Refused(BlockError::BlockGasExceeded { index: 1, .. }));
    assert!(without_room, "{serial}");
    for answer in parallel(&case, reader) {
        assert_eq!(answer.unwrap_err(), serial);
    }
}

#[test]
fn a_witness_without_the_beneficiary_is_refused_at_the_first_transaction() {
    let case = varied();
    let missing = StateKey::Account(crate::case::MINER);
    let keys: HashSet<_> = needed(&case).into_iter().filter(|key| *key != missing).collect();
    let witness: MemoryState = Counting::knows(&case.state, &keys);
    let refused = ExecutionError::Refused(BlockError::State {
        index: Some(0),
        error: ReadError::NotInWitness { key: missing },
    });
    for answer in parallel(&case, || Arc::new(witness.clone())) {
        assert_eq!(answer.unwrap_err(), refused);
    }
}
