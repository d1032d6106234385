use super::steps::{PreparedBlock, Step};
use revm::context::TxEnv;
use std::cmp::Reverse;

/// How consecutive light transactions come to share an entry: scheduling one costs about as much as executing it.
///
/// Work is counted in gas, as an upper bound from what is known before the execution.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Batching {
    /// Most work of an entry of several transactions; 0 for entries of one each.
    pub(crate) gas_max: u64,
    /// Entries that are left to a block at least, if it has as many transactions, so that every thread has work to
    /// the end; 0 for no such bound.
    pub(crate) entries_min: u64,
}

/// A payment without data runs past the EVM, in the time of about this much gas.
const PAYMENT_GAS: u64 = 4_000;
/// What a payment to a contract may do before it counts as more: most have one log and one write.
const EMPTY_CALL_GAS: u64 = 2_300;

/// A transaction of less work than this part of its block's does not hold up the end, whenever it begins.
const LONG_SHARE: u64 = 10;
/// Nor does one of less work than this.
const LONG_GAS_MIN: u64 = 200_000;
/// Transactions of a block that begin before their turn: the longest ones.
const LONG_MAX: usize = 4;

/// How a block's steps are divided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Division {
    /// The numbers of steps of the block's entries, in order.
    pub(crate) counts: Vec<u32>,
    /// Entries that should begin before their turn, the longest first.
    pub(crate) long: Vec<u32>,
}

impl Batching {
    /// Every step an entry of its own.
    pub(crate) const OFF: Self = Self { gas_max: 0, entries_min: 0 };

    /// Divides a block's steps into entries.
    pub(crate) fn divide(self, block: &PreparedBlock) -> Division {
        if self.gas_max == 0 {
            return Division { counts: vec![1; block.steps.len()], long: Vec::new() };
        }
        let transactions = &block.block.transactions;
        let work_of = |step: &Step| match step {
            Step::Transaction(index) => Some(work(transactions[*index].env())),
            _ => None,
        };
        let total = block.steps.iter().filter_map(work_of).fold(0, u64::saturating_add);
        let gas_max = self.gas_max.min(total.checked_div(self.entries_min).unwrap_or(u64::MAX));
        let mut counts = Vec::with_capacity(block.steps.len());
        let mut long = Vec::new();
        // Work of the entry at the end, if it may take more.
        let mut open: Option<u64> = None;
        for step in &block.steps {
            let gas = work_of(step);
            let joined = open.zip(gas).map(|(open, gas)| open.saturating_add(gas));
            match (joined.filter(|work| *work <= gas_max), counts.last_mut()) {
                (Some(work), Some(count)) => {
                    *count += 1;
                    open = Some(work);
                }
                _ => {
                    if let Some(gas) = gas.filter(|gas| *gas >= LONG_GAS_MIN && *gas >= total / LONG_SHARE) {
                        long.push((gas, counts.len() as u32));
                    }
                    counts.push(1);
                    open = gas;
                }
            }
        }
        long.sort_unstable_by_key(|(gas, place)| (Reverse(*gas), *place));
        long.truncate(LONG_MAX);
        Division { counts, long: long.into_iter().map(|(_, place)| place).collect() }
    }
}

/// The most work that a transaction is taken to be.
fn work(tx: &TxEnv) -> u64 {
    if tx.data.is_empty() && tx.kind.is_call() {
        PAYMENT_GAS + EMPTY_CALL_GAS.min(tx.gas_limit.saturating_sub(21_000))
    } else {
        tx.gas_limit.saturating_sub(21_000).saturating_add(PAYMENT_GAS)
    }
}
