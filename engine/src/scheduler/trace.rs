use super::{
    ids::{EntryIndex, LocationId, ReadId},
    strategy::Stop,
    vm::{Change, Interrupt, Scanned, View, Vm, Writes},
};
use crate::parking::{in_place, settled};
use citius_state::Ticket;
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, atomic::AtomicU64},
};

/// Runs the segments of a stream in order, and tells which earlier entries of its segment each entry needs.
///
/// A dependency is one of what was learnt, not of what was touched. For each observation the entries that it needs
/// are found by walking back through the location's writes, from the newest before the reader to the segment's first:
/// a write is needed if the observation does not hold with everything before that write and, on top, the needed ones
/// after it. So a slot's exact value needs the last write that changed it (and nothing before, since that write is
/// absolute), a write of an equal value is needed by nobody, and a balance that two relative writes filled up needs
/// both. Entries that only those need are not listed: they follow by going on from entry to entry.
///
/// With the needed writes alone, on top of what stood before the segment, all observations hold. This is no promise
/// for every larger set of entries: a debit among what the needed ones need in turn can use up a balance that a
/// payment, which nobody needs while the debit is left out, fills up again.
///
/// This is for looking at a stream, not for speed: one thread, plain tables, no limits, and the writes of a segment
/// are all kept until its end.
pub struct Tracer<V: Vm> {
    vm: Arc<V>,
    local: V::Local<TracingView<V>>,
    ledger: V::Ledger,
}

/// What an entry needs of its segment. Both lists ascend, without repetitions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// The entries without whose writes something that the entry learnt would not hold.
    pub entries: Vec<EntryIndex>,
    /// The same where what the order of entries tells beforehand is not looked at ([`Vm::holds_but_for_order`]).
    pub but_for_order: Vec<EntryIndex>,
}

/// The state of a traced run: every value that a location had in the segment.
struct TracingView<V: Vm> {
    vm: Arc<V>,
    ids: HashMap<V::Key, LocationId>,
    locations: Vec<Location<V>>,
    reads: Vec<Read<V>>,
    writes: Writes<V>,
    late_writes: Writes<V>,
    /// The locations that the segment wrote, each with the value before its first write.
    log: Vec<(LocationId, V::Value)>,
    /// Reads that were waited for.
    waited: AtomicU64,
}

struct Location<V: Vm> {
    key: V::Key,
    parent: Option<LocationId>,
    children: Vec<LocationId>,
    /// Some earlier segment reset the children: what the state before the stream says of one counts no more.
    children_were_reset: bool,
    /// The value before the segment, if anybody asked.
    before: Option<V::Value>,
    /// What the segment did to the location, in order; one event an entry.
    history: Vec<Event<V>>,
}

/// What one entry did to a location: its parent was reset, then it was written, or one of the two.
struct Event<V: Vm> {
    entry: EntryIndex,
    is_reset: bool,
    write: Option<V::Write>,
    /// The value then.
    after: V::Value,
}

struct Read<V: Vm> {
    location: LocationId,
    seen: Seen<V>,
}

/// What an entry learnt of a value that it read.
enum Seen<V: Vm> {
    Nothing,
    Observed(V::Observation),
    /// A scan showed the value, or that there is none to show.
    Scanned(V::Value),
}

impl<V: Vm> std::fmt::Debug for Tracer<V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tracer").field("vm", &self.vm).finish_non_exhaustive()
    }
}

impl<V: Vm> Tracer<V> {
    /// A traced run of a stream, before its first segment.
    #[must_use]
    pub fn new(vm: Arc<V>) -> Self {
        let mut local = vm.local(TracingView::new(Arc::clone(&vm)));
        vm.rebind(&mut local);
        let ledger = vm.ledger();
        Self { vm, local, ledger }
    }

    /// Executes and seals the next segment. One [`Needs`] an entry, in order.
    ///
    /// # Errors
    ///
    /// [`Stop::Refused`]; the run is then at its end.
    pub fn run_segment(&mut self, segment: u32) -> Result<Vec<Needs>, Stop<V>> {
        let (first, end) = self.vm.entries_of(segment);
        let refused = |refusal| Stop::Refused { segment, refusal };
        let entries = (first.0..end.0).map(EntryIndex);
        let needs = entries.map(|entry| self.run_entry(entry).map_err(refused)).collect::<Result<_, _>>()?;
        let view = V::view(&mut self.local);
        view.note_changes(&self.vm, &mut self.ledger);
        self.vm.seal(&mut self.ledger, segment, &|id| view.settled(id));
        view.end_segment();
        Ok(needs)
    }

    fn run_entry(&mut self, entry: EntryIndex) -> Result<Needs, V::Refusal> {
        let Self { vm, local, ledger } = self;
        let refusal = |interrupt| match interrupt {
            Interrupt::Read(error) => vm.refuse_read(entry, error),
            interrupt => panic!("a traced execution is never interrupted by {interrupt:?}"),
        };
        vm.admit(ledger, entry)?;
        V::view(local).begin();
        let output = vm.execute(local, entry).map_err(refusal)?;
        let needs = V::view(local).needs(entry);
        vm.commit(ledger, entry, output)?;
        V::view(local).apply_writes(entry).map_err(refusal)?;
        Ok(needs)
    }
}

impl<V: Vm> TracingView<V> {
    fn new(vm: Arc<V>) -> Self {
        Self {
            vm,
            ids: HashMap::new(),
            locations: Vec::new(),
            reads: Vec::new(),
            writes: Vec::new(),
            late_writes: Vec::new(),
            log: Vec::new(),
            waited: AtomicU64::new(0),
        }
    }

    fn begin(&mut self) {
        self.reads.clear();
        self.writes.clear();
        self.late_writes.clear();
    }

    fn at(&self, id: LocationId) -> &Location<V> {
        &self.locations[id.0 as usize]
    }

    fn at_mut(&mut self, id: LocationId) -> &mut Location<V> {
        &mut self.locations[id.0 as usize]
    }

    fn intern(&mut self, key: V::Key, parent: Option<LocationId>) -> LocationId {
        if let Some(id) = self.ids.get(&key) {
            return *id;
        }
        let id = LocationId(self.locations.len() as u32);
        let mut location = Location::new(key.clone(), parent);
        if let Some(parent) = parent {
            let parent = self.at_mut(parent);
            parent.children.push(id);
            location.before = parent.children_were_reset.then(|| V::value_after_reset(&key));
            parent.resets().for_each(|entry| location.reset(entry));
        }
        self.ids.insert(key, id);
        self.locations.push(location);
        id
    }

    /// The current value of a location.
    fn value(&mut self, id: LocationId) -> Result<&V::Value, Interrupt<V>> {
        if self.at(id).value().is_none() {
            let Location { key, parent, .. } = self.at(id);
            let parent = parent.map(|parent| &self.at(parent).key);
            let ask = || self.vm.base_value(key, parent);
            let value = settled(&*self.vm, &self.waited, || false, ask)?;
            self.at_mut(id).before = Some(value);
        }
        let Some(value) = self.at(id).value() else { unreachable!("set right above") };
        Ok(value)
    }

    /// The entries that the execution at hand needs.
    fn needs(&self, entry: EntryIndex) -> Needs {
        let needed = |is_order_seen: bool| {
            let mut entries = BTreeSet::new();
            for Read { location, seen } in &self.reads {
                let location = self.at(*location);
                location.needed(&mut entries, |value| match seen {
                    Seen::Nothing => true,
                    Seen::Observed(seen) if is_order_seen => V::holds(seen, value),
                    Seen::Observed(seen) => self.vm.holds_but_for_order(entry, &location.key, seen, value),
                    Seen::Scanned(then) if V::is_visible(then) => value == then,
                    Seen::Scanned(_) => !V::is_visible(value),
                });
            }
            entries.into_iter().collect()
        };
        Needs { entries: needed(true), but_for_order: needed(false) }
    }

    /// Applies what the entry wrote. Parents come before their children.
    fn apply_writes(&mut self, entry: EntryIndex) -> Result<(), Interrupt<V>> {
        let late = std::mem::take(&mut self.late_writes);
        for (id, write) in std::mem::take(&mut self.writes).into_iter().chain(late) {
            let before = self.value(id)?.clone();
            let resets_children = V::resets_children(&write);
            let location = self.at_mut(id);
            let is_first = location.history.iter().all(|event| event.write.is_none());
            location.write(entry, write, before.clone());
            if resets_children {
                for child in location.children.clone() {
                    self.at_mut(child).reset(entry);
                }
            }
            if is_first {
                self.log.push((id, before));
            }
        }
        Ok(())
    }

    fn note_changes(&mut self, vm: &V, ledger: &mut V::Ledger) {
        for (id, before) in std::mem::take(&mut self.log) {
            let location = self.at(id);
            let (key, after) = self.settled(id);
            let resets_children = location.resets().next().is_some();
            let (key, parent) = (&key, location.parent);
            let change =
                Change { location: id, key, parent, before: &before, after: &after, resets_children };
            vm.note_change(ledger, change);
        }
    }

    /// Key and value of a location that was read or written.
    fn settled(&self, id: LocationId) -> (V::Key, V::Value) {
        let location = self.at(id);
        let value = location.value().cloned().unwrap_or_else(|| V::value_after_reset(&location.key));
        (location.key.clone(), value)
    }

    /// What stands now is what stood before the next segment.
    fn end_segment(&mut self) {
        for location in &mut self.locations {
            if location.resets().next().is_some() {
                location.children_were_reset = true;
            }
            if let Some(last) = location.history.drain(..).next_back() {
                location.before = Some(last.after);
            }
        }
    }
}

impl<V: Vm> Location<V> {
    fn new(key: V::Key, parent: Option<LocationId>) -> Self {
        Self {
            key,
            parent,
            children: Vec::new(),
            children_were_reset: false,
            before: None,
            history: Vec::new(),
        }
    }

    /// The value now; `None` if nobody asked for the one before the segment and nothing was done to it.
    fn value(&self) -> Option<&V::Value> {
        self.value_before(self.history.len())
    }

    /// The value before the event at `position` of the history.
    fn value_before(&self, position: usize) -> Option<&V::Value> {
        match position.checked_sub(1) {
            Some(last) => Some(&self.history[last].after),
            None => self.before.as_ref(),
        }
    }

    /// The entries that reset the children.
    fn resets(&self) -> impl Iterator<Item = EntryIndex> {
        let resets = |event: &&Event<V>| event.write.as_ref().is_some_and(V::resets_children);
        self.history.iter().filter(resets).map(|event| event.entry)
    }

    /// An entry reset the parent.
    fn reset(&mut self, entry: EntryIndex) {
        let after = V::value_after_reset(&self.key);
        self.history.push(Event { entry, is_reset: true, write: None, after });
    }

    /// An entry wrote the location, on top of its value.
    fn write(&mut self, entry: EntryIndex, write: V::Write, value: V::Value) {
        let mut after = value;
        V::apply(&mut after, &write);
        match self.history.last_mut() {
            Some(event) if event.entry == entry => {
                event.after = after;
                match &mut event.write {
                    Some(first) => V::merge(first, write),
                    none => *none = Some(write),
                }
            }
            _ => self.history.push(Event { entry, is_reset: false, write: Some(write), after }),
        }
    }

    /// Adds the entries that an observation of the current value needs. Where nobody asked for the value before the
    /// segment, a reset was the first event: it counts as needed, and the question is not asked for its sake.
    fn needed(&self, entries: &mut BTreeSet<EntryIndex>, holds: impl Fn(&V::Value) -> bool) {
        // The newest first.
        let mut needed: Vec<&Event<V>> = Vec::new();
        for (position, event) in self.history.iter().enumerate().rev() {
            let is_needed = match self.value_before(position) {
                Some(before) if needed.is_empty() => !holds(before),
                Some(before) => !holds(&self.with(before, &needed)),
                None => true,
            };
            if is_needed {
                entries.insert(event.entry);
                needed.push(event);
            }
            if is_needed && event.is_absolute() {
                return;
            }
        }
    }

    /// A value with some events on top, which come in reverse.
    fn with(&self, value: &V::Value, newest_first: &[&Event<V>]) -> V::Value {
        let mut value = value.clone();
        for event in newest_first.iter().rev() {
            if event.is_reset {
                value = V::value_after_reset(&self.key);
            }
            if let Some(write) = &event.write {
                V::apply(&mut value, write);
            }
        }
        value
    }
}

impl<V: Vm> Event<V> {
    /// Whether the value after it is the same whatever stood before.
    fn is_absolute(&self) -> bool {
        self.is_reset || self.write.as_ref().is_some_and(V::is_absolute)
    }
}

impl<V: Vm> View<V> for TracingView<V> {
    const OBSERVES: bool = true;

    fn read(&mut self, key: V::Key, parent: Option<LocationId>) -> Result<(ReadId, V::Value), Interrupt<V>> {
        let location = self.intern(key, parent);
        let value = self.value(location)?.clone();
        let id = ReadId(self.reads.len() as u32);
        self.reads.push(Read { location, seen: Seen::Nothing });
        Ok((id, value))
    }

    fn observe(&mut self, read: ReadId, observation: V::Observation) {
        self.reads[read.0 as usize].seen = Seen::Observed(observation);
    }

    fn location(&self, read: ReadId) -> LocationId {
        self.reads[read.0 as usize].location
    }

    fn scan(&mut self, range: V::Range) -> Result<Scanned<V>, Interrupt<V>> {
        for key in self.vm.base_range(&range).map_err(Interrupt::Read)? {
            self.intern(key, None);
        }
        let mut shown = Vec::new();
        for location in (0..self.locations.len() as u32).map(LocationId) {
            let key = self.at(location).key.clone();
            if !V::in_range(&range, &key) {
                continue;
            }
            let value = self.value(location)?.clone();
            self.reads.push(Read { location, seen: Seen::Scanned(value.clone()) });
            if V::is_visible(&value) {
                shown.push((key, value));
            }
        }
        Ok(shown)
    }

    fn locate(&mut self, key: V::Key, parent: Option<LocationId>) -> Result<LocationId, Interrupt<V>> {
        Ok(self.intern(key, parent))
    }

    fn write(&mut self, location: LocationId, write: V::Write) {
        self.writes.push((location, write));
    }

    fn write_late(&mut self, location: LocationId, write: V::Write) {
        self.late_writes.push((location, write));
    }

    fn end_step(&mut self) -> Result<(), Interrupt<V>> {
        panic!("a traced entry has one step")
    }

    fn wait(&mut self, ticket: &Ticket) -> Result<(), Interrupt<V>> {
        in_place(&*self.vm, ticket, &self.waited, || Ok(()))
    }

    fn is_final(&self) -> bool {
        true
    }

    fn is_cancelled(&self) -> bool {
        false
    }
}
