//! Block storage behind one trait: io_uring, blocking and simulated disks.
mod blocking;
mod buffer;
mod directory;
mod disk;
mod error;
mod open;
mod operation;
mod queue;
mod sim;
mod uring;

pub use buffer::{Buffer, BufferPool, POOL_BYTES_MAX};
pub use disk::{Capabilities, DirectoryLock, Disk, FileId, OpenMode};
pub use error::{DiskError, Remedy};
pub use open::{Backend, Choice, DiskConfig, Refusals, open_disk};
pub use operation::{Completion, Done, Operation, OperationKind, Request};
pub use queue::{Queue, QueueFull};
pub use sim::{SimConfig, SimDisk};

/// The unit of transfer, in bytes: offsets and lengths are multiples of it.
pub const PAGE_BYTES: usize = 4096;
