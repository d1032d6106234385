use crate::Account;
use alloy_primitives::{Address, U256};
use std::fmt;

/// Is told what a block changes while it still executes, so that the state trie can prepare.
///
/// The engine calls it in commit order, each committed entry once, from one thread at a time, and keeps the call
/// short of everything else: an implementation should take note and return. What is told is a hint about work to
/// come. The block's [`ChangeSet`](crate::ChangeSet) alone is the result: a block that is refused, cancelled or
/// executed again by another strategy has told of changes that never came to be.
pub trait CommitSink: fmt::Debug + Send + Sync {
    /// Values after one or several committed entries, in order. A key may come many times in a block.
    fn committed(&self, changes: &[Committed]);
}

/// One value that a committed entry wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// An account's balance, nonce or code changed, or it came to be or is gone.
    Account {
        /// Whose account.
        address: Address,
        /// The account now; `None` if it is gone.
        after: Option<Account>,
        /// All storage that it had before this commit is gone.
        storage_wiped: bool,
    },
    /// A storage slot changed.
    Slot {
        /// Whose storage.
        address: Address,
        /// The slot's key.
        slot: U256,
        /// Its value now; zero if it is gone.
        after: U256,
    },
}
