//! Which strategy runs: what the caller named, or what a block looks like.

use crate::{Block, Transaction};
use std::{fmt, str::FromStr};

/// The strategy that a caller wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StrategyChoice {
    /// Chosen by the look of the first block; the metrics say what and why.
    #[default]
    Auto,
    /// Entry after entry on the calling thread.
    Serial,
    /// Ahead of the commit frontier on all workers.
    Optimistic,
}

/// A strategy's name is none of those known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("strategy is `{value}`: expected auto, serial or optimistic")]
pub struct UnknownStrategy {
    /// What was given.
    pub value: String,
}

impl FromStr for StrategyChoice {
    type Err = UnknownStrategy;

    fn from_str(text: &str) -> Result<Self, UnknownStrategy> {
        match text {
            "auto" => Ok(Self::Auto),
            "serial" => Ok(Self::Serial),
            "optimistic" => Ok(Self::Optimistic),
            other => Err(UnknownStrategy { value: other.into() }),
        }
    }
}

impl fmt::Display for StrategyChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Auto => "auto",
            Self::Serial => "serial",
            Self::Optimistic => "optimistic",
        })
    }
}

/// What will run, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) optimistic: bool,
    pub(crate) reason: String,
}

/// Gas beyond the 21,000 of every transaction that the calls of a block must allow before waking workers pays: limits
/// are about twice what is used, and a worker is awake after some fifty microseconds.
const CALL_GAS_MIN: u64 = 2_200_000;
/// Fewer calls leave too little to do beside the longest of them.
const CALLS_MIN: usize = 10;
/// Below this much gas beyond its base, on average, a transaction costs hardly more to execute than to schedule: of
/// the recorded blocks those below ran at 0.65x to 0.95x of their serial speed on two threads, those above at 0.9x to
/// 1.7x.
const CALL_GAS_PER_TRANSACTION_MIN: u64 = 9_000;
/// Threads from which even plain transfers are worth spreading (assumed, not measured).
const TRANSFER_THREADS_MIN: usize = 4;
/// Plain transfers that a block must have for that (assumed, not measured).
const TRANSFERS_MIN: usize = 1_000;

/// Decides on a strategy. `ahead` tells that more blocks follow in the same stream.
pub(crate) fn decide(choice: StrategyChoice, block: &Block, threads: usize, ahead: bool) -> Decision {
    let serial = |reason: String| Decision { optimistic: false, reason };
    let optimistic = |reason: String| Decision { optimistic: true, reason };
    match choice {
        StrategyChoice::Serial => return serial("named by the caller".into()),
        StrategyChoice::Optimistic => return optimistic("named by the caller".into()),
        StrategyChoice::Auto => {}
    }
    if threads < 2 {
        return serial("one thread".into());
    }
    if ahead {
        return optimistic("blocks follow".into());
    }
    let count = block.transactions.len();
    if count < 2 {
        return serial(format!("{count} transactions"));
    }
    // A gas limit says little of a plain transfer: wallets set what they like. Without call data there is hardly
    // ever code to run.
    let calls = block.transactions.iter().map(Transaction::outline).filter(|tx| tx.data_bytes > 0);
    let call_gas = calls.clone().map(|tx| tx.gas_limit.saturating_sub(21_000)).fold(0, u64::saturating_add);
    let calls = calls.count();
    let per_transaction = call_gas / count as u64;
    if per_transaction < CALL_GAS_PER_TRANSACTION_MIN {
        if threads >= TRANSFER_THREADS_MIN && count >= TRANSFERS_MIN {
            return optimistic(format!("{count} small transactions on {threads} threads"));
        }
        return serial(format!("{count} transactions of {per_transaction} gas beyond their base on average"));
    }
    if calls < CALLS_MIN {
        return serial(format!("{calls} calls among {count} transactions"));
    }
    if call_gas >= CALL_GAS_MIN {
        return optimistic(format!("{calls} calls may use {call_gas} gas"));
    }
    serial(format!("{calls} calls may use only {call_gas} gas"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::B256;
    use revm::context::TxEnv;

    fn block(count: usize, gas_limit: u64) -> Block {
        let data = [1, 2, 3, 4].into();
        let transaction = Transaction::new(TxEnv { gas_limit, data, ..TxEnv::default() }, B256::ZERO);
        Block { transactions: vec![transaction; count], ..Block::default() }
    }

    fn is_optimistic(count: usize, gas_limit: u64, threads: usize) -> bool {
        decide(StrategyChoice::Auto, &block(count, gas_limit), threads, false).optimistic
    }

    #[test]
    fn auto_spreads_calls_and_keeps_what_is_small() {
        assert!(is_optimistic(100, 200_000, 2));
        assert!(!is_optimistic(100, 200_000, 1), "one thread");
        assert!(!is_optimistic(1, 30_000_000, 2), "one transaction");
        assert!(!is_optimistic(20, 40_000, 2), "little gas");
        assert!(!is_optimistic(9, 3_000_000, 2), "few calls");
        assert!(!is_optimistic(10_000, 21_000, 2), "plain transfers on two threads");
        assert!(!is_optimistic(600, 29_000, 2), "small calls on two threads");
        assert!(is_optimistic(10_000, 21_000, 16), "plain transfers on many");
    }

    #[test]
    fn a_named_strategy_is_what_runs_and_every_decision_says_why() {
        for count in [0, 1, 1_000] {
            for threads in [1, 2, 32] {
                let decide = |choice| decide(choice, &block(count, 100_000), threads, false);
                assert!(!decide(StrategyChoice::Serial).optimistic);
                assert!(decide(StrategyChoice::Optimistic).optimistic);
                assert!(!decide(StrategyChoice::Auto).reason.is_empty());
            }
        }
    }

    #[test]
    fn names_are_read_back() {
        for choice in [StrategyChoice::Auto, StrategyChoice::Serial, StrategyChoice::Optimistic] {
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        let error = "fast".parse::<StrategyChoice>().unwrap_err();
        assert_eq!(error.to_string(), "strategy is `fast`: expected auto, serial or optimistic");
    }
}
