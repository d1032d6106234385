//! Which disk a directory gets, and why.

use crate::{
    BufferPool, Capabilities, Disk, DiskError, PAGE_BYTES, blocking::BlockingDisk, directory::Directory,
    uring::UringDisk,
};
use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// What a disk is to be like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskConfig {
    /// Which backend.
    pub backend: Backend,
    /// Operations that each queue has in flight at most, 1 to 4,096.
    pub queue_depth: u32,
    /// Whether to pass by the page cache, where the file system lets us.
    pub direct: bool,
    /// Whether to poll for reads instead of being interrupted, where the drive has queues for that. A core that waits
    /// is busy then.
    pub iopoll: bool,
    /// Whether a thread of the kernel takes submissions. It keeps a core busy for each queue.
    pub sqpoll: bool,
    /// Buffers in the pool.
    pub buffers: usize,
    /// Pages that each of them has.
    pub buffer_pages: usize,
    /// Threads of the blocking backend, 1 to 1,024: so many operations at a time.
    pub threads: usize,
    /// What is taken to be refused. For tests, which cannot make a kernel refuse it.
    pub refusals: Refusals,
}

/// Which backend a disk has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// io_uring, or the blocking one if that is refused.
    #[default]
    Auto,
    /// io_uring or nothing.
    Uring,
    /// pread(2) and pwrite(2) in threads.
    Blocking,
}

/// Error numbers with which the system is taken to refuse something, as a hardened kernel or a container would.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    /// io_uring_setup(2).
    pub io_uring: Option<i32>,
    /// Registering of buffers.
    pub fixed_buffers: Option<i32>,
    /// Registering of files.
    pub fixed_files: Option<i32>,
}

/// What was chosen, and why: its display is the line for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The directory.
    pub directory: PathBuf,
    /// What the disk makes use of.
    pub capabilities: Capabilities,
    /// Operations that each queue has in flight at most; for the blocking backend, threads besides.
    pub queue_depth: u32,
    /// Threads of the blocking backend; 0 for the other.
    pub threads: usize,
    /// What was wanted and could not be had, each with its reason.
    pub notes: Vec<String>,
}

impl Default for DiskConfig {
    /// io_uring if possible, direct, 128 operations a queue, 4 MiB of buffers of one page: below the 8 MiB that
    /// systemd lets a process lock.
    fn default() -> Self {
        Self {
            backend: Backend::Auto,
            queue_depth: 128,
            direct: true,
            iopoll: false,
            sqpoll: false,
            buffers: 1024,
            buffer_pages: 1,
            threads: 16,
            refusals: Refusals::default(),
        }
    }
}

/// Opens a directory, which must exist, as a disk.
///
/// # Errors
///
/// [`DiskError::OutOfRange`] for a configuration that cannot be, [`DiskError::Backend`] if what was asked for is
/// refused and nothing else allowed, [`DiskError::System`] if the directory cannot be used.
pub fn open_disk(directory: &Path, config: &DiskConfig) -> Result<(Arc<dyn Disk>, Choice), DiskError> {
    check(config)?;
    let mut notes = Vec::new();
    let buffers = BufferPool::new(config.buffers, config.buffer_pages)?;
    let opened = Directory::open(directory, config.direct)?;
    if config.direct && !opened.is_direct() {
        notes.push("no direct I/O: the file system refuses it".to_owned());
    }
    let blocking = |opened, buffers| -> Result<Arc<dyn Disk>, DiskError> {
        Ok(Arc::new(BlockingDisk::new(opened, buffers, config)?))
    };
    let disk: Arc<dyn Disk> = if config.backend == Backend::Blocking {
        blocking(opened, buffers)?
    } else {
        match UringDisk::probe(&opened, &buffers, config, &mut notes) {
            Ok(probed) => Arc::new(UringDisk::new(opened, buffers, probed)),
            Err(DiskError::Backend { call, source, .. }) if config.backend == Backend::Auto => {
                notes.push(format!("no io_uring: {call}: {source}"));
                blocking(opened, buffers)?
            }
            Err(error) => return Err(error),
        }
    };
    let capabilities = disk.capabilities();
    let threads = if capabilities.backend == "blocking" { config.threads } else { 0 };
    let directory = directory.to_owned();
    Ok((disk, Choice { directory, capabilities, queue_depth: config.queue_depth, threads, notes }))
}

fn check(config: &DiskConfig) -> Result<(), DiskError> {
    let out_of_range = |field, value, expected| DiskError::OutOfRange { field, value, expected };
    if !(1..=4096).contains(&config.queue_depth) {
        return Err(out_of_range("queue_depth", u64::from(config.queue_depth), "1 to 4096"));
    }
    if !(1..=1024).contains(&config.threads) {
        return Err(out_of_range("threads", config.threads as u64, "1 to 1024"));
    }
    Ok(())
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Capabilities { backend, direct, fixed_buffers, fixed_files, iopoll, sqpoll, .. } =
            self.capabilities;
        write!(f, "disk {}: {backend}, queue depth {}", self.directory.display(), self.queue_depth)?;
        if self.threads > 0 {
            write!(f, ", {} threads", self.threads)?;
        }
        let pages = format!("pages of {PAGE_BYTES} bytes");
        let direct_text =
            if direct { format!("direct I/O in {pages}") } else { "through the page cache".into() };
        write!(f, ", {direct_text}")?;
        let features = [
            (fixed_buffers, "registered buffers"),
            (fixed_files, "registered files"),
            (iopoll, "IOPOLL"),
            (sqpoll, "SQPOLL"),
        ];
        for (_, text) in features.iter().filter(|(is_used, _)| *is_used) {
            write!(f, ", {text}")?;
        }
        for note in &self.notes {
            write!(f, "; {note}")?;
        }
        Ok(())
    }
}
