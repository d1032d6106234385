//! Batched Keccak-256: many independent messages in, digests out, in order.

mod backend;
pub mod device;

pub use backend::{Backend, BackendError};
