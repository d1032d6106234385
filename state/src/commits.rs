use crate::Account;
use alloy_primitives::{Address, U256};
use std::fmt;

/// Is told what a block changes while it still executes, so that the state trie can prepare.
///
/// The engine calls it as entries commit, in their order, from one thread at a time (not always the same one), and
/// waits for it: an implementation should take note and return. A call tells what one or several entries, all of one
/// block, leave behind; entries that are told of together come as one, with the last value of each key. What was
/// executed in vain is never told.
///
/// All of a block is told before its outcome can be taken. What is told is a hint about work to come all the same: the
/// block's [`ChangeSet`](crate::ChangeSet) alone is the result. A block that is refused or cancelled has told of
/// changes that never came to be, and a key may come though it ends as it began, in any number of calls.
///
/// A panic counts as one of a worker: the execution ends with an error, and the engine stays usable.
pub trait CommitSink: fmt::Debug + Send + Sync {
    /// What was committed next, of the block with this number: accounts before slots, no key twice. A call is never empty.
    fn committed(&self, block_number: u64, changes: &[Committed]);
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
        /// All storage that it had before is gone: only slots told of from here on stand (see
        /// [`CommitSink::committed`]: those of the same call come behind their account).
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
