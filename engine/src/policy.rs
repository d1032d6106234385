//! Which strategy runs: what the caller named, or what a block looks like.

use crate::Block;
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

/// Gas beyond the 21,000 of every transaction that a block must allow before waking workers pays. A worker is
/// awake after some ten microseconds, in which a core executes about this much gas.
const CALL_GAS_MIN: u64 = 400_000;
/// Plain transfers cost hardly more than committing them: many are needed before a second core helps.
const TRANSFERS_MIN: usize = 150;

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
    let call_gas: u64 = block
        .transactions
        .iter()
        .map(|transaction| transaction.env().gas_limit.saturating_sub(21_000))
        .fold(0, u64::saturating_add);
    if call_gas >= CALL_GAS_MIN {
        return optimistic(format!("{count} transactions may use {call_gas} gas beyond their base"));
    }
    if count >= TRANSFERS_MIN {
        return optimistic(format!("{count} transfers"));
    }
    serial(format!("{count} transactions may use only {call_gas} gas beyond their base"))
}
