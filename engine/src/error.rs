use alloy_primitives::{Address, B256};
use citius_state::ReadError;
use revm::context::result::{InvalidHeader, InvalidTransaction};

/// Why a block is refused. Equal for every strategy, thread count and schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// A transaction may not stand where it stands.
    #[error("transaction {index} ({hash}) is invalid: {error}")]
    InvalidTransaction {
        /// The transaction's index in the block, from 0.
        index: usize,
        /// The transaction's hash.
        hash: B256,
        /// What is wrong with it.
        error: InvalidTransaction,
    },
    /// A transaction's gas limit exceeds what the block has left.
    #[error("transaction {index} ({hash}) wants {gas_limit} gas, the block has {available} left")]
    BlockGasExceeded {
        /// The transaction's index in the block, from 0.
        index: usize,
        /// The transaction's hash.
        hash: B256,
        /// Its gas limit.
        gas_limit: u64,
        /// Gas that the transactions before it left.
        available: u64,
    },
    /// The header lacks what its fork demands.
    #[error("header is invalid: {0}")]
    InvalidHeader(InvalidHeader),
    /// A header field is missing or wrong for its fork.
    #[error("header field `{field}` is {value}: expected {expected}")]
    HeaderField {
        /// The field.
        field: &'static str,
        /// Its value.
        value: String,
        /// What the fork demands.
        expected: &'static str,
    },
    /// A system contract did not do its part.
    #[error("system call to {contract} failed: {reason}")]
    SystemCall {
        /// The contract called.
        contract: Address,
        /// How it ended.
        reason: String,
    },
    /// The deposit contract logged something that is no deposit.
    #[error("deposit requests: {reason}")]
    DepositRequests {
        /// What could not be decoded.
        reason: String,
    },
    /// The state needed could not be read.
    #[error("state: {error}")]
    State {
        /// The transaction that needed it, if one did.
        index: Option<usize>,
        /// What the reader said.
        error: ReadError,
    },
    /// A precompile failed in a way that no transaction can cause.
    #[error("precompile failed at transaction {index:?}: {reason}")]
    Precompile {
        /// The transaction that called it.
        index: Option<usize>,
        /// What it said.
        reason: String,
    },
    /// An earlier block of the stream was refused: this one was not executed.
    #[error("block {number} before this one was refused: {error}")]
    AncestorRefused {
        /// The refused block's number.
        number: u64,
        /// Why it was refused.
        error: Box<BlockError>,
    },
}

impl BlockError {
    /// The index of the transaction at fault, if one is.
    #[must_use]
    pub fn transaction_index(&self) -> Option<usize> {
        match self {
            Self::InvalidTransaction { index, .. } | Self::BlockGasExceeded { index, .. } => Some(*index),
            Self::State { index, .. } | Self::Precompile { index, .. } => *index,
            _ => None,
        }
    }
}

/// Why the engine gave no verdict on a block, or a negative one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExecutionError {
    /// The block is refused: a verdict, the same on every machine.
    #[error(transparent)]
    Refused(#[from] BlockError),
    /// The caller's token or deadline ended the execution. The block may be submitted again.
    #[error("cancelled: {reason}")]
    Cancelled {
        /// Token or deadline.
        reason: CancelReason,
    },
    /// The block needs more memory than the configuration allows.
    #[error("memory limit: the block needs more than `memory_per_block_bytes_max` = {limit_bytes} bytes")]
    MemoryLimit {
        /// The configured bound.
        limit_bytes: usize,
    },
    /// A worker panicked. The engine stays usable.
    #[error("a worker panicked: {message}")]
    WorkerPanicked {
        /// The panic's message.
        message: String,
    },
}

/// What ended a cancelled execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelReason {
    /// The caller cancelled its token.
    Token,
    /// The deadline passed.
    Deadline,
}

impl std::fmt::Display for CancelReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Token => "the token was cancelled",
            Self::Deadline => "the deadline passed",
        })
    }
}

impl ExecutionError {
    /// Whether the same block may succeed when it is submitted again unchanged.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Cancelled { .. } | Self::WorkerPanicked { .. })
    }
}
