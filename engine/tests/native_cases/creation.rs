//! Contracts created inside the block, and used there.

use crate::{
    case::{ALICE, BOB, CAROL, Case, ask, call, create, pay},
    code::{Code, created_by, deploys},
};
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use citius_state::Account;
use revm::{
    bytecode::opcode as op,
    context::{
        TxEnv,
        result::{ExecutionResult, HaltReason},
    },
    primitives::hardfork::SpecId,
};
use std::collections::BTreeMap;

const FACTORY: Address = Address::repeat_byte(0xfa);
const BLUEPRINT: Address = Address::repeat_byte(0xb1);
const WITNESS: Address = Address::repeat_byte(0x31);

/// Stores a number in its slot 0; given data, destroys itself in favour of its caller.
fn mark(number: u64) -> Bytes {
    let destroy = Code::new().ops(&[op::CALLER, op::SELFDESTRUCT]);
    Code::new().op(op::CALLDATASIZE).when(destroy).push(number).store(0).bytes()
}

/// Runtime code as the 32 bytes of a word.
fn padded(code: &Bytes) -> U256 {
    let mut word = [0; 32];
    word[..code.len()].copy_from_slice(code);
    U256::from_be_bytes(word)
}

/// Init code that deploys the word which the blueprint returns.
fn metamorphic_init() -> Bytes {
    Code::new().call(BLUEPRINT, 0, None).op(op::POP).push(32).push(0).op(op::RETURN).bytes()
}

/// Returns its slot 0, or, given data, takes it for slot 0.
fn blueprint() -> Bytes {
    let take = Code::new().argument().store(0).op(op::STOP);
    Code::new().op(op::CALLDATASIZE).when(take).load(0).return_top().bytes()
}

#[test]
fn a_contract_created_again_by_create2_can_be_another_contract() {
    let init = metamorphic_init();
    let child = created_by(FACTORY, &init);
    let redraw = TxEnv { data: padded(&mark(2)).to_be_bytes::<32>().into(), ..call(BOB, 0, BLUEPRINT) };
    let mut case = Case::new(SpecId::SHANGHAI)
        .with_contract(FACTORY, 0, Code::new().create2(&init, 0).bytes())
        .with_contract(BLUEPRINT, 0, blueprint())
        .with(call(ALICE, 0, FACTORY))
        .with(call(CAROL, 0, child)) // marks 1
        .with(ask(CAROL, 1, child, 1)) // destroys
        .with(redraw)
        .with(call(ALICE, 1, FACTORY))
        .with(call(CAROL, 2, child)); // marks 2
    case.state.set_storage(BLUEPRINT, U256::ZERO, padded(&mark(1)));
    let done = case.executes();
    assert_eq!(done.statuses(), [true; 6]);
    assert_eq!(U256::from_be_slice(&done.code(child)), padded(&mark(2)));
    assert_eq!(done.storage(child), BTreeMap::from([(0, 2)]));
}

#[test]
fn code_deployed_in_the_block_is_called_and_measured_in_the_block() {
    let runtime = Code::new().load(0).push(1).op(op::ADD).store(0).bytes();
    let contract = ALICE.create(0);
    let witness = Code::new()
        .push_address(contract)
        .ops(&[op::DUP1, op::EXTCODESIZE, op::SWAP1, op::EXTCODEHASH])
        .argument()
        .ops(&[op::SSTORE])
        .argument()
        .push(1)
        .ops(&[op::ADD, op::SSTORE])
        .bytes();
    let done = Case::new(SpecId::CANCUN)
        .with_contract(WITNESS, 0, witness)
        .with(ask(CAROL, 0, WITNESS, 0))
        .with(create(ALICE, 0, deploys(Code::new(), &runtime)))
        .with(call(BOB, 0, contract))
        .with(call(ALICE, 1, contract))
        .with(ask(CAROL, 1, WITNESS, 10))
        .executes();
    assert_eq!(done.statuses(), [true; 5]);
    assert_eq!((done.code(contract), done.slot(contract, 0)), (runtime.clone(), 2));
    assert_eq!(done.account(contract).unwrap().nonce, 1);
    let hash = done.after.slots(WITNESS).find(|(slot, _)| *slot == U256::from(10)).unwrap().1;
    assert_eq!(B256::from(hash), keccak256(&runtime));
    assert_eq!(done.slot(WITNESS, 11), runtime.len() as u64);
    // Before the creation there was nothing to measure.
    assert_eq!((done.slot(WITNESS, 0), done.slot(WITNESS, 1)), (0, 0));
    assert_eq!(done.outcome.changes.codes.len(), 1);
}

#[test]
fn the_second_creation_at_one_address_fails_and_still_counts() {
    let init = deploys(Code::new(), &mark(1));
    let child = created_by(FACTORY, &init);
    let factory = Code::new().create2(&init, 0).store_where_told().bytes();
    let done = Case::new(SpecId::SHANGHAI)
        .with_contract(FACTORY, 0, factory)
        .with(ask(ALICE, 0, FACTORY, 0))
        .with(ask(BOB, 0, FACTORY, 1))
        .executes();
    assert_eq!(done.statuses(), [true; 2]);
    let slots: Vec<_> = done.after.slots(FACTORY).filter(|(_, value)| !value.is_zero()).collect();
    assert_eq!(slots, [(U256::ZERO, child.into_word().into())]);
    assert_eq!(done.account(FACTORY).unwrap().nonce, 3);
    assert_eq!(done.code(child), mark(1));
}

#[test]
fn a_creation_where_a_contract_stands_burns_all_its_gas() {
    let taken = ALICE.create(1);
    let done = Case::new(SpecId::CANCUN)
        .with_contract(taken, 3, mark(7))
        .with(pay(ALICE, 0, BOB, 1))
        .with(create(ALICE, 1, deploys(Code::new(), &mark(1))))
        .with(call(BOB, 0, taken))
        .executes();
    assert_eq!(done.statuses(), [true, false, true]);
    assert!(matches!(
        done.outcome.transactions[1].result,
        ExecutionResult::Halt { reason: HaltReason::CreateCollision, .. }
    ));
    assert_eq!(done.gas(1), 400_000);
    assert_eq!((done.code(taken), done.slot(taken, 0), done.balance(taken)), (mark(7), 7, 3));
    assert_eq!(done.account(ALICE).unwrap().nonce, 2);
}

#[test]
fn an_account_with_a_nonce_stands_in_the_way_of_a_creation_and_one_with_ether_does_not() {
    let (used, paid) = (ALICE.create(0), BOB.create(0));
    let done = Case::new(SpecId::CANCUN)
        .with_account(used, Account { nonce: 1, ..Account::EMPTY })
        .with(pay(CAROL, 0, paid, 8))
        .with(create(ALICE, 0, deploys(Code::new(), &mark(1))))
        .with(TxEnv { value: U256::from(4), ..create(BOB, 0, deploys(Code::new(), &mark(2))) })
        .with(call(CAROL, 1, paid))
        .executes();
    assert_eq!(done.statuses(), [true, false, true, true]);
    assert_eq!(done.code(used), Bytes::new());
    assert_eq!((done.code(paid), done.balance(paid), done.slot(paid, 0)), (mark(2), 12, 2));
}

#[test]
fn a_creation_that_reverts_leaves_nothing_but_the_nonce() {
    let init = Code::new().push(1).store(0).push(0).push(0).op(op::REVERT).bytes();
    let done = Case::new(SpecId::CANCUN)
        .with(create(ALICE, 0, init))
        .with(pay(BOB, 0, ALICE.create(0), 6))
        .executes();
    assert_eq!(done.statuses(), [false, true]);
    let account = done.account(ALICE.create(0)).unwrap();
    assert_eq!(account, Account { balance: U256::from(6), ..Account::EMPTY });
    assert_eq!(done.storage(ALICE.create(0)), BTreeMap::new());
    assert_eq!(done.account(ALICE).unwrap().nonce, 1);
}
