//! Parallel block execution.
mod block;
pub mod chain;
mod error;
mod outcome;

pub use block::{Block, Ommer, Transaction};
pub use error::{BlockError, CancelReason, ExecutionError};
pub use outcome::{BlockMetrics, BlockOutcome, PhaseTimes, TransactionOutcome};
