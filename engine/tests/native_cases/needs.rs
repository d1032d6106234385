//! Which transactions need which: a block's trace, entry by entry, and that it did what the block does.

use crate::{
    case::{ALICE, BOB, CAROL, Case, GAS_PRICE, MINER, RICH, ask, call, check_same, create, pay},
    code::{Code, created_by, deploys},
};
use alloy_primitives::{Address, Bytes};
use citius_engine::{
    BlockError, BlockTrace, ExecuteOptions, ExecutionError, StrategyChoice, Transaction, WorkerPool,
};
use citius_state::StateReader;
use revm::{bytecode::opcode as op, primitives::hardfork::SpecId};
use std::{num::NonZeroUsize, sync::Arc, time::Duration};

const STRANGER: Address = Address::repeat_byte(0x57);
const BOX: Address = Address::repeat_byte(0xc0);
const LOOKER: Address = Address::repeat_byte(0x4e);
const FACTORY: Address = Address::repeat_byte(0xfa);
const POOR: Address = Address::repeat_byte(0x90);

/// What one transaction needs, with and without the chains of senders.
type Needs = (Vec<usize>, Vec<usize>);

fn trace_blocks(
    case: &Case,
    blocks: &[Arc<citius_engine::Block>],
) -> Result<Vec<BlockTrace>, ExecutionError> {
    let engine = case.engine(&WorkerPool::unpinned(NonZeroUsize::MIN).unwrap());
    let reader: Arc<dyn StateReader> = Arc::new(case.state.clone());
    engine.trace(&reader, blocks, 2)
}

/// Traces the block, compares its outcome with the serial one, and tells what each transaction needs. In these
/// blocks no transaction needs, or is needed by, what begins and ends them.
fn needs(case: &Case) -> Vec<Needs> {
    let mut trace = trace_blocks(case, &[Arc::new(case.block.clone())]).unwrap().remove(0);
    let engine = case.engine(&WorkerPool::unpinned(NonZeroUsize::MIN).unwrap());
    let options = ExecuteOptions { strategy: StrategyChoice::Serial, ..ExecuteOptions::default() };
    let serial = case.execute_with(&engine, Arc::new(case.state.clone()), &options).unwrap();
    trace.outcome.changes.sort();
    check_same(&trace.outcome, &serial, "traced");
    let first = case.begin_steps() as usize;
    let transactions = serial.transactions.len();
    for (place, entry) in trace.entries.iter().enumerate() {
        let index = place.checked_sub(first).filter(|index| *index < transactions);
        assert_eq!(entry.transaction, index);
        assert_eq!(entry.gas_used, index.map_or(0, |index| serial.transactions[index].gas_used()));
        assert!(entry.time > Duration::ZERO);
        assert!(index.is_some() || entry.needs.is_empty());
    }
    let places = |places: &[usize]| places.iter().map(|place| place - first).collect();
    let entries = &trace.entries[first..first + transactions];
    entries.iter().map(|entry| (places(&entry.needs), places(&entry.needs_but_for_nonce))).collect()
}

/// Needs that are no matter of nonces.
fn both(places: &[usize]) -> Needs {
    (places.to_vec(), places.to_vec())
}

/// Needs for the nonce's sake alone.
fn nonce(places: &[usize]) -> Needs {
    (places.to_vec(), Vec::new())
}

fn counter() -> Bytes {
    Code::new().load(0).push(1).op(op::ADD).store(0).bytes()
}

#[test]
fn payments_to_one_account_need_each_other_not_at_all() {
    let case = Case::new(SpecId::CANCUN)
        .with(pay(ALICE, 0, STRANGER, 1))
        .with(pay(BOB, 0, STRANGER, 2))
        .with(pay(CAROL, 0, ALICE, 3));
    assert_eq!(needs(&case), [both(&[]), both(&[]), both(&[])]);
}

#[test]
fn one_senders_transactions_need_each_other_for_the_nonce_alone() {
    let case = Case::new(SpecId::CANCUN)
        .with(pay(ALICE, 0, STRANGER, 1))
        .with(pay(BOB, 0, STRANGER, 1))
        .with(call(ALICE, 1, STRANGER))
        .with(pay(ALICE, 2, BOB, 1));
    assert_eq!(needs(&case), [both(&[]), both(&[]), nonce(&[0]), nonce(&[2])]);
    // A creation counts as seeing all of its creator, the balance too.
    let case = case.with(create(ALICE, 3, deploys(Code::new(), &counter())));
    assert_eq!(needs(&case)[4], both(&[0, 2, 3]));
}

#[test]
fn who_counts_needs_who_counted_last() {
    let case = Case::new(SpecId::CANCUN)
        .with_contract(BOX, 0, counter())
        .with(call(ALICE, 0, BOX))
        .with(call(BOB, 0, BOX))
        .with(pay(CAROL, 0, STRANGER, 1))
        .with(call(CAROL, 1, BOX));
    assert_eq!(needs(&case), [both(&[]), both(&[0]), both(&[]), (vec![1, 2], vec![1])]);
}

#[test]
fn a_value_that_is_written_back_is_needed_only_of_who_wrote_it_back() {
    // Stores what it is told, if anything, and looks at it.
    let tell = Code::new().argument().when(Code::new().argument().store(0)).load(0).op(op::POP).bytes();
    let case = Case::new(SpecId::CANCUN)
        .with_contract(BOX, 0, tell)
        .with_slot(BOX, 0, 5)
        .with(ask(ALICE, 0, BOX, 5))
        .with(call(BOB, 0, BOX));
    // A store of the value that is there changes nothing: nobody needs it.
    assert_eq!(needs(&case), [both(&[]), both(&[])]);
    let case = case.with(ask(BOB, 1, BOX, 7)).with(ask(ALICE, 1, BOX, 5)).with(call(CAROL, 0, BOX));
    let needs = needs(&case);
    assert_eq!(needs[2], nonce(&[1]));
    assert_eq!(needs[3], (vec![0, 2], vec![2]));
    assert_eq!(needs[4], both(&[3]), "not the first to store that value, and not the one in between");
}

#[test]
fn who_spends_needs_all_who_paid_for_it_and_its_own_last_transaction() {
    let spends = 3 * 21_000 * GAS_PRICE;
    let case = Case::new(SpecId::CANCUN)
        .with_balance(POOR, spends)
        .with(pay(POOR, 0, STRANGER, 1))
        .with(pay(ALICE, 0, POOR, spends))
        .with(pay(CAROL, 0, STRANGER, 1))
        .with(pay(BOB, 0, POOR, spends))
        .with(pay(POOR, 1, STRANGER, 2 * spends));
    let needs = needs(&case);
    assert_eq!(needs[4], (vec![0, 1, 3], vec![1, 3]));
}

#[test]
fn who_can_pay_anyway_needs_nobody_who_paid() {
    let case = Case::new(SpecId::CANCUN).with(pay(ALICE, 0, BOB, RICH / 2)).with(pay(BOB, 0, STRANGER, 1));
    assert_eq!(needs(&case), [both(&[]), both(&[])]);
}

#[test]
fn fees_are_needed_only_of_who_looks_at_them() {
    let looks = Code::new().push_address(MINER).op(op::BALANCE).store_where_told().bytes();
    let case = Case::new(SpecId::CANCUN)
        .with_contract(LOOKER, 0, looks)
        .with(pay(ALICE, 0, STRANGER, 1))
        .with(pay(BOB, 0, STRANGER, 1))
        .with(ask(CAROL, 0, LOOKER, 1))
        .with(pay(BOB, 1, STRANGER, 1));
    assert_eq!(needs(&case), [both(&[]), both(&[]), both(&[0, 1]), nonce(&[1])]);
}

#[test]
fn who_asks_a_destroyed_contract_needs_who_destroyed_it() {
    let mortal = Code::new()
        .op(op::CALLDATASIZE)
        .when(Code::new().ops(&[op::CALLER, op::SELFDESTRUCT]))
        .load(1)
        .return_top()
        .bytes();
    let init = deploys(Code::new().push(5).store(2), &mortal);
    let child = created_by(FACTORY, &init);
    let asks = Code::new().call(child, 0, None).op(op::POP).push(0).op(op::MLOAD).store_where_told().bytes();
    let case = Case::new(SpecId::SHANGHAI)
        .with_contract(child, 9, mortal)
        .with_slot(child, 1, 11)
        .with_contract(FACTORY, 100, Code::new().create2(&init, 0).op(op::POP).bytes())
        .with_contract(LOOKER, 0, asks)
        .with(ask(ALICE, 0, LOOKER, 1))
        .with(ask(BOB, 0, child, 1)) // destroys it
        .with(pay(CAROL, 0, STRANGER, 1))
        .with(call(CAROL, 1, FACTORY)) // creates it again
        .with(ask(ALICE, 1, LOOKER, 2));
    let needs = needs(&case);
    assert_eq!(needs[1], both(&[]));
    assert_eq!(needs[3], (vec![1, 2], vec![1]));
    // Its slot is empty since the destruction, its code is there since the creation.
    assert_eq!(needs[4], (vec![0, 1, 3], vec![1, 3]));
}

#[test]
fn a_factorys_nonce_is_no_matter_of_senders() {
    let creates = Code::new().push(0).push(0).push(0).ops(&[op::CREATE, op::POP]).bytes();
    let case = Case::new(SpecId::CANCUN)
        .with_contract(FACTORY, 0, creates)
        .with(call(ALICE, 0, FACTORY))
        .with(call(BOB, 0, FACTORY));
    assert_eq!(needs(&case), [both(&[]), both(&[0])]);
}

#[test]
fn entries_of_an_earlier_block_count_as_done() {
    let case = Case::new(SpecId::SHANGHAI).with_contract(BOX, 0, counter());
    let block = |number: u64, nonce: u64| {
        let mut block = case.block.clone();
        block.header.number += number;
        block.header.timestamp += 12 * number;
        let envs = [call(ALICE, nonce, BOX), call(BOB, nonce, BOX)];
        block.transactions = envs.into_iter().map(|env| Transaction::new(env, Default::default())).collect();
        Arc::new(block)
    };
    let blocks = [block(0, 0), block(1, 1)];
    let engine = case.engine(&WorkerPool::unpinned(NonZeroUsize::MIN).unwrap());
    let options = ExecuteOptions { strategy: StrategyChoice::Serial, ..ExecuteOptions::default() };
    let mut stream = engine.stream(Arc::new(case.state.clone()), &options);
    blocks.iter().for_each(|block| stream.submit(Arc::clone(block)));
    let traces = trace_blocks(&case, &blocks).unwrap();
    assert_eq!(traces.len(), 2);
    for mut trace in traces {
        let mut serial = stream.next().unwrap().unwrap();
        serial.changes.sort();
        trace.outcome.changes.sort();
        check_same(&trace.outcome, &serial, "traced");
        let needs: Vec<&[usize]> = trace.entries.iter().map(|entry| entry.needs.as_slice()).collect();
        assert_eq!(needs, [&[][..], &[0], &[]]);
    }
}

#[test]
fn a_block_that_is_refused_has_no_trace() {
    let case = Case::new(SpecId::CANCUN).with(pay(ALICE, 0, STRANGER, 1)).with(pay(ALICE, 2, STRANGER, 1));
    let error = trace_blocks(&case, &[Arc::new(case.block.clone())]).unwrap_err();
    let ExecutionError::Refused(BlockError::InvalidTransaction { index, .. }) = error else {
        panic!("{error}")
    };
    assert_eq!(index, 1);
}
