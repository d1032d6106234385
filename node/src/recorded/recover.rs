use super::{RecordedBlock, RecordedError, RecordedTransaction, header};
use alloy_consensus::transaction::SignerRecoverable;
use alloy_evm::FromRecoveredTx;
use citius_engine::{Block, Ommer, Transaction, chain::ChainSpec};
use rayon::prelude::*;
use revm::{context::TxEnv, primitives::hardfork::SpecId};

impl RecordedBlock {
    /// Recovers all senders, in parallel on `pool`, and makes the block that the engine takes. Its header must have
    /// what its fork demands.
    ///
    /// Before Homestead a signature's `s` may lie in the upper half
    /// ([EIP-2](https://eips.ethereum.org/EIPS/eip-2)).
    ///
    /// # Errors
    ///
    /// [`RecordedError::HeaderField`] if the header lacks a field, [`RecordedError::Signature`] or
    /// [`RecordedError::Sender`] of the first transaction at fault.
    pub fn recover(&self, chain: &ChainSpec, pool: &rayon::ThreadPool) -> Result<Block, RecordedError> {
        let spec = chain.spec_id(&self.header);
        if let Some((field, fork)) = header::missing(&self.header, self.withdrawals.is_some(), spec) {
            return Err(RecordedError::HeaderField { file: self.file.clone(), field, fork });
        }
        let allows_high_s = !spec.is_enabled_in(SpecId::HOMESTEAD);
        let recover = |(index, tx): (usize, &RecordedTransaction)| self.recover_one(index, tx, allows_high_s);
        // Collected one by one: which error is reported must not depend on the threads.
        let transactions: Vec<Result<Transaction, RecordedError>> =
            pool.install(|| self.transactions.par_iter().enumerate().map(recover).collect());
        Ok(Block {
            header: self.header.clone(),
            transactions: transactions.into_iter().collect::<Result<_, _>>()?,
            ommers: vec![Ommer::Unknown; self.ommers],
            withdrawals: self.withdrawals.clone().unwrap_or_default(),
        })
    }

    fn recover_one(
        &self,
        index: usize,
        tx: &RecordedTransaction,
        allows_high_s: bool,
    ) -> Result<Transaction, RecordedError> {
        let hash = *tx.envelope.tx_hash();
        let recovered =
            if allows_high_s { tx.envelope.recover_signer_unchecked() } else { tx.envelope.recover_signer() };
        let recovered = recovered.map_err(|source| RecordedError::Signature {
            file: self.file.clone(),
            index,
            hash,
            source,
        })?;
        if recovered != tx.from {
            return Err(RecordedError::Sender {
                file: self.file.clone(),
                index,
                recorded: tx.from,
                recovered,
            });
        }
        Ok(Transaction::new(TxEnv::from_recovered_tx(&tx.envelope, recovered), hash))
    }
}
