//! What a header says of its block's execution, beside the state root.

use crate::{
    machines::{Machines, Rules, serial},
    networks::Phase,
    root::state_root,
};
use alloy_consensus::{
    Eip658Value, Header, Receipt, ReceiptEnvelope, ReceiptWithBloom, proofs::calculate_receipt_root,
};
use alloy_primitives::{B256, Log};
use citius_engine::{Block, BlockOutcome, Engine, TransactionOutcome};
use citius_state::MemoryState;
use revm::primitives::hardfork::SpecId;
use std::{fmt::Debug, sync::Arc};

/// Compares an outcome with the header of its block.
///
/// # Errors
///
/// The first field that differs.
pub(crate) fn check(
    header: &Header,
    outcome: &BlockOutcome,
    receipts: &[ReceiptEnvelope<Log>],
) -> Result<(), String> {
    compare("gas used", outcome.gas_used, header.gas_used)?;
    compare("logs bloom", outcome.logs_bloom, header.logs_bloom)?;
    if let Some(blob_gas_used) = header.blob_gas_used {
        compare("blob gas used", outcome.blob_gas_used, blob_gas_used)?;
    }
    compare("receipts root", calculate_receipt_root(receipts), header.receipts_root)?;
    if let Some(requests_hash) = header.requests_hash {
        compare("requests hash", outcome.requests.requests_hash(), requests_hash)?;
    }
    Ok(())
}

/// The receipts as the block's fork encodes them.
///
/// # Errors
///
/// Before Byzantium: the transactions one by one end otherwise than together.
pub(crate) fn receipts(
    phase: Phase<'_>,
    machines: &mut Machines,
    before: &Arc<MemoryState>,
    block: &Block,
    outcome: &BlockOutcome,
) -> Result<Vec<ReceiptEnvelope<Log>>, String> {
    if phase.chain.spec_id(&block.header).is_enabled_in(SpecId::BYZANTIUM) {
        return Ok(outcome.transactions.iter().map(|transaction| transaction.receipt()).collect());
    }
    let roots = roots_between(phase, machines, before, block, outcome)?;
    let receipt = |(transaction, root): (&TransactionOutcome, B256)| {
        ReceiptEnvelope::Legacy(ReceiptWithBloom {
            receipt: Receipt {
                status: Eip658Value::PostState(root),
                cumulative_gas_used: transaction.cumulative_gas_used,
                logs: transaction.result.logs().to_vec(),
            },
            logs_bloom: transaction.bloom.as_deref().copied().unwrap_or_default(),
        })
    };
    Ok(outcome.transactions.iter().zip(roots).map(receipt).collect())
}

/// The state root behind each transaction: receipts held it before
/// [EIP-658](https://eips.ethereum.org/EIPS/eip-658). Each transaction is executed as a block of its own, on the
/// state that those before it left; the first on the one that the protocol makes of the parent's.
fn roots_between(
    phase: Phase<'_>,
    machines: &mut Machines,
    before: &Arc<MemoryState>,
    block: &Block,
    outcome: &BlockOutcome,
) -> Result<Vec<B256>, String> {
    let mut state = Arc::clone(before);
    let mut execute = |engine: &Engine, transactions| {
        let block = Block { header: block.header.clone(), transactions, ..Block::default() };
        let outcome = engine
            .execute_block(Arc::clone(&state) as _, Arc::new(block), &serial())
            .map_err(|error| format!("transactions one by one: {error}"))?;
        Arc::make_mut(&mut state).apply(&outcome.changes);
        Ok::<_, String>((outcome, state_root(&state)))
    };
    execute(machines.engine_of_network(phase, Rules::TransactionsOnly), Vec::new())?;
    // It knows of no block in which something stands before the transactions.
    let engine = machines.engine(phase.chain.spec_id(&block.header), Rules::TransactionsOnly);
    let one_by_one = block.transactions.iter().zip(&outcome.transactions).map(|(transaction, together)| {
        let (alone, root) = execute(engine, vec![transaction.clone()])?;
        compare("result of a transaction alone", &alone.transactions[0].result, &together.result)?;
        Ok(root)
    });
    one_by_one.collect()
}

fn compare<T: PartialEq + Debug>(what: &str, ours: T, stated: T) -> Result<(), String> {
    if ours == stated { Ok(()) } else { Err(format!("{what} {ours:?}, expected {stated:?}")) }
}
