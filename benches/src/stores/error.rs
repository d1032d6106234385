use crate::WrongAnswer;
use citius_io::DiskError;
use citius_state::{cold::ColdError, ssmt::SsmtError};
use std::io;

/// Why stores were not compared.
#[derive(Debug, thiserror::Error)]
pub enum StoresError {
    /// A wrong answer.
    #[error(transparent)]
    Wrong(#[from] WrongAnswer),
    /// Of the store of Citius.
    #[error(transparent)]
    Cold(#[from] ColdError),
    /// Of the state over it.
    #[error(transparent)]
    State(#[from] SsmtError),
    /// Of a disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Of the system.
    #[error(transparent)]
    System(#[from] io::Error),
    /// Of redb.
    #[error(transparent)]
    Redb(#[from] Box<redb::Error>),
    /// Of somebody else who takes part.
    #[error("{0}")]
    Peer(String),
    /// An argument that means nothing.
    #[error("{0}")]
    Argument(String),
}

impl StoresError {
    pub(super) fn wrong(bench: &str, reason: impl Into<String>) -> Self {
        Self::Wrong(WrongAnswer { bench: bench.to_owned(), reason: reason.into() })
    }
}

/// redb has an error type for each operation.
macro_rules! from_redb {
    ($($error:ident),*) => {
        $(impl From<redb::$error> for StoresError {
            fn from(error: redb::$error) -> Self {
                Self::Redb(Box::new(error.into()))
            }
        })*
    };
}

from_redb!(DatabaseError, TransactionError, TableError, StorageError, CommitError);
