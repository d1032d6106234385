//! Who chooses the strategy, and who says so.

use crate::{
    case::{ALICE, BOB, Case, ask, pay},
    support::{COUNTER, STRANGER, counter, engine, options, run, small},
};
use citius_engine::{ExecuteOptions, StrategyChoice, UnknownStrategy};
use revm::primitives::hardfork::SpecId;
use std::{num::NonZeroUsize, sync::Arc};

/// Blocks for which a chooser could want this or that.
fn blocks() -> Vec<Case> {
    let empty = Case::new(SpecId::CANCUN);
    let one = empty.clone().with(pay(ALICE, 0, STRANGER, 1));
    let many = (0..200).fold(empty.clone(), |case, nonce| case.with(pay(ALICE, nonce, STRANGER, 1)));
    let heavy = (0..20).fold(empty.clone().with_contract(COUNTER, 0, counter()), |case, nonce| {
        case.with(ask(ALICE, nonce, COUNTER, 1)).with(ask(BOB, nonce, COUNTER, 1))
    });
    vec![empty, one, small(), many, heavy]
}

#[test]
fn a_strategy_that_is_named_is_the_one_that_runs() {
    for case in blocks() {
        for workers in [1, 2, 8] {
            let engine = engine(&case, workers);
            for (strategy, name) in [
                (StrategyChoice::Serial, "serial"),
                (StrategyChoice::Optimistic, "optimistic"),
                (StrategyChoice::Partitioned, "partitioned"),
            ] {
                let metrics = run(&case, &engine, &options(strategy)).unwrap().metrics;
                assert_eq!((metrics.strategy, metrics.reason.as_str()), (name, "named by the caller"));
                assert_eq!(metrics.threads, if name == "serial" { 1 } else { workers });
                let threads = NonZeroUsize::new(1);
                let alone = ExecuteOptions { threads, ..options(strategy) };
                assert_eq!(run(&case, &engine, &alone).unwrap().metrics.strategy, name);
            }
        }
    }
}

#[test]
fn auto_says_why() {
    let chosen: Vec<_> = blocks()
        .iter()
        .map(|case| {
            let metrics = run(case, &engine(case, 8), &options(StrategyChoice::Auto)).unwrap().metrics;
            assert!(!metrics.reason.is_empty() && metrics.reason != "named by the caller");
            metrics.strategy
        })
        .collect();
    // What lies between is the chooser's to judge.
    assert_eq!((chosen[0], chosen[1]), ("serial", "serial"));
    assert_eq!(chosen.last(), Some(&"optimistic"));
}

#[test]
fn auto_does_not_guess_on_one_thread() {
    for case in blocks() {
        for (workers, threads) in [(1, None), (8, NonZeroUsize::new(1))] {
            let one = ExecuteOptions { threads, ..options(StrategyChoice::Auto) };
            let metrics = run(&case, &engine(&case, workers), &one).unwrap().metrics;
            assert_eq!((metrics.strategy, metrics.threads), ("serial", 1));
            assert_eq!(metrics.reason, "one thread");
        }
    }
}

#[test]
fn every_block_of_a_stream_says_what_ran_and_why() {
    let case = Case::new(SpecId::CANCUN);
    let engine = engine(&case, 4);
    for (strategy, name) in [
        (StrategyChoice::Serial, "serial"),
        (StrategyChoice::Optimistic, "optimistic"),
        (StrategyChoice::Partitioned, "partitioned"),
        (StrategyChoice::Auto, "optimistic"),
    ] {
        let mut stream = engine.stream(Arc::new(case.state.clone()), &options(strategy));
        for number in 10..13 {
            let mut block = case.block.clone();
            block.header.number = number;
            stream.submit(Arc::new(block));
        }
        while let Some(outcome) = stream.next() {
            let metrics = outcome.unwrap().metrics;
            assert_eq!(metrics.strategy, name);
            assert!(!metrics.reason.is_empty());
        }
    }
}

#[test]
fn strategies_are_read_by_the_names_they_print() {
    for strategy in [
        StrategyChoice::Auto,
        StrategyChoice::Serial,
        StrategyChoice::Optimistic,
        StrategyChoice::Partitioned,
    ] {
        assert_eq!(strategy.to_string().parse(), Ok(strategy));
    }
    let unknown = UnknownStrategy { value: "hasty".into() };
    assert_eq!("hasty".parse::<StrategyChoice>(), Err(unknown));
}
