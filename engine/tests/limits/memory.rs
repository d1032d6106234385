//! Blocks that need more memory than they may.

use crate::{
    case::{ALICE, BOB, CAROL, Case, call, pay},
    code::Code,
    support::{STRANGER, WAYS, check_usable, options, pool, run},
};
use alloy_primitives::{Address, Bytes};
use citius_engine::{Engine, EngineConfig, ExecutionError};
use revm::{bytecode::opcode as op, context::TxEnv, primitives::hardfork::SpecId};
use std::sync::Arc;

const WIDE: Address = Address::repeat_byte(0xd1);
const LIMIT: usize = 64 << 10;
const EXCEEDED: ExecutionError = ExecutionError::MemoryLimit { limit_bytes: LIMIT };

/// Reads its slots one by one until its gas ends.
fn reads_all_it_can() -> Bytes {
    let step = [op::JUMPDEST, op::PUSH1, 1, op::ADD, op::DUP1, op::SLOAD, op::POP, op::PUSH1, 2, op::JUMP];
    Code::new().push(0).ops(&step).bytes()
}

/// Some thousand slots are read between payments.
fn wide() -> Case {
    let read = |from, nonce| TxEnv { gas_limit: 10_000_000, ..call(from, nonce, WIDE) };
    Case::new(SpecId::CANCUN)
        .with_contract(WIDE, 0, reads_all_it_can())
        .with(pay(CAROL, 0, STRANGER, 1))
        .with(read(ALICE, 0))
        .with(pay(CAROL, 1, STRANGER, 1))
        .with(read(BOB, 0))
}

fn narrow_engine(case: &Case, workers: usize, bytes: usize) -> Engine {
    let config = EngineConfig { memory_per_block_bytes_max: bytes, ..EngineConfig::default() };
    Engine::new(case.chain.clone(), pool(workers), config)
}

#[test]
fn a_block_beyond_the_memory_limit_gets_no_verdict() {
    let case = wide();
    for (strategy, workers) in WAYS {
        let engine = narrow_engine(&case, workers, LIMIT);
        let error = run(&case, &engine, &options(strategy)).unwrap_err();
        assert_eq!(error, EXCEEDED, "{strategy} on {workers}");
        assert!(!error.is_retryable());
        check_usable(&engine);
        // With room it is a block like any other.
        assert!(run(&case, &narrow_engine(&case, workers, 64 << 20), &options(strategy)).is_ok());
    }
}

#[test]
fn without_any_memory_nothing_is_executed() {
    let case = wide();
    for (strategy, workers) in WAYS {
        let error = run(&case, &narrow_engine(&case, workers, 0), &options(strategy)).unwrap_err();
        assert_eq!(error, ExecutionError::MemoryLimit { limit_bytes: 0 }, "{strategy} on {workers}");
    }
}

#[test]
fn a_stream_ends_where_its_memory_ends() {
    let case = wide();
    let mut small = case.block.clone();
    small.transactions.truncate(1);
    let mut large = case.block.clone();
    large.transactions.remove(0);
    large.header.number += 1;
    for (strategy, workers) in WAYS {
        let engine = narrow_engine(&case, workers, LIMIT);
        let mut stream = engine.stream(Arc::new(case.state.clone()), &options(strategy));
        stream.submit(Arc::new(small.clone()));
        assert_eq!(stream.next().unwrap().unwrap().transactions.len(), 1, "{strategy} on {workers}");
        stream.submit(Arc::new(large.clone()));
        stream.submit(Arc::new(large.clone()));
        for _ in 0..2 {
            // Each block submitted has brought its own budget; the first of these may be done for before the
            // second is there.
            let error = stream.next().unwrap().unwrap_err();
            let ExecutionError::MemoryLimit { limit_bytes } = error else { panic!("{error}") };
            assert!(limit_bytes == 2 * LIMIT || limit_bytes == 3 * LIMIT, "{limit_bytes}");
        }
        drop(stream);
        check_usable(&engine);
    }
}

#[test]
fn a_large_gas_limit_needs_no_memory_by_itself() {
    let generous = TxEnv { gas_limit: 1_000_000_000_000_000, ..call(ALICE, 0, STRANGER) };
    let mut case = Case::new(SpecId::CANCUN).with(generous).with(pay(BOB, 0, STRANGER, 1));
    case.block.header.gas_limit = 1 << 60;
    for (strategy, workers) in WAYS {
        let outcome = run(&case, &narrow_engine(&case, workers, LIMIT), &options(strategy)).unwrap();
        assert_eq!(outcome.gas_used, 42_000, "{strategy} on {workers}");
    }
}
