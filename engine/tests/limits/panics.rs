//! Panics in code that is not the engine's own: precompiles, readers.

use crate::{
    case::{ALICE, BOB, CAROL, Case, ask, call, pay},
    schedule::Order,
    support::{COUNTER, STRANGER, WAYS, check_usable, counter, options, pool, run, small},
};
use alloy_eips::eip4895::Withdrawal;
use alloy_primitives::{Address, B256, Bytes, U256};
use citius_engine::{
    BlockError, Engine, EngineConfig, ExecuteOptions, ExecutionError, StrategyChoice,
    chain::CustomPrecompile, scheduler::ScheduleFuzz,
};
use citius_state::{Account, MemoryState, ReadError, StateReader};
use revm::{bytecode::Bytecode, precompile::PrecompileOutput, primitives::hardfork::SpecId};
use std::sync::Arc;

const FRAGILE: Address = Address::repeat_byte(0xff);

/// Calls of a precompile that falls over when it is given anything, between other transactions.
fn fragile() -> Case {
    let run = |input: &Bytes, _gas: u64, reservoir: u64| {
        assert!(input.is_empty(), "the precompile fell over");
        Ok(PrecompileOutput::new(0, Bytes::new(), reservoir))
    };
    let mut case = Case::new(SpecId::CANCUN)
        .with_contract(COUNTER, 0, counter())
        .with(pay(ALICE, 0, STRANGER, 1))
        .with(call(BOB, 0, COUNTER))
        .with(call(CAROL, 0, FRAGILE))
        .with(ask(ALICE, 1, FRAGILE, 1))
        .with(call(BOB, 1, COUNTER))
        .with(call(CAROL, 1, COUNTER));
    case.chain = case.chain.with_precompile(CustomPrecompile { address: FRAGILE, run: Arc::new(run) });
    case
}

#[test]
fn a_panic_in_a_precompile_becomes_an_error_with_its_message() {
    let case = fragile();
    for (strategy, workers) in WAYS {
        let pool = pool(workers);
        let engine = Engine::new(case.chain.clone(), Arc::clone(&pool), EngineConfig::default());
        for _ in 0..3 {
            let error = run(&case, &engine, &options(strategy)).unwrap_err();
            let message = "the precompile fell over".into();
            assert_eq!(error, ExecutionError::WorkerPanicked { message }, "{strategy} on {workers}");
            assert!(error.is_retryable());
            check_usable(&engine);
        }
        // Nor has the pool lost a worker: another engine has all of them.
        check_usable(&Engine::new(small().chain, pool, EngineConfig::default()));
    }
}

#[test]
fn a_panic_ends_a_stream_and_keeps_the_blocks_before() {
    let case = fragile();
    let mut second = case.block.clone();
    let mut first = case.block.clone();
    first.transactions.truncate(3);
    second.transactions.drain(..3);
    second.header.number += 1;
    for (strategy, workers) in WAYS {
        let engine = Engine::new(case.chain.clone(), pool(workers), EngineConfig::default());
        let mut stream = engine.stream(Arc::new(case.state.clone()), &options(strategy));
        stream.submit(Arc::new(first.clone()));
        assert_eq!(stream.next().unwrap().unwrap().transactions.len(), 3, "{strategy} on {workers}");
        stream.submit(Arc::new(second.clone()));
        stream.submit(Arc::new(second.clone()));
        for _ in 0..2 {
            let error = stream.next().unwrap().unwrap_err();
            assert!(matches!(error, ExecutionError::WorkerPanicked { .. }), "{error}");
        }
        drop(stream);
        check_usable(&engine);
    }
}

/// Falls over when it is asked for a slot.
struct FragileReader(MemoryState);

impl StateReader for FragileReader {
    fn account(&self, address: Address) -> Result<Option<Account>, ReadError> {
        self.0.account(address)
    }

    fn storage(&self, _address: Address, slot: U256) -> Result<U256, ReadError> {
        panic!("slot {slot} was too heavy")
    }

    fn code(&self, code_hash: B256) -> Result<Bytecode, ReadError> {
        self.0.code(code_hash)
    }

    fn block_hash(&self, number: u64) -> Result<B256, ReadError> {
        self.0.block_hash(number)
    }
}

#[test]
fn a_panic_in_a_reader_becomes_an_error_with_its_message() {
    let case = small();
    for (strategy, workers) in WAYS {
        let engine = Engine::new(case.chain.clone(), pool(workers), EngineConfig::default());
        let reader = Arc::new(FragileReader(case.state.clone()));
        let error = case.execute_with(&engine, reader, &options(strategy)).unwrap_err();
        let message = "slot 0 was too heavy".into();
        assert_eq!(error, ExecutionError::WorkerPanicked { message }, "{strategy} on {workers}");
        check_usable(&engine);
    }
}

#[test]
fn a_panic_hurts_no_other_engine_on_the_same_workers() {
    let (fragile, sound) = (fragile(), small());
    let pool = pool(4);
    let engine = |case: &Case| Engine::new(case.chain.clone(), Arc::clone(&pool), EngineConfig::default());
    let (falls, stands) = (engine(&fragile), engine(&sound));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..20 {
                let error = run(&fragile, &falls, &options(StrategyChoice::Optimistic)).unwrap_err();
                assert!(matches!(error, ExecutionError::WorkerPanicked { .. }), "{error}");
            }
        });
        scope.spawn(|| (0..10).for_each(|_| check_usable(&stands)));
    });
}

/// Falls over when it is asked for the stranger.
struct Shy(MemoryState);

impl StateReader for Shy {
    fn account(&self, address: Address) -> Result<Option<Account>, ReadError> {
        assert_ne!(address, STRANGER, "the stranger is not to be disturbed");
        self.0.account(address)
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, ReadError> {
        self.0.storage(address, slot)
    }

    fn code(&self, code_hash: B256) -> Result<Bytecode, ReadError> {
        self.0.code(code_hash)
    }

    fn block_hash(&self, number: u64) -> Result<B256, ReadError> {
        self.0.block_hash(number)
    }
}

#[test]
fn a_panic_behind_a_refused_transaction_does_not_count() {
    let mut case = (2..40).fold(
        Case::new(SpecId::CANCUN).with(pay(ALICE, 0, BOB, 1)).with(pay(ALICE, 7, BOB, 1)),
        |case, nonce| case.with(pay(ALICE, nonce, STRANGER, 1)),
    );
    // Credits are written without a look.
    let withdrawal = Withdrawal { address: STRANGER, amount: 1, ..Withdrawal::default() };
    case.block.withdrawals.push(withdrawal);
    for (strategy, workers) in WAYS {
        let engine = Engine::new(case.chain.clone(), pool(workers), EngineConfig::default());
        let error = case.execute_with(&engine, Arc::new(Shy(case.state.clone())), &options(strategy));
        let error = error.unwrap_err();
        assert!(
            matches!(error, ExecutionError::Refused(BlockError::InvalidTransaction { index: 1, .. })),
            "{strategy} on {workers}: {error}"
        );
        check_usable(&engine);
    }
}

#[test]
fn a_panic_where_a_guess_lands_does_not_count() {
    let mut case = Case::new(SpecId::SHANGHAI).with(pay(ALICE, 0, BOB, 1)).with(pay(ALICE, 7, BOB, 1));
    // Credited without a look at the account: it is asked for when the credit lands, here before all else.
    case.block.withdrawals.push(Withdrawal { address: STRANGER, amount: 1, ..Withdrawal::default() });
    let config = EngineConfig { batch_gas_max: 0, ..EngineConfig::default() };
    let engine = Engine::new(case.chain.clone(), pool(4), config);
    let order = Arc::new(Order::new(0, vec![2, 1, 0]));
    let fuzz = Some(Arc::clone(&order) as Arc<dyn ScheduleFuzz>);
    let options = ExecuteOptions { fuzz, ..options(StrategyChoice::Optimistic) };
    let error = case.execute_with(&engine, Arc::new(Shy(case.state.clone())), &options).unwrap_err();
    assert!(
        matches!(error, ExecutionError::Refused(BlockError::InvalidTransaction { index: 1, .. })),
        "{error}"
    );
    assert!(order.was_kept());
}
