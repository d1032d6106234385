//! Engines, options and a block whose answer is known.

use crate::{
    case::{ALICE, BOB, CAROL, Case, call, check_same, pay},
    code::Code,
};
use alloy_primitives::{Address, Bytes};
use citius_engine::{
    BlockOutcome, Engine, EngineConfig, ExecuteOptions, ExecutionError, StrategyChoice, WorkerPool,
};
use revm::{bytecode::opcode as op, primitives::hardfork::SpecId};
use std::{num::NonZeroUsize, sync::Arc};

pub(crate) const COUNTER: Address = Address::repeat_byte(0xc0);
pub(crate) const STRANGER: Address = Address::repeat_byte(0x57);

/// Adds one to its slot 0.
pub(crate) fn counter() -> Bytes {
    Code::new().load(0).push(1).op(op::ADD).store(0).bytes()
}

/// A small block with conflicts.
pub(crate) fn small() -> Case {
    let case = Case::new(SpecId::CANCUN).with_contract(COUNTER, 0, counter());
    (0..4).fold(case, |case, nonce| {
        case.with(call(ALICE, nonce, COUNTER))
            .with(call(BOB, nonce, COUNTER))
            .with(pay(CAROL, nonce, STRANGER, 1))
    })
}

pub(crate) fn pool(workers: usize) -> Arc<WorkerPool> {
    WorkerPool::unpinned(NonZeroUsize::new(workers).unwrap()).unwrap()
}

/// All workers at one time, whether there are cores for them or not.
pub(crate) fn config() -> EngineConfig {
    EngineConfig { active_threads_max: NonZeroUsize::MAX, ..EngineConfig::default() }
}

pub(crate) fn engine(case: &Case, workers: usize) -> Engine {
    Engine::new(case.chain.clone(), pool(workers), config())
}

pub(crate) fn options(strategy: StrategyChoice) -> ExecuteOptions {
    ExecuteOptions { strategy, ..ExecuteOptions::default() }
}

pub(crate) fn run(
    case: &Case,
    engine: &Engine,
    options: &ExecuteOptions,
) -> Result<BlockOutcome, ExecutionError> {
    case.execute_with(engine, Arc::new(case.state.clone()), options)
}

/// What the case's block does, according to a fresh serial engine.
pub(crate) fn expected(case: &Case) -> BlockOutcome {
    run(case, &engine(case, 1), &options(StrategyChoice::Serial)).unwrap()
}

/// Whatever happened to it before, the engine gives right results.
pub(crate) fn check_usable(engine: &Engine) {
    let case = small();
    let expected = expected(&case);
    for _ in 0..5 {
        for strategy in [StrategyChoice::Serial, StrategyChoice::Optimistic, StrategyChoice::Partitioned] {
            check_same(&run(&case, engine, &options(strategy)).unwrap(), &expected, "afterwards");
        }
    }
}

/// Every strategy at some pool sizes.
pub(crate) const WAYS: [(StrategyChoice, usize); 6] = [
    (StrategyChoice::Serial, 1),
    (StrategyChoice::Serial, 8),
    (StrategyChoice::Optimistic, 2),
    (StrategyChoice::Optimistic, 8),
    (StrategyChoice::Partitioned, 2),
    (StrategyChoice::Partitioned, 8),
];
