//! Block storage behind one trait: io_uring, blocking and simulated disks.
//!
//! A [`Disk`] is the files of one directory; a [`Queue`], one for each worker, takes operations on them and gives
//! completions back, in whatever order they come. All transfers are whole pages of [`PAGE_BYTES`].
//!
//! | | |
//! |---|---|
//! | [`open_disk`] | a directory by io_uring, or by threads where that is refused; [`Choice`] says which and why |
//! | [`SimDisk`] | a disk in memory that loses, reorders, tears and rots what was not synced, by a seed |
//! | [`Metered`] | counts and times another disk's operations |
//! | [`Delayed`] | adds latency to another disk's operations |
//! | [`BufferPool`], [`Buffer`] | page-aligned memory, which the kernel knows where it can |
//! | [`DiskError`], [`Remedy`] | what goes wrong, and what can be done about it |
//!
//! A failed sync is the end of the writing ([`DiskError::Sync`]): what it was to make durable may be lost though a later
//! one succeeds. The fault model and its sources are in `docs/io.md`.
//!
//! ```
//! use citius_io::{Disk, Operation, OpenMode, PAGE_BYTES, Request, SimConfig, SimDisk};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let disk = SimDisk::new(SimConfig::default());
//! let file = disk.open("pages", OpenMode::CreateNew)?;
//! let mut queue = disk.queue()?;
//! for tag in 0..8 {
//!     let mut buffer = disk.buffers().take(PAGE_BYTES);
//!     buffer.fill(tag as u8);
//!     let operation = Operation::Write { offset: tag * PAGE_BYTES as u64, buffer };
//!     queue.submit(Request { tag, file, operation })?;
//! }
//! let mut completions = Vec::new();
//! while queue.in_flight() > 0 {
//!     queue.wait(1, None, &mut completions)?;
//! }
//! assert_eq!(completions.len(), 8);
//! for completion in completions {
//!     completion.result?;
//! }
//! disk.sync(file)?;
//! # Ok(())
//! # }
//! ```

mod blocking;
mod buffer;
mod delayed;
mod directory;
mod disk;
mod error;
mod metered;
mod open;
mod operation;
mod queue;
mod sim;
mod uring;

pub use buffer::{Buffer, BufferPool, POOL_BYTES_MAX};
pub use delayed::{Delayed, Delays};
pub use disk::{Capabilities, DirectoryLock, Disk, FileId, OpenMode};
pub use error::{DiskError, Remedy};
pub use metered::{DiskMetrics, Metered, OperationMetrics};
pub use open::{Backend, Choice, DiskConfig, Refusals, open_disk};
pub use operation::{Completion, Done, Operation, OperationKind, Request};
pub use queue::{Queue, QueueFull};
pub use sim::{SimConfig, SimDisk};

/// The unit of transfer, in bytes: offsets and lengths are multiples of it.
pub const PAGE_BYTES: usize = 4096;
