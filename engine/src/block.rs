use alloy_consensus::{EthereumTxEnvelope, Header, TxEip4844, transaction::Recovered};
use alloy_eips::{eip4844::DATA_GAS_PER_BLOB, eip4895::Withdrawal};
use alloy_evm::FromRecoveredTx;
use alloy_primitives::{Address, B256};
use revm::context::TxEnv;
use std::sync::Arc;

/// A decoded block whose senders are known: what the engine executes.
///
/// Only the header fields that execution reads count (number, timestamp, beneficiary, gas limit, base fee,
/// difficulty or mix hash, excess blob gas, parent hash, parent beacon block root); gas used, roots and bloom are
/// not compared here. Nor are rules that need no execution, which whoever imports blocks checks: the header against
/// its parent, the blobs of all transactions together, uncles but for their numbers.
#[derive(Debug, Clone, Default)]
pub struct Block {
    /// The block's header.
    pub header: Header,
    /// The block's transactions, in order.
    pub transactions: Vec<Transaction>,
    /// Uncles, for the rewards of proof of work.
    pub ommers: Vec<Ommer>,
    /// Withdrawals ([EIP-4895](https://eips.ethereum.org/EIPS/eip-4895)), from Shanghai on.
    pub withdrawals: Vec<Withdrawal>,
}

/// An uncle. Its miner and number earn it a reward; without them only the block's own miner is paid for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ommer {
    /// The uncle's header is at hand.
    Known {
        /// The uncle's miner.
        beneficiary: Address,
        /// The uncle's block number.
        number: u64,
    },
    /// Only its hash is known: the miner's 1/32 is paid, the uncle's own reward is left out.
    Unknown,
}

/// A transaction in the form that the EVM takes, with its sender recovered.
///
/// Cheap to clone: workers share one environment.
#[derive(Debug, Clone)]
pub struct Transaction {
    pub(crate) env: Arc<TxEnv>,
    hash: B256,
    outline: Outline,
}

/// What scheduling and commits look at. It is here, too, since fetching every environment for it would take longer than
/// all else that they do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outline {
    pub(crate) gas_limit: u64,
    blob_gas: u64,
    tx_type: u8,
    /// Bytes of call data, or of code to create a contract.
    pub(crate) data_bytes: u32,
    /// Who is called or paid, unless a contract is created.
    pub(crate) to: Option<Address>,
    selector: Option<[u8; 4]>,
}

/// Wallets give payments more than the 21,000 that they need, but not without end. What has more may take long.
pub(crate) const PAYMENT_GAS_MAX: u64 = 250_000;

/// A contract and the first four bytes of the call data.
pub(crate) type Function = (Address, [u8; 4]);

impl Outline {
    fn of(tx: &TxEnv) -> Self {
        Self {
            gas_limit: tx.gas_limit,
            blob_gas: tx.blob_hashes.len() as u64 * DATA_GAS_PER_BLOB,
            tx_type: tx.tx_type,
            data_bytes: u32::try_from(tx.data.len()).unwrap_or(u32::MAX),
            to: tx.kind.to().copied(),
            selector: tx.data.first_chunk().copied(),
        }
    }

    /// Whether it looks like a payment: without data, of a type that can be one, and with no gas to do much else.
    pub(crate) fn may_be_payment(&self) -> bool {
        self.data_bytes == 0 && self.to.is_some() && self.tx_type <= 2 && self.gas_limit <= PAYMENT_GAS_MAX
    }

    /// What is called, if it is a function of a contract.
    pub(crate) fn function(&self) -> Option<Function> {
        self.to.zip(self.selector)
    }
}

impl Transaction {
    /// A transaction of which the caller knows revm's environment.
    #[must_use]
    pub fn new(env: TxEnv, hash: B256) -> Self {
        Self { outline: Outline::of(&env), env: Arc::new(env), hash }
    }

    /// A decoded transaction with its recovered sender.
    #[must_use]
    pub fn from_recovered(tx: &Recovered<EthereumTxEnvelope<TxEip4844>>) -> Self {
        Self::new(TxEnv::from_recovered_tx(tx.inner(), tx.signer()), *tx.inner().tx_hash())
    }

    /// revm's view of the transaction.
    #[must_use]
    pub fn env(&self) -> &TxEnv {
        &self.env
    }

    /// The transaction's hash.
    #[must_use]
    pub fn hash(&self) -> B256 {
        self.hash
    }

    /// The transaction's type byte ([EIP-2718](https://eips.ethereum.org/EIPS/eip-2718)).
    #[must_use]
    pub fn tx_type(&self) -> u8 {
        self.outline.tx_type
    }

    /// Blob gas of the transaction ([EIP-4844](https://eips.ethereum.org/EIPS/eip-4844)).
    #[must_use]
    pub fn blob_gas(&self) -> u64 {
        self.outline.blob_gas
    }

    /// What scheduling and commits look at.
    pub(crate) fn outline(&self) -> &Outline {
        &self.outline
    }
}
