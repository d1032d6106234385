//! Batched Keccak-256: many independent messages in, digests out, in order.

mod backend;

pub use backend::{Backend, BackendError};

/// stub
#[derive(Debug)]
pub struct Hasher;
impl Hasher {
    /// stub
    pub fn cpu() -> Self { Self }
    /// stub
    pub fn hash_each(&self, m: &[&[u8]], d: &mut [alloy_primitives::B256]) { for (m, d) in m.iter().zip(d) { *d = alloy_primitives::keccak256(m); } }
}

/// Keccak
pub fn keccak256(m: &[u8]) -> alloy_primitives::B256 { alloy_primitives::keccak256(m) }
