use super::{
    ids::{EntryIndex, LocationId, ReadId},
    memory::{Read, Scan, Shares},
    optimistic::Core,
    own::{Own, OwnWrites},
    vm::{Interrupt, Scanned, View, Vm, Writes},
};
use crate::{
    cancel::DEADLINE_INTERVAL,
    parking::{Wake, in_place, park},
};
use citius_state::Ticket;
use std::sync::Arc;

/// What a speculative execution sees: the multi-version memory at one entry's place.
pub(crate) struct SpeculativeView<V: Vm> {
    core: Option<Arc<Core<V>>>,
    entry: EntryIndex,
    /// The frontier when the execution began: readers below it need not be remembered.
    frontier: u32,
    /// Locations that this execution made and that are not accounted for yet.
    new_locations: usize,
    /// Of the run's memory.
    pub(crate) shares: Shares,
    pub(crate) reads: Vec<Read<V>>,
    pub(crate) scans: Vec<Scan<V>>,
    pub(crate) writes: Writes<V>,
    pub(crate) late_writes: Writes<V>,
    /// What earlier steps of the execution wrote.
    own: OwnWrites<V>,
    /// What the execution predicted is not what it wrote itself: its result can not stand.
    pub(crate) is_contradicted: bool,
    /// Something was written that the execution may have read: not all of its reads were looked at since.
    pub(crate) is_suspect: bool,
    asked: u32,
}

/// New locations of one execution between two looks at the memory budget.
const LOCATIONS_UNCOUNTED_MAX: usize = 32;

const DETACHED: &str = "a view is attached while it executes";

impl<V: Vm> SpeculativeView<V> {
    pub(crate) fn new() -> Self {
        Self {
            core: None,
            entry: EntryIndex(0),
            frontier: 0,
            new_locations: 0,
            shares: Shares::default(),
            reads: Vec::new(),
            scans: Vec::new(),
            writes: Vec::new(),
            late_writes: Vec::new(),
            own: OwnWrites::new(),
            is_contradicted: false,
            is_suspect: false,
            asked: 0,
        }
    }

    /// Turns the view to a run, or away from all runs.
    pub(crate) fn attach(&mut self, core: Option<Arc<Core<V>>>) {
        self.core = core;
        self.shares = Shares::default();
    }

    /// Clears the view for one execution.
    pub(crate) fn begin(&mut self, entry: EntryIndex, frontier: u32) {
        self.entry = entry;
        self.frontier = frontier;
        self.new_locations = 0;
        self.reads.clear();
        self.scans.clear();
        self.writes.clear();
        self.late_writes.clear();
        self.own.clear();
        self.is_contradicted = false;
        self.is_suspect = false;
    }

    /// Ends the execution: `writes` and `late_writes` are then all that it wrote.
    pub(crate) fn finish(&mut self) {
        if !self.own.is_empty() {
            self.own.take(&mut self.writes, &mut self.late_writes);
        }
    }

    /// Accounts for a location now and then: the counter is shared.
    fn count_location(&mut self, is_new: bool) -> Result<(), Interrupt<V>> {
        self.new_locations += usize::from(is_new);
        if self.new_locations < LOCATIONS_UNCOUNTED_MAX {
            return Ok(());
        }
        let count = std::mem::take(&mut self.new_locations);
        self.core().memory.charge_locations(count)
    }

    /// Locations that are still to be accounted for.
    pub(crate) fn take_new_locations(&mut self) -> usize {
        std::mem::take(&mut self.new_locations)
    }

    /// Memory that reads and writes will hold until the entry is committed, in bytes.
    pub(crate) fn used_bytes(&self) -> usize {
        let writes = [&self.writes, &self.late_writes].map(|writes| {
            let heap = writes.iter().map(|(_, write)| V::heap_bytes_of_write(write)).sum::<usize>();
            heap + size_of_val(&**writes)
        });
        let seen = self.scans.iter().map(|scan| size_of_val(&*scan.seen)).sum::<usize>();
        writes.iter().sum::<usize>() + seen + size_of_val(&*self.reads)
    }

    fn stop_if_cancelled(&mut self) -> Result<(), Interrupt<V>> {
        self.asked = self.asked.wrapping_add(1);
        let sign = &self.core().stop_sign;
        let looks_at_clock = self.asked.is_multiple_of(DEADLINE_INTERVAL);
        if sign.is_set() || (looks_at_clock && sign.should_stop()) {
            Err(Interrupt::Cancelled)
        } else {
            Ok(())
        }
    }

    /// Ends an execution that is bound to be thrown away. A long one would be in vain for long.
    #[inline]
    fn stop_if_stale(&mut self) -> Result<(), Interrupt<V>> {
        if self.core().entry(self.entry).is_suspect() { self.look_at_reads() } else { Ok(()) }
    }

    #[cold]
    fn look_at_reads(&mut self) -> Result<(), Interrupt<V>> {
        // What comes after this is told anew. What was not observed yet is left to the end.
        self.core().entry(self.entry).clear_suspect();
        self.is_suspect = true;
        let core = self.core();
        let stands = !self.is_contradicted && self.reads.iter().all(|read| core.may_stand(self.entry, read));
        if stands { Ok(()) } else { Err(Interrupt::Stale) }
    }

    /// The value before the execution.
    fn value(&mut self, location: LocationId) -> Result<V::Value, Interrupt<V>> {
        // A final execution cannot be invalidated: it needs no marks.
        if !self.is_final() {
            self.core().entry(self.entry).marks.add(location);
        }
        self.wait_for(|core, entry| core.memory.read(&core.vm, location, entry))
    }

    /// What a question gives in the end: waits where the answer is on its way.
    fn wait_for<T>(
        &mut self,
        question: impl Fn(&Core<V>, EntryIndex) -> Result<T, Interrupt<V>>,
    ) -> Result<T, Interrupt<V>> {
        loop {
            match question(self.core(), self.entry) {
                Err(Interrupt::Pending(ticket)) => self.wait(&ticket)?,
                answer => return answer,
            }
        }
    }

    /// Whether a wait should go on.
    fn look_up(&mut self) -> Result<(), Interrupt<V>> {
        if self.core().stop_sign.should_stop() {
            return Err(Interrupt::Cancelled);
        }
        self.stop_if_stale()
    }

    fn intern(&mut self, key: &V::Key, parent: Option<LocationId>) -> (LocationId, bool) {
        let Some(core) = &self.core else { panic!("{DETACHED}") };
        core.memory.table.intern(key, parent, &mut self.shares.locations)
    }

    fn core(&self) -> &Core<V> {
        let Some(core) = &self.core else { panic!("{DETACHED}") };
        core
    }
}

impl<V: Vm> View<V> for SpeculativeView<V> {
    const OBSERVES: bool = true;

    fn read(&mut self, key: V::Key, parent: Option<LocationId>) -> Result<(ReadId, V::Value), Interrupt<V>> {
        self.stop_if_cancelled()?;
        self.stop_if_stale()?;
        let (location, is_new) = self.intern(&key, parent);
        let id = ReadId(self.reads.len() as u32);
        let value = if self.own.is_empty() {
            self.value(location)?
        } else {
            let decided = match self.own.of(&key, location, parent) {
                Own::Untouched | Own::Changed(_) => None,
                Own::Decided(value) => Some(value),
            };
            match decided {
                Some(value) => value,
                None => {
                    let start = self.value(location)?;
                    if let Own::Changed(changes) = self.own.of(&key, location, parent) {
                        let mut value = start.clone();
                        changes.iter().for_each(|write| V::apply(&mut value, write));
                        self.own.shadow(id, start);
                        value
                    } else {
                        start
                    }
                }
            }
        };
        if let Some(fuzz) = &self.core().settings.fuzz {
            fuzz.after_read(self.entry);
        }
        self.count_location(is_new)?;
        self.reads.push(Read { location, observation: None });
        Ok((id, value))
    }

    fn observe(&mut self, read: ReadId, observation: V::Observation) {
        let location = self.reads[read.0 as usize].location;
        let observation = if self.own.is_empty() {
            Some(observation)
        } else {
            let entry = self.core().memory.table.get(location);
            match self.own.of(&entry.key, location, entry.parent) {
                Own::Untouched => Some(observation),
                Own::Decided(value) => {
                    self.is_contradicted |= !V::holds(&observation, &value);
                    None
                }
                Own::Changed(changes) => {
                    let Some(start) = self.own.start_of(read) else {
                        unreachable!("a read under own writes is remembered")
                    };
                    let before = V::before(observation, start, changes.iter());
                    self.is_contradicted |= before.is_none();
                    before
                }
            }
        };
        self.reads[read.0 as usize].observation = observation;
    }

    fn location(&self, read: ReadId) -> LocationId {
        self.reads[read.0 as usize].location
    }

    fn scan(&mut self, range: V::Range) -> Result<Scanned<V>, Interrupt<V>> {
        let core = self.core();
        // First the mark, then the look: a write that the look misses finds the mark.
        core.memory.add_range_reader(range.clone(), self.entry, core.frontier());
        let seen = self.wait_for(|core, entry| core.memory.scan(&core.vm, &range, entry))?;
        self.scans.push(Scan { range, seen: seen.clone() });
        Ok(seen)
    }

    fn locate(&mut self, key: V::Key, parent: Option<LocationId>) -> Result<LocationId, Interrupt<V>> {
        let (location, is_new) = self.intern(&key, parent);
        self.count_location(is_new)?;
        Ok(location)
    }

    fn write(&mut self, location: LocationId, write: V::Write) {
        self.writes.push((location, write));
    }

    fn write_late(&mut self, location: LocationId, write: V::Write) {
        self.late_writes.push((location, write));
    }

    fn end_step(&mut self) -> Result<(), Interrupt<V>> {
        self.own.note_resets(&self.writes);
        for place in 0..self.writes.len() + self.late_writes.len() {
            let late = place.checked_sub(self.writes.len());
            let location = late.map_or_else(|| self.writes[place].0, |late| self.late_writes[late].0);
            // What the execution itself has reset it does not go on from.
            if !self.own.has_reset(self.core().memory.table.get(location).parent) {
                self.wait_for(|core, entry| core.memory.ensure_start(&core.vm, location, entry))?;
            }
        }
        let Self { core: Some(core), writes, late_writes, own, .. } = self else { panic!("{DETACHED}") };
        own.add(writes, late_writes, |location| core.memory.table.get(location).parent);
        Ok(())
    }

    fn wait(&mut self, ticket: &Ticket) -> Result<(), Interrupt<V>> {
        while !ticket.is_complete() {
            match park(ticket) {
                Some(Wake::GoOn) => self.look_up()?,
                Some(Wake::End) => return Err(Interrupt::Cancelled),
                None => {
                    let core = Arc::clone(self.core.as_ref().unwrap_or_else(|| panic!("{DETACHED}")));
                    return in_place(&*core.vm, ticket, &core.memory.waited, || self.look_up());
                }
            }
        }
        self.look_up()
    }

    fn is_final(&self) -> bool {
        self.frontier == self.entry.0
    }

    fn is_cancelled(&self) -> bool {
        self.core().stop_sign.should_stop()
    }
}
