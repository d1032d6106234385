//! A disk in memory that fails as disks do, by a seed.

mod inode;
mod pages;
mod queue;
mod rng;
mod world;

use crate::{BufferPool, Capabilities, DirectoryLock, Disk, DiskError, FileId, OpenMode, Queue};
use parking_lot::Mutex;
use queue::SimQueue;
use std::{fmt, process, sync::Arc};
use world::World;

/// A disk in memory whose power can be cut, whose syncs and transfers fail, and whose bits rot. Used from one thread,
/// the same calls with the same seeds have the same outcome, on every machine.
///
/// What a power cut leaves is what POSIX allows, chosen by chance (docs/io.md has the model and its sources):
///
/// - of what was not synced each 512-byte sector of each write, in flight or complete, or not, whatever the order;
///   and any of the lengths that the file had since;
/// - of the names not synced, each with the first few of its changes;
/// - what was synced, always.
///
/// Restarting shares all pages with the disk it is made from: it costs time for what was not synced alone.
///
/// ```
/// use citius_io::{Disk, OpenMode, PAGE_BYTES, SimConfig, SimDisk};
///
/// # fn main() -> Result<(), citius_io::DiskError> {
/// let disk = SimDisk::new(SimConfig::default());
/// let file = disk.open("journal", OpenMode::CreateNew)?;
/// disk.write_all_at(file, 0, &[7; PAGE_BYTES])?;
/// disk.sync(file)?;
/// disk.sync_directory()?;
/// disk.cut_power_at(disk.operations());
/// assert!(disk.sync(file).is_err());
///
/// let disk = disk.restart(1);
/// let file = disk.open("journal", OpenMode::Existing)?;
/// let mut page = [0; PAGE_BYTES];
/// disk.read_exact_at(file, 0, &mut page)?;
/// assert_eq!(page, [7; PAGE_BYTES]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SimDisk {
    world: Arc<Mutex<World>>,
    buffers: BufferPool,
    queue_depth: usize,
}

/// How a [`SimDisk`] behaves. Chances are in operations of a million.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimConfig {
    /// Decides all that is left to chance until the first restart, which has a seed of its own.
    pub seed: u64,
    /// Space for contents; without it, as much as there is memory.
    pub capacity_bytes: Option<u64>,
    /// Operations that each queue has in flight at most.
    pub queue_depth: usize,
    /// Page buffers that [`Disk::buffers`] has, as those of other disks do; further ones come from the heap.
    pub pooled_buffers: usize,
    /// Whether operations in flight are carried out in any order.
    pub reorder: bool,
    /// How often those in flight are left for a later call, again at each one: slow operations.
    pub slow_per_million: u32,
    /// Reads that fail.
    pub read_errors_per_million: u32,
    /// Writes, appends, preallocations and trims that fail, having done the first part or nothing.
    pub write_errors_per_million: u32,
    /// Syncs that fail. Of what they were to make durable, some sectors are; the others are lost once the power is cut,
    /// even if a later sync succeeds.
    pub sync_errors_per_million: u32,
    /// Bits of written pages, at most, that turn over at each restart.
    pub rot_bits_per_restart: u32,
}

impl Default for SimConfig {
    /// Nothing fails; operations in flight are reordered, and half of the time some are slow.
    fn default() -> Self {
        Self {
            seed: 0,
            capacity_bytes: None,
            queue_depth: 128,
            pooled_buffers: 0,
            reorder: true,
            slow_per_million: 500_000,
            read_errors_per_million: 0,
            write_errors_per_million: 0,
            sync_errors_per_million: 0,
            rot_bits_per_restart: 0,
        }
    }
}

impl SimDisk {
    /// An empty disk.
    #[must_use]
    pub fn new(config: SimConfig) -> Self {
        let pool = Some(config.pooled_buffers).filter(|buffers| *buffers > 0);
        let pool = pool.and_then(|buffers| BufferPool::new(buffers, 1).ok());
        Self {
            queue_depth: config.queue_depth.max(1),
            world: Arc::new(Mutex::new(World::new(config))),
            buffers: pool.unwrap_or_else(BufferPool::heap),
        }
    }

    /// Operations carried out since the start: those of queues, and openings that make a file, removals and syncs of
    /// the directory. A harness runs once without a cut, and then cuts at each number below this.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.world.lock().operations
    }

    /// Cuts the power when `operation` operations were carried out: that one and all later ones fail with
    /// [`DiskError::PowerLost`]. What was in flight may be on the disk in part.
    pub fn cut_power_at(&self, operation: u64) {
        self.world.lock().cut_at = operation;
    }

    /// Fails one operation, by its number, as if by chance: with EIO, and a sync as [`DiskError::Sync`].
    pub fn fail_operation_at(&self, operation: u64) {
        self.world.lock().fail_at.push(operation);
    }

    /// Turns over a bit of a file, in what reads see and in what is durable.
    ///
    /// # Errors
    ///
    /// [`DiskError::NotFound`]; [`DiskError::OutOfRange`] for a bit behind the end.
    pub fn flip_bit(&self, name: &str, bit: u64) -> Result<(), DiskError> {
        self.world.lock().flip_bit(name, bit)
    }

    /// The disk after a power cut at this moment, of which `seed` decides what it leaves. Nothing is open or locked on
    /// it, no fault is planned, and its operations count from 0. This one stays as it is: it can be restarted
    /// from again, with other seeds.
    #[must_use]
    pub fn restart(&self, seed: u64) -> Self {
        let world = self.world.lock().after_cut(seed);
        Self {
            world: Arc::new(Mutex::new(world)),
            buffers: self.buffers.clone(),
            queue_depth: self.queue_depth,
        }
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let world = self.world.lock();
        f.debug_struct("SimDisk")
            .field("config", &world.config)
            .field("restarts", &world.epoch)
            .field("operations", &world.operations)
            .finish_non_exhaustive()
    }
}

impl Disk for SimDisk {
    fn open(&self, name: &str, mode: OpenMode) -> Result<FileId, DiskError> {
        self.world.lock().open(name, mode)
    }

    fn close(&self, file: FileId) -> Result<(), DiskError> {
        self.world.lock().close(file)
    }

    fn remove(&self, name: &str) -> Result<(), DiskError> {
        self.world.lock().remove(name)
    }

    fn names(&self) -> Result<Vec<String>, DiskError> {
        self.world.lock().names()
    }

    fn len(&self, file: FileId) -> Result<u64, DiskError> {
        self.world.lock().len(file)
    }

    fn sync_directory(&self) -> Result<(), DiskError> {
        self.world.lock().sync_directory()
    }

    fn lock(&self) -> Result<DirectoryLock, DiskError> {
        let mut world = self.world.lock();
        if world.is_locked {
            return Err(DiskError::Locked { directory: "simulation".into(), holder: Some(process::id()) });
        }
        world.is_locked = true;
        Ok(DirectoryLock::new(Held(Arc::clone(&self.world))))
    }

    fn buffers(&self) -> &BufferPool {
        &self.buffers
    }

    fn queue(&self) -> Result<Box<dyn Queue>, DiskError> {
        Ok(Box::new(SimQueue::new(Arc::clone(&self.world), self.queue_depth)))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { backend: "sim", ..Capabilities::default() }
    }
}

/// The lock of a simulated directory.
struct Held(Arc<Mutex<World>>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.lock().is_locked = false;
    }
}
