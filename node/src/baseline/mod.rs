//! The outside yardstick of time: plain revm over a [`CacheDB`], one transaction after the other.
//!
//! As tight as such a loop gets, and it does the whole job: system calls, transactions, receipts with blooms, rewards
//! and withdrawals; the cache counts as its change set. That it refuses a block that the engine accepts, or uses other
//! gas, is noted and is no mismatch. Its changes are not compared at all, since `CacheDB` forgets that a destroyed
//! account's storage is gone once the account is funded again, and serves touched empty accounts as existing.

mod database;
mod root;

pub use database::PreStateError;

use alloy_consensus::Header;
use alloy_eips::{
    eip2935::HISTORY_STORAGE_ADDRESS, eip4788::BEACON_ROOTS_ADDRESS,
    eip7002::WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, eip7251::CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS,
};
use alloy_evm::{
    block::{
        BUILDER_DEPOSIT_REQUEST_PREDEPLOY_ADDRESS, BUILDER_EXIT_REQUEST_PREDEPLOY_ADDRESS,
        state_changes::post_block_balance_increments,
    },
    eth::dao_fork::{DAO_HARDFORK_ACCOUNTS, DAO_HARDFORK_BENEFICIARY},
};
use alloy_hardforks::{EthereumHardfork, EthereumHardforks};
use alloy_primitives::{Address, Bloom, Bytes, logs_bloom};
use citius_engine::{Block, TransactionOutcome, chain::ChainSpec};
use citius_state::MemoryState;
use database::PreState;
use revm::{
    Context, ExecuteCommitEvm, MainBuilder, MainContext, SystemCallCommitEvm,
    context::{
        BlockEnv,
        result::{EVMError, InvalidTransaction},
    },
    database::{CacheDB, DatabaseCommitExt},
    primitives::hardfork::SpecId,
};

/// Plain revm over a cache that is kept from block to block.
pub struct Baseline<'a> {
    chain: &'a ChainSpec,
    database: CacheDB<PreState<'a>>,
}

/// What the baseline made of a block; its changes stay in the cache.
#[derive(Debug)]
pub struct BaselineOutcome {
    /// One entry a transaction, in order.
    pub transactions: Vec<TransactionOutcome>,
    /// Gas used by the block.
    pub gas_used: u64,
    /// Union of the receipts' blooms.
    pub logs_bloom: Bloom,
}

/// Why the baseline stopped.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    /// revm refused a transaction, or the state could not be read.
    #[error("transaction {index}: {source}")]
    Transaction {
        /// The transaction's index in the block.
        index: usize,
        /// What revm said.
        #[source]
        source: EVMError<PreStateError, InvalidTransaction>,
    },
    /// revm refused a system call, or the state could not be read.
    #[error("system call to {contract}: {source}")]
    SystemCall {
        /// The contract called.
        contract: Address,
        /// What revm said.
        #[source]
        source: EVMError<PreStateError, InvalidTransaction>,
    },
    /// A transaction's gas limit exceeds what the block has left.
    #[error("transaction {index} wants more gas than the block has left")]
    BlockGasExceeded {
        /// The transaction's index in the block.
        index: usize,
    },
    /// The state could not be read while rewards were paid.
    #[error(transparent)]
    State(#[from] PreStateError),
}

impl<'a> Baseline<'a> {
    /// A baseline with an empty cache over `state`.
    #[must_use]
    pub fn new(chain: &'a ChainSpec, state: &'a MemoryState) -> Self {
        Self { chain, database: CacheDB::new(PreState(state)) }
    }

    /// Executes the next block.
    ///
    /// # Errors
    ///
    /// [`BaselineError`]; the cache then holds what happened before it.
    pub fn execute(&mut self, block: &Block) -> Result<BaselineOutcome, BaselineError> {
        let environment = self.chain.evm_env(&block.header);
        let spec = *environment.spec_id();
        self.refund_dao(block)?;
        let mut evm = Context::mainnet()
            .with_db(&mut self.database)
            .with_cfg(environment.cfg_env)
            .with_block(environment.block_env.clone())
            .build_mainnet();

        for (contract, input) in calls_before(spec, &block.header) {
            evm.system_call_commit(contract, input)
                .map_err(|source| BaselineError::SystemCall { contract, source })?;
        }
        let mut outcome = BaselineOutcome {
            transactions: Vec::with_capacity(block.transactions.len()),
            gas_used: 0,
            logs_bloom: Bloom::ZERO,
        };
        for (index, tx) in block.transactions.iter().enumerate() {
            if tx.env().gas_limit > block.header.gas_limit.saturating_sub(outcome.gas_used) {
                return Err(BaselineError::BlockGasExceeded { index });
            }
            let result = evm
                .transact_commit(tx.env().clone())
                .map_err(|source| BaselineError::Transaction { index, source })?;
            outcome.gas_used += result.tx_gas_used();
            let logs = result.logs();
            let bloom = (!logs.is_empty()).then(|| Box::new(logs_bloom(logs)));
            if let Some(bloom) = &bloom {
                outcome.logs_bloom.accrue_bloom(bloom);
            }
            outcome.transactions.push(TransactionOutcome {
                result,
                bloom,
                cumulative_gas_used: outcome.gas_used,
                tx_type: tx.tx_type(),
            });
        }
        for &contract in calls_after(spec) {
            evm.system_call_commit(contract, Bytes::new())
                .map_err(|source| BaselineError::SystemCall { contract, source })?;
        }
        drop(evm);
        self.pay(block, &environment.block_env)?;
        Ok(outcome)
    }

    /// Moves the DAO's ether to its refund contract, in the block that does it.
    fn refund_dao(&mut self, block: &Block) -> Result<(), PreStateError> {
        let dao_fork = self.chain.ethereum_fork_activation(EthereumHardfork::Dao);
        if !dao_fork.transitions_at_block(block.header.number) {
            return Ok(());
        }
        let drained: u128 = self.database.drain_balances(DAO_HARDFORK_ACCOUNTS)?.into_iter().sum();
        self.database.increment_balances([(DAO_HARDFORK_BENEFICIARY, drained)])
    }

    /// Rewards and withdrawals. Uncles are unknown here: the miner's share for them is not paid.
    fn pay(&mut self, block: &Block, environment: &BlockEnv) -> Result<(), PreStateError> {
        let increments =
            post_block_balance_increments::<Header>(self.chain, environment, &[], Some(&block.withdrawals));
        self.database.increment_balances(increments)
    }
}

/// The system calls before the transactions, by fork.
fn calls_before(spec: SpecId, header: &Header) -> impl Iterator<Item = (Address, Bytes)> {
    let after_genesis = header.number > 0;
    let history = (after_genesis && spec.is_enabled_in(SpecId::PRAGUE))
        .then(|| (HISTORY_STORAGE_ADDRESS, header.parent_hash.0.into()));
    let beacon_root = header
        .parent_beacon_block_root
        .filter(|_| after_genesis && spec.is_enabled_in(SpecId::CANCUN))
        .map(|root| (BEACON_ROOTS_ADDRESS, root.0.into()));
    history.into_iter().chain(beacon_root)
}

/// The system calls after the transactions, by fork.
fn calls_after(spec: SpecId) -> &'static [Address] {
    const CALLS: [Address; 4] = [
        WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS,
        CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS,
        BUILDER_DEPOSIT_REQUEST_PREDEPLOY_ADDRESS,
        BUILDER_EXIT_REQUEST_PREDEPLOY_ADDRESS,
    ];
    match spec {
        spec if spec.is_enabled_in(SpecId::AMSTERDAM) => &CALLS,
        spec if spec.is_enabled_in(SpecId::PRAGUE) => &CALLS[..2],
        _ => &[],
    }
}
