//! One device as a backend.

use super::{
    DeviceCounters, DeviceError, DeviceEvent, DeviceHost, DeviceOptions, DeviceSpec, MESSAGE_BYTES_MAX,
    batch::Order,
    counters::{Counting, add},
    session::{Wait, nanoseconds},
    supervisor::{Shared, State},
};
use crate::{Backend, BackendError};
use alloy_primitives::{B256, keccak256};
use citius_kernels::protocol::{ChannelError, Layout, LayoutError};
use parking_lot::{Condvar, Mutex};
use std::{
    hash::{BuildHasher, RandomState},
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// How long the end of a backend waits for its supervisor, which may be in a system call that takes long.
const END_DEADLINE: Duration = Duration::from_secs(1);

/// A device with one kernel, in a host of its own.
///
/// Batches are hashed one at a time, each in the order that suits the device and in pieces that fit the shared memory.
/// Messages longer than [`MESSAGE_BYTES_MAX`] are hashed by the calling thread.
#[derive(Debug)]
pub struct DeviceBackend {
    shared: Arc<Shared>,
    identity: String,
    /// What a device could not foresee: which digests are checked.
    random: RandomState,
    checks: AtomicU64,
    supervisor: Option<JoinHandle<()>>,
}

impl DeviceBackend {
    /// Starts the device's host in the background; [`is_available`](Backend::is_available) once it is ready. The host
    /// runs on the processors that the calling thread may run on.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Layout`] for sizes that cannot be, [`DeviceError::Thread`]. That there is no device, or no
    /// program, is told to the observer.
    pub fn start(host: DeviceHost, spec: DeviceSpec, options: DeviceOptions) -> Result<Self, DeviceError> {
        Layout::new(options.arena_bytes, options.messages_max)?;
        if options.arena_bytes < MESSAGE_BYTES_MAX {
            let (field, value) = ("arena_bytes", options.arena_bytes as u64);
            let expected = format!("at least {MESSAGE_BYTES_MAX}, the longest message");
            return Err(LayoutError { field, value, expected }.into());
        }
        let shared = Arc::new(Shared {
            name: spec.backend_name(),
            host,
            spec,
            options,
            counters: Counting::default(),
            state: Mutex::new(State::Starting { reason: "it is being started".into() }),
            changed: Condvar::new(),
            is_ready: AtomicBool::new(false),
            is_ended: AtomicBool::new(false),
        });
        let supervised = Arc::clone(&shared);
        let supervisor = thread::Builder::new()
            .name(format!("device {}", shared.name))
            .spawn(move || supervised.supervise())
            .map_err(|source| DeviceError::Thread { source })?;
        Ok(Self {
            identity: shared.spec.identity(),
            shared,
            random: RandomState::new(),
            checks: AtomicU64::new(0),
            supervisor: Some(supervisor),
        })
    }

    /// What it did so far.
    #[must_use]
    pub fn counters(&self) -> DeviceCounters {
        self.shared.counters.read()
    }

    /// Which device runs what.
    #[must_use]
    pub fn spec(&self) -> &DeviceSpec {
        &self.shared.spec
    }

    /// The host's process, while the device is ready and no batch is under way.
    #[must_use]
    pub fn host_process_id(&self) -> Option<u32> {
        match &*self.shared.state.try_lock()? {
            State::Ready(session) => Some(session.process.id()),
            _ => None,
        }
    }

    /// Whether it will never take a batch again.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.shared.state.try_lock().is_some_and(|state| matches!(*state, State::Off { .. }))
    }

    fn unavailable(&self, reason: impl ToString) -> BackendError {
        BackendError::Unavailable { backend: self.shared.name.clone(), reason: reason.to_string() }
    }

    /// Hashes on the device. A failure comes with the counter that it belongs to.
    fn try_hash(
        &self,
        arena: &[u8],
        ranges: &[Range<usize>],
        digests: &mut [B256],
    ) -> Result<(), (&AtomicU64, BackendError)> {
        let Shared { counters, options, .. } = &*self.shared;
        let refused = |reason: String| (&counters.batches_refused, self.unavailable(reason));
        if !self.is_available() {
            return Err(refused(self.reason()));
        }
        let start = Instant::now();
        let base = options.batch_deadline.base;
        let state = self.shared.state.try_lock_for(base);
        add(&counters.wait_ns, nanoseconds(start, Instant::now()));
        let mut state = state.ok_or_else(|| (&counters.batches_late, self.late(base)))?;
        let State::Ready(session) = &mut *state else {
            drop(state);
            return Err(refused(self.reason()));
        };
        let order = session.set_order(ranges);
        let deadline = options.batch_deadline.of(order.blocks_count());
        hash_long(order, arena, ranges, digests, counters);
        let wait = Wait { deadline: Instant::now() + deadline, is_ended: &self.shared.is_ended };
        let mut result = session.hash(arena, ranges, digests, wait, counters);
        if result.is_ok() {
            result = self.check(arena, ranges, digests);
        }
        let Err(error) = result else { return Ok(()) };
        let backend = self.shared.name.clone();
        let told = match &error {
            DeviceError::Channel(ChannelError::Late) => (&counters.batches_late, self.late(deadline)),
            DeviceError::Wrong { index } => {
                (&counters.batches_wrong, BackendError::Wrong { backend, index: *index })
            }
            error => (&counters.batches_lost, self.unavailable(error)),
        };
        self.shared.fail(state, error);
        Err(told)
    }

    fn late(&self, deadline: Duration) -> BackendError {
        let deadline_ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        BackendError::Late { backend: self.shared.name.clone(), deadline_ms }
    }

    /// Why the device is not ready.
    fn reason(&self) -> String {
        match self.shared.state.try_lock().as_deref() {
            Some(State::Starting { reason } | State::Off { reason }) => reason.clone(),
            Some(State::Failed { error, .. }) => error.to_string(),
            Some(State::Ready(_)) | None => "it is busy".into(),
            Some(State::Ended) => "it was ended".into(),
        }
    }

    /// Computes a sample of the digests again: one of each stretch of `checked_one_in`, at a place that nobody can
    /// foresee.
    fn check(&self, arena: &[u8], ranges: &[Range<usize>], digests: &[B256]) -> Result<(), DeviceError> {
        let stretch = self.shared.options.checked_one_in as usize;
        if stretch == 0 {
            return Ok(());
        }
        let mut checked = 0;
        for start in (0..ranges.len()).step_by(stretch) {
            let length = stretch.min(ranges.len() - start) as u64;
            let draw = self.random.hash_one(self.checks.fetch_add(1, Ordering::Relaxed));
            let index = start + (draw % length) as usize;
            checked += 1;
            if digests[index] != keccak256(&arena[ranges[index].clone()]) {
                add(&self.shared.counters.messages_checked, checked);
                return Err(DeviceError::Wrong { index });
            }
        }
        add(&self.shared.counters.messages_checked, checked);
        Ok(())
    }
}

/// Hashes the messages that no device takes.
fn hash_long(
    order: &Order,
    arena: &[u8],
    ranges: &[Range<usize>],
    digests: &mut [B256],
    counters: &Counting,
) {
    for place in order.long() {
        let place = *place as usize;
        digests[place] = keccak256(&arena[ranges[place].clone()]);
    }
    add(&counters.messages_long, order.long().len() as u64);
}

impl Backend for DeviceBackend {
    fn name(&self) -> &str {
        &self.shared.name
    }

    fn identity(&self) -> String {
        self.identity.clone()
    }

    fn is_available(&self) -> bool {
        self.shared.is_ready.load(Ordering::Relaxed)
    }

    fn hash_batch(
        &self,
        arena: &[u8],
        ranges: &[Range<usize>],
        digests: &mut [B256],
    ) -> Result<(), BackendError> {
        assert_eq!(digests.len(), ranges.len(), "a digest for each message");
        for (index, range) in ranges.iter().enumerate() {
            let is_inside = range.start <= range.end && range.end <= arena.len();
            assert!(is_inside, "message {index} at {range:?} leaves the arena of {} bytes", arena.len());
        }
        if ranges.is_empty() {
            return Ok(());
        }
        let counters = &self.shared.counters;
        match self.try_hash(arena, ranges, digests) {
            Ok(()) => {
                add(&counters.batches, 1);
                add(&counters.messages, ranges.len() as u64);
                Ok(())
            }
            Err((counter, error)) => {
                add(counter, 1);
                let messages_count = ranges.len();
                self.shared.tell(&DeviceEvent::BatchFailed { error: error.clone(), messages_count });
                Err(error)
            }
        }
    }
}

impl Drop for DeviceBackend {
    fn drop(&mut self) {
        self.shared.is_ready.store(false, Ordering::Relaxed);
        self.shared.is_ended.store(true, Ordering::Relaxed);
        let old = std::mem::replace(&mut *self.shared.state.lock(), State::Ended);
        self.shared.changed.notify_all();
        drop(old);
        let Some(supervisor) = self.supervisor.take() else { return };
        let deadline = Instant::now() + END_DEADLINE;
        while !supervisor.is_finished() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
        if supervisor.is_finished() {
            let _ = supervisor.join();
        }
    }
}
