use super::{
    changes::Changes,
    machine::EvmOutput,
    steps::{PreparedBlock, Step, SystemCallKind},
    stream::EvmStream,
    value::{EvmKey, EvmValue},
};
use crate::{BlockError, BlockMetrics, BlockOutcome, TransactionOutcome, scheduler::LocationId};
use alloy_eips::{eip6110::MAINNET_DEPOSIT_CONTRACT_ADDRESS, eip7685::Requests};
use alloy_evm::eth::{
    eip6110::{self, DEPOSIT_REQUEST_TYPE},
    spec::EthExecutorSpec,
};
use alloy_primitives::{Address, Bloom, Bytes};
use revm::{context::result::ExecutionResult, context_interface::Cfg, primitives::hardfork::SpecId};

/// What accumulates while a block's entries commit, in order.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    transactions: Vec<TransactionOutcome>,
    /// Gas after refunds: what receipts add up.
    cumulative_gas: u64,
    /// Gas of the two dimensions of [EIP-8037](https://eips.ethereum.org/EIPS/eip-8037), from Amsterdam on.
    regular_gas: u64,
    state_gas: u64,
    blob_gas: u64,
    bloom: Bloom,
    requests: Requests,
    deposits_are_parsed: bool,
    pub(super) changes: Changes,
}

impl Ledger {
    /// An empty one, which keeps for a listener what it is to be told, if there is one.
    pub(crate) fn new(has_listener: bool) -> Self {
        Self { changes: Changes::new(has_listener), ..Self::default() }
    }

    /// Takes the output of a step.
    pub(crate) fn commit(
        &mut self,
        stream: &EvmStream,
        prepared: &PreparedBlock,
        step: usize,
        output: EvmOutput,
    ) -> Result<(), BlockError> {
        match (&prepared.steps[step], output) {
            (Step::Refuse(error), _) => Err(error.clone()),
            (Step::Transaction(index), output) => self.commit_transaction(prepared, *index, output),
            (Step::SystemCall(call), EvmOutput::SystemCall(result)) => match call.kind {
                SystemCallKind::Begin => Ok(()),
                SystemCallKind::Requests(request_type) => {
                    self.parse_deposits(stream)?;
                    let data = request_data(call.contract, result)?;
                    if !data.is_empty() {
                        self.requests.push_request_with_type(request_type, data);
                    }
                    Ok(())
                }
            },
            (Step::SystemCall(call), EvmOutput::Header(error)) => {
                Err(BlockError::SystemCall { contract: call.contract, reason: error.to_string() })
            }
            (Step::SystemCall(call), EvmOutput::Fatal(reason)) => {
                Err(BlockError::SystemCall { contract: call.contract, reason })
            }
            (Step::DaoRefund | Step::Credits, EvmOutput::Credits) => Ok(()),
            (step, output) => panic!("step {step:?} gave the output of another: {output:?}"),
        }
    }

    fn commit_transaction(
        &mut self,
        prepared: &PreparedBlock,
        index: usize,
        output: EvmOutput,
    ) -> Result<(), BlockError> {
        let transaction = &prepared.block.transactions[index];
        let hash = transaction.hash();
        self.check_gas(prepared, index)?;
        let (result, bloom) = match output {
            EvmOutput::Transaction(result, bloom) => (result, bloom),
            EvmOutput::Invalid(error) => {
                return Err(BlockError::InvalidTransaction { index, hash, error });
            }
            EvmOutput::Header(error) => return Err(BlockError::InvalidHeader(error)),
            EvmOutput::Fatal(reason) => {
                return Err(BlockError::Precompile { index: Some(index), reason });
            }
            output => panic!("transaction {index} gave the output of a step: {output:?}"),
        };
        let gas = result.gas();
        self.cumulative_gas += gas.tx_gas_used();
        self.regular_gas += gas.block_regular_gas_used();
        self.state_gas += gas.block_state_gas_used();
        if prepared.env.cfg_env.spec.is_enabled_in(SpecId::CANCUN) {
            self.blob_gas += transaction.blob_gas();
        }
        if let Some(bloom) = &bloom {
            self.bloom |= **bloom;
        }
        if self.transactions.is_empty() {
            let count = prepared.block.transactions.len();
            self.transactions.reserve_exact(count);
            self.changes.reserve(count);
        }
        self.transactions.push(TransactionOutcome {
            result,
            bloom,
            cumulative_gas_used: self.cumulative_gas,
            tx_type: transaction.tx_type(),
        });
        Ok(())
    }

    /// A transaction's gas limit must fit into what the block has left.
    pub(crate) fn check_gas(&self, prepared: &PreparedBlock, index: usize) -> Result<(), BlockError> {
        let transaction = &prepared.block.transactions[index];
        let gas_limit = transaction.outline().gas_limit;
        let block_limit = prepared.env.block_env.gas_limit;
        let is_amsterdam = prepared.env.cfg_env.enable_amsterdam_eip8037;
        let used = if is_amsterdam { self.regular_gas } else { self.cumulative_gas };
        let available = block_limit.saturating_sub(used);
        let cap = prepared.env.cfg_env.tx_gas_limit_cap();
        let state_available = block_limit.saturating_sub(self.state_gas);
        let lacking = if gas_limit.min(cap) > available {
            Some(available)
        } else if is_amsterdam && gas_limit > state_available {
            Some(state_available)
        } else {
            None
        };
        match lacking {
            Some(available) => {
                Err(BlockError::BlockGasExceeded { index, hash: transaction.hash(), gas_limit, available })
            }
            None => Ok(()),
        }
    }

    /// Deposit requests stand first, and are taken from the receipts once all of them are there.
    fn parse_deposits(&mut self, stream: &EvmStream) -> Result<(), BlockError> {
        if std::mem::replace(&mut self.deposits_are_parsed, true) {
            return Ok(());
        }
        let contract = stream.chain().deposit_contract_address().unwrap_or(MAINNET_DEPOSIT_CONTRACT_ADDRESS);
        let logs = self.transactions.iter().flat_map(|transaction| transaction.result.logs());
        let mut deposits = Vec::new();
        eip6110::accumulate_deposits_from_logs(contract, logs, &mut deposits)
            .map_err(|error| BlockError::DepositRequests { reason: error.to_string() })?;
        if !deposits.is_empty() {
            self.requests.push_request_with_type(DEPOSIT_REQUEST_TYPE, Bytes::from(deposits));
        }
        Ok(())
    }

    /// Ends a block: its outcome, less the metrics.
    pub(crate) fn seal(
        &mut self,
        prepared: &PreparedBlock,
        lookup: &dyn Fn(LocationId) -> (EvmKey, EvmValue),
    ) -> BlockOutcome {
        let next = Self::new(self.changes.has_listener());
        let ledger = std::mem::replace(self, next);
        let gas_used = if prepared.env.cfg_env.enable_amsterdam_eip8037 {
            ledger.regular_gas.max(ledger.state_gas)
        } else {
            ledger.cumulative_gas
        };
        BlockOutcome {
            transactions: ledger.transactions,
            gas_used,
            blob_gas_used: ledger.blob_gas,
            logs_bloom: ledger.bloom,
            requests: ledger.requests,
            changes: ledger.changes.into_set(lookup),
            metrics: BlockMetrics::default(),
        }
    }
}

/// The requests that a system contract returned.
fn request_data(contract: Address, result: ExecutionResult) -> Result<Bytes, BlockError> {
    match result {
        ExecutionResult::Success { output, .. } => Ok(output.into_data()),
        ExecutionResult::Revert { output, .. } => {
            Err(BlockError::SystemCall { contract, reason: format!("execution reverted: {output}") })
        }
        ExecutionResult::Halt { reason, .. } => {
            Err(BlockError::SystemCall { contract, reason: format!("execution halted: {reason:?}") })
        }
    }
}
