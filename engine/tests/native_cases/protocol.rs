//! What the protocol itself does to a block's state: rewards, withdrawals, the DAO's refund, system calls.

use crate::{
    case::{ALICE, BOB, CAROL, Case, GAS_PRICE, MINER, RICH, call, pay},
    code::Code,
};
use alloy_eips::{
    eip2935::{HISTORY_STORAGE_ADDRESS, HISTORY_STORAGE_CODE},
    eip4788::{BEACON_ROOTS_ADDRESS, BEACON_ROOTS_CODE, SYSTEM_ADDRESS},
    eip4895::Withdrawal,
    eip7002::{WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, WITHDRAWAL_REQUEST_PREDEPLOY_CODE},
    eip7251::{CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS, CONSOLIDATION_REQUEST_PREDEPLOY_CODE},
};
use alloy_evm::eth::dao_fork::{DAO_HARDFORK_ACCOUNTS, DAO_HARDFORK_BENEFICIARY};
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, b256};
use citius_engine::{
    BlockError, Engine, EngineConfig, ExecuteOptions, ExecutionError, Ommer, StrategyChoice, WorkerPool,
    chain::ChainSpec,
};
use citius_state::{Account, MemoryState, ReadError, StateKey, StateReader};
use revm::{bytecode::opcode as op, context::TxEnv, primitives::hardfork::SpecId};
use std::{num::NonZeroUsize, sync::Arc};

const STRANGER: Address = Address::repeat_byte(0x57);
const WITNESS: Address = Address::repeat_byte(0x31);
const DEPOSITS: Address = Address::repeat_byte(0xde);
const GWEI: u64 = 1_000_000_000;
const ETHER: u64 = GWEI * GWEI;
/// The first topic of a deposit contract's log ([EIP-6110](https://eips.ethereum.org/EIPS/eip-6110)).
const DEPOSIT_TOPIC: B256 = b256!("649bbc62d0e31342afea4e5cd82d4049e7e1ee912fc0889aa790803be39038c5");

#[test]
fn withdrawals_pay_in_gwei_whoever_it_is() {
    let withdrawal = |index, address, amount| Withdrawal { index, validator_index: index, address, amount };
    let mut case = Case::new(SpecId::SHANGHAI)
        .with_contract(WITNESS, 5, Bytes::from_static(&[op::STOP]))
        .with(pay(ALICE, 0, STRANGER, 1))
        .with(pay(BOB, 0, WITNESS, 0));
    case.block.withdrawals = vec![
        withdrawal(0, STRANGER, 3),
        withdrawal(1, WITNESS, 2),
        withdrawal(2, STRANGER, 4),
        withdrawal(3, CAROL, 1),
    ];
    // What comes with withdrawals can not be spent in the block: that transaction is refused.
    let refused = case.clone().with(pay(STRANGER, 0, ALICE, 1)).is_refused();
    assert_eq!(refused.transaction_index(), Some(2));
    // Nor does a block before Shanghai have any.
    let mut early = case.clone();
    early.chain = ChainSpec::with_all_forks_until(1, SpecId::MERGE);
    early.spec = SpecId::MERGE;

    case.block.transactions.truncate(1);
    let done = case.executes();
    assert_eq!(done.balance(STRANGER), 7 * GWEI + 1);
    assert_eq!((done.balance(WITNESS), done.balance(CAROL)), (2 * GWEI + 5, RICH + GWEI));
    assert_eq!(early.executes().balance(STRANGER), 1);
}

#[test]
fn miners_and_ommers_are_rewarded_as_their_fork_says() {
    let (uncle, aunt) = (Address::repeat_byte(0x71), Address::repeat_byte(0x72));
    for (spec, base) in [(SpecId::FRONTIER, 5), (SpecId::BYZANTIUM, 3), (SpecId::LONDON, 2)] {
        let mut case = Case::new(spec).with(pay(ALICE, 0, uncle, 1)).with(pay(BOB, 0, STRANGER, 1));
        let base = base * ETHER;
        case.block.ommers = vec![
            Ommer::Known { beneficiary: uncle, number: 9 },
            Ommer::Known { beneficiary: aunt, number: 8 },
        ];
        let done = case.executes();
        assert_eq!((done.balance(uncle), done.balance(aunt)), (base / 8 * 7 + 1, base / 8 * 6), "{spec:?}");
        let tip = if spec == SpecId::LONDON { 3 } else { 10 };
        assert_eq!(done.balance(MINER), base + base / 32 * 2 + 42_000 * tip, "{spec:?}");
    }
    let mut merged = Case::new(SpecId::MERGE).with(pay(ALICE, 0, STRANGER, 1)).with(pay(BOB, 0, STRANGER, 1));
    merged.block.header.beneficiary = uncle;
    assert_eq!(merged.executes().balance(uncle), 42_000 * 3);
}

#[test]
fn a_credit_fills_a_balance_at_most() {
    // Fees that would overflow are lost, as in revm; rewards and withdrawals stop at the largest balance.
    let full = |room: u64| Account { balance: U256::MAX - U256::from(room), ..Account::EMPTY };
    for room in [0, 420_000, 2 * ETHER, 6 * ETHER] {
        let case = Case::new(SpecId::HOMESTEAD)
            .with_account(MINER, full(room))
            .with(pay(ALICE, 0, STRANGER, 1))
            .with(pay(BOB, 0, STRANGER, 1));
        let left = if room < 420_000 { room } else { room - 420_000 };
        let balance = U256::MAX - U256::from(left.saturating_sub(5 * ETHER));
        assert_eq!(case.executes().account(MINER).unwrap().balance, balance, "{room}");
    }
    let mut case =
        Case::new(SpecId::SHANGHAI).with_account(STRANGER, full(3)).with(pay(ALICE, 0, STRANGER, 2));
    case.block.withdrawals = vec![Withdrawal { index: 0, validator_index: 0, address: STRANGER, amount: 1 }];
    assert_eq!(case.executes().account(STRANGER).unwrap().balance, U256::MAX);
}

#[test]
fn a_fee_that_its_receiver_cannot_hold_is_lost_whatever_was_guessed() {
    // The first transaction fills the miner's balance up; the second calls the miner, so that its account is loaded.
    for room in [0, 1_000_000_000] {
        let fill = U256::MAX - U256::from(room);
        let done = Case::new(SpecId::HOMESTEAD)
            .with_account(ALICE, Account { balance: U256::MAX, ..Account::EMPTY })
            .with(TxEnv { value: fill - U256::from(10_000_000), ..pay(ALICE, 0, MINER, 0) })
            .with(call(BOB, 0, MINER))
            .with(pay(MINER, 0, CAROL, 0))
            .with(pay(MINER, 1, MINER, 0))
            .executes();
        assert_eq!(done.statuses(), [true; 4]);
    }
}

#[test]
fn a_refund_that_its_receiver_cannot_hold_is_lost_whatever_was_guessed() {
    // Bob's own call pays him so much that what is left of his gas does not fit any more.
    let rest = U256::MAX - U256::from(RICH) - U256::from(1_000_000);
    let code = Code::new()
        .ops(&[op::PUSH1, 0, op::PUSH1, 0, op::PUSH1, 0, op::PUSH1, 0])
        .push(0)
        .op(op::SLOAD)
        .op(op::CALLER)
        .push(0)
        .op(op::CALL)
        .store(1)
        .bytes();
    for more in [0, 500_000, 5_000_000, 10_000_000] {
        let mut case = Case::new(SpecId::HOMESTEAD)
            .with_contract(WITNESS, 0, code.clone())
            .with(pay(ALICE, 0, BOB, more))
            .with(call(BOB, 0, WITNESS));
        let hoard = case.state.account(WITNESS).unwrap().unwrap();
        case.state.set_account(WITNESS, Account { balance: rest, ..hoard });
        case.state.set_storage(WITNESS, U256::ZERO, rest);
        assert_eq!(case.executes().statuses(), [true; 2]);
    }
}

#[test]
fn a_system_call_begins_with_nothing_warm_whoever_ran_before() {
    // Where the parents' hashes go: what the balance of a precompile costs here.
    let code = Code::new()
        .op(op::GAS)
        .ops(&[op::PUSH1, 1, op::BALANCE, op::POP, op::GAS, op::SWAP1, op::SUB])
        .store(0)
        .bytes();
    let case = Case::new(SpecId::PRAGUE)
        .with_contract(HISTORY_STORAGE_ADDRESS, 0, code.clone())
        .with_contract(WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, 0, code)
        .with(pay(ALICE, 0, STRANGER, 1));
    for strategy in [StrategyChoice::Serial, StrategyChoice::Optimistic, StrategyChoice::Partitioned] {
        let pool = WorkerPool::unpinned(NonZeroUsize::new(2).unwrap()).unwrap();
        let engine = Engine::new(case.chain.clone(), pool, EngineConfig::default());
        for repetition in 0..3 {
            let options = ExecuteOptions { strategy, ..ExecuteOptions::default() };
            let outcome = case.execute_with(&engine, Arc::new(case.state.clone()), &options).unwrap();
            for contract in [HISTORY_STORAGE_ADDRESS, WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS] {
                let cost = outcome.changes.account(contract).unwrap().storage[0].after;
                assert_eq!(cost, U256::from(2_600 + 3 + 2 + 2), "{strategy}, {repetition}, {contract}");
            }
        }
    }
}

#[test]
fn of_many_unknown_receivers_the_first_is_named() {
    let withdrawal = |index| Withdrawal {
        index,
        validator_index: index,
        address: Address::with_last_byte(100 - index as u8),
        amount: 1,
    };
    let mut case = Case::new(SpecId::SHANGHAI).with(pay(ALICE, 0, STRANGER, 1));
    case.block.withdrawals = (0..20).map(withdrawal).collect();
    let mut witness = MemoryState::partial();
    for address in [ALICE, MINER, STRANGER] {
        match case.state.account(address).unwrap() {
            Some(account) => witness.set_account(address, account),
            None => witness.set_absent(address),
        }
    }
    let first = ReadError::NotInWitness { key: StateKey::Account(Address::with_last_byte(100)) };
    for strategy in [StrategyChoice::Serial, StrategyChoice::Optimistic, StrategyChoice::Partitioned] {
        let pool = WorkerPool::unpinned(NonZeroUsize::new(2).unwrap()).unwrap();
        let engine = Engine::new(case.chain.clone(), pool, EngineConfig::default());
        let options = ExecuteOptions { strategy, ..ExecuteOptions::default() };
        for _ in 0..10 {
            let error = case.execute_with(&engine, Arc::new(witness.clone()), &options).unwrap_err();
            let ExecutionError::Refused(BlockError::State { index: None, error }) = error else {
                panic!("{error}")
            };
            assert_eq!(error, first);
        }
    }
}

#[test]
fn an_uncle_from_nowhere_near_is_refused() {
    for number in [0, 2, 3, 9, 10, 11, u64::MAX] {
        let mut case = Case::new(SpecId::BYZANTIUM).with(pay(ALICE, 0, STRANGER, 1));
        let beneficiary = Address::repeat_byte(0x71);
        case.block.ommers = vec![Ommer::Known { beneficiary, number }];
        let pool = WorkerPool::unpinned(NonZeroUsize::MIN).unwrap();
        let engine = Engine::new(case.chain.clone(), pool, EngineConfig::default());
        let answer = case.execute_with(&engine, Arc::new(case.state.clone()), &ExecuteOptions::default());
        let block = case.block.header.number;
        if number < block && number + 6 >= block {
            assert!(answer.is_ok(), "{number}");
        } else {
            let error = answer.unwrap_err().to_string();
            assert!(error.contains("ommers") && error.contains(&number.to_string()), "{error}");
        }
    }
}

#[test]
fn of_an_unknown_ommer_only_the_miner_is_paid() {
    let mut case =
        Case::new(SpecId::BYZANTIUM).with(pay(ALICE, 0, STRANGER, 1)).with(pay(BOB, 0, STRANGER, 1));
    case.block.ommers = vec![Ommer::Unknown];
    for strategy in [StrategyChoice::Serial, StrategyChoice::Optimistic, StrategyChoice::Partitioned] {
        let pool = WorkerPool::unpinned(NonZeroUsize::new(4).unwrap()).unwrap();
        let engine = Engine::new(case.chain.clone(), pool, EngineConfig::default());
        let options = ExecuteOptions { strategy, ..ExecuteOptions::default() };
        let outcome = engine
            .execute_block(Arc::new(case.state.clone()), Arc::new(case.block.clone()), &options)
            .unwrap();
        let miner = outcome.changes.account(MINER).unwrap().after.unwrap();
        assert_eq!(miner.balance, U256::from(3 * ETHER + 3 * ETHER / 32 + 420_000));
        assert_eq!(outcome.changes.accounts.len(), 4);
    }
}

#[test]
fn the_dao_is_drained_into_its_refund_contract_before_the_transactions() {
    let mut case = Case::new(SpecId::HOMESTEAD);
    case.chain = ChainSpec::mainnet();
    case.block.header.number = 1_920_000;
    for (index, address) in DAO_HARDFORK_ACCOUNTS.into_iter().enumerate() {
        // The first has nothing. All have a nonce, as contracts do: of accounts that have nothing else the oracle
        // says that they end with the drain, which was so only after EIP-161.
        let balance = U256::from(index * 1_000);
        case = case.with_account(address, Account { balance, nonce: 1, ..Account::EMPTY });
    }
    let refund = Code::new().push(1).store(0).bytes();
    let [first, second, .., last] = DAO_HARDFORK_ACCOUNTS;
    // Remembers what the last one and the refund contract have.
    let balance = |address| Code::new().push_address(address).op(op::BALANCE);
    let witness = balance(last).store(1).ops(&balance(DAO_HARDFORK_BENEFICIARY).store(2).bytes()).bytes();
    let case = case
        .with_contract(DAO_HARDFORK_BENEFICIARY, 77, refund)
        .with_contract(WITNESS, 0, witness)
        .with_slot(WITNESS, 1, 9)
        .with(call(ALICE, 0, WITNESS))
        .with(pay(ALICE, 1, second, 3))
        .with(pay(BOB, 0, STRANGER, 1))
        .with(pay(CAROL, 0, last, 4));
    let sum = (0..116).sum::<u64>() * 1_000;
    let done = case.executes();
    for address in DAO_HARDFORK_ACCOUNTS {
        // What they receive in the block itself stays theirs.
        let balance = U256::from(3 * u8::from(address == second) + 4 * u8::from(address == last));
        let account = Account { balance, nonce: 1, ..Account::EMPTY };
        assert_eq!(done.account(address), Some(account), "{address}");
    }
    assert_eq!(done.balance(DAO_HARDFORK_BENEFICIARY), 77 + sum);
    assert_eq!((done.slot(WITNESS, 1), done.slot(WITNESS, 2)), (0, 77 + sum));
    let fees = done.outcome.gas_used * GAS_PRICE;
    assert_eq!(done.balance(MINER), 5 * ETHER + fees);
    assert!(done.outcome.changes.account(first).is_none());

    // A miner among them keeps reward and fees, which come after.
    let mut inside = case.clone();
    inside.block.header.beneficiary = second;
    let done = inside.executes();
    assert_eq!(done.balance(second), 5 * ETHER + fees + 3);
    assert_eq!(done.balance(DAO_HARDFORK_BENEFICIARY), 77 + sum);

    // A sender among them has nothing left.
    let mut spent = case.clone();
    spent.block.transactions.clear();
    let error = spent.with(pay(last, 1, STRANGER, 1)).is_refused();
    assert_eq!(error.transaction_index(), Some(0), "{error}");

    // One block later nothing happens to them.
    let mut later = case;
    later.block.header.number += 1;
    let done = later.executes();
    assert_eq!((done.balance(last), done.balance(DAO_HARDFORK_BENEFICIARY)), (115_004, 77));
}

#[test]
fn the_block_begins_with_its_parents_in_their_contracts() {
    // Reads the parent's hash and the parent beacon block's root back from the contracts.
    let witness = Code::new()
        .call(HISTORY_STORAGE_ADDRESS, 0, Some(9))
        .store(0)
        .push(0)
        .op(op::MLOAD)
        .store(1)
        .call(BEACON_ROOTS_ADDRESS, 0, Some(1_000))
        .store(2)
        .push(0)
        .op(op::MLOAD)
        .store(3)
        .bytes();
    let case = Case::new(SpecId::PRAGUE)
        .with_contract(HISTORY_STORAGE_ADDRESS, 0, HISTORY_STORAGE_CODE.clone())
        .with_contract(BEACON_ROOTS_ADDRESS, 0, BEACON_ROOTS_CODE.clone())
        .with_contract(WITNESS, 0, witness)
        .with(call(ALICE, 0, WITNESS))
        .with(call(BOB, 0, WITNESS));
    let hash = case.block.header.parent_hash;
    let root = case.block.header.parent_beacon_block_root.unwrap();
    let done = case.executes();
    let read = |address, slot: u64| B256::from(done.after.storage(address, U256::from(slot)).unwrap());
    assert_eq!((read(WITNESS, 1), read(WITNESS, 3)), (hash, root));
    assert_eq!((done.slot(WITNESS, 0), done.slot(WITNESS, 2)), (1, 1));
    assert_eq!(read(HISTORY_STORAGE_ADDRESS, 9), hash);
    assert_eq!(
        (done.slot(BEACON_ROOTS_ADDRESS, 1_000), read(BEACON_ROOTS_ADDRESS, 1_000 + 8_191)),
        (1_000, root)
    );
    // The protocol's caller leaves no trace, nor do contracts that are not there.
    assert_eq!(done.account(SYSTEM_ADDRESS), None);
    assert_eq!(done.account(WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS), None);
}

/// The contracts whose requests end a block, and one that logs what it is given as deposits.
fn with_request_contracts(case: Case) -> Case {
    let logs = Code::new()
        .ops(&[op::CALLDATASIZE, op::PUSH1, 0, op::DUP1, op::CALLDATACOPY])
        .push_word(DEPOSIT_TOPIC.into())
        .ops(&[op::CALLDATASIZE, op::PUSH1, 0, op::LOG1])
        .bytes();
    let mut case = case
        .with_contract(WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, 0, WITHDRAWAL_REQUEST_PREDEPLOY_CODE.clone())
        .with_contract(
            CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS,
            0,
            CONSOLIDATION_REQUEST_PREDEPLOY_CODE.clone(),
        )
        .with_contract(DEPOSITS, 0, logs);
    case.chain = case.chain.with_deposit_contract(DEPOSITS);
    case
}

/// A request to one of the contracts: 48 bytes of a key, and what follows.
fn request(from: Address, nonce: u64, to: Address, key: u8, rest: &[u8]) -> TxEnv {
    TxEnv { data: [&[key; 48], rest].concat().into(), value: U256::ONE, ..call(from, nonce, to) }
}

/// What the deposit contract logs: five byte strings, ABI encoded.
fn deposit_log(seed: u8) -> Bytes {
    let fields: [&[u8]; 5] = [&[seed; 48], &[seed + 1; 32], &[seed + 2; 8], &[seed + 3; 96], &[seed + 4; 8]];
    let (mut heads, mut tails) = (Vec::new(), Vec::new());
    for field in fields {
        heads.extend(U256::from(160 + tails.len()).to_be_bytes::<32>());
        tails.extend(U256::from(field.len()).to_be_bytes::<32>());
        tails.extend(field);
        tails.resize(tails.len().next_multiple_of(32), 0);
    }
    [heads, tails].concat().into()
}

fn deposit(from: Address, nonce: u64, seed: u8) -> TxEnv {
    TxEnv { data: deposit_log(seed), ..call(from, nonce, DEPOSITS) }
}

#[test]
fn requests_of_all_kinds_come_in_order() {
    let done = with_request_contracts(Case::new(SpecId::PRAGUE))
        .with(request(ALICE, 0, CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS, 1, &[2; 48]))
        .with(deposit(BOB, 0, 30))
        .with(request(CAROL, 0, WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, 3, &7u64.to_be_bytes()))
        .with(request(ALICE, 1, WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, 4, &8u64.to_be_bytes()))
        .with(deposit(BOB, 1, 60))
        .executes();
    assert_eq!(done.statuses(), [true; 5]);
    let deposited = |seed: u8| -> Vec<u8> {
        let [key, credentials, amount, signature, index] = [0, 1, 2, 3, 4].map(|offset| seed + offset);
        [vec![key; 48], vec![credentials; 32], vec![amount; 8], vec![signature; 96], vec![index; 8]].concat()
    };
    let withdrawn = |from: Address, key: u8, amount: u64| -> Vec<u8> {
        [from.as_slice(), &[key; 48], &amount.to_le_bytes()].concat()
    };
    let expected: Vec<Bytes> = vec![
        [vec![0], deposited(30), deposited(60)].concat().into(),
        [vec![1], withdrawn(CAROL, 3, 7), withdrawn(ALICE, 4, 8)].concat().into(),
        [[2].as_slice(), ALICE.as_slice(), &[1; 48], &[2; 48]].concat().into(),
    ];
    // The oracle has compared their hash already; this is what it is the hash of.
    assert_eq!(done.outcome.requests.iter().cloned().collect::<Vec<_>>(), expected);
    assert_ne!(done.outcome.requests.requests_hash(), alloy_eips::eip7685::EMPTY_REQUESTS_HASH);
    assert_eq!(done.balance(WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS), 2);
}

#[test]
fn requests_beyond_what_a_block_takes_wait_for_the_next() {
    let senders = [ALICE, BOB, CAROL];
    let case = (0..20).fold(with_request_contracts(Case::new(SpecId::PRAGUE)), |case, index: u64| {
        let sender = senders[index as usize % 3];
        // The sixteenth request and those after pay more: two wei are enough.
        let env = request(sender, index / 3, WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, index as u8, &[0; 8]);
        case.with(TxEnv { value: U256::from(2), ..env })
    });
    let done = case.executes();
    assert_eq!(done.statuses(), [true; 20]);
    let requests = &done.outcome.requests[0];
    assert_eq!(requests.len(), 1 + 16 * 76);
    for index in 0..16 {
        let at = 1 + 76 * index;
        assert_eq!(&requests[at..at + 20], senders[index % 3].as_slice());
        assert_eq!(requests[at + 20], index as u8);
    }
    // Head and tail of the queue.
    assert_eq!([2, 3].map(|slot| done.slot(WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, slot)), [16, 20]);
}

#[test]
fn a_reverted_deposit_is_none_and_a_malformed_one_refuses_the_block() {
    let short = TxEnv { data: deposit_log(9)[..500].to_vec().into(), ..deposit(ALICE, 0, 9) };
    // Passes a deposit on, and reverts.
    let fickle = Code::new()
        .ops(&[op::CALLDATASIZE, op::PUSH1, 0, op::DUP1, op::CALLDATACOPY])
        .ops(&[op::PUSH1, 0, op::DUP1, op::CALLDATASIZE, op::DUP2, op::DUP1])
        .push_address(DEPOSITS)
        .ops(&[op::GAS, op::CALL, op::PUSH1, 0, op::DUP1, op::REVERT])
        .bytes();
    let case = with_request_contracts(Case::new(SpecId::PRAGUE)).with_contract(WITNESS, 0, fickle);
    let error = case.clone().with(deposit(BOB, 0, 5)).with(short.clone()).is_refused();
    assert!(matches!(error, BlockError::DepositRequests { .. }), "{error}");

    let fails = TxEnv { kind: TxKind::Call(WITNESS), ..short };
    let done = case.with(deposit(BOB, 0, 5)).with(fails).executes();
    assert_eq!(done.statuses(), [true, false]);
    assert_eq!(done.outcome.requests[0].len(), 1 + 192);
}
