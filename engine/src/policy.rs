//! Which strategy runs: what the caller named, or what a block looks like.

use crate::{Block, Transaction};
use std::{fmt, str::FromStr};

/// The strategy that a caller wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StrategyChoice {
    /// Chosen by the look of the first block, and by what the last single ones told; the metrics say what and why.
    #[default]
    Auto,
    /// Entry after entry on the calling thread.
    Serial,
    /// Ahead of the commit frontier on all workers.
    Optimistic,
    /// The state divided among all workers, each of which makes the payments of its own accounts; what is no payment is
    /// executed in its turn.
    Partitioned,
}

/// A strategy's name is none of those known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("strategy is `{value}`: expected auto, serial, optimistic or partitioned")]
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
            "partitioned" => Ok(Self::Partitioned),
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
            Self::Partitioned => "partitioned",
        })
    }
}

/// What will run, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) chosen: Chosen,
    pub(crate) reason: String,
}

/// A strategy that blocks are executed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chosen {
    Serial,
    Optimistic,
    Partitioned,
}

impl Chosen {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Serial => "serial",
            Self::Optimistic => "optimistic",
            Self::Partitioned => "partitioned",
        }
    }

    /// Whether other threads than the caller's work, too.
    pub(crate) fn is_parallel(self) -> bool {
        self != Self::Serial
    }
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
/// Payments that a block must have for dividing the accounts to pay, and their share of its transactions, in percent:
/// whatever else there is interrupts them.
const PAYMENTS_MIN: usize = 300;
const PAYMENTS_PERCENT_MIN: usize = 90;

/// What the last blocks told that `auto` ran ahead in, each by itself: where chains of blocks are all conflicts, each
/// would begin with tries that are in vain.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    /// Blocks in a row that gave up running ahead.
    in_vain: u32,
    /// Blocks that were not tried since the last of them.
    untried: u32,
}

/// From so many blocks on the next ones are executed serially.
const IN_VAIN_MIN: u32 = 2;
/// After so many of these one is tried again.
const UNTRIED_MAX: u32 = 8;

impl Recent {
    /// The decision on a block that would run ahead.
    pub(crate) fn reconsider(&mut self, decision: Decision) -> Decision {
        if self.in_vain < IN_VAIN_MIN {
            return decision;
        }
        if self.untried == UNTRIED_MAX {
            self.untried = 0;
            return decision;
        }
        self.untried += 1;
        let reason = format!("the last {} blocks that ran ahead gave up", self.in_vain);
        Decision { chosen: Chosen::Serial, reason }
    }

    /// A block ran ahead, to its end or not.
    pub(crate) fn note(&mut self, gave_up: bool) {
        self.in_vain = if gave_up { self.in_vain.saturating_add(1) } else { 0 };
    }
}

/// Decides on a strategy. `ahead` tells that more blocks follow in the same stream, `plans_payments` that the block's fork
/// is one in which payments are planned.
pub(crate) fn decide(
    choice: StrategyChoice,
    block: &Block,
    threads: usize,
    ahead: bool,
    plans_payments: bool,
) -> Decision {
    let decision = |chosen| move |reason: String| Decision { chosen, reason };
    let serial = decision(Chosen::Serial);
    let optimistic = decision(Chosen::Optimistic);
    let partitioned = decision(Chosen::Partitioned);
    let named = "named by the caller";
    match choice {
        StrategyChoice::Serial => return serial(named.into()),
        StrategyChoice::Optimistic => return optimistic(named.into()),
        StrategyChoice::Partitioned => return partitioned(named.into()),
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
        let outlines = block.transactions.iter().map(Transaction::outline);
        let payments = outlines.filter(|tx| tx.may_be_payment()).count();
        if plans_payments && payments >= PAYMENTS_MIN && payments * 100 >= count * PAYMENTS_PERCENT_MIN {
            return partitioned(format!("{payments} payments among {count} transactions"));
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

    fn chosen(count: usize, gas_limit: u64, threads: usize) -> Chosen {
        decide(StrategyChoice::Auto, &block(count, gas_limit), threads, false, true).chosen
    }

    fn payments(count: usize, calls: usize) -> Chosen {
        payments_of(90_000, count, calls, true)
    }

    fn payments_of(gas_limit: u64, count: usize, calls: usize, plans_payments: bool) -> Chosen {
        let mut block = block(calls, 30_000);
        let payment = Transaction::new(TxEnv { gas_limit, ..TxEnv::default() }, B256::ZERO);
        block.transactions.extend(vec![payment; count]);
        decide(StrategyChoice::Auto, &block, 2, false, plans_payments).chosen
    }

    #[test]
    fn auto_spreads_calls_and_keeps_what_is_small() {
        assert_eq!(chosen(100, 200_000, 2), Chosen::Optimistic);
        assert_eq!(chosen(100, 200_000, 1), Chosen::Serial, "one thread");
        assert_eq!(chosen(1, 30_000_000, 2), Chosen::Serial, "one transaction");
        assert_eq!(chosen(20, 40_000, 2), Chosen::Serial, "little gas");
        assert_eq!(chosen(9, 3_000_000, 2), Chosen::Serial, "few calls");
        assert_eq!(chosen(600, 29_000, 2), Chosen::Serial, "small calls on two threads");
    }

    #[test]
    fn auto_divides_accounts_where_there_is_little_but_payments() {
        assert_eq!(payments(10_000, 0), Chosen::Partitioned);
        assert_eq!(payments(1_000, 100), Chosen::Partitioned);
        assert_eq!(payments(1_000, 200), Chosen::Serial, "interrupted too often");
        assert_eq!(payments(100, 0), Chosen::Serial, "too few");
        assert_eq!(payments_of(5_000_000, 1_000, 0, true), Chosen::Serial, "gas for much else");
        assert_eq!(
            payments_of(21_000, 1_000, 0, false),
            Chosen::Serial,
            "a fork in which they are more than that"
        );
    }

    #[test]
    fn after_blocks_in_vain_some_are_serial_and_then_one_is_tried() {
        let mut recent = Recent::default();
        let next = |recent: &mut Recent, gave_up: bool| {
            let ahead = Decision { chosen: Chosen::Optimistic, reason: "calls".into() };
            let chosen = recent.reconsider(ahead).chosen;
            if chosen == Chosen::Optimistic {
                recent.note(gave_up);
            }
            chosen
        };
        let chosen: Vec<_> = (0..12).map(|_| next(&mut recent, true)).collect();
        let mut expected = vec![Chosen::Serial; 12];
        // Two in vain, eight that are not tried, one more in vain.
        for tried in [0, 1, 10] {
            expected[tried] = Chosen::Optimistic;
        }
        assert_eq!(chosen, expected);
        while next(&mut recent, false) == Chosen::Serial {}
        assert!(
            (0..20).all(|_| next(&mut recent, false) == Chosen::Optimistic),
            "one that went well is enough"
        );
    }

    #[test]
    fn a_named_strategy_is_what_runs_and_every_decision_says_why() {
        for count in [0, 1, 1_000] {
            for threads in [1, 2, 32] {
                let decide = |choice| decide(choice, &block(count, 100_000), threads, false, true);
                assert_eq!(decide(StrategyChoice::Serial).chosen, Chosen::Serial);
                assert_eq!(decide(StrategyChoice::Optimistic).chosen, Chosen::Optimistic);
                assert_eq!(decide(StrategyChoice::Partitioned).chosen, Chosen::Partitioned);
                assert!(!decide(StrategyChoice::Auto).reason.is_empty());
            }
        }
    }

    #[test]
    fn names_are_read_back() {
        let all = [
            StrategyChoice::Auto,
            StrategyChoice::Serial,
            StrategyChoice::Optimistic,
            StrategyChoice::Partitioned,
        ];
        for choice in all {
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        let error = "fast".parse::<StrategyChoice>().unwrap_err();
        assert_eq!(error.to_string(), "strategy is `fast`: expected auto, serial, optimistic or partitioned");
    }
}
