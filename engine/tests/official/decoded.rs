use crate::{case::Envelope, chain::Link, transactions::recover_sender};
use alloy_consensus::{
    BlockBody, Header,
    proofs::{calculate_ommers_root, calculate_transaction_root, calculate_withdrawals_root},
    transaction::Recovered,
};
use alloy_primitives::hex;
use alloy_rlp::Decodable;
use citius_engine::{Block, Ommer, Transaction};
use revm::primitives::hardfork::SpecId;
use std::sync::Arc;

/// A block as it comes from the network, decoded.
#[derive(Debug)]
pub(crate) struct DecodedBlock {
    pub(crate) header: Header,
    body: BlockBody<Envelope>,
}

impl DecodedBlock {
    /// Decodes the hexadecimal digits of a block's RLP.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words.
    pub(crate) fn from_hex(digits: &str) -> Result<Self, String> {
        let bytes = hex::decode(digits).map_err(|error| format!("no hexadecimal digits: {error}"))?;
        let mut rest = bytes.as_slice();
        let block = alloy_consensus::Block::<Envelope>::decode(&mut rest)
            .map_err(|error| format!("no block: {error}"))?;
        if !rest.is_empty() {
            return Err(format!("{} bytes behind the block", rest.len()));
        }
        Ok(Self { header: block.header, body: block.body })
    }

    /// What the chain must know of it.
    pub(crate) fn link(&self) -> Link {
        let Header { number, difficulty, state_root, .. } = self.header;
        Link { hash: self.header.hash_slow(), number, difficulty, state_root }
    }

    /// Compares the roots that the header states of the block's parts.
    ///
    /// # Errors
    ///
    /// The root that differs.
    pub(crate) fn check_parts(&self) -> Result<(), String> {
        let Self { header, body } = self;
        let withdrawals_root = body.withdrawals.as_deref().map(|list| calculate_withdrawals_root(list));
        let compare = |what, ours, stated| {
            if ours == stated { Ok(()) } else { Err(format!("{what} {ours:?}, the header says {stated:?}")) }
        };
        let transactions_root = calculate_transaction_root(&body.transactions);
        compare("transactions root", Some(transactions_root), Some(header.transactions_root))?;
        compare("ommers hash", Some(calculate_ommers_root(&body.ommers)), Some(header.ommers_hash))?;
        compare("withdrawals root", withdrawals_root, header.withdrawals_root)
    }

    /// The block as the engine takes it.
    ///
    /// # Errors
    ///
    /// A sender cannot be recovered by the rules of `spec`.
    pub(crate) fn to_engine(&self, spec: SpecId) -> Result<Arc<Block>, String> {
        let recover = |(index, envelope): (usize, &Envelope)| {
            let sender = recover_sender(envelope, spec)
                .map_err(|error| format!("sender of transaction {index}: {error}"))?;
            Ok(Transaction::from_recovered(&Recovered::new_unchecked(envelope.clone(), sender)))
        };
        let ommer = |header: &Header| Ommer::Known { beneficiary: header.beneficiary, number: header.number };
        Ok(Arc::new(Block {
            header: self.header.clone(),
            transactions: self
                .body
                .transactions
                .iter()
                .enumerate()
                .map(recover)
                .collect::<Result<_, String>>()?,
            ommers: self.body.ommers.iter().map(ommer).collect(),
            withdrawals: self.body.withdrawals.clone().unwrap_or_default().into_inner(),
        }))
    }
}
