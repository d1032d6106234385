use super::{
    ids::{EntryIndex, LocationId, ReadId},
    strategy::{Run, RunSettings, SegmentMetrics, Stop, Strategy, is_time_to_tell, panic_message},
    vm::{Change, Interrupt, Scanned, View, Vm, Writes},
};
use crate::{
    cancel::DEADLINE_INTERVAL,
    parking::{drain, in_place, settled},
};
use citius_state::Ticket;
use hashbrown::HashTable;
use parking_lot::Mutex;
use std::{
    hash::BuildHasher,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Runs entry after entry on the calling thread: the obvious twin, and the faster one for small blocks.
pub struct Serial<V: Vm> {
    locals: Arc<Locals<V>>,
}

/// The state of a serial run: one current value a location.
pub(super) struct SerialView<V: Vm> {
    stream: Option<SerialStream<V>>,
    /// The memory of an earlier stream.
    spare: Option<Tables<V>>,
    reads: Vec<LocationId>,
    writes: Writes<V>,
    late_writes: Writes<V>,
    /// What the steps of the entry did that were ended, to be noted when it is committed.
    unnoted: Vec<Unnoted<V>>,
    asked: u32,
}

/// A change that is made and not noted yet.
struct Unnoted<V: Vm> {
    location: LocationId,
    before: V::Value,
    resets_children: bool,
}

pub(super) struct SerialStream<V: Vm> {
    vm: Arc<V>,
    settings: RunSettings,
    index: HashTable<u32>,
    hasher: foldhash::fast::RandomState,
    locations: Vec<Location<V>>,
    used_bytes: usize,
    pub(super) limit_bytes: usize,
    /// Counts steps: what was written or reset in which.
    stamp: u32,
    /// Reads that were waited for, and not counted yet.
    waited: AtomicU64,
}

type Locals<V> = Mutex<Vec<<V as Vm>::Local<SerialView<V>>>>;

type Tables<V> = (HashTable<u32>, Vec<Location<V>>);

pub(super) struct Location<V: Vm> {
    pub(super) key: V::Key,
    pub(super) parent: Option<LocationId>,
    pub(super) value: Option<V::Value>,
    /// The stamp of the last step that wrote the value; 0 while the base value stands.
    pub(super) written_by: u32,
    /// The stamp of the last step that reset the children; 0 if none did.
    pub(super) reset_by: u32,
    /// One past the last segment in which a change here was noted, and by which number.
    pub(super) logged_in: u32,
    pub(super) logged_at: u32,
}

struct SerialRun<V: Vm> {
    vm: Arc<V>,
    submitted: AtomicU32,
    state: Mutex<SerialState<V>>,
    stop: Mutex<Option<Stop<V>>>,
    locals: Arc<Locals<V>>,
}

struct SerialState<V: Vm> {
    local: Option<V::Local<SerialView<V>>>,
    ledger: V::Ledger,
    next: u32,
    /// Executions of the segment at hand.
    executions: u64,
    /// Those of transactions.
    transactions: u64,
    sealed: Vec<SegmentMetrics>,
    submitted_at: Vec<Instant>,
    /// How long each entry took, if anybody wants to know.
    entry_times: Option<Vec<Duration>>,
}

impl<V: Vm> Default for Serial<V> {
    fn default() -> Self {
        Self { locals: Arc::new(Mutex::new(Vec::new())) }
    }
}

impl<V: Vm> Strategy<V> for Serial<V> {
    fn name(&self) -> &'static str {
        "serial"
    }

    fn start(&self, vm: Arc<V>, settings: RunSettings) -> Arc<dyn Run<V>> {
        Arc::new(self.begin(vm, settings))
    }
}

impl<V: Vm> Serial<V> {
    fn begin(&self, vm: Arc<V>, settings: RunSettings) -> SerialRun<V> {
        let pooled = self.locals.lock().pop();
        let mut local = pooled.unwrap_or_else(|| vm.local(SerialView::new()));
        vm.rebind(&mut local);
        let spare = V::view(&mut local).spare.take();
        V::view(&mut local).stream = Some(SerialStream::new(Arc::clone(&vm), settings, spare));
        SerialRun {
            submitted: AtomicU32::new(0),
            state: Mutex::new(SerialState {
                local: Some(local),
                ledger: vm.ledger(),
                next: 0,
                executions: 0,
                transactions: 0,
                sealed: Vec::new(),
                submitted_at: Vec::new(),
                entry_times: None,
            }),
            stop: Mutex::new(None),
            locals: Arc::clone(&self.locals),
            vm,
        }
    }

    /// Runs the first `segments` segments of a stream, and tells how long each of their entries took, in order: its
    /// execution, its commit and its writes. What a segment takes besides (its seal) is left out.
    ///
    /// # Errors
    ///
    /// Why the run stopped before the end.
    pub fn entry_times(
        &self,
        vm: Arc<V>,
        settings: RunSettings,
        segments: u32,
        memory_per_segment_bytes: usize,
    ) -> Result<Vec<Duration>, Stop<V>> {
        let run = Arc::new(self.begin(vm, settings));
        run.state.lock().entry_times = Some(Vec::new());
        (0..segments).for_each(|segment| run.submit(segment, memory_per_segment_bytes));
        run.drive(&|| false);
        let times = run.state.lock().entry_times.take().unwrap_or_default();
        let stopped = run.stopped();
        run.close();
        stopped.map_or(Ok(times), Err)
    }
}

impl<V: Vm> Run<V> for SerialRun<V> {
    fn submit(&self, segment: u32, memory_bytes: usize) {
        let mut state = self.state.lock();
        if let Some(stream) = state.local.as_mut().and_then(|local| V::view(local).stream.as_mut()) {
            stream.limit_bytes = stream.limit_bytes.saturating_add(memory_bytes);
        }
        state.submitted_at.push(Instant::now());
        self.submitted.store(segment + 1, Ordering::SeqCst);
    }

    fn drive(&self, until: &dyn Fn() -> bool) {
        let mut state = self.state.lock();
        while !until() && self.stop.lock().is_none() && state.next < self.submitted.load(Ordering::SeqCst) {
            let segment = state.next;
            let result = catch_unwind(AssertUnwindSafe(|| self.run_segment(&mut state, segment)));
            match result {
                Ok(Ok(())) => state.next += 1,
                Ok(Err(stop)) => *self.stop.lock() = Some(stop),
                Err(payload) => {
                    *self.stop.lock() = Some(Stop::Panicked { message: panic_message(&*payload) });
                    // Whatever the panic left in it.
                    state.local = None;
                }
            }
        }
        drain(&*self.vm);
    }

    fn stopped(&self) -> Option<Stop<V>> {
        self.stop.lock().clone()
    }

    fn metrics(&self, segment: u32) -> SegmentMetrics {
        let state = self.state.lock();
        match state.sealed.get(segment as usize) {
            Some(metrics) => *metrics,
            None if segment == state.next => SegmentMetrics {
                executions: state.executions,
                max_in_flight: state.transactions.min(1),
                ..SegmentMetrics::default()
            },
            None => SegmentMetrics::default(),
        }
    }

    fn close(self: Arc<Self>) {
        if let Some(mut local) = self.state.lock().local.take() {
            V::unbind(&mut local);
            let view = V::view(&mut local);
            view.spare = view.stream.take().and_then(SerialStream::into_tables);
            self.locals.lock().push(local);
        }
    }
}

impl<V: Vm> SerialRun<V> {
    fn run_segment(&self, state: &mut SerialState<V>, segment: u32) -> Result<(), Stop<V>> {
        let SerialState { local, ledger, sealed, submitted_at, entry_times, .. } = state;
        let (executions, transactions) = (&mut state.executions, &mut state.transactions);
        let Some(local) = local else { panic!("a serial run lost its state to a panic") };
        let began = Instant::now();
        let (first, end) = self.vm.entries_of(segment);
        let locations_before = V::view(local).stream().locations.len();
        (*executions, *transactions) = (0, 0);
        let mut previous = began;
        let ahead =
            if self.vm.may_wait() { V::view(local).stream().settings.prefetch_entries_max } else { 0 };
        let mut prefetched = first.0;
        for index in (first.0..end.0).map(EntryIndex) {
            let until = index.0.saturating_add(ahead).min(end.0);
            if prefetched < until {
                self.vm.prefetch(prefetched..until);
                prefetched = until;
            }
            *executions += 1;
            *transactions += u64::from(self.vm.transaction_count(index));
            run_entry(&*self.vm, local, ledger, segment, index)?;
            if let Some(times) = entry_times {
                let now = Instant::now();
                times.push(now - previous);
                previous = now;
            }
        }
        tell_rest(&*self.vm, local, ledger, segment);
        let execute = began.elapsed();
        let stream = V::view(local).stream();
        let locations = (stream.locations.len() - locations_before) as u64;
        let reads_waited_for = stream.take_waited();
        let stream = &*stream;
        self.vm.seal(ledger, segment, &|id| stream.settled(id));
        let sealed_at = Instant::now();
        sealed.push(SegmentMetrics {
            executions: *executions,
            max_in_flight: (*transactions).min(1),
            locations,
            reads_waited_for,
            wall: sealed_at
                - submitted_at.get(segment as usize).map_or(began, |submitted| began.max(*submitted)),
            execute,
            commit: sealed_at - began - execute,
            sealed_at: Some(sealed_at),
            ..SegmentMetrics::default()
        });
        Ok(())
    }
}

/// Executes an entry, all before which are done, and makes its writes.
pub(super) fn run_entry<V: Vm>(
    vm: &V,
    local: &mut V::Local<SerialView<V>>,
    ledger: &mut V::Ledger,
    segment: u32,
    index: EntryIndex,
) -> Result<(), Stop<V>> {
    let refused = |refusal| Stop::Refused { segment, refusal };
    if let Some(reason) = V::view(local).stream().settings.limits.exceeded() {
        return Err(Stop::Cancelled(reason));
    }
    vm.admit(ledger, index).map_err(refused)?;
    V::view(local).begin();
    let output = match vm.execute(local, index) {
        Ok(output) => output,
        Err(Interrupt::Read(error)) => return Err(refused(vm.refuse_read(index, error))),
        Err(interrupt) => return Err(V::view(local).stream().stop_of(&interrupt)),
    };
    vm.commit(ledger, index, output).map_err(refused)?;
    V::view(local).apply_writes(segment, ledger).map_err(|interrupt| match interrupt {
        Interrupt::Read(error) => refused(vm.refuse_read(index, error)),
        interrupt => V::view(local).stream().stop_of(&interrupt),
    })?;
    if is_time_to_tell(index, vm.untold(ledger)) {
        tell_rest(vm, local, ledger, segment);
    }
    Ok(())
}

/// Tells what is not told yet.
pub(super) fn tell_rest<V: Vm>(
    vm: &V,
    local: &mut V::Local<SerialView<V>>,
    ledger: &mut V::Ledger,
    segment: u32,
) {
    if vm.untold(ledger) > 0 {
        let stream = &*V::view(local).stream();
        vm.tell(ledger, segment, &|id| stream.settled(id));
    }
}

impl<V: Vm> SerialStream<V> {
    /// Memory that a location takes.
    const BYTES_PER_LOCATION: usize = size_of::<Location<V>>() + size_of::<u32>();

    fn new(vm: Arc<V>, settings: RunSettings, spare: Option<Tables<V>>) -> Self {
        let (index, locations) = spare.unwrap_or_else(|| {
            let expected = settings.expected_locations;
            (HashTable::with_capacity(expected), Vec::with_capacity(expected))
        });
        Self {
            vm,
            index,
            hasher: foldhash::fast::RandomState::default(),
            locations,
            used_bytes: 0,
            limit_bytes: 0,
            stamp: 0,
            waited: AtomicU64::new(0),
            settings,
        }
    }

    /// A stream that goes on from these locations, which have their places as ids. `published` tells which of them are
    /// in use.
    pub(super) fn resume(
        vm: Arc<V>,
        settings: RunSettings,
        locations: Vec<Location<V>>,
        published: impl Iterator<Item = LocationId>,
        limit_bytes: usize,
    ) -> Self {
        let hasher = foldhash::fast::RandomState::default();
        let mut index = HashTable::with_capacity(2 * locations.len());
        let hash = |id: &u32| hasher.hash_one(&locations[*id as usize].key);
        for LocationId(id) in published {
            index.insert_unique(hash(&id), id, hash);
        }
        let stamps = locations.iter().map(|location| location.written_by.max(location.reset_by));
        let stamp = stamps.max().unwrap_or_default();
        let used_bytes = locations.len() * Self::BYTES_PER_LOCATION;
        let waited = AtomicU64::new(0);
        Self { vm, settings, index, hasher, locations, used_bytes, limit_bytes, stamp, waited }
    }

    /// Reads that were waited for since this was asked last.
    pub(super) fn take_waited(&mut self) -> u64 {
        std::mem::take(self.waited.get_mut())
    }

    /// How many locations there are.
    pub(super) fn len(&self) -> usize {
        self.locations.len()
    }

    /// The tables, emptied, if they are worth keeping.
    fn into_tables(self) -> Option<Tables<V>> {
        if self.locations.len() > super::KEPT_LOCATIONS_MAX as usize {
            return None;
        }
        let (mut index, mut locations) = (self.index, self.locations);
        index.clear();
        locations.clear();
        Some((index, locations))
    }

    fn locate(&mut self, key: V::Key, parent: Option<LocationId>) -> Result<LocationId, Interrupt<V>> {
        let Self { index, hasher, locations, .. } = self;
        let hash = hasher.hash_one(&key);
        let found = index.entry(
            hash,
            |id| locations[*id as usize].key == key,
            |id| hasher.hash_one(&locations[*id as usize].key),
        );
        let entry = match found {
            hashbrown::hash_table::Entry::Occupied(entry) => return Ok(LocationId(*entry.get())),
            hashbrown::hash_table::Entry::Vacant(entry) => entry,
        };
        let id = locations.len() as u32;
        entry.insert(id);
        locations.push(Location::new(key, parent));
        self.used_bytes += Self::BYTES_PER_LOCATION;
        if self.used_bytes > self.limit_bytes { Err(Interrupt::MemoryLimit) } else { Ok(LocationId(id)) }
    }

    /// The current value of a location.
    fn value(&mut self, id: LocationId) -> Result<&mut V::Value, Interrupt<V>> {
        let Location { parent, written_by, .. } = &self.locations[id.0 as usize];
        let reset_by = parent.map_or(0, |parent| self.locations[parent.0 as usize].reset_by);
        if *written_by < reset_by {
            let location = &mut self.locations[id.0 as usize];
            location.value = Some(V::value_after_reset(&location.key));
            location.written_by = reset_by;
        } else if self.locations[id.0 as usize].value.is_none() {
            let location = &self.locations[id.0 as usize];
            let parent = location.parent.map(|parent| &self.locations[parent.0 as usize].key);
            let limits = &self.settings.limits;
            let ask = || self.vm.base_value(&location.key, parent);
            let value = settled(&*self.vm, &self.waited, || limits.exceeded().is_some(), ask)?;
            self.locations[id.0 as usize].value = Some(value);
        }
        let Some(value) = &mut self.locations[id.0 as usize].value else { unreachable!("set right above") };
        Ok(value)
    }

    /// Key and value of a location that was read or written.
    pub(super) fn settled(&self, id: LocationId) -> (V::Key, V::Value) {
        let location = &self.locations[id.0 as usize];
        let reset_by = location.parent.map_or(0, |parent| self.locations[parent.0 as usize].reset_by);
        let value = match &location.value {
            Some(value) if location.written_by >= reset_by => value.clone(),
            _ => V::value_after_reset(&location.key),
        };
        (location.key.clone(), value)
    }

    fn stop_of(&self, interrupt: &Interrupt<V>) -> Stop<V> {
        match interrupt {
            Interrupt::MemoryLimit => Stop::MemoryLimit { limit_bytes: self.limit_bytes },
            Interrupt::Cancelled => {
                Stop::Cancelled(self.settings.limits.exceeded().unwrap_or(crate::CancelReason::Token))
            }
            Interrupt::Blocked(_)
            | Interrupt::Stale
            | Interrupt::Read(_)
            | Interrupt::Pending(_)
            | Interrupt::Panicked { .. } => {
                panic!("a serial execution is never interrupted by {interrupt:?}")
            }
        }
    }
}

impl<V: Vm> SerialView<V> {
    pub(super) fn new() -> Self {
        Self {
            stream: None,
            spare: None,
            reads: Vec::new(),
            writes: Vec::new(),
            late_writes: Vec::new(),
            unnoted: Vec::new(),
            asked: 0,
        }
    }

    fn begin(&mut self) {
        self.reads.clear();
        self.writes.clear();
        self.late_writes.clear();
        self.unnoted.clear();
        self.stream().stamp += 1;
    }

    /// Turns the view to a stream, and gives the one before.
    pub(super) fn turn_to(&mut self, stream: Option<SerialStream<V>>) -> Option<SerialStream<V>> {
        std::mem::replace(&mut self.stream, stream)
    }

    pub(super) fn stream(&mut self) -> &mut SerialStream<V> {
        let Some(stream) = &mut self.stream else { panic!("a view has a stream while it executes") };
        stream
    }

    fn apply_writes(&mut self, segment: u32, ledger: &mut V::Ledger) -> Result<(), Interrupt<V>> {
        self.note_steps(segment, ledger);
        let Self { stream, writes, late_writes, .. } = self;
        let Some(stream) = stream else { panic!("a view has a stream while it executes") };
        for (id, write) in writes.drain(..).chain(late_writes.drain(..)) {
            stream.value(id)?;
            let resets_children = V::resets_children(&write);
            let location = &mut stream.locations[id.0 as usize];
            location.stamp(stream.stamp, resets_children);
            let Location { key, parent, value: Some(after), .. } = location else {
                unreachable!("looked up right above")
            };
            if location.logged_in == segment + 1 {
                V::apply(after, &write);
                stream.vm.note_again(ledger, location.logged_at, after, resets_children);
                continue;
            }
            let before = after.clone();
            V::apply(after, &write);
            let (parent, before) = (*parent, &before);
            let change = Change { location: id, key, parent, before, after, resets_children };
            let number = stream.vm.note_change(ledger, change);
            (location.logged_in, location.logged_at) = (segment + 1, number);
        }
        Ok(())
    }
}

impl<V: Vm> SerialView<V> {
    /// Notes what the steps did that were ended. What stands at their locations now is what they left, and whatever is
    /// still to be written notes it once more.
    fn note_steps(&mut self, segment: u32, ledger: &mut V::Ledger) {
        let Self { stream, unnoted, .. } = self;
        let Some(stream) = stream else { panic!("a view has a stream while it executes") };
        for Unnoted { location: id, before, resets_children } in unnoted.drain(..) {
            let location = &mut stream.locations[id.0 as usize];
            let Location { key, parent, value: Some(after), .. } = location else {
                unreachable!("a step changed it")
            };
            if location.logged_in == segment + 1 {
                stream.vm.note_again(ledger, location.logged_at, after, resets_children);
                continue;
            }
            let change =
                Change { location: id, key, parent: *parent, before: &before, after, resets_children };
            let number = stream.vm.note_change(ledger, change);
            (location.logged_in, location.logged_at) = (segment + 1, number);
        }
    }
}

impl<V: Vm> Location<V> {
    pub(super) fn new(key: V::Key, parent: Option<LocationId>) -> Self {
        Self { key, parent, value: None, written_by: 0, reset_by: 0, logged_in: 0, logged_at: 0 }
    }

    /// A step writes here.
    fn stamp(&mut self, stamp: u32, resets_children: bool) {
        self.written_by = stamp;
        if resets_children {
            self.reset_by = stamp;
        }
    }
}

impl<V: Vm> View<V> for SerialView<V> {
    const OBSERVES: bool = false;

    fn read(&mut self, key: V::Key, parent: Option<LocationId>) -> Result<(ReadId, V::Value), Interrupt<V>> {
        self.asked = self.asked.wrapping_add(1);
        let looks_at_clock = self.asked.is_multiple_of(DEADLINE_INTERVAL);
        let limits = &self.stream().settings.limits;
        if limits.token.is_cancelled() || (looks_at_clock && limits.exceeded().is_some()) {
            return Err(Interrupt::Cancelled);
        }
        let stream = self.stream();
        let location = stream.locate(key, parent)?;
        let value = stream.value(location)?.clone();
        let id = ReadId(self.reads.len() as u32);
        self.reads.push(location);
        Ok((id, value))
    }

    fn observe(&mut self, _read: ReadId, _observation: V::Observation) {}

    fn location(&self, read: ReadId) -> LocationId {
        self.reads[read.0 as usize]
    }

    fn scan(&mut self, range: V::Range) -> Result<Scanned<V>, Interrupt<V>> {
        let stream = self.stream();
        for key in stream.vm.base_range(&range).map_err(Interrupt::Read)? {
            stream.locate(key, None)?;
        }
        let mut seen = Vec::new();
        // Not all places need be in use.
        let places: Vec<u32> = stream.index.iter().copied().collect();
        for id in places {
            let key = stream.locations[id as usize].key.clone();
            if V::in_range(&range, &key) {
                let value = stream.value(LocationId(id))?.clone();
                if V::is_visible(&value) {
                    seen.push((key, value));
                }
            }
        }
        Ok(seen)
    }

    fn locate(&mut self, key: V::Key, parent: Option<LocationId>) -> Result<LocationId, Interrupt<V>> {
        self.stream().locate(key, parent)
    }

    fn write(&mut self, location: LocationId, write: V::Write) {
        self.writes.push((location, write));
    }

    fn write_late(&mut self, location: LocationId, write: V::Write) {
        self.late_writes.push((location, write));
    }

    fn end_step(&mut self) -> Result<(), Interrupt<V>> {
        let Self { stream, writes, late_writes, unnoted, .. } = self;
        let Some(stream) = stream else { panic!("a view has a stream while it executes") };
        for (location, write) in writes.drain(..).chain(late_writes.drain(..)) {
            let value = stream.value(location)?;
            let before = value.clone();
            V::apply(value, &write);
            let resets_children = V::resets_children(&write);
            stream.locations[location.0 as usize].stamp(stream.stamp, resets_children);
            unnoted.push(Unnoted { location, before, resets_children });
        }
        stream.stamp += 1;
        Ok(())
    }

    fn wait(&mut self, ticket: &Ticket) -> Result<(), Interrupt<V>> {
        let SerialStream { vm, settings, waited, .. } = &*self.stream();
        let is_over = || settings.limits.exceeded().is_some();
        in_place(&**vm, ticket, waited, || if is_over() { Err(Interrupt::Cancelled) } else { Ok(()) })
    }

    fn is_final(&self) -> bool {
        true
    }

    fn is_cancelled(&self) -> bool {
        let Some(stream) = &self.stream else { return true };
        stream.settings.limits.exceeded().is_some()
    }
}
