//! The account that every transaction pays: read, used, destroyed and created in the middle of a block.

use crate::{
    case::{ALICE, BASE_FEE, BOB, CAROL, Case, Done, GAS_PRICE, MINER, RICH, ask, call, create, pay},
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
use std::collections::BTreeMap;

const WITNESS: Address = Address::repeat_byte(0x31);
const STRANGER: Address = Address::repeat_byte(0x57);
/// What the beneficiary gets for a unit of gas.
const TIP: u64 = GAS_PRICE - BASE_FEE;

/// Stores the beneficiary's balance where told.
fn witness() -> Bytes {
    Code::new().ops(&[op::COINBASE, op::BALANCE]).store_where_told().bytes()
}

fn mined_by(beneficiary: Address, spec: SpecId) -> Case {
    let mut case = Case::new(spec).with_contract(WITNESS, 0, witness());
    case.block.header.beneficiary = beneficiary;
    case
}

/// What these transactions paid.
fn tips(done: &Done, transactions: impl IntoIterator<Item = usize>) -> u64 {
    transactions.into_iter().map(|index| done.gas(index) * TIP).sum()
}

#[test]
fn the_balance_read_is_that_of_all_fees_so_far() {
    let done = mined_by(MINER, SpecId::SHANGHAI)
        .with_balance(MINER, 1_000)
        .with(pay(ALICE, 0, STRANGER, 1))
        .with(ask(BOB, 0, WITNESS, 0))
        .with(pay(ALICE, 1, STRANGER, 1))
        .with(pay(CAROL, 0, MINER, 50))
        .with(ask(BOB, 1, WITNESS, 1))
        .with(pay(ALICE, 2, STRANGER, 1))
        .executes();
    let expected = BTreeMap::from([(0, 1_000 + tips(&done, 0..1)), (1, 1_050 + tips(&done, 0..4))]);
    assert_eq!(done.storage(WITNESS), expected);
    assert_eq!(done.balance(MINER), 1_050 + tips(&done, 0..6));
}

#[test]
fn a_beneficiary_that_did_not_exist_is_created_by_its_first_fee() {
    let size = Code::new().ops(&[op::COINBASE, op::EXTCODEHASH, op::ISZERO]).store_where_told().bytes();
    let done = mined_by(MINER, SpecId::SHANGHAI)
        .with_contract(WITNESS, 0, size)
        .with(ask(ALICE, 0, WITNESS, 0))
        .with(ask(BOB, 0, WITNESS, 1))
        .executes();
    // The hash of what does not exist is zero.
    assert_eq!(done.storage(WITNESS), BTreeMap::from([(0, 1)]));
    assert_eq!(done.balance(MINER), tips(&done, 0..2));
}

#[test]
fn a_beneficiary_without_tips_stays_away() {
    let frugal = |from| TxEnv { gas_price: BASE_FEE.into(), ..pay(from, 0, STRANGER, 1) };
    let mut case = mined_by(MINER, SpecId::SHANGHAI).with(frugal(ALICE)).with(frugal(BOB));
    assert_eq!(case.executes().account(MINER), None);
    // An empty one that is left over is swept by paying it nothing.
    case = case.with_account(MINER, Account::EMPTY);
    assert_eq!(case.executes().account(MINER), None);
}

#[test]
fn the_beneficiary_may_send() {
    let done = mined_by(ALICE, SpecId::SHANGHAI)
        .with(pay(BOB, 0, STRANGER, 1))
        .with(pay(ALICE, 0, STRANGER, 5))
        .with(pay(CAROL, 0, STRANGER, 1))
        .with(pay(ALICE, 1, STRANGER, 5))
        .executes();
    let burnt = 2 * 21_000 * BASE_FEE;
    assert_eq!(done.balance(ALICE), RICH - 10 - burnt + tips(&done, [0, 2]));
    assert_eq!(done.account(ALICE).unwrap().nonce, 2);
}

#[test]
fn a_beneficiary_pays_with_the_fees_of_the_block() {
    // It has nothing before the block, and needs what three transactions pay.
    let needed = 21_000 * GAS_PRICE;
    let with_fees = |count: u64| {
        let mut case = mined_by(MINER, SpecId::SHANGHAI);
        for nonce in 0..count {
            case = case.with(pay(ALICE, nonce, STRANGER, 1));
        }
        case.with(TxEnv { gas_limit: 21_000, ..call(MINER, 0, STRANGER) })
    };
    let done = with_fees(4).executes();
    assert_eq!(done.balance(MINER), tips(&done, 0..5) - needed);

    let error = with_fees(3).is_refused();
    let BlockError::InvalidTransaction { index: 3, error, .. } = error else { panic!("{error}") };
    let balance = Box::new(U256::from(3 * 21_000 * TIP));
    assert_eq!(error, InvalidTransaction::LackOfFundForMaxFee { fee: Box::new(U256::from(needed)), balance });
}

#[test]
fn a_beneficiary_destroyed_in_the_block_is_funded_again_by_fees() {
    let mortal = Code::new().push_address(STRANGER).op(op::SELFDESTRUCT).bytes();
    let done = mined_by(MINER, SpecId::SHANGHAI)
        .with_contract(MINER, 77, mortal.clone())
        .with_slot(MINER, 1, 5)
        .with(pay(ALICE, 0, CAROL, 1))
        .with(call(BOB, 0, MINER)) // what it is paid for this goes down with it
        .with(ask(CAROL, 0, WITNESS, 0))
        .with(pay(ALICE, 1, CAROL, 1))
        .executes();
    assert_eq!(done.balance(STRANGER), 77 + tips(&done, 0..1));
    let account = done.account(MINER).unwrap();
    assert_eq!((account.nonce, account.has_code()), (0, false));
    assert_eq!(done.balance(MINER), tips(&done, 2..4));
    assert_eq!((done.storage(MINER), done.slot(WITNESS, 0)), (BTreeMap::new(), 0));
    assert!(done.outcome.changes.account(MINER).unwrap().storage_wiped);
}

#[test]
fn a_beneficiary_created_in_the_block_keeps_the_fees_from_before() {
    let runtime = Code::new().op(op::SELFBALANCE).store(0).bytes();
    let miner = ALICE.create(1);
    let init = deploys(Code::new().op(op::SELFBALANCE).store(1), &runtime);
    let done = mined_by(miner, SpecId::SHANGHAI)
        .with(pay(BOB, 0, STRANGER, 1))
        .with(pay(ALICE, 0, STRANGER, 1))
        .with(create(ALICE, 1, init))
        .with(call(BOB, 1, miner))
        .with(pay(CAROL, 0, STRANGER, 1))
        .executes();
    assert_eq!(done.statuses(), [true; 5]);
    assert_eq!((done.code(miner), done.account(miner).unwrap().nonce), (runtime, 1));
    assert_eq!(done.balance(miner), tips(&done, 0..5));
    assert_eq!(done.storage(miner), BTreeMap::from([(0, tips(&done, 0..3)), (1, tips(&done, 0..2))]));
}

#[test]
fn a_beneficiary_that_pays_in_a_call_pays_from_its_fees() {
    // A contract that gives its caller 60,000 wei, which it has only from fees.
    let giver = Code::new()
        .ops(&[op::PUSH1, 0, op::DUP1, op::DUP1, op::DUP1])
        .push(60_000)
        .ops(&[op::CALLER, op::PUSH2, 0xff, 0xff, op::CALL])
        .store_where_told()
        .bytes();
    let done = mined_by(MINER, SpecId::SHANGHAI)
        .with_contract(MINER, 0, giver)
        .with(ask(ALICE, 0, MINER, 0)) // has nothing yet
        .with(ask(BOB, 0, MINER, 1))
        .with(ask(CAROL, 0, MINER, 2))
        .executes();
    assert_eq!(done.storage(MINER), BTreeMap::from([(1, 1), (2, 1)]));
    assert_eq!(done.balance(MINER), tips(&done, 0..3) - 120_000);
}

#[test]
fn before_london_the_beneficiary_gets_the_whole_price() {
    let done = mined_by(MINER, SpecId::BERLIN)
        .with(pay(ALICE, 0, STRANGER, 1))
        .with(ask(BOB, 0, WITNESS, 0))
        .with(ask(BOB, 1, WITNESS, 1))
        .executes();
    let paid = |count: usize| (0..count).map(|index| done.gas(index) * GAS_PRICE).sum::<u64>();
    // The reward of the block comes last: two ether in those days.
    assert_eq!(done.storage(WITNESS), BTreeMap::from([(0, paid(1)), (1, paid(2))]));
    assert_eq!(done.balance(MINER), paid(3) + 2_000_000_000_000_000_000);
}
