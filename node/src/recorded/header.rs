use super::{RecordedError, json::Node};
use alloy_consensus::Header;

/// Decodes the header fields of an `eth_getBlockByNumber` answer. Fields that a fork added may be missing: what a
/// block needs, the engine demands.
pub(super) fn decode(block: &Node<'_>) -> Result<Header, RecordedError> {
    let optional_u64 = |key| block.optional(key)?.map(|node| node.u64()).transpose();
    let optional_b256 = |key| block.optional(key)?.map(|node| node.b256()).transpose();
    Ok(Header {
        parent_hash: block.required("parentHash")?.b256()?,
        ommers_hash: block.required("sha3Uncles")?.b256()?,
        beneficiary: block.required("miner")?.address()?,
        state_root: block.required("stateRoot")?.b256()?,
        transactions_root: block.required("transactionsRoot")?.b256()?,
        receipts_root: block.required("receiptsRoot")?.b256()?,
        logs_bloom: block.required("logsBloom")?.fixed()?.into(),
        difficulty: block.required("difficulty")?.u256()?,
        number: block.required("number")?.u64()?,
        gas_limit: block.required("gasLimit")?.u64()?,
        gas_used: block.required("gasUsed")?.u64()?,
        timestamp: block.required("timestamp")?.u64()?,
        extra_data: block.required("extraData")?.bytes()?,
        mix_hash: block.required("mixHash")?.b256()?,
        nonce: block.required("nonce")?.fixed()?,
        base_fee_per_gas: optional_u64("baseFeePerGas")?,
        withdrawals_root: optional_b256("withdrawalsRoot")?,
        blob_gas_used: optional_u64("blobGasUsed")?,
        excess_blob_gas: optional_u64("excessBlobGas")?,
        parent_beacon_block_root: optional_b256("parentBeaconBlockRoot")?,
        requests_hash: optional_b256("requestsHash")?,
        block_access_list_hash: optional_b256("blockAccessListHash")?,
        slot_number: optional_u64("slotNumber")?,
    })
}
