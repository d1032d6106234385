//! Listeners to commits: in what order they are told, what becomes of one that panics, what an ended block has told.

use crate::{
    case::{ALICE, BOB, Case, call},
    schedule::GivesUp,
    support::{COUNTER, WAYS, check_usable, config, counter, expected, options, pool, run, small},
    told::Listener,
};
use alloy_primitives::{Address, U256};
use citius_engine::{BlockError, Engine, EngineConfig, ExecuteOptions, ExecutionError, StrategyChoice};
use citius_state::{CommitSink, Committed};
use revm::primitives::hardfork::SpecId;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// What was told of the counter, call by call.
fn counts(calls: &[Vec<Committed>]) -> Vec<u64> {
    let count = |value: &Committed| match value {
        Committed::Slot { address: COUNTER, slot: U256::ZERO, after } => Some(after.to()),
        _ => None,
    };
    calls.iter().flatten().filter_map(count).collect()
}

/// And of an account's nonce.
fn nonces(calls: &[Vec<Committed>], of: Address) -> Vec<u64> {
    let nonce = |value: &Committed| match value {
        Committed::Account { address, after: Some(after), .. } if *address == of => Some(after.nonce),
        _ => None,
    };
    calls.iter().flatten().filter_map(nonce).collect()
}

#[test]
fn values_of_a_key_are_told_in_the_order_of_their_commits() {
    let case = (0..40).fold(Case::new(SpecId::CANCUN).with_contract(COUNTER, 0, counter()), |case, nonce| {
        case.with(call(ALICE, nonce, COUNTER)).with(call(BOB, nonce, COUNTER))
    });
    for (strategy, workers) in WAYS {
        let engine = Engine::new(case.chain.clone(), pool(workers), config());
        for gives_up in [false, true] {
            let listener = Arc::new(Listener::default());
            let sink = Some(Arc::clone(&listener) as Arc<dyn CommitSink>);
            let fuzz = gives_up.then(|| Arc::new(GivesUp) as _);
            let options = ExecuteOptions { commit_sink: sink, fuzz, ..options(strategy) };
            let outcome = run(&case, &engine, &options).unwrap();
            let calls = listener.take(case.block.header.number).unwrap();
            for told in [counts(&calls), nonces(&calls, ALICE), nonces(&calls, BOB)] {
                let how = format!("{strategy} on {workers}: {told:?}");
                assert!(told.is_sorted_by(|a, b| a < b), "{how}");
                let is_told_early = strategy != StrategyChoice::Partitioned;
                assert!(if is_told_early { told.len() > 1 } else { told.len() == 1 }, "{how}");
            }
            assert_eq!(counts(&calls).last(), Some(&80));
            assert_eq!(outcome.transactions.len(), 80);
        }
    }
}

/// Falls over at one of the calls.
#[derive(Debug)]
struct FragileSink(AtomicUsize);

impl CommitSink for FragileSink {
    fn committed(&self, _block_number: u64, _changes: &[Committed]) {
        assert_ne!(self.0.fetch_sub(1, Ordering::SeqCst), 1, "the listener fell over");
    }
}

#[test]
fn a_panic_of_a_listener_becomes_an_error_and_hurts_nothing_else() {
    let case = small();
    for (strategy, workers) in WAYS {
        let calls = if strategy == StrategyChoice::Partitioned { 1..=1 } else { 1..=2 };
        for call in calls {
            let engine = Engine::new(case.chain.clone(), pool(workers), EngineConfig::default());
            let commit_sink = Some(Arc::new(FragileSink(AtomicUsize::new(call))) as Arc<dyn CommitSink>);
            let options = ExecuteOptions { commit_sink, ..options(strategy) };
            let error = run(&case, &engine, &options).unwrap_err();
            assert!(
                matches!(&error, ExecutionError::WorkerPanicked { message } if message.contains("the listener fell over")),
                "{strategy} on {workers}: {error}"
            );
            check_usable(&engine);
        }
    }
}

#[test]
fn nothing_is_told_of_what_is_refused_nor_of_what_comes_behind() {
    let calls_of = |who, case: Case| (0..20).fold(case, |case, nonce| case.with(call(who, nonce, COUNTER)));
    let mut case = calls_of(ALICE, Case::new(SpecId::CANCUN).with_contract(COUNTER, 0, counter()));
    let gas_used = expected(&case).gas_used;
    case = calls_of(BOB, case);
    // The next one finds one gas too little left, but has been executed by then.
    let next = case.block.transactions[20].env().gas_limit;
    case.block.header.gas_limit = gas_used + next - 1;
    for (strategy, workers) in WAYS {
        let engine = Engine::new(case.chain.clone(), pool(workers), config());
        for _ in 0..5 {
            let listener = Arc::new(Listener::default());
            let sink = Some(Arc::clone(&listener) as Arc<dyn CommitSink>);
            let error = run(&case, &engine, &ExecuteOptions { commit_sink: sink, ..options(strategy) });
            let Err(ExecutionError::Refused(BlockError::BlockGasExceeded { index: 20, .. })) = error else {
                panic!("{strategy} on {workers}: {:?}", error.map(|_| ()))
            };
            let calls = listener.take(case.block.header.number).unwrap();
            assert!(counts(&calls).iter().all(|count| *count <= 20), "{strategy} on {workers}");
            assert_eq!(nonces(&calls, BOB), Vec::<u64>::new(), "{strategy} on {workers}");
        }
    }
}
