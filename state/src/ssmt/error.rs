use crate::{cold::ColdError, trie::update::path_text};
use alloy_primitives::B256;
use std::{fmt, sync::Arc};

/// Which of the state's tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TrieName {
    /// The trie of all accounts.
    Accounts,
    /// The storage trie of the account whose address has this hash.
    Storage(B256),
}

impl fmt::Display for TrieName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accounts => f.write_str("the account trie"),
            Self::Storage(account) => write!(f, "the storage trie of account hash {account}"),
        }
    }
}

/// Number of a state that the trie holds, unique as long as the trie lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VersionId(pub(crate) u64);

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Why the state trie gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SsmtError {
    /// The state is partial (made of a witness or a proof), and this node is not in it.
    #[error("{trie}: the node at path {} is not in this witness, only its hash", path_text(path))]
    Blinded {
        /// Which trie.
        trie: TrieName,
        /// The nibbles from the trie's root to the node.
        path: Vec<u8>,
    },
    /// A part of the state is not in memory, and its store failed to give it.
    #[error(transparent)]
    Cold(Arc<ColdError>),
    /// The changes list an account or a slot twice: which one counts nobody can say.
    #[error("the changes list the key with hash {key} in {trie} twice")]
    Repeated {
        /// Which trie.
        trie: TrieName,
        /// The hash of the address, or of the slot.
        key: B256,
    },
    /// The version was discarded, or is older than what is kept.
    #[error("version {version} is not kept any more; kept are {kept} versions, the oldest {oldest}")]
    UnknownVersion {
        /// What was asked for.
        version: VersionId,
        /// How many versions there are.
        kept: usize,
        /// The oldest of them.
        oldest: VersionId,
    },
    /// A worker panicked while it wrote: what the shards hold is no version any more. Fatal for this trie.
    #[error("a worker panicked while it wrote to the state trie, which cannot be used any more")]
    Torn,
    /// The version has descendants, or is the head or the oldest.
    #[error("version {version} cannot be discarded: {reason}")]
    InUse {
        /// What was to be discarded.
        version: VersionId,
        /// Why not.
        reason: &'static str,
    },
    /// A witness or proof contains something that is no trie node.
    #[error("node {hash}: {reason}")]
    BadNode {
        /// The node's hash.
        hash: B256,
        /// What is wrong with it.
        reason: String,
    },
    /// The root's own node is not among the nodes.
    #[error("the root {root} is not among the {nodes} nodes given")]
    RootMissing {
        /// The root.
        root: B256,
        /// How many nodes were given.
        nodes: usize,
    },
    /// Code that a block needs is not stored.
    #[error("code {hash} is not stored")]
    CodeMissing {
        /// Its hash.
        hash: B256,
    },
    /// A block's changes lead to another root than the block says.
    #[error("the changes lead to the state root {found}, not to {expected}")]
    WrongRoot {
        /// What the block says.
        expected: B256,
        /// What it is.
        found: B256,
    },
    /// A header of a witness is none, or does not belong to the others.
    #[error("header {index}: {reason}")]
    BadHeader {
        /// Which one, from 0.
        index: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl From<ColdError> for SsmtError {
    fn from(error: ColdError) -> Self {
        Self::Cold(Arc::new(error))
    }
}
