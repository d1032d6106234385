//! Disks by io_uring(7).

mod queue;
mod ring;

use crate::{
    BufferPool, Capabilities, DirectoryLock, Disk, DiskConfig, DiskError, FileId, OpenMode, OperationKind,
    PAGE_BYTES, Queue, directory::Directory,
};
use parking_lot::Mutex;
use queue::UringQueue;
use ring::{Ring, RingSetup, Target, Transfer};
use rustix::io::{Errno, pwrite};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// A disk whose queues are a ring each.
#[derive(Debug)]
pub(crate) struct UringDisk {
    shared: Arc<Shared>,
}

/// What the queues have in common.
#[derive(Debug)]
struct Shared {
    directory: Directory,
    buffers: BufferPool,
    setup: RingSetup,
    capabilities: Capabilities,
    /// Carries the registration of the buffers, which the queues' rings share where the kernel lets them.
    parent: Mutex<Ring<()>>,
    queues_unregistered: AtomicU64,
}

/// What the probe found, and the ring that it found it with.
#[derive(Debug)]
pub(crate) struct Probed {
    parent: Ring<()>,
    setup: RingSetup,
    capabilities: Capabilities,
}

impl UringDisk {
    /// Tries what it can, by doing it in the directory itself. What could not be had is told in `notes`.
    pub(crate) fn probe(
        directory: &Directory,
        buffers: &BufferPool,
        config: &DiskConfig,
        notes: &mut Vec<String>,
    ) -> Result<Probed, DiskError> {
        probe(directory, buffers, config, notes).map_err(|(call, source)| DiskError::Backend {
            backend: "io_uring",
            call,
            source,
        })
    }

    pub(crate) fn new(directory: Directory, buffers: BufferPool, probed: Probed) -> Self {
        let Probed { parent, setup, capabilities } = probed;
        let parent = Mutex::new(parent);
        let queues_unregistered = AtomicU64::new(0);
        let shared = Shared { directory, buffers, setup, capabilities, parent, queues_unregistered };
        Self { shared: Arc::new(shared) }
    }
}

impl Disk for UringDisk {
    fn open(&self, name: &str, mode: OpenMode) -> Result<FileId, DiskError> {
        self.shared.directory.open_file(name, mode)
    }

    fn close(&self, file: FileId) -> Result<(), DiskError> {
        self.shared.directory.close(file)
    }

    fn remove(&self, name: &str) -> Result<(), DiskError> {
        self.shared.directory.remove(name)
    }

    fn names(&self) -> Result<Vec<String>, DiskError> {
        self.shared.directory.names()
    }

    fn len(&self, file: FileId) -> Result<u64, DiskError> {
        self.shared.directory.file(file)?.length()
    }

    fn sync_directory(&self) -> Result<(), DiskError> {
        self.shared.directory.sync()
    }

    fn lock(&self) -> Result<DirectoryLock, DiskError> {
        self.shared.directory.lock()
    }

    fn buffers(&self) -> &BufferPool {
        &self.shared.buffers
    }

    fn queue(&self) -> Result<Box<dyn Queue>, DiskError> {
        Ok(Box::new(UringQueue::new(Arc::clone(&self.shared))?))
    }

    fn capabilities(&self) -> Capabilities {
        let queues_unregistered = self.shared.queues_unregistered.load(Ordering::Relaxed);
        Capabilities { queues_unregistered, ..self.shared.capabilities }
    }
}

/// A call that failed, and how.
type Refusal = (&'static str, io::Error);

/// Finds out what the kernel, the file system and the limits of this process allow, by writing a page and reading it
/// back as the queues will.
fn probe(
    directory: &Directory,
    buffers: &BufferPool,
    config: &DiskConfig,
    notes: &mut Vec<String>,
) -> Result<Probed, Refusal> {
    let refused = |code: Option<i32>| code.map_or(Ok(()), |code| Err(io::Error::from_raw_os_error(code)));
    refused(config.refusals.io_uring).map_err(|error| ("io_uring_setup", error))?;
    let mut setup = RingSetup::of(config);
    let mut ring = match Ring::new(setup) {
        Err((call, error)) if setup.sqpoll => {
            notes.push(format!("no SQPOLL: {call}: {error}"));
            setup.sqpoll = false;
            Ring::new(setup)?
        }
        result => result?,
    };
    let files = refused(config.refusals.fixed_files).and_then(|()| ring.register_files());
    if let Err(error) = files {
        notes.push(format!("files are not registered: {error}"));
    }
    if buffers.free() > 0 {
        let registered = refused(config.refusals.fixed_buffers)
            .and_then(|()| ring.register_buffers(buffers, None::<&Ring<()>>));
        if let Err(error) = registered {
            notes.push(format!("buffers are not registered: {error}"));
        }
    }

    let file = directory.nameless_file().map_err(|error| ("open", io::Error::other(error)))?;
    let mut page = buffers.take(PAGE_BYTES);
    page.fill(0x5a);
    let written = pwrite(&file.descriptor, &page, 0).map_err(|errno| ("pwrite", errno.into()))?;
    if written != PAGE_BYTES {
        return Err(("pwrite", Errno::IO.into()));
    }
    let target = ring.set_file(0, Some(&file.descriptor));
    page.fill(0);
    let page = read_page(&mut ring, target, page).map_err(|error| ("read", error))?;
    ring.set_file(0, None);

    if config.iopoll {
        let polled = RingSetup { iopoll: true, sqpoll: false, ..setup };
        let read = if directory.is_direct() {
            Ring::new(polled).and_then(|mut ring| {
                let target = Target::Descriptor(std::os::fd::AsRawFd::as_raw_fd(&file.descriptor));
                read_page(&mut ring, target, page).map_err(|error| ("read", error))
            })
        } else {
            Err(("open", io::Error::other("polling takes direct I/O")))
        };
        match read {
            Ok(_) => setup.iopoll = true,
            Err((call, error)) => notes.push(format!("no IOPOLL: {call}: {error}")),
        }
    }
    let capabilities = Capabilities {
        backend: "io_uring",
        direct: directory.is_direct(),
        fixed_buffers: ring.has_fixed_buffers(),
        fixed_files: ring.has_fixed_files(),
        iopoll: setup.iopoll,
        sqpoll: setup.sqpoll,
        queues_unregistered: 0,
    };
    Ok(Probed { parent: ring, setup, capabilities })
}

/// Reads the page that `probe` wrote, and looks whether it is there.
fn read_page(ring: &mut Ring<()>, target: Target, page: crate::Buffer) -> io::Result<crate::Buffer> {
    let transfer = Transfer { kind: OperationKind::Read, offset: 0, length: PAGE_BYTES as u64, start: 0 };
    let busy = || io::Error::from(Errno::BUSY);
    ring.start(target, transfer, Some(page), ()).map_err(|_| busy())?;
    let landed = loop {
        ring.enter(1, None)?;
        if let Some(landed) = ring.land() {
            break landed;
        }
    };
    if landed.result < 0 {
        return Err(io::Error::from_raw_os_error(-landed.result));
    }
    landed
        .buffer
        .filter(|page| landed.result as usize == PAGE_BYTES && page.iter().all(|byte| *byte == 0x5a))
        .ok_or_else(|| io::Error::other("what was read is not what was written"))
}
