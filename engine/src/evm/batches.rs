use super::{
    hints::Hints,
    steps::{PreparedBlock, Step},
};
use crate::block::Outline;
use alloy_primitives::{Address, map::HashMap};
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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Division {
    /// The numbers of steps of the block's entries, in order.
    pub(crate) counts: Vec<u32>,
    /// Entries that should begin before their turn, the longest first.
    pub(crate) long: Vec<u32>,
    /// Entries that should not begin before an earlier one was executed, and which.
    pub(crate) follows: HashMap<u32, u32>,
}

impl Batching {
    /// Every step an entry of its own.
    pub(crate) const OFF: Self = Self { gas_max: 0, entries_min: 0 };

    /// Divides a block's steps into entries.
    pub(crate) fn divide(self, block: &PreparedBlock, hints: &Hints) -> Division {
        if self.gas_max == 0 {
            return Division { counts: vec![1; block.steps.len()], ..Division::default() };
        }
        let transactions = &block.block.transactions;
        let tx_of = |step: &Step| match step {
            Step::Transaction(index) => Some(transactions[*index].outline()),
            _ => None,
        };
        let work_of = |step: &Step| tx_of(step).map(|tx| work(tx, hints));
        let mut follows = HashMap::default();
        // The last entry that called a contended function of a contract.
        let mut last: HashMap<Address, u32> = HashMap::default();
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
            if let Some(function) = tx_of(step).and_then(|tx| tx.function)
                && hints.is_contended(function)
            {
                let place = counts.len() as u32 - 1;
                if let Some(before) = last.insert(function.0, place).filter(|before| *before < place) {
                    follows.insert(place, before);
                }
            }
        }
        long.sort_unstable_by_key(|(gas, place)| (Reverse(*gas), *place));
        long.truncate(LONG_MAX);
        Division { counts, long: long.into_iter().map(|(_, place)| place).collect(), follows }
    }
}

/// The most work that a transaction is taken to be.
fn work(tx: &Outline, hints: &Hints) -> u64 {
    if let Some(gas) = tx.function.and_then(|function| hints.gas(function)) {
        return gas.min(tx.gas_limit).saturating_sub(21_000).saturating_add(PAYMENT_GAS);
    }
    if !tx.has_data && tx.is_call {
        PAYMENT_GAS + EMPTY_CALL_GAS.min(tx.gas_limit.saturating_sub(21_000))
    } else {
        tx.gas_limit.saturating_sub(21_000).saturating_add(PAYMENT_GAS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Block, Transaction, block::Function, chain::ChainSpec};
    use alloy_primitives::{B256, TxKind};
    use revm::context::TxEnv;
    use std::sync::Arc;

    const ALL: Batching = Batching { gas_max: 100_000, entries_min: 0 };

    fn block(transactions: Vec<TxEnv>) -> PreparedBlock {
        let transactions = transactions.into_iter().map(|env| Transaction::new(env, B256::ZERO)).collect();
        PreparedBlock::new(&ChainSpec::mainnet(), Arc::new(Block { transactions, ..Block::default() }))
    }

    fn payment() -> TxEnv {
        TxEnv { kind: TxKind::Call(Address::repeat_byte(9)), gas_limit: 21_000, ..TxEnv::default() }
    }

    fn call(contract: u8, gas_limit: u64) -> TxEnv {
        let kind = TxKind::Call(Address::repeat_byte(contract));
        TxEnv { kind, gas_limit, data: [contract; 4].into(), ..TxEnv::default() }
    }

    fn function(contract: u8) -> Function {
        (Address::repeat_byte(contract), [contract; 4])
    }

    /// Steps of the entries of the transactions: the last entry is the block's end.
    fn counts(batching: Batching, transactions: Vec<TxEnv>) -> Vec<u32> {
        let mut counts = batching.divide(&block(transactions), &Hints::default()).counts;
        assert_eq!(counts.pop(), Some(1));
        counts
    }

    #[test]
    fn light_transactions_share_an_entry_and_heavy_ones_do_not() {
        assert_eq!(counts(ALL, vec![payment(); 30]), [25, 5], "each counts for 4,000");
        assert_eq!(counts(ALL, vec![call(1, 61_000); 5]), [2, 2, 1]);
        let mixed = vec![payment(), call(1, 500_000), payment(), payment()];
        assert_eq!(counts(ALL, mixed), [1, 1, 2]);
        assert_eq!(counts(Batching::OFF, vec![payment(); 3]), [1, 1, 1]);
    }

    #[test]
    fn small_blocks_leave_entries_for_all_threads() {
        let batching = Batching { entries_min: 10, ..ALL };
        assert_eq!(counts(batching, vec![payment(); 30]), [3; 10]);
        assert_eq!(counts(batching, vec![payment(); 5]), [1; 5]);
    }

    #[test]
    fn the_longest_transactions_begin_first() {
        let mut transactions = vec![payment(); 50];
        transactions.extend([call(1, 400_000), call(2, 900_000), call(3, 60_000)]);
        let division = ALL.divide(&block(transactions), &Hints::default());
        assert_eq!(division.counts, [25, 25, 1, 1, 1, 1]);
        assert_eq!(division.long, [3, 2]);
    }

    #[test]
    fn what_calls_took_before_counts_for_more_than_their_limits() {
        let mut hints = Hints::default();
        hints.note_run(function(1), 41_000);
        let transactions = vec![call(1, 2_000_000); 8];
        assert_eq!(ALL.divide(&block(transactions), &hints).counts, [4, 4, 1], "each counts for 24,000");
    }

    #[test]
    fn calls_that_disturbed_each_other_follow_each_other() {
        let mut hints = Hints::default();
        for _ in 0..8 {
            hints.note_thrown_away(function(1));
            hints.note_run(function(1), 300_000);
        }
        let transactions = vec![call(1, 400_000), call(2, 400_000), call(1, 400_000), call(1, 400_000)];
        let division = ALL.divide(&block(transactions.clone()), &hints);
        assert_eq!(division.counts, [1, 1, 1, 1, 1]);
        assert_eq!(division.follows, [(2, 0), (3, 2)].into_iter().collect());
        assert!(ALL.divide(&block(transactions), &Hints::default()).follows.is_empty());
    }
}
