//! What goes wrong with a disk, typed, and what can be done about it.

use crate::{FileId, PAGE_BYTES};
use std::{io, path::PathBuf, sync::Arc};
use thiserror::Error;

/// Why a disk refused or failed an operation.
#[derive(Debug, Error)]
pub enum DiskError {
    /// An offset or a length is no multiple of [`PAGE_BYTES`].
    #[error("{field} = {value}: expected a multiple of {PAGE_BYTES}")]
    Unaligned {
        /// `offset` or `length`.
        field: &'static str,
        /// What it was, in bytes.
        value: u64,
    },
    /// A number is outside what it may be.
    #[error("{field} = {value}: expected {expected}")]
    OutOfRange {
        /// The field.
        field: &'static str,
        /// What it was.
        value: u64,
        /// What it may be.
        expected: &'static str,
    },
    /// A name that no file of a disk can have.
    #[error(
        "name = {name:?}: expected 1 to 255 bytes without `/` and NUL, and none of `.`, `..` and `{}`",
        crate::directory::LOCK_NAME
    )]
    Name {
        /// The name.
        name: String,
    },
    /// No file has the name.
    #[error("file {name:?} does not exist")]
    NotFound {
        /// The name.
        name: String,
    },
    /// A file has the name already.
    #[error("file {name:?} exists: expected it not to")]
    Exists {
        /// The name.
        name: String,
    },
    /// The file is open: it has one [`FileId`] at a time.
    #[error("file {name:?} is open already")]
    AlreadyOpen {
        /// The name.
        name: String,
    },
    /// The file was closed, or is of another disk.
    #[error("{file} is not open on this disk")]
    NotOpen {
        /// The file.
        file: FileId,
    },
    /// A read goes beyond the file's end.
    #[error("read of {length} bytes at {offset} of {name:?}: the file has {file_bytes} bytes")]
    BeyondEnd {
        /// The file.
        name: Arc<str>,
        /// Where the read began, in bytes.
        offset: u64,
        /// Bytes asked for.
        length: u64,
        /// Bytes the file has.
        file_bytes: u64,
    },
    /// No space is left. What the operation wrote before that is not known.
    #[error("{operation} of {name:?}: the disk is full")]
    Full {
        /// The file.
        name: Arc<str>,
        /// The operation.
        operation: &'static str,
    },
    /// A sync failed. What was written since the last good one may be lost, even if a later sync succeeds
    /// (Rebello and others, "Can Applications Recover from fsync Failures?", ATC 2020).
    #[error("sync of {name:?} failed: what was written since the last one may be lost")]
    Sync {
        /// The file, or the directory.
        name: Arc<str>,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another process, or another disk of this one, has the directory.
    #[error("directory {} is locked by {}", directory.display(), holder_text(*.holder))]
    Locked {
        /// The directory.
        directory: PathBuf,
        /// The process that holds the lock, if it said so.
        holder: Option<u32>,
    },
    /// Neither of the backends asked for can be used.
    #[error("backend {backend}: {call} failed")]
    Backend {
        /// The backend.
        backend: &'static str,
        /// What was tried.
        call: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The simulated power is out: nothing works until [`SimDisk::restart`](crate::SimDisk::restart).
    #[error("the power was cut at operation {operation}")]
    PowerLost {
        /// The first operation that failed.
        operation: u64,
    },
    /// The system failed the operation.
    #[error("{operation} of {name:?} failed")]
    System {
        /// The operation.
        operation: &'static str,
        /// The file, or the directory.
        name: Arc<str>,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// What can be done about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// The caller asked for what cannot be: the disk is as it was.
    Correct,
    /// The same again may succeed.
    Retry,
    /// Something else must change first: space freed, another process ended, another backend chosen.
    Change,
    /// What the store has written is in doubt: it takes no more writes.
    Stop,
}

impl DiskError {
    /// What can be done about it. A failed read may be repeated (a drive may still recover the sector); a failed
    /// write or sync ends the writing.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Unaligned { .. }
            | Self::OutOfRange { .. }
            | Self::Name { .. }
            | Self::NotFound { .. }
            | Self::Exists { .. }
            | Self::AlreadyOpen { .. }
            | Self::NotOpen { .. }
            | Self::BeyondEnd { .. } => Remedy::Correct,
            Self::Full { .. } | Self::Locked { .. } | Self::Backend { .. } => Remedy::Change,
            Self::System { operation: "read" | "names" | "len" | "open" | "lock", .. } => Remedy::Retry,
            Self::Sync { .. } | Self::PowerLost { .. } | Self::System { .. } => Remedy::Stop,
        }
    }

    /// The error of a system call on `name`.
    pub(crate) fn system(operation: &'static str, name: &Arc<str>, source: io::Error) -> Self {
        let name = Arc::clone(name);
        match (operation, source.raw_os_error()) {
            // First: a sync that finds the disk full has lost data all the same.
            ("sync" | "sync_directory", _) => Self::Sync { name, source },
            (_, Some(libc::ENOSPC | libc::EDQUOT)) => Self::Full { name, operation },
            _ => Self::System { operation, name, source },
        }
    }
}

fn holder_text(holder: Option<u32>) -> String {
    holder.map_or_else(|| "a process that left no number".to_owned(), |pid| format!("process {pid}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_fits_beside_its_buffer_and_says_what_was_expected() {
        assert!(size_of::<DiskError>() <= 64, "{}", size_of::<DiskError>());
        let error = DiskError::Unaligned { field: "offset", value: 7 };
        assert_eq!(error.to_string(), "offset = 7: expected a multiple of 4096");
        let locked = DiskError::Locked { directory: "store".into(), holder: Some(12) };
        assert_eq!(locked.to_string(), "directory store is locked by process 12");
    }

    #[test]
    fn a_failed_sync_ends_the_writing_even_when_the_disk_was_full() {
        let name: Arc<str> = "journal".into();
        let error = |operation, code| DiskError::system(operation, &name, io::Error::from_raw_os_error(code));
        assert_eq!(error("sync", libc::EIO).remedy(), Remedy::Stop);
        assert_eq!(error("sync", libc::ENOSPC).remedy(), Remedy::Stop);
        assert_eq!(error("write", libc::ENOSPC).remedy(), Remedy::Change);
        assert_eq!(error("write", libc::EIO).remedy(), Remedy::Stop);
        assert_eq!(error("read", libc::EIO).remedy(), Remedy::Retry);
    }
}
