//! Accounts that have nothing: when they exist, and when they vanish
//! ([EIP-161](https://eips.ethereum.org/EIPS/eip-161)).

use crate::{
    case::{ALICE, BOB, CAROL, Case, ask, call, pay},
    code::Code,
};
use alloy_eips::eip4895::Withdrawal;
use alloy_primitives::{Address, Bytes};
use citius_state::Account;
use revm::{bytecode::opcode as op, primitives::hardfork::SpecId};

/// Exists and is empty: left over from before EIP-161.
const HUSK: Address = Address::repeat_byte(0x40);
const NOBODY: Address = Address::repeat_byte(0x41);
const CALLER: Address = Address::repeat_byte(0xcc);
const SWITCH: Address = Address::repeat_byte(0x50);

/// Calls an address without value.
fn toucher(of: Address) -> Bytes {
    Code::new().call(of, 0, None).op(op::POP).bytes()
}

fn husk(spec: SpecId) -> Case {
    Case::new(spec).with_account(HUSK, Account::EMPTY)
}

#[test]
fn touched_empty_accounts_vanish() {
    let done = husk(SpecId::SPURIOUS_DRAGON).with(call(ALICE, 0, HUSK)).with(call(BOB, 0, NOBODY)).executes();
    assert_eq!((done.account(HUSK), done.account(NOBODY)), (None, None));
    let change = done.outcome.changes.account(HUSK).unwrap();
    assert_eq!((change.before, change.after), (Some(Account::EMPTY), None));
    assert!(done.outcome.changes.account(NOBODY).is_none());
}

#[test]
fn an_empty_account_that_nobody_touches_stays() {
    let looker = Code::new().push_address(HUSK).ops(&[op::BALANCE, op::POP]).bytes();
    let done = husk(SpecId::SHANGHAI)
        .with_contract(CALLER, 0, looker)
        .with(call(ALICE, 0, CALLER))
        .with(call(BOB, 0, CALLER))
        .executes();
    assert_eq!(done.account(HUSK), Some(Account::EMPTY));
}

#[test]
fn a_call_from_a_contract_sweeps_an_empty_account() {
    let done = husk(SpecId::SHANGHAI)
        .with_contract(CALLER, 0, toucher(HUSK))
        .with(call(ALICE, 0, CALLER))
        .with(call(BOB, 0, CALLER))
        .executes();
    assert_eq!(done.account(HUSK), None);
}

#[test]
fn a_reverted_touch_sweeps_nothing() {
    let reverts = Code::new().call(HUSK, 0, None).push(0).push(0).op(op::REVERT).bytes();
    let done = husk(SpecId::SHANGHAI)
        .with_contract(CALLER, 0, reverts)
        .with(call(ALICE, 0, CALLER))
        .with(call(BOB, 0, CALLER))
        .executes();
    assert_eq!(done.account(HUSK), Some(Account::EMPTY));
}

#[test]
fn an_empty_account_swept_and_paid_again_exists() {
    let done = husk(SpecId::SHANGHAI)
        .with(call(ALICE, 0, HUSK))
        .with(pay(BOB, 0, HUSK, 3))
        .with(call(CAROL, 0, HUSK))
        .executes();
    assert_eq!(done.balance(HUSK), 3);
}

#[test]
fn destruction_in_favour_of_nobody_without_ether_creates_nobody() {
    let end = Code::new().push_address(NOBODY).op(op::SELFDESTRUCT).bytes();
    let done = Case::new(SpecId::SHANGHAI)
        .with_contract(CALLER, 0, end)
        .with(call(ALICE, 0, CALLER))
        .with(call(BOB, 0, CALLER))
        .executes();
    assert_eq!((done.account(NOBODY), done.account(CALLER)), (None, None));
}

#[test]
fn a_withdrawal_of_nothing_sweeps_an_empty_account() {
    let mut case = husk(SpecId::SHANGHAI).with(pay(ALICE, 0, BOB, 1)).with(pay(CAROL, 0, BOB, 1));
    let withdrawal = |index, address| Withdrawal { index, validator_index: 0, address, amount: 0 };
    case.block.withdrawals = vec![withdrawal(0, HUSK), withdrawal(1, NOBODY)];
    let done = case.executes();
    assert_eq!((done.account(HUSK), done.account(NOBODY)), (None, None));
}

#[test]
fn before_spurious_dragon_touched_accounts_exist() {
    for spec in [SpecId::FRONTIER, SpecId::HOMESTEAD, SpecId::TANGERINE] {
        let done = husk(spec)
            .with_contract(CALLER, 0, toucher(NOBODY))
            .with(call(ALICE, 0, HUSK))
            .with(call(BOB, 0, CALLER))
            .with(call(CAROL, 0, Address::repeat_byte(0x42)))
            .executes();
        assert_eq!(done.account(HUSK), Some(Account::EMPTY), "{spec:?}");
        assert_eq!(done.account(Address::repeat_byte(0x42)), Some(Account::EMPTY), "{spec:?}");
        // A call from a contract transfers nothing, and that makes an account too.
        assert_eq!(done.account(NOBODY), Some(Account::EMPTY), "{spec:?}");
    }
}

/// Pays 5 wei to the husk unless its slot 0 was set by a call with data.
fn pays_unless_switched() -> Bytes {
    let switch = Code::new().push(1).store(0).op(op::STOP);
    let pay = Code::new().call(HUSK, 5, None).op(op::STOP);
    Code::new().op(op::CALLDATASIZE).when(switch).load(0).op(op::ISZERO).when(pay).bytes()
}

#[test]
fn a_touch_sweeps_even_if_it_was_first_executed_after_a_payment_that_never_came() {
    // First the payment is guessed to happen, then the touch sees a husk with ether, then the switch turns.
    let case = husk(SpecId::SHANGHAI)
        .with_contract(SWITCH, 100, pays_unless_switched())
        .with(ask(ALICE, 0, SWITCH, 1))
        .with(call(BOB, 0, SWITCH))
        .with(call(CAROL, 0, HUSK));
    assert_eq!(case.executes().account(HUSK), None);
    case.check_in_order(&[1, 2, 0]);
}

#[test]
fn a_call_sweeps_even_if_it_was_first_executed_after_a_payment_that_never_came() {
    let case = husk(SpecId::SHANGHAI)
        .with_contract(SWITCH, 100, pays_unless_switched())
        .with_contract(CALLER, 0, toucher(HUSK))
        .with(ask(ALICE, 0, SWITCH, 1))
        .with(call(BOB, 0, SWITCH))
        .with(call(CAROL, 0, CALLER));
    assert_eq!(case.executes().account(HUSK), None);
    case.check_in_order(&[1, 2, 0]);
}

/// Calls the husk unless its slot 0 was set by a call with data.
fn touches_unless_switched() -> Bytes {
    let switch = Code::new().push(1).store(0).op(op::STOP);
    let touch = Code::new().call(HUSK, 0, None).op(op::STOP);
    Code::new().op(op::CALLDATASIZE).when(switch).load(0).op(op::ISZERO).when(touch).bytes()
}

#[test]
fn a_touch_sweeps_even_if_it_was_first_executed_after_a_sweep_that_never_came() {
    let case = husk(SpecId::SHANGHAI)
        .with_contract(SWITCH, 0, touches_unless_switched())
        .with(ask(ALICE, 0, SWITCH, 1))
        .with(call(BOB, 0, SWITCH))
        .with(call(CAROL, 0, HUSK));
    assert_eq!(case.executes().account(HUSK), None);
    case.check_in_order(&[1, 2, 0]);
}

#[test]
fn a_call_sweeps_even_if_it_was_first_executed_after_a_sweep_that_never_came() {
    let case = husk(SpecId::SHANGHAI)
        .with_contract(SWITCH, 0, touches_unless_switched())
        .with_contract(CALLER, 0, toucher(HUSK))
        .with(ask(ALICE, 0, SWITCH, 1))
        .with(call(BOB, 0, SWITCH))
        .with(call(CAROL, 0, CALLER));
    assert_eq!(case.executes().account(HUSK), None);
    case.check_in_order(&[1, 2, 0]);
}
