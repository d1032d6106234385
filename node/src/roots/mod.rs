//! Roots: of a block's lists, and of the state after it.
//!
//! - [`transactions_root`] and [`withdrawals_root`] hash as the engine's receipts root does: level by level, in batches;
//! - [`StateTrie`] is the trie before a block, on which its changes are sealed as often as one likes;
//! - [`listed_root`] is the plain way, a trie built anew by `alloy-trie`: what all others are held against.

mod listed;
mod lists;
mod state_trie;

pub(crate) use listed::leaf;
pub use listed::{AccountLeaf, listed_root, root_of};
pub use lists::{transactions_root, withdrawals_root};
pub use state_trie::{Line, StateTrie, changes_from_nothing};
