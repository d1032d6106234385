//! What a queue takes and gives back.

use crate::{Buffer, DiskError, FileId, PAGE_BYTES};

/// One operation, submitted to a [`Queue`](crate::Queue).
#[derive(Debug)]
pub struct Request {
    /// The caller's own number, returned with the completion; need not be unique.
    pub tag: u64,
    /// The file it is about.
    pub file: FileId,
    /// What to do.
    pub operation: Operation,
}

/// What to do with a file. Offsets and lengths are bytes, and multiples of [`PAGE_BYTES`]; none is empty.
///
/// Operations in flight at the same time have no order among each other: who needs one waits for the completion.
#[derive(Debug)]
pub enum Operation {
    /// Fills the buffer. Fails with [`DiskError::BeyondEnd`] unless the file has all of it.
    Read {
        /// Where.
        offset: u64,
        /// To be filled, all of it.
        buffer: Buffer,
    },
    /// Writes the buffer, behind the end too: what lies between reads as zeros.
    Write {
        /// Where.
        offset: u64,
        /// What, all of it.
        buffer: Buffer,
    },
    /// Writes the buffer where the file ends, or where earlier appends to it will have ended. One that fails leaves
    /// its place as zeros when a later one succeeds.
    Append {
        /// What, all of it.
        buffer: Buffer,
    },
    /// Makes durable what was complete before this was submitted: contents and length (fdatasync(2)). A name
    /// takes [`Disk::sync_directory`](crate::Disk::sync_directory) besides. If it fails, see [`DiskError::Sync`].
    Sync,
    /// Reserves space. The file is made longer if it ended before; what was not written reads as zeros.
    Preallocate {
        /// Where.
        offset: u64,
        /// How much.
        length: u64,
    },
    /// Gives the space back: it reads as zeros. The file's length stays.
    Trim {
        /// Where.
        offset: u64,
        /// How much.
        length: u64,
    },
}

/// The kinds of [`Operation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "named after the operations")]
pub enum OperationKind {
    Read,
    Write,
    Append,
    Sync,
    Preallocate,
    Trim,
}

/// The end of an operation.
#[derive(Debug)]
pub struct Completion {
    /// The request's.
    pub tag: u64,
    /// Where it took place, or why it failed.
    pub result: Result<Done, DiskError>,
    /// The request's buffer, whether it failed or not. After a failed read its content is not known.
    pub buffer: Option<Buffer>,
}

/// Where an operation took place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Done {
    /// In bytes; for an append where it landed, for a sync 0.
    pub offset: u64,
    /// Read, written, reserved or given back.
    pub bytes: u64,
}

impl OperationKind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 6] =
        [Self::Read, Self::Write, Self::Append, Self::Sync, Self::Preallocate, Self::Trim];

    /// Its name, as errors have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Append => "append",
            Self::Sync => "sync",
            Self::Preallocate => "preallocate",
            Self::Trim => "trim",
        }
    }
}

impl Operation {
    /// Which it is.
    #[must_use]
    pub fn kind(&self) -> OperationKind {
        match self {
            Self::Read { .. } => OperationKind::Read,
            Self::Write { .. } => OperationKind::Write,
            Self::Append { .. } => OperationKind::Append,
            Self::Sync => OperationKind::Sync,
            Self::Preallocate { .. } => OperationKind::Preallocate,
            Self::Trim { .. } => OperationKind::Trim,
        }
    }

    /// Its parts: kind, offset (0 if it has none), length and buffer.
    pub(crate) fn into_parts(self) -> Parts {
        let kind = self.kind();
        let (offset, length, buffer) = match self {
            Self::Read { offset, buffer } | Self::Write { offset, buffer } => {
                (offset, buffer.len() as u64, Some(buffer))
            }
            Self::Append { buffer } => (0, buffer.len() as u64, Some(buffer)),
            Self::Sync => (0, 0, None),
            Self::Preallocate { offset, length } | Self::Trim { offset, length } => (offset, length, None),
        };
        Parts { kind, offset, length, buffer }
    }
}

/// An operation in one shape.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) kind: OperationKind,
    pub(crate) offset: u64,
    pub(crate) length: u64,
    pub(crate) buffer: Option<Buffer>,
}

impl Parts {
    /// Refuses what no backend takes. Ends stay below 2^63: the kernel's offsets are signed.
    pub(crate) fn check(&self) -> Result<(), DiskError> {
        if self.kind == OperationKind::Sync {
            return Ok(());
        }
        for (field, value) in [("offset", self.offset), ("length", self.length)] {
            if !value.is_multiple_of(PAGE_BYTES as u64) {
                return Err(DiskError::Unaligned { field, value });
            }
        }
        if self.length == 0 {
            return Err(DiskError::OutOfRange { field: "length", value: 0, expected: "at least a page" });
        }
        check_end(self.offset, self.length)
    }
}

/// Whether a range that begins at `offset` ends where files can.
pub(crate) fn check_end(offset: u64, length: u64) -> Result<(), DiskError> {
    match offset.checked_add(length) {
        Some(end) if end <= i64::MAX as u64 => Ok(()),
        _ => Err(DiskError::OutOfRange {
            field: "offset",
            value: offset,
            expected: "that it and the length stay below 2^63",
        }),
    }
}
