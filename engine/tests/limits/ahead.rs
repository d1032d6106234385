//! Reads that are asked for ahead.

use crate::{
    case::{ALICE, BOB, Case, ask, check_same, pay},
    support::{COUNTER, STRANGER, config, counter, expected, options, pool},
};
use alloy_primitives::{Address, B256, U256};
use citius_engine::{BlockOutcome, Engine, EngineConfig, StrategyChoice, Transaction};
use citius_state::{Account, MemoryState, ReadError, StateKey, StateReader};
use revm::{
    bytecode::Bytecode,
    context::TxEnv,
    context_interface::transaction::{AccessList, AccessListItem},
    primitives::hardfork::SpecId,
};
use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};

/// Keeps a record of what it is asked, and asked for ahead.
struct Foreseeing {
    state: MemoryState,
    may_wait: bool,
    log: Mutex<Vec<Asked>>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Asked {
    Now(StateKey),
    Ahead(StateKey),
}

impl Foreseeing {
    fn ask(&self, key: StateKey) {
        self.log.lock().unwrap().push(Asked::Now(key));
    }
}

impl StateReader for Foreseeing {
    fn account(&self, address: Address) -> Result<Option<Account>, ReadError> {
        self.ask(StateKey::Account(address));
        self.state.account(address)
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, ReadError> {
        self.ask(StateKey::Storage(address, slot));
        self.state.storage(address, slot)
    }

    fn code(&self, code_hash: B256) -> Result<Bytecode, ReadError> {
        self.state.code(code_hash)
    }

    fn block_hash(&self, number: u64) -> Result<B256, ReadError> {
        self.state.block_hash(number)
    }

    fn may_wait(&self) -> bool {
        self.may_wait
    }

    fn prefetch(&self, keys: &[StateKey]) {
        self.log.lock().unwrap().extend(keys.iter().map(|key| Asked::Ahead(*key)));
    }
}

fn engine(case: &Case, entries: u32) -> Engine {
    let config = EngineConfig { prefetch_entries_max: entries, batch_gas_max: 0, ..config() };
    Engine::new(case.chain.clone(), pool(1), config)
}

fn execute(case: &Case, engine: &Engine, strategy: StrategyChoice) -> (BlockOutcome, Vec<Asked>) {
    let reader = Foreseeing { state: case.state.clone(), may_wait: true, log: Mutex::default() };
    let reader = Arc::new(reader);
    let outcome = case.execute_with(engine, Arc::clone(&reader) as _, &options(strategy)).unwrap();
    let metrics = &outcome.metrics;
    assert_eq!(metrics.keys_asked_ahead, metrics.keys_ahead_useful + metrics.keys_ahead_useless);
    let log = reader.log.lock().unwrap().clone();
    let ahead: Vec<_> = log.iter().filter(|asked| matches!(asked, Asked::Ahead(_))).collect();
    assert_eq!(metrics.keys_asked_ahead, ahead.len() as u64);
    let mut seen = HashSet::new();
    for asked in &log {
        match asked {
            Asked::Now(key) => drop(seen.insert(*key)),
            Asked::Ahead(key) => assert!(seen.insert(*key), "{key} was asked for before"),
        }
    }
    (outcome, log)
}

const STRATEGIES: [StrategyChoice; 3] =
    [StrategyChoice::Serial, StrategyChoice::Optimistic, StrategyChoice::Partitioned];

#[test]
fn what_a_transaction_says_is_asked_ahead_and_counted_by_what_became_of_it() {
    let unread = [1_u64, 2, 3].map(|slot| B256::from(U256::from(slot)));
    let list = AccessList(vec![AccessListItem { address: COUNTER, storage_keys: unread.to_vec() }]);
    let tx = TxEnv { access_list: list, tx_type: 1, chain_id: Some(1), ..ask(ALICE, 0, COUNTER, 0) };
    let case = Case::new(SpecId::CANCUN)
        .with_contract(COUNTER, 0, counter())
        .with(pay(BOB, 0, STRANGER, 1))
        .with(tx);
    let case = Case { chain: case.chain.clone().without_system_calls(), ..case };
    let expected = expected(&case);
    for strategy in STRATEGIES {
        let (outcome, log) = execute(&case, &engine(&case, 8), strategy);
        check_same(&outcome, &expected, &strategy.to_string());
        for address in [ALICE, BOB, STRANGER, COUNTER] {
            assert!(log.contains(&Asked::Ahead(StateKey::Account(address))), "{strategy}: {address}");
        }
        assert_eq!(outcome.metrics.keys_ahead_useless, 3, "{strategy}: the slots that were listed");
        assert!(outcome.metrics.keys_ahead_useful >= 4, "{strategy}: {:?}", outcome.metrics);
        let (outcome, log) = execute(&case, &engine(&case, 0), strategy);
        assert_eq!(outcome.metrics.keys_asked_ahead, 0, "{strategy}: it is off");
        assert!(log.iter().all(|asked| matches!(asked, Asked::Now(_))));
    }
}

#[test]
fn what_a_function_read_is_asked_ahead_for_its_next_call() {
    let slot = StateKey::Storage(COUNTER, U256::ZERO);
    let case = Case::new(SpecId::CANCUN).with_contract(COUNTER, 0, counter()).with(ask(ALICE, 0, COUNTER, 7));
    for strategy in STRATEGIES {
        let engine = engine(&case, 8);
        let (_, log) = execute(&case, &engine, strategy);
        assert!(log.contains(&Asked::Now(slot)) && !log.contains(&Asked::Ahead(slot)), "{strategy}");
        let (outcome, log) = execute(&case, &engine, strategy);
        assert!(log.contains(&Asked::Ahead(slot)), "{strategy}: {log:?}");
        assert_eq!(outcome.metrics.keys_ahead_useless, 0, "{strategy}");
    }
}

#[test]
fn nothing_is_asked_ahead_farther_than_the_bound_nor_of_a_reader_that_never_waits() {
    let sender = |number: u64| Address::from_word(B256::from(U256::from(0x5e_0000 + number)));
    let case = (0..40).fold(Case::new(SpecId::CANCUN), |case, number| {
        case.with_balance(sender(number), crate::case::RICH).with(pay(sender(number), 0, STRANGER, 1))
    });
    let case = Case { chain: case.chain.clone().without_system_calls(), ..case };
    for strategy in [StrategyChoice::Serial, StrategyChoice::Optimistic] {
        let (_, log) = execute(&case, &engine(&case, 4), strategy);
        let place = |asked| log.iter().position(|other| *other == asked).unwrap();
        for number in 0..36 {
            let own = place(Asked::Now(StateKey::Account(sender(number))));
            let ahead = place(Asked::Ahead(StateKey::Account(sender(number + 4))));
            assert!(ahead > own, "{strategy}: {} is asked for before {number} is read", number + 4);
            assert!(place(Asked::Ahead(StateKey::Account(sender(number + 3)))) < own, "{strategy}: {number}");
        }
    }
    let reader = Arc::new(Foreseeing { state: case.state.clone(), may_wait: false, log: Mutex::default() });
    let transactions: &[Transaction] = &case.block.transactions;
    let outcome = case
        .execute_with(&engine(&case, 4), Arc::clone(&reader) as _, &options(StrategyChoice::Serial))
        .unwrap();
    assert_eq!((outcome.transactions.len(), outcome.metrics.keys_asked_ahead), (transactions.len(), 0));
    assert!(reader.log.lock().unwrap().iter().all(|asked| matches!(asked, Asked::Now(_))));
}
