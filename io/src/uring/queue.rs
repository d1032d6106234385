//! A queue of io_uring: one ring, and a second one where reads are polled for.

use super::{
    Shared,
    ring::{Entered, Landed, Ring, RingSetup, Target, Transfer},
};
use crate::{
    Completion, DiskError, Done, FileId, OperationKind, Queue, QueueFull, Request,
    blocking::{continue_read, next_start, place},
    directory::OpenFile,
    operation::Parts,
};
use std::{
    io,
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

/// A pause when the kernel has no memory for requests.
const PAUSE: Duration = Duration::from_micros(50);

#[derive(Debug)]
pub(super) struct UringQueue {
    /// Takes everything, but reads where there is a `polled` ring.
    ring: Ring<Flight>,
    /// Takes reads alone: a ring that polls knows no other operations that we need (io_uring_setup(2)).
    polled: Option<Ring<Flight>>,
    files: Vec<Option<CachedFile>>,
    changes: u64,
    /// Whether a file was closed that something is in flight on.
    lingering: bool,
    /// What failed before it reached the kernel.
    failed: Vec<Completion>,
    in_flight: usize,
    capacity: usize,
    /// Last: the rings are dropped first, which wait for what is in flight in the directory.
    shared: Arc<Shared>,
}

/// A file that this queue has used. It stays open, here, until nothing is in flight on it and it was closed.
/// There are few of them, so they are searched one after another.
#[derive(Debug)]
struct CachedFile {
    id: FileId,
    file: Arc<OpenFile>,
    target: Target,
    polled_target: Target,
    in_flight: usize,
    is_closed: bool,
}

/// An operation in flight.
#[derive(Debug)]
struct Flight {
    tag: u64,
    /// In `files`.
    file: usize,
    transfer: Transfer,
}

impl UringQueue {
    pub(super) fn new(shared: Arc<Shared>) -> Result<Self, DiskError> {
        let refused = |(call, source)| DiskError::Backend { backend: "io_uring", call, source };
        let setup = shared.setup;
        let ring = new_ring(&shared, RingSetup { iopoll: false, ..setup }).map_err(refused)?;
        let polled = setup.iopoll.then(|| new_ring(&shared, RingSetup { sqpoll: false, ..setup }));
        Ok(Self {
            ring,
            polled: polled.transpose().map_err(refused)?,
            files: Vec::new(),
            changes: 0,
            lingering: false,
            failed: Vec::new(),
            in_flight: 0,
            capacity: setup.depth as usize,
            shared,
        })
    }

    /// Where the file is in `files`; it is put there if it is open.
    fn cache(&mut self, id: FileId) -> Result<usize, DiskError> {
        let changes = self.shared.directory.changes();
        if changes != self.changes {
            self.forget_closed();
            self.changes = changes;
        }
        let is_it =
            |file: &Option<CachedFile>| file.as_ref().is_some_and(|file| file.id == id && !file.is_closed);
        if let Some(place) = self.files.iter().position(is_it) {
            return Ok(place);
        }
        let file = self.shared.directory.file(id)?;
        let place = self.files.iter().position(Option::is_none).unwrap_or(self.files.len());
        let target = self.ring.set_file(place, Some(&file.descriptor));
        let polled_target =
            self.polled.as_ref().map_or(target, |ring| ring.set_file(place, Some(&file.descriptor)));
        let cached = CachedFile { id, file, target, polled_target, in_flight: 0, is_closed: false };
        if place == self.files.len() {
            self.files.push(None);
        }
        self.files[place] = Some(cached);
        Ok(place)
    }

    /// Lets go of files that were closed, but for those that something is in flight on: `reap` tries again.
    fn forget_closed(&mut self) {
        self.lingering = false;
        for (place, slot) in self.files.iter_mut().enumerate() {
            let Some(file) = slot else { continue };
            file.is_closed = self.shared.directory.file(file.id).is_err();
            if file.is_closed && file.in_flight > 0 {
                self.lingering = true;
            } else if file.is_closed {
                self.ring.set_file(place, None);
                if let Some(ring) = &self.polled {
                    ring.set_file(place, None);
                }
                *slot = None;
            }
        }
    }

    /// Starts an operation, or fails it.
    fn start(&mut self, tag: u64, id: FileId, mut parts: Parts) -> Result<(), Completion> {
        let prepared = parts.check().and_then(|()| self.cache(id)).and_then(|place_in| {
            let file = self.files[place_in].as_ref().ok_or(DiskError::NotOpen { file: id })?;
            place(&file.file, &mut parts)?;
            Ok(place_in)
        });
        let file = match prepared {
            Ok(file) => file,
            Err(error) => return Err(Completion { tag, result: Err(error), buffer: parts.buffer }),
        };
        let transfer = Transfer { kind: parts.kind, offset: parts.offset, length: parts.length, start: 0 };
        self.send(Flight { tag, file, transfer }, parts.buffer)
    }

    /// Hands a transfer, or what is left of one, to its ring.
    fn send(&mut self, flight: Flight, buffer: Option<crate::Buffer>) -> Result<(), Completion> {
        let Some(file) = &mut self.files[flight.file] else { return Ok(()) };
        let transfer = flight.transfer;
        let sent = match &mut self.polled {
            Some(ring) if transfer.kind == OperationKind::Read => {
                ring.start(file.polled_target, transfer, buffer, flight)
            }
            _ => self.ring.start(file.target, transfer, buffer, flight),
        };
        match sent {
            Ok(()) => {
                file.in_flight += 1;
                Ok(())
            }
            Err(Landed { result, buffer, payload }) => {
                let source = io::Error::from_raw_os_error(-result);
                let error = DiskError::system(transfer.kind.name(), &file.file.name, source);
                Err(Completion { tag: payload.tag, result: Err(error), buffer })
            }
        }
    }

    /// Takes what the kernel completed, and goes on with what it did in part.
    fn reap(&mut self, completions: &mut Vec<Completion>) {
        completions.append(&mut self.failed);
        loop {
            let landed = self.ring.land().or_else(|| self.polled.as_mut().and_then(Ring::land));
            let Some(landed) = landed else { break };
            if let Err(completion) = self.finish(landed) {
                completions.push(completion);
            }
        }
        if self.lingering {
            self.forget_closed();
        }
    }

    /// The completion of what has landed, as an error; nothing if it goes on.
    fn finish(&mut self, landed: Landed<Flight>) -> Result<(), Completion> {
        let Landed { result, buffer, payload: mut flight } = landed;
        let Some(file) = &mut self.files[flight.file] else { return Ok(()) };
        file.in_flight -= 1;
        let Transfer { kind, offset, length, start } = flight.transfer;
        let next = match result {
            // A signal, a full queue of the device, a worker that ended with its thread: once more.
            code if [libc::EINTR, libc::EAGAIN, libc::ECANCELED].contains(&-code) => Ok(start),
            code if code < 0 => {
                let source = io::Error::from_raw_os_error(-code);
                Err(DiskError::system(kind.name(), &file.file.name, source))
            }
            count => match kind {
                OperationKind::Read => {
                    continue_read(&file.file, offset, length as usize, start, count as usize)
                }
                OperationKind::Write | OperationKind::Append => {
                    next_start(start, count as usize).ok_or_else(|| {
                        let source = io::Error::from(io::ErrorKind::WriteZero);
                        DiskError::system(kind.name(), &file.file.name, source)
                    })
                }
                OperationKind::Sync | OperationKind::Preallocate | OperationKind::Trim => Ok(length as usize),
            },
        };
        let tag = flight.tag;
        let is_done = result >= 0;
        match next {
            Ok(next) if next as u64 >= length && is_done => {
                Err(Completion { tag, result: Ok(Done { offset, bytes: length }), buffer })
            }
            Ok(next) => {
                flight.transfer.start = next;
                self.send(flight, buffer)
            }
            Err(error) => Err(Completion { tag, result: Err(error), buffer }),
        }
    }

    /// Sends what is pending and waits for `wanted` completions, in whichever ring.
    fn enter(&mut self, wanted: usize, timeout: Option<Duration>) -> Result<Entered, DiskError> {
        let failed = |source| DiskError::System {
            operation: "io_uring_enter",
            name: self.shared.directory.path().to_string_lossy().into(),
            source,
        };
        let Some(polled) = &mut self.polled else {
            return self.ring.enter(wanted, timeout).map_err(failed);
        };
        // A polling ring burns the core anyway, so both are looked at in turn unless one of them is idle.
        if polled.in_flight() == 0 {
            return self.ring.enter(wanted, timeout).map_err(failed);
        }
        let entered = polled.enter(0, None).map_err(failed)?;
        if self.ring.needs_enter() {
            self.ring.enter(0, None).map_err(failed)?;
        }
        Ok(entered)
    }
}

impl Queue for UringQueue {
    fn submit(&mut self, request: Request) -> Result<(), QueueFull> {
        if self.in_flight == self.capacity {
            return Err(QueueFull { request, capacity: self.capacity });
        }
        self.in_flight += 1;
        let Request { tag, file, operation } = request;
        if let Err(completion) = self.start(tag, file, operation.into_parts()) {
            self.failed.push(completion);
        }
        Ok(())
    }

    fn poll(&mut self, completions: &mut Vec<Completion>) -> Result<usize, DiskError> {
        let before = completions.len();
        if self.ring.needs_enter() || self.polled.as_mut().is_some_and(Ring::needs_enter) {
            // Busy: what was not taken yet is sent the next time.
            self.enter(0, None)?;
        }
        self.reap(completions);
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
        if wanted == 0 {
            return self.poll(completions);
        }
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let before = completions.len();
        let mut result = Ok(());
        // What is there already is taken before the kernel is asked to wait for more.
        self.reap(completions);
        let mut is_sent = false;
        loop {
            let count = completions.len() - before;
            if count >= wanted && is_sent {
                break;
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let is_over = left.is_some_and(|left| left.is_zero());
            let still = if is_over { 0 } else { wanted.saturating_sub(count) };
            match self.enter(still, left) {
                Ok(Entered::Busy) => thread::sleep(PAUSE),
                Ok(_) => {}
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
            is_sent = true;
            self.reap(completions);
            if is_over {
                break;
            }
        }
        let count = completions.len() - before;
        self.in_flight -= count;
        result.map(|()| count)
    }

    fn in_flight(&self) -> usize {
        self.in_flight
    }

    fn capacity(&self) -> usize {
        self.capacity
    }
}

/// A ring with whatever the probe found can be registered; less, and counted, if this one is refused it.
fn new_ring(shared: &Shared, setup: RingSetup) -> Result<Ring<Flight>, (&'static str, io::Error)> {
    let mut ring = Ring::new(setup)?;
    if shared.capabilities.fixed_files {
        // Refused: descriptors do as well.
        let _ = ring.register_files();
    }
    if shared.capabilities.fixed_buffers
        && ring.register_buffers(&shared.buffers, Some(&shared.parent.lock())).is_err()
    {
        shared.queues_unregistered.fetch_add(1, Ordering::Relaxed);
    }
    Ok(ring)
}
