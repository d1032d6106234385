//! The independent oracle: alloy-evm's block executor over revm's `State`, one transaction after another.
//!
//! Nothing of it is the engine's own, but for the types that go in ([`ChainSpec`], [`MemoryState`], [`Block`]).
//! [`oracle_block`] executes a block; [`OracleOutcome::check`] and [`OracleError::check`] say where the engine's
//! answer differs.
//!
//! What it cannot do: chains without rewards or without system calls, and ommers of which only the hash is known.

use alloy_consensus::{
    EthereumTypedTransaction, Header, ReceiptEnvelope, Signed, TxEip1559, TxEip2930, TxEip4844,
    TxEip4844Variant, TxEip7702, TxEnvelope, TxLegacy, transaction::Recovered,
};
use alloy_eips::eip7685::Requests;
use alloy_evm::{
    Evm, EvmFactory,
    block::{BlockExecutionError, BlockExecutionResult, BlockExecutor, BlockValidationError},
    eth::{
        EthBlockExecutionCtx, EthBlockExecutor, EthEvmFactory,
        dao_fork::{DAO_HARDFORK_ACCOUNTS, DAO_HARDFORK_BENEFICIARY},
        receipt_builder::AlloyReceiptBuilder,
    },
    precompiles::DynPrecompile,
};
use alloy_hardforks::{EthereumHardfork, EthereumHardforks, ForkCondition};
use alloy_primitives::{Address, B256, KECCAK256_EMPTY, Signature, TxKind, U256};
use citius_engine::{Block, BlockError, BlockOutcome, ExecutionError, Ommer, chain::ChainSpec};
use citius_state::{Account, MemoryState, ReadError, StateReader};
use revm::{
    Database,
    bytecode::Bytecode,
    context::{TxEnv, result::InvalidTransaction},
    database::{DatabaseCommitExt, State, states::bundle_state::BundleRetention},
    database_interface::DBErrorMarker,
    precompile::PrecompileId,
    state::AccountInfo,
};
use std::collections::{BTreeMap, BTreeSet};

/// What the block did, according to the oracle.
#[derive(Debug, Clone)]
pub(crate) struct OracleOutcome {
    /// One receipt a transaction.
    pub(crate) receipts: Vec<ReceiptEnvelope>,
    /// Gas used as the header counts it.
    pub(crate) gas_used: u64,
    /// Blob gas used.
    pub(crate) blob_gas_used: u64,
    /// Requests to the consensus layer.
    pub(crate) requests: Requests,
    /// The state after the block.
    pub(crate) state: MemoryState,
}

/// Why the oracle refuses the block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OracleError {
    /// The transaction at fault, if one is.
    pub(crate) index: Option<usize>,
    /// The transaction is invalid for this reason; `None` if anything else is wrong.
    pub(crate) invalid: Option<InvalidTransaction>,
    /// All of it in words.
    pub(crate) reason: String,
}

/// Executes a block on a state. The one thing that alloy-evm's executor does elsewhere is the DAO's refund.
///
/// # Errors
///
/// [`OracleError`] if the block is refused.
pub(crate) fn oracle_block(
    chain: &ChainSpec,
    state: &MemoryState,
    block: &Block,
) -> Result<OracleOutcome, OracleError> {
    let env = chain.evm_env(&block.header);
    let mut database = State::builder()
        .with_database(OracleDatabase { state, header: &block.header })
        .with_bundle_update()
        .build();
    // The executor comes to the DAO's refund behind the transactions. EIP-779 has it before them.
    let dao_fork = chain.ethereum_fork_activation(EthereumHardfork::Dao);
    if dao_fork.transitions_at_block(block.header.number) {
        let drained = database.drain_balances(DAO_HARDFORK_ACCOUNTS).map_err(|error| unreadable(&error))?;
        let refund = [(DAO_HARDFORK_BENEFICIARY, drained.into_iter().sum())];
        database.increment_balances(refund).map_err(|error| unreadable(&error))?;
    }
    let chain = &chain.clone().with_fork(EthereumHardfork::Dao, ForkCondition::Never);
    let mut evm = EthEvmFactory::default().create_evm(&mut database, env);
    for precompile in chain.precompiles() {
        let run = precompile.run.clone();
        evm.precompiles_mut().apply_precompile(&precompile.address, |_| {
            Some(DynPrecompile::new(PrecompileId::Custom("custom".into()), move |input| {
                run(&input.data.to_vec().into(), input.gas, input.reservoir)
            }))
        });
    }
    let ommers: Vec<Header> = block.ommers.iter().map(ommer_header).collect();
    let context = EthBlockExecutionCtx {
        parent_hash: block.header.parent_hash,
        parent_beacon_block_root: block.header.parent_beacon_block_root,
        ommers: &ommers,
        withdrawals: Some(block.withdrawals.as_slice().into()),
        extra_data: block.header.extra_data.clone(),
        tx_count_hint: None,
        slot_number: None,
    };
    let mut executor = EthBlockExecutor::new(evm, context, chain, AlloyReceiptBuilder::default());
    executor.apply_pre_execution_changes().map_err(|error| refusal(None, &error))?;
    for (index, transaction) in block.transactions.iter().enumerate() {
        let env = transaction.env();
        executor
            .execute_transaction((env.clone(), envelope(env, transaction.hash())))
            .map_err(|error| refusal(Some(index), &error))?;
    }
    let (evm, result) = executor.finish().map_err(|error| refusal(None, &error))?;
    drop(evm);
    database.merge_transitions(BundleRetention::PlainState);
    let state = state_after(state, &mut database);
    let BlockExecutionResult { receipts, requests, gas_used, blob_gas_used } = result;
    Ok(OracleOutcome { receipts, gas_used, blob_gas_used, requests, state })
}

impl OracleOutcome {
    /// Compares the engine's outcome of the same block on the same state: receipts, sums, and the state after.
    ///
    /// # Errors
    ///
    /// The first difference, in words.
    pub(crate) fn check(&self, before: &MemoryState, outcome: &BlockOutcome) -> Result<(), String> {
        equal("number of receipts", &outcome.transactions.len(), &self.receipts.len())?;
        for (index, (ours, theirs)) in outcome.transactions.iter().zip(&self.receipts).enumerate() {
            equal(&format!("receipt {index}"), &ours.receipt(), theirs)?;
        }
        equal("gas used", &outcome.gas_used, &self.gas_used)?;
        equal("blob gas used", &outcome.blob_gas_used, &self.blob_gas_used)?;
        equal("requests", &outcome.requests, &self.requests)?;
        for change in &outcome.changes.accounts {
            let address = change.address;
            equal(&format!("account {address} before"), &change.before, &known(before, address))?;
            if !change.is_change() {
                return Err(format!("account {address} is listed, but did not change"));
            }
            for slot in change.storage.iter().filter(|_| !change.storage_wiped) {
                let theirs = before.storage(address, slot.slot).unwrap_or_default();
                equal(&format!("slot {:#x} of {address} before", slot.slot), &slot.before, &theirs)?;
            }
        }
        let mut after = before.clone();
        after.apply(&outcome.changes);
        check_states(&after, &self.state)
    }
}

impl OracleError {
    /// Compares the engine's refusal of the same block.
    ///
    /// # Errors
    ///
    /// The difference, in words.
    pub(crate) fn check(&self, error: &ExecutionError) -> Result<(), String> {
        let ExecutionError::Refused(refusal) = error else {
            return Err(format!("engine gave no verdict ({error}), oracle: {}", self.reason));
        };
        equal("refused transaction", &refusal.transaction_index(), &self.index)?;
        let ours = match refusal {
            BlockError::InvalidTransaction { error, .. } => Some(error),
            _ => None,
        };
        equal("reason of refusal", &ours, &self.invalid.as_ref())
    }
}

/// Compares two states account by account and slot by slot; a slot that is not known is zero.
///
/// # Errors
///
/// The first difference, in words.
pub(crate) fn check_states(ours: &MemoryState, theirs: &MemoryState) -> Result<(), String> {
    let addresses: BTreeSet<Address> =
        ours.accounts().chain(theirs.accounts()).map(|(address, _)| address).collect();
    for address in addresses {
        let account = known(ours, address);
        equal(&format!("account {address}"), &account, &known(theirs, address))?;
        if let Some(account) = account.filter(Account::has_code) {
            let code = |state: &MemoryState| state.code(account.code_hash).map(|code| code.original_bytes());
            equal(&format!("code of {address}"), &code(ours), &code(theirs))?;
        }
        equal(&format!("storage of {address}"), &slots(ours, address), &slots(theirs, address))?;
    }
    Ok(())
}

fn equal<T: PartialEq + std::fmt::Debug>(what: &str, ours: &T, theirs: &T) -> Result<(), String> {
    if ours == theirs { Ok(()) } else { Err(format!("{what}: engine {ours:?}, oracle {theirs:?}")) }
}

fn known(state: &MemoryState, address: Address) -> Option<Account> {
    state.account(address).ok().flatten()
}

fn slots(state: &MemoryState, address: Address) -> BTreeMap<U256, U256> {
    state.slots(address).filter(|(_, value)| !value.is_zero()).collect()
}

fn unreadable(error: &impl ToString) -> OracleError {
    OracleError { index: None, invalid: None, reason: error.to_string() }
}

fn refusal(index: Option<usize>, error: &BlockExecutionError) -> OracleError {
    let reason = error.to_string();
    match error {
        BlockExecutionError::Validation(BlockValidationError::InvalidTx { error, .. }) => {
            OracleError { index, invalid: error.as_invalid_tx_err().cloned(), reason }
        }
        _ => OracleError { index, invalid: None, reason },
    }
}

fn ommer_header(ommer: &Ommer) -> Header {
    match *ommer {
        Ommer::Known { beneficiary, number } => Header { beneficiary, number, ..Header::default() },
        Ommer::Unknown => panic!("the oracle pays every ommer: it must be known"),
    }
}

/// The original state with what revm's bundle says.
fn state_after<DB: Database>(before: &MemoryState, database: &mut State<DB>) -> MemoryState {
    let mut after = before.clone();
    let bundle = database.take_bundle();
    for (address, account) in &bundle.state {
        if account.was_destroyed() {
            after.set_absent(*address);
        }
        let Some(info) = &account.info else {
            after.set_absent(*address);
            continue;
        };
        if let Some(code) = &info.code {
            after.set_code(code.clone());
        }
        let (balance, nonce, code_hash) = (info.balance, info.nonce, info.code_hash);
        after.set_account(*address, Account { balance, nonce, code_hash });
        for (slot, value) in &account.storage {
            after.set_storage(*address, *slot, value.present_value);
        }
    }
    for code in bundle.contracts.values() {
        after.set_code(code.clone());
    }
    after
}

/// A signed transaction that says of itself what the executor asks: type, gas limit, blobs, hash. What is
/// executed is the environment.
fn envelope(env: &TxEnv, hash: B256) -> Recovered<TxEnvelope> {
    let to = env.kind.to().copied().unwrap_or_default();
    let gas_limit = env.gas_limit;
    let transaction: EthereumTypedTransaction<TxEip4844Variant> = match env.tx_type {
        0 => TxLegacy { gas_limit, to: TxKind::Call(to), ..TxLegacy::default() }.into(),
        1 => TxEip2930 { gas_limit, ..TxEip2930::default() }.into(),
        2 => TxEip1559 { gas_limit, ..TxEip1559::default() }.into(),
        3 => {
            let blob_versioned_hashes = env.blob_hashes.clone();
            let transaction = TxEip4844 { gas_limit, to, blob_versioned_hashes, ..TxEip4844::default() };
            EthereumTypedTransaction::Eip4844(TxEip4844Variant::TxEip4844(transaction))
        }
        4 => TxEip7702 { gas_limit, to, ..TxEip7702::default() }.into(),
        other => panic!("transactions of type {other} are unknown"),
    };
    let signature = Signature::test_signature();
    let signed = Signed::new_unchecked(transaction, signature, hash);
    Recovered::new_unchecked(signed.into(), env.caller)
}

/// The state before, as revm's database.
#[derive(Debug)]
struct OracleDatabase<'a> {
    state: &'a MemoryState,
    header: &'a Header,
}

/// A read that the state could not answer.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct OracleReadError(#[from] ReadError);

impl DBErrorMarker for OracleReadError {}

impl Database for OracleDatabase<'_> {
    type Error = OracleReadError;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, OracleReadError> {
        let Some(account) = self.state.account(address)? else { return Ok(None) };
        let Account { balance, nonce, code_hash } = account;
        let code =
            if code_hash == KECCAK256_EMPTY { Bytecode::default() } else { self.state.code(code_hash)? };
        Ok(Some(AccountInfo { balance, nonce, code_hash, code: Some(code), ..AccountInfo::default() }))
    }

    fn code_by_hash(&mut self, code_hash: B256) -> Result<Bytecode, OracleReadError> {
        Ok(self.state.code(code_hash)?)
    }

    fn storage(&mut self, address: Address, slot: U256) -> Result<U256, OracleReadError> {
        Ok(self.state.storage(address, slot)?)
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, OracleReadError> {
        if number + 1 == self.header.number {
            return Ok(self.header.parent_hash);
        }
        Ok(self.state.block_hash(number)?)
    }
}
