use super::{RecordedError, json::Node};
use alloy_consensus::{
    EthereumTxEnvelope, SignableTransaction, TxEip1559, TxEip2930, TxEip4844, TxEip7702, TxLegacy,
};
use alloy_eips::{
    eip2930::{AccessList, AccessListItem},
    eip7702::{Authorization, SignedAuthorization},
};
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256};

/// A transaction as recorded: decoded, its hash checked, its sender not yet.
#[derive(Debug, Clone)]
pub struct RecordedTransaction {
    /// The signed transaction.
    pub envelope: EthereumTxEnvelope<TxEip4844>,
    /// The sender that the file names.
    pub from: Address,
}

/// Decodes a transaction of an `eth_getBlockByNumber` answer, and checks its hash.
pub(super) fn decode(index: usize, node: &Node<'_>) -> Result<RecordedTransaction, RecordedError> {
    // Old nodes leave the type of legacy transactions out.
    let tx_type = node.optional("type")?.map_or(Ok(0), |tx_type| tx_type.u64())?;
    let envelope: EthereumTxEnvelope<TxEip4844> = match tx_type {
        0 => legacy(node)?,
        1 => eip2930(node)?,
        2 => eip1559(node)?,
        3 => eip4844(node)?,
        4 => eip7702(node)?,
        _ => {
            let file = node.file().to_path_buf();
            return Err(RecordedError::UnsupportedTransactionType { file, index, tx_type });
        }
    };
    let hash = node.required("hash")?;
    if hash.b256()? != *envelope.tx_hash() {
        return Err(hash.refuse(&format!("{}, the hash of this transaction", envelope.tx_hash())));
    }
    Ok(RecordedTransaction { envelope, from: node.required("from")?.address()? })
}

fn legacy(node: &Node<'_>) -> Result<EthereumTxEnvelope<TxEip4844>, RecordedError> {
    let (chain_id, parity) = legacy_v(&node.required("v")?)?;
    let tx = TxLegacy {
        chain_id,
        nonce: u64(node, "nonce")?,
        gas_price: u128(node, "gasPrice")?,
        gas_limit: u64(node, "gas")?,
        to: kind(node)?,
        value: u256(node, "value")?,
        input: input(node)?,
    };
    Ok(tx.into_signed(signature(node, parity)?).into())
}

fn eip2930(node: &Node<'_>) -> Result<EthereumTxEnvelope<TxEip4844>, RecordedError> {
    let tx = TxEip2930 {
        chain_id: u64(node, "chainId")?,
        nonce: u64(node, "nonce")?,
        gas_price: u128(node, "gasPrice")?,
        gas_limit: u64(node, "gas")?,
        to: kind(node)?,
        value: u256(node, "value")?,
        access_list: access_list(node)?,
        input: input(node)?,
    };
    Ok(tx.into_signed(signature(node, y_parity(node)?)?).into())
}

fn eip1559(node: &Node<'_>) -> Result<EthereumTxEnvelope<TxEip4844>, RecordedError> {
    let tx = TxEip1559 {
        chain_id: u64(node, "chainId")?,
        nonce: u64(node, "nonce")?,
        gas_limit: u64(node, "gas")?,
        max_fee_per_gas: u128(node, "maxFeePerGas")?,
        max_priority_fee_per_gas: u128(node, "maxPriorityFeePerGas")?,
        to: kind(node)?,
        value: u256(node, "value")?,
        access_list: access_list(node)?,
        input: input(node)?,
    };
    Ok(tx.into_signed(signature(node, y_parity(node)?)?).into())
}

fn eip4844(node: &Node<'_>) -> Result<EthereumTxEnvelope<TxEip4844>, RecordedError> {
    let hashes = node.required("blobVersionedHashes")?;
    let tx = TxEip4844 {
        chain_id: u64(node, "chainId")?,
        nonce: u64(node, "nonce")?,
        gas_limit: u64(node, "gas")?,
        max_fee_per_gas: u128(node, "maxFeePerGas")?,
        max_priority_fee_per_gas: u128(node, "maxPriorityFeePerGas")?,
        to: node.required("to")?.address()?,
        value: u256(node, "value")?,
        access_list: access_list(node)?,
        blob_versioned_hashes: hashes.items()?.map(|hash| hash.b256()).collect::<Result<_, _>>()?,
        max_fee_per_blob_gas: u128(node, "maxFeePerBlobGas")?,
        input: input(node)?,
    };
    Ok(tx.into_signed(signature(node, y_parity(node)?)?).into())
}

fn eip7702(node: &Node<'_>) -> Result<EthereumTxEnvelope<TxEip4844>, RecordedError> {
    let authorizations = node.required("authorizationList")?;
    let tx = TxEip7702 {
        chain_id: u64(node, "chainId")?,
        nonce: u64(node, "nonce")?,
        gas_limit: u64(node, "gas")?,
        max_fee_per_gas: u128(node, "maxFeePerGas")?,
        max_priority_fee_per_gas: u128(node, "maxPriorityFeePerGas")?,
        to: node.required("to")?.address()?,
        value: u256(node, "value")?,
        access_list: access_list(node)?,
        authorization_list: authorizations
            .items()?
            .map(|item| authorization(&item))
            .collect::<Result<_, _>>()?,
        input: input(node)?,
    };
    Ok(tx.into_signed(signature(node, y_parity(node)?)?).into())
}

/// An authorization may be wrong in most ways and still stand in a valid block
/// ([EIP-7702](https://eips.ethereum.org/EIPS/eip-7702)): only its form is checked.
fn authorization(node: &Node<'_>) -> Result<SignedAuthorization, RecordedError> {
    let parity = match node.optional("yParity")? {
        Some(parity) => parity,
        None => node.required("v")?,
    };
    let y_parity = u8::try_from(parity.u64()?).map_err(|_| parity.refuse("a hex quantity below 2^8"))?;
    let inner = Authorization {
        chain_id: u256(node, "chainId")?,
        address: node.required("address")?.address()?,
        nonce: u64(node, "nonce")?,
    };
    Ok(SignedAuthorization::new_unchecked(inner, y_parity, u256(node, "r")?, u256(node, "s")?))
}

fn access_list(node: &Node<'_>) -> Result<AccessList, RecordedError> {
    let list = node.required("accessList")?;
    let items = list.items()?.map(|item| {
        let keys = item.required("storageKeys")?;
        Ok(AccessListItem {
            address: item.required("address")?.address()?,
            storage_keys: keys.items()?.map(|key| key.b256()).collect::<Result<Vec<B256>, _>>()?,
        })
    });
    items.collect::<Result<Vec<_>, RecordedError>>().map(AccessList)
}

/// Chain id and parity in a legacy transaction's `v` ([EIP-155](https://eips.ethereum.org/EIPS/eip-155)).
fn legacy_v(node: &Node<'_>) -> Result<(Option<u64>, bool), RecordedError> {
    match node.u64()? {
        v @ (27 | 28) => Ok((None, v == 28)),
        v if v >= 35 => Ok((Some((v - 35) / 2), (v - 35) % 2 == 1)),
        _ => Err(node.refuse("27, 28 or at least 35")),
    }
}

/// The parity of a typed transaction's signature, which some nodes call `v` only.
fn y_parity(node: &Node<'_>) -> Result<bool, RecordedError> {
    let parity = match node.optional("yParity")? {
        Some(parity) => parity,
        None => node.required("v")?,
    };
    match parity.u64()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(parity.refuse("0 or 1")),
    }
}

fn signature(node: &Node<'_>, parity: bool) -> Result<Signature, RecordedError> {
    Ok(Signature::new(u256(node, "r")?, u256(node, "s")?, parity))
}

fn kind(node: &Node<'_>) -> Result<TxKind, RecordedError> {
    Ok(match node.optional("to")? {
        Some(to) => TxKind::Call(to.address()?),
        None => TxKind::Create,
    })
}

fn input(node: &Node<'_>) -> Result<Bytes, RecordedError> {
    node.required("input")?.bytes()
}

fn u64(node: &Node<'_>, key: &str) -> Result<u64, RecordedError> {
    node.required(key)?.u64()
}

fn u128(node: &Node<'_>, key: &str) -> Result<u128, RecordedError> {
    node.required(key)?.u128()
}

fn u256(node: &Node<'_>, key: &str) -> Result<U256, RecordedError> {
    node.required(key)?.u256()
}
