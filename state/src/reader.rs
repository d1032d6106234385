use crate::{Account, Ticket};
use alloy_primitives::{Address, B256, U256};
use revm::bytecode::Bytecode;
use std::{fmt, sync::Arc, time::Duration};

/// The state before a stream of blocks, as the engine sees it.
///
/// Implementations answer for one fixed state: two reads of one key give the same answer. The engine reads a
/// key at most once a stream, from any of its workers, and never holds two readers' answers together.
///
/// # Errors
///
/// Every method may answer [`ReadError::Pending`] with a ticket: the engine waits for it, parked or not, and asks again. A
/// store that does so says it ([`StateReader::may_wait`]), and completes its tickets by threads of its own, or where the
/// engine lets it ([`StateReader::progress`]).
pub trait StateReader: Send + Sync {
    /// The account at `address`, or `None` if it does not exist.
    fn account(&self, address: Address) -> Result<Option<Account>, ReadError>;

    /// The value of a storage slot; zero if it was never written, or if the account does not exist here.
    fn storage(&self, address: Address, slot: U256) -> Result<U256, ReadError>;

    /// The code with this hash. Never asked for the hash of nothing.
    fn code(&self, code_hash: B256) -> Result<Bytecode, ReadError>;

    /// The hash of an ancestor block, for `BLOCKHASH`. Asked only of the last 256 blocks.
    fn block_hash(&self, number: u64) -> Result<B256, ReadError>;

    /// Whether any answer may be [`ReadError::Pending`]. Only then are executions begun on stacks of their own, on which
    /// they can be parked: of a reader that says `false`, and answers so all the same, every ticket is waited for by the
    /// thread that got it. Asked once a stream.
    fn may_wait(&self) -> bool {
        false
    }

    /// These are likely to be asked for soon: a store may begin to read them, or not. The calling thread counts as the one that
    /// submitted what it begins. Asked only of a reader that may wait, and of no key that was asked for before, or seldom.
    fn prefetch(&self, _keys: &[StateKey]) {}

    /// Lets those reads go on that the calling thread submitted: completes the tickets of all that are done. If none is, and
    /// `wait` is given, sleeps until one is, but no longer than that. Whether any of them are in flight still; without
    /// any it says `false` at once.
    ///
    /// This is for stores with a queue for each thread, whose completions the thread has to take that submitted the reads.
    /// The engine calls it between executions, when one is parked, and wherever it would sleep; no thread leaves a stream
    /// before this is `false`. So every read must end some time, with an error if need be.
    fn progress(&self, _wait: Option<Duration>) -> bool {
        false
    }
}

impl<R: StateReader + ?Sized> StateReader for Arc<R> {
    fn account(&self, address: Address) -> Result<Option<Account>, ReadError> {
        (**self).account(address)
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, ReadError> {
        (**self).storage(address, slot)
    }

    fn code(&self, code_hash: B256) -> Result<Bytecode, ReadError> {
        (**self).code(code_hash)
    }

    fn block_hash(&self, number: u64) -> Result<B256, ReadError> {
        (**self).block_hash(number)
    }

    fn may_wait(&self) -> bool {
        (**self).may_wait()
    }

    fn prefetch(&self, keys: &[StateKey]) {
        (**self).prefetch(keys);
    }

    fn progress(&self, wait: Option<Duration>) -> bool {
        (**self).progress(wait)
    }
}

/// What a reader was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StateKey {
    /// An account's balance, nonce and code hash.
    Account(Address),
    /// One storage slot of an account.
    Storage(Address, U256),
    /// Code by its hash.
    Code(B256),
    /// The hash of a block by its number.
    BlockHash(u64),
}

impl fmt::Display for StateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(address) => write!(f, "account {address}"),
            Self::Storage(address, slot) => write!(f, "slot {slot:#x} of account {address}"),
            Self::Code(hash) => write!(f, "code {hash}"),
            Self::BlockHash(number) => write!(f, "hash of block {number}"),
        }
    }
}

/// Why a reader gave no value.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// The state is partial and does not hold this key. Fatal for the block that needs it.
    #[error("{key} is not in this witness")]
    NotInWitness {
        /// The key that is missing.
        key: StateKey,
    },
    /// The value is on its way: wait for the ticket, then ask again.
    #[error("{key} is still being read")]
    Pending {
        /// The key that is being read.
        key: StateKey,
        /// Completes when asking again gives an answer.
        ticket: Ticket,
    },
    /// The store behind the reader failed. Fatal for the block that needs the key.
    #[error("reading {key} failed")]
    Store {
        /// The key that could not be read.
        key: StateKey,
        /// What the store said.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
}

impl PartialEq for ReadError {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::NotInWitness { key: a }, Self::NotInWitness { key: b })
            | (Self::Pending { key: a, .. }, Self::Pending { key: b, .. }) => a == b,
            (Self::Store { key: a, source: x }, Self::Store { key: b, source: y }) => {
                a == b && x.to_string() == y.to_string()
            }
            _ => false,
        }
    }
}

impl Eq for ReadError {}
