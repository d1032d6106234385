use crate::{
    archive::{ArchiveError, Entry},
    case::Envelope,
    exceptions::Tests,
    fixture::Quantity,
    machines::{Machines, Rules, serial},
    selection::Selection,
    state::spec_of,
    suite::{self, Worker},
    tally::Tally,
};
use alloy_consensus::{
    Header, Transaction as _,
    transaction::{Recovered, SignerRecoverable},
};
use alloy_eips::Decodable2718;
use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256};
use citius_engine::{Block, ExecutionError, Transaction};
use citius_state::{Account, MemoryState};
use revm::{handler::validation::validate_initial_tx_gas, primitives::hardfork::SpecId};
use serde::Deserialize;
use std::{collections::BTreeMap, path::Path, sync::Arc};

#[derive(Debug, Deserialize)]
struct TransactionTest {
    result: BTreeMap<String, Expected>,
    txbytes: Bytes,
}

/// What a fork makes of the bytes: an exception, or a transaction.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Expected {
    exception: Option<String>,
    hash: Option<B256>,
    sender: Option<Address>,
    intrinsic_gas: Option<Quantity>,
}

/// Runs the [transaction tests](https://ethereum-tests.readthedocs.io/en/latest/test_types/transaction_tests.html):
/// decoding, sender recovery, and the engine's verdict on a state where the sender is rich and its nonce right.
pub(crate) fn run(path: &Path, selection: &Selection) -> Result<Tally, ArchiveError> {
    suite::run(path, Tests::Others, selection, run_file)
}

fn run_file(worker: &mut Worker<'_>, entry: Entry) {
    let tests: BTreeMap<String, TransactionTest> = match serde_json::from_slice(&entry.bytes) {
        Ok(tests) => tests,
        Err(error) => return worker.tally.failures.push(format!("{}: {error}", entry.path)),
    };
    for (test_name, test) in &tests {
        for (fork, expected) in &test.result {
            let name = format!("{}::{test_name}::{fork}", entry.path);
            if !worker.selection.takes(&name) {
                continue;
            }
            match spec_of(fork) {
                Ok(spec) => {
                    let result = check(&test.txbytes, spec, expected, &mut worker.machines);
                    worker.record(&name, result.map(|()| "as expected"));
                }
                Err(reason) => worker.tally.skip(reason),
            }
        }
    }
}

/// Gas that a creation gets when the engine executes it.
const CREATION_GAS_MAX: u64 = 30_000_000;

/// What a fork makes of valid bytes.
struct Accepted {
    hash: B256,
    sender: Address,
    intrinsic_gas: u64,
}

fn check(bytes: &[u8], spec: SpecId, expected: &Expected, machines: &mut Machines) -> Result<(), String> {
    match (accept(bytes, spec, machines), &expected.exception) {
        (Err(_), Some(_)) => Ok(()),
        (Err(reason), None) => Err(format!("refused: {reason}")),
        (Ok(_), Some(exception)) => Err(format!("accepted, expected {exception}")),
        (Ok(accepted), None) => {
            let gas = expected.intrinsic_gas.map(|gas| gas.to_u64()).transpose()?;
            let ours = (Some(accepted.hash), Some(accepted.sender), Some(accepted.intrinsic_gas));
            let theirs = (expected.hash, expected.sender, gas);
            if ours == theirs { Ok(()) } else { Err(format!("{ours:?}, expected {theirs:?}")) }
        }
    }
}

/// Recovers a sender by the rules of a fork.
///
/// # Errors
///
/// The fork does not take the signature.
pub(crate) fn recover_sender(envelope: &Envelope, spec: SpecId) -> Result<Address, String> {
    let is_protected = envelope.is_legacy() && envelope.chain_id().is_some();
    if is_protected && !spec.is_enabled_in(SpecId::SPURIOUS_DRAGON) {
        return Err("a chain id in the signature, before EIP-155".into());
    }
    // EIP-2 demands the lower of the two values of s.
    let sender = if spec.is_enabled_in(SpecId::HOMESTEAD) {
        envelope.recover_signer()
    } else {
        envelope.recover_signer_unchecked()
    };
    sender.map_err(|error| error.to_string())
}

fn accept(bytes: &[u8], spec: SpecId, machines: &mut Machines) -> Result<Accepted, String> {
    let envelope = Envelope::decode_2718_exact(bytes).map_err(|error| error.to_string())?;
    let sender = recover_sender(&envelope, spec)?;
    let hash = *envelope.tx_hash();
    let transaction = Transaction::from_recovered(&Recovered::new_unchecked(envelope, sender));
    let intrinsic_gas = validate_initial_tx_gas(transaction.env(), spec, false, false, u64::MAX, None)
        .map_err(|error| error.to_string())?
        .initial_total_gas();
    execute(transaction, spec, machines)?;
    Ok(Accepted { hash, sender, intrinsic_gas })
}

/// Asks the engine, on a state that leaves no other reason for a refusal than the transaction itself.
fn execute(transaction: Transaction, spec: SpecId, machines: &mut Machines) -> Result<(), String> {
    let mut env = transaction.env().clone();
    if env.kind.is_create() {
        // Init code with all the gas of 64 bits may ask for petabytes of memory.
        env.gas_limit = env.gas_limit.min(CREATION_GAS_MAX);
    }
    let mut state = MemoryState::complete();
    let sender = Account { balance: U256::MAX >> 1, nonce: env.nonce, code_hash: KECCAK256_EMPTY };
    state.set_account(env.caller, sender);
    let header = Header {
        number: 1,
        timestamp: 1,
        gas_limit: u64::MAX,
        base_fee_per_gas: spec.is_enabled_in(SpecId::LONDON).then_some(0),
        excess_blob_gas: spec.is_enabled_in(SpecId::CANCUN).then_some(0),
        ..Header::default()
    };
    let transaction = Transaction::new(env, transaction.hash());
    let block = Block { header, transactions: vec![transaction], ..Block::default() };
    let engine = machines.engine(spec, Rules::TransactionsOnly);
    match engine.execute_block(Arc::new(state), Arc::new(block), &serial()) {
        Ok(_) => Ok(()),
        Err(ExecutionError::Refused(refusal)) => Err(refusal.to_string()),
        Err(error) => Err(format!("no verdict: {error}")),
    }
}
