//! One ring of io_uring(7), and the memory that is in flight in it. The only file that speaks to the crate
//! `io-uring`.

#![allow(unsafe_code, reason = "the kernel reads and writes memory behind the compiler's back")]

use crate::{Buffer, BufferPool, DiskConfig, OperationKind, directory::TRIM_FLAGS};
use io_uring::{IoUring, cqueue, opcode, squeue, types};
use std::{
    fmt, io, mem,
    os::fd::{AsRawFd, OwnedFd, RawFd},
    thread,
    time::Duration,
};

/// Files that a ring's table has room for. Further ones are named by their descriptors, which costs a look-up
/// in the process's table for each operation.
pub(super) const FIXED_FILES: usize = 64;

/// How long a kernel thread that takes submissions spins before it sleeps.
const SQPOLL_IDLE_MS: u32 = 100;

/// A pause when the kernel has no memory for a request.
const PAUSE: Duration = Duration::from_micros(50);

/// A ring and what is in flight in it: for each operation its buffer, and a `T` that finds its way back.
///
/// Buffers in flight belong to the kernel. They are out of reach until it gave them back; a ring that is dropped
/// waits for them, and leaks what it cannot wait for.
pub(super) struct Ring<T> {
    ring: IoUring,
    flights: Vec<Option<Flight<T>>>,
    free: Vec<u32>,
    fixed_files: bool,
    /// The pool whose mapping is registered, as buffer 0.
    fixed_buffers: Option<BufferPool>,
}

struct Flight<T> {
    buffer: Option<Buffer>,
    payload: T,
}

/// What became of one operation.
pub(super) struct Landed<T> {
    /// Bytes, or the negative number of an error.
    pub(super) result: i32,
    pub(super) buffer: Option<Buffer>,
    pub(super) payload: T,
}

/// A file as a ring names it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    /// Its place in the ring's table.
    Fixed(u32),
    /// Its descriptor, which stays open while operations on it are in flight.
    Descriptor(RawFd),
}

/// One transfer, or part of one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transfer {
    pub(super) kind: OperationKind,
    /// Of the whole operation, in bytes.
    pub(super) offset: u64,
    pub(super) length: u64,
    /// Bytes of it that are done.
    pub(super) start: usize,
}

/// How an [`enter`](Ring::enter) ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entered {
    /// As asked, or a signal came.
    Back,
    /// The time was over.
    TimedOut,
    /// The kernel had no memory, or too many completions wait: some requests were not taken yet.
    Busy,
}

/// What a ring is to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct RingSetup {
    pub(super) depth: u32,
    pub(super) iopoll: bool,
    pub(super) sqpoll: bool,
}

impl RingSetup {
    pub(super) fn of(config: &DiskConfig) -> Self {
        Self { depth: config.queue_depth, iopoll: false, sqpoll: config.sqpoll }
    }
}

impl<T> Ring<T> {
    /// A new ring. On failure the call that failed.
    pub(super) fn new(setup: RingSetup) -> Result<Self, (&'static str, io::Error)> {
        let failed = |source| ("io_uring_setup", source);
        let build = |cooperative: bool| {
            let mut builder = IoUring::builder();
            builder.dontfork();
            if setup.iopoll {
                builder.setup_iopoll();
            }
            if setup.sqpoll {
                builder.setup_sqpoll(SQPOLL_IDLE_MS);
            } else if cooperative {
                // Linux 5.19: completions do not interrupt the thread that submitted them.
                builder.setup_coop_taskrun().setup_taskrun_flag();
            }
            if cooperative {
                // Linux 5.18: one bad request does not keep the others of its batch back.
                builder.setup_submit_all();
            }
            builder.build(setup.depth)
        };
        let ring = match build(true) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => build(false).map_err(failed)?,
            result => result.map_err(failed)?,
        };
        // Linux 5.5 and 5.11. Without them completions could be lost, and waits not be bounded.
        if !ring.params().is_feature_nodrop() || !ring.params().is_feature_ext_arg() {
            return Err(("io_uring features", io::Error::from_raw_os_error(libc::ENOSYS)));
        }
        let flights = (0..setup.depth).map(|_| None).collect();
        let free = (0..setup.depth).rev().collect();
        Ok(Self { ring, flights, free, fixed_files: false, fixed_buffers: None })
    }

    /// Makes room for [`FIXED_FILES`] files.
    pub(super) fn register_files(&mut self) -> io::Result<()> {
        self.ring.submitter().register_files_sparse(FIXED_FILES as u32)?;
        self.fixed_files = true;
        Ok(())
    }

    /// Registers the pool's mapping; shares the registration of `parent`, where there is one and the kernel can
    /// (Linux 6.12), so that the memory is locked once and not for each ring.
    pub(super) fn register_buffers<U>(
        &mut self,
        pool: &BufferPool,
        parent: Option<&Ring<U>>,
    ) -> io::Result<()> {
        let (start, bytes) = pool.mapping();
        if bytes == 0 {
            return Err(io::ErrorKind::NotFound.into());
        }
        let shared = parent.filter(|parent| parent.fixed_buffers.is_some()).is_some_and(|parent| {
            self.ring.submitter().register_buffers_clone(parent.ring.as_raw_fd()).is_ok()
        });
        if !shared {
            let range = libc::iovec { iov_base: start.cast(), iov_len: bytes };
            // SAFETY: the mapping is that long, and stays while the pool does, of which the ring keeps a clone: it is
            // dropped behind the ring (fields drop in order).
            unsafe { self.ring.submitter().register_buffers(&[range]) }?;
        }
        self.fixed_buffers = Some(pool.clone());
        Ok(())
    }

    /// Puts a file into the ring's table, or takes it out. Nothing in flight may name the place.
    pub(super) fn set_file(&self, place: usize, file: Option<&OwnedFd>) -> Target {
        let descriptor = file.map_or(-1, AsRawFd::as_raw_fd);
        let is_set = self.fixed_files
            && place < FIXED_FILES
            && self.ring.submitter().register_files_update(place as u32, &[descriptor]).is_ok();
        if is_set { Target::Fixed(place as u32) } else { Target::Descriptor(descriptor) }
    }

    pub(super) fn has_fixed_buffers(&self) -> bool {
        self.fixed_buffers.is_some()
    }

    pub(super) fn has_fixed_files(&self) -> bool {
        self.fixed_files
    }

    /// Operations in flight.
    pub(super) fn in_flight(&self) -> usize {
        self.flights.len() - self.free.len()
    }

    /// Puts a transfer into the submission queue; [`enter`](Self::enter) sends it. What it was given, if the ring
    /// is full.
    pub(super) fn start(
        &mut self,
        target: Target,
        transfer: Transfer,
        mut buffer: Option<Buffer>,
        payload: T,
    ) -> Result<(), Landed<T>> {
        let Some(index) = self.free.pop() else {
            return Err(Landed { result: -libc::EBUSY, buffer, payload });
        };
        let is_fixed = match (&buffer, &self.fixed_buffers) {
            (Some(buffer), Some(pool)) => buffer.is_of(pool),
            _ => false,
        };
        let entry = entry(target, transfer, buffer.as_mut(), is_fixed).user_data(u64::from(index));
        // SAFETY: what the entry points to is the buffer's memory, from `Buffer::range`. The buffer does not move that
        // memory when it moves, and goes into `flights` below, from where only `land` takes it, after the kernel
        // reported this entry complete, and `drop`, after it waited. A fixed buffer is inside buffer 0.
        let result = unsafe { self.ring.submission().push(&entry) };
        if result.is_err() {
            self.free.push(index);
            return Err(Landed { result: -libc::EBUSY, buffer, payload });
        }
        self.flights[index as usize] = Some(Flight { buffer, payload });
        Ok(())
    }

    /// Whether an [`enter`](Self::enter) without waiting would do something.
    pub(super) fn needs_enter(&mut self) -> bool {
        let polls = self.ring.params().is_setup_iopoll() && self.free.len() < self.flights.len();
        let submission = self.ring.submission();
        polls || !submission.is_empty() || submission.taskrun() || submission.cq_overflow()
    }

    /// Sends what was started, and waits until `wanted` completions are there to be taken by
    /// [`land`](Self::land), or until `timeout` is over.
    pub(super) fn enter(&mut self, wanted: usize, timeout: Option<Duration>) -> io::Result<Entered> {
        let submitter = self.ring.submitter();
        let result = match timeout {
            Some(timeout) if wanted > 0 => {
                let time = types::Timespec::from(timeout);
                submitter.submit_with_args(wanted, &types::SubmitArgs::new().timespec(&time))
            }
            _ => submitter.submit_and_wait(wanted),
        };
        match result.map_err(|error| (error.raw_os_error(), error)) {
            Ok(_) | Err((Some(libc::EINTR), _)) => Ok(Entered::Back),
            Err((Some(libc::ETIME), _)) => Ok(Entered::TimedOut),
            Err((Some(libc::EAGAIN | libc::EBUSY | libc::ENOMEM), _)) => Ok(Entered::Busy),
            Err((_, error)) => Err(error),
        }
    }

    /// An operation that the kernel completed, if there is one.
    pub(super) fn land(&mut self) -> Option<Landed<T>> {
        loop {
            let completion: cqueue::Entry = self.ring.completion().next()?;
            let index = completion.user_data();
            // The kernel reports each entry once; anything else would be its mistake, and is not believed.
            let Some(flight) = self.flights.get_mut(index as usize).and_then(Option::take) else { continue };
            self.free.push(index as u32);
            let Flight { buffer, payload } = flight;
            return Some(Landed { result: completion.result(), buffer, payload });
        }
    }
}

impl<T> Drop for Ring<T> {
    fn drop(&mut self) {
        while self.in_flight() > 0 {
            match self.enter(1, None) {
                Ok(Entered::Busy) => thread::sleep(PAUSE),
                Ok(_) => {}
                Err(_) => {
                    // What the kernel may still write to must not be used for anything else, ever.
                    mem::forget(mem::take(&mut self.flights));
                    mem::forget(self.fixed_buffers.take());
                    return;
                }
            }
            while self.land().is_some() {}
        }
    }
}

impl<T> fmt::Debug for Ring<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("in_flight", &self.in_flight())
            .field("has_fixed_files", &self.fixed_files)
            .field("has_fixed_buffers", &self.has_fixed_buffers())
            .finish_non_exhaustive()
    }
}

/// The submission queue's entry of a transfer.
fn entry(target: Target, transfer: Transfer, buffer: Option<&mut Buffer>, is_fixed: bool) -> squeue::Entry {
    /// The same entry for both kinds of file, which have no common type.
    macro_rules! on {
        (|$file:ident| $entry:expr) => {
            match target {
                Target::Fixed(place) => {
                    let $file = types::Fixed(place);
                    $entry
                }
                Target::Descriptor(descriptor) => {
                    let $file = types::Fd(descriptor);
                    $entry
                }
            }
        };
    }
    let Transfer { kind, offset, length, start } = transfer;
    let (address, bytes) = match buffer {
        Some(buffer) => {
            let end = buffer.len();
            buffer.range(start.min(end)..end)
        }
        None => (std::ptr::null_mut(), 0),
    };
    let at = offset + start as u64;
    match kind {
        OperationKind::Read if is_fixed => {
            on!(|file| opcode::ReadFixed::new(file, address, bytes, 0).offset(at).build())
        }
        OperationKind::Read => on!(|file| opcode::Read::new(file, address, bytes).offset(at).build()),
        OperationKind::Write | OperationKind::Append if is_fixed => {
            on!(|file| opcode::WriteFixed::new(file, address, bytes, 0).offset(at).build())
        }
        OperationKind::Write | OperationKind::Append => {
            on!(|file| opcode::Write::new(file, address, bytes).offset(at).build())
        }
        OperationKind::Sync => {
            on!(|file| opcode::Fsync::new(file).flags(types::FsyncFlags::DATASYNC).build())
        }
        OperationKind::Preallocate => on!(|file| opcode::Fallocate::new(file, length).offset(at).build()),
        OperationKind::Trim => {
            let mode = TRIM_FLAGS.bits() as i32;
            on!(|file| opcode::Fallocate::new(file, length).offset(at).mode(mode).build())
        }
    }
}
