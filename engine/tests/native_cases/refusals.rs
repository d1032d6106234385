//! Every kind of invalid block: the same error at the same transaction every way.

use crate::{
    case::{ALICE, BASE_FEE, BOB, CAROL, Case, GAS_PRICE, RICH, ask, call, create, pay},
    code::Code,
};
use alloy_eips::{eip4844::VERSIONED_HASH_VERSION_KZG, eip7002::WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS};
use alloy_primitives::{Address, B256, Bytes, U256};
use citius_engine::BlockError;
use citius_state::Account;
use revm::{
    bytecode::opcode as op,
    context::{TxEnv, result::InvalidTransaction as Invalid},
    primitives::hardfork::SpecId,
};

const COUNTER: Address = Address::repeat_byte(0xc0);
const STRANGER: Address = Address::repeat_byte(0x57);

/// Two good transactions, the given one, two more good ones. Carol's nonce is 3.
fn around(spec: SpecId, env: TxEnv) -> Case {
    let counter = Code::new().load(0).push(1).op(op::ADD).store(0).bytes();
    let carol = Account { balance: U256::from(RICH), nonce: 3, ..Account::EMPTY };
    Case::new(spec)
        .with_account(CAROL, carol)
        .with_contract(COUNTER, 0, counter)
        .with(pay(ALICE, 0, STRANGER, 1))
        .with(call(BOB, 0, COUNTER))
        .with(env)
        .with(call(ALICE, 1, COUNTER))
        .with(call(BOB, 1, COUNTER))
}

/// Expects the third transaction to be invalid for this reason.
fn expect_invalid(spec: SpecId, env: TxEnv, reason: Invalid) {
    match around(spec, env).is_refused() {
        BlockError::InvalidTransaction { index, hash, error } => {
            assert_eq!((index, error), (2, reason));
            assert_eq!(hash, B256::from(U256::from(3)));
        }
        other => panic!("{other}"),
    }
}

/// A transaction of Carol's with a blob.
fn blob() -> TxEnv {
    let mut hash = B256::repeat_byte(0xbb);
    hash[0] = VERSIONED_HASH_VERSION_KZG;
    TxEnv {
        tx_type: 3,
        chain_id: Some(1),
        gas_priority_fee: Some(1),
        blob_hashes: vec![hash],
        max_fee_per_blob_gas: 1,
        ..pay(CAROL, 3, STRANGER, 1)
    }
}

fn good() -> TxEnv {
    pay(CAROL, 3, STRANGER, 1)
}

#[test]
fn the_block_around_is_valid() {
    let done = around(SpecId::CANCUN, good()).executes();
    assert_eq!((done.statuses(), done.slot(COUNTER, 0)), (vec![true; 5], 3));
    let done = around(SpecId::CANCUN, blob()).executes();
    assert_eq!(done.outcome.blob_gas_used, 131_072);
}

#[test]
fn a_nonce_too_low_is_refused() {
    expect_invalid(SpecId::CANCUN, TxEnv { nonce: 2, ..good() }, Invalid::NonceTooLow { tx: 2, state: 3 });
}

#[test]
fn a_nonce_too_high_is_refused() {
    expect_invalid(SpecId::CANCUN, TxEnv { nonce: 4, ..good() }, Invalid::NonceTooHigh { tx: 4, state: 3 });
    let stranger = TxEnv { caller: STRANGER, nonce: 1, ..good() };
    // He has one wei since the first transaction; the nonce is looked at first.
    expect_invalid(SpecId::CANCUN, stranger, Invalid::NonceTooHigh { tx: 1, state: 0 });
}

#[test]
fn the_last_nonce_cannot_be_used() {
    let env = TxEnv { nonce: u64::MAX, ..good() };
    let carol = Account { balance: U256::from(RICH), nonce: u64::MAX, ..Account::EMPTY };
    let error = around(SpecId::CANCUN, env).with_account(CAROL, carol).is_refused();
    let BlockError::InvalidTransaction { index: 2, error, .. } = error else { panic!("{error}") };
    assert_eq!(error, Invalid::NonceOverflowInTransaction);
}

#[test]
fn a_lack_of_funds_is_refused() {
    let fee = 21_000 * GAS_PRICE;
    let env = TxEnv { value: U256::from(RICH - fee + 1), ..good() };
    let lack = Invalid::LackOfFundForMaxFee {
        fee: Box::new(U256::from(RICH + 1)),
        balance: Box::new(U256::from(RICH)),
    };
    expect_invalid(SpecId::CANCUN, env, lack);
    let env = TxEnv { value: U256::MAX, ..good() };
    expect_invalid(SpecId::CANCUN, env, Invalid::OverflowPaymentInTransaction);
}

#[test]
fn funds_that_an_earlier_transaction_spends_are_lacking() {
    // Executed before the first, the second can pay.
    let fee = 21_000 * GAS_PRICE;
    for left in [fee - 1, fee] {
        let case = Case::new(SpecId::CANCUN)
            .with(pay(ALICE, 0, STRANGER, RICH - fee - left))
            .with(pay(ALICE, 1, BOB, 0));
        if left < fee {
            assert_eq!(case.is_refused().transaction_index(), Some(1));
        } else {
            assert_eq!(case.executes().balance(ALICE), 0);
        }
    }
}

#[test]
fn gas_beyond_what_the_block_has_left_is_refused() {
    let done = around(SpecId::CANCUN, good()).executes();
    let available = 30_000_000 - done.gas(0) - done.gas(1);
    let limit = |gas_limit| around(SpecId::CANCUN, TxEnv { gas_limit, ..good() });
    let BlockError::BlockGasExceeded { index: 2, gas_limit, available: left, .. } =
        limit(available + 1).is_refused()
    else {
        panic!("it fits")
    };
    assert_eq!((gas_limit, left), (available + 1, available));
    // With all that is left it is fine: what it does not use is left for those behind it.
    assert_eq!(limit(available).executes().statuses(), [true; 5]);
}

#[test]
fn a_block_whose_last_transaction_does_not_fit_is_refused() {
    let mut case = around(SpecId::CANCUN, good());
    let used: u64 = { (0..4).map(|index| case.executes().gas(index)).sum() };
    case.block.header.gas_limit = used + 400_000;
    assert_eq!(case.executes().statuses(), [true; 5]);
    case.block.header.gas_limit -= 1;
    let error = case.is_refused();
    assert!(matches!(error, BlockError::BlockGasExceeded { index: 4, available: 399_999, .. }), "{error}");
}

#[test]
fn gas_below_the_intrinsic_is_refused() {
    let env = TxEnv { gas_limit: 20_999, ..good() };
    let reason = Invalid::CallGasCostMoreThanGasLimit { initial_gas: 21_000, gas_limit: 20_999 };
    expect_invalid(SpecId::CANCUN, env, reason);
    // EIP-7623: 40 gas a byte that is not zero.
    let env = TxEnv { data: vec![1; 1_000].into(), gas_limit: 60_999, ..good() };
    let reason = Invalid::GasFloorMoreThanGasLimit { gas_floor: 61_000, gas_limit: 60_999 };
    expect_invalid(SpecId::PRAGUE, env, reason);
}

#[test]
fn a_price_below_the_base_fee_is_refused() {
    let cheap = TxEnv { gas_price: u128::from(BASE_FEE) - 1, ..good() };
    expect_invalid(SpecId::CANCUN, cheap, Invalid::GasPriceLessThanBasefee);
    let tip = TxEnv { tx_type: 2, chain_id: Some(1), gas_priority_fee: Some(11), ..good() };
    expect_invalid(SpecId::CANCUN, tip, Invalid::PriorityFeeGreaterThanMaxFee);
}

#[test]
fn a_sender_with_code_is_refused() {
    let env = TxEnv { caller: COUNTER, nonce: 1, ..good() };
    let rich = |env| {
        let mut case = around(SpecId::CANCUN, env);
        let code_hash =
            case.state.accounts().find(|(address, _)| *address == COUNTER).unwrap().1.unwrap().code_hash;
        case = case.with_account(COUNTER, Account { balance: U256::from(RICH), nonce: 1, code_hash });
        case.is_refused()
    };
    let error = rich(env);
    let BlockError::InvalidTransaction { index: 2, error, .. } = error else { panic!("{error}") };
    assert_eq!(error, Invalid::RejectCallerWithCode);
}

#[test]
fn another_chain_is_refused() {
    expect_invalid(SpecId::CANCUN, TxEnv { chain_id: Some(2), ..good() }, Invalid::InvalidChainId);
    let env = TxEnv { tx_type: 2, gas_priority_fee: Some(1), ..good() };
    expect_invalid(SpecId::CANCUN, env, Invalid::MissingChainId);
}

#[test]
fn init_code_beyond_its_limit_is_refused_from_shanghai_on() {
    let large = TxEnv { gas_limit: 3_000_000, ..create(CAROL, 3, vec![0; 49_153].into()) };
    expect_invalid(SpecId::SHANGHAI, large.clone(), Invalid::CreateInitCodeSizeLimit);
    assert_eq!(around(SpecId::MERGE, large).executes().statuses(), [true; 5]);
}

#[test]
fn gas_beyond_the_cap_of_a_transaction_is_refused_from_osaka_on() {
    let large = TxEnv { gas_limit: (1 << 24) + 1, ..good() };
    let reason = Invalid::TxGasLimitGreaterThanCap { gas_limit: (1 << 24) + 1, cap: 1 << 24 };
    expect_invalid(SpecId::OSAKA, large.clone(), reason);
    assert_eq!(around(SpecId::PRAGUE, large).executes().statuses(), [true; 5]);
}

#[test]
fn blobs_against_the_rules_are_refused() {
    let none = TxEnv { blob_hashes: vec![], ..blob() };
    expect_invalid(SpecId::CANCUN, none, Invalid::EmptyBlobs);
    let many = TxEnv { blob_hashes: vec![blob().blob_hashes[0]; 7], ..blob() };
    expect_invalid(SpecId::CANCUN, many.clone(), Invalid::TooManyBlobs { max: 6, have: 7 });
    assert_eq!(around(SpecId::PRAGUE, many).executes().outcome.blob_gas_used, 7 * 131_072);
    let version = TxEnv { blob_hashes: vec![B256::repeat_byte(2)], ..blob() };
    expect_invalid(SpecId::CANCUN, version, Invalid::BlobVersionNotSupported);
    let cheap = TxEnv { max_fee_per_blob_gas: 0, ..blob() };
    let reason = Invalid::BlobGasPriceGreaterThanMax { block_blob_gas_price: 1, tx_max_fee_per_blob_gas: 0 };
    expect_invalid(SpecId::CANCUN, cheap, reason);
}

#[test]
fn blob_gas_must_be_paid_for() {
    // 131,072 for the blob at one wei each.
    let balance = 21_000 * GAS_PRICE + 1 + 131_072;
    let case = |balance| {
        around(SpecId::CANCUN, blob())
            .with_account(CAROL, Account { balance: U256::from(balance), nonce: 3, ..Account::EMPTY })
    };
    assert_eq!(case(balance).executes().statuses(), [true; 5]);
    let error = case(balance - 1).is_refused();
    let BlockError::InvalidTransaction { index: 2, error, .. } = error else { panic!("{error}") };
    assert!(matches!(error, Invalid::LackOfFundForMaxFee { .. }));
}

#[test]
fn a_transaction_type_before_its_fork_is_refused() {
    let of_type = |tx_type| TxEnv { tx_type, chain_id: Some(1), ..good() };
    expect_invalid(SpecId::ISTANBUL, of_type(1), Invalid::Eip2930NotSupported);
    expect_invalid(SpecId::BERLIN, of_type(2), Invalid::Eip1559NotSupported);
    expect_invalid(SpecId::SHANGHAI, blob(), Invalid::Eip4844NotSupported);
    expect_invalid(SpecId::CANCUN, of_type(4), Invalid::Eip7702NotSupported);
    expect_invalid(SpecId::PRAGUE, of_type(4), Invalid::EmptyAuthorizationList);
}

#[test]
fn of_two_invalid_transactions_the_first_counts() {
    let bad = TxEnv { nonce: 9, ..good() };
    let error = around(SpecId::CANCUN, bad)
        .with(TxEnv { gas_limit: 1, ..call(ALICE, 2, STRANGER) })
        .with(pay(BOB, 7, STRANGER, 1))
        .is_refused();
    assert!(matches!(error, BlockError::InvalidTransaction { index: 2, .. }), "{error}");
}

#[test]
fn the_first_and_the_last_transaction_can_be_the_invalid_one() {
    let error = Case::new(SpecId::CANCUN)
        .with(pay(ALICE, 1, STRANGER, 1))
        .with(pay(BOB, 0, STRANGER, 1))
        .is_refused();
    assert_eq!(error.transaction_index(), Some(0));
    let error = Case::new(SpecId::CANCUN)
        .with(pay(ALICE, 0, STRANGER, 1))
        .with(pay(BOB, 1, STRANGER, 1))
        .is_refused();
    assert_eq!(error.transaction_index(), Some(1));
}

#[test]
fn an_invalid_transaction_that_only_a_guess_would_make_is_not_refused() {
    // Carol is paid only if the switch was turned by the first transaction: executed before it, she cannot pay.
    let switch = Address::repeat_byte(0x50);
    let poor = Address::repeat_byte(0x90);
    let turn = Code::new().push(1).store(0).op(op::STOP);
    let code = Code::new()
        .op(op::CALLDATASIZE)
        .when(turn)
        .load(0)
        .when(Code::new().call(poor, 300_000, None))
        .bytes();
    let done = Case::new(SpecId::CANCUN)
        .with_contract(switch, 1_000_000, code)
        .with(ask(ALICE, 0, switch, 1))
        .with(call(BOB, 0, switch))
        .with(pay(poor, 0, STRANGER, 90_000))
        .executes();
    assert_eq!((done.balance(STRANGER), done.balance(poor)), (90_000, 0));
}

#[test]
fn a_header_without_its_fork_s_fields_is_refused() {
    let mut case = around(SpecId::CANCUN, good());
    case.block.header.parent_beacon_block_root = None;
    let error = case.is_refused();
    assert!(matches!(error, BlockError::HeaderField { field: "parentBeaconBlockRoot", .. }), "{error}");
    assert_eq!(error.transaction_index(), None);
}

#[test]
fn a_system_contract_that_fails_refuses_the_block() {
    let reverts: Bytes = Code::new().push(0).push(0).op(op::REVERT).bytes();
    let error = around(SpecId::PRAGUE, good())
        .with_contract(WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, 0, reverts)
        .is_refused();
    assert!(
        matches!(error, BlockError::SystemCall { contract: WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, .. }),
        "{error}"
    );
}
