//! What the engine may ask a reader for: nothing twice, and nothing that cannot be answered.

use crate::{
    case::{ALICE, BOB, CAROL, Case, call, create, pay},
    code::{Code, deploys},
    readers::Counting,
    support::{COUNTER, STRANGER, counter, engine, options},
};
use alloy_primitives::Address;
use citius_engine::StrategyChoice;
use citius_state::{StateKey, StateReader};
use revm::{bytecode::opcode as op, primitives::hardfork::SpecId};
use std::{collections::HashMap, sync::Arc};

const WITNESS: Address = Address::repeat_byte(0x31);

/// Everybody reads the same accounts, slots, code and block hashes.
fn crowded() -> Case {
    let code = Code::new()
        .ops(&[op::PUSH1, 3, op::BLOCKHASH, op::POP])
        .load(1)
        .op(op::POP)
        .load(2)
        .op(op::POP)
        .push_address(STRANGER)
        .ops(&[op::BALANCE, op::POP])
        .call(COUNTER, 0, None)
        .bytes();
    let case = Case::new(SpecId::CANCUN)
        .with_contract(COUNTER, 0, counter())
        .with_contract(WITNESS, 0, code)
        .with_slot(WITNESS, 1, 5);
    (0..10).fold(case, |case, nonce| {
        case.with(call(ALICE, nonce, WITNESS))
            .with(call(BOB, nonce, WITNESS))
            .with(pay(CAROL, nonce, STRANGER, 1))
    })
}

/// How often each key was asked for, over two blocks of one stream.
fn asked(case: &Case, strategy: StrategyChoice, workers: usize) -> HashMap<StateKey, usize> {
    let engine = engine(case, workers);
    let reader = Arc::new(Counting::new(case.state.clone()));
    let mut stream = engine.stream(Arc::clone(&reader) as Arc<dyn StateReader>, &options(strategy));
    let (mut first, mut second) = (case.block.clone(), case.block.clone());
    let half = case.block.transactions.len() / 2;
    first.transactions.truncate(half);
    second.transactions.drain(..half);
    second.header.number += 1;
    second.header.parent_hash = first.header.hash_slow();
    stream.submit(Arc::new(first));
    stream.submit(Arc::new(second));
    while let Some(answer) = stream.next() {
        answer.unwrap();
    }
    reader.asked()
}

/// Keys of some kind that were asked for more than once.
fn twice(case: &Case, strategy: StrategyChoice, is_meant: fn(&StateKey) -> bool) -> Vec<(StateKey, usize)> {
    let mut found = Vec::new();
    for _ in 0..20 {
        found.extend(asked(case, strategy, 8).into_iter().filter(|(key, count)| is_meant(key) && *count > 1));
    }
    found
}

#[test]
fn accounts_and_slots_are_asked_for_once_a_stream() {
    let is_meant = |key: &StateKey| matches!(key, StateKey::Account(_) | StateKey::Storage(..));
    for strategy in [StrategyChoice::Serial, StrategyChoice::Optimistic, StrategyChoice::Partitioned] {
        assert_eq!(twice(&crowded(), strategy, is_meant), []);
    }
    assert!(asked(&crowded(), StrategyChoice::Serial, 1).len() >= 9);
}

#[test]
fn code_is_asked_for_once_a_stream() {
    let is_meant = |key: &StateKey| matches!(key, StateKey::Code(_));
    for strategy in [StrategyChoice::Serial, StrategyChoice::Optimistic, StrategyChoice::Partitioned] {
        assert_eq!(twice(&crowded(), strategy, is_meant), []);
    }
}

#[test]
fn block_hashes_are_asked_for_once_a_stream() {
    let is_meant = |key: &StateKey| matches!(key, StateKey::BlockHash(_));
    for strategy in [StrategyChoice::Serial, StrategyChoice::Optimistic, StrategyChoice::Partitioned] {
        assert_eq!(twice(&crowded(), strategy, is_meant), []);
    }
}

/// Expects that nobody is asked for a slot of an account that only this block makes.
fn check_no_slot_is_asked_of(account: Address, case: &Case) {
    for (strategy, workers) in
        [(StrategyChoice::Serial, 1), (StrategyChoice::Optimistic, 8), (StrategyChoice::Partitioned, 8)]
    {
        for _ in 0..20 {
            let slots: Vec<_> = asked(case, strategy, workers)
                .into_keys()
                .filter(|key| matches!(key, StateKey::Storage(address, _) if *address == account))
                .collect();
            assert_eq!(slots, [], "{strategy}: {account} does not exist");
        }
    }
}

#[test]
fn slots_of_a_created_contract_are_not_asked_for() {
    // Init code that reads and writes, then a contract that does, both where nothing was before the block.
    let runtime = Code::new().load(7).store(8).load(9).push(1).op(op::ADD).store(9).bytes();
    let init = deploys(Code::new().load(1).store(2).push(5).store(3), &runtime);
    let child = ALICE.create(0);
    let case = Case::new(SpecId::CANCUN)
        .with(create(ALICE, 0, init))
        .with(call(BOB, 0, child))
        .with(call(CAROL, 0, child))
        .with(call(BOB, 1, child));
    check_no_slot_is_asked_of(child, &case);
}
