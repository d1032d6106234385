use super::{RecordedError, json::Node};
use alloy_consensus::Header;
use revm::primitives::hardfork::SpecId;

/// The first field that a fork up to `spec` added and that is not there, with the fork's name. (Amsterdam's are left
/// out while that fork is in the making.)
pub(super) fn missing(
    header: &Header,
    has_withdrawals: bool,
    spec: SpecId,
) -> Option<(&'static str, &'static str)> {
    let added = [
        (SpecId::LONDON, "London", "baseFeePerGas", header.base_fee_per_gas.is_some()),
        (SpecId::SHANGHAI, "Shanghai", "withdrawalsRoot", header.withdrawals_root.is_some()),
        (SpecId::SHANGHAI, "Shanghai", "withdrawals", has_withdrawals),
        (SpecId::CANCUN, "Cancun", "blobGasUsed", header.blob_gas_used.is_some()),
        (SpecId::CANCUN, "Cancun", "excessBlobGas", header.excess_blob_gas.is_some()),
        (SpecId::CANCUN, "Cancun", "parentBeaconBlockRoot", header.parent_beacon_block_root.is_some()),
        (SpecId::PRAGUE, "Prague", "requestsHash", header.requests_hash.is_some()),
    ];
    let is_missing = |(since, _, _, is_there): &(SpecId, _, _, bool)| spec.is_enabled_in(*since) && !is_there;
    added.into_iter().find(is_missing).map(|(_, fork, field, _)| (field, fork))
}

/// Decodes the header fields of an `eth_getBlockByNumber` answer. Fields that a fork added may be missing: which ones
/// a block needs, its chain tells ([`missing`]).
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
