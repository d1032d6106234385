//! Contracts that destroy themselves, and what stands at their addresses afterwards.

use crate::{
    case::{ALICE, BOB, CAROL, Case, Done, GAS_PRICE, RICH, ask, call, pay},
    code::{Code, created_by, deploys},
};
use alloy_primitives::{Address, Bytes};
use revm::{bytecode::opcode as op, primitives::hardfork::SpecId};
use std::collections::BTreeMap;

const FACTORY: Address = Address::repeat_byte(0xfa);
const READER: Address = Address::repeat_byte(0x4e);

/// Returns its slot 1; given data, destroys itself in favour of its caller.
fn mortal() -> Bytes {
    Code::new()
        .op(op::CALLDATASIZE)
        .when(Code::new().ops(&[op::CALLER, op::SELFDESTRUCT]))
        .load(1)
        .return_top()
        .bytes()
}

/// The mortal's init code: sets slot 2.
fn mortal_init() -> Bytes {
    deploys(Code::new().push(5).store(2), &mortal())
}

/// Creates the mortal with some wei; told 1, has it destroy itself at once.
fn factory(value: u64) -> Bytes {
    let child = created_by(FACTORY, &mortal_init());
    let destroy = Code::new().call(child, 0, Some(1)).op(op::POP);
    Code::new().create2(&mortal_init(), value).op(op::POP).argument().when(destroy).bytes()
}

/// Asks a contract, and stores what it returned, plus 100 a byte, where told.
fn reader(of: Address) -> Bytes {
    let ask = Code::new().call(of, 0, None).op(op::POP).push(0).op(op::MLOAD);
    ask.op(op::RETURNDATASIZE).push(100).ops(&[op::MUL, op::ADD]).store_where_told().bytes()
}

/// What the reader stores if the answer is `slot`.
const fn answered(slot: u64) -> u64 {
    3_200 + slot
}

/// The mortal exists with storage and 9 wei; reader and factory stand by.
fn case(spec: SpecId, value: u64) -> (Case, Address) {
    let child = created_by(FACTORY, &mortal_init());
    let case = Case::new(spec)
        .with_contract(child, 9, mortal())
        .with_slot(child, 1, 11)
        .with_slot(child, 2, 22)
        .with_slot(child, 3, 33)
        .with_contract(FACTORY, 100, factory(value))
        .with_contract(READER, 0, reader(child));
    (case, child)
}

fn spent(done: &Done, index: usize) -> u64 {
    done.gas(index) * GAS_PRICE
}

#[test]
fn storage_of_a_destroyed_contract_is_gone_when_it_is_created_again() {
    let (case, child) = case(SpecId::SHANGHAI, 0);
    let done = case
        .with(ask(ALICE, 0, READER, 0))
        .with(ask(BOB, 0, child, 1))
        .with(ask(ALICE, 1, READER, 1))
        .with(call(CAROL, 0, FACTORY))
        .with(ask(ALICE, 2, READER, 2))
        .executes();
    assert_eq!(done.statuses(), [true; 5]);
    // Before; between, when nobody answers; after.
    assert_eq!(done.storage(READER), BTreeMap::from([(0, answered(11)), (2, answered(0))]));
    assert_eq!(done.storage(child), BTreeMap::from([(2, 5)]));
    assert_eq!((done.code(child), done.balance(child)), (mortal(), 0));
    assert_eq!(done.balance(BOB), RICH + 9 - spent(&done, 1));
    let change = done.outcome.changes.account(child).unwrap();
    assert!(change.storage_wiped && change.before.is_some());
    assert_eq!(change.storage.len(), 1);
}

#[test]
fn what_the_block_wrote_before_the_destruction_is_gone_with_the_rest() {
    // Sets slots 4 and 2; given data, destroys itself in favour of its caller. Its init code sets slot 2.
    let diary = Code::new()
        .op(op::CALLDATASIZE)
        .when(Code::new().ops(&[op::CALLER, op::SELFDESTRUCT]))
        .push(7)
        .store(4)
        .push(8)
        .store(2)
        .bytes();
    let init = deploys(Code::new().push(5).store(2), &diary);
    let child = created_by(FACTORY, &init);
    let done = Case::new(SpecId::SHANGHAI)
        .with_contract(child, 9, diary)
        .with_slot(child, 4, 44)
        .with_contract(FACTORY, 0, Code::new().create2(&init, 0).bytes())
        .with(call(ALICE, 0, child))
        .with(ask(BOB, 0, child, 1))
        .with(call(CAROL, 0, FACTORY))
        .executes();
    assert_eq!(done.statuses(), [true; 3]);
    assert_eq!(done.storage(child), BTreeMap::from([(2, 5)]));
    let change = done.outcome.changes.account(child).unwrap();
    assert_eq!((change.storage_wiped, change.storage.len()), (true, 1));
}

#[test]
fn a_destroyed_contract_that_is_not_created_again_leaves_nothing() {
    let (case, child) = case(SpecId::SHANGHAI, 0);
    let done = case.with(ask(BOB, 0, child, 1)).with(ask(ALICE, 0, READER, 0)).executes();
    assert_eq!(done.account(child), None);
    assert_eq!((done.storage(child), done.storage(READER)), (BTreeMap::new(), BTreeMap::new()));
}

#[test]
fn ether_sent_to_a_destroyed_contract_makes_a_plain_account() {
    let (case, child) = case(SpecId::SHANGHAI, 0);
    let done = case
        .with(ask(BOB, 0, child, 1))
        .with(pay(CAROL, 0, child, 5))
        .with(ask(ALICE, 0, READER, 0))
        .executes();
    let account = done.account(child).unwrap();
    assert_eq!((account.nonce, account.has_code(), done.balance(child)), (0, false, 5));
    assert_eq!((done.storage(child), done.storage(READER)), (BTreeMap::new(), BTreeMap::new()));
    assert!(done.outcome.changes.account(child).unwrap().storage_wiped);
}

#[test]
fn a_contract_can_be_destroyed_twice_in_one_block() {
    let (case, child) = case(SpecId::SHANGHAI, 4);
    let done = case
        .with(ask(BOB, 0, child, 1))
        .with(call(CAROL, 0, FACTORY))
        .with(ask(BOB, 1, child, 1))
        .with(ask(ALICE, 0, READER, 0))
        .executes();
    assert_eq!((done.account(child), done.storage(READER)), (None, BTreeMap::new()));
    assert_eq!(done.balance(BOB), RICH + 9 + 4 - spent(&done, 0) - spent(&done, 2));
    assert_eq!(done.balance(FACTORY), 96);
}

#[test]
fn before_cancun_a_contract_can_be_created_destroyed_and_created_in_three_transactions() {
    let (mut case, child) = case(SpecId::SHANGHAI, 7);
    case.state.set_absent(child);
    let done = case
        .with(ask(CAROL, 0, FACTORY, 1)) // creates and destroys
        .with(ask(ALICE, 0, READER, 0))
        .with(call(CAROL, 1, FACTORY))
        .with(ask(ALICE, 1, READER, 1))
        .with(ask(BOB, 0, child, 1))
        .with(call(CAROL, 2, FACTORY))
        .executes();
    assert_eq!(done.storage(READER), BTreeMap::from([(1, answered(0))]));
    assert_eq!(done.storage(child), BTreeMap::from([(2, 5)]));
    assert_eq!((done.balance(child), done.balance(FACTORY)), (7, 86));
}

#[test]
fn after_cancun_only_a_contract_of_the_same_transaction_is_destroyed() {
    let (mut case, child) = case(SpecId::CANCUN, 7);
    case.state.set_absent(child);
    let done = case
        .with(ask(CAROL, 0, FACTORY, 1)) // creates and destroys
        .with(ask(ALICE, 0, READER, 0))
        .with(call(CAROL, 1, FACTORY))
        .with(ask(BOB, 0, child, 1)) // only moves the balance
        .with(ask(ALICE, 1, READER, 1))
        .executes();
    assert_eq!(done.statuses(), [true; 5]);
    assert_eq!(done.storage(READER), BTreeMap::from([(1, answered(0))]));
    assert_eq!((done.code(child), done.storage(child)), (mortal(), BTreeMap::from([(2, 5)])));
    assert_eq!((done.balance(child), done.balance(FACTORY)), (0, 93));
    assert_eq!(done.balance(BOB), RICH + 7 - spent(&done, 3));
}

#[test]
fn after_cancun_an_older_contract_keeps_code_and_storage() {
    let (case, child) = case(SpecId::CANCUN, 0);
    let done = case
        .with(ask(BOB, 0, child, 1))
        .with(ask(ALICE, 0, READER, 0))
        .with(call(CAROL, 0, FACTORY)) // collides
        .executes();
    assert_eq!(done.slot(READER, 0), answered(11));
    assert_eq!((done.code(child), done.balance(child)), (mortal(), 0));
    assert_eq!(done.storage(child), BTreeMap::from([(1, 11), (2, 22), (3, 33)]));
    let change = done.outcome.changes.account(child).unwrap();
    assert!(!change.storage_wiped && change.storage.is_empty());
}

#[test]
fn after_cancun_an_heir_of_itself_burns_its_ether_only_in_its_creating_transaction() {
    let selfish =
        Code::new().op(op::CALLDATASIZE).when(Code::new().ops(&[op::ADDRESS, op::SELFDESTRUCT])).bytes();
    let init = deploys(Code::new(), &selfish);
    let child = created_by(FACTORY, &init);
    let old = Address::repeat_byte(0x01);
    // What arrives after the destruction, in the same transaction, is burnt as well.
    let factory = Code::new()
        .create2(&init, 7)
        .op(op::POP)
        .call(child, 0, Some(1))
        .op(op::POP)
        .call(child, 3, None)
        .op(op::POP)
        .bytes();
    let done = Case::new(SpecId::CANCUN)
        .with_contract(FACTORY, 100, factory)
        .with_contract(old, 50, selfish)
        .with(call(ALICE, 0, FACTORY))
        .with(ask(BOB, 0, old, 1))
        .with(pay(CAROL, 0, child, 2))
        .executes();
    assert_eq!((done.balance(FACTORY), done.balance(old)), (90, 50));
    assert_eq!((done.balance(child), done.code(child)), (2, Bytes::new()));
}
