use super::steps::{PreparedBlock, Step};
use revm::context::TxEnv;

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

impl Batching {
    /// Every step an entry of its own.
    pub(crate) const OFF: Self = Self { gas_max: 0, entries_min: 0 };

    /// The numbers of steps of a block's entries, in order.
    pub(crate) fn divide(self, block: &PreparedBlock) -> Vec<u32> {
        let transactions = &block.block.transactions;
        if self.gas_max == 0 {
            return vec![1; block.steps.len()];
        }
        let total = transactions.iter().map(|tx| work(tx.env())).fold(0, u64::saturating_add);
        let gas_max = self.gas_max.min(total.checked_div(self.entries_min).unwrap_or(u64::MAX));
        let mut counts = Vec::with_capacity(block.steps.len());
        // Work of the entry at the end, if it may take more.
        let mut open: Option<u64> = None;
        for step in &block.steps {
            let gas = match step {
                Step::Transaction(index) => Some(work(transactions[*index].env())),
                _ => None,
            };
            let joined = open.zip(gas).map(|(open, gas)| open.saturating_add(gas));
            match (joined.filter(|work| *work <= gas_max), counts.last_mut()) {
                (Some(work), Some(count)) => {
                    *count += 1;
                    open = Some(work);
                }
                _ => {
                    counts.push(1);
                    open = gas;
                }
            }
        }
        counts
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
