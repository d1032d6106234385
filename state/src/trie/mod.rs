//! One trie in one arena: the Merkle-Patricia trie of the [Yellow Paper, appendix D][yp], over keys and values of any
//! length.
//!
//! [`Trie`] is the plain form, for tools and tests; [`index_root`] is the root of a list (receipts, transactions,
//! withdrawals). The state's account and storage tries are made of the same parts, sharded, in [`crate::ssmt`].
//!
//! [yp]: https://ethereum.github.io/yellowpaper/paper.pdf

pub(crate) mod arena;
mod child;
mod index;
pub(crate) mod levels;
pub(crate) mod log;
pub(crate) mod node;
pub(crate) mod parse;
pub(crate) mod path;
pub(crate) mod plain;
pub(crate) mod region;
pub(crate) mod rlp;
pub(crate) mod short;
pub(crate) mod sweep;
pub(crate) mod update;
pub(crate) mod walk;

pub use index::index_root;
pub use node::VALUE_BYTES_MAX;
pub use plain::{Trie, TrieError};
