use crate::{Size, THREADS, WrongAnswer};
use alloy_consensus::{Header, SignableTransaction, TxEip1559};
use alloy_primitives::{Address, B256, Signature, TxKind, U256};
use citius_engine::{Block, chain::ChainSpec};
use citius_node::recorded::{RecordedBlock, RecordedError, RecordedTransaction};
use citius_state::MemoryState;
use k256::ecdsa::SigningKey;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::{collections::BTreeMap, path::PathBuf};

/// The recovery of a block's senders on [`THREADS`] threads, as blocks come from files.
pub struct SendersBench {
    chain: ChainSpec,
    block: RecordedBlock,
    pool: ThreadPool,
}

impl SendersBench {
    /// A block of signed transactions, each with a key of its own.
    #[must_use]
    pub fn new(size: Size) -> Self {
        let chain = ChainSpec::mainnet();
        let transactions = (1..=size.pick(4, 200)).map(|key| transaction(&chain, key)).collect();
        let pool = ThreadPoolBuilder::new().num_threads(THREADS.get()).build();
        let block = RecordedBlock {
            name: "signed".into(),
            file: PathBuf::from("block.json"),
            hash: B256::ZERO,
            // After all forks that change what a signature may be.
            header: Header { number: 12_500_000, ..Header::default() },
            transactions,
            ommers: 0,
            withdrawals: None,
            pre_state: MemoryState::complete(),
            block_hashes: BTreeMap::new(),
            expected: None,
            witness: None,
        };
        Self { chain, block, pool: pool.unwrap_or_else(|error| panic!("{error}")) }
    }

    /// Number of transactions.
    #[must_use]
    pub fn transactions(&self) -> u64 {
        self.block.transactions.len() as u64
    }

    /// Recovers all senders.
    ///
    /// # Errors
    ///
    /// [`RecordedError`] if a sender is not the one who signed.
    pub fn run(&self) -> Result<Block, RecordedError> {
        self.block.recover(&self.chain, &self.pool)
    }

    /// Checks that the senders are those who signed, and that a wrong one is found out.
    ///
    /// # Errors
    ///
    /// [`WrongAnswer`] if they are not, or it is not.
    pub fn verify(&self) -> Result<(), WrongAnswer> {
        let wrong = |reason: String| WrongAnswer { bench: "senders".into(), reason };
        let block = self.run().map_err(|error| wrong(error.to_string()))?;
        for (ours, signed) in block.transactions.iter().zip(&self.block.transactions) {
            if ours.env().caller != signed.from {
                return Err(wrong(format!("{} sent what {} signed", ours.env().caller, signed.from)));
            }
        }
        let mut forged = self.block.clone();
        forged.transactions[0].from = Address::ZERO;
        match forged.recover(&self.chain, &self.pool) {
            Err(RecordedError::Sender { index: 0, .. }) => Ok(()),
            other => Err(wrong(format!("a wrong sender gives {other:?}"))),
        }
    }
}

/// A transfer signed with the key of this number. Its sender is taken from the public key, not recovered.
fn transaction(chain: &ChainSpec, key: u64) -> RecordedTransaction {
    let key = SigningKey::from_slice(B256::from(U256::from(key)).as_slice());
    let key = key.unwrap_or_else(|error| panic!("a small number is a key: {error}"));
    let tx = TxEip1559 {
        chain_id: chain.chain_id(),
        gas_limit: 21_000,
        max_fee_per_gas: 1_000_000_000,
        to: TxKind::Call(Address::repeat_byte(9)),
        ..TxEip1559::default()
    };
    let signed = key.sign_prehash_recoverable(tx.signature_hash().as_slice());
    let (signature, parity) = signed.unwrap_or_else(|error| panic!("a hash can be signed: {error}"));
    let (r, s) = signature.split_bytes();
    let signature =
        Signature::from_scalars_and_parity(B256::from_slice(&r), B256::from_slice(&s), parity.is_y_odd());
    let point = key.verifying_key().to_encoded_point(false);
    RecordedTransaction {
        envelope: tx.into_signed(signature).into(),
        from: Address::from_raw_public_key(&point.as_bytes()[1..]),
    }
}
