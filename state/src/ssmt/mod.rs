//! The Scalable State Merkle Trie: Ethereum's state, cut into 256 shards by the first two nibbles of the hashed key.
//!
//! - [`Ssmt`] holds versions of the state. [`Ssmt::seal`] makes a block's version out of its parent's and a
//!   [`ChangeSet`](crate::ChangeSet), beside all others. The shards are at one version, as a working copy is at a commit;
//!   logs lead to every other one that is kept, so a reorganisation ([`Ssmt::set_head`]) swaps what they noted and hashes
//!   nothing.
//! - A shard owns the part of the account trie below its prefix, the storage tries of these accounts, and of
//!   every large storage trie the part below the same prefix. [`Ownership`] says which worker works on which
//!   shards; it changes no root.
//! - Roots are those of the [Yellow Paper, section 4.1][yp], whatever the cut.
//!
//! [yp]: https://ethereum.github.io/yellowpaper/paper.pdf

pub(crate) mod account;
mod asked;
mod codes;
mod cold;
mod draft;
pub(crate) mod error;
mod evict;
mod flat;
mod header;
mod import;
mod keys;
mod ownership;
mod periods;
mod proof;
mod reader;
mod shard;
mod store;
mod top;
mod version;
mod way;
mod witness;
pub(crate) mod work;

pub use draft::{Draft, DraftStats};
pub use error::{SsmtError, TrieName, VersionId};
pub use evict::EvictionStats;
pub use flat::FlatCacheStats;
pub use ownership::Ownership;
pub use proof::{AccountProof, ProofError, StorageProof};
pub use reader::SsmtReader;
pub use store::{Sealed, Ssmt, SsmtConfig, SsmtMemory};
pub use witness::ExecutionWitness;
