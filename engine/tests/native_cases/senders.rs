//! Long chains of one sender's transactions, and senders that can just, or just not, pay.

use crate::{
    case::{ALICE, BOB, CAROL, Case, GAS_PRICE, RICH, ask, call, create, pay},
    code::{Code, deploys},
};
use alloy_primitives::{Address, Bytes, U256};
use citius_engine::BlockError;
use citius_state::Account;
use revm::{
    bytecode::opcode as op,
    context::{TxEnv, result::InvalidTransaction},
    primitives::hardfork::SpecId,
};

const STRANGER: Address = Address::repeat_byte(0x57);
const POOR: Address = Address::repeat_byte(0x90);
const COUNTER: Address = Address::repeat_byte(0xc0);
/// What a payment costs besides its value.
const FEE: u64 = 21_000 * GAS_PRICE;

fn counter() -> Bytes {
    Code::new().load(0).push(1).op(op::ADD).store(0).bytes()
}

/// The index of the transaction at fault and what is wrong with it.
fn invalid(error: BlockError) -> (usize, InvalidTransaction) {
    match error {
        BlockError::InvalidTransaction { index, error, .. } => (index, error),
        other => panic!("{other}"),
    }
}

fn lacks(fee: u64, balance: u64) -> InvalidTransaction {
    InvalidTransaction::LackOfFundForMaxFee {
        fee: Box::new(U256::from(fee)),
        balance: Box::new(U256::from(balance)),
    }
}

#[test]
fn fifty_transactions_of_one_sender_follow_each_other() {
    let case =
        (0..50).fold(Case::new(SpecId::CANCUN), |case, nonce| case.with(pay(ALICE, nonce, STRANGER, 3)));
    let done = case.executes();
    assert_eq!((done.balance(STRANGER), done.account(ALICE).unwrap().nonce), (150, 50));
    assert_eq!(done.balance(ALICE), RICH - 150 - 50 * FEE);
}

#[test]
fn fifty_transactions_of_one_sender_count_to_fifty() {
    let case = Case::new(SpecId::CANCUN).with_contract(COUNTER, 0, counter());
    let case = (0..50).fold(case, |case, nonce| case.with(call(ALICE, nonce, COUNTER)));
    let done = case.executes();
    assert_eq!((done.slot(COUNTER, 0), done.account(ALICE).unwrap().nonce), (50, 50));
}

#[test]
fn a_gap_in_a_long_chain_is_refused_where_it_is() {
    let nonces = (0..20).chain(21..30);
    let case =
        nonces.fold(Case::new(SpecId::CANCUN), |case, nonce| case.with(pay(ALICE, nonce, STRANGER, 3)));
    assert_eq!(invalid(case.is_refused()), (20, InvalidTransaction::NonceTooHigh { tx: 21, state: 20 }));
}

#[test]
fn a_nonce_twice_in_a_long_chain_is_refused_where_it_is() {
    let nonces = (0..20).chain(19..30);
    let case =
        nonces.fold(Case::new(SpecId::CANCUN), |case, nonce| case.with(pay(ALICE, nonce, STRANGER, 3)));
    assert_eq!(invalid(case.is_refused()), (20, InvalidTransaction::NonceTooLow { tx: 19, state: 20 }));
}

#[test]
fn transactions_of_other_kinds_count_in_a_chain_too() {
    let init = deploys(Code::new(), &counter());
    let contract = ALICE.create(1);
    let done = Case::new(SpecId::CANCUN)
        .with(pay(ALICE, 0, STRANGER, 1))
        .with(create(ALICE, 1, init))
        .with(call(ALICE, 2, contract))
        .with(create(ALICE, 3, Code::new().push(0).push(0).op(op::REVERT).bytes()))
        .with(call(ALICE, 4, contract))
        .executes();
    assert_eq!(done.statuses(), [true, true, true, false, true]);
    assert_eq!((done.slot(contract, 0), done.account(ALICE).unwrap().nonce), (2, 5));
}

#[test]
fn a_sender_funded_in_the_block_can_send() {
    // It does not exist before the block.
    let case =
        Case::new(SpecId::CANCUN).with(pay(BOB, 0, STRANGER, 1)).with(pay(ALICE, 0, POOR, 3 * FEE + 60));
    let case = (0..3).fold(case, |case, nonce| case.with(pay(POOR, nonce, STRANGER, 20)));
    let done = case.executes();
    assert_eq!(done.balance(STRANGER), 61);
    assert_eq!(done.account(POOR), Some(Account { nonce: 3, ..Account::EMPTY }));

    // Funded a transaction too late.
    let mut late = case.clone();
    late.block.transactions.swap(1, 2);
    assert_eq!(invalid(late.is_refused()), (1, lacks(FEE + 20, 0)));
}

#[test]
fn a_sender_funded_by_a_contract_in_the_block_can_send() {
    let giver = Address::repeat_byte(0x61);
    let gives = Code::new().call(POOR, 2 * FEE, None).bytes();
    let done = Case::new(SpecId::CANCUN)
        .with_contract(giver, 10 * FEE, gives)
        .with(call(ALICE, 0, giver))
        .with(pay(POOR, 0, STRANGER, 0))
        .with(call(BOB, 0, giver))
        .with(pay(POOR, 1, STRANGER, FEE))
        .executes();
    assert_eq!((done.balance(POOR), done.balance(STRANGER)), (FEE, FEE));
}

#[test]
fn a_sender_that_spends_exactly_what_it_has_ends_with_nothing() {
    let case = Case::new(SpecId::CANCUN).with_balance(POOR, 3 * (FEE + 5));
    let case = case
        .with(pay(POOR, 0, STRANGER, 5))
        .with(pay(ALICE, 0, STRANGER, 1))
        .with(pay(POOR, 1, STRANGER, 5))
        .with(pay(BOB, 0, STRANGER, 1))
        .with(pay(POOR, 2, STRANGER, 5));
    let done = case.executes();
    assert_eq!(done.account(POOR), Some(Account { nonce: 3, ..Account::EMPTY }));

    // One wei less, and the last of them is refused: each alone could be paid.
    let refused = case.with_balance(POOR, 3 * (FEE + 5) - 1);
    assert_eq!(invalid(refused.is_refused()), (4, lacks(FEE + 5, FEE + 4)));
}

#[test]
fn a_sender_needs_what_its_gas_limit_may_cost_not_what_it_does_cost() {
    // The counter costs less than half of the limit.
    let limit = 400_000 * GAS_PRICE;
    let case = |balance| {
        Case::new(SpecId::CANCUN)
            .with_contract(COUNTER, 0, counter())
            .with_balance(POOR, balance)
            .with(call(POOR, 0, COUNTER))
            .with(call(ALICE, 0, COUNTER))
            .with(call(POOR, 1, COUNTER))
    };
    // First the counter is new, and costs more.
    let spent = case(2 * limit).executes().gas(0) * GAS_PRICE;
    assert_eq!(case(limit + spent).executes().statuses(), [true; 3]);
    let error = case(limit + spent - 1).is_refused();
    assert_eq!(invalid(error), (2, lacks(limit, limit - 1)));
}

#[test]
fn a_sender_whose_call_is_too_expensive_for_its_balance_mid_block_fails_inside() {
    // A contract forwards all it is given; what it has depends on the transactions before.
    let forwards = Code::new().call(STRANGER, 1_000, None).store_where_told().bytes();
    let done = Case::new(SpecId::CANCUN)
        .with_contract(COUNTER, 1_500, forwards)
        .with(ask(ALICE, 0, COUNTER, 0))
        .with(ask(BOB, 0, COUNTER, 1)) // has 500 left
        .with(TxEnv { value: U256::from(500), ..ask(CAROL, 0, COUNTER, 2) })
        .executes();
    assert_eq!([0, 1, 2].map(|slot| done.slot(COUNTER, slot)), [1, 0, 1]);
    assert_eq!((done.balance(COUNTER), done.balance(STRANGER)), (0, 2_000));
}
