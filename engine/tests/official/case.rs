use crate::{
    fixture::{Environment, Indexes, Post, PreAccount, Quantity, StateTest, TransactionFields, state_of},
    machines::{Machines, Rules, serial},
    refusals,
    root::{logs_hash, state_root},
};
use alloy_consensus::{EthereumTxEnvelope, Header, TxEip4844, transaction::SignerRecoverable};
use alloy_eips::Decodable2718;
use alloy_primitives::{Address, B256, TxKind, U256, keccak256};
use citius_engine::{Block, ExecutionError, Transaction};
use citius_state::MemoryState;
use k256::ecdsa::SigningKey;
use revm::{context::TxEnv, primitives::hardfork::SpecId};
use std::{collections::BTreeMap, sync::Arc};

/// A decoded transaction.
pub(crate) type Envelope = EthereumTxEnvelope<TxEip4844>;

/// One transaction on one state under one fork, and what it must lead to.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) spec: SpecId,
    pub(crate) header: Header,
    pub(crate) state: MemoryState,
    /// The transaction, or why it cannot even be decoded.
    pub(crate) transaction: Result<Transaction, String>,
    root: B256,
    logs: B256,
    exception: Option<String>,
}

impl Case {
    /// # Errors
    ///
    /// The fixture holds something that no header or account can.
    pub(crate) fn new(name: String, spec: SpecId, test: &StateTest, post: &Post) -> Result<Self, String> {
        let header = header(&test.env, spec)?;
        let state = pre_state(&test.pre, header.number)?;
        let transaction = match &post.txbytes {
            Some(bytes) => decode(bytes, test.transaction.sender),
            None => from_fields(&test.transaction, post.indexes),
        };
        let exception = post.expect_exception.clone();
        Ok(Self { name, spec, header, state, transaction, root: post.hash, logs: post.logs, exception })
    }

    /// Whether the transaction can buy more EVM memory than any that fits into a block.
    pub(crate) fn has_much_gas(&self) -> bool {
        self.transaction.as_ref().is_ok_and(|transaction| transaction.env().gas_limit > 1 << 30)
    }

    /// Executes the transaction alone, and compares with what the fixture says.
    ///
    /// # Errors
    ///
    /// The difference, in words.
    pub(crate) fn check_alone(&self, machines: &mut Machines) -> Result<(), String> {
        let transaction = match (&self.transaction, &self.exception) {
            (Ok(transaction), _) => transaction.clone(),
            (Err(reason), Some(expected)) => return refusals::check_undecodable(expected, reason),
            (Err(reason), None) => return Err(format!("does not decode: {reason}")),
        };
        let block =
            Block { header: self.header.clone(), transactions: vec![transaction], ..Block::default() };
        let engine = machines.engine(self.spec, Rules::TransactionsOnly);
        let outcome = engine.execute_block(Arc::new(self.state.clone()), Arc::new(block), &serial());
        match (outcome, &self.exception) {
            (Ok(outcome), None) => {
                let mut state = self.state.clone();
                state.apply(&outcome.changes);
                let logs = logs_hash(outcome.transactions[0].result.logs());
                if logs != self.logs {
                    return Err(format!("logs hash {logs}, expected {}", self.logs));
                }
                let root = state_root(&state);
                if root == self.root {
                    Ok(())
                } else {
                    Err(format!("state root {root}, expected {}", self.root))
                }
            }
            (Ok(_), Some(expected)) => Err(format!("accepted, expected {expected}")),
            (Err(ExecutionError::Refused(refusal)), Some(expected)) => refusals::check(expected, &refusal),
            (Err(error), _) => Err(error.to_string()),
        }
    }
}

fn header(env: &Environment, spec: SpecId) -> Result<Header, String> {
    let since = |fork: SpecId| spec.is_enabled_in(fork);
    let or_zero = |quantity: Option<Quantity>| quantity.map_or(U256::ZERO, |quantity| quantity.0);
    let number = env.current_number.to_u64()?;
    let difficulty = or_zero(env.current_difficulty);
    Ok(Header {
        number,
        parent_hash: if number == 0 { B256::ZERO } else { block_hash(number - 1) },
        beneficiary: env.current_coinbase,
        timestamp: env.current_timestamp.to_u64()?,
        gas_limit: env.current_gas_limit.to_u64()?,
        difficulty,
        mix_hash: env.current_random.map_or(difficulty, |random| random.0).into(),
        base_fee_per_gas: env
            .current_base_fee
            .filter(|_| since(SpecId::LONDON))
            .map(Quantity::to_u64)
            .transpose()?,
        excess_blob_gas: since(SpecId::CANCUN)
            .then(|| env.current_excess_blob_gas.map_or(Ok(0), Quantity::to_u64))
            .transpose()?,
        parent_beacon_block_root: since(SpecId::CANCUN).then(|| keccak256("beacon")),
        ..Header::default()
    })
}

/// The hash that state tests give to a block: of its number in decimal.
fn block_hash(number: u64) -> B256 {
    keccak256(number.to_string())
}

fn pre_state(pre: &BTreeMap<Address, PreAccount>, number: u64) -> Result<MemoryState, String> {
    let mut state = state_of(pre)?;
    for ancestor in number.saturating_sub(256)..number {
        state.set_block_hash(ancestor, block_hash(ancestor));
    }
    Ok(state)
}

/// Decodes a signed transaction as it comes from the network, and recovers its sender.
pub(crate) fn decode(bytes: &[u8], sender: Option<Address>) -> Result<Transaction, String> {
    let envelope = Envelope::decode_2718_exact(bytes).map_err(|error| error.to_string())?;
    let recovered = envelope.try_into_recovered().map_err(|error| error.to_string())?;
    match sender {
        Some(sender) if sender != recovered.signer() => {
            Err(format!("sender is {}, expected {sender}", recovered.signer()))
        }
        _ => Ok(Transaction::from_recovered(&recovered)),
    }
}

/// Builds a legacy transaction of one of the fixture's variants.
fn from_fields(fields: &TransactionFields, indexes: Indexes) -> Result<Transaction, String> {
    let key = fields.secret_key.ok_or("no secret key")?;
    let key = SigningKey::from_slice(key.as_slice()).map_err(|error| error.to_string())?;
    let value = Quantity::parse(&fields.value[indexes.value]).ok_or("value exceeds 256 bits")?;
    let price = fields.gas_price.ok_or("no gas price")?;
    let env = TxEnv {
        caller: Address::from_private_key(&key),
        gas_limit: fields.gas_limit[indexes.gas].to_u64()?,
        gas_price: u128::try_from(price.0).map_err(|_| "gas price exceeds 128 bits")?,
        kind: if fields.to.is_empty() {
            TxKind::Create
        } else {
            TxKind::Call(fields.to.parse().map_err(|_| format!("`{}` is no address", fields.to))?)
        },
        value: value.0,
        data: fields.data[indexes.data].clone(),
        nonce: fields.nonce.to_u64()?,
        chain_id: None,
        ..TxEnv::default()
    };
    Ok(Transaction::new(env, B256::ZERO))
}
