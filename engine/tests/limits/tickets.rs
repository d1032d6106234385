//! Readers whose answers come later.

use crate::{
    case::{Case, check_same},
    readers::{Later, Slow},
    support::{WAYS, check_usable, engine, expected, options, small},
};
use alloy_primitives::U256;
use citius_engine::{BlockError, ExecutionError, StrategyChoice};
use citius_state::{Account, ReadError, StateKey};
use std::{sync::Arc, time::Duration};

#[test]
fn answers_that_come_later_give_the_right_result() {
    let case = small();
    let expected = expected(&case);
    for (strategy, workers) in WAYS {
        let engine = engine(&case, workers);
        for _ in 0..5 {
            let (reader, issuers) = Slow::new(case.state.clone(), Later::Value);
            let completer = std::thread::spawn(move || {
                // Ends when the reader is gone.
                for (_, issuer) in issuers {
                    std::thread::sleep(Duration::from_micros(200));
                    issuer.complete();
                }
            });
            let outcome = case.execute_with(&engine, Arc::new(reader), &options(strategy)).unwrap();
            check_same(&outcome, &expected, &format!("{strategy} on {workers}"));
            // Workers keep code of the reader's, never the reader.
            completer.join().unwrap();
        }
    }
}

#[test]
fn answers_can_come_in_another_order_than_the_questions() {
    let case = small();
    let expected = expected(&case);
    let engine = engine(&case, 8);
    let (reader, issuers) = Slow::new(case.state.clone(), Later::Value);
    let completer = std::thread::spawn(move || {
        // Collects what comes within a while, and completes the last first.
        while let Ok(first) = issuers.recv() {
            let mut held = vec![first];
            while let Ok(next) = issuers.recv_timeout(Duration::from_millis(2)) {
                held.push(next);
            }
            while let Some((_, issuer)) = held.pop() {
                issuer.complete();
            }
        }
    });
    let outcome = case.execute_with(&engine, Arc::new(reader), &options(StrategyChoice::Optimistic)).unwrap();
    check_same(&outcome, &expected, "last question first");
    completer.join().unwrap();
}

/// Keys and refusal of a block whose reader fails after all.
fn failure(case: &Case, strategy: StrategyChoice, workers: usize) -> BlockError {
    let engine = engine(case, workers);
    let (reader, issuers) = Slow::new(case.state.clone(), Later::Error);
    // Who drops the issuers, as a store does that goes down, completes their tickets.
    let dropper = std::thread::spawn(move || issuers.into_iter().for_each(drop));
    let error = case.execute_with(&engine, Arc::new(reader), &options(strategy)).unwrap_err();
    dropper.join().unwrap();
    check_usable(&engine);
    match error {
        ExecutionError::Refused(error) => error,
        other => panic!("{other}"),
    }
}

#[test]
fn a_ticket_whose_issuer_is_gone_ends_in_the_store_s_error() {
    let mut case = small();
    // Of the transactions alone: no system call.
    case.chain = case.chain.without_system_calls();
    let serial = failure(&case, StrategyChoice::Serial, 1);
    let BlockError::State { index: Some(0), error: ReadError::Store { key, source } } = &serial else {
        panic!("{serial}")
    };
    assert_eq!(*key, StateKey::Account(crate::case::ALICE));
    assert_eq!(source.to_string(), "the disk is gone");
    for (strategy, workers) in WAYS {
        assert_eq!(failure(&case, strategy, workers), serial, "{strategy} on {workers}");
    }
}

#[test]
fn a_ticket_complete_from_the_start_is_answered_at_once() {
    let case =
        small().with_account(crate::support::STRANGER, Account { balance: U256::ONE, ..Account::EMPTY });
    let expected = expected(&case);
    for (strategy, workers) in WAYS {
        let (reader, issuers) = Slow::new(case.state.clone(), Later::Value);
        let completer =
            std::thread::spawn(move || issuers.into_iter().for_each(|(_, issuer)| issuer.complete()));
        let outcome =
            case.execute_with(&engine(&case, workers), Arc::new(reader), &options(strategy)).unwrap();
        check_same(&outcome, &expected, &format!("{strategy} on {workers}"));
        completer.join().unwrap();
    }
}
