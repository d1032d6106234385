use alloy_consensus::{Eip658Value, Receipt, ReceiptEnvelope, ReceiptWithBloom};
use alloy_eips::eip7685::Requests;
use alloy_primitives::{Bloom, Log};
use citius_state::ChangeSet;
use revm::context::result::{ExecutionResult, HaltReason};
use std::time::{Duration, Instant};

/// What a block did: the engine's answer. Equal for every strategy, thread count and schedule, but for
/// [`BlockOutcome::metrics`].
#[derive(Debug, Clone)]
pub struct BlockOutcome {
    /// One entry a transaction, in order.
    pub transactions: Vec<TransactionOutcome>,
    /// Gas used as the header counts it.
    pub gas_used: u64,
    /// Blob gas used.
    pub blob_gas_used: u64,
    /// Union of the receipts' blooms.
    pub logs_bloom: Bloom,
    /// Requests to the consensus layer ([EIP-7685](https://eips.ethereum.org/EIPS/eip-7685)), from Prague on.
    pub requests: Requests,
    /// What changed in the state, in no particular order (see [`ChangeSet::sort`]).
    pub changes: ChangeSet,
    /// How the work went. Not part of the result.
    pub metrics: BlockMetrics,
}

/// One transaction's outcome and the parts of its receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionOutcome {
    /// Status, gas, output and logs.
    pub result: ExecutionResult<HaltReason>,
    /// The logs' bloom filter, if there are logs.
    pub bloom: Option<Box<Bloom>>,
    /// Gas used by the block up to and including this transaction.
    pub cumulative_gas_used: u64,
    /// Type byte ([EIP-2718](https://eips.ethereum.org/EIPS/eip-2718)).
    pub tx_type: u8,
}

impl TransactionOutcome {
    /// Gas used by this transaction alone, after refunds.
    #[must_use]
    pub fn gas_used(&self) -> u64 {
        self.result.tx_gas_used()
    }

    /// The receipt as consensus encodes it from Byzantium on
    /// ([EIP-658](https://eips.ethereum.org/EIPS/eip-658)): before, it held a state root instead of the status.
    #[must_use]
    pub fn receipt(&self) -> ReceiptEnvelope<Log> {
        let receipt = ReceiptWithBloom {
            receipt: Receipt {
                status: Eip658Value::Eip658(self.result.is_success()),
                cumulative_gas_used: self.cumulative_gas_used,
                logs: self.result.logs().to_vec(),
            },
            logs_bloom: self.bloom.as_deref().copied().unwrap_or_default(),
        };
        match self.tx_type {
            1 => ReceiptEnvelope::Eip2930(receipt),
            2 => ReceiptEnvelope::Eip1559(receipt),
            3 => ReceiptEnvelope::Eip4844(receipt),
            4 => ReceiptEnvelope::Eip7702(receipt),
            _ => ReceiptEnvelope::Legacy(receipt),
        }
    }
}

/// How a block's execution went: counters and times, cheap enough to stay on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlockMetrics {
    /// The strategy that ran.
    pub strategy: &'static str,
    /// Why it was chosen.
    pub reason: String,
    /// Threads that were allowed to work, the caller included.
    pub threads: usize,
    /// Executions begun, first ones and repeated ones, of transactions and block begin and end steps.
    pub executions: u64,
    /// Executions whose result was thrown away.
    pub aborts: u64,
    /// Read sets checked, at commit and when another entry's writes landed on them.
    pub validations: u64,
    /// Executions that stopped at a value still being computed by an earlier entry, or that were parked when their worker
    /// had to leave.
    pub waits: u64,
    /// Most transactions that were started and not yet committed at one time.
    pub max_in_flight: u64,
    /// Locations that the block read or wrote.
    pub locations: u64,
    /// Executions that were parked while a cold read was on its way, each counted once.
    pub parked: u64,
    /// Times that executions were parked.
    pub parks: u64,
    /// Cold reads that a thread waited for, since what asked could not be parked: a commit, a run in order, or an execution
    /// where parking is off.
    pub reads_waited_for: u64,
    /// Keys of accounts and slots that the reader was asked for ahead, for this block's transactions.
    pub keys_asked_ahead: u64,
    /// Those of them that were read before the block was sealed.
    pub keys_ahead_useful: u64,
    /// Those that were not. 0 until the block is sealed.
    pub keys_ahead_useless: u64,
    /// Time by phase, from the block's first step to its sealed outcome.
    pub times: PhaseTimes,
}

/// Where a block's time went. Thread times are added up over all threads; the wall time is not their sum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PhaseTimes {
    /// Wall time from the start of the block's first step to its sealed outcome.
    pub wall: Duration,
    /// Thread time spent executing.
    pub execute: Duration,
    /// The part of `execute` whose result was thrown away.
    pub repeated: Duration,
    /// Thread time spent committing: validation in order, publishing, sealing.
    pub commit: Duration,
    /// Thread time spent idle.
    pub idle: Duration,
    /// Thread time that those who would have waited gave to lent work ([`WorkerPool::lend`](crate::WorkerPool::lend)), as
    /// far as that was inside the block's execution.
    pub lent: Duration,
    /// When the outcome was sealed.
    pub sealed_at: Option<Instant>,
}
