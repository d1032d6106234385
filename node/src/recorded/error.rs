use alloy_consensus::crypto::RecoveryError;
use alloy_primitives::{Address, B256};
use std::path::PathBuf;

/// Why a recorded block was refused. None of them is worth a retry: the files must change.
#[derive(Debug, thiserror::Error)]
pub enum RecordedError {
    /// A file or folder could not be read.
    #[error("{path}: cannot be read")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file unpacks to more than the loader takes.
    #[error("{path}: holds more than {limit_bytes} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The bound.
        limit_bytes: u64,
    },
    /// A file is no JSON.
    #[error("{path}: not JSON")]
    Json {
        /// The file.
        path: PathBuf,
        /// What the parser found, with line and column.
        #[source]
        source: serde_json::Error,
    },
    /// A field is missing or holds what it may not.
    #[error("{file}: field `{field}` is {value}: expected {expected}")]
    Field {
        /// The file.
        file: PathBuf,
        /// The field's path in it, as in `transactions[3].gas`.
        field: String,
        /// What stands there, shortened.
        value: String,
        /// What should.
        expected: String,
    },
    /// A file holds something else than an object.
    #[error("{file}: holds {value}: expected {expected}")]
    Root {
        /// The file.
        file: PathBuf,
        /// What it holds, shortened.
        value: String,
        /// What it should.
        expected: String,
    },
    /// A header lacks a field of its fork.
    #[error("{file}: field `{field}` is missing: expected a value, from {fork} on")]
    HeaderField {
        /// The file.
        file: PathBuf,
        /// The field.
        field: &'static str,
        /// The fork that added it.
        fork: &'static str,
    },
    /// A transaction of a type that this chain does not have.
    #[error(
        "{file}: field `transactions[{index}].type` is {tx_type:#04x}: this transaction type is not supported; expected 0x0 to 0x4"
    )]
    UnsupportedTransactionType {
        /// The file.
        file: PathBuf,
        /// The transaction's index in the block, from 0.
        index: usize,
        /// Its type ([EIP-2718](https://eips.ethereum.org/EIPS/eip-2718)).
        tx_type: u64,
    },
    /// No sender could be recovered from a transaction's signature.
    #[error("{file}: transaction {index} ({hash}): its signature gives no sender")]
    Signature {
        /// The file.
        file: PathBuf,
        /// The transaction's index in the block, from 0.
        index: usize,
        /// The transaction's hash.
        hash: B256,
        /// What the recovery said.
        #[source]
        source: RecoveryError,
    },
    /// The sender recovered is not the one recorded.
    #[error(
        "{file}: field `transactions[{index}].from` is {recorded}: expected {recovered}, whom the signature gives"
    )]
    Sender {
        /// The file.
        file: PathBuf,
        /// The transaction's index in the block, from 0.
        index: usize,
        /// The sender that stands in the file.
        recorded: Address,
        /// The sender that the signature gives.
        recovered: Address,
    },
    /// A block's folder lacks a file.
    #[error("{folder}: holds neither {name}.json nor {name}.json.zst")]
    MissingFile {
        /// The block's folder.
        folder: PathBuf,
        /// The file's name, less its extension.
        name: &'static str,
    },
    /// A folder holds no block.
    #[error(
        "{folder}: neither a block's folder (with block.json or block.json.zst) nor a folder of such folders"
    )]
    NoBlocks {
        /// The folder.
        folder: PathBuf,
    },
}
