use super::{
    ids::{EntryIndex, LocationId, ReadId},
    memory::{Read, Scan},
    optimistic::Core,
    vm::{Interrupt, Scanned, View, Vm},
};
use std::{cell::Cell, sync::Arc};

/// What a speculative execution sees: the multi-version memory at one entry's place.
pub(crate) struct SpeculativeView<V: Vm> {
    core: Option<Arc<Core<V>>>,
    entry: EntryIndex,
    is_final: bool,
    pub(crate) reads: Vec<Read<V>>,
    pub(crate) scans: Vec<Scan<V>>,
    pub(crate) writes: Vec<(LocationId, V::Write)>,
    asked: Cell<u32>,
}

/// How many questions whether to stop go by between two looks at the clock.
const DEADLINE_INTERVAL: u32 = 256;

impl<V: Vm> SpeculativeView<V> {
    pub(crate) fn new() -> Self {
        Self {
            core: None,
            entry: EntryIndex(0),
            is_final: false,
            reads: Vec::new(),
            scans: Vec::new(),
            writes: Vec::new(),
            asked: Cell::new(0),
        }
    }

    /// Turns the view to a run, or away from all runs.
    pub(crate) fn attach(&mut self, core: Option<Arc<Core<V>>>) {
        self.core = core;
    }

    /// Turns the view away from its run, and returns that.
    pub(crate) fn detach(&mut self) -> Option<Arc<Core<V>>> {
        self.core.take()
    }

    /// Clears the view for one execution.
    pub(crate) fn begin(&mut self, entry: EntryIndex, is_final: bool) {
        self.entry = entry;
        self.is_final = is_final;
        self.reads.clear();
        self.scans.clear();
        self.writes.clear();
    }

    fn core(&self) -> &Core<V> {
        let Some(core) = &self.core else { panic!("a view is attached while it executes") };
        core
    }
}

impl<V: Vm> View<V> for SpeculativeView<V> {
    const OBSERVES: bool = true;

    fn read(&mut self, key: V::Key, parent: Option<LocationId>) -> Result<(ReadId, V::Value), Interrupt<V>> {
        let core = self.core();
        if self.is_cancelled() {
            return Err(Interrupt::Cancelled);
        }
        let location = core.memory.locate(&key, parent)?;
        // A final execution cannot be invalidated: it needs no reader's mark.
        let register = (!self.is_final).then(|| core.frontier());
        let value = core.memory.read(&core.vm, location, self.entry, register)?;
        if let Some(fuzz) = &core.settings.fuzz {
            fuzz.after_read(self.entry);
        }
        let id = ReadId(self.reads.len() as u32);
        self.reads.push(Read { location, observation: None });
        Ok((id, value))
    }

    fn observe(&mut self, read: ReadId, observation: V::Observation) {
        self.reads[read.0 as usize].observation = Some(observation);
    }

    fn location(&self, read: ReadId) -> LocationId {
        self.reads[read.0 as usize].location
    }

    fn scan(&mut self, range: V::Range) -> Result<Scanned<V>, Interrupt<V>> {
        let core = self.core();
        // First the mark, then the look: a write that the look misses finds the mark.
        core.memory.add_range_reader(range.clone(), self.entry);
        let seen = core.memory.scan(&core.vm, &range, self.entry)?;
        self.scans.push(Scan { range, seen: seen.clone() });
        Ok(seen)
    }

    fn locate(&mut self, key: V::Key, parent: Option<LocationId>) -> Result<LocationId, Interrupt<V>> {
        self.core().memory.locate(&key, parent)
    }

    fn write(&mut self, location: LocationId, write: V::Write) {
        self.writes.push((location, write));
    }

    fn is_final(&self) -> bool {
        self.is_final
    }

    fn is_cancelled(&self) -> bool {
        let core = self.core();
        if core.is_stopped() || core.settings.limits.token.is_cancelled() {
            return true;
        }
        let asked = self.asked.get().wrapping_add(1);
        self.asked.set(asked);
        asked.is_multiple_of(DEADLINE_INTERVAL) && core.settings.limits.exceeded().is_some()
    }
}
