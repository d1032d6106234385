use super::core::Core;
use crate::{
    cancel::DEADLINE_INTERVAL,
    parking::in_place,
    scheduler::{
        ids::{EntryIndex, LocationId, ReadId},
        vm::{Interrupt, Scanned, View, Vm, Writes},
    },
};
use citius_state::Ticket;
use std::sync::Arc;

/// What an entry sees that is executed in its turn: the current values of all shards.
pub(super) struct TurnView<V: Vm> {
    core: Option<Arc<Core<V>>>,
    pub(super) entry: EntryIndex,
    reads: Vec<LocationId>,
    pub(super) writes: Writes<V>,
    pub(super) late_writes: Writes<V>,
    asked: u32,
}

impl<V: Vm> TurnView<V> {
    pub(super) fn new() -> Self {
        Self {
            core: None,
            entry: EntryIndex(0),
            reads: Vec::new(),
            writes: Vec::new(),
            late_writes: Vec::new(),
            asked: 0,
        }
    }

    /// Turns the view to a run, or away from all runs.
    pub(super) fn attach(&mut self, core: Option<Arc<Core<V>>>) {
        self.core = core;
    }

    pub(super) fn begin(&mut self, entry: EntryIndex) {
        self.entry = entry;
        self.reads.clear();
        self.writes.clear();
        self.late_writes.clear();
    }

    fn core(&self) -> &Core<V> {
        let Some(core) = &self.core else { panic!("a view is attached while it executes") };
        core
    }
}

impl<V: Vm> View<V> for TurnView<V> {
    const OBSERVES: bool = false;

    fn read(&mut self, key: V::Key, parent: Option<LocationId>) -> Result<(ReadId, V::Value), Interrupt<V>> {
        self.asked = self.asked.wrapping_add(1);
        let looks_at_clock = self.asked.is_multiple_of(DEADLINE_INTERVAL);
        if self.core().has_trouble() {
            return Err(Interrupt::Cancelled);
        }
        let limits = &self.core().settings.limits;
        if limits.token.is_cancelled() || (looks_at_clock && limits.exceeded().is_some()) {
            return Err(Interrupt::Cancelled);
        }
        let (location, value) = self.core().look(key, parent)?;
        let id = ReadId(self.reads.len() as u32);
        self.reads.push(location);
        Ok((id, value))
    }

    fn observe(&mut self, _read: ReadId, _observation: V::Observation) {}

    fn location(&self, read: ReadId) -> LocationId {
        self.reads[read.0 as usize]
    }

    fn scan(&mut self, range: V::Range) -> Result<Scanned<V>, Interrupt<V>> {
        let core = self.core();
        for key in core.vm.base_range(&range).map_err(Interrupt::Read)? {
            core.locate(key, None)?;
        }
        let mut seen = Vec::new();
        for (id, key) in core.shards.keys(|key| V::in_range(&range, key)) {
            let value = core.value(id)?;
            if V::is_visible(&value) {
                seen.push((key, value));
            }
        }
        Ok(seen)
    }

    fn locate(&mut self, key: V::Key, parent: Option<LocationId>) -> Result<LocationId, Interrupt<V>> {
        self.core().locate(key, parent)
    }

    fn write(&mut self, location: LocationId, write: V::Write) {
        self.writes.push((location, write));
    }

    fn write_late(&mut self, location: LocationId, write: V::Write) {
        self.late_writes.push((location, write));
    }

    /// Entries have one step each: what is not planned is seldom, and not worth sharing.
    fn end_step(&mut self) -> Result<(), Interrupt<V>> {
        panic!("an entry of a partitioned run has one step")
    }

    fn wait(&mut self, ticket: &Ticket) -> Result<(), Interrupt<V>> {
        let core = self.core();
        in_place(&*core.vm, ticket, &core.waited, || {
            if core.should_stop() { Err(Interrupt::Cancelled) } else { Ok(()) }
        })
    }

    fn is_final(&self) -> bool {
        true
    }

    fn is_cancelled(&self) -> bool {
        self.core().should_stop()
    }
}
