//! What the fixtures call a reason of refusal, and what the engine does.

use citius_engine::BlockError;
use revm::context::result::InvalidTransaction;

/// Checks that a transaction was refused for the reason that the fixture names (one of several, if it names more).
///
/// # Errors
///
/// It was refused for another reason, or the fixture's is unknown.
pub(crate) fn check(expected: &str, refusal: &BlockError) -> Result<(), String> {
    let agrees = match refusal {
        BlockError::InvalidTransaction { error, .. } => names(expected).any(|name| is_named(name, error)),
        BlockError::BlockGasExceeded { .. } => {
            names(expected).any(|name| matches!(name, "GAS_ALLOWANCE_EXCEEDED" | "TR_GasLimitReached"))
        }
        _ => false,
    };
    if agrees { Ok(()) } else { Err(format!("refused ({refusal}), expected {expected}")) }
}

/// Checks that what cannot be decoded is what the fixture takes for malformed.
///
/// # Errors
///
/// The fixture takes it for well-formed.
pub(crate) fn check_undecodable(expected: &str, reason: &str) -> Result<(), String> {
    // Gas prices beyond 128 bits, which nobody could pay, do not decode either.
    let agrees = names(expected).any(|name| {
        matches!(
            name,
            "RLP_INVALID_VALUE"
                | "TR_RLP_WRONGVALUE"
                | "GASLIMIT_PRICE_PRODUCT_OVERFLOW"
                | "TR_NoFundsX"
                | "TYPE_3_TX_CONTRACT_CREATION"
                | "TYPE_4_TX_CONTRACT_CREATION"
                | "TR_BLOBCREATE"
        )
    });
    if agrees { Ok(()) } else { Err(format!("does not decode ({reason}), expected {expected}")) }
}

fn names(expected: &str) -> impl Iterator<Item = &str> {
    expected.split('|').map(|name| name.trim_start_matches("TransactionException."))
}

fn is_named(name: &str, error: &InvalidTransaction) -> bool {
    use InvalidTransaction as Invalid;
    match error {
        Invalid::CallGasCostMoreThanGasLimit { .. } | Invalid::GasFloorMoreThanGasLimit { .. } => {
            matches!(name, "INTRINSIC_GAS_TOO_LOW" | "IntrinsicGas" | "TR_IntrinsicGas" | "TR_NoFundsOrGas")
        }
        Invalid::LackOfFundForMaxFee { .. } | Invalid::OverflowPaymentInTransaction => {
            matches!(name, "INSUFFICIENT_ACCOUNT_FUNDS" | "TR_NoFunds" | "TR_NoFundsX" | "TR_NoFundsOrGas")
        }
        Invalid::RejectCallerWithCode => matches!(name, "SENDER_NOT_EOA" | "SenderNotEOA"),
        Invalid::CreateInitCodeSizeLimit => {
            matches!(name, "INITCODE_SIZE_EXCEEDED" | "TR_InitCodeLimitExceeded")
        }
        Invalid::BlobVersionNotSupported => {
            matches!(name, "TYPE_3_TX_INVALID_BLOB_VERSIONED_HASH" | "TR_BLOBVERSION_INVALID")
        }
        Invalid::GasPriceLessThanBasefee => {
            matches!(name, "INSUFFICIENT_MAX_FEE_PER_GAS" | "TR_FeeCapLessThanBlocks")
        }
        Invalid::BlobGasPriceGreaterThanMax { .. } => name == "INSUFFICIENT_MAX_FEE_PER_BLOB_GAS",
        Invalid::EmptyBlobs => matches!(name, "TYPE_3_TX_ZERO_BLOBS" | "TR_EMPTYBLOB"),
        Invalid::TooManyBlobs { .. } => matches!(
            name,
            "TYPE_3_TX_BLOB_COUNT_EXCEEDED"
                | "TYPE_3_TX_MAX_BLOB_GAS_ALLOWANCE_EXCEEDED"
                | "TR_BLOBLIST_OVERSIZE"
        ),
        Invalid::NonceOverflowInTransaction => matches!(name, "NONCE_IS_MAX" | "TR_NonceHasMaxValue"),
        Invalid::CallerGasLimitMoreThanBlock => {
            matches!(name, "GAS_ALLOWANCE_EXCEEDED" | "TR_GasLimitReached")
        }
        Invalid::PriorityFeeGreaterThanMaxFee => {
            matches!(name, "PRIORITY_GREATER_THAN_MAX_FEE_PER_GAS" | "TR_TipGtFeeCap")
        }
        Invalid::Eip2930NotSupported
        | Invalid::Eip1559NotSupported
        | Invalid::Eip4844NotSupported
        | Invalid::Eip7702NotSupported => matches!(name, "TYPE_3_TX_PRE_FORK" | "TR_TypeNotSupported"),
        Invalid::TxGasLimitGreaterThanCap { .. } => name == "GAS_LIMIT_EXCEEDS_MAXIMUM",
        _ => false,
    }
}
