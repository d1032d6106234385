//! Accounts that let a contract's code stand for their own ([EIP-7702](https://eips.ethereum.org/EIPS/eip-7702)).

use crate::{
    case::{ALICE, BOB, CAROL, Case, GAS_PRICE, RICH, ask, call, pay},
    code::Code,
};
use alloy_eips::eip7702::Authorization;
use alloy_primitives::{Address, Bytes, U256};
use citius_engine::BlockError;
use revm::{
    bytecode::opcode as op,
    context::{TxEnv, result::InvalidTransaction},
    context_interface::{
        either::Either,
        transaction::{RecoveredAuthority, RecoveredAuthorization},
    },
    primitives::hardfork::SpecId,
};
use std::collections::BTreeMap;

const COUNTER: Address = Address::repeat_byte(0xc0);
const GIVER: Address = Address::repeat_byte(0x61);
const STRANGER: Address = Address::repeat_byte(0x57);

/// Adds one to its slot 0.
fn counter() -> Bytes {
    Code::new().load(0).push(1).op(op::ADD).store(0).bytes()
}

/// Code that stands for another's.
fn designator(to: Address) -> Bytes {
    [&[0xef, 0x01, 0x00], to.as_slice()].concat().into()
}

fn case() -> Case {
    Case::new(SpecId::PRAGUE).with_contract(COUNTER, 0, counter())
}

/// A call to nobody in particular that carries authorizations: (authority, its nonce, to whom).
fn delegate(from: Address, nonce: u64, authorizations: &[(Address, u64, Address)]) -> TxEnv {
    let authorization_list = authorizations
        .iter()
        .map(|(authority, nonce, address)| {
            Either::Right(RecoveredAuthorization::new_unchecked(
                Authorization { chain_id: U256::ONE, address: *address, nonce: *nonce },
                RecoveredAuthority::Valid(*authority),
            ))
        })
        .collect();
    TxEnv {
        tx_type: 4,
        chain_id: Some(1),
        gas_priority_fee: Some(1),
        authorization_list,
        ..call(from, nonce, Address::repeat_byte(0xdd))
    }
}

#[test]
fn a_delegation_set_by_one_transaction_is_used_by_the_next() {
    let done = case()
        .with(call(CAROL, 0, ALICE)) // not delegated yet
        .with(delegate(BOB, 0, &[(ALICE, 0, COUNTER)]))
        .with(call(CAROL, 1, ALICE))
        .with(call(CAROL, 2, ALICE))
        .executes();
    assert_eq!(done.statuses(), [true; 4]);
    assert_eq!(done.code(ALICE), designator(COUNTER));
    assert_eq!((done.account(ALICE).unwrap().nonce, done.balance(ALICE)), (1, RICH));
    assert_eq!(done.storage(ALICE), BTreeMap::from([(0, 2)]));
    assert_eq!(done.storage(COUNTER), BTreeMap::new());
}

#[test]
fn a_cleared_delegation_leaves_the_storage_and_no_code() {
    let done = case()
        .with(delegate(BOB, 0, &[(ALICE, 0, COUNTER)]))
        .with(call(CAROL, 0, ALICE))
        .with(delegate(BOB, 1, &[(ALICE, 1, Address::ZERO)]))
        .with(call(CAROL, 1, ALICE))
        .executes();
    let account = done.account(ALICE).unwrap();
    assert_eq!((account.nonce, account.has_code()), (2, false));
    assert_eq!(done.storage(ALICE), BTreeMap::from([(0, 1)]));
    assert!(!done.outcome.changes.account(ALICE).unwrap().storage_wiped);
}

#[test]
fn a_delegation_can_change_hands_within_one_list() {
    let other = Address::repeat_byte(0xc1);
    let done = case()
        .with_contract(other, 0, Code::new().push(9).store(9).bytes())
        .with(delegate(BOB, 0, &[(ALICE, 0, COUNTER), (ALICE, 7, COUNTER), (ALICE, 1, other)]))
        .with(call(CAROL, 0, ALICE))
        .executes();
    // The one in the middle has a wrong nonce: it is skipped.
    assert_eq!(done.code(ALICE), designator(other));
    assert_eq!(done.account(ALICE).unwrap().nonce, 2);
    assert_eq!(done.storage(ALICE), BTreeMap::from([(9, 9)]));
}

#[test]
fn a_delegated_sender_may_send() {
    let done = case()
        .with(delegate(BOB, 0, &[(ALICE, 0, COUNTER)]))
        .with(pay(ALICE, 1, STRANGER, 5))
        .with(call(CAROL, 0, ALICE))
        .with(pay(ALICE, 2, STRANGER, 5))
        .executes();
    assert_eq!(done.statuses(), [true; 4]);
    assert_eq!(done.balance(STRANGER), 10);
    assert_eq!(done.balance(ALICE), RICH - 10 - 2 * 21_000 * GAS_PRICE);
    assert_eq!((done.account(ALICE).unwrap().nonce, done.slot(ALICE, 0)), (3, 1));
}

#[test]
fn a_sender_that_delegates_itself_spends_two_nonces() {
    let done = case()
        .with(delegate(ALICE, 0, &[(ALICE, 1, COUNTER)]))
        .with(call(CAROL, 0, ALICE))
        .with(pay(ALICE, 2, STRANGER, 1))
        .executes();
    assert_eq!((done.account(ALICE).unwrap().nonce, done.slot(ALICE, 0)), (3, 1));
}

#[test]
fn a_nonce_that_a_delegation_took_is_too_low() {
    let error =
        case().with(delegate(BOB, 0, &[(ALICE, 0, COUNTER)])).with(pay(ALICE, 0, STRANGER, 1)).is_refused();
    let BlockError::InvalidTransaction { index: 1, error, .. } = error else { panic!("{error}") };
    assert_eq!(error, InvalidTransaction::NonceTooLow { tx: 0, state: 1 });
}

#[test]
fn a_delegation_whose_nonce_was_spent_in_the_block_is_skipped() {
    let done = case()
        .with(pay(ALICE, 0, STRANGER, 1))
        .with(delegate(BOB, 0, &[(ALICE, 0, COUNTER)]))
        .with(pay(ALICE, 1, STRANGER, 1))
        .with(call(CAROL, 0, ALICE))
        .executes();
    let account = done.account(ALICE).unwrap();
    assert_eq!((account.nonce, account.has_code(), done.slot(ALICE, 0)), (2, false, 0));
}

#[test]
fn delegations_are_not_followed_twice() {
    let done = case()
        .with(delegate(CAROL, 0, &[(BOB, 0, COUNTER), (ALICE, 0, BOB)]))
        .with(call(CAROL, 1, BOB))
        .with(call(CAROL, 2, ALICE)) // executes the designator itself, which is no code
        .executes();
    assert_eq!(done.statuses(), [true, true, false]);
    assert_eq!((done.code(ALICE), done.code(BOB)), (designator(BOB), designator(COUNTER)));
    assert_eq!((done.slot(ALICE, 0), done.slot(BOB, 0)), (0, 1));
}

#[test]
fn an_authority_that_never_existed_exists_afterwards_and_has_storage() {
    let done = case()
        .with(delegate(BOB, 0, &[(STRANGER, 0, COUNTER)]))
        .with(call(CAROL, 0, STRANGER))
        .with(call(ALICE, 0, STRANGER))
        .executes();
    let account = done.account(STRANGER).unwrap();
    assert_eq!((account.nonce, account.balance), (1, U256::ZERO));
    assert_eq!(done.storage(STRANGER), BTreeMap::from([(0, 2)]));
}

#[test]
fn a_sender_drained_through_its_delegation_cannot_pay() {
    // Sends all the ether it stands for to the stranger.
    let giver = Code::new()
        .ops(&[op::PUSH1, 0, op::DUP1, op::DUP1, op::DUP1, op::SELFBALANCE])
        .push_address(STRANGER)
        .push(50_000)
        .op(op::CALL)
        .bytes();
    let case = case()
        .with_contract(GIVER, 0, giver)
        .with(delegate(BOB, 0, &[(ALICE, 0, GIVER)]))
        .with(pay(ALICE, 1, CAROL, 5))
        .with(ask(CAROL, 0, ALICE, 0));
    let drained = case.executes();
    assert_eq!((drained.balance(ALICE), drained.balance(STRANGER)), (0, RICH - 5 - 21_000 * GAS_PRICE));

    let error = case.with(pay(ALICE, 2, CAROL, 5)).is_refused();
    let BlockError::InvalidTransaction { index: 3, error, .. } = error else { panic!("{error}") };
    let fee = Box::new(U256::from(21_000 * GAS_PRICE + 5));
    assert_eq!(error, InvalidTransaction::LackOfFundForMaxFee { fee, balance: Box::new(U256::ZERO) });
}
