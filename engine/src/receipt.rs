use crate::{BlockOutcome, TransactionOutcome};
use alloy_primitives::{B256, Bloom, Log};
use alloy_rlp::{BufMut, Encodable, Header};
use citius_hashing::Hasher;
use citius_state::trie::index_root;
use std::ops::Range;

impl TransactionOutcome {
    /// Appends the receipt as it stands in the receipts trie from Byzantium on: the type's byte unless it is 0
    /// ([EIP-2718](https://eips.ethereum.org/EIPS/eip-2718)), then the RLP of status
    /// ([EIP-658](https://eips.ethereum.org/EIPS/eip-658)), cumulative gas, bloom and logs.
    ///
    /// The same as encoding [`TransactionOutcome::receipt`], which copies all logs.
    pub fn encode_receipt(&self, out: &mut Vec<u8>) {
        const NO_BLOOM: &Bloom = &Bloom::ZERO;
        let status = self.result.is_success();
        let bloom = self.bloom.as_deref().unwrap_or(NO_BLOOM);
        let logs = self.result.logs();
        let logs_len: usize = logs.iter().map(Encodable::length).sum();
        let logs_header = Header { list: true, payload_length: logs_len };
        let payload_length = status.length()
            + self.cumulative_gas_used.length()
            + bloom.length()
            + logs_header.length_with_payload();
        let header = Header { list: true, payload_length };
        out.reserve(1 + header.length_with_payload());
        if self.tx_type != 0 {
            out.put_u8(self.tx_type);
        }
        header.encode(out);
        status.encode(out);
        self.cumulative_gas_used.encode(out);
        bloom.encode(out);
        logs_header.encode(out);
        logs.iter().for_each(|log: &Log| log.encode(out));
    }
}

impl BlockOutcome {
    /// The receipts root ([Yellow Paper, section 4.3.2](https://ethereum.github.io/yellowpaper/paper.pdf)) of a block from
    /// Byzantium on: before, receipts hold state roots between transactions, which are not made.
    #[must_use]
    pub fn receipts_root(&self, hasher: &Hasher) -> B256 {
        let mut arena = Vec::new();
        let receipts: Vec<Range<usize>> = self
            .transactions
            .iter()
            .map(|tx| {
                let start = arena.len();
                tx.encode_receipt(&mut arena);
                start..arena.len()
            })
            .collect();
        let receipts: Vec<&[u8]> = receipts.into_iter().map(|receipt| &arena[receipt]).collect();
        index_root(&receipts, hasher)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BlockMetrics;
    use alloy_consensus::{ReceiptEnvelope, proofs::calculate_receipt_root};
    use alloy_eips::Encodable2718;
    use alloy_primitives::{Address, Bytes, logs_bloom};
    use citius_state::ChangeSet;
    use revm::context::result::{ExecutionResult, HaltReason, Output, ResultGas, SuccessReason};

    /// Succeeded with so many logs of so many bytes, or reverted.
    fn transaction(index: usize, logs: usize, log_bytes: usize) -> TransactionOutcome {
        let log = |topics: usize| {
            let topics = (0..topics).map(|topic| B256::with_last_byte(topic as u8)).collect();
            Log::new_unchecked(Address::repeat_byte(index as u8), topics, vec![7; log_bytes].into())
        };
        let logs: Vec<Log> = (0..logs).map(|at| log(at % 5)).collect();
        let bloom = (!logs.is_empty()).then(|| Box::new(logs_bloom(&logs)));
        let gas = ResultGas::default();
        let result: ExecutionResult<HaltReason> = if index % 7 == 3 {
            ExecutionResult::Revert { gas, logs, output: Bytes::new() }
        } else {
            let output = Output::Call(Bytes::new());
            ExecutionResult::Success { reason: SuccessReason::Stop, gas, logs, output }
        };
        let cumulative_gas_used = 21_000 * (index as u64 + 1);
        TransactionOutcome { result, bloom, cumulative_gas_used, tx_type: (index % 5) as u8 }
    }

    fn outcome(transactions: Vec<TransactionOutcome>) -> BlockOutcome {
        BlockOutcome {
            transactions,
            gas_used: 0,
            blob_gas_used: 0,
            logs_bloom: Bloom::ZERO,
            requests: Default::default(),
            changes: ChangeSet::default(),
            metrics: BlockMetrics::default(),
        }
    }

    #[test]
    fn receipts_are_encoded_as_consensus_has_them() {
        for (index, (logs, log_bytes)) in
            [(0, 0), (1, 0), (1, 1), (3, 40), (7, 300), (1, 70_000)].into_iter().enumerate()
        {
            for tx_type in 0..5 {
                let tx = TransactionOutcome { tx_type, ..transaction(index, logs, log_bytes) };
                let mut encoded = Vec::new();
                tx.encode_receipt(&mut encoded);
                assert_eq!(encoded, tx.receipt().encoded_2718(), "{logs} logs, type {tx_type}");
            }
        }
    }

    #[test]
    fn receipts_roots_are_those_of_alloy() {
        let hasher = Hasher::cpu();
        for count in (0..300).step_by(13).chain([1, 127, 128, 129]) {
            let transactions = (0..count).map(|index| transaction(index, index % 4, index * 3)).collect();
            let outcome = outcome(transactions);
            let receipts: Vec<ReceiptEnvelope<Log>> =
                outcome.transactions.iter().map(TransactionOutcome::receipt).collect();
            assert_eq!(
                outcome.receipts_root(&hasher),
                calculate_receipt_root(&receipts),
                "{count} transactions"
            );
        }
    }
}
