use super::{
    hints::Hints,
    steps::{PreparedBlock, Step},
};
use crate::block::Outline;
use alloy_primitives::{Address, map::HashMap};

/// How consecutive light transactions come to share an entry: scheduling one costs about as much as executing it.
///
/// Work is counted in gas: what calls like it took lately, else an upper bound.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Batching {
    /// Most work of an entry of several transactions; 0 for entries of one each.
    pub(crate) gas_max: u64,
    /// Entries that are left to each thread of a block at least, if it has as many transactions, so that all have
    /// work to the end; 0 for no such bound.
    pub(crate) entries_per_thread_min: u64,
    pub(crate) threads: u64,
}

/// A payment without data runs past the EVM, in the time of about this much gas.
const PAYMENT_GAS: u64 = 4_000;
/// What a payment to a contract may do before it counts as more: most have one log and one write.
const EMPTY_CALL_GAS: u64 = 2_300;

/// Call data beyond this is mostly proofs, which take longer than their gas says.
const PLAIN_DATA_BYTES: u32 = 4_096;
/// What each byte beyond that counts for.
const PROOF_BYTE_GAS: u64 = 100;

/// A transaction of less work than this part of its block's does not hold up the end, whenever it begins.
const LONG_SHARE: u64 = 20;
/// Nor does one of less work than this.
const LONG_GAS_MIN: u64 = 200_000;

/// How a block's steps are divided.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Division {
    /// The numbers of steps of the block's entries, in order.
    pub(crate) counts: Vec<u32>,
    /// Entries that should begin before their turn: the second of each pair, at the turn of the first, in the order
    /// of these turns.
    pub(crate) early: Vec<(u32, u32)>,
    /// Entries that should not begin before an earlier one was executed, and which.
    pub(crate) follows: HashMap<u32, u32>,
}

impl Batching {
    /// Every step an entry of its own.
    pub(crate) const OFF: Self = Self { gas_max: 0, entries_per_thread_min: 0, threads: 1 };

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
        let entries_min = self.entries_per_thread_min.saturating_mul(self.threads);
        let gas_max = self.gas_max.min(total.checked_div(entries_min).unwrap_or(u64::MAX));
        let mut counts = Vec::with_capacity(block.steps.len());
        let mut works: Vec<u64> = Vec::with_capacity(block.steps.len());
        // Whether a transaction may join the entry at the end.
        let mut is_open = false;
        for step in &block.steps {
            let gas = work_of(step);
            let joined = works.last().zip(gas).map(|(open, gas)| open.saturating_add(gas));
            match (joined.filter(|work| is_open && *work <= gas_max), counts.last_mut(), works.last_mut()) {
                (Some(joined), Some(count), Some(work)) => {
                    *count += 1;
                    *work = joined;
                }
                _ => {
                    counts.push(1);
                    works.push(gas.unwrap_or_default());
                }
            }
            is_open = gas.is_some();
            if let Some(function) = tx_of(step).and_then(Outline::function)
                && hints.is_contended(function)
            {
                let place = counts.len() as u32 - 1;
                if let Some(before) = last.insert(function.0, place).filter(|before| *before < place) {
                    follows.insert(place, before);
                }
            }
        }
        Division { counts, early: self.early(&works, total), follows }
    }

    /// Which entries of such work should begin before their turn, and when: while each other thread still has two and a
    /// half times as much to do, for the estimates are rough. No sooner: what an entry does not wait for may be what
    /// it has to be executed again for.
    fn early(self, works: &[u64], total: u64) -> Vec<(u32, u32)> {
        let is_long = |work: u64| work >= LONG_GAS_MIN && work >= total / LONG_SHARE;
        let others = self.threads.saturating_sub(1).max(1);
        let mut early = Vec::new();
        for (place, work) in works.iter().enumerate().filter(|(_, work)| is_long(**work)) {
            let beside = work.saturating_mul(others).saturating_mul(5) / 2;
            // What is left, this entry apart, at each turn from the first on.
            let mut left = total.saturating_sub(*work);
            let mut at = 0;
            while at < place && left > beside {
                left = left.saturating_sub(works[at]);
                at += 1;
            }
            if at < place {
                early.push((at as u32, place as u32));
            }
        }
        early.sort_unstable();
        early
    }
}

/// The work that a transaction is taken to be.
fn work(tx: &Outline, hints: &Hints) -> u64 {
    let proofs = u64::from(tx.data_bytes.saturating_sub(PLAIN_DATA_BYTES)) * PROOF_BYTE_GAS;
    let limit = tx.gas_limit.saturating_sub(21_000);
    let gas = match tx.function().and_then(|function| hints.gas(function)) {
        Some(gas) => gas.saturating_sub(21_000).min(limit),
        None if tx.data_bytes == 0 && tx.to.is_some() => limit.min(EMPTY_CALL_GAS),
        None => limit,
    };
    gas.saturating_add(PAYMENT_GAS + proofs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Block, Transaction, block::Function, chain::ChainSpec};
    use alloy_primitives::{B256, TxKind};
    use revm::context::TxEnv;
    use std::sync::Arc;

    const ALL: Batching = Batching { gas_max: 100_000, entries_per_thread_min: 0, threads: 2 };

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
        let batching = Batching { entries_per_thread_min: 5, ..ALL };
        assert_eq!(counts(batching, vec![payment(); 30]), [3; 10]);
        assert_eq!(counts(batching, vec![payment(); 5]), [1; 5]);
    }

    #[test]
    fn long_transactions_begin_while_there_is_enough_to_do_beside_them() {
        let early = |transactions| ALL.divide(&block(transactions), &Hints::default()).early;
        let mut transactions = vec![call(2, 121_000); 10];
        // It counts for 304,000, all others for 104,000: seven of these are two and a half times as much, or nearly.
        transactions.push(call(1, 321_000));
        assert_eq!(early(transactions.clone()), [(3, 10)]);
        transactions.extend(vec![call(2, 121_000); 6]);
        assert_eq!(early(transactions.clone()), [(9, 10)]);
        transactions.extend(vec![call(2, 121_000); 3]);
        assert_eq!(early(transactions), [], "enough comes behind it");
        let heaviest = vec![call(2, 121_000), call(2, 121_000), call(1, 9_000_000)];
        assert_eq!(early(heaviest), [(0, 2)]);
        let mut proof = call(1, 321_000);
        proof.data = vec![1; 20_000].into();
        let proof_first = [vec![call(2, 121_000); 9], vec![proof], vec![call(2, 121_000); 6]].concat();
        assert_eq!(early(proof_first), [(0, 9)], "its data takes long");
        let payments = vec![payment(); 40];
        assert_eq!(early(payments), [], "nothing is long");
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
