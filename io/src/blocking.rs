//! Disks for kernels and containers that forbid io_uring: pread(2) and pwrite(2) in a few threads.

use crate::{
    BufferPool, Capabilities, Completion, DirectoryLock, Disk, DiskConfig, DiskError, Done, FileId, OpenMode,
    OperationKind, PAGE_BYTES, Queue, QueueFull, Request,
    directory::{Directory, OpenFile, TRIM_FLAGS},
    operation::Parts,
};
use crossbeam::channel::{Receiver, Sender, unbounded};
use rustix::{
    fs::{FallocateFlags, fallocate, fdatasync},
    io::{Errno, pread, pwrite},
};
use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// A disk whose operations block threads of its own, `DiskConfig::threads` of them: as many are carried out at a
/// time. The threads end with the disk and its queues.
#[derive(Debug)]
pub(crate) struct BlockingDisk {
    directory: Arc<Directory>,
    buffers: BufferPool,
    queue_depth: usize,
    jobs: Sender<Job>,
}

/// An operation on its way to a thread. At most the sum of the queues' capacities exist at a time.
#[derive(Debug)]
struct Job {
    tag: u64,
    file: Arc<OpenFile>,
    parts: Parts,
    done: Sender<Completion>,
}

impl BlockingDisk {
    pub(crate) fn new(
        directory: Directory,
        buffers: BufferPool,
        config: &DiskConfig,
    ) -> Result<Self, DiskError> {
        let (jobs, work) = unbounded::<Job>();
        for index in 0..config.threads {
            let work = work.clone();
            thread::Builder::new()
                .name(format!("disk-{index}"))
                .spawn(move || {
                    for job in work {
                        let completion = perform(job.tag, &job.file, job.parts);
                        // A queue waits for its completions even when it is dropped, so this arrives.
                        let _ = job.done.send(completion);
                    }
                })
                .map_err(|source| DiskError::Backend { backend: "blocking", call: "spawn", source })?;
        }
        Ok(Self { directory: Arc::new(directory), buffers, queue_depth: config.queue_depth as usize, jobs })
    }
}

impl Disk for BlockingDisk {
    fn open(&self, name: &str, mode: OpenMode) -> Result<FileId, DiskError> {
        self.directory.open_file(name, mode)
    }

    fn close(&self, file: FileId) -> Result<(), DiskError> {
        self.directory.close(file)
    }

    fn remove(&self, name: &str) -> Result<(), DiskError> {
        self.directory.remove(name)
    }

    fn names(&self) -> Result<Vec<String>, DiskError> {
        self.directory.names()
    }

    fn len(&self, file: FileId) -> Result<u64, DiskError> {
        self.directory.file(file)?.length()
    }

    fn sync_directory(&self) -> Result<(), DiskError> {
        self.directory.sync()
    }

    fn lock(&self) -> Result<DirectoryLock, DiskError> {
        self.directory.lock()
    }

    fn buffers(&self) -> &BufferPool {
        &self.buffers
    }

    fn queue(&self) -> Result<Box<dyn Queue>, DiskError> {
        let (done, completions) = unbounded();
        Ok(Box::new(BlockingQueue {
            directory: Arc::clone(&self.directory),
            jobs: self.jobs.clone(),
            done,
            completions,
            in_flight: 0,
            capacity: self.queue_depth,
        }))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { backend: "blocking", direct: self.directory.is_direct(), ..Capabilities::default() }
    }
}

#[derive(Debug)]
struct BlockingQueue {
    directory: Arc<Directory>,
    jobs: Sender<Job>,
    done: Sender<Completion>,
    completions: Receiver<Completion>,
    in_flight: usize,
    capacity: usize,
}

impl Queue for BlockingQueue {
    fn submit(&mut self, request: Request) -> Result<(), QueueFull> {
        if self.in_flight == self.capacity {
            return Err(QueueFull { request, capacity: self.capacity });
        }
        self.in_flight += 1;
        let Request { tag, file, operation } = request;
        let mut parts = operation.into_parts();
        let prepared = parts.check().and_then(|()| self.directory.file(file)).and_then(|file| {
            place(&file, &mut parts)?;
            Ok(file)
        });
        let completion = match prepared {
            Ok(file) => match self.jobs.send(Job { tag, file, parts, done: self.done.clone() }) {
                Ok(()) => return Ok(()),
                // The threads ended: they only do when they panic.
                Err(unsent) => {
                    let Job { file, parts, .. } = unsent.into_inner();
                    let source = io::Error::other("the disk's threads have ended");
                    let result = Err(DiskError::system(parts.kind.name(), &file.name, source));
                    Completion { tag, result, buffer: parts.buffer }
                }
            },
            Err(error) => Completion { tag, result: Err(error), buffer: parts.buffer },
        };
        // The receiver is ours, so this arrives.
        let _ = self.done.send(completion);
        Ok(())
    }

    fn poll(&mut self, completions: &mut Vec<Completion>) -> Result<usize, DiskError> {
        let before = completions.len();
        completions.extend(self.completions.try_iter());
        let count = completions.len() - before;
        self.in_flight -= count;
        Ok(count)
    }

    fn wait(
        &mut self,
        at_least: usize,
        timeout: Option<Duration>,
        completions: &mut Vec<Completion>,
    ) -> Result<usize, DiskError> {
        let wanted = at_least.min(self.in_flight);
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut count = self.poll(completions)?;
        while count < wanted {
            // Both fail only when the time is over: the queue holds a sender itself.
            let next = match deadline {
                Some(deadline) => self.completions.recv_deadline(deadline).ok(),
                None => self.completions.recv().ok(),
            };
            let Some(completion) = next else { break };
            completions.push(completion);
            self.in_flight -= 1;
            count += 1;
        }
        Ok(count)
    }

    fn in_flight(&self) -> usize {
        self.in_flight
    }

    fn capacity(&self) -> usize {
        self.capacity
    }
}

impl Drop for BlockingQueue {
    /// Waits, so that nothing is written once the directory's lock is given away.
    fn drop(&mut self) {
        let _ = self.wait(self.in_flight, None, &mut Vec::new());
    }
}

/// Gives an append its place, and notes how far the others reach.
pub(crate) fn place(file: &OpenFile, parts: &mut Parts) -> Result<(), DiskError> {
    match parts.kind {
        OperationKind::Append => parts.offset = file.reserve(parts.length)?,
        OperationKind::Write | OperationKind::Preallocate => file.extend(parts.offset + parts.length),
        OperationKind::Read | OperationKind::Sync | OperationKind::Trim => {}
    }
    Ok(())
}

/// Carries an operation out on the calling thread.
fn perform(tag: u64, file: &OpenFile, parts: Parts) -> Completion {
    let Parts { kind, offset, length, mut buffer } = parts;
    let bytes = buffer.as_deref_mut().unwrap_or_default();
    let result = match kind {
        OperationKind::Read => read(file, offset, bytes),
        OperationKind::Write | OperationKind::Append => {
            write(file, offset, bytes).map_err(|errno| system(kind, file, errno))
        }
        OperationKind::Sync => {
            retry(|| fdatasync(&file.descriptor)).map_err(|errno| system(kind, file, errno))
        }
        OperationKind::Preallocate => {
            retry(|| fallocate(&file.descriptor, FallocateFlags::empty(), offset, length))
                .map_err(|errno| system(kind, file, errno))
        }
        OperationKind::Trim => retry(|| fallocate(&file.descriptor, TRIM_FLAGS, offset, length))
            .map_err(|errno| system(kind, file, errno)),
    };
    Completion { tag, result: result.map(|()| Done { offset, bytes: length }), buffer }
}

fn read(file: &OpenFile, offset: u64, bytes: &mut [u8]) -> Result<(), DiskError> {
    let mut done = 0;
    while done < bytes.len() {
        let count = retry(|| pread(&file.descriptor, &mut bytes[done..], offset + done as u64))
            .map_err(|errno| system(OperationKind::Read, file, errno))?;
        done = continue_read(file, offset, bytes.len(), done, count)?;
    }
    Ok(())
}

fn write(file: &OpenFile, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
    let mut done = 0;
    while done < bytes.len() {
        let count = retry(|| pwrite(&file.descriptor, &bytes[done..], offset + done as u64))?;
        done = next_start(done, count).ok_or(Errno::IO)?;
    }
    Ok(())
}

fn system(kind: OperationKind, file: &OpenFile, errno: Errno) -> DiskError {
    DiskError::system(kind.name(), &file.name, errno.into())
}

/// A signal may interrupt any call: it is made again.
fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

/// Where a read of `length` bytes at `offset` goes on, of which `count` came behind the first `start`: at `length` it
/// is complete. An error if the file has no more, or the read no progress.
pub(crate) fn continue_read(
    file: &OpenFile,
    offset: u64,
    length: usize,
    start: usize,
    count: usize,
) -> Result<usize, DiskError> {
    if start + count >= length {
        return Ok(length);
    }
    let file_bytes = file.length()?;
    if file_bytes < offset + length as u64 {
        let name = Arc::clone(&file.name);
        return Err(DiskError::BeyondEnd { name, offset, length: length as u64, file_bytes });
    }
    next_start(start, count).ok_or_else(|| system(OperationKind::Read, file, Errno::IO))
}

/// Where a transfer goes on that began at `start` and had `count` bytes: at a whole page, as direct I/O wants it.
/// Nothing if it made no progress, which would repeat itself for ever.
pub(crate) fn next_start(start: usize, count: usize) -> Option<usize> {
    let next = start + count;
    let next = next - next % PAGE_BYTES;
    (next > start).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_transfer_goes_on_at_a_whole_page_or_not_at_all() {
        assert_eq!(next_start(0, 4096), Some(4096));
        assert_eq!(next_start(4096, 5000), Some(8192));
        assert_eq!(next_start(4096, 512), None);
        assert_eq!(next_start(0, 0), None);
    }
}
