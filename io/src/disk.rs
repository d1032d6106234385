//! The trait of disks.

use crate::{BufferPool, Completion, DiskError, Done, Operation, PAGE_BYTES, Queue, Request};
use std::{any::Any, fmt, io};

/// The files of one directory, by plain names, and the queues that read and write them.
///
/// What a disk promises about durability is what POSIX does and no more: contents are durable after
/// [`Operation::Sync`], the existence of a name after [`sync_directory`](Self::sync_directory), and until then any
/// part of either may survive a crash, in any order.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Opens a file for reading and writing.
    ///
    /// # Errors
    ///
    /// [`DiskError::Name`], [`DiskError::NotFound`], [`DiskError::Exists`], [`DiskError::AlreadyOpen`],
    /// [`DiskError::System`].
    fn open(&self, name: &str, mode: OpenMode) -> Result<FileId, DiskError>;

    /// Closes a file. Operations in flight still complete; the file's number is not used again.
    ///
    /// # Errors
    ///
    /// [`DiskError::NotOpen`].
    fn close(&self, file: FileId) -> Result<(), DiskError>;

    /// Removes a name. Who has the file open goes on reading and writing it; its space is free once it is closed.
    ///
    /// # Errors
    ///
    /// [`DiskError::Name`], [`DiskError::NotFound`], [`DiskError::System`].
    fn remove(&self, name: &str) -> Result<(), DiskError>;

    /// The names of all files, sorted.
    ///
    /// # Errors
    ///
    /// [`DiskError::System`].
    fn names(&self) -> Result<Vec<String>, DiskError>;

    /// Bytes that a file has. Appends in flight count when they are complete.
    ///
    /// # Errors
    ///
    /// [`DiskError::NotOpen`], [`DiskError::System`].
    fn len(&self, file: FileId) -> Result<u64, DiskError>;

    /// Makes durable which names there are.
    ///
    /// # Errors
    ///
    /// [`DiskError::Sync`], which is as bad as for a file.
    fn sync_directory(&self) -> Result<(), DiskError>;

    /// Locks the directory against other writers, until the lock is dropped or the process ends.
    ///
    /// # Errors
    ///
    /// [`DiskError::Locked`] with the holder's process number, [`DiskError::System`].
    fn lock(&self) -> Result<DirectoryLock, DiskError>;

    /// The pool of buffers that transfers best.
    fn buffers(&self) -> &BufferPool;

    /// A new queue.
    ///
    /// # Errors
    ///
    /// [`DiskError::Backend`], if the system refuses another one.
    fn queue(&self) -> Result<Box<dyn Queue>, DiskError>;

    /// What the disk makes use of.
    fn capabilities(&self) -> Capabilities;

    /// Reads into `bytes`, and waits for it. For starts and tests: each call makes a queue and copies.
    ///
    /// # Errors
    ///
    /// [`DiskError::Unaligned`], [`DiskError::BeyondEnd`], [`DiskError::System`].
    fn read_exact_at(&self, file: FileId, offset: u64, bytes: &mut [u8]) -> Result<(), DiskError> {
        let buffer = self.buffers().take(bytes.len());
        let completion = self.complete(file, Operation::Read { offset, buffer })?;
        completion.result?;
        if let Some(buffer) = completion.buffer {
            bytes.copy_from_slice(&buffer);
        }
        Ok(())
    }

    /// Writes `bytes`, and waits for it. As [`read_exact_at`](Self::read_exact_at), for starts and tests.
    ///
    /// # Errors
    ///
    /// [`DiskError::Unaligned`], [`DiskError::Full`], [`DiskError::System`].
    fn write_all_at(&self, file: FileId, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let mut buffer = self.buffers().take(bytes.len());
        buffer.copy_from_slice(bytes);
        self.complete(file, Operation::Write { offset, buffer })?.result.map(drop)
    }

    /// Appends `bytes`, and waits for it. Where they landed.
    ///
    /// # Errors
    ///
    /// As [`write_all_at`](Self::write_all_at).
    fn append(&self, file: FileId, bytes: &[u8]) -> Result<Done, DiskError> {
        let mut buffer = self.buffers().take(bytes.len());
        buffer.copy_from_slice(bytes);
        self.complete(file, Operation::Append { buffer })?.result
    }

    /// Makes durable what the file has, and waits for it.
    ///
    /// # Errors
    ///
    /// [`DiskError::Sync`]: fatal for whoever wrote the file.
    fn sync(&self, file: FileId) -> Result<(), DiskError> {
        self.complete(file, Operation::Sync)?.result.map(drop)
    }

    /// Carries out one operation in a queue of its own.
    ///
    /// # Errors
    ///
    /// Those of [`queue`](Self::queue) and [`Queue::wait`]; the operation's own are in the completion.
    fn complete(&self, file: FileId, operation: Operation) -> Result<Completion, DiskError> {
        let mut queue = self.queue()?;
        let name = operation.kind().name();
        let failed = |text: &str| DiskError::System {
            operation: name,
            name: file.to_string().into(),
            source: io::Error::other(text.to_owned()),
        };
        queue.submit(Request { tag: 0, file, operation }).map_err(|full| failed(&full.to_string()))?;
        let mut completions = Vec::with_capacity(1);
        queue.wait(1, None, &mut completions)?;
        completions.pop().ok_or_else(|| failed("the queue returned without a completion"))
    }
}

/// An open file of one disk. Numbers are not used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "file {}.{}", self.slot, self.generation)
    }
}

/// Whether a file is expected to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// It must exist.
    Existing,
    /// It is made, empty, if it does not exist.
    Create,
    /// It must not exist, and is made.
    CreateNew,
}

/// What a disk makes use of, as found when it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// `io_uring`, `blocking` or `sim`.
    pub backend: &'static str,
    /// Transfers pass by the page cache (O_DIRECT).
    pub direct: bool,
    /// The pool's buffers are registered with the kernel.
    pub fixed_buffers: bool,
    /// Files are registered with the kernel.
    pub fixed_files: bool,
    /// Reads are polled for, not interrupted by.
    pub iopoll: bool,
    /// A thread of the kernel takes submissions.
    pub sqpoll: bool,
    /// Queues made since whose buffers the kernel refused to register, for want of lockable memory: their
    /// operations map the buffers each time.
    pub queues_unregistered: u64,
}

/// A lock on a directory, until it is dropped.
pub struct DirectoryLock {
    _held: Box<dyn Any + Send + Sync>,
}

impl DirectoryLock {
    pub(crate) fn new(held: impl Any + Send + Sync) -> Self {
        Self { _held: Box::new(held) }
    }
}

impl fmt::Debug for DirectoryLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirectoryLock").finish_non_exhaustive()
    }
}

/// A length in bytes, of whole pages.
pub(crate) fn pages_up(bytes: u64) -> u64 {
    bytes.div_ceil(PAGE_BYTES as u64).saturating_mul(PAGE_BYTES as u64)
}

/// Implements [`Disk`] for a type with a field `inner: Arc<dyn Disk>` that differs from it in its queues alone.
macro_rules! delegate {
    ($type:ident { $($queue:item)* }) => {
        impl Disk for $type {
            fn open(&self, name: &str, mode: OpenMode) -> Result<FileId, DiskError> {
                self.inner.open(name, mode)
            }

            fn close(&self, file: FileId) -> Result<(), DiskError> {
                self.inner.close(file)
            }

            fn remove(&self, name: &str) -> Result<(), DiskError> {
                self.inner.remove(name)
            }

            fn names(&self) -> Result<Vec<String>, DiskError> {
                self.inner.names()
            }

            fn len(&self, file: FileId) -> Result<u64, DiskError> {
                self.inner.len(file)
            }

            fn sync_directory(&self) -> Result<(), DiskError> {
                self.inner.sync_directory()
            }

            fn lock(&self) -> Result<DirectoryLock, DiskError> {
                self.inner.lock()
            }

            fn buffers(&self) -> &BufferPool {
                self.inner.buffers()
            }

            fn capabilities(&self) -> Capabilities {
                self.inner.capabilities()
            }

            $($queue)*
        }
    };
}

pub(crate) use delegate;
