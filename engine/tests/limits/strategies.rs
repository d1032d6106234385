//! Who chooses the strategy, and who says so.

use crate::{
    case::{ALICE, BOB, Case, ask, check_same, pay},
    code::{Code, deploys},
    schedule::GivesUp,
    support::{COUNTER, STRANGER, counter, engine, expected, options, pool, run, small},
};
use alloy_primitives::TxKind;
use citius_engine::{Engine, EngineConfig, ExecuteOptions, StrategyChoice, UnknownStrategy};
use revm::{context::TxEnv, primitives::hardfork::SpecId};
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
                // Where the machine is busy a run may give up, and says so behind it.
                let is_named = metrics.reason.starts_with("named by the caller");
                assert!(metrics.strategy == name && is_named, "{name}: {metrics:?}");
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
            assert!(!metrics.reason.is_empty() && !metrics.reason.starts_with("named by the caller"));
            metrics.strategy
        })
        .collect();
    // What lies between is the chooser's to judge.
    assert_eq!((chosen[0], chosen[1]), ("serial", "serial"));
    assert_eq!(chosen.last(), Some(&"optimistic"));
}

#[test]
fn payments_to_contracts_are_executed_in_their_turn_and_all_others_stay_planned() {
    let case =
        (0..100).fold(Case::new(SpecId::CANCUN).with_contract(COUNTER, 0, counter()), |case, nonce| {
            let receiver = if nonce % 10 == 3 { COUNTER } else { STRANGER };
            case.with(TxEnv { gas_limit: 100_000, ..pay(ALICE, nonce, receiver, 1) })
        });
    let expected = expected(&case);
    for workers in [1, 2, 8] {
        let outcome = run(&case, &engine(&case, workers), &options(StrategyChoice::Partitioned)).unwrap();
        check_same(&outcome, &expected, "partitioned");
        assert_eq!(outcome.metrics.aborts, 0);
        assert_eq!(outcome.metrics.strategy, "partitioned");
    }
}

#[test]
fn a_receiver_that_gets_code_in_the_block_has_it_run() {
    // The plan takes the account for one without code, which it has no more when a payment to it is due.
    let created = ALICE.create(0);
    let init = deploys(Code::new(), &counter());
    let create = TxEnv { gas_limit: 200_000, kind: TxKind::Create, data: init, ..pay(ALICE, 0, STRANGER, 0) };
    let case = (1..60).fold(Case::new(SpecId::CANCUN).with(create), |case, nonce| {
        let receiver = if nonce == 30 { created } else { STRANGER };
        case.with(TxEnv { gas_limit: 100_000, ..pay(ALICE, nonce, receiver, 1) })
    });
    let expected = expected(&case);
    for workers in [1, 2, 8] {
        let outcome = run(&case, &engine(&case, workers), &options(StrategyChoice::Partitioned)).unwrap();
        check_same(&outcome, &expected, "partitioned");
        assert!(outcome.metrics.aborts > 0, "everything was executed once more");
    }
}

/// Everybody counts at one counter.
fn contended() -> Case {
    (0..150).fold(Case::new(SpecId::CANCUN).with_contract(COUNTER, 0, counter()), |case, nonce| {
        case.with(ask(ALICE, nonce, COUNTER, 1)).with(ask(BOB, nonce, COUNTER, 1))
    })
}

/// Running ahead is given up at once: how often executions meet by themselves is chance.
fn giving_up(strategy: StrategyChoice) -> ExecuteOptions {
    ExecuteOptions { fuzz: Some(Arc::new(GivesUp)), ..options(strategy) }
}

#[test]
fn a_run_that_gives_up_goes_on_serially_and_says_so() {
    let case = contended();
    let expected = expected(&case);
    let metrics = |options: &ExecuteOptions| {
        let outcome = run(&case, &engine(&case, 4), options).unwrap();
        check_same(&outcome, &expected, "optimistic");
        outcome.metrics
    };
    let given_up = metrics(&giving_up(StrategyChoice::Optimistic));
    assert_eq!(given_up.reason, "named by the caller; serially after 0 for their conflicts");
    assert_eq!(given_up.strategy, "optimistic");
    // By itself it may, or may not.
    (0..20).for_each(|_| drop(metrics(&options(StrategyChoice::Optimistic))));
}

#[test]
fn auto_learns_from_blocks_unless_told_not_to() {
    let case = contended();
    let expected = expected(&case);
    let reasons = |learns_from_blocks| -> Vec<(&'static str, bool)> {
        let config = EngineConfig { learns_from_blocks, ..EngineConfig::default() };
        let engine = Engine::new(case.chain.clone(), pool(4), config);
        let run = |_| {
            let outcome = run(&case, &engine, &giving_up(StrategyChoice::Auto)).unwrap();
            check_same(&outcome, &expected, "auto");
            let metrics = outcome.metrics;
            (metrics.strategy, metrics.reason == "the last 2 blocks that ran ahead gave up")
        };
        (0..10).map(run).collect()
    };
    let (tried, learnt) = (("optimistic", false), ("serial", true));
    let mut expected = vec![learnt; 10];
    expected[..2].fill(tried);
    assert_eq!(reasons(true), expected);
    assert_eq!(reasons(false), [tried; 10]);
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
